package forwarder

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
)

// settle does what the destination's answer asks for.
func (f *Forwarder) settle(ctx context.Context, p *parcel, data []byte, out Outcome) {
	switch out.Verdict {
	case Delivered, Accepted:
		f.metrics.Sent.Add(int64(p.Events))
		f.opened(p, out)
		if out.Verdict == Accepted {
			f.await(p)
		} else {
			f.finish(p)
		}
		return
	case Retry:
		f.metrics.Retries.Add(1)
		if ctx.Err() == nil {
			f.retryAfter(out)
		}
	case Hold:
		f.hold(queue.AllIndexes, out)
	case HoldIndex:
		f.hold(p.Index, out)
	case TooLarge:
		f.learn(p.Raw, p.Size)
		if p.Events == 1 {
			out.Reason = fmt.Sprintf("one event of %d bytes is too large for it (%s); raise the limit of the receiver or of the proxy in front of it", p.Raw, out.Text)
			f.hold(queue.AllIndexes, out)
			break
		}
		f.bisect(ctx, p, data)
		return
	case Refused:
		// Only an event that is refused by itself is refused for sure.
		if p.Events == 1 {
			f.deadLetter(ctx, p, data, out)
			return
		}
		f.isolate(ctx, p, data, out)
		return
	}
	if out.Taken > 0 && out.Taken < p.Events {
		f.metrics.Sent.Add(int64(out.Taken))
		f.recut(ctx, p, data, out.Taken, out.TakenAccepted, []int{out.Taken, p.Events})
		return
	}
	f.release(p)
}

// opened notes that the destination takes events: what was held is so no more.
func (f *Forwarder) opened(p *parcel, out Outcome) {
	f.mu.Lock()
	all, lane := f.gate.reason != "", f.lanes[p.Index].hold.reason != ""
	f.gate = gate{}
	if out.After > 0 {
		f.gate.until, f.gate.probing = f.clock.Now().Add(out.After), true
	}
	f.lanes[p.Index].hold = hold{}
	if size, ok := f.suspects[p.ID]; ok {
		// The front of a refused body is fine by itself: it was the size.
		delete(f.suspects, p.ID)
		f.learnLocked(size, 0)
	}
	f.mu.Unlock()
	if !all && !lane {
		return
	}
	f.log.Info("the destination takes events again", "index", p.Index)
	f.note(func(tx *queue.Tx) error {
		if err := tx.ClearHeld(queue.AllIndexes); err != nil {
			return err
		}
		return tx.ClearHeld(p.Index)
	})
}

// retryAfter lets nothing out until the destination may be tried again, and then
// one body first.
func (f *Forwarder) retryAfter(out Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if out.After <= 0 {
		return // it has another way
	}
	if f.gate.why != out.Reason {
		f.log.Warn("the destination does not take events now", "reason", out.Reason, "retry_after", out.After)
	}
	if until := f.clock.Now().Add(out.After); until.After(f.gate.until) {
		f.gate.until = until
	}
	f.gate.why, f.gate.probing = out.Reason, true
}

// hold keeps the events of an index, or all, until a try succeeds. Each pause is
// twice the one before.
func (f *Forwarder) hold(index string, out Outcome) {
	f.mu.Lock()
	h := &f.gate.hold
	if index != queue.AllIndexes {
		h = &f.lanes[index].hold
	} else {
		f.gate.probing = true
	}
	now := f.clock.Now()
	news := h.reason != out.Reason
	if h.since.IsZero() || h.reason == "" {
		h.since = now
	}
	if !h.closed(now) {
		h.pause = min(max(2*h.pause, f.holdMin), f.holdMax)
		h.until = now.Add(max(h.pause, out.After))
	}
	h.reason, h.code = out.Reason, out.Code
	held := queue.Held{Index: index, Since: h.since, Reason: out.Reason, Code: out.Code}
	f.mu.Unlock()
	if !news {
		return
	}
	f.log.Error("events are held: nothing is lost, but nothing is delivered until this is mended", "index", index, "reason", out.Reason)
	f.note(func(tx *queue.Tx) error { return tx.SetHeld(held) })
}

