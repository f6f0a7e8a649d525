package spl

import (
	"crypto/md5" //nolint:gosec // SPL's md5(), not a protection of anything
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

func textFunctions(m map[string]*evalFunction) {
	one := func(name, page string, f func(string) string) {
		m[name] = &evalFunction{
			least: 1, most: 1, args: "s", result: typeText, page: page,
			run: func(_ *evalEnv, _ *call, a []Value) Value { return text(f(a[0].String())) },
		}
	}
	for name, f := range map[string]func(string) string{"lower": strings.ToLower, "upper": strings.ToUpper} {
		m[name] = &evalFunction{
			least: 1, most: 1, args: "s", many: true, result: typeText, page: pageText,
			run: func(_ *evalEnv, _ *call, a []Value) Value {
				var vs []Value
				for _, s := range a[0].Strings() {
					vs = append(vs, text(f(s)))
				}
				return multi(vs)
			},
		}
	}
	one("md5", pageCrypto, func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) })
	one("sha256", pageCrypto, func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) })
	one("urldecode", pageText, func(s string) string {
		// A + stays: the page speaks of percent escapes only.
		if u, err := url.PathUnescape(s); err == nil {
			return u
		}
		return s
	})
	m["len"] = &evalFunction{
		least: 1, most: 1, args: "s", result: typeNumber, page: pageText,
		run: func(_ *evalEnv, _ *call, a []Value) Value {
			return number(float64(utf8.RuneCountInString(a[0].String())))
		},
	}
	m["length"] = m["len"]
	for name, trim := range map[string]func(s, set string) string{"trim": strings.Trim, "ltrim": strings.TrimLeft, "rtrim": strings.TrimRight} {
		m[name] = &evalFunction{
			least: 1, most: 2, args: "s", result: typeText, page: pageText,
			run: func(_ *evalEnv, _ *call, a []Value) Value {
				set := " \t"
				if len(a) == 2 {
					set = a[1].String()
				}
				return text(trim(a[0].String(), set))
			},
		}
	}
	m["substr"] = &evalFunction{least: 2, most: 3, args: "snn", result: typeText, page: pageText, run: substr}
	m["replace"] = &evalFunction{least: 3, most: 3, page: pageText, build: buildReplace}
	m["printf"] = &evalFunction{least: 1, most: -1, page: pageConversion, build: buildPrintf}
	m["commands"] = &evalFunction{
		least: 1, most: 1, args: "s", page: pageMultivalue,
		run: func(_ *evalEnv, _ *call, a []Value) Value {
			var names []Value
			for _, part := range splitPipeline(a[0].String()) {
				if f := strings.Fields(part); len(f) > 0 {
					names = append(names, text(f[0]))
				}
			}
			return multi(names)
		},
	}
}

// splitPipeline splits at bars outside quotes and brackets.
func splitPipeline(s string) []string {
	var parts []string
	depth, begin := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if end := closingQuote(s, i); end > 0 {
				i = end
			}
		case '[':
			depth++
		case ']':
			depth--
		case '|':
			if depth == 0 {
				parts = append(parts, s[begin:i])
				begin = i + 1
			}
		}
	}
	return append(parts, s[begin:])
}

func substr(env *evalEnv, at *call, a []Value) Value {
	s := []rune(a[0].String())
	start, ok := a[1].Float()
	if !ok {
		return null
	}
	i := int(start)
	switch {
	case i == 0:
		return env.fail(at.pos, "substr: positions count from 1, or from -1 at the end; 0 is not documented")
	case i > 0:
		i--
	default:
		i = max(0, len(s)+i)
	}
	if i >= len(s) {
		return text("")
	}
	end := len(s)
	if len(a) == 3 {
		n, ok := a[2].Float()
		if !ok {
			return null
		}
		if n < 0 {
			return env.fail(at.pos, "substr: a negative length is not documented")
		}
		end = min(end, i+int(min(n, float64(len(s)))))
	}
	return text(string(s[i:end]))
}

// goReplacement turns \1 of a replacement into ${1}; a $ stands for itself.
func goReplacement(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1]-'0' <= 9:
			i++
			fmt.Fprintf(&b, "${%c}", s[i])
		case s[i] == '$':
			b.WriteString("$$")
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func buildReplace(c *compiler, at *call) (evalFn, staticType, error) {
	fns := make([]evalFn, 3)
	for i := range fns {
		fn, _, err := c.textOperand(at, i)
		if err != nil {
			return nil, typeText, err
		}
		fns[i] = fn
	}
	known := regexps{}
	if s, ok := literalText(at.args[1]); ok {
		if _, err := known.get(s); err != nil {
			return nil, typeText, c.refuse(at.args[1].at(), "replace: %s", err)
		}
	}
	env := c.env
	return func(r Row) Value {
		s, pattern, with := fns[0](r), fns[1](r), fns[2](r)
		if s.kind == kindNull || pattern.kind == kindNull || with.kind == kindNull {
			return null
		}
		if s.kind == kindMulti || pattern.kind == kindMulti || with.kind == kindMulti {
			return env.fail(at.pos, "replace was given a field with several values, which is not documented: use mvmap")
		}
		re, err := known.get(pattern.String())
		if err != nil {
			return env.fail(at.pos, "replace: %s", err)
		}
		return text(re.ReplaceAllString(s.String(), goReplacement(with.String())))
	}, typeText, nil
}

