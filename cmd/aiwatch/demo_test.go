package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/demo"
	"aiwatch/internal/detection"
	"aiwatch/internal/mlflowsim"
	"aiwatch/internal/scenario"
)

// emptyMachine is a home, a folder for temporary files and a working folder with
// nothing in them, and a check that this is still so.
func emptyMachine(t *testing.T) (work string, env []string, untouched func()) {
	t.Helper()
	dir := t.TempDir()
	folders := map[string]string{"HOME": "home", "TMPDIR": "tmp", "": "work"}
	for name, folder := range folders {
		path := filepath.Join(dir, folder)
		require.NoError(t, os.Mkdir(path, 0o700))
		if name != "" {
			env = append(env, name+"="+path)
		}
	}
	return filepath.Join(dir, "work"), env, func() {
		t.Helper()
		for _, folder := range folders {
			entries, err := os.ReadDir(filepath.Join(dir, folder))
			require.NoError(t, err)
			require.Empty(t, entries, folder)
		}
	}
}

// ends runs the program to its good end, and returns what it printed.
func ends(t *testing.T, work string, env []string, args ...string) (text, trouble string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), builtProgram(t), args...)
	cmd.Dir, cmd.Env = work, append(os.Environ(), env...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, said.String())
	return string(out), said.String()
}

// demoTells runs the demo, and returns what it tells on a terminal.
func demoTells(t *testing.T, work string, env []string, args ...string) string {
	t.Helper()
	text, trouble := ends(t, work, env, append([]string{"demo"}, args...)...)
	require.Empty(t, trouble)
	t.Log(text)
	for _, line := range strings.Split(text, "\n") {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
	}
	return text
}

// TestDemo is the demo as a newcomer sees it, in an empty home.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a week")
	}
	work, env, untouched := emptyMachine(t)
	text := demoTells(t, work, env)
	require.Regexp(t, `   [0-9]{4,} events arrived at http://127\.0\.0\.1:[0-9]+: none lost, none sent twice `, text)
	require.Contains(t, text, "What was found: 20 findings, 18 of them name robin (Robin Aster, ")
	require.Contains(t, text, "19 of 43 detections fired: 1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 21, 22, 28, 29, 30, 32, 35, 38.\nAccused: robin.\n")
	require.Contains(t, text, "\nWhat a perimeter would have seen: nothing\n")
	require.Regexp(t, `evidence: Amazon S3, 3 log records; who did it: authenticated`, text)
	require.Regexp(t, `Tue 01:30  jonas +alias.set mlflow:prod/models/vision/5`, text)
	untouched()
}

// appWith writes the built-in app with one of its detections.
func appWith(t *testing.T, title string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "app")
	app, err := detection.FS()
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, app))
	path := filepath.Join(dir, "default", "savedsearches.conf")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var kept []string
	for stanza := range strings.SplitSeq(string(text), "\n[") {
		if name, _, _ := strings.Cut(stanza, "]"); !strings.HasSuffix(name, " - Rule") || name == "AI Asset - "+title+" - Rule" {
			kept = append(kept, stanza)
		}
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(kept, "\n[")), 0o600))
	return dir
}

// TestAKeptDemo keeps what a demo is made of, and tries what it says to try. Its
// lines are made from findings: with one detection there is one line.
func TestAKeptDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a week")
	}
	work, env, _ := emptyMachine(t)
	run := func(args ...string) string {
		t.Helper()
		text, _ := ends(t, work, env, args...)
		return text
	}
	text := run("demo", "--keep", "--app", appWith(t, "Promoted by its own trainer"))
	require.Contains(t, text, "What was found: 1 finding, 1 of them name robin ")
	require.Contains(t, text, "\n1 of 1 detections fired: 7.\nAccused: robin.\n")
	require.NotContains(t, text, "detection 11")
	for _, name := range []string{
		"audit.html", "events.ndjson", "findings.ndjson", "lookups/aiwatch_leavers.csv", "sources/s3", "sources/git/acme/vision.git/HEAD",
		"sources/logs/access.log", "conf/local/inputs.conf", "state/queue.db", "scenario/scenario.yml",
	} {
		_, err := os.Stat(filepath.Join(work, "aiwatch-demo", filepath.FromSlash(name)))
		require.NoError(t, err)
	}
	_, next, found := strings.Cut(text, "What to try next:\n")
	require.True(t, found)
	tried := 0
	for _, line := range strings.Split(next, "\n") {
		command, ok := strings.CutPrefix(line, "  aiwatch ")
		if !ok {
			continue
		}
		tried++
		var args []string
		for i, part := range strings.Split(command, "'") {
			if i%2 == 1 {
				args = append(args, part)
			} else {
				args = append(args, strings.Fields(part)...)
			}
		}
		require.NotEmpty(t, run(args...), command)
	}
	require.Equal(t, 4, tried)
	report, err := os.ReadFile(filepath.Join(work, "aiwatch-demo", "audit", auditJSON))
	require.NoError(t, err)
	var audited struct{ Findings []any }
	require.NoError(t, json.Unmarshal(report, &audited))
	require.Len(t, audited.Findings, 1)
}

