package spl

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// eval

type assignment struct {
	pos   int
	field string
	value expr
}

type evalCommand struct {
	place
	sets []assignment
}

func parseEval(p *parser, at place) (command, error) {
	c := &evalCommand{place: at}
	for {
		a, err := p.assignment("eval")
		if err != nil {
			return nil, err
		}
		c.sets = append(c.sets, a)
		if !p.accept(',') {
			return c, nil
		}
	}
}

func (p *parser) assignment(cmd string) (assignment, error) {
	p.space()
	at := p.pos
	var name string
	var err error
	if q := p.peek(); q == '"' || q == '\'' {
		name, err = p.quoted()
	} else if name = p.bare(`|],()="'[<>!`); strings.Contains(name, "*") || strings.Count(name, "{") != strings.Count(name, "}") {
		return assignment{}, p.refuse(at, "%s: %q can't be assigned to: no wildcards, and braces hold a field's name", cmd, name)
	}
	if err != nil {
		return assignment{}, err
	}
	if name == "" {
		return assignment{}, p.refuse(at, "%s: a field's name is expected here%s", cmd, p.found())
	}
	p.space()
	if p.peek() != '=' || strings.HasPrefix(p.text[p.pos:], "==") {
		return assignment{}, p.refuse(p.pos, "%s: %s is followed by = and an expression%s", cmd, name, p.found())
	}
	p.pos++
	e, err := p.expression()
	return assignment{p.offset(at), name, e}, err
}

func (c *evalCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	for i := len(c.sets) - 1; i >= 0; i-- {
		in = in.without(c.sets[i].field)
		in.add(bracedFields(c.sets[i].field)...)
		fieldsOf(c.sets[i].value, in)
	}
	return in
}

var braces = regexp.MustCompile(`\{([^{}]*)\}`)

// bracedFields are the fields whose values make a field's name, as in {a}_x.
func bracedFields(name string) []string {
	var out []string
	for _, m := range braces.FindAllStringSubmatch(name, -1) {
		out = append(out, m[1])
	}
	return out
}

func (c *evalCommand) check(x *execution) error {
	sc := newSchema()
	for _, s := range c.sets {
		if err := x.checkBrackets(s.value); err != nil {
			return err
		}
		if containsBracket(s.value) {
			continue
		}
		if _, _, err := (&compiler{sc: sc, env: x.env}).assignable(s.value, "eval"); err != nil {
			return err
		}
	}
	return nil
}

func (c *evalCommand) open(x *execution, in *flow) (*flow, error) {
	fns, places := make([]evalFn, len(c.sets)), make([]func(Row) int, len(c.sets))
	dynamic := false
	for i, s := range c.sets {
		fn, _, err := (&compiler{sc: in.sc, env: x.env}).assignable(s.value, "eval")
		if err != nil {
			return nil, err
		}
		fns[i] = fn
		if len(bracedFields(s.field)) > 0 {
			dynamic = true
			places[i] = c.namedByValues(in.sc, s.field)
			continue
		}
		slot := in.sc.declare(s.field)
		places[i] = func(Row) int { return slot }
	}
	out := x.filterMap(in, func(r *Row) (bool, error) {
		for i, fn := range fns {
			v := fn(*r)
			if len(v.str) > x.limits.Text {
				return false, x.refuse(c.sets[i].pos, "eval: a value of more than %d bytes (limit Text)", x.limits.Text)
			}
			slot := places[i](*r)
			if len(in.sc.names) > 20*maxFields {
				return false, x.refuse(c.sets[i].pos, "eval makes more than %d fields", 20*maxFields)
			}
			if slot >= 0 {
				r.set(slot, v)
			}
		}
		return true, nil
	})
	if !dynamic {
		return out, nil
	}
	// Which fields there are is known only when all rows are.
	rows, err := x.collect(out, "eval")
	if err != nil {
		return nil, err
	}
	return flowOf(out.sc, rows), nil
}

// namedByValues returns the place of a field whose name holds {other}: the
// value of other stands there. Without a value there is no field.
func (c *evalCommand) namedByValues(sc *schema, name string) func(Row) int {
	slots := slotsOf(sc, bracedFields(name))
	return func(r Row) int {
		i, whole := 0, true
		made := braces.ReplaceAllStringFunc(name, func(string) string {
			v := r.get(slots[i])
			i++
			whole = whole && v.kind != kindNull && v.kind != kindMulti
			return v.String()
		})
		if !whole || made == "" {
			return -1
		}
		return sc.declare(made)
	}
}

// fields, table

type fieldsCommand struct {
	place
	remove bool
	names  []string
}

func parseFields(p *parser, at place) (command, error) {
	c := &fieldsCommand{place: at}
	if at.name == "fields" {
		if p.accept('-') {
			c.remove = true
		} else {
			p.accept('+')
		}
	}
	names, err := p.fields(at.name)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, p.refuse(p.pos, "%s needs at least one field", at.name)
	}
	c.names = names
	return c, nil
}

func (c *fieldsCommand) need(out *fieldSet) *fieldSet {
	if c.remove {
		return out.without(c.names...)
	}
	in := &fieldSet{}
	for _, n := range c.names {
		if out.all || strings.Contains(n, "*") || out.has(n) {
			in.add(n)
		}
	}
	if c.name == "fields" { // internal fields stay
		for _, n := range []string{"_time", "_raw"} {
			if out.names[n] {
				in.add(n)
			}
		}
		if out.all {
			in.add("_time", rawIfField)
		}
	}
	return in
}

