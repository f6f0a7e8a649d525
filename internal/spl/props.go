package spl

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Props are the search-time fields of sourcetypes, from props.conf, in Splunk's
// order: FIELDALIAS, then EVAL, then LOOKUP (Knowledge Manager Manual, "The
// sequence of search-time operations"). Aliases and evals are computed when an
// event is stored, lookups when a search reads them, because tables change.
type Props struct {
	bySourcetype map[string]*sourcetypeProps
}

type sourcetypeProps struct {
	aliases []alias
	evals   []calculated
	lookups []*lookupCommand
}

type alias struct {
	from, to string
	onlyNew  bool
}

// calculated is one EVAL-field. What it gives is kept for each combination of
// the codes of what it reads.
type calculated struct {
	field    string
	reads    []string
	expr     expr
	env      *evalEnv
	volatile bool // reads what differs from event to event: nothing is kept

	fn    evalFn
	known map[string]uint32
}

// bind makes props of a store's own: what they keep are that store's codes.
func (p *Props) bind() *Props {
	if p == nil {
		return nil
	}
	own := &Props{bySourcetype: map[string]*sourcetypeProps{}}
	for name, st := range p.bySourcetype {
		mine := *st
		mine.evals = slices.Clone(st.evals)
		for i := range mine.evals {
			e := &mine.evals[i]
			env := *e.env
			e.env, e.known = &env, map[string]uint32{}
			// It was compiled once already, when the props were read.
			e.fn, _, _ = (&compiler{sc: newSchema(e.reads...), env: e.env}).compile(e.expr)
		}
		own.bySourcetype[name] = &mine
	}
	return own
}

// ignoredProps are settings that do not concern search time, or that say what
// this evaluator does anyway.
var ignoredProps = []string{
	"KV_MODE", "AUTO_KV_JSON", "INDEXED_EXTRACTIONS", "SHOULD_LINEMERGE", "LINE_BREAKER", "TRUNCATE", "TIME_PREFIX", "TIME_FORMAT",
	"TZ", "MAX_TIMESTAMP_LOOKAHEAD", "MAX_DAYS_AGO", "MAX_DAYS_HENCE", "DATETIME_CONFIG", "CHARSET", "ANNOTATE_PUNCT", "EVENT_BREAKER", "EVENT_BREAKER_ENABLE",
	"category", "description", "pulldown_type", "disabled", "TIMESTAMP_FIELDS", "NO_BINARY_CHECK", "ADD_EXTRA_TIME_FIELDS",
}

// NewProps reads props.conf. It refuses what it does not know.
func NewProps(conf Conf, loc *time.Location) (*Props, error) {
	if loc == nil {
		loc = time.UTC
	}
	p := &Props{bySourcetype: map[string]*sourcetypeProps{}}
	for _, stanza := range sortedKeys(conf) {
		if strings.Contains(stanza, "::") || strings.Contains(stanza, "*") || stanza == "default" {
			return nil, fmt.Errorf("props.conf [%s]: only stanzas of a sourcetype are known", stanza)
		}
		st := &sourcetypeProps{}
		for _, key := range sortedKeys(conf[stanza]) {
			if err := st.setting(key, conf[stanza][key], loc); err != nil {
				return nil, fmt.Errorf("props.conf [%s] %s: %w", stanza, key, err)
			}
		}
		p.bySourcetype[stanza] = st
	}
	return p, nil
}

func (st *sourcetypeProps) setting(key, value string, loc *time.Location) error {
	parser := newParser(&source{typed: value, expanded: value, segments: []segment{{0, 0, ""}}})
	switch class, name, _ := strings.Cut(key, "-"); class {
	case "FIELDALIAS":
		for !parser.done() {
			from, err := parser.plainField("FIELDALIAS")
			if err != nil {
				return err
			}
			a := alias{from: from}
			if parser.acceptWord("ASNEW") {
				a.onlyNew = true
			} else if !parser.acceptWord("AS") {
				return parser.refuse(parser.pos, "%s is followed by AS or ASNEW", from)
			}
			if a.to, err = parser.plainField("FIELDALIAS"); err != nil {
				return err
			}
			st.aliases = append(st.aliases, a)
		}
	case "EVAL":
		e, err := parser.wholeExpression()
		if err != nil {
			return err
		}
		set := &fieldSet{}
		fieldsOf(e, set)
		c := calculated{field: name, reads: set.sorted(), expr: e}
		walkExpr(e, func(n expr) {
			if f, ok := n.(*call); ok && slices.Contains([]string{"now", "time", "random", "searchmatch"}, f.name) {
				err = fmt.Errorf("%s() in a calculated field is not known here", f.name)
			}
		})
		if err != nil {
			return err
		}
		c.env = &evalEnv{loc: loc, src: parser.src}
		if _, _, err = (&compiler{sc: newSchema(c.reads...), env: c.env}).assignable(e, key); err != nil {
			return err
		}
		c.volatile = slices.Contains(c.reads, "_time") || slices.Contains(c.reads, "_raw") || slices.Contains(c.reads, "_indextime")
		st.evals = append(st.evals, c)
	case "LOOKUP":
		c := &lookupCommand{place: place{"lookup", 0}}
		if err := c.parse(parser); err != nil {
			return err
		}
		if err := parser.end("LOOKUP"); err != nil {
			return err
		}
		if c.all {
			return fmt.Errorf("an automatic lookup names its fields with OUTPUT or OUTPUTNEW here")
		}
		st.lookups = append(st.lookups, c)
	default:
		if !slices.Contains(ignoredProps, key) {
			return fmt.Errorf("this setting is not known; known are FIELDALIAS-, EVAL-, LOOKUP- and what concerns indexing")
		}
	}
	return nil
}

