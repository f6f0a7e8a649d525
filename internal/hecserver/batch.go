package hecserver

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// batch is what one body held: the events before the first bad object, and what
// was wrong with that object. Splunk indexes the prefix and refuses the rest
// [probed], and so do we.
type batch struct {
	events  []Received
	code    Code // Success when the whole body was good
	unknown bool // an envelope key that HEC does not know
	lost    int  // events dropped without a word, as Splunk does at an unknown key
}

// bodyParser turns bodies into events under the rules of one token.
type bodyParser struct {
	token       *token
	now         time.Time
	loseUnknown bool
}

// parseEvents reads a body of /services/collector/event: objects one after the
// other, or one array of them. It appends to events.
func (p *bodyParser) parseEvents(body []byte, events []Received) batch {
	out := batch{events: events}
	i := skipSpace(body, 0)
	if i == len(body) {
		out.code = NoData
		return out
	}
	array := body[i] == '['
	if array {
		i = skipSpace(body, i+1)
		if i < len(body) && body[i] == ']' && skipSpace(body, i+1) == len(body) {
			out.code = NoData
			return out
		}
	}
	for {
		var o envelope
		next, code := p.parseObject(body, i, &o)
		if code != Success {
			out.code = code
			if out.unknown = o.unknown; o.unknown && p.loseUnknown {
				out.code, out.lost = Success, countObjects(body, i)
			}
			return out
		}
		out.events = append(out.events, o.Received)
		i = skipSpace(body, next)
		if !array {
			if i == len(body) {
				return out
			}
			continue
		}
		switch {
		case i < len(body) && body[i] == ',':
			i = skipSpace(body, i+1)
		case i < len(body) && body[i] == ']' && skipSpace(body, i+1) == len(body):
			return out
		default:
			out.code = InvalidDataFormat
			return out
		}
	}
}

// countObjects counts the objects from position i on that are whole.
func countObjects(body []byte, i int) int {
	n := 0
	for i < len(body) {
		next := eachMember(body, i, 0, nil)
		if next == bad {
			break
		}
		n++
		i = skipSpace(body, next)
		if i < len(body) && body[i] == ',' {
			i = skipSpace(body, i+1)
		}
	}
	return n
}

// envelope is an object of a body while it is read.
type envelope struct {
	Received
	unknown bool
	fieldOf [7]bool // which keys stood in it
}

// envelopeKeys are the keys HEC knows.
var envelopeKeys = [...]string{"event", "time", "host", "source", "sourcetype", "index", "fields"}

const (
	keyEvent = iota
	keyTime
	keyHost
	keySource
	keySourcetype
	keyIndex
	keyFields
)

// parseObject reads the object at position i of body and says what is wrong with
// it, Success for nothing.
func (p *bodyParser) parseObject(body []byte, i int, o *envelope) (next int, code Code) {
	next = eachMember(body, i, 0, func(key []byte, i int) int {
		k := keyNumber(key)
		switch {
		case k < 0:
			o.unknown = true
			return bad
		case o.fieldOf[k]:
			// What Splunk makes of a key given twice is not documented; a sender
			// has no reason to do it.
			return bad
		}
		o.fieldOf[k] = true
		if k == keyEvent {
			return o.parseEvent(body, i)
		}
		end := skipValue(body, i, 1)
		if end != bad {
			*o.value(k) = body[i:end:end]
		}
		return end
	})
	if next == bad {
		return bad, InvalidDataFormat
	}
	return next, p.check(o)
}

// keyNumber returns which envelope key this is, -1 for an unknown one.
func keyNumber(key []byte) int {
	for k, name := range envelopeKeys {
		if string(key) == name {
			return k
		}
	}
	if bytes.IndexByte(key, '\\') >= 0 {
		return keyNumber([]byte(text(quoted(key))))
	}
	return -1
}

func quoted(key []byte) []byte {
	return append(append([]byte{'"'}, key...), '"')
}

// value returns where the value of an envelope key other than event is kept.
func (o *envelope) value(k int) *[]byte {
	return [...]*[]byte{&o.Event, &o.Time, &o.Host, &o.Source, &o.Sourcetype, &o.Index, &o.Fields}[k]
}

