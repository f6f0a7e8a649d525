package forwarder_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"aiwatch/forwarder"
	"aiwatch/forwarder/hec"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
)

func faults(t *testing.T, script ...hecserver.Fault) *hecserver.Faults {
	t.Helper()
	f, err := hecserver.NewFaults(1, script...)
	require.NoError(t, err)
	return f
}

// TestNothingIsLostWhateverTheReceiverDoes has a receiver misbehave in one way
// and then work. Doubled are only events whose answer never came.
func TestNothingIsLostWhateverTheReceiverDoes(t *testing.T) {
	type script []hecserver.Fault
	all := hecserver.All
	for _, c := range []struct {
		name    string
		faults  script
		ack     bool
		doubled bool // may be
		config  hecserver.Config
	}{
		{name: "busy", faults: script{{Code: hecserver.ServerBusy, Times: 3}}},
		{name: "busy with Retry-After", faults: script{{Code: hecserver.ServerBusy, Times: 1, Header: map[string]string{"Retry-After": "1"}}}},
		{name: "busy after a prefix", faults: script{{Code: hecserver.ServerBusy, Commit: 10, Named: true, Times: 3}}},
		{name: "busy after a prefix, acknowledged", faults: script{{Code: hecserver.ServerBusy, Commit: 10, Named: true, Times: 3}}, ack: true},
		{name: "busy after an unnamed prefix", faults: script{{Code: hecserver.ServerBusy, Commit: 10, Times: 1}}, doubled: true},
		{name: "internal error", faults: script{{Code: hecserver.InternalError, Times: 2}}},
		{name: "shutting down", faults: script{{Code: hecserver.ShuttingDown, Times: 2}}},
		{name: "queue at capacity", faults: script{{Code: hecserver.QueueAtCapacity, Times: 2}}},
		{name: "ack channel at capacity", faults: script{{Code: hecserver.AckAtCapacity, Times: 2}}, ack: true},
		{name: "near capacity is success", faults: script{{Code: hecserver.QueueNearCapacity, Times: 1}, {Code: hecserver.AckNearCapacity, Times: 1}}},
		{name: "token disabled", faults: script{{Code: hecserver.TokenDisabled, Times: 4}}},
		{name: "token required", faults: script{{Code: hecserver.TokenRequired, Times: 2}}},
		{name: "invalid authorization", faults: script{{Code: hecserver.InvalidAuthorization, Times: 2}}},
		{name: "invalid token", faults: script{{Code: hecserver.InvalidToken, Times: 5}}},
		{name: "channel missing", faults: script{{Code: hecserver.ChannelMissing, Times: 2}}},
		{name: "invalid channel", faults: script{{Code: hecserver.InvalidChannel, Times: 2}}},
		{name: "ack disabled", faults: script{{Code: hecserver.AckDisabled, Times: 2}}},
		{name: "query authorization", faults: script{{Code: hecserver.QueryAuthDisabled, Times: 2}}},
		{name: "sticky", faults: script{{Code: hecserver.StickyRequired, Times: 2}}},
		{name: "wrong index for a while", faults: script{{Code: hecserver.IncorrectIndex, Times: 3}}},
		{name: "wrong index behind a prefix", faults: script{{Code: hecserver.IncorrectIndex, Commit: 7, Times: 1}}},
		{name: "web page", faults: script{{Status: 200, Body: "<html>Welcome</html>", Times: 2}}},
		{name: "web page of a proxy", faults: script{{Status: 502, Body: "<html>Bad Gateway</html>", Times: 2}}},
		{name: "not found", faults: script{{Status: 404, Times: 2}}},
		{name: "method not allowed", faults: script{{Status: 405, Times: 2}}},
		{name: "redirect", faults: script{{Status: 307, Header: map[string]string{"Location": "http://192.0.2.1/"}, Times: 2}}},
		{name: "empty", faults: script{{End: hecserver.Empty, Times: 2}}, doubled: true},
		{name: "truncated", faults: script{{End: hecserver.Truncate, Times: 2}}, doubled: true},
		{name: "dropped", faults: script{{End: hecserver.Drop, Times: 2}}, doubled: true},
		{name: "half closed", faults: script{{End: hecserver.HalfClose, Times: 2}}, doubled: true},
		{name: "committed, then broken", faults: script{{Code: hecserver.InternalError, Commit: all, Times: 2}}, doubled: true},
		{name: "lost ack", faults: script{{LoseAck: true, Times: 2}}, ack: true, doubled: true},
		{name: "late ack", faults: script{{AckAsks: 3, Times: 2}}, ack: true},
		{name: "unreadable ack answers", faults: script{{On: "ack", Status: 200, Body: "<html>", Times: 3}}, ack: true},
		{name: "ack answers with 400", faults: script{{On: "ack", Status: 400, Times: 3}}, ack: true},
		{name: "ack answers that break off", faults: script{{On: "ack", End: hecserver.Drop, Times: 3}}, ack: true, doubled: true},
		{name: "restart", faults: script{{AckDelayMS: 20}, {Restart: true, Skip: 2, Times: 2}}, ack: true, doubled: true},
		{name: "small bodies only", config: hecserver.Config{MaxRaw: 20_000}},
		{name: "small bodies only, acknowledged", config: hecserver.Config{MaxRaw: 20_000}, ack: true},
		{name: "small compressed bodies only", config: hecserver.Config{MaxCompressed: 3_000}},
		{name: "small bodies only, as Cloud says it", config: hecserver.Config{MaxRaw: 70_000, CloudOversize: true}},
		{name: "at random", faults: script{
			{Code: hecserver.ServerBusy, Probability: 0.1},
			{End: hecserver.Drop, Probability: 0.1},
			{Code: hecserver.InvalidToken, Probability: 0.1},
			{Code: hecserver.ServerBusy, Commit: 3, Named: true, Probability: 0.2},
		}, ack: true, doubled: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const events = 1200
			c.config.Faults = faults(t, c.faults...)
			c.config.Tokens = []hecserver.Token{{Value: token, Ack: c.ack}}
			server, counter := receiver(t, c.config)
			// Where nothing may come twice no acknowledgement may be given up, however
			// slow the machine is.
			patience := time.Minute
			if c.doubled {
				patience = 300 * time.Millisecond
			}
			r := start(t, t.TempDir()+"/state", rigOptions{
				hec: hec.Config{URLs: []string{server.URL()}, AckTimeout: patience},
				// No body is cut by the clock: on a slow machine one could be smaller than
				// the prefix that the receiver takes of it.
				forwarder: forwarder.Options{BatchBytes: 100_000, Linger: time.Minute},
			})
			r.emit(r.open(input), 0, events)
			require.NoError(t, r.drain())
			doubled := counter.Stats().Duplicates
			if !c.doubled {
				require.Zero(t, doubled, "doubled without need")
			}
			whole(t, counter, events, int(doubled))
			for i, fired := range server.Handler().Stats().ScriptedFaults {
				require.NotZero(t, fired, "fault %d never happened", i)
			}
			status, err := r.f.Status(t.Context())
			require.NoError(t, err)
			require.Empty(t, status.Held, "nothing is held any more")
			require.Empty(t, status.Trouble)
			require.Zero(t, status.DeadLetters)
			require.Zero(t, r.queue.Depth())
		})
	}
}

