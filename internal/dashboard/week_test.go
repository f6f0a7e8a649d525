package dashboard_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/dashboard"
	"aiwatch/internal/detection"
	"aiwatch/internal/spl"
	"aiwatch/splunk_app/preview"
)

// theWeek is what answers searches over the insider's week, as the preview keeps
// it.
func theWeek(t testing.TB) ([]*dashboard.View, dashboard.Runner) {
	if testing.Short() {
		t.Skip("plays a week")
	}
	root, err := preview.FindRoot()
	require.NoError(t, err)
	data, err := new(preview.Source).Load(t.Context(), root, slog.New(slog.NewTextHandler(io.Discard, nil)))
	require.NoError(t, err)
	app, err := detection.Make(os.DirFS(filepath.Join("..", "..", "splunk_app")))
	require.NoError(t, err)
	views, err := dashboard.Load(app)
	require.NoError(t, err)
	return views, func(ctx context.Context, search string, r dashboard.Range) (*spl.Result, error) {
		return data.Run(ctx, preview.Search{Text: search, Earliest: r.Earliest, Latest: r.Latest})
	}
}

// TestPanelsHaveRows: over the insider's week every panel of every page has rows
// and a value of each field that it draws; so have the pages of the asset and
// the person that it is about.
func TestPanelsHaveRows(t *testing.T) {
	views, run := theWeek(t)
	chosen := map[string]map[string]string{"asset": {"asset": "vision"}, "person": {"person": "robin"}}
	for _, v := range views {
		for _, tokens := range []map[string]string{nil, chosen[v.Name]} {
			empty, err := v.Empty(t.Context(), run, tokens)
			require.NoError(t, err)
			if v.Name == "integrity" {
				delete(empty, "imports") // nobody hides code in a model that week
			}
			require.Empty(t, empty, "%s with %v", v.Name, tokens)
		}
	}
}

// TestWhatThePagesSay: the numbers that are read first are those of the story.
func TestWhatThePagesSay(t *testing.T) {
	views, run := theWeek(t)
	for _, c := range []struct {
		view, source, field, want string
		tokens                    map[string]string
	}{
		{"overview", "riskiest", "person", "robin", nil},
		{"overview", "alive", "text", "3 of 3", nil},
		{"overview", "changed", "What", "main rewritten by force", nil},
		{"asset", "serves", "version", "vision v5", map[string]string{"asset": "vision"}},
		{"asset", "differ", "text", "2", map[string]string{"asset": "vision"}},
		{"asset", "differ", "text", "0", map[string]string{"asset": "fraud"}},
		{"asset", "differ", "text", "not told", map[string]string{"asset": "customers"}},
		{"asset", "who", "Person", "robin", map[string]string{"asset": "vision"}},
		{"asset", "who", "Person", "nobody", map[string]string{"asset": `no "such" $thing$ | x`}},
		{"person", "leaves", "text", "2026-03-31", map[string]string{"person": "robin"}},
		{"person", "leaves", "text", "not planned", map[string]string{"person": "nora"}},
		{"person", "times", "state", "bad", map[string]string{"person": "robin"}},
		{"person", "found", "Finding", "Deletion and log tampering", map[string]string{"person": "robin"}},
		{"person", "found", "Finding", "Nothing was found", map[string]string{"person": "nora"}},
		{"person", "firsts", "Which", "fraud", map[string]string{"person": "robin"}},
		{"person", "proven", "text", "no act", map[string]string{"person": `no "such" $one$ | x`}},
		{"integrity", "numbers", "overwrites", "3", nil},
		{"integrity", "numbers", "promotions", "4", nil},
		{"integrity", "numbers", "promotions", "0", map[string]string{"person": "nora"}},
		{"integrity", "findings", "Asset", "vision", nil},
		{"integrity", "findings", "Asset", "acme/fraud", map[string]string{"topic": "Rewritten history"}},
		{"integrity", "findings", "Asset", "fraud", map[string]string{"asset": "fraud"}},
		{"integrity", "promotions", "Moved by", "robin", nil},
		{"integrity", "rewrites", "Person", "robin", nil},
		{"exfiltration", "numbers", "slow", "1", nil},
		{"exfiltration", "against", "Person", "robin", nil},
		{"exfiltration", "slow", "Objects", "24 of 24 in 5 days", nil},
		{"exfiltration", "accounts", "Standing", "own", nil},
		{"exfiltration", "findings", "_event_ids", "none", map[string]string{"person": `no "such" $one$ | x`}},
		{"watchers", "numbers", "of", "of 3 inputs", nil},
		{"watchers", "gaps", "gaps", "1", nil},
		{"watchers", "blind", "of", "of 43 detections", nil},
		{"watchers", "inputs_table", "Input", "aiwatch_s3://acme", map[string]string{"input": "aiwatch_s3://acme"}},
		{"watchers", "numbers", "of", "no input was heard", map[string]string{"input": `no "such" $one$ | x`}},
	} {
		for _, v := range views {
			if v.Name != c.view {
				continue
			}
			r, err := v.Run(t.Context(), run, c.source, c.tokens)
			require.NoError(t, err)
			require.NotEmpty(t, r.Rows, "%s %s", c.view, c.source)
			require.Equal(t, c.want, r.Get(r.Rows[0], c.field).String(), "%s %s with %v", c.view, c.source, c.tokens)
		}
	}
}

// BenchmarkPages measures the searches of each page over the insider's week, all
// of them, once.
func BenchmarkPages(b *testing.B) {
	views, _ := theWeek(b)
	for _, v := range views {
		b.Run(v.Name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				_, run := theWeek(b) // which remembers nothing yet
				b.StartTimer()
				if _, err := v.Empty(b.Context(), run, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
