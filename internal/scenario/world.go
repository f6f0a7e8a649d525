package scenario

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/internal/mlflowsim"
)

// A world is the sources of one play, in a folder of its own: log objects, the
// MLflow stand-in, bare repositories, and the logs of proxy, forge and hook.
type world struct {
	scenario *Scenario
	dir      string
	now      func() time.Time
	warn     func(a *act, format string, args ...any)

	mlflow *mlflowsim.Server // nil: a real server
	url    string            // of the one or the other
	front  http.RoundTripper // before it, for collectors and acts

	saved   map[string]string // variables of acts
	logs    map[string]*os.File
	deliver delivery
	trails  int

	// changes is told that a source is about to change, and by which line of a
	// log.
	changes func(ctx context.Context, source, line string) error
}

// What of the world can change, for polls that are put off: the same words as
// the acts that change it.
const (
	sourceS3     = kindS3
	sourceMLflow = kindMLflow
	sourceGit    = kindGit
	sourceAccess = kindAccess
	sourceForge  = kindForge
	sourceHook   = kindHook
)

func newWorld(s *Scenario, dir string, now func() time.Time, admins []string, grants bool, server *Server) (*world, error) {
	w := &world{scenario: s, dir: dir, now: now, url: "http://" + mlflowHost, saved: map[string]string{}, logs: map[string]*os.File{}, changes: func(context.Context, string, string) error { return nil }}
	for _, sub := range []string{"s3", "git", "logs", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("make the sources: %w", err)
		}
	}
	for kind, name := range logNames {
		f, err := os.OpenFile(filepath.Join(dir, "logs", name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("make the sources: %w", err)
		}
		w.logs[kind] = f
	}
	if server != nil {
		w.url, w.front = strings.TrimRight(server.URL, "/"), server.Carry
		return w, nil
	}
	root := s.ArtifactRoot
	admin := ""
	if len(admins) > 0 {
		admin = admins[0]
	}
	w.mlflow = mlflowsim.New(mlflowsim.Options{
		Version: s.MLflow, ArtifactRoot: root, BasicAuth: grants, Admin: admin, Now: now,
	})
	for _, name := range admins[min(1, len(admins)):] {
		w.mlflow.AddUser(name, true)
	}
	handler := http.Handler(w.mlflow)
	if grants {
		handler = asAdmin(w.mlflow, cmp.Or(admin, "admin"))
	}
	w.front = &inProcess{host: mlflowHost, handler: handler}
	return w, nil
}

// mlflowHost is where the stand-in seems to be.
const mlflowHost = "127.0.0.1:5000"

// asAdmin lets an anonymous reader of a server with accounts see what its
// administrator sees: an operator who set no credentials reads a server whose
// accounts somebody else proves.
func asAdmin(server http.Handler, admin string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			r.SetBasicAuth(admin, "")
		}
		server.ServeHTTP(w, r)
	})
}

