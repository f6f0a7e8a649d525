package logfile

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Log is a file to which somebody appends lines, and which is renamed, or cut
// off, from time to time.
type Log struct {
	Path string
	// Key is where the State keeps the position.
	Key string
	// Backfill is how far before the first contact lines count; 0 reads the log
	// from its end.
	Backfill time.Duration
	Now      func() time.Time
	// Lost is told when lines may be lost, because the file was replaced and what
	// it was before is not found.
	Lost func(note string)
}

// All is a Backfill that counts every line.
const All = time.Duration(1<<63 - 1)

// A State keeps positions; collectors.Output is one.
type State interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte)
	Checkpoint() error
}

// A Line is one whole line of a log.
type Line struct {
	// Text is the line without its end, valid during the visit only; of one that
	// is TooLong its beginning.
	Text    []byte
	TooLong bool
	// File is the digest of the file's first line, which names the file whatever
	// it is called; Number, from 1, and Offset are where in it the line stands.
	File           string
	Number, Offset int64
	// Ref is the line's place for a person: file:<name>:<number>.
	Ref string
	// Read is when the line was read, and Since the time of the read before, zero
	// at the first: a line without a date is from between the two.
	Read, Since time.Time
	// After is the date before which lines do not count.
	After time.Time
}

// A position is how far a log was read, as JSON in the state.
type position struct {
	// First is the digest of the first line, empty while that is not whole.
	First string `json:"first,omitempty"`
	// Head is how many bytes of the beginning tell the file from another one, and
	// Origin their digest.
	Head   int64  `json:"head,omitempty"`
	Origin string `json:"origin,omitempty"`
	Offset int64  `json:"offset"`
	Line   int64  `json:"line"`
	// Seen is when the log was last read, in ms.
	Seen int64 `json:"seen,omitempty"`
	// After is the date in ms before which lines do not count: the first contact,
	// less the backfill.
	After int64 `json:"after,omitempty"`
}

// ErrTooLong says of a line that is TooLong what is wrong with it.
var ErrTooLong = errors.New("longer than 1 MiB")

const (
	maxLine  = 1 << 20
	maxFirst = 64 << 10 // bytes of the first line that are digested
	// maxHead is how much of a file's beginning tells it from others. First lines
	// alone may be the same in all of them: a server's greeting.
	maxHead       = 1 << 10
	perCheckpoint = 200 // lines
	buffered      = 64 << 10
)

// Check says why the log can't be read; nil when it can.
func (l *Log) Check() error {
	f, err := openRegular(l.Path)
	if err != nil {
		return err
	}
	return f.Close()
}

// Read visits the whole lines that were added since the position in the state,
// those of a file that was moved away first. The position is kept, with a
// checkpoint, after every few lines and at the end. An error of visit ends the
// reading and is returned.
//
// A log that is not there is not written yet, or between two steps of a
// rotation: no error.
func (l *Log) Read(ctx context.Context, state State, visit func(*Line) error) error {
	r := &reader{log: l, state: state, visit: visit, now: l.Now()}
	b, err := state.Get(l.Key)
	if err != nil {
		return err
	}
	first := b == nil
	if !first {
		if err := json.Unmarshal(b, &r.at); err != nil {
			return fmt.Errorf("the remembered position is damaged: %w", err)
		}
	}
	if r.at.Seen > 0 {
		r.since = time.UnixMilli(r.at.Seen)
	}
	if err := r.all(ctx, first); err != nil {
		return err
	}
	r.at.Seen = r.now.UnixMilli()
	return r.save()
}

