package detection_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

// TestScenarios plays every scenario of the app with the whole app: what each
// expects is found, and nothing else is raised but what it allows.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("plays days of people's work")
	}
	app, err := detection.FS()
	require.NoError(t, err)
	folders, err := filepath.Glob(filepath.Join("..", "..", "splunk_app", "scenarios", "*", "scenario.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	for _, file := range folders {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s, err := scenario.Load(dir)
			require.NoError(t, err)
			var findings bytes.Buffer
			run := scenario.Run{App: app, Findings: &findings}
			verdict, err := run.Do(t.Context(), s)
			require.NoError(t, err)
			if !verdict.OK() {
				t.Errorf("not all was found, or too much was raised:\n%s", findings.String())
			}
		})
	}
}
