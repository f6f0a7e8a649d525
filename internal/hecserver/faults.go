package hecserver

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// All, as a Fault's Commit, indexes every good event of the request.
const All = -1

// End is how the answer to a request is spoilt on its way.
type End string

// The ways to spoil an answer.
const (
	Drop      End = "drop"       // the connection is closed without an answer
	HalfClose End = "half-close" // the sending side alone is closed, without an answer
	Truncate  End = "truncate"   // the connection is closed in the middle of the answer's body
	Empty     End = "empty"      // the status comes with an empty body
)

// Fault is one scripted misbehaviour. Its first group of fields says which
// requests it meets, the rest what happens to them. With Code or Status the
// request is answered so, after Commit of its events were indexed; with End alone
// it is handled as ever and only its answer is spoilt.
//
//	Fault{Code: ServerBusy, Times: 3}                          three times 503, nothing indexed
//	Fault{Code: ServerBusy, Commit: 10, Named: true}           503 after 10 events, and says so
//	Fault{End: Drop, Probability: 0.1}                         indexed, but the answer never comes
//	Fault{Status: 502, Body: "<html>...", Times: 1}            a proxy's page
//	Fault{Status: 413, MinBytes: 500_000}                      a cap on the raw body
//	Fault{Status: 307, Header: map[string]string{"Location": "http://other.example/"}}
//	Fault{On: "ack", Status: 200, Body: "<html>"}              an ack answer that can't be read
//	Fault{LoseAck: true, Times: 1}                             an ack that never becomes true
//	Fault{Restart: true, Skip: 5, Times: 1}                    channels forgotten, ids from 0 again
type Fault struct {
	On          string  `json:"on,omitempty"`          // event, raw, ack, health; data (the default) is event and raw
	Skip        int     `json:"skip,omitempty"`        // requests that pass before it begins
	Times       int     `json:"times,omitempty"`       // requests it happens to; 0 is without end
	Probability float64 `json:"probability,omitempty"` // 0 is always
	MinBytes    int     `json:"min_bytes,omitempty"`   // only for raw bodies above this size

	Code   Code              `json:"code,omitempty"`   // HEC's answer; 24 and 25 are successes and index everything
	Status int               `json:"status,omitempty"` // HTTP status, that of Code when 0
	Body   string            `json:"body,omitempty"`   // answer instead of HEC's JSON
	Header map[string]string `json:"header,omitempty"` // added to the answer: Retry-After, Location
	Commit int               `json:"commit,omitempty"` // events indexed before the answer; All
	Named  bool              `json:"named,omitempty"`  // the answer gives Commit as invalid-event-number
	End    End               `json:"end,omitempty"`

	LoseAck    bool `json:"lose_ack,omitempty"`     // the ack of this request never becomes true
	AckAsks    int  `json:"ack_asks,omitempty"`     // the ack is false this many times before it is true
	AckDelayMS int  `json:"ack_delay_ms,omitempty"` // the ack is false for so long

	Restart        bool `json:"restart,omitempty"`          // all channels are forgotten before the request is handled
	DelayMS        int  `json:"delay_ms,omitempty"`         // wait before the request is handled
	BytesPerSecond int  `json:"bytes_per_second,omitempty"` // wait as long as the raw body takes at this rate
}

// check says whether the fault means something.
func (f *Fault) check() error {
	if !slices.Contains([]string{"", "data", "event", "raw", "ack", "health"}, f.On) {
		return fmt.Errorf("fault on %q: want data, event, raw, ack or health", f.On)
	}
	if !slices.Contains([]End{"", Drop, HalfClose, Truncate, Empty}, f.End) {
		return fmt.Errorf("fault end %q: want drop, half-close, truncate or empty", f.End)
	}
	if !f.Code.known() {
		return fmt.Errorf("fault code %d: want a documented code, 0 to %d", f.Code, len(codes)-1)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return fmt.Errorf("fault status %d: want 200 to 599", f.Status)
	}
	if f.Probability < 0 || f.Probability > 1 {
		return fmt.Errorf("fault probability %v: want 0 to 1", f.Probability)
	}
	if f.Commit < All || min(f.Skip, f.Times, f.MinBytes, f.AckAsks, f.AckDelayMS, f.DelayMS, f.BytesPerSecond) < 0 {
		return fmt.Errorf("fault with a negative number")
	}
	return nil
}

// answers says whether the fault decides the answer.
func (f *Fault) answers() bool { return f.Code != 0 || f.Status != 0 || f.End != "" }

