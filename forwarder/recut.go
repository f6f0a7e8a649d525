package forwarder

import (
	"context"

	"aiwatch/forwarder/queue"
)

// peelBelow is the raw size below which a body that is refused at its first
// event is not taken for one that is too large.
const peelBelow = 64 << 10

// isolate cuts a refused body so that the refused event gets a body of its own.
// Where the destination did not name it, or may have meant the size, the body is
// cut in halves.
func (f *Forwarder) isolate(ctx context.Context, p *parcel, data []byte, out Outcome) {
	k := out.Taken
	switch {
	case !out.Named || k < 0 || k >= p.Events:
		f.recut(ctx, p, data, 0, false, halves(p.Events))
	case k == 0 && out.MaybeSize && p.Raw >= peelBelow:
		f.mu.Lock()
		f.suspects[p.ID] = p.Raw
		f.mu.Unlock()
		f.recut(ctx, p, data, 0, false, halves(p.Events))
	default:
		f.metrics.Sent.Add(int64(k))
		var ends []int
		if k > 0 {
			ends = append(ends, k)
		}
		ends = append(ends, k+1)
		if k+1 < p.Events {
			ends = append(ends, p.Events)
		}
		f.recut(ctx, p, data, k, out.TakenAccepted, ends)
	}
}

func halves(n int) []int { return []int{(n + 1) / 2, n} }

// tooLarge says whether a body is surely larger than what the destination takes:
// by its raw size and by its compressed one.
func (f *Forwarder) tooLarge(p *parcel) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return p.Events > 1 && f.caps.raw > 0 && p.Raw > f.caps.raw && p.Size > f.caps.packed
}

// learn takes from a refused body what the destination will take. It is not
// known whether it counts raw or compressed bytes, so both are remembered; half
// of what was refused is tried next.
func (f *Forwarder) learn(raw, packed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.learnLocked(raw, packed)
}

func (f *Forwarder) learnLocked(raw, packed int) {
	f.caps.raw = least(f.caps.raw, raw/2)
	f.caps.packed = least(f.caps.packed, packed/2)
	f.caps.limit.Store(min(f.caps.limit.Load(), int64(max(f.caps.raw, minBody))))
	f.log.Warn("the destination takes smaller bodies than configured", "raw_bytes", f.caps.raw, "batch_bytes", f.batchBytes)
}

// minBody is the least size that new bodies are cut at.
const minBody = 16 << 10

// least returns the smaller of two sizes, of which 0 is none.
func least(a, b int) int {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// bisect cuts a body in halves.
func (f *Forwarder) bisect(ctx context.Context, p *parcel, data []byte) {
	f.recut(ctx, p, data, 0, false, halves(p.Events))
}

// recut replaces a batch by parts of it that end at these events, in one
// transaction. The first taken events are what the destination has: when it will
// confirm them they are a part that waits for that, otherwise they go.
func (f *Forwarder) recut(ctx context.Context, p *parcel, data []byte, taken int, accepted bool, ends []int) {
	raw, err := unpack(data, p.Raw)
	var bounds []int
	if err == nil {
		bounds, err = splitEnvelopes(raw)
	}
	if err != nil || len(bounds) != p.Events {
		f.unreadable(p, err)
		return
	}
	at := func(n int) int {
		if n == 0 {
			return 0
		}
		return bounds[n-1]
	}
	original := p.Header
	var headers []queue.Header
	var bodies [][]byte
	begin := 0
	for _, end := range ends {
		if end > taken || accepted {
			h := original
			h.ID += uint64(begin)
			h.First += uint64(begin)
			h.Last = original.First + uint64(end) - 1
			h.Events, h.Raw = end-begin, at(end)-at(begin)
			body := f.packer.pack(nil, raw[at(begin):at(end)])
			h.Size = len(body)
			headers, bodies = append(headers, h), append(bodies, body)
		}
		begin = end
	}
	f.trace("before-recut")
	err = f.persist(ctx.Done(), nil, func() error {
		return f.queue.Update(func(tx *queue.Tx) error {
			if err := tx.Remove(original); err != nil {
				return err
			}
			for i := range headers {
				if err := tx.Add(headers[i], bodies[i]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return // the end was asked for; the whole body is sent again at the next start
	}
	f.metrics.Recuts.Add(1)
	f.trace("recut")

	f.mu.Lock()
	delete(f.busy, original.ID)
	wait := taken > 0 && accepted
	if wait {
		p.Header = headers[0]
		f.busy[p.ID] = p
		headers = headers[1:]
	}
	for _, h := range headers {
		f.rewind(h.Index, h.ID)
	}
	f.mu.Unlock()
	if wait {
		f.await(p)
	}
	f.stir()
}
