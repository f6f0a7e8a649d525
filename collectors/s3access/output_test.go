package s3access

import (
	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A countingOutput encodes events as a queue does and keeps nothing but the
// state.
type countingOutput struct {
	collectors.Memory
	buf         []byte
	events      int64
	bytes       int64
	checkpoints int
	each        func()
}

func (o *countingOutput) Emit(ev *event.Event) error {
	o.events++
	ev.Collector, ev.Seq = "0badcafe", uint64(o.events)
	o.buf = ev.AppendJSON(o.buf[:0])
	o.bytes += int64(len(o.buf))
	return nil
}

func (o *countingOutput) Checkpoint() error {
	if o.checkpoints++; o.each != nil && o.checkpoints%50 == 0 {
		o.each()
	}
	return o.Memory.Checkpoint()
}

func (o *countingOutput) Flush() error { return o.Checkpoint() }
