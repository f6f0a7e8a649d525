package audit

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"aiwatch/internal/event"
)

// A Watch is how one input was watched.
type Watch struct {
	Input  string `json:"input"`
	Source string `json:"source"` // mlflow, s3, git
	Events int    `json:"events"`
	Beats  int    `json:"heartbeats"`
	// First and Last are the first and the last heartbeat, Pace the usual time
	// between two in seconds.
	First time.Time `json:"first_heartbeat,omitzero"`
	Last  time.Time `json:"last_heartbeat,omitzero"`
	Pace  int       `json:"pace_seconds,omitempty"`
	State string    `json:"state,omitempty"`
	// Records counts what the input says that it read of its source.
	Records int `json:"records_read"`
	// Inventory is whether what existed at first contact was read to its end;
	// empty where the input has no inventory.
	Inventory string `json:"inventory_complete,omitempty"`
	// NotSeen is what the input says that it does not see.
	NotSeen []string `json:"not_seen,omitempty"`
	// Once: it was read a single time, for this audit; First is when.
	Once bool `json:"read_once,omitempty"`
	// Missing are the hours that nobody watched.
	Missing []*Stretch `json:"missing,omitempty"`
	// Holes are numbers of events that are not there.
	Holes []Hole `json:"holes,omitempty"`
	// Twice counts numbers that two different events have.
	Twice int `json:"numbers_used_twice,omitempty"`
	// Losses are what the collector tells of its own state.
	Losses []Loss `json:"losses,omitempty"`
}

// A Stretch is a time in which an input was not watched.
type Stretch struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Why  string    `json:"why"`
	// Hours are the hours of the clock that it touches.
	Hours []time.Time `json:"hours"`
	// Later counts the events dated in it that were read afterwards.
	Later int `json:"read_afterwards"`
}

// Length is how long it is.
func (s *Stretch) Length() time.Duration { return s.To.Sub(s.From) }

// A Hole is a run of numbers that no event has.
type Hole struct {
	Collector string `json:"collector"`
	From      uint64 `json:"from"`
	To        uint64 `json:"to"`
	// Before and After are when the events around it were indexed.
	Before time.Time `json:"before"`
	After  time.Time `json:"after"`
	// Refused counts those of its numbers that a dead letter explains.
	Refused uint64 `json:"refused"`
}

// Missing is how many numbers nothing explains.
func (h Hole) Missing() uint64 { return h.To - h.From + 1 - h.Refused }

// A Loss is what a collector tells of its own state.
type Loss struct {
	Time time.Time `json:"time"`
	What string    `json:"what"`
	Text string    `json:"text,omitempty"`
}

const (
	// shortestSilence is the least time without a heartbeat that counts: what
	// detection 31 calls silent.
	shortestSilence = 30 * time.Minute
	mostHoles       = 100 // that an input names
	mostLosses      = 100
)

// losses are the health events that tell of the collector's state.
var losses = map[string]string{
	"state.new":       "the collector began anew",
	"state.restored":  "the collector went back to an older state",
	"state.damaged":   "the collector's state was damaged",
	"archive.damaged": "the archive is not what was written to it",
	"gap.unreadable":  "waiting events were lost",
	"deadletter":      "the destination refused an event",
}

// watches gather what is known of the inputs.
type watches struct {
	period Period
	once   bool
	inputs map[string]*watching
	seed   maphash.Seed
}

// watching is a Watch under way.
type watching struct {
	Watch
	beats   []beat
	numbers map[string][]numbered // by collector
	refused map[string][]uint64   // by collector
	dated   []time.Time           // the times of its events
	// acts counts its events, claimed those whose actor nobody has proven; logs are
	// those that its events show to be read, proven whether some actor is.
	acts, claimed int
	logs          map[string]bool
	proven        bool
	oldest        time.Time // act whose time nobody claims
}

type beat struct {
	at    time.Time
	state string
	error string
}

type numbered struct {
	seq uint64
	at  time.Time // indexed
	id  uint64
}

func newWatches(p Period, once bool) *watches {
	return &watches{period: p, once: once, inputs: map[string]*watching{}, seed: maphash.MakeSeed()}
}

