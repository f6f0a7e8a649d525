package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"aiwatch/collectors"
)

// measure is how far long work has come.
type measure struct {
	done, total int64 // bytes or records; total is 0 when it is not known
	events      uint64
	waiting     int64 // events that wait for delivery
}

// measureOf sums up how far the inputs are.
func measureOf(statuses []collectors.Status, waiting int64) measure {
	m := measure{waiting: waiting}
	known := true
	for _, s := range statuses {
		m.events += s.Events
		m.done += s.Done
		m.total += s.Total
		known = known && (s.Total > 0 || !s.Polling)
	}
	if !known {
		m.total = 0
	}
	return m
}

// showProgress tells how long work goes until ctx is done: on a terminal as a
// bar with rate and remaining time, elsewhere as a log line now and then.
func (p *program) showProgress(ctx context.Context, log *slog.Logger, now func() measure) {
	if f, ok := p.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.showBar(ctx, now)
		return
	}
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	var before measure
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m := now()
		if m == before {
			continue
		}
		args := []any{"events", m.events, "per_second", int64(m.events-min(before.events, m.events)) / 30, "waiting", m.waiting}
		if m.total > 0 {
			args = append(args, "read", fmt.Sprintf("%d %%", 100*m.done/m.total))
		}
		log.Info("working", args...)
		before = m
	}
}

func (p *program) showBar(ctx context.Context, now func() measure) {
	bar := progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(200*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
		// It is drawn at our ticks alone: a goroutine of its own would have no owner.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	began := p.now()
	for {
		select {
		case <-ctx.Done():
			_ = bar.Finish()
			return
		case <-tick.C:
		}
		m := now()
		if m.total > 0 {
			bar.ChangeMax64(m.total)
		}
		var text strings.Builder
		fmt.Fprintf(&text, "%d events", m.events)
		if s := p.now().Sub(began).Seconds(); s >= 1 {
			fmt.Fprintf(&text, ", %.0f/s", float64(m.events)/s)
		}
		if m.waiting > 0 {
			fmt.Fprintf(&text, ", %d waiting", m.waiting)
		}
		bar.Describe(text.String())
		_ = bar.Set64(m.done)
	}
}
