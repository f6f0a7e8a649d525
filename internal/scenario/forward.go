package scenario

import (
	"context"
	"fmt"
	"sync"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/conf"
	"aiwatch/internal/event"
)

// A Forwarder takes the events of a play on their way, in the place of the
// play's own memory.
type Forwarder interface {
	// Collector is the id that stands in every event.
	Collector() string
	// Open opens the stream of an input.
	Open(ctx context.Context, in Input) (collectors.Stream, error)
	// Indexed is told of each event, before it is committed, when it counts as
	// indexed on the play's clock; an event that is told twice comes twice, in
	// the order of its numbers. It may be called from several goroutines.
	Indexed(id event.ID, at time.Time)
}

// Input is an input as its stream is opened.
type Input struct {
	Settings    *conf.Settings
	Host, Index string
}

// forwarded is a stream of a forwarder, which is told what its streams can't
// know: the play's time.
type forwarded struct {
	collectors.Stream
	forwarder Forwarder
	now       func() time.Time

	mu      sync.Mutex
	staged  []event.ID // emitted since the last checkpoint
	waiting []event.ID // health events that wait for it
}

// Emit takes one event.
func (s *forwarded) Emit(ev *event.Event) error {
	s.mu.Lock()
	s.staged = append(s.staged, ev.ID)
	s.mu.Unlock()
	return s.Stream.Emit(ev)
}

// Health takes a health event.
func (s *forwarded) Health(ev *event.Event) error {
	s.mu.Lock()
	s.waiting = append(s.waiting, ev.ID)
	between := len(s.staged) == 0
	s.mu.Unlock()
	if between {
		s.tell()
	}
	return s.Stream.Health(ev)
}

// Checkpoint makes what was emitted and put so far belong together.
func (s *forwarded) Checkpoint() error {
	s.tell()
	return s.Stream.Checkpoint()
}

// Flush is a checkpoint that returns when all is durable.
func (s *forwarded) Flush() error {
	s.tell()
	return s.Stream.Flush()
}

// Discard drops what came since the last checkpoint, but for health events.
func (s *forwarded) Discard() {
	s.mu.Lock()
	s.staged = nil
	s.mu.Unlock()
	s.tell()
	s.Stream.Discard()
}

func (s *forwarded) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.now().Add(deliveryTime)
	for _, ids := range [][]event.ID{s.staged, s.waiting} {
		for _, id := range ids {
			s.forwarder.Indexed(id, at)
		}
	}
	s.staged, s.waiting = nil, nil
}

// memory is the stream of a play that keeps its events itself.
func (in *input) memory() (*collectors.Memory, error) {
	m, ok := in.stream.(*collectors.Memory)
	if !ok {
		return nil, fmt.Errorf("the state of %s lies with a forwarder, which a play can't put back", in.settings.Stanza())
	}
	return m, nil
}
