package spl

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// aggregate is one aggregation as it is written: fn(field) AS name.
type aggregate struct {
	pos     int
	fn      string // canonical name
	written string // as it is written, in lower case
	percent float64
	field   string // "" for count alone
	arg     expr   // of fn(eval(...)), instead of a field
	as      string
	allNum  bool // numerical results only where every value is a number
}

// aggregations are the functions of stats and its relatives, by every name
// that they have; the value is the canonical one.
var aggregations = map[string]string{
	"count": "count", "c": "count", "dc": "dc", "distinct_count": "dc",
	// estdc estimates in Splunk; the exact count is within any estimate's error.
	"estdc":  "dc",
	"values": "values", "list": "list", "min": "min", "max": "max",
	"sum": "sum", "sumsq": "sumsq", "avg": "avg", "mean": "avg", "median": "perc", "mode": "mode", "range": "range",
	"stdev": "stdev", "stdevp": "stdevp", "var": "var", "varp": "varp",
	"first": "first", "last": "last", "earliest": "earliest", "latest": "latest",
	"earliest_time": "earliest_time", "latest_time": "latest_time",
}

// aggregationName resolves a function's name; percN, pN, exactpercN and
// upperpercN carry their number.
func aggregationName(name string) (fn string, percent float64, ok bool) {
	low := strings.ToLower(name)
	if fn, ok := aggregations[low]; ok {
		return fn, 50, true
	}
	for _, prefix := range []string{"exactperc", "upperperc", "perc", "p"} {
		if digits, found := strings.CutPrefix(low, prefix); found {
			if n, ok := parseNumber(strings.ReplaceAll(digits, "_", ".")); ok && n >= 0 && n <= 100 && digits[0] != '+' && digits[0] != '-' {
				return "perc", n, true
			}
		}
	}
	return "", 0, false
}

// aggregates parses aggregations up to a stop word or the command's end.
func (p *parser) aggregates(cmd string, stops ...string) ([]aggregate, error) {
	var list []aggregate
	for {
		p.accept(',')
		if p.done() || p.atStop(stops) {
			break
		}
		a, err := p.aggregate(cmd)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, p.refuse(p.pos, "%s needs an aggregation, like count or sum(field)", cmd)
	}
	seen := map[string]bool{}
	for _, a := range list {
		if seen[a.as] {
			return nil, p.src.refusal(a.pos, "%s: two aggregations are named %q: rename one with AS", cmd, a.as)
		}
		seen[a.as] = true
		if call := a.written + "\x00" + a.field; a.field != "" {
			if seen[call] {
				return nil, p.src.refusal(a.pos, "%s: %s(%s) can't have two names: use eval for the second", cmd, a.written, a.field)
			}
			seen[call] = true
		}
	}
	return list, nil
}

func (p *parser) aggregate(cmd string) (aggregate, error) {
	p.space()
	at := p.pos
	name := p.peekWord()
	if name == "" {
		return aggregate{}, p.refuse(at, "%s: an aggregation is expected here%s", cmd, p.found())
	}
	p.pos += len(name)
	for p.peek() == '.' && p.pos+1 < len(p.text) && p.text[p.pos+1]-'0' <= 9 { // perc99.9
		p.pos++
		name += "." + p.peekWord()
		p.pos += len(p.peekWord())
	}
	fn, percent, ok := aggregationName(name)
	if !ok {
		return aggregate{}, p.refuse(at, "%s: unknown aggregation %q%s", cmd, name, hint(name, append(sortedKeys(aggregations), "perc95", "p95")))
	}
	a := aggregate{pos: p.offset(at), fn: fn, written: strings.ToLower(name), percent: percent}
	if p.peek() != '(' {
		if fn != "count" {
			return a, p.refuse(at, "%s: %s needs a field, like %s(field)", cmd, name, name)
		}
	} else {
		p.pos++
		p.space()
		save := p.pos
		if p.acceptWord("eval") && p.peek() == '(' {
			p.pos++
			e, err := p.expression()
			if err != nil {
				return a, err
			}
			if !p.accept(')') {
				return a, p.refuse(save, "unclosed parenthesis: eval( has no closing )")
			}
			a.arg = e
		} else {
			p.pos = save
			f, err := p.field(cmd + ": " + name)
			if err != nil {
				if p.accept(')') {
					return a, p.refuse(at, "%s: %s() needs a field", cmd, name)
				}
				return a, err
			}
			a.field = f
		}
		if !p.accept(')') {
			return a, p.refuse(at, "unclosed parenthesis: %s( has no closing )", name)
		}
	}
	a.as = strings.TrimSpace(p.text[at:p.pos])
	if a.field != "" {
		a.as = name + "(" + a.field + ")"
	}
	if p.acceptWord("AS") {
		as, err := p.field(cmd + ": AS")
		if err != nil {
			return a, err
		}
		if strings.Contains(as, "*") != strings.Contains(a.field, "*") || strings.Count(as, "*") > 1 {
			return a, p.refuse(at, "%s: the wildcards of %s and %q do not match", cmd, name, as)
		}
		a.as = as
	}
	if strings.Count(a.field, "*") > 1 {
		return a, p.refuse(at, "%s: one wildcard in a field's name is known here", cmd)
	}
	return a, nil
}

