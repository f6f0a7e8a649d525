package hec

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"aiwatch/forwarder"
)

// channel is one data channel of one endpoint. Its ids begin at 0 (1 with some
// receivers) and are given once; an id that comes again says that the receiver
// has started anew and knows nothing of the ones before.
type channel struct {
	guid string

	next    uint64          // all ids below were given
	given   map[uint64]bool // those above
	pending map[uint64]*pending

	// An answer to a question may come from a receiver that has started anew, and
	// its ids may then mean other bodies. That shows in the answers of the posts
	// that were under way, so what was read as acknowledged waits for them.
	ticket  uint64
	posts   map[uint64]bool // under way
	reading []reading
}

// pending is a body, or a prefix of one, that waits for its acknowledgement.
type pending struct {
	confirm func(ok bool)
	since   time.Time
	read    bool // as acknowledged
}

// reading is what an answer acknowledged, and the posts it waits for.
type reading struct {
	acked map[uint64]*pending
	posts map[uint64]bool
}

func newChannel() *channel {
	return &channel{guid: newGUID(), given: map[uint64]bool{}, pending: map[uint64]*pending{}, posts: map[uint64]bool{}}
}

// newGUID returns a random UUID (RFC 9562, version 4).
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// take notes that an id was given and says whether it was given before.
func (c *channel) take(id uint64) (again bool) {
	if id < c.next || c.given[id] {
		return true
	}
	c.given[id] = true
	if len(c.given) > 1024 { // a receiver that does not begin at 0, or skips some
		c.next = slices.Min(slices.Collect(maps.Keys(c.given)))
	}
	for c.given[c.next] {
		delete(c.given, c.next)
		c.next++
	}
	return false
}

// begin returns the channel for a post and the ticket to end it with.
func (e *endpoint) begin() (*channel, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.channel
	c.ticket++
	c.posts[c.ticket] = true
	return c, c.ticket
}

// end notes a post's answer. Confirm is kept when its acknowledgement is awaited.
func (e *endpoint) end(c *channel, ticket uint64, ackID *uint64, awaited bool, confirm func(bool)) {
	e.mu.Lock()
	var lost, acked []func(bool)
	delete(c.posts, ticket)
	if ackID != nil {
		if c.take(*ackID) {
			lost = e.startedAnew(c)
			c.take(*ackID)
		}
		if awaited {
			c.pending[*ackID] = &pending{confirm: confirm, since: e.d.clock.Now()}
		}
	}
	kept := c.reading[:0]
	for _, r := range c.reading {
		if delete(r.posts, ticket); len(r.posts) > 0 {
			kept = append(kept, r)
			continue
		}
		acked = append(acked, c.settle(r)...)
	}
	c.reading = kept
	e.mu.Unlock()
	call(lost, false)
	call(acked, true)
}

// startedAnew gives up what waits on the channel, and the channel: the receiver
// knows neither. E.mu is held.
func (e *endpoint) startedAnew(c *channel) (lost []func(bool)) {
	for _, p := range c.pending {
		lost = append(lost, p.confirm)
	}
	e.d.log.Warn("the receiver has started anew; what it had not acknowledged is sent again", "endpoint", e.base, "bodies", len(lost))
	clear(c.pending)
	clear(c.given)
	c.next, c.reading = 0, nil
	e.retire(c)
	return lost
}

// retire has new posts use a new channel. E.mu is held.
func (e *endpoint) retire(c *channel) {
	if e.channel == c {
		e.retired = append(e.retired, c)
		e.channel = newChannel()
	}
}

// settle takes out what a reading acknowledged. E.mu is held.
func (c *channel) settle(r reading) (acked []func(bool)) {
	for id, p := range r.acked {
		if c.pending[id] == p {
			delete(c.pending, id)
			acked = append(acked, p.confirm)
		}
	}
	return acked
}

func call(confirms []func(bool), ok bool) {
	for _, confirm := range confirms {
		confirm(ok)
	}
}

// pending returns how many bodies wait for their acknowledgement.
func (e *endpoint) pending() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pendingLocked()
}

func (e *endpoint) pendingLocked() int {
	n := len(e.channel.pending)
	for _, c := range e.retired {
		n += len(c.pending)
	}
	return n
}

// ask asks for all acknowledgements that are awaited, and gives up those that
// took too long.
func (e *endpoint) ask(ctx context.Context) {
	e.expire()
	e.mu.Lock()
	channels := append([]*channel{e.channel}, e.retired...)
	e.mu.Unlock()
	for _, c := range channels {
		if err := e.askOn(ctx, c); err != nil && ctx.Err() == nil {
			e.d.log.Warn("acknowledgements could not be asked for", "endpoint", e.base, "error", err)
		}
	}
}

