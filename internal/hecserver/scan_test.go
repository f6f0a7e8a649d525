package hecserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// values are JSON texts, right and wrong, that the scanner is held to.
var values = []string{
	`{}`, `[]`, `{"a":1}`, `{"a":{"b":[1,2,{"c":null}]},"d":"e"}`, ` [1 , 2 ]`, `"plain text that is longer than eight bytes"`,
	`"ümläut and 漢字 in the middle of it"`, `"\u00e9\n\\\"\/"`, `"\u12g4"`, `"\x"`, `"\`, `"open`, "\"tab\there\"", "\"1234567\x01\"", "\"\x7f\"",
	"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"abcdefg\xf4\x90\x80\x80\"", `0`, `-0`, `01`, `1.`, `.5`, `1.5e+3`, `1e`, `-`, `1E-2`, `+1`,
	`true`, `false`, `null`, `tru`, `nul`, `truE`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `[1 2]`, `{"a":1 "b":2}`, `{1:2}`, ``, ` `,
	`"1234567"`, `"12345678"`, `"123456789"`, `"1234567\\"`, "[1\f]", "\ufeff1",
}

// strictlyValid is what the scanner is held to: encoding/json and UTF-8.
func strictlyValid(b []byte) bool { return json.Valid(b) && utf8.Valid(b) }

func scans(b []byte) bool {
	i := skipValue(b, skipSpace(b, 0), 0)
	return i != bad && skipSpace(b, i) == len(b)
}

func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	// The deep ones are no seeds: the fuzzer would spend its time on shortening them.
	deep := []string{
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
		strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth), strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1),
	}
	for _, v := range append(deep, values...) {
		require.Equal(t, strictlyValid([]byte(v)), scans([]byte(v)), "%.60q", v)
	}
}