// byFields parses BY and its fields, if they come next.
func (p *parser) byFields(cmd string, options ...string) ([]string, error) {
	p.space()
	at := p.pos
	if !p.acceptWord("BY") {
		return nil, nil
	}
	names, err := p.fields(cmd+": BY", options...)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, p.refuse(at, "%s: BY needs at least one field", cmd)
	}
	for i, n := range names {
		if strings.Contains(n, "*") {
			return nil, p.refuse(at, "%s: a wildcard is not known after BY", cmd)
		}
		if slices.Contains(names[:i], n) {
			return nil, p.refuse(at, "%s: BY names the field %q twice", cmd, n)
		}
	}
	return names, nil
}

func (a *aggregate) reads(set *fieldSet) {
	if a.field != "" {
		set.add(a.field)
	}
	fieldsOf(a.arg, set)
	switch a.fn {
	case "earliest", "latest", "earliest_time", "latest_time":
		set.add("_time")
	}
}

// compiledAggregate is an aggregate bound to the places of a schema.
type compiledAggregate struct {
	aggregate
	value evalFn // nil: every row counts
	time  int    // place of _time, where it is read
}

func (x *execution) compileAggregates(list []aggregate, sc *schema) ([]compiledAggregate, error) {
	var out []compiledAggregate
	for _, a := range list {
		ca := compiledAggregate{aggregate: a, time: -1}
		switch a.fn {
		case "earliest", "latest", "earliest_time", "latest_time":
			ca.time = sc.slot("_time")
		}
		switch {
		case a.arg != nil:
			c := &compiler{sc: sc, env: x.env}
			fn, t, err := c.compile(a.arg)
			if err != nil {
				return nil, err
			}
			if t == typeBool && a.fn != "count" {
				return nil, x.refuse(a.pos, "%s(eval(...)) needs a value, this is a condition: use count, or if(condition, value, null())", a.fn)
			}
			ca.value = fn
		case a.field != "":
			slot := sc.slot(a.field)
			ca.value = func(r Row) Value { return r.get(slot) }
		}
		out = append(out, ca)
	}
	return out, nil
}

// expand replaces aggregations over wildcards by one for each field.
func expandAggregates(list []aggregate, fields func(pattern string) []string, by []string) []aggregate {
	var out []aggregate
	for _, a := range list {
		if !strings.Contains(a.field, "*") {
			out = append(out, a)
			continue
		}
		head, tail, _ := strings.Cut(a.field, "*")
		for _, f := range fields(a.field) {
			if slices.Contains(by, f) {
				continue
			}
			one := a
			one.field = f
			one.as = strings.Replace(a.as, "*", strings.TrimSuffix(strings.TrimPrefix(f, head), tail), 1)
			out = append(out, one)
		}
	}
	return out
}

func hasWildcard(list []aggregate) bool {
	return slices.ContainsFunc(list, func(a aggregate) bool { return strings.Contains(a.field, "*") })
}

// accumulator computes one aggregation of one group.
type accumulator interface {
	// add takes a single value that is not null, and its row's time.
	add(v Value, at float64)
	result() Value
}

