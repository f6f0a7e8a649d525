package detection

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/spl"
)

// TestDataModel counts by the data model, as tstats does unaccelerated: each
// kind of act is in its own dataset, and inventory is in none of them.
func TestDataModel(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	engine, err := Engine(app, time.UTC)
	require.NoError(t, err)
	for _, line := range []string{
		`{"_time":1,"index":"aiwatch","sourcetype":"aiwatch:s3","operation":"REST.GET.OBJECT","user":"ann","asset_id":"s3://m/a"}`,
		`{"_time":2,"index":"aiwatch","sourcetype":"aiwatch:s3","operation":"REST.PUT.OBJECT","user":"ann","asset_id":"s3://m/a"}`,
		`{"_time":3,"index":"aiwatch","sourcetype":"aiwatch:mlflow","operation":"permission.granted","action":"acl_modified","user":"eve","src_user":"ann"}`,
		`{"_time":4,"index":"aiwatch","sourcetype":"aiwatch:mlflow","operation":"inventory","action":"read","asset_id":"mlflow:a/runs/1"}`,
		`{"_time":5,"index":"other","sourcetype":"aiwatch:s3","operation":"REST.GET.OBJECT","user":"ann","asset_id":"s3://m/a"}`,
	} {
		require.NoError(t, engine.Store.Add([]byte(line)))
	}
	for dataset, want := range map[string]string{
		"AI_Events": "4", "AI_Events.Access": "1", "AI_Events.Change": "1", "AI_Events.Permission": "1",
	} {
		result, err := engine.Run(context.Background(), "| `aiwatch_tstats` count from datamodel=AI_Assets."+dataset, spl.Params{Now: time.Unix(100, 0)})
		require.NoError(t, err, dataset)
		require.Len(t, result.Rows, 1)
		require.Equal(t, want, result.Get(result.Rows[0], "count").String(), dataset)
	}
	result, err := engine.Run(context.Background(), "| `aiwatch_tstats` count from datamodel=AI_Assets.AI_Events where AI_Events.action=uploaded by AI_Events.actor", spl.Params{Now: time.Unix(100, 0)})
	require.NoError(t, err)
	require.Equal(t, "ann", result.Get(result.Rows[0], "AI_Events.actor").String())
}
