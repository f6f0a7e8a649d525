package s3access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/gzip"

	"aiwatch/collectors"
)

// Limits of one log file or object.
const (
	chunkSize = 64 << 10 // bytes that become one string
	maxLine   = 1 << 20  // bytes of a record; a longer one is damaged
	keptRaw   = 8 << 10  // bytes that are kept of a record that is too long
	maxRatio  = 1000     // decompressed bytes for each compressed one, beyond
	freeBytes = 64 << 20 // this many decompressed bytes
)

// Between two checkpoints lie at most this many events or bytes of log.
const (
	checkpointEvents = 200
	checkpointBytes  = 768 << 10
)

// A document is one log file or object that is being read.
type document struct {
	ref    string // s3://log-bucket/key or file:name
	seen   int64  // Unix milliseconds by which its records were written
	format Format // what it is written in; Auto until it is known
	// offset is the byte in the decompressed text, and line the number of lines
	// or JSON records in front of it, at which reading goes on.
	offset, line int64
	packed       bool // gzip
	// whole: no more text can come, so that a last line without newline is one.
	whole bool
	// save puts the position into the state; nil keeps none.
	save func(d *document)
}

// errDamaged is a document whose compressed form is broken: nothing behind can
// be read, now or later.
type errDamaged struct{ why string }

func (e errDamaged) Error() string { return e.why }

// errIncomplete is a document that ends within its compressed form or its last
// record: more may come.
var errIncomplete = errors.New("the log ends within a record")

// fromStart reports whether reading on needs the document from its beginning.
func (d *document) fromStart() bool { return d.packed || d.format == Cloudtrail }

// read sends the records of d from its position on. body stands at d.offset, or
// at the beginning where fromStart says so. It returns errIncomplete where the
// rest has to wait, errDamaged where it can't be read at all.
func (c *Collector) read(ctx context.Context, out collectors.Output, d *document, body io.Reader) error {
	buffered := c.buffered
	buffered.Reset(body)
	head, err := buffered.Peek(2)
	if len(head) == 0 {
		if err == io.EOF {
			return nil
		}
		return err
	}
	if d.offset == 0 && d.line == 0 && isGzip(head) {
		d.packed = true
	}
	if !d.packed {
		return c.readText(ctx, out, d, buffered)
	}
	counted := &countingReader{r: buffered}
	unzipped, err := gzip.NewReader(counted)
	if err != nil {
		return gzipError(err)
	}
	text := &ratioReader{r: unzipped, compressed: counted}
	if n, err := io.CopyN(io.Discard, text, d.offset); err != nil {
		if err == io.EOF {
			return errDamaged{fmt.Sprintf("%d bytes where %d were before", n, d.offset)}
		}
		return gzipError(err)
	}
	return c.readText(ctx, out, d, text)
}

func isGzip(head []byte) bool { return len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b }

// readText is read for text that is no longer compressed and stands at d.offset.
func (c *Collector) readText(ctx context.Context, out collectors.Output, d *document, text io.Reader) error {
	lines := &c.lines
	lines.reset(text)
	if d.format == Auto || d.format == "" {
		head, err := lines.fill()
		if err != nil && len(head) == 0 {
			if err == io.EOF {
				return nil
			}
			return gzipError(err)
		}
		if !d.whole && len(head) < chunkSize && bytes.IndexByte(head, '\n') < 0 && !isJSON(head) {
			return errIncomplete // half a line tells too little
		}
		d.format = formatOf(head)
	}
	if d.format == Cloudtrail {
		return c.readJSON(ctx, out, d, lines)
	}
	return c.readLines(ctx, out, d, lines)
}

