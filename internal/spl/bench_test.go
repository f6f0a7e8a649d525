package spl

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// benchEvents is how many events the benchmarks search: AIWATCH_SPL_EVENTS, or
// few enough for a quick run. The gate is about a million.
func benchEvents(tb testing.TB) int {
	tb.Helper()
	s := os.Getenv("AIWATCH_SPL_EVENTS")
	if s == "" {
		return 20_000
	}
	n, err := strconv.Atoi(s)
	require.NoError(tb, err)
	return n
}

const (
	benchStart = 1_770_000_000
	benchSpan  = 30 * 86400
)

var benchNow = time.Unix(benchStart+benchSpan, 0)

// writeBenchEvents writes n events of a month in which a hundred people read
// and change models: four fifths S3, the rest MLflow, Git and health.
func writeBenchEvents(w io.Writer, n int) {
	rnd := rand.New(rand.NewPCG(42, uint64(n)))
	pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
	out := bufio.NewWriterSize(w, 1<<20)
	defer out.Flush()
	for i := range n {
		at := benchStart + float64(i)*benchSpan/float64(n)
		user := fmt.Sprintf("user%02d@example.org", rnd.IntN(100))
		id := fmt.Sprintf("%016x%016x", rnd.Uint64(), rnd.Uint64())
		common := fmt.Sprintf(`"collector":"c0ffee00","event_id":"%s","seq":%d`, id, i)
		envelope := func(sourcetype, source, event string) {
			fmt.Fprintf(out, `{"time":%.3f,"indextime":%.0f,"host":"h","source":"%s","sourcetype":"%s","index":"aiwatch","event":{%s}}`+"\n",
				at, at+float64(600+rnd.IntN(7200)), source, sourcetype, event)
		}
		model := fmt.Sprintf("model%02d", rnd.IntN(40))
		run := fmt.Sprintf("%032x", rnd.IntN(5000))
		switch k := rnd.IntN(100); {
		case k < 80:
			key := fmt.Sprintf("models/%s/part-%04d.safetensors", model, rnd.IntN(400))
			envelope("aiwatch:s3", "aiwatch_s3://prod", fmt.Sprintf(`"asset_id":"s3://weights/%s","asset_role":"weights","bytes_out":%d,%s,"operation":"%s","request_id":"%016X","src":"10.%d.%d.%d","status_code":"%s","user":"%s","user_agent":"%s","user_confidence":"%s","user_id":"arn:aws:iam::111122223333:user/%s"`,
				key, rnd.IntN(50_000_000), common, pick("REST.GET.OBJECT", "REST.GET.OBJECT", "REST.GET.OBJECT", "REST.HEAD.OBJECT", "REST.PUT.OBJECT", "REST.COPY.OBJECT_GET", "REST.DELETE.OBJECT"),
				rnd.Uint64(), rnd.IntN(4), rnd.IntN(256), rnd.IntN(256), pick("200", "200", "206", "403"), user, pick("aws-cli/2.9", "Boto3/1.34", "aws-sdk-go/1.5"), pick("authenticated", "authenticated", "claimed"), user))
		case k < 92:
			op := pick("run.created", "run.ended", "version.created", "alias.set", "model.tag_set", "artifact.read", "run.edited_after_end")
			envelope("aiwatch:mlflow", "aiwatch_mlflow://prod", fmt.Sprintf(`"action":"modified","alias":"%s","asset_id":"mlflow:m/models/%s","asset_type":"model_version",%s,"model_name":"%s","model_version":"%d","new_value":"%d","not_before":%.0f,"operation":"%s","run_id":"%s","tags":["mlflow.user=%s","stage=dev"],"trained_by":"%s","user":"%s","user_confidence":"authenticated"`,
				pick("champion", "challenger", "production"), model, common, model, rnd.IntN(30), rnd.IntN(30), at-300, op, run, user, user, user))
		case k < 98:
			envelope("aiwatch:git", "aiwatch_git://prod", fmt.Sprintf(`"action":"modified","asset_id":"git:g/acme/%s//weights.pt","asset_role":"weights","asset_type":"file","author":"%s",%s,"git_commit":"%040x","git_ref":"refs/heads/main","git_repo":"git:g/acme/%s","lfs_oid":"sha256:%x","operation":"%s","protected":%t,"signature":"%s","user":"%s"`,
				model, user, common, rnd.IntN(20000), model, rnd.IntN(3000), pick("file.modified", "file.added", "commit.added", "ref.updated", "ref.force_pushed"), rnd.IntN(2) == 0, pick("none", "good", "bad"), user))
		default:
			envelope("aiwatch:health", "aiwatch", fmt.Sprintf(`"asset_id":"aiwatch:c0ffee00/aiwatch_s3://in%d",%s,"operation":"heartbeat","records_read":%d,"state":"%s"`,
				rnd.IntN(5), common, rnd.IntN(1000), pick("ok", "ok", "lagging", "failing")))
		}
	}
}

