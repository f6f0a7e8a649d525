package mlflowsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options are what a server can be.
type Options struct {
	// Version is the MLflow version whose shapes are spoken, "2.22.5" or
	// "3.17.2" (the default); "2.22" and "3.17" will do.
	Version string
	// ArtifactRoot is where experiments keep their artifacts; empty is
	// mlflow-artifacts:/.
	ArtifactRoot string
	// BasicAuth switches users and permissions on.
	BasicAuth bool
	// Admin is the first administrator; empty is admin.
	Admin string
	// Now is the server's clock; nil is the machine's.
	Now func() time.Time
	// Access is told of each request after its answer; nil tells nobody.
	Access func(Request)
	// Bulk fills the server.
	Bulk Bulk
}

// A Request is what an access log would tell of a call.
type Request struct {
	At     time.Time
	User   string
	Method string
	Target string // path and query
	Status int
	Bytes  int
	Agent  string
}

// A Server is a stand-in. It is safe for use by several goroutines, and answers
// one call at a time.
type Server struct {
	opt   Options
	major int

	mu          sync.Mutex
	ids         int
	requests    int
	models      map[string]*model
	experiments map[string]*experiment
	nextExp     int
	runs        map[string]*run
	runOrder    []*run
	logged      map[string]*loggedModel
	files       map[string]file
	users       map[string]*user
	nextUser    int
	roles       map[string]*role // by name, those of single users
	bulk        *bulk
}

