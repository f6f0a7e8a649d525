package demo

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

// without is the app without a saved search.
type without struct {
	fs.FS
	title string
}

func (w without) Open(name string) (fs.File, error) {
	if name != "default/savedsearches.conf" {
		return w.FS.Open(name)
	}
	text, err := fs.ReadFile(w.FS, name)
	if err != nil {
		return nil, err
	}
	before, stanza, found := strings.Cut(string(text), "[AI Asset - "+w.title+" - Rule]")
	if !found {
		return nil, fmt.Errorf("there is no %s", w.title)
	}
	_, after, _ := strings.Cut(stanza, "\n[")
	return fstest.MapFS{name: {Data: []byte(before + "\n[" + after)}}.Open(name)
}

func tellOf(t *testing.T, rec *scenario.Recording, app fs.FS) *Story {
	t.Helper()
	searches, err := scenario.Searches(app)
	require.NoError(t, err)
	report, err := scenario.Schedule(t.Context(), rec, app, searches, scenario.ScheduleOptions{})
	require.NoError(t, err)
	story, err := Tell(t.Context(), rec.Scenario, report, searches)
	require.NoError(t, err)
	return story
}

func printed(s *Story) string {
	var b bytes.Buffer
	s.Print(&b, func(text string) string { return text })
	return b.String()
}

// TestStoryWithoutADetection takes a detection out of the app: its line is gone
// from the story, and the others stay.
func TestStoryWithoutADetection(t *testing.T) {
	s, err := scenario.Load(filepath.Join("..", "..", "splunk_app", "scenarios", "own_model_promoted"))
	require.NoError(t, err)
	rec, err := scenario.Play(t.Context(), s, scenario.Options{})
	require.NoError(t, err)
	app, err := detection.FS()
	require.NoError(t, err)

	const trained, window = "detection 7, Promoted by its own trainer", "detection 11, Promotion outside the change window"
	whole := tellOf(t, rec, app)
	require.Contains(t, printed(whole), trained)
	require.Contains(t, printed(whole), window)
	require.Equal(t, []int{7, 11}, whole.Fired)
	require.Equal(t, "dana", whole.Who)
	require.Equal(t, []Proof{{Source: "MLflow", Evidence: "diff", Confidence: []string{"authenticated"}, Events: 1}}, whole.Lines[0].Proofs)

	less := tellOf(t, rec, without{app, "Promoted by its own trainer"})
	require.NotContains(t, printed(less), trained)
	require.Contains(t, printed(less), window)
	require.Equal(t, []int{11}, less.Fired)
	require.Equal(t, whole.Detections-1, less.Detections)
}

// TestAPerimeterThatSeesSomething tells the story of an act from outside, of one
// that was refused, and of one that nobody proved.
func TestAPerimeterThatSeesSomething(t *testing.T) {
	begin := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	rec := scenario.NewRecording("outside")
	for i, act := range []string{
		`"src":"10.1.0.7","status":"success","user_confidence":"authenticated"`,
		`"src":"203.0.113.9","status":"success","user_confidence":"authenticated"`,
		`"src":"10.1.0.7","status":"failure","user_confidence":"authenticated"`,
		`"src":"10.1.0.7","status":"success","user_confidence":"claimed"`,
	} {
		at := begin.Add(time.Duration(i) * time.Minute)
		rec.Add(at, fmt.Appendf(nil, `{"time":%d,"indextime":%[1]d,"source":"aiwatch_s3://a","sourcetype":"aiwatch:s3","index":"aiwatch","event":{"event_id":"%032x","operation":"REST.GET.OBJECT","asset_id":"s3://b/\u001b[2J%[2]d","user":"eve",%s}}`, at.Unix(), i, act))
	}
	rec.Finish(begin, begin.Add(time.Hour))
	app, err := detection.FS()
	require.NoError(t, err)
	story := tellOf(t, rec, searching{app, "[Reads]\nsearch = index=aiwatch user=eve | stats min(_time) AS _time, values(event_id) AS event_ids, first(asset_id) AS asset_id, first(user) AS user | eval detection=1, title=\"Reads\", severity=\"low\", message=user.\" read \".asset_id, event_ids=mvjoin(event_ids,\",\")\ncron_schedule = 15 * * * *\ndispatch.earliest_time = -1h\ndispatch.latest_time = now\naction.summary_index = 1\n"})
	require.Equal(t, Calls{All: 4, Authenticated: 3, Inside: 0, Refused: 1, Networks: []string{}}, story.Calls)
	require.False(t, story.Calls.Nothing())
	require.NotContains(t, printed(story), "nothing\n")
	require.Contains(t, printed(story), "Amazon S3, 4 log records; who did it: authenticated, claimed")

	// What came from the sources reaches the terminal by way of safe alone.
	var b bytes.Buffer
	story.Print(&b, func(text string) string { return strings.ReplaceAll(text, "\x1b", "?") })
	require.NotContains(t, b.String(), "\x1b")
	require.Contains(t, b.String(), "eve read s3://b/?[2J")
}

// searching is the app with other saved searches.
type searching struct {
	fs.FS
	searches string
}

func (s searching) Open(name string) (fs.File, error) {
	if name == "default/savedsearches.conf" {
		return fstest.MapFS{name: {Data: []byte(s.searches)}}.Open(name)
	}
	return s.FS.Open(name)
}

func TestAStoryOfNothing(t *testing.T) {
	rec := scenario.NewRecording("nothing")
	begin := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	rec.Finish(begin, begin.Add(time.Minute))
	app, err := detection.FS()
	require.NoError(t, err)
	require.Equal(t, "\nNothing was found.\n", printed(tellOf(t, rec, searching{app, ""})))
}

func TestWrap(t *testing.T) {
	for text, want := range map[string][]string{
		"":                     {""},
		"one two three":        {"one two", "three"},
		"a  b\tc":              {"a b c"},
		"überlängenwort x":     {"überläng", "enwort x"},
		"ab 123456789012345 c": {"ab", "12345678", "9012345", "c"},
	} {
		require.Equal(t, want, wrap(text, 8), text)
	}
}

func TestLong(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 minutes", 80 * time.Second: "1 minute", 119 * time.Minute: "119 minutes", 15*time.Hour + 29*time.Minute: "15 hours",
	} {
		require.Equal(t, want, long(d))
	}
}
