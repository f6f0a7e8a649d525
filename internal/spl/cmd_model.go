package spl

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

var tokenPattern = regexp.MustCompile(`\$[A-Za-z_][A-Za-z0-9_.]*\$`)

// DataModel is a data model as its JSON file describes it.
type DataModel struct {
	Name     string
	datasets map[string]*dataset
}

type dataset struct {
	name, parent, lineage string
	fields                []dataField
	constraints           []string
	evals                 []dataEval
}

type dataField struct {
	name  string
	owner string // the lineage under which searches name it: All.Child
}

type dataEval struct{ field, expression string }

// ReadDataModel reads data/models/NAME.json. It knows search constraints and
// Eval calculations.
func ReadDataModel(r io.Reader) (DataModel, error) {
	var doc struct {
		ModelName string `json:"modelName"`
		Objects   []struct {
			ObjectName, ParentName, Lineage string
			Fields                          []struct{ FieldName, Owner string }
			Constraints                     []struct{ Search string }
			Calculations                    []struct {
				CalculationType, Expression, Owner string
				OutputFields                       []struct{ FieldName, Owner string }
			}
		} `json:"objects"`
	}
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return DataModel{}, fmt.Errorf("read data model: %w", err)
	}
	m := DataModel{Name: doc.ModelName, datasets: map[string]*dataset{}}
	for _, o := range doc.Objects {
		d := &dataset{name: o.ObjectName, parent: o.ParentName, lineage: o.Lineage}
		if parent := m.datasets[o.ParentName]; parent != nil && d.lineage == "" {
			d.lineage = parent.lineage + "." + d.name
		}
		if d.lineage == "" {
			d.lineage = d.name
		}
		owner := func(s string) string {
			if s == "" || s == "BaseEvent" {
				return d.lineage
			}
			return s
		}
		for _, f := range o.Fields {
			d.fields = append(d.fields, dataField{f.FieldName, owner(f.Owner)})
		}
		for _, c := range o.Constraints {
			d.constraints = append(d.constraints, c.Search)
		}
		for _, c := range o.Calculations {
			if !strings.EqualFold(c.CalculationType, "Eval") || len(c.OutputFields) != 1 {
				return DataModel{}, fmt.Errorf("read data model %s: dataset %s: a calculation of type %q is not known, only Eval", m.Name, d.name, c.CalculationType)
			}
			f := c.OutputFields[0]
			d.evals = append(d.evals, dataEval{f.FieldName, c.Expression})
			d.fields = append(d.fields, dataField{f.FieldName, owner(f.Owner)})
		}
		m.datasets[d.name] = d
	}
	return m, nil
}

// chain is a dataset and what it inherits from, the root first.
func (m *DataModel) chain(name string) []*dataset {
	var out []*dataset
	for d := m.datasets[name]; d != nil && len(out) < 50; d = m.datasets[d.parent] {
		out = append(out, d)
	}
	slices.Reverse(out)
	return out
}

var eventFields = []string{"_time", "_indextime", "host", "index", "source", "sourcetype"}

// modelSource is a dataset that a command reads.
type modelSource struct {
	name string // Model.Dataset, or Model alone: its first dataset
	pos  int
}

func (x *execution) resolveModel(s modelSource) ([]*dataset, error) {
	model, ds, _ := strings.Cut(s.name, ".")
	m, ok := x.engine.DataModels[model]
	if !ok {
		return nil, x.refuse(s.pos, "the data model %q is not defined; known are %s", model, orNone(sortedKeys(x.engine.DataModels)))
	}
	if ds == "" {
		for _, name := range sortedKeys(m.datasets) {
			if m.datasets[m.datasets[name].parent] == nil {
				if ds != "" {
					return nil, x.refuse(s.pos, "the data model %q has several root datasets: name one, %s.dataset", model, model)
				}
				ds = name
			}
		}
	}
	ds = ds[strings.LastIndexByte(ds, '.')+1:]
	chain := m.chain(ds)
	if len(chain) == 0 {
		return nil, x.refuse(s.pos, "the data model %q has no dataset %q; it has %s", model, ds, orNone(sortedKeys(m.datasets)))
	}
	return chain, nil
}

