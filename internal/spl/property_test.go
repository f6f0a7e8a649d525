package spl

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rounds scales the longer tests: AIWATCH_ROUNDS, 10 by default.
func rounds(tb testing.TB) int {
	tb.Helper()
	n := 10
	if s := os.Getenv("AIWATCH_ROUNDS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(tb, err)
	}
	return n
}

// plainEvent is an event as plain Go sees it; empty and NaN are missing.
type plainEvent struct {
	time float64
	user string
	n    float64
}

func randomEvents(rnd *rand.Rand, count int) []plainEvent {
	out := make([]plainEvent, count)
	for i, at := range rnd.Perm(count * 3)[:count] {
		e := plainEvent{time: 1_773_000_000 + float64(at)*7, n: math.NaN()}
		if rnd.IntN(8) > 0 {
			e.user = string(rune('a' + rnd.IntN(4)))
		}
		if rnd.IntN(8) > 0 {
			e.n = float64(rnd.IntN(50)) - 10
		}
		out[i] = e
	}
	return out
}

func (e plainEvent) json() string {
	s := fmt.Sprintf(`{"_time":%.0f`, e.time)
	if e.user != "" {
		s += `,"user":"` + e.user + `"`
	}
	if !math.IsNaN(e.n) {
		s += fmt.Sprintf(`,"n":%v`, e.n)
	}
	return s + "}"
}

func plainStore(t testing.TB, events []plainEvent) *Store {
	s := NewStore(nil)
	for _, e := range events {
		require.NoError(t, s.Add([]byte(e.json())))
	}
	return s
}

// plainStats are the aggregations of a group, computed plainly.
func plainStats(events []plainEvent) map[string]any {
	var ns []float64
	for _, e := range events {
		if !math.IsNaN(e.n) {
			ns = append(ns, e.n)
		}
	}
	m := map[string]any{"count": float64(len(events)), "c": float64(len(ns))}
	distinct := map[float64]bool{}
	sum := 0.0
	for _, n := range ns {
		distinct[n] = true
		sum += n
	}
	m["d"] = float64(len(distinct))
	if len(ns) == 0 {
		return m
	}
	m["s"], m["a"], m["lo"], m["hi"] = sum, sum/float64(len(ns)), slices.Min(ns), slices.Max(ns)
	squares := 0.0
	for _, n := range ns {
		squares += (n - sum/float64(len(ns))) * (n - sum/float64(len(ns)))
	}
	m["sd"] = math.Sqrt(squares / math.Max(1, float64(len(ns)-1)))
	return m
}

const plainAggregates = "count count(n) as c dc(n) as d sum(n) as s avg(n) as a min(n) as lo max(n) as hi stdev(n) as sd"

func TestStatsAgainstPlainGo(t *testing.T) {
	for seed := range uint64(rounds(t)) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		events := randomEvents(rnd, 1+rnd.IntN(80))
		e := &Engine{Store: plainStore(t, events)}
		groups := map[string][]plainEvent{}
		for _, ev := range events {
			if ev.user != "" {
				groups[ev.user] = append(groups[ev.user], ev)
			}
		}
		var want []map[string]any
		for _, u := range sortedKeys(groups) {
			m := plainStats(groups[u])
			m["user"] = u
			want = append(want, m)
		}
		got, err := runRows(t, e, "* | stats "+plainAggregates+" by user", Params{})
		require.NoError(t, err)
		sameRows(t, want, got)

		// eventstats: each event with its group's numbers, newest first.
		sort.Slice(events, func(i, j int) bool { return events[i].time > events[j].time })
		want = nil
		for _, ev := range events {
			m := map[string]any{}
			if ev.user != "" {
				m = plainStats(groups[ev.user])
				m["user"] = ev.user
			}
			m["_time"] = ev.time
			want = append(want, m)
		}
		got, err = runRows(t, e, "* | eventstats "+plainAggregates+" by user | table _time user count c d s a lo hi sd", Params{})
		require.NoError(t, err)
		sameRows(t, want, got)
	}
}

