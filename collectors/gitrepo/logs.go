package gitrepo

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

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A logFile is a file that grows by lines and is rotated by somebody.
type logFile struct {
	kind  string // access, hook, audit
	path  string
	key   string // of its state
	parse lineParser
}

// A lineParser tells what a line is about.
type lineParser func(out collectors.Output, l *logLine) error

// A logLine is one line with where it stands.
type logLine struct {
	log    *logFile
	text   []byte
	number int64
	origin string // digest of the file's beginning: names the file whatever it is called
	offset int64
	seen   time.Time // when it was read
	since  event.Time
	after  time.Time // lines that are older are passed over
}

// logState is how far a file was read.
type logState struct {
	// Head is how many bytes at the beginning tell the file from another one,
	// Origin their digest.
	Head   int64  `json:"head"`
	Origin string `json:"origin"`
	Offset int64  `json:"offset"`
	Line   int64  `json:"line"`
	// Seen is when the file was read last, in ms.
	Seen int64 `json:"seen,omitempty"`
	// After is the date in ms before which lines are passed over: the first
	// contact, less the backfill.
	After int64 `json:"after,omitempty"`
}

const (
	maxHead = 1024
	// maxLine bounds a line in bytes; a longer one is damaged.
	maxLine = 1 << 20
	// linesAtOnce is how many lines go between two checkpoints.
	linesAtOnce = 200
)

// readLogs reads what was appended to the logs.
func (c *Collector) readLogs(ctx context.Context, out collectors.Output, note func(error) bool) {
	for _, l := range c.logs {
		if ctx.Err() != nil {
			return
		}
		if err := c.readLog(ctx, out, l); err != nil {
			note(fmt.Errorf("read %s_log %s: %w", l.kind, l.path, err))
		}
	}
}

func (c *Collector) readLog(ctx context.Context, out collectors.Output, l *logFile) error {
	now := c.cfg.Now()
	var st logState
	b, err := out.Get(l.key)
	if err != nil {
		return err
	}
	first := b == nil
	if !first {
		if err := json.Unmarshal(b, &st); err != nil {
			return fmt.Errorf("its state is damaged: %w", err)
		}
	}
	f, err := openRegular(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		if first { // whatever comes is new
			return l.save(out, &st, now)
		}
		// It may have been moved away and not be made anew yet.
		return c.readRotated(ctx, out, l, &st, now)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if first {
		if err := c.firstLog(f, &st, now); err != nil {
			return err
		}
	} else if same, err := st.isFile(f); err != nil {
		return err
	} else if !same {
		if err := c.readRotated(ctx, out, l, &st, now); err != nil {
			return err
		}
		st = logState{Seen: st.Seen, After: st.After}
	}
	return c.readFile(ctx, out, l, f, &st, now)
}

// openRegular opens a file that is one: a pipe would block us.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return os.Open(path)
}

// firstLog decides where to begin: at the end, or with backfill at lines that
// are not older.
func (c *Collector) firstLog(f *os.File, st *logState, now time.Time) error {
	if c.cfg.BackfillDays > 0 {
		st.After = now.AddDate(0, 0, -c.cfg.BackfillDays).UnixMilli()
		return nil
	}
	// Only whole lines are passed over.
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case err == nil:
			st.Offset += int64(len(line))
			st.Line++
		case errors.Is(err, bufio.ErrBufferFull):
			// A long line: its length counts when its end is found.
			n := int64(len(line))
			for errors.Is(err, bufio.ErrBufferFull) {
				line, err = r.ReadSlice('\n')
				n += int64(len(line))
			}
			if err == nil {
				st.Offset += n
				st.Line++
				continue
			}
			if !errors.Is(err, io.EOF) {
				return err
			}
			return st.recognize(f)
		case errors.Is(err, io.EOF):
			return st.recognize(f)
		default:
			return err
		}
	}
}

// recognize remembers the beginning of a file, as much of it as was read.
func (st *logState) recognize(f *os.File) error {
	st.Head = min(st.Offset, maxHead)
	var err error
	st.Origin, err = digestHead(f, st.Head)
	return err
}

