package spl

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"aiwatch/internal/conf"
)

// Conf is a parsed .conf file: stanza to key to value.
type Conf map[string]map[string]string

const (
	maxMacroDepth  = 50
	maxMacroLength = 1 << 20 // bytes of an expanded search
)

// expander turns macro calls into their text.
type expander struct {
	macros Conf
	env    *evalEnv // for validation and iseval definitions
	src    *source
	out    strings.Builder
}

// expand expands the macros of a search. Macros expand as text, everywhere but
// inside quotes; three backticks enclose a comment, which becomes a space.
func expand(search string, macros Conf, env *evalEnv) (*source, error) {
	src := &source{typed: search, macros: map[string]bool{}}
	if !utf8.ValidString(search) {
		bad := strings.IndexRune(strings.ToValidUTF8(search, "\uFFFD"), utf8.RuneError)
		src.segments = []segment{{0, 0, ""}}
		return nil, src.refusal(bad, "the search is not valid UTF-8 from here on")
	}
	x := &expander{macros: macros, env: env, src: src}
	if err := x.run(search, 0, "", nil); err != nil {
		return nil, err
	}
	src.expanded = x.out.String()
	return src, nil
}

// run copies body, whose first byte was typed at offset at, expanding calls.
// chain holds the macros that are being expanded, for cycles.
func (x *expander) run(body string, at int, inside string, chain []string) error {
	place := func(i int) int {
		if inside != "" {
			return at
		}
		return at + i
	}
	refuse := func(i int, format string, args ...any) error {
		r := (&source{typed: x.src.typed, segments: []segment{{0, place(i), inside}}}).refusal(0, format, args...)
		return r
	}
	emit := func(from, to int) {
		if from < to {
			x.src.segments = append(x.src.segments, segment{x.out.Len(), place(from), inside})
			x.out.WriteString(body[from:to])
		}
	}
	begin := 0
	for i := 0; i < len(body); {
		switch body[i] {
		case '"':
			end := closingQuote(body, i)
			if end < 0 {
				return refuse(i, `unclosed quote: a " here has no closing "`)
			}
			i = end + 1
		case '`':
			if strings.HasPrefix(body[i:], "```") {
				end := strings.Index(body[i+3:], "```")
				if end < 0 {
					return refuse(i, "unclosed comment: ``` here has no closing ```")
				}
				emit(begin, i)
				x.src.segments = append(x.src.segments, segment{x.out.Len(), place(i), inside})
				x.out.WriteByte(' ')
				i += end + 6
				begin = i
				continue
			}
			end := closingBacktick(body, i)
			if end < 0 {
				return refuse(i, "unclosed macro: a ` here has no closing `")
			}
			emit(begin, i)
			if err := x.call(body[i+1:end], refuse, i, place(i), chain); err != nil {
				return err
			}
			i = end + 1
			begin = i
		case '\\':
			i += 2 // a quotation mark behind it opens nothing
		default:
			i++
		}
		if x.out.Len() > maxMacroLength {
			return refuse(i, "the search is longer than %d bytes once its macros are expanded", maxMacroLength)
		}
	}
	emit(begin, len(body))
	return nil
}

// closingQuote returns the offset of the quote that closes the one at i, or -1.
func closingQuote(s string, i int) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '"':
			return j
		}
	}
	return -1
}

// closingBacktick skips quoted arguments on its way to the closing backtick.
func closingBacktick(s string, i int) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '"':
			end := closingQuote(s, j)
			if end < 0 {
				return -1
			}
			j = end
		case '`':
			return j
		}
	}
	return -1
}

func (x *expander) call(inner string, refuse func(int, string, ...any) error, i, typed int, chain []string) error {
	inner = strings.TrimSpace(inner)
	name, args := inner, []string(nil)
	if open := strings.IndexByte(inner, '('); open >= 0 {
		if !strings.HasSuffix(inner, ")") {
			return refuse(i, "macro `%s`: its argument list has no closing parenthesis", inner)
		}
		name = strings.TrimSpace(inner[:open])
		args = splitMacroArguments(inner[open+1 : len(inner)-1])
	}
	if name == "" {
		return refuse(i, "a macro call without a name")
	}
	stanza := name
	if len(args) > 0 {
		stanza = name + "(" + strconv.Itoa(len(args)) + ")"
	}
	def, ok := x.macros[stanza]
	if !ok {
		return refuse(i, "unknown macro `%s`%s", stanza, x.otherArities(name))
	}
	for _, c := range chain {
		if c == stanza {
			return refuse(i, "macro cycle: %s", strings.Join(append(chain, stanza), " -> "))
		}
	}
	if len(chain) >= maxMacroDepth {
		return refuse(i, "macros nest deeper than %d", maxMacroDepth)
	}
	x.src.macros[stanza] = true
	body, ok := def["definition"]
	if !ok {
		return refuse(i, "macro `%s` has no definition", stanza)
	}
	names := splitList(def["args"])
	if len(names) != len(args) {
		return refuse(i, "macro `%s` names %d arguments in args, the call has %d", stanza, len(names), len(args))
	}
	body = fillArguments(body, names, args)
	if v := strings.TrimSpace(def["validation"]); v != "" {
		if err := x.validate(stanza, fillArguments(v, names, args), def["errormsg"]); err != nil {
			return refuse(i, "%s", err.Error())
		}
	}
	if isTrueText(def["iseval"]) {
		v, err := x.evaluate(body)
		if err != nil {
			return refuse(i, "macro `%s`: its definition (iseval) is no expression that can be evaluated: %s", stanza, err)
		}
		if v.kind != kindText && v.kind != kindNumber {
			return refuse(i, "macro `%s`: its definition (iseval) gives no string", stanza)
		}
		body = v.String()
	}
	return x.run(body, typed, stanza, append(chain[:len(chain):len(chain)], stanza))
}

