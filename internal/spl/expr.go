package spl

import (
	"strings"
)

// The tree of an eval expression.
type (
	expr interface{ at() int }

	literal struct {
		pos   int
		value Value
	}
	fieldRef struct {
		pos  int
		name string
	}
	unary struct {
		pos int
		op  string // "-", "+" or "NOT"
		arg expr
	}
	operation struct {
		pos         int
		op          string
		left, right expr
		enclosed    bool // stands in parentheses
	}
	membership struct { // x IN (a, b)
		pos  int
		arg  expr
		list []expr
	}
	call struct {
		pos  int
		name string
		args []expr
	}
	bracket struct { // a subsearch whose result is read as an expression
		sub    *subsearch
		parser *parser
	}
)

func (e *literal) at() int    { return e.pos }
func (e *fieldRef) at() int   { return e.pos }
func (e *unary) at() int      { return e.pos }
func (e *operation) at() int  { return e.pos }
func (e *membership) at() int { return e.pos }
func (e *call) at() int       { return e.pos }
func (e *bracket) at() int    { return e.sub.pos }

// wholeExpression parses text that is one expression and nothing else.
func (p *parser) wholeExpression() (expr, error) {
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.space(); !p.eof() {
		return nil, p.refuse(p.pos, "the expression should end here%s", p.found())
	}
	return e, nil
}

// expression parses, from the loosest binding to the tightest: XOR, OR, AND,
// NOT, comparison, concatenation and sums, products, sign.
func (p *parser) expression() (expr, error) {
	if err := p.enter(p.pos); err != nil {
		return nil, err
	}
	defer p.leave()
	return p.logical(0)
}

var logicalOps = []string{"XOR", "OR", "AND"}

func (p *parser) logical(level int) (expr, error) {
	if level == len(logicalOps) {
		return p.negation()
	}
	left, err := p.logical(level + 1)
	if err != nil {
		return nil, err
	}
	for {
		p.space()
		at := p.pos
		if !p.acceptWord(logicalOps[level]) {
			return left, nil
		}
		right, err := p.logical(level + 1)
		if err != nil {
			return nil, err
		}
		left = &operation{pos: p.offset(at), op: logicalOps[level], left: left, right: right}
	}
}

func (p *parser) negation() (expr, error) {
	p.space()
	at := p.pos
	if p.peek() == '!' && !strings.HasPrefix(p.text[p.pos:], "!=") {
		p.pos++ // as in mvfilter(!isnull(x)); it binds as NOT does
	} else if !p.acceptWord("NOT") {
		return p.comparison()
	}
	if err := p.enter(at); err != nil {
		return nil, err
	}
	defer p.leave()
	arg, err := p.negation()
	if err != nil {
		return nil, err
	}
	return &unary{pos: p.offset(at), op: "NOT", arg: arg}, nil
}

func (p *parser) comparison() (expr, error) {
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	p.space()
	at := p.pos
	op := ""
	switch {
	case strings.HasPrefix(p.text[p.pos:], "=="), strings.HasPrefix(p.text[p.pos:], "!="),
		strings.HasPrefix(p.text[p.pos:], "<="), strings.HasPrefix(p.text[p.pos:], ">="):
		op = p.text[p.pos : p.pos+2]
		p.pos += 2
	case p.peek() == '=' || p.peek() == '<' || p.peek() == '>':
		op = p.text[p.pos : p.pos+1]
		p.pos++
	case p.acceptWord("LIKE"):
		op = "LIKE"
	default:
		negated := p.acceptWord("NOT")
		if !p.acceptIN() {
			if negated {
				return nil, p.refuse(at, "NOT between two operands is known only as NOT IN (...)")
			}
			return left, nil
		}
		list, err := p.arguments(at)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, p.refuse(at, "IN needs at least one value")
		}
		var e expr = &membership{pos: p.offset(at), arg: left, list: list}
		if negated {
			e = &unary{pos: p.offset(at), op: "NOT", arg: e}
		}
		return e, nil
	}
	if op == "==" {
		op = "="
	}
	right, err := p.sum()
	if err != nil {
		return nil, err
	}
	e := &operation{pos: p.offset(at), op: op, left: left, right: right}
	p.space()
	if c := p.peek(); c == '=' || c == '<' || c == '>' || c == '!' {
		return nil, p.refuse(p.pos, "comparisons can't be chained: join them with AND")
	}
	return e, nil
}

