//go:build linux

package splunkdsim

import (
	"strconv"
	"testing"
	"time"

	"github.com/adhocore/gronx"
)

// Scheduled is an input that is started as its interval says. Its clock is the
// test's: At says what time it is.
//
// As inputs.conf.spec has it: a number of seconds starts the input with splunkd
// and again so long after the last start, once it has ended; 0 starts it again
// as soon as it ends, -1 never again; a cron expression starts it at its times
// and not with splunkd. No input runs twice at once.
type Scheduled struct {
	// Runs are all starts so far.
	Runs []*Input

	tb    testing.TB
	start func() *Input
	every time.Duration // negative: never again
	cron  string
	due   time.Time
}

// Schedule starts splunkd at a moment with one input enabled.
func (i *Instance) Schedule(now time.Time, scheme, name, interval string, params map[string]string) *Scheduled {
	i.tb.Helper()
	s := &Scheduled{tb: i.tb, due: now}
	s.start = func() *Input {
		all := map[string]string{"interval": interval}
		for k, v := range params {
			all[k] = v
		}
		return i.Start(scheme, name, all)
	}
	if seconds, err := strconv.ParseFloat(interval, 64); err == nil {
		s.every = time.Duration(seconds * float64(time.Second))
	} else {
		s.cron = interval
		s.due = s.next(now)
	}
	s.At(now)
	return s
}

func (s *Scheduled) next(after time.Time) time.Time {
	s.tb.Helper()
	next, err := gronx.NextTickAfter(s.cron, after, false)
	check(s.tb, err)
	return next
}

// At says what time it is, and returns the input where it is started at that.
func (s *Scheduled) At(now time.Time) *Input {
	s.tb.Helper()
	if now.Before(s.due) || s.running() || s.every < 0 && len(s.Runs) > 0 {
		return nil
	}
	if s.due = now.Add(s.every); s.cron != "" {
		s.due = s.next(now)
	}
	in := s.start()
	s.Runs = append(s.Runs, in)
	return in
}

func (s *Scheduled) running() bool {
	if len(s.Runs) == 0 {
		return false
	}
	select {
	case <-s.Runs[len(s.Runs)-1].ended:
		return false
	default:
		return true
	}
}