// all reads the file, and before it the one that was there at the read before.
func (r *reader) all(ctx context.Context, first bool) error {
	f, err := openRegular(r.log.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return r.moved(ctx) // at the first contact nothing was: whatever comes is new
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if first && r.log.Backfill > 0 {
		r.at.After = r.now.Add(-r.log.Backfill).UnixMilli()
	} else if first {
		if err := r.skip(f); err != nil {
			return err
		}
	}
	same, err := r.at.in(f)
	if err != nil {
		return err
	}
	if !same {
		if err := r.moved(ctx); err != nil {
			return err
		}
		r.forget()
	}
	return r.read(ctx, f)
}

// openRegular opens a file that is one: a pipe would block us.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}

// in reports whether f is the file that the position is in.
func (p *position) in(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	switch {
	case info.Size() < p.Offset:
		return false, nil
	case p.Head > 0:
		origin, err := digestHead(f, p.Head)
		return origin == p.Origin, err
	case p.First != "":
		first, err := digestFirst(f)
		return first == p.First, err
	}
	return true, nil // nothing of it was read
}

// digestHead digests the first n bytes.
func digestHead(f *os.File, n int64) (string, error) {
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// digestFirst digests the first line; empty while that is not whole.
func digestFirst(f *os.File) (string, error) {
	b := make([]byte, maxFirst)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if end := bytes.IndexByte(b[:n], '\n'); end >= 0 {
		n = end + 1
	} else if n < maxFirst {
		return "", nil
	}
	sum := sha256.Sum256(b[:n])
	return hex.EncodeToString(sum[:]), nil
}

// A reader reads a log once.
type reader struct {
	log   *Log
	state State
	visit func(*Line) error
	now   time.Time
	since time.Time // of the read before
	at    position
	line  []byte
}

// save keeps the position.
func (r *reader) save() error {
	b, err := json.Marshal(r.at)
	if err != nil {
		return err
	}
	r.state.Put(r.log.Key, b)
	return r.state.Checkpoint()
}

// forget leaves the file that was read for one that is new.
func (r *reader) forget() { r.at = position{Seen: r.at.Seen, After: r.at.After} }

// skip goes to the end of the last whole line.
func (r *reader) skip(f *os.File) error {
	in := bufio.NewReaderSize(f, buffered)
	for {
		n, err := r.next(in)
		if errors.Is(err, io.EOF) {
			return r.recognize(f)
		}
		if err != nil {
			return err
		}
		r.at.Offset += n
		r.at.Line++
	}
}

// next reads a whole line into r.line, and returns its length in the file; EOF
// when there is none.
func (r *reader) next(in *bufio.Reader) (length int64, err error) {
	r.line = r.line[:0]
	for {
		part, err := in.ReadSlice('\n')
		length += int64(len(part))
		if room := maxLine - len(r.line); room > 0 {
			r.line = append(r.line, part[:min(len(part), room)]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return length, err
		}
	}
}

// moved reads the rest of the file that the position is in, which was moved
// away.
func (r *reader) moved(ctx context.Context) error {
	if r.at.Head == 0 && r.at.First == "" {
		return nil
	}
	dir, base := filepath.Split(r.log.Path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return err
	}
	// access.log becomes access.log.1, access.log-20261128 or access-20261128.log.
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	for _, e := range entries {
		if e.Name() == base || !strings.HasPrefix(e.Name(), stem) {
			continue
		}
		found, err := r.readMoved(ctx, filepath.Join(dir, e.Name()))
		if found {
			return err
		}
	}
	if r.log.Lost != nil {
		r.log.Lost(fmt.Sprintf("%s was replaced and what it was before is not found; lines since %s may be lost",
			r.log.Path, r.since.UTC().Format(time.RFC3339)))
	}
	r.forget()
	return nil
}

// readMoved reads on in a file if it is the one that the position is in.
func (r *reader) readMoved(ctx context.Context, path string) (found bool, err error) {
	f, err := openRegular(path)
	if err != nil {
		return false, nil // not ours to read, or gone again
	}
	defer func() { _ = f.Close() }()
	if same, err := r.at.in(f); err != nil || !same {
		return false, nil
	}
	return true, r.read(ctx, f)
}

// read visits the whole lines behind the position.
func (r *reader) read(ctx context.Context, f *os.File) error {
	in := bufio.NewReaderSize(io.NewSectionReader(f, r.at.Offset, 1<<62), buffered)
	for n := 1; ; n++ {
		length, err := r.next(in)
		if errors.Is(err, io.EOF) { // the rest is a line that is still written
			return r.recognize(f)
		}
		if err != nil {
			return errors.Join(err, r.recognize(f), r.save())
		}
		if r.at.First == "" {
			if r.at.First, err = digestFirst(f); err != nil {
				return err
			}
			if r.at.First == "" {
				return nil // cut off meanwhile
			}
		}
		l := Line{
			Text: bytes.TrimRight(r.line, "\r\n"), TooLong: length > maxLine,
			File: r.at.First, Number: r.at.Line + 1, Offset: r.at.Offset,
			Ref:  fmt.Sprintf("file:%s:%d", filepath.Base(f.Name()), r.at.Line+1),
			Read: r.now, Since: r.since, After: time.UnixMilli(r.at.After),
		}
		if err := r.visit(&l); err != nil {
			return err
		}
		r.at.Offset += length
		r.at.Line++
		if n%perCheckpoint != 0 {
			continue
		}
		if err := errors.Join(r.recognize(f), r.save(), ctx.Err()); err != nil {
			return err
		}
	}
}

// recognize remembers the beginning of the file, as much of it as was read.
func (r *reader) recognize(f *os.File) error {
	head := min(r.at.Offset, maxHead)
	if head <= r.at.Head {
		return nil
	}
	origin, err := digestHead(f, head)
	if err != nil {
		return err
	}
	r.at.Head, r.at.Origin = head, origin
	return nil
}