// note writes what is good to know while no process runs. What prevents it is
// no reason to stop.
func (f *Forwarder) note(change func(*queue.Tx) error) {
	if err := f.queue.Update(change); err != nil {
		f.log.Warn("why events wait could not be noted", "error", err)
	}
}

// deadLetter puts a refused event to the dead letters, with the health event
// that says so, in one transaction.
func (f *Forwarder) deadLetter(ctx context.Context, p *parcel, data []byte, out Outcome) {
	raw, err := unpack(data, p.Raw)
	if err != nil {
		f.unreadable(p, err)
		return
	}
	var envelope struct {
		Source string `json:"source"`
		Event  struct {
			ID        string `json:"event_id"`
			Collector string `json:"collector"`
			Seq       uint64 `json:"seq"`
			Operation string `json:"operation"`
		} `json:"event"`
	}
	// It is an envelope of ours; one that can't be read is kept all the same.
	_ = json.Unmarshal(raw, &envelope)
	letter := queue.DeadLetter{
		Refused: f.clock.Now(), Input: p.Input, Index: p.Index, Collector: envelope.Event.Collector, Seq: envelope.Event.Seq,
		EventID: envelope.Event.ID, Code: out.Code, Text: out.Text, Envelope: raw,
	}
	f.metrics.Refused.Add(1)
	f.log.Error("an event is refused and put to the dead letters", "input", p.Input, "event_id", letter.EventID, "code", out.Code, "text", out.Text)
	change := func(tx *queue.Tx) error {
		if err := tx.Remove(p.Header); err != nil {
			return err
		}
		return tx.AddDeadLetter(letter)
	}
	if envelope.Event.Operation == "deadletter" {
		// To tell of this one too would go on for ever.
		f.commitAside(ctx, p, change)
		return
	}
	ev := f.healthEvent(p.Input, "deadletter", letter.Collector, strconv.FormatUint(letter.Seq, 10), letter.EventID)
	ev.RefusedCollector, ev.RefusedEventID = letter.Collector, letter.EventID
	ev.RefusedSeq = event.N(int64(letter.Seq))
	ev.Code = codeText(out.Code)
	ev.Text = out.Text
	f.tellWith(p, ev, change)
}

// tellWith sends a health event about a batch and changes the queue in the same
// transaction. Until then the batch stays busy.
func (f *Forwarder) tellWith(p *parcel, ev event.Event, change func(*queue.Tx) error) {
	s, err := f.healthStream(p)
	if err == nil {
		err = s.tell(told{ev, &rider{change, func() { f.gone(p) }}})
	}
	if err != nil {
		// It stays in the queue, and is found again at the next start.
		f.log.Error("a health event could not be told", "operation", ev.Operation, "error", err)
	}
}

// healthStream returns the stream that numbers the events of a batch's input,
// which may be one that is no longer configured.
func (f *Forwarder) healthStream(p *parcel) (*Stream, error) {
	f.mu.Lock()
	s := f.streams[p.Input]
	f.mu.Unlock()
	if s != nil {
		return s, nil
	}
	seq, err := f.queue.Seq(p.Input)
	if err != nil {
		return nil, err
	}
	return f.stream(p.Input, p.Index, seq)
}

// commitAside changes the queue and forgets the parcel.
func (f *Forwarder) commitAside(ctx context.Context, p *parcel, change func(*queue.Tx) error) {
	if err := f.persist(ctx.Done(), nil, func() error { return f.queue.Update(change) }); err == nil {
		f.gone(p)
	}
}

// gone forgets a parcel that is no longer in the queue.
func (f *Forwarder) gone(p *parcel) {
	f.mu.Lock()
	delete(f.busy, p.ID)
	f.mu.Unlock()
	f.stir()
}

// codeText is a code as health events have it, empty when there was none.
func codeText(code int) string {
	if code < 0 {
		return ""
	}
	return strconv.Itoa(code)
}
