// Package event is the AI-asset event: one record of who did what to which AI
// asset. Every collector emits it and every detection reads it.
//
// The tables in schema are the source of everything here; fields_gen.go holds
// the struct and the encoder that are made from them. Read Event, then
// AppendJSON for the bytes, then MakeID for an event's identity.
//
// The package imports the standard library and its own tables alone. It must
// not learn about collectors, queues or Splunk's transport.
package event

//go:generate go run ./gen

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// Sourcetypes of the events.
const (
	SourcetypeMLflow = "aiwatch:mlflow"
	SourcetypeS3     = "aiwatch:s3"
	SourcetypeGit    = "aiwatch:git"
	SourcetypeHealth = "aiwatch:health"
)

// Envelope is what Splunk keeps beside the event.
type Envelope struct {
	// Time is the source's date when time_basis is exact, otherwise the moment
	// when the change was seen.
	Time Time
	// Host is the source system's name.
	Host string
	// Source is the input's stanza, such as aiwatch_s3://prod.
	Source     string
	Sourcetype string
	// Index is the input's index; empty leaves the choice to the destination.
	Index string
}

// Input is the asset_type of events about an input of ours.
const Input = "input"

// NameInput fills in what an event about an input of ours is about, in the one
// form that there is: the collector and the stanza, which must be set.
func (e *Event) NameInput() {
	if e.AssetType == Input {
		e.AssetID, e.AssetName = "aiwatch:"+e.Collector+"/"+e.Source, e.Source
	}
}

// Number is a whole number that may be absent. Its zero value is absent.
type Number struct {
	n   int64
	set bool
}

// maxSafe is the largest integer that a JSON reader surely keeps exact, as
// RFC 8785 and RFC 7493 have it: 2^53-1.
const maxSafe = 1<<53 - 1

// N returns n as a present Number. What a JSON reader could not keep exact is
// absent: a value that can't be told is left out, never guessed.
func N(n int64) Number {
	if n > maxSafe || n < -maxSafe {
		return Number{}
	}
	return Number{n: n, set: true}
}

// IsSet reports whether the number is present.
func (n Number) IsSet() bool { return n.set }

// Int returns the number, 0 when it is absent.
func (n Number) Int() int64 { return n.n }

func (n Number) appendJSON(b []byte) []byte { return strconv.AppendInt(b, n.n, 10) }

// Time is a moment in milliseconds that may be absent. Its zero value is absent.
type Time struct {
	ms  int64
	set bool
}

// Millis returns the moment ms milliseconds after the Unix epoch.
func Millis(ms int64) Time {
	if ms > maxSafe || ms < -maxSafe {
		return Time{}
	}
	return Time{ms: ms, set: true}
}

// At returns t, cut to the millisecond. The zero time.Time is absent.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Millis(t.UnixMilli())
}

// IsSet reports whether the moment is present.
func (t Time) IsSet() bool { return t.set }

// UnixMilli returns milliseconds since the Unix epoch, 0 when absent.
func (t Time) UnixMilli() int64 { return t.ms }

// Std returns the moment in UTC, the zero time.Time when absent.
func (t Time) Std() time.Time {
	if !t.set {
		return time.Time{}
	}
	return time.UnixMilli(t.ms).UTC()
}

// appendJSON appends epoch seconds, with decimals only where they are needed,
// which is how RFC 8785 writes such a number.
func (t Time) appendJSON(b []byte) []byte {
	ms := t.ms
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	frac := ms % 1000
	if frac == 0 {
		return b
	}
	d := [4]byte{'.', byte('0' + frac/100), byte('0' + frac/10%10), byte('0' + frac%10)}
	n := 4
	for d[n-1] == '0' {
		n--
	}
	return append(b, d[:n]...)
}

// Bool is true, false or absent. Its zero value is absent.
type Bool uint8

// The two present values of a Bool.
const (
	False Bool = iota + 1
	True
)

// B returns b as a present Bool.
func B(b bool) Bool {
	if b {
		return True
	}
	return False
}

// IsSet reports whether the value is present.
func (v Bool) IsSet() bool { return v != 0 }

func (v Bool) appendJSON(b []byte) []byte { return strconv.AppendBool(b, v == True) }

// ID is an event's identity. The same record or difference always has the
// same one, so that whatever is sent twice can be told from what happened twice.
type ID [16]byte

// MakeID returns the first 16 bytes of SHA-256 over the sourcetype and the
// parts, each with its length in front as four big-endian bytes.
func MakeID(sourcetype string, parts ...string) ID {
	buf := make([]byte, 0, 512)
	buf = appendPart(buf, sourcetype)
	for _, p := range parts {
		buf = appendPart(buf, p)
	}
	sum := sha256.Sum256(buf)
	return ID(sum[:16])
}

func appendPart(b []byte, p string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
	return append(b, p...)
}

// ParseID reads an ID from its 32 hexadecimal digits.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != 2*len(id) {
		return ID{}, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}

// String returns the ID as 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the ID was never made.
func (id ID) IsZero() bool { return id == ID{} }

func (id ID) appendJSON(b []byte) []byte {
	var digits [2*len(id) + 2]byte
	digits[0], digits[len(digits)-1] = '"', '"'
	hex.Encode(digits[1:], id[:])
	return append(b, digits[:]...)
}