func (c *fieldsCommand) open(x *execution, in *flow) (*flow, error) {
	var from []int
	var names []string
	take := func(n string) {
		if !slices.Contains(names, n) {
			names = append(names, n)
			from = append(from, in.sc.slot(n))
		}
	}
	if c.remove {
		drop := map[string]bool{}
		for _, n := range c.names {
			drop[n] = true
			for _, m := range in.sc.present(n) {
				drop[m] = strings.Contains(n, "*") || m == n
			}
		}
		for i, n := range in.sc.names {
			if in.sc.declared[i] && !drop[n] {
				take(n)
			}
		}
	} else {
		if c.name == "fields" {
			for _, n := range []string{"_time", "_raw"} {
				if i, ok := in.sc.index[n]; ok && in.sc.declared[i] {
					take(n)
				}
			}
		}
		for _, n := range c.names {
			if !strings.Contains(n, "*") {
				take(n)
				continue
			}
			found := in.sc.present(n)
			sort.Strings(found)
			for _, m := range found {
				take(m)
			}
		}
	}
	sc := newSchema()
	for i, n := range names {
		if in.sc.declared[from[i]] {
			sc.declare(n)
		} else {
			sc.slot(n)
		}
	}
	return &flow{sc, func() ([]Row, error) {
		rows, err := in.next()
		if err != nil || rows == nil {
			return nil, err
		}
		width := max(len(sc.names), len(from))
		cells := make([]Value, width*len(rows))
		for i, r := range rows {
			out := Row(cells[i*width : (i+1)*width : (i+1)*width])
			for j, slot := range from {
				out[j] = r.get(slot)
			}
			rows[i] = out
		}
		return rows, nil
	}}, nil
}

// rename

type renameCommand struct {
	place
	pairs [][2]string
}

func parseRename(p *parser, at place) (command, error) {
	c := &renameCommand{place: at}
	for {
		p.accept(',')
		if p.done() {
			break
		}
		fromAt := p.pos
		from, err := p.field("rename")
		if err != nil {
			return nil, err
		}
		if !p.acceptWord("AS") {
			return nil, p.refuse(p.pos, "rename: %s is followed by AS and a new name%s", from, p.found())
		}
		to, err := p.field("rename: AS")
		if err != nil {
			return nil, err
		}
		if strings.Count(from, "*") != strings.Count(to, "*") {
			return nil, p.refuse(fromAt, "rename: %q and %q have different numbers of wildcards", from, to)
		}
		if slices.ContainsFunc(c.pairs, func(pair [2]string) bool { return pair[0] == from }) {
			return nil, p.refuse(fromAt, "rename: %q can't have two new names", from)
		}
		if slices.ContainsFunc(c.pairs, func(pair [2]string) bool { return pair[1] == from }) {
			return nil, p.refuse(fromAt, "rename: %q is a new name already, and what renaming it again means is not documented: use a second rename", from)
		}
		c.pairs = append(c.pairs, [2]string{from, to})
	}
	if len(c.pairs) == 0 {
		return nil, p.refuse(p.pos, "rename needs field AS name")
	}
	return c, nil
}

func (c *renameCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	for i := len(c.pairs) - 1; i >= 0; i-- {
		from, to := c.pairs[i][0], c.pairs[i][1]
		if strings.Contains(from, "*") {
			return &fieldSet{all: true}
		}
		if in.has(to) {
			in = in.without(to)
			in.add(from)
		}
	}
	return in
}

func (c *renameCommand) open(_ *execution, in *flow) (*flow, error) {
	// The new schema has the same places under new names: rows stay as they are,
	// but for a name that is taken over, whose old place no one reads again.
	names := slices.Clone(in.sc.names)
	declared := slices.Clone(in.sc.declared)
	give := func(from, to string) {
		if from == to {
			return
		}
		at := slices.Index(names, from)
		if at < 0 || !declared[at] {
			at = -1
		}
		if old := slices.Index(names, to); old >= 0 {
			names[old], declared[old] = "", false
		}
		if at >= 0 {
			names[at] = to
		}
	}
	for _, pair := range c.pairs {
		from, to := pair[0], pair[1]
		if !strings.Contains(from, "*") {
			give(from, to)
			continue
		}
		re := wildcardGroups(from)
		for i, n := range slices.Clone(names) {
			if n == "" || !declared[i] || n[0] == '_' && !strings.HasPrefix(from, "_") {
				continue
			}
			m := re.FindStringSubmatch(n)
			if m == nil {
				continue
			}
			renamed := to
			for _, g := range m[1:] {
				renamed = strings.Replace(renamed, "*", g, 1)
			}
			give(n, renamed)
		}
	}
	sc := &schema{names: names, declared: declared, index: map[string]int{}}
	for i, n := range names {
		if n != "" {
			sc.index[n] = i
		}
	}
	return &flow{sc, in.next}, nil
}

// wildcardGroups is a pattern as a regular expression with a group for each *.
func wildcardGroups(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, "(.*)") + "$")
}

// fillnull, filldown

type fillCommand struct {
	place
	value  string
	fields []string
}

func parseFillnull(p *parser, at place) (command, error) {
	c := &fillCommand{place: at, value: "0"}
	for !p.done() {
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			if o.key != "value" {
				return nil, p.unknownOption("fillnull", o, "value")
			}
			c.value = o.value
			continue
		}
		p.accept(',')
		f, err := p.plainField("fillnull")
		if err != nil {
			return nil, err
		}
		c.fields = append(c.fields, f)
	}
	return c, nil
}

func parseFilldown(p *parser, at place) (command, error) {
	names, err := p.fields("filldown")
	return &fillCommand{place: at, fields: names}, err
}

func (c *fillCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	in.add(c.fields...)
	return in
}

