package scenario

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// lazy is an input's collector whose polls are put off while nothing changes
// that it reads. Before something changes, the last of those that were put off
// are made up for, at their time, so that the collector's state says the same as
// if it had read all along; what the heartbeat tells of it is kept up as well.
// Playing eagerly gives the same events, and a test holds that; only how many
// records the looks at an MLflow server between two changes read again, which its
// heartbeat tells, is taken from the last such look.
//
// It hides that the collector listens or notifies: in a play nobody calls it.
type lazy struct {
	collector collectors.Collector
	in        *input
	st        *station
	beats     int // sleepers to wait for before the first poll
	reads     []string
	interval  time.Duration // between full sweeps; 0 when every poll is one
	fast      time.Duration

	begun   bool
	dirty   bool          // something changed since the last poll
	settled bool          // another poll would find nothing
	quiet   []pollSummary // polls without an event since the last change
	last    time.Time     // of the last real poll
	swept   time.Time     // the last full sweep, made or put off

	// Lines of the access log that a Git input passes over: not read yet, read by
	// a poll that was put off and so counted, read before their time.
	unread, counted, owed int64

	put     time.Time // the last poll that was put off, and
	putFull time.Time // the last full sweep among those

	report collectors.Report
}

// pollSummary is what a poll without events did.
type pollSummary struct {
	full    bool
	records int64
}

func newLazy(c collectors.Collector, in *input, st *station, beats int) *lazy {
	l := &lazy{collector: c, in: in, st: st, beats: beats}
	s := in.settings
	switch s.Kind() {
	case "aiwatch_s3":
		l.reads = []string{sourceS3}
	case "aiwatch_mlflow":
		l.reads = []string{sourceMLflow}
		l.interval, l.fast = s.Interval().Every, s.Duration("fast_interval")
		if l.interval == 0 {
			l.interval = 10 * time.Minute
		}
		if s.String("access_log") != "" {
			l.reads = append(l.reads, sourceAccess)
		}
	default:
		l.reads = []string{sourceGit}
		for setting, source := range map[string]string{"access_log": sourceAccess, "audit_log": sourceForge, "hook_log": sourceHook} {
			if s.String(setting) != "" {
				l.reads = append(l.reads, source)
			}
		}
	}
	return l
}

// Check is the collector's.
func (l *lazy) Check(ctx context.Context) []collectors.Finding { return l.collector.Check(ctx) }

// Report is what the collector would report had it done every poll.
func (l *lazy) Report() collectors.Report {
	rep := l.report
	l.report.RecordsRead, l.report.Parts, l.report.Notes = 0, nil, nil
	return rep
}

// Poll reads the source, or puts that off. The first one begins when the input's
// heartbeat sleeps, so that both fall asleep in the same order in each play.
func (l *lazy) Poll(ctx context.Context, out collectors.Output) error {
	if !l.begun {
		l.begun, l.dirty = true, true
		l.in.lane.untilAsleep(l.beats)
	}
	now := l.st.clock.Now()
	if slices.Contains(l.reads, sourceS3) {
		if err := l.st.world.deliverUntil(ctx, now); err != nil {
			return err
		}
	}
	if l.st.lazy && !l.dirty && (l.settled && day(now) == day(l.last) || len(l.quiet) > 0 && !l.full(now)) {
		l.putOff(now)
		return nil
	}
	if err := l.catchUp(ctx); err != nil {
		return err
	}
	return l.poll(ctx, out, now, true)
}

func day(t time.Time) int64 { return t.Unix() / 86400 }

// putOff notes a poll that is not made, and what it would have reported.
func (l *lazy) putOff(now time.Time) {
	l.put = now
	l.report.RecordsRead += l.unread + l.owed
	l.counted, l.unread, l.owed = l.counted+l.unread, 0, 0
	full := l.full(now)
	if full {
		l.putFull, l.swept = now, now
		l.report.LastSweep = now
	}
	for i := len(l.quiet) - 1; i >= 0; i-- {
		if l.quiet[i].full == full {
			l.report.RecordsRead += l.quiet[i].records
			return
		}
	}
}

// full tells whether a poll at that time is a full sweep.
func (l *lazy) full(now time.Time) bool {
	return l.interval == 0 || !now.Before(l.swept.Add(l.interval-l.fast/2))
}

