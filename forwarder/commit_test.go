package forwarder

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
)

// nowhere is a destination that nothing is sent to.
type nowhere struct{}

func (nowhere) Send(context.Context, Body, func(bool)) Outcome { return Outcome{Verdict: Hold} }
func (nowhere) Run(ctx context.Context) error                  { <-ctx.Done(); return nil }
func (nowhere) Check(context.Context) []Finding                { return nil }

// While a group is being committed the next one is compressed already. When the
// first can't be committed, the second must not be either: its events would be
// there, and those before them would be a hole in the numbers.
func TestNothingFollowsAGroupThatCouldNotBeCommitted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	q, err := queue.Open(dir, queue.Options{})
	require.NoError(t, err)
	f, err := New(Options{Queue: q, Destination: nowhere{}, Linger: time.Hour})
	require.NoError(t, err)
	const input = "aiwatch_s3://prod"
	s, err := f.Open(t.Context(), Input{Name: input, Source: "logs"})
	require.NoError(t, err)
	require.NoError(t, s.Flush()) // the event that says that the state is new

	tried := make(chan struct{})
	once := sync.OnceFunc(func() { close(tried) })
	refuse := &rider{change: func(*queue.Tx) error { once(); return errors.New("refused") }, done: func() {}}
	ev := event.Event{Envelope: event.Envelope{Time: event.Millis(1)}, ID: event.MakeID("first")}
	require.NoError(t, s.tell(told{event: ev, rider: refuse}))
	var flushes errgroup.Group
	flushes.Go(s.Flush)
	<-tried

	ev.ID = event.MakeID("second")
	require.NoError(t, s.Emit(&ev))
	flushes.Go(s.Flush)
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.busy != nil && s.sealed != nil
	}, time.Minute, time.Millisecond, "the second group waits behind the first")

	require.NoError(t, f.Close())
	require.ErrorContains(t, flushes.Wait(), "refused")
	require.NoError(t, q.Close())
	q, err = queue.Open(dir, queue.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	kept, err := q.Input(input, "logs", "")
	require.NoError(t, err)
	require.EqualValues(t, 1, kept.Seq)
	require.EqualValues(t, 1, q.Depth().Events)
}
