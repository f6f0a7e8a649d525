package preview

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/dashboard"
	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
	"aiwatch/internal/spl"
)

// noon is the clock of these tests.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

const twoEvents = `{"time":1772445600,"host":"h","source":"aiwatch_s3://prod","sourcetype":"aiwatch:s3","index":"aiwatch","event":{"event_id":"1","user":"ann","operation":"read","asset_id":"fraud"},"indextime":1772445660}
{"time":1772449200,"host":"h","source":"aiwatch_s3://prod","sourcetype":"aiwatch:s3","index":"aiwatch","event":{"event_id":"2","user":"<b>\"eve\" $x$","operation":"read","asset_id":"fraud"},"indextime":1772449260}
`

// small is data of two events.
func small(t *testing.T) *Data {
	t.Helper()
	data := nothing(t, appOfTheTest(t), noon)
	for _, line := range strings.Split(strings.TrimSpace(twoEvents), "\n") {
		require.NoError(t, data.Add([]byte(line)))
	}
	return data
}

// site is the stand-in as a handler.
func site(t *testing.T, data Searcher) http.Handler {
	t.Helper()
	app := appOfTheTest(t)
	return handler(Config{App: func() (fs.FS, error) { return app, nil }, Data: data, Bundle: &Bundle{Dir: t.TempDir(), Version: "1"}})
}

// call asks a site and decodes its JSON.
func call(t *testing.T, h http.Handler, method, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8000"+path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body.String())
	return w.Code, body
}

const services = splunkd + "/servicesNS/-/aiwatch/"

// dispatched dispatches a search and returns its sid.
func dispatched(t *testing.T, h http.Handler, search string) string {
	t.Helper()
	code, body := call(t, h, http.MethodPost, services+"search/jobs", url.Values{
		"search": {search}, "earliest_time": {"-24h@h"}, "latest_time": {"now"}, "output_mode": {"json"},
	})
	require.Equal(t, http.StatusCreated, code, body)
	return body["sid"].(string)
}

func TestJob(t *testing.T) {
	h := site(t, small(t))
	sid := dispatched(t, h, "search `aiwatch_s3` | stats count, values(operation) AS operation, latest(_time) AS _time by actor")

	code, body := call(t, h, http.MethodGet, splunkd+"/services/search/jobs?output_mode=json&count=1&id="+sid, nil)
	require.Equal(t, http.StatusOK, code)
	content := body["entry"].([]any)[0].(map[string]any)["content"].(map[string]any)
	require.Equal(t, sid, content["sid"])
	require.Equal(t, "DONE", content["dispatchState"])
	require.Equal(t, 2.0, content["resultCount"])
	require.Equal(t, 600.0, content["ttl"], "a page touches a job without one all the time")

	code, body = call(t, h, http.MethodGet, splunkd+"/services/search/v2/jobs/"+sid+"/results?output_mode=json_cols&count=0", nil)
	require.Equal(t, http.StatusOK, code)
	text, err := json.Marshal(body)
	require.NoError(t, err)
	require.JSONEq(t, `{"preview":false,"init_offset":0,"messages":[],
		"fields":[{"name":"actor"},{"name":"count"},{"name":"operation"},{"name":"_time"}],
		"columns":[["<b>\"eve\" $x$","ann"],["1","1"],["read","read"],["2026-03-02T11:00:00.000+00:00","2026-03-02T10:00:00.000+00:00"]]}`, string(text))

	// A chained search, and one page of its rows.
	code, body = call(t, h, http.MethodPost, splunkd+"/services/search/v2/jobs/"+sid+"/results", url.Values{
		"search": {"stats sum(count) AS all"}, "output_mode": {"json"},
	})
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, []any{map[string]any{"all": "2"}}, body["results"])
	require.Equal(t, 1.0, body["post_process_count"])
	_, body = call(t, h, http.MethodGet, splunkd+"/services/search/v2/jobs/"+sid+"/results_preview?output_mode=json_cols&count=1&offset=1", nil)
	require.Equal(t, []any{"ann"}, body["columns"].([]any)[0])

	code, _ = call(t, h, http.MethodPost, splunkd+"/services/search/jobs/"+sid+"/control", url.Values{"action": {"cancel"}})
	require.Equal(t, http.StatusOK, code)
}

func TestTheRangeIsThePickers(t *testing.T) {
	h := site(t, small(t))
	for latest, want := range map[string]string{"now": "2", "2026-03-02T10:30:00Z": "1", "-5h": "0"} {
		_, body := call(t, h, http.MethodPost, services+"search/jobs", url.Values{
			"search": {"search `aiwatch_s3` | stats count"}, "earliest_time": {"0"}, "latest_time": {latest},
		})
		_, body = call(t, h, http.MethodGet, splunkd+"/services/search/v2/jobs/"+body["sid"].(string)+"/results?output_mode=json_cols", nil)
		require.Equal(t, []any{want}, body["columns"].([]any)[0], latest)
	}
}

