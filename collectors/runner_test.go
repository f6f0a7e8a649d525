package collectors

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/internal/event"
)

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// manualClock moves when it is told to. waiting receives each wait, so that a
// test knows when the runner sleeps.
type manualClock struct {
	mu      sync.Mutex
	now     time.Time
	wakes   []wake
	waiting chan time.Duration
}

type wake struct {
	at time.Time
	c  chan time.Time
}

func newClock() *manualClock {
	return &manualClock{now: epoch, waiting: make(chan time.Duration, 100)}
}

func (c *manualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *manualClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	c.wakes = append(c.wakes, wake{c.now.Add(d), ch})
	c.waiting <- d
	return ch
}

func (c *manualClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	var later []wake
	for _, w := range c.wakes {
		if w.at.After(c.now) {
			later = append(later, w)
		} else {
			w.c <- c.now
		}
	}
	c.wakes = later
}

// scripted is a collector whose polls are functions.
type scripted struct {
	polls  []func(out Output) error
	report Report
	count  int
	notify chan struct{}
}

func (s *scripted) Poll(ctx context.Context, out Output) error {
	if s.count >= len(s.polls) {
		<-ctx.Done()
		return ctx.Err()
	}
	s.count++
	return s.polls[s.count-1](out)
}

func (s *scripted) Check(context.Context) []Finding { return nil }

func (s *scripted) Report() Report {
	rep := s.report
	s.report.RecordsRead, s.report.Parts = 0, nil
	return rep
}

func (s *scripted) Notify() <-chan struct{} { return s.notify }

// sink is a Memory whose envelopes are kept.
type sink struct {
	Memory
	events []map[string]any
}

func newSink(name string) *sink {
	s := &sink{}
	s.Source, s.Collector = name, "0badcafe"
	s.Deliver = func(envelope []byte) error {
		var m map[string]any
		if err := json.Unmarshal(envelope, &m); err != nil {
			return err
		}
		s.events = append(s.events, m["event"].(map[string]any))
		return nil
	}
	return s
}

func (s *sink) operations() (ops []string) {
	for _, e := range s.events {
		op := e["operation"].(string)
		if state, ok := e["state"].(string); ok {
			op += " " + state
		}
		ops = append(ops, op)
	}
	return ops
}

func runner(c Collector, st Stream, clock Clock) *Runner {
	return &Runner{
		Inputs: []Input{{
			Name: "aiwatch_s3://prod", Collector: c, Schedule: Every(time.Minute),
			Open: func(context.Context) (Stream, error) { return st, nil },
		}},
		Clock: clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Host: "fw", Version: "1.2.3", Collector: "0badcafe",
	}
}

func access(id string) *event.Event {
	return &event.Event{
		Envelope: event.Envelope{Time: event.At(epoch), Sourcetype: event.SourcetypeS3},
		ID:       event.MakeID(event.SourcetypeS3, id), Operation: id,
	}
}

func TestOnceTellsHowItWent(t *testing.T) {
	st := newSink("aiwatch_s3://prod")
	c := &scripted{polls: []func(Output) error{func(out Output) error {
		require.NoError(t, out.Emit(access("a")))
		out.Put("at", []byte("1"))
		return out.Checkpoint()
	}}, report: Report{
		RecordsRead: 10, NewestRecord: epoch.Add(-time.Hour), LastSweep: epoch, InventoryComplete: event.True,
		Coverage: []string{"grants are not visible"},
		Parts:    []Part{{AssetID: "s3://models", RecordsRead: 10, NewestRecord: epoch.Add(-time.Hour)}},
	}}
	r := runner(c, st, newClock())
	r.Delivery = func(string) Delivery {
		return Delivery{QueueBytes: 5, Oldest: 2 * time.Second, DeadLetters: 1, Held: 3}
	}
	require.NoError(t, r.Once(t.Context()))
	require.Equal(t, []string{"a", "heartbeat ok", "heartbeat ok"}, st.operations())
	beat := st.events[1]
	for field, want := range map[string]any{
		"schema_version": "1.0", "version": "1.2.3", "events": 1.0, "records_read": 10.0, "lag_seconds": 3600.0,
		"newest_record_time": float64(epoch.Add(-time.Hour).Unix()), "last_sweep_time": float64(epoch.Unix()),
		"inventory_complete": true, "coverage": []any{"grants are not visible"}, "queue_bytes": 5.0,
		"oldest_queued_seconds": 2.0, "dead_letters": 1.0, "held": 3.0, "seq": 2.0,
		"asset_id": "aiwatch:0badcafe/aiwatch_s3://prod", "asset_type": "input",
	} {
		require.Equal(t, want, beat[field], field)
	}
	part := st.events[2]
	require.Equal(t, "s3://models", part["asset_id"])
	require.Equal(t, 10.0, part["records_read"])
	require.NotEqual(t, beat["event_id"], part["event_id"])
}