func (w *world) close() error {
	var errs []error
	for _, f := range w.logs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

var logNames = map[string]string{kindAccess: "access.log", kindForge: "forge.ndjson", kindHook: "hook.ndjson"}

// variables are what ${...} in inputs.conf and in acts stands for.
func (w *world) variables() map[string]string {
	logs := func(kind string) string { return filepath.Join(w.dir, "logs", logNames[kind]) }
	return map[string]string{
		"S3": filepath.Join(w.dir, "s3"), "MLFLOW": w.url, "GIT": filepath.Join(w.dir, "git"),
		"ACCESS_LOG": logs(kindAccess), "FORGE_LOG": logs(kindForge), "HOOK_LOG": logs(kindHook),
		"SCENARIO": w.scenario.Dir,
		"CLOCK":    w.now().UTC().Format("02/Jan/2006:15:04:05 -0700"), "CLOCK_MS": strconv.FormatInt(w.now().UnixMilli(), 10),
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// fill puts the values of variables into a text; a name that nothing has is
// left as it is, for it may be what the line is about.
func fill(text string, values ...map[string]string) string {
	if !strings.Contains(text, "${") {
		return text
	}
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		for _, m := range values {
			if value, ok := m[v[2:len(v)-1]]; ok {
				return value
			}
		}
		return v
	})
}

// fill puts what earlier acts saved into a text of the act a.
func (w *world) fill(a *act, text string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	text = fill(text, w.saved, w.variables())
	for _, m := range variable.FindAllStringSubmatch(text, -1) {
		if w.scenario.uses.saved[m[1]] {
			return "", Problem{a.file, a.number, fmt.Sprintf("${%s} is used before an act has saved it", m[1])}
		}
	}
	return text, nil
}

// do does one act that is none of collector and index.
func (w *world) do(ctx context.Context, a *act) error {
	switch a.kind {
	case kindS3, kindCloudTrail:
		line, err := w.fill(a, a.line)
		if err != nil {
			return err
		}
		w.deliver.add(record{at: a.at.Add(a.delay), line: line, trail: a.kind == kindCloudTrail})
		return nil
	case kindMLflow:
		if err := w.changes(ctx, sourceMLflow, ""); err != nil {
			return err
		}
		if a.call.Put != nil {
			return w.put(a)
		}
		return w.call(ctx, a)
	case kindGit:
		if err := w.changes(ctx, sourceGit, ""); err != nil {
			return err
		}
		return w.push(ctx, a)
	default:
		line, err := w.fill(a, a.line)
		if err != nil {
			return err
		}
		if err := w.changes(ctx, a.kind, line); err != nil {
			return err
		}
		if _, err := w.logs[a.kind].WriteString(line + "\n"); err != nil {
			return fmt.Errorf("write the %s log: %w", a.kind, err)
		}
		path := filepath.Join(w.dir, "logs", logNames[a.kind])
		return os.Chtimes(path, a.at, a.at)
	}
}

// A record is one that S3 or CloudTrail still has to deliver.
type record struct {
	at    time.Time
	order int
	line  string
	trail bool
}

// delivery holds records until their time, in a heap.
type delivery struct {
	heap  []record
	count int
}

func (r record) before(o record) bool {
	return r.at.Before(o.at) || r.at.Equal(o.at) && r.order < o.order
}

func (d *delivery) add(r record) {
	r.order = d.count
	d.count++
	d.heap = append(d.heap, r)
	for i := len(d.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !d.heap[i].before(d.heap[parent]) {
			break
		}
		d.heap[i], d.heap[parent] = d.heap[parent], d.heap[i]
		i = parent
	}
}

// next takes the record that comes first, if it came by now.
func (d *delivery) next(now time.Time) (r record, ok bool) {
	if len(d.heap) == 0 || d.heap[0].at.After(now) {
		return r, false
	}
	r = d.heap[0]
	last := len(d.heap) - 1
	d.heap[0] = d.heap[last]
	d.heap[last] = record{}
	d.heap = d.heap[:last]
	for i := 0; ; {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(d.heap) && d.heap[child].before(d.heap[least]) {
				least = child
			}
		}
		if least == i {
			return r, true
		}
		d.heap[i], d.heap[least] = d.heap[least], d.heap[i]
		i = least
	}
}

// deliverUntil writes the log objects of what came by now: server access log
// lines into the object of their hour of delivery, and CloudTrail records into
// one file.
func (w *world) deliverUntil(ctx context.Context, now time.Time) error {
	var hour time.Time
	var lines bytes.Buffer
	var last time.Time
	var trail []json.RawMessage
	var trailAt time.Time
	write := func() error {
		if lines.Len() == 0 {
			return nil
		}
		defer lines.Reset()
		return w.logObject(ctx, hour, last, lines.Bytes())
	}
	for {
		r, ok := w.deliver.next(now)
		if !ok {
			break
		}
		if r.trail {
			trail, trailAt = append(trail, json.RawMessage(r.line)), r.at
			continue
		}
		if h := r.at.Truncate(time.Hour); !h.Equal(hour) {
			if err := write(); err != nil {
				return err
			}
			hour = h
		}
		last = r.at
		lines.WriteString(r.line)
		lines.WriteByte('\n')
	}
	if err := write(); err != nil {
		return err
	}
	if len(trail) == 0 {
		return nil
	}
	return w.trailObject(ctx, trailAt, trail)
}

// logObject adds lines to the log object of an hour. S3 would write several;
// one that grows is the same to who reads it.
func (w *world) logObject(ctx context.Context, hour, last time.Time, lines []byte) error {
	if err := w.changes(ctx, sourceS3, ""); err != nil {
		return err
	}
	path := filepath.Join(w.dir, "s3", hour.Format("2006-01-02-15-04-05")+"-"+fmt.Sprintf("%016X", uint64(hour.Unix())*0x9E3779B97F4A7C15))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write a log object: %w", err)
	}
	_, err = f.Write(lines)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write a log object: %w", err)
	}
	return os.Chtimes(path, last, last)
}