func TestSortDedupAgainstPlainGo(t *testing.T) {
	for seed := range uint64(rounds(t)) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		events := randomEvents(rnd, 1+rnd.IntN(80))
		e := &Engine{Store: plainStore(t, events)}
		sort.SliceStable(events, func(i, j int) bool { return events[i].time > events[j].time })
		sort.SliceStable(events, func(i, j int) bool {
			a, b := events[i].n, events[j].n
			if math.IsNaN(a) || math.IsNaN(b) {
				return !math.IsNaN(a)
			}
			return a > b
		})
		seen := map[string]bool{}
		want := []map[string]any{}
		for _, ev := range events {
			if ev.user == "" || seen[ev.user] {
				continue
			}
			seen[ev.user] = true
			m := map[string]any{"user": ev.user, "_time": ev.time}
			if !math.IsNaN(ev.n) {
				m["n"] = ev.n
			}
			want = append(want, m)
		}
		got, err := runRows(t, e, "* | sort 0 -n | dedup user | table _time user n", Params{})
		require.NoError(t, err)
		sameRows(t, want, got)
	}
}

func TestStreamstatsAgainstNaiveLoops(t *testing.T) {
	for seed := range uint64(rounds(t) * 3) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		events := randomEvents(rnd, 1+rnd.IntN(60))
		e := &Engine{Store: plainStore(t, events)}
		ascending := rnd.IntN(2) == 0
		sort.Slice(events, func(i, j int) bool { return (events[i].time < events[j].time) == ascending })
		by, global, current := rnd.IntN(2) == 0, rnd.IntN(2) == 0, rnd.IntN(2) == 0
		window, timeWindow := rnd.IntN(6), 0
		if rnd.IntN(2) == 0 {
			window, timeWindow = 0, 30+rnd.IntN(300)
		}
		search := fmt.Sprintf("* | sort 0 %s_time | streamstats current=%t global=%t", map[bool]string{true: "+", false: "-"}[ascending], current, global)
		if window > 0 {
			search += fmt.Sprintf(" window=%d", window)
		}
		if timeWindow > 0 {
			search += fmt.Sprintf(" time_window=%ds", timeWindow)
		}
		search += " " + plainAggregates
		if by {
			search += " by user"
		}
		var want []map[string]any
		for i, ev := range events {
			m := map[string]any{}
			if !by || ev.user != "" {
				// The rows that a window counts, nearest first.
				var part []plainEvent
				counted := 0
				for j := i; j >= 0; j-- {
					o := events[j]
					if by && o.user == "" || j == i && !current {
						continue
					}
					same := !by || o.user == ev.user
					if !same && (!global || window == 0) {
						continue // not in this group's window
					}
					if counted++; window > 0 && counted > window {
						break
					}
					if timeWindow > 0 && math.Abs(o.time-ev.time) >= float64(timeWindow) {
						break
					}
					if same {
						part = append(part, o)
					}
				}
				m = plainStats(part)
			}
			m["_time"] = ev.time
			want = append(want, m)
		}
		got, err := runRows(t, e, search+" | table _time count c d s a lo hi sd", Params{})
		require.NoError(t, err, search)
		for i := range want {
			for k, v := range got[i] {
				if _, ok := want[i][k]; !ok {
					t.Fatalf("%s: row %d has %s=%v", search, i, k, v)
				}
			}
		}
		t.Run(search, func(t *testing.T) { sameRows(t, want, got) })
	}
}