// see takes one event.
func (ws *watches) see(r *record, indexed time.Time) {
	kind, isInput := kindOf(string(r.Source))
	if !isInput || !strings.HasPrefix(string(r.Sourcetype), "aiwatch:") {
		return
	}
	w := ws.inputs[string(r.Source)]
	if w == nil {
		w = &watching{Watch: Watch{Input: string(r.Source), Source: kind}, numbers: map[string][]numbered{}, refused: map[string][]uint64{}, logs: map[string]bool{}}
		ws.inputs[string(r.Source)] = w
	}
	f := r.Event
	if f.Seq.set && f.Seq.value >= 1 && f.Seq.value < 1<<53 {
		c := string(f.Collector)
		w.numbers[c] = append(w.numbers[c], numbered{uint64(f.Seq.value), indexed, maphash.String(ws.seed, string(f.ID))})
	}
	if r.Sourcetype != event.SourcetypeHealth {
		w.Events++
		w.dated = append(w.dated, r.at())
		w.act(r)
		return
	}
	if f.Operation == "heartbeat" && f.AssetType == "input" {
		w.beats = append(w.beats, beat{r.at(), string(f.State), string(f.Error)})
		w.Records += int(f.RecordsRead.value)
		w.State, w.Inventory, w.NotSeen = string(f.State), string(f.Inventory), f.NotSeen
		return
	}
	what, isLoss := losses[string(f.Operation)]
	if !isLoss {
		return
	}
	if f.Operation == "deadletter" && f.RefusedSeq.set && f.RefusedSeq.value >= 1 && f.RefusedSeq.value < 1<<53 {
		w.refused[string(f.RefusedBy)] = append(w.refused[string(f.RefusedBy)], uint64(f.RefusedSeq.value))
	}
	if at := r.at(); len(w.Losses) < mostLosses && !at.Before(ws.period.From) && !at.After(ws.period.To) {
		w.Losses = append(w.Losses, Loss{at, what, string(f.Text)})
	}
}

// act notes what an event shows of how its input is set up, and of how sure its
// actors are.
func (w *watching) act(r *record) {
	f := r.Event
	operation := string(f.Operation)
	if operation == "inventory" || operation == "record.damaged" {
		return
	}
	w.acts++
	if at := r.at(); f.TimeBasis != "claimed" && (w.oldest.IsZero() || at.Before(w.oldest)) {
		w.oldest = at
	}
	switch f.Confidence {
	case "authenticated", "signed":
		w.proven = w.proven || f.Confidence == "authenticated"
	default:
		w.claimed++
	}
	switch w.Source {
	case "mlflow":
		// Only its access log leads back to a line of a file.
		w.logs["access_log"] = w.logs["access_log"] || f.RawRef != ""
	case "git":
		switch {
		case slices.Contains([]string{"repo.fetched", "repo.cloned", "lfs.downloaded", "lfs.uploaded"}, operation):
			w.logs["access_log"] = true
		case operation == "repo.pushed":
			w.logs["access_log"], w.logs["hook_log"] = true, true
		case slices.Contains([]string{"protection.changed", "member.changed", "hook.changed", "repo.deleted", "repo.created", "audit.disabled", "forge.other"}, operation):
			w.logs["audit_log"] = true
		}
	case "s3":
		w.logs["control"] = w.logs["control"] || f.AssetType == "bucket" || event.S3AssetType(string(f.AssetID)) == "bucket"
	}
}

// kindOf is the kind of input that a source names, such as s3 of
// aiwatch_s3://prod.
func kindOf(source string) (kind string, ok bool) {
	scheme, _, ok := strings.Cut(source, "://")
	if !ok {
		return "", false
	}
	kind, ok = strings.CutPrefix(scheme, "aiwatch_")
	return kind, ok && isSource(kind)
}

// all are the inputs in the order of their names.
func (ws *watches) all() (all []*Watch) {
	for _, name := range slices.Sorted(maps.Keys(ws.inputs)) {
		w := ws.inputs[name]
		w.Once = ws.once
		w.judge(ws.period)
		all = append(all, &w.Watch)
	}
	return all
}

