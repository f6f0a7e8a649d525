package counterpart

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// GitServer serves repositories over HTTP by `git http-backend`, as a web server
// in front of it would: it asks for a password first, and writes an access log.
// Large files go over Git LFS's batch API.
type GitServer struct {
	URL      string // without user and password
	Username string
	Password string
	// Dir holds the bare repositories, NAME.git each.
	Dir string
	// AccessLog is the file with a line for each request, written at its end, in
	// the combined format; the user is "-" where none was accepted.
	AccessLog string

	users   map[string]string
	objects string // folder of LFS objects by their SHA-256
	handler http.Handler
	log     *os.File
	logMu   sync.Mutex
}

// GitHTTP starts a server for Git over HTTP on loopback. users are names and
// passwords of further people; Username and Password are always there.
func GitHTTP(tb testing.TB, users map[string]string) *GitServer {
	tb.Helper()
	wanted(tb, "git")
	out, err := exec.CommandContext(tb.Context(), "git", "--exec-path").Output()
	if err != nil {
		absent(tb, "git", err.Error())
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		absent(tb, "git", err.Error())
	}

	dir := tb.TempDir()
	g := &GitServer{
		Username: "dev", Password: "dev-password",
		Dir:       filepath.Join(dir, "repositories"),
		AccessLog: filepath.Join(dir, "access.log"),
		users:     map[string]string{},
		objects:   filepath.Join(dir, "lfs"),
	}
	for name, password := range users {
		g.users[name] = password
	}
	g.users[g.Username] = g.Password
	for _, folder := range []string{g.Dir, g.objects} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	if g.log, err = os.OpenFile(g.AccessLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = g.log.Close() })

	mux := http.NewServeMux()
	mux.HandleFunc("POST /{repository}/info/lfs/objects/batch", g.lfsBatch)
	mux.HandleFunc("PUT /{repository}/info/lfs/objects/{oid}", g.lfsPut)
	mux.HandleFunc("GET /{repository}/info/lfs/objects/{oid}", g.lfsGet)
	mux.HandleFunc("/", g.serveGit(backend))
	g.handler = mux
	server := httptest.NewServer(g)
	tb.Cleanup(server.Close)
	g.URL = server.URL
	return g
}

// NewRepository makes an empty bare repository with the default branch main and
// returns its URL.
func (g *GitServer) NewRepository(tb testing.TB, name string) string {
	tb.Helper()
	dir := filepath.Join(g.Dir, name+".git")
	Git(tb, g.Dir, "init", "--quiet", "--bare", "--initial-branch=main", dir)
	Git(tb, dir, "config", "http.receivepack", "true")
	return g.URL + "/" + name + ".git"
}

// As puts the user's name and password into a URL of this server.
func (g *GitServer) As(user, url string) string {
	return strings.Replace(url, "http://", "http://"+user+":"+g.users[user]+"@", 1)
}

// ServeHTTP asks for the password, hands on and logs.
func (g *GitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &recorder{ResponseWriter: w, status: http.StatusOK}
	user := "-"
	name, password, ok := r.BasicAuth()
	if expected, known := g.users[name]; ok && known && expected == password {
		user = name
		g.handler.ServeHTTP(answer, r)
	} else {
		answer.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(answer, "who are you?", http.StatusUnauthorized)
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	g.logMu.Lock()
	defer g.logMu.Unlock()
	// A line that can't be written shows as one that is missed.
	_, _ = fmt.Fprintf(g.log, "%s - %s [%s] %q %d %d %q %q\n", host, user, time.Now().Format("02/Jan/2006:15:04:05 -0700"),
		r.Method+" "+r.URL.RequestURI()+" "+r.Proto, answer.status, answer.written, orDash(r.Referer()), orDash(r.UserAgent()))
}

// serveGit runs git http-backend for each request.
func (g *GitServer) serveGit(backend string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		handler := cgi.Handler{
			Path: backend,
			Dir:  g.Dir,
			Env: append(
				gitEnvironment(g.Dir), "GIT_PROJECT_ROOT="+g.Dir, "GIT_HTTP_EXPORT_ALL=1",
				"REMOTE_USER="+user, "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"),
			),
			Stderr: io.Discard,
		}
		handler.ServeHTTP(w, r)
	}
}

// lfsObject is an object in LFS's batch API.
type lfsObject struct {
	OID     string               `json:"oid"`
	Size    int64                `json:"size"`
	Actions map[string]lfsAction `json:"actions,omitempty"`
	Error   *lfsError            `json:"error,omitempty"`
}

type lfsAction struct {
	Href   string            `json:"href"`
	Header map[string]string `json:"header,omitempty"`
}

