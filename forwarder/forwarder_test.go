package forwarder_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/collectors"
	"aiwatch/forwarder"
	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/hec"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
)

// A Stream is what the collectors' runner wants.
var _ collectors.Stream = (*forwarder.Stream)(nil)

const (
	token = "5e1f0000-0000-4000-8000-000000000001"
	input = "aiwatch_s3://prod"
)

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// access is the n-th of a row of events.
func access(n int) *event.Event {
	return &event.Event{
		Envelope: event.Envelope{Time: event.At(epoch.Add(time.Duration(n) * time.Second)), Host: "s3.test", Sourcetype: event.SourcetypeS3},
		ID:       event.MakeID(event.SourcetypeS3, fmt.Sprint(n)), Operation: "REST.GET.OBJECT", Action: "read",
		User: "alice", UserAgent: "aws-cli/2.15 \"quoted\" {[", AssetType: "model", AssetID: fmt.Sprintf("s3://models/m/%d.safetensors", n),
	}
}

// receiver starts an embedded receiver.
func receiver(t *testing.T, config hecserver.Config) (*hecserver.Server, *hecserver.Counter) {
	t.Helper()
	counter := hecserver.NewCounter()
	if config.Tokens == nil {
		config.Tokens = []hecserver.Token{{Value: token}}
	}
	if config.Sink == nil {
		config.Sink = counter
	}
	s, err := hecserver.Start("127.0.0.1:0", nil, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, counter
}

// rig is a forwarder on a queue in a folder.
type rig struct {
	t      *testing.T
	queue  *queue.Queue
	f      *forwarder.Forwarder
	files  *archive.Writer // nil without an archive
	cancel context.CancelFunc
	run    errgroup.Group
}

type rigOptions struct {
	queue     queue.Options
	hec       hec.Config
	forwarder forwarder.Options
	archive   string // the folder; empty is none
	retention time.Duration
}

func start(t *testing.T, dir string, o rigOptions) *rig {
	t.Helper()
	r := &rig{t: t}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	o.queue.Log = log
	var err error
	r.queue, err = queue.Open(dir, o.queue)
	require.NoError(t, err)
	if o.forwarder.Destination == nil {
		if o.hec.Token == "" {
			o.hec.Token = token
		}
		o.hec.AckInterval = max(o.hec.AckInterval, 5*time.Millisecond)
		o.hec.Log = log
		if o.hec.RetryMin == 0 {
			o.hec.RetryMin = 5 * time.Millisecond
		}
		d, err := hec.New(o.hec)
		require.NoError(t, err)
		o.forwarder.Destination = d
	}
	o.forwarder.Queue, o.forwarder.Log, o.forwarder.Host = r.queue, log, "fw"
	if o.forwarder.Linger == 0 {
		o.forwarder.Linger = 5 * time.Millisecond
	}
	if o.forwarder.HoldMin == 0 {
		o.forwarder.HoldMin, o.forwarder.HoldMax = 5*time.Millisecond, 20*time.Millisecond
	}
	if o.archive != "" {
		r.files, err = archive.OpenWriter(o.archive, archive.Options{Retention: o.retention, Now: o.queue.Now, Log: log})
		require.NoError(t, err)
		o.forwarder.Archive = r.files
	}
	r.f, err = forwarder.New(o.forwarder)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	r.run.Go(func() error { return r.f.Run(ctx) })
	t.Cleanup(r.stop)
	return r
}

// stop ends everything in order; it may be called again.
func (r *rig) stop() {
	r.cancel()
	require.NoError(r.t, r.run.Wait())
	require.NoError(r.t, r.f.Close())
	require.NoError(r.t, r.queue.Close())
	if r.files != nil {
		require.NoError(r.t, r.files.Close())
	}
}

func (r *rig) open(name string) *forwarder.Stream {
	r.t.Helper()
	s, err := r.f.Open(r.t.Context(), forwarder.Input{Name: name, Source: "s3://logs/", Host: "s3.test", Index: "ai"})
	require.NoError(r.t, err)
	return s
}

// emit emits events from to to-1, with a checkpoint after every 100.
func (r *rig) emit(s *forwarder.Stream, from, to int) {
	r.t.Helper()
	for n := from; n < to; n++ {
		require.NoError(r.t, s.Emit(access(n)))
		s.Put("at", fmt.Append(nil, n))
		if n%100 == 99 {
			require.NoError(r.t, s.Checkpoint())
		}
	}
	require.NoError(r.t, s.Flush())
}

func (r *rig) drain() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	return r.f.Drain(ctx)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// whole asserts that all events came, none doubled, and no number is missing.
func whole(t *testing.T, c *hecserver.Counter, events, duplicates int) {
	t.Helper()
	s := c.Stats()
	require.Zero(t, s.Conflicts, "two contents under one event_id")
	require.Zero(t, s.SeqDoubles, "one number for two events")
	require.Zero(t, s.SeqMissing, "numbers are missing: %+v", s.Streams)
	require.EqualValues(t, duplicates, s.Duplicates)
	for n := range events {
		require.NotZero(t, c.Times(access(n).ID.String()), "event %d is lost", n)
	}
}

func TestEventsArriveOnceWithAndWithoutAcknowledgement(t *testing.T) {
	for _, ack := range []bool{false, true} {
		t.Run(fmt.Sprint("ack=", ack), func(t *testing.T) {
			server, counter := receiver(t, hecserver.Config{Tokens: []hecserver.Token{{Value: token, Ack: ack}}})
			r := start(t, t.TempDir()+"/state", rigOptions{hec: hec.Config{URLs: []string{server.URL()}}})
			s := r.open(input)
			r.emit(s, 0, 5000)
			require.NoError(t, r.drain())
			whole(t, counter, 5000, 0)
			require.EqualValues(t, 5001, s.Events(), "with the state.new")
			require.Zero(t, r.queue.Depth())
			m := r.f.Metrics()
			require.EqualValues(t, 5001, m.Sent.Load())
			if ack {
				require.EqualValues(t, 5001, m.Confirmed.Load())
			}
		})
	}
}

func contextWithDeadline(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
