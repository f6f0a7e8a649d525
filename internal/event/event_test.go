package event

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event/schema"
)

// sample is an event with every kind of value.
func sample() Event {
	return Event{
		Envelope:   Envelope{Time: Millis(1761900000123), Host: "s3.amazonaws.com", Source: "aiwatch_s3://prod", Sourcetype: SourcetypeS3, Index: "aiwatch"},
		ID:         MakeID(SourcetypeS3, "REQ1", "REST.GET.OBJECT", "models/a.bin", "-"),
		Collector:  "0badcafe",
		Seq:        7,
		AssetID:    `s3://models/"a"\b.bin`,
		BytesOut:   N(0),
		NotBefore:  Millis(1761900000100),
		Protected:  True,
		Merge:      False,
		Imports:    []string{"os.system", "torch.nn"},
		Operation:  "REST.GET.OBJECT",
		StatusCode: "200",
	}
}

func TestAppendEnvelope(t *testing.T) {
	e := sample()
	require.Equal(t, `{"time":1761900000.123,"host":"s3.amazonaws.com","source":"aiwatch_s3://prod","sourcetype":"aiwatch:s3","index":"aiwatch","event":`+
		`{"asset_id":"s3://models/\"a\"\\b.bin","bytes_out":0,"collector":"0badcafe","event_id":"`+e.ID.String()+`","imports":["os.system","torch.nn"],`+
		`"merge":false,"not_before":1761900000.1,"operation":"REST.GET.OBJECT","protected":true,"seq":7,"status_code":"200"}}`,
		string(e.AppendEnvelope(nil)))
}

// The documented form of an identity, computed here by hand with other tools:
// printf '\0\0\0\012aiwatch:s3\0\0\0\001a' | sha256sum | cut -c1-32.
func TestMakeID(t *testing.T) {
	require.Equal(t, "3835965ac153f789709d67319e43a1bc", MakeID("aiwatch:s3", "a").String())
	require.NotEqual(t, MakeID("aiwatch:s3", "ab", "c"), MakeID("aiwatch:s3", "a", "bc"), "lengths keep parts apart")
	id := MakeID("x")
	back, ok := ParseID(id.String())
	require.True(t, ok)
	require.Equal(t, id, back)
	_, ok = ParseID(strings.Repeat("g", 32))
	require.False(t, ok)
	_, ok = ParseID("00")
	require.False(t, ok)
}

func TestNumbersThatJSONCannotKeepAreLeftOut(t *testing.T) {
	e := sample()
	e.AssetSize = N(1 << 53)
	require.NotContains(t, string(e.AppendJSON(nil)), "asset_size")
	e.AssetSize = N(1<<53 - 1)
	require.Contains(t, string(e.AppendJSON(nil)), `"asset_size":9007199254740991`)
}

func TestTime(t *testing.T) {
	for ms, want := range map[int64]string{0: "0", 1: "0.001", 1500: "1.5", 12340: "12.34", 2000: "2", -1: "-0.001", -1500: "-1.5"} {
		require.Equal(t, want, string(Millis(ms).appendJSON(nil)))
	}
	require.False(t, At(time.Time{}).IsSet())
	require.True(t, Millis(0).IsSet(), "1970 is a date that a committer may choose")
	at := time.Date(2026, 3, 2, 9, 13, 5, 123_999_999, time.UTC)
	require.Equal(t, at.Truncate(time.Millisecond), At(at).Std())
}

func TestControlCharactersAndInvalidUTF8AreReplaced(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb":         `"a` + "\uFFFD" + `b"`,
		"\x00\x1b[31m": `"` + "\uFFFD\uFFFD" + `[31m"`,
		"\x7f":         `"` + "\uFFFD" + `"`,
		"\u0085":       `"` + "\uFFFD" + `"`,
		"\xff\xfe":     `"` + "\uFFFD\uFFFD" + `"`,
		"\xe2\x82":     `"` + "\uFFFD\uFFFD" + `"`,
		"é\u00a0😀":     `"é` + "\u00a0" + `😀"`,
		"\u202e":       `"` + "\u202e" + `"`, // data; whoever prints it escapes it
		`</script>`:    `"</script>"`,
	} {
		require.Equal(t, want, string(appendString(nil, in)), "%q", in)
	}
}

// Each byte at each place of a text, beside neighbours that could borrow.
func TestPlainWordsAgreeWithPlainBytes(t *testing.T) {
	for c := range 256 {
		for _, size := range []int{1, 7, 8, 9, 15, 16, 21} {
			for at := range size {
				for _, near := range []byte{' ', '~', '!', '#', '[', ']', 'a'} {
					text := bytes.Repeat([]byte{near}, size)
					text[at] = byte(c)
					copied := make([]byte, size)
					if copyPlain(copied, string(text)) != plain[c] {
						t.Fatalf("%q", text)
					}
					if plain[c] && !bytes.Equal(copied, text) {
						t.Fatalf("%q is copied as %q", text, copied)
					}
				}
			}
		}
	}
}