var benchMacros = Conf{
	"aiwatch_index":  {"definition": "index=aiwatch"},
	"aiwatch_s3":     {"definition": "(`aiwatch_index` sourcetype=aiwatch:s3)"},
	"aiwatch_mlflow": {"definition": "(`aiwatch_index` sourcetype=aiwatch:mlflow)"},
	"aiwatch_git":    {"definition": "(`aiwatch_index` sourcetype=aiwatch:git)"},
	"aiwatch_health": {"definition": "(`aiwatch_index` sourcetype=aiwatch:health)"},
	"aiwatch_events": {"definition": "(`aiwatch_index` sourcetype=aiwatch:*)"},
	"day":            {"definition": "floor(_time/86400)"},
	"floor_bytes":    {"definition": "1000000"},
	"k":              {"definition": "4"},
}

// benchSearches are forty searches in the manner of the catalogue: windows,
// baselines, lineage as a set, sequences, first-seen tables.
var benchSearches = []string{
	"`aiwatch_s3` action=read status=success | dedup event_id | eval day=`day` | stats sum(bytes_out) as bytes dc(asset_id) as objects by user day",
	"`aiwatch_s3` action=read | eval day=`day` | stats sum(bytes_out) as bytes by user day | eventstats median(bytes) as med by user | eval dev=abs(bytes-med) | stats count as n median(bytes) as med median(dev) as mad by user | where n>=14",
	"`aiwatch_s3` operation=REST.GET.OBJECT earliest=-1d@d | stats sum(bytes_out) as b values(src) as src by user | where b>`floor_bytes`",
	"`aiwatch_s3` earliest=-3d _index_earliest=-70m@m _index_latest=-10m@m | stats min(_time) as _time sum(bytes_out) as bytes by user",
	"`aiwatch_mlflow` operation=alias.set alias IN (champion, production) | stats latest(user) as user latest(new_value) as v by model_name alias | where v>5",
	"`aiwatch_mlflow` operation=alias.set | sort 0 _time | streamstats current=f last(new_value) as prev by model_name alias | where tonumber(new_value)<tonumber(prev) | stats count by model_name",
	"`aiwatch_mlflow` operation IN (alias.set, version.created) user_confidence IN (authenticated, signed) | eval key=model_name.\"/\".coalesce(new_value,model_version) | stats values(eval(if(operation=\"alias.set\",user,null()))) as promoter values(trained_by) as trainer by key | where isnotnull(promoter) AND promoter=trainer",
	"(`aiwatch_s3` action=uploaded) OR (`aiwatch_mlflow` operation=run.created) | eval k=coalesce(run_id,replace(asset_id,\"^s3://([^/]+/[^/]+/[^/]+)/.*$\",\"\\1\")) | stats earliest(eval(if(action=\"uploaded\",_time,null()))) as t values(run_id) as runs by k | where isnotnull(t) AND isnull(runs)",
	"`aiwatch_git` asset_role=weights operation=file.modified | stats dc(lfs_oid) as oids latest(lfs_oid) as now by asset_id | where oids>1",
	"`aiwatch_git` operation=ref.force_pushed protected=true | table _time user git_repo git_ref",
	"`aiwatch_git` operation=commit.added signature!=good | stats count by git_repo signature | eventstats sum(count) as all by git_repo | where count/all>0.3",
	"`aiwatch_health` operation=heartbeat | stats latest(_time) as last latest(state) as state sum(records_read) as n by asset_id | where state!=\"ok\" OR now()-last>900",
	"`aiwatch_events` | stats min(seq) as lo max(seq) as hi dc(seq) as n by collector source | where hi-lo+1>n",
	"`aiwatch_s3` action=deleted | bin _time span=10m | stats dc(asset_id) as n by user _time | where n>20",
	"`aiwatch_s3` action IN (read, deleted) user=user1* | sort 0 _time | streamstats time_window=5m dc(asset_id) as n by user | where n>5 | stats max(n) as n by user",
	"`aiwatch_s3` operation=REST.COPY.OBJECT_GET | rex field=user_id \"^arn:aws:(?:iam|sts)::(?<account>\\d+):\" | stats count sum(bytes_out) as b by account user | where account!=\"111122223333\"",
	"`aiwatch_s3` status_code=403 | timechart span=1h count by user limit=5",
	"`aiwatch_s3` | timechart span=1d sum(bytes_out) as bytes dc(user) as users",
	"`aiwatch_events` | stats count by sourcetype operation",
	"`aiwatch_events` | chart count over sourcetype by user limit=5",
	"`aiwatch_s3` | top limit=20 user_agent by user",
	"`aiwatch_s3` | rare limit=0 asset_id",
	"`aiwatch_s3` | lookup networks cidr as src OUTPUT name as net | stats count by net",
	"`aiwatch_s3` | lookup jewels asset_id OUTPUT owner env | where env=\"prod\" | stats dc(user) as users by asset_id",
	"`aiwatch_events` user=* | stats min(_time) as first max(_time) as last by user asset_id | inputlookup append=t seen | stats min(first) as first max(last) as last by user asset_id | where last>relative_time(now(),\"-90d\") | outputlookup seen",
	"`aiwatch_s3` action=read | lookup identities user OUTPUT peer_group | stats sum(bytes_out) as b by user peer_group | eventstats median(b) as m by peer_group | eval z=(b-m)/max(m*0.1,1) | where z>`k`",
	"`aiwatch_s3` action=read earliest=-14d | stats dc(asset_id) as seen by user asset_name | eventstats max(seen) as total by asset_name | where seen/total>0.8",
	"`aiwatch_events` | eval hour=tonumber(strftime(_time,\"%H\")) | where hour<6 OR hour>=22 | stats count by user",
	"`aiwatch_mlflow` operation=run.edited_after_end | stats count values(run_id) as runs by user | where count>3",
	"`aiwatch_mlflow` tags=*user7* | stats count by user",
	"`aiwatch_events` | eval who=lower(coalesce(actor,user,\"nobody\")) | stats dc(sourcetype) as s dc(operation) as o by who | sort 0 -o | head 20",
	"`aiwatch_s3` src=10.1.* NOT user_agent=aws-cli* | stats count by src | where count>3",
	"`aiwatch_s3` | where cidrmatch(\"10.2.0.0/16\",src) | stats count by user",
	"`aiwatch_s3` asset_id=*model07* bytes_out>40000000 | stats count max(bytes_out) as m by user | sort - m",
	"`aiwatch_git` | eval late=_time-coalesce(not_before,_time-60) | stats avg(late) as a stdev(late) as s p95(late) as p by user",
	"`aiwatch_s3` [search `aiwatch_mlflow` operation=alias.set alias=champion earliest=-1d | dedup user | fields user] | stats count by user",
	"`aiwatch_events` operation=*created | stats earliest(_time) as t by asset_id operation | eval d=strftime(t,\"%F\") | stats count by d",
	"`aiwatch_events` | stats count as n by user sourcetype | eval p=case(n>10000,\"high\",n>1000,\"medium\",true(),\"low\") | stats list(sourcetype) as st by user p",
	"`aiwatch_s3` | stats perc95(bytes_out) as p95 median(bytes_out) as med by asset_name | fillnull value=0 | sort 10 -p95",
	"`aiwatch_events` | eval x=if(match(operation,\"^(REST|BATCH)[.](PUT|DELETE)\"),1,0) | eventstats sum(x) as w by user | where w>100000 | stats count",
}

