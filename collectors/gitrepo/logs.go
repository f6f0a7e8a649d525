package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"aiwatch/collectors"
	"aiwatch/collectors/logfile"
	"aiwatch/internal/event"
)

// A log is a file of one kind about the repositories.
type log struct {
	logfile.Log
	kind  string // access, hook, audit
	parse lineParser
}

// A lineParser tells what a line is about.
type lineParser func(out collectors.Output, l *logLine) error

// A logLine is one line of a log of a kind.
type logLine struct {
	*logfile.Line
	kind string
}

func (c *Collector) newLog(kind, path string, parse lineParser) *log {
	return &log{kind: kind, parse: parse, Log: logfile.Log{
		Path: path, Key: "log/" + kind + "/" + shortHash(path), Now: c.cfg.Now,
		Backfill: time.Duration(c.cfg.BackfillDays) * 24 * time.Hour,
		Lost:     func(note string) { c.say(kind + "_log " + note) },
	}}
}

// readLogs reads what was appended to the logs.
func (c *Collector) readLogs(ctx context.Context, out collectors.Output, note func(error) bool) {
	for _, l := range c.logs {
		if ctx.Err() != nil {
			return
		}
		if err := c.readLog(ctx, out, l); err != nil {
			note(fmt.Errorf("read %s_log %s: %w", l.kind, l.Path, err))
		}
	}
}

func (c *Collector) readLog(ctx context.Context, out collectors.Output, l *log) error {
	return l.Read(ctx, out, func(line *logfile.Line) error {
		c.read(1)
		ll := &logLine{line, l.kind}
		switch {
		case line.TooLong:
			return c.damaged(out, ll, logfile.ErrTooLong)
		case len(bytes.TrimSpace(line.Text)) > 0:
			return l.parse(out, ll)
		}
		return nil
	})
}

// tooOld reports whether a line's date is before those that count.
func (l *logLine) tooOld(at time.Time) bool { return !at.IsZero() && at.Before(l.After) }

// at is a line's date, or when it was read where it has none.
func (l *logLine) at(date time.Time) time.Time {
	if date.IsZero() {
		return l.Read
	}
	return date
}

// stamp fills in what every event from a line has.
func (c *Collector) stamp(l *logLine, ev *event.Event, at time.Time) {
	ev.Sourcetype = event.SourcetypeGit
	ev.Evidence = "log"
	ev.RawRef = l.Ref
	if at.IsZero() {
		ev.Time = event.At(l.Read)
		if !l.Since.IsZero() {
			ev.NotBefore = event.At(l.Since)
		}
		return
	}
	ev.Time, ev.TimeBasis = event.At(at), "exact"
	c.mu.Lock()
	if at.After(c.report.NewestRecord) && !at.After(l.Read.Add(time.Minute)) {
		c.report.NewestRecord = at
	}
	c.mu.Unlock()
}

// damaged tells of a line that can't be read.
func (c *Collector) damaged(out collectors.Output, l *logLine, cause error) error {
	sum := sha256.Sum256(l.Text)
	ev := &event.Event{
		Operation: "record.damaged", Action: "unknown", AssetType: event.Input,
		Raw: string(l.Text), RawSHA256: hex.EncodeToString(sum[:]),
		ParseError: cause.Error(), ID: lineID(l, "damaged"),
	}
	c.stamp(l, ev, time.Time{})
	ev.Host = c.logHost()
	return out.Emit(ev)
}