func TestLongValuesAreCutAndNamed(t *testing.T) {
	e := sample()
	e.UserAgent = strings.Repeat("é", 1500)
	e.Tags = []string{strings.Repeat("a", 1999), "bb", "c"}
	got := decode(t, &e)
	require.Equal(t, []any{"user_agent", "tags"}, got["truncated"])
	require.Equal(t, strings.Repeat("é", 1000), got["user_agent"])
	require.Equal(t, []any{strings.Repeat("a", 1999), "b"}, got["tags"])
	require.Empty(t, e.Truncated, "the caller's event stays as it was")
	require.Len(t, e.UserAgent, 3000)
}

func TestEventsStayUnderTheLimit(t *testing.T) {
	for name, fill := range map[string]string{"plain": "x", "escaped": `"`, "replaced": "\x01", "wide": "😀"} {
		t.Run(name, func(t *testing.T) {
			full := func() Event {
				e := sample()
				e.strings(func(_ string, v *string) { *v = strings.Repeat(fill, 3000) })
				e.lists(func(_ string, v *[]string) { *v = []string{strings.Repeat(fill, 3000), "x"} })
				return e
			}
			e := full()
			require.LessOrEqual(t, len(e.AppendJSON(nil)), schema.MaxEvent)
			decode(t, &e)

			raw := sample()
			raw.Raw = strings.Repeat(fill, 50_000)
			b := raw.AppendJSON(nil)
			require.LessOrEqual(t, len(b), schema.MaxEvent)
			require.Greater(t, len(b), schema.MaxEvent/2, "raw is cut no more than is needed")
			require.Equal(t, []any{"raw"}, decode(t, &raw)["truncated"])

			both := full()
			both.Raw = raw.Raw
			require.LessOrEqual(t, len(both.AppendJSON(nil)), schema.MaxEvent)
		})
	}
}

func TestRawAloneMayBeLong(t *testing.T) {
	e := sample()
	e.Raw = strings.Repeat("r", 5000)
	got := decode(t, &e)
	require.Equal(t, e.Raw, got["raw"])
	require.NotContains(t, got, "truncated")
}

// Every field of the table reaches the bytes under its name with its type, in
// the order of RFC 8785.
func TestEveryFieldIsEncoded(t *testing.T) {
	e := sample()
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); x := f.Addr().Interface().(type) {
		case *string:
			*x = "v"
		case *[]string:
			*x = []string{"v", "w"}
		case *Number:
			*x = N(42)
		case *Time:
			*x = Millis(1500)
		case *Bool:
			*x = True
		}
	}
	b := e.AppendJSON(nil)
	got := decode(t, &e)
	want := map[schema.Kind]any{
		schema.String: "v", schema.List: []any{"v", "w"}, schema.Number: 42.0, schema.Time: 1.5, schema.Bool: true,
	}
	names := []string{"event_id", "collector", "seq"}
	for _, f := range schema.Fields {
		require.Equal(t, want[f.Kind], got[f.Name], f.Name)
		names = append(names, f.Name)
	}
	require.Len(t, got, len(names))
	slices.Sort(names)
	at := 0
	for _, name := range names {
		next := strings.Index(string(b[at:]), `"`+name+`":`)
		require.GreaterOrEqual(t, next, 0, "%s stands in its order", name)
		at += next
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	e := sample()
	buf := make([]byte, 0, 4096)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = e.AppendEnvelope(buf[:0]) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { e.ID = MakeID(SourcetypeS3, "REQ", "OP", e.AssetID, "-") }))
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("a", "b", int64(1))
	f.Add("\x00\xff\u2028", strings.Repeat(`\`, 2500), int64(-1))
	f.Fuzz(func(t *testing.T, s, raw string, ms int64) {
		e := sample()
		e.AssetID, e.UserAgent, e.Raw, e.NotBefore = s, s, raw, Millis(ms)
		e.Tags = []string{s, raw, s}
		b := e.AppendJSON(nil)
		require.LessOrEqual(t, len(b), schema.MaxEvent)
		require.True(t, utf8.Valid(b))
		require.True(t, json.Valid(b))
		require.Equal(t, -1, strings.IndexFunc(string(b), func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }))
	})
}

func decode(t *testing.T, e *Event) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(e.AppendJSON(nil), &m))
	return m
}

func BenchmarkAppendEnvelope(b *testing.B) {
	e := sample()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendEnvelope(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}
