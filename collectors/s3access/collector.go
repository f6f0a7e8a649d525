package s3access

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A Collector reads one log source. Make it with New.
type Collector struct {
	cfg    Config
	intake intake
	rules  *assetRules

	// What one poll works with.
	buffered     *bufio.Reader
	lines        lineReader
	tr           translator
	parser       lineParser
	rec          record
	pending      int // events since the last checkpoint
	pendingBytes int

	counts counts
}

var _ collectors.Collector = (*Collector)(nil)

// An intake is where logs come from.
type intake interface {
	poll(ctx context.Context, out collectors.Output) error
	check(ctx context.Context) []collectors.Finding
}

// New makes the collector of one stanza. It reads no source yet.
func New(cfg Config) (*Collector, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	rules, err := newAssetRules(cfg.Assets)
	if err != nil {
		return nil, err
	}
	c := &Collector{cfg: cfg, rules: rules, buffered: bufio.NewReaderSize(nil, chunkSize)}
	c.tr = translator{cfg: &c.cfg, rules: rules, people: map[string]*person{}}
	c.counts.parts = map[string]*collectors.Part{}
	if cfg.Path != "" {
		c.intake = &local{c}
		return c, nil
	}
	reader := bucketReader{c: c, s3: cfg.S3, bucket: cfg.Bucket}
	if reader.s3 == nil {
		if reader.s3, err = cfg.AWS.newS3(context.Background()); err != nil {
			return nil, err
		}
	}
	if cfg.QueueURL == "" {
		c.intake = &bucket{reader}
		return c, nil
	}
	q := &queue{bucketReader: reader, sqs: cfg.SQS, visibility: usualVisibility}
	if q.sqs == nil {
		if q.sqs, err = cfg.AWS.newSQS(context.Background(), cfg.QueueURL); err != nil {
			return nil, err
		}
	}
	c.intake = q
	return c, nil
}

// Poll reads what is new.
func (c *Collector) Poll(ctx context.Context, out collectors.Output) error {
	if err := c.begin(out); err != nil {
		return err
	}
	err := c.intake.poll(ctx, guard{out})
	c.counts.publish()
	if err == nil {
		c.counts.swept(c.cfg.Now())
	}
	return err
}

// Check tries the source.
func (c *Collector) Check(ctx context.Context) []collectors.Finding { return c.intake.check(ctx) }

// Report tells how the reading goes.
func (c *Collector) Report() collectors.Report { return c.counts.report() }

// stateStart holds from when on records are sent: the setting it was made from,
// a zero byte, and Unix milliseconds.
const stateStart = "start"

// begin finds out from when on records are sent. The default of an intake that
// has history without end is the moment of the first poll, and that is said.
func (c *Collector) begin(out collectors.Output) error {
	c.pending, c.pendingBytes = 0, 0
	s := c.cfg.Start
	switch {
	case !s.At.IsZero():
		c.tr.start = s.At.UnixMilli()
		return nil
	case s.Ago == 0 && c.cfg.Path != "":
		c.tr.start = 0
		return nil
	}
	setting := s.Ago.String() + "\x00"
	value, err := out.Get(stateStart)
	if err != nil {
		return err
	}
	if ms, ok := strings.CutPrefix(string(value), setting); ok && len(ms) == 8 {
		c.tr.start = int64(binary.BigEndian.Uint64([]byte(ms)))
	} else {
		c.tr.start = c.cfg.Now().Add(-s.Ago).UnixMilli()
		out.Put(stateStart, binary.BigEndian.AppendUint64([]byte(setting), uint64(c.tr.start)))
	}
	c.counts.note("records before " + time.UnixMilli(c.tr.start).UTC().Format(time.RFC3339) + " are not sent; the setting start changes that")
	return nil
}

// A guard marks the errors of an Output, so that a source that fails, and needs
// not stop the rest, is told from a state that can't be written.
type guard struct{ collectors.Output }

type outputError struct{ error }

func (e outputError) Unwrap() error { return e.error }