func (w *world) trailObject(ctx context.Context, at time.Time, records []json.RawMessage) error {
	if err := w.changes(ctx, sourceS3, ""); err != nil {
		return err
	}
	var first struct {
		Account string `json:"recipientAccountId"`
		Region  string `json:"awsRegion"`
	}
	// A record that says nothing of it is filed under the documentation's account.
	_ = json.Unmarshal(records[0], &first)
	if !regexp.MustCompile(`^\d{12}$`).MatchString(first.Account) {
		first.Account = "123456789012"
	}
	if !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(first.Region) {
		first.Region = "us-east-1"
	}
	w.trails++
	dir := filepath.Join(w.dir, "s3", "AWSLogs", first.Account, "CloudTrail", first.Region, at.Format("2006"), at.Format("01"), at.Format("02"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write a CloudTrail file: %w", err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := json.NewEncoder(z).Encode(map[string]any{"Records": records})
	if err = errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("write a CloudTrail file: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s_CloudTrail_%s_%sZ_%016X.json.gz", first.Account, first.Region, at.Format("20060102T1504"), uint64(w.trails)*0x9E3779B97F4A7C15))
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write a CloudTrail file: %w", err)
	}
	return os.Chtimes(path, at, at)
}

// put stores an artifact in the bucket.
func (w *world) put(a *act) error {
	p := a.call.Put
	key, err := w.fill(a, p.Path)
	if err != nil {
		return err
	}
	key = w.belowRoot(key)
	if w.mlflow == nil {
		return Problem{a.file, a.number, "a real server's artifacts are its own: nothing is put there"}
	}
	if p.Text == nil {
		w.mlflow.Put(key, nil, *p.Size)
		return nil
	}
	text, err := w.fill(a, *p.Text)
	if err != nil {
		return err
	}
	w.mlflow.Put(key, append([]byte{}, text...), 0)
	return nil
}

// belowRoot is the part of a key of the artifact bucket that lies below the
// server's artifact root.
func (w *world) belowRoot(key string) string {
	root := strings.TrimPrefix(w.scenario.ArtifactRoot, "s3://")
	bucket, prefix, _ := strings.Cut(root, "/")
	if rest, ok := strings.CutPrefix(key, "s3://"+bucket+"/"); ok {
		key = rest
	}
	key = strings.TrimPrefix(key, "/")
	if prefix != "" {
		key = strings.TrimPrefix(key, prefix+"/")
	}
	return key
}

// call makes a call on the stand-in, as MLflow's clients do.
func (w *world) call(ctx context.Context, a *act) error {
	c := a.call
	path, err := w.fillInto(a, c.Path, url.PathEscape)
	if err != nil {
		return err
	}
	body, err := w.fillInto(a, string(c.Body), jsonEscape)
	if err != nil {
		return err
	}
	if c.Method == http.MethodGet && body != "" {
		// The clients send what a GET asks for as its query.
		if path, err = withQuery(path, body); err != nil {
			return Problem{a.file, a.number, err.Error()}
		}
		body = ""
	}
	as, err := w.fill(a, c.As)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, c.Method, w.url+path, strings.NewReader(body))
	if err != nil {
		return Problem{a.file, a.number, fmt.Sprintf("the call can't be made: %s", err)}
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if as != "" {
		r.SetBasicAuth(as, "")
		if w.mlflow != nil {
			w.mlflow.Welcome(as)
		}
	}
	answer, err := w.front.RoundTrip(r)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return Problem{a.file, a.number, fmt.Sprintf("the call can't be made: %s", err)}
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("read MLflow's answer: %w", err)
	}
	if w.mlflow != nil && answer.StatusCode == http.StatusNotFound && !json.Valid(text) {
		return Problem{a.file, a.number, fmt.Sprintf("MLflow %s has no %s %s, or the stand-in does not know it", w.scenario.MLflow, c.Method, path)}
	}
	if answer.StatusCode/100 != 2 {
		if w.mlflow == nil {
			return Problem{a.file, a.number, fmt.Sprintf("%s %s is refused by %s with %d: %s", c.Method, path, w.url, answer.StatusCode, shortened(text))}
		}
		if len(c.Save) > 0 {
			return Problem{a.file, a.number, fmt.Sprintf("%s %s is refused with %d, and nothing can be saved: %s", c.Method, path, answer.StatusCode, shortened(text))}
		}
		w.warn(a, "%s %s is refused with %d: %s", c.Method, path, answer.StatusCode, shortened(text))
		return nil
	}
	for name, where := range c.Save {
		value, ok := lookInto(text, where)
		if !ok {
			return Problem{a.file, a.number, fmt.Sprintf("the answer has no %s to be saved as %s: %s", where, name, shortened(text))}
		}
		w.saved[name] = value
	}
	return nil
}