// feed gives a row to the accumulators of its group; held counts the values
// that they keep.
func feed(list []compiledAggregate, acc []accumulator, r Row) {
	for i := range list {
		a := &list[i]
		if a.value == nil {
			acc[i].(*counter).n++
			continue
		}
		v := a.value(r)
		if v.kind == kindNull {
			continue
		}
		at := math.NaN()
		if a.time >= 0 && a.time < len(r) {
			if t := r[a.time]; t.kind == kindNumber {
				at = t.num
			} else if f, ok := t.Float(); ok {
				at = f
			}
		}
		if v.kind == kindMulti {
			for _, one := range *v.list {
				acc[i].add(one, at)
			}
			continue
		}
		acc[i].add(v, at)
	}
}

func newAccumulators(list []compiledAggregate, held *int) []accumulator {
	acc := make([]accumulator, len(list))
	for i := range list {
		acc[i] = list[i].accumulator(held)
		if !list[i].allNum {
			continue
		}
		switch acc[i].(type) {
		case *moments, *percentile:
			acc[i] = &numbersOnly{accumulator: acc[i]}
		}
	}
	return acc
}

// numbersOnly is allnum=true: one value that is no number voids the result.
type numbersOnly struct {
	accumulator
	void bool
}

func (n *numbersOnly) add(v Value, at float64) {
	if _, ok := v.Float(); !ok {
		n.void = true
	}
	n.accumulator.add(v, at)
}

func (n *numbersOnly) result() Value {
	if n.void {
		return null
	}
	return n.accumulator.result()
}

func (a *aggregate) accumulator(held *int) accumulator {
	switch a.fn {
	case "count":
		return &counter{}
	case "dc":
		return &distinct{held: held}
	case "values":
		return &valueSet{held: held}
	case "list":
		return &valueList{held: held}
	case "min":
		return &extreme{}
	case "max":
		return &extreme{max: true}
	case "perc":
		return &percentile{p: a.percent, held: held}
	case "mode":
		return &mode{counts: map[string]int{}, held: held}
	case "first", "last", "earliest", "latest", "earliest_time", "latest_time":
		return &chosen{fn: a.fn}
	}
	return &moments{fn: a.fn}
}

type counter struct{ n int }

func (c *counter) add(v Value, _ float64) {
	if v.kind != kindBool || v.num != 0 {
		c.n++
	}
}
func (c *counter) result() Value { return number(float64(c.n)) }

// distinct is dc(). Most groups see one value or none: the map is made for the
// second.
type distinct struct {
	one  string
	seen map[string]struct{} // nil: one, if anything is held
	some bool
	held *int
}

func (d *distinct) add(v Value, _ float64) {
	s := v.String()
	switch {
	case !d.some:
		d.some, d.one = true, s
		*d.held++
		return
	case d.seen == nil && s == d.one:
		return
	case d.seen == nil:
		d.seen = map[string]struct{}{d.one: {}}
	}
	if _, ok := d.seen[s]; !ok {
		d.seen[s] = struct{}{}
		*d.held++
	}
}

func (d *distinct) result() Value {
	if d.seen == nil && d.some {
		return number(1)
	}
	return number(float64(len(d.seen)))
}

// valueSet is values(): distinct and in lexicographic order.
type valueSet struct {
	one  Value
	seen map[string]Value // nil: one, if it is not null
	held *int
}

func (s *valueSet) add(v Value, _ float64) {
	if s.one.kind == kindNull {
		s.one = v
		*s.held++
		return
	}
	k := v.String()
	if s.seen == nil {
		first := s.one.String()
		if k == first {
			return
		}
		s.seen = map[string]Value{first: s.one}
	}
	if _, ok := s.seen[k]; !ok {
		s.seen[k] = v
		*s.held++
	}
}

func (s *valueSet) result() Value {
	if s.seen == nil {
		return s.one
	}
	vs := make([]Value, 0, len(s.seen))
	for _, k := range sortedKeys(s.seen) {
		vs = append(vs, s.seen[k])
	}
	return multi(vs)
}

type valueList struct {
	vs   []Value
	held *int
}

func (l *valueList) add(v Value, _ float64) {
	if len(l.vs) < listLimit {
		l.vs = append(l.vs, v)
		*l.held++
	}
}
func (l *valueList) result() Value { return multi(slices.Clone(l.vs)) }

