package month

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/scenario"
)

var number = regexp.MustCompile(`\d+(?:\.\d+)?`)

// TestVolume holds the licence volume in docs/sizing.md to what an index counts: the
// bytes of the events of each source, over three working days of twenty people.
// A tenth more or less is no mistake. -update writes it.
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

	// What counts the events of a sourcetype, and how many of them a day brings
	// to each.
	rates := []struct {
		sourcetype, what string
		of               int
		daily, size      float64
	}{
		{sourcetype: "aiwatch:s3", what: "person", of: people},
		{sourcetype: "aiwatch:mlflow", what: "person", of: people},
		{sourcetype: "aiwatch:git", what: "person", of: people},
		{sourcetype: "aiwatch:health", what: "input or S3 bucket", of: len(beating)},
	}
	var text strings.Builder
	text.WriteString("| sourcetype | for each | events a day | bytes an event | MB a day for 100 of them |\n|---|---|---|---|---|\n")
	for i := range rates {
		r := &rates[i]
		v := volumes[r.sourcetype]
		require.NotZero(t, v.events, r.sourcetype)
		r.daily, r.size = v.events/float64(r.of*days), v.bytes/v.events
		fmt.Fprintf(&text, "| `%s` | %s | %.1f | %.0f | %.2f |\n", r.sourcetype, r.what, r.daily, r.size, 100*r.daily*r.size/1e6)
	}
	fmt.Fprintf(&text, "\n**Your volume a day** = S3 records on AI assets × %.0f B + MLflow changes × %.0f B + Git commits, files and pushes × %.0f B + 288 × %.0f B for each input and each S3 bucket that is logged.\n",
		rates[0].size, rates[1].size, rates[2].size, rates[3].size)
	text.WriteString("\n| an organisation like this of | with inputs and buckets | S3 | MLflow and Git | health | MB a day |\n|---|---|---|---|---|---|\n")
	for _, o := range []struct{ people, beating float64 }{{100, 8}, {1000, 35}, {10000, 100}} {
		mb := make([]float64, len(rates))
		for i, r := range rates {
			mb[i] = o.people * r.daily * r.size / 1e6
		}
		mb[3] = o.beating * rates[3].daily * rates[3].size / 1e6
		fmt.Fprintf(&text, "| %.0f people | %.0f | %.1f | %.1f | %.1f | %.0f |\n", o.people, o.beating, mb[0], mb[1]+mb[2], mb[3], mb[0]+mb[1]+mb[2]+mb[3])
	}

	const begin, end = "<!-- Written by go test ./internal/scenario/month -run TestVolume -update -->\n\n", "\n<!-- Until here. -->"
	path := filepath.Join("..", "..", "..", "docs", "sizing.md")
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(page), begin)
	require.True(t, found)
	shown, after, found := strings.Cut(rest, end)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+text.String()+end+after), 0o644))
		return
	}
	const anew = "docs/sizing.md; -update writes it anew"
	require.Equal(t, number.ReplaceAllString(text.String(), "N"), number.ReplaceAllString(shown, "N"), anew)
	told := number.FindAllString(shown, -1)
	for i, measured := range number.FindAllString(text.String(), -1) {
		want, err := strconv.ParseFloat(measured, 64)
		require.NoError(t, err)
		got, err := strconv.ParseFloat(told[i], 64)
		require.NoError(t, err)
		require.InDelta(t, want, got, max(0.1*want, 0.15), anew)
	}
}
