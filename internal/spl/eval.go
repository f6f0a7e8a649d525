package spl

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"time"
)

// evalFn evaluates a compiled expression on a row.
type evalFn func(r Row) Value

// staticType is what is known of an expression before it is evaluated.
type staticType uint8

const (
	typeAny staticType = iota
	typeNumber
	typeText
	typeBool
	typeNull
)

func (t staticType) String() string {
	return [...]string{"any", "a number", "text", "a boolean", "null"}[t]
}

// evalEnv is what expressions need beside the row. An expression that fails on
// a row leaves a refusal in it, which the command takes after each batch.
type evalEnv struct {
	now    float64
	loc    *time.Location
	src    *source
	macros Conf
	random *rand.Rand
	failed *Refusal
	// bracket runs a subsearch and returns its text; nil where none may stand.
	bracket func(*subsearch) (string, error)
}

// fail records why an expression can't be evaluated, and returns null.
func (env *evalEnv) fail(pos int, format string, args ...any) Value {
	if env.failed == nil {
		src := env.src
		if src == nil {
			src = &source{}
		}
		env.failed = src.refusal(pos, format, args...)
	}
	return null
}

func (env *evalEnv) takeFailure() error {
	if env.failed == nil {
		return nil
	}
	err := env.failed
	env.failed = nil
	return err
}

// compiler turns an expression into a closure over the places of a schema.
type compiler struct {
	sc    *schema
	env   *evalEnv
	exact bool // inside exact(): written fractions do not round
}

func compileExpr(e expr, sc *schema, env *evalEnv) (evalFn, staticType, error) {
	c := &compiler{sc: sc, env: env}
	return c.compile(e)
}

func (c *compiler) refuse(pos int, format string, args ...any) error {
	src := c.env.src
	if src == nil {
		src = &source{}
	}
	return src.refusal(pos, format, args...)
}

// condition compiles an expression that must be a boolean.
func (c *compiler) condition(e expr, who string) (evalFn, error) {
	fn, t, err := c.compile(e)
	if err != nil {
		return nil, err
	}
	if t != typeBool {
		return nil, c.refuse(e.at(), "%s needs a condition (a comparison or a function like isnull), this is %s", who, describeType(t))
	}
	return fn, nil
}

// assignable compiles an expression whose value may be put into a field.
func (c *compiler) assignable(e expr, who string) (evalFn, staticType, error) {
	fn, t, err := c.compile(e)
	if err != nil {
		return nil, t, err
	}
	if t == typeBool {
		return nil, t, c.refuse(e.at(), "%s: a field can't hold a boolean: wrap the condition in if(), case(), validate() or tostring()", who)
	}
	return fn, t, nil
}

func describeType(t staticType) string {
	if t == typeAny {
		return "a value"
	}
	return t.String()
}

func (c *compiler) compile(e expr) (evalFn, staticType, error) {
	switch n := e.(type) {
	case *literal:
		v := n.value
		t := typeText
		if v.kind == kindNumber {
			t = typeNumber
			// A literal is a number like any other: its spelling is not kept.
			v = number(v.num)
		}
		return func(Row) Value { return v }, t, nil
	case *fieldRef:
		slot := c.sc.slot(n.name)
		return func(r Row) Value {
			if slot < len(r) {
				return r[slot]
			}
			return null
		}, typeAny, nil
	case *unary:
		return c.unary(n)
	case *operation:
		return c.binary(n)
	case *membership:
		return c.membership(n)
	case *call:
		return c.call(n)
	case *bracket:
		return c.bracket(n)
	}
	return nil, typeAny, fmt.Errorf("an expression of unknown kind %T", e)
}

// bracket runs a subsearch and compiles its text as an expression.
func (c *compiler) bracket(n *bracket) (evalFn, staticType, error) {
	if c.env.bracket == nil {
		return func(Row) Value { return null }, typeAny, nil // checked when it runs
	}
	s, err := c.env.bracket(n.sub)
	if err != nil {
		return nil, typeAny, err
	}
	p := n.parser.within(s, n.sub.pos)
	p.fixed = n.sub.pos
	e, err := p.wholeExpression()
	if err != nil {
		return nil, typeAny, err
	}
	return c.compile(e)
}

func (c *compiler) unary(n *unary) (evalFn, staticType, error) {
	if n.op == "NOT" {
		arg, err := c.condition(n.arg, "NOT")
		if err != nil {
			return nil, typeBool, err
		}
		return func(r Row) Value {
			v := arg(r)
			if v.kind == kindBool {
				v.num = 1 - v.num
			}
			return v
		}, typeBool, nil
	}
	arg, err := c.numeric(n.arg, "the sign "+n.op)
	if err != nil {
		return nil, typeNumber, err
	}
	sign := 1.0
	if n.op == "-" {
		sign = -1
	}
	env, pos := c.env, n.pos
	return func(r Row) Value {
		f, ok := env.number(pos, n.op, arg(r))
		if !ok {
			return null
		}
		return number(sign * f)
	}, typeNumber, nil
}