// extreme is min or max: numbers by size, texts lexicographically, and in a mix
// every number before every text (Search Reference, "Aggregate functions").
type extreme struct {
	best Value
	max  bool
}

func (e *extreme) add(v Value, _ float64) {
	c := 1
	if e.best.kind != kindNull {
		if c = numbersFirst(v, e.best); !e.max {
			c = -c
		}
	}
	if c > 0 {
		e.best = v
	}
}

func (e *extreme) result() Value { return e.best }

// percentile is the value of rank floor(p/100*n) counted from 0, the method
// that limits.conf calls nearest-rank and has as default. The documentation
// contradicts itself elsewhere (interpolation, a digest over 1,000 values), so
// that the median of an even number of values is this one's higher middle.
type percentile struct {
	p    float64
	vs   []float64
	held *int
}

func (p *percentile) add(v Value, _ float64) {
	if f, ok := v.Float(); ok {
		p.vs = append(p.vs, f)
		*p.held++
	}
}

func (p *percentile) result() Value {
	if len(p.vs) == 0 {
		return null
	}
	sort.Float64s(p.vs)
	rank := int(math.Floor(p.p / 100 * float64(len(p.vs))))
	return precise(p.vs[min(rank, len(p.vs)-1)])
}

// mode is the most frequent value; of several, which the documentation does
// not order, the lexicographically first.
type mode struct {
	counts map[string]int
	held   *int
}

func (m *mode) add(v Value, _ float64) {
	s := v.String()
	if m.counts[s]++; m.counts[s] == 1 {
		*m.held++
	}
}

func (m *mode) result() Value {
	best := ""
	for s, n := range m.counts {
		if n > m.counts[best] || n == m.counts[best] && s < best {
			best = s
		}
	}
	if m.counts[best] == 0 {
		return null
	}
	return dataText(best)
}

// chosen is one value picked by order or time.
type chosen struct {
	fn    string
	value Value
	at    float64
}

func (c *chosen) add(v Value, at float64) {
	switch c.fn {
	case "first":
		if c.value.kind != kindNull {
			return
		}
	case "last":
	case "earliest", "earliest_time":
		if math.IsNaN(at) || c.value.kind != kindNull && at >= c.at {
			return
		}
	default:
		if math.IsNaN(at) || c.value.kind != kindNull && at <= c.at {
			return
		}
	}
	c.value, c.at = v, at
}

func (c *chosen) result() Value {
	if strings.HasSuffix(c.fn, "_time") && c.value.kind != kindNull {
		return number(c.at)
	}
	return c.value
}

// moments are sums and what is made of them; what is no number is left out.
// Sums are the plain ones of doubles, with the error that the documentation
// shows: the average of a hundred times 3.99 is 3.9900000000000055 (Search
// Reference, "Aggregate functions", avg).
type moments struct {
	fn        string
	n         float64
	sum       float64
	sumsq     float64
	mean, m2  float64 // Welford's
	low, high float64
}

func (m *moments) add(v Value, _ float64) {
	f, ok := v.Float()
	if !ok {
		return
	}
	m.n++
	m.sum += f
	m.sumsq += f * f
	d := f - m.mean
	m.mean += d / m.n
	m.m2 += d * (f - m.mean)
	if m.n == 1 || f < m.low {
		m.low = f
	}
	if m.n == 1 || f > m.high {
		m.high = f
	}
}

func (m *moments) result() Value {
	if m.n == 0 {
		return null
	}
	sample := max(m.n-1, 1) // one value varies by 0
	switch m.fn {
	case "sum":
		return precise(m.sum)
	case "sumsq":
		return precise(m.sumsq)
	case "avg":
		return precise(m.sum / m.n)
	case "range":
		return precise(m.high - m.low)
	case "stdev":
		return precise(math.Sqrt(m.m2 / sample))
	case "stdevp":
		return precise(math.Sqrt(m.m2 / m.n))
	case "var":
		return precise(m.m2 / sample)
	default: // varp
		return precise(m.m2 / m.n)
	}
}