func (x *expander) otherArities(name string) string {
	var have []string
	for stanza := range x.macros {
		if stanza == name || strings.HasPrefix(stanza, name+"(") {
			have = append(have, stanza)
		}
	}
	sort.Strings(have)
	if len(have) > 0 {
		return "; defined are " + strings.Join(have, ", ")
	}
	return ""
}

// validate runs a macro's validation: a boolean must be true; anything else
// must be null, and is the error's text where it is a string.
func (x *expander) validate(stanza, expression, message string) error {
	v, err := x.evaluate(expression)
	switch {
	case err != nil:
		return fmt.Errorf("macro `%s`: its validation is no expression that can be evaluated: %w", stanza, err)
	case v.kind == kindBool && v.isTrue():
		return nil
	case v.kind == kindNull && !x.isBoolean(expression):
		return nil
	case v.kind == kindText:
		return fmt.Errorf("macro `%s`: an argument is not valid: %s", stanza, v.str)
	case message == "":
		message = "its validation failed"
	}
	return fmt.Errorf("macro `%s`: an argument is not valid: %s", stanza, message)
}

func (x *expander) evaluate(expression string) (Value, error) {
	sc := newSchema()
	fn, _, err := x.compile(expression, sc)
	if err != nil {
		return null, err
	}
	x.env.failed = nil
	v := fn(nil)
	return v, x.env.takeFailure()
}

func (x *expander) isBoolean(expression string) bool {
	_, t, err := x.compile(expression, newSchema())
	return err == nil && t == typeBool
}

func (x *expander) compile(expression string, sc *schema) (evalFn, staticType, error) {
	p := newParser(&source{typed: expression, expanded: expression, segments: []segment{{0, 0, ""}}})
	e, err := p.wholeExpression()
	if err != nil {
		return nil, typeAny, err
	}
	return compileExpr(e, sc, x.env)
}

// splitMacroArguments splits at commas outside quotes and parentheses and
// takes the quotes off an argument that is quoted as a whole.
func splitMacroArguments(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	var args []string
	depth, begin := 0, 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == ',' && depth == 0 {
			args = append(args, unquoteArgument(strings.TrimSpace(s[begin:i])))
			begin = i + 1
			continue
		}
		switch s[i] {
		case '"':
			if end := closingQuote(s, i); end > 0 {
				i = end
			}
		case '(':
			depth++
		case ')':
			depth--
		}
	}
	return args
}

func unquoteArgument(a string) string {
	if len(a) >= 2 && a[0] == '"' && closingQuote(a, 0) == len(a)-1 {
		return unescape(a[1 : len(a)-1])
	}
	return a
}

func fillArguments(body string, names, args []string) string {
	var pairs []string
	for i, n := range names {
		pairs = append(pairs, "$"+n+"$", args[i])
	}
	return strings.NewReplacer(pairs...).Replace(body)
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

func isTrueText(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "t", "true", "y", "yes":
		return true
	}
	return false
}

// unescape resolves \" and \\; every other backslash stays, so that regular
// expressions are written as they are.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ConfOf is a parsed .conf file as searches use it: stanza to key to value. A
// stanza's settings stand over those of [default].
func ConfOf(f *conf.File) Conf {
	out := Conf{}
	if f == nil {
		return out
	}
	for _, s := range f.Stanzas {
		if s.Name == conf.DefaultStanza {
			continue
		}
		m := map[string]string{}
		for _, v := range s.Values {
			m[v.Key] = v.Text
		}
		out[s.Name] = m
	}
	if d := f.Stanza(conf.DefaultStanza); d != nil {
		for _, m := range out {
			for _, v := range d.Values {
				if _, ok := m[v.Key]; !ok {
					m[v.Key] = v.Text
				}
			}
		}
	}
	return out
}
