package collectors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
)

// Clock tells the time and wakes. It is handed in, so that tests and
// simulations need not sleep.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now returns the current time.
func (SystemClock) Now() time.Time { return time.Now() }

// After wakes once d has passed.
func (SystemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// A Stream is an Output with what the runner needs of it.
type Stream interface {
	Output
	// Health takes a health event. It may be called while a poll runs; the event
	// then goes in at the poll's next checkpoint. It shares the input's numbers.
	Health(ev *event.Event) error
	// Discard drops everything since the last checkpoint.
	Discard()
	// Events returns how many events were committed so far by this process.
	Events() uint64
}

// A Schedule returns when the poll after the one that began at last is due.
type Schedule func(last time.Time) time.Time

// Every is the schedule of a steady pace.
func Every(d time.Duration) Schedule {
	return func(last time.Time) time.Time { return last.Add(d) }
}

// An Input is a collector as it is configured.
type Input struct {
	// Name is the stanza, such as aiwatch_s3://prod.
	Name      string
	Collector Collector
	// Open returns the input's stream for one poll after the other; it is called
	// once, and its waits end with ctx.
	Open     func(ctx context.Context) (Stream, error)
	Schedule Schedule
	// Lag is how old the newest record may be before the input is said to be
	// lagging. 0 leaves that to the length of its polls.
	Lag time.Duration
}

// Delivery is what the heartbeat tells of the way to the destination.
type Delivery struct {
	QueueBytes  int64
	Oldest      time.Duration
	DeadLetters int64
	Held        int64
}

// A Runner polls inputs and tells by health events how they are.
type Runner struct {
	Inputs []Input
	Clock  Clock
	Log    *slog.Logger
	// Host is this machine's name, Version that of the program, Collector the
	// forwarder's id.
	Host, Version, Collector string
	// Heartbeat is the time between two heartbeats of an input; 0 sends none
	// but at the end of a pass and at each change of state.
	Heartbeat time.Duration
	// Delivery tells of the queue; nil leaves that out.
	Delivery func(input string) Delivery

	mu     sync.Mutex
	states map[string]*inputState
}

// States of an input.
const (
	StateStarting = "starting" // no poll has ended yet
	StateOK       = "ok"
	StateFailing  = "failing" // the last poll failed
	StateLagging  = "lagging" // it falls behind its source
	StateSilent   = "silent"  // the source has had no record for a day
)

// silentAfter is how long a source that had records may be without new ones
// before its input is called silent.
const silentAfter = 24 * time.Hour

// Status is how an input is.
type Status struct {
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Polling     bool      `json:"polling"`
	PollStarted time.Time `json:"poll_started,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	NextPoll    time.Time `json:"next_poll,omitzero"`
	LastSweep   time.Time `json:"last_sweep,omitzero"`
	// NewestRecord is the date of the newest record read.
	NewestRecord time.Time `json:"newest_record,omitzero"`
	LagSeconds   int64     `json:"lag_seconds,omitempty"`
	Error        string    `json:"error,omitempty"`
	Records      int64     `json:"records"`
	Events       uint64    `json:"events"`
	Done         int64     `json:"done,omitempty"`
	Total        int64     `json:"total,omitempty"`
	Coverage     []string  `json:"coverage,omitempty"`
	Notes        []string  `json:"notes,omitempty"`
}

// inputState is a Status with what its next heartbeat needs.
type inputState struct {
	Status
	inventory    event.Bool
	started      time.Time
	seenAt       time.Time // when the newest record was first seen
	failures     int
	records      int64 // since the last heartbeat
	eventsBefore uint64
	parts        map[string]*Part
	told         string // state of the last heartbeat
	beats        int
	schedule     Schedule
	lag          time.Duration
}

// Run polls every input at its pace until ctx is done. It returns nil then, or
// the error of an input whose stream could not be opened.
func (r *Runner) Run(ctx context.Context) error {
	return r.each(ctx, func(ctx context.Context, in *Input, st Stream) error {
		g, ctx := errgroup.WithContext(ctx)
		if l, ok := in.Collector.(Listener); ok {
			g.Go(func() error {
				if err := l.Run(ctx); err != nil && ctx.Err() == nil {
					return fmt.Errorf("listener of %s: %w", in.Name, err)
				}
				return nil
			})
		}
		g.Go(func() error { return r.beat(ctx, in, st) })
		g.Go(func() error { return r.loop(ctx, in, st) })
		return g.Wait()
	})
}

// Once polls every input once, side by side, and tells how they are. The error
// joins those of the inputs that failed.
func (r *Runner) Once(ctx context.Context) error {
	var mu sync.Mutex
	var failed []error
	err := r.each(ctx, func(ctx context.Context, in *Input, st Stream) error {
		err := r.poll(ctx, in, st)
		if err != nil && ctx.Err() == nil {
			mu.Lock()
			failed = append(failed, err)
			mu.Unlock()
		}
		if err := r.tell(in, st); err != nil {
			return err
		}
		return st.Flush()
	})
	if ctx.Err() != nil {
		return errors.Join(append(failed, ctx.Err())...)
	}
	return errors.Join(append(failed, err)...)
}

// Statuses returns how the inputs are, in their order.
func (r *Runner) Statuses() []Status {
	var all []Status
	for i := range r.Inputs {
		in := &r.Inputs[i]
		r.refresh(in)
		r.mu.Lock()
		s := r.state(in)
		s.State = r.judge(s)
		all = append(all, s.Status)
		r.mu.Unlock()
	}
	return all
}

func (r *Runner) each(ctx context.Context, run func(context.Context, *Input, Stream) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range r.Inputs {
		in := &r.Inputs[i]
		g.Go(func() error {
			st, err := in.Open(ctx)
			if err != nil {
				return fmt.Errorf("open the state of %s: %w", in.Name, err)
			}
			err = run(ctx, in, st)
			if ctx.Err() != nil {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// loop polls one input at its pace. A failed poll is tried again sooner than
// the next one is due: after 10 s, 20 s, 40 s and so on.
func (r *Runner) loop(ctx context.Context, in *Input, st Stream) error {
	var notify <-chan struct{}
	if n, ok := in.Collector.(Notifier); ok {
		notify = n.Notify()
	}
	for {
		began := r.Clock.Now()
		err := r.poll(ctx, in, st)
		if ctx.Err() != nil {
			return nil
		}
		next := in.Schedule(began)
		r.mu.Lock()
		s := r.state(in)
		changed := r.judge(s) != s.told
		if err != nil {
			// Sooner than the next poll is due; later where it is due at once.
			now := r.Clock.Now()
			if retry := now.Add(backoff(s.failures)); retry.Before(next) || !next.After(now) {
				next = retry
			}
		}
		s.NextPoll = next
		r.mu.Unlock()
		if changed {
			r.beatNow(in, st)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-notify:
		case <-r.Clock.After(max(0, next.Sub(r.Clock.Now()))):
		}
	}
}

func backoff(failures int) time.Duration {
	return min(10*time.Second<<min(max(failures-1, 0), 10), 5*time.Minute)
}

// poll runs one poll and notes how it went.
func (r *Runner) poll(ctx context.Context, in *Input, st Stream) (err error) {
	r.mu.Lock()
	s := r.state(in)
	s.Polling, s.PollStarted = true, r.Clock.Now()
	r.mu.Unlock()

	err = safely(func() error { return in.Collector.Poll(ctx, st) })
	if err != nil {
		st.Discard()
	}
	if flushErr := st.Flush(); err == nil {
		err = flushErr
	}

	r.refresh(in)
	r.mu.Lock()
	s.Polling, s.Done, s.Total = false, 0, 0
	s.Events = st.Events()
	if err == nil {
		s.LastSuccess, s.Error, s.failures = r.Clock.Now(), "", 0
	} else if ctx.Err() == nil {
		s.Error = err.Error()
		s.failures++
	}
	r.mu.Unlock()
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	r.Log.Error("poll failed", "input", in.Name, "error", err)
	return fmt.Errorf("%s: %w", in.Name, err)
}

// safely turns a panic of one collector into an error, so that a bug in one
// room does not stop the watching of the others.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the collector failed, please report this: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// beat tells how the input is at every heartbeat.
func (r *Runner) beat(ctx context.Context, in *Input, st Stream) error {
	if r.Heartbeat == 0 {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.Clock.After(r.Heartbeat):
		}
		r.beatNow(in, st)
	}
}

// beatNow tells how the input is; what prevents it is logged and no reason to
// stop collecting.
func (r *Runner) beatNow(in *Input, st Stream) {
	if err := r.tell(in, st); err != nil {
		r.Log.Error("heartbeat failed", "input", in.Name, "error", err)
	}
}

// refresh takes the collector's report into the input's state.
func (r *Runner) refresh(in *Input) {
	rep := in.Collector.Report()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state(in)
	s.records += rep.RecordsRead
	s.Records += rep.RecordsRead
	if rep.NewestRecord.After(s.NewestRecord) {
		s.NewestRecord, s.seenAt = rep.NewestRecord, r.Clock.Now()
		s.LagSeconds = max(0, int64(s.seenAt.Sub(s.NewestRecord)/time.Second))
	}
	if rep.LastSweep.After(s.LastSweep) {
		s.LastSweep = rep.LastSweep
	}
	s.inventory = rep.InventoryComplete
	s.Coverage, s.Notes = rep.Coverage, rep.Notes
	s.Done, s.Total = rep.Done, rep.Total
	for _, p := range rep.Parts {
		have := s.parts[p.AssetID]
		if have == nil {
			have = &Part{AssetID: p.AssetID}
			s.parts[p.AssetID] = have
		}
		have.RecordsRead += p.RecordsRead
		if p.NewestRecord.After(have.NewestRecord) {
			have.NewestRecord = p.NewestRecord
		}
	}
}

// state returns the state of an input; r.mu is held.
func (r *Runner) state(in *Input) *inputState {
	if r.states == nil {
		r.states = map[string]*inputState{}
	}
	s := r.states[in.Name]
	if s == nil {
		s = &inputState{
			Status: Status{Name: in.Name}, started: r.Clock.Now(), parts: map[string]*Part{},
			schedule: in.Schedule, lag: in.Lag,
		}
		r.states[in.Name] = s
	}
	return s
}

// judge puts how an input is into one word; r.mu is held.
func (r *Runner) judge(s *inputState) string {
	now := r.Clock.Now()
	switch {
	case s.failures > 0:
		return StateFailing
	case s.Polling && s.schedule != nil && !s.LastSuccess.IsZero() && now.After(s.schedule(s.schedule(s.PollStarted))):
		return StateLagging
	case s.LastSuccess.IsZero():
		return StateStarting
	case s.lag > 0 && time.Duration(s.LagSeconds)*time.Second > s.lag:
		return StateLagging
	case !s.seenAt.IsZero() && now.Sub(s.seenAt) > silentAfter:
		return StateSilent
	default:
		return StateOK
	}
}

// tell sends the heartbeat of an input and of the parts of its source.
func (r *Runner) tell(in *Input, st Stream) error {
	r.refresh(in)
	now := r.Clock.Now()
	var delivery *Delivery
	if r.Delivery != nil {
		d := r.Delivery(in.Name)
		delivery = &d
	}

	r.mu.Lock()
	s := r.state(in)
	s.Events = st.Events()
	state := r.judge(s)
	s.told = state
	s.beats++
	ev := r.health(in, now, "heartbeat", strconv.Itoa(s.beats))
	ev.SchemaVersion, ev.Version, ev.State = schema.Version, r.Version, state
	ev.Events = event.N(int64(s.Events - s.eventsBefore))
	ev.RecordsRead = event.N(s.records)
	ev.NewestRecordTime, ev.LastSweepTime = event.At(s.NewestRecord), event.At(s.LastSweep)
	ev.InventoryComplete = s.inventory
	if !s.NewestRecord.IsZero() {
		ev.LagSeconds = event.N(s.LagSeconds)
	}
	ev.Error, ev.Coverage = s.Error, s.Coverage
	s.eventsBefore, s.records = s.Events, 0
	var parts []event.Event
	for _, id := range slices.Sorted(maps.Keys(s.parts)) { // numbered in an order that is always the same
		p := s.parts[id]
		part := r.health(in, now, "heartbeat", strconv.Itoa(s.beats), id)
		part.AssetType, part.AssetID, part.AssetName = "bucket", id, ""
		part.SchemaVersion, part.Version, part.State = schema.Version, r.Version, state
		part.RecordsRead = event.N(p.RecordsRead)
		part.NewestRecordTime = event.At(p.NewestRecord)
		p.RecordsRead = 0
		parts = append(parts, part)
	}
	r.mu.Unlock()

	if delivery != nil {
		ev.QueueBytes = event.N(delivery.QueueBytes)
		ev.OldestQueuedSeconds = event.N(int64(delivery.Oldest / time.Second))
		ev.DeadLetters = event.N(delivery.DeadLetters)
		ev.Held = event.N(delivery.Held)
	}
	if err := st.Health(&ev); err != nil {
		return err
	}
	for i := range parts {
		if err := st.Health(&parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// health returns a health event about an input; distinct keeps it apart from
// others of the same millisecond.
func (r *Runner) health(in *Input, now time.Time, operation string, distinct ...string) event.Event {
	parts := append([]string{operation, r.Collector, in.Name, strconv.FormatInt(now.UnixMilli(), 10)}, distinct...)
	return event.Event{
		Envelope:  event.Envelope{Time: event.At(now), Host: r.Host, Sourcetype: event.SourcetypeHealth},
		ID:        event.MakeID(event.SourcetypeHealth, parts...),
		Operation: operation,
		AssetType: event.Input,
	}
}
