package spl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"time"
)

// Engine runs searches over a store. It is made once and its fields are not
// changed while a search runs. Searches may run side by side while nothing is
// added to the store or deleted from it, and while none of them writes: see
// Query.Writes.
type Engine struct {
	Store      *Store
	Lookups    *Lookups             // may be nil: no lookups
	Macros     Conf                 // macros.conf
	Transforms Conf                 // transforms.conf
	DataModels map[string]DataModel // by model name
	Saved      map[string]string    // saved searches: name to text
	Location   *time.Location       // the zone of @d, strftime and timechart; nil is UTC
	Limits     Limits
	// Collect receives what the collect command writes. nil: collect is refused.
	Collect func(index string, fields []string, rows []Row) error

	indexes lookupIndexes
}

// Params are what differs from run to run.
type Params struct {
	Now time.Time
	// Earliest and Latest bound the search as a time picker does: modifiers,
	// epoch seconds or RFC 3339. Empty means all time. Times in the search
	// itself win over them.
	Earliest, Latest string
}

// Limits bound the memory and time of one search. A zero field has its
// default; a search that passes a limit ends with an error that names it.
type Limits struct {
	Cells     int           // values that the commands hold at once; default 24 million
	Groups    int           // groups of one aggregation; default 2 million
	Text      int           // bytes of one value; default 4 MiB
	Expand    int           // rows that mvexpand and appends may add; default 2 million
	Rows      int           // rows of the final result; default 2 million
	Steps     int           // values visited by windows and wildcard lookups; default 4 billion
	Subsearch time.Duration // of one subsearch; default 60 s
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&l.Cells, 24_000_000)
	set(&l.Groups, 2_000_000)
	set(&l.Text, 4<<20)
	set(&l.Expand, 2_000_000)
	set(&l.Rows, 2_000_000)
	set(&l.Steps, 4_000_000_000)
	if l.Subsearch == 0 {
		l.Subsearch = 60 * time.Second
	}
	return l
}

// Splunk's own limits, which cut silently there and with a warning here
// (limits.conf).
const (
	sortLimit      = 10_000 // rows of sort without a number
	subsearchLimit = 10_000 // rows of [ ... ] as a filter
	appendLimit    = 50_000 // rows of append's subsearch
	listLimit      = 100    // values of list()
)

// MemoryGoal is what a program that searches a million events hands to
// debug.SetMemoryLimit, in bytes.
const MemoryGoal = 560 << 20

// Row is one row of a result, by the index of Result.Fields.
type Row []Value

// Result is what a search gives.
type Result struct {
	Fields   []string
	Rows     []Row
	Warnings []string // what Splunk would cut silently
}

// Get returns a field of a row by name.
func (r *Result) Get(row Row, field string) Value {
	for i, f := range r.Fields {
		if f == field && i < len(row) {
			return row[i]
		}
	}
	return null
}

