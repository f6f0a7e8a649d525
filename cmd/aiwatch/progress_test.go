package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/collectors"
)

// TestProgressBar: long work on a terminal tells its events, their rate, what
// waits, how much is done and how long the rest may take.
func TestProgressBar(t *testing.T) {
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var screen output
	calls := 0
	p := &program{stderr: &screen, now: func() time.Time {
		calls++
		return began.Add(time.Duration(calls) * 2 * time.Second)
	}}
	ctx, cancel := context.WithCancel(t.Context())
	var bar errgroup.Group
	bar.Go(func() error {
		p.showBar(ctx, func() measure { return measure{done: 512 << 10, total: 1 << 20, events: 1200, waiting: 34} })
		return nil
	})
	eventually(t, "the bar tells how much is done", func() bool { return strings.Contains(screen.String(), "50%") })
	cancel()
	require.NoError(t, bar.Wait())
	require.Contains(t, screen.String(), "1200 events, 600/s, 34 waiting")
	require.Regexp(t, `50% \|.*\| \([\d.]+ [kM]B/s\) \[\d+s:\d+s\]`, screen.String(), "rate and remaining time")
}

// The bar's end is known only when all inputs that are read tell theirs.
func TestProgressOfSeveralInputs(t *testing.T) {
	known := collectors.Status{Events: 3, Polling: true}
	known.Done, known.Total = 10, 40
	idle := collectors.Status{Events: 2}
	unknown := collectors.Status{Polling: true}
	unknown.Done = 5
	require.Equal(t, measure{done: 10, total: 40, events: 5, waiting: 7}, measureOf([]collectors.Status{known, idle}, 7))
	require.Equal(t, measure{done: 15, events: 5}, measureOf([]collectors.Status{known, idle, unknown}, 0))
}