// fillInto fills a text in which values must be escaped.
func (w *world) fillInto(a *act, text string, escape func(string) string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	escaped := map[string]string{}
	for _, values := range []map[string]string{w.variables(), w.saved} {
		for k, v := range values {
			escaped[k] = escape(v)
		}
	}
	return w.fill(a, fill(text, escaped))
}

func jsonEscape(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s // a string always encodes
	}
	return string(b[1 : len(b)-1])
}

// withQuery adds the members of a JSON object to a path's query.
func withQuery(path, body string) (string, error) {
	var o map[string]any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		return "", fmt.Errorf("the body of a GET is a JSON object, whose members become its query: %w", err)
	}
	u, err := url.Parse(path)
	if err != nil {
		return "", err
	}
	q := u.Query()
	for k, v := range o {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, one := range list {
			q.Add(k, fmt.Sprint(one))
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// lookInto finds a value in an answer: run.info.run_id, files.0.path.
func lookInto(answer []byte, where string) (string, bool) {
	var v any
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return "", false
	}
	for _, step := range strings.Split(where, ".") {
		switch n := v.(type) {
		case map[string]any:
			v = n[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(n) {
				return "", false
			}
			v = n[i]
		default:
			return "", false
		}
	}
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

func shortened(b []byte) string {
	if b = bytes.TrimSpace(b); len(b) > 300 {
		return string(b[:300]) + "..."
	}
	return string(b)
}

// prepare makes the repositories that acts will push to, as a forge makes one
// before its first push.
func (w *world) prepare(ctx context.Context) error {
	repos := make([]string, 0, len(w.scenario.uses.repos))
	for repo := range w.scenario.uses.repos {
		repos = append(repos, repo)
	}
	slices.Sort(repos)
	for _, repo := range repos {
		dir := w.repository(repo)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make repository %s: %w", repo, err)
		}
		if _, err := w.git(ctx, nil, "init", "--quiet", "--bare", "--initial-branch=main", "--template=", dir); err != nil {
			return fmt.Errorf("make repository %s: %w", repo, err)
		}
	}
	return nil
}

func (w *world) repository(repo string) string {
	return filepath.Join(w.dir, "git", filepath.FromSlash(repo)+".git")
}

// push imports a stream or a bundle.
func (w *world) push(ctx context.Context, a *act) error {
	p := a.push
	dir := w.repository(p.Repo)
	if p.Bundle != "" {
		if text, err := w.git(ctx, nil, "-C", dir, "fetch", "--quiet", "--prune", "--force", "--no-write-fetch-head", "--no-auto-maintenance", w.scenario.file(p.Bundle), "+refs/*:refs/*"); err != nil {
			return gitProblem(ctx, a, "the bundle "+p.Bundle+" can't be taken", text, err)
		}
		return nil
	}
	arguments := []string{"-C", dir, "fast-import", "--quiet"}
	if p.Force == nil || *p.Force {
		arguments = append(arguments, "--force")
	}
	var in io.Reader
	if p.Text != nil {
		text, err := w.fill(a, *p.Text)
		if err != nil {
			return err
		}
		in = strings.NewReader(text)
	} else {
		f, err := os.Open(w.scenario.file(p.Stream))
		if err != nil {
			return Problem{a.file, a.number, err.Error()}
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	if text, err := w.git(ctx, in, arguments...); err != nil {
		return gitProblem(ctx, a, "git fast-import refuses the stream", text, err)
	}
	return nil
}

func gitProblem(ctx context.Context, a *act, what, text string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("run git: %w", err)
	}
	// Where fast-import gave up stands in its first lines; a report follows.
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\nfast-import: dumping crash report")
	return Problem{a.file, a.number, what + ": " + shortened([]byte(text))}
}

// git runs git with nobody's configuration and returns what it said of its
// troubles.
func (w *world) git(ctx context.Context, in io.Reader, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", arguments...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"), "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=file",
	}
	cmd.Stdin = in
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	return trouble.String(), err
}