// poll does a real poll. Those that are made up for were reported when they were
// put off.
func (l *lazy) poll(ctx context.Context, out collectors.Output, now time.Time, reported bool) error {
	if l.dirty {
		l.quiet, l.settled = nil, false
	}
	l.dirty, l.last = false, now
	counted := &counting{Output: out}
	err := l.collector.Poll(ctx, counted)
	rep := l.collector.Report()
	full := l.interval == 0 || rep.LastSweep.Equal(now)
	if full {
		l.swept = now
	}
	var records int64 // a log is read once: a poll that was put off would find none
	if l.interval > 0 {
		records = rep.RecordsRead
	}
	if reported {
		rep.RecordsRead += l.owed - l.counted
		l.owed, l.unread = 0, 0
		rep.RecordsRead += l.report.RecordsRead
		rep.Parts = mergedParts(l.report.Parts, rep.Parts)
		rep.Notes = append(l.report.Notes, rep.Notes...)
	} else {
		l.owed, l.unread = l.owed+l.unread, 0
		rep.RecordsRead, rep.Parts, rep.Notes = l.report.RecordsRead, l.report.Parts, l.report.Notes
	}
	l.counted = 0
	if rep.LastSweep.Before(l.report.LastSweep) {
		rep.LastSweep = l.report.LastSweep
	}
	l.report = rep
	if err != nil || counted.events > 0 {
		l.quiet, l.settled = nil, false
		return err
	}
	if len(l.quiet) > 200 {
		l.quiet = slices.Delete(l.quiet, 0, 100)
	}
	l.quiet = append(l.quiet, pollSummary{full, records})
	l.settled = l.steady()
	return nil
}

// steady tells whether nothing is left to be done: a poll found nothing, and of
// a source that is read in rotation and by windows of time, the last full sweeps
// found nothing in the same number of records. A look between two sweeps finds
// nothing when one before it, or a sweep, found nothing since the last change.
func (l *lazy) steady() bool {
	if l.interval == 0 {
		return true
	}
	var full []int64
	for _, q := range l.quiet {
		if q.full {
			full = append(full, q.records)
		}
	}
	n := len(full)
	return n >= 3 && full[n-1] == full[n-2] && full[n-2] == full[n-3]
}

// catchUp does the last of the polls that were put off, at their time.
func (l *lazy) catchUp(ctx context.Context) error {
	put, putFull := l.put, l.putFull
	l.put, l.putFull = time.Time{}, time.Time{}
	if put.IsZero() || slices.Contains(l.reads, sourceS3) {
		// A poll of a folder in which nothing changed leaves no trace.
		return nil
	}
	clock := l.st.clock
	now := clock.Now()
	defer clock.set(now)
	var errs []error
	for _, at := range []time.Time{putFull, put} {
		if at.IsZero() || at.Equal(l.last) {
			continue
		}
		clock.set(at)
		errs = append(errs, l.poll(ctx, l.in.stream, at, false), l.in.stream.Flush())
	}
	return errors.Join(errs...)
}

// changes tells that a source is about to change; line is the line that a log
// gets.
func (l *lazy) changes(ctx context.Context, source, line string) error {
	if !slices.Contains(l.reads, source) {
		return nil
	}
	if source == sourceAccess && l.interval == 0 && !aboutGit(line) {
		l.unread++ // a Git input passes over such lines, whenever it reads them
		return nil
	}
	err := l.catchUp(ctx)
	l.dirty = true
	return err
}

func aboutGit(line string) bool {
	return strings.Contains(line, "git") || strings.Contains(line, "lfs")
}

func mergedParts(into, from []collectors.Part) []collectors.Part {
	for _, p := range from {
		i := slices.IndexFunc(into, func(q collectors.Part) bool { return q.AssetID == p.AssetID })
		if i < 0 {
			into = append(into, p)
			continue
		}
		into[i].RecordsRead += p.RecordsRead
		if p.NewestRecord.After(into[i].NewestRecord) {
			into[i].NewestRecord = p.NewestRecord
		}
	}
	return into
}

// counting is an output that counts events.
type counting struct {
	collectors.Output
	events int
}

// Emit takes one event.
func (c *counting) Emit(ev *event.Event) error {
	c.events++
	return c.Output.Emit(ev)
}
