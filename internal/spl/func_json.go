package spl

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

func jsonFunctions(m map[string]*evalFunction) {
	m["json_object"] = &evalFunction{
		most: -1, pairs: true, args: "x", many: true, nulls: true, result: typeText, page: pageJSON,
		run: func(env *evalEnv, at *call, a []Value) Value {
			b := []byte{'{'}
			for i := 0; i < len(a); i += 2 {
				if a[i].kind == kindNull || a[i].kind == kindMulti {
					return env.fail(at.pos, "json_object: a key is one text, not %d values", len(a[i].values()))
				}
				if i > 0 {
					b = append(b, ',')
				}
				b = appendJSONString(b, a[i].String())
				b = append(b, ':')
				b = jsonValue(b, a[i+1])
			}
			return text(string(append(b, '}')))
		},
	}
	m["json_extract"] = &evalFunction{
		least: 1, most: -1, args: "s", page: pageJSON,
		verify: func(c *compiler, at *call) error {
			for _, a := range at.args[1:] {
				if s, ok := literalText(a); ok {
					if _, err := parseJSONPath(s); err != "" {
						return c.refuse(a.at(), "json_extract: path %q: %s", s, err)
					}
				}
			}
			return nil
		},
		run: func(env *evalEnv, at *call, a []Value) Value {
			doc, ok := decodeJSON(a[0].String())
			if !ok {
				return null
			}
			if len(a) == 1 {
				return jsonToValue(doc)
			}
			var found []any
			for _, p := range a[1:] {
				steps, err := parseJSONPath(p.String())
				if err != "" {
					return env.fail(at.pos, "json_extract: path %q: %s", p, err)
				}
				values, wild := walkJSON(doc, steps)
				switch {
				case wild && len(values) == 0 && len(steps) == 1 && members(doc) != nil:
					found = append(found, doc) // "{}" of an object is the object
				case wild && len(values) == 0 && len(a) == 2:
				case wild:
					found = append(found, values)
				case len(values) > 0:
					found = append(found, values[0])
				case len(a) > 2:
					found = append(found, nil)
				}
			}
			if len(a) > 2 {
				return jsonToValue(found)
			}
			if len(found) == 0 {
				return null
			}
			return jsonToValue(found[0])
		},
	}
	m["json_array_to_mv"] = &evalFunction{
		least: 1, most: 2, args: "sx", page: pageJSON,
		run: func(_ *evalEnv, _ *call, a []Value) Value {
			doc, ok := decodeJSON(a[0].String())
			if !ok {
				return null
			}
			keepQuotes := len(a) == 2 && (a[1].isTrue() || isTrueText(a[1].String()))
			var vs []Value
			for _, e := range elements(doc) {
				if e[0] == '"' && keepQuotes {
					vs = append(vs, text(string(e)))
					continue
				}
				vs = append(vs, jsonToValue(e))
			}
			return multi(vs)
		},
	}
}

// jsonValue writes a value of eval as JSON: text that looks like a number is
// one only where it came from data, and text that is a JSON object or array
// nests.
func jsonValue(b []byte, v Value) []byte {
	switch v.kind {
	case kindNull:
		return append(b, "null"...)
	case kindBool:
		return strconv.AppendBool(b, v.isTrue())
	case kindMulti:
		b = append(b, '[')
		for i, one := range *v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = jsonValue(b, one)
		}
		return append(b, ']')
	}
	s := v.String()
	if v.isNumber() && json.Valid([]byte(s)) {
		return append(b, s...)
	}
	if s != "" && (s[0] == '{' || s[0] == '[') && json.Valid([]byte(s)) {
		return append(b, s...)
	}
	return appendJSONString(b, s)
}

// decodeJSON reads one JSON document. Objects and arrays stay as they are
// written, so that what is taken out of them keeps its order and spelling.
func decodeJSON(s string) (any, bool) {
	if len(s) > 4<<20 || !json.Valid([]byte(s)) {
		return nil, false
	}
	return json.RawMessage(strings.TrimSpace(s)), true
}

// members and elements take a document apart by one level.
func members(v any) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if raw, ok := v.(json.RawMessage); ok && len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

func elements(v any) []json.RawMessage {
	var l []json.RawMessage
	if raw, ok := v.(json.RawMessage); ok && len(raw) > 0 && raw[0] == '[' && json.Unmarshal(raw, &l) != nil {
		return nil
	}
	return l
}

func encodeJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return ""
	}
	return strings.TrimRight(b.String(), "\n")
}

// jsonToValue is a piece of a document as a field holds it: texts without
// quotes, objects and arrays as JSON.
func jsonToValue(v any) Value {
	raw, ok := v.(json.RawMessage)
	if !ok {
		if v == nil {
			return null
		}
		return text(encodeJSON(v))
	}
	switch raw[0] {
	case 'n':
		return null
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return null
		}
		return dataText(s)
	case '{', '[':
		var b bytes.Buffer
		if json.Compact(&b, raw) != nil {
			return null
		}
		return text(b.String())
	}
	return dataText(string(raw))
}

// jsonStep is one step of a path: a key, an index, or all elements.
type jsonStep struct {
	key   string
	index int // of an array; -1 for a key, -2 for all elements
}

// parseJSONPath reads a.b{0}.c{} (Search Reference, "spath", "JSON functions").
func parseJSONPath(path string) ([]jsonStep, string) {
	var steps []jsonStep
	for _, part := range strings.Split(path, ".") {
		key, rest := part, ""
		if i := strings.IndexByte(part, '{'); i >= 0 {
			key, rest = part[:i], part[i:]
		}
		if strings.HasPrefix(key, "@") || strings.Contains(rest, "@") {
			return nil, "XML attributes are not known here"
		}
		if key != "" {
			steps = append(steps, jsonStep{key, -1})
		} else if rest == "" {
			return nil, "a step is empty"
		}
		for rest != "" {
			end := strings.IndexByte(rest, '}')
			if rest[0] != '{' || end < 0 {
				return nil, "braces hold an index, like a{0}, or nothing for all"
			}
			step := jsonStep{index: -2}
			if inner := rest[1:end]; inner != "" {
				n, err := strconv.Atoi(inner)
				if err != nil || n < 0 {
					return nil, "an index is a whole number from 0"
				}
				step.index = n
			}
			steps = append(steps, step)
			rest = rest[end+1:]
		}
	}
	return steps, ""
}

// walkJSON finds what a path names; wild tells that it names all elements.
func walkJSON(doc any, steps []jsonStep) (found []any, wild bool) {
	current := []any{doc}
	for _, s := range steps {
		var next []any
		for _, v := range current {
			switch {
			case s.index == -1:
				if e, ok := members(v)[s.key]; ok {
					next = append(next, e)
				}
			case s.index == -2:
				wild = true
				for _, e := range elements(v) {
					next = append(next, e)
				}
			default:
				if l := elements(v); s.index < len(l) {
					next = append(next, l[s.index])
				}
			}
		}
		current = next
	}
	return current, wild
}
