package mlflow

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A ledger keeps what one change tells and what it makes us remember together:
// state is written behind the events that follow from it, so that a kill at any
// checkpoint loses no event and repeats only those of one change, with the same
// ids.
//
// With an access log, changes wait until the end of the poll, because who did
// one is known only when all that a call could explain is.
type ledger struct {
	out     collectors.Output
	actors  *actors // nil: nobody tells who did it
	overlay map[string][]byte
	waiting []change
	events  int // in waiting
	writes  int
	emitted int // since the last checkpoint
	// registrars are who registered the versions that were told in this poll, by
	// asset_id: what else is told of them was made before that was known.
	registrars map[string]string
	err        error
}

// A change is what happened to one object.
type change struct {
	events []told
	writes []write
}

// told is an event, and which calls can explain it.
type told struct {
	event event.Event
	cause cause
}

type write struct {
	key   string
	value []byte // nil: deleted
}

// Bounds on what waits in memory.
const (
	maxWaiting    = 128  // events, with nothing to wait for
	maxUnresolved = 4096 // events that wait for the access log
	maxWrites     = 1024
	perCheckpoint = 200 // events, at the end of a change

	// maxPerCheckpoint cuts a change of very many events: what a kill then makes
	// be sent again has the same ids.
	maxPerCheckpoint = 250
)

func newLedger(out collectors.Output, a *actors) *ledger {
	return &ledger{out: out, actors: a, overlay: map[string][]byte{}, registrars: map[string]string{}}
}

// get returns the value under key; the first failure of the state is kept in
// err.
func (l *ledger) get(key string) []byte {
	if v, ok := l.overlay[key]; ok {
		return v
	}
	v, err := l.out.Get(key)
	l.fail(err)
	return v
}

func (l *ledger) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// load reads JSON under key, and tells whether there was some.
func (l *ledger) load(key string, into any) bool {
	b := l.get(key)
	return b != nil && json.Unmarshal(b, into) == nil
}

// each visits all keys with the prefix; those not yet written come last. visit
// may not write.
func (l *ledger) each(prefix string, visit func(key string, value []byte)) {
	l.fail(l.out.Range(prefix, func(key string, value []byte) error {
		if v, ok := l.overlay[key]; ok {
			value = v
		}
		if value != nil {
			visit(key, value)
		}
		return nil
	}))
	for _, key := range slices.Sorted(maps.Keys(l.overlay)) {
		if v := l.overlay[key]; v != nil && strings.HasPrefix(key, prefix) {
			if before, err := l.out.Get(key); err == nil && before == nil {
				visit(key, v)
			}
		}
	}
}

// add takes a change.
func (l *ledger) add(c change) error {
	for _, w := range c.writes {
		l.overlay[w.key] = w.value
	}
	l.waiting = append(l.waiting, c)
	l.events += len(c.events)
	l.writes += len(c.writes)
	limit := maxWaiting
	if l.actors != nil {
		limit = maxUnresolved
	}
	if l.events >= limit || l.writes >= maxWrites && (l.actors == nil || l.events == 0) {
		return l.flush()
	}
	return l.err
}

// flush emits and writes whatever waits, and checkpoints.
func (l *ledger) flush() error {
	if l.err != nil {
		return l.err
	}
	if l.actors != nil {
		l.actors.resolve(l.waiting)
	}
	for i := range l.waiting {
		c := &l.waiting[i]
		for j := range c.events {
			t := &c.events[j]
			l.registered(c, &t.event)
			if err := l.out.Emit(&t.event); err != nil {
				return err
			}
			if l.emitted++; l.emitted >= maxPerCheckpoint {
				if err := l.checkpoint(); err != nil {
					return err
				}
			}
		}
		for _, w := range c.writes {
			if w.value == nil {
				l.out.Delete(w.key)
			} else {
				l.out.Put(w.key, w.value)
			}
		}
		if l.emitted >= perCheckpoint {
			if err := l.checkpoint(); err != nil {
				return err
			}
		}
	}
	if l.actors != nil {
		l.actors.settle(l.out)
	}
	clear(l.overlay)
	l.waiting, l.events, l.writes = l.waiting[:0], 0, 0
	return errors.Join(l.checkpoint(), l.err)
}

// registered notes in a new version's record who registered it, where that is
// proven, and tells it with whatever else happened to the version.
func (l *ledger) registered(c *change, ev *event.Event) {
	if ev.Operation != "version.created" || ev.UserConfidence != "authenticated" {
		if by := l.registrars[ev.AssetID]; by != "" && ev.RegisteredBy == "" {
			ev.RegisteredBy = by
		}
		return
	}
	ev.RegisteredBy = ev.User
	l.registrars[ev.AssetID] = ev.User
	for i := range c.writes {
		var v version
		if h, ok := decodeRecord(c.writes[i].value, &v); ok && strings.HasPrefix(c.writes[i].key, "v/") {
			h.By = ev.User
			c.writes[i].value = encodeRecord(h, observed(v))
		}
	}
}

func (l *ledger) checkpoint() error {
	l.emitted = 0
	return l.out.Checkpoint()
}

// put remembers a value that no event goes with.
func (l *ledger) put(key string, v any) error {
	return l.add(change{writes: []write{{key, observed(v)}}})
}