// TestScannerKnowsEveryByteAtEveryPlace puts each byte, whole characters that
// begin with it where there are any, at each place of the eight that are looked
// at together.
func TestScannerKnowsEveryByteAtEveryPlace(t *testing.T) {
	for c := range 256 {
		for at := range 18 {
			for _, more := range []string{"", "\x80", "\xbf\xbf", "\x9f\x80\x80"} {
				v := `"` + strings.Repeat("a", at) + string([]byte{byte(c)}) + more + strings.Repeat("b", 18-at) + `"`
				require.Equal(t, strictlyValid([]byte(v)), scans([]byte(v)), "%q", v)
			}
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, v := range values {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		require.Equal(t, strictlyValid(b), scans(b), "%q", b)
	})
}

// FuzzBody holds the body parser to a slow one, made of encoding/json: the same
// number of good objects, the same code at the first bad one, the same values.
func FuzzBody(f *testing.F) {
	for _, v := range values {
		f.Add([]byte(v))
		f.Add([]byte(`{"event":"a"}{"event":` + v + `}{"event":"b"}`))
		f.Add([]byte(`{"event":"a","fields":` + v + `}`))
		f.Add([]byte(`[{"event":` + v + `}]`))
	}
	f.Add([]byte(`{"time":1.5,"host":"h","index":"ai","event":{"event_id":"x","collector":"c","seq":3}}`))
	f.Add([]byte(`{"event":"a","index":"no"}`))
	f.Add([]byte(`{"time":"1","event":"a","fields":{"a":["b",[]]}}`))
	f.Add([]byte(`[{"event":1},{"event":2,"unknown":3}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		token := &token{indexes: map[string]bool{"ai": true}, defaultIndex: []byte(`"ai"`)}
		token.Indexes = []string{"ai"}
		p := bodyParser{token: token, now: time.Unix(0, 0)}
		got := p.parseEvents(body, nil)
		events, code := slowParse(body)
		require.Equal(t, code, got.code, "%q", body)
		require.Len(t, got.events, len(events), "%q", body)
		for i, e := range got.events {
			require.JSONEq(t, string(events[i]), string(e.Event))
		}
	})
}

// slowParse reads a body by encoding/json alone.
func slowParse(body []byte) (events []json.RawMessage, code Code) {
	trimmed := bytes.Trim(body, " \t\r\n")
	if len(trimmed) == 0 {
		return nil, NoData
	}
	// Past the first byte that is not UTF-8 nothing is taken; what stands before
	// it is found by cutting there.
	d := json.NewDecoder(bytes.NewReader(trimmed))
	array := trimmed[0] == '['
	if array {
		if json.Valid(trimmed) && bytes.Equal(bytes.Trim(trimmed[1:len(trimmed)-1], " \t\r\n"), nil) {
			return nil, NoData
		}
		if _, err := d.Token(); err != nil {
			return nil, InvalidDataFormat
		}
	}
	for {
		if array && !d.More() {
			if closing, err := d.Token(); err != nil || closing != json.Delim(']') {
				return events, InvalidDataFormat
			}
			if _, err := d.Token(); !errors.Is(err, io.EOF) {
				return events, InvalidDataFormat
			}
			return events, Success
		}
		var one json.RawMessage
		err := d.Decode(&one)
		if !array && errors.Is(err, io.EOF) {
			return events, Success
		}
		if err != nil {
			return events, InvalidDataFormat
		}
		event, code := slowCheck(one)
		if code != Success {
			return events, code
		}
		events = append(events, event)
	}
}

func slowCheck(one json.RawMessage) (json.RawMessage, Code) {
	if !utf8.Valid(one) || one[0] != '{' {
		return nil, InvalidDataFormat
	}
	var keys []string
	d := json.NewDecoder(bytes.NewReader(one))
	_, _ = d.Token()
	values := map[string]json.RawMessage{}
	for d.More() {
		key, _ := d.Token()
		var v json.RawMessage
		_ = d.Decode(&v)
		keys = append(keys, key.(string))
		values[key.(string)] = v
	}
	if len(values) != len(keys) {
		return nil, InvalidDataFormat
	}
	for key, v := range values {
		switch key {
		case "host", "source", "sourcetype", "index":
			if v[0] != '"' {
				return nil, InvalidDataFormat
			}
		case "time":
			number := bytes.Trim(v, `"`)
			if !json.Valid(number) || number[0] < '0' || number[0] > '9' || bytes.ContainsAny(number, " \t\r\n") {
				return nil, InvalidDataFormat
			}
		case "event", "fields":
		default:
			return nil, InvalidDataFormat
		}
	}
	switch string(values["event"]) {
	case "", "null":
		return nil, EventRequired
	case `""`:
		return nil, EventBlank
	}
	if fields, ok := values["fields"]; ok {
		var m map[string]any
		if fields[0] != '{' || json.Unmarshal(fields, &m) != nil {
			return nil, IndexedFieldsError
		}
		var flat func(v any, depth int) bool
		flat = func(v any, depth int) bool {
			switch v := v.(type) {
			case map[string]any:
				return false
			case []any:
				return depth == 0 && !slices.ContainsFunc(v, func(e any) bool { return !flat(e, 1) })
			}
			return true
		}
		// A key given twice counts each time; the decoder shows them all.
		d := json.NewDecoder(bytes.NewReader(fields))
		_, _ = d.Token()
		for d.More() {
			_, _ = d.Token()
			var v any
			if d.Decode(&v) == nil && !flat(v, 0) {
				return nil, IndexedFieldsError
			}
		}
	}
	if index, ok := values["index"]; ok {
		var name string
		if json.Unmarshal(index, &name) != nil || name != "ai" {
			return nil, IncorrectIndex
		}
	}
	return values["event"], Success
}

func TestParserExtractsWhatAnEventSaysOfItself(t *testing.T) {
	p := bodyParser{token: &token{defaultIndex: []byte(`"main"`)}, now: time.Unix(5, 0)}
	got := p.parseEvents([]byte(`{"time":1.5,"host":"h","source":"s","sourcetype":"t","fields":{"f":"g"},`+
		`"event":{"x":{"event_id":"inner","seq":9},"collector":"0badcafe","event_id":"ab","seq":7}}`+
		`{"event":{"event_id":1,"seq":"7"}}{"event":{"seq":-1}}{"event":{"seq":9007199254740993}}`), nil)
	require.Equal(t, Success, got.code)
	require.Equal(t, Received{
		Time: []byte("1.5"), Host: []byte(`"h"`), Source: []byte(`"s"`), Sourcetype: []byte(`"t"`), Index: []byte(`"main"`),
		Fields: []byte(`{"f":"g"}`), Event: got.events[0].Event,
		ID: []byte("ab"), Collector: []byte("0badcafe"), Seq: 7, HasSeq: true, Indexed: time.Unix(5, 0),
	}, got.events[0])
	for _, e := range got.events[1:] {
		require.Nil(t, e.ID)
		require.False(t, e.HasSeq)
	}
}

func TestParserDoesNotAllocate(t *testing.T) {
	body := bytes.Repeat([]byte(`{"time":1,"source":"s","event":{"event_id":"ab","seq":7,"u":"\u00e9"},"fields":{"a":["b"]}}`), 100)
	p := bodyParser{token: &token{defaultIndex: []byte(`"main"`)}}
	events := make([]Received, 0, 100)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		if len(p.parseEvents(body, events).events) != 100 {
			t.Fatal("not all taken")
		}
	}))
}
