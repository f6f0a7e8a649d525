package forwarder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
)

// A Stream takes the events and the state of one input. It implements
// collectors.Output and what the collectors' runner needs beside it.
//
// What was emitted and put since the last checkpoint is staged. A checkpoint
// makes it part of the open group; when a group is large enough, or has waited
// for the linger, it is compressed while the next one is filled, and committed
// while the next one is compressed. Each of these has one goroutine, so groups
// stay in their order.
type Stream struct {
	f    *Forwarder
	name string
	host string
	ctx  context.Context // of the polls: their waits end with it

	mu      sync.Mutex
	in      *queue.Input // nil for a stream of health events alone
	encoder encoder
	seq     uint64 // the last number given
	open    *group
	mark    mark              // how far the last checkpoint reaches into open
	staged  map[string][]byte // deltas since then; nil forgets a key
	waiting []told            // health events that wait for a checkpoint
	since   time.Time         // when the oldest checkpoint in open was taken
	flush   bool              // commit without waiting for more
	busy    *group            // is being compressed
	sealed  *group            // compressed, is being committed
	stalled error             // why nothing is taken at the moment, nil when it is
	events  uint64            // committed
	err     error             // nothing can be committed any more
	changed chan struct{}     // closed when any of these changed

	stop chan struct{}
	done chan struct{}
}

// group is what is committed at once.
type group struct {
	raw    []byte
	first  uint64            // number of its first event
	cuts   []cut             // where bodies end, but for the last
	ends   []int             // where events end in raw; empty without an archive
	deltas map[string][]byte // of the state
	size   int               // bytes of deltas
	riders []rider

	headers []queue.Header // of the bodies, once it is sealed
	bodies  [][]byte
	block   []byte // for the archive
}

// cut is the end of a body: its place in raw and its last number.
type cut struct {
	end  int
	last uint64
}

// mark is a checkpoint inside a group.
type mark struct {
	cut
	cuts int // of the group, up to here
}

// rider is a change of the queue that is committed with a group.
type rider struct {
	change func(*queue.Tx) error
	done   func()
}

// told is a health event that waits for a checkpoint.
type told struct {
	event event.Event
	rider *rider
}

// Input is an input as its stream is opened.
type Input struct {
	// Name is the stanza. Events have it as source, numbers go by it.
	Name string
	// Source tells the thing that is read from another; with it the positions
	// change. It is kept as a digest.
	Source string
	// RestartToken is the setting; changed, the positions are forgotten.
	RestartToken string
	// Host is for events that name none, Index where they go.
	Host, Index string
}

var errClosed = errors.New("the stream is closed")

