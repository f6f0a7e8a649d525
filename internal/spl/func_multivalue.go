package spl

import (
	"math"
	"sort"
	"strings"
)

func multivalueFunctions(m map[string]*evalFunction) {
	add := func(name string, least, most int, args string, result staticType, nulls bool, run func(env *evalEnv, at *call, a []Value) Value) {
		m[name] = &evalFunction{least: least, most: most, args: args, result: result, many: true, nulls: nulls, run: run, page: pageMultivalue}
	}
	add("mvappend", 1, -1, "a", typeAny, true, func(_ *evalEnv, _ *call, a []Value) Value {
		var all []Value
		for _, v := range a {
			all = append(all, v.values()...)
		}
		return multi(all)
	})
	add("mvcount", 1, 1, "a", typeNumber, false, func(_ *evalEnv, _ *call, a []Value) Value {
		return number(float64(len(a[0].values())))
	})
	add("mvdedup", 1, 1, "a", typeAny, false, func(_ *evalEnv, _ *call, a []Value) Value {
		seen := map[string]bool{}
		var out []Value
		for _, v := range a[0].values() {
			if s := v.String(); !seen[s] {
				seen[s] = true
				out = append(out, v)
			}
		}
		return multi(out)
	})
	add("mvsort", 1, 1, "a", typeAny, false, func(_ *evalEnv, _ *call, a []Value) Value {
		vs := append([]Value(nil), a[0].values()...)
		sort.SliceStable(vs, func(i, j int) bool { return vs[i].String() < vs[j].String() })
		return multi(vs)
	})
	add("mvindex", 2, 3, "an", typeAny, false, func(env *evalEnv, at *call, a []Value) Value {
		vs := a[0].values()
		bound := func(v Value) (int, bool) {
			f, ok := env.number(at.pos, "mvindex", v)
			if f < 0 {
				f += float64(len(vs))
			}
			return int(math.Max(-1, math.Min(f, float64(len(vs))))), ok
		}
		from, ok := bound(a[1])
		if !ok {
			return null
		}
		if len(a) == 2 {
			if from < 0 || from >= len(vs) {
				return null
			}
			return vs[from]
		}
		to, ok := bound(a[2])
		if !ok || from < 0 || from > to || from >= len(vs) {
			return null // "if the indexes are out of range or invalid, the result is NULL"
		}
		return multi(append([]Value(nil), vs[from:min(to+1, len(vs))]...))
	})
	add("mvjoin", 2, 2, "as", typeText, false, func(_ *evalEnv, _ *call, a []Value) Value {
		return text(strings.Join(a[0].Strings(), a[1].String()))
	})
	add("mvzip", 2, 3, "aas", typeAny, false, func(_ *evalEnv, _ *call, a []Value) Value {
		sep := ","
		if len(a) == 3 {
			sep = a[2].String()
		}
		x, y := a[0].Strings(), a[1].Strings()
		var out []Value
		for i := range min(len(x), len(y)) {
			out = append(out, text(x[i]+sep+y[i]))
		}
		return multi(out)
	})
	m["mvfind"] = &evalFunction{least: 2, most: 2, page: pageMultivalue, build: func(c *compiler, at *call) (evalFn, staticType, error) {
		subject, _, err := c.textOperand(at, 0)
		if err != nil {
			return nil, typeNumber, err
		}
		pattern, ok := literalText(at.args[1])
		if !ok {
			return nil, typeNumber, c.refuse(at.args[1].at(), "mvfind: the regular expression stands in quotes here")
		}
		re, err := compileRegexp(pattern)
		if err != nil {
			return nil, typeNumber, c.refuse(at.args[1].at(), "mvfind: %s", err)
		}
		return func(r Row) Value {
			for i, s := range subject(r).Strings() {
				if re.MatchString(s) {
					return number(float64(i))
				}
			}
			return null
		}, typeNumber, nil
	}}
	m["mvrange"] = &evalFunction{
		least: 2, most: 3, args: "nna", page: pageMultivalue, run: mvrange,
		verify: func(c *compiler, at *call) error {
			if len(at.args) == 3 {
				if s, ok := literalText(at.args[2]); ok {
					if n, ok := parseNumber(s); ok && n != 0 {
						return nil
					}
					if _, err := parseTimeModifier("+" + s); err != nil {
						return c.refuse(at.args[2].at(), "mvrange: the step is a number or a time like 7d, not %q", s)
					}
				}
			}
			return nil
		},
	}
	m["split"] = &evalFunction{
		least: 2, most: 2, args: "s", page: pageMultivalue,
		run: func(_ *evalEnv, _ *call, a []Value) Value {
			var vs []Value
			for _, s := range strings.Split(a[0].String(), a[1].String()) { // "": each character
				vs = append(vs, Value{kind: kindText, str: s, data: a[0].data})
			}
			return multi(vs)
		},
	}
	m["mvfilter"] = &evalFunction{least: 1, most: 1, page: pageMultivalue, build: func(c *compiler, at *call) (evalFn, staticType, error) {
		slot, err := c.onlyField(at, at.args[0])
		if err != nil {
			return nil, typeAny, err
		}
		cond, err := c.condition(at.args[0], "mvfilter")
		if err != nil {
			return nil, typeAny, err
		}
		of := func(r Row) Value { return r.get(slot) }
		return eachValue(slot, of, func(v, result Value) Value {
			if result.isTrue() {
				return v
			}
			return null
		}, cond), typeAny, nil
	}}
	m["mvmap"] = &evalFunction{least: 2, most: 2, page: pageMultivalue, build: func(c *compiler, at *call) (evalFn, staticType, error) {
		// The values may be a part of a field, like mvindex(field,0,1): the
		// expression then sees each in the field's place.
		slot, err := c.onlyField(at, at.args[0])
		if err != nil {
			return nil, typeAny, err
		}
		of, _, err := c.assignable(at.args[0], "mvmap")
		if err != nil {
			return nil, typeAny, err
		}
		fn, _, err := c.assignable(at.args[1], "mvmap")
		if err != nil {
			return nil, typeAny, err
		}
		return eachValue(slot, of, func(_, result Value) Value { return result }, fn), typeAny, nil
	}}
}