func (c *fillCommand) open(x *execution, in *flow) (*flow, error) {
	if c.name == "filldown" {
		patterns := c.fields
		if len(patterns) == 0 {
			patterns = []string{"*"}
		}
		var slots []int
		for _, n := range patterns {
			if strings.Contains(n, "*") {
				for _, f := range in.sc.present(n) {
					slots = append(slots, in.sc.slot(f))
				}
				continue
			}
			slots = append(slots, in.sc.declare(n))
		}
		last := make([]Value, len(slots))
		return x.filterMap(in, func(r *Row) (bool, error) {
			for i, s := range slots {
				if v := r.get(s); v.kind != kindNull {
					last[i] = v
				} else if last[i].kind != kindNull {
					r.set(s, last[i])
				}
			}
			return true, nil
		}), nil
	}
	fill := dataText(c.value)
	if len(c.fields) > 0 {
		var slots []int
		for _, n := range c.fields {
			slots = append(slots, in.sc.declare(n))
		}
		return x.filterMap(in, func(r *Row) (bool, error) {
			for _, s := range slots {
				if r.get(s).kind == kindNull {
					r.set(s, fill)
				}
			}
			return true, nil
		}), nil
	}
	// Without fields every field is filled that some row has.
	rows, err := x.collect(in, "fillnull")
	if err != nil {
		return nil, err
	}
	for _, s := range usedSlots(rows, in.sc) {
		if n := in.sc.names[s]; n[0] == '_' {
			continue
		}
		for i := range rows {
			if rows[i].get(s).kind == kindNull {
				rows[i].set(s, fill)
			}
		}
	}
	return flowOf(in.sc, rows), nil
}

// usedSlots are the places of the fields that some row has.
func usedSlots(rows []Row, sc *schema) []int {
	used := make([]bool, len(sc.names))
	for _, r := range rows {
		for i := range r {
			if i < len(used) && r[i].kind != kindNull {
				used[i] = true
			}
		}
	}
	var out []int
	for i, u := range used {
		if u && sc.declared[i] && sc.names[i] != "" {
			out = append(out, i)
		}
	}
	return out
}

// makemv, mvexpand, mvcombine, nomv

type makemvCommand struct {
	place
	delim      string
	tokenizer  *regexp.Regexp
	allowEmpty bool
	field      string
}

func parseMakemv(p *parser, at place) (command, error) {
	c := &makemvCommand{place: at, delim: " "}
	for !p.done() {
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			switch o.key {
			case "delim":
				if c.delim = o.value; c.delim == "" {
					err = p.refuse(o.pos, "makemv: the delimiter can't be empty")
				}
			case "tokenizer":
				re, reErr := compileRegexp(o.value)
				if reErr != nil {
					err = p.refuse(o.pos, "makemv: %s", reErr)
				} else if re.NumSubexp() < 1 {
					err = p.refuse(o.pos, "makemv: the tokenizer needs a group in parentheses")
				}
				c.tokenizer = re
			case "allowempty":
				c.allowEmpty, err = p.boolOption("makemv", o)
			default:
				err = p.unknownOption("makemv", o, "delim", "tokenizer", "allowempty")
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		fieldAt := p.pos
		f, err := p.outerField("makemv")
		if err != nil {
			return nil, err
		}
		if c.field != "" {
			return nil, p.refuse(fieldAt, "makemv takes one field")
		}
		c.field = f
	}
	if c.field == "" {
		return nil, p.refuse(p.pos, "makemv needs a field")
	}
	return c, nil
}

func (c *makemvCommand) need(out *fieldSet) *fieldSet {
	return out.with(c.field)
}

func (c *makemvCommand) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot(c.field)
	return x.filterMap(in, func(r *Row) (bool, error) {
		v := r.get(slot)
		if v.kind == kindNull {
			return true, nil
		}
		if v.kind == kindMulti {
			return false, x.refuse(c.pos, "makemv was given a field that has several values already, which is not documented")
		}
		var parts []string
		if c.tokenizer != nil {
			for _, m := range c.tokenizer.FindAllStringSubmatch(v.String(), -1) {
				parts = append(parts, m[1])
			}
		} else {
			parts = strings.Split(v.String(), c.delim)
		}
		var vs []Value
		for _, s := range parts {
			if s != "" || c.allowEmpty {
				vs = append(vs, dataText(s))
			}
		}
		r.set(slot, multi(vs))
		return true, nil
	}), nil
}

type mvexpandCommand struct {
	place
	field string
	limit int
}

func parseMvexpand(p *parser, at place) (command, error) {
	f, err := p.outerField("mvexpand")
	if err != nil {
		return nil, err
	}
	c := &mvexpandCommand{place: at, field: f}
	if o, ok, err := p.option(); err != nil {
		return nil, err
	} else if ok {
		if o.key != "limit" {
			return nil, p.unknownOption("mvexpand", o, "limit")
		}
		if c.limit, err = p.intOption("mvexpand", o, 0); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *mvexpandCommand) need(out *fieldSet) *fieldSet {
	return out.with(c.field)
}

func (c *mvexpandCommand) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot(c.field)
	added := 0
	return &flow{in.sc, func() ([]Row, error) {
		for {
			rows, err := in.next()
			if err != nil || rows == nil {
				return nil, err
			}
			var out []Row
			for _, r := range rows {
				v := r.get(slot)
				if v.kind != kindMulti {
					out = append(out, r)
					continue
				}
				vs := v.values()
				if c.limit > 0 && len(vs) > c.limit {
					vs = vs[:c.limit]
				}
				if added += len(vs); added > x.limits.Expand {
					return nil, x.refuse(c.pos, "mvexpand makes more than %d rows (limit Expand)", x.limits.Expand)
				}
				for _, one := range vs {
					row := append(Row(nil), r...)
					row.set(slot, one)
					out = append(out, row)
				}
			}
			if len(out) > 0 {
				return out, nil
			}
		}
	}}, nil
}

