package gitrepo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/internal/addontest"
	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
)

// A lab is a bare repository with a developer's clone of it, and a collector
// that watches it on a clock that the test turns.
type lab struct {
	t      testing.TB
	dir    string
	source string // the bare repository
	work   string // the developer's clone
	cfg    Config
	col    *Collector
	out    *collectors.Memory
	now    time.Time
	all    []row
	taken  int
	logged bytes.Buffer
	// splunk takes what is delivered and holds it against the add-on.
	splunk func(envelope []byte)
}

// A row is an event as it is delivered, with its envelope's time.
type row map[string]any

func (r row) s(field string) string {
	switch v := r[field].(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

func (r row) list(field string) []string {
	var list []string
	items, _ := r[field].([]any)
	for _, v := range items {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

func newLab(t testing.TB) *lab {
	t.Helper()
	dir := t.TempDir()
	l := &lab{
		t: t, dir: dir, source: filepath.Join(dir, "srv", "acme", "vision.git"), work: filepath.Join(dir, "work"),
		now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), splunk: addontest.Hold(t),
	}
	l.gitIn(dir, "init", "-q", "--bare", "--initial-branch=main", l.source)
	l.gitIn(l.source, "config", "uploadpack.allowFilter", "true")
	l.gitIn(l.source, "config", "receive.denyDeleteCurrent", "ignore")
	l.gitIn(dir, "init", "-q", "--initial-branch=main", l.work)
	l.git("remote", "add", "origin", l.source)
	l.cfg = Config{
		URLs: []string{l.source}, Root: filepath.Join(dir, "srv"), Dir: filepath.Join(dir, "mirrors"),
		Now: func() time.Time { return l.now }, Name: "aiwatch_git://lab",
		Log: slog.New(slog.NewTextHandler(&l.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	l.out = &collectors.Memory{Source: "aiwatch_git://lab", Collector: "0a0b0c0d", Deliver: l.deliver}
	return l
}

func (l *lab) deliver(envelope []byte) error {
	l.splunk(envelope)
	var e struct {
		Time       json.Number `json:"time"`
		Host       string      `json:"host"`
		Sourcetype string      `json:"sourcetype"`
		Event      row         `json:"event"`
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		return err
	}
	checkSchema(l.t, e.Event)
	e.Event["_time"], e.Event["_host"] = e.Time.String(), e.Host
	require.Equal(l.t, event.SourcetypeGit, e.Sourcetype)
	l.all = append(l.all, e.Event)
	return nil
}

// checkSchema fails on an operation, a field or a value that the schema has not.
func checkSchema(t testing.TB, ev row) {
	t.Helper()
	i := slices.IndexFunc(schema.Operations, func(o schema.Operation) bool {
		return o.Name == ev["operation"] && (o.Sourcetype == event.SourcetypeGit || o.Sourcetype == "aiwatch:*")
	})
	require.GreaterOrEqual(t, i, 0, "operation %v is not in the schema", ev["operation"])
	o := schema.Operations[i]
	require.Equal(t, o.Action, ev["action"], "action of %s", o.Name)
	require.Contains(t, o.AssetTypes, ev["asset_type"], "asset type of %s", o.Name)
	for _, f := range schema.Fields {
		if v, ok := ev[f.Name].(string); ok && len(f.Values) > 0 {
			require.Contains(t, f.Values, v, "value of %s", f.Name)
		}
	}
}

// git runs the developer's git in the clone.
func (l *lab) git(args ...string) string { return l.gitIn(l.work, args...) }

func (l *lab) gitIn(dir string, args ...string) string {
	l.t.Helper()
	out, err := l.tryGit(dir, nil, args...)
	require.NoError(l.t, err, "git %s: %s", strings.Join(args, " "), out)
	return out
}

func (l *lab) tryGit(dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(l.t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Dana Dev", "GIT_AUTHOR_EMAIL=dana@example.test",
		"GIT_COMMITTER_NAME=Dana Dev", "GIT_COMMITTER_EMAIL=dana@example.test",
		"GIT_AUTHOR_DATE=" + strconv.FormatInt(l.now.Unix(), 10) + " +0000",
		"GIT_COMMITTER_DATE=" + strconv.FormatInt(l.now.Unix(), 10) + " +0000",
	}, env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (l *lab) write(name, content string) {
	l.t.Helper()
	p := filepath.Join(l.work, filepath.FromSlash(name))
	require.NoError(l.t, os.MkdirAll(filepath.Dir(p), 0o700))
	require.NoError(l.t, os.WriteFile(p, []byte(content), 0o600))
}

// commit writes files (name, content in turn), commits all and returns the id.
func (l *lab) commit(message string, files ...string) string {
	l.t.Helper()
	for i := 0; i+1 < len(files); i += 2 {
		l.write(files[i], files[i+1])
	}
	l.git("add", "-A")
	l.git("commit", "-q", "--allow-empty", "-m", message)
	return l.git("rev-parse", "HEAD")
}

func (l *lab) push(args ...string) {
	l.t.Helper()
	if len(args) == 0 {
		args = []string{"--all"}
	}
	l.git(append([]string{"push", "-q", "origin"}, args...)...)
}

// tick turns the clock by a minute.
func (l *lab) tick() { l.now = l.now.Add(time.Minute) }

func (l *lab) collector() *Collector {
	l.t.Helper()
	if l.col == nil {
		col, err := New(l.cfg)
		require.NoError(l.t, err)
		l.col = col
	}
	return l.col
}

// restart forgets the process: what was not checkpointed is gone.
func (l *lab) restart() {
	l.col = nil
	l.out.Discard()
}

func (l *lab) tryPoll() ([]row, error) {
	l.t.Helper()
	l.tick()
	err := l.collector().Poll(l.t.Context(), l.out)
	if err != nil {
		l.out.Discard()
	}
	fresh := l.all[l.taken:]
	l.taken = len(l.all)
	return fresh, err
}

// poll turns the clock, polls and returns the new events.
func (l *lab) poll() []row {
	l.t.Helper()
	events, err := l.tryPoll()
	require.NoError(l.t, err)
	return events
}

// ops returns the operations of events with the last part of their asset.
func ops(events []row) []string {
	list := []string{}
	for _, e := range events {
		asset := strings.TrimPrefix(e.s("asset_id"), "git:local/acme/vision")
		if len(asset) == 41 {
			asset = asset[:8]
		}
		list = append(list, e.s("operation")+" "+asset)
	}
	return list
}

// with returns the events of one operation.
func with(events []row, operation string) []row {
	var list []row
	for _, e := range events {
		if e["operation"] == operation {
			list = append(list, e)
		}
	}
	return list
}

// one returns the only event of an operation.
func one(t testing.TB, events []row, operation string) row {
	t.Helper()
	list := with(events, operation)
	require.Len(t, list, 1, "%s in %v", operation, ops(events))
	return list[0]
}

func TestFirstContactIsABaselineAndChangesFollow(t *testing.T) {
	l := newLab(t)
	first := l.commit("first", "config.json", `{"a":1}`, "main.py", "x")
	l.commit("second", "model.safetensors", "weights")
	l.git("tag", "v1")
	l.git("checkout", "-q", "-b", "feature")
	l.commit("on a branch", "adapter.pt", "x")
	l.push()
	l.push("--tags")
	second := l.git("rev-parse", "main")
	events := l.poll()
	require.Equal(t, []string{
		"inventory ", "inventory @refs/heads/feature", "inventory @refs/heads/main", "inventory @refs/tags/v1",
		"inventory @" + first[:7], "inventory @" + second[:7],
	}, ops(events))
	require.Equal(t, "git:local/acme/vision", events[0].s("asset_id"))
	require.Empty(t, events[4].s("user"))
	require.Empty(t, l.poll(), "nothing changed")

	l.git("checkout", "-q", "main")
	third := l.commit("third", "config.json", `{"a":2,"auto_map":{"AutoModel":"x.y"}}`, "notes.txt", "n")
	l.push()
	events = l.poll()
	require.Equal(t, []string{"commit.added @" + third[:7], "file.modified //config.json", "ref.updated @refs/heads/main"}, ops(events))
	commit, file, ref := events[0], events[1], events[2]
	require.Equal(t, "true", commit.s("protected"))
	require.Equal(t, "true", commit.s("direct"))
	require.Equal(t, "dana@example.test", commit.s("user"))
	require.Equal(t, "claimed", commit.s("user_confidence"))
	require.Equal(t, []string{"a", "auto_map", "auto_map.AutoModel"}, file.list("json_keys"))
	require.Equal(t, "config", file.s("asset_role"))
	require.Equal(t, second, ref.s("old_value"))
	require.Equal(t, third, ref.s("new_value"))
	require.Equal(t, "1772442180", ref.s("_time"))
	require.Equal(t, "1772442120", ref.s("not_before"))
	require.Empty(t, l.poll())

	l.git("merge", "-q", "--no-ff", "--no-edit", "feature")
	l.push()
	events = l.poll()
	merge := l.git("rev-parse", "HEAD")
	require.Equal(t, []string{
		"commit.added @" + l.git("rev-parse", "feature")[:7], "file.added //adapter.pt",
		"commit.added @" + merge[:7], "file.added //adapter.pt", "ref.updated @refs/heads/main",
	}, ops(events))
	require.Equal(t, "false", events[0].s("direct"))
	require.Equal(t, "true", events[2].s("merge"))
	require.Equal(t, "false", events[3].s("merge_only"))
}

func TestRewrittenAndDeletedHistory(t *testing.T) {
	l := newLab(t)
	base := l.commit("base", "model.pt", "1")
	lost := l.commit("lost", "model.pt", "2")
	l.push()
	l.poll()
	l.git("reset", "-q", "--hard", base)
	l.tick()
	kept := l.commit("other", "model.pt", "3")
	l.push("--force", "main")
	events := l.poll()
	require.Equal(t, []string{
		"commit.added @" + kept[:7], "file.modified //model.pt", "ref.force_pushed @refs/heads/main", "commit.dropped @" + lost[:7],
	}, ops(events))
	require.Equal(t, kept, events[3].s("dropped_by"))

	// And back again, and again: each time told, each time under its own id.
	ids := map[string]bool{}
	for i := range 4 {
		to := []string{lost, kept}[i%2]
		l.push("--force", to+":refs/heads/main")
		events = l.poll()
		require.Equal(t, []string{"ref.force_pushed @refs/heads/main", "commit.dropped @" + []string{kept, lost}[i%2][:7]}, ops(events))
		for _, e := range events {
			require.False(t, ids[e.s("event_id")])
			ids[e.s("event_id")] = true
		}
	}
	l.push("main:refs/heads/side", ":refs/heads/main")
	require.Equal(t, []string{"ref.deleted @refs/heads/main", "ref.created @refs/heads/side"}, ops(l.poll()))
}
