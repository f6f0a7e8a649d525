package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
	splunkapp "aiwatch/splunk_app"
)

var update = flag.Bool("update", false, "write the golden files anew")

var eight = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// swap is the scenario weight_swap_in_s3, played once for all tests.
var swap = sync.OnceValues(func() (*scenario.Recording, error) {
	s, err := scenario.Load(filepath.Join("..", "..", "splunk_app", "scenarios", "weight_swap_in_s3"))
	if err != nil {
		return nil, err
	}
	return scenario.Play(context.Background(), s, scenario.Options{Version: "test"})
})

// builtIn is the app with its detections, read once for all tests.
var builtIn = sync.OnceValues(func() (app fs.FS, err error) {
	if catalogue, err = detection.Load(splunkapp.Files); err != nil {
		return nil, err
	}
	return detection.FS()
})

var catalogue []*detection.Detection

func swapped(t *testing.T) *scenario.Recording {
	t.Helper()
	rec, err := swap()
	require.NoError(t, err)
	return rec
}

// TestReport: the whole report of a small scenario, as page and as JSON.
func TestReport(t *testing.T) {
	events, err := EventsOf(swapped(t))
	require.NoError(t, err)
	report, err := Run(t.Context(), Input{Events: events, FailOn: "high", Made: eight.AddDate(0, 0, 1), Version: "test"})
	require.NoError(t, err)
	require.Equal(t, ExitFound, report.Verdict.ExitCode)
	for _, f := range report.Findings {
		require.Contains(t, string(f.Row), `"detection":"1"`)
		f.Row = json.RawMessage(`{}`) // what else a search tells is not the report's
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"swap.html": func(b *bytes.Buffer) error { return report.WriteHTML(b) },
		"swap.json": func(b *bytes.Buffer) error { return report.WriteJSON(b) },
	} {
		var got bytes.Buffer
		require.NoError(t, write(&got))
		golden := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), got.String(), "%s: run go test ./internal/audit -update and read what changed", name)
	}
}

// searched runs an audit whose searches found what is given, and nothing else;
// what asks for the events themselves is asked all the same.
func searched(t *testing.T, in Input, found ...scenario.Finding) *Report {
	t.Helper()
	rec := in.Events.rec
	if !in.Events.played {
		first, last := in.Events.Span()
		rec.Finish(first, last.Add(time.Hour))
	}
	app, err := builtIn()
	require.NoError(t, err)
	ran, err := scenario.Schedule(t.Context(), rec, app, nil, scenario.ScheduleOptions{Closing: true})
	require.NoError(t, err)
	ran.Findings = found
	in.Ran, in.App, in.Catalogue = ran, app, catalogue
	report, err := Run(t.Context(), in)
	require.NoError(t, err)
	return report
}

// without is the recording without some of its events.
func without(t *testing.T, rec *scenario.Recording, left func(r *record) bool) *Events {
	t.Helper()
	events := NewEvents()
	require.NoError(t, rec.Each(func(step scenario.Step) error {
		r, err := parse(step.Event)
		require.NoError(t, err)
		if left(r) {
			return nil
		}
		return events.Add(step.Event)
	}))
	return events
}

// TestAnInputThatStoppedForSixHours: the report names the hours, in its first
// lines, its page and its JSON; the other input is not blamed.
func TestAnInputThatStoppedForSixHours(t *testing.T) {
	from, to := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), time.Date(2026, 3, 2, 16, 0, 0, 0, time.UTC)
	events := without(t, swapped(t), func(r *record) bool {
		return r.Source == "aiwatch_s3://prod" && r.indexed().After(from.Add(time.Second)) && r.indexed().Before(to)
	})
	report := searched(t, Input{Events: events})
	require.Len(t, report.Watch, 2)
	mlflow, s3 := report.Watch[0], report.Watch[1]
	require.Empty(t, mlflow.Missing)
	require.Empty(t, mlflow.Holes)
	require.Len(t, s3.Missing, 1)
	gap := s3.Missing[0]
	require.Equal(t, from, gap.From)
	require.Equal(t, to, gap.To)
	require.Equal(t, "no heartbeat", gap.Why)
	var hours []string
	for _, h := range gap.Hours {
		hours = append(hours, h.Format("15"))
	}
	require.Equal(t, []string{"10", "11", "12", "13", "14", "15"}, hours)
	require.Equal(t, 1, gap.Later, "the overwriting of 14:00 is delivered after the gap")
	require.Len(t, s3.Holes, 1)
	require.Positive(t, s3.Holes[0].Missing())
	require.Contains(t, report.Verdict.Evidence, "aiwatch_s3://prod was not watched for 6 h")
	require.Equal(t, "warning", report.Verdict.Level)
	page := paged(t, report)
	require.Contains(t, page, "2026-03-02 10:00 to 16:00</td><td>6 h</td><td>no heartbeat</td><td>1 act dated in it")
	require.Contains(t, page, `<rect class="gap" x=`)
	require.Contains(t, unknown(report), "aiwatch_s3://prod was not watched for 6 h")
}