// groups are the rows of an aggregation by the values of its BY fields.
type groups struct {
	x     *execution
	who   string
	list  []compiledAggregate
	slots []int // of the BY fields
	keys  dictionary
	order []*group // by the keys' codes
	held  int
	buf   []byte
}

type group struct {
	by  []Value
	acc []accumulator
}

func (x *execution) newGroups(who string, list []compiledAggregate, by []int) *groups {
	return &groups{x: x, who: who, list: list, slots: by}
}

// of returns the groups to which a row belongs: none where a BY field is null,
// one for each combination where BY fields have several values.
func (g *groups) add(r Row) error {
	g.buf = g.buf[:0]
	several := false
	for _, s := range g.slots {
		v := r.get(s)
		if v.kind == kindNull {
			return nil
		}
		if v.kind == kindMulti {
			several = true
			break
		}
		g.buf = v.appendKey(g.buf)
	}
	if !several {
		gr, err := g.at(g.buf, func() []Value {
			by := make([]Value, len(g.slots))
			for i, s := range g.slots {
				by[i] = r.get(s)
			}
			return by
		})
		if err == nil {
			feed(g.list, gr.acc, r)
		}
		return err
	}
	combos := [][]Value{nil}
	for _, s := range g.slots {
		vs := r.get(s).values()
		if len(vs) == 0 {
			return nil
		}
		var next [][]Value
		for _, c := range combos {
			for _, v := range vs {
				next = append(next, append(c[:len(c):len(c)], v))
			}
		}
		if combos = next; len(combos) > 10_000 {
			return fmt.Errorf("%s: the several values of one row's BY fields make more than 10000 groups", g.who)
		}
	}
	for _, by := range combos {
		key := g.buf[:0]
		for _, v := range by {
			key = v.appendKey(key)
		}
		gr, err := g.at(key, func() []Value { return by })
		if err != nil {
			return err
		}
		feed(g.list, gr.acc, r)
	}
	return nil
}

func (g *groups) at(key []byte, by func() []Value) (*group, error) {
	code, isNew := g.keys.intern(entryText, key)
	if !isNew && code != 0 {
		return g.order[code-1], nil
	}
	if code == 0 || len(g.order) >= g.x.limits.Groups {
		return nil, fmt.Errorf("%s makes more than %d groups (limit Groups)", g.who, g.x.limits.Groups)
	}
	gr := &group{by: by(), acc: newAccumulators(g.list, &g.held)}
	g.order = append(g.order, gr)
	return gr, nil
}

// check holds the accumulators to the limit on values.
func (g *groups) check() error {
	if g.held > g.x.limits.Cells {
		return fmt.Errorf("%s holds more than %d values (limit Cells)", g.who, g.x.limits.Cells)
	}
	return nil
}

// sorted returns the groups in ascending order of their BY values.
func (g *groups) sorted() []*group {
	g.keys = dictionary{} // no more groups come
	slices.SortStableFunc(g.order, func(a, b *group) int {
		for k := range a.by {
			if c := compare(a.by[k], b.by[k]); c != 0 {
				return c
			}
		}
		return 0
	})
	return g.order
}

// drain feeds all rows of a flow to the groups.
func (g *groups) drain(in *flow) error {
	for {
		rows, err := in.next()
		if err != nil {
			return err
		}
		if rows == nil {
			return nil
		}
		if err := g.x.ctx.Err(); err != nil {
			return err
		}
		for _, r := range rows {
			if err := g.add(r); err != nil {
				return err
			}
		}
		if err := g.x.env.takeFailure(); err != nil {
			return err
		}
		if err := g.check(); err != nil {
			return err
		}
	}
}

// parseSpan reads 5m, 1d, 30 (seconds) or, for weeks, 1w@w1.
type span struct {
	n       int
	unit    byte
	weekday int
	width   float64 // of a numeric span; 0 for times
}

