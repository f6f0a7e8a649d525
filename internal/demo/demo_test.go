package demo

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
)

// TestRun makes a demo with one search, so that what runs beside each other is
// seen by the race detector.
func TestRun(t *testing.T) {
	app, err := detection.FS()
	require.NoError(t, err)
	var steps []string
	r, err := Run(t.Context(), Options{
		Dir: t.TempDir(), App: searching{app, "[Deletions]\nsearch = `aiwatch_s3` `aiwatch_deletions` | stats min(_time) AS _time, values(event_id) AS event_ids, values(asset_id) AS asset_id by user | eval detection=1, title=\"Deletions\", severity=\"low\", message=user.\" deleted\", event_ids=mvjoin(event_ids,\",\")\ncron_schedule = 0 0 * * *\ndispatch.earliest_time = -1d\ndispatch.latest_time = now\naction.summary_index = 1\n"},
		Log: slog.New(slog.DiscardHandler),
		Step: func(what string) func(string, ...any) {
			return func(format string, args ...any) { steps = append(steps, what+": "+fmt.Sprintf(format, args...)) }
		},
	})
	require.NoError(t, err)
	require.Len(t, steps, 3)
	require.NotZero(t, r.Arrived.Events)
	require.Equal(t, r.Arrived.Events, r.Report.Engine.Store.Len()-len(r.Report.Findings))
	require.Equal(t, []string{"robin", "sofia"}, r.Story.Accused)
}
