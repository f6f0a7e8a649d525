package audit

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/scenario"
)

// TestTheLastMinutes: what came after the last run of an hourly search is found
// all the same, once; what a detection leaves alone until it may be explained is
// named, with the time until which it judged.
func TestTheLastMinutes(t *testing.T) {
	s := &story{t: t, events: NewEvents()}
	off := map[string]any{"user": "ann", "user_id": "arn:aws:iam::111122223333:user/ann", "asset_id": "s3://models", "asset_type": "bucket", "status_code": "200", "src": "10.1.1.1"}
	with := func(more map[string]any) map[string]any {
		all := maps.Clone(off)
		maps.Copy(all, more)
		return all
	}
	s.tell(0, s3, "REST.GET.OBJECT", with(map[string]any{"asset_id": "s3://models/a"}))
	s.tell(25, s3, "REST.PUT.VERSIONING", with(map[string]any{"user": "ben", "user_id": "arn:aws:iam::111122223333:user/ben"})) // found at 08:29
	s.tell(57, s3, "REST.PUT.LOGGING_STATUS", off)                                                                              // after it
	s.tell(58, mlflow, "version.created", map[string]any{"user": "cid", "asset_type": "model_version", "asset_id": "mlflow:prod/models/fraud/3", "model_name": "fraud", "model_version": "3"})
	report, err := Run(t.Context(), Input{Events: s.events, To: eight.Add(time.Hour), Version: "test"})
	require.NoError(t, err)
	found := map[string]time.Time{}
	for _, f := range report.Findings {
		if f.Detection == 29 {
			require.NotContains(t, found, f.Users[0], "found twice")
			found[f.Users[0]] = f.Raised
		}
	}
	require.Equal(t, map[string]time.Time{"ben": eight.Add(29 * time.Minute), "ann": eight.Add(time.Hour)}, found)

	require.Equal(t, eight.Add(time.Hour), judged(t, report, 29).Until)
	require.Zero(t, judged(t, report, 29).NotJudged)
	reviewed := judged(t, report, 8)
	require.Equal(t, eight.Add(45*time.Minute), reviewed.Until)
	require.Equal(t, 1, reviewed.NotJudged)
	require.Contains(t, unknown(report), "8 Promoted without review waits for what may still come, and judged what was indexed until 2026-03-02 08:45:00. 1 event of its sources came after that")
	require.Equal(t, eight.Add(-2*time.Hour), judged(t, report, 30).Until, "three hours, of two macros")
	require.NotContains(t, unknown(report), "29 Logging")
}

// TestSearchesThatWereNotClosed are no audit.
func TestSearchesThatWereNotClosed(t *testing.T) {
	events, err := EventsOf(swapped(t))
	require.NoError(t, err)
	app, err := builtIn()
	require.NoError(t, err)
	ran, err := scenario.Schedule(t.Context(), events.rec, app, nil, scenario.ScheduleOptions{})
	require.NoError(t, err)
	_, err = Run(t.Context(), Input{Events: events, Ran: ran, App: app, Catalogue: catalogue})
	require.ErrorContains(t, err, "did not run at the end of the period")
}

// TestWhatAFindingSaysOfItsEvidence: each event once, the name of its asset, and
// how sure its actor is by its events where the row does not say; a gap in a
// source's log stands in the first lines.
func TestWhatAFindingSaysOfItsEvidence(t *testing.T) {
	for want, confidences := range map[string][2]string{
		"authenticated": {"authenticated", "authenticated"},
		"claimed":       {"authenticated", "claimed"},
	} {
		s := &story{t: t, events: NewEvents()}
		first := s.tell(0, s3, "REST.GET.OBJECT", map[string]any{"user": "ann", "asset_id": "s3://b/x", "user_confidence": confidences[0]})
		second := s.tell(1, s3, "REST.GET.OBJECT", map[string]any{"user": "ann", "asset_id": "s3://b/y", "user_confidence": confidences[1]})
		report := searched(t, Input{Events: s.events},
			scenario.Finding{Detection: 35, Name: "case", Time: eight.Add(time.Minute), User: []string{"ann"}, Row: []byte(`{"asset_name":"fraud","event_ids":"` + first + "," + second + "," + first + `"}`)},
			scenario.Finding{Detection: 30, Name: "gap", Time: eight.Add(time.Minute), Asset: []string{"s3://b"}, Row: []byte(`{}`)})
		found := report.Findings[0]
		require.Equal(t, 35, found.Detection)
		require.Equal(t, []string{first, second}, found.EventIDs)
		require.Len(t, found.Events, 2)
		require.Equal(t, want, found.Confidence)
		require.Equal(t, "fraud", found.AssetName)
		require.Contains(t, report.Verdict.Evidence, "The evidence has holes: ")
		require.Contains(t, report.Verdict.Evidence, "the log of s3://b leaves out hours")
		require.Contains(t, report.Frameworks[0].Shows[2], "The sources' own logs of 1 bucket leave out hours.")
		require.Contains(t, paged(t, report), "<dt>Asset</dt><dd>fraud, ")
	}
}