// picky is a receiver that refuses some events for good, as Splunk does: it
// indexes what stands before the first one and names its place. Without naming
// it takes nothing and says nothing.
type picky struct {
	inner   http.Handler
	refuses func(envelope string) bool
	code    int
	named   bool
	seen    atomic.Int64 // bodies
}

func (p *picky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/event") {
		p.inner.ServeHTTP(w, r)
		return
	}
	p.seen.Add(1)
	zr, err := gzip.NewReader(r.Body)
	if err != nil {
		panic(err)
	}
	dec := json.NewDecoder(zr)
	var prefix bytes.Buffer
	taken, bad := 0, false
	for !bad {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err == io.EOF {
			break
		} else if err != nil {
			panic(err)
		}
		if bad = p.refuses(string(raw)); !bad {
			prefix.Write(raw)
			taken++
		}
	}
	if bad && !p.named {
		taken = 0
	}
	answer := map[string]any{"text": "Invalid data format", "code": p.code}
	if taken > 0 {
		inner := r.Clone(r.Context())
		inner.Header.Del("Content-Encoding")
		inner.Body, inner.ContentLength = io.NopCloser(&prefix), int64(prefix.Len())
		rec := httptest.NewRecorder()
		p.inner.ServeHTTP(rec, inner)
		if !bad {
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
			return
		}
		var got map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 200 {
			panic(fmt.Sprint(rec.Code, rec.Body))
		}
		if id, ok := got["ackId"]; ok {
			answer["ackId"] = id
		}
	}
	if p.named {
		answer["invalid-event-number"] = taken
	}
	w.WriteHeader(400)
	_ = json.NewEncoder(w).Encode(answer)
}