func (p *parser) span(cmd string, o option, numeric bool) (span, error) {
	value := o.value
	i := 0
	for i < len(value) && (value[i]-'0' <= 9 || numeric && value[i] == '.') {
		i++
	}
	count, unit := value[:i], value[i:]
	if unit == "" && numeric {
		f, ok := parseNumber(count)
		if !ok || f <= 0 {
			return span{}, p.refuse(o.pos, "%s: a span is larger than 0, not %q", cmd, value)
		}
		return span{width: f, n: int(f), unit: 's'}, nil
	}
	n := 1
	if count != "" {
		v, err := strconv.Atoi(count)
		if err != nil || v < 1 || v > 1_000_000 {
			return span{}, p.refuse(o.pos, "%s: a span is from 1 to 1000000 units, not %q", cmd, value)
		}
		n = v
	}
	s := span{n: n, weekday: -1}
	base, snap, snapped := strings.Cut(unit, "@")
	if base == "" {
		base = "s"
	}
	u, ok := timeUnits[strings.ToLower(base)]
	if !ok {
		return s, p.refuse(o.pos, "%s: span %q is not known: a number, with a unit for times (s m h d w mon q y)", cmd, value)
	}
	s.unit = u
	if snapped {
		low := strings.ToLower(snap)
		switch {
		case u == 'w' && n == 1 && len(low) == 2 && low[0] == 'w' && low[1] >= '0' && low[1] <= '7':
			s.weekday = int(low[1]-'0') % 7
		case timeUnits[low] == u && u != 'w':
		default:
			return s, p.refuse(o.pos, "%s: the snap of span %q is not known: 1w@w0 to 1w@w6, or the span's own unit", cmd, value)
		}
	}
	if u == 'w' && s.weekday < 0 {
		return s, p.refuse(o.pos, "%s: on which day a week begins is not documented: write span=1w@w0 (Sunday) to 1w@w6", cmd)
	}
	return s, nil
}

// floor is the beginning of the bucket in which a time lies. Seconds, minutes
// and hours count from midnight of the zone's clock, days and weeks from its
// calendar; months, quarters and years from January.
func (s span) floor(epoch float64, x *evalEnv) float64 {
	switch s.unit {
	case 's', 'm', 'h':
		width := float64(s.n) * map[byte]float64{'s': 1, 'm': 60, 'h': 3600}[s.unit]
		_, offset := timeOf(epoch, x.loc).Zone()
		o := float64(offset)
		start := math.Floor((epoch+o)/width)*width - o
		if width <= 900 || offset == 0 {
			return start
		}
		// Over a change of the clocks the offset at the bucket's begin counts.
		if _, before := timeOf(start, x.loc).Zone(); before != offset {
			if again := start + o - float64(before); again <= epoch {
				return again
			}
		}
		return start
	case 'd':
		t := timeOf(epoch, x.loc)
		y, mo, d := t.Date()
		if s.n > 1 {
			// Several days count from 1970-01-01 of the zone's calendar.
			days := int(math.Floor(float64(utcDate(y, int(mo), d)) / 86400))
			d -= ((days % s.n) + s.n) % s.n
		}
		return startOfDay(y, mo, d, x.loc)
	case 'w':
		return snapTime(epoch, 'w', s.weekday, x.loc)
	}
	t := timeOf(epoch, x.loc)
	months := s.n * map[byte]int{'M': 1, 'q': 3, 'y': 12}[s.unit]
	total := (t.Year()-1970)*12 + int(t.Month()) - 1
	total -= ((total % months) + months) % months
	year := 1970 + int(math.Floor(float64(total)/12))
	month := ((total%12)+12)%12 + 1
	return startOfMonth(year, month, x)
}

// next is the beginning of the bucket after the one that begins at start.
func (s span) next(start float64, x *evalEnv) float64 {
	switch s.unit {
	case 's', 'm', 'h':
		width := float64(s.n) * map[byte]float64{'s': 1, 'm': 60, 'h': 3600}[s.unit]
		at := s.floor(start+width, x)
		for at <= start { // the clocks went back within the bucket
			start += width
			at = s.floor(start+width, x)
		}
		return at
	}
	// From midnight to midnight, also where the clocks leap over one.
	y, mo, d := timeOf(start, x.loc).Date()
	switch s.unit {
	case 'd':
		return startOfDay(y, mo, d+s.n, x.loc)
	case 'w':
		return startOfDay(y, mo, d+7, x.loc)
	}
	return startOfDay(y, mo+time.Month(s.n*map[byte]int{'M': 1, 'q': 3, 'y': 12}[s.unit]), 1, x.loc)
}