// TestBinOverDaylightSaving: every time lies in its bucket, a bucket begins
// where the zone's clock says, and timechart's buckets join without a gap.
func TestBinOverDaylightSaving(t *testing.T) {
	for _, zone := range []string{"Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"} {
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		env := &evalEnv{loc: loc}
		rnd := rand.New(rand.NewPCG(1, 4))
		for _, s := range []span{
			{n: 1, unit: 's'},
			{n: 5, unit: 'm'},
			{n: 30, unit: 'm'},
			{n: 1, unit: 'h'},
			{n: 6, unit: 'h'},
			{n: 12, unit: 'h'},
			{n: 1, unit: 'd'},
			{n: 7, unit: 'd'},
			{n: 1, unit: 'w', weekday: 1},
			{n: 1, unit: 'M'},
			{n: 1, unit: 'q'},
			{n: 1, unit: 'y'},
		} {
			for range 60 * rounds(t) {
				at := 1_540_000_000 + math.Floor(rnd.Float64()*400*86400)
				lo := s.floor(at, env)
				require.LessOrEqual(t, lo, at, "%s %+v", zone, s)
				require.Equal(t, lo, s.floor(lo, env), "%s %+v: a begin is its own begin, %v of %v", zone, s, lo, at)
				hi := s.next(lo, env)
				require.Greater(t, hi, lo, "%s %+v %v", zone, s, lo)
				require.Equal(t, hi, s.floor(hi, env), "%s %+v: the next bucket begins where the next one begins, after %v", zone, s, lo)
				local := timeOf(lo, loc)
				switch s.unit {
				case 'd':
					if s.n == 1 {
						require.Equal(t, timeOf(at, loc).YearDay(), local.YearDay(), "%s", zone)
						require.Less(t, local.Hour(), 2, "%s: %v", zone, local)
					}
				case 'w':
					require.Equal(t, time.Monday, local.Weekday(), zone)
				case 'M', 'q', 'y':
					require.Equal(t, 1, local.Day(), zone)
				case 'h':
					if s.n == 6 {
						_, a := local.Zone()
						_, b := timeOf(at, loc).Zone()
						// A day that has no midnight, because clocks go forward then, begins later.
						begins := timeOf(lo-1, loc).YearDay() != local.YearDay()
						if a == b && !begins {
							require.Zero(t, local.Hour()%6, "%s: %v of %v", zone, local, timeOf(at, loc))
						}
					}
				}
			}
		}
	}
}

func TestTimechartDaysOverDaylightSaving(t *testing.T) {
	loc, err := time.LoadLocation("Europe/Vienna")
	require.NoError(t, err)
	// Clocks went forward on 2026-03-29; each hour of three days has an event.
	begin := time.Date(2026, 3, 28, 0, 0, 0, 0, loc)
	s := NewStore(nil)
	for at := begin; at.Before(time.Date(2026, 3, 31, 0, 0, 0, 0, loc)); at = at.Add(time.Hour) {
		require.NoError(t, s.Add([]byte(fmt.Sprintf(`{"_time":%d,"x":1}`, at.Unix()))))
	}
	got, err := runRows(t, &Engine{Store: s, Location: loc}, `* | timechart span=1d count | eval d=strftime(_time,"%F %H") | table d count`, Params{})
	require.NoError(t, err)
	sameRows(t, []map[string]any{{"d": "2026-03-28 00", "count": 24}, {"d": "2026-03-29 00", "count": 23}, {"d": "2026-03-30 00", "count": 24}}, got)
}

// TestLookupAgainstLinearSearch compares wildcard and CIDR lookups with a loop
// over the table.
func TestLookupAgainstLinearSearch(t *testing.T) {
	for seed := range uint64(rounds(t) * 2) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		word := func(alphabet string, n int) string {
			var b strings.Builder
			for range 1 + rnd.IntN(n) {
				b.WriteByte(alphabet[rnd.IntN(len(alphabet))])
			}
			return b.String()
		}
		table := &Table{Fields: []string{"pattern", "cidr", "kind", "out"}}
		for i := range 1 + rnd.IntN(40) {
			table.Rows = append(table.Rows, []string{word("ab*", 5), fmt.Sprintf("10.%d.%d.0/%d", rnd.IntN(3), rnd.IntN(3), []int{8, 16, 24, 32}[rnd.IntN(4)]), word("xy", 1), fmt.Sprint("row", i)})
		}
		e := &Engine{Lookups: NewLookups(), Store: NewStore(nil), Transforms: Conf{
			"w": {"filename": "t.csv", "match_type": "WILDCARD(pattern)", "max_matches": "3"},
			"c": {"filename": "t.csv", "match_type": "CIDR(cidr)"},
		}}
		e.Lookups.Set("t.csv", table)
		type row struct{ key, ip, kind string }
		var rows []row
		for i := range 60 {
			r := row{word("ab", 6), fmt.Sprintf("10.%d.%d.%d", rnd.IntN(3), rnd.IntN(3), rnd.IntN(2)), word("xy", 1)}
			rows = append(rows, r)
			require.NoError(t, e.Store.Add([]byte(fmt.Sprintf(`{"_time":%d,"key":%q,"ip":%q,"kind":%q}`, 1000-i, r.key, r.ip, r.kind))))
		}
		var want []map[string]any
		for _, r := range rows {
			var wild, nets []any
			for _, rec := range table.Rows {
				// path.Match has the same * where no slash stands in the text.
				if ok, _ := path.Match(rec[0], r.key); ok && rec[2] == r.kind && len(wild) < 3 {
					wild = append(wild, rec[3])
				}
				if netip.MustParsePrefix(rec[1]).Masked().Contains(netip.MustParseAddr(r.ip)) {
					nets = append(nets, rec[3])
				}
			}
			m := map[string]any{"key": r.key, "ip": r.ip}
			for k, v := range map[string][]any{"w": wild, "c": nets} {
				if len(v) == 1 {
					m[k] = v[0]
				} else if len(v) > 1 {
					m[k] = v
				}
			}
			want = append(want, m)
		}
		got, err := runRows(t, e, "* | lookup w pattern as key kind OUTPUT out as w | lookup c cidr as ip OUTPUT out as c | table key ip w c", Params{})
		require.NoError(t, err)
		sameRows(t, want, got)
	}
}

