package spl

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// search

type searchCommand struct {
	place
	expr searchExpr
}

func parseSearch(p *parser, at place) (command, error) {
	return parseSearchArgs(p, at)
}

func parseSearchArgs(p *parser, at place) (command, error) {
	e, err := p.searchExpression()
	if err != nil {
		return nil, err
	}
	if p.peek() == ')' && !p.eof() {
		return nil, p.refuse(p.pos, "a ) without its (")
	}
	return &searchCommand{at, e}, nil
}

func (c *searchCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	searchFields(c.expr, in)
	return in
}

func (c *searchCommand) check(x *execution) error {
	var err error
	walkSearch(c.expr, func(n searchExpr) {
		if s, ok := n.(*searchSub); ok && err == nil {
			err = x.check(s.sub.commands)
		}
		if f, ok := n.(*searchField); ok && f.from != nil && err == nil {
			err = x.check(f.from.commands)
		}
	})
	if err == nil {
		err = x.evenBranches(c.expr)
	}
	return err
}

func (c *searchCommand) open(x *execution, in *flow) (*flow, error) {
	tree, _, err := x.resolve(c.expr)
	if err != nil {
		return nil, err
	}
	test, err := (&compiler{sc: in.sc, env: x.env}).searchTest(tree)
	if err != nil {
		return nil, err
	}
	return x.filterMap(in, func(r *Row) (bool, error) { return test(*r), nil }), nil
}

// where

type whereCommand struct {
	place
	cond expr
}

func parseWhere(p *parser, at place) (command, error) {
	e, err := p.expression()
	return &whereCommand{at, e}, err
}

func (c *whereCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	fieldsOf(c.cond, in)
	return in
}

func (c *whereCommand) check(x *execution) error {
	if err := x.checkBrackets(c.cond); err != nil {
		return err
	}
	if containsBracket(c.cond) {
		return nil
	}
	_, err := (&compiler{sc: newSchema(), env: x.env}).condition(c.cond, "where")
	return err
}

func containsBracket(e expr) bool {
	found := false
	walkExpr(e, func(n expr) {
		if _, ok := n.(*bracket); ok {
			found = true
		}
	})
	return found
}

func (x *execution) checkBrackets(e expr) error {
	var err error
	walkExpr(e, func(n expr) {
		if b, ok := n.(*bracket); ok && err == nil {
			err = x.check(b.sub.commands)
		}
	})
	return err
}

func (c *whereCommand) open(x *execution, in *flow) (*flow, error) {
	fn, err := (&compiler{sc: in.sc, env: x.env}).condition(c.cond, "where")
	if err != nil {
		return nil, err
	}
	return x.filterMap(in, func(r *Row) (bool, error) { return fn(*r).isTrue(), nil }), nil
}

// regex

type regexCommand struct {
	place
	field  string
	negate bool
	re     *regexp.Regexp
}

func parseRegex(p *parser, at place) (command, error) {
	c := &regexCommand{place: at, field: "_raw"}
	p.space()
	if p.peek() != '"' {
		f, err := p.regexField()
		if err != nil {
			return nil, err
		}
		c.field = f
		switch {
		case p.accept('='):
		case p.accept('!'):
			if !p.accept('=') {
				return nil, p.refuse(p.pos, "regex: != is expected here")
			}
			c.negate = true
		default:
			return nil, p.refuse(p.pos, "regex takes \"expression\", field=\"expression\" or field!=\"expression\"%s", p.found())
		}
	}
	p.space()
	reAt := p.pos
	if p.peek() != '"' {
		return nil, p.refuse(reAt, "regex: the expression stands in double quotes%s", p.found())
	}
	s, err := p.quoted()
	if err != nil {
		return nil, err
	}
	if c.re, err = compileRegexp(s); err != nil {
		return nil, p.refuse(reAt, "regex: %s", err)
	}
	return c, nil
}

func (p *parser) regexField() (string, error) {
	at := p.pos
	if p.peek() == '\'' {
		return p.quoted()
	}
	name := p.bare(`|],()="'[!`)
	if name == "" || strings.Contains(name, "*") {
		return "", p.refuse(at, "regex: a field's name is expected here%s", p.found())
	}
	return name, nil
}

func (c *regexCommand) need(out *fieldSet) *fieldSet {
	return out.with(c.field)
}