// printfVerb is one % of a printf format.
type printfVerb struct {
	flags            string
	width, precision int // -1: none, -2: an argument
	verb             byte
	commas           bool
}

// buildPrintf compiles printf(format, args...); the format is a literal.
func buildPrintf(c *compiler, at *call) (evalFn, staticType, error) {
	format, ok := literalText(at.args[0])
	if !ok {
		return nil, typeText, c.refuse(at.args[0].at(), "printf: the format stands in quotes here")
	}
	var fns []evalFn
	for i := range at.args[1:] {
		fn, _, err := c.textOperand(at, i+1)
		if err != nil {
			return nil, typeText, err
		}
		fns = append(fns, fn)
	}
	var texts []string
	var verbs []printfVerb
	literal, needed := "", 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			literal += string(format[i])
			continue
		}
		if strings.HasPrefix(format[i:], "%%") {
			literal += "%"
			i++
			continue
		}
		v := printfVerb{width: -1, precision: -1}
		i++
		for ; i < len(format) && strings.IndexByte("+- #0'", format[i]) >= 0; i++ {
			if format[i] == '\'' {
				v.commas = true
			} else {
				v.flags += string(format[i])
			}
		}
		size := func(into *int) {
			if i < len(format) && format[i] == '*' {
				*into = -2
				needed++
				i++
				return
			}
			begin := i
			for i < len(format) && format[i]-'0' <= 9 {
				i++
			}
			if i > begin {
				*into, _ = strconv.Atoi(format[begin:min(i, begin+6)])
			}
		}
		size(&v.width)
		if i < len(format) && format[i] == '.' {
			i++
			v.precision = 0
			size(&v.precision)
		}
		if i >= len(format) || strings.IndexByte("dixXpoufFeEgGszc", format[i]) < 0 {
			return nil, typeText, c.refuse(at.args[0].at(), "printf: the format %q holds a %% that is not known here; known are d i u x X p o f F e E g G s z c", format)
		}
		if v.width > 1000 || v.precision > 1000 {
			return nil, typeText, c.refuse(at.args[0].at(), "printf: a width or precision over 1000")
		}
		v.verb = format[i]
		if alias, ok := map[byte]byte{'z': 's', 'p': 'X', 'i': 'd', 'u': 'd'}[v.verb]; ok {
			v.verb = alias
		}
		needed++
		texts = append(texts, literal)
		literal = ""
		verbs = append(verbs, v)
	}
	if needed != len(fns) {
		return nil, typeText, c.refuse(at.pos, "printf: the format takes %d values, the call has %d", needed, len(fns))
	}
	env := c.env
	return func(r Row) Value {
		var b strings.Builder
		next := 0
		take := func() (Value, bool) {
			v := fns[next](r)
			next++
			if v.kind == kindMulti {
				env.fail(at.pos, "printf was given a field with several values, which is not documented: use mvjoin")
			}
			return v, v.kind != kindNull && v.kind != kindMulti
		}
		for i, v := range verbs {
			b.WriteString(texts[i])
			for _, size := range []*int{&v.width, &v.precision} {
				if *size == -2 {
					n, ok := take()
					f, isNumber := n.Float()
					if !ok || !isNumber || f < 0 || f > 1000 {
						return null
					}
					*size = int(f)
				}
			}
			arg, ok := take()
			if !ok {
				return null
			}
			s, ok := v.format(arg)
			if !ok {
				return null
			}
			b.WriteString(s)
		}
		b.WriteString(literal)
		return text(b.String())
	}, typeText, nil
}

func (v printfVerb) format(arg Value) (string, bool) {
	spec := "%" + v.flags
	if v.width >= 0 {
		spec += strconv.Itoa(v.width)
	}
	if v.precision >= 0 {
		spec += "." + strconv.Itoa(v.precision)
	}
	if v.verb == 's' {
		return fmt.Sprintf(spec+"s", arg.String()), true
	}
	f, ok := arg.Float()
	if v.verb == 'c' && !ok { // the first letter of a text
		r, _ := utf8.DecodeRuneInString(arg.String())
		return fmt.Sprintf(spec+"c", r), arg.String() != ""
	}
	if !ok {
		return "", false
	}
	switch v.verb {
	case 'd':
		if v.commas {
			s := withCommas(float64(int64(f)), true)
			if strings.Contains(v.flags, "+") && f >= 0 {
				s = "+" + s
			}
			return pad(s, v), true
		}
		return fmt.Sprintf(spec+"d", int64(f)), true
	case 'x', 'X', 'o':
		return fmt.Sprintf(spec+string(v.verb), int64(f)), true
	case 'c':
		return fmt.Sprintf(spec+"c", rune(int32(f))), true
	}
	if v.commas {
		n := 6
		if v.precision >= 0 {
			n = v.precision
		}
		head, tail, _ := strings.Cut(strconv.FormatFloat(f, 'f', n, 64), ".")
		whole, _ := strconv.ParseFloat(head, 64)
		s := withCommas(whole, true)
		if f < 0 && whole == 0 {
			s = "-" + s
		}
		if tail != "" {
			s += "." + tail
		}
		return pad(s, v), true
	}
	return fmt.Sprintf(spec+string(v.verb), f), true
}

func pad(s string, v printfVerb) string {
	if n := v.width - utf8.RuneCountInString(s); n > 0 {
		if strings.Contains(v.flags, "-") {
			return s + strings.Repeat(" ", n)
		}
		return strings.Repeat(" ", n) + s
	}
	return s
}
