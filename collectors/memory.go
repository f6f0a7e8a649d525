package collectors

import (
	"maps"
	"slices"
	"strings"

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

	state   map[string][]byte
	staged  map[string][]byte // nil value: deleted
	pending [][]byte
	seq     uint64
	base    uint64 // seq at the last checkpoint
}

// Emit encodes the event and holds it until the next checkpoint.
func (m *Memory) Emit(ev *event.Event) error {
	if ev.ID.IsZero() || !ev.Time.IsSet() {
		panic("collectors: an event needs an ID and a time")
	}
	e := *ev
	m.seq++
	e.Collector, e.Seq, e.Source, e.Index = m.Collector, m.seq, m.Source, m.Index
	if e.Host == "" {
		e.Host = m.Host
	}
	m.pending = append(m.pending, e.AppendEnvelope(nil))
	return nil
}

// Get returns the value under key, nil when there is none.
func (m *Memory) Get(key string) ([]byte, error) {
	if v, ok := m.staged[key]; ok {
		return slices.Clone(v), nil
	}
	return slices.Clone(m.state[key]), nil
}

// Range visits all keys with the prefix in their order.
func (m *Memory) Range(prefix string, visit func(key string, value []byte) error) error {
	merged := maps.Clone(m.state)
	if merged == nil {
		merged = map[string][]byte{}
	}
	maps.Copy(merged, m.staged)
	for _, key := range slices.Sorted(maps.Keys(merged)) {
		if v := merged[key]; v != nil && strings.HasPrefix(key, prefix) {
			if err := visit(key, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Put remembers value under key.
func (m *Memory) Put(key string, value []byte) {
	if m.staged == nil {
		m.staged = map[string][]byte{}
	}
	v := make([]byte, len(value)) // never nil: nil means deleted
	copy(v, value)
	m.staged[key] = v
}

// Delete forgets key.
func (m *Memory) Delete(key string) {
	if m.staged == nil {
		m.staged = map[string][]byte{}
	}
	m.staged[key] = nil
}

// Checkpoint makes what was put and emitted so far last.
func (m *Memory) Checkpoint() error {
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
	m.base = m.seq
	pending := m.pending
	m.pending = nil
	if m.Deliver == nil {
		return nil
	}
	for _, envelope := range pending {
		if err := m.Deliver(envelope); err != nil {
			return err
		}
	}
	return nil
}

// Flush is Checkpoint: memory is as durable as it gets.
func (m *Memory) Flush() error { return m.Checkpoint() }

// Discard drops everything since the last checkpoint, as a failed poll or the
// end of the process does.
func (m *Memory) Discard() {
	clear(m.staged)
	m.pending = nil
	m.seq = m.base
}

// Snapshot returns a copy of the state and of the number of the last event.
func (m *Memory) Snapshot() (state map[string][]byte, seq uint64) {
	state = make(map[string][]byte, len(m.state))
	for k, v := range m.state {
		state[k] = slices.Clone(v)
	}
	return state, m.base
}

// Restore puts a snapshot back.
func (m *Memory) Restore(state map[string][]byte, seq uint64) {
	m.Discard()
	m.state = make(map[string][]byte, len(state))
	for k, v := range state {
		m.state[k] = slices.Clone(v)
	}
	m.seq, m.base = seq, seq
}
