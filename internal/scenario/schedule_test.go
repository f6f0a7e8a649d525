package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

var eight = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// recorded is a recording of events by hand: minute, user.
func recorded(t *testing.T, hours int, events ...string) *Recording {
	t.Helper()
	dir := t.TempDir()
	rec := newRecording(&Scenario{Name: "by hand", Dir: dir, Start: eight, End: eight.Add(time.Duration(hours) * time.Hour), People: 1})
	for i, e := range events {
		var minute int
		var user string
		_, err := fmt.Sscan(e, &minute, &user)
		require.NoError(t, err)
		at := eight.Add(time.Duration(minute) * time.Minute)
		rec.add(at.Add(time.Second), fmt.Appendf(nil, `{"time":%d,"sourcetype":"aiwatch:s3","index":"aiwatch","event":{"event_id":"%032x","user":%q,"asset_id":"s3://b/%d"}}`, at.Unix(), i, user, i))
	}
	rec.finish()
	return rec
}

// scheduled runs stanzas of savedsearches.conf and returns when each alerted and
// for whom.
func scheduled(t *testing.T, rec *Recording, conf string, o ScheduleOptions, change ...func([]*Search)) (alerts []string) {
	t.Helper()
	app := fstest.MapFS{"default/savedsearches.conf": {Data: []byte(conf)}}
	searches, err := Searches(app)
	require.NoError(t, err)
	for _, c := range change {
		c(searches)
	}
	report, err := Schedule(t.Context(), rec, app, searches, o)
	require.NoError(t, err)
	for _, f := range report.Findings {
		alerts = append(alerts, fmt.Sprintf("%d %s %s", f.Detection, f.Time.Format("15:04"), single(f.User)))
	}
	return alerts
}

const every15 = `
cron_schedule = */15 * * * *
dispatch.earliest_time = -15m
dispatch.latest_time = now
`

func TestASearchRunsAtItsTimesOverItsWindow(t *testing.T) {
	rec := recorded(t, 1, "0 a", "14 b", "15 c", "59 d")
	conf := "[s]\nsearch = index=aiwatch | eval detection=1 | table detection user asset_id" + every15
	require.Equal(t, []string{"1 08:15 b", "1 08:15 a", "1 08:30 c", "1 09:00 d"}, scheduled(t, rec, conf, ScheduleOptions{}))
	// Indexed a second later: the run at 8:15 can't see what happened at 8:15.
	conf = "[s]\nsearch = index=aiwatch _index_earliest=-15m _index_latest=now | eval detection=1 | table detection user" + every15 + "dispatch.earliest_time = -1d\n"
	require.Equal(t, []string{"1 08:15 b", "1 08:15 a", "1 08:30 c", "1 09:00 d"}, scheduled(t, rec, conf, ScheduleOptions{}))
	// Without a schedule it does not run, disabled it does.
	require.Empty(t, scheduled(t, rec, "[s]\nsearch = index=aiwatch | eval detection=1\n", ScheduleOptions{}))
	require.Len(t, scheduled(t, rec, "[s]\ndisabled = 1\nsearch = index=aiwatch | eval detection=1 | table detection user"+every15, ScheduleOptions{}), 4)
}

func TestASearchRunsNotBeforeItsTime(t *testing.T) {
	rec := recorded(t, 1, "0 a", "14 b", "15 c", "44 d")
	conf := "[s]\nsearch = index=aiwatch | eval detection=1 | table detection user asset_id" + every15
	later := func(all []*Search) { all[0].Since = eight.Add(20 * time.Minute) }
	require.Equal(t, []string{"1 08:30 c", "1 08:45 d"}, scheduled(t, rec, conf, ScheduleOptions{}, later))
}

