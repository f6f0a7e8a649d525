package spl

import (
	"net/netip"
	"strings"
)

// pages of the Search Reference on which functions are described.
const (
	pageComparison  = "Comparison and Conditional functions"
	pageConversion  = "Conversion functions"
	pageCrypto      = "Cryptographic functions"
	pageDate        = "Date and Time functions"
	pageInformation = "Informational functions"
	pageJSON        = "JSON functions"
	pageMath        = "Mathematical functions"
	pageMultivalue  = "Multivalue eval functions"
	pageText        = "Text functions"
	pageStatEval    = "Statistical eval functions"
)

func conditionFunctions(m map[string]*evalFunction) {
	m["if"] = &evalFunction{least: 3, most: 3, build: buildIf, page: pageComparison}
	m["case"] = &evalFunction{least: 2, most: -1, pairs: true, build: buildCase, page: pageComparison}
	m["validate"] = &evalFunction{least: 2, most: -1, pairs: true, build: buildCase, page: pageComparison}
	m["coalesce"] = &evalFunction{
		least: 1, most: -1, args: "a", many: true, nulls: true, page: pageComparison,
		run: func(_ *evalEnv, _ *call, a []Value) Value {
			for _, v := range a {
				if v.kind != kindNull {
					return v
				}
			}
			return null
		},
	}
	m["nullif"] = &evalFunction{
		least: 2, most: 2, args: "a", nulls: true, page: pageComparison,
		run: func(_ *evalEnv, _ *call, a []Value) Value {
			if a[0].kind != kindNull && a[1].kind != kindNull && compare(a[0], a[1]) == 0 {
				return null
			}
			return a[0]
		},
	}
	m["null"] = &evalFunction{page: pageComparison, build: func(*compiler, *call) (evalFn, staticType, error) {
		return func(Row) Value { return null }, typeNull, nil
	}}
	for name, b := range map[string]bool{"true": true, "false": false} {
		v := boolean(b)
		m[name] = &evalFunction{page: pageComparison, build: func(*compiler, *call) (evalFn, staticType, error) {
			return func(Row) Value { return v }, typeBool, nil
		}}
	}
	m["in"] = &evalFunction{
		least: 2, most: -1, args: "a", many: true, nulls: true, result: typeBool, page: pageComparison,
		run: func(env *evalEnv, _ *call, a []Value) Value {
			if a[0].kind == kindNull {
				return null
			}
			for _, v := range a[1:] {
				if v.kind != kindNull && env.anyEqual(a[0], v) {
					return boolean(true)
				}
			}
			return boolean(false)
		},
	}
	m["like"] = &evalFunction{
		least: 2, most: 2, args: "s", many: true, result: typeBool, page: pageComparison,
		run: func(env *evalEnv, at *call, a []Value) Value {
			if a[1].kind == kindMulti {
				return env.fail(at.pos, "like was given a pattern with several values")
			}
			return anyValue(a[0], func(s string) bool { return likeMatch(s, a[1].String()) })
		},
	}
	m["match"] = &evalFunction{least: 2, most: 2, page: pageComparison, build: buildMatch}
	m["cidrmatch"] = &evalFunction{
		least: 2, most: 2, args: "s", many: true, result: typeBool, page: pageComparison,
		verify: func(c *compiler, at *call) error {
			if s, ok := literalText(at.args[0]); ok {
				if _, err := parseCIDR(s); err != nil {
					return c.refuse(at.args[0].at(), "cidrmatch: %q is no network in CIDR form like 10.0.0.0/8", s)
				}
			}
			return nil
		},
		run: func(env *evalEnv, at *call, a []Value) Value {
			p, err := parseCIDR(a[0].String())
			if err != nil {
				return null
			}
			return anyValue(a[1], func(s string) bool { return cidrContains(p, s) })
		},
	}
	m["searchmatch"] = &evalFunction{least: 1, most: 1, page: pageComparison, build: buildSearchMatch}

	type test struct {
		name        string
		many, nulls bool
		run         func(v Value) bool
	}
	for _, t := range []test{
		{"isnull", true, true, func(v Value) bool { return v.kind == kindNull }},
		{"isnotnull", true, true, func(v Value) bool { return v.kind != kindNull }},
		{"isnum", false, true, Value.isNumber},
		{"isstr", false, true, func(v Value) bool { return v.kind == kindText && !v.isNumber() }},
		{"isint", false, true, func(v Value) bool {
			f, ok := v.Float()
			return ok && v.isNumber() && f == float64(int64(f))
		}},
	} {
		m[t.name] = &evalFunction{
			least: 1, most: 1, args: "x", many: t.many, nulls: t.nulls, result: typeBool, page: pageInformation,
			run: func(_ *evalEnv, _ *call, a []Value) Value { return boolean(t.run(a[0])) },
		}
	}
	m["typeof"] = &evalFunction{
		least: 1, most: 1, args: "x", nulls: true, result: typeText, page: pageInformation,
		run: func(_ *evalEnv, _ *call, a []Value) Value {
			switch {
			case a[0].kind == kindNull:
				return text("Invalid")
			case a[0].kind == kindBool:
				return text("Boolean")
			case a[0].isNumber():
				return text("Number")
			}
			return text("String")
		},
	}
}