// outerField is plainField for commands that do not apply to internal fields.
func (p *parser) outerField(cmd string) (string, error) {
	p.space()
	at := p.pos
	f, err := p.plainField(cmd)
	if err == nil && f[0] == '_' {
		err = p.refuse(at, "%s does not apply to internal fields like %s", cmd, f)
	}
	return f, err
}

type mvcombineCommand struct {
	place
	field string
	delim string // for a nomv that comes next
}

func parseMvcombine(p *parser, at place) (command, error) {
	c := &mvcombineCommand{place: at, delim: " "}
	if o, ok, err := p.option(); err != nil {
		return nil, err
	} else if ok && o.key != "delim" {
		return nil, p.unknownOption("mvcombine", o, "delim")
	} else if ok {
		c.delim = o.value
	}
	var err error
	c.field, err = p.outerField(at.name)
	return c, err
}

// need is everything: rows are the same or not by all their fields.
func (c *mvcombineCommand) need(*fieldSet) *fieldSet { return &fieldSet{all: true} }

func (c *mvcombineCommand) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot(c.field)
	rows, err := x.collect(in, "mvcombine")
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	var out []Row
	var buf []byte
	for _, r := range rows {
		v := r.get(slot)
		if v.kind == kindNull {
			out = append(out, r)
			continue
		}
		buf = buf[:0]
		for i := range in.sc.names {
			if i != slot {
				buf = r.get(i).appendKey(buf)
			}
		}
		at, ok := index[string(buf)]
		if !ok {
			index[string(buf)] = len(out)
			out = append(out, r)
			continue
		}
		out[at].set(slot, multi(append(slices.Clone(out[at].get(slot).values()), v.values()...)))
	}
	return flowOf(in.sc, out), nil
}

// nomv puts one value a line, and the delimiter of an mvcombine of the same
// field that stands right before it between the values.
type nomvCommand struct {
	place
	field string
	delim string
}

func parseNomv(p *parser, at place) (command, error) {
	c := &nomvCommand{place: at, delim: "\n"}
	var err error
	c.field, err = p.plainField("nomv")
	if m, ok := p.before.(*mvcombineCommand); ok && m.field == c.field {
		c.delim = m.delim
	}
	return c, err
}

func (c *nomvCommand) need(out *fieldSet) *fieldSet {
	return out.with(c.field)
}

func (c *nomvCommand) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot(c.field)
	return x.filterMap(in, func(r *Row) (bool, error) {
		if v := r.get(slot); v.kind == kindMulti {
			r.set(slot, text(strings.Join(v.Strings(), c.delim)))
		}
		return true, nil
	}), nil
}

// rex

type rexCommand struct {
	place
	field    string
	re       *regexp.Regexp
	maxMatch int
	offset   string
	sed      *sedScript
}

func parseRex(p *parser, at place) (command, error) {
	c := &rexCommand{place: at, field: "_raw", maxMatch: 1}
	pattern, patternAt, sed := "", -1, false
	for !p.done() {
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			switch o.key {
			case "field":
				c.field = o.value
			case "max_match":
				c.maxMatch, err = p.intOption("rex", o, 0)
			case "offset_field":
				c.offset = o.value
			case "mode":
				if sed = o.value == "sed"; !sed {
					err = p.refuse(o.pos, "rex: the only mode is sed, not %q", o.value)
				}
			default:
				err = p.unknownOption("rex", o, "field", "max_match", "offset_field", "mode")
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if p.peek() != '"' || patternAt >= 0 {
			return nil, p.refuse(p.pos, "rex: one expression in double quotes is expected%s", p.found())
		}
		patternAt = p.pos
		if pattern, err = p.quoted(); err != nil {
			return nil, err
		}
	}
	if patternAt < 0 {
		return nil, p.refuse(p.pos, "rex needs an expression in double quotes")
	}
	var err error
	if sed {
		if c.offset != "" {
			return nil, p.refuse(at.pos, "rex: offset_field is not known with mode=sed")
		}
		if c.sed, err = parseSed(pattern); err != nil {
			return nil, p.refuse(patternAt, "rex: %s", err)
		}
		return c, nil
	}
	if c.re, err = compileRegexp(pattern); err != nil {
		return nil, p.refuse(patternAt, "rex: %s", err)
	}
	named := 0
	for _, n := range c.re.SubexpNames() {
		if n != "" {
			named++
		}
	}
	if named == 0 {
		return nil, p.refuse(patternAt, "rex: the expression names no group: write (?<field>...)")
	}
	return c, nil
}

func (c *rexCommand) need(out *fieldSet) *fieldSet {
	return out.with(c.field)
}

func (c *rexCommand) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot(c.field)
	if c.sed != nil {
		return x.filterMap(in, func(r *Row) (bool, error) {
			v := r.get(slot)
			if v.kind == kindNull {
				return true, nil
			}
			var out []Value
			for _, one := range v.values() {
				out = append(out, dataText(c.sed.apply(one.String())))
			}
			r.set(slot, multi(out))
			return true, nil
		}), nil
	}
	names := c.re.SubexpNames()
	slots := make([]int, len(names))
	for i, n := range names {
		if n != "" {
			slots[i] = in.sc.declare(n)
		}
	}
	offsetSlot := -1
	if c.offset != "" {
		offsetSlot = in.sc.declare(c.offset)
	}
	limit := c.maxMatch
	if limit == 0 {
		limit = -1
	}
	return x.filterMap(in, func(r *Row) (bool, error) {
		found := map[string][]Value{}
		var offsets []string
		left := limit
		for _, one := range r.get(slot).values() {
			if left == 0 {
				break
			}
			s := one.String()
			matches := c.re.FindAllStringSubmatchIndex(s, left)
			if left > 0 {
				left -= len(matches)
			}
			for _, m := range matches {
				for i, n := range names {
					if n != "" && m[2*i] >= 0 && m[2*i+1] > m[2*i] {
						found[n] = append(found[n], dataText(s[m[2*i]:m[2*i+1]]))
						offsets = append(offsets, fmt.Sprintf("%s=%d-%d", n, m[2*i], m[2*i+1]-1))
					}
				}
			}
		}
		for i, n := range names {
			if vs := found[n]; n != "" && len(vs) > 0 {
				r.set(slots[i], multi(vs))
			}
		}
		if offsetSlot >= 0 && len(offsets) > 0 {
			r.set(offsetSlot, text(strings.Join(offsets, "&")))
		}
		return true, nil
	}), nil
}

