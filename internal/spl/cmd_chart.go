package spl

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// chart, timechart

type chartCommand struct {
	place
	list                []aggregate
	row, column         string // row is _time for timechart
	rowSpan             *span
	columnSpan          *span
	limit               int
	bottom              bool
	useOther, useNull   bool
	other, null         string
	continuous          bool
	partial, fixedRange bool
}

func (c *chartCommand) options() []string {
	if c.name == "timechart" {
		return []string{"span", "limit", "useother", "usenull", "otherstr", "nullstr", "cont", "fixedrange", "partial"}
	}
	return []string{"span", "limit", "useother", "usenull", "otherstr", "nullstr"}
}

// chartOption takes an option; afterSplit tells that the column split is
// written already, so that a span is that field's.
func (c *chartCommand) option(p *parser, o option, to **span, numeric bool) error {
	var err error
	switch {
	case o.key == "span" && to == nil:
		return p.refuse(o.pos, "%s: span stands after the field that it divides", c.name)
	case o.key == "span":
		var s span
		if s, err = p.span(c.name, o, numeric); err == nil {
			*to = &s
		}
	case o.key == "limit":
		digits := o.value
		low := strings.ToLower(digits)
		if strings.HasPrefix(low, "top") {
			digits = digits[3:]
		} else if strings.HasPrefix(low, "bottom") {
			digits, c.bottom = digits[6:], true
		}
		n, convErr := strconv.Atoi(digits)
		if convErr != nil || n < 0 {
			return p.refuse(o.pos, "%s: limit takes a number, topN or bottomN, not %q", c.name, o.value)
		}
		c.limit = n
	case o.key == "useother":
		c.useOther, err = p.boolOption(c.name, o)
	case o.key == "usenull":
		c.useNull, err = p.boolOption(c.name, o)
	case o.key == "otherstr":
		c.other = o.value
	case o.key == "nullstr":
		c.null = o.value
	case o.key == "cont" && c.name == "timechart":
		c.continuous, err = p.boolOption(c.name, o)
	case o.key == "partial" && c.name == "timechart":
		c.partial, err = p.boolOption(c.name, o)
	case o.key == "fixedrange" && c.name == "timechart":
		c.fixedRange, err = p.boolOption(c.name, o)
	default:
		return p.unknownOption(c.name, o, c.options()...)
	}
	return err
}

func (c *chartCommand) takeOptions(p *parser, to **span, numeric bool) error {
	return p.options(func(o option) error { return c.option(p, o, to, numeric) })
}

func parseChart(p *parser, at place) (command, error) {
	c := &chartCommand{place: at, limit: 10, useOther: true, useNull: true, other: "OTHER", null: "NULL", continuous: true, partial: true, fixedRange: true}
	var leading **span
	if at.name == "timechart" {
		c.row = "_time"
		leading = &c.rowSpan
	}
	if err := c.takeOptions(p, leading, false); err != nil {
		return nil, err
	}
	var err error
	if c.list, err = p.aggregates(at.name, "BY", "OVER"); err != nil {
		return nil, err
	}
	for _, a := range c.list {
		if strings.Contains(a.field, "*") {
			return nil, p.src.refusal(a.pos, "%s: a wildcard is not known here, name the fields", at.name)
		}
	}
	splitAt := p.pos
	split := func(into *string, sp **span) error {
		if *into, err = p.plainField(at.name + ": BY"); err != nil {
			return err
		}
		return c.takeOptions(p, sp, *into != "_time")
	}
	if at.name == "timechart" {
		if p.acceptWord("BY") {
			if err := split(&c.column, &c.columnSpan); err != nil {
				return nil, err
			}
		}
	} else {
		over := p.acceptWord("OVER")
		if over {
			if err := split(&c.row, &c.rowSpan); err != nil {
				return nil, err
			}
		}
		if p.acceptWord("BY") {
			into, sp := &c.row, &c.rowSpan
			if over {
				into, sp = &c.column, &c.columnSpan
			}
			if err := split(into, sp); err != nil {
				return nil, err
			}
			if !over {
				p.accept(',')
				if !p.done() {
					if err := split(&c.column, &c.columnSpan); err != nil {
						return nil, err
					}
				}
			}
		}
		if c.row == "" {
			return nil, p.refuse(splitAt, "chart needs a field for its rows: OVER field, or BY field")
		}
	}
	for _, a := range c.list {
		if a.field != "" && (a.field == c.row && c.name == "chart" || a.field == c.column) {
			return nil, p.src.refusal(a.pos, "%s: the field %q can't be aggregated and split the rows or columns as well", at.name, a.field)
		}
	}
	if c.column != "" && c.column == c.row {
		return nil, p.refuse(splitAt, "%s: rows and columns can't be split by the same field %q", at.name, c.row)
	}
	return c, nil
}

