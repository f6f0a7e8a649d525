package spl

import (
	"math"
	"strconv"
	"strings"
)

func numberFunctions(m map[string]*evalFunction) {
	one := func(name, page string, f func(float64) float64) {
		m[name] = &evalFunction{
			least: 1, most: 1, args: "n", result: typeNumber, page: page,
			run: func(env *evalEnv, at *call, a []Value) Value {
				if x, ok := a[0].Float(); ok {
					return env.finite(at, f(x))
				}
				return null
			},
		}
	}
	one("abs", pageMath, math.Abs)
	one("ceiling", pageMath, math.Ceil)
	one("ceil", pageMath, math.Ceil)
	m["exact"] = &evalFunction{least: 1, most: 1, page: pageMath, build: func(c *compiler, at *call) (evalFn, staticType, error) {
		whole := *c
		whole.exact = true
		fn, err := whole.numeric(at.args[0], "exact")
		if err != nil {
			return nil, typeNumber, err
		}
		return func(r Row) Value {
			f, ok := c.env.number(at.pos, "exact", fn(r))
			if !ok {
				return null
			}
			return number(f)
		}, typeNumber, nil
	}}
	one("exp", pageMath, math.Exp)
	one("floor", pageMath, math.Floor)
	one("ln", pageMath, math.Log)
	one("sqrt", pageMath, math.Sqrt)
	m["pi"] = &evalFunction{
		args: "n", result: typeNumber, page: pageMath,
		run: func(*evalEnv, *call, []Value) Value { return number(math.Pi) },
	}
	m["pow"] = &evalFunction{
		least: 2, most: 2, args: "n", result: typeNumber, page: pageMath,
		run: func(env *evalEnv, at *call, a []Value) Value {
			x, ok := a[0].Float()
			y, ok2 := a[1].Float()
			if !ok || !ok2 {
				return null
			}
			return env.finite(at, math.Pow(x, y))
		},
	}
	m["log"] = &evalFunction{
		least: 1, most: 2, args: "n", result: typeNumber, page: pageMath,
		run: func(env *evalEnv, at *call, a []Value) Value {
			x, ok := a[0].Float()
			if !ok {
				return null
			}
			if len(a) == 1 {
				return env.finite(at, math.Log10(x))
			}
			base, ok := a[1].Float()
			if !ok {
				return null
			}
			switch base {
			case 10:
				return env.finite(at, math.Log10(x))
			case 2:
				return env.finite(at, math.Log2(x))
			}
			return env.finite(at, math.Log(x)/math.Log(base))
		},
	}
	m["random"] = &evalFunction{
		args: "n", result: typeNumber, page: pageStatEval,
		run: func(env *evalEnv, _ *call, _ []Value) Value {
			if env.random == nil {
				return number(0)
			}
			return number(float64(env.random.Int32()))
		},
	}
	m["round"] = &evalFunction{
		least: 1, most: 2, args: "n", result: typeNumber, page: pageMath,
		run: func(env *evalEnv, at *call, a []Value) Value {
			x, ok := a[0].Float()
			if !ok {
				return null
			}
			if len(a) == 1 {
				return number(math.Round(x))
			}
			n, ok := a[1].Float()
			if !ok {
				return null
			}
			if n < 0 || n > 100 || n != math.Trunc(n) {
				return env.fail(at.pos, "round: the number of decimals is a whole number from 0, not %s", a[1])
			}
			if n == 0 {
				return number(math.Round(x))
			}
			s := roundDecimal(x, int(n))
			f, _ := strconv.ParseFloat(s, 64)
			return spelled(f, s)
		},
	}
	m["sigfig"] = &evalFunction{least: 1, most: 1, page: pageMath, build: buildSigfig}
	for name, sign := range map[string]int{"max": 1, "min": -1} {
		m[name] = &evalFunction{
			least: 1, most: -1, args: "a", many: true, nulls: true, page: pageStatEval,
			run: func(_ *evalEnv, _ *call, a []Value) Value {
				best := null
				for _, v := range a {
					for _, one := range v.values() {
						if best.kind == kindNull || numbersFirst(one, best)*sign > 0 {
							best = one
						}
					}
				}
				return best
			},
		}
	}
	m["tonumber"] = &evalFunction{
		least: 1, most: 2, args: "sn", result: typeNumber, page: pageConversion,
		verify: func(c *compiler, at *call) error {
			s, ok := literalText(at.args[0])
			if !ok {
				return nil
			}
			base := Value{}
			if len(at.args) == 2 {
				l, ok := at.args[1].(*literal)
				if !ok {
					return nil
				}
				base = l.value
			}
			if v := toNumber(c.env, at, text(s), base); v.kind == kindNull {
				return c.refuse(at.args[0].at(), "tonumber: the text %q is no number", s)
			}
			return nil
		},
		run: func(env *evalEnv, at *call, a []Value) Value {
			base := null
			if len(a) == 2 {
				base = a[1]
			}
			return toNumber(env, at, a[0], base)
		},
	}
	m["tostring"] = &evalFunction{least: 1, most: 2, page: pageConversion, build: buildToString}
}