func benchEngine(tb testing.TB, events io.Reader) *Engine {
	tb.Helper()
	props, err := NewProps(Conf{
		"aiwatch:s3": {
			"EVAL-action": `coalesce(action,case(match(operation,"[.]COPY[.].*_GET$|[.]GET[.]|[.]HEAD[.]"),"read",match(operation,"[.]PUT[.]OBJECT$"),"uploaded",match(operation,"[.]DELETE[.]"),"deleted"))`,
			"EVAL-status": `coalesce(status,if(match(status_code,"^2"),"success","failure"))`, "EVAL-actor": "coalesce(src_user,user)",
			"EVAL-asset_name":        `coalesce(asset_name,replace(asset_id,"^s3://([^/]+/[^/]+/[^/]+)/.*$","\1"))`,
			"FIELDALIAS-aws_request": "user_id AS requester src AS remote_ip",
		},
		"aiwatch:mlflow": {"EVAL-evidence": `coalesce(evidence,"diff")`, "EVAL-actor": "coalesce(src_user,user)"},
		"aiwatch:git":    {"EVAL-evidence": `coalesce(evidence,"refs")`, "EVAL-actor": "coalesce(src_user,user)"},
	}, time.UTC)
	require.NoError(tb, err)
	e := &Engine{Store: NewStore(props), Macros: benchMacros, Lookups: NewLookups(), Transforms: Conf{
		"networks": {"filename": "networks.csv", "match_type": "CIDR(cidr)", "max_matches": "1"},
		"jewels":   {"filename": "jewels.csv", "match_type": "WILDCARD(asset_id)"},
	}}
	_, err = e.Store.Load(events)
	require.NoError(tb, err)
	networks, people := &Table{Fields: []string{"cidr", "name"}}, &Table{Fields: []string{"user", "peer_group"}}
	for i := range 100 {
		networks.Rows = append(networks.Rows, []string{fmt.Sprintf("10.%d.%d.0/24", i%4, i), fmt.Sprint("net", i)})
		people.Rows = append(people.Rows, []string{fmt.Sprintf("user%02d@example.org", i), fmt.Sprint("team", i%7)})
	}
	e.Lookups.Set("networks", networks)
	e.Lookups.Set("identities", people)
	e.Lookups.Set("jewels", &Table{Fields: []string{"asset_id", "owner", "env"}, Rows: [][]string{{"s3://weights/models/model07/*", "ops", "prod"}, {"s3://weights/models/model1*", "ops", "dev"}}})
	e.Lookups.Set("seen", &Table{Fields: []string{"user", "asset_id", "first", "last"}})
	return e
}

