package spl

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// The tree of a search expression.
type (
	searchExpr interface{}

	searchAnd []searchExpr
	searchOr  []searchExpr
	searchNot struct{ arg searchExpr }

	// searchField compares a field with values; op is = != < > <= >=. Several
	// values (IN) are alternatives of an =.
	searchField struct {
		pos    int
		name   string
		op     string
		values []string
		// from is a subsearch that returns the one value, in its stead.
		from   *subsearch
		parser *parser
	}
	// searchText is a word or a quoted phrase that the raw event must hold.
	searchText struct {
		pos  int
		text string
	}
	// searchTime is a time modifier.
	searchTime struct {
		pos   int
		name  string // earliest, latest, _index_earliest, _index_latest
		value string
	}
	searchAll struct{} // * alone
	searchSub struct {
		sub    *subsearch
		parser *parser
	}
	searchNone struct{} // NOT ( ) of an empty subsearch: matches nothing
)

const searchStops = `|][()"=<>!`

// notHere names what the search command knows in Splunk and this subset does not.
var notHere = map[string]string{
	"eventtype": "event types", "tag": "tags", "hosttag": "tags", "sourcetypetag": "tags",
	"savedsearch": "saved searches", "savedsplunk": "saved searches", "splunk_server": "servers", "splunk_server_group": "servers",
	"starttime": "old time modifiers", "endtime": "old time modifiers", "timeformat": "old time modifiers", "starttimeu": "old time modifiers", "endtimeu": "old time modifiers",
	"startdaysago": "old time modifiers", "enddaysago": "old time modifiers", "starthoursago": "old time modifiers", "endhoursago": "old time modifiers",
	"startminutesago": "old time modifiers", "endminutesago": "old time modifiers", "startmonthsago": "old time modifiers", "endmonthsago": "old time modifiers",
	"daysago": "old time modifiers", "hoursago": "old time modifiers", "minutesago": "old time modifiers", "monthsago": "old time modifiers", "searchtimespanhours": "old time modifiers", "searchtimespandays": "old time modifiers",
}

