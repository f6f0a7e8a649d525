package audit

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

// TestHistoryIsThatOfTheSource: a log that tells of weeks before it was first read
// is history; a date that an interested party gives is none, nor another source's.
func TestHistoryIsThatOfTheSource(t *testing.T) {
	s := &story{t: t, events: NewEvents()}
	minutes := func(days int) int { return -days * 24 * 60 }
	s.tell(minutes(20), s3, "REST.GET.OBJECT", map[string]any{"asset_id": "s3://b/x"})
	s.tell(minutes(200), mlflow, "run.created", map[string]any{"time_basis": "claimed"})
	s.tell(minutes(3), mlflow, "alias.set", map[string]any{})
	s.tell(0, git, "commit.added", map[string]any{})
	report := searched(t, Input{Events: s.events, From: eight.Add(-time.Hour)})
	ws := newWatches(report.Period, false)
	require.NoError(t, s.events.rec.Each(func(step scenario.Step) error {
		r, err := parse(step.Event)
		ws.see(r, step.At)
		return err
	}))
	for want, sources := range map[int][]string{20: {"s3", "health"}, 3: {"mlflow"}, 0: {"git"}} {
		require.Equal(t, eight.AddDate(0, 0, -want), ws.since(sources, eight))
	}
	require.Equal(t, eight.AddDate(0, 0, -20), ws.since([]string{"health"}, eight))
	require.Equal(t, eight.AddDate(0, 0, -60), ws.since([]string{"s3"}, eight.AddDate(0, 0, -60)))

	for _, r := range judged(t, report, 13).Reasons {
		require.NotContains(t, r.Text, "days of history", "S3 tells of twenty days")
	}
}

// TestWhatHasFiredCouldFire: whatever else is said of a detection.
func TestWhatHasFiredCouldFire(t *testing.T) {
	s := &story{t: t, events: NewEvents()}
	s.tell(0, mlflow, "alias.set", map[string]any{})
	found := scenario.Finding{Detection: 32, Name: "x", Time: eight.Add(time.Minute), Row: json.RawMessage(`{}`)}
	require.Equal(t, detection.CannotFire, judged(t, searched(t, Input{Events: s.events}), 32).Verdict)
	fired := judged(t, searched(t, Input{Events: s.events}, found), 32)
	require.Equal(t, detection.Limited, fired.Verdict)
	require.Equal(t, 1, fired.Findings)
}

// TestWhatEventsShowOfAnInput: which logs it reads, and whether they prove names.
func TestWhatEventsShowOfAnInput(t *testing.T) {
	for _, c := range []struct {
		input, operation string
		fields           map[string]any
		tells            []string
		proven           bool
	}{
		{mlflow, "alias.set", map[string]any{"user_confidence": "unknown"}, nil, false},
		{mlflow, "alias.set", map[string]any{"user_confidence": "claimed", "raw_ref": "file:access.log:1"}, []string{"access_log"}, false},
		{mlflow, "alias.set", map[string]any{"raw_ref": "file:access.log:1"}, []string{"access_log"}, true},
		{git, "repo.fetched", nil, []string{"access_log"}, true},
		{git, "repo.pushed", nil, []string{"access_log", "hook_log"}, true},
		{git, "protection.changed", nil, []string{"audit_log"}, true},
		{git, "commit.added", map[string]any{"user_confidence": "signed"}, nil, false},
		{s3, "REST.GET.OBJECT", map[string]any{"asset_id": "s3://b/k"}, nil, true},
		{s3, "REST.PUT.VERSIONING", map[string]any{"asset_id": "s3://b"}, []string{"control"}, true},
		{s3, "record.damaged", map[string]any{"asset_id": "s3://b"}, nil, false},
	} {
		s := &story{t: t, events: NewEvents()}
		s.tell(0, c.input, c.operation, c.fields)
		ws := newWatches(Period{From: eight, To: eight.Add(time.Hour)}, false)
		s.events.rec.Finish(eight, eight.Add(time.Hour))
		require.NoError(t, s.events.rec.Each(func(step scenario.Step) error {
			r, err := parse(step.Event)
			ws.see(r, step.At)
			return err
		}))
		got := ws.inputs[c.input].observed()
		require.Equal(t, c.tells, got.Tells, "%s %s", c.input, c.operation)
		require.Equal(t, c.proven, got.Authenticated, "%s %s", c.input, c.operation)
		require.True(t, got.Observed)
	}
}