func TestRefusedEventsAreIsolatedExactly(t *testing.T) {
	const events = 300
	every := func(n int) map[int]bool {
		bad := map[int]bool{}
		for i := 0; i < events; i += n {
			bad[i] = true
		}
		return bad
	}
	for _, c := range []struct {
		name  string
		bad   map[int]bool
		code  int
		named bool
		ack   bool
	}{
		{"one", map[int]bool{257: true}, 6, true, false},
		{"one, acknowledged", map[int]bool{257: true}, 6, true, true},
		{"the first and the last", map[int]bool{0: true, events - 1: true}, 12, true, true},
		{"neighbours", map[int]bool{100: true, 101: true, 102: true}, 15, true, false},
		{"many", every(7), 6, true, true},
		{"all", every(1), 13, true, false},
		{"unnamed", map[int]bool{3: true, 257: true}, 6, false, false},
		{"no data", map[int]bool{42: true}, 5, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			counter := hecserver.NewCounter()
			inner, err := hecserver.New(hecserver.Config{Tokens: []hecserver.Token{{Value: token, Ack: c.ack}}, Sink: counter})
			require.NoError(t, err)
			bad := map[string]bool{}
			for n := range c.bad {
				bad[access(n).ID.String()] = true
			}
			p := &picky{inner: inner, code: c.code, named: c.named, refuses: func(envelope string) bool {
				_, rest, _ := strings.Cut(envelope, `"event_id":"`)
				return bad[rest[:32]]
			}}
			server := httptest.NewServer(p)
			defer server.Close()
			r := start(t, t.TempDir()+"/state", rigOptions{hec: hec.Config{URLs: []string{server.URL}}})
			r.emit(r.open(input), 0, events)
			require.NoError(t, r.drain())

			stats := counter.Stats()
			require.Zero(t, stats.Duplicates)
			require.Zero(t, stats.Conflicts)
			letters, err := r.f.DeadLetters(t.Context())
			require.NoError(t, err)
			require.Len(t, letters, len(c.bad))
			for _, d := range letters {
				require.True(t, bad[d.EventID], d.EventID)
				require.Equal(t, c.code, d.Code)
				require.Equal(t, input, d.Input)
				require.True(t, json.Valid(d.Envelope))
			}
			for n := range events {
				want := 1
				if c.bad[n] {
					want = 0
				}
				require.Equal(t, want, counter.Times(access(n).ID.String()), "event %d", n)
			}
			require.EqualValues(t, events+1, stats.Distinct, "with state.new, and a deadletter event for each refused one")
			require.EqualValues(t, len(c.bad), r.f.Metrics().Refused.Load())

			// What made them bad is mended: they are sent again.
			clear(bad)
			n, err := r.f.Resend(t.Context())
			require.NoError(t, err)
			require.Equal(t, len(c.bad), n)
			require.NoError(t, r.drain())
			whole(t, counter, events, 0)
			letters, err = r.f.DeadLetters(t.Context())
			require.NoError(t, err)
			require.Empty(t, letters)
		})
	}
}