func TestADemoWithoutGit(t *testing.T) {
	work, env, untouched := emptyMachine(t)
	cmd := exec.CommandContext(t.Context(), builtProgram(t), "demo")
	cmd.Dir, cmd.Env = work, append(env, "PATH="+work)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, exitUsage, cmd.ProcessState.ExitCode())
	require.Contains(t, string(out), "finds no git; install it")
	untouched()
}

// TestAStoppedDemoLeavesNothing stops the demo while it collects.
func TestAStoppedDemoLeavesNothing(t *testing.T) {
	_, env, untouched := emptyMachine(t)
	p := startProgram(t, env, "demo")
	eventually(t, "the demo collects", func() bool { return strings.Contains(p.out.String(), "\n2  ") })
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	<-p.exited
	require.Equal(t, exitFailed, p.cmd.ProcessState.ExitCode())
	require.Equal(t, "aiwatch: the demo was stopped before its end\n", p.log.String())
	untouched()
}

// mlflowAt is a stand-in for an MLflow server whose clock is ahead of ours and
// shows that time of the day when it is started.
func mlflowAt(t *testing.T, clock time.Duration) (url string) {
	t.Helper()
	ahead := time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(24*time.Hour + clock))
	now := func() time.Time { return time.Now().Add(ahead) }
	sim := mlflowsim.New(mlflowsim.Options{Version: "3.17", ArtifactRoot: "s3://theirs", Now: now})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", now().UTC().Format(http.TimeFormat))
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// modelsAt are the registered models of a server.
func modelsAt(t *testing.T, url string) (models []any) {
	t.Helper()
	answer, err := http.Get(url + "/api/2.0/mlflow/registered-models/search") //nolint:noctx // of this process
	require.NoError(t, err)
	defer answer.Body.Close()
	var told map[string][]any
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&told))
	return told["registered_models"]
}

// TestADemoOnAServer tells MLflow's part to a server, a little before midnight by
// the server's clock: it is dated by that, and the week before is as it always is,
// but for what needs an MLflow that was watched then.
func TestADemoOnAServer(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a week")
	}
	work, env, untouched := emptyMachine(t)
	url := mlflowAt(t, 23*time.Hour+52*time.Minute)
	text := demoTells(t, work, env, "--mlflow", url)
	require.Contains(t, text, "An insider's week, on this machine and on MLflow 3.17.0 at "+url+".\n")
	require.Regexp(t, `\n  From 23:5[2-9]:\d\d to 23:5[2-9]:\d\d UTC by the server's clock\.`, text)
	require.Regexp(t, `as they would up to 00:1[7-9]:\d\d\.\n`, text)
	require.Contains(t, text, "\n  Its 2 models are deleted. Its 2 experiments with 17 runs stay there, marked as deleted:\n")
	require.Regexp(t, `\n  23:5\d  robin trained and registered version 4 of aiwatch-demo-\w{8}-fraud and made it champion\n`, text)
	require.Contains(t, text, "What was found: 16 findings, 15 of them name robin (Robin Aster, ")
	require.Contains(t, text, "15 of 43 detections fired: 5, 7, 8, 9, 11, 15, 16, 21, 22, 28, 29, 30, 32, 35, 38.\nAccused: robin.\n")
	require.Contains(t, text, "\nWhat a perimeter would have seen: nothing\n")
	require.Empty(t, modelsAt(t, url))
	untouched()
}

// TestAStoppedDemoOnAServer stops the demo while it acts on a server: it says what
// becomes of what it made, and takes it back.
func TestAStoppedDemoOnAServer(t *testing.T) {
	_, env, untouched := emptyMachine(t)
	url := mlflowAt(t, 12*time.Hour)
	p := startProgram(t, env, "demo", "--mlflow", url)
	eventually(t, "the demo has made models", func() bool { return len(modelsAt(t, url)) == 2 })
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	require.Equal(t, exitFailed, p.end(t))
	require.Equal(t, "aiwatch: the demo was stopped before its end\n", p.log.String())
	require.Regexp(t, `taking back what was made on http://\S+\n   2 models deleted; 2 experiments with \d+ runs marked as deleted `, p.out.String())
	require.Empty(t, modelsAt(t, url))
	untouched()
}

// TestWhatADemoLeavesOnAServer is said when it is kept.
func TestWhatADemoLeavesOnAServer(t *testing.T) {
	server, err := demo.NewServer("http://127.0.0.1:5000", demo.Account{})
	require.NoError(t, err)
	server.Keep = true
	var out bytes.Buffer
	p := &program{stdout: &out}
	p.sayTold(&demo.Result{Scenario: &scenario.Scenario{}, Told: demo.Told{Models: 2, Experiments: 2, Runs: 17}}, server)
	require.Contains(t, out.String(), "\n  2 models, and 2 experiments with 17 runs, stay there. They are named "+server.Names+"...\n")
	require.NotContains(t, out.String(), "deleted")
}