// numeric compiles an operand that has to be a number.
func (c *compiler) numeric(e expr, who string) (evalFn, error) {
	fn, t, err := c.compile(e)
	if err != nil {
		return nil, err
	}
	if t == typeText || t == typeBool {
		return nil, c.refuse(e.at(), "%s takes only numbers, this is %s", who, t)
	}
	return fn, nil
}

// number reads an operand: what is no number makes the result null; what has
// several values fails, because no page tells what Splunk makes of it.
func (env *evalEnv) number(pos int, who string, v Value) (float64, bool) {
	if v.kind == kindMulti {
		env.fail(pos, "%s was given a field with several values, which is not documented: use mvmap, mvindex or mvjoin", who)
		return 0, false
	}
	return v.Float()
}

func (c *compiler) binary(n *operation) (evalFn, staticType, error) {
	switch n.op {
	case "AND", "OR", "XOR":
		return c.logical(n)
	case "=", "!=", "<", "<=", ">", ">=":
		return c.comparison(n)
	case "LIKE":
		return c.call(&call{pos: n.pos, name: "like", args: []expr{n.left, n.right}})
	case ".":
		return c.concatenation(n)
	case "+":
		return c.addition(n)
	}
	left, err := c.numeric(n.left, n.op)
	if err != nil {
		return nil, typeNumber, err
	}
	right, err := c.numeric(n.right, n.op)
	if err != nil {
		return nil, typeNumber, err
	}
	env, pos, op := c.env, n.pos, n.op
	figures := 0
	if op == "*" && !c.exact {
		figures = min(figuresOf(n.left), figuresOf(n.right))
	}
	operate := map[string]func(a, b float64) Value{
		"-": func(a, b float64) Value { return number(a - b) },
		"*": func(a, b float64) Value { return roundFigures(a*b, figures) },
		"/": func(a, b float64) Value { return number(a / b) }, // by zero: null
		"%": func(a, b float64) Value { return number(math.Mod(a, b)) },
	}[op]
	return func(r Row) Value {
		a, ok := env.number(pos, op, left(r))
		if !ok {
			return null
		}
		b, ok := env.number(pos, op, right(r))
		if !ok {
			return null
		}
		return operate(a, b)
	}, typeNumber, nil
}

const allFigures = 99

// figuresOf is the number of significant figures of a decimal fraction that is
// written in the search; exact() has them all, and 0 is for everything else.
func figuresOf(e expr) int {
	switch n := e.(type) {
	case *literal:
		if s := n.value.String(); n.value.kind == kindNumber && strings.Contains(s, ".") && !strings.Contains(strings.ToLower(s), "e") {
			return max(1, len(strings.TrimLeft(strings.Replace(s, ".", "", 1), "0")))
		}
	case *call:
		if n.name == "exact" {
			return allFigures
		}
	}
	return 0
}

// roundFigures rounds the product of two written fractions to the figures of
// the less precise one, but never a whole number's digits (Search Reference,
// "eval", rounding: 8.250 * 0.2 is 2). No page says that fields are rounded so,
// and sigfig() would have no use if they were.
func roundFigures(f float64, figures int) Value {
	if figures == 0 || figures == allFigures || f == 0 {
		return number(f)
	}
	s := roundDecimal(f, max(0, figures-int(math.Floor(math.Log10(math.Abs(f))))-1))
	rounded, _ := parseNumber(s)
	return spelled(rounded, s)
}

// logical is three-valued: null is neither true nor false.
func (c *compiler) logical(n *operation) (evalFn, staticType, error) {
	left, err := c.condition(n.left, n.op)
	if err != nil {
		return nil, typeBool, err
	}
	right, err := c.condition(n.right, n.op)
	if err != nil {
		return nil, typeBool, err
	}
	if n.op == "XOR" {
		return func(r Row) Value {
			a, b := left(r), right(r)
			if a.kind == kindNull || b.kind == kindNull {
				return null
			}
			return boolean(a.isTrue() != b.isTrue())
		}, typeBool, nil
	}
	decisive := n.op == "OR" // the operand that decides alone
	return func(r Row) Value {
		a := left(r)
		if a.kind == kindBool && a.isTrue() == decisive {
			return a
		}
		b := right(r)
		if b.kind == kindBool && b.isTrue() == decisive {
			return b
		}
		if a.kind == kindNull || b.kind == kindNull {
			return null
		}
		return boolean(!decisive)
	}, typeBool, nil
}