func (c *regexCommand) open(x *execution, in *flow) (*flow, error) {
	slot := in.sc.slot(c.field)
	return x.filterMap(in, func(r *Row) (bool, error) {
		matched := false
		for _, v := range r.get(slot).values() {
			matched = matched || c.re.MatchString(v.String())
		}
		// "field!=" keeps what does not match, which a missing field does not.
		return matched != c.negate, nil
	}), nil
}

// head, tail, reverse

type headCommand struct {
	place
	n              int
	cond           expr
	keepLast, null bool
}

func parseHead(p *parser, at place) (command, error) {
	c := &headCommand{place: at, n: 10}
	counted := false
	number := func(n int, numberAt int) error {
		if counted {
			return p.refuse(numberAt, "head: a number and limit= exclude each other")
		}
		c.n, counted = n, true
		return nil
	}
	for !p.done() {
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			switch o.key {
			case "limit":
				var n int
				if n, err = p.intOption("head", o, 0); err == nil {
					err = number(n, o.pos)
				}
			case "null":
				c.null, err = p.boolOption("head", o)
			case "keeplast":
				c.keepLast, err = p.boolOption("head", o)
			default:
				return nil, p.unknownOption("head", o, "limit", "null", "keeplast")
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		numberAt := p.pos
		if b := p.peek(); b-'0' > 9 && b != '-' {
			if c.cond != nil {
				return nil, p.refuse(numberAt, "head: one condition is expected%s", p.found())
			}
			if c.cond, err = p.expression(); err != nil {
				return nil, err
			}
			continue
		}
		n, err := p.count("head")
		if err == nil {
			err = number(n, numberAt)
		}
		if err != nil {
			return nil, err
		}
	}
	if c.cond != nil && !counted {
		c.n = math.MaxInt
	}
	return c, nil
}

// count takes a whole number.
func (p *parser) count(cmd string) (int, error) {
	p.space()
	at := p.pos
	word := p.bare("|],()=")
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 {
		p.pos = at
		return 0, p.refuse(at, "%s: a number is expected here%s", cmd, p.found())
	}
	return n, nil
}

func (c *headCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	fieldsOf(c.cond, in)
	return in
}

func (c *headCommand) check(x *execution) error {
	if c.cond == nil {
		return nil
	}
	_, err := (&compiler{sc: newSchema(), env: x.env}).condition(c.cond, "head")
	return err
}

func (c *headCommand) open(x *execution, in *flow) (*flow, error) {
	var cond evalFn
	if c.cond != nil {
		var err error
		if cond, err = (&compiler{sc: in.sc, env: x.env}).condition(c.cond, "head"); err != nil {
			return nil, err
		}
	}
	left := c.n
	return &flow{in.sc, func() ([]Row, error) {
		if left <= 0 {
			return nil, nil
		}
		rows, err := in.next()
		if err != nil || rows == nil {
			return nil, err
		}
		for i, r := range rows {
			if cond != nil {
				v := cond(r)
				if err := x.env.takeFailure(); err != nil {
					return nil, err
				}
				if !v.isTrue() && !(v.kind == kindNull && c.null) {
					left = 0
					if c.keepLast {
						i++
					}
					return rows[:i], nil
				}
			}
			if left--; left == 0 {
				return rows[:i+1], nil
			}
		}
		return rows, nil
	}}, nil
}

type tailCommand struct {
	place
	n int // math.MaxInt: reverse
}

func parseTail(p *parser, at place) (command, error) {
	c := &tailCommand{at, 10}
	if !p.done() {
		n, err := p.count("tail")
		if err != nil {
			return nil, err
		}
		c.n = n
	}
	return c, nil
}

func parseReverse(_ *parser, at place) (command, error) {
	return &tailCommand{at, math.MaxInt}, nil
}

func (c *tailCommand) need(out *fieldSet) *fieldSet { return out }

func (c *tailCommand) open(x *execution, in *flow) (*flow, error) {
	rows, err := x.collect(in, c.name)
	if err != nil {
		return nil, err
	}
	if len(rows) > c.n {
		rows = rows[len(rows)-c.n:]
	}
	// The last rows come in reverse order, "starting at the end of the results".
	for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
		rows[i], rows[j] = rows[j], rows[i]
	}
	return flowOf(in.sc, rows), nil
}

