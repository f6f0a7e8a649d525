package spl

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Subsearches as text

// isolated runs a pipeline of its own: a time range inside it or around it
// does not reach over the bracket, the picker's does (Search Manual, "About
// subsearches").
func (x *execution) isolated(sub *subsearch, limit int, in *flow) (*flow, []Row, error) {
	searched := x.searched
	x.searched = x.picker
	defer func() { x.searched = searched }()
	began := time.Now()
	f, err := x.pipeline(sub.commands, in)
	if err != nil {
		return nil, nil, err
	}
	var rows []Row
	for {
		batch, err := f.next()
		if err != nil {
			return nil, nil, err
		}
		if batch == nil {
			break
		}
		rows = append(rows, batch...)
		if time.Since(began) > x.limits.Subsearch {
			return nil, nil, x.refuse(sub.pos, "the subsearch takes longer than %s (limit Subsearch)", x.limits.Subsearch)
		}
		if len(rows) > limit {
			x.warn("a subsearch was cut to its first %d rows", limit)
			rows = rows[:limit]
			break
		}
	}
	return f, rows, nil
}

// filterText runs a subsearch and returns what stands in its place: what
// format makes of its rows, or the search field that it returned.
func (x *execution) filterText(sub *subsearch) (string, error) {
	f, rows, err := x.isolated(sub, subsearchLimit, nil)
	if err != nil {
		return "", err
	}
	if slot, ok := f.sc.index["search"]; ok && f.sc.declared[slot] && len(rows) > 0 && rows[0].get(slot).kind != kindNull {
		var parts []string
		for _, r := range rows {
			parts = append(parts, r.get(slot).String())
		}
		if len(parts) == 1 {
			return parts[0], nil
		}
		return "( ( " + strings.Join(parts, " ) OR ( ") + " ) )", nil
	}
	return formatRows(f.sc, rows, defaultFormat, "OR"), nil
}

// format

var defaultFormat = [6]string{"(", "(", "AND", ")", "OR", ")"}