// TestWhatGoesWrong: a search at fault is refused when it is dispatched, one that
// fails while it runs leaves a job that says so.
func TestWhatGoesWrong(t *testing.T) {
	h := site(t, small(t))
	says := func(body map[string]any) string {
		return body["messages"].([]any)[0].(map[string]any)["text"].(string)
	}
	for search, want := range map[string]string{
		"":                          "Empty search.",
		"search index=x | nonsense": "nonsense",
		"| inputlookup nowhere":     "nowhere",
	} {
		code, body := call(t, h, http.MethodPost, services+"search/jobs", url.Values{"search": {search}})
		require.Equal(t, http.StatusBadRequest, code)
		require.Contains(t, says(body), want)
	}
	sid := dispatched(t, h, "search `aiwatch_s3`")
	code, body := call(t, h, http.MethodGet, splunkd+"/services/search/v2/jobs/"+sid+"/results?search=nonsense", nil)
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, says(body), "nonsense")
	code, _ = call(t, h, http.MethodGet, splunkd+"/services/search/v2/jobs/none/results", nil)
	require.Equal(t, http.StatusNotFound, code)
	code, _ = call(t, h, http.MethodGet, splunkd+"/services/server/info", nil)
	require.Equal(t, http.StatusNotFound, code)

	h = site(t, searcher(func(context.Context, Search) (*spl.Result, error) { return nil, errors.New("it is too much") }))
	sid = dispatched(t, h, "search `aiwatch_s3`")
	_, body = call(t, h, http.MethodGet, splunkd+"/services/search/jobs?id="+sid, nil)
	content := body["entry"].([]any)[0].(map[string]any)["content"].(map[string]any)
	require.Equal(t, "FAILED", content["dispatchState"])
	code, body = call(t, h, http.MethodGet, splunkd+"/services/search/v2/jobs/"+sid+"/results", nil)
	require.Equal(t, http.StatusBadRequest, code)
	require.Equal(t, "it is too much", says(body))
}

// searcher is a function that answers searches.
type searcher func(context.Context, Search) (*spl.Result, error)

// Run runs the function.
func (f searcher) Run(ctx context.Context, s Search) (*spl.Result, error) { return f(ctx, s) }

func TestWhatTheInputsAsk(t *testing.T) {
	h := site(t, small(t))
	_, body := call(t, h, http.MethodGet, splunkd+"/services/authentication/current-context?output_mode=json", nil)
	require.Len(t, body["entry"], 1)
	_, body = call(t, h, http.MethodGet, splunkd+"/servicesNS/admin/aiwatch/data/ui/times?output_mode=json&count=-1", nil)
	require.Len(t, body["entry"], len(presets))
}

// TestSearchPage: a link from a dashboard shows its search and its rows, and
// nothing of them becomes markup.
func TestSearchPage(t *testing.T) {
	h := site(t, small(t))
	text := "`aiwatch_s3` actor=" + `"<b>\"eve\" $x$"` + " | table actor"
	for path, want := range map[string]string{
		"/app/aiwatch/search?q=" + url.QueryEscape(text): "",
		appPath + "search?q=" + url.QueryEscape(text):    text,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if want == "" {
			require.Equal(t, http.StatusFound, w.Code)
			require.Equal(t, locale+path, w.Header().Get("Location"))
			continue
		}
		require.Equal(t, http.StatusOK, w.Code)
		body := w.Body.String()
		require.Contains(t, body, "1 rows")
		require.Contains(t, body, "actor=&#34;&lt;b&gt;\\&#34;eve\\&#34; $x$&#34;")
		require.Contains(t, body, "<td>&lt;b&gt;&#34;eve&#34; $x$</td>")
		require.NotContains(t, body, "<b>")
	}
}

// TestOnlyHere: the preview answers loopback and its own pages.
func TestOnlyHere(t *testing.T) {
	h := site(t, small(t))
	for _, c := range []struct {
		host, method, origin string
		want                 int
	}{
		{"127.0.0.1:8000", http.MethodGet, "", http.StatusFound},
		{"localhost:8000", http.MethodGet, "", http.StatusFound},
		{"[::1]:8000", http.MethodGet, "", http.StatusFound},
		{"splunk.example.test", http.MethodGet, "", http.StatusForbidden},
		{"10.0.0.1:8000", http.MethodGet, "", http.StatusForbidden},
		{"127.0.0.1:8000", http.MethodPost, "http://example.test", http.StatusForbidden},
		{"127.0.0.1:8000", http.MethodPost, "http://127.0.0.1:8000", http.StatusMethodNotAllowed},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, "/", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, c.want, w.Code, "%+v", c)
		if c.want != http.StatusForbidden {
			require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		}
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "10.0.0.1:0", "8000"} {
		_, err := Serve(address, Config{})
		require.Error(t, err, address)
	}
}

