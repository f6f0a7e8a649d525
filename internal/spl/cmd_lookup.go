package spl

import (
	"crypto/sha1" //nolint:gosec // only to make a collection's keys
	"encoding/hex"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// lookup

type fieldPair struct{ lookup, event string }

type lookupCommand struct {
	place
	table   string
	tableAt int
	inputs  []fieldPair
	outputs []fieldPair
	all     bool // no OUTPUT: all other fields of the table
	onlyNew bool
}

func parseLookup(p *parser, at place) (command, error) {
	c := &lookupCommand{place: at}
	if err := p.options(func(o option) (err error) {
		switch o.key {
		case "local", "update": // where a lookup runs changes no result
			_, err = p.boolOption("lookup", o)
		default:
			err = p.unknownOption("lookup", o, "local", "update")
		}
		return err
	}); err != nil {
		return nil, err
	}
	return c, c.parse(p)
}

// parse reads what follows the options, here and in the LOOKUP- of props.conf.
func (c *lookupCommand) parse(p *parser) error {
	p.space()
	c.tableAt = p.offset(p.pos)
	name, err := p.plainField("lookup")
	if err != nil {
		return err
	}
	c.table = name
	if c.inputs, err = p.fieldPairs("lookup", "OUTPUT", "OUTPUTNEW"); err != nil {
		return err
	}
	if len(c.inputs) == 0 {
		return p.refuse(p.pos, "lookup needs a field to look up")
	}
	c.all = true
	outAt := p.pos
	if p.acceptWord("OUTPUTNEW") {
		c.all, c.onlyNew = false, true
	} else if p.acceptWord("OUTPUT") {
		c.all = false
	}
	if !c.all {
		if c.outputs, err = p.fieldPairs("lookup"); err != nil {
			return err
		}
		if len(c.outputs) == 0 {
			return p.refuse(outAt, "lookup: OUTPUT is followed by the fields to add")
		}
	}
	return nil
}

func (p *parser) fieldPairs(cmd string, stops ...string) ([]fieldPair, error) {
	var out []fieldPair
	for {
		p.accept(',')
		if p.done() || p.atStop(stops) {
			return out, nil
		}
		f, err := p.plainField(cmd)
		if err != nil {
			return nil, err
		}
		pair := fieldPair{f, f}
		if p.acceptWord("AS") {
			if pair.event, err = p.plainField(cmd + ": AS"); err != nil {
				return nil, err
			}
		}
		out = append(out, pair)
	}
}

func (c *lookupCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	for _, pair := range c.inputs {
		in.add(pair.event)
	}
	return in
}

func (c *lookupCommand) check(x *execution) error {
	if x.written[tableName(c.table)] {
		return nil
	}
	_, err := c.resolve(x)
	return err
}

func (c *lookupCommand) resolve(x *execution) (*lookupTable, error) {
	l, problem := x.engine.lookupByName(c.table)
	if problem != "" {
		return nil, x.refuse(c.tableAt, "%s", problem)
	}
	for _, pair := range append(slices.Clone(c.inputs), c.outputs...) {
		if !slices.Contains(l.table.Fields, pair.lookup) {
			return nil, x.refuse(c.tableAt, "the lookup %q has no field %q; it has %s", c.table, pair.lookup, strings.Join(l.table.Fields, ", "))
		}
	}
	return l, nil
}

func (c *lookupCommand) open(x *execution, in *flow) (*flow, error) {
	l, err := c.resolve(x)
	if err != nil {
		return nil, err
	}
	outputs := c.outputs
	if c.all {
		for _, f := range l.table.Fields {
			if !slices.ContainsFunc(c.inputs, func(p fieldPair) bool { return p.lookup == f }) {
				outputs = append(outputs[:len(outputs):len(outputs)], fieldPair{f, f})
			}
		}
	}
	var keys, events []string
	for _, p := range c.inputs {
		keys, events = append(keys, p.lookup), append(events, p.event)
	}
	ix := &finder{lookupIndex: x.engine.indexes.of(l, keys)}
	inSlots := slotsOf(in.sc, events)
	outSlots, outColumns := make([]int, len(outputs)), make([]int, len(outputs))
	for i, p := range outputs {
		outSlots[i], outColumns[i] = in.sc.declare(p.event), slices.Index(l.table.Fields, p.lookup)
	}
	values := make([]string, len(inSlots))
	return x.filterMap(in, func(r *Row) (bool, error) {
		var rows []int32
		several := -1
		whole := true
		for i, s := range inSlots {
			v := r.get(s)
			switch v.kind {
			case kindNull:
				whole = false
			case kindMulti:
				if len(inSlots) > 1 {
					return false, x.refuse(c.pos, "lookup by several fields of which one has several values is not documented: mvexpand it first")
				}
				several = i
			default:
				values[i] = v.String()
			}
		}
		switch {
		case !whole:
		case several >= 0:
			for _, v := range r.get(inSlots[0]).values() {
				values[0] = v.String()
				found, visited := ix.find(values)
				if err := x.step(visited, "lookup"); err != nil {
					return false, err
				}
				rows = append(rows, found...)
			}
			rows = rows[:min(len(rows), l.most)]
		default:
			found, visited := ix.find(values)
			if err := x.step(visited, "lookup"); err != nil {
				return false, err
			}
			rows = found
		}
		for i, s := range outSlots {
			if c.onlyNew && r.get(s).kind != kindNull {
				continue
			}
			r.set(s, l.result(rows, outColumns[i]))
		}
		return true, nil
	}), nil
}

// result is the value of one column over the rows that matched: several make a
// multivalue in the table's order. Where fewer matched than min_matches,
// default_match fills up. Nothing at all empties the field: OUTPUT overwrites.
func (l *lookupTable) result(rows []int32, column int) Value {
	if len(rows) == 1 && l.least <= 1 {
		if s := l.table.Rows[rows[0]][column]; s != "" {
			return dataText(s)
		}
		return null
	}
	var vs []Value
	for _, n := range rows {
		if s := l.table.Rows[n][column]; s != "" {
			vs = append(vs, dataText(s))
		}
	}
	for n := len(rows); n < l.least; n++ {
		vs = append(vs, dataText(l.defaultMatch))
	}
	return multi(vs)
}

// inputlookup

type inputlookupCommand struct {
	place
	table      string
	tableAt    int
	appendTo   bool
	start, max int
	where      searchExpr
}

// tableAndOptions takes the name of a lookup, with options before and behind it.
func (p *parser) tableAndOptions(cmd string, table *string, at *int, take func(option) error) error {
	if err := p.options(take); err != nil {
		return err
	}
	p.space()
	*at = p.offset(p.pos)
	name, err := p.plainField(cmd)
	if err != nil {
		return err
	}
	*table = name
	return p.options(take)
}

func parseInputlookup(p *parser, at place) (command, error) {
	c := &inputlookupCommand{place: at, max: 1_000_000_000}
	if err := p.tableAndOptions("inputlookup", &c.table, &c.tableAt, func(o option) (err error) {
		switch o.key {
		case "append":
			c.appendTo, err = p.boolOption("inputlookup", o)
		case "start":
			c.start, err = p.intOption("inputlookup", o, 0)
		case "max":
			c.max, err = p.intOption("inputlookup", o, 0)
		case "strict":
			_, err = p.boolOption("inputlookup", o) // a missing lookup is an error in any case
		default:
			err = p.unknownOption("inputlookup", o, "append", "start", "max", "strict")
		}
		return err
	}); err != nil {
		return nil, err
	}
	if p.acceptWord("where") {
		at := p.pos
		if p.done() {
			return nil, p.refuse(at, "inputlookup: where is followed by a condition")
		}
		e, err := p.searchExpression()
		if err != nil {
			return nil, err
		}
		if hasTime(e) {
			return nil, p.refuse(at, "inputlookup: a time modifier is not known in where")
		}
		c.where = e
	}
	return c, nil
}

func (c *inputlookupCommand) need(out *fieldSet) *fieldSet { return out }

func (c *inputlookupCommand) check(x *execution) error {
	if x.written[tableName(c.table)] {
		return nil
	}
	_, problem := x.engine.lookupByName(c.table)
	if problem != "" {
		return x.refuse(c.tableAt, "%s", problem)
	}
	return nil
}

func (c *inputlookupCommand) open(x *execution, in *flow) (*flow, error) {
	if in != nil && !c.appendTo {
		return nil, x.refuse(c.pos, "inputlookup must be the first command, or have append=true")
	}
	l, problem := x.engine.lookupByName(c.table)
	if problem != "" {
		return nil, x.refuse(c.tableAt, "%s", problem)
	}
	sc := newSchema(l.table.Fields...)
	var test func(Row) bool
	if c.where != nil {
		tree, _, err := x.resolve(c.where)
		if err != nil {
			return nil, err
		}
		if test, err = (&compiler{sc: sc, env: x.env}).searchTest(tree); err != nil {
			return nil, err
		}
	}
	var rows []Row
	for i, rec := range l.table.Rows {
		if i < c.start {
			continue
		}
		if len(rows) >= c.max {
			break
		}
		row := make(Row, len(rec))
		for j, cell := range rec {
			if cell != "" {
				row[j] = dataText(cell)
			}
		}
		if test == nil || test(row) {
			rows = append(rows, row)
		}
	}
	if in == nil {
		return flowOf(sc, rows), nil
	}
	return x.concat(in, flowOf(sc, rows), c.pos, x.limits.Expand)
}

// outputlookup

type outputlookupCommand struct {
	place
	table           string
	tableAt         int
	appendTo        bool // unless it is said, a key_field appends
	appendSaid      bool
	createEmpty     bool
	overrideIfEmpty bool
	keyField        string
	max             int
}

func parseOutputlookup(p *parser, at place) (command, error) {
	c := &outputlookupCommand{place: at, createEmpty: true, overrideIfEmpty: true}
	if err := p.tableAndOptions("outputlookup", &c.table, &c.tableAt, func(o option) (err error) {
		switch o.key {
		case "append":
			c.appendTo, err = p.boolOption("outputlookup", o)
			c.appendSaid = true
		case "create_empty":
			c.createEmpty, err = p.boolOption("outputlookup", o)
		case "override_if_empty":
			c.overrideIfEmpty, err = p.boolOption("outputlookup", o)
		case "createinapp":
			_, err = p.boolOption("outputlookup", o) // there is one app
		case "key_field":
			c.keyField = o.value
		case "max":
			c.max, err = p.intOption("outputlookup", o, 1)
		default:
			err = p.unknownOption("outputlookup", o, "append", "create_empty", "override_if_empty", "createinapp", "key_field", "max")
		}
		return err
	}); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *outputlookupCommand) need(*fieldSet) *fieldSet { return &fieldSet{all: true} }

func (c *outputlookupCommand) check(x *execution) error {
	if x.engine.Lookups == nil {
		return x.refuse(c.pos, "outputlookup: there are no lookups to write to")
	}
	l, problem := x.engine.lookupByName(c.table)
	if problem != "" && !strings.HasSuffix(c.table, ".csv") {
		// Splunk makes a CSV file of any name ending in .csv; another name must be defined.
		if _, defined := x.engine.Transforms[c.table]; !defined {
			return x.refuse(c.tableAt, "%s", problem)
		}
	}
	if c.keyField != "" && (l == nil || !l.kv) {
		return x.refuse(c.pos, "outputlookup: key_field is for KV store lookups, %q is none", c.table)
	}
	if x.written == nil {
		x.written = map[string]bool{}
	}
	x.written[tableName(c.table)] = true
	return nil
}

func (c *outputlookupCommand) open(x *execution, in *flow) (*flow, error) {
	if err := c.check(x); err != nil {
		return nil, err
	}
	rows, err := x.collect(in, "outputlookup")
	if err != nil {
		return nil, err
	}
	if c.keyField != "" && !c.appendSaid {
		appending := *c
		appending.appendTo = true
		c = &appending
	}
	write := rows
	if c.max > 0 && len(write) > c.max {
		write = write[:c.max]
	}
	l, _ := x.engine.lookupByName(c.table)
	if len(write) == 0 && (c.appendTo || !c.overrideIfEmpty || l == nil && !c.createEmpty) {
		return flowOf(in.sc, rows), nil
	}
	var fields []string
	var slots []int
	for _, s := range usedSlots(write, in.sc) {
		if n := in.sc.names[s]; n[0] != '_' || n == "_key" || n == "_time" {
			fields, slots = append(fields, n), append(slots, s)
		}
	}
	t := &Table{}
	kv := l != nil && l.kv
	switch {
	case l == nil:
		t.Fields = fields
	case kv || c.appendTo:
		// Fields that the file or collection does not have are left out.
		t.Fields = slices.Clone(l.table.Fields)
	default:
		t.Fields = fields
	}
	if len(write) == 0 && l != nil {
		t.Fields = slices.Clone(l.table.Fields)
	}
	if kv && !slices.Contains(t.Fields, "_key") {
		t.Fields = append([]string{"_key"}, t.Fields...)
	}
	if l != nil && c.appendTo {
		for _, r := range l.table.Rows {
			row := slices.Clone(r)
			for len(row) < len(t.Fields) {
				row = append([]string{strconv.Itoa(len(t.Rows))}, row...) // a table without keys gets some
			}
			t.Rows = append(t.Rows, row)
		}
	}
	keyColumn := slices.Index(t.Fields, "_key")
	byKey := map[string]int{}
	if kv {
		for i, r := range t.Rows {
			byKey[r[keyColumn]] = i
		}
	}
	for _, r := range write {
		rec := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			if j := slices.Index(fields, f); j >= 0 {
				sep := " " // a file holds single values
				if kv {
					sep = "\n"
				}
				rec[i] = strings.Join(r.get(slots[j]).Strings(), sep)
			}
		}
		if kv {
			if c.keyField != "" {
				slot, ok := in.sc.index[c.keyField]
				if !ok || r.get(slot).kind == kindNull {
					return nil, x.refuse(c.pos, "outputlookup: a row has no %s, which is the key", c.keyField)
				}
				rec[keyColumn] = r.get(slot).String()
			}
			if rec[keyColumn] == "" {
				sum := sha1.Sum([]byte(strings.Join(rec, "\x00") + strconv.Itoa(len(t.Rows)))) //nolint:gosec // a key, no protection
				rec[keyColumn] = hex.EncodeToString(sum[:12])
			}
			if i, ok := byKey[rec[keyColumn]]; ok {
				t.Rows[i] = rec
				continue
			}
			byKey[rec[keyColumn]] = len(t.Rows)
		}
		t.Rows = append(t.Rows, rec)
	}
	name := c.table
	if def, ok := x.engine.Transforms[c.table]; ok {
		if def["filename"] != "" && x.engine.Lookups.Table(c.table) == nil {
			name = def["filename"]
		}
		if kv && def["collection"] != "" && x.engine.Lookups.Table(c.table) == nil && x.engine.Lookups.Table(def["collection"]) != nil {
			name = def["collection"]
		}
	}
	x.engine.Lookups.Set(name, t)
	return flowOf(in.sc, rows), nil
}