// TestAClosingRun: what came after the last scheduled run is found at the end, and
// nothing that was found before is found again, throttled or not.
func TestAClosingRun(t *testing.T) {
	rec := recorded(t, 1, "1 a", "20 b", "43 c", "46 d", "59 e")
	rec.Scenario.End = eight.Add(55*time.Minute + 30*time.Second) // no schedule has a run at its closing
	conf := "[s]\nsearch = index=aiwatch _index_earliest=-16m@m _index_latest=-1m@m | eval detection=1 | table detection user asset_id" + every15 + "dispatch.earliest_time = -1d\n"
	byCron := []string{"1 08:15 a", "1 08:30 b", "1 08:45 c"}
	require.Equal(t, byCron, scheduled(t, rec, conf, ScheduleOptions{}))
	require.Equal(t, append(byCron, "1 08:55 d"), scheduled(t, rec, conf, ScheduleOptions{Closing: true}), "e came after the end")
	// The closing window overlaps that of the run before.
	wide := "[s]\nsearch = index=aiwatch _index_earliest=-60m@m _index_latest=-1m@m | eval detection=1 | table detection user asset_id\ncron_schedule = 40 * * * *\ndispatch.earliest_time = -1d\n"
	require.Equal(t, []string{"1 08:40 b", "1 08:40 a", "1 08:55 d", "1 08:55 c"}, scheduled(t, rec, wide, ScheduleOptions{Closing: true}))

	// A search that fills a table does not run, one that searches for findings runs
	// after those that find, whatever their names are, and finds what another of its
	// kind found there.
	conf = "[a case]\nsearch = index=summary | stats dc(detection) AS n, min(_time) AS _time by user | where n=2 | eval detection=35 | table _time detection user" + every15 + "alert.suppress = 1\nalert.suppress.period = 1d\naction.summary_index = 1\n" +
		"[b]\nsearch = index=aiwatch user=d | eval detection=1 | table _time detection user" + every15 + "action.summary_index = 1\n" +
		"[c]\nsearch = index=aiwatch user=d | eval detection=2 | table _time detection user" + every15 + "action.summary_index = 1\n" +
		"[d table]\nsearch = index=aiwatch | stats count by user | outputlookup seen.csv | eval detection=9" + every15 +
		"[e table]\nsearch = index=aiwatch | stats count by user | outputlookup seen.csv | eval detection=9\ncron_schedule = 56 8 * * *\ndispatch.earliest_time = -1d\n" +
		"[a bundle of cases]\nsearch = `found` detection=35 | eval detection=36 | table detection user" + every15
	app := fstest.MapFS{
		"default/savedsearches.conf": {Data: []byte(conf)}, "lookups/seen.csv": {Data: []byte("user,count\n")},
		"default/macros.conf": {Data: []byte("[found]\ndefinition = index=summary\n")},
	}
	searches, err := Searches(app)
	require.NoError(t, err)
	report, err := Schedule(t.Context(), rec, app, searches, ScheduleOptions{Closing: true})
	require.NoError(t, err)
	require.True(t, report.Closed)
	var at []string
	for _, f := range report.Findings {
		if f.Time.Equal(rec.Scenario.End) {
			at = append(at, fmt.Sprintf("%d %s", f.Detection, single(f.User)))
		}
	}
	require.Equal(t, []string{"1 d", "2 d", "35 d", "36 d"}, at)
}

func TestCronTimesCountInTheOwnersZone(t *testing.T) {
	rec := recorded(t, 12, "0 a")
	conf := "[s]\nsearch = index=aiwatch | eval detection=1 | table detection user\ncron_schedule = 0 17 * * *\ndispatch.earliest_time = @d\ndispatch.latest_time = now\n"
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	require.NoError(t, err)
	require.Equal(t, []string{"1 17:00 a"}, scheduled(t, rec, conf, ScheduleOptions{}))
	rec = recorded(t, 1, "0 a")
	require.Empty(t, scheduled(t, rec, conf, ScheduleOptions{Zone: tokyo}), "17:00 in Tokyo is the start itself")
	conf = "[s]\nsearch = index=aiwatch | eval detection=1 | table detection user\ncron_schedule = 30 17 * * *\ndispatch.earliest_time = @d\ndispatch.latest_time = now\n"
	require.Equal(t, []string{"1 17:30 a"}, scheduled(t, rec, conf, ScheduleOptions{Zone: tokyo}))
}