func unknown(r *Report) string { return strings.Join(r.Coverage.Unknown, "\n") }

func paged(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.WriteHTML(&b))
	return b.String()
}

// TestAnEmptyLookupNamesItsDetections: what can't fire for it is listed with the
// lookup; with the lookup filled it is not.
func TestAnEmptyLookupNamesItsDetections(t *testing.T) {
	events, err := EventsOf(swapped(t))
	require.NoError(t, err)
	empty := searched(t, Input{Events: events})
	leavers := judged(t, empty, 32)
	require.Equal(t, detection.CannotFire, leavers.Verdict)
	require.Equal(t, []detection.Reason{{Text: "lookup aiwatch_leavers is empty", Fix: "fill it"}}, leavers.Reasons)
	require.Contains(t, paged(t, empty), "<td>32 Leaver activity</td><td>lookup aiwatch_leavers is empty</td><td>fill it</td>")

	// The same with the lookup as an administrator brings it.
	events = without(t, swapped(t), func(*record) bool { return false })
	first, last := events.Span()
	events.rec.Finish(first, last)
	app, err := builtIn()
	require.NoError(t, err)
	ran, err := scenario.Schedule(t.Context(), events.rec, app, nil, scenario.ScheduleOptions{Prepare: fillLeavers, Closing: true})
	require.NoError(t, err)
	filled, err := Run(t.Context(), Input{Events: events, Ran: ran, App: app, Catalogue: catalogue})
	require.NoError(t, err)
	require.NotEqual(t, detection.CannotFire, judged(t, filled, 32).Verdict)
	require.Equal(t, empty.Coverage.CannotFire-1, filled.Coverage.CannotFire)
}

func judged(t *testing.T, r *Report, number int) Judged {
	t.Helper()
	i := slices.IndexFunc(r.Coverage.Detections, func(j Judged) bool { return j.Number == number })
	require.GreaterOrEqual(t, i, 0)
	return r.Coverage.Detections[i]
}

// TestFailOn: 3 where something of that severity or graver was found, else 0.
func TestFailOn(t *testing.T) {
	finding := func(severity string) scenario.Finding {
		return scenario.Finding{Detection: 22, Name: "x", Time: eight.Add(time.Hour), Row: json.RawMessage(fmt.Sprintf(`{"severity":%q}`, severity))}
	}
	for _, c := range []struct {
		failOn string
		found  []string
		want   int
	}{
		{"", []string{"critical"}, ExitDone},
		{"critical", []string{"critical"}, ExitFound},
		{"critical", []string{"high", "low"}, ExitDone},
		{"high", []string{"critical"}, ExitFound},
		{"high", []string{"high"}, ExitFound},
		{"high", []string{"medium"}, ExitDone},
		{"informational", []string{"informational"}, ExitFound},
		{"informational", nil, ExitDone},
	} {
		var found []scenario.Finding
		for _, s := range c.found {
			found = append(found, finding(s))
		}
		events := NewEvents()
		require.NoError(t, events.Add(beatAt("aiwatch_s3://p", 1, eight)))
		require.NoError(t, events.Add(beatAt("aiwatch_s3://p", 2, eight.Add(2*time.Hour))))
		report := searched(t, Input{Events: events, FailOn: c.failOn}, found...)
		require.Equal(t, c.want, report.Verdict.ExitCode, "%s %v", c.failOn, c.found)
	}
	events := NewEvents()
	require.NoError(t, events.Add(beatAt("aiwatch_s3://p", 1, eight)))
	_, err := Run(t.Context(), Input{Events: events, FailOn: "grave"})
	require.ErrorContains(t, err, `"grave" is no severity`)
}