// meets says whether the fault is about requests of this kind.
func (f *Fault) meets(on string) bool {
	if f.On == "" || f.On == "data" {
		return on == "event" || on == "raw"
	}
	return f.On == on
}

// Faults is a script of misbehaviour. Faults are tried in their order; those that
// do not answer add up, the first that answers is the last to be tried. The same
// seed and the same sequence of requests give the same faults.
type Faults struct {
	mu     sync.Mutex
	random *rand.Rand
	script []scripted
}

type scripted struct {
	Fault
	met, fired int
}

// NewFaults returns a script; the seed decides those with a probability.
func NewFaults(seed uint64, faults ...Fault) (*Faults, error) {
	f := &Faults{}
	return f, f.Set(seed, faults...)
}

// Set replaces the script and begins it anew.
func (f *Faults) Set(seed uint64, faults ...Fault) error {
	script := make([]scripted, len(faults))
	for i, fault := range faults {
		if err := fault.check(); err != nil {
			return err
		}
		script[i].Fault = fault
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.random = rand.New(rand.NewPCG(seed, 0))
	f.script = script
	return nil
}

// Fired returns how often each fault of the script happened, in its order.
func (f *Faults) Fired() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]int, len(f.script))
	for i := range f.script {
		out[i] = f.script[i].fired
	}
	return out
}

// effect is what the script does to one request.
type effect struct {
	fault   *Fault // decides the answer, nil when none does
	ack     ackState
	delay   time.Duration
	restart bool
}

// next is asked once for each request, with its raw size in bytes.
func (f *Faults) next(on string, size int, now time.Time) effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	var e effect
	for i := range f.script {
		s := &f.script[i]
		if !s.meets(on) || size <= s.MinBytes && s.MinBytes > 0 || s.Times > 0 && s.fired >= s.Times {
			continue
		}
		if s.met++; s.met <= s.Skip || s.Probability > 0 && f.random.Float64() >= s.Probability {
			continue
		}
		s.fired++
		e.restart = e.restart || s.Restart
		e.ack.lost = e.ack.lost || s.LoseAck
		e.ack.asks += s.AckAsks
		if s.AckDelayMS > 0 {
			e.ack.from = now.Add(time.Duration(s.AckDelayMS) * time.Millisecond)
		}
		e.delay += time.Duration(s.DelayMS) * time.Millisecond
		if s.BytesPerSecond > 0 {
			e.delay += time.Duration(float64(size) / float64(s.BytesPerSecond) * float64(time.Second))
		}
		if s.answers() {
			fault := s.Fault
			e.fault = &fault
			break
		}
	}
	return e
}

// commit limits the number of events that the request indexes.
func (e *effect) commit(events int) int {
	f := e.fault
	if f == nil || f.Code == 0 && f.Status == 0 || f.Code == QueueNearCapacity || f.Code == AckNearCapacity || f.Commit == All {
		return events
	}
	return min(f.Commit, events)
}

// answer turns the answer that the request has earned into the scripted one;
// committed events were indexed.
func (e *effect) answer(a answer, committed int) answer {
	f := e.fault
	if f == nil {
		return a
	}
	if f.Code != 0 || f.Status != 0 {
		ackID := a.ackID
		a = answer{status: f.Status, code: f.Code}
		if f.Code == 0 {
			a.code = -1
			a.body = []byte(f.Body)
			if f.Body == "" {
				a.body = []byte(http.StatusText(f.Status))
			}
		} else {
			if f.Code.Status() <= http.StatusBadRequest {
				a.ackID = ackID
			}
			if f.Body != "" {
				a.body = []byte(f.Body)
			}
		}
		if a.status == 0 {
			a.status = f.Code.Status()
		}
		if f.Named || f.Code.namesEvent() {
			a.invalid = invalidNumber(f.Code, committed)
		}
	}
	a.header, a.end = f.Header, f.End
	return a
}

// namesEvent says whether an answer with this code gives invalid-event-number.
func (c Code) namesEvent() bool {
	switch c {
	case InvalidDataFormat, IncorrectIndex, EventRequired, EventBlank, IndexedFieldsError:
		return true
	}
	return false
}

// invalidNumber is the invalid-event-number for a request of which this many
// events were indexed: the position of the next one, and one more for an
// incorrect index [probed].
func invalidNumber(c Code, committed int) *int {
	if c == IncorrectIndex {
		committed++
	}
	return &committed
}
