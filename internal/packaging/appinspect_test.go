package packaging_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checks is how many checks the pinned AppInspect runs with our options. Fewer
// mean that a package is so broken, or an option so wrong, that most were left
// out.
const checks = 251

// TestAppInspect: what Splunk's own inspection says of a package, other than
// that all is well, stands in testdata/appinspect with its reason.
func TestAppInspect(t *testing.T) {
	for id, file := range archives(t) {
		t.Run(id, func(t *testing.T) { inspected(t, file, filepath.Join("testdata/appinspect", id+".txt")) })
	}
}

func inspected(t *testing.T, file, reasons string) {
	program := filepath.Join(tool(t, "appinspect"), "bin", "splunk-appinspect")
	report := filepath.Join(t.TempDir(), "report.json")
	inspect := exec.CommandContext(t.Context(), program, "inspect", file, "--mode", "precert",
		"--excluded-tags", "aarch64_compatibility", "--skip-trusted-libraries-update",
		"--max-messages", "all", "--data-format", "json", "--output-file", report)
	out, err := inspect.CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	var r struct {
		Summary map[string]int
		Reports []struct {
			Groups []struct {
				Checks []struct {
					Name, Result string
					Messages     []struct {
						File string `json:"message_filename"`
						Text string `json:"message"`
					}
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &r))
	total := 0
	for _, n := range r.Summary {
		total += n
	}
	require.Equal(t, checks, total, "AppInspect ran another number of checks: %v", r.Summary)

	var found []string
	for _, report := range r.Reports {
		for _, group := range report.Groups {
			for _, check := range group.Checks {
				if check.Result == "success" || check.Result == "not_applicable" {
					continue
				}
				for _, m := range check.Messages {
					found = append(found, strings.TrimSpace(fmt.Sprintf("%s %s %s", check.Result, check.Name, m.File)))
					t.Logf("%s %s: %s", check.Result, check.Name, m.Text)
				}
			}
		}
	}
	slices.Sort(found)

	golden, err := os.ReadFile(reasons)
	require.NoError(t, err)
	var allowed []string
	before := ""
	for line := range strings.Lines(string(golden)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			require.True(t, strings.HasPrefix(before, "#"), "%s: %s stands there without its reason", reasons, line)
			allowed = append(allowed, line)
		}
		before = line
	}
	slices.Sort(allowed)
	require.Equal(t, allowed, found, "what AppInspect says is not what %s lists with its reason", reasons)
}

// tool returns the folder of an installed tool of tools/; the test is skipped
// without it, but not in continuous integration.
func tool(t *testing.T, name string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), filepath.Join(root, "tools", "tools.sh"), "path", name)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("%s is not installed: %s", name, strings.TrimSpace(stderr.String()))
	}
	require.NoError(t, err, &stderr)
	return strings.TrimSpace(string(out))
}
