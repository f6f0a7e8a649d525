package forwarder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"aiwatch/forwarder/queue"
)

// lane is the row of batches of one index.
type lane struct {
	after   uint64 // batches up to here were looked at
	hold    hold
	sending int
}

// hold says that something waits, until when and why. Its zero value holds
// nothing.
type hold struct {
	until  time.Time
	pause  time.Duration
	reason string
	code   int
	since  time.Time
}

// closed says whether nothing may be sent now. Behind until one body may try.
func (h *hold) closed(now time.Time) bool { return now.Before(h.until) }

// gate is the hold on everything. It is closed for a while by retries too.
type gate struct {
	hold
	why     string // of the last retry
	probing bool   // one body at a time until one is taken
}

// caps is what is known about the sizes that the destination takes.
type caps struct {
	limit  atomic.Int64 // raw bytes a body is cut at
	raw    int          // half of the smallest raw size that was refused; 0 is none
	packed int          // the same after compression
}

// bodyLimit is how many raw bytes go into a body.
func (f *Forwarder) bodyLimit() int { return int(f.caps.limit.Load()) }

// parcel is a batch that is on its way.
type parcel struct {
	queue.Header
	accepted bool  // sent, waits for its confirmation
	answer   *bool // a confirmation that came early
}

// added notes a new batch.
func (f *Forwarder) added(index string, id uint64) {
	f.mu.Lock()
	f.rewind(index, id)
	f.mu.Unlock()
	f.stir()
}

// rewind makes the lane look at the batch again; f.mu is held.
func (f *Forwarder) rewind(index string, id uint64) {
	l := f.lanes[index]
	if l == nil {
		l = &lane{}
		f.lanes[index] = l
	}
	l.after = min(l.after, id-1)
}

// release gives a batch back, to be sent again.
func (f *Forwarder) release(p *parcel) {
	f.mu.Lock()
	delete(f.busy, p.ID)
	f.rewind(p.Index, p.ID)
	f.mu.Unlock()
	f.stir()
}

// deliver hands batches to the destination until ctx is done.
func (f *Forwarder) deliver(ctx context.Context) error {
	var sends errgroup.Group
	defer func() { _ = sends.Wait() }()
	for {
		p, wait, err := f.pick()
		if err != nil {
			return err
		}
		if p != nil {
			sends.Go(func() error {
				f.send(ctx, p)
				return nil
			})
			continue
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = f.clock.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-timer:
		}
	}
}

// pick takes the next batch that may be sent. Without one it says how long to
// wait, 0 when only a change can bring one.
func (f *Forwarder) pick() (*parcel, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return nil, 0, f.failed
	}
	now := f.clock.Now()
	if f.gate.closed(now) {
		return nil, f.gate.until.Sub(now), nil
	}
	if f.paused > 0 || f.sending >= f.inFlight || f.gate.probing && f.sending > 0 {
		return nil, 0, nil
	}
	var wait time.Duration
	for _, index := range f.order() {
		l := f.lanes[index]
		if l.hold.closed(now) {
			if left := l.hold.until.Sub(now); wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		if l.hold.reason != "" && l.sending > 0 {
			continue
		}
		for {
			h, found, err := f.queue.Next(index, l.after)
			if err != nil {
				return nil, 0, err
			}
			if !found {
				break
			}
			l.after = h.ID
			if f.busy[h.ID] != nil {
				continue
			}
			p := &parcel{Header: h}
			f.busy[h.ID] = p
			f.sending++
			l.sending++
			return p, 0, nil
		}
	}
	return nil, wait, nil
}

// order returns the indexes, the one with the fewest bodies on the way first, so
// that a long row does not keep the others waiting; f.mu is held.
func (f *Forwarder) order() []string {
	indexes := make([]string, 0, len(f.lanes))
	for index := range f.lanes {
		indexes = append(indexes, index)
	}
	slices.SortFunc(indexes, func(a, b string) int {
		if d := f.lanes[a].sending - f.lanes[b].sending; d != 0 {
			return d
		}
		return int(min(max(int64(f.lanes[a].after)-int64(f.lanes[b].after), -1), 1))
	})
	return indexes
}

