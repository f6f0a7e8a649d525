package collectors

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"aiwatch/internal/event"
)

// Memory is an Output that keeps everything in memory, for dry runs
// (`aiwatch collect`), tests and scenarios. It behaves as the durable one does:
// what was not checkpointed is gone when Discard is called.
type Memory struct {
	// Source, Host, Index and Collector are filled into each event.
	Source, Host, Index, Collector string
	// Deliver is called at each checkpoint with each event as an envelope, in
	// order. The bytes are valid during the call only. Nil keeps nothing.
	Deliver func(envelope []byte) error

	mu      sync.Mutex
	state   map[string][]byte
	staged  map[string][]byte // nil value: deleted
	pending []byte            // envelopes, one behind the other
	ends    []int             // where each ends
	health  []event.Event     // wait for the next checkpoint
	seq     uint64
	base    uint64 // seq at the last checkpoint
	events  uint64
}

// Emit encodes the event and holds it until the next checkpoint.
func (m *Memory) Emit(ev *event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.append(ev)
	return nil
}

// Health takes a health event at once, or with the next checkpoint when the
// collector is between two.
func (m *Memory) Health(ev *event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health = append(m.health, *ev)
	if len(m.pending) > 0 || len(m.staged) > 0 {
		return nil
	}
	return m.checkpoint()
}

// Events returns how many events were checkpointed so far.
func (m *Memory) Events() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events
}

func (m *Memory) append(ev *event.Event) {
	if ev.ID.IsZero() || !ev.Time.IsSet() {
		panic("collectors: an event needs an ID and a time")
	}
	e := *ev
	m.seq++
	e.Collector, e.Seq, e.Source, e.Index = m.Collector, m.seq, m.Source, m.Index
	e.NameInput()
	if e.Host == "" {
		e.Host = m.Host
	}
	m.pending = e.AppendEnvelope(m.pending)
	m.ends = append(m.ends, len(m.pending))
}

// Get returns the value under key, nil when there is none.
func (m *Memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.staged[key]; ok {
		return slices.Clone(v), nil
	}
	return slices.Clone(m.state[key]), nil
}

// Range visits all keys with the prefix in their order.
func (m *Memory) Range(prefix string, visit func(key string, value []byte) error) error {
	m.mu.Lock()
	found := map[string][]byte{}
	for _, layer := range []map[string][]byte{m.state, m.staged} {
		for key, v := range layer {
			if strings.HasPrefix(key, prefix) {
				found[key] = v
			}
		}
	}
	m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(found)) {
		if v := found[key]; v != nil {
			if err := visit(key, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Put remembers value under key.
func (m *Memory) Put(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.staged == nil {
		m.staged = map[string][]byte{}
	}
	v := make([]byte, len(value)) // never nil: nil means deleted
	copy(v, value)
	m.staged[key] = v
}

// Delete forgets key.
func (m *Memory) Delete(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.staged == nil {
		m.staged = map[string][]byte{}
	}
	m.staged[key] = nil
}

// Checkpoint makes what was put and emitted so far last.
func (m *Memory) Checkpoint() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.checkpoint()
}

func (m *Memory) checkpoint() error {
	if m.state == nil {
		m.state = map[string][]byte{}
	}
	for key, v := range m.staged {
		if v == nil {
			delete(m.state, key)
		} else {
			m.state[key] = v
		}
	}
	clear(m.staged)
	for i := range m.health {
		m.append(&m.health[i])
	}
	m.health = nil
	m.events += m.seq - m.base
	m.base = m.seq
	pending, ends := m.pending, m.ends
	m.pending, m.ends = m.pending[:0], m.ends[:0]
	if m.Deliver == nil {
		return nil
	}
	start := 0
	for _, end := range ends {
		if err := m.Deliver(pending[start:end:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// Flush is Checkpoint: memory is as durable as it gets.
func (m *Memory) Flush() error { return m.Checkpoint() }

// Discard drops everything since the last checkpoint, as a failed poll or the
// end of the process does.
func (m *Memory) Discard() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.discard()
}

func (m *Memory) discard() {
	clear(m.staged)
	m.pending, m.ends = m.pending[:0], m.ends[:0]
	m.seq = m.base
}

// Snapshot returns a copy of the state and of the number of the last event.
func (m *Memory) Snapshot() (state map[string][]byte, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state = make(map[string][]byte, len(m.state))
	for k, v := range m.state {
		state[k] = slices.Clone(v)
	}
	return state, m.base
}

// Restore puts a snapshot back.
func (m *Memory) Restore(state map[string][]byte, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.discard()
	m.state = make(map[string][]byte, len(state))
	for k, v := range state {
		m.state[k] = slices.Clone(v)
	}
	m.seq, m.base = seq, seq
}