// anyValue tests a field: of several values one is enough.
func anyValue(v Value, test func(string) bool) Value {
	if v.kind != kindMulti {
		return boolean(test(v.String()))
	}
	for _, one := range *v.list {
		if test(one.String()) {
			return boolean(true)
		}
	}
	return boolean(false)
}

// branches compiles values of which one is chosen; a boolean among them makes
// a boolean of the whole, and then all of them must be.
func (c *compiler) branches(name string, es []expr) ([]evalFn, staticType, error) {
	fns := make([]evalFn, len(es))
	result := typeNull
	for i, e := range es {
		fn, t, err := c.compile(e)
		if err != nil {
			return nil, typeAny, err
		}
		switch {
		case result == typeNull || result == t:
			result = t
		case t == typeNull:
		case t == typeBool || result == typeBool:
			return nil, typeAny, c.refuse(e.at(), "%s: its values are booleans or they are not, a mix is not known", name)
		default:
			result = typeAny
		}
		fns[i] = fn
	}
	if result == typeNull {
		result = typeAny
	}
	return fns, result, nil
}

func buildIf(c *compiler, at *call) (evalFn, staticType, error) {
	cond, err := c.condition(at.args[0], "if")
	if err != nil {
		return nil, typeAny, err
	}
	fns, t, err := c.branches("if", at.args[1:])
	if err != nil {
		return nil, typeAny, err
	}
	yes, no := fns[0], fns[1]
	return func(r Row) Value {
		if cond(r).isTrue() {
			return yes(r)
		}
		return no(r)
	}, t, nil
}

// buildCase is case (the value of the first condition that is true) and
// validate (of the first that is false).
func buildCase(c *compiler, at *call) (evalFn, staticType, error) {
	var conds []evalFn
	var values []expr
	for i := 0; i < len(at.args); i += 2 {
		cond, err := c.condition(at.args[i], at.name)
		if err != nil {
			return nil, typeAny, err
		}
		conds = append(conds, cond)
		values = append(values, at.args[i+1])
	}
	fns, t, err := c.branches(at.name, values)
	if err != nil {
		return nil, typeAny, err
	}
	wanted := at.name == "case"
	return func(r Row) Value {
		for i, cond := range conds {
			if v := cond(r); v.kind == kindBool && v.isTrue() == wanted {
				return fns[i](r)
			}
		}
		return null
	}, t, nil
}

func buildMatch(c *compiler, at *call) (evalFn, staticType, error) {
	subject, _, err := c.textOperand(at, 0)
	if err != nil {
		return nil, typeBool, err
	}
	pattern, _, err := c.textOperand(at, 1)
	if err != nil {
		return nil, typeBool, err
	}
	known := regexps{}
	if s, ok := literalText(at.args[1]); ok {
		if _, err := known.get(s); err != nil {
			return nil, typeBool, c.refuse(at.args[1].at(), "match: %s", err)
		}
	}
	env := c.env
	return func(r Row) Value {
		v, p := subject(r), pattern(r)
		if v.kind == kindNull || p.kind == kindNull {
			return null
		}
		re, err := known.get(p.String())
		if err != nil {
			return env.fail(at.pos, "match: %s", err)
		}
		return anyValue(v, re.MatchString)
	}, typeBool, nil
}

