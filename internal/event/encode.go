package event

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"aiwatch/internal/event/schema"
)

// AppendJSON appends the event as canonical JSON (RFC 8785): keys sorted, no
// white space. Values are cut to the schema's limits, the cut fields named in
// truncated; control characters and invalid UTF-8 become U+FFFD.
func (e *Event) AppendJSON(b []byte) []byte {
	start := len(b)
	b = e.appendObject(b)
	// No value can be over its limit in an event that is not.
	if len(b)-start <= schema.MaxValue {
		return b
	}
	short, cut := e.fitValues(schema.MaxValue)
	if !cut && len(b)-start <= schema.MaxEvent {
		return b
	}
	for limit := schema.MaxValue; ; limit /= 2 {
		if limit < schema.MaxValue {
			short, _ = short.fitValues(limit)
		}
		b = short.appendObject(b[:start])
		size := len(b) - start
		if size <= schema.MaxEvent {
			return b
		}
		// The raw record gives way first: its digest stands in the event.
		if over := size - schema.MaxEvent; short.Raw != "" {
			if keep := len(short.Raw) - over - len("truncated,raw")*2; keep > 0 {
				short.Raw = cutString(short.Raw, keep)
			} else {
				short.Raw = cutString(short.Raw, len(short.Raw)/2)
			}
			short.nameCut("raw")
			b = short.appendObject(b[:start])
			if len(b)-start <= schema.MaxEvent {
				return b
			}
			limit *= 2 // try again with a shorter raw before other values give way
		}
	}
}

// AppendEnvelope appends the event in its envelope, as HEC takes it and as
// event files hold it.
func (e *Event) AppendEnvelope(b []byte) []byte {
	b = append(b, `{"time":`...)
	b = e.Time.appendJSON(b)
	for _, kv := range [...]struct{ key, value string }{
		{`,"host":`, e.Host}, {`,"source":`, e.Source}, {`,"sourcetype":`, e.Sourcetype}, {`,"index":`, e.Index},
	} {
		if kv.value != "" {
			b = appendString(append(b, kv.key...), kv.value)
		}
	}
	b = append(b, `,"event":`...)
	b = e.AppendJSON(b)
	return append(b, '}')
}

func (e *Event) appendObject(b []byte) []byte {
	b = append(b, '{')
	b = e.appendFields(b)
	// seq is always there, so there is a comma to turn into the end.
	b[len(b)-1] = '}'
	return b
}

// fitValues returns a copy of the event in which no value is longer than limit
// bytes, and whether any had to be cut.
func (e *Event) fitValues(limit int) (*Event, bool) {
	short := *e
	short.Truncated = slices.Clone(e.Truncated)
	cut := false
	short.strings(func(name string, value *string) {
		if len(*value) > limit {
			*value = cutString(*value, limit)
			short.nameCut(name)
			cut = true
		}
	})
	short.lists(func(name string, value *[]string) {
		if fit, ok := cutList(*value, limit); ok {
			*value = fit
			short.nameCut(name)
			cut = true
		}
	})
	return &short, cut
}

// nameCut notes that a field was cut, once.
func (e *Event) nameCut(name string) {
	if !slices.Contains(e.Truncated, name) {
		e.Truncated = append(e.Truncated, name)
	}
}

// cutString returns at most limit bytes of s, whole characters only.
func cutString(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// cutList returns as many values of list as fit into limit bytes, the last one
// cut, and whether any was left out or cut.
func cutList(list []string, limit int) ([]string, bool) {
	for i, v := range list {
		if len(v) > limit {
			fit := slices.Clone(list[:i])
			if limit > 0 {
				fit = append(fit, cutString(v, limit))
			}
			return fit, true
		}
		limit -= len(v)
	}
	return list, false
}

// plain marks the bytes that stand in a JSON string as they are.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	return append(appendText(append(b, '"'), s), '"')
}

// appendField appends a field with a comma behind it: key is its name in
// quotes, the colon and the quote with which the value begins.
func appendField(b []byte, key, s string) []byte {
	return append(appendText(append(b, key...), s), '"', ',')
}

// appendText appends s as it stands in a JSON string. Nearly all values stand
// there as they are, so s is copied while it is looked at.
func appendText(b []byte, s string) []byte {
	n := len(b)
	b = slices.Grow(b, len(s)+2) // room for what ends a field, too
	if copyPlain(b[n:n+len(s)], s) {
		return b[:n+len(s)]
	}
	return appendEscaped(b[:n], s)
}

// appendEscaped appends s as it stands in a JSON string.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		if i+8 <= len(s) && odd(word(s[i:])) == 0 {
			i += 8
			continue
		}
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			b = append(b, replacement...)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			// U+0080 to U+009F are control characters too.
			if r == utf8.RuneError || r < 0xa0 {
				b = append(b, replacement...)
			} else {
				b = append(b, s[i:i+size]...)
			}
			i += size
		}
		start = i
	}
	return append(b, s[start:]...)
}

// copyPlain copies s to b, which is as long, and reports whether s stands in a
// JSON string as it is.
func copyPlain(b []byte, s string) bool {
	if len(s) < 8 {
		for i := range len(s) {
			b[i] = s[i]
			if !plain[s[i]] {
				return false
			}
		}
		return true
	}
	// The last word first: it may share bytes with the one before.
	end := len(s) - 8
	last := word(s[end:])
	binary.LittleEndian.PutUint64(b[end:], last)
	marks := odd(last)
	for ; len(s) >= 8 && len(b) >= 8; s, b = s[8:], b[8:] {
		x := word(s)
		binary.LittleEndian.PutUint64(b, x)
		marks |= odd(x)
	}
	return marks == 0
}

// word returns the first eight bytes of s, the first one lowest.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// odd returns 0 when all eight bytes of x are plain. A sum can carry into the
// next byte only from one that is not ASCII, which is not plain itself, so no
// carry can hide anything.
func odd(x uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	bad := x | (x + ones)            // not ASCII, or 0x7f
	good := (x + ones*(0x80-0x20)) & // from 0x20 on
		((x ^ ones*'"') + (tops - ones)) &
		((x ^ ones*'\\') + (tops - ones))
	return (bad | ^good) & tops
}

const replacement = "\uFFFD"

func appendList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	return append(b, ']')
}
