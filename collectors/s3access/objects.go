package s3access

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// An objectReader cuts a CloudTrail file into its records without reading it
// whole: {"Records":[{...},{...}]}, or JSON objects one after the other.
type objectReader struct {
	r   *bufio.Reader
	buf []byte
	// opened: the wrapping object has been read up to its array.
	opened bool
}

// errTooLong is a JSON record of more than maxLine bytes. Its beginning is
// returned beside it.
type errTooLong struct {
	size int64
	sum  string
}

func (e errTooLong) Error() string { return fmt.Sprintf("a record of %d bytes", e.size) }

func newObjectReader(r io.Reader) *objectReader {
	return &objectReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the text of the next record, valid until the next call; io.EOF
// at the end, io.ErrUnexpectedEOF where the text ends within a record. Text that
// is no object is returned as it is.
func (o *objectReader) next() ([]byte, error) {
	for {
		c, err := o.r.ReadByte()
		if err != nil {
			return nil, err
		}
		switch c {
		case ' ', '\t', '\r', '\n', ',', '[', ']', '}', 0xef, 0xbb, 0xbf:
			continue
		case '{':
			if !o.opened {
				o.opened = true
				if o.skipWrapper() {
					continue
				}
			}
			return o.object()
		default:
			return o.junk(c)
		}
	}
}

// skipWrapper reads over `"Records":[` behind an opening brace, if it is there.
func (o *objectReader) skipWrapper() bool {
	const limit = 256
	head, _ := o.r.Peek(limit)
	want := []byte(`"Records":[`)
	i := 0
	for n, c := range head {
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == want[i]:
			if i++; i == len(want) {
				_, _ = o.r.Discard(n + 1)
				return true
			}
		default:
			return false
		}
	}
	return false
}

// object reads on to the brace that closes the one that was read.
func (o *objectReader) object() ([]byte, error) {
	o.buf = append(o.buf[:0], '{')
	depth, quoted, escaped := 1, false, false
	var long hash.Hash
	var size int64
	for depth > 0 {
		c, err := o.r.ReadByte()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return o.buf, err
		}
		if len(o.buf) == maxLine {
			if long == nil {
				long = sha256.New()
			}
			long.Write(o.buf)
			size += int64(len(o.buf))
			o.buf = o.buf[:0]
		}
		o.buf = append(o.buf, c)
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
	}
	if long != nil {
		long.Write(o.buf)
		size += int64(len(o.buf))
		return o.buf[:min(len(o.buf), keptRaw)], errTooLong{size, hex.EncodeToString(long.Sum(nil))}
	}
	return o.buf, nil
}

// junk reads what is no object, up to where one may begin.
func (o *objectReader) junk(first byte) ([]byte, error) {
	o.buf = append(o.buf[:0], first)
	for len(o.buf) < keptRaw {
		c, err := o.r.ReadByte()
		if err != nil {
			break // the next call tells
		}
		if c == '{' || c == '\n' || c == ',' {
			_ = o.r.UnreadByte()
			break
		}
		o.buf = append(o.buf, c)
	}
	return o.buf, nil
}