func newStream(f *Forwarder, name, index string, seq uint64) *Stream {
	s := &Stream{
		f: f, name: name, ctx: context.Background(), seq: seq,
		encoder: encoder{collector: f.queue.Collector(), source: name, index: index},
		staged:  map[string][]byte{}, changed: make(chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.open = s.newGroup()
	s.mark.last = seq
	go s.run()
	return s
}

func (s *Stream) newGroup() *group {
	return &group{first: s.seq + 1, deltas: map[string][]byte{}}
}

// Emit encodes and numbers the event.
func (s *Stream) Emit(ev *event.Event) error {
	if ev.ID.IsZero() || !ev.Time.IsSet() {
		panic("forwarder: an event needs an ID and a time")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.append(ev)
	return nil
}

// append puts the event at the end of the open group; s.mu is held.
func (s *Stream) append(ev *event.Event) {
	g := s.open
	host := ev.Host
	if host == "" {
		host = s.host
	}
	if g.raw == nil {
		g.raw = s.f.buffers.get()
	}
	end := len(g.raw)
	g.raw = s.encoder.append(g.raw, ev, host, s.seq+1)
	if s.f.archive != nil {
		g.ends = append(g.ends, len(g.raw))
	}
	begin := 0
	if n := len(g.cuts); n > 0 {
		begin = g.cuts[n-1].end
	}
	if len(g.raw)-begin > s.f.bodyLimit() && end > begin {
		g.cuts = append(g.cuts, cut{end, s.seq})
	}
	s.seq++
}

// Health takes a health event. It goes in at once, or at the next checkpoint
// when the collector is between two, and shares the input's numbers.
func (s *Stream) Health(ev *event.Event) error { return s.tell(told{event: *ev}) }

func (s *Stream) tell(t told) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.waiting = append(s.waiting, t)
	if !s.dirty() {
		s.takeMark()
	}
	return nil
}

// dirty says whether something is staged; s.mu is held.
func (s *Stream) dirty() bool { return len(s.open.raw) > s.mark.end || len(s.staged) > 0 }

// marked says whether the open group has something to commit; s.mu is held.
func (s *Stream) marked() bool {
	return s.mark.end > 0 || len(s.open.deltas) > 0 || len(s.open.riders) > 0
}

// takeMark makes what is staged, and health events that wait, part of the group;
// s.mu is held.
func (s *Stream) takeMark() {
	for key, value := range s.staged {
		s.open.deltas[key] = value
		s.open.size += len(key) + len(value)
	}
	clear(s.staged)
	for i := range s.waiting {
		s.append(&s.waiting[i].event)
		if r := s.waiting[i].rider; r != nil {
			s.open.riders = append(s.open.riders, *r)
		}
	}
	s.waiting = nil
	s.mark = mark{cut{len(s.open.raw), s.seq}, len(s.open.cuts)}
	if s.since.IsZero() && s.marked() {
		s.since = s.f.clock.Now()
		s.broadcast()
	}
}

// Checkpoint makes what was emitted and put so far belong together. It waits
// while the group before is being committed and this one is full.
func (s *Stream) Checkpoint() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoint()
}

func (s *Stream) checkpoint() error {
	limit := s.f.bodyLimit()
	// fits says whether the group may stay open. While another one is being
	// committed it may hold several bodies: a slow disk then has fewer, larger
	// transactions.
	fits := func() bool {
		size := len(s.open.raw) + s.open.size
		return size <= limit || s.busy != nil && size <= groupBodies*limit
	}
	// What was checkpointed before goes first, so that bodies end at checkpoints.
	if err := s.await(func() bool { return !s.marked() || fits() }); err != nil {
		return err
	}
	s.takeMark()
	return s.await(fits)
}

// groupBodies is how many bodies are committed at once, at most.
const groupBodies = 3

// await returns when enough is true. As long as it is not, what is checkpointed
// is handed over whenever nothing is being compressed. S.mu is held but for the
// waits, which end with the polls' context when the queue takes nothing.
func (s *Stream) await(enough func() bool) error {
	for {
		switch {
		case s.err != nil:
			return s.err
		case enough():
			return nil
		case s.busy == nil && s.marked():
			s.handOver()
			continue
		case s.stalled != nil && s.ctx.Err() != nil:
			return s.ctx.Err()
		}
		s.pause()
	}
}

// pause waits for a change; s.mu is held before and after.
func (s *Stream) pause() {
	changed, done := s.changed, s.ctx.Done()
	if s.ctx.Err() != nil {
		done = nil
	}
	s.mu.Unlock()
	select {
	case <-changed:
	case <-done:
	}
	s.mu.Lock()
}

// broadcast wakes who waits; s.mu is held.
func (s *Stream) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// handOver gives the checkpointed part of the open group to be compressed, when
// nothing else is, and keeps the rest; s.mu is held.
func (s *Stream) handOver() {
	g, m := s.open, s.mark
	rest := s.newGroup()
	rest.first = m.last + 1
	if tail := g.raw[m.end:]; len(tail) > 0 {
		rest.raw = append(s.f.buffers.get(), tail...)
	}
	for _, c := range g.cuts[m.cuts:] {
		if c.end > m.end {
			rest.cuts = append(rest.cuts, cut{c.end - m.end, c.last})
		}
	}
	if marked := int(m.last + 1 - g.first); len(g.ends) > marked {
		for _, end := range g.ends[marked:] {
			rest.ends = append(rest.ends, end-m.end)
		}
		g.ends = g.ends[:marked]
	}
	g.raw = g.raw[:m.end]
	g.cuts = g.cuts[:m.cuts]
	if m.end > 0 && (m.cuts == 0 || g.cuts[m.cuts-1].end < m.end) {
		g.cuts = append(g.cuts, m.cut)
	}
	s.open, s.busy = rest, g
	s.mark = mark{cut: cut{0, m.last}}
	s.since = time.Time{}
	s.broadcast()
}

// Flush is a checkpoint that returns when everything is durable.
func (s *Stream) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkpoint(); err != nil {
		return err
	}
	return s.flushed()
}