// sedScript is rex mode=sed: s/regex/replacement/flags or y/from/to/.
type sedScript struct {
	re       *regexp.Regexp
	with     string
	global   bool
	nth      int
	from, to []rune
}

func parseSed(s string) (*sedScript, error) {
	if len(s) < 2 || s[0] != 's' && s[0] != 'y' || isWordByte(s[1]) || isSpace(s[1]) {
		return nil, fmt.Errorf("a sed expression is s/regex/replacement/flags or y/from/to/, not %q", s)
	}
	delim := s[1]
	var parts []string
	var b strings.Builder
	for i := 2; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == delim:
			b.WriteByte(delim)
			i++
		case s[i] == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2])
			i++
		case s[i] == delim && len(parts) < 2:
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	flags := b.String()
	if len(parts) != 2 {
		return nil, fmt.Errorf("the sed expression %q has no closing %c", s, delim)
	}
	script := &sedScript{nth: 1}
	if s[0] == 'y' {
		script.from, script.to = []rune(parts[0]), []rune(parts[1])
		if len(script.from) != len(script.to) || flags != "" {
			return nil, fmt.Errorf("y/from/to/ needs two strings of one length, and no flags")
		}
		return script, nil
	}
	switch n, err := strconv.Atoi(flags); {
	case flags == "":
	case flags == "g":
		script.global = true
	case err == nil && n > 0:
		script.nth = n
	default:
		return nil, fmt.Errorf("the sed flags %q are not known: g, or a number", flags)
	}
	re, err := compileRegexp(parts[0])
	if err != nil {
		return nil, err
	}
	script.re, script.with = re, goReplacement(parts[1])
	return script, nil
}

func (s *sedScript) apply(v string) string {
	if s.re == nil {
		return strings.Map(func(r rune) rune {
			if i := slices.Index(s.from, r); i >= 0 {
				return s.to[i]
			}
			return r
		}, v)
	}
	if s.global {
		return s.re.ReplaceAllString(v, s.with)
	}
	all := s.re.FindAllStringSubmatchIndex(v, s.nth)
	if len(all) < s.nth {
		return v
	}
	m := all[s.nth-1]
	out := s.re.ExpandString([]byte(v[:m[0]]), s.with, v, m)
	return string(out) + v[m[1]:]
}

// convert

type conversion struct {
	fn, field, as string
}

type convertCommand struct {
	place
	format string
	list   []conversion
}

var convertFunctions = []string{"ctime", "mktime", "num", "none"}

func parseConvert(p *parser, at place) (command, error) {
	c := &convertCommand{place: at, format: "%m/%d/%Y %H:%M:%S"}
	if o, ok, err := p.option(); err != nil {
		return nil, err
	} else if ok {
		if o.key != "timeformat" {
			return nil, p.unknownOption("convert", o, "timeformat")
		}
		if err := checkTimeFormat(o.value, false); err != nil {
			return nil, p.refuse(o.pos, "convert: %s", err)
		}
		c.format = o.value
	}
	for {
		p.accept(',')
		if p.done() {
			break
		}
		fnAt := p.pos
		fn := strings.ToLower(p.peekWord())
		if !slices.Contains(convertFunctions, fn) {
			return nil, p.refuse(fnAt, "convert: unknown function %q%s", p.bare("|],()"), hint(fn, convertFunctions))
		}
		p.pos += len(fn)
		if !p.accept('(') {
			return nil, p.refuse(p.pos, "convert: %s is followed by (field)", fn)
		}
		f, err := p.field("convert")
		if err != nil {
			return nil, err
		}
		if !p.accept(')') {
			return nil, p.refuse(fnAt, "unclosed parenthesis: %s( has no closing )", fn)
		}
		v := conversion{fn, f, f}
		if p.acceptWord("AS") {
			if strings.Contains(f, "*") {
				return nil, p.refuse(fnAt, "convert: AS does not go with a wildcard")
			}
			if v.as, err = p.plainField("convert: AS"); err != nil {
				return nil, err
			}
		}
		if fn == "mktime" {
			if err := checkTimeFormat(c.format, true); err != nil {
				return nil, p.refuse(fnAt, "convert: mktime: %s", err)
			}
		}
		c.list = append(c.list, v)
	}
	if len(c.list) == 0 {
		return nil, p.refuse(p.pos, "convert needs a function, like ctime(field)")
	}
	return c, nil
}

