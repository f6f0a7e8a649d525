package week

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

// TestWeek plays the week through the collectors and the whole app: each step of
// the insider is found, and nothing of what others do is.
func TestWeek(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a week")
	}
	dir := filepath.Join(t.TempDir(), "week")
	_, err := Write(dir, Options{})
	require.NoError(t, err)
	app, err := detection.FS()
	require.NoError(t, err)
	searches, err := scenario.Searches(app)
	require.NoError(t, err)
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	rec, err := scenario.Play(t.Context(), s, scenario.Options{})
	require.NoError(t, err)
	require.Empty(t, rec.Warnings)
	report, err := scenario.Schedule(t.Context(), rec, app, searches, scenario.ScheduleOptions{})
	require.NoError(t, err)
	for _, f := range report.Findings {
		t.Logf("%s %2d %s", f.Time.UTC().Format("Mon 15:04"), f.Detection, f.Message)
	}
	verdict := s.Judge(report.Findings)
	require.Empty(t, verdict.Missed)
	require.Empty(t, verdict.Unclaimed)
	t.Logf("%v, played in %s, searched in %s, %d runs", report.Events, rec.Took, report.Took, report.Runs)
}

func TestTheSameOptionsGiveTheSameWeek(t *testing.T) {
	acts := func(o Options) []byte {
		dir := filepath.Join(t.TempDir(), "week")
		_, err := Write(dir, o)
		require.NoError(t, err)
		text, err := os.ReadFile(filepath.Join(dir, "acts.ndjson"))
		require.NoError(t, err)
		return text
	}
	require.Equal(t, acts(Options{}), acts(Options{Seed: 1}))
	require.NotEqual(t, acts(Options{}), acts(Options{Seed: 2}))
}

func TestWhatIsNoWeekIsRefused(t *testing.T) {
	dir := t.TempDir()
	_, err := Write(filepath.Join(dir, "week"), Options{Start: time.Date(2026, 3, 23, 0, 0, 0, 0, time.UTC)})
	require.ErrorContains(t, err, "starts on a Sunday at midnight UTC")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600))
	_, err = Write(dir, Options{})
	require.ErrorContains(t, err, "is not empty")
}
