package modinput

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

// An envelope is an event as the queue holds it.
type envelope struct {
	Time       json.Number     `json:"time"`
	Host       string          `json:"host"`
	Source     string          `json:"source"`
	Sourcetype string          `json:"sourcetype"`
	Index      string          `json:"index"`
	Event      json.RawMessage `json:"event"`
}

// Stream writes events to splunkd as an XML stream.
//
// Splunk says nothing back: what is written has left us, no more. A batch that
// was written is therefore confirmed when a later one is fully written too and,
// where the system tells how much of a pipe is unread, splunkd has read it; or by
// Finish at a clean end. When one of us dies in between, what is not confirmed is
// written again by the next process, with the same event ids. What splunkd had
// read and lost when it died is lost.
//
// Its methods may be called from several goroutines.
type Stream struct {
	mu      sync.Mutex
	w       io.Writer
	begun   bool
	ending  bool          // Finish was called
	broken  error         // set once: what was written last may end anywhere
	written int64         // bytes in all
	pending []batch       // not confirmed, in their order: what the pipe holds, and the last one
	buf     []byte        // of one batch
	failed  chan struct{} // closed when broken is set
}

// A batch is one that was written.
type batch struct {
	end     int64 // where in the stream it ends
	confirm func(ok bool)
}

// NewStream returns a stream that writes to w, the pipe to splunkd. Nothing is
// written before the first event. When w has SetWriteDeadline, as a pipe's
// *os.File has, a write that splunkd does not take ends with its context.
func NewStream(w io.Writer) *Stream {
	return &Stream{w: w, failed: make(chan struct{})}
}

// ErrBroken says that the stream can take no more: its reader is gone, or a
// write was broken off.
var ErrBroken = errors.New("the stream to splunkd is broken")

// Send writes one batch, a row of envelopes as internal/event encodes them, and
// returns when splunkd's pipe has taken it. Confirm is then called once: with
// true when a later batch is written and this one has been read, or Finish is
// called.
//
// An error that is not ErrBroken is about the batch, of which nothing was
// written. With an error confirm is never called.
func (s *Stream) Send(ctx context.Context, envelopes []byte, confirm func(ok bool)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	s.buf = s.buf[:0]
	if !s.begun {
		s.buf = append(s.buf, "<stream>\n"...)
	}
	var err error
	if s.buf, err = appendEvents(s.buf, envelopes); err != nil {
		return err
	}
	if err := s.write(ctx, s.buf); err != nil {
		return err
	}
	s.begun = true
	s.pending = append(s.pending, batch{s.written, confirm})
	if s.ending {
		s.confirm(len(s.pending))
		return nil
	}
	read, n := s.written-unread(s.w), 0
	for n < len(s.pending)-1 && s.pending[n].end <= read {
		n++
	}
	s.confirm(n)
	return nil
}

// confirm confirms the first n batches.
func (s *Stream) confirm(n int) {
	for _, b := range s.pending[:n] {
		b.confirm(true)
	}
	s.pending = slices.Delete(s.pending, 0, n)
}

// Finish begins a clean end: what waits is confirmed, and from now on each batch
// is as soon as it is written.
func (s *Stream) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	if s.broken == nil {
		s.confirm(len(s.pending))
	}
}

// Close ends the document. It neither closes the writer nor confirms anything.
func (s *Stream) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	end := "</stream>\n"
	if !s.begun {
		end = "<stream></stream>\n"
	}
	err := s.write(ctx, []byte(end))
	if err == nil {
		s.fail(errors.New("it has ended"))
	}
	return err
}

// Broken is closed when the stream can take no more.
func (s *Stream) Broken() <-chan struct{} { return s.failed }

func (s *Stream) fail(err error) error {
	s.broken = fmt.Errorf("%w: %w", ErrBroken, err)
	close(s.failed)
	return s.broken
}

// write writes all of b, or breaks the stream.
func (s *Stream) write(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err // nothing is written, and nothing broken
	}
	if d, ok := s.w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		set := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			_ = d.SetWriteDeadline(time.Unix(1, 0))
			close(set)
		})
		defer func() {
			if !stop() {
				<-set
				_ = d.SetWriteDeadline(time.Time{}) // for what Close still writes
			}
		}()
	}
	n, err := s.w.Write(b)
	s.written += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		err = fmt.Errorf("splunkd does not read: %w", ctx.Err())
	}
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// appendEvents appends the envelopes, which are a row of JSON objects, as XML.
func appendEvents(b, envelopes []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(envelopes))
	for {
		var e envelope
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, fmt.Errorf("write events to splunkd: a batch is not a row of envelopes: %w", err)
		}
		// One JSON document is one event: unbroken and done keep Splunk from
		// breaking lines and from looking for a time in it.
		b = append(b, `<event unbroken="1">`...)
		b = appendElement(b, "time", e.Time.String())
		b = appendElement(b, "source", e.Source)
		b = appendElement(b, "sourcetype", e.Sourcetype)
		b = appendElement(b, "index", e.Index)
		b = appendElement(b, "host", e.Host)
		b = append(b, "<data>"...)
		b = appendText(b, e.Event)
		b = append(b, "</data><done/></event>\n"...)
	}
}

// appendElement appends an element with a text, nothing without one.
func appendElement(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	b = append(append(append(b, '<'), name...), '>')
	b = appendText(b, []byte(text))
	return append(append(append(b, "</"...), name...), '>')
}

// appendText appends text escaped for XML 1.0. What XML can't hold becomes
// U+FFFD; events hold none of it but noncharacters.
func appendText(b, text []byte) []byte {
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		size := 1
		var escaped string
		switch {
		case c == '<':
			escaped = "&lt;"
		case c == '>':
			escaped = "&gt;"
		case c == '&':
			escaped = "&amp;"
		case c == '\r':
			escaped = "&#xD;"
		case c < 0x20 && c != '\t' && c != '\n':
			escaped = "\uFFFD"
		case c >= utf8.RuneSelf:
			var r rune
			if r, size = utf8.DecodeRune(text[i:]); r == utf8.RuneError || r == 0xFFFE || r == 0xFFFF {
				escaped = "\uFFFD"
			}
		}
		if escaped != "" {
			b = append(append(b, text[start:i]...), escaped...)
			start = i + size
		}
		i += size
	}
	return append(b, text[start:]...)
}