// New makes a server with a default experiment and, with basic authentication,
// an administrator.
func New(opt Options) *Server {
	if opt.Version == "" {
		opt.Version = "3.17.2"
	}
	if opt.ArtifactRoot == "" {
		opt.ArtifactRoot = "mlflow-artifacts:"
	}
	opt.ArtifactRoot = strings.TrimRight(opt.ArtifactRoot, "/")
	if opt.Admin == "" {
		opt.Admin = "admin"
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Server{
		opt: opt, major: 3,
		models: map[string]*model{}, experiments: map[string]*experiment{}, runs: map[string]*run{},
		logged: map[string]*loggedModel{}, files: map[string]file{}, users: map[string]*user{}, roles: map[string]*role{},
	}
	if strings.HasPrefix(opt.Version, "2.") {
		s.major = 2
	}
	s.newExperiment("Default", "", nil)
	if opt.BasicAuth {
		s.newUser(opt.Admin, true)
	}
	s.bulk = newBulk(s, opt.Bulk)
	return s
}

// Requests returns how many calls were answered.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *Server) now() int64 { return s.opt.Now().UnixMilli() }

// id makes the next id: 32 hexadecimal digits, the same in each run of a play.
func (s *Server) id() string {
	s.ids++
	sum := sha256.Sum256(fmt.Appendf(nil, "mlflowsim %d", s.ids))
	return hex.EncodeToString(sum[:16])
}

// A failure is an answer that is no success.
type failure struct {
	status  int
	code    string
	message string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func notFound(format string, args ...any) error {
	return &failure{http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST", fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "INVALID_PARAMETER_VALUE", fmt.Sprintf(format, args...)}
}

func exists(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "RESOURCE_ALREADY_EXISTS", fmt.Sprintf(format, args...)}
}

// A call is one request, with its parameters from query and body.
type call struct {
	*http.Request
	user string
	args map[string]any
	raw  []byte
}

func (c *call) str(name string) string {
	switch v := c.args[name].(type) {
	case string:
		return v
	case float64:
		return fmt.Sprintf("%.0f", v)
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}

func (c *call) num(name string, otherwise int) int {
	var n int
	if _, err := fmt.Sscan(c.str(name), &n); err != nil {
		return otherwise
	}
	return n
}

func (c *call) list(name string) []any { l, _ := c.args[name].([]any); return l }

func (c *call) strs(name string) []string {
	var out []string
	for _, v := range c.list(name) {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case float64:
			out = append(out, fmt.Sprintf("%.0f", v))
		}
	}
	if s, ok := c.args[name].(string); ok {
		out = append(out, s)
	}
	return out
}

func (c *call) tags(name string) map[string]string {
	m := map[string]string{}
	for _, v := range c.list(name) {
		if o, ok := v.(map[string]any); ok {
			m[fmt.Sprint(o["key"])] = fmt.Sprint(o["value"])
		}
	}
	return m
}

// object is a JSON object.
type object = map[string]any

// ServeHTTP answers a call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	c := &call{Request: r, args: object{}}
	c.user, _, _ = r.BasicAuth()
	for k, v := range r.URL.Query() {
		if len(v) > 0 {
			c.args[k] = v[0]
		}
		if len(v) > 1 {
			var all []any
			for _, one := range v {
				all = append(all, one)
			}
			c.args[k] = all
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	if err != nil {
		http.Error(w, "body", http.StatusBadRequest)
		return
	}
	c.raw = body
	if strings.Contains(r.Header.Get("Content-Type"), "json") || len(body) > 0 && body[0] == '{' {
		var o object
		if json.Unmarshal(body, &o) == nil {
			for k, v := range o {
				c.args[k] = v
			}
		}
	}
	counted := &counter{ResponseWriter: w, status: http.StatusOK}
	s.answer(counted, c)
	if s.opt.Access != nil {
		s.opt.Access(Request{At: s.opt.Now(), User: c.user, Method: r.Method, Target: r.URL.RequestURI(), Status: counted.status, Bytes: counted.bytes, Agent: r.UserAgent()})
	}
}

// counter counts what is answered.
type counter struct {
	http.ResponseWriter
	status, bytes int
}

func (c *counter) WriteHeader(status int) { c.status = status; c.ResponseWriter.WriteHeader(status) }

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.bytes += n
	return n, err
}

func (s *Server) answer(w http.ResponseWriter, c *call) {
	if s.opt.BasicAuth && c.URL.Path != "/health" && s.users[c.user] == nil {
		http.Error(w, "You are not authenticated.", http.StatusUnauthorized)
		return
	}
	path := c.URL.Path
	switch path {
	case "/health":
		_, _ = io.WriteString(w, "OK")
		return
	case "/version":
		version := s.opt.Version
		if strings.Count(version, ".") == 1 {
			version += ".0"
		}
		_, _ = io.WriteString(w, version)
		return
	}
	for _, prefix := range []string{"/api/2.0", "/ajax-api/2.0", "/api/3.0", "/ajax-api/3.0"} {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		if key, ok := strings.CutPrefix(rest, "/mlflow-artifacts/artifacts"); ok {
			s.proxy(w, c, strings.TrimPrefix(key, "/"))
			return
		}
		if rest, ok = strings.CutPrefix(rest, "/mlflow/"); ok {
			s.rest(w, c, rest)
			return
		}
	}
	switch path {
	case "/get-artifact", "/model-versions/get-artifact":
		s.download(w, c)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, "<!doctype html>\n<title>404 Not Found</title>\n")
}

func (s *Server) rest(w http.ResponseWriter, c *call, rest string) {
	handle := routes[c.Method+" "+rest]
	if handle == nil && strings.HasPrefix(rest, "logged-models") && s.major >= 3 {
		handle = (*Server).loggedModels
	}
	if handle == nil {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<!doctype html>\n<title>404 Not Found</title>\n")
		return
	}
	answer, err := handle(s, c)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		f, ok := err.(*failure) //nolint:errorlint // made here, never wrapped
		if !ok {
			f = &failure{http.StatusInternalServerError, "INTERNAL_ERROR", err.Error()}
		}
		w.WriteHeader(f.status)
		_ = json.NewEncoder(w).Encode(object{"error_code": f.code, "message": f.message})
		return
	}
	if answer == nil {
		answer = object{}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

type handler func(*Server, *call) (object, error)

var routes map[string]handler

func init() {
	routes = map[string]handler{
		"POST registered-models/create":               (*Server).createModel,
		"GET registered-models/get":                   (*Server).getModel,
		"GET registered-models/search":                (*Server).searchModels,
		"POST registered-models/rename":               (*Server).renameModel,
		"PATCH registered-models/update":              (*Server).updateModel,
		"DELETE registered-models/delete":             (*Server).deleteModel,
		"POST registered-models/set-tag":              (*Server).tagModel,
		"DELETE registered-models/delete-tag":         (*Server).untagModel,
		"POST registered-models/alias":                (*Server).setAlias,
		"GET registered-models/alias":                 (*Server).getAlias,
		"DELETE registered-models/alias":              (*Server).deleteAlias,
		"POST model-versions/create":                  (*Server).createVersion,
		"GET model-versions/get":                      (*Server).getVersion,
		"GET model-versions/search":                   (*Server).searchVersions,
		"PATCH model-versions/update":                 (*Server).updateVersion,
		"DELETE model-versions/delete":                (*Server).deleteVersion,
		"POST model-versions/transition-stage":        (*Server).stageVersion,
		"POST model-versions/set-tag":                 (*Server).tagVersion,
		"DELETE model-versions/delete-tag":            (*Server).untagVersion,
		"POST experiments/create":                     (*Server).createExperiment,
		"GET experiments/get":                         (*Server).getExperiment,
		"GET experiments/get-by-name":                 (*Server).getExperimentByName,
		"POST experiments/search":                     (*Server).searchExperiments,
		"POST experiments/update":                     (*Server).updateExperiment,
		"POST experiments/delete":                     (*Server).deleteExperiment,
		"POST experiments/restore":                    (*Server).restoreExperiment,
		"POST experiments/set-experiment-tag":         (*Server).tagExperiment,
		"POST experiments/delete-experiment-tag":      (*Server).untagExperiment,
		"POST runs/create":                            (*Server).createRun,
		"GET runs/get":                                (*Server).getRun,
		"POST runs/search":                            (*Server).searchRuns,
		"POST runs/update":                            (*Server).updateRun,
		"POST runs/delete":                            (*Server).deleteRun,
		"POST runs/restore":                           (*Server).restoreRun,
		"POST runs/set-tag":                           (*Server).tagRun,
		"POST runs/delete-tag":                        (*Server).untagRun,
		"POST runs/log-metric":                        (*Server).logMetric,
		"POST runs/log-parameter":                     (*Server).logParam,
		"POST runs/log-batch":                         (*Server).logBatch,
		"POST runs/log-inputs":                        (*Server).logInputs,
		"GET artifacts/list":                          (*Server).listArtifacts,
		"POST users/create":                           (*Server).createUser,
		"GET users/get":                               (*Server).getUser,
		"GET users/list":                              (*Server).listUsers,
		"PATCH users/update-admin":                    (*Server).updateAdmin,
		"DELETE users/delete":                         (*Server).deleteUser,
		"GET roles/list":                              (*Server).listRoles,
		"POST users/permissions/grant":                (*Server).grant,
		"POST users/permissions/revoke":               (*Server).revoke,
		"GET server-info":                             (*Server).serverInfo,
		"POST registered-models/permissions/create":   (*Server).grantModel,
		"PATCH registered-models/permissions/update":  (*Server).grantModel,
		"DELETE registered-models/permissions/delete": (*Server).ungrantModel,
		"POST experiments/permissions/create":         (*Server).grantExperiment,
		"PATCH experiments/permissions/update":        (*Server).grantExperiment,
		"DELETE experiments/permissions/delete":       (*Server).ungrantExperiment,
	}
}

func (s *Server) serverInfo(*call) (object, error) {
	if s.major < 3 {
		return nil, notFound("no such endpoint")
	}
	return object{"store_type": "SqlStore", "workspaces_enabled": false}, nil
}
