package hecserver

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChannelsAreLimited(t *testing.T) {
	c := newChannels()
	c.limit.channels, c.limit.pending, c.limit.perChannel = 2, 3, 2
	one, two, three := channelKey{guid: "1"}, channelKey{guid: "2"}, channelKey{guid: "3"}
	require.False(t, c.full(one))
	c.add(one, ackState{})
	c.add(one, ackState{})
	require.True(t, c.full(one), "its own limit")
	require.False(t, c.full(two))
	c.add(two, ackState{})
	require.True(t, c.full(two), "the limit of all")
	require.Equal(t, map[uint64]bool{0: true, 1: true}, c.ask(one, []uint64{0, 1}, time.Time{}))
	require.False(t, c.full(one))
	require.True(t, c.full(three), "one channel too many")
	c.forget()
	require.False(t, c.full(three))
}

func TestFullChannelIsAnswered(t *testing.T) {
	counter := NewCounter()
	h, err := New(Config{Tokens: []Token{{Value: "t", Ack: true}}, Sink: counter})
	require.NoError(t, err)
	h.channels.limit.perChannel = 1
	post := func() string {
		req := httptest.NewRequest(http.MethodPost, "/services/collector?channel=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", strings.NewReader(`{"event":1}`))
		req.Header.Set("Authorization", "Splunk t")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Body.String()
	}
	require.Equal(t, `{"text":"Success","code":0,"ackId":0}`, post())
	require.Equal(t, `{"text":"Ack channel is at capacity","code":27}`, post())
	require.EqualValues(t, 1, counter.Stats().Events)
}

// event makes an event as the parser would.
func event(collector, source string, seq uint64, id, more string) Received {
	return Received{
		Source: []byte(`"` + source + `"`), ID: []byte(id), Collector: []byte(collector), Seq: seq, HasSeq: true,
		Time: []byte("1"), Event: []byte(fmt.Sprintf(`{"event_id":%q,"seq":%d%s}`, id, seq, more)),
	}
}

func TestCounterTellsDuplicatesFromConflicts(t *testing.T) {
	c := NewCounter()
	moved := event("c", "s", 1, "aa", "")
	moved.Time = []byte("2")
	require.NoError(t, c.Index([]Received{
		event("c", "s", 1, "aa", ""), event("c", "s", 2, "bb", ""), event("c", "s", 1, "aa", ""),
		event("c", "s", 1, "aa", `,"x":1`), moved,
		{Event: []byte(`"text"`)},
	}))
	require.Equal(t, 4, c.Times("aa"))
	require.Equal(t, 0, c.Times("cc"))
	require.Equal(t, CounterStats{
		Events: 6, Distinct: 2, Duplicates: 1, Conflicts: 2, WithoutID: 1,
		Streams: []Stream{{Collector: "c", Source: "s", First: 1, Last: 2}},
	}, c.Stats())
}

// S3 delivers some records twice. Each telling is an event with a number of its
// own under one event_id, and each may be sent twice as well.
func TestCounterTellsRepeatsFromDuplicates(t *testing.T) {
	c := NewCounter()
	require.NoError(t, c.Index([]Received{
		event("c", "s", 1, "aa", ""), event("c", "s", 2, "aa", ""), event("c", "s", 2, "aa", ""), event("c", "s", 1, "aa", ""),
		event("c", "s", 2, "aa", `,"x":1`), event("d", "s", 1, "aa", ""),
		event("c", "s", 3, "bb", ""), event("c", "s", 3, "aa", ""), // one number for two events
	}))
	got := c.Stats()
	got.Streams = nil
	require.Equal(t, CounterStats{Events: 8, Distinct: 2, Repeats: 3, Duplicates: 2, Conflicts: 1, SeqDoubles: 1}, got)
}