// TestPlay: a scenario is played once, by the program, and all that it wrote is
// read: events, findings, lookups, and the moment at which it ends.
func TestPlay(t *testing.T) {
	root, err := FindRoot()
	require.NoError(t, err)
	app, err := root.App()
	require.NoError(t, err)
	cache, dir := t.TempDir(), root.Path("splunk_app", "scenarios", "alias_rollback")
	played, err := Play(t.Context(), root, app, dir, cache)
	require.NoError(t, err)
	data, err := played.read(t.Context(), app)
	require.NoError(t, err)
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	require.Equal(t, s.End.UTC(), data.Now())
	for search, want := range map[string]string{
		"search `aiwatch_mlflow` operation=alias.set _indextime>0 | stats count": `{"count":2}`,
		"search `aiwatch_findings` | stats count by detection user":              `{"detection":"10","user":"mallory","count":1}`,
		"| inputlookup aiwatch_seen_actor | stats count":                         `{"count":3}`,
	} {
		got, err := data.Run(t.Context(), Search{Text: search})
		require.NoError(t, err, search)
		require.Equal(t, []string{want}, lines(got), search)
	}

	// A second play would need its context.
	ended, end := context.WithCancel(t.Context())
	end()
	again, err := Play(ended, root, app, dir, cache)
	require.NoError(t, err, "it was played again")
	require.Equal(t, played, again)
}

func lines(r *spl.Result) (all []string) {
	for _, row := range r.Rows {
		all = append(all, string(r.AppendJSON(nil, row)))
	}
	return all
}

// TestReceive: an event that comes is found by the next search.
func TestReceive(t *testing.T) {
	engine, err := detection.Engine(appOfTheTest(t), time.UTC)
	require.NoError(t, err)
	data := NewData(engine, time.Now)
	server, err := Receive("127.0.0.1:0", "secret", data)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	count := func() string {
		r, err := data.Run(t.Context(), Search{Text: "search `aiwatch_s3` actor=ann | stats count"})
		require.NoError(t, err)
		return r.Get(r.Rows[0], "count").String()
	}
	require.Equal(t, "0", count())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+"/services/collector/event",
		strings.NewReader(`{"sourcetype":"aiwatch:s3","event":{"user":"ann"}}`))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Splunk secret")
	r.Header.Set("X-Splunk-Request-Channel", "6f1e2d3c-1111-4222-8333-444455556666")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	text, _ := io.ReadAll(answer.Body)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode, string(text))
	require.Equal(t, "1", count())
}

// TestHome: pages are found in the order of the navigation, and home is the
// first.
func TestHome(t *testing.T) {
	h := site(t, small(t))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, appPath+"overview", w.Header().Get("Location"))
}

// appOfTheTest is the app with the pages of testdata beside its own.
func appOfTheTest(t *testing.T) fs.FS {
	t.Helper()
	app, err := testApp()
	require.NoError(t, err)
	return app
}

var testApp = sync.OnceValues(func() (fs.FS, error) {
	app, err := detection.FS()
	if err != nil {
		return nil, err
	}
	pages := fstest.MapFS{}
	for _, name := range []string{"example.xml", "invalid.xml"} {
		text, err := os.ReadFile("testdata/views/" + name)
		if err != nil {
			return nil, err
		}
		pages[dashboard.Folder+"/"+name] = &fstest.MapFile{Data: text}
	}
	return overlay{pages, app}, nil
})

// overlay is a file system under another.
type overlay struct {
	over  fstest.MapFS
	under fs.FS
}

// Open opens a file of the one above, else of the one below.
func (o overlay) Open(name string) (fs.File, error) {
	if f, err := o.over.Open(name); err == nil {
		if info, err := f.Stat(); err == nil && !info.IsDir() {
			return f, nil
		}
	}
	return o.under.Open(name)
}

// Glob lists the files of both.
func (o overlay) Glob(pattern string) ([]string, error) {
	over, err := fs.Glob(o.over, pattern)
	under, underErr := fs.Glob(o.under, pattern)
	return append(over, under...), errors.Join(err, underErr)
}

// nothing is data without an event.
func nothing(t *testing.T, app fs.FS, now time.Time) *Data {
	t.Helper()
	engine, err := detection.Engine(app, time.UTC)
	require.NoError(t, err)
	return NewData(engine, func() time.Time { return now })
}
