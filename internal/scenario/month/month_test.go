package month

import (
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
// collectors see each source.
func TestAMonthIsAScenario(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "month")
	count, err := Write(dir, Options{Days: 3, People: 20, Lines: 3000, Start: time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)})
	require.NoError(t, err)
	require.InDelta(t, 3000, count.Lines, 600)
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	rec, err := scenario.Play(t.Context(), s, scenario.Options{})
	require.NoError(t, err)
	require.Empty(t, rec.Warnings)
	require.NotZero(t, rec.Len())
}