// finite is the number that a function gives. What Splunk makes of nan and inf
// further on is not documented.
func (env *evalEnv) finite(at *call, f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return env.fail(at.pos, "%s gives no finite number here, and what follows from nan or inf is not documented", at.name)
	}
	return number(f)
}

// numbersFirst orders numbers before texts (Search Reference, "max", "min").
func numbersFirst(a, b Value) int {
	f, x := a.Float()
	g, y := b.Float()
	switch {
	case x && y:
		return ascending(f, g)
	case x:
		return -1
	case y:
		return 1
	}
	return strings.Compare(a.String(), b.String())
}

// roundDecimal rounds half away from zero on the decimal digits of x, so that
// 2.555 gives 2.56 although the double is a little less.
func roundDecimal(x float64, n int) string {
	s := strconv.FormatFloat(math.Abs(x), 'f', -1, 64)
	whole, frac, _ := strings.Cut(s, ".")
	up := len(frac) > n && frac[n] >= '5'
	if len(frac) > n {
		frac = frac[:n]
	}
	frac += strings.Repeat("0", n-len(frac))
	digits := []byte(whole + frac)
	if up {
		i := len(digits) - 1
		for ; i >= 0 && digits[i] == '9'; i-- {
			digits[i] = '0'
		}
		if i >= 0 {
			digits[i]++
		} else {
			digits = append([]byte{'1'}, digits...)
		}
	}
	out := string(digits)
	if n > 0 {
		out = out[:len(out)-n] + "." + out[len(out)-n:]
	}
	if x < 0 && strings.Trim(out, "0.") != "" {
		out = "-" + out
	}
	return out
}

func toNumber(env *evalEnv, at *call, v, base Value) Value {
	if base.kind != kindNull {
		b, ok := base.Float()
		if !ok || b < 2 || b > 36 || b != math.Trunc(b) {
			return env.fail(at.pos, "tonumber: the base is a whole number from 2 to 36, not %s", base)
		}
		if b != 10 {
			s := strings.ToLower(v.String())
			if b == 16 {
				s = strings.TrimPrefix(s, "0x")
			}
			n, err := strconv.ParseInt(s, int(b), 64)
			if err != nil {
				return null
			}
			return number(float64(n))
		}
	}
	if f, ok := v.Float(); ok {
		return number(f)
	}
	return null
}

func buildToString(c *compiler, at *call) (evalFn, staticType, error) {
	fn, _, err := c.compile(at.args[0])
	if err != nil {
		return nil, typeText, err
	}
	format := ""
	if len(at.args) == 2 {
		s, ok := literalText(at.args[1])
		known := []string{"hex", "commas", "duration", "binary"}
		if !ok {
			return nil, typeText, c.refuse(at.args[1].at(), "tostring: the format is one of %s in quotes", strings.Join(known, ", "))
		}
		format = s
		if format != "hex" && format != "commas" && format != "duration" && format != "binary" {
			return nil, typeText, c.refuse(at.args[1].at(), "tostring: unknown format %q%s", s, hint(s, known))
		}
	}
	env := c.env
	return func(r Row) Value {
		v := fn(r)
		switch v.kind {
		case kindNull:
			return null
		case kindMulti:
			return env.fail(at.pos, "tostring was given a field with several values, which is not documented: use mvjoin")
		}
		if format == "" {
			return text(v.String())
		}
		f, ok := v.Float()
		if !ok {
			return text(v.String()) // the format is for numbers only
		}
		if _, isLiteral := literalText(at.args[0]); isLiteral {
			return env.fail(at.pos, "tostring: the format %s is for numbers, not for a text in quotes", format)
		}
		whole := f == math.Trunc(f) && math.Abs(f) < 1<<53
		switch format {
		case "commas":
			return text(withCommas(f, whole))
		case "duration":
			if !whole || f < 0 {
				return env.fail(at.pos, "tostring: the duration of %s is not documented: round it to seconds from 0", v)
			}
			return text(duration(int64(f)))
		}
		if !whole || f < 0 {
			return env.fail(at.pos, "tostring: %s of %s is not documented: it takes whole numbers from 0", format, v)
		}
		if format == "binary" {
			return text(strconv.FormatInt(int64(f), 2))
		}
		return text("0x" + strings.ToUpper(strconv.FormatInt(int64(f), 16)))
	}, typeText, nil
}

