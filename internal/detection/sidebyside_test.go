package detection_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

// TestSideBySideFindsTheSame plays scenarios to their end and runs the app's
// searches one after the other, and does all of that side by side.
func TestSideBySideFindsTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("plays days of people's work")
	}
	app, err := detection.FS()
	require.NoError(t, err)
	searches, err := scenario.Searches(app)
	require.NoError(t, err)
	for _, name := range []string{"force_push", "weight_swap_in_s3", "promoted_without_review", "self_granted_permission"} {
		t.Run(name, func(t *testing.T) {
			s, err := scenario.Load(filepath.Join("..", "..", "splunk_app", "scenarios", name))
			require.NoError(t, err)
			rec, err := scenario.Play(t.Context(), s, scenario.Options{})
			require.NoError(t, err)
			inTurn, err := scenario.Schedule(t.Context(), rec, app, searches, scenario.ScheduleOptions{InTurn: true})
			require.NoError(t, err)
			beside, report, err := scenario.PlayAndSchedule(t.Context(), s, scenario.Options{}, app, searches, scenario.ScheduleOptions{})
			require.NoError(t, err)
			require.NotEmpty(t, report.Findings)
			require.Equal(t, inTurn.Findings, report.Findings)
			require.Equal(t, inTurn.Events, report.Events)
			require.Equal(t, inTurn.Runs, report.Runs)
			require.Equal(t, inTurn.Warnings, report.Warnings)
			require.Equal(t, rec.Warnings, beside.Warnings)
		})
	}
}