func TestCounterFindsHolesAndDoubles(t *testing.T) {
	c := NewCounter()
	require.NoError(t, c.Index([]Received{
		event("c", "s", 1, "a", ""), event("c", "s", 2, "b", ""), event("c", "s", 7, "c", ""), event("c", "s", 4, "d", ""),
		event("c", "t", 9, "e", ""), event("d", "s", 3, "f", ""), event("c", "s", 4, "other", ""),
	}))
	got := c.Stats()
	require.EqualValues(t, 3, got.SeqMissing)
	require.EqualValues(t, 1, got.SeqDoubles)
	require.Equal(t, []Stream{
		{Collector: "c", Source: "s", First: 1, Last: 7, Missing: 3, Holes: []Span{{3, 3}, {5, 6}}},
		{Collector: "c", Source: "t", First: 9, Last: 9},
		{Collector: "d", Source: "s", First: 3, Last: 3},
	}, got.Streams)
}

// TestSpansAgreeWithASet adds numbers in random order and compares with a map.
func TestSpansAgreeWithASet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		s, set := &stream{}, map[uint64]bool{}
		for range 300 {
			n := random.Uint64N(400)
			require.Equal(t, !set[n], s.add(n))
			set[n] = true
		}
		got := 0
		for i, span := range s.spans {
			require.LessOrEqual(t, span.From, span.To)
			if i > 0 {
				require.Greater(t, span.From, s.spans[i-1].To+1)
			}
			for n := span.From; n <= span.To; n++ {
				require.True(t, set[n])
				got++
			}
		}
		require.Equal(t, len(set), got)
	}
}

func TestEventIDsOfAnyForm(t *testing.T) {
	require.Equal(t, eventID{0x0b, 0xad, 15: 0x01}, idOf([]byte("0bad0000000000000000000000000001")))
	require.NotEqual(t, idOf([]byte("a")), idOf([]byte("b")))
	require.NotEqual(t, idOf([]byte("zbad0000000000000000000000000001")), idOf([]byte("ybad0000000000000000000000000001")))
}

func TestEnvelopeIsOneCanonicalLine(t *testing.T) {
	e := Received{
		Time: []byte(`"1700000000.5"`), Host: []byte(`"h"`), Index: []byte(`"ai"`),
		Event:   []byte("{ \"a b\" :\n\t[1, \"x  y\\\"  \u2028\u0085ü\u2029\"],\r\"c\":\"\\n\"}"),
		Fields:  []byte(`{ "f" : "g" }`),
		Indexed: time.UnixMilli(1_700_000_001_250),
	}
	require.Equal(t, `{"time":1700000000.5,"host":"h","index":"ai","event":{"a b":[1,"x  y\"  \u2028\u0085ü\u2029"],"c":"\n"},"fields":{"f":"g"},"indextime":1700000001.25}`,
		string(AppendEnvelope(nil, &e)))
	require.Equal(t, `{"time":1700000001.25,"event":1,"indextime":1700000001.25}`,
		string(AppendEnvelope(nil, &Received{Event: []byte("1"), Indexed: e.Indexed})))
}

func TestFileHoldsEveryEventOnALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	require.NoError(t, os.WriteFile(path, []byte(`{"cut":`), 0o600))
	f, err := NewFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Index([]Received{{Event: []byte("1"), Indexed: time.Unix(1, 0)}, {Event: []byte("2"), Indexed: time.Unix(1, 0)}}))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "{\"cut\":\n{\"time\":1,\"event\":1,\"indextime\":1}\n{\"time\":1,\"event\":2,\"indextime\":1}\n", string(b), "before it is closed")
	require.NoError(t, f.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Error(t, f.Index([]Received{{Event: []byte("3")}}))

	f, err = NewFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	again, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(b, again), "a whole last line needs no end")
}

func TestFullDiskIsTold(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	f, err := NewFile("/dev/full")
	require.NoError(t, err)
	counter := NewCounter()
	require.ErrorContains(t, Sinks{f, counter}.Index([]Received{{Event: []byte("1")}}), "write event file")
	require.Zero(t, counter.Stats().Events, "what the first sink did not take the second does not see")
}
