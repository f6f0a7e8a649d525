package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A Recording is what collectors made of a scenario: each event as it is
// delivered, in the order of its index time. It is kept packed, and may be read
// by several at once.
type Recording struct {
	Scenario *Scenario
	// Warnings are acts that had no effect, such as a call that was refused.
	Warnings []string
	Took     time.Duration

	steps  []step
	blocks [][]byte // packed
	open   []byte   // the block that is being filled
	pack   *zstd.Encoder
}

// A Step is one event that is delivered, or one deletion.
type Step struct {
	// At is the index time.
	At time.Time
	// Event is the envelope with its indextime, or empty. It is valid until the
	// next step is read.
	Event []byte
	// Delete is the search whose events are removed.
	Delete string

	act *act
}

// step is a Step as it is kept.
type step struct {
	at         time.Time
	block      uint32
	begin, end uint32
	delete     *Step
}

const recordingBlock = 256 << 10

// NewRecording begins a recording of events that were collected elsewhere: Add
// takes them, Finish ends it.
func NewRecording(name string) *Recording { return &Recording{Scenario: &Scenario{Name: name}} }

// Add takes the envelope of an event that was indexed at a time. An envelope
// without an indextime counts as indexed when it happened: at is its time then.
func (r *Recording) Add(at time.Time, envelope []byte) {
	begin := len(r.open)
	r.open = append(r.open, envelope...)
	r.note(at, begin)
}

// Finish ends a recording that NewRecording began. Searches run over it from
// start to end.
func (r *Recording) Finish(start, end time.Time) {
	r.Scenario.Start, r.Scenario.End = start, end
	r.finish()
}

// add takes an event as collectors write it.
func (r *Recording) add(at time.Time, envelope []byte) {
	begin := len(r.open)
	r.open = append(r.open, envelope[:len(envelope)-1]...)
	r.open = append(r.open, `,"indextime":`...)
	r.open = strconv.AppendFloat(r.open, float64(at.UnixMilli())/1000, 'f', -1, 64)
	r.open = append(r.open, '}')
	r.note(at, begin)
}

// note makes a step of what was written to the open block.
func (r *Recording) note(at time.Time, begin int) {
	r.steps = append(r.steps, step{at: at, block: uint32(len(r.blocks)), begin: uint32(begin), end: uint32(len(r.open))})
	if len(r.open) >= recordingBlock {
		r.flush()
	}
}

func (r *Recording) delete(s Step) {
	r.steps = append(r.steps, step{at: s.At, delete: &s})
}

// flush packs the open block.
func (r *Recording) flush() {
	if len(r.open) == 0 {
		return
	}
	if r.pack == nil {
		// The options are constants that zstd accepts: no error can come.
		r.pack, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	r.blocks = append(r.blocks, r.pack.EncodeAll(r.open, nil))
	r.open = r.open[:0]
}

// finish puts the steps in the order of their index time; what comes at once
// stays in the order in which it was committed.
func (r *Recording) finish() {
	r.flush()
	r.open, r.pack = nil, nil
	slices.SortStableFunc(r.steps, func(a, b step) int { return a.at.Compare(b.at) })
}

// Len is the number of steps.
func (r *Recording) Len() int { return len(r.steps) }

// Each visits the steps in their order. An error of visit ends it.
func (r *Recording) Each(visit func(Step) error) error {
	c := r.cursor()
	defer c.close()
	for {
		s, ok, err := c.next(time.Time{})
		if err != nil || !ok {
			return err
		}
		if err := visit(s); err != nil {
			return err
		}
	}
}

// cursor reads a recording from its beginning.
func (r *Recording) cursor() *cursor { return &cursor{rec: r, texts: map[uint32][]byte{}} }

// openBlocks is how many blocks a cursor holds unpacked: events of several files
// that were added one after the other are read side by side.
const openBlocks = 32

type cursor struct {
	rec    *Recording
	at     int
	texts  map[uint32][]byte // of the blocks that are unpacked
	opened []uint32          // these blocks, the oldest first
	unpack *zstd.Decoder
}

// next is the next step, if it comes by then; the zero time is any.
func (c *cursor) next(until time.Time) (s Step, ok bool, err error) {
	if c.at == len(c.rec.steps) {
		return s, false, nil
	}
	kept := &c.rec.steps[c.at]
	if !until.IsZero() && kept.at.After(until) {
		return s, false, nil
	}
	c.at++
	if kept.delete != nil {
		return *kept.delete, true, nil
	}
	text, err := c.block(kept.block)
	if err != nil {
		return s, false, fmt.Errorf("read the recording: %w", err)
	}
	return Step{At: kept.at, Event: text[kept.begin:kept.end]}, true, nil
}

// block is the text of a block.
func (c *cursor) block(n uint32) (text []byte, err error) {
	if text, ok := c.texts[n]; ok {
		return text, nil
	}
	if c.unpack == nil {
		if c.unpack, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1)); err != nil {
			return nil, err
		}
	}
	if len(c.opened) == openBlocks {
		// What the last step handed out may be written over: it was valid till now.
		text = c.texts[c.opened[0]][:0]
		delete(c.texts, c.opened[0])
		c.opened = c.opened[1:]
	}
	if text, err = c.unpack.DecodeAll(c.rec.blocks[n], text); err != nil {
		return nil, err
	}
	c.texts[n], c.opened = text, append(c.opened, n)
	return text, nil
}

func (c *cursor) close() {
	if c.unpack != nil {
		c.unpack.Close()
	}
}