// TestWhomTheFirstLinesName: whoever stands in the most findings, as long as a line
// can hold the name.
func TestWhomTheFirstLinesName(t *testing.T) {
	by := func(users ...string) *Finding { return &Finding{Users: users} }
	for want, all := range map[string][]*Finding{
		"":                      {by(), by("")},
		"It names ann.":         {by("ann")},
		"All of them name bob.": {by("ann", "bob"), by("bob")},
		"2 of them name ann.":   {by("bob"), by("ann"), by("ann"), by()},
		"1 of them name ann.":   {by("bob"), by("ann")},
		"It names " + strings.Repeat("é", 80) + "....": {by(strings.Repeat("é", 81))},
	} {
		require.Equal(t, want, named(all))
	}
}

// TestThePeriod: what was raised outside of it is no finding of the report.
func TestThePeriod(t *testing.T) {
	events := NewEvents()
	for i := range 24 {
		require.NoError(t, events.Add(beatAt("aiwatch_s3://p", i+1, eight.Add(time.Duration(i)*time.Hour))))
	}
	at := func(hour int, title string) scenario.Finding {
		return scenario.Finding{Detection: 22, Name: title, Time: eight.Add(time.Duration(hour) * time.Hour), Row: json.RawMessage(`{}`)}
	}
	report := searched(t, Input{Events: events, From: eight.Add(2 * time.Hour), To: eight.Add(5 * time.Hour)},
		at(1, "before"), at(2, "first"), at(5, "last"), at(6, "after"))
	var titles []string
	for _, f := range report.Findings {
		titles = append(titles, f.Title)
	}
	require.Equal(t, []string{"first", "last"}, titles)
	require.Equal(t, eight, report.Period.History)
	require.Equal(t, 18, report.Period.Later)
	require.Contains(t, unknown(report), "18 events came after the period")

	// Without bounds it is from the first event to shortly after the last one, and
	// never behind the moment of the audit.
	report = searched(t, Input{Events: events})
	require.Equal(t, eight, report.Period.From)
	require.Equal(t, eight.Add(23*time.Hour+10*time.Minute), report.Period.To)
	report = searched(t, Input{Events: events, Made: eight.Add(20 * time.Hour)})
	require.Equal(t, eight.Add(20*time.Hour), report.Period.To)

	// Of a long past the searches read what tables remember.
	require.NoError(t, events.Add(beatAt("aiwatch_s3://p", 99, eight.AddDate(-2, 0, 0))))
	report = searched(t, Input{Events: events, From: eight, To: eight.Add(time.Hour)})
	require.Equal(t, eight.Add(-learn), report.Period.Searched)
	require.Equal(t, eight.AddDate(-2, 0, 0), report.Period.History)
	report = searched(t, Input{Events: events})
	require.Equal(t, report.Period.To.Add(-LongestPeriod), report.Period.From)
	require.Equal(t, report.Period.From, report.Period.Searched)

	for _, c := range []struct {
		from, to time.Time
		want     string
	}{
		{eight.Add(time.Hour), eight.Add(time.Hour), "not after its begin"},
		{eight.AddDate(-3, 0, 0), eight.Add(time.Hour), "longer than 400 days"},
	} {
		_, err := Run(t.Context(), Input{Events: events, From: c.from, To: c.to, App: fstest.MapFS{}, Catalogue: catalogue})
		require.ErrorContains(t, err, c.want)
	}
}

// beatAt is a heartbeat in its envelope.
func beatAt(input string, seq int, at time.Time) []byte {
	return fmt.Appendf(nil, `{"time":%d,"host":"h","source":%q,"sourcetype":"aiwatch:health","event":{"operation":"heartbeat","asset_type":"input","collector":"c","seq":%d,"event_id":"%032x","state":"ok"},"indextime":%d}`,
		at.Unix(), input, seq, seq, at.Unix())
}
