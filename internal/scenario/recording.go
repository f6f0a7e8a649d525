package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A Recording is what collectors made of a scenario: each event as it is
// delivered, in the order of its index time. It is kept packed, and may be read
// by several at once, also while it is being made.
type Recording struct {
	Scenario *Scenario
	// Warnings are acts that had no effect, such as a call that was refused.
	Warnings []string
	Took     time.Duration

	mu     sync.Mutex
	moved  sync.Cond // what follows has moved on
	steps  []step
	placed int       // how many steps are in their order
	until  time.Time // no step will come that is older
	late   bool      // one came nevertheless
	state  recordingState

	blocks [][]byte // packed
	open   []byte   // the block that is being filled
	pack   *zstd.Encoder
}

type recordingState uint8

const (
	recordingMade   recordingState = iota // steps may come
	recordingWhole                        // all are there
	recordingBroken                       // the play ended before its end
)

// What a reader of a recording that is being made may meet.
var (
	errBroken = errors.New("the play ended before its end")
	errLate   = errors.New("an event came for a time that was over")
)

func newRecording(s *Scenario) *Recording {
	r := &Recording{Scenario: s}
	r.moved.L = &r.mu
	return r
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
func NewRecording(name string) *Recording { return newRecording(&Scenario{Name: name}) }

// Add takes the envelope of an event that was indexed at a time. An envelope
// without an indextime counts as indexed when it happened: at is its time then.
func (r *Recording) Add(at time.Time, envelope []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	r.mu.Lock()
	defer r.mu.Unlock()
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
	r.mu.Lock()
	defer r.mu.Unlock()
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

// advance says that no step will come that is older than now.
func (r *Recording) advance(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.place()
	r.until = now
	r.moved.Broadcast()
}

// place puts the new steps in the order of their index time; what comes at once
// stays in the order in which it was committed.
func (r *Recording) place() {
	byTime := func(a, b step) int { return a.at.Compare(b.at) }
	fresh := r.steps[r.placed:]
	slices.SortStableFunc(fresh, byTime)
	if len(fresh) > 0 && fresh[0].at.Before(r.until) {
		r.late = true
	}
	if len(fresh) > 0 && r.placed > 0 && byTime(fresh[0], r.steps[r.placed-1]) < 0 {
		slices.SortStableFunc(r.steps, byTime)
	}
	r.placed = len(r.steps)
}

// finish ends the recording.
func (r *Recording) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
	r.open, r.pack = nil, nil
	r.place()
	r.state = recordingWhole
	r.moved.Broadcast()
}

// breakOff ends a recording that did not come to its end.
func (r *Recording) breakOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == recordingMade {
		r.state = recordingBroken
	}
	r.moved.Broadcast()
}

// Len is the number of steps.
func (r *Recording) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.steps)
}

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
	begun  bool // it read a step before the recording was whole
	at     int
	texts  map[uint32][]byte // of the blocks that are unpacked
	opened []uint32          // these blocks, the oldest first
	unpack *zstd.Decoder
}

// next is the next step, if it comes by then; the zero time is any. Of a recording
// that is being made it waits until it can tell.
func (c *cursor) next(until time.Time) (s Step, ok bool, err error) {
	r := c.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.state == recordingMade && !r.late && (until.IsZero() || !until.Before(r.until)) {
		r.moved.Wait()
	}
	switch {
	case r.state == recordingBroken:
		return s, false, errBroken
	case r.late && (c.begun || r.state != recordingWhole):
		return s, false, errLate
	}
	c.begun = c.begun || r.state != recordingWhole
	if c.at == r.placed {
		return s, false, nil
	}
	kept := r.steps[c.at]
	if !until.IsZero() && kept.at.After(until) {
		return s, false, nil
	}
	c.at++
	if kept.delete != nil {
		return *kept.delete, true, nil
	}
	if int(kept.block) == len(r.blocks) {
		return Step{At: kept.at, Event: bytes.Clone(r.open[kept.begin:kept.end])}, true, nil
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
