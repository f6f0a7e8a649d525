package mlflow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"aiwatch/internal/event/schema"
)

// What is remembered of an object is a record: a head that we made, a newline,
// and what the server last said, in a form that is always the same for the same
// answer. So an object that did not change is known by comparing bytes.

// A head is what a record holds beside the observation.
type head struct {
	// Changes counts the changes that were told, so that a value that flaps gives
	// a new event id each time.
	Changes int `json:"n,omitempty"`
	// Hidden: the server refused to show what it showed before.
	Hidden bool `json:"hidden,omitempty"`
	// Ended: the run has ended once; whatever changes later is an edit.
	Ended bool `json:"ended,omitempty"`
	// By registered the version, where that is authenticated.
	By string `json:"by,omitempty"`
	// Sum is of the JSON that the version was listed as: one that is listed as
	// before is not looked into.
	Sum string `json:"sum,omitempty"`
	// Dangling are aliases that a 2.x server still lists although their version
	// is gone.
	Dangling map[string]string `json:"dangling,omitempty"`
	// Digest, Imports and Verdict are of an artifact that was fetched.
	Digest  string   `json:"digest,omitempty"`
	Imports []string `json:"imports,omitempty"`
	Verdict string   `json:"verdict,omitempty"`
}

// observed returns the canonical bytes of what the server said.
func observed(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("mlflow: encode an observation: " + err.Error()) // strings, numbers and maps of them alone
	}
	return b
}

func encodeRecord(h head, observation []byte) []byte {
	var b []byte
	if h.empty() {
		b = append(b, '{', '}')
	} else {
		b = observed(h)
	}
	return append(append(b, '\n'), observation...)
}

func (h *head) empty() bool {
	return h.Changes == 0 && !h.Hidden && !h.Ended && h.By == "" && h.Sum == "" && h.Dangling == nil && h.Digest == "" && h.Imports == nil && h.Verdict == ""
}

// A sum is of an element of an answer, as it was sent.
type sum [16]byte

func sumOf(element []byte) (s sum) {
	whole := sha256.Sum256(element)
	copy(s[:], whole[:])
	return s
}

// recordSum reads a record's sum without the rest of it. What stands in quotes
// in a head can't hold the mark, whose quotes would be escaped.
func recordSum(record []byte) (s sum, ok bool) {
	const mark = `"sum":"`
	i := bytes.IndexByte(record, '\n')
	at := bytes.Index(record[:max(i, 0)], []byte(mark))
	if at < 0 || i < at+len(mark)+hex.EncodedLen(len(s)) {
		return s, false
	}
	_, err := hex.Decode(s[:], record[at+len(mark):][:hex.EncodedLen(len(s))])
	return s, err == nil
}

// sameRecord tells whether record holds exactly this observation.
func sameRecord(record, observation []byte) bool {
	i := bytes.IndexByte(record, '\n')
	return i >= 0 && bytes.Equal(record[i+1:], observation)
}

// decodeRecord reads a record into v.
func decodeRecord(record []byte, v any) (h head, ok bool) {
	i := bytes.IndexByte(record, '\n')
	if i < 0 || json.Unmarshal(record[:i], &h) != nil || json.Unmarshal(record[i+1:], v) != nil {
		return h, false
	}
	return h, true
}

// Limits of one record.
const (
	maxEntries = 500       // tags, params, metrics
	maxRecord  = 900 << 10 // bytes; the state allows 1 MiB
	maxPart    = 300       // bytes of one part of a key
)

// short returns s, or its beginning and its digest when it is longer than an
// event's value may be: so a change beyond the cut is noticed too.
func short(s string) string {
	if len(s) <= schema.MaxValue {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:schema.MaxValue-100], "") + shortMark + hex.EncodeToString(sum[:])
}

const shortMark = " ... sha256:"

func isShort(s string) bool {
	return len(s) > len(shortMark)+64 && s[len(s)-64-len(shortMark):len(s)-64] == shortMark
}

// pairs makes a map of key-values, within limits: what is over them is one
// entry that changes when any of it does.
func pairs(list []pairJSON) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string, len(list))
	for _, p := range list {
		m[short(p.Key)] = short(string(p.Value))
	}
	return limited(m)
}

// restKey stands for the entries over the limit.
const restKey = "(over the limit)"

func limited(m map[string]string) map[string]string {
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
	}
	if len(m) <= maxEntries && size <= maxRecord/3 {
		return m
	}
	kept := map[string]string{}
	h := sha256.New()
	over, size := 0, 0
	for _, k := range slices.Sorted(maps.Keys(m)) {
		size += len(k) + len(m[k])
		if len(kept) < maxEntries && size <= maxRecord/3 {
			kept[k] = m[k]
			continue
		}
		over++
		_, _ = fmt.Fprintf(h, "%d:%s%d:%s", len(k), k, len(m[k]), m[k])
	}
	kept[restKey] = fmt.Sprintf("%d entries, sha256:%x", over, h.Sum(nil))
	return kept
}

// keyPart makes one part of a state key of a name: no slash, no control
// character, not too long.
func keyPart(name string) string {
	plain := true
	for i := range len(name) {
		c := name[i]
		if c < '!' || c > '~' || c == '/' || c == '%' {
			plain = false
			break
		}
	}
	if !plain {
		name = url.PathEscape(name)
	}
	if len(name) <= maxPart {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:maxPart-65] + "~" + hex.EncodeToString(sum[:])
}

// stateKey joins the parts of a key.
func stateKey(kind string, parts ...string) string {
	var b strings.Builder
	b.WriteString(kind)
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(keyPart(p))
	}
	return b.String()
}

// within is the prefix of the keys below the parts.
func within(kind string, parts ...string) string { return stateKey(kind, parts...) + "/" }
