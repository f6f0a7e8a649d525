package s3access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"aiwatch/collectors"
)

// An object is one log object of a bucket.
type object struct {
	key, etag string
	version   string // empty: the current one
	size      int64
	modified  time.Time
	day       string // by which it is forgotten: 20261123
	at        objectPosition
}

// ref is the object's way back.
func (b *bucketReader) ref(o *object) string { return "s3://" + b.bucket + "/" + o.key }

// A bucketReader reads log objects and remembers which are done.
//
// State: done/<day>/<digest of the key> holds a digest of the ETag for each
// object read, at/<digest> the position in one that is being read.
type bucketReader struct {
	c      *Collector
	s3     S3Client
	bucket string
}

const (
	stateDone = "done/"
	stateAt   = "at/"
)

// small objects are fetched ahead, this many at a time, and held in memory.
const (
	small    = 512 << 10
	ahead    = 8
	attempts = 5 // to read one object, each going on where the last one broke off
)

// maxFailed is how many objects a poll fails to read before it gives up.
const maxFailed = 10

// An objectPosition is how far an object was read.
type objectPosition struct {
	etag         [8]byte
	offset, line int64
	packed       bool
	format       byte
}

func digest8(s string) (d [8]byte) {
	sum := sha256.Sum256([]byte(s))
	copy(d[:], sum[:])
	return d
}

func (p *objectPosition) encode() []byte {
	b := append([]byte(nil), p.etag[:]...)
	flags := p.format << 1
	if p.packed {
		flags |= 1
	}
	b = append(b, flags)
	b = binary.AppendVarint(b, p.offset)
	return binary.AppendVarint(b, p.line)
}

func decodeObjectPosition(b []byte) (p objectPosition, ok bool) {
	if len(b) < 9 || int(b[8]>>1) >= len(formatCodes) {
		return p, false
	}
	copy(p.etag[:], b)
	p.packed, p.format = b[8]&1 != 0, b[8]>>1
	b = b[9:]
	for _, n := range []*int64{&p.offset, &p.line} {
		v, used := binary.Varint(b)
		if used <= 0 {
			return p, false
		}
		*n, b = v, b[used:]
	}
	return p, true
}

// wanted reports whether o is still to be read, and finds where to go on.
func (b *bucketReader) wanted(out collectors.Output, o *object) (bool, error) {
	id := shortHash(o.key)
	mark, err := out.Get(stateDone + o.day + "/" + id)
	if err != nil {
		return false, err
	}
	etag := digest8(o.etag)
	switch {
	case mark == nil:
	case o.etag == "" || bytes.Equal(mark, etag[:]):
		return false, nil
	default:
		b.c.counts.note("log object " + b.ref(o) + " changed after it was read; it is read again")
	}
	at, err := out.Get(stateAt + id)
	if err != nil {
		return false, err
	}
	if p, ok := decodeObjectPosition(at); ok && p.etag == etag {
		o.at = p
	}
	return true, nil
}

// done remembers that o was read.
func (b *bucketReader) done(out collectors.Output, o *object) {
	id := shortHash(o.key)
	etag := digest8(o.etag)
	out.Put(stateDone+o.day+"/"+id, etag[:])
	out.Delete(stateAt + id)
}

var errStop = errors.New("stop")