func (c *convertCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	for _, v := range c.list {
		in.add(v.field)
	}
	return in
}

func (c *convertCommand) open(x *execution, in *flow) (*flow, error) {
	type step struct {
		fn       string
		from, to int
	}
	var steps []step
	skip := map[string]bool{}
	for _, v := range c.list {
		if v.fn == "none" {
			for _, f := range in.sc.present(v.field) {
				skip[f] = true
			}
			skip[v.field] = true
			continue
		}
		if strings.Contains(v.field, "*") {
			for _, f := range in.sc.present(v.field) {
				if !skip[f] {
					steps = append(steps, step{v.fn, in.sc.slot(f), in.sc.slot(f)})
				}
			}
			continue
		}
		steps = append(steps, step{v.fn, in.sc.slot(v.field), in.sc.declare(v.as)})
	}
	return x.filterMap(in, func(r *Row) (bool, error) {
		for _, s := range steps {
			v := r.get(s.from)
			if v.kind == kindNull {
				continue
			}
			var out []Value
			for _, one := range v.values() {
				w, err := c.one(x, s.fn, one)
				if err != nil {
					return false, err
				}
				out = append(out, w)
			}
			r.set(s.to, multi(out))
		}
		return true, nil
	}), nil
}

func (c *convertCommand) one(x *execution, fn string, v Value) (Value, error) {
	f, ok := v.Float()
	switch fn {
	case "ctime":
		if !ok {
			return v, nil // what can't be converted stays
		}
		s, err := strftime(f, c.format, x.env.loc)
		if err != nil {
			return null, x.refuse(c.pos, "convert: %s", err)
		}
		return text(s), nil
	case "mktime":
		t, ok, err := strptime(v.String(), c.format, x.env.loc)
		if err != nil {
			return null, x.refuse(c.pos, "convert: %s", err)
		}
		if !ok {
			return v, nil
		}
		return number(t), nil
	}
	if !ok {
		return null, nil // num() removes what is no number
	}
	return number(f), nil
}

// addinfo

type addinfoCommand struct{ place }

func parseAddinfo(_ *parser, at place) (command, error) { return &addinfoCommand{at}, nil }

func (c *addinfoCommand) need(out *fieldSet) *fieldSet {
	return out.without("info_min_time", "info_max_time", "info_search_time", "info_sid")
}

func (c *addinfoCommand) open(x *execution, in *flow) (*flow, error) {
	lo, hi := number(0), text("+Infinity")
	if x.searched.earliest > -endOfTime {
		lo = number(x.searched.earliest)
	}
	if x.searched.latest < endOfTime {
		hi = number(x.searched.latest)
	}
	slots := []int{in.sc.declare("info_min_time"), in.sc.declare("info_max_time"), in.sc.declare("info_search_time"), in.sc.declare("info_sid")}
	values := []Value{lo, hi, number(x.env.now), text(strconv.FormatFloat(x.env.now, 'f', 3, 64))}
	return x.filterMap(in, func(r *Row) (bool, error) {
		for i, s := range slots {
			r.set(s, values[i])
		}
		return true, nil
	}), nil
}

// foreach

type foreachCommand struct {
	place
	patterns   []string
	multivalue bool
	body       string // of the subsearch, a template
	bodyAt     int
	parser     *parser
}

func parseForeach(p *parser, at place) (command, error) {
	c := &foreachCommand{place: at}
	for !p.done() && p.peek() != '[' {
		p.accept(',')
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			if o.key != "mode" {
				return nil, p.unknownOption("foreach", o, "mode")
			}
			switch o.value {
			case "multifield":
			case "multivalue":
				c.multivalue = true
			default:
				return nil, p.refuse(o.pos, "foreach: unknown mode %q; known are multifield, multivalue", o.value)
			}
			continue
		}
		f, err := p.field("foreach")
		if err != nil {
			return nil, err
		}
		c.patterns = append(c.patterns, f)
	}
	if len(c.patterns) == 0 || c.multivalue && (len(c.patterns) != 1 || strings.Contains(c.patterns[0], "*")) {
		return nil, p.refuse(at.pos, "foreach needs the fields that it works on (one, without wildcards, in mode multivalue)")
	}
	p.space()
	open := p.pos
	if p.peek() != '[' || p.eof() {
		return nil, p.refuse(open, "foreach: a subsearch in [ ] is expected here%s", p.found())
	}
	depth := 0
	for i := open; i < len(p.text); i++ {
		switch p.text[i] {
		case '"':
			end := closingQuote(p.text, i)
			if end < 0 {
				return nil, p.refuse(i, `unclosed quote: a " here has no closing "`)
			}
			i = end
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				c.body, c.bodyAt = p.text[open+1:i], open+1
				p.pos = i + 1
				c.parser = p.within("", open+1)
				// Tokens may stand where names do: the template is checked with
				// names in their place.
				_, err := c.instance("field", "field", nil)
				return c, err
			}
		}
	}
	return nil, p.refuse(open, "unclosed bracket: a [ here has no closing ]")
}