func TestADeadLetterIsToldByAHealthEvent(t *testing.T) {
	counter := hecserver.NewCounter()
	var told []map[string]any
	inner, err := hecserver.New(hecserver.Config{Tokens: []hecserver.Token{{Value: token}}, Sink: hecserver.Sinks{counter, sinkFunc(func(e *hecserver.Received) {
		if bytes.Contains(e.Event, []byte(`"operation":"deadletter"`)) {
			var m map[string]any
			require.NoError(t, json.Unmarshal(e.Event, &m))
			m["source"] = string(e.Source)
			told = append(told, m)
		}
	})}})
	require.NoError(t, err)
	refuse := access(1).ID.String()
	server := httptest.NewServer(&picky{inner: inner, code: 6, named: true, refuses: func(e string) bool {
		return strings.Contains(e, `"event_id":"`+refuse) // not the health event that names it
	}})
	defer server.Close()
	r := start(t, t.TempDir()+"/state", rigOptions{hec: hec.Config{URLs: []string{server.URL}}})
	r.emit(r.open(input), 0, 3)
	require.NoError(t, r.drain())
	require.Len(t, told, 1)
	require.Equal(t, r.queue.Collector(), told[0]["refused_collector"])
	require.Equal(t, refuse, told[0]["refused_event_id"])
	require.Equal(t, 3.0, told[0]["refused_seq"], "the first is state.new")
	require.Equal(t, "6", told[0]["code"])
	require.Equal(t, "Invalid data format", told[0]["text"])
	require.Equal(t, `"`+input+`"`, told[0]["source"])
}

// TestARefusedDeadLetterEventIsNotToldOf: a receiver that refuses everything
// must not have us tell of the telling for ever.
func TestARefusedDeadLetterEventIsNotToldOf(t *testing.T) {
	server := httptest.NewServer(&picky{code: 6, named: true, refuses: func(string) bool { return true }})
	defer server.Close()
	r := start(t, t.TempDir()+"/state", rigOptions{hec: hec.Config{URLs: []string{server.URL}}})
	r.emit(r.open(input), 0, 5)
	require.NoError(t, r.drain())
	letters, err := r.f.DeadLetters(t.Context())
	require.NoError(t, err)
	require.Len(t, letters, 2*6, "five events, state.new, and what tells of each")
	n, err := r.f.Drop(t.Context(), letters[0].Number, letters[1].Number)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	_, err = r.f.Drop(t.Context(), letters[0].Number)
	require.ErrorIs(t, err, forwarder.ErrNoLetter)
}

type sinkFunc func(*hecserver.Received)

func (f sinkFunc) Index(events []hecserver.Received) error {
	for i := range events {
		f(&events[i])
	}
	return nil
}

func TestAWrongIndexHoldsItsEventsAloneUntilTheyAreRerouted(t *testing.T) {
	server, counter := receiver(t, hecserver.Config{Tokens: []hecserver.Token{{Value: token, Indexes: []string{"good", "other"}}}})
	dir := t.TempDir() + "/state"
	r := start(t, dir, rigOptions{hec: hec.Config{URLs: []string{server.URL()}}})
	open := func(name, index string) *forwarder.Stream {
		s, err := r.f.Open(t.Context(), forwarder.Input{Name: name, Source: name, Host: "s3.test", Index: index})
		require.NoError(t, err)
		return s
	}
	r.emit(open("aiwatch_s3://bad", "bad"), 0, 500)
	r.emit(open("aiwatch_s3://good", "good"), 500, 1000)
	require.Eventually(t, func() bool {
		s, err := r.f.Status(t.Context())
		require.NoError(t, err)
		in := s.Input("aiwatch_s3://good")
		return in.Events == 0 && len(s.Held) == 1 && s.Held[0].Index == "bad" && s.Held[0].Events == 501 && s.Input("aiwatch_s3://bad").Held == 501
	}, 10*time.Second, 5*time.Millisecond)
	for n := range 1000 {
		require.Equal(t, n >= 500, counter.Times(access(n).ID.String()) == 1)
	}
	status, err := r.f.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, status.Held[0].Code)
	require.Contains(t, status.Held[0].Reason, "aiwatch queue reroute")

	// It is known while no process runs, and to the next one.
	r.stop()
	admin, err := forwarder.Attach(t.Context(), dir)
	require.NoError(t, err)
	status, err = admin.Status(t.Context())
	require.NoError(t, err)
	require.False(t, status.Running)
	require.Len(t, status.Held, 1)
	require.EqualValues(t, 501, status.Held[0].Events)

	_, err = admin.Reroute(t.Context(), "aiwatch_s3://bad", "Not A Name")
	require.Error(t, err)
	n, err := admin.Reroute(t.Context(), "aiwatch_s3://good", "other")
	require.NoError(t, err)
	require.Zero(t, n, "nothing of this input is held")
	n, err = admin.Reroute(t.Context(), "aiwatch_s3://bad", "other")
	require.NoError(t, err)
	require.Equal(t, 501, n)
	r = start(t, dir, rigOptions{hec: hec.Config{URLs: []string{server.URL()}}})
	require.NoError(t, r.drain())
	whole(t, counter, 1000, 0)
}

