package spl

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

type kind uint8

const (
	kindNull kind = iota
	kindText
	kindNumber
	kindBool // lives inside expressions only: no field ever holds one
	kindMulti
)

// Value is what a field of a row holds: nothing, a text, a number or several
// of these (a multivalue field). The zero Value is null.
type Value struct {
	kind kind
	// data marks text that came from events or lookups: where it looks like a
	// number it is one (isnum, typeof, +), as Splunk types extracted fields.
	data bool
	num  float64 // of a number; 1 or 0 of a bool
	str  string  // of a text; of a number its spelling, where it has one
	list *[]Value
}

var null Value

// Text is a value that is a text.
func Text(s string) Value { return dataText(s) }

func text(s string) Value     { return Value{kind: kindText, str: s} }
func dataText(s string) Value { return Value{kind: kindText, str: s, data: true} }
func number(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return null
	}
	return Value{kind: kindNumber, num: f}
}

// precise is a number that is written with all the digits that a double has.
func precise(f float64) Value {
	v := number(f)
	if v.kind == kindNumber && (f != math.Trunc(f) || math.Abs(f) >= 1e15) {
		v.str = writeNumber(f)
	}
	return v
}

func spelled(f float64, s string) Value { return Value{kind: kindNumber, num: f, str: s} }
func boolean(b bool) Value {
	if b {
		return Value{kind: kindBool, num: 1}
	}
	return Value{kind: kindBool}
}

// multi makes a multivalue of the values that are not null: none is null, one
// is that value.
func multi(vs []Value) Value {
	vs = slices.DeleteFunc(vs, func(v Value) bool { return v.kind == kindNull })
	switch len(vs) {
	case 0:
		return null
	case 1:
		return vs[0]
	}
	return Value{kind: kindMulti, list: &vs}
}

// IsNull tells whether the field has no value.
func (v Value) IsNull() bool { return v.kind == kindNull }

// values lists the single values that v is made of.
func (v Value) values() []Value {
	switch v.kind {
	case kindNull:
		return nil
	case kindMulti:
		return *v.list
	}
	return []Value{v}
}

// Strings returns the text of every value.
func (v Value) Strings() []string {
	vs := v.values()
	out := make([]string, len(vs))
	for i, one := range vs {
		out[i] = one.String()
	}
	return out
}

// String is the text of a single value; several are joined by a newline, as
// Splunk writes them to a single-value place.
func (v Value) String() string {
	switch v.kind {
	case kindText:
		return v.str
	case kindNumber:
		if v.str != "" {
			return v.str
		}
		return formatNumber(v.num)
	case kindBool:
		if v.num != 0 {
			return "True"
		}
		return "False"
	case kindMulti:
		return strings.Join(v.Strings(), "\n")
	}
	return ""
}

// Float is the number that v is or looks like.
func (v Value) Float() (float64, bool) {
	switch v.kind {
	case kindNumber:
		return v.num, true
	case kindText:
		return parseNumber(v.str)
	}
	return 0, false
}

// isNumber is Splunk's own idea of the type: a number, or data that looks like one.
func (v Value) isNumber() bool {
	if v.kind == kindText && v.data {
		_, ok := parseNumber(v.str)
		return ok
	}
	return v.kind == kindNumber
}

func (v Value) isTrue() bool { return v.kind == kindBool && v.num != 0 }

// formatNumber writes the shortest decimal that reads back as f, but for the
// noise of binary fractions: what would take 17 digits is written with 15, as
// results "are rounded to a precision appropriate to the precision of the
// input" (Search Reference, "eval", numeric calculations).
func formatNumber(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatInt(int64(f), 10)
	}
	shortest := strconv.FormatFloat(f, 'e', -1, 64)
	if mantissa, _, _ := strings.Cut(shortest, "e"); len(strings.Trim(mantissa, "-")) >= 18 {
		f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'e', 14, 64), 64)
	}
	return writeNumber(f)
}

func writeNumber(f float64) string {
	if a := math.Abs(f); a >= 1e21 || a < 1e-6 {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// parseNumber reads a decimal number: sign, digits, fraction, exponent.
// Unlike strconv it knows no hex, no underscores, no infinities.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 64 {
		return 0, false
	}
	i, neg := 0, false
	if s[0] == '-' || s[0] == '+' {
		neg = s[0] == '-'
		i++
	}
	start, whole := i, int64(0)
	for i < len(s) && s[i]-'0' <= 9 {
		whole = whole*10 + int64(s[i]-'0')
		i++
	}
	if i == len(s) && i > start && i-start <= 15 {
		if neg {
			whole = -whole
		}
		return float64(whole), true
	}
	digits := i - start
	if i < len(s) && s[i] == '.' {
		i++
		for i < len(s) && s[i]-'0' <= 9 {
			i++
			digits++
		}
	}
	if digits == 0 {
		return 0, false
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '-' || s[i] == '+') {
			i++
		}
		if i == len(s) {
			return 0, false
		}
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
	}
	if i != len(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// compare orders two single values as eval and where do: numbers by size when
// both are or look like numbers, otherwise text by its bytes, case counting.
func compare(a, b Value) int {
	if x, ok := a.Float(); ok {
		if y, ok := b.Float(); ok {
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
	}
	return strings.Compare(a.String(), b.String())
}

// appendKey appends bytes that are equal only for equal values.
func (v Value) appendKey(b []byte) []byte {
	switch v.kind {
	case kindNull:
		return append(b, 0)
	case kindMulti:
		b = append(b, 2)
		for _, one := range *v.list {
			b = one.appendKey(b)
		}
		return append(b, 3)
	case kindNumber:
		if v.str == "" {
			b = append(b, 1)
			if v.num == math.Trunc(v.num) && math.Abs(v.num) < 1e15 {
				b = strconv.AppendInt(b, int64(v.num), 10)
			} else {
				b = append(b, formatNumber(v.num)...)
			}
			return append(b, 0)
		}
	}
	b = append(b, 1)
	s := v.String()
	if strings.IndexByte(s, 0) >= 0 {
		s = strconv.Quote(s) // keeps the end mark unique
	}
	b = append(b, s...)
	return append(b, 0)
}

// MarshalJSON writes a number as a number, several values as an array, and
// everything else as a string.
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil), nil }

func (v Value) appendJSON(b []byte) []byte {
	switch v.kind {
	case kindNull:
		return append(b, "null"...)
	case kindNumber:
		s := v.String()
		if json.Valid([]byte(s)) {
			return append(b, s...)
		}
		return append(b, formatNumber(v.num)...)
	case kindMulti:
		b = append(b, '[')
		for i, one := range *v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = one.appendJSON(b)
		}
		return append(b, ']')
	}
	return appendJSONString(b, v.String())
}

// appendJSONString writes s as JSON without HTML escaping.
func appendJSONString(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil { // a string always encodes
		return append(b, `""`...)
	}
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}