// onlyField is the one field that an expression reads.
func (c *compiler) onlyField(at *call, e expr) (int, error) {
	set := &fieldSet{}
	fieldsOf(e, set)
	if len(set.names) != 1 || set.all {
		return 0, c.refuse(at.pos, "%s: its first argument reads exactly one field, this one reads %d", at.name, len(set.names))
	}
	return c.sc.slot(set.sorted()[0]), nil
}

// eachValue evaluates fn with each value of of in a field's place.
func eachValue(slot int, of evalFn, pick func(v, result Value) Value, fn evalFn) evalFn {
	return func(r Row) Value {
		v := of(r)
		if v.kind == kindNull {
			return null
		}
		work := append(Row(nil), r...)
		var out []Value
		for _, one := range v.values() {
			work.set(slot, one)
			out = append(out, pick(one, fn(work)).values()...)
		}
		return multi(out)
	}
}

const maxRange = 100_000 // values of one mvrange

func mvrange(env *evalEnv, at *call, a []Value) Value {
	from, ok := a[0].Float()
	to, ok2 := a[1].Float()
	if !ok || !ok2 {
		return null
	}
	next := func(x float64) float64 { return x + 1 }
	if len(a) == 3 {
		if step, ok := a[2].Float(); ok {
			if step == 0 {
				return env.fail(at.pos, "mvrange: a step of 0 never ends")
			}
			next = func(x float64) float64 { return x + step }
			if step < 0 {
				return env.fail(at.pos, "mvrange: a negative step is not documented")
			}
		} else {
			m, err := parseTimeModifier("+" + a[2].String())
			if err != nil {
				return env.fail(at.pos, "mvrange: the step is a number or a time like 7d, not %q", a[2])
			}
			next = func(x float64) float64 { return m.resolve(x, env.loc) }
		}
	}
	var vs []Value
	for x := from; x < to; {
		if len(vs) >= maxRange {
			return env.fail(at.pos, "mvrange gives more than %d values", maxRange)
		}
		vs = append(vs, number(x))
		y := next(x)
		if y <= x {
			break
		}
		x = y
	}
	return multi(vs)
}
