package forwarder_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/forwarder"
	"aiwatch/forwarder/hec"
	"aiwatch/internal/counterpart"
	"aiwatch/internal/event"
)

// TestAReceiverThatNoneOfUsWrote delivers to OpenTelemetry's HEC receiver, with
// its acknowledgements, and over its death.
func TestAReceiverThatNoneOfUsWrote(t *testing.T) {
	server := counterpart.OTelHEC(t)
	r := start(t, t.TempDir()+"/state", rigOptions{
		hec:       hec.Config{URLs: []string{server.URL}, Ack: hec.AckOn},
		forwarder: forwarder.Options{BatchBytes: 50_000},
	})
	s := r.open(input)
	r.emit(s, 0, 2000)
	require.NoError(t, r.drain())
	require.EqualValues(t, 2001, r.f.Metrics().Confirmed.Load())
	times := map[string]int{}
	count := func() {
		for _, e := range server.Events(t) {
			fields, ok := e.Event.(map[string]any)
			require.True(t, ok)
			times[fields["event_id"].(string)]++
			require.Equal(t, input, e.Source)
			require.Equal(t, "ai", e.Index)
		}
	}
	count()
	require.Len(t, times, 2001)
	for id, n := range times {
		require.Equal(t, 1, n, id)
	}

	server.Kill()
	r.emit(s, 2000, 4000)
	server.Start() // its ids begin anew
	require.NoError(t, r.drain())
	count()
	for n := range 4000 {
		require.NotZero(t, times[access(n).ID.String()], "event %d is lost", n)
	}
	// What it understood is what was sent.
	want := access(3999)
	want.Collector, want.Seq = r.queue.Collector(), 4001
	var fields map[string]any
	require.NoError(t, json.Unmarshal(want.AppendJSON(nil), &fields))
	for _, e := range server.Events(t) {
		if got := e.Event.(map[string]any); got["event_id"] == want.ID.String() {
			require.Equal(t, fields, got)
			require.Equal(t, event.SourcetypeS3, e.Sourcetype)
			require.Equal(t, "s3.test", e.Host)
			return
		}
	}
	require.Fail(t, "the last event did not arrive")
}