// searchExpression parses up to the end of the command. In search, unlike in
// where, NOT binds first, then OR, then AND (Search Reference, "search";
// Search Manual, "Boolean expressions"); operators are in capitals.
func (p *parser) searchExpression(stops ...string) (searchExpr, error) {
	if err := p.enter(p.pos); err != nil {
		return nil, err
	}
	defer p.leave()
	var all searchAnd
	for {
		if p.done() || p.peek() == ')' || p.atStop(stops) {
			break
		}
		if p.acceptSearchWord("AND") {
			if len(all) == 0 || p.done() || p.peek() == ')' {
				return nil, p.refuse(p.pos, "AND needs an operand on both sides")
			}
		}
		if w := p.peekWord(); w == "OR" && p.acceptSearchWord("OR") {
			return nil, p.refuse(p.pos-2, "OR needs an operand on both sides")
		}
		e, err := p.searchAlternatives(stops)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	switch len(all) {
	case 0:
		return searchAll{}, nil
	case 1:
		return all[0], nil
	}
	return all, nil
}

func (p *parser) atStop(stops []string) bool {
	for _, s := range stops {
		if strings.EqualFold(p.peekWord(), s) {
			return true
		}
	}
	return false
}

func (p *parser) acceptSearchWord(word string) bool {
	return p.peekWord() == word && p.acceptWord(word)
}

func (p *parser) searchAlternatives(stops []string) (searchExpr, error) {
	first, err := p.searchNegation(stops)
	if err != nil {
		return nil, err
	}
	any := searchOr{first}
	for p.acceptSearchWord("OR") {
		if p.done() || p.peek() == ')' {
			return nil, p.refuse(p.pos, "OR needs an operand on both sides")
		}
		e, err := p.searchNegation(stops)
		if err != nil {
			return nil, err
		}
		any = append(any, e)
	}
	if len(any) == 1 {
		return first, nil
	}
	return any, nil
}

func (p *parser) searchNegation(stops []string) (searchExpr, error) {
	p.space()
	at := p.pos
	if !p.acceptSearchWord("NOT") {
		return p.searchPrimary(stops)
	}
	if err := p.enter(at); err != nil {
		return nil, err
	}
	defer p.leave()
	if p.done() {
		return nil, p.refuse(at, "NOT needs an operand")
	}
	if save := p.pos; p.accept('(') && p.accept(')') {
		return searchNone{}, nil // how format writes an empty subsearch
	} else {
		p.pos = save
	}
	e, err := p.searchNegation(stops)
	if err != nil {
		return nil, err
	}
	if hasTime(e) {
		return nil, p.refuse(at, "a time modifier under NOT is not known")
	}
	return searchNot{e}, nil
}

func hasTime(e searchExpr) bool {
	found := false
	walkSearch(e, func(n searchExpr) {
		if _, ok := n.(*searchTime); ok {
			found = true
		}
	})
	return found
}

func walkSearch(e searchExpr, visit func(searchExpr)) {
	visit(e)
	switch n := e.(type) {
	case searchAnd:
		for _, a := range n {
			walkSearch(a, visit)
		}
	case searchOr:
		for _, a := range n {
			walkSearch(a, visit)
		}
	case searchNot:
		walkSearch(n.arg, visit)
	}
}

func (p *parser) searchPrimary(stops []string) (searchExpr, error) {
	p.space()
	at := p.pos
	switch c := p.peek(); {
	case c == '(':
		p.pos++
		if p.accept(')') {
			return nil, p.refuse(at, "empty parentheses")
		}
		e, err := p.searchExpression()
		if err != nil {
			return nil, err
		}
		if !p.accept(')') {
			return nil, p.refuse(at, "unclosed parenthesis: a ( here has no closing )")
		}
		return e, nil
	case c == '[':
		sub, err := p.subsearch()
		if err != nil {
			return nil, err
		}
		return &searchSub{sub, p}, nil
	case strings.IndexByte("=<>!", c) >= 0:
		return nil, p.refuse(at, "a comparison without a field before it%s", p.found())
	}
	word, isQuoted := "", p.peek() == '"'
	if isQuoted {
		s, err := p.searchPhrase()
		if err != nil {
			return nil, err
		}
		word = s
	} else if word = p.bare(searchStops); word == "" {
		return nil, p.refuse(at, "a search term is expected here%s", p.found())
	}
	afterWord := p.pos
	if op := p.comparisonOperator(); op != "" {
		return p.searchComparison(at, word, op)
	}
	p.space()
	if w := p.peekWord(); strings.EqualFold(w, "IN") && !isQuoted {
		save := p.pos
		p.pos += 2
		if p.space(); p.peek() == '(' {
			if w != "IN" {
				return nil, p.refuse(save, "operators of search stand in capitals: write IN")
			}
			return p.searchIN(at, word)
		}
		p.pos = save
	}
	if save := p.pos; !isQuoted && p.acceptSearchWord("NOT") {
		if p.peekWord() == "IN" && p.acceptSearchWord("IN") && p.accept('(') {
			return nil, p.refuse(save, "NOT IN is not known in search: write NOT %s IN (...)", word)
		}
	}
	p.pos = afterWord
	if p.peek() == '(' && !isQuoted {
		return nil, p.refuse(at, "%s(...) is not known in search", word)
	}
	if !isQuoted && strings.Contains(word, "::") {
		return nil, p.refuse(at, "field::value (an indexed field) is not known: write field=value")
	}
	if word == "*" && !isQuoted {
		return searchAll{}, nil
	}
	if word == "" {
		return nil, p.refuse(at, "an empty phrase matches nothing that can be named")
	}
	return &searchText{pos: p.offset(at), text: word}, nil
}

func (p *parser) comparisonOperator() string {
	save := p.pos
	p.space()
	for _, op := range []string{"==", "!=", "<=", ">=", "=", "<", ">"} {
		if strings.HasPrefix(p.text[p.pos:], op) {
			p.pos += len(op)
			return strings.Replace(op, "==", "=", 1)
		}
	}
	p.pos = save
	return ""
}

func (p *parser) searchFieldName(at int, name string) error {
	if strings.Contains(name, "*") {
		return p.refuse(at, "a wildcard in a field's name is not known in search: %q", name)
	}
	low := strings.ToLower(name)
	if what, ok := notHere[low]; ok || strings.HasPrefix(low, "tag::") {
		if what == "" {
			what = "tags"
		}
		return p.refuse(at, "%s: %s are not known here; compare fields, or use earliest and latest", name, what)
	}
	return nil
}

func (p *parser) searchComparison(at int, name, op string) (searchExpr, error) {
	if err := p.searchFieldName(at, name); err != nil {
		return nil, err
	}
	p.space()
	valueAt := p.pos
	var value string
	switch c := p.peek(); {
	case c == '"':
		s, err := p.searchPhrase()
		if err != nil {
			return nil, err
		}
		value = s
	case c == '[':
		sub, err := p.subsearch()
		if err != nil {
			return nil, err
		}
		if strings.Contains(name, "earliest") || strings.Contains(name, "latest") {
			return nil, p.refuse(valueAt, "a subsearch is not known as the time of %s: let it return %s=...", name, name)
		}
		return &searchField{pos: p.offset(at), name: name, op: op, from: sub, parser: p}, nil
	default:
		if value = p.bare(`|][()"`); value == "" {
			return nil, p.refuse(valueAt, "a value is missing after %s%s", name+op, p.found())
		}
		if slices.Contains([]string{"AND", "OR", "NOT", "IN", "AS"}, value) {
			return nil, p.refuse(valueAt, "the value %s is an operator too: write %s%s\"%s\"", value, name, op, value)
		}
	}
	switch name {
	case "earliest", "latest", "_index_earliest", "_index_latest":
		if strings.EqualFold(value, "now") && strings.HasPrefix(p.text[p.pos:], "()") {
			p.pos += 2
		}
		// earliest is part of the range and latest is not, so that >= and < say
		// nothing else.
		if op != "=" && op != map[bool]string{true: ">=", false: "<"}[strings.HasSuffix(name, "earliest")] {
			return nil, p.refuse(at, "the time modifier %s takes =, not %s", name, op)
		}
		if _, err := parseTimeModifier(value); err != nil {
			return nil, p.refuse(valueAt, "%s: %s", name, err)
		}
		return &searchTime{pos: p.offset(at), name: name, value: value}, nil
	}
	if strings.Contains(value, "*") && op != "=" && op != "!=" {
		return nil, p.refuse(valueAt, "a wildcard can't be ordered: %s takes a plain value", op)
	}
	return &searchField{pos: p.offset(at), name: name, op: op, values: []string{value}}, nil
}

func (p *parser) searchIN(at int, name string) (searchExpr, error) {
	if err := p.searchFieldName(at, name); err != nil {
		return nil, err
	}
	open := p.pos
	p.accept('(')
	e := &searchField{pos: p.offset(at), name: name, op: "="}
	for {
		p.space()
		valueAt := p.pos
		var v string
		if p.peek() == '"' {
			s, err := p.searchPhrase()
			if err != nil {
				return nil, err
			}
			v = s
		} else if v = p.bare(`|][(),"`); v == "" {
			return nil, p.refuse(valueAt, "IN: a value is expected here%s", p.found())
		}
		e.values = append(e.values, v)
		if p.accept(',') {
			continue
		}
		if p.accept(')') {
			return e, nil
		}
		if p.done() {
			return nil, p.refuse(open, "unclosed parenthesis: a ( here has no closing )")
		}
		return nil, p.refuse(p.pos, "IN: a , or ) is expected here%s", p.found())
	}
}

// searchPhrase takes a quoted text of a search, in which \| is a bar, too
// (Search Reference, "search", quotes and escaping characters).
func (p *parser) searchPhrase() (string, error) {
	s, err := p.quoted()
	return strings.ReplaceAll(s, `\|`, "|"), err
}

// searchFields adds the fields that e reads to set.
func searchFields(e searchExpr, set *fieldSet) {
	walkSearch(e, func(n searchExpr) {
		switch n := n.(type) {
		case *searchField:
			set.add(n.name)
		case *searchText:
			set.add("_raw")
		case *searchTime:
			if strings.HasPrefix(n.name, "_index") {
				set.add("_indextime")
			} else {
				set.add("_time")
			}
		case *searchSub:
			set.addAll()
		}
	})
}

// matcher returns the test of a whole field's value. A null never matches:
// also != needs the field (Search Reference, "search", difference between NOT
// and !=). Of several values one must match.
func (e *searchField) matcher() func(Value) bool {
	tests := make([]func(Value) bool, len(e.values))
	for i, v := range e.values {
		tests[i] = searchTest(e.op, v, e.name == "index")
	}
	single := tests[0]
	if len(tests) > 1 {
		single = func(v Value) bool {
			for _, t := range tests {
				if t(v) {
					return true
				}
			}
			return false
		}
	}
	return func(v Value) bool {
		if v.kind == kindMulti {
			for _, one := range *v.list {
				if single(one) {
					return true
				}
			}
			return false
		}
		return v.kind != kindNull && single(v)
	}
}

// searchTest compares as search does: = and != compare texts without regard to
// case, so that 1 is not 1.0, with * as a wildcard, quoted or not, and a
// network matches its addresses; < and its like compare two numbers by size
// and everything else as text (Search Reference, "search").
func searchTest(op, pattern string, isIndex bool) func(Value) bool {
	equal := func(v Value) bool { return strings.EqualFold(v.String(), pattern) }
	want, isNumeric := parseNumber(pattern)
	network, notNetwork := netip.ParsePrefix(pattern)
	switch {
	case notNetwork == nil:
		equal = func(v Value) bool {
			s := v.String()
			return strings.EqualFold(s, pattern) || cidrContains(network.Masked(), s)
		}
	case strings.Contains(pattern, "*"):
		w := newWildcard(pattern, true)
		equal = func(v Value) bool {
			s := v.String()
			// index=* leaves out the internal indexes, as Splunk does.
			return w.match(s) && !(isIndex && strings.HasPrefix(s, "_") && !strings.HasPrefix(pattern, "_"))
		}
	}
	order := func(v Value) int {
		if f, ok := v.Float(); ok && isNumeric {
			switch {
			case f < want:
				return -1
			case f > want:
				return 1
			}
			return 0
		}
		return strings.Compare(v.String(), pattern)
	}
	switch op {
	case "!=":
		return func(v Value) bool { return !equal(v) }
	case "<":
		return func(v Value) bool { return order(v) < 0 }
	case ">":
		return func(v Value) bool { return order(v) > 0 }
	case "<=":
		return func(v Value) bool { return order(v) <= 0 }
	case ">=":
		return func(v Value) bool { return order(v) >= 0 }
	}
	return equal
}

// wildcard matches text against a pattern in which * is any stretch.
type wildcard struct {
	parts []string
	fold  bool
}

func newWildcard(pattern string, fold bool) wildcard {
	if fold {
		pattern = strings.ToLower(pattern)
	}
	return wildcard{strings.Split(pattern, "*"), fold}
}

func (w wildcard) match(s string) bool {
	if w.fold {
		s = strings.ToLower(s)
	}
	first, last := w.parts[0], w.parts[len(w.parts)-1]
	if len(w.parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range w.parts[1 : len(w.parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// Bounds of words in the raw text: Splunk's major and minor breakers
// (segmenters.conf). A word of a search stands between two of them; a * in it
// reaches over minor breakers only.
const (
	majorBreakers = `\[\]<>(){}|!;,'"*\n\r\s\t&?+`
	minorBreakers = `/:=@.\-$#%\\_`
)

// textMatcher returns the test of a word or phrase against a raw event.
func textMatcher(phrase string) func(raw string) bool {
	// A subsearch may hand over whatever an event holds.
	phrase = strings.ToValidUTF8(phrase, "\uFFFD")
	var b strings.Builder
	b.WriteString(`(?is)(?:^|[` + majorBreakers + minorBreakers + `])`)
	for i, part := range strings.Split(phrase, "*") {
		if i > 0 {
			b.WriteString(`[^` + majorBreakers + `]*`)
		}
		b.WriteString(regexp.QuoteMeta(part))
	}
	b.WriteString(`(?:$|[` + majorBreakers + minorBreakers + `])`)
	re := regexp.MustCompile(b.String())
	needle := ""
	for _, part := range strings.Split(strings.ToLower(phrase), "*") {
		if len(part) > len(needle) {
			needle = part
		}
	}
	return func(raw string) bool {
		return strings.Contains(strings.ToLower(raw), needle) && re.MatchString(raw)
	}
}

// joined compiles an expression that joins others, which compile makes tests
// of, or that asks nothing; ok is false for any other.
func joined[T any](e searchExpr, compile func(searchExpr) (func(T) bool, error)) (test func(T) bool, ok bool, err error) {
	list := func(es []searchExpr) ([]func(T) bool, error) {
		out := make([]func(T) bool, len(es))
		for i, e := range es {
			if out[i], err = compile(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	switch n := e.(type) {
	case searchAll:
		return func(T) bool { return true }, true, nil
	case searchNone:
		return func(T) bool { return false }, true, nil
	case searchAnd:
		tests, err := list(n)
		if len(tests) == 1 {
			return tests[0], true, err
		}
		return func(v T) bool {
			for _, t := range tests {
				if !t(v) {
					return false
				}
			}
			return true
		}, true, err
	case searchOr:
		tests, err := list(n)
		return func(v T) bool {
			for _, t := range tests {
				if t(v) {
					return true
				}
			}
			return false
		}, true, err
	case searchNot:
		t, err := compile(n.arg)
		return func(v T) bool { return !t(v) }, true, err
	}
	return nil, false, nil
}