// acceptIN takes IN before an opening parenthesis.
func (p *parser) acceptIN() bool {
	save := p.pos
	if p.acceptWord("IN") {
		if p.space(); p.peek() == '(' {
			return true
		}
	}
	p.pos = save
	return false
}

// sum parses + - and the concatenation dot. Splunk's documentation does not
// say how the dot binds among the arithmetic operators, so that a mix without
// parentheses is refused.
func (p *parser) sum() (expr, error) {
	left, err := p.product()
	if err != nil {
		return nil, err
	}
	for {
		p.space()
		at := p.pos
		c := p.peek()
		if p.eof() || c != '+' && c != '-' && c != '.' {
			return left, nil
		}
		p.pos++
		right, err := p.product()
		if err != nil {
			return nil, err
		}
		e := &operation{pos: p.offset(at), op: string(c), left: left, right: right}
		for _, side := range []expr{left, right} {
			if b, ok := side.(*operation); ok && !b.enclosed && (c == '.') != (b.op == ".") && strings.Contains("+-*/%.", b.op) {
				return nil, p.refuse(at, "a dot beside an arithmetic operator: put parentheses around one of them, its precedence is not documented")
			}
		}
		left = e
	}
}

func (p *parser) product() (expr, error) {
	left, err := p.sign()
	if err != nil {
		return nil, err
	}
	for {
		p.space()
		at := p.pos
		c := p.peek()
		if p.eof() || c != '*' && c != '/' && c != '%' {
			return left, nil
		}
		p.pos++
		right, err := p.sign()
		if err != nil {
			return nil, err
		}
		left = &operation{pos: p.offset(at), op: string(c), left: left, right: right}
	}
}

func (p *parser) sign() (expr, error) {
	p.space()
	at := p.pos
	if c := p.peek(); c == '-' || c == '+' {
		p.pos++
		if err := p.enter(at); err != nil {
			return nil, err
		}
		defer p.leave()
		arg, err := p.sign()
		if err != nil {
			return nil, err
		}
		return &unary{pos: p.offset(at), op: string(c), arg: arg}, nil
	}
	return p.operand()
}

func (p *parser) operand() (expr, error) {
	p.space()
	at := p.pos
	c := p.peek()
	switch {
	case p.eof() || c == '|' || c == ']':
		return nil, p.refuse(at, "an expression is missing here")
	case c == '(':
		p.pos++
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		if !p.accept(')') {
			return nil, p.refuse(at, "unclosed parenthesis: a ( here has no closing )%s", p.found())
		}
		if b, ok := e.(*operation); ok {
			b.enclosed = true
		}
		return e, nil
	case c == '"':
		s, err := p.quoted()
		return &literal{p.offset(at), text(s)}, err
	case c == '\'':
		s, err := p.quoted()
		if err == nil && s == "" {
			err = p.refuse(at, "a field's name can't be empty")
		}
		return &fieldRef{p.offset(at), s}, err
	case c == '[':
		sub, err := p.subsearch()
		if err != nil {
			return nil, err
		}
		return &bracket{sub, p}, nil
	case c-'0' <= 9 || c == '.' && p.pos+1 < len(p.text) && p.text[p.pos+1]-'0' <= 9:
		return p.numeral()
	case isWordByte(c):
		name := p.peekWord()
		p.pos += len(name)
		if p.peek() == '{' || p.peek() == ':' || p.peek() == '*' && p.pos+1 < len(p.text) && isWordByte(p.text[p.pos+1]) && name == "" {
			return nil, p.refuse(at, "a field's name with special characters stands in single quotes here: '%s'", name+p.bare("|],()=<>!+/ "))
		}
		save := p.pos
		if p.accept('(') {
			p.pos = save
			args, err := p.arguments(at)
			if err != nil {
				return nil, err
			}
			return p.checkCall(&call{p.offset(at), strings.ToLower(name), args})
		}
		p.pos = save
		switch strings.ToUpper(name) {
		case "AND", "OR", "XOR", "NOT", "LIKE", "IN":
			return nil, p.refuse(at, "the operator %s has no operand before it", strings.ToUpper(name))
		}
		return &fieldRef{p.offset(at), name}, nil
	}
	return nil, p.refuse(at, "an operand is expected here: a number, \"text\", a field or a function%s", p.found())
}

