package audit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

const oneEvent = `{"time":1772440000.5,"source":"aiwatch_s3://p","sourcetype":"aiwatch:s3","event":{"operation":"REST.GET.OBJECT"},"indextime":1772440100}`

// TestWhatIsReadAndWhatNot: lines that are no events are counted and named, and
// keep nothing from being read that is one.
func TestWhatIsReadAndWhatNot(t *testing.T) {
	for _, c := range []struct {
		line string
		bad  string // empty: it is an event
	}{
		{oneEvent, ""},
		{`{"time":"1772440000","event":{}}`, ""},
		{`{"time":"2026-03-02T08:00:00Z","event":{"seq":"x","tags":"one","user":["a"],"bytes_out":{}}}`, ""},
		{`{"time":1772440000,"event":{"user":null,"seq":null},"indextime":null}`, ""},
		{`  `, ""},
		{`{"time":1772440000`, "not the JSON"},
		{`[1]`, "not the JSON"},
		{`"text"`, "not the JSON"},
		{`null`, "no time"},
		{`{"event":{}}`, "no time"},
		{`{"time":"soon","event":{}}`, "no time"},
		{`{"time":1772440000}`, "no event"},
		{`{"time":1772440000,"event":"a text"}`, "not the JSON"},
		{`{"time":1772440000,"event":{}} {}`, "not the JSON"},
		{`{"time":-1,"event":{}}`, "time is no time between 1970 and 9999"},
		{`{"time":1e30,"event":{}}`, "time is no time between 1970 and 9999"},
		{`{"time":1772440000,"indextime":1e12,"event":{}}`, "indextime is no time between 1970 and 9999"},
		{strings.Repeat("[", 100000), "not the JSON"},
	} {
		events := NewEvents()
		events.Read("f", strings.NewReader(c.line+"\n"+oneEvent+"\n"))
		s := events.sources[0]
		require.Empty(t, s.Broken)
		if c.bad == "" {
			require.Zero(t, s.Bad, c.line)
			continue
		}
		require.Equal(t, 1, s.Bad, "%.40s", c.line)
		require.Equal(t, 1, s.Events)
		require.Equal(t, 1, s.BadLines[0].Line)
		require.Contains(t, s.BadLines[0].Why, c.bad, "%.40s", c.line)
	}
}

// TestFilesAsTheyCome: gzip and zstd; one that breaks off is read as far as it
// goes, and only the first bad lines are named.
func TestFilesAsTheyCome(t *testing.T) {
	lines := strings.Repeat(oneEvent+"\n", 1000) + strings.Repeat("x\n", 20)
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	_, err := g.Write([]byte(lines))
	require.NoError(t, err)
	require.NoError(t, g.Close())
	z, err := zstd.NewWriter(&zst)
	require.NoError(t, err)
	_, err = z.Write([]byte(lines))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, file := range map[string][]byte{"plain": []byte(lines), "gzip": gz.Bytes(), "zstd": zst.Bytes()} {
		events := NewEvents()
		events.Read(name, bytes.NewReader(file))
		s := events.sources[0]
		require.Equal(t, 1000, s.Events, name)
		require.Equal(t, 20, s.Bad, name)
		require.Len(t, s.BadLines, mostBadLines, name)
		require.Equal(t, 1001, s.BadLines[0].Line)
		require.Empty(t, s.Broken, name)
	}
	events := NewEvents()
	events.Read("cut", bytes.NewReader(gz.Bytes()[:gz.Len()-20]))
	s := events.sources[0]
	require.NotZero(t, s.Events)
	require.Contains(t, s.Broken, "unexpected EOF")

	events = NewEvents()
	events.Read("long", strings.NewReader(oneEvent+"\n"+strings.Repeat("x", 17<<20)+"\n"+oneEvent+"\n"))
	s = events.sources[0]
	require.Equal(t, 2, s.Events)
	require.Equal(t, []BadLine{{2, "the line is too long"}}, s.BadLines)

	events = NewEvents()
	events.Read("nothing", strings.NewReader("x\n"))
	_, err = Run(t.Context(), Input{Events: events})
	require.EqualError(t, err, "there is no event among 1 lines: line 1: not the JSON of an event in its envelope")
	_, err = Run(t.Context(), Input{})
	require.EqualError(t, err, "there is no event to audit")
}

// TestWhenAnEventWasIndexed: by its indextime; where nobody noted it, when it
// happened, and the report says how many these are.
func TestWhenAnEventWasIndexed(t *testing.T) {
	events := NewEvents()
	require.NoError(t, events.Add([]byte(oneEvent)))
	first, last := events.Span()
	require.Equal(t, time.Unix(1772440100, 0).UTC(), first)
	require.Equal(t, first, last)
	require.NoError(t, events.Add([]byte(`{"time":1772430000.25,"source":"aiwatch_s3://p","sourcetype":"aiwatch:s3","event":{"operation":"x"}}`)))
	first, last = events.Span()
	require.Equal(t, time.UnixMilli(1772430000250).UTC(), first)
	require.Equal(t, time.Unix(1772440100, 0).UTC(), last)
	require.Contains(t, unknown(searched(t, Input{Events: events})), "Of 1 events nobody noted when they arrived.")
}

// TestAnEventThatNoSearchCanRead: what the evaluator refuses is left out and told.
func TestAnEventThatNoSearchCanRead(t *testing.T) {
	events := NewEvents()
	require.NoError(t, events.Add(beatAt("aiwatch_s3://p", 1, eight)))
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	require.NoError(t, events.Add(fmt.Appendf(nil, `{"time":%d,"source":"aiwatch_s3://p","sourcetype":"aiwatch:s3","event":%s}`, eight.Unix(), deep)))
	app, err := builtIn()
	require.NoError(t, err)
	report, err := Run(t.Context(), Input{Events: events, App: app, Catalogue: catalogue})
	require.NoError(t, err)
	require.Contains(t, report.Warnings, "1 events were left out of the searches")
	require.Contains(t, strings.Join(report.Warnings, "\n"), "JSON nested deeper than 32")
}

// FuzzEvents: whatever a line is, it is an event or told, and what is an event can
// be gone through.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(oneEvent))
	f.Add(beatAt("aiwatch_git://x", 3, eight))
	f.Add([]byte(`{"time":0,"event":{"seq":9007199254740993,"tags":[1,null,{"a":[]}],"operation":"deadletter","refused_seq":-1},"source":"aiwatch_s3://","sourcetype":"aiwatch:health"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		events := NewEvents()
		if err := events.Add(line); err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a word")
			}
			return
		}
		r, err := parse(line)
		if err != nil {
			t.Fatal("accepted and not parsed")
		}
		first, last := events.Span()
		if first.Year() < 1970 || last.Year() > 9999 {
			t.Fatal(first, last)
		}
		ws := newWatches(Period{From: first, To: last.Add(time.Hour)}, false)
		ws.see(r, first)
		ws.all()
	})
}
