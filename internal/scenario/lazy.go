package scenario

import (
	"context"

	"aiwatch/collectors"
)

// lazy is an input's collector whose polls are put off while nothing changes
// that it reads. It hides that the collector listens or notifies: in a play
// nobody calls it.
type lazy struct {
	collectors.Collector
	in    *input
	st    *station
	first int // sleepers to wait for before the first poll
	begun bool
}

func newLazy(c collectors.Collector, in *input, st *station, first int) *lazy {
	return &lazy{Collector: c, in: in, st: st, first: first}
}

// Poll reads the source. The first one begins when the input's heartbeat
// sleeps, so that both fall asleep in the same order in each play.
func (l *lazy) Poll(ctx context.Context, out collectors.Output) error {
	if !l.begun {
		l.begun = true
		l.in.lane.untilAsleep(l.first)
	}
	if l.in.settings.Kind() == "aiwatch_s3" {
		if err := l.st.world.deliverUntil(l.st.clock.Now()); err != nil {
			return err
		}
	}
	return l.Collector.Poll(ctx, out)
}

func (l *lazy) reads(...string) bool { return true }

func (l *lazy) catchUp(context.Context) error { return nil }