func (c *compiler) comparison(n *operation) (evalFn, staticType, error) {
	left, lt, err := c.compile(n.left)
	if err != nil {
		return nil, typeBool, err
	}
	right, rt, err := c.compile(n.right)
	if err != nil {
		return nil, typeBool, err
	}
	if lt == typeBool || rt == typeBool {
		return nil, typeBool, c.refuse(n.pos, "%s can't compare a boolean: use the condition itself, or NOT", n.op)
	}
	test := map[string]func(int) bool{
		"=": func(i int) bool { return i == 0 }, "!=": func(i int) bool { return i != 0 },
		"<": func(i int) bool { return i < 0 }, "<=": func(i int) bool { return i <= 0 },
		">": func(i int) bool { return i > 0 }, ">=": func(i int) bool { return i >= 0 },
	}[n.op]
	env, pos, op := c.env, n.pos, n.op
	// Equality with a plain text is by far the most common.
	if lit, ok := n.right.(*literal); ok && op == "=" && lit.value.kind == kindText {
		if _, isNumeric := parseNumber(lit.value.str); !isNumeric {
			want := lit.value.str
			return func(r Row) Value {
				switch v := left(r); v.kind {
				case kindText:
					return boolean(v.str == want)
				case kindNull:
					return null
				case kindMulti:
					return boolean(env.anyEqual(v, text(want)))
				default:
					return boolean(v.String() == want)
				}
			}, typeBool, nil
		}
	}
	return func(r Row) Value {
		a, b := left(r), right(r)
		if a.kind == kindNull || b.kind == kindNull {
			return null
		}
		if a.kind == kindMulti || b.kind == kindMulti {
			if op != "=" {
				return env.fail(pos, "%s with a field of several values is not documented: use mvfilter, mvfind or mvcount", op)
			}
			return boolean(env.anyEqual(a, b))
		}
		return boolean(test(compare(a, b)))
	}, typeBool, nil
}

// anyEqual is = on several values: one that is equal is enough, as for search.
func (env *evalEnv) anyEqual(a, b Value) bool {
	for _, x := range a.values() {
		for _, y := range b.values() {
			if compare(x, y) == 0 {
				return true
			}
		}
	}
	return false
}

func (c *compiler) membership(n *membership) (evalFn, staticType, error) {
	return c.call(&call{pos: n.pos, name: "in", args: append([]expr{n.arg}, n.list...)})
}

func (c *compiler) concatenation(n *operation) (evalFn, staticType, error) {
	// A chain is flattened, so that a long message is built once.
	var parts []evalFn
	var gather func(e expr) error
	gather = func(e expr) error {
		if b, ok := e.(*operation); ok && b.op == "." {
			if err := gather(b.left); err != nil {
				return err
			}
			return gather(b.right)
		}
		fn, t, err := c.compile(e)
		if err != nil {
			return err
		}
		if t == typeBool {
			return c.refuse(e.at(), "the dot joins texts and numbers, not a boolean")
		}
		parts = append(parts, fn)
		return nil
	}
	if err := gather(n); err != nil {
		return nil, typeText, err
	}
	env, pos := c.env, n.pos
	return func(r Row) Value {
		var b strings.Builder
		for _, part := range parts {
			v := part(r)
			switch v.kind {
			case kindNull:
				return null
			case kindMulti:
				return env.fail(pos, "the dot was given a field with several values, which is not documented: use mvjoin")
			}
			b.WriteString(v.String())
		}
		return text(b.String())
	}, typeText, nil
}

// addition adds two numbers or joins two texts (Search Reference, "eval",
// operators).
func (c *compiler) addition(n *operation) (evalFn, staticType, error) {
	left, lt, err := c.compile(n.left)
	if err != nil {
		return nil, typeAny, err
	}
	right, rt, err := c.compile(n.right)
	if err != nil {
		return nil, typeAny, err
	}
	if lt == typeBool || rt == typeBool || lt == typeText && rt == typeNumber || lt == typeNumber && rt == typeText {
		return nil, typeAny, c.refuse(n.pos, "+ takes two numbers or two texts, not %s and %s", describeType(lt), describeType(rt))
	}
	t := typeAny
	if lt == rt {
		t = lt
	}
	env, pos := c.env, n.pos
	return func(r Row) Value {
		a, b := left(r), right(r)
		if a.kind == kindNull || b.kind == kindNull {
			return null
		}
		if a.kind == kindMulti || b.kind == kindMulti {
			return env.fail(pos, "+ was given a field with several values, which is not documented: use mvmap or mvindex")
		}
		x, xIs := a.Float()
		y, yIs := b.Float()
		switch {
		case lt == typeText && rt == typeText, !xIs && !yIs:
			return text(a.String() + b.String())
		case xIs && yIs && (a.isNumber() || b.isNumber()):
			return number(x + y)
		case !xIs && !b.isNumber(), !yIs && !a.isNumber():
			return text(a.String() + b.String())
		case xIs && yIs:
			return env.fail(pos, "+ of two texts that look like numbers is ambiguous: use tonumber() to add, the dot to join")
		}
		return env.fail(pos, "+ of a number and a text is not documented: use the dot to join them")
	}, t, nil
}

