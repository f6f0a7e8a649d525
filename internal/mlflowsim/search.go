package mlflowsim

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A filter is a conjunction of comparisons, which is all that MLflow's grammar
// has.
type filter struct {
	terms   []term
	prompts bool // asks for prompts, which are hidden otherwise
}

type term struct {
	key, op string
	values  []string
}

var termPattern = regexp.MustCompile("(?i)^\\s*([\\w.]+(?:`[^`]+`)?|`[^`]+`)\\s*(>=|<=|!=|=|>|<|IN|LIKE)\\s*(\\(.*?\\)|'[^']*'|\"[^\"]*\"|-?[0-9.]+)\\s*(?:AND\\b|$)")

func parseFilter(text string) (*filter, error) {
	f := &filter{}
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := termPattern.FindStringSubmatch(rest)
		if m == nil {
			return nil, invalid("Invalid clause(s) in filter string: %s", text)
		}
		rest = rest[len(m[0]):]
		t := term{key: strings.ReplaceAll(strings.TrimPrefix(m[1], "attributes."), "`", ""), op: strings.ToUpper(m[2])}
		value := strings.Trim(m[3], "()")
		for _, v := range strings.Split(value, ",") {
			t.values = append(t.values, strings.Trim(strings.TrimSpace(v), `'"`))
		}
		if t.op != "IN" {
			t.values = []string{strings.Trim(value, `'"`)}
		}
		if t.key == "tags."+promptTag && t.op == "=" && t.values[0] == "true" {
			f.prompts = true
			continue
		}
		f.terms = append(f.terms, t)
	}
	return f, nil
}

// equals returns the value that a key must have, empty when any will do.
func (f *filter) equals(key string) string {
	for _, t := range f.terms {
		if t.key == key && t.op == "=" {
			return t.values[0]
		}
	}
	return ""
}

func (f *filter) matches(get func(key string) (string, bool)) bool {
	for _, t := range f.terms {
		v, ok := get(t.key)
		if !ok || !t.holds(v) {
			return false
		}
	}
	return true
}

func (t *term) holds(v string) bool {
	switch t.op {
	case "=":
		return v == t.values[0]
	case "!=":
		return v != t.values[0]
	case "IN":
		return slices.Contains(t.values, v)
	case "LIKE":
		return strings.Contains(v, strings.Trim(t.values[0], "%"))
	}
	a, errA := strconv.ParseFloat(v, 64)
	b, errB := strconv.ParseFloat(t.values[0], 64)
	if errA != nil || errB != nil {
		return false
	}
	switch t.op {
	case ">=":
		return a >= b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a < b
}

// cut returns the page that a call asks for, of own objects followed by bulk
// ones, and the token of the next: base64 of {"offset": N}, as MLflow makes it.
func cut(c *call, own, bulk, limit int, ownAt, bulkAt func(int) object) (list []object, next string) {
	offset := 0
	if raw, err := base64.StdEncoding.DecodeString(c.str("page_token")); err == nil {
		_, _ = fmt.Sscanf(string(raw), `{"offset": %d}`, &offset)
	}
	end := min(offset+limit, own+bulk)
	for i := offset; i < end; i++ {
		if i < own {
			list = append(list, ownAt(i))
		} else {
			list = append(list, bulkAt(i-own))
		}
	}
	if end < own+bulk {
		next = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"offset": %d}`, end))
	}
	return list, next
}

// listing is an answer with a list, which is absent when it is empty.
func listing(name string, list []object, next string) object {
	o := object{}
	put(o, name, list)
	put(o, "next_page_token", next)
	return o
}