func TestThrottling(t *testing.T) {
	rec := recorded(t, 3, "1 a", "16 a", "17 b", "31 a", "76 a", "91 b")
	conf := "[s]\nsearch = index=aiwatch | eval detection=1 | stats count by detection user" + every15 + "alert.suppress = 1\nalert.suppress.period = 1h\n"
	require.Equal(t, []string{"1 08:15 a", "1 08:30 b", "1 09:30 a", "1 09:45 b"}, scheduled(t, rec, conf+"alert.suppress.fields = user\n", ScheduleOptions{}))
	require.Equal(t, []string{"1 08:15 a", "1 09:30 a"}, scheduled(t, rec, conf, ScheduleOptions{}), "without fields the search as a whole is silent")
	for text, want := range map[string]time.Duration{"90": 90 * time.Second, "2m": 2 * time.Minute, "3h": 3 * time.Hour, "1d": 24 * time.Hour} {
		got, err := suppressPeriod(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := suppressPeriod("soon")
	require.Error(t, err)
}

func TestAlertConditions(t *testing.T) {
	rec := recorded(t, 1, "1 a", "2 b", "16 c")
	conf := "[s]\nsearch = index=aiwatch | eval detection=1 | table detection user" + every15 + "counttype = number of events\n"
	for relation, want := range map[string][]string{
		"relation = greater than\nquantity = 1\n": {"1 08:15 b", "1 08:15 a"},
		"relation = less than\nquantity = 2\n":    {"1 08:30 c"},
		"relation = equal to\nquantity = 2\n":     {"1 08:15 b", "1 08:15 a"},
		"relation = not equal to\nquantity = 2\n": {"1 08:30 c"},
	} {
		require.Equal(t, want, scheduled(t, rec, conf+relation, ScheduleOptions{}), relation)
	}
}

// TestSummaryEventsAreSearched: what one search finds another one reads, and
// what a variant apart finds nobody does.
func TestSummaryEventsAreSearched(t *testing.T) {
	rec := recorded(t, 1, "1 a", "16 a")
	conf := "[AI Asset - x - Rule]\nsearch = index=aiwatch | stats count by user" + every15 +
		"action.summary_index = 1\naction.summary_index.detection = 4\naction.notable.param.rule_title = seen $result.user$\naction.risk.param._risk_message = $user$ $count$ $none$.\n" +
		"[z]\nsearch = index=summary source=\"AI Asset - *\" sourcetype=stash | stats count by user detection search_name | where count=2 | eval detection=35\ncron_schedule = 50 * * * *\ndispatch.earliest_time = -1h\n"
	require.Equal(t, []string{"4 08:15 a", "4 08:30 a", "35 08:50 a"}, scheduled(t, rec, conf, ScheduleOptions{}))
	require.Equal(t, []string{"4 08:15 a", "4 08:30 a"}, scheduled(t, rec, conf, ScheduleOptions{}, func(all []*Search) { all[0].Apart = true }))

	app := fstest.MapFS{"default/savedsearches.conf": {Data: []byte(conf)}}
	searches, err := Searches(app)
	require.NoError(t, err)
	report, err := Schedule(t.Context(), rec, app, searches[:1], ScheduleOptions{})
	require.NoError(t, err)
	require.Equal(t, "seen a", report.Findings[0].Name)
	require.Equal(t, "a 1 .", report.Findings[0].Message)
	line, err := json.Marshal(report.Findings[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"scenario":"by hand","detection":4,"name":"seen a","time":"2026-03-02T08:15:00Z","user":"a","asset":"","score":"","message":"a 1 .","row":{"user":"a","count":1}}`, string(line))
}

// TestNamesAreNoTokens: what a row says is not filled in again.
func TestNamesAreNoTokens(t *testing.T) {
	rec := recorded(t, 1, "1 $asset_id$")
	conf := "[s]\nsearch = index=aiwatch | eval detection=1, message=\"by \".user | table detection user message asset_id" + every15
	app := fstest.MapFS{"default/savedsearches.conf": {Data: []byte(conf)}}
	searches, err := Searches(app)
	require.NoError(t, err)
	report, err := Schedule(t.Context(), rec, app, searches, ScheduleOptions{})
	require.NoError(t, err)
	require.Equal(t, "by $asset_id$", report.Findings[0].Message)
}

func TestLookupsAndMacrosOfTheScenarioReplaceTheApps(t *testing.T) {
	rec := recorded(t, 1, "1 a")
	app := fstest.MapFS{
		"default/savedsearches.conf": {Data: []byte("[s]\nsearch = index=aiwatch | lookup people user OUTPUT team | eval detection=`number` | table detection team user" + every15)},
		"default/macros.conf":        {Data: []byte("[number]\ndefinition = 1\n")},
		"default/transforms.conf":    {Data: []byte("[people]\nfilename = people.csv\n")},
		"lookups/people.csv":         {Data: []byte("user,team\na,app\n")},
	}
	searches, err := Searches(app)
	require.NoError(t, err)
	found := func() string {
		report, err := Schedule(t.Context(), rec, app, searches, ScheduleOptions{})
		require.NoError(t, err)
		require.Len(t, report.Findings, 1)
		return string(report.Findings[0].Row)
	}
	require.Equal(t, `{"detection":1,"team":"app","user":"a"}`, found())
	for name, text := range map[string]string{"local/macros.conf": "[number]\ndefinition = 2\n", "lookups/people.csv": "user,team\na,own\n"} {
		path := filepath.Join(rec.Scenario.Dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	require.Equal(t, `{"detection":2,"team":"own","user":"a"}`, found())
}

func TestVerdict(t *testing.T) {
	s := &Scenario{
		Start: eight, End: eight.AddDate(0, 0, 2), People: 50,
		Expect: []Expect{
			{Detection: 1, User: "a", Asset: "s3://b/", From: eight, To: eight.Add(time.Hour), line: 4},
			{Detection: 2, line: 5},
			{Detection: 1, User: "z", line: 6},
		},
		Quiet: Quiet{MaxAlerts: 1, Allow: []Allow{{3, ""}, {4, "a"}}},
	}
	found := func(number int, user, asset string, after time.Duration) Finding {
		return Finding{Detection: number, User: []string{"x", user}, Asset: []string{asset}, Time: eight.Add(after)}
	}
	v := s.Judge([]Finding{
		found(1, "a", "s3://b/k", 0),               // claimed
		found(1, "a", "s3://b/k", time.Hour),       // claimed: the end counts
		found(1, "a", "s3://b/k", time.Hour+1),     // too late
		found(1, "a", "s3://c/k", time.Minute),     // another asset
		found(3, "q", "", 0),                       // allowed for anybody
		found(4, "a", "", 0), found(4, "b", "", 0), // allowed for a
	})
	require.Equal(t, 1, v.Found)
	require.Equal(t, []Missed{{Detection: 2, Line: 5}, {Detection: 1, User: "z", Line: 6}}, v.Missed)
	require.Len(t, v.Unclaimed, 3)
	require.InDelta(t, 3.0, v.Rate, 1e-9, "3 alerts, half a hundred people, two days")
	require.False(t, v.OK())
	s.Expect = s.Expect[:1]
	v = s.Judge([]Finding{found(1, "a", "s3://b/k", 0), found(9, "", "", 0)})
	require.True(t, v.OK(), "one alert per hundred people and day is no more than one")
	v = s.Judge([]Finding{found(1, "a", "s3://b/k", 0), found(9, "", "", 0), found(9, "", "", 0)})
	require.False(t, v.OK())
	s.Quiet.MaxAlerts = -1
	require.True(t, s.Judge([]Finding{found(1, "a", "s3://b/k", 0), found(9, "", "", 0), found(9, "", "", 0)}).OK())
}

// TestSearchesOfOneMomentSeeWhatEarlierOnesWrote: each is a writer or a reader of
// findings or of a lookup, and which one sees what is in their order, side by side
// as in turn.
func TestSearchesOfOneMomentSeeWhatEarlierOnesWrote(t *testing.T) {
	rec := recorded(t, 1, "1 a", "2 b", "16 c", "31 d")
	find := func(name, number, search string) string {
		return "[" + name + "]\nsearch = " + search + " | eval detection=" + number + " | table detection user" + every15
	}
	conf := find("1 before", "1", "index=summary earliest=-1h latest=+1h") +
		find("2 finds", "2", "index=aiwatch") + "action.summary_index = 1\n" +
		find("3 findings", "3", "index=summary earliest=-1h latest=+1h") +
		find("4 table before", "4", "| inputlookup seen.csv") +
		"[5 fills]\nsearch = index=aiwatch | table user | inputlookup append=true seen.csv | stats count by user | fields user | outputlookup seen.csv" + every15 +
		find("6 table", "6", "| inputlookup seen.csv") +
		find("7 findings and table", "7", "index=summary earliest=-1h latest=+1h | append [| inputlookup seen.csv] | stats count by user")
	app := fstest.MapFS{"default/savedsearches.conf": {Data: []byte(conf)}, "lookups/seen.csv": {Data: []byte("user\nz\n")}}
	searches, err := Searches(app)
	require.NoError(t, err)
	alerts := map[bool][]string{}
	for _, inTurn := range []bool{true, false} {
		report, err := Schedule(t.Context(), rec, app, searches, ScheduleOptions{InTurn: inTurn})
		require.NoError(t, err)
		for _, f := range report.Findings {
			if f.Time.Before(eight.Add(31 * time.Minute)) {
				alerts[inTurn] = append(alerts[inTurn], fmt.Sprintf("%s %d %s", f.Time.Format("15:04"), f.Detection, single(f.User)))
			}
		}
		require.Equal(t, 7*4, report.Runs)
	}
	require.Equal(t, alerts[true], alerts[false])
	require.Equal(t, []string{
		"08:15 2 b", "08:15 2 a", "08:15 3 a", "08:15 3 b", "08:15 4 z", "08:15 6 a", "08:15 6 b", "08:15 6 z", "08:15 7 a", "08:15 7 b", "08:15 7 z",
		"08:30 1 a", "08:30 1 b", "08:30 2 c", "08:30 3 c", "08:30 3 a", "08:30 3 b", "08:30 4 a", "08:30 4 b", "08:30 4 z",
		"08:30 6 a", "08:30 6 b", "08:30 6 c", "08:30 6 z", "08:30 7 a", "08:30 7 b", "08:30 7 c", "08:30 7 z",
	}, alerts[false])
}
