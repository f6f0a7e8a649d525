package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Account is what a server asks for: a user and a password, or a token.
type Account struct {
	Username, Password, Token string
}

// A Server is a real MLflow server to which the week's part of MLflow is told.
// Requests go through it, as through the proxy that stands in front of a server:
// it logs in, and it lets nothing through but what is about the demo's own models,
// experiments and runs, which it knows by their names and by having seen them
// made. So the demo can take them back, and sees and touches nothing else.
type Server struct {
	// Names is what the names of all that the demo makes begin with.
	Names string
	// Keep leaves there what was made.
	Keep bool
	// Version is MLflow's, once the server was reached.
	Version string

	base    *url.URL
	account Account
	http    *http.Transport
	ahead   time.Duration // of our clock

	mu          sync.Mutex
	models      []string
	experiments map[string]string // ids by name; empty: nobody has seen one
	runs        map[string]bool
	first, last time.Time // of what was done, by the server's clock
}

// Bounds of one request, of taking back what was made, and of an answer.
const (
	answerWait = 30 * time.Second
	removeWait = time.Minute
	maxAnswer  = 64 << 20
)

// The oldest MLflow: older ones know no aliases, or no datasets of runs.
const oldestMajor, oldestMinor = 2, 4

// NewServer makes a server of its address, which is not asked yet.
func NewServer(address string, account Account) (*Server, error) {
	base, err := url.Parse(strings.TrimRight(address, "/"))
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, fmt.Errorf("%q is no address of a tracking server, such as http://127.0.0.1:5000", address)
	case base.User != nil:
		return nil, errors.New("the address holds a user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("%q is more than the address of a tracking server", address)
	case account.Token != "" && account.Username != "":
		return nil, errors.New("a user and a token are both set: use one")
	}
	return &Server{
		Names: "aiwatch-demo-" + strings.ToLower(rand.Text()[:8]) + "-",
		base:  base, account: account, experiments: map[string]string{}, runs: map[string]bool{},
		http: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: answerWait,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
	}, nil
}

// URL is the server's address.
func (s *Server) URL() string { return s.base.String() }

// Now is the time of the server's clock.
func (s *Server) Now() time.Time { return time.Now().Add(s.ahead) }