// withCommas groups thousands; what has decimals is rounded to two of them.
func withCommas(f float64, whole bool) string {
	s := strconv.FormatFloat(math.Abs(f), 'f', 0, 64)
	if !whole {
		s = roundDecimal(math.Abs(f), 2)
	}
	head, tail, _ := strings.Cut(s, ".")
	for i := len(head) - 3; i > 0; i -= 3 {
		head = head[:i] + "," + head[i:]
	}
	if tail != "" {
		head += "." + tail
	}
	if f < 0 {
		head = "-" + head
	}
	return head
}

// duration writes seconds as HH:MM:SS, with days before a plus.
func duration(sec int64) string {
	two := func(n int64) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }
	s := two(sec/3600%24) + ":" + two(sec/60%60) + ":" + two(sec%60)
	if days := sec / 86400; days > 0 {
		s = strconv.FormatInt(days, 10) + "+" + s
	}
	return s
}

// buildSigfig rounds a calculation to the significant figures of its operands:
// of products and quotients the fewest figures, of sums and differences the
// fewest decimals (Search Reference, sigfig).
func buildSigfig(c *compiler, at *call) (evalFn, staticType, error) {
	type measured struct {
		v        float64
		figures  int
		decimals int
		ok       bool
	}
	measure := func(s string, f float64) measured {
		digits := strings.TrimLeft(s, "+-")
		whole, frac, _ := strings.Cut(digits, ".")
		figures := len(strings.TrimLeft(whole+frac, "0"))
		if frac == "" {
			figures = len(strings.TrimLeft(whole, "0"))
		}
		return measured{f, max(1, figures), len(frac), true}
	}
	var build func(e expr) (func(Row) measured, error)
	build = func(e expr) (func(Row) measured, error) {
		switch n := e.(type) {
		case *literal:
			if n.value.kind == kindNumber {
				m := measure(n.value.String(), n.value.num)
				return func(Row) measured { return m }, nil
			}
		case *fieldRef:
			slot := c.sc.slot(n.name)
			return func(r Row) measured {
				v := r.get(slot)
				f, ok := v.Float()
				if !ok {
					return measured{}
				}
				return measure(v.String(), f)
			}, nil
		case *operation:
			if !strings.Contains("+-*/", n.op) {
				break
			}
			left, err := build(n.left)
			if err != nil {
				return nil, err
			}
			right, err := build(n.right)
			if err != nil {
				return nil, err
			}
			return func(r Row) measured {
				a, b := left(r), right(r)
				m := measured{ok: a.ok && b.ok, figures: min(a.figures, b.figures), decimals: min(a.decimals, b.decimals)}
				switch n.op {
				case "*":
					m.v = a.v * b.v
				case "/":
					m.v = a.v / b.v
				case "+":
					m.v = a.v + b.v
				case "-":
					m.v = a.v - b.v
				}
				magnitude := 1
				if m.v != 0 {
					magnitude = int(math.Floor(math.Log10(math.Abs(m.v)))) + 1
				}
				if n.op == "+" || n.op == "-" {
					m.figures = max(1, magnitude+m.decimals)
				} else {
					m.decimals = max(0, m.figures-magnitude)
				}
				return m
			}, nil
		}
		return nil, c.refuse(e.at(), "sigfig is known of numbers, fields and + - * / only")
	}
	fn, err := build(at.args[0])
	if err != nil {
		return nil, typeNumber, err
	}
	return func(r Row) Value {
		m := fn(r)
		if !m.ok || math.IsNaN(m.v) || math.IsInf(m.v, 0) {
			return null
		}
		f, _ := strconv.ParseFloat(strconv.FormatFloat(m.v, 'e', m.figures-1, 64), 64)
		if m.decimals > 0 {
			return spelled(f, strconv.FormatFloat(f, 'f', m.decimals, 64))
		}
		return number(f)
	}, typeNumber, nil
}