// evalFunction is one function of eval, where and their relatives.
type evalFunction struct {
	least, most int  // arguments; most < 0: any number
	pairs       bool // arguments come in pairs
	// args types the arguments: n number, s text, b condition, a any value,
	// x anything at all; the last stands for all that follow.
	args   string
	result staticType
	// many: knows fields with several values. nulls: is given nulls too.
	many, nulls bool
	// run computes the value; build, where set, compiles the call by itself.
	run   func(env *evalEnv, at *call, a []Value) Value
	build func(c *compiler, at *call) (evalFn, staticType, error)
	// verify checks literal arguments before anything runs.
	verify func(c *compiler, at *call) error
	page   string // of Splunk's Search Reference
}

func (f *evalFunction) arity() string {
	switch {
	case f.most < 0:
		return fmt.Sprintf("%d or more arguments", f.least)
	case f.least == f.most && f.most == 1:
		return "1 argument"
	case f.least == f.most:
		return fmt.Sprintf("%d arguments", f.least)
	}
	return fmt.Sprintf("%d to %d arguments", f.least, f.most)
}

var (
	functionsOnce sync.Once
	functions     map[string]*evalFunction // made once, never changed
)

func evalFunctions() map[string]*evalFunction {
	functionsOnce.Do(func() {
		functions = map[string]*evalFunction{}
		for _, add := range []func(map[string]*evalFunction){conditionFunctions, numberFunctions, textFunctions, timeFunctions, multivalueFunctions, jsonFunctions} {
			add(functions)
		}
	})
	return functions
}

func (c *compiler) call(n *call) (evalFn, staticType, error) {
	f, ok := evalFunctions()[n.name]
	if !ok {
		return nil, typeAny, c.refuse(n.pos, "unknown function %q", n.name)
	}
	if f.build != nil {
		return f.build(c, n)
	}
	fns := make([]evalFn, len(n.args))
	for i, a := range n.args {
		fn, t, err := c.compile(a)
		if err != nil {
			return nil, typeAny, err
		}
		want := f.args[min(i, len(f.args)-1)]
		switch {
		case want == 'b' && t != typeBool:
			return nil, typeAny, c.refuse(a.at(), "%s: argument %d is a condition, this is %s", n.name, i+1, describeType(t))
		case want == 'n' && (t == typeText || t == typeBool):
			return nil, typeAny, c.refuse(a.at(), "%s: argument %d is a number, this is %s", n.name, i+1, t)
		case t == typeBool && want != 'b' && want != 'x':
			return nil, typeAny, c.refuse(a.at(), "%s: argument %d can't be a boolean", n.name, i+1)
		}
		fns[i] = fn
	}
	if f.verify != nil {
		if err := f.verify(c, n); err != nil {
			return nil, typeAny, err
		}
	}
	env, values := c.env, make([]Value, len(fns))
	return func(r Row) Value {
		for i, fn := range fns {
			v := fn(r)
			if v.kind == kindNull && !f.nulls {
				return null
			}
			if v.kind == kindMulti && !f.many {
				return env.fail(n.pos, "%s was given a field with several values, which is not documented: use mvmap or mvindex", n.name)
			}
			values[i] = v
		}
		return f.run(env, n, values)
	}, f.result, nil
}

// literalText is the text of an argument that is written as a literal.
func literalText(e expr) (string, bool) {
	if l, ok := e.(*literal); ok && l.value.kind == kindText {
		return l.value.str, true
	}
	return "", false
}

const maxRegexp = 4096 // bytes of a regular expression

// compileRegexp compiles a PCRE that RE2 can run too; what it can't is refused.
func compileRegexp(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxRegexp {
		return nil, fmt.Errorf("a regular expression longer than %d bytes", maxRegexp)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("the regular expression can't be run here (no lookaround, back references or possessive quantifiers): %s",
			strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if re.NumSubexp() > 100 {
		return nil, fmt.Errorf("a regular expression with more than 100 groups")
	}
	return re, nil
}

// regexps keeps the compiled regular expressions of one function call: a
// literal is compiled once, computed ones are kept as long as they are few.
type regexps map[string]*regexp.Regexp

func (m regexps) get(pattern string) (*regexp.Regexp, error) {
	if re, ok := m[pattern]; ok {
		return re, nil
	}
	re, err := compileRegexp(pattern)
	if err == nil && len(m) < 1000 {
		m[pattern] = re
	}
	return re, err
}