// benchFile writes the events to a file, so that their bytes are no memory of
// ours.
func benchFile(tb testing.TB) *os.File {
	tb.Helper()
	f, err := os.CreateTemp(tb.TempDir(), "events")
	require.NoError(tb, err)
	writeBenchEvents(f, benchEvents(tb))
	tb.Cleanup(func() { f.Close() })
	return f
}

// BenchmarkCatalogue is the gate: forty searches over a month's events, loading
// included. It reports the heap at its highest and the slowest search.
func BenchmarkCatalogue(b *testing.B) {
	f := benchFile(b)
	// As aiwatch spl does: the collector works harder near the gate.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(MemoryGoal))
	var used time.Duration
	for b.Loop() {
		_, err := f.Seek(0, io.SeekStart)
		require.NoError(b, err)
		began, cpu := time.Now(), cpuTime(b)
		e := benchEngine(b, f)
		e.Store.order()
		loading := time.Since(began)
		var peak uint64
		slowest, which := time.Duration(0), 0
		for i, s := range benchSearches {
			at := time.Now()
			_, err := e.Run(context.Background(), s, Params{Now: benchNow})
			require.NoError(b, err, s)
			if d := time.Since(at); d > slowest {
				slowest, which = d, i
			}
			if os.Getenv("AIWATCH_SPL_TRACE") != "" {
				b.Logf("%6.2f s  %s", time.Since(at).Seconds(), s)
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.Sys)
		}
		used += cpuTime(b) - cpu
		b.ReportMetric(loading.Seconds(), "load-s")
		b.ReportMetric(slowest.Seconds(), "slowest-s")
		b.ReportMetric(float64(which), "slowest#")
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
	}
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s")
}

