package hecserver

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"sort"
	"sync"
)

// Counter is a Sink that keeps no event but what is needed to say whether any
// was lost, doubled or changed: per event_id how often it came, its number and a
// hash of its bytes, per collector and input which seq were seen. It takes about
// 80 bytes of memory an event.
type Counter struct {
	mu      sync.Mutex
	seed    maphash.Seed
	seen    map[eventID]sighting
	repeats map[repeat]uint64 // hash
	streams map[streamKey]*stream
	stats   CounterStats
}

// eventID is an event_id, decoded; another form is hashed into it.
type eventID [16]byte

type sighting struct {
	hash   uint64 // of time and event, as first seen
	seq    uint64 // as first seen
	stream *stream
	times  uint32
}

// repeat is an event under another number than the one it was first seen with:
// its source told it twice.
type repeat struct {
	id     eventID
	stream *stream
	seq    uint64
}

type streamKey struct{ collector, source string }

// stream is what one counter of a collector and input has given out, as far as
// it was seen: sorted spans of numbers, none touching the next.
type stream struct {
	key   streamKey
	spans []Span
}

// Span is a run of numbers, both ends included.
type Span struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// CounterStats is what a Counter has seen.
type CounterStats struct {
	Events     uint64   `json:"events"`      // all that came
	Distinct   uint64   `json:"distinct"`    // different event_ids
	Duplicates uint64   `json:"duplicates"`  // came again with the same number, time and bytes: sent twice
	Repeats    uint64   `json:"repeats"`     // came again under a number of their own: told twice by the source
	Conflicts  uint64   `json:"conflicts"`   // came again with the same number and other time or bytes
	WithoutID  uint64   `json:"without_id"`  // events that are not aiwatch's
	SeqMissing uint64   `json:"seq_missing"` // numbers between the first and the last of a stream that never came
	SeqDoubles uint64   `json:"seq_doubles"` // numbers that came with two different event_ids
	Streams    []Stream `json:"streams"`
}

// Stream is the counter of one collector and input, as far as it was seen.
type Stream struct {
	Collector string `json:"collector"`
	Source    string `json:"source"`
	First     uint64 `json:"first"`
	Last      uint64 `json:"last"`
	Missing   uint64 `json:"missing"`
	Holes     []Span `json:"holes,omitempty"` // the first 100
}

// maxHoles is how many holes of a stream are listed.
const maxHoles = 100

// NewCounter returns a Counter that has seen nothing.
func NewCounter() *Counter {
	return &Counter{
		seed:    maphash.MakeSeed(),
		seen:    make(map[eventID]sighting),
		repeats: make(map[repeat]uint64),
		streams: make(map[streamKey]*stream),
	}
}

// Index counts the events. It never fails.
func (c *Counter) Index(events []Received) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var last *stream
	for i := range events {
		e := &events[i]
		c.stats.Events++
		if e.ID == nil {
			c.stats.WithoutID++
			continue
		}
		var in *stream // nil for an event without a number
		if e.HasSeq && e.Collector != nil {
			if last == nil || last.key.collector != string(e.Collector) || last.key.source != string(unquoted(orEmpty(e.Source))) {
				last = c.stream(e)
			}
			in = last
		}
		if c.sight(idOf(e.ID), in, e.Seq, c.hash(e)) && in != nil && !in.add(e.Seq) {
			c.stats.SeqDoubles++
		}
	}
	return nil
}

// sight notes an event and reports whether its number is one that this event
// did not have before.
func (c *Counter) sight(id eventID, in *stream, seq, hash uint64) bool {
	was, again := c.seen[id]
	was.times++
	if !again {
		was.hash, was.seq, was.stream = hash, seq, in
	}
	c.seen[id] = was
	first := was.hash
	switch {
	case !again:
		c.stats.Distinct++
		return true
	case in != was.stream || seq != was.seq:
		key := repeat{id, in, seq}
		if first, again = c.repeats[key]; !again {
			c.repeats[key] = hash
			c.stats.Repeats++
			return true
		}
	}
	if hash == first {
		c.stats.Duplicates++
	} else {
		c.stats.Conflicts++
	}
	return false
}

func (c *Counter) hash(e *Received) uint64 {
	return maphash.Bytes(c.seed, e.Event) ^ 31*maphash.Bytes(c.seed, e.Time)
}

func (c *Counter) stream(e *Received) *stream {
	key := streamKey{string(e.Collector), string(unquoted(orEmpty(e.Source)))}
	s := c.streams[key]
	if s == nil {
		s = &stream{key: key}
		c.streams[key] = s
	}
	return s
}

func orEmpty(s []byte) []byte {
	if s == nil {
		return []byte(`""`)
	}
	return s
}

// Times returns how often the event of this event_id came.
func (c *Counter) Times(eventID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.seen[idOf([]byte(eventID))].times)
}

// Stats returns what was seen so far, streams sorted.
func (c *Counter) Stats() CounterStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.stats
	out.Streams = make([]Stream, 0, len(c.streams))
	for _, s := range c.streams {
		one := s.summary()
		out.SeqMissing += one.Missing
		out.Streams = append(out.Streams, one)
	}
	sort.Slice(out.Streams, func(i, j int) bool {
		a, b := out.Streams[i], out.Streams[j]
		return a.Collector < b.Collector || a.Collector == b.Collector && a.Source < b.Source
	})
	return out
}

func idOf(id []byte) (out eventID) {
	if len(id) == 2*len(out) {
		if _, err := hex.Decode(out[:], id); err == nil {
			return out
		}
	}
	sum := sha256.Sum256(id)
	copy(out[:], sum[:])
	return out
}

// add notes a number and says whether it is new.
func (s *stream) add(n uint64) bool {
	if l := len(s.spans); l > 0 && s.spans[l-1].To+1 == n {
		s.spans[l-1].To = n
		return true
	}
	// at is the first span that ends at n or behind it.
	at := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].To >= n })
	if at < len(s.spans) && s.spans[at].From <= n {
		return false
	}
	below := at > 0 && s.spans[at-1].To+1 == n
	above := at < len(s.spans) && s.spans[at].From == n+1
	switch {
	case below && above:
		s.spans[at-1].To = s.spans[at].To
		s.spans = slices.Delete(s.spans, at, at+1)
	case below:
		s.spans[at-1].To = n
	case above:
		s.spans[at].From = n
	default:
		s.spans = slices.Insert(s.spans, at, Span{n, n})
	}
	return true
}

func (s *stream) summary() Stream {
	out := Stream{Collector: s.key.collector, Source: text(quoted([]byte(s.key.source)))}
	out.First, out.Last = s.spans[0].From, s.spans[len(s.spans)-1].To
	for i := 1; i < len(s.spans); i++ {
		hole := Span{s.spans[i-1].To + 1, s.spans[i].From - 1}
		out.Missing += hole.To - hole.From + 1
		if len(out.Holes) < maxHoles {
			out.Holes = append(out.Holes, hole)
		}
	}
	return out
}