// dedup

type dedupCommand struct {
	place
	n                                  int
	fields                             []string
	keepEvents, keepEmpty, consecutive bool
	sortBy                             []sortKey
}

func parseDedup(p *parser, at place) (command, error) {
	c := &dedupCommand{place: at, n: 1}
	p.space()
	if c0 := p.peek(); c0-'0' <= 9 && !p.eof() {
		nAt := p.pos
		n, err := p.count("dedup")
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, p.refuse(nAt, "dedup: the number of events to keep is from 1")
		}
		c.n = n
	}
	for !p.done() {
		p.accept(',')
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			switch o.key {
			case "keepevents":
				c.keepEvents, err = p.boolOption("dedup", o)
			case "keepempty":
				c.keepEmpty, err = p.boolOption("dedup", o)
			case "consecutive":
				c.consecutive, err = p.boolOption("dedup", o)
			default:
				return nil, p.unknownOption("dedup", o, "keepevents", "keepempty", "consecutive")
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if p.acceptWord("sortby") {
			if c.sortBy, err = p.sortKeys("dedup: sortby"); err != nil {
				return nil, err
			}
			break
		}
		f, err := p.plainField("dedup")
		if err != nil {
			return nil, err
		}
		c.fields = append(c.fields, f)
	}
	if len(c.fields) == 0 {
		return nil, p.refuse(p.pos, "dedup needs at least one field")
	}
	return c, nil
}

func (c *dedupCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	in.add(c.fields...)
	for _, k := range c.sortBy {
		in.add(k.field)
	}
	return in
}

func (c *dedupCommand) open(x *execution, in *flow) (*flow, error) {
	slots := slotsOf(in.sc, c.fields)
	if len(c.sortBy) > 0 {
		// The order decides which of the duplicates is the first.
		rows, err := x.collect(in, "dedup")
		if err != nil {
			return nil, err
		}
		sortRows(rows, c.sortBy, in.sc)
		in = flowOf(in.sc, rows)
	}
	var seen dictionary
	var times []int // each combination was seen
	last, run := "", 0
	var buf []byte
	return x.filterMap(in, func(r *Row) (bool, error) {
		buf = buf[:0]
		for _, s := range slots {
			v := r.get(s)
			if v.kind == kindNull {
				return c.keepEmpty, nil
			}
			buf = v.appendKey(buf)
		}
		n := 0
		if c.consecutive {
			if string(buf) != last {
				last, run = string(buf), 0
			}
			run++
			n = run
		} else {
			code, isNew := seen.intern(entryText, buf)
			if code == 0 || seen.len() > x.limits.Groups {
				return false, x.refuse(c.pos, "dedup holds more than %d combinations (limit Groups)", x.limits.Groups)
			}
			if isNew {
				times = append(times, 0)
			}
			times[code-1]++
			n = times[code-1]
		}
		if n <= c.n {
			return true, nil
		}
		if c.keepEvents { // the event stays, without the fields
			for _, s := range slots {
				r.set(s, null)
			}
			return true, nil
		}
		return false, nil
	}), nil
}

// sort

type sortKey struct {
	field      string
	as         string // auto, ip, num, str
	descending bool
}

type sortCommand struct {
	place
	limit    int  // 0: no limit
	explicit bool // the limit was written
	keys     []sortKey
}

func parseSort(p *parser, at place) (command, error) {
	c := &sortCommand{place: at, limit: sortLimit}
	p.space()
	if o, ok, err := p.option(); err != nil {
		return nil, err
	} else if ok {
		if o.key != "limit" {
			return nil, p.unknownOption("sort", o, "limit")
		}
		if c.limit, err = p.intOption("sort", o, 0); err != nil {
			return nil, err
		}
		c.explicit = true
	} else {
		save := p.pos
		word := p.bare("|],()=")
		if n, err := strconv.Atoi(word); err == nil && n >= 0 && word[0] != '+' && word[0] != '-' {
			c.limit, c.explicit = n, true
		} else {
			p.pos = save
		}
	}
	keys, err := p.sortKeys("sort")
	if err != nil {
		return nil, err
	}
	c.keys = keys
	if n := len(keys); n > 1 && keys[n-1].as == "auto" && (keys[n-1].field == "d" || keys[n-1].field == "desc") && !keys[n-1].descending {
		// A d or desc at the end turns the order of every field around.
		c.keys = keys[:n-1]
		for i := range c.keys {
			c.keys[i].descending = !c.keys[i].descending
		}
	}
	return c, nil
}

