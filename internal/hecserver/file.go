package hecserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// File is a Sink that appends events to a file, one envelope a line with
// indextime added, as aiwatch's event files are. What Index took is in the file,
// though not yet on the disk, when it returns; Close syncs it.
type File struct {
	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
	line []byte
	err  error // the first failure: a file with a hole in it takes no more
}

// NewFile opens the file, new ones for the owner alone. It begins on a line of
// its own when an earlier run was cut off in one.
func NewFile(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open event file: %w", err)
	}
	f := &File{file: file, out: bufio.NewWriterSize(file, 256<<10)}
	last := make([]byte, 1)
	info, err := file.Stat()
	if err == nil && info.Size() > 0 {
		if _, err = file.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = io.WriteString(file, "\n")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the end of event file %s: %w", path, err), file.Close())
	}
	return f, nil
}

// Index appends the events.
func (f *File) Index(events []Received) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	for i := range events {
		f.line = append(AppendEnvelope(f.line[:0], &events[i]), '\n')
		if _, f.err = f.out.Write(f.line); f.err != nil {
			break
		}
	}
	if f.err == nil {
		f.err = f.out.Flush()
	}
	if f.err != nil {
		f.err = fmt.Errorf("write event file: %w", f.err)
	}
	return f.err
}

// Close brings the file to the disk.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := errors.Join(f.file.Sync(), f.file.Close())
	if err != nil {
		return fmt.Errorf("close event file: %w", err)
	}
	return nil
}

// AppendEnvelope appends the event as one line without its end: the envelope's
// keys in one order, time as a number (indextime where the sender gave none), no
// white space between tokens, and no character in a string that any reader takes
// for the end of a line.
func AppendEnvelope(b []byte, e *Received) []byte {
	indexed := appendSeconds(nil, e.Indexed)
	b = append(b, `{"time":`...)
	if e.Time == nil {
		b = append(b, indexed...)
	} else {
		b = append(b, bytes.Trim(e.Time, `"`)...)
	}
	for _, kv := range [...]struct {
		key   string
		value []byte
	}{
		{"host", e.Host},
		{"source", e.Source},
		{"sourcetype", e.Sourcetype},
		{"index", e.Index},
		{"event", e.Event},
		{"fields", e.Fields},
	} {
		if kv.value == nil {
			continue
		}
		b = append(append(append(b, `,"`...), kv.key...), `":`...)
		b = appendLine(b, kv.value)
	}
	b = append(append(b, `,"indextime":`...), indexed...)
	return append(b, '}')
}

// appendSeconds appends a moment as epoch seconds with at most three
// decimals.
func appendSeconds(b []byte, t time.Time) []byte {
	return strconv.AppendFloat(b, float64(t.UnixMilli())/1000, 'f', -1, 64)
}

// appendLine appends a valid JSON value without the white space between its
// tokens, and with the line ends of Unicode (U+0085, U+2028, U+2029) escaped.
func appendLine(b, value []byte) []byte {
	for i := 0; i < len(value); {
		switch c := value[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '"':
			end := skipString(value, i)
			b = appendString(b, value[i:end])
			i = end
		default:
			b = append(b, c)
			i++
		}
	}
	return b
}

func appendString(b, s []byte) []byte {
	if !bytes.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return append(b, s...)
	}
	for len(s) > 0 {
		at := bytes.IndexAny(s, "\u0085\u2028\u2029")
		if at < 0 {
			return append(b, s...)
		}
		r, size := utf8.DecodeRune(s[at:])
		b = fmt.Appendf(append(b, s[:at]...), `\u%04x`, r)
		s = s[at+size:]
	}
	return b
}