// AppendJSON writes a row as one JSON object: fields in the result's order,
// fields without a value left out.
func (r *Result) AppendJSON(b []byte, row Row) []byte {
	b = append(b, '{')
	first := true
	for i, f := range r.Fields {
		if i >= len(row) || row[i].IsNull() {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendJSONString(b, f)
		b = append(b, ':')
		b = row[i].appendJSON(b)
	}
	return append(b, '}')
}

func (e *Engine) location() *time.Location {
	if e.Location == nil {
		return time.UTC
	}
	return e.Location
}

// Run parses and runs a search. Its errors are *Refusal where the search is at
// fault.
func (e *Engine) Run(ctx context.Context, search string, params Params) (*Result, error) {
	q, err := e.Parse(search, params.Now)
	if err != nil {
		return nil, err
	}
	return e.RunQuery(ctx, q, params)
}

func (e *Engine) execution(ctx context.Context, q *Query, params Params) (*execution, error) {
	x := &execution{ctx: ctx, engine: e, src: q.src, limits: e.Limits.withDefaults()}
	x.env = &evalEnv{
		now: epochOf(params.Now), loc: e.location(), src: q.src, macros: e.Macros,
		random: rand.New(rand.NewPCG(uint64(params.Now.UnixNano()), 1)),
	}
	var err error
	if x.picker, err = x.pickedRange(params); err != nil {
		return nil, err
	}
	x.searched = x.picker
	x.env.bracket = x.filterText
	return x, nil
}

// timeRange is [earliest, latest) in epoch seconds.
type timeRange struct{ earliest, latest float64 }

const endOfTime = 1e15

var allTime = timeRange{-endOfTime, endOfTime}

func (x *execution) pickedRange(p Params) (timeRange, error) {
	r := allTime
	for _, t := range []struct {
		name, value string
		to          *float64
	}{{"earliest", p.Earliest, &r.earliest}, {"latest", p.Latest, &r.latest}} {
		if t.value == "" {
			continue
		}
		m, err := parseTimeModifier(t.value)
		if err != nil {
			return r, fmt.Errorf("%s: %w", t.name, err)
		}
		*t.to = m.resolve(x.env.now, x.env.loc)
	}
	return r, nil
}

// execution is one run of one search.
type execution struct {
	ctx      context.Context
	engine   *Engine
	src      *source
	limits   Limits
	env      *evalEnv
	picker   timeRange // of the run
	searched timeRange // of the search that is running: the picker's or its own
	steps    int
	warnings []string
	depth    int
	written  map[string]bool // tables that an outputlookup before makes, while checking
	wanted   *fieldSet       // what is read of the from command that opens
	kept     *kept           // of the query, from run to run
}

func (x *execution) refuse(at int, format string, args ...any) error {
	return x.src.refusal(at, format, args...)
}

func (x *execution) warn(format string, args ...any) {
	x.warnings = append(x.warnings, fmt.Sprintf(format, args...))
}

// step counts work that grows faster than the rows do.
func (x *execution) step(n int, what string) error {
	if x.steps += n; x.steps > x.limits.Steps {
		return fmt.Errorf("%s visits more than %d values (limit Steps)", what, x.limits.Steps)
	}
	return nil
}

// schema gives the fields of rows their places. It only grows, so that rows
// of one flow share it.
type schema struct {
	names    []string
	index    map[string]int
	declared []bool // false: only asked for, no command makes it
}

func newSchema(names ...string) *schema {
	s := &schema{index: map[string]int{}}
	for _, n := range names {
		s.declare(n)
	}
	return s
}

// slot is the place of a field, made where there was none.
func (s *schema) slot(name string) int {
	i, ok := s.index[name]
	if !ok {
		i = len(s.names)
		s.index[name] = i
		s.names = append(s.names, name)
		s.declared = append(s.declared, false)
	}
	return i
}

// declare is slot for a command that makes the field.
func (s *schema) declare(name string) int {
	i := s.slot(name)
	s.declared[i] = true
	return i
}

// present lists the declared fields that match a pattern; internal fields
// (those with a leading _) only match patterns with one.
func (s *schema) present(pattern string) []string {
	w := newWildcard(pattern, false)
	var out []string
	for i, n := range s.names {
		if s.declared[i] && w.match(n) && (n[0] != '_' || strings.HasPrefix(pattern, "_")) {
			out = append(out, n)
		}
	}
	return out
}

// result turns rows into a Result, without the fields that no row has.
func (s *schema) result(rows []Row, warnings []string) *Result {
	used := make([]bool, len(s.names))
	for _, r := range rows {
		for i, v := range r {
			if v.kind != kindNull {
				used[i] = true
			}
		}
	}
	res := &Result{Warnings: warnings}
	var from []int
	for i, n := range s.names {
		if used[i] && n != "" {
			res.Fields = append(res.Fields, n)
			from = append(from, i)
		}
	}
	res.Rows = make([]Row, len(rows))
	for i, r := range rows {
		out := make(Row, len(from))
		for j, slot := range from {
			out[j] = r.get(slot)
		}
		res.Rows[i] = out
	}
	return res
}

func (r Row) get(slot int) Value {
	if slot < len(r) {
		return r[slot]
	}
	return null
}

func (r *Row) set(slot int, v Value) {
	for slot >= len(*r) {
		*r = append(*r, null)
	}
	(*r)[slot] = v
}

// flow is rows on their way from one command to the next. next returns nil at
// the end; the rows it returns belong to the caller.
type flow struct {
	sc   *schema
	next func() ([]Row, error)
}

// after is the flow behind rows that were taken from it. They get the room for
// the fields that commands have declared since.
func (f *flow) after(rows []Row) *flow {
	return &flow{f.sc, func() ([]Row, error) {
		if rows == nil {
			return f.next()
		}
		first := rows
		rows = nil
		width := len(f.sc.names)
		cells := make([]Value, width*len(first))
		for i, r := range first {
			row := Row(cells[i*width : (i+1)*width : (i+1)*width])
			copy(row, r)
			first[i] = row
		}
		return first, nil
	}}
}

func flowOf(sc *schema, rows []Row) *flow {
	done := false
	return &flow{sc, func() ([]Row, error) {
		if done || len(rows) == 0 {
			return nil, nil
		}
		done = true
		return rows, nil
	}}
}

// filterMap gives each row to f, which may change it; false drops it.
func (x *execution) filterMap(in *flow, f func(r *Row) (bool, error)) *flow {
	return &flow{in.sc, func() ([]Row, error) {
		for {
			rows, err := in.next()
			if err != nil || rows == nil {
				return nil, err
			}
			if err := x.ctx.Err(); err != nil {
				return nil, err
			}
			kept := rows[:0]
			for i := range rows {
				keep, err := f(&rows[i])
				if err != nil {
					return nil, err
				}
				if keep {
					kept = append(kept, rows[i])
				}
			}
			if err := x.env.takeFailure(); err != nil {
				return nil, err
			}
			if len(kept) > 0 {
				return kept, nil
			}
		}
	}}
}

// collect takes all rows of a flow, within the limit on cells.
func (x *execution) collect(in *flow, who string) ([]Row, error) {
	var all []Row
	cells := 0
	for {
		rows, err := in.next()
		if err != nil {
			return nil, err
		}
		if rows == nil {
			return all, nil
		}
		if err := x.ctx.Err(); err != nil {
			return nil, err
		}
		for _, r := range rows {
			cells += len(r) + 1
		}
		if cells > x.limits.Cells {
			return nil, fmt.Errorf("%s holds more than %d values (limit Cells)", who, x.limits.Cells)
		}
		all = append(all, rows...)
	}
}

// open opens the commands of a pipeline one after the other.
func (x *execution) pipeline(cmds []command, in *flow) (*flow, error) {
	if x.depth++; x.depth > maxNesting {
		return nil, fmt.Errorf("searches nest deeper than %d", maxNesting)
	}
	defer func() { x.depth-- }()
	start := 0
	if src, ok := cmds[0].(*searchCommand); ok && in == nil {
		var err error
		if in, start, err = x.scan(src, cmds); err != nil {
			return nil, err
		}
		if x.depth == 1 && x.kept != nil && x.kept.silent {
			rows, err := in.next()
			if err != nil {
				return nil, err
			}
			if rows == nil {
				return flowOf(newSchema(), nil), nil
			}
			in = in.after(rows)
		}
	}
	for _, c := range cmds[start:] {
		var err error
		if _, ok := c.(*fromCommand); ok {
			x.wanted = wantedAfter(cmds, c)
		}
		if in, err = c.open(x, in); err != nil {
			return nil, err
		}
		if err := x.ctx.Err(); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// checker is a command that can be wrong in ways that only the engine's
// lookups, types of expressions and the like tell.
type checker interface {
	check(x *execution) error
}

func (x *execution) check(cmds []command) error {
	for _, c := range cmds {
		if c, ok := c.(checker); ok {
			if err := c.check(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// wantedAfter is what the commands after c read of its output.
func wantedAfter(cmds []command, c command) *fieldSet {
	want := &fieldSet{all: true}
	for i := len(cmds) - 1; i >= 0 && cmds[i] != c; i-- {
		want = cmds[i].need(want)
	}
	return want
}

// fieldSet is a set of field names, or all.
type fieldSet struct {
	all   bool
	names map[string]bool
	globs []string
}

func (s *fieldSet) add(names ...string) {
	if s.names == nil {
		s.names = map[string]bool{}
	}
	for _, n := range names {
		if strings.Contains(n, "*") {
			s.globs = append(s.globs, n)
		} else {
			s.names[n] = true
		}
	}
}

func (s *fieldSet) addAll() { s.all = true }

func (s *fieldSet) clone() *fieldSet {
	out := &fieldSet{all: s.all, globs: append([]string(nil), s.globs...)}
	for n := range s.names {
		out.add(n)
	}
	return out
}

func (s *fieldSet) with(names ...string) *fieldSet {
	out := s.clone()
	out.add(names...)
	return out
}

func (s *fieldSet) without(names ...string) *fieldSet {
	out := s.clone()
	for _, n := range names {
		delete(out.names, n)
	}
	return out
}

func (s *fieldSet) has(name string) bool {
	if s.all || s.names[name] {
		return true
	}
	for _, g := range s.globs {
		if newWildcard(g, false).match(name) {
			return true
		}
	}
	return false
}

func (s *fieldSet) sorted() []string {
	return sortedKeys(s.names)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