// TestPushdownChangesNothing: a search whose predicates reach the store gives
// the rows of one that filters afterwards.
func TestPushdownChangesNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 6))
	events := randomEvents(rnd, 200)
	e := &Engine{Store: plainStore(t, events)}
	for _, c := range []struct{ pushed, plain string }{
		{"user=a n>5", "* | head 1000 | search user=a n>5"},
		{"NOT user=a | where n>=0 AND n%2=0", "* | head 1000 | search NOT user=a | where n>=0 | where n%2=0"},
		{"* | where isnull(n) OR n<0 | search user=*", "* | head 1000 | where isnull(n) OR n<0 | search user=*"},
		{"* | where n>5 AND user=\"a\" AND n>len(user)", "* | head 1000 | where n>5 AND user=\"a\" AND n>len(user)"},
		{"user!=b earliest=1773000100 latest=1773001000", "* | head 1000 | search user!=b _time>=1773000100 _time<1773001000"},
		{"* | where n=3 OR user=\"c\"", "* | head 1000 | where n=3 OR user=\"c\""},
	} {
		want, err := runRows(t, e, c.plain+" | table _time user n", Params{})
		require.NoError(t, err)
		require.NotEmpty(t, want)
		got, err := runRows(t, e, c.pushed+" | table _time user n", Params{})
		require.NoError(t, err)
		sameRows(t, want, got)
	}
}

// TestStoreGrowsBetweenSearches: events that come later, at any time, are found
// in their place; deleted ones are not.
func TestStoreGrowsBetweenSearches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 7))
	events := randomEvents(rnd, 300)
	s := NewStore(nil)
	e := &Engine{Store: s}
	for i, ev := range events {
		require.NoError(t, s.Add([]byte(ev.json())))
		if i%37 != 0 {
			continue
		}
		seen := slices.Clone(events[:i+1])
		sort.Slice(seen, func(a, b int) bool { return seen[a].time > seen[b].time })
		res, err := runRows(t, e, "* | table _time", Params{})
		require.NoError(t, err)
		require.Len(t, res, len(seen))
		for j, r := range res {
			require.Equal(t, seen[j].time, r["_time"])
		}
	}
	n, err := e.Delete(t.Context(), "user=a", Params{Now: testNow})
	require.NoError(t, err)
	require.Positive(t, n)
	got, err := runRows(t, e, "user=a | stats count", Params{})
	require.NoError(t, err)
	sameRows(t, []map[string]any{{"count": 0}}, got)
	require.Equal(t, len(events)-n, s.Len())
}