type lfsError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// lfsBatch answers where objects are to be got from or put to: here.
// Specification: git-lfs, docs/api/batch.md.
func (g *GitServer) lfsBatch(w http.ResponseWriter, r *http.Request) {
	var batch struct {
		Operation string      `json:"operation"`
		Objects   []lfsObject `json:"objects"`
	}
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	for i := range batch.Objects {
		object := &batch.Objects[i]
		_, err := os.Stat(filepath.Join(g.objects, filepath.Base(object.OID)))
		action := lfsAction{
			Href:   g.URL + "/" + r.PathValue("repository") + "/info/lfs/objects/" + object.OID,
			Header: map[string]string{"Authorization": r.Header.Get("Authorization")},
		}
		switch {
		case batch.Operation == "upload" && err != nil:
			object.Actions = map[string]lfsAction{"upload": action}
		case batch.Operation == "download" && err == nil:
			object.Actions = map[string]lfsAction{"download": action}
		case batch.Operation == "download":
			object.Error = &lfsError{Code: http.StatusNotFound, Message: "no such object"}
		}
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	// An answer that can't be written is the client's to notice.
	_ = json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": batch.Objects})
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (g *GitServer) lfsPut(w http.ResponseWriter, r *http.Request) {
	oid := r.PathValue("oid")
	body, err := io.ReadAll(r.Body)
	if sum := sha256.Sum256(body); err != nil || hex.EncodeToString(sum[:]) != oid {
		http.Error(w, "the object is not what its name says", http.StatusUnprocessableEntity)
		return
	}
	if err := os.WriteFile(filepath.Join(g.objects, oid), body, 0o600); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (g *GitServer) lfsGet(w http.ResponseWriter, r *http.Request) {
	oid := r.PathValue("oid")
	if !sha256Hex.MatchString(oid) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeFile(w, r, filepath.Join(g.objects, oid))
}

// GitLFS says that a test needs the git-lfs client: Git finds it by itself.
func GitLFS(tb testing.TB) {
	tb.Helper()
	wanted(tb, "git-lfs")
	if _, err := exec.LookPath("git-lfs"); err != nil {
		absent(tb, "git-lfs", err.Error()+": run tools/tools.sh install git-lfs as root, or install it")
	}
}

// Git runs git in dir, without the configuration of who runs the test and
// without ever asking a question, and returns its output, trimmed. The test
// fails when git does.
func Git(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	out, err := TryGit(tb, dir, args...)
	if err != nil {
		tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryGit is Git for commands that may fail.
func TryGit(tb testing.TB, dir string, args ...string) (string, error) {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), "git", args...)
	command.Dir = dir
	command.Env = append(
		gitEnvironment(dir),
		"GIT_AUTHOR_NAME=Dev Eloper", "GIT_AUTHOR_EMAIL=dev@example.test",
		"GIT_COMMITTER_NAME=Dev Eloper", "GIT_COMMITTER_EMAIL=dev@example.test",
	)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	return strings.TrimSpace(out.String()), err
}

// GitHistory fills a bare repository with a history of n commits in 200 folders
// on main; one of ten commits touches a file of an AI-asset class, one of twenty
// merges.
func GitHistory(tb testing.TB, dir string, n int) {
	tb.Helper()
	var s bytes.Buffer
	fmt.Fprintf(&s, "reset refs/heads/main\n")
	for i := range n {
		message := fmt.Sprintf("change number %d of a generated history", i)
		date := 1700000000 + i*60
		fmt.Fprintf(&s, "commit refs/heads/main\nmark :%d\nauthor Dev %d <dev%d@example.test> %d +0000\ncommitter Dev <dev@example.test> %d +0000\ndata %d\n%s\n",
			i+1, i%40, i%40, date, date, len(message), message)
		if i > 0 {
			fmt.Fprintf(&s, "from :%d\n", i)
		}
		if i%20 == 19 {
			fmt.Fprintf(&s, "merge :%d\n", i-9)
		}
		for j := range 3 {
			name := fmt.Sprintf("src/d%d/f%d.go", (i*7+j)%200, (i+j)%50)
			if i%10 == 0 && j == 0 {
				name = fmt.Sprintf("models/m%d.safetensors", i%30)
			}
			content := fmt.Sprintf("content %d %d\n", i, j)
			fmt.Fprintf(&s, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
		}
	}
	gitStdin(tb, dir, &s, "fast-import", "--quiet")
}

// GitBranches makes n branches of 50 teams, all at one commit.
func GitBranches(tb testing.TB, dir, commit string, n int) {
	tb.Helper()
	var s bytes.Buffer
	for i := range n {
		fmt.Fprintf(&s, "create refs/heads/team%d/branch-%d %s\n", i%50, i, commit)
	}
	gitStdin(tb, dir, &s, "update-ref", "--stdin")
	Git(tb, dir, "pack-refs", "--all")
}

func gitStdin(tb testing.TB, dir string, stdin io.Reader, args ...string) {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), "git", args...)
	command.Dir, command.Env, command.Stdin = dir, gitEnvironment(dir), stdin
	if out, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// gitEnvironment is an environment in which nothing outside a repository
// configures Git.
func gitEnvironment(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C.UTF-8", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status  int
	written int64
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	r.written += int64(n)
	return n, err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