func TestBenchSearchesRun(t *testing.T) {
	require.Len(t, benchSearches, 40)
	var events bytes.Buffer
	writeBenchEvents(&events, 3000)
	e := benchEngine(t, &events)
	for _, s := range benchSearches {
		_, err := e.Run(context.Background(), s, Params{Now: benchNow})
		require.NoError(t, err, s)
	}
}

// TestSearchesSideBySide runs the forty searches at once, on a store that none has
// read before, and one that reads the events' text.
func TestSearchesSideBySide(t *testing.T) {
	var events bytes.Buffer
	writeBenchEvents(&events, 3000)
	text := events.Bytes()
	var searches []string
	for _, s := range benchSearches {
		if !strings.Contains(s, "outputlookup") {
			searches = append(searches, s)
		}
	}
	searches = append(searches, `model07 | stats count by sourcetype`, `REST.GET.OBJECT _index_earliest=1 | stats count by user`)
	inTurn := benchEngine(t, bytes.NewReader(text))
	beside := benchEngine(t, bytes.NewReader(text))
	found := make([][]string, len(searches))
	var group errgroup.Group
	group.SetLimit(8)
	for i, s := range searches {
		group.Go(func() error {
			res, err := beside.Run(context.Background(), s, Params{Now: benchNow})
			if err == nil {
				found[i] = rowsAsJSON(res)
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	for i, s := range searches {
		res, err := inTurn.Run(context.Background(), s, Params{Now: benchNow})
		require.NoError(t, err, s)
		require.Equal(t, rowsAsJSON(res), found[i], s)
	}
	q, err := beside.Parse(`* | stats count by user | outputlookup seen`, benchNow)
	require.NoError(t, err)
	require.True(t, q.Writes())
	q, err = beside.Parse(searches[0], benchNow)
	require.NoError(t, err)
	require.False(t, q.Writes())
}

// handEvent is what the five searches read of an event.
type handEvent struct {
	Time       float64
	Sourcetype string
	Event      struct {
		Operation, User, Alias string
		Status                 string `json:"status_code"`
		Asset                  string `json:"asset_id"`
		Repo                   string `json:"git_repo"`
		Model                  string `json:"model_name"`
		New                    string `json:"new_value"`
		Bytes                  int    `json:"bytes_out"`
	}
}

// byHand are five of the searches as plain Go: each gives what takes the events
// and what lists the rows.
var byHand = []struct {
	search string
	start  func() (take func(*handEvent), rows func() []string)
}{
	{"`aiwatch_events` | stats count by sourcetype operation", func() (func(*handEvent), func() []string) {
		n := map[string]int{}
		return func(e *handEvent) { n[e.Sourcetype+" "+e.Event.Operation]++ }, func() []string { return lines(n) }
	}},
	{"`aiwatch_s3` operation=REST.GET.OBJECT | eval day=`day` | stats sum(bytes_out) as b by user day", func() (func(*handEvent), func() []string) {
		n := map[string]int{}
		return func(e *handEvent) {
			if e.Sourcetype == "aiwatch:s3" && e.Event.Operation == "REST.GET.OBJECT" {
				n[e.Event.User+" "+strconv.Itoa(int(e.Time)/86400)] += e.Event.Bytes
			}
		}, func() []string { return lines(n) }
	}},
	{"`aiwatch_git` operation=ref.force_pushed | stats count by git_repo", func() (func(*handEvent), func() []string) {
		n := map[string]int{}
		return func(e *handEvent) {
			if e.Event.Operation == "ref.force_pushed" {
				n[e.Event.Repo]++
			}
		}, func() []string { return lines(n) }
	}},
	{"`aiwatch_s3` status_code=403 | stats dc(asset_id) as n by user", func() (func(*handEvent), func() []string) {
		seen, n := map[string]bool{}, map[string]int{}
		return func(e *handEvent) {
			if e.Event.Status != "403" {
				return
			}
			if k := e.Event.User + " " + e.Event.Asset; !seen[k] {
				seen[k] = true
				n[e.Event.User]++
			}
		}, func() []string { return lines(n) }
	}},
	{"`aiwatch_mlflow` operation=alias.set | stats max(new_value) as m by model_name alias", func() (func(*handEvent), func() []string) {
		n := map[string]int{}
		return func(e *handEvent) {
			if e.Event.Operation == "alias.set" {
				k := e.Event.Model + " " + e.Event.Alias
				v, _ := strconv.Atoi(e.Event.New)
				n[k] = max(n[k], v)
			}
		}, func() []string { return lines(n) }
	}},
}

// runByHand reads the events once and returns the rows of the five.
func runByHand(tb testing.TB, r io.Reader) [][]string {
	tb.Helper()
	var take []func(*handEvent)
	var rows []func() []string
	for _, c := range byHand {
		t, r := c.start()
		take, rows = append(take, t), append(rows, r)
	}
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 1<<20), 1<<20)
	for sc.Scan() {
		var e handEvent
		require.NoError(tb, json.Unmarshal(sc.Bytes(), &e))
		for _, t := range take {
			t(&e)
		}
	}
	require.NoError(tb, sc.Err())
	var out [][]string
	for _, r := range rows {
		out = append(out, r())
	}
	return out
}

func lines(m map[string]int) []string {
	var out []string
	for k, v := range m {
		out = append(out, k+" "+strconv.Itoa(v))
	}
	slices.Sort(out)
	return out
}

// TestByHand: the five give the same rows either way.
func TestByHand(t *testing.T) {
	var events bytes.Buffer
	writeBenchEvents(&events, 5000)
	e := benchEngine(t, bytes.NewReader(events.Bytes()))
	for i, want := range runByHand(t, bytes.NewReader(events.Bytes())) {
		res, err := e.Run(context.Background(), byHand[i].search, Params{Now: benchNow})
		require.NoError(t, err)
		var got []string
		for _, r := range res.Rows {
			var words []string
			for i := range r {
				words = append(words, r[i].String())
			}
			got = append(got, strings.Join(words, " "))
		}
		slices.Sort(got)
		require.Equal(t, want, got, byHand[i].search)
	}
}

// cpuTime is the processor time of this process so far, the collector's too.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFiveSearches is the second gate: the five searches take at most ten
// times the CPU of a plain Go program that computes them, which reads the file
// once as the store does. ratio is the one by the other.
func BenchmarkFiveSearches(b *testing.B) {
	f := benchFile(b)
	var hand, searched time.Duration
	for b.Loop() {
		_, err := f.Seek(0, io.SeekStart)
		require.NoError(b, err)
		at := cpuTime(b)
		runByHand(b, f)
		hand += cpuTime(b) - at
		_, err = f.Seek(0, io.SeekStart)
		require.NoError(b, err)
		at = cpuTime(b)
		e := benchEngine(b, f)
		for _, c := range byHand {
			_, err = e.Run(context.Background(), c.search, Params{Now: benchNow})
			require.NoError(b, err)
		}
		searched += cpuTime(b) - at
	}
	b.ReportMetric(hand.Seconds()/float64(b.N), "hand-cpu-s")
	b.ReportMetric(searched.Seconds()/float64(b.N), "searches-cpu-s")
	b.ReportMetric(searched.Seconds()/hand.Seconds(), "ratio")
}

// BenchmarkScheduled is a scheduled search over a narrow window of index time,
// again and again while events come: the cost of one run, with the hundred
// events that came since the last.
func BenchmarkScheduled(b *testing.B) {
	const burst = 100
	var events bytes.Buffer
	writeBenchEvents(&events, benchEvents(b))
	lines := bytes.Split(bytes.TrimSpace(events.Bytes()), []byte("\n"))
	half := len(lines) / 2
	e := benchEngine(b, bytes.NewReader(bytes.Join(lines[:half], []byte("\n"))))
	q, err := e.Parse("`aiwatch_s3` _index_earliest=-6m@m _index_latest=-1m@m | stats dc(asset_id) as n sum(bytes_out) as bytes by user | where n>100", benchNow)
	require.NoError(b, err)
	next := half
	for b.Loop() {
		for range burst {
			if next == len(lines) {
				next = half
			}
			require.NoError(b, e.Store.Add(lines[next]))
			next++
		}
		_, err := e.RunQuery(context.Background(), q, Params{Now: benchNow.Add(-12 * time.Hour), Earliest: "-7d"})
		require.NoError(b, err)
	}
}