func (c *chartCommand) need(*fieldSet) *fieldSet {
	in := &fieldSet{}
	in.add(c.row)
	if c.column != "" {
		in.add(c.column)
	}
	for _, a := range c.list {
		a.reads(in)
	}
	return in
}

func (c *chartCommand) check(x *execution) error {
	_, err := x.compileAggregates(c.list, newSchema())
	return err
}

// cell is the aggregations of one row and one column.
type chartCell struct{ acc []accumulator }

func (c *chartCommand) open(x *execution, in *flow) (*flow, error) {
	list, err := x.compileAggregates(c.list, in.sc)
	if err != nil {
		return nil, err
	}
	rows, err := x.collect(in, c.name)
	if err != nil {
		return nil, err
	}
	rowSlot := in.sc.slot(c.row)
	columnSlot := -1
	if c.column != "" {
		columnSlot = in.sc.slot(c.column)
	}
	isTime := c.name == "timechart"
	var lo, hi float64
	if isTime {
		if lo, hi, err = c.timeRange(x, rows, rowSlot); err != nil {
			return nil, err
		}
		if c.rowSpan == nil {
			s := chooseSpan(lo, hi)
			c2 := *c
			c2.rowSpan = &s
			c = &c2
		}
	}
	key := func(v Value, sp *span) Value {
		f, ok := v.Float()
		switch {
		case sp == nil || !ok:
			return v
		case sp.width > 0:
			return text(sp.label(f))
		}
		return number(sp.floor(f, x.env))
	}
	// Each row goes to its cell; the series of a row are chosen afterwards.
	cells := map[string]map[string]*chartCell{} // row key to column to cell
	rowValue := map[string]Value{}
	totals := map[string]float64{}    // of a column: by which the limit ranks
	frequency := map[string]float64{} // of a column, for several aggregations
	held, made := 0, 0
	var buf []byte
	for _, r := range rows {
		rv := r.get(rowSlot)
		if rv.kind == kindNull {
			continue
		}
		columns := []string{""}
		if columnSlot >= 0 {
			columns = columns[:0]
			for _, v := range r.get(columnSlot).values() {
				columns = append(columns, key(v, c.columnSpan).String())
			}
			if len(columns) == 0 {
				if !c.useNull {
					continue
				}
				columns = append(columns, c.null)
			}
		}
		for _, one := range rv.values() {
			k := key(one, c.rowSpan)
			buf = k.appendKey(buf[:0])
			row, ok := cells[string(buf)]
			if !ok {
				row = map[string]*chartCell{}
				cells[string(buf)] = row
				rowValue[string(buf)] = k
			}
			for _, col := range columns {
				frequency[col]++
				cl, ok := row[col]
				if !ok {
					if made++; made > x.limits.Groups {
						return nil, x.refuse(c.pos, "%s makes more than %d cells (limit Groups)", c.name, x.limits.Groups)
					}
					cl = &chartCell{acc: newAccumulators(list, &held)}
					row[col] = cl
				}
				feed(list, cl.acc, r)
			}
		}
		if held > x.limits.Cells {
			return nil, x.refuse(c.pos, "%s holds more than %d values (limit Cells)", c.name, x.limits.Cells)
		}
	}
	if err := x.env.takeFailure(); err != nil {
		return nil, err
	}
	if len(list) > 1 && columnSlot >= 0 && c.limit > 0 && len(frequency) > c.limit && !isTime {
		return nil, x.refuse(c.pos, "chart: which columns limit=%d keeps of several aggregations is not documented: write limit=0", c.limit)
	}
	for _, row := range cells {
		for col, cl := range row {
			totals[col] += 0
			if len(list) > 1 {
				totals[col] = frequency[col]
				continue
			}
			if f, ok := cl.acc[0].result().Float(); ok {
				totals[col] += f
			}
		}
	}
	kept, others := c.choose(totals)
	if len(others) > 0 && c.useOther {
		if err := c.mergeOthers(x, in.sc, list, rows, cells, others, rowSlot, columnSlot, key); err != nil {
			return nil, err
		}
		kept = append(kept, c.other)
	}
	return c.output(x, list, cells, rowValue, kept, lo, hi)
}

