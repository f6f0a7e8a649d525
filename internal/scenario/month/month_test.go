package month

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/scenario"
)

func TestTheSameOptionsGiveTheSameMonth(t *testing.T) {
	var first []byte
	for _, seed := range []uint64{1, 1, 2} {
		dir := filepath.Join(t.TempDir(), "month")
		_, err := Write(dir, Options{Seed: seed, Days: 2, People: 20})
		require.NoError(t, err)
		acts, err := os.ReadFile(filepath.Join(dir, "acts.ndjson.gz"))
		require.NoError(t, err)
		switch {
		case first == nil:
			first = acts
		case seed == 1:
			require.Equal(t, first, acts)
		default:
			require.NotEqual(t, first, acts)
		}
	}
}

// TestAMonthIsAScenario plays a few days: every act is possible, and the
// collectors see each source, and everybody who deletes.
func TestAMonthIsAScenario(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "month")
	count, err := Write(dir, Options{Seed: 1, Days: 4, People: 20, Lines: 4000, Start: time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)})
	require.NoError(t, err)
	require.InDelta(t, 4000, count.Lines, 800)
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	rec, err := scenario.Play(t.Context(), s, scenario.Options{})
	require.NoError(t, err)
	require.Empty(t, rec.Warnings)
	deleted := map[string]int{}
	require.NoError(t, rec.Each(func(step scenario.Step) error {
		var envelope struct {
			Event struct{ Operation, User string }
		}
		if err := json.Unmarshal(step.Event, &envelope); err != nil {
			return err
		}
		by := "a person"
		if u := envelope.Event.User; u == retention.name || u == "AmazonS3" {
			by = u
		}
		deleted[envelope.Event.Operation+" by "+by]++
		return nil
	}))
	for _, act := range []string{
		"REST.DELETE.OBJECT by a person", "BATCH.DELETE.OBJECT by a person", "experiment.deleted by a person", "ref.deleted by a person",
		"REST.DELETE.OBJECT by svc-retention", "BATCH.DELETE.OBJECT by svc-retention", "S3.EXPIRE.OBJECT by AmazonS3",
	} {
		require.NotZero(t, deleted[act], act)
	}
}
