package preview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"aiwatch/internal/spl"
)

// A job is a search that was dispatched. It is done when it is made: the answer
// to its dispatch waits for it.
type job struct {
	id      string
	request Search
	result  *spl.Result
	failed  error // while it ran
}

// jobs are splunkd's search jobs.
type jobs struct {
	data Searcher

	mu   sync.Mutex
	made int
	jobs map[string]*job
	last []string // ids, oldest first
}

// keptJobs bounds the jobs that are remembered.
const keptJobs = 1000

func newJobs(data Searcher) *jobs { return &jobs{data: data, jobs: map[string]*job{}} }

// register adds splunkd's endpoints to mux.
func (j *jobs) register(mux *http.ServeMux) {
	for _, namespace := range []string{splunkd + "/services/", splunkd + "/servicesNS/{owner}/{app}/"} {
		mux.HandleFunc("POST "+namespace+"search/jobs", j.dispatch)
		mux.HandleFunc("GET "+namespace+"search/jobs", j.list)
		mux.HandleFunc("GET "+namespace+"search/jobs/{sid}", j.list)
		mux.HandleFunc("POST "+namespace+"search/jobs/{sid}/control", j.control)
		for _, endpoint := range []string{"results", "results_preview", "events"} {
			mux.HandleFunc("GET "+namespace+"search/v2/jobs/{sid}/"+endpoint, j.results)
			mux.HandleFunc("POST "+namespace+"search/v2/jobs/{sid}/"+endpoint, j.results)
		}
		mux.HandleFunc("GET "+namespace+"authentication/current-context", currentContext)
		mux.HandleFunc("GET "+namespace+"data/ui/times", times)
	}
	mux.HandleFunc(splunkd+"/", func(w http.ResponseWriter, r *http.Request) {
		say(w, http.StatusNotFound, "ERROR", "Not Found")
	})
}

// dispatch runs a search. What is wrong with its text is told at once, as
// splunkd does; what goes wrong while it runs is told by the job.
func (j *jobs) dispatch(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		say(w, http.StatusBadRequest, "FATAL", err.Error())
		return
	}
	made := &job{request: Search{
		Text:     r.PostForm.Get("search"),
		Earliest: r.PostForm.Get("earliest_time"),
		Latest:   r.PostForm.Get("latest_time"),
	}}
	if strings.TrimSpace(made.request.Text) == "" {
		say(w, http.StatusBadRequest, "FATAL", "Empty search.")
		return
	}
	made.result, made.failed = j.data.Run(r.Context(), made.request)
	if refused := new(spl.Refusal); errors.As(made.failed, &refused) {
		say(w, http.StatusBadRequest, "FATAL", refused.Error())
		return
	}
	if errors.Is(made.failed, context.Canceled) {
		return // nobody waits for it
	}
	j.keep(made)
	answer(w, http.StatusCreated, map[string]string{"sid": made.id})
}

func (j *jobs) keep(made *job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.made++
	made.id = fmt.Sprintf("preview.%d", j.made)
	j.jobs[made.id] = made
	if j.last = append(j.last, made.id); len(j.last) > keptJobs {
		delete(j.jobs, j.last[0])
		j.last = j.last[1:]
	}
}

// job finds a job, or answers that there is none.
func (j *jobs) job(w http.ResponseWriter, r *http.Request) *job {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := j.jobs[r.PathValue("sid")]
	if found == nil {
		say(w, http.StatusNotFound, "FATAL", "Unknown sid.")
	}
	return found
}

// list tells the state of jobs.
func (j *jobs) list(w http.ResponseWriter, r *http.Request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ids := r.URL.Query()["id"]
	if sid := r.PathValue("sid"); sid != "" {
		ids = []string{sid}
	}
	entries := []any{}
	for _, id := range ids {
		if found := j.jobs[id]; found != nil {
			entries = append(entries, found.entry())
		}
	}
	answer(w, http.StatusOK, map[string]any{"entry": entries})
}

func (j *job) entry() map[string]any {
	content := map[string]any{
		"sid": j.id, "dispatchState": "DONE", "isDone": true, "isFailed": false, "isFinalized": false, "isRealTimeSearch": false,
		"doneProgress": 1, "runDuration": 0.1, "resultCount": 0, "resultPreviewCount": 0, "messages": []any{},
		"isPreviewEnabled": true, "statusBuckets": 0, "eventCount": 0,
		// A page touches its jobs each half of their time to live; without one, all the time.
		"ttl": 600,
	}
	if j.failed != nil {
		content["dispatchState"], content["isFailed"] = "FAILED", true
		content["messages"] = []message{{"FATAL", j.failed.Error()}}
	} else {
		content["resultCount"], content["resultPreviewCount"] = len(j.result.Rows), len(j.result.Rows)
		content["messages"] = warnings(j.result)
	}
	return map[string]any{
		"name": j.request.Text, "published": time.Now().UTC().Format(time.RFC3339), "content": content,
		"acl": map[string]string{"app": appID, "owner": user},
	}
}