// timeRange is what a timechart spans: the search's range where it has two
// ends, otherwise from the first event to the last.
func (c *chartCommand) timeRange(x *execution, rows []Row, slot int) (lo, hi float64, err error) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, r := range rows {
		v := r.get(slot)
		if v.kind == kindMulti {
			return 0, 0, x.refuse(c.pos, "timechart: _time has several values")
		}
		if f, ok := v.Float(); ok {
			lo, hi = math.Min(lo, f), math.Max(hi, f)
		}
	}
	if c.fixedRange {
		if x.searched.earliest > -endOfTime && x.searched.earliest != 0 {
			lo = x.searched.earliest
		}
		if x.searched.latest < endOfTime && !math.IsInf(lo, 1) {
			// The end is not part of the range.
			hi = math.Max(lo, math.Nextafter(x.searched.latest, lo))
		}
	}
	return lo, hi, nil
}

// chooseSpan is the default span: the smallest that makes at most 100 buckets
// (Search Reference, "timechart": bins=100, and its table of default spans).
func chooseSpan(lo, hi float64) span {
	width := hi - lo
	for _, s := range []span{
		{n: 1, unit: 's'},
		{n: 5, unit: 's'},
		{n: 10, unit: 's'},
		{n: 30, unit: 's'},
		{n: 1, unit: 'm'},
		{n: 5, unit: 'm'},
		{n: 10, unit: 'm'},
		{n: 30, unit: 'm'},
		{n: 1, unit: 'h'},
		{n: 1, unit: 'd'},
	} {
		if width <= 100*float64(s.n)*map[byte]float64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[s.unit] {
			return s
		}
	}
	return span{n: 1, unit: 'M'}
}

// choose ranks the columns by the sum of their aggregation (of several
// aggregations, by how often the value occurs) and keeps as many as the limit
// says; NULL is not counted. Ties go by the name.
func (c *chartCommand) choose(totals map[string]float64) (kept []string, others map[string]bool) {
	names := sortedKeys(totals)
	hasNull := false
	if c.column != "" {
		for i, n := range names {
			if n == c.null && c.useNull {
				names = append(names[:i:i], names[i+1:]...)
				hasNull = true
				break
			}
		}
	}
	others = map[string]bool{}
	if c.column != "" && c.limit > 0 && len(names) > c.limit {
		ranked := append([]string(nil), names...)
		sort.SliceStable(ranked, func(i, j int) bool {
			if c.bottom {
				return totals[ranked[i]] < totals[ranked[j]]
			}
			return totals[ranked[i]] > totals[ranked[j]]
		})
		for _, n := range ranked[c.limit:] {
			others[n] = true
		}
	}
	for _, n := range names {
		if !others[n] {
			kept = append(kept, n)
		}
	}
	sort.SliceStable(kept, func(i, j int) bool { return compare(dataText(kept[i]), dataText(kept[j])) < 0 })
	if hasNull {
		kept = append(kept, c.null)
	}
	return kept, others
}

// mergeOthers aggregates what is beyond the limit anew, from the rows.
func (c *chartCommand) mergeOthers(x *execution, _ *schema, list []compiledAggregate, rows []Row, cells map[string]map[string]*chartCell,
	others map[string]bool, rowSlot, columnSlot int, key func(Value, *span) Value,
) error {
	held := 0
	merged := map[string]*chartCell{}
	var buf []byte
	for _, r := range rows {
		for _, v := range r.get(columnSlot).values() {
			if !others[key(v, c.columnSpan).String()] {
				continue
			}
			for _, one := range r.get(rowSlot).values() {
				buf = key(one, c.rowSpan).appendKey(buf[:0])
				cl, ok := merged[string(buf)]
				if !ok {
					cl = &chartCell{acc: newAccumulators(list, &held)}
					merged[string(buf)] = cl
				}
				feed(list, cl.acc, r)
			}
		}
	}
	for k, cl := range merged {
		cells[k][c.other] = cl
	}
	return x.env.takeFailure()
}

