package month

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

var (
	update   = flag.Bool("update", false, "play the whole month and write what it raised")
	dayCount = flag.Int("days", 30, "with -update: how many days the month has")
)

// TestCleanMonth runs the whole app over clean days: at most one alert is raised
// per hundred people and day. Twenty people's day is played, ten days with
// AIWATCH_ROUNDS=100; with -update the thirty days of a hundred people, and what
// they raised is written for docs/detections.md.
func TestCleanMonth(t *testing.T) {
	if testing.Short() {
		t.Skip("plays days of people's work")
	}
	rounds, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS"))
	if err != nil {
		rounds = 10
	}
	o := Options{Seed: 7, People: 20, Days: max(1, min(30, rounds/10))}
	if *update {
		o.People, o.Days = 100, *dayCount
	}
	dir := filepath.Join(t.TempDir(), "month")
	_, err = Write(dir, o)
	require.NoError(t, err)
	app, err := detection.FS()
	require.NoError(t, err)
	searches, err := scenario.Searches(app)
	require.NoError(t, err)
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	_, report, err := scenario.PlayAndSchedule(t.Context(), s, scenario.Options{}, app, searches, scenario.ScheduleOptions{})
	require.NoError(t, err)

	clean := detection.CleanMonth{Seed: o.Seed, People: o.People, Days: o.Days, Alerts: map[int]int{}}
	for _, f := range report.Findings {
		clean.Alerts[f.Detection]++
		t.Logf("%s %d %s: %s", f.Time.UTC().Format("2006-01-02 15:04"), f.Detection, f.Name, f.Message)
	}
	t.Logf("alerts by detection over %d days of %d people:", clean.Days, clean.People)
	for _, number := range slices.Sorted(maps.Keys(clean.Alerts)) {
		t.Logf("%4d: %d", number, clean.Alerts[number])
	}
	if *update {
		path, err := filepath.Abs(filepath.Join("..", "..", "detection", "testdata", "clean_month.json"))
		require.NoError(t, err)
		text, err := json.Marshal(clean)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o644))
		t.Logf("written to %s: run go generate ./internal/detection", path)
	}
	require.LessOrEqual(t, clean.Rate(), 1.0, "alerts per hundred people and day")
}