func isOutputError(err error) bool {
	var e outputError
	return errors.As(err, &e)
}

func mark(err error) error {
	if err != nil {
		return outputError{err}
	}
	return nil
}

func (g guard) Emit(ev *event.Event) error { return mark(g.Output.Emit(ev)) }
func (g guard) Checkpoint() error          { return mark(g.Output.Checkpoint()) }
func (g guard) Flush() error               { return mark(g.Output.Flush()) }
func (g guard) Get(key string) ([]byte, error) {
	value, err := g.Output.Get(key)
	return value, mark(err)
}

// counts is what Report tells. Poll's goroutine counts for itself and publishes
// at each checkpoint.
type counts struct {
	// Poll's own.
	records, bytes int64
	newest         int64
	last           *part // of the bucket that was counted last
	fresh          map[string]*part

	mu       sync.Mutex
	rep      collectors.Report
	parts    map[string]*collectors.Part
	coverage []string
	notes    []string
}

// A part counts the records of one bucket.
type part struct {
	bucket          string
	records, newest int64
}

// maxParts bounds how many buckets a report tells of.
const maxParts = 1000

// add counts one record; r is nil for one that could not be read.
func (n *counts) add(r *record, ms int64) {
	n.records++
	n.newest = max(n.newest, ms)
	if r == nil || r.bucket == "" {
		return
	}
	p := n.last
	if p == nil || p.bucket != r.bucket {
		if p = n.fresh[r.bucket]; p == nil {
			if len(n.fresh) >= maxParts {
				return
			}
			if n.fresh == nil {
				n.fresh = map[string]*part{}
			}
			p = &part{bucket: strings.Clone(r.bucket)}
			n.fresh[p.bucket] = p
		}
		n.last = p
	}
	p.records++
	p.newest = max(p.newest, ms)
}

func (n *counts) progress(bytes int) {
	n.bytes += int64(bytes)
	n.publish()
}

// publish hands what was counted to Report.
func (n *counts) publish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rep.RecordsRead += n.records
	n.rep.Done += n.bytes
	if at := time.UnixMilli(n.newest).UTC(); n.newest > 0 && at.After(n.rep.NewestRecord) {
		n.rep.NewestRecord = at
	}
	for bucket, p := range n.fresh {
		known := n.parts[bucket]
		if known == nil {
			if len(n.parts) >= maxParts {
				continue
			}
			known = &collectors.Part{AssetID: "s3://" + bucket}
			n.parts[bucket] = known
		}
		known.RecordsRead += p.records
		if at := time.UnixMilli(p.newest).UTC(); at.After(known.NewestRecord) {
			known.NewestRecord = at
		}
	}
	n.records, n.bytes, n.fresh, n.last = 0, 0, nil, nil
}

// total starts the measure of a poll: so many bytes are to be read.
func (n *counts) total(bytes int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rep.Done, n.rep.Total = 0, bytes
}

// more adds to what this poll is to read.
func (n *counts) more(bytes int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rep.Total += bytes
}

func (n *counts) swept(at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rep.LastSweep = at
}

// maxNotes bounds what is told between two reports.
const maxNotes = 20

// note tells the operator something once for each report.
func (n *counts) note(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = addOnce(n.notes, text)
}

// uncovered names something that is not watched.
func (n *counts) uncovered(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.coverage = addOnce(n.coverage, text)
}

func addOnce(list []string, text string) []string {
	for _, have := range list {
		if have == text {
			return list
		}
	}
	if len(list) >= maxNotes {
		return list
	}
	return append(list, text)
}

func (n *counts) report() collectors.Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	rep := n.rep
	rep.Coverage, rep.Notes = n.coverage, n.notes
	for _, bucket := range sortedKeys(n.parts) {
		rep.Parts = append(rep.Parts, *n.parts[bucket])
		n.parts[bucket].RecordsRead = 0
	}
	n.rep.RecordsRead = 0
	n.coverage, n.notes = nil, nil
	return rep
}