// parseEvent takes the value of event and notes what an aiwatch event says of
// itself.
func (o *envelope) parseEvent(body []byte, i int) int {
	var end int
	if i < len(body) && body[i] == '{' {
		end = eachMember(body, i, 1, func(key []byte, i int) int {
			end := skipValue(body, i, 2)
			if end != bad {
				o.note(key, body[i:end])
			}
			return end
		})
	} else {
		end = skipValue(body, i, 1)
	}
	if end != bad {
		o.Event = body[i:end:end]
	}
	return end
}

func (o *envelope) note(key, value []byte) {
	switch string(key) {
	case "event_id":
		o.ID = unquoted(value)
	case "collector":
		o.Collector = unquoted(value)
	case "seq":
		n, err := strconv.ParseUint(string(value), 10, 64)
		// Above 2^53 a JSON number is no counter any more.
		o.Seq, o.HasSeq = n, err == nil && n < 1<<53
	}
}

// unquoted is what stands between the quotes of a JSON string, nil for another
// value.
func unquoted(value []byte) []byte {
	if value[0] != '"' {
		return nil
	}
	return value[1 : len(value)-1]
}

// check holds an envelope that is well-formed JSON to what HEC asks of it.
func (p *bodyParser) check(o *envelope) Code {
	for _, s := range [...][]byte{o.Host, o.Source, o.Sourcetype, o.Index} {
		if s != nil && s[0] != '"' {
			return InvalidDataFormat
		}
	}
	if o.Time != nil && !validTime(o.Time) {
		return InvalidDataFormat
	}
	switch string(o.Event) {
	case "", "null":
		return EventRequired
	case `""`:
		return EventBlank
	}
	if o.Fields != nil && !flat(o.Fields) {
		return IndexedFieldsError
	}
	if o.Index == nil {
		o.Index = p.token.defaultIndex
	} else if !p.token.allows(o.Index) {
		return IncorrectIndex
	}
	o.Indexed = p.now
	return Success
}

// validTime takes epoch seconds as a number or as a string of one, not negative.
func validTime(raw []byte) bool {
	if raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	return len(raw) > 0 && isDigit(raw[0]) && skipNumber(raw, 0) == len(raw)
}

// flat says whether fields, which is valid JSON, is an object of scalars and of
// lists of scalars.
func flat(fields []byte) bool {
	return eachMember(fields, 0, 0, func(_ []byte, i int) int {
		switch fields[i] {
		case '{':
			return bad
		case '[':
			end := skipValue(fields, i, 1)
			if nested(fields[i+1 : end]) {
				return bad
			}
			return end
		}
		return skipValue(fields, i, 1)
	}) == len(fields)
}

// nested says whether a list's inside, which is valid JSON, opens another value.
func nested(inside []byte) bool {
	for i := 0; i < len(inside); {
		switch inside[i] {
		case '{', '[':
			return true
		case '"':
			i = skipString(inside, i)
		default:
			i++
		}
	}
	return false
}

// rawDefaults is what the query of a request to /services/collector/raw says of
// its events.
type rawDefaults struct {
	time, host, source, sourcetype, index string
}

// parseRaw reads a body of /services/collector/raw: one event a line, blank
// lines left out.
func (p *bodyParser) parseRaw(body []byte, query rawDefaults, events []Received) batch {
	out := batch{events: events}
	common := envelope{Received: Received{
		Time: raw(query.time), Host: raw(query.host), Source: raw(query.source),
		Sourcetype: raw(query.sourcetype), Index: raw(query.index), Event: []byte(`"-"`),
	}}
	if out.code = p.check(&common); out.code != Success {
		return out
	}
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		event := common.Received
		event.Event = raw(string(line))
		out.events = append(out.events, event)
	}
	if len(out.events) == 0 {
		out.code = NoData
	}
	return out
}

// raw is s as a JSON string, nil when it is empty.
func raw(s string) []byte {
	if s == "" {
		return nil
	}
	b, _ := json.Marshal(s)
	return b
}