// instance parses the template for one field.
func (c *foreachCommand) instance(field, match string, segments []string) ([]command, error) {
	pairs := []string{"<<FIELD>>", field, "<<MATCHSTR>>", match, "<<ITEM>>", "__item", "<<ITER>>", "__iter"}
	for i := range 3 {
		seg := ""
		if i < len(segments) {
			seg = segments[i]
		} else if segments == nil {
			seg = "field"
		}
		pairs = append(pairs, fmt.Sprintf("<<MATCHSEG%d>>", i+1), seg)
	}
	body := strings.NewReplacer(pairs...).Replace(c.body)
	if !c.multivalue && (strings.Contains(c.body, "<<ITEM>>") || strings.Contains(c.body, "<<ITER>>")) {
		return nil, c.parser.refuse(c.bodyAt, "foreach: <<ITEM>> and <<ITER>> are known with mode=multivalue only")
	}
	p := c.parser.within(body, c.bodyAt)
	cmds, err := p.pipelineOf("foreach", "eval")
	if err != nil {
		return nil, err
	}
	if c.multivalue && len(cmds) > 1 {
		return nil, c.parser.refuse(c.bodyAt, "foreach: mode=multivalue takes a single eval")
	}
	return cmds, nil
}

// pipelineOf parses a whole text that is made of certain commands only.
func (p *parser) pipelineOf(cmd string, known ...string) ([]command, error) {
	var cmds []command
	p.accept('|')
	for {
		at := p.pos
		name := p.peekWord()
		if !slices.Contains(known, strings.ToLower(name)) {
			return nil, p.refuse(at, "%s: only %s is known in its subsearch, not %q", cmd, strings.Join(known, ", "), name)
		}
		p.pos += len(name)
		c, err := p.commands[strings.ToLower(name)].parse(p, place{name, p.offset(at)})
		if err != nil {
			return nil, err
		}
		if err := p.end(name); err != nil {
			return nil, err
		}
		cmds = append(cmds, c)
		if !p.accept('|') {
			if p.space(); !p.eof() {
				return nil, p.refuse(p.pos, "%s: its subsearch should end here%s", cmd, p.found())
			}
			return cmds, nil
		}
	}
}

func (c *foreachCommand) need(*fieldSet) *fieldSet { return &fieldSet{all: true} }