func (w *watching) judge(p Period) {
	slices.SortStableFunc(w.beats, func(x, y beat) int { return x.at.Compare(y.at) })
	slices.SortFunc(w.dated, time.Time.Compare)
	w.Beats = len(w.beats)
	if w.Beats > 0 {
		w.First, w.Last = w.beats[0].at, w.beats[w.Beats-1].at
		if !w.Once {
			w.silences(p)
		}
		w.failures(p)
		slices.SortStableFunc(w.Missing, func(x, y *Stretch) int { return x.From.Compare(y.From) })
	}
	for _, c := range slices.Sorted(maps.Keys(w.numbers)) {
		w.count(c, p)
	}
}

// silences finds the times without a heartbeat: longer than half as long again as
// is usual for this input, and than half an hour.
func (w *watching) silences(p Period) {
	limit := shortestSilence
	if n := len(w.beats); n > 2 {
		steps := make([]time.Duration, n-1)
		for i := range steps {
			steps[i] = w.beats[i+1].at.Sub(w.beats[i].at)
		}
		slices.Sort(steps)
		median := steps[len(steps)/2]
		w.Pace = int(median / time.Second)
		limit = max(limit, median+median/2)
	}
	silence := func(from, to time.Time, why string) {
		if to.Sub(from) > limit {
			w.miss(p, from, to, why)
		}
	}
	silence(p.From, w.First, "no heartbeat yet")
	for i := 1; i < len(w.beats); i++ {
		silence(w.beats[i-1].at, w.beats[i].at, "no heartbeat")
	}
	silence(w.Last, p.To, "no heartbeat any more")
}

// failures are the times in which the collector was alive and could not read its
// source.
func (w *watching) failures(p Period) {
	for i := 0; i < len(w.beats); i++ {
		if w.beats[i].state != "failing" {
			continue
		}
		first := i
		for i+1 < len(w.beats) && w.beats[i+1].state == "failing" {
			i++
		}
		to := w.beats[i].at
		if i+1 < len(w.beats) {
			to = w.beats[i+1].at
		}
		w.miss(p, w.beats[first].at, to, "the source could not be read: "+w.beats[first].error)
	}
}

// miss notes what of a time lies in the period.
func (w *watching) miss(p Period, from, to time.Time, why string) {
	if from.Before(p.From) {
		from = p.From
	}
	if to.After(p.To) {
		to = p.To
	}
	if !to.After(from) {
		return
	}
	s := &Stretch{From: from, To: to, Why: why}
	for hour := from.Truncate(time.Hour); hour.Before(to); hour = hour.Add(time.Hour) {
		s.Hours = append(s.Hours, hour)
	}
	begin, _ := slices.BinarySearchFunc(w.dated, from.Add(time.Millisecond), time.Time.Compare)
	end, _ := slices.BinarySearchFunc(w.dated, to, time.Time.Compare)
	s.Later = max(0, end-begin)
	w.Missing = append(w.Missing, s)
}

// count finds the numbers of a collector that no event has, and those that two
// have.
func (w *watching) count(collector string, p Period) {
	all := w.numbers[collector]
	slices.SortStableFunc(all, func(x, y numbered) int { return cmp.Compare(x.seq, y.seq) })
	refused := w.refused[collector]
	slices.Sort(refused)
	refused = slices.Compact(refused)
	for i := 1; i < len(all); i++ {
		before, after := all[i-1], all[i]
		if before.seq == after.seq {
			if before.id != after.id {
				w.Twice++
			}
			continue
		}
		if before.seq+1 == after.seq || after.at.Before(p.From) || len(w.Holes) == mostHoles {
			continue
		}
		h := Hole{Collector: collector, From: before.seq + 1, To: after.seq - 1, Before: before.at, After: after.at}
		low, _ := slices.BinarySearch(refused, h.From)
		high, _ := slices.BinarySearch(refused, h.To+1)
		h.Refused = uint64(high - low)
		w.Holes = append(w.Holes, h)
	}
}

// Missed is how long the input was not watched; times that overlap count once.
func (w *Watch) Missed() (sum time.Duration) {
	var until time.Time
	for _, s := range w.Missing {
		from := s.From
		if from.Before(until) {
			from = until
		}
		if s.To.After(from) {
			sum += s.To.Sub(from)
			until = s.To
		}
	}
	return sum
}

// Lost is how many numbers nothing explains.
func (w *Watch) Lost() (n uint64) {
	for _, h := range w.Holes {
		n += h.Missing()
	}
	return n
}