// formatOf recognises a log by its beginning. The first line decides for the
// whole document: a line that a caller forged further down must not be read by
// the rules of a log that can't be forged.
func formatOf(head []byte) Format {
	if isJSON(head) {
		return Cloudtrail
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if isVersitygwStart(string(line[:min(len(line), 200)])) {
		return Versitygw
	}
	if f := bytes.SplitN(line, []byte(" "), 4); len(f) == 4 && len(f[2]) > 8 && f[2][0] == '[' && f[2][7] != '/' {
		return Versitygw // the month in full; May is told by the operation
	} else if len(f) == 4 && bytes.Contains(f[3], []byte(" s3_")) && !bytes.Contains(f[3], []byte(` "`)) {
		return Versitygw
	}
	return ServerAccess
}

func isJSON(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n\ufeff")
	return len(head) > 0 && (head[0] == '{' || head[0] == '[')
}

func (c *Collector) readLines(ctx context.Context, out collectors.Output, d *document, lines *lineReader) error {
	aws := d.format == ServerAccess
	for {
		chunk, err := lines.next(d.whole)
		for rest := chunk; rest != ""; {
			line := rest
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				line, rest = rest[:i], rest[i+1:]
				d.offset += int64(i) + 1
			} else {
				rest = ""
				d.offset += int64(len(line))
			}
			d.line++
			if err := c.line(out, d, line, aws); err != nil {
				return err
			}
			if c.sinceCheckpoint() {
				if err := c.checkpoint(ctx, out, d); err != nil {
					return err
				}
			}
		}
		if long := lines.tooLong; long != nil {
			lines.tooLong = nil
			d.offset += long.size
			d.line++
			c.counts.add(nil, 0)
			if err := c.tr.emitDamage(out, damage{raw: long.head, sha256: long.sum(), why: fmt.Sprintf("a line of %d bytes", long.size), ref: d.at(), seen: d.seen}); err != nil {
				return err
			}
			c.pending++
		}
		if err == io.EOF {
			if lines.rest() > 0 {
				return errIncomplete
			}
			return nil
		}
		if err = gzipError(err); err != nil {
			var broken errDamaged
			if errors.As(err, &broken) || d.whole && errors.Is(err, errIncomplete) {
				err = errors.Join(c.lastWords(out, d, lines, aws), err)
			}
			return errors.Join(c.commit(out, d), err)
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(c.commit(out, d), err)
		}
	}
}

// lastWords sends what stands in front of the place where a document breaks off.
func (c *Collector) lastWords(out collectors.Output, d *document, lines *lineReader, aws bool) error {
	text, _ := lines.fill()
	d.offset += int64(len(text))
	lines.n = 0
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		d.line++
		if err := c.line(out, d, string(line), aws); err != nil {
			return err
		}
		text = rest
	}
	return nil
}

// at is the way back to the line that was read last.
func (d *document) at() string { return fmt.Sprintf("%s:%d", d.ref, d.line) }

// line sends one line's event.
func (c *Collector) line(out collectors.Output, d *document, line string, aws bool) error {
	c.pendingBytes += len(line)
	text := strings.TrimSuffix(line, "\r")
	if text == "" {
		return nil
	}
	r := &c.rec
	var err error
	if aws {
		err = c.parser.parse(text, r)
	} else {
		if isVersitygwStart(text) {
			return nil
		}
		err = c.parser.parseVersitygw(text, r)
	}
	if err != nil {
		c.counts.add(nil, 0)
		c.pending++
		return c.tr.emitDamage(out, damage{raw: text, sha256: digest(line), why: err.Error(), ref: d.at(), at: r.ms, seen: d.seen})
	}
	c.counts.add(r, r.ms)
	c.pending++
	return c.tr.emit(out, d, r, aws, text)
}

// readJSON sends the records of a CloudTrail file. It is read from its
// beginning each time, and d.line records are skipped.
func (c *Collector) readJSON(ctx context.Context, out collectors.Output, d *document, text io.Reader) error {
	objects := newObjectReader(text)
	skip := d.line
	for n := int64(0); ; n++ {
		object, err := objects.next()
		if err == io.EOF {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) && !d.whole {
			return errIncomplete
		}
		var tooLong errTooLong
		if err != nil && !errors.As(err, &tooLong) {
			return errors.Join(c.commit(out, d), gzipError(err))
		}
		if n < skip {
			continue
		}
		d.line = n + 1
		c.pendingBytes += len(object)
		r := &c.rec
		if err == nil {
			err = c.parser.parseCloudtrail(object, r)
		} else {
			r.ms = 0
		}
		switch {
		case err == errOtherService:
		case err != nil:
			c.counts.add(nil, 0)
			c.pending++
			raw, sum := string(object), ""
			if sum = tooLong.sum; sum == "" {
				sum = digest(raw)
			}
			if err := c.tr.emitDamage(out, damage{raw: raw, sha256: sum, why: err.Error(), ref: d.at(), at: r.ms, seen: d.seen}); err != nil {
				return err
			}
		default:
			c.counts.add(r, r.ms)
			c.pending++
			if err := c.tr.emit(out, d, r, true, ""); err != nil {
				return err
			}
			if c.parser.copySource(r) {
				c.pending++
				if err := c.tr.emit(out, d, r, true, ""); err != nil {
					return err
				}
			}
		}
		if c.sinceCheckpoint() {
			if err := c.checkpoint(ctx, out, d); err != nil {
				return err
			}
		}
	}
}

// sinceCheckpoint reports whether it is time for a checkpoint.
func (c *Collector) sinceCheckpoint() bool {
	return c.pending >= checkpointEvents || c.pendingBytes >= checkpointBytes
}