// Reach asks the server whether the demo can be told to it: which version it is,
// what its clock says, and whether the account may read.
func (s *Server) Reach(ctx context.Context) error {
	asked := time.Now()
	status, header, text, err := s.call(ctx, http.MethodGet, "/version", nil)
	if err != nil {
		return fmt.Errorf("%w; start the server, or correct the address", err)
	}
	if status/100 == 3 {
		return fmt.Errorf("GET /version: %s sends to %s; name the address that is meant", s.URL(), header.Get("Location"))
	}
	if err := refused("GET /version", status, text); err != nil {
		return err
	}
	version := regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})[0-9A-Za-z.+-]{0,30}$`).FindStringSubmatch(strings.TrimSpace(string(text)))
	if version == nil {
		return fmt.Errorf("what answers at %s is no MLflow tracking server", s.URL())
	}
	s.Version = version[0]
	major, _ := strconv.Atoi(version[1])
	if minor, _ := strconv.Atoi(version[2]); major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fmt.Errorf("%s is MLflow %s, which is older than %d.%d and lacks aliases of models or datasets of runs; use a newer one", s.URL(), s.Version, oldestMajor, oldestMinor)
	}
	// The header has no fractions of a second: less than two are no difference.
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		if ahead := date.Sub(asked); ahead.Abs() > 2*time.Second {
			s.ahead = ahead
		}
	}
	for path, body := range map[string]any{"experiments/search": map[string]any{"max_results": 1}, "registered-models/search?max_results=1": nil} {
		method := http.MethodGet
		if body != nil {
			method = http.MethodPost
		}
		r, err := s.request(ctx, method, api+path, body)
		if err != nil {
			return err
		}
		answer, err := s.RoundTrip(r)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		if err := refused(method+" "+path, answer.StatusCode, text); err != nil {
			return err
		}
	}
	return nil
}

// refused says what an answer that is no success means.
func refused(what string, status int, text []byte) error {
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%s: the server answered %d: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of an account that may make experiments and models", what, status)
	}
	return fmt.Errorf("%s: the server answered %d: %.200q", what, status, bytes.TrimSpace(text))
}

const api = "/api/2.0/mlflow/"

// The requests that are let through, by what of them is the demo's own: searches
// by the names they look for, others by what they name.
var (
	searches = []string{"GET registered-models/search", "GET model-versions/search", "POST experiments/search"}
	naming   = []string{
		"GET registered-models/get", "GET model-versions/get", "GET experiments/get", "GET runs/get",
		"POST runs/search", "POST logged-models/search",
		"POST experiments/create", "POST registered-models/create", "POST registered-models/alias",
		"POST model-versions/create", "POST model-versions/set-tag",
		"POST runs/create", "POST runs/update", "POST runs/set-tag", "POST runs/log-batch", "POST runs/log-inputs", "POST runs/log-metric",
	}
)

// RoundTrip makes a request on the server. What is not about the demo's own is
// answered here, as by a server that does not know such a request.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.URL.Scheme != s.base.Scheme || r.URL.Host != s.base.Host || !strings.HasPrefix(r.URL.Path, s.base.Path+"/") {
		return nil, fmt.Errorf("the demo asks %s alone, and not %s://%s", s.URL(), r.URL.Scheme, r.URL.Host)
	}
	path := strings.TrimPrefix(r.URL.Path, s.base.Path)
	what := r.Method + " " + strings.TrimPrefix(path, api)
	out := r.Clone(r.Context())
	var body map[string]any
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&body); err != nil && len(text) > 0 {
			return nil, fmt.Errorf("%s: its body is no JSON object: %w", what, err)
		}
		out.Body = io.NopCloser(bytes.NewReader(text))
	}
	query := out.URL.Query()
	switch {
	case what == "GET /version":
	case slices.Contains(searches, what):
		if r.Method == http.MethodGet {
			query.Set("filter", s.own(query.Get("filter")))
			out.URL.RawQuery = query.Encode()
			break
		}
		filter, _ := body["filter"].(string)
		body["filter"] = s.own(filter)
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	case slices.Contains(naming, what) && s.names(query, body):
	default:
		return &http.Response{
			Status: "404 Not Found", StatusCode: http.StatusNotFound, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader("the demo does not ask for this")),
		}, nil
	}
	if slices.Contains(naming, what) && r.Method != http.MethodGet {
		// What was begun is ended, so that it is known what was made.
		out = out.WithContext(context.WithoutCancel(r.Context()))
	}
	s.begin(what, body)
	s.login(out)
	answer, err := s.http.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	return answer, s.made(what, body, answer)
}

// own makes a filter that finds nothing but the demo's own.
func (s *Server) own(filter string) string {
	return strings.TrimPrefix(filter+" AND name LIKE '"+s.Names+"%'", " AND ")
}

// names tells whether a request names something, and nothing but the demo's own.
func (s *Server) names(query url.Values, body map[string]any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := map[string]func(string) bool{
		"name":   func(v string) bool { return strings.HasPrefix(v, s.Names) },
		"run_id": func(v string) bool { return s.runs[v] },
		"experiment_id": func(v string) bool {
			for _, id := range s.experiments {
				if v == id {
					return v != ""
				}
			}
			return false
		},
	}
	own["run_uuid"], own["experiment_ids"] = own["run_id"], own["experiment_id"]
	named := 0
	for key, is := range own {
		values := query[key]
		switch v := body[key].(type) {
		case nil:
		case []any:
			for _, one := range v {
				values = append(values, fmt.Sprint(one))
			}
		default:
			values = append(values, fmt.Sprint(v))
		}
		for _, v := range values {
			if !is(v) {
				return false
			}
			named++
		}
	}
	return named > 0
}

// begin notes what is about to be made: an answer that gets lost made it as well.
func (s *Server) begin(what string, body map[string]any) {
	name, _ := body["name"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch what {
	case "POST registered-models/create":
		s.models = append(s.models, name)
	case "POST experiments/create":
		s.experiments[name] = ""
	}
}

// made notes what was made.
func (s *Server) made(what string, body map[string]any, answer *http.Response) error {
	if answer.Request.Method == http.MethodGet || strings.HasSuffix(what, "/search") {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	answer.Body = io.NopCloser(bytes.NewReader(text))
	if answer.StatusCode/100 != 2 {
		return nil
	}
	var told struct {
		Experiment string `json:"experiment_id"`
		Run        struct {
			Info struct {
				ID string `json:"run_id"`
			} `json:"info"`
		} `json:"run"`
	}
	_ = json.Unmarshal(text, &told) // most answers tell nothing
	name, _ := body["name"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch what {
	case "POST experiments/create":
		s.experiments[name] = told.Experiment
	case "POST runs/create":
		s.runs[told.Run.Info.ID] = true
	}
	s.last = s.Now()
	if s.first.IsZero() {
		s.first = s.last
	}
	return nil
}

// Told is what was told to a server.
type Told struct {
	From, To                  time.Time
	Models, Experiments, Runs int
}

// Told counts what was made.
func (s *Server) Told() Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Told{s.first, s.last, len(s.models), len(s.experiments), len(s.runs)}
}

// Remove takes back what the demo made: models with their versions are deleted,
// experiments with their runs are marked as deleted, which is all that MLflow's
// API can do. It works as well when ctx is done.
func (s *Server) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWait)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range s.models {
		if err := s.remove(ctx, http.MethodDelete, "registered-models/delete", map[string]any{"name": name}); err != nil {
			errs = append(errs, fmt.Errorf("model %s: %w", name, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.experiments)) {
		if err := s.removeExperiment(ctx, name, s.experiments[name]); err != nil {
			errs = append(errs, fmt.Errorf("experiment %s: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("what the demo made on %s is still there, delete it by hand: %w", s.URL(), errors.Join(errs...))
	}
	return nil
}

func (s *Server) removeExperiment(ctx context.Context, name, id string) error {
	if id == "" { // the answer to its making was lost
		_, _, text, err := s.call(ctx, http.MethodGet, api+"experiments/get-by-name?experiment_name="+url.QueryEscape(name), nil)
		var told struct {
			Experiment struct {
				ID string `json:"experiment_id"`
			} `json:"experiment"`
		}
		_ = json.Unmarshal(text, &told)
		if id = told.Experiment.ID; err != nil || id == "" {
			return err
		}
	}
	return s.remove(ctx, http.MethodPost, "experiments/delete", map[string]any{"experiment_id": id})
}

// remove makes a call that deletes; what is not there need not be deleted.
func (s *Server) remove(ctx context.Context, method, path string, body any) error {
	status, _, text, err := s.call(ctx, method, api+path, body)
	if err != nil {
		return err
	}
	var told struct {
		Code string `json:"error_code"`
	}
	if status == http.StatusNotFound && json.Unmarshal(text, &told) == nil && told.Code == "RESOURCE_DOES_NOT_EXIST" {
		return nil
	}
	return refused(method+" "+path, status, text)
}

// call makes a request of the demo's own.
func (s *Server) call(ctx context.Context, method, path string, body any) (status int, header http.Header, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	r, err := s.request(ctx, method, path, body)
	if err != nil {
		return 0, nil, nil, err
	}
	s.login(r)
	answer, err := s.http.RoundTrip(r)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%s %s: %w", method, r.URL.Redacted(), err)
	}
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return answer.StatusCode, answer.Header, text, errors.Join(err, answer.Body.Close())
}

func (s *Server) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.URL()+path, text)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// login puts the demo's account in the place of the one that a request came with.
func (s *Server) login(r *http.Request) {
	r.Header.Set("User-Agent", "aiwatch-demo")
	r.Header.Del("Authorization")
	switch {
	case s.account.Token != "":
		r.Header.Set("Authorization", "Bearer "+s.account.Token)
	case s.account.Username != "":
		r.SetBasicAuth(s.account.Username, s.account.Password)
	}
}