// expire gives up what was not acknowledged in time: it is sent again, on a new
// channel.
func (e *endpoint) expire() {
	now := e.d.clock.Now()
	var lost []func(bool)
	e.mu.Lock()
	var kept []*channel
	for _, c := range append([]*channel{e.channel}, e.retired...) {
		late := 0
		for id, p := range c.pending {
			if !p.read && now.Sub(p.since) >= e.d.config.AckTimeout {
				delete(c.pending, id)
				lost = append(lost, p.confirm)
				late++
			}
		}
		if late > 0 {
			e.d.log.Warn("acknowledgements did not come in time", "endpoint", e.base, "bodies", late)
			e.retire(c)
		}
		if c != e.channel && len(c.pending)+len(c.posts) > 0 {
			kept = append(kept, c)
		}
	}
	e.retired = kept
	e.mu.Unlock()
	call(lost, false)
}

// askOn asks for what is awaited on one channel. An answer that can't be read
// acknowledges nothing.
func (e *endpoint) askOn(ctx context.Context, c *channel) error {
	e.mu.Lock()
	asked := map[uint64]*pending{}
	for id, p := range c.pending {
		if !p.read {
			asked[id] = p
		}
	}
	e.mu.Unlock()
	if len(asked) == 0 {
		return nil
	}
	ans, err := e.question(ctx, c.guid, slices.Sorted(maps.Keys(asked)))
	if err != nil {
		return errors.New(explain(e.base, err).text)
	}
	states, err := ans.acks()
	if err != nil {
		return fmt.Errorf("%s: %w", ans.told(e.base), err)
	}
	maps.DeleteFunc(asked, func(id uint64, _ *pending) bool { return !states[id] })
	e.mu.Lock()
	var acked []func(bool)
	r := reading{acked: asked, posts: maps.Clone(c.posts)}
	if len(r.posts) == 0 {
		acked = c.settle(r)
	} else if len(asked) > 0 {
		for _, p := range asked {
			p.read = true
		}
		c.reading = append(c.reading, r)
	}
	e.mu.Unlock()
	call(acked, true)
	return nil
}

func (e *endpoint) question(ctx context.Context, channel string, ids []uint64) (*answer, error) {
	body, err := json.Marshal(map[string][]uint64{"acks": ids})
	if err != nil {
		return nil, err
	}
	return e.d.post(ctx, e.base+ackPath+"?channel="+channel, channel, body, false)
}

// acks reads an answer to the question for acknowledgements.
func (a *answer) acks() (map[uint64]bool, error) {
	var r struct {
		Acks map[string]bool `json:"acks"`
	}
	if a.broken != nil {
		return nil, fmt.Errorf("read the acknowledgements: %w", a.broken)
	}
	if a.status != http.StatusOK {
		return nil, errors.New("that acknowledges nothing")
	}
	if err := json.Unmarshal(a.body, &r); err != nil {
		return nil, fmt.Errorf("read the acknowledgements: %w", err)
	}
	if r.Acks == nil {
		return nil, errors.New("read the acknowledgements: there are none in it")
	}
	states := make(map[uint64]bool, len(r.Acks))
	for key, state := range r.Acks {
		id, err := strconv.ParseUint(key, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the acknowledgements: %w", err)
		}
		states[id] = state
	}
	return states, nil
}

// verifyAck asks, before the first body, whether the token has acknowledgements
// at all. Without them the outcome says what to do. It asks on a channel of its
// own: an acknowledgement is told once, and on the bodies' channel the question
// could take that of a body which another sender has just posted.
func (e *endpoint) verifyAck(ctx context.Context) (forwarder.Outcome, bool) {
	e.mu.Lock()
	verified := e.verified
	e.mu.Unlock()
	if verified {
		return forwarder.Outcome{}, true
	}
	ans, err := e.question(ctx, newGUID(), []uint64{0})
	if err != nil {
		return e.d.failed(e, err), false
	}
	if _, err := ans.acks(); err != nil {
		out := ans.outcome(e.base, 1, e.d.clock.Now())
		if out.Verdict != forwarder.Retry {
			out.Verdict = forwarder.Hold
		}
		out.Taken = 0
		return out, false
	}
	e.mu.Lock()
	e.verified = true
	e.mu.Unlock()
	return forwarder.Outcome{}, true
}

// unverify has acknowledgements asked for again before the next body.
func (e *endpoint) unverify() {
	e.mu.Lock()
	e.verified = false
	e.mu.Unlock()
}