// apply computes the aliases and calculated fields of a stored event.
func (p *Props) apply(s *Store, id uint32) {
	if p == nil {
		return
	}
	c, ok := s.columns["sourcetype"]
	if !ok {
		return
	}
	st, ok := p.bySourcetype[c.value(id).str]
	if !ok {
		return
	}
	for i := range st.aliases {
		a := &st.aliases[i]
		from, ok := s.columns[a.from]
		if !ok {
			continue
		}
		code := from.code(id)
		if code == 0 {
			continue
		}
		to := s.column(a.to)
		if a.onlyNew && to.code(id) != 0 {
			continue
		}
		copied, _ := to.dict.intern(from.dict.entry(code))
		to.set(id, copied)
	}
	// Calculated fields do not see each other: all are computed from what the
	// event had, then all are set.
	type outcome struct {
		column *column
		code   uint32
	}
	var done [32]outcome
	outcomes := done[:0]
	for i := range st.evals {
		e := &st.evals[i]
		to := s.column(e.field)
		key := s.scratch[:0]
		if !e.volatile {
			for _, r := range e.reads {
				code := uint32(0)
				if c, ok := s.columns[r]; ok {
					code = c.code(id)
				}
				key = append(key, byte(code), byte(code>>8), byte(code>>16), byte(code>>24))
			}
			s.scratch = key
			if code, ok := e.known[string(key)]; ok {
				outcomes = append(outcomes, outcome{to, code})
				continue
			}
		}
		known := string(key)
		row := make(Row, len(e.reads))
		for j, r := range e.reads {
			switch c, ok := s.columns[r]; {
			case r == "_time" || r == "_indextime" || r == "_raw":
				row[j] = s.meta(r[1], id)
			case ok:
				row[j] = c.value(id)
			}
		}
		v := e.fn(row)
		e.env.failed = nil // an expression that can't be evaluated gives no field
		code := s.internValue(to, v)
		if !e.volatile && len(e.known) < 100_000 {
			e.known[known] = code
		}
		outcomes = append(outcomes, outcome{to, code})
	}
	for _, o := range outcomes {
		o.column.set(id, o.code)
	}
}

// autoLookups are the automatic lookups of which a search reads a field.
type autoLookups struct {
	bySourcetype map[string][]*lookupCommand
}

// lookupsFor returns nil where a search needs no automatic lookup.
func (p *Props) lookupsFor(filter searchExpr, conditions []expr, want *fieldSet) *autoLookups {
	if p == nil {
		return nil
	}
	read := want.clone()
	searchFields(filter, read)
	for _, e := range conditions {
		fieldsOf(e, read)
	}
	found := &autoLookups{map[string][]*lookupCommand{}}
	for name, st := range p.bySourcetype {
		for _, l := range st.lookups {
			if slices.ContainsFunc(l.outputs, func(o fieldPair) bool { return read.has(o.event) }) {
				found.bySourcetype[name] = append(found.bySourcetype[name], l)
			}
		}
	}
	if len(found.bySourcetype) == 0 {
		return nil
	}
	return found
}

func (a *autoLookups) need(want *fieldSet) {
	want.add("sourcetype")
	for _, ls := range a.bySourcetype {
		for _, l := range ls {
			for _, in := range l.inputs {
				want.add(in.event)
			}
		}
	}
}

// open runs each sourcetype's lookups on its events.
func (a *autoLookups) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot("sourcetype")
	type runner struct {
		feed []Row
		flow *flow
	}
	runners := map[string]*runner{}
	for name, ls := range a.bySourcetype {
		r := &runner{}
		f := &flow{in.sc, func() ([]Row, error) {
			rows := r.feed
			r.feed = nil
			return rows, nil
		}}
		var err error
		for _, l := range ls {
			if f, err = l.open(x, f); err != nil {
				return nil, err
			}
		}
		r.flow = f
		runners[name] = r
	}
	return x.filterMap(in, func(r *Row) (bool, error) {
		if run, ok := runners[r.get(slot).String()]; ok {
			run.feed = []Row{*r}
			out, err := run.flow.next()
			if err != nil {
				return false, err
			}
			*r = out[0]
		}
		return true, nil
	}), nil
}