// TestLookupIndexIsKept: a search sees what another wrote to a lookup, and a
// definition that changed, although the indexes of tables are kept.
func TestLookupIndexIsKept(t *testing.T) {
	e := &Engine{Store: storeOf(t, `{"_time":1,"u":"A"}`), Lookups: NewLookups(), Transforms: Conf{"who": {"filename": "people.csv", "case_sensitive_match": "true"}}}
	e.Lookups.Set("people.csv", &Table{Fields: []string{"u", "team"}, Rows: [][]string{{"a", "red"}}})
	team := func() string {
		res, err := e.Run(context.Background(), "* | lookup who u OUTPUT team | fillnull team value=none | table team", Params{Now: testNow})
		require.NoError(t, err)
		return res.Rows[0][0].String()
	}
	require.Equal(t, "none", team())
	e.Transforms["who"]["case_sensitive_match"] = "false"
	require.Equal(t, "red", team())
	_, err := e.Run(context.Background(), `| makeresults | eval u=split("z,A",","), team="blue" | mvexpand u | eval team=if(u="z","green",team) | table u team | outputlookup who`, Params{Now: testNow})
	require.NoError(t, err)
	require.Equal(t, "blue", team())
	require.Equal(t, "blue", team())
}

// TestExtremesAgainstPlainGo: min and max of a mix, where every number comes
// before every text.
func TestExtremesAgainstPlainGo(t *testing.T) {
	for seed := range uint64(20 * rounds(t)) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		var lines, texts []string
		var numbers []float64
		for i := range 1 + rnd.IntN(6) {
			v := strconv.Itoa(rnd.IntN(200)-100) + []string{"", ".5"}[rnd.IntN(2)]
			if rnd.IntN(2) == 0 {
				v = string(rune('A'+rnd.IntN(26))) + v
				texts = append(texts, v)
			} else {
				f, err := strconv.ParseFloat(v, 64)
				require.NoError(t, err)
				numbers = append(numbers, f)
			}
			lines = append(lines, fmt.Sprintf(`{"_time":%d,"v":"%s"}`, i, v))
		}
		e := &Engine{Store: storeOf(t, lines...)}
		res, err := e.Run(context.Background(), "* | stats min(v) as lo max(v) as hi", Params{Now: testNow})
		require.NoError(t, err)
		lo, hi := res.Get(res.Rows[0], "lo"), res.Get(res.Rows[0], "hi")
		if len(numbers) > 0 {
			f, _ := lo.Float()
			require.Equal(t, slices.Min(numbers), f, lines)
		} else {
			require.Equal(t, slices.Min(texts), lo.String(), lines)
		}
		if len(texts) > 0 {
			require.Equal(t, slices.Max(texts), hi.String(), lines)
		} else {
			f, _ := hi.Float()
			require.Equal(t, slices.Max(numbers), f, lines)
		}
	}
}

// TestTopAgainstPlainGo: the most common values, of equally common ones the
// lexicographically last, with their share.
func TestTopAgainstPlainGo(t *testing.T) {
	for seed := range uint64(5 * rounds(t)) {
		rnd := rand.New(rand.NewPCG(seed, 12))
		counts := map[string]int{}
		var lines []string
		total := 1 + rnd.IntN(40)
		for i := range total {
			v := string(rune('a' + rnd.IntN(8)))
			counts[v]++
			lines = append(lines, fmt.Sprintf(`{"_time":%d,"v":"%s"}`, i, v))
		}
		limit := 1 + rnd.IntN(5)
		want := sortedKeys(counts)
		slices.Reverse(want)
		sort.SliceStable(want, func(i, j int) bool { return counts[want[i]] > counts[want[j]] })
		want = want[:min(limit, len(want))]
		e := &Engine{Store: storeOf(t, lines...)}
		res, err := e.Run(context.Background(), fmt.Sprintf("* | top limit=%d v", limit), Params{Now: testNow})
		require.NoError(t, err)
		require.Len(t, res.Rows, len(want))
		for i, r := range res.Rows {
			require.Equal(t, want[i], res.Get(r, "v").String())
			require.Equal(t, strconv.Itoa(counts[want[i]]), res.Get(r, "count").String())
			share, _ := res.Get(r, "percent").Float()
			require.InDelta(t, 100*float64(counts[want[i]])/float64(total), share, 1e-6)
		}
	}
}