func (c *foreachCommand) open(x *execution, in *flow) (*flow, error) {
	rows, err := x.collect(in, "foreach")
	if err != nil {
		return nil, err
	}
	sc := in.sc
	if c.multivalue {
		cmds, err := c.instance("", "", nil)
		if err != nil {
			return nil, err
		}
		slot, item, iter := sc.slot(c.patterns[0]), sc.slot("__item"), sc.slot("__iter")
		for i := range rows {
			for n, v := range rows[i].get(slot).values() {
				rows[i].set(item, v)
				rows[i].set(iter, number(float64(n)))
				f, err := x.pipeline(cmds, flowOf(sc, []Row{rows[i]}))
				if err != nil {
					return nil, err
				}
				out, err := x.collect(f, "foreach")
				if err != nil {
					return nil, err
				}
				rows[i] = out[0]
			}
			rows[i].set(item, null)
			rows[i].set(iter, null)
		}
		return flowOf(sc, rows), nil
	}
	used := map[string]bool{}
	for _, s := range usedSlots(rows, sc) {
		used[sc.names[s]] = true
	}
	f := flowOf(sc, rows)
	for _, pattern := range c.patterns {
		fields := []string{pattern}
		if strings.Contains(pattern, "*") {
			fields = fields[:0]
			for _, n := range sc.present(pattern) {
				if used[n] {
					fields = append(fields, n)
				}
			}
			sort.Strings(fields)
		}
		re := wildcardGroups(pattern)
		for _, field := range fields {
			segments := []string{}
			if m := re.FindStringSubmatch(field); m != nil {
				segments = m[1:]
			}
			cmds, err := c.instance(field, strings.Join(segments, ""), segments)
			if err != nil {
				return nil, err
			}
			if f, err = x.pipeline(cmds, f); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// spath

const spathLimit = 5000 // limits.conf, [spath] extraction_cutoff

type spathCommand struct {
	place
	input, output, path string
	steps               []jsonStep
}

func parseSpath(p *parser, at place) (command, error) {
	c := &spathCommand{place: at, input: "_raw"}
	pathAt := at.pos
	for !p.done() {
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		switch {
		case ok && o.key == "input":
			c.input = o.value
		case ok && o.key == "output":
			c.output = o.value
		case ok && o.key == "path":
			c.path, pathAt = o.value, o.pos
		case ok:
			return nil, p.unknownOption("spath", o, "input", "output", "path")
		default:
			pathAt = p.pos
			if p.peek() == '"' {
				c.path, err = p.quoted()
			} else if c.path = p.bare("|]"); c.path == "" {
				err = p.refuse(pathAt, "spath: a path is expected here%s", p.found())
			}
			if err != nil {
				return nil, err
			}
		}
	}
	if c.path != "" {
		steps, problem := parseJSONPath(c.path)
		if problem != "" {
			return nil, p.refuse(pathAt, "spath: path %q: %s", c.path, problem)
		}
		c.steps = steps
		if c.output == "" {
			c.output = c.path
		}
	} else if c.output != "" {
		return nil, p.refuse(at.pos, "spath: output needs a path")
	}
	return c, nil
}

func (c *spathCommand) need(out *fieldSet) *fieldSet {
	return out.with(c.input)
}

func (c *spathCommand) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot(c.input)
	if c.path != "" {
		to := in.sc.declare(c.output)
		return x.filterMap(in, func(r *Row) (bool, error) {
			doc, ok := decodeJSON(r.get(slot).String())
			if !ok {
				return true, nil
			}
			found, _ := walkJSON(doc, c.steps)
			var vs []Value
			for _, f := range found {
				vs = append(vs, jsonToValue(f))
			}
			if v := multi(vs); v.kind != kindNull {
				r.set(to, v)
			}
			return true, nil
		}), nil
	}
	// Without a path every value is extracted, under its own path. The fields
	// are known only when the rows are.
	rows, err := x.collect(in, "spath")
	if err != nil {
		return nil, err
	}
	for i := range rows {
		v := rows[i].get(slot)
		if len(v.String()) > spathLimit {
			return nil, x.refuse(c.pos, "spath without a path reads the first %d characters of a value only, and what it makes of a cut document is not documented: name a path", spathLimit)
		}
		var f jsonFields
		if v.kind == kindNull || f.object([]byte(v.String())) != nil {
			continue
		}
		for j := range f.list {
			kv := &f.list[j]
			if kv.element || len(kv.name) == 0 {
				continue
			}
			name, value := string(kv.name), kv.single()
			if len(kv.list) > 0 {
				value = multi(kv.list)
				if !kv.nestedList {
					name += "{}"
				}
			}
			if value.kind != kindNull {
				if len(in.sc.names) > 20*maxFields {
					return nil, x.refuse(c.pos, "spath makes more than %d fields", 20*maxFields)
				}
				rows[i].set(in.sc.declare(name), value)
			}
		}
	}
	return flowOf(in.sc, rows), nil
}

// tojson

type tojsonCommand struct {
	place
	fields          map[string]string // pattern to type
	order           []string
	defaultType     string
	fillNull        bool
	includeInternal bool
	output          string
}

var tojsonTypes = []string{"auto", "bool", "json", "none", "num", "str"}

func parseTojson(p *parser, at place) (command, error) {
	c := &tojsonCommand{place: at, fields: map[string]string{}, defaultType: "none", output: "_raw"}
	for !p.done() {
		p.accept(',')
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			switch o.key {
			case "default_type":
				c.defaultType = o.value
				if !slices.Contains(tojsonTypes, o.value) {
					err = p.refuse(o.pos, "tojson: unknown type %q%s", o.value, hint(o.value, tojsonTypes))
				}
			case "fill_null":
				c.fillNull, err = p.boolOption("tojson", o)
			case "include_internal":
				c.includeInternal, err = p.boolOption("tojson", o)
			case "output_field":
				c.output = o.value
			default:
				err = p.unknownOption("tojson", o, "default_type", "fill_null", "include_internal", "output_field")
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		typeAt := p.pos
		word := p.peekWord()
		kind := ""
		if next := p.pos + len(word); next < len(p.text) && p.text[next] == '(' && word != "" {
			if kind = strings.ToLower(word); !slices.Contains(tojsonTypes, kind) {
				return nil, p.refuse(typeAt, "tojson: unknown type %q%s", word, hint(word, tojsonTypes))
			}
			p.pos = next + 1
		}
		f, err := p.field("tojson")
		if err != nil {
			return nil, err
		}
		if kind != "" && !p.accept(')') {
			return nil, p.refuse(typeAt, "unclosed parenthesis: %s( has no closing )", kind)
		}
		c.fields[f] = kind
		c.order = append(c.order, f)
	}
	return c, nil
}

func (c *tojsonCommand) need(*fieldSet) *fieldSet { return &fieldSet{all: true} }

func (c *tojsonCommand) open(x *execution, in *flow) (*flow, error) {
	type member struct {
		name, kind string
		slot       int
	}
	var members []member
	seen := map[string]bool{}
	add := func(pattern, kind string) {
		if kind == "" {
			kind = c.defaultType
		}
		names := in.sc.present(pattern)
		if c.includeInternal && pattern == "*" {
			names = append(names, in.sc.present("_*")...)
		}
		if !strings.Contains(pattern, "*") {
			names = []string{pattern}
		}
		for _, n := range names {
			if !seen[n] && n != c.output {
				seen[n] = true
				members = append(members, member{n, kind, in.sc.slot(n)})
			}
		}
	}
	for _, f := range c.order {
		add(f, c.fields[f])
	}
	if len(c.order) == 0 {
		add("*", "")
	}
	sort.Slice(members, func(i, j int) bool { return members[i].name < members[j].name })
	to := in.sc.declare(c.output)
	return x.filterMap(in, func(r *Row) (bool, error) {
		b := []byte{'{'}
		for _, m := range members {
			v := r.get(m.slot)
			piece, ok := tojsonPiece(v, m.kind)
			if !ok {
				if !c.fillNull {
					continue
				}
				piece = []byte("null")
			}
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = appendJSONString(b, m.name)
			b = append(b, ':')
			b = append(b, piece...)
		}
		r.set(to, text(string(append(b, '}'))))
		return true, nil
	}), nil
}

func tojsonPiece(v Value, kind string) ([]byte, bool) {
	switch v.kind {
	case kindNull:
		return nil, false
	case kindMulti:
		b := []byte{'['}
		for _, one := range *v.list {
			p, ok := tojsonPiece(one, kind)
			if !ok {
				continue
			}
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = append(b, p...)
		}
		return append(b, ']'), true
	}
	s := v.String()
	_, isNumber := v.Float()
	switch kind {
	case "str":
		return appendJSONString(nil, s), true
	case "num":
		return []byte(s), isNumber
	case "bool":
		switch strings.ToLower(s) {
		case "true", "t", "1", "yes":
			return []byte("true"), true
		case "false", "f", "0", "no":
			return []byte("false"), true
		}
		return nil, false
	case "json":
		_, ok := decodeJSON(s)
		return []byte(s), ok
	case "auto":
		switch {
		case s == "true" || s == "false":
			return []byte(s), true
		case isNumber:
			return []byte(s), true
		}
		if _, ok := decodeJSON(s); ok {
			return []byte(s), true
		}
		return appendJSONString(nil, s), true
	}
	// none: a value keeps the type that it has.
	if v.isNumber() {
		return []byte(s), true
	}
	return appendJSONString(nil, s), true
}
