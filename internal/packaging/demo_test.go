package packaging_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDemoAndAuditOfTheArchive runs the program as it is shipped, alone in an
// empty home: the demo, and an audit of what the demo collected.
func TestDemoAndAuditOfTheArchive(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a week and searches it twice")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "aiwatch")
	_, contents := entries(t, archive(t))
	folder := map[string]string{"amd64": "linux_x86_64", "arm64": "linux_arm64"}[runtime.GOARCH]
	require.NoError(t, os.WriteFile(program, contents["TA-aiwatch/"+folder+"/bin/aiwatch"], 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "home"), 0o700))
	run := func(code int, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), program, args...)
		c.Dir, c.Env = dir, []string{"HOME=" + filepath.Join(dir, "home"), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
		var trouble strings.Builder
		c.Stderr = &trouble
		out, _ := c.Output()
		require.Equal(t, code, c.ProcessState.ExitCode(), trouble.String())
		return string(out)
	}
	fired := []int{1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 21, 22, 28, 29, 30, 32, 35, 38}
	numbers, err := json.Marshal(fired)
	require.NoError(t, err)
	told := strings.NewReplacer("[", "", "]", "", ",", ", ").Replace(string(numbers))

	require.Contains(t, run(0, "demo", "--keep"), "\n19 of 43 detections fired: "+told+".\nAccused: robin.\n")
	run(3, "audit", "--events", "aiwatch-demo/events.ndjson", "--lookups", "aiwatch-demo/scenario/lookups", "--out", "audit", "--fail-on", "critical")

	text, err := os.ReadFile(filepath.Join(dir, "audit", "audit.json"))
	require.NoError(t, err)
	var report struct {
		Findings []struct{ Detection int }
	}
	require.NoError(t, json.Unmarshal(text, &report))
	require.Len(t, report.Findings, 20)
	audited := map[int]bool{}
	for _, f := range report.Findings {
		audited[f.Detection] = true
	}
	require.Equal(t, fired, slices.Sorted(maps.Keys(audited)))
}