func (p *parser) numeral() (expr, error) {
	at := p.pos
	digits := func() {
		for !p.eof() && p.text[p.pos]-'0' <= 9 {
			p.pos++
		}
	}
	digits()
	if p.peek() == '.' && p.pos+1 < len(p.text) && p.text[p.pos+1]-'0' <= 9 {
		p.pos++
		digits()
	}
	if c := p.peek(); !p.eof() && c|0x20 == 'e' {
		save := p.pos
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		begin := p.pos
		if digits(); p.pos == begin {
			p.pos = save
		}
	}
	if !p.eof() && isWordByte(p.peek()) {
		return nil, p.refuse(at, "neither a number nor a name: a field's name that starts with a digit stands in single quotes")
	}
	s := p.text[at:p.pos]
	f, ok := parseNumber(s)
	if !ok {
		return nil, p.refuse(at, "%q is not a number", s)
	}
	return &literal{p.offset(at), spelled(f, s)}, nil
}

// arguments parses ( a, b, ... ).
func (p *parser) arguments(callAt int) ([]expr, error) {
	p.space()
	open := p.pos
	if !p.accept('(') {
		return nil, p.refuse(p.pos, "a ( is expected here%s", p.found())
	}
	var args []expr
	if p.accept(')') {
		return nil, nil
	}
	for {
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		args = append(args, e)
		if p.accept(',') {
			continue
		}
		if p.accept(')') {
			return args, nil
		}
		if p.done() {
			return nil, p.refuse(open, "unclosed parenthesis: a ( here has no closing )")
		}
		return nil, p.refuse(p.pos, "a , or ) is expected here%s", p.found())
	}
}

// checkCall refuses unknown functions and wrong argument counts.
func (p *parser) checkCall(c *call) (expr, error) {
	f, ok := evalFunctions()[c.name]
	refuse := func(format string, args ...any) (expr, error) {
		return nil, p.src.refusal(c.pos, format, args...)
	}
	if !ok {
		return refuse("unknown function %q%s", c.name, hint(c.name, sortedKeys(evalFunctions())))
	}
	n := len(c.args)
	switch {
	case n < f.least || f.most >= 0 && n > f.most:
		return refuse("%s takes %s, not %d", c.name, f.arity(), n)
	case f.pairs && n%2 != 0:
		return refuse("%s takes its arguments in pairs, %d are an odd number", c.name, n)
	}
	return c, nil
}

// walkExpr calls visit for every node of e.
func walkExpr(e expr, visit func(expr)) {
	if e == nil {
		return
	}
	visit(e)
	switch n := e.(type) {
	case *unary:
		walkExpr(n.arg, visit)
	case *operation:
		walkExpr(n.left, visit)
		walkExpr(n.right, visit)
	case *membership:
		walkExpr(n.arg, visit)
		for _, a := range n.list {
			walkExpr(a, visit)
		}
	case *call:
		for _, a := range n.args {
			walkExpr(a, visit)
		}
	}
}

// fieldsOf adds the fields that e reads to set.
func fieldsOf(e expr, set *fieldSet) {
	walkExpr(e, func(n expr) {
		switch n := n.(type) {
		case *fieldRef:
			set.add(n.name)
		case *call:
			if n.name == "searchmatch" {
				set.addAll() // any field may stand in its string
			}
		case *bracket:
			set.addAll()
		}
	})
}
