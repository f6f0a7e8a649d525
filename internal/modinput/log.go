package modinput

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"unicode"
)

// LevelFatal is the level of what ends the program.
const LevelFatal = slog.LevelError + 4

// NewLogHandler returns a handler that writes records as splunkd reads them
// from an input's stderr: one line for each, which begins with the level. A line
// without one would stand in splunkd.log as an error. Splunk adds the time.
func NewLogHandler(w io.Writer, level slog.Leveler) slog.Handler {
	shared := &logWriter{w: w}
	// The text handler knows groups, prefixes and quoting; its own level and
	// message are taken off again.
	shared.attrs = slog.NewTextHandler(&shared.line, &slog.HandlerOptions{Level: level})
	return &logHandler{shared, shared.attrs}
}

// unwanted is what the text handler writes in front of the attributes of a
// record that has neither time nor message.
const unwanted = `level=INFO msg=""`

type logWriter struct {
	mu    sync.Mutex
	w     io.Writer
	line  bytes.Buffer
	attrs slog.Handler
}

type logHandler struct {
	*logWriter
	attrs slog.Handler // writes to line
}

func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.logWriter, h.attrs.WithAttrs(attrs)}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.logWriter, h.attrs.WithGroup(name)}
}

func (h *logHandler) Handle(ctx context.Context, record slog.Record) error {
	bare := slog.Record{PC: record.PC}
	record.Attrs(func(a slog.Attr) bool {
		bare.AddAttrs(a)
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.Reset()
	if err := h.attrs.Handle(ctx, bare); err != nil {
		return err
	}
	attrs := strings.TrimPrefix(h.line.String(), unwanted)
	_, err := io.WriteString(h.w, levelName(record.Level)+" "+oneLine(record.Message)+attrs)
	return err
}

// levelName returns the word of splunkd for a level.
func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARN"
	case level < LevelFatal:
		return "ERROR"
	}
	return "FATAL"
}

// oneLine replaces what would begin a new line, or be obeyed by a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