func TestAFailedPollIsDiscardedToldAndJoined(t *testing.T) {
	st := newSink("aiwatch_s3://prod")
	c := &scripted{polls: []func(Output) error{func(out Output) error {
		require.NoError(t, out.Emit(access("kept")))
		require.NoError(t, out.Checkpoint())
		require.NoError(t, out.Emit(access("dropped")))
		out.Put("at", []byte("2"))
		return errors.New("list objects of s3://logs: access denied")
	}}}
	err := runner(c, st, newClock()).Once(t.Context())
	require.EqualError(t, err, "aiwatch_s3://prod: list objects of s3://logs: access denied")
	require.Equal(t, []string{"kept", "heartbeat failing"}, st.operations())
	require.Equal(t, "list objects of s3://logs: access denied", st.events[1]["error"])
	v, err := st.Get("at")
	require.NoError(t, err)
	require.Nil(t, v)
	require.Equal(t, 2.0, st.events[1]["seq"], "the dropped event gave its number back")
}

func TestAPanicOfOneCollectorIsAnError(t *testing.T) {
	st := newSink("aiwatch_s3://prod")
	c := &scripted{polls: []func(Output) error{func(Output) error { panic("index out of range") }}}
	err := runner(c, st, newClock()).Once(t.Context())
	require.ErrorContains(t, err, "index out of range")
	require.Equal(t, "failing", st.events[0]["state"])
}

func TestRunPollsAtItsPaceAndSoonerAfterAFailure(t *testing.T) {
	clock := newClock()
	st := newSink("aiwatch_s3://prod")
	var at []time.Duration
	mark := func(err error) func(Output) error {
		return func(Output) error { at = append(at, clock.Now().Sub(epoch)); return err }
	}
	broken := errors.New("connection refused")
	c := &scripted{polls: []func(Output) error{mark(nil), mark(broken), mark(broken), mark(nil), mark(nil)}, notify: make(chan struct{})}
	r := runner(c, st, clock)
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return r.Run(ctx) })
	for _, wait := range []time.Duration{time.Minute, 10 * time.Second, 20 * time.Second, time.Minute} {
		require.Equal(t, wait, <-clock.waiting)
		clock.advance(wait)
	}
	require.Equal(t, time.Minute, <-clock.waiting)
	c.notify <- struct{}{} // a webhook asks for a poll now; the script is at its end
	cancel()
	require.NoError(t, g.Wait())
	require.Equal(t, []time.Duration{0, 60 * time.Second, 70 * time.Second, 90 * time.Second, 150 * time.Second}, at)
	require.Equal(t, []string{"heartbeat ok", "heartbeat failing", "heartbeat ok"}, st.operations(), "each change of state is told")
}

func TestAnInputThatIsDueAtOnceIsNotTriedWithoutPauseWhenItFails(t *testing.T) {
	clock := newClock()
	broken := func(Output) error { return errors.New("connection refused") }
	c := &scripted{polls: []func(Output) error{broken, broken}}
	r := runner(c, newSink("aiwatch_s3://prod"), clock)
	r.Inputs[0].Schedule = Every(0)
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return r.Run(ctx) })
	require.Equal(t, 10*time.Second, <-clock.waiting)
	clock.advance(10 * time.Second)
	require.Equal(t, 20*time.Second, <-clock.waiting)
	cancel()
	require.NoError(t, g.Wait())
	require.Equal(t, 5*time.Minute, backoff(1000))
}

func TestHeartbeatsComeWhileAPollRuns(t *testing.T) {
	clock := newClock()
	st := newSink("aiwatch_s3://prod")
	c := &scripted{}
	r := runner(c, st, clock)
	r.Heartbeat = 5 * time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return r.Run(ctx) })
	for range 3 {
		require.Equal(t, r.Heartbeat, <-clock.waiting)
		clock.advance(r.Heartbeat)
	}
	<-clock.waiting // the third heartbeat is out once the runner waits for the fourth
	cancel()
	require.NoError(t, g.Wait())
	require.Equal(t, []string{"heartbeat starting", "heartbeat starting", "heartbeat starting"}, st.operations())
	require.Equal(t, "starting", r.Statuses()[0].State)
}

func TestAnInputThatFallsBehindOrFallsSilentIsSaidSo(t *testing.T) {
	clock := newClock()
	st := newSink("aiwatch_s3://prod")
	ok := func(Output) error { return nil }
	c := &scripted{polls: []func(Output) error{ok, ok, ok}, report: Report{RecordsRead: 1, NewestRecord: epoch.Add(-2 * time.Hour)}}
	r := runner(c, st, clock)
	r.Inputs[0].Lag = time.Hour
	require.NoError(t, r.Once(t.Context()))
	require.Equal(t, StateLagging, r.Statuses()[0].State)
	r.Inputs[0].Lag = 0
	r.states = nil
	require.NoError(t, r.Once(t.Context()))
	require.Equal(t, StateOK, r.Statuses()[0].State)
	clock.advance(25 * time.Hour)
	require.NoError(t, r.Once(t.Context()))
	require.Equal(t, StateSilent, r.Statuses()[0].State)
}
