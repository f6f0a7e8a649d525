package mlflowsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Bulk says how many objects a server is filled with. Versions are spread
// evenly over the models and runs stand behind them in turn.
type Bulk struct {
	Models, Versions, Runs int
	// At is the date of the first object, in milliseconds since the epoch; one
	// follows the other by a second.
	At int64
}

// bulk computes objects by their number, so that they cost no memory. One that
// is changed becomes an ordinary object, or is gone.
type bulk struct {
	s     *Server
	size  Bulk
	each  int   // versions of a model
	taken []int // numbers of models that are no longer here, sorted
	hide  bool
}

func newBulk(s *Server, size Bulk) *bulk {
	b := &bulk{s: s, size: size}
	if size.Models > 0 {
		b.each = size.Versions / size.Models
	}
	return b
}

func bulkName(i int) string { return fmt.Sprintf("model-%06d", i) }

// BulkRun is the id of the i-th run that a server is filled with.
func BulkRun(i int) string { return fmt.Sprintf("b%031x", i) }

func (b *bulk) number(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "model-")
	i, err := strconv.Atoi(digits)
	return i, ok && err == nil && i >= 0 && i < b.size.Models && name == bulkName(i)
}

// model makes the model of a name, nil when it is not here.
func (b *bulk) model(name string) *model {
	i, ok := b.number(name)
	if _, gone := slices.BinarySearch(b.taken, i); !ok || gone || b.hide {
		return nil
	}
	return b.make(i)
}

func (b *bulk) make(i int) *model {
	at := b.size.At + int64(i)*1000
	m := &model{name: bulkName(i), created: at, updated: at, tags: map[string]string{}, aliases: map[string]string{}, versions: map[int]*version{}, last: b.each}
	if b.each > 0 {
		m.aliases["champion"] = strconv.Itoa(b.each)
	}
	for n := 1; n <= b.each; n++ {
		m.versions[n] = b.makeVersion(m, i, n)
	}
	return m
}

func (b *bulk) makeVersion(m *model, i, n int) *version {
	at := m.created + int64(n)
	v := &version{model: m, number: n, created: at, updated: at, stage: "None", status: "READY", tags: map[string]string{"team": "risk"}}
	if b.size.Runs > 0 {
		v.runID = BulkRun((i*b.each + n - 1) % b.size.Runs)
		v.source = b.s.experiments["0"].location + "/" + v.runID + "/artifacts/model"
	}
	return v
}

// take removes a model from the bulk.
func (b *bulk) take(m *model) {
	if i, ok := b.number(m.name); ok {
		if at, gone := slices.BinarySearch(b.taken, i); !gone {
			b.taken = slices.Insert(b.taken, at, i)
		}
	}
}

// at is the number of the i-th model that is still here.
func (b *bulk) at(i int) int {
	for _, t := range b.taken {
		if t <= i {
			i++
		}
	}
	return i
}

func (b *bulk) here(f *filter) bool { return !b.hide && !f.prompts && len(f.terms) == 0 }

func (b *bulk) modelCount(f *filter) int {
	if !b.here(f) {
		return 0
	}
	return b.size.Models - len(b.taken)
}

func (b *bulk) modelAt(i int) *model { return b.make(b.at(i)) }

func (b *bulk) versionCount(f *filter) int { return b.modelCount(f) * b.each }

func (b *bulk) versionAt(i int) *version {
	k := b.at(i / b.each)
	m := &model{name: bulkName(k), created: b.size.At + int64(k)*1000}
	return b.makeVersion(m, k, b.each-i%b.each)
}

func (b *bulk) runAt(i int) *run {
	at := b.size.At + int64(i)*1000
	id := BulkRun(i)
	return &run{
		id: id, name: "bulk", exp: b.s.experiments["0"], user: "bulk", status: "FINISHED", start: at, end: at + 500, stage: "active",
		artifacts: b.s.experiments["0"].location + "/" + id + "/artifacts",
		tags:      map[string]string{"mlflow.source.git.commit": fmt.Sprintf("%040x", i)}, params: map[string]string{}, metrics: map[string][]metric{"auc": {{0.5, at, 0}}},
	}
}

func (b *bulk) run(id string) *run {
	if len(id) != 32 || id[0] != 'b' {
		return nil
	}
	i, err := strconv.ParseInt(id[1:], 16, 64)
	if err != nil || int(i) >= b.size.Runs {
		return nil
	}
	return b.runAt(int(i))
}

// Hide makes the registry answer as if it held none of the bulk's models, but
// those whose number is below keep; keep below 0 shows all again.
func (s *Server) Hide(keep int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bulk.hide = keep == 0
	s.bulk.taken = nil
	for i := keep; keep > 0 && i < s.bulk.size.Models; i++ {
		s.bulk.taken = append(s.bulk.taken, i)
	}
}