func TestARerouteWritesEnvelopesNotEvents(t *testing.T) {
	sent := map[string]string{}
	refuse := atomic.Bool{}
	refuse.Store(true)
	collect := sinkFunc(func(e *hecserver.Received) { sent[string(e.ID)] = string(e.Index) + string(e.Host) + string(e.Event) })
	inner, err := hecserver.New(hecserver.Config{Tokens: []hecserver.Token{{Value: token}}, Sink: collect})
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse.Load() {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, `{"text":"Invalid token","code":4}`)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	r := start(t, t.TempDir()+"/state", rigOptions{hec: hec.Config{URLs: []string{server.URL}}})
	s, err := r.f.Open(t.Context(), forwarder.Input{Name: input, Source: "x", Host: `h","index":"no`, Index: ""})
	require.NoError(t, err)
	ev := access(1)
	ev.Host = ""
	require.NoError(t, s.Emit(ev))
	require.NoError(t, s.Flush())
	require.Eventually(t, func() bool {
		st, err := r.f.Status(t.Context())
		require.NoError(t, err)
		return len(st.Held) == 1 && st.Held[0].Index == queue.AllIndexes && st.Input(input).Held == 2
	}, 10*time.Second, 5*time.Millisecond)
	n, err := r.f.Reroute(t.Context(), input, "new")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	refuse.Store(false)
	require.NoError(t, r.drain())
	want := event.Event{}
	want = *access(1)
	want.Collector, want.Seq = r.queue.Collector(), 2
	require.Equal(t, `"new""h\",\"index\":\"no"`+string(want.AppendJSON(nil)), sent[want.ID.String()])
}

func TestTheOthersAreUsedWhileOneEndpointFails(t *testing.T) {
	server, counter := receiver(t, hecserver.Config{})
	for name, dead := range map[string]http.HandlerFunc{
		"refuses connections": nil,
		"shuts down": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			_, _ = io.WriteString(w, `{"text":"Server is shutting down","code":23}`)
		},
		"knows no token": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, `{"text":"Invalid token","code":4}`)
		},
		"is another server": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
	} {
		t.Run(name, func(t *testing.T) {
			bad := httptest.NewServer(dead)
			if dead == nil {
				bad.Close()
			}
			defer bad.Close()
			r := start(t, t.TempDir()+"/state", rigOptions{
				hec: hec.Config{URLs: []string{bad.URL, server.URL()}}, forwarder: forwarder.Options{BatchBytes: 20_000},
			})
			r.emit(r.open(input), 0, 1000)
			require.NoError(t, r.drain())
			for n := range 1000 {
				require.NotZero(t, counter.Times(access(n).ID.String()))
			}
			status, err := r.f.Status(t.Context())
			require.NoError(t, err)
			require.Empty(t, status.Held)
		})
	}
}

func TestDrainSaysWhatWaitsAndWhy(t *testing.T) {
	server, _ := receiver(t, hecserver.Config{Tokens: []hecserver.Token{{Value: "another"}}})
	r := start(t, t.TempDir()+"/state", rigOptions{hec: hec.Config{URLs: []string{server.URL()}}, forwarder: forwarder.Options{HoldMin: time.Hour, HoldMax: time.Hour}})
	r.emit(r.open(input), 0, 10)
	require.Eventually(t, func() bool {
		s, err := r.f.Status(t.Context())
		require.NoError(t, err)
		return len(s.Held) == 1
	}, 10*time.Second, 5*time.Millisecond)
	ctx, cancel := contextWithDeadline(t, 10*time.Millisecond)
	defer cancel()
	err := r.f.Drain(ctx)
	require.ErrorIs(t, err, forwarder.ErrUnavailable)
	require.ErrorContains(t, err, "11 events wait in the queue")
	require.ErrorContains(t, err, "Invalid token")
}