// rows opens a flow of a dataset's events: its constraints and more as filter,
// its calculations as eval.
func (x *execution) datasetRows(s modelSource, chain []*dataset, more searchExpr, r timeRange, want *fieldSet) (*flow, error) {
	filter := searchAnd{more}
	var evals []*evalCommand
	for _, d := range chain {
		for _, c := range d.constraints {
			p, err := x.inner(c, s, "the constraint of dataset "+d.name)
			if err != nil {
				return nil, err
			}
			e, err := p.searchExpression()
			if err == nil && !p.eof() {
				err = p.refuse(p.pos, "this is no search expression")
			}
			if err != nil {
				return nil, x.refuse(s.pos, "the constraint of dataset %s: %s", d.name, err)
			}
			resolved, _, err := x.resolve(e)
			if err != nil {
				return nil, err
			}
			filter = append(filter, resolved)
		}
		for _, ev := range d.evals {
			p, err := x.inner(ev.expression, s, "the calculation of "+ev.field)
			if err != nil {
				return nil, err
			}
			e, err := p.wholeExpression()
			if err != nil {
				return nil, x.refuse(s.pos, "the calculation of %s: %s", ev.field, err)
			}
			evals = append(evals, &evalCommand{place{"eval", s.pos}, []assignment{{s.pos, ev.field, e}}})
		}
	}
	for i := len(evals) - 1; i >= 0; i-- {
		want = evals[i].need(want)
	}
	f, err := x.events(nil, filter, nil, r, want)
	if err != nil {
		return nil, err
	}
	for _, e := range evals {
		if f, err = e.open(x, f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// inner parses text of a data model: errors stand at the command that names it.
func (x *execution) inner(s string, at modelSource, what string) (*parser, error) {
	src, err := expand(s, x.engine.Macros, x.env)
	if err != nil {
		return nil, x.refuse(at.pos, "%s: %s", what, err)
	}
	p := newParser(src)
	return p, nil
}

// from

type fromCommand struct {
	place
	model  modelSource
	lookup *inputlookupCommand
}

func parseFrom(p *parser, at place) (command, error) {
	p.space()
	kindAt := p.pos
	word := ""
	if p.peek() == '"' {
		s, err := p.quoted()
		if err != nil {
			return nil, err
		}
		word = s
	} else {
		word = p.bare(`|]"`)
	}
	kind, name, ok := strings.Cut(word, ":")
	if !ok || name == "" {
		p.space()
		rest := ""
		if p.peek() == '"' {
			s, err := p.quoted()
			if err != nil {
				return nil, err
			}
			rest = s
		} else {
			rest = p.bare(`|]`)
		}
		name = rest
	}
	if name == "" {
		return nil, p.refuse(kindAt, "from takes a kind and a name, like from datamodel:Model.Dataset%s", p.found())
	}
	switch strings.ToLower(kind) {
	case "datamodel":
		return &fromCommand{place: at, model: modelSource{name, p.offset(kindAt)}}, nil
	case "lookup", "inputlookup":
		return &fromCommand{place: at, lookup: &inputlookupCommand{place: at, table: name, tableAt: p.offset(kindAt), max: 1_000_000_000}}, nil
	}
	return nil, p.refuse(kindAt, "from: unknown kind %q; known are datamodel, lookup", kind)
}

func (c *fromCommand) need(*fieldSet) *fieldSet { return &fieldSet{} }

func (c *fromCommand) check(x *execution) error {
	if c.lookup != nil {
		return c.lookup.check(x)
	}
	_, err := x.resolveModel(c.model)
	return err
}

func (c *fromCommand) open(x *execution, in *flow) (*flow, error) {
	if c.lookup != nil {
		return c.lookup.open(x, in)
	}
	chain, err := x.resolveModel(c.model)
	if err != nil {
		return nil, err
	}
	x.searched = x.picker
	want := x.wanted
	if want == nil {
		want = &fieldSet{all: true}
	}
	return x.datasetRows(c.model, chain, searchAll{}, x.picker, want)
}

// tstats

type tstatsCommand struct {
	place
	list  []aggregate
	model *modelSource
	where searchExpr
	by    []string
	span  *span
	fill  string
}

func parseTstats(p *parser, at place) (command, error) {
	c := &tstatsCommand{place: at}
	known := []string{"summariesonly", "allow_old_summaries", "prestats", "append", "local", "chunk_size", "fillnull_value"}
	if err := p.options(func(o option) (err error) {
		on := false
		switch o.key {
		case "allow_old_summaries", "local":
			_, err = p.boolOption("tstats", o)
		case "summariesonly", "prestats", "append":
			if on, err = p.boolOption("tstats", o); err == nil && on {
				err = p.refuse(o.pos, "tstats: %s=true is not known here: there are no summaries, and no partial results", o.key)
			}
		case "chunk_size":
			_, err = p.intOption("tstats", o, 1)
		case "fillnull_value":
			c.fill = o.value
		default:
			err = p.unknownOption("tstats", o, known...)
		}
		return err
	}); err != nil {
		return nil, err
	}
	var err error
	if c.list, err = p.aggregates("tstats", "FROM", "WHERE", "BY", "GROUPBY"); err != nil {
		return nil, err
	}
	for _, a := range c.list {
		if a.arg != nil {
			return nil, p.src.refusal(a.pos, "tstats: eval is not known in its aggregations: it reads indexed fields only")
		}
		if strings.Contains(a.field, "*") {
			return nil, p.src.refusal(a.pos, "tstats: wildcards are not known in its aggregations")
		}
	}
	if p.acceptWord("FROM") {
		p.space()
		fromAt := p.pos
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if !ok || o.key != "datamodel" {
			return nil, p.refuse(fromAt, "tstats: from is followed by datamodel=Model.Dataset")
		}
		c.model = &modelSource{o.value, p.offset(fromAt)}
	}
	if p.acceptWord("WHERE") {
		if c.where, err = p.searchExpression("BY", "GROUPBY"); err != nil {
			return nil, err
		}
		walkSearch(c.where, func(e searchExpr) {
			if t, ok := e.(*searchText); ok && err == nil {
				err = p.src.refusal(t.pos, "tstats: where compares fields; a word to search for (%q) is not known here", t.text)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if p.acceptWord("BY") || p.acceptWord("GROUPBY") {
		for {
			p.accept(',')
			if p.done() {
				break
			}
			if o, ok, err := p.option(); err != nil {
				return nil, err
			} else if ok {
				if o.key != "span" {
					return nil, p.unknownOption("tstats", o, "span")
				}
				if len(c.by) == 0 || c.by[len(c.by)-1] != "_time" {
					return nil, p.refuse(o.pos, "tstats: span stands after _time")
				}
				s, err := p.span("tstats", o, false)
				if err != nil {
					return nil, err
				}
				c.span = &s
				continue
			}
			fieldAt := p.pos
			f, err := p.plainField("tstats: BY")
			if err == nil && slices.Contains(c.by, f) {
				err = p.refuse(fieldAt, "tstats: BY names the field %q twice", f)
			}
			if err != nil {
				return nil, err
			}
			c.by = append(c.by, f)
		}
		if len(c.by) == 0 {
			return nil, p.refuse(p.pos, "tstats: BY needs at least one field")
		}
		for _, a := range c.list {
			if slices.Contains(c.by, a.as) {
				return nil, p.src.refusal(a.pos, "tstats: the aggregation %q would overwrite the field that it is grouped by", a.as)
			}
		}
		if slices.Contains(c.by, "_time") && c.span == nil {
			return nil, p.refuse(p.pos, "tstats: by _time needs span=: the default depends on the time range")
		}
	}
	return c, nil
}

func (c *tstatsCommand) need(*fieldSet) *fieldSet { return &fieldSet{} }

// names maps what the search may name to the plain fields of events.
func (c *tstatsCommand) names(x *execution) (map[string]string, []*dataset, map[string]bool, error) {
	names := map[string]string{}
	for _, f := range eventFields {
		names[f] = f
	}
	calculated := map[string]bool{}
	if c.model == nil {
		return names, nil, calculated, nil
	}
	chain, err := x.resolveModel(*c.model)
	for _, d := range chain {
		for _, f := range d.fields {
			names[f.owner+"."+f.name] = f.name
			names[d.name+"."+f.name] = f.name
		}
		for _, e := range d.evals {
			calculated[e.field] = true
		}
	}
	return names, chain, calculated, err
}

func (c *tstatsCommand) check(x *execution) error {
	names, _, _, err := c.names(x)
	if err != nil {
		return err
	}
	known := func(name string, pos int) error {
		if _, ok := names[name]; ok || name == "" {
			return nil
		}
		if c.model == nil {
			return x.refuse(pos, "tstats without a data model reads only %s, not %q", strings.Join(eventFields, ", "), name)
		}
		return x.refuse(pos, "the data model %s has no field %q%s", c.model.name, name, hint(name, sortedKeys(names)))
	}
	for _, a := range c.list {
		if err := known(a.field, a.pos); err != nil {
			return err
		}
	}
	for _, f := range c.by {
		if err := known(f, c.pos); err != nil {
			return err
		}
	}
	if c.where != nil {
		walkSearch(c.where, func(e searchExpr) {
			if f, ok := e.(*searchField); ok && err == nil {
				err = known(f.name, f.pos)
			}
		})
	}
	return err
}

func (c *tstatsCommand) open(x *execution, _ *flow) (*flow, error) {
	if err := c.check(x); err != nil {
		return nil, err
	}
	names, chain, calculated, err := c.names(x)
	if err != nil {
		return nil, err
	}
	var where searchExpr = searchAll{}
	r := x.picker
	if c.where != nil {
		tree, own, err := x.resolve(c.where)
		if err != nil {
			return nil, err
		}
		if r, err = x.timeBounds(tree, own); err != nil {
			return nil, err
		}
		where = tree
	}
	x.searched = r
	late := false // a calculated field is compared after it is calculated
	plain := renameSearch(where, func(name string) string {
		late = late || calculated[names[name]]
		return names[name]
	})
	want := &fieldSet{}
	list := slices.Clone(c.list)
	for i := range list {
		if list[i].field != "" {
			list[i].field = names[list[i].field]
		}
		list[i].reads(want)
	}
	by := make([]string, len(c.by))
	for i, f := range c.by {
		by[i] = names[f]
	}
	want.add(by...)
	early := plain
	if late {
		searchFields(plain, want)
		early = searchAll{}
	}
	var in *flow
	if c.model != nil {
		in, err = x.datasetRows(*c.model, chain, early, r, want)
	} else {
		in, err = x.events(nil, early, nil, r, want)
	}
	if err != nil {
		return nil, err
	}
	if late {
		test, err := (&compiler{sc: in.sc, env: x.env}).searchTest(plain)
		if err != nil {
			return nil, err
		}
		in = x.filterMap(in, func(r *Row) (bool, error) { return test(*r), nil })
	}
	compiled, err := x.compileAggregates(list, in.sc)
	if err != nil {
		return nil, err
	}
	slots := slotsOf(in.sc, by)
	if c.span != nil {
		// The bucket stands beside _time, which aggregations still read.
		bucket := in.sc.declare("bucket of _time")
		timeSlot := in.sc.slot("_time")
		for i, f := range by {
			if f == "_time" {
				slots[i] = bucket
			}
		}
		in = x.filterMap(in, func(r *Row) (bool, error) {
			if f, ok := r.get(timeSlot).Float(); ok {
				r.set(bucket, number(c.span.floor(f, x.env)))
			}
			return true, nil
		})
	}
	if c.fill != "" {
		in = x.filterMap(in, func(r *Row) (bool, error) {
			for _, s := range slots {
				if r.get(s).kind == kindNull {
					r.set(s, dataText(c.fill))
				}
			}
			return true, nil
		})
	}
	g := x.newGroups("tstats", compiled, slots)
	if err := g.drain(in); err != nil {
		return nil, err
	}
	if len(by) == 0 && len(g.order) == 0 {
		if _, err := g.at(nil, func() []Value { return nil }); err != nil {
			return nil, err
		}
	}
	sc := newSchema(c.by...)
	for _, a := range c.list {
		sc.declare(a.as)
	}
	return g.rows(sc), nil
}

// renameSearch is a search expression with other field names.
func renameSearch(e searchExpr, name func(string) string) searchExpr {
	switch n := e.(type) {
	case searchAnd:
		out := make(searchAnd, len(n))
		for i, a := range n {
			out[i] = renameSearch(a, name)
		}
		return out
	case searchOr:
		out := make(searchOr, len(n))
		for i, a := range n {
			out[i] = renameSearch(a, name)
		}
		return out
	case searchNot:
		return searchNot{renameSearch(n.arg, name)}
	case *searchField:
		f := *n
		f.name = name(n.name)
		return &f
	}
	return e
}
