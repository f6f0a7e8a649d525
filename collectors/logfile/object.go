package logfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// An Object is a line that is a JSON object.
type Object map[string]any

// ParseObject reads a line. Numbers stay as they are written.
func ParseObject(line []byte) (Object, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var o Object
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("not an object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than an object")
	}
	return o, nil
}

// Value returns what stands at a key, which may lead through objects by dots;
// nil where there is nothing.
func (o Object) Value(key string) any {
	if v, ok := o[key]; ok {
		return v
	}
	head, rest, ok := strings.Cut(key, ".")
	if !ok {
		return nil
	}
	inner, ok := o[head].(map[string]any)
	if !ok {
		return nil
	}
	return Object(inner).Value(rest)
}

// Text returns the first value of the keys that is a text and not empty, a
// number or a truth value; of a list its first.
func (o Object) Text(keys ...string) string {
	for _, key := range keys {
		v := o.Value(key)
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		switch v := v.(type) {
		case string:
			if v != "" {
				return v
			}
		case json.Number:
			return v.String()
		case bool:
			return strconv.FormatBool(v)
		}
	}
	return ""
}

// Time returns the first value of the keys that is a date: RFC 3339, Apache's
// format, or seconds or milliseconds since 1970; zero where there is none.
func (o Object) Time(keys ...string) time.Time {
	for _, key := range keys {
		if t := parseDate(o.Text(key)); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// apacheDate is how NCSA's formats write a date.
const apacheDate = "02/Jan/2006:15:04:05 -0700"

// dateLayouts are the forms in which logs write a date.
var dateLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", apacheDate,
}

func parseDate(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case f > 1e11 && f < 1e14: // milliseconds
			return time.UnixMilli(int64(f))
		case f > 1e8 && f <= 1e11:
			return time.UnixMilli(int64(f * 1000))
		}
		return time.Time{}
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