// settled says whether all that is checkpointed is durable; s.mu is held.
func (s *Stream) settled() bool { return s.busy == nil && s.sealed == nil && !s.marked() }

// flushed waits until all that is checkpointed is durable; s.mu is held.
func (s *Stream) flushed() error {
	s.flush = true
	s.broadcast()
	return s.await(s.settled)
}

// Discard drops what is staged; its numbers are used again.
func (s *Stream) Discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open.raw = s.open.raw[:s.mark.end]
	s.open.cuts = s.open.cuts[:s.mark.cuts]
	s.open.ends = s.open.ends[:min(len(s.open.ends), int(s.mark.last+1-s.open.first))]
	s.seq = s.mark.last
	clear(s.staged)
	s.takeMark()
}

// Events returns how many events were committed so far by this process.
func (s *Stream) Events() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events
}

// Get returns the value under key, nil when there is none.
func (s *Stream) Get(key string) ([]byte, error) {
	s.mu.Lock()
	in := s.in
	if value, ok := s.overlaid(key); ok {
		s.mu.Unlock()
		return slices.Clone(value), nil
	}
	s.mu.Unlock()
	return in.Get(key)
}

// overlaid looks for key in what is not yet in the queue, newest first; s.mu is
// held. A nil value was forgotten.
func (s *Stream) overlaid(key string) (value []byte, ok bool) {
	for _, deltas := range s.overlays() {
		if value, ok = deltas[key]; ok {
			return value, true
		}
	}
	return nil, false
}

// overlays returns what is not yet in the queue, newest first; s.mu is held.
func (s *Stream) overlays() []map[string][]byte {
	all := []map[string][]byte{s.staged, s.open.deltas}
	for _, g := range []*group{s.busy, s.sealed} {
		if g != nil {
			all = append(all, g.deltas)
		}
	}
	return all
}

// Range visits all keys with the prefix in their order.
func (s *Stream) Range(prefix string, visit func(key string, value []byte) error) error {
	s.mu.Lock()
	in := s.in
	over := map[string][]byte{}
	for _, deltas := range slices.Backward(s.overlays()) {
		for key, value := range deltas {
			if strings.HasPrefix(key, prefix) {
				over[key] = value
			}
		}
	}
	s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(over))
	// upTo visits what is not yet in the queue, below key.
	upTo := func(key string, all bool) error {
		for len(keys) > 0 && (all || keys[0] < key) {
			k := keys[0]
			keys = keys[1:]
			if v := over[k]; v != nil {
				if err := visit(k, v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for from := prefix; ; {
		pairs, next, err := in.Page(prefix, from)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if err := upTo(p.Key, false); err != nil {
				return err
			}
			if _, newer := over[p.Key]; newer {
				continue
			}
			if err := visit(p.Key, p.Value); err != nil {
				return err
			}
		}
		if next == "" {
			return upTo("", true)
		}
		from = next
	}
}

// Limits of the state, as collectors.Output has them.
const (
	maxKey   = 1 << 10
	maxValue = 1 << 20
)

// Put remembers value under key. A key or value over its limit, or an empty key,
// is a programming error and panics.
func (s *Stream) Put(key string, value []byte) {
	if key == "" || len(key) > maxKey || len(value) > maxValue {
		panic(fmt.Sprintf("forwarder: a state key of %d and a value of %d bytes", len(key), len(value)))
	}
	v := make([]byte, len(value)) // never nil: nil means forgotten
	copy(v, value)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged[key] = v
}

// Delete forgets key.
func (s *Stream) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged[key] = nil
}

// run compresses, and has a goroutine that commits.
func (s *Stream) run() {
	defer close(s.done)
	sealed := make(chan *group)
	var committer sync.WaitGroup
	committer.Go(func() {
		for g := range sealed {
			s.settle(g, s.commit(g))
		}
	})
	defer committer.Wait()
	defer close(sealed)
	for {
		g := s.next()
		if g == nil {
			return
		}
		s.seal(g)
		if !s.pass(g) {
			return
		}
		sealed <- g
	}
}

// pass makes g the group that is being committed, as soon as the one before is
// durable. It reports false when that could not be committed: nothing may follow
// it then.
func (s *Stream) pass(g *group) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sealed != nil {
		changed := s.changed
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
	s.busy = nil
	if s.err == nil {
		s.sealed = g
	}
	s.broadcast()
	return s.err == nil
}

// settle notes what became of the group that was being committed.
func (s *Stream) settle(g *group, err error) {
	s.mu.Lock()
	s.sealed, s.stalled = nil, nil
	if err != nil {
		s.err = err
	} else if n := len(g.cuts); n > 0 {
		s.events += g.cuts[n-1].last - g.first + 1
	}
	s.broadcast()
	s.mu.Unlock()
	if err != nil {
		return
	}
	for _, r := range g.riders {
		r.done()
	}
}

// next returns the group to compress: one that was handed over, or what has
// waited for the linger. It returns nil when the stream is closed and all that
// is checkpointed was returned.
func (s *Stream) next() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		closing := false
		select {
		case <-s.stop:
			closing = true
		default:
		}
		if s.busy != nil {
			return s.busy
		}
		var timer <-chan time.Time
		if s.marked() {
			left := s.f.linger - s.f.clock.Now().Sub(s.since)
			if left <= 0 || s.flush || closing {
				s.handOver()
				return s.busy
			}
			timer = s.f.clock.After(left)
		} else {
			s.flush = false
		}
		if closing {
			return nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timer:
		case <-s.stop:
		}
		s.mu.Lock()
	}
}

