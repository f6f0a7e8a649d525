package mlflow

import (
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A logLine is one request as an access log tells it.
type logLine struct {
	At     time.Time // zero where the line has none
	Method string
	Target string // path and query as logged
	Status int
	User   string
	// Peer is who connected, and Forwarded what X-Forwarded-For said.
	Peer, Forwarded string
	Agent           string
	Bytes           int64 // sent; -1 where not told
}

// errNoAccess says that a line is no access line: servers write other things
// into the same file.
var errNoAccess = errors.New("no access line")

// combinedLine is NCSA's combined format, which nginx, Envoy, Apache and
// gunicorn write; the last fields, agent and X-Forwarded-For, may be absent.
var combinedLine = regexp.MustCompile(`^(\S+) \S+ (.{1,256}?) \[([^\]]{20,32})\] "(.*?)" (\d{3}) (\d+|-)(?: "(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)"(?: "((?:[^"\\]|\\.)*)")?)?`)

// uvicornLine is `[<date>] INFO: <address> - "<request>" <status> <reason>`.
var uvicornLine = regexp.MustCompile(`^(?:(\d{4}[/-]\d\d[/-]\d\d[ T]\d\d:\d\d:\d\d)\S* )?INFO:? +(\S+) - "(.*)" (\d{3})(?: [A-Za-z' -]*)?$`)

// parseAccess reads one line of an access log: combined, JSON of nginx or Envoy,
// or uvicorn's.
func parseAccess(line string) (logLine, error) {
	line = strings.TrimRight(line, "\r\n")
	if strings.HasPrefix(line, "{") {
		return parseJSONAccess(line)
	}
	if m := combinedLine.FindStringSubmatch(line); m != nil {
		l := logLine{Peer: m[1], User: m[2], Agent: m[7], Forwarded: m[8], Bytes: -1}
		at, err := time.Parse("02/Jan/2006:15:04:05 -0700", m[3])
		if err != nil {
			return l, errors.New("the date can't be read")
		}
		l.At = at
		l.Status, _ = strconv.Atoi(m[5])
		if n, err := strconv.ParseInt(m[6], 10, 64); err == nil {
			l.Bytes = n
		}
		return l.finish(m[4])
	}
	if m := uvicornLine.FindStringSubmatch(line); m != nil {
		l := logLine{Peer: m[2], Bytes: -1}
		if m[1] != "" {
			at, err := time.ParseInLocation("2006-01-02 15:04:05", strings.NewReplacer("/", "-", "T", " ").Replace(m[1]), time.Local)
			if err != nil {
				return l, errors.New("the date can't be read")
			}
			l.At = at
		}
		l.Status, _ = strconv.Atoi(m[4])
		return l.finish(m[3])
	}
	if strings.Contains(line, ` HTTP/1.`) || strings.Contains(line, ` HTTP/2`) {
		return logLine{}, errors.New("neither the combined format nor uvicorn's")
	}
	return logLine{}, errNoAccess
}

// The names that the fields of a JSON line have in common configurations of
// nginx and Envoy, in the order of preference.
var (
	jsonTime      = []string{"time_iso8601", "start_time", "@timestamp", "timestamp", "time", "time_local", "ts", "msec"}
	jsonMethod    = []string{"request_method", "method"}
	jsonPath      = []string{"request_uri", "uri", "path", "url", "x-envoy-original-path"}
	jsonStatus    = []string{"status", "response_code", "status_code"}
	jsonUser      = []string{"remote_user", "user", "username", "x_forwarded_user", "x-forwarded-user", "requester"}
	jsonSrc       = []string{"remote_addr", "client_ip", "downstream_remote_address_without_port", "downstream_remote_address", "client", "remote_address"}
	jsonForwarded = []string{"http_x_forwarded_for", "x_forwarded_for", "x-forwarded-for", "forwarded_for"}
	jsonAgent     = []string{"http_user_agent", "user_agent", "agent"}
	jsonBytes     = []string{"body_bytes_sent", "bytes_sent", "bytes"}
)

func parseJSONAccess(line string) (logLine, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &all); err != nil {
		return logLine{}, errors.New("begins as JSON and is none")
	}
	field := func(names []string) string {
		for _, name := range names {
			var t text
			if raw, ok := all[name]; ok && len(raw) > 0 && raw[0] != '{' && raw[0] != '[' && json.Unmarshal(raw, &t) == nil && t != "" {
				return string(t)
			}
		}
		return ""
	}
	l := logLine{User: field(jsonUser), Peer: field(jsonSrc), Forwarded: field(jsonForwarded), Agent: field(jsonAgent), Bytes: -1}
	method, target := field(jsonMethod), field(jsonPath)
	request := method + " " + target
	if method == "" || target == "" {
		if request = field([]string{"request"}); request == "" {
			return l, errNoAccess
		}
	}
	var err error
	if l.Status, err = strconv.Atoi(field(jsonStatus)); err != nil {
		return l, errors.New("the line has no status")
	}
	if n, err := strconv.ParseInt(field(jsonBytes), 10, 64); err == nil {
		l.Bytes = n
	}
	at := field(jsonTime)
	for _, layout := range []string{time.RFC3339Nano, "02/Jan/2006:15:04:05 -0700", "2006-01-02T15:04:05-0700"} {
		if t, err := time.Parse(layout, at); err == nil {
			l.At = t
			break
		}
	}
	if seconds, err := strconv.ParseFloat(at, 64); err == nil && seconds > 0 && seconds < 1e11 {
		l.At = time.UnixMilli(int64(seconds * 1000))
	}
	if l.At.IsZero() {
		return l, errors.New("the date can't be read")
	}
	return l.finish(request)
}

