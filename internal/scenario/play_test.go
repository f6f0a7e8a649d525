package scenario

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
)

// everything holds one of each act. Its bundle is made here.
func everything(t *testing.T) *Scenario {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "everything")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "everything"))))
	bundle(t, filepath.Join(dir, "rewritten.stream"), filepath.Join(dir, "main.bundle"))
	s, err := Load(dir)
	require.NoError(t, err)
	return s
}

// bundle makes a bundle of what a stream makes.
func bundle(t *testing.T, stream, bundle string) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "made.git")
	in, err := os.Open(stream)
	require.NoError(t, err)
	defer in.Close()
	for _, arguments := range [][]string{{"init", "--quiet", "--bare", repo}, {"-C", repo, "fast-import", "--quiet"}, {"-C", repo, "bundle", "create", "--quiet", bundle, "--all"}} {
		cmd := exec.Command("git", arguments...)
		cmd.Stdin = in
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
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

var records = regexp.MustCompile(`"records_read":\d+,`)

func TestPollsThatArePutOffChangeNothing(t *testing.T) { PutOffPollsChangeNothing(t, everything(t)) }

// PutOffPollsChangeNothing plays a scenario with every poll and without those of a
// source in which nothing changed.
func PutOffPollsChangeNothing(t *testing.T, s *Scenario) {
	t.Helper()
	recordings := map[bool][]string{}
	for _, eager := range []bool{true, false} {
		dir := t.TempDir()
		rec, err := Play(t.Context(), s, Options{Dir: dir, Eager: eager})
		require.NoError(t, err)
		require.NoError(t, rec.Each(func(step Step) error {
			line := strings.ReplaceAll(string(step.Event), dir, "DIR") + step.Delete
			if strings.Contains(line, `"source":"aiwatch_mlflow://prod","sourcetype":"aiwatch:health"`) {
				line = records.ReplaceAllString(line, "") // see lazy
			}
			recordings[eager] = append(recordings[eager], step.At.Format("2006-01-02T15:04:05 ")+line)
			return nil
		}))
	}
	require.Len(t, recordings[false], len(recordings[true]))
	for i, want := range recordings[true] {
		require.Equal(t, want, recordings[false][i])
	}
}

// TestWhatSearchesRememberChangesNothing runs the searches of the test's app and
// of the real one with and without what they remember from run to run.
func TestWhatSearchesRememberChangesNothing(t *testing.T) {
	rec, err := Play(t.Context(), everything(t), Options{})
	require.NoError(t, err)
	real, err := detection.FS()
	require.NoError(t, err)
	// Of the real app's many searches a few hours will do.
	whole, morning := rec.Scenario, *rec.Scenario
	morning.End = morning.Start.Add(3 * time.Hour)
	for name, app := range map[string]fs.FS{"test": os.DirFS(filepath.Join("testdata", "app")), "real": real} {
		rec.Scenario = whole
		if name == "real" {
			rec.Scenario = &morning
		}
		searches, err := Searches(app)
		require.NoError(t, err)
		reports := map[bool]*Report{}
		for _, every := range []bool{true, false} {
			reports[every], err = Schedule(t.Context(), rec, app, searches, ScheduleOptions{Every: every})
			require.NoError(t, err)
		}
		require.Equal(t, reports[true].Findings, reports[false].Findings, name)
		require.Equal(t, reports[true].Runs, reports[false].Runs, name)
	}
}