func (p *parser) sortKeys(cmd string) ([]sortKey, error) {
	var keys []sortKey
	for {
		p.accept(',')
		if p.done() {
			break
		}
		k := sortKey{as: "auto"}
		if p.accept('-') {
			k.descending = true
		} else {
			p.accept('+')
		}
		p.space()
		at := p.pos
		word := p.peekWord()
		if next := p.pos + len(word); word != "" && next < len(p.text) && p.text[next] == '(' {
			if k.as = strings.ToLower(word); k.as != "auto" && k.as != "ip" && k.as != "num" && k.as != "str" {
				return nil, p.refuse(at, "%s: unknown order %q; known are auto, ip, num, str", cmd, word)
			}
			p.pos = next + 1
			f, err := p.plainField(cmd)
			if err != nil {
				return nil, err
			}
			if !p.accept(')') {
				return nil, p.refuse(at, "unclosed parenthesis: %s( has no closing )", word)
			}
			k.field = f
		} else {
			f, err := p.plainField(cmd)
			if err != nil {
				return nil, err
			}
			k.field = f
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, p.refuse(p.pos, "%s needs at least one field", cmd)
	}
	return keys, nil
}

func (c *sortCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	for _, k := range c.keys {
		in.add(k.field)
	}
	return in
}

func (c *sortCommand) open(x *execution, in *flow) (*flow, error) {
	rows, err := x.collect(in, "sort")
	if err != nil {
		return nil, err
	}
	sortRows(rows, c.keys, in.sc)
	if c.limit > 0 && len(rows) > c.limit {
		if !c.explicit {
			x.warn("sort cut %d rows to %d: write sort 0 for all", len(rows), c.limit)
		}
		rows = rows[:c.limit]
	}
	return flowOf(in.sc, rows), nil
}

// sortRows sorts stably. A missing value comes last in either direction.
func sortRows(rows []Row, keys []sortKey, sc *schema) {
	places, by := make([]int, len(rows)), make([]ordered, len(rows)*len(keys))
	for k, key := range keys {
		slot := sc.slot(key.field)
		for i, r := range rows {
			by[i*len(keys)+k] = orderedAs(r.get(slot), key.as)
		}
	}
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int {
		for k := range keys {
			x, y := &by[a*len(keys)+k], &by[b*len(keys)+k]
			if x.missing || y.missing {
				if x.missing != y.missing {
					if x.missing {
						return 1
					}
					return -1
				}
				continue
			}
			if c := x.compare(y, keys[k].as); c != 0 {
				if keys[k].descending {
					return -c
				}
				return c
			}
		}
		return 0
	})
	was := slices.Clone(rows)
	for i, place := range places {
		rows[i] = was[place]
	}
}

// ordered is a value with what its order takes, found out once.
type ordered struct {
	text     string
	number   float64
	address  *netip.Addr // nil: it is none
	isNumber bool
	missing  bool
}

func orderedAs(v Value, as string) (o ordered) {
	if v.kind == kindMulti {
		v = (*v.list)[0]
	}
	if o.missing = v.kind == kindNull; o.missing {
		return o
	}
	if as == "auto" || as == "num" {
		o.number, o.isNumber = v.Float()
	}
	if as != "num" {
		o.text = v.String()
	}
	if as != "num" && as != "str" && !o.isNumber { // no number is an address
		if address, err := netip.ParseAddr(o.text); err == nil {
			o.address = &address
		}
	}
	return o
}

// compare orders a pair of values. In auto the order is chosen for each pair
// (Search Reference, "sort"): numbers by size, addresses as addresses,
// everything else lexicographically, by UTF-8 bytes.
func (o *ordered) compare(other *ordered, as string) int {
	switch {
	case o.isNumber && other.isNumber:
		return ascending(o.number, other.number)
	case as == "num" && o.isNumber:
		return -1
	case as == "num" && other.isNumber:
		return 1
	case o.address != nil && other.address != nil:
		return o.address.Compare(*other.address)
	}
	return strings.Compare(o.text, other.text)
}
