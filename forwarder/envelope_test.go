package forwarder

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event"
)

func TestTheEncoderWritesWhatTheSchemaDoes(t *testing.T) {
	e := encoder{collector: "0badcafe", source: `aiwatch_s3://"prod`, index: "ai"}
	for seq, ev := range []event.Event{
		{Envelope: event.Envelope{Time: event.Millis(0), Host: "h", Sourcetype: "aiwatch:s3"}},
		{Envelope: event.Envelope{Time: event.Millis(1_772_442_000_120), Host: `h","event":`, Sourcetype: "aiwatch:s3"}},
		{Envelope: event.Envelope{Time: event.Millis(1_772_442_000_003), Host: "", Sourcetype: "aiwatch:health"}},
		{Envelope: event.Envelope{Time: event.Millis(-1), Host: "h\x00\u202e", Sourcetype: ""}},
		{Envelope: event.Envelope{Time: event.Millis(-1500), Host: "h", Sourcetype: "aiwatch:s3"}},
		{Envelope: event.Envelope{Time: event.Millis(1000), Host: "h", Sourcetype: "aiwatch:s3"}, Raw: `{"a":"}`},
	} {
		want := ev
		want.Collector, want.Seq, want.Source, want.Index = "0badcafe", uint64(seq), `aiwatch_s3://"prod`, "ai"
		got := e.append(nil, &ev, ev.Host, uint64(seq))
		require.Equal(t, string(want.AppendEnvelope(nil)), string(got))
		require.Empty(t, ev.Collector)
		ends, err := splitEnvelopes(append(got, got...))
		require.NoError(t, err)
		require.Equal(t, []int{len(got), 2 * len(got)}, ends)

		want.Index = "other"
		require.Equal(t, string(want.AppendEnvelope(nil)), string(setIndex(nil, got, "other")))
		e.index, e.constant = "", nil
		require.Equal(t, string(want.AppendEnvelope(nil)), string(setIndex(nil, e.append(nil, &ev, ev.Host, uint64(seq)), "other")))
		e.index, e.constant = "ai", nil
	}
}

// An event about an input names it in one form, whichever collector tells it.
func TestAnEventAboutAnInputNamesCollectorAndStanza(t *testing.T) {
	e := encoder{collector: "0badcafe", source: "aiwatch_s3://prod"}
	ev := event.Event{Operation: "record.damaged", AssetType: event.Input}
	got := string(e.append(nil, &ev, "h", 7))
	require.Contains(t, got, `"asset_id":"aiwatch:0badcafe/aiwatch_s3://prod","asset_name":"aiwatch_s3://prod","asset_type":"input","collector":"0badcafe"`)
	require.Contains(t, got, `"seq":7`)
	require.Empty(t, ev.AssetID)
}

// FuzzSplitEnvelopes: a row of JSON objects is cut where a JSON reader cuts it,
// and whatever else is there is refused or cut at places that exist.
func FuzzSplitEnvelopes(f *testing.F) {
	f.Add([]byte(`{"event":{"a":"}\"{"}}{"event":{}}`))
	f.Add([]byte(`{"a":[{},[]]}`))
	f.Add([]byte(`}{`))
	f.Add([]byte(`{"a":"\\"}{"b":"\`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ends, err := splitEnvelopes(raw)
		if err == nil && len(ends) > 0 && ends[len(ends)-1] != len(raw) {
			t.Fatalf("%d bytes, cut at %v", len(raw), ends)
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		var want []int
		for at := int64(0); ; {
			var v map[string]json.RawMessage
			if dec.Decode(&v) != nil {
				break
			}
			if v == nil || bytes.ContainsAny(raw[at:dec.InputOffset()], " \t\r\n") {
				return // not as we write it
			}
			at = dec.InputOffset()
			want = append(want, int(at))
		}
		if len(want) > 0 && want[len(want)-1] == len(raw) && (err != nil || len(ends) != len(want)) {
			t.Fatalf("%q is cut at %v, want %v: %v", raw, ends, want, err)
		}
	})
}