// textOperand compiles argument i, which may be anything but a boolean.
func (c *compiler) textOperand(at *call, i int) (evalFn, staticType, error) {
	fn, t, err := c.compile(at.args[i])
	if err == nil && t == typeBool {
		err = c.refuse(at.args[i].at(), "%s: argument %d can't be a boolean", at.name, i+1)
	}
	return fn, t, err
}

func buildSearchMatch(c *compiler, at *call) (evalFn, staticType, error) {
	s, ok := literalText(at.args[0])
	if !ok {
		return nil, typeBool, c.refuse(at.pos, "searchmatch takes a search in quotes, like searchmatch(\"user=a*\")")
	}
	p := newParser(&source{typed: s, expanded: s, segments: []segment{{0, 0, ""}}})
	if c.env.src != nil {
		p.src, p.fixed = c.env.src, at.args[0].at()
	}
	e, err := p.searchExpression()
	if err != nil {
		return nil, typeBool, err
	}
	if !p.eof() {
		return nil, typeBool, c.refuse(at.args[0].at(), "searchmatch: this is no search expression%s", p.found())
	}
	test, err := c.searchTest(e)
	if err != nil {
		return nil, typeBool, err
	}
	return func(r Row) Value { return boolean(test(r)) }, typeBool, nil
}

// searchTest compiles a search expression for rows.
func (c *compiler) searchTest(e searchExpr) (func(Row) bool, error) {
	if test, ok, err := joined(e, c.searchTest); ok {
		return test, err
	}
	switch n := e.(type) {
	case *searchField:
		if n.from != nil {
			if c.env.bracket == nil {
				return func(Row) bool { return false }, nil // checked when it runs
			}
			s, err := c.env.bracket(n.from)
			if err != nil {
				return nil, err
			}
			p := n.parser.within(s, 0)
			p.fixed = n.from.pos
			plain, err := p.returnedValue(n)
			if err != nil {
				return nil, err
			}
			return c.searchTest(plain)
		}
		slot, test := c.sc.slot(n.name), n.matcher()
		return func(r Row) bool { return test(r.get(slot)) }, nil
	case *searchText:
		slot, test := c.sc.slot("_raw"), textMatcher(n.text)
		return func(r Row) bool { return test(r.get(slot).String()) }, nil
	case *searchTime:
		m, err := parseTimeModifier(n.value)
		if err != nil {
			return nil, c.refuse(n.pos, "%s: %s", n.name, err)
		}
		limit := m.resolve(c.env.now, c.env.loc)
		field := "_time"
		if strings.HasPrefix(n.name, "_index") {
			field = "_indextime"
		}
		slot := c.sc.slot(field)
		if strings.HasSuffix(n.name, "earliest") {
			return func(r Row) bool { f, ok := r.get(slot).Float(); return ok && f >= limit }, nil
		}
		return func(r Row) bool { f, ok := r.get(slot).Float(); return ok && f < limit }, nil
	case *searchSub:
		if c.env.bracket == nil {
			return func(Row) bool { return false }, nil // checked when it runs
		}
		s, err := c.env.bracket(n.sub)
		if err != nil {
			return nil, err
		}
		p := n.parser.within(s, 0)
		p.fixed = n.sub.pos
		inner, err := p.searchExpression()
		if err != nil {
			return nil, err
		}
		return c.searchTest(inner)
	}
	return nil, c.refuse(0, "a search expression of unknown kind %T", e)
}

// likeMatch matches as SQL does: % is any stretch, _ any one character.
func likeMatch(s, pattern string) bool {
	str, pat := []rune(s), []rune(pattern)
	i, j, star, mark := 0, 0, -1, 0
	for i < len(str) {
		switch {
		case j < len(pat) && pat[j] == '%':
			star, mark = j, i
			j++
		case j < len(pat) && (pat[j] == '_' || pat[j] == str[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(pat) && pat[j] == '%' {
		j++
	}
	return j == len(pat)
}

// parseCIDR reads a network; an address alone is a network of itself.
func parseCIDR(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	return p.Masked(), nil
}

func cidrContains(p netip.Prefix, address string) bool {
	a, err := netip.ParseAddr(strings.TrimSpace(address))
	return err == nil && p.Contains(a.Unmap().WithZone(""))
}
