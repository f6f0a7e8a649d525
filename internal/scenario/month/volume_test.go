package month

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/scenario"
)

// TestVolume holds the table of docs/sizing.md to what an index counts: the
// bytes of the events of each source, over three working days of twenty people.
// -update writes the table.
func TestVolume(t *testing.T) {
	if testing.Short() {
		t.Skip("plays days of people's work")
	}
	const people, days = 20, 3
	dir := filepath.Join(t.TempDir(), "month")
	_, err := Write(dir, Options{Seed: 7, People: people, Days: days, Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)})
	require.NoError(t, err)
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	rec, err := scenario.Play(t.Context(), s, scenario.Options{})
	require.NoError(t, err)

	type volume struct{ events, bytes float64 }
	volumes := map[string]*volume{"aiwatch:s3": {}, "aiwatch:mlflow": {}, "aiwatch:git": {}, "aiwatch:health": {}}
	beating := map[string]bool{} // inputs and buckets
	require.NoError(t, rec.Each(func(step scenario.Step) error {
		var envelope struct {
			Sourcetype string
			Event      json.RawMessage
		}
		if err := json.Unmarshal(step.Event, &envelope); err != nil {
			return err
		}
		var e struct {
			Operation string
			Asset     string `json:"asset_id"`
		}
		if err := json.Unmarshal(envelope.Event, &e); err != nil {
			return err
		}
		if e.Operation == "heartbeat" {
			beating[e.Asset] = true
		}
		v := volumes[envelope.Sourcetype]
		require.NotNil(t, v, envelope.Sourcetype)
		v.events++
		v.bytes += float64(len(envelope.Event))
		return nil
	}))

	var table strings.Builder
	table.WriteString("| sourcetype | for each | events a day | bytes an event | MB a day for 100 of them |\n|---|---|---|---|---|\n")
	for _, row := range []struct {
		sourcetype, what string
		of               int
	}{
		{"aiwatch:s3", "person", people},
		{"aiwatch:mlflow", "person", people},
		{"aiwatch:git", "person", people},
		{"aiwatch:health", "input or S3 bucket", len(beating)},
	} {
		v := volumes[row.sourcetype]
		require.NotZero(t, v.events, row.sourcetype)
		daily := v.events / float64(row.of*days)
		fmt.Fprintf(&table, "| `%s` | %s | %.1f | %.0f | %.2f |\n", row.sourcetype, row.what, daily, v.bytes/v.events, 100*daily*v.bytes/v.events/1e6)
	}

	const begin, end = "<!-- Written by go test ./internal/scenario/month -run TestVolume -update -->\n\n", "\n<!-- Until here. -->"
	path := filepath.Join("..", "..", "..", "docs", "sizing.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	shown, after, found := strings.Cut(rest, end)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+table.String()+end+after), 0o644))
		return
	}
	require.Equal(t, table.String(), shown, "docs/sizing.md; -update writes it anew")
}
