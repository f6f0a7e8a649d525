package hec

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"aiwatch/forwarder"
)

// endpoint is one URL with what is known of it.
type endpoint struct {
	d    *Destination
	base string

	mu       sync.Mutex
	failures int
	until    time.Time // it is left alone until then
	reason   string    // why
	verified bool      // acknowledgements are on
	channel  *channel
	retired  []*channel // with acknowledgements that are still awaited
}

func newEndpoint(d *Destination, base string) *endpoint {
	return &endpoint{d: d, base: base, channel: newChannel()}
}

const (
	// ejectMax is the longest pause of an endpoint that failed; each is twice the
	// one before.
	ejectMax = time.Minute
	// ejectSetting is for one that is set up wrongly while others are not.
	ejectSetting = 5 * time.Minute
)

// maxPending is how many bodies wait for their acknowledgement, at most, for
// each endpoint.
const maxPending = 4096

// choose returns the endpoint whose turn it is, or how long to wait for one.
func (d *Destination) choose() (*endpoint, time.Duration) {
	now := d.clock.Now()
	n := len(d.endpoints)
	start := int(d.turn.Add(1) % uint64(n))
	wait := time.Duration(-1)
	for i := range n {
		e := d.endpoints[(start+i)%n]
		left := e.left(now)
		if left <= 0 {
			return e, 0
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return nil, wait
}

// left returns how long the endpoint is to be left alone.
func (e *endpoint) left(now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.until.After(now) {
		return e.until.Sub(now)
	}
	if e.pendingLocked() >= maxPending {
		return e.d.config.AckInterval
	}
	return 0
}

// whyNone says why no endpoint may be used.
func (d *Destination) whyNone() string {
	var reasons []string
	for _, e := range d.endpoints {
		e.mu.Lock()
		reason := e.reason
		if reason == "" {
			reason = e.base + " has not acknowledged what it has"
		}
		e.mu.Unlock()
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, "; ")
}

// failed is the outcome when there was no answer.
func (d *Destination) failed(e *endpoint, err error) forwarder.Outcome {
	t := explain(e.base, err)
	out := forwarder.Outcome{Verdict: forwarder.Retry, Code: -1, Text: t.text, Reason: t.text + ": " + t.fix}
	if t.severity == forwarder.Misset {
		out.Verdict = forwarder.Hold
	}
	return out
}

// judged notes how the endpoint fares. While another may be used, one that fails
// is no reason to wait or to hold.
func (d *Destination) judged(ctx context.Context, e *endpoint, out forwarder.Outcome) forwarder.Outcome {
	now := d.clock.Now()
	switch out.Verdict {
	case forwarder.Retry:
		if ctx.Err() != nil {
			return out // we hung up
		}
		e.eject(now, out.After, out.Reason)
	case forwarder.Hold:
		if len(d.endpoints) == 1 {
			return out
		}
		e.eject(now, ejectSetting, out.Reason)
		if other, _ := d.choose(); other == nil {
			e.readmit()
			return out
		}
		out.Verdict = forwarder.Retry
	default:
		e.readmit()
		return out
	}
	out.After = 0
	if other, wait := d.choose(); other == nil {
		out.After = wait
	}
	return out
}

// eject leaves the endpoint alone for a while.
func (e *endpoint) eject(now time.Time, atLeast time.Duration, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Before(e.until) && now.Add(atLeast).Before(e.until) {
		return // a request that was sent before it failed
	}
	pause := min(e.d.config.RetryMin<<min(e.failures, 10), ejectMax)
	pause += rand.N(pause / 4) // so that many forwarders do not come back at once
	if e.failures == 0 || e.reason != reason {
		e.d.log.Warn("an endpoint is left alone for a while", "endpoint", e.base, "reason", reason)
	}
	e.failures++
	e.until, e.reason = now.Add(max(pause, atLeast)), reason
}

// readmit notes that the endpoint is fine.
func (e *endpoint) readmit() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failures > 0 {
		e.d.log.Info("an endpoint is back", "endpoint", e.base)
	}
	e.failures, e.until, e.reason = 0, time.Time{}, ""
}