// control does as it is told, which is nothing: all is done already.
func (j *jobs) control(w http.ResponseWriter, r *http.Request) {
	if j.job(w, r) != nil {
		say(w, http.StatusOK, "INFO", "done")
	}
}

// results hands out a job's rows, or those of a search chained to it.
func (j *jobs) results(w http.ResponseWriter, r *http.Request) {
	found := j.job(w, r)
	if found == nil {
		return
	}
	if err := r.ParseForm(); err != nil {
		say(w, http.StatusBadRequest, "FATAL", err.Error())
		return
	}
	if found.failed != nil {
		say(w, http.StatusBadRequest, "FATAL", found.failed.Error())
		return
	}
	result, chained := found.result, strings.TrimSpace(r.Form.Get("search"))
	if chained != "" {
		var err error
		if result, err = j.data.Run(r.Context(), found.request.Chain(chained)); err != nil {
			say(w, http.StatusBadRequest, "FATAL", err.Error())
			return
		}
	}
	out := columns(result, number(r.Form, "offset"), number(r.Form, "count"))
	if chained != "" {
		out["post_process_count"] = len(result.Rows)
	}
	if r.Form.Get("output_mode") == "json" {
		rowsOf(out)
	}
	answer(w, http.StatusOK, out)
}

func number(form url.Values, name string) int {
	n, err := strconv.Atoi(form.Get(name))
	return max(0, n) * b2i(err == nil)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// columns is a result as output_mode=json_cols has it: every value is a text,
// several are a list, times are ISO 8601.
func columns(result *spl.Result, offset, count int) map[string]any {
	rows := result.Rows[min(offset, len(result.Rows)):]
	if count > 0 {
		rows = rows[:min(count, len(rows))]
	}
	fields, values := []map[string]string{}, [][]any{}
	for i, name := range result.Fields {
		column := make([]any, len(rows))
		for r, row := range rows {
			if i < len(row) {
				column[r] = shown(name, row[i])
			}
		}
		fields, values = append(fields, map[string]string{"name": name}), append(values, column)
	}
	return map[string]any{
		"preview": false, "init_offset": offset, "messages": warnings(result), "fields": fields, "columns": values,
	}
}

// rowsOf turns columns into the rows of output_mode=json.
func rowsOf(out map[string]any) {
	fields, values := out["fields"].([]map[string]string), out["columns"].([][]any)
	rows := []map[string]any{}
	for i := range values {
		for r, value := range values[i] {
			if r == len(rows) {
				rows = append(rows, map[string]any{})
			}
			if value != nil {
				rows[r][fields[i]["name"]] = value
			}
		}
	}
	out["results"] = rows
	delete(out, "columns")
}

func shown(field string, v spl.Value) any {
	if v.IsNull() {
		return nil
	}
	if seconds, ok := v.Float(); ok && field == "_time" {
		return time.UnixMilli(int64(seconds * 1000)).UTC().Format("2006-01-02T15:04:05.000-07:00")
	}
	texts := v.Strings()
	if len(texts) == 1 {
		return texts[0]
	}
	return texts
}

// message is how splunkd says something.
type message struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func warnings(result *spl.Result) []message {
	out := []message{}
	for _, w := range result.Warnings {
		out = append(out, message{"WARN", w})
	}
	return out
}

func say(w http.ResponseWriter, code int, kind, text string) {
	answer(w, code, map[string]any{"messages": []message{{kind, text}}})
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // who is gone needs no answer
}

// currentContext is who is logged in.
func currentContext(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"entry": []any{map[string]any{"name": "context", "content": map[string]any{
		"username": user, "realname": "Preview", "roles": []string{"admin"}, "capabilities": []string{"search"}, "tz": "UTC", "defaultApp": appID,
	}}}})
}

// presets are the ranges of the time picker, as a fresh Splunk has them.
var presets = []struct{ label, earliest, latest string }{
	{"Today", "@d", "now"},
	{"Week to date", "@w0", "now"},
	{"Yesterday", "-1d@d", "@d"},
	{"Last 60 minutes", "-60m@m", "now"},
	{"Last 4 hours", "-4h@m", "now"},
	{"Last 24 hours", "-24h@h", "now"},
	{"Last 7 days", "-7d@h", "now"},
	{"Last 30 days", "-30d@d", "now"},
	{"All time", "0", ""},
}

func times(w http.ResponseWriter, _ *http.Request) {
	entries := []any{}
	for i, p := range presets {
		entries = append(entries, map[string]any{"name": p.label, "content": map[string]any{
			"label": p.label, "earliest_time": p.earliest, "latest_time": p.latest, "order": strconv.Itoa(10 * (i + 1)), "disabled": false,
		}})
	}
	answer(w, http.StatusOK, map[string]any{"entry": entries})
}