// commit saves the position in d and makes a checkpoint.
func (c *Collector) commit(out collectors.Output, d *document) error {
	if d != nil && d.save != nil {
		d.save(d)
	}
	c.counts.progress(c.pendingBytes)
	c.pending, c.pendingBytes = 0, 0
	return out.Checkpoint()
}

func (c *Collector) checkpoint(ctx context.Context, out collectors.Output, d *document) error {
	if err := c.commit(out, d); err != nil {
		return err
	}
	return ctx.Err()
}

// A lineReader cuts text into chunks of whole lines.
type lineReader struct {
	r       io.Reader
	buf     []byte
	at, n   int // buf[at:n] was not returned
	err     error
	tooLong *longLine
}

// A longLine is what is kept of a line that is too long.
type longLine struct {
	head string
	hash hash.Hash
	size int64 // with its newline
}

func (l *longLine) sum() string { return hex.EncodeToString(l.hash.Sum(nil)) }

// reset has the reader read another text, into the same memory.
func (l *lineReader) reset(r io.Reader) {
	if len(l.buf) > chunkSize {
		l.buf = nil // one long line is no reason to keep as much for ever
	}
	*l = lineReader{r: r, buf: l.buf}
}

// fill reads until a chunk is there and returns all that was not yet returned.
// What was returned before is overwritten.
func (l *lineReader) fill() ([]byte, error) {
	if l.buf == nil {
		l.buf = make([]byte, chunkSize)
	}
	l.n = copy(l.buf, l.buf[l.at:l.n])
	l.at = 0
	for l.n < len(l.buf) && l.err == nil {
		var n int
		n, l.err = l.r.Read(l.buf[l.n:])
		l.n += n
	}
	return l.buf[:l.n], l.err
}

// next returns whole lines, with io.EOF beside the last ones. They are valid
// until the next call: so that no line is copied, the string is the buffer
// itself, and whatever of a line outlives its event must be cloned. last says
// that the text is complete, so that a last line without newline is returned
// too; otherwise it stays, see rest. A line that is too long ends the chunk and
// is described in tooLong.
func (l *lineReader) next(last bool) (string, error) {
	data, err := l.fill()
	l.at = bytes.LastIndexByte(data, '\n') + 1
	if err == io.EOF && last {
		l.at = len(data)
	}
	if l.at == 0 && err == nil {
		if len(l.buf) < maxLine {
			l.buf = append(l.buf, make([]byte, len(l.buf))...)
			return l.next(last)
		}
		return "", l.skipLine(last)
	}
	return unsafe.String(unsafe.SliceData(data), l.at), err
}

// skipLine reads over the line that fills the buffer.
func (l *lineReader) skipLine(last bool) error {
	long := &longLine{head: string(l.buf[:keptRaw]), hash: sha256.New()}
	for {
		end := bytes.IndexByte(l.buf[:l.n], '\n')
		if end >= 0 {
			long.hash.Write(l.buf[:end])
			long.size += int64(end) + 1
			l.n = copy(l.buf, l.buf[end+1:l.n])
			l.tooLong = long
			return nil
		}
		long.hash.Write(l.buf[:l.n])
		long.size += int64(l.n)
		l.n = 0
		if _, err := l.fill(); err != nil && l.n == 0 {
			if err == io.EOF && last {
				l.tooLong = long
				return err
			}
			if err == io.EOF {
				return errIncomplete
			}
			return err
		}
	}
}

// rest is how many bytes of an incomplete last line wait.
func (l *lineReader) rest() int { return l.n - l.at }

// Read gives the text to a reader that cuts it otherwise.
func (l *lineReader) Read(p []byte) (int, error) {
	if l.at < l.n {
		n := copy(p, l.buf[l.at:l.n])
		l.at += n
		return n, nil
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.r.Read(p)
}

// gzipError tells a broken compressed form from a source that failed.
func gzipError(err error) error {
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return errDamaged{"not whole gzip: " + err.Error()}
	case err != nil && strings.HasPrefix(err.Error(), "flate: corrupt"):
		return errDamaged{"not whole gzip: " + err.Error()}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errIncomplete
	}
	return err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// A ratioReader ends decompression that makes too much of too little.
type ratioReader struct {
	r          io.Reader
	compressed *countingReader
	n          int64
}

func (b *ratioReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if b.n > freeBytes && b.n > b.compressed.n*maxRatio {
		return n, errDamaged{fmt.Sprintf("compressed more than %d to 1", maxRatio)}
	}
	return n, err
}
