package forwarder

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"aiwatch/internal/event"
)

// encoder appends events in their envelopes. What is the same for event after
// event is escaped once.
type encoder struct {
	collector, source, index string

	host, sourcetype string
	constant         []byte // of the envelope: from behind the time to the event
}

// append appends what ev.AppendEnvelope would, with collector, seq, source and
// index filled in. Ev is as before afterwards.
func (e *encoder) append(b []byte, ev *event.Event, host string, seq uint64) []byte {
	if e.constant == nil || e.host != host || e.sourcetype != ev.Sourcetype {
		e.host, e.sourcetype = host, ev.Sourcetype
		e.constant = e.envelope()
	}
	if ev.AssetType == event.Input {
		about := *ev
		about.Collector, about.Source = e.collector, e.source
		about.NameInput()
		ev = &about
	}
	collector, number := ev.Collector, ev.Seq
	ev.Collector, ev.Seq = e.collector, seq
	b = appendTime(append(b, timeKey...), ev.Time)
	b = append(b, e.constant...)
	b = append(ev.AppendJSON(b), '}')
	ev.Collector, ev.Seq = collector, number
	return b
}

const (
	timeKey  = `{"time":`
	indexKey = `,"index":"`
	eventKey = `,"event":`
)

// envelope makes the constant part by encoding an empty event. Inside a JSON
// string a quote is escaped, so eventKey can't be found in a value.
func (e *encoder) envelope() []byte {
	empty := event.Event{Envelope: event.Envelope{
		Time: event.Millis(0), Host: e.host, Source: e.source, Sourcetype: e.sourcetype, Index: e.index,
	}}
	b := bytes.TrimPrefix(empty.AppendEnvelope(nil), []byte(timeKey+"0"))
	return b[:bytes.Index(b, []byte(eventKey))+len(eventKey)]
}

// appendTime appends epoch seconds, with decimals only where they are needed, as
// internal/event does.
func appendTime(b []byte, t event.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if frac := ms % 1000; frac != 0 {
		b = append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
		b = bytes.TrimRight(b, "0")
	}
	return b
}

var errCut = errors.New("the body is not a row of envelopes")

// splitEnvelopes returns where each of the envelopes that follow one another in
// raw ends. They are JSON as event.AppendEnvelope writes it.
func splitEnvelopes(raw []byte) (ends []int, err error) {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				ends = append(ends, i+1)
			}
		case depth == 0:
			return nil, fmt.Errorf("%w: %q at byte %d", errCut, c, i)
		}
		if depth < 0 {
			return nil, fmt.Errorf("%w: closed too often at byte %d", errCut, i)
		}
	}
	if depth != 0 || quoted {
		return nil, fmt.Errorf("%w: it breaks off", errCut)
	}
	return ends, nil
}
