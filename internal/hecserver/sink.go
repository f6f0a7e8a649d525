package hecserver

import (
	"encoding/json"
	"time"
)

// Received is one event as it was taken in. The byte slices are JSON values as
// the sender wrote them, absent ones nil, and are valid only during the call
// that hands them over.
type Received struct {
	Time       []byte // number or string of one: epoch seconds
	Host       []byte // string
	Source     []byte // string
	Sourcetype []byte // string
	Index      []byte // string: the event's, else the token's default
	Event      []byte // any value but null and ""
	Fields     []byte // flat object

	// What aiwatch's events say of themselves, without quotes; absent in others.
	ID        []byte
	Collector []byte
	Seq       uint64
	HasSeq    bool

	Indexed time.Time // when the receiver took it
}

// Sink is where received events go. Index is called with the events of one
// request in their order, from several goroutines at once; when it returns nil
// they count as indexed, and what it returns otherwise is answered with code 8.
type Sink interface {
	Index(events []Received) error
}

// Sinks is several sinks as one. Each gets the events in turn until one fails,
// so that the last ones see only what the first ones took.
type Sinks []Sink

// Index hands the events to every sink.
func (s Sinks) Index(events []Received) error {
	for _, sink := range s {
		if err := sink.Index(events); err != nil {
			return err
		}
	}
	return nil
}

// text decodes a JSON string, empty when it is none.
func text(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	for _, c := range raw {
		if c == '\\' {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				return ""
			}
			return s
		}
	}
	return string(raw[1 : len(raw)-1])
}