// finish takes the request apart.
func (l logLine) finish(request string) (logLine, error) {
	method, rest, ok := strings.Cut(request, " ")
	if !ok || method == "" || len(method) > 10 || strings.ToUpper(method) != method {
		return l, errors.New("the request can't be read")
	}
	if i := strings.LastIndex(rest, " HTTP/"); i >= 0 {
		rest = rest[:i]
	}
	if u, err := url.Parse(rest); err == nil && u.Scheme != "" && u.Host != "" {
		rest = u.RequestURI()
	}
	if !strings.HasPrefix(rest, "/") {
		return l, errors.New("the request has no path")
	}
	l.Method, l.Target = method, rest
	if l.User == "-" {
		l.User = ""
	}
	if l.Agent == "-" {
		l.Agent = ""
	}
	return l, nil
}

// A verb is a call of MLflow's API: its method and what follows /mlflow/, such
// as "POST registered-models/alias"; object is the id where the path holds one.
func (l *logLine) verb() (verb, object string, ok bool) {
	path, _, _ := strings.Cut(l.Target, "?")
	_, rest, ok := strings.Cut(path, "/mlflow/")
	if !ok || !strings.Contains(path, "api/") {
		return "", "", false
	}
	rest = strings.Trim(rest, "/")
	if tail, found := strings.CutPrefix(rest, "logged-models/"); found {
		id, _, _ := strings.Cut(tail, "/")
		return l.Method + " logged-models", id, true
	}
	return l.Method + " " + rest, "", true
}

// artifact tells which artifact a line is about: its path below the artifact
// root, or the run or version and the path below that.
type artifactCall struct {
	operation     string
	key           string // <exp>/<run>/artifacts/<path>
	runID         string // with path
	modelID       string // with path
	model, number string // with path
	path          string
}

func (l *logLine) artifact() (a artifactCall, ok bool) {
	path, rawQuery, _ := strings.Cut(l.Target, "?")
	operation := map[string]string{"GET": "artifact.read", "PUT": "artifact.uploaded", "DELETE": "artifact.removed"}[l.Method]
	if operation == "" {
		return a, false
	}
	a.operation = operation
	if _, rest, found := strings.Cut(path, "/mlflow-artifacts/artifacts/"); found {
		if a.key = unescaped(rest); a.key == "" {
			return a, false
		}
		return a, true
	}
	q, err := url.ParseQuery(rawQuery)
	if err != nil || l.Method != "GET" {
		return a, false
	}
	switch {
	case strings.HasSuffix(path, "/model-versions/get-artifact"):
		a.model, a.number, a.path = q.Get("name"), q.Get("version"), q.Get("path")
		return a, a.model != "" && a.path != ""
	case strings.HasSuffix(path, "/get-artifact"):
		a.runID, a.path = q.Get("run_uuid"), q.Get("path")
		if a.runID == "" {
			a.runID = q.Get("run_id")
		}
		return a, a.runID != "" && a.path != ""
	case strings.HasSuffix(path, "/artifacts/files"):
		_, rest, _ := strings.Cut(path, "/logged-models/")
		a.modelID, _, _ = strings.Cut(rest, "/")
		a.path = q.Get("artifact_file_path")
		return a, a.modelID != "" && a.path != ""
	}
	return a, false
}

func unescaped(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
