package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// watched goes through made-up health events of a period of a day.
func watched(t *testing.T, lines ...string) *Watch {
	t.Helper()
	ws := newWatches(Period{From: eight, To: eight.Add(24 * time.Hour)}, false)
	for _, line := range lines {
		r, err := checked([]byte(line))
		require.NoError(t, err)
		ws.see(r, r.indexed())
	}
	all := ws.all()
	require.Len(t, all, 1)
	return all[0]
}

// health is a health event at a minute of the period.
func health(minute int, seq int, fields string) string {
	at := eight.Add(time.Duration(minute) * time.Minute).Unix()
	return fmt.Sprintf(`{"time":%d,"indextime":%d,"source":"aiwatch_s3://p","sourcetype":"aiwatch:health","event":{"collector":"c","seq":%d,"event_id":"%032x",%s}}`, at, at, seq, seq, fields)
}

const alive = `"operation":"heartbeat","asset_type":"input","state":"ok"`

// every are heartbeats from a minute to another one, at a pace.
func every(from, to, pace int) (lines []string) {
	for m := from; m <= to; m += pace {
		lines = append(lines, health(m, m+1, alive))
	}
	return lines
}

func stretches(w *Watch) (all []string) {
	for _, s := range w.Missing {
		all = append(all, fmt.Sprintf("%s-%s %s", s.From.Format("15:04"), s.To.Format("15:04"), s.Why))
	}
	return all
}

// TestWhichHoursAreMissing: what is longer than half an hour and than one and a
// half times the usual pace.
func TestWhichHoursAreMissing(t *testing.T) {
	join := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	failing := `"operation":"heartbeat","asset_type":"input","state":"failing","error":"no such bucket"`
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"a whole day", every(0, 1440, 5), nil},
		{"half an hour is none", join(every(0, 100, 5), every(130, 1440, 5)), nil},
		{"more is one", join(every(0, 100, 5), every(131, 1440, 5)), []string{"09:40-10:11 no heartbeat"}},
		{"six hours", join(every(0, 120, 5), every(480, 1440, 5)), []string{"10:00-16:00 no heartbeat"}},
		{"it begins late and ends early", every(60, 1200, 5), []string{"08:00-09:00 no heartbeat yet", "04:00-08:00 no heartbeat any more"}},
		{"by cron, every four hours", every(0, 1440, 240), nil},
		{"one run of cron left out", join(every(0, 480, 240), every(960, 1440, 240)), []string{"16:00-00:00 no heartbeat"}},
		{"alive, and the source unreachable", join(every(0, 100, 5), []string{health(105, 200, failing), health(110, 201, failing)}, every(115, 1440, 5)), []string{"09:45-09:55 the source could not be read: no such bucket"}},
		{"unreachable to the end", join(every(0, 1430, 5), []string{health(1435, 9000, failing), health(1440, 9001, failing)}), []string{"07:55-08:00 the source could not be read: no such bucket"}},
		{"out of order", join(every(600, 1440, 5), every(0, 595, 5)), nil},
		{"a bucket's heartbeat is not the input's", []string{health(0, 1, alive), health(720, 2, `"operation":"heartbeat","asset_type":"bucket"`), health(1440, 3, alive)}, []string{"08:00-08:00 no heartbeat"}},
	} {
		w := watched(t, c.lines...)
		require.Equal(t, c.want, stretches(w), c.name)
	}
}

// TestAnInputWithoutHeartbeats: nothing is said of its hours, and that is said.
func TestAnInputWithoutHeartbeats(t *testing.T) {
	events := NewEvents()
	require.NoError(t, events.Add([]byte(oneEvent)))
	report := searched(t, Input{Events: events})
	require.Empty(t, report.Watch[0].Missing)
	require.Contains(t, report.Verdict.Evidence, "aiwatch_s3://p sent no heartbeat")
	require.Contains(t, unknown(report), "aiwatch_s3://p sent no heartbeat: whether there were hours in which it was not read is not known.")
	require.Contains(t, paged(t, report), "It sent no heartbeat: whether hours are missing is not known.")

	// Collected for this audit there are none to be missed.
	events = NewEvents()
	events.Collected("now")
	require.NoError(t, events.Add([]byte(oneEvent)))
	require.NoError(t, events.Add(beatAt("aiwatch_s3://p", 9, eight.AddDate(0, 0, 5))))
	report = searched(t, Input{Events: events})
	require.Empty(t, report.Watch[0].Missing)
	require.True(t, report.Watch[0].Once)
	require.Contains(t, paged(t, report), "It was read once, 2026-03-07 08:00:00: what its source still told then.")
	require.Equal(t, "quiet", report.Verdict.Level)
}

// TestNumbersThatAreMissing: by collector; dead letters explain some, and a number
// that two events have is no hole.
func TestNumbersThatAreMissing(t *testing.T) {
	dead := func(seq, refused int) string {
		return health(30+seq, seq, fmt.Sprintf(`"operation":"deadletter","asset_type":"input","refused_collector":"c","refused_seq":%d`, refused))
	}
	w := watched(t,
		health(0, 1, alive), health(5, 2, alive), health(10, 6, alive), // 3 to 5
		dead(7, 4), dead(8, 4), dead(9, 99), health(50, 12, alive), // 10, 11
		`{"time":1772440000,"source":"aiwatch_s3://p","sourcetype":"aiwatch:s3","event":{"collector":"other","seq":50,"event_id":"x"}}`,
		`{"time":1772440000,"source":"aiwatch_s3://p","sourcetype":"aiwatch:s3","event":{"collector":"other","seq":50,"event_id":"x"}}`,
		`{"time":1772440000,"source":"aiwatch_s3://p","sourcetype":"aiwatch:s3","event":{"collector":"other","seq":50,"event_id":"y"}}`,
	)
	require.Equal(t, []Hole{
		{Collector: "c", From: 3, To: 5, Before: eight.Add(5 * time.Minute), After: eight.Add(10 * time.Minute), Refused: 1},
		{Collector: "c", From: 10, To: 11, Before: eight.Add(39 * time.Minute), After: eight.Add(50 * time.Minute)},
	}, w.Holes)
	require.Equal(t, uint64(4), w.Lost())
	require.Equal(t, 1, w.Twice)
	require.Len(t, w.Losses, 3)
	require.Equal(t, "the destination refused an event", w.Losses[0].What)
}

// TestLostStateIsAHole: what a collector tells of its own state stands in the first
// lines; that it is new does not.
func TestLostStateIsAHole(t *testing.T) {
	for operation, want := range map[string]string{
		"state.new":       "The evidence has no holes",
		"state.restored":  "aiwatch_s3://p: the collector went back to an older state",
		"state.damaged":   "aiwatch_s3://p: the collector's state was damaged",
		"archive.damaged": "aiwatch_s3://p: the archive is not what was written to it",
		"gap.unreadable":  "aiwatch_s3://p: waiting events were lost",
	} {
		events := NewEvents()
		for i := range 3 {
			require.NoError(t, events.Add([]byte(health(5*i, i+1, alive))))
		}
		require.NoError(t, events.Add([]byte(health(12, 4, `"asset_type":"input","operation":"`+operation+`"`))))
		report := searched(t, Input{Events: events})
		require.Contains(t, report.Verdict.Evidence, want, operation)
		require.Len(t, report.Watch[0].Losses, 1)
	}
}
