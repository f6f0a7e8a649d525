package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// everything holds one of each act.
func everything(t *testing.T) *Scenario {
	t.Helper()
	s, err := Load(filepath.Join("testdata", "everything"))
	require.NoError(t, err)
	return s
}

func TestEverythingIsPlayedAndFound(t *testing.T) {
	s := everything(t)
	var out, events strings.Builder
	var warnings []string
	run := Run{
		App: os.DirFS(filepath.Join("testdata", "app")), Findings: &out, Events: &events,
		Warn: func(text string) { warnings = append(warnings, text) },
	}
	v, err := run.Do(t.Context(), s)
	require.NoError(t, err)
	require.True(t, v.OK(), out.String())
	require.Equal(t, 2, v.Found)
	require.Empty(t, v.Unclaimed)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "everything/acts.ndjson:12: DELETE /api/2.0/mlflow/registered-models/delete-tag is refused with 404")
}