// concat puts the rows of two flows behind each other, matched by name.
func (x *execution) concat(first, second *flow, pos, limit int) (*flow, error) {
	rows, err := x.collect(second, "append")
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		return nil, x.refuse(pos, "more than %d rows are appended (limit Expand)", limit)
	}
	sc := first.sc
	to := make([]int, len(second.sc.names))
	for i, n := range second.sc.names {
		switch {
		case n == "":
			to[i] = -1
		case second.sc.declared[i]:
			to[i] = sc.declare(n)
		default:
			to[i] = sc.slot(n)
		}
	}
	done := false
	return &flow{sc, func() ([]Row, error) {
		if done {
			return nil, nil
		}
		out, err := first.next()
		if err != nil || out != nil {
			return out, err
		}
		done = true
		if len(rows) == 0 {
			return nil, nil
		}
		moved := make([]Row, len(rows))
		for i, r := range rows {
			row := make(Row, len(sc.names))
			for j := range r {
				if j < len(to) && to[j] >= 0 {
					row.set(to[j], r[j])
				}
			}
			moved[i] = row
		}
		return moved, nil
	}}, nil
}

// sortedFieldNames are the declared names of a schema, in order.
func sortedFieldNames(sc *schema) []string {
	var out []string
	for i, n := range sc.names {
		if sc.declared[i] && n != "" {
			out = append(out, n)
		}
	}
	sort.Strings(out)
	return out
}