// seal compresses the group's bodies, and its events for the archive.
func (s *Stream) seal(g *group) {
	begin, first := 0, g.first
	for _, c := range g.cuts {
		raw := g.raw[begin:c.end]
		g.bodies = append(g.bodies, s.f.packer.pack(s.f.packed.get(), raw))
		g.headers = append(g.headers, queue.Header{
			ID: s.f.queue.NewID(), Index: s.encoder.index, Input: s.name, Created: s.f.clock.Now(),
			Events: int(c.last - first + 1), First: first, Last: c.last, Raw: len(raw),
		})
		begin, first = c.end, c.last+1
	}
	if len(g.ends) > 0 {
		g.block = s.f.archive.Pack(s.f.packed.get(), g.raw, g.ends, s.f.clock.Now())
	}
	s.f.buffers.put(g.raw)
	g.raw, g.ends = nil, nil
}

// commit commits the group's bodies with its state. What fails is tried again
// with the same bytes and numbers until it is done, the queue is broken, or the
// stream is closed.
func (s *Stream) commit(g *group) error {
	err := s.f.persist(s.stop, s.setStalled, func() error {
		return s.f.queue.Commit(func(tx *queue.Tx) error {
			for _, r := range g.riders {
				if err := r.change(tx); err != nil {
					return err
				}
			}
			for i, h := range g.headers {
				if err := tx.Add(h, g.bodies[i]); err != nil {
					return err
				}
			}
			if n := len(g.headers); n > 0 {
				if err := tx.SetSeq(s.name, g.headers[n-1].Last); err != nil {
					return err
				}
			}
			if g.block != nil {
				tx.Archive(g.block)
			}
			return tx.PutState(s.in, g.deltas)
		})
	})
	for _, b := range append(g.bodies, g.block) {
		s.f.packed.put(b)
	}
	if err != nil {
		return fmt.Errorf("commit events of %s: %w", s.name, err)
	}
	s.f.trace("committed")
	for _, h := range g.headers {
		s.f.metrics.Committed.Add(int64(h.Events))
		s.f.added(h.Index, h.ID)
	}
	return nil
}

// Stalled says why nothing is taken at the moment, nil when it is: the queue is
// at its limit, the disk is full, the archive can't be written.
func (s *Stream) Stalled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stalled
}

func (s *Stream) setStalled(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = why
	s.broadcast()
}

// close commits what is checkpointed and ends the committer.
func (s *Stream) close() {
	close(s.stop)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = errClosed
	}
	s.broadcast()
}