// landed says that the parcel is no longer being sent.
func (f *Forwarder) landed(p *parcel) {
	f.mu.Lock()
	f.sending--
	f.lanes[p.Index].sending--
	close(f.landing)
	f.landing = make(chan struct{})
	f.mu.Unlock()
	f.stir()
}

// send hands a batch to the destination and settles what becomes of it.
func (f *Forwarder) send(ctx context.Context, p *parcel) {
	defer f.landed(p)
	data, err := f.queue.Body(p.Header, f.packed.get())
	defer func() { f.packed.put(data) }()
	switch {
	case errors.Is(err, queue.ErrUnreadable):
		f.unreadable(p, err)
		return
	case err != nil:
		f.fail(err)
		return
	}
	if f.tooLarge(p) {
		f.bisect(ctx, p, data)
		return
	}
	f.trace("before-post")
	f.metrics.Bytes.Add(int64(len(data)))
	out := f.destination.Send(ctx, Body{Data: data, Raw: p.Raw, Events: p.Events, Index: p.Index}, func(ok bool) { f.confirm(p, ok) })
	f.trace("posted")
	f.settle(ctx, p, data, out)
}

// confirm takes the destination's late word on a parcel.
func (f *Forwarder) confirm(p *parcel, ok bool) {
	f.mu.Lock()
	if !p.accepted {
		p.answer = &ok
		f.mu.Unlock()
		return
	}
	p.accepted = false
	f.mu.Unlock()
	f.confirmed(p, ok)
}

// await makes the parcel wait for its confirmation, which may have come.
func (f *Forwarder) await(p *parcel) {
	f.mu.Lock()
	if p.answer == nil {
		p.accepted = true
		f.mu.Unlock()
		return
	}
	ok := *p.answer
	p.answer = nil
	f.mu.Unlock()
	f.confirmed(p, ok)
}

func (f *Forwarder) confirmed(p *parcel, ok bool) {
	if !ok {
		f.metrics.Resent.Add(int64(p.Events))
		f.log.Warn("a batch was never confirmed and is sent again", "input", p.Input, "events", p.Events)
		f.release(p)
		return
	}
	f.metrics.Confirmed.Add(int64(p.Events))
	f.finish(p)
}

// finish has the batch removed: the destination has it.
func (f *Forwarder) finish(p *parcel) {
	f.mu.Lock()
	f.removing = append(f.removing, p)
	f.mu.Unlock()
	select {
	case f.removals <- struct{}{}:
	default:
	}
}

// removeAtOnce is how many batches are removed in one transaction.
const removeAtOnce = 256

// remove takes what was delivered out of the queue, as much at once as there is.
func (f *Forwarder) remove(ctx context.Context) error {
	for {
		select {
		case <-f.removals:
		case <-ctx.Done():
			return nil
		}
		if err := f.removeAll(ctx); err != nil {
			return err
		}
	}
}

func (f *Forwarder) removeAll(ctx context.Context) error {
	for {
		f.mu.Lock()
		n := min(len(f.removing), removeAtOnce)
		batch := slices.Clone(f.removing[:n])
		f.removing = slices.Delete(f.removing, 0, n)
		f.mu.Unlock()
		if n == 0 {
			return nil
		}
		f.trace("before-remove")
		err := f.persist(ctx.Done(), nil, func() error {
			return f.queue.Update(func(tx *queue.Tx) error {
				for _, p := range batch {
					if err := tx.Remove(p.Header); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			if ctx.Err() != nil {
				return nil // it is sent again at the next start
			}
			return err
		}
		f.trace("removed")
		f.mu.Lock()
		for _, p := range batch {
			delete(f.busy, p.ID)
		}
		f.mu.Unlock()
		f.stir()
	}
}

// unreadable sets a batch aside whose bytes are not what was written, and says
// so by a health event that is committed with it.
func (f *Forwarder) unreadable(p *parcel, cause error) {
	f.log.Error("a batch is unreadable and set aside", "error", cause)
	f.metrics.Lost.Add(int64(p.Events))
	ev := f.healthEvent(p.Input, "gap.unreadable", strconv.FormatUint(p.First, 10), strconv.FormatUint(p.Last, 10))
	ev.Text = fmt.Sprintf("events %d to %d could not be read from the queue any more; they are lost to the destination", p.First, p.Last)
	f.tellWith(p, ev, func(tx *queue.Tx) error { return tx.SetAside(p.Header) })
}