func (c *chartCommand) output(x *execution, list []compiledAggregate, cells map[string]map[string]*chartCell, rowValue map[string]Value, columns []string, lo, hi float64) (*flow, error) {
	if len(cells) == 0 && c.name == "chart" {
		return flowOf(newSchema(c.row), nil), nil
	}
	if c.column == "" {
		columns = []string{""}
	}
	if c.name == "timechart" {
		// An internal field's name would hide the column (Search Reference,
		// "timechart", prepending VALUE).
		for i, col := range columns {
			if strings.HasPrefix(col, "_") {
				columns[i] = "VALUE" + col
				for _, row := range cells {
					if cl, ok := row[col]; ok {
						row[columns[i]] = cl
					}
				}
			}
		}
	} else if i := slices.IndexFunc(columns, func(col string) bool { return strings.HasPrefix(col, "_") }); i >= 0 {
		return nil, x.refuse(c.pos, "chart: a column named %q would be an internal field, and what becomes of it is not documented", columns[i])
	}
	sc := newSchema(c.row)
	name := func(a compiledAggregate, column string) string {
		switch {
		case c.column == "":
			return a.as
		case len(list) == 1:
			return column
		}
		return a.as + ": " + column
	}
	// Series stand beside each other aggregation by aggregation.
	for _, a := range list {
		for _, col := range columns {
			sc.declare(name(a, col))
		}
	}
	var keys []string
	for k := range cells {
		keys = append(keys, k)
	}
	if c.name == "timechart" && c.continuous && !math.IsInf(lo, 1) {
		var err error
		if keys, err = c.fill(x, keys, rowValue, lo, hi); err != nil {
			return nil, err
		}
	}
	sort.SliceStable(keys, func(i, j int) bool {
		a, b := rowValue[keys[i]], rowValue[keys[j]]
		if x, y := leadingNumber(a), leadingNumber(b); c.rowSpan != nil && c.rowSpan.width > 0 && x != y {
			return x < y
		}
		return compare(a, b) < 0
	})
	if c.name == "timechart" && !c.partial {
		keys = c.whole(x, keys, rowValue, lo, hi)
	}
	var rows []Row
	for _, k := range keys {
		row := make(Row, len(sc.names))
		row[0] = rowValue[k]
		for i, a := range list {
			for _, col := range columns {
				v := null
				if cl, ok := cells[k][col]; ok {
					v = cl.acc[i].result()
				} else if a.fn == "count" || a.fn == "dc" {
					v = number(0) // nothing counted is 0, anything else is empty
				}
				row.set(sc.slot(name(a, col)), v)
			}
		}
		rows = append(rows, row)
	}
	return flowOf(sc, rows), nil
}

// leadingNumber is the lower bound of a label like 10-20.
func leadingNumber(v Value) float64 {
	s := v.String()
	if i := strings.IndexByte(s[min(1, len(s)):], '-'); i >= 0 {
		if f, ok := parseNumber(s[:i+1]); ok {
			return f
		}
	}
	return math.Inf(1)
}

const maxBuckets = 50_000 // limits.conf, discretize maxbins

// fill adds the buckets in which nothing happened.
func (c *chartCommand) fill(x *execution, keys []string, rowValue map[string]Value, lo, hi float64) ([]string, error) {
	n := 0
	for at := c.rowSpan.floor(lo, x.env); at <= hi; at = c.rowSpan.next(at, x.env) {
		if n++; n > maxBuckets {
			return nil, x.refuse(c.pos, "timechart makes more than %d buckets: widen the span", maxBuckets)
		}
		v := number(at)
		k := string(v.appendKey(nil))
		if _, ok := rowValue[k]; !ok {
			rowValue[k] = v
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// whole drops the first and last bucket where the range cuts them.
func (c *chartCommand) whole(x *execution, keys []string, rowValue map[string]Value, lo, hi float64) []string {
	if len(keys) > 0 {
		if f, _ := rowValue[keys[0]].Float(); f < lo {
			keys = keys[1:]
		}
	}
	if len(keys) > 0 {
		f, _ := rowValue[keys[len(keys)-1]].Float()
		if end := c.rowSpan.next(f, x.env); end > math.Nextafter(hi, math.Inf(1)) {
			keys = keys[:len(keys)-1]
		}
	}
	return keys
}