// forget drops what is remembered of objects of days before day.
func (b *bucketReader) forget(out collectors.Output, day string) error {
	var old []string
	err := out.Range(stateDone, func(key string, _ []byte) error {
		if key >= stateDone+day {
			return errStop
		}
		old = append(old, key)
		if len(old) == 10_000 { // the rest with the next poll
			return errStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	for _, key := range old {
		out.Delete(key)
	}
	return nil
}

// A download is an object on its way.
type download struct {
	o     *object
	ready chan struct{}
	body  []byte // a small object's
	err   error
}

// readAll reads objects in their order, small ones fetched ahead. An object that
// can't be read does not keep the others from being read.
func (b *bucketReader) readAll(ctx context.Context, out collectors.Output, objects []*object) error {
	fetchCtx, cancel := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	defer fetching.Wait()
	defer cancel()

	downloads := make(chan *download, ahead)
	fetching.Go(func() {
		defer close(downloads)
		for _, o := range objects {
			d := &download{o: o, ready: make(chan struct{})}
			select {
			case downloads <- d: // at most this many wait, and so are in memory
			case <-fetchCtx.Done():
				return
			}
			if o.size > small {
				close(d.ready)
				continue
			}
			fetching.Go(func() {
				defer close(d.ready)
				d.body, d.err = b.fetch(fetchCtx, d.o)
			})
		}
	})

	var errs []error
	for d := range downloads {
		select {
		case <-d.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := b.read(ctx, out, d); err != nil {
			if ctx.Err() != nil || isOutputError(err) {
				return err
			}
			if errs = append(errs, err); len(errs) == maxFailed {
				break
			}
		}
		if b.c.sinceCheckpoint() {
			if err := b.c.commit(out, nil); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(append(errs, b.c.commit(out, nil))...)
}

// fetch gets a small object whole.
func (b *bucketReader) fetch(ctx context.Context, o *object) ([]byte, error) {
	var err error
	for range attempts {
		var body *sourceBody
		if body, err = b.open(ctx, o, 0); err != nil {
			return nil, err // the SDK has tried again already
		}
		var data []byte
		data, err = io.ReadAll(io.LimitReader(body, small+1))
		_ = body.Close()
		if err == nil || ctx.Err() != nil {
			return data, err
		}
	}
	return nil, err
}

// open begins to get an object from offset on, if it is still the one listed.
func (b *bucketReader) open(ctx context.Context, o *object, offset int64) (*sourceBody, error) {
	in := &s3.GetObjectInput{Bucket: &b.bucket, Key: &o.key}
	if o.etag != "" {
		in.IfMatch = &o.etag
	}
	if o.version != "" {
		in.VersionId = &o.version
	}
	if offset > 0 {
		r := fmt.Sprintf("bytes=%d-", offset)
		in.Range = &r
	}
	got, err := b.s3.GetObject(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", b.ref(o), explain(err, "s3:GetObject"))
	}
	body := newSourceBody(got.Body, b.c.cfg.AWS.timeout())
	if got.ETag != nil {
		body.etag = *got.ETag
	}
	return body, nil
}

// read sends the records of one object and marks it done.
func (b *bucketReader) read(ctx context.Context, out collectors.Output, dl *download) error {
	o := dl.o
	if dl.err != nil {
		return b.gone(ctx, out, o, dl.err)
	}
	d := b.document(out, o)
	var err error
	if o.size <= small && len(dl.body) <= small {
		body := dl.body
		if !d.fromStart() {
			body = body[min(d.offset, int64(len(body))):]
		}
		err = b.c.read(ctx, out, d, bytes.NewReader(body))
	} else {
		for range attempts {
			before := d.offset + d.line
			if err = b.stream(ctx, out, d, o); !isSourceError(err) || ctx.Err() != nil {
				break
			}
			if d.offset+d.line > before && !d.fromStart() {
				continue // it gets on
			}
		}
	}
	return b.finish(ctx, out, d, o, err)
}

// document is o at its position.
func (b *bucketReader) document(out collectors.Output, o *object) *document {
	d := &document{
		ref: b.ref(o), seen: o.modified.UnixMilli(), whole: true,
		format: formatCodes[o.at.format], offset: o.at.offset, line: o.at.line, packed: o.at.packed,
	}
	if d.format == Auto {
		d.format = b.c.cfg.Format
	}
	id := stateAt + shortHash(o.key)
	etag := digest8(o.etag)
	d.save = func(d *document) {
		p := objectPosition{etag: etag, offset: d.offset, line: d.line, packed: d.packed, format: byte(slices.Index(formatCodes, d.format))}
		out.Put(id, p.encode())
	}
	return d
}

// stream reads a large object without holding it.
func (b *bucketReader) stream(ctx context.Context, out collectors.Output, d *document, o *object) error {
	offset := d.offset
	if d.fromStart() {
		offset = 0
	} else if offset > 0 && offset >= o.size {
		return nil
	}
	body, err := b.open(ctx, o, offset)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return b.c.read(ctx, out, d, body)
}

// finish marks an object done, or says why it can't be.
func (b *bucketReader) finish(ctx context.Context, out collectors.Output, d *document, o *object, err error) error {
	var broken errDamaged
	switch {
	case err == nil:
	case ctx.Err() != nil, isOutputError(err):
		return err
	case errors.As(err, &broken), errors.Is(err, errIncomplete):
		why := err.Error()
		if broken.why != "" {
			why = broken.why
		}
		if err := b.c.tr.emitDamage(out, damage{why: "log object: " + why, ref: d.at(), seen: d.seen}); err != nil {
			return err
		}
	default:
		if status(err) == 0 {
			return fmt.Errorf("read %s: %w", b.ref(o), err)
		}
		return b.gone(ctx, out, o, err)
	}
	b.done(out, o)
	return nil
}

// gone handles an object that could not be got. One that vanished or changed
// between listing and reading is evidence by itself.
func (b *bucketReader) gone(ctx context.Context, out collectors.Output, o *object, err error) error {
	why := ""
	switch status(err) {
	case http.StatusNotFound:
		why = "the log object vanished after it was listed"
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		why = "the log object changed after it was listed"
	default:
		return err
	}
	if err := b.c.tr.emitDamage(out, damage{why: why, ref: b.ref(o), seen: o.modified.UnixMilli()}); err != nil {
		return err
	}
	if status(err) == http.StatusNotFound {
		b.done(out, o)
		return nil
	}
	// What it is now is read from its beginning.
	fresh := *o
	fresh.etag, fresh.at = "", objectPosition{}
	body, err := b.open(ctx, &fresh, 0)
	if status(err) == http.StatusNotFound {
		b.done(out, o)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	fresh.etag = body.etag
	d := b.document(out, &fresh)
	return b.finish(ctx, out, d, &fresh, b.c.read(ctx, out, d, body))
}

// A sourceError is a source that failed while it was read: what follows may be
// had later.
type sourceError struct{ err error }

func (e sourceError) Error() string { return e.err.Error() }

func isSourceError(err error) bool {
	var e sourceError
	return errors.As(err, &e)
}

// A sourceBody is the body of an answer. It tells a source that failed from a
// text that ends too early, and gives up on one that stands still.
type sourceBody struct {
	body  io.ReadCloser
	etag  string // of what is got
	still *time.Timer
	limit time.Duration
}

func newSourceBody(body io.ReadCloser, limit time.Duration) *sourceBody {
	// Closing ends a read that waits.
	return &sourceBody{body: body, still: time.AfterFunc(limit, func() { _ = body.Close() }), limit: limit}
}

func (s *sourceBody) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil && err != io.EOF {
		err = sourceError{err}
	}
	s.still.Reset(s.limit)
	return n, err
}

// Close ends the watch and the body.
func (s *sourceBody) Close() error {
	s.still.Stop()
	return s.body.Close()
}

// status returns the HTTP status of an answer of AWS, 0 where there was none.
func status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// code returns AWS's word for an error.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// explain adds the permission that is missing.
func explain(err error, permission string) error {
	if status(err) == http.StatusForbidden {
		if ofSTS(err) {
			permission = "sts:AssumeRole"
		}
		return fmt.Errorf("%w (is %s granted?)", err, permission)
	}
	return err
}

// ofSTS reports whether it is STS that refused, before anything else was asked.
func ofSTS(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if op, ok := err.(*smithy.OperationError); ok && op.ServiceID == sts.ServiceID { //nolint:errorlint // each one of the chain is looked at
			return true
		}
	}
	return false
}