// formatRows writes rows as a search: ( ( a="x" AND b="y" ) OR ( ... ) ). No
// rows give NOT ( ). Internal fields are left out.
func formatRows(sc *schema, rows []Row, f [6]string, mvsep string) string {
	names := sortedFieldNames(sc)
	var all []string
	for _, r := range rows {
		var one []string
		for _, n := range names {
			v := r.get(sc.index[n])
			if n[0] == '_' || v.kind == kindNull {
				continue
			}
			var alternatives []string
			for _, s := range v.Strings() {
				pair := n + "=" + quote(s)
				if strings.ContainsAny(n, ` "=()|[]`) {
					pair = quote(n) + "=" + quote(s)
				}
				if n == "search" || n == "query" {
					pair = s // these two are put in as they are
				}
				alternatives = append(alternatives, pair)
			}
			if len(alternatives) == 1 {
				one = append(one, alternatives[0])
			} else {
				one = append(one, "( "+strings.Join(alternatives, " "+mvsep+" ")+" )")
			}
		}
		if len(one) > 0 {
			all = append(all, f[1]+" "+strings.Join(one, " "+f[2]+" ")+" "+f[3])
		}
	}
	if len(all) == 0 {
		return "NOT ( )"
	}
	return f[0] + " " + strings.Join(all, " "+f[4]+" ") + " " + f[5]
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

type formatCommand struct {
	place
	parts      [6]string
	mvsep      string // between the values of one field
	maxResults int
	empty      string
}

func parseFormat(p *parser, at place) (command, error) {
	c := &formatCommand{place: at, parts: defaultFormat, mvsep: "OR", empty: "NOT ( )"}
	rows := false
	for !p.done() {
		if p.peek() == '"' && !rows {
			rows = true
			for i := range c.parts {
				p.space()
				if p.peek() != '"' {
					return nil, p.refuse(p.pos, "format takes six texts in quotes, or none: \"(\" \"(\" \"AND\" \")\" \"OR\" \")\"")
				}
				s, err := p.quoted()
				if err != nil {
					return nil, err
				}
				c.parts[i] = s
			}
			continue
		}
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		switch o.key {
		case "maxresults":
			c.maxResults, err = p.intOption("format", o, 0)
		case "emptystr":
			c.empty = o.value
		case "mvsep":
			c.mvsep = o.value
		default:
			err = p.unknownOption("format", o, "mvsep", "maxresults", "emptystr")
		}
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *formatCommand) need(*fieldSet) *fieldSet { return &fieldSet{all: true} }

func (c *formatCommand) open(x *execution, in *flow) (*flow, error) {
	rows, err := x.collect(in, "format")
	if err != nil {
		return nil, err
	}
	if c.maxResults > 0 && len(rows) > c.maxResults {
		rows = rows[:c.maxResults]
	}
	s := formatRows(in.sc, rows, c.parts, c.mvsep)
	if s == "NOT ( )" {
		s = c.empty
	}
	return flowOf(newSchema("search"), []Row{{text(s)}}), nil
}

// return

type returnField struct {
	field, alias string
	valueOnly    bool
}

type returnCommand struct {
	place
	n      int
	fields []returnField
}

func parseReturn(p *parser, at place) (command, error) {
	c := &returnCommand{place: at, n: 1}
	p.space()
	if b := p.peek(); b-'0' <= 9 && !p.eof() {
		n, err := p.count("return")
		if err != nil {
			return nil, err
		}
		c.n = n
	}
	for {
		p.accept(',')
		if p.done() {
			break
		}
		f := returnField{valueOnly: p.accept('$')}
		name, err := p.plainField("return")
		if err != nil {
			return nil, err
		}
		f.field, f.alias = name, name
		if !f.valueOnly && p.accept('=') {
			if f.field, err = p.plainField("return"); err != nil {
				return nil, err
			}
		}
		c.fields = append(c.fields, f)
	}
	if len(c.fields) == 0 {
		return nil, p.refuse(at.pos, "return needs a field: field, alias=field or $field")
	}
	return c, nil
}

func (c *returnCommand) need(*fieldSet) *fieldSet {
	in := &fieldSet{}
	for _, f := range c.fields {
		in.add(f.field)
	}
	return in
}

func (c *returnCommand) open(x *execution, in *flow) (*flow, error) {
	slots := make([]int, len(c.fields))
	for i, f := range c.fields {
		slots[i] = in.sc.slot(f.field)
	}
	rows, err := x.collect(in, "return")
	if err != nil {
		return nil, err
	}
	if c.n > 0 && len(rows) > c.n {
		rows = rows[:c.n]
	}
	var all []string
	for _, r := range rows {
		var one []string
		for i, f := range c.fields {
			v := r.get(slots[i])
			if v.kind == kindNull {
				continue
			}
			if v.kind == kindMulti {
				return nil, x.refuse(c.pos, "return of a field with several values is not documented: mvexpand it first")
			}
			if f.valueOnly {
				one = append(one, v.String())
			} else {
				one = append(one, f.alias+"="+quote(v.String()))
			}
		}
		if len(one) > 0 {
			all = append(all, strings.Join(one, " "))
		}
	}
	s := "" // no rows give an empty text, which leaves the outer search as it is
	switch {
	case len(all) == 1:
		s = all[0]
		if !c.fields[0].valueOnly {
			s = "(" + s + ")"
		}
	case len(all) > 1:
		s = "(" + strings.Join(all, ") OR (") + ")"
	}
	return flowOf(newSchema("search"), []Row{{text(s)}}), nil
}

// append, appendpipe

type appendCommand struct {
	place
	sub    *subsearch
	maxOut int
	sameIn bool // appendpipe: the subpipeline works on the rows so far
}

func parseAppend(p *parser, at place) (command, error) {
	c := &appendCommand{place: at, maxOut: appendLimit, sameIn: at.name == "appendpipe"}
	if err := p.options(func(o option) (err error) {
		switch {
		case c.sameIn && o.key == "run_in_preview":
			_, err = p.boolOption(at.name, o)
		case !c.sameIn && o.key == "maxout":
			c.maxOut, err = p.intOption(at.name, o, 0)
		case !c.sameIn && (o.key == "maxtime" || o.key == "timeout"):
			_, err = p.intOption(at.name, o, 0)
		case !c.sameIn && o.key == "extendtimerange":
			_, err = p.boolOption(at.name, o)
		case c.sameIn:
			err = p.unknownOption(at.name, o, "run_in_preview")
		default:
			err = p.unknownOption(at.name, o, "maxout", "maxtime", "timeout", "extendtimerange")
		}
		return err
	}); err != nil {
		return nil, err
	}
	sub, err := p.subsearchFor(at.name, c.sameIn)
	if err != nil {
		return nil, err
	}
	if c.maxOut == 0 {
		c.maxOut = appendLimit
	}
	c.sub = sub
	return c, nil
}

// subsearchFor parses [ ... ]; where piped, it begins with a command that
// takes rows.
func (p *parser) subsearchFor(cmd string, piped bool) (*subsearch, error) {
	if !piped {
		return p.subsearch()
	}
	p.space()
	at := p.pos
	if !p.accept('[') {
		return nil, p.refuse(at, "%s: a subpipeline in [ ] is expected here%s", cmd, p.found())
	}
	if err := p.enter(at); err != nil {
		return nil, err
	}
	defer p.leave()
	p.accept('|')
	var cmds []command
	for {
		p.space()
		nameAt := p.pos
		name := p.peekWord()
		spec, ok := p.commands[strings.ToLower(name)]
		if !ok {
			return nil, p.refuse(nameAt, "unknown command %q%s", name, hint(name, sortedKeys(p.commands)))
		}
		if spec.generating && !spec.anywhere {
			return nil, p.refuse(nameAt, "%s: %s makes rows of its own and can't stand in its subpipeline", cmd, name)
		}
		p.pos += len(name)
		c, err := spec.parse(p, place{strings.ToLower(name), p.offset(nameAt)})
		if err != nil {
			return nil, err
		}
		if err := p.end(name); err != nil {
			return nil, err
		}
		cmds = append(cmds, c)
		if !p.accept('|') {
			break
		}
	}
	if !p.accept(']') {
		return nil, p.refuse(at, "unclosed bracket: a [ here has no closing ]")
	}
	return &subsearch{cmds, p.offset(at)}, nil
}

func (c *appendCommand) need(out *fieldSet) *fieldSet {
	if !c.sameIn {
		return out
	}
	want := out.clone()
	for i := len(c.sub.commands) - 1; i >= 0; i-- {
		want = c.sub.commands[i].need(want)
	}
	in := out.clone()
	in.all = in.all || want.all
	in.add(sortedKeys(want.names)...)
	in.add(want.globs...)
	return in
}

func (c *appendCommand) check(x *execution) error { return x.check(c.sub.commands) }

func (c *appendCommand) open(x *execution, in *flow) (*flow, error) {
	if c.sameIn {
		rows, err := x.collect(in, "appendpipe")
		if err != nil {
			return nil, err
		}
		// The subpipeline gets copies, under a schema of its own.
		copies := make([]Row, len(rows))
		for i, r := range rows {
			copies[i] = append(Row(nil), r...)
		}
		sc := newSchema()
		for i, n := range in.sc.names {
			at := sc.slot(n)
			sc.declared[at] = in.sc.declared[i]
		}
		f, err := x.pipeline(c.sub.commands, flowOf(sc, copies))
		if err != nil {
			return nil, err
		}
		return x.concat(flowOf(in.sc, rows), f, c.pos, x.limits.Expand)
	}
	f, rows, err := x.isolated(c.sub, c.maxOut, nil)
	if err != nil {
		return nil, err
	}
	return x.concat(in, flowOf(f.sc, rows), c.pos, x.limits.Expand)
}

// makeresults

type makeresultsCommand struct {
	place
	n        int
	annotate bool
	format   string
	data     string
	dataAt   int
}

func parseMakeresults(p *parser, at place) (command, error) {
	c := &makeresultsCommand{place: at, n: 1}
	if err := p.options(func(o option) (err error) {
		switch o.key {
		case "count":
			c.n, err = p.intOption("makeresults", o, 0)
		case "annotate":
			c.annotate, err = p.boolOption("makeresults", o)
		case "format":
			if c.format = strings.ToLower(o.value); c.format != "csv" && c.format != "json" {
				err = p.refuse(o.pos, "makeresults: the format is csv or json, not %q", o.value)
			}
		case "data":
			c.data, c.dataAt = o.value, o.pos
		case "splunk_server", "splunk_server_group":
			err = p.refuse(o.pos, "makeresults: there are no servers to choose")
		default:
			err = p.unknownOption("makeresults", o, "count", "annotate", "format", "data")
		}
		return err
	}); err != nil {
		return nil, err
	}
	if (c.format == "") != (c.data == "") {
		return nil, p.refuse(at.pos, "makeresults: format and data go together")
	}
	if c.n > 1_000_000 {
		return nil, p.refuse(at.pos, "makeresults makes at most 1000000 rows")
	}
	return c, nil
}

func (c *makeresultsCommand) need(*fieldSet) *fieldSet { return &fieldSet{} }

func (c *makeresultsCommand) open(x *execution, _ *flow) (*flow, error) {
	x.searched = x.picker
	now := number(float64(int64(x.env.now)))
	switch c.format {
	case "csv":
		t, err := ReadTable(strings.NewReader(strings.TrimSpace(c.data)))
		if err != nil {
			return nil, x.refuse(c.dataAt, "makeresults: %s", err)
		}
		for i := range t.Fields {
			t.Fields[i] = strings.TrimSpace(t.Fields[i])
		}
		sc := newSchema(t.Fields...)
		var rows []Row
		for _, rec := range t.Rows {
			row := make(Row, len(rec))
			for i, s := range rec {
				if s != "" {
					row[i] = dataText(s)
				}
			}
			rows = append(rows, row)
		}
		return flowOf(sc, rows), nil
	case "json":
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(c.data), &list); err != nil {
			return nil, x.refuse(c.dataAt, "makeresults: the data is no JSON array of objects")
		}
		sc := newSchema("_raw", "_time")
		var rows []Row
		for _, raw := range list {
			var f jsonFields
			if err := f.object(raw); err != nil {
				return nil, x.refuse(c.dataAt, "makeresults: the data is no JSON array of objects")
			}
			row := Row{dataText(string(raw)), now}
			for i := range f.list {
				kv := &f.list[i]
				if v := kv.single(); !kv.element && len(kv.list) == 0 && v.kind != kindNull {
					row.set(sc.declare(string(kv.name)), v)
				} else if len(kv.list) > 0 {
					row.set(sc.declare(string(kv.name)), multi(kv.list))
				}
			}
			rows = append(rows, row)
		}
		return flowOf(sc, rows), nil
	}
	sc := newSchema("_time")
	row := Row{now}
	if c.annotate {
		for _, f := range []struct {
			name  string
			value Value
		}{{"_raw", null}, {"host", null}, {"source", null}, {"sourcetype", null}, {"splunk_server", text("aiwatch")}, {"splunk_server_group", null}} {
			row.set(sc.declare(f.name), f.value)
		}
	}
	rows := make([]Row, c.n)
	for i := range rows {
		rows[i] = append(Row(nil), row...)
	}
	return flowOf(sc, rows), nil
}

// collect

type collectCommand struct {
	place
	index    string
	testMode bool
	extra    map[string]string
}

func parseCollect(p *parser, at place) (command, error) {
	c := &collectCommand{place: at, extra: map[string]string{}}
	if err := p.options(func(o option) (err error) {
		switch o.key {
		case "index":
			c.index = o.value
		case "testmode":
			c.testMode, err = p.boolOption("collect", o)
		case "source", "host", "sourcetype":
			c.extra[o.key] = o.value
		case "marker":
			for _, m := range strings.Split(o.value, ",") {
				k, v, ok := strings.Cut(strings.TrimSpace(m), "=")
				if !ok || k == "" {
					err = p.refuse(o.pos, "collect: marker takes field=value, separated by commas")
					break
				}
				c.extra[k] = strings.Trim(v, `"`)
			}
		default:
			err = p.unknownOption("collect", o, "index", "testmode", "source", "host", "sourcetype", "marker")
		}
		return err
	}); err != nil {
		return nil, err
	}
	if c.index == "" {
		return nil, p.refuse(at.pos, "collect needs index=")
	}
	return c, nil
}

func (c *collectCommand) need(*fieldSet) *fieldSet { return &fieldSet{all: true} }

func (c *collectCommand) check(x *execution) error {
	if x.engine.Collect == nil && !c.testMode {
		return x.refuse(c.pos, "collect: there is no summary store to write to; testmode=true writes nothing")
	}
	return nil
}

func (c *collectCommand) open(x *execution, in *flow) (*flow, error) {
	rows, err := x.collect(in, "collect")
	if err != nil {
		return nil, err
	}
	if c.testMode {
		return flowOf(in.sc, rows), nil
	}
	res := in.sc.result(rows, nil)
	for _, k := range sortedKeys(c.extra) {
		res.Fields = append(res.Fields, k)
		for i := range res.Rows {
			res.Rows[i] = append(res.Rows[i], text(c.extra[k]))
		}
	}
	if err := x.engine.Collect(c.index, res.Fields, res.Rows); err != nil {
		return nil, fmt.Errorf("collect into index %s: %w", c.index, err)
	}
	return flowOf(in.sc, rows), nil
}

// AddSummary stores rows as events of an index, as summary indexing does: what
// a finding's _time says is its time, otherwise now. Wire it to Engine.Collect.
func (s *Store) AddSummary(index string, fields []string, rows []Row, now time.Time) error {
	for _, r := range rows {
		b := []byte(`{"index":`)
		b = appendJSONString(b, index)
		at := strconv.FormatFloat(epochOf(now), 'f', -1, 64)
		b = append(b, `,"_indextime":`+at...)
		for i, f := range fields {
			v := r.get(i)
			if v.IsNull() || f == "index" || f == "_indextime" {
				continue
			}
			if f == "_time" {
				at = v.String()
				continue
			}
			b = append(b, ',')
			b = appendJSONString(b, f)
			b = append(b, ':')
			b = v.appendJSON(b)
		}
		b = append(b, `,"_time":`...)
		b = appendJSONString(b, at)
		if err := s.Add(append(b, '}')); err != nil {
			return err
		}
	}
	return nil
}

// savedsearch

type savedCommand struct {
	place
	saved string
	args  map[string]string
}

func parseSavedsearch(p *parser, at place) (command, error) {
	name, err := p.plainField("savedsearch")
	if err != nil {
		return nil, err
	}
	c := &savedCommand{at, name, map[string]string{}}
	return c, p.options(func(o option) error {
		c.args[o.key] = o.value
		return nil
	})
}

func (c *savedCommand) need(*fieldSet) *fieldSet { return &fieldSet{} }

func (c *savedCommand) check(x *execution) error {
	_, err := c.query(x)
	return err
}

// query fills the template's $tokens$ and parses it.
func (c *savedCommand) query(x *execution) (*Query, error) {
	s, ok := x.engine.Saved[c.saved]
	if !ok {
		return nil, x.refuse(c.pos, "the saved search %q is not defined; known are %s", c.saved, orNone(sortedKeys(x.engine.Saved)))
	}
	for k, v := range c.args {
		s = strings.ReplaceAll(s, "$"+k+"$", v)
	}
	if m := tokenPattern.FindString(s); m != "" {
		return nil, x.refuse(c.pos, "the saved search %q needs a value for %s", c.saved, m)
	}
	src, err := expand(s, x.engine.Macros, x.env)
	if err == nil {
		var q *Query
		if q, err = parseQuery(src); err == nil {
			return q, nil
		}
	}
	return nil, x.refuse(c.pos, "the saved search %q: %s", c.saved, err)
}

func (c *savedCommand) open(x *execution, _ *flow) (*flow, error) {
	q, err := c.query(x)
	if err != nil {
		return nil, err
	}
	return x.pipeline(q.commands, nil)
}
