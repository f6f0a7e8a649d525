package scenario

import (
	"sync"
	"time"
)

// A clock is the one clock of a play. Collectors' runners sleep on it, each
// input on a lane of its own; whoever drives the play wakes one sleeper at a
// time and waits until everybody sleeps again, so that a play is the same each
// time.
type clock struct {
	mu    sync.Mutex
	idle  sync.Cond // all awake counts are 0
	now   time.Time
	awake int
	lanes []*lane
	count int
}

func newClock(now time.Time) *clock {
	c := &clock{now: now}
	c.idle.L = &c.mu
	return c
}

// Now is the simulated time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// set moves the clock; nobody may be awake.
func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// A sleeper waits for its time.
type sleeper struct {
	at    time.Time
	lane  int
	order int
	wake  chan time.Time
}

// A lane is the clock as one input's runner sees it.
type lane struct {
	clock  *clock
	number int
	asleep []*sleeper
	parked sync.Cond // somebody of the lane fell asleep
	closed bool
}

// lane adds a lane on which so many goroutines will sleep.
func (c *clock) lane(goroutines int) *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &lane{clock: c, number: len(c.lanes)}
	l.parked.L = &c.mu
	c.lanes = append(c.lanes, l)
	c.awake += goroutines
	return l
}

// Now is the simulated time.
func (l *lane) Now() time.Time { return l.clock.Now() }

// After puts its caller to sleep.
func (l *lane) After(d time.Duration) <-chan time.Time {
	c := l.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &sleeper{at: c.now.Add(d), lane: l.number, order: c.count, wake: make(chan time.Time, 1)}
	c.count++
	if l.closed {
		return s.wake // it was told to end
	}
	l.asleep = append(l.asleep, s)
	c.awake--
	l.parked.Broadcast()
	if c.awake == 0 {
		c.idle.Broadcast()
	}
	return s.wake
}

// untilAsleep returns when so many of the lane sleep, or when it is closed.
func (l *lane) untilAsleep(n int) {
	l.clock.mu.Lock()
	defer l.clock.mu.Unlock()
	for len(l.asleep) < n && !l.closed {
		l.parked.Wait()
	}
}

// close forgets the lane's sleepers; their goroutines are ended by whoever runs
// them. Everybody sleeps.
func (l *lane) close() {
	l.clock.mu.Lock()
	defer l.clock.mu.Unlock()
	l.closed, l.asleep = true, nil
	l.parked.Broadcast()
}

// settle returns when everybody sleeps.
func (c *clock) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.awake > 0 {
		c.idle.Wait()
	}
}

// next tells when the first sleeper is due.
func (c *clock) next() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.first()
	if s == nil {
		return time.Time{}, false
	}
	return s.at, true
}

// first is the sleeper that wakes first: of one moment the one of the first
// lane, and there the one that fell asleep first.
func (c *clock) first() *sleeper {
	var first *sleeper
	for _, l := range c.lanes {
		for _, s := range l.asleep {
			if first == nil || s.at.Before(first.at) || s.at.Equal(first.at) && s.lane == first.lane && s.order < first.order {
				first = s
			}
		}
	}
	return first
}

// wake moves the clock to the first sleeper's time, wakes it, and returns when
// everybody sleeps again.
func (c *clock) wake() {
	c.mu.Lock()
	s := c.first()
	if s == nil {
		c.mu.Unlock()
		return
	}
	l := c.lanes[s.lane]
	for i := range l.asleep {
		if l.asleep[i] == s {
			l.asleep = append(l.asleep[:i], l.asleep[i+1:]...)
			break
		}
	}
	if s.at.After(c.now) {
		c.now = s.at
	}
	c.awake++
	s.wake <- c.now
	c.mu.Unlock()
	c.settle()
}