func digestHead(f *os.File, n int64) (string, error) {
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// isFile reports whether f is the file that was read before, and not shorter.
func (st *logState) isFile(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < st.Offset {
		return false, nil
	}
	origin, err := digestHead(f, st.Head)
	return origin == st.Origin || st.Head == 0, err
}

// readRotated reads the rest of a file that was moved aside since.
func (c *Collector) readRotated(ctx context.Context, out collectors.Output, l *logFile, st *logState, now time.Time) error {
	if st.Head == 0 {
		return nil
	}
	names, err := filepath.Glob(escapeGlob(l.path) + "?*")
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := openRegular(name)
		if err != nil {
			continue
		}
		same, err := st.isFile(f)
		if err == nil && same {
			rest := *st
			err = c.readFile(ctx, out, &logFile{kind: l.kind, path: name, key: l.key, parse: l.parse}, f, &rest, now)
			*st = rest
			f.Close()
			return err
		}
		f.Close()
	}
	c.say(fmt.Sprintf("%s_log %s was replaced and what it was before is not found; lines since %s may be lost",
		l.kind, l.path, time.UnixMilli(st.Seen).UTC().Format(time.RFC3339)))
	return nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// readFile reads the whole lines behind the position.
func (c *Collector) readFile(ctx context.Context, out collectors.Output, l *logFile, f *os.File, st *logState, now time.Time) error {
	since := millis(st.Seen)
	r := bufio.NewReaderSize(io.NewSectionReader(f, st.Offset, 1<<62), 64<<10)
	if st.Offset == 0 || st.Head < maxHead {
		// The first whole line, or more, is what the file is known by.
		if err := st.lengthen(f); err != nil {
			return err
		}
	}
	var line []byte
	for n := 0; ; n++ {
		if n%linesAtOnce == linesAtOnce-1 {
			if err := l.save(out, st, time.UnixMilli(st.Seen)); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		line = line[:0]
		length := int64(0)
		for {
			part, err := r.ReadSlice('\n')
			length += int64(len(part))
			if room := maxLine - len(line); room > 0 {
				line = append(line, part[:min(len(part), room)]...)
			}
			if err == nil {
				break
			}
			if errors.Is(err, io.EOF) { // the rest of a line that is still written
				return l.save(out, st, now)
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return errors.Join(err, l.save(out, st, time.UnixMilli(st.Seen)))
			}
		}
		c.read(1)
		text := bytes.TrimRight(line, "\r\n")
		ll := &logLine{
			log: l, text: text, number: st.Line + 1, origin: st.Origin, offset: st.Offset,
			seen: now, since: since, after: time.UnixMilli(st.After),
		}
		var err error
		if length > maxLine {
			err = c.damaged(out, ll, errors.New("longer than 1 MiB"))
		} else if len(bytes.TrimSpace(text)) > 0 {
			err = l.parse(out, ll)
		}
		if err != nil {
			return err
		}
		st.Offset += length
		st.Line++
	}
}

// lengthen takes more of the beginning of a file that has grown for its name.
// What was the name before is kept for as long as the file is that small, so
// that its lines keep their ids.
func (st *logState) lengthen(f *os.File) error {
	if st.Head > 0 {
		return nil
	}
	b := make([]byte, maxHead)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head := int64(n)
	if end := bytes.IndexByte(b[:n], '\n'); end >= 0 {
		head = int64(end) + 1
	} else if n < maxHead {
		return nil // no whole line yet
	}
	st.Head = head
	st.Origin, err = digestHead(f, head)
	return err
}

func (l *logFile) save(out collectors.Output, st *logState, seen time.Time) error {
	st.Seen = seen.UnixMilli()
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	out.Put(l.key, b)
	return out.Checkpoint()
}

// stamp fills in what every event from a line has.
func (c *Collector) stamp(l *logLine, ev *event.Event, at time.Time) {
	ev.Sourcetype = event.SourcetypeGit
	ev.Evidence = "log"
	ev.RawRef = fmt.Sprintf("file:%s:%d", filepath.Base(l.log.path), l.number)
	if at.IsZero() {
		ev.Time, ev.NotBefore = event.At(l.seen), l.since
		return
	}
	ev.Time, ev.TimeBasis = event.At(at), "exact"
	c.mu.Lock()
	if at.After(c.report.NewestRecord) && !at.After(l.seen.Add(time.Minute)) {
		c.report.NewestRecord = at
	}
	c.mu.Unlock()
}

// damaged tells of a line that can't be read.
func (c *Collector) damaged(out collectors.Output, l *logLine, cause error) error {
	sum := sha256.Sum256(l.text)
	ev := &event.Event{
		Operation: "record.damaged", Action: "unknown", AssetType: event.Input,
		Raw: string(l.text), RawSHA256: hex.EncodeToString(sum[:]),
		ParseError: cause.Error(), ID: lineID(l, "damaged"),
	}
	c.stamp(l, ev, time.Time{})
	ev.Host = c.logHost()
	return out.Emit(ev)
}
