package scenario

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const goodStory = "name: n\nstart: 2026-03-02T08:00:00Z\nend: 2026-03-02T10:00:00Z\npeople: 3\nartifact_root: s3://b/p\n"

const goodInputs = "[aiwatch_s3://logs]\npath = ${S3}\n"

// folder writes files below a folder named s.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	all := map[string]string{"scenario.yml": goodStory, "inputs.conf": goodInputs, "acts.ndjson": `{"at":"2026-03-02T09:00:00Z","s3":"x"}` + "\n"}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if text == "-" {
			continue
		}
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// TestMistakesAreToldWithFileAndLine are scenarios that are wrong, each with the
// one thing that is said of it.
func TestMistakesAreToldWithFileAndLine(t *testing.T) {
	at := `{"at":"2026-03-02T09:00:00Z",`
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no scenario.yml":         {map[string]string{"scenario.yml": "-"}, "s/scenario.yml: there is no such file; a scenario is a folder with one"},
		"not YAML":                {map[string]string{"scenario.yml": "name: [a\nstart: b"}, "s/scenario.yml:2: "},
		"a list for a value":      {map[string]string{"scenario.yml": goodStory + "mlflow: [1]\n"}, "s/scenario.yml:6: "},
		"no start":                {map[string]string{"scenario.yml": "end: 2026-03-02T10:00:00Z\n"}, "s/scenario.yml: start is missing"},
		"no time":                 {map[string]string{"scenario.yml": strings.Replace(goodStory, "2026-03-02T10:00:00Z", "tomorrow", 1)}, `s/scenario.yml:3: end = "tomorrow" is no time`},
		"an end before the start": {map[string]string{"scenario.yml": strings.Replace(goodStory, "2026-03-02T10", "2026-03-01T10", 1)}, "s/scenario.yml:3: end is not after start"},
		"no people":               {map[string]string{"scenario.yml": strings.Replace(goodStory, "people: 3", "people: none", 1)}, `s/scenario.yml:4: people = "none" is no whole number above 0`},
		"an artifact root":        {map[string]string{"scenario.yml": strings.Replace(goodStory, "s3://b/p", "gs://b/p", 1)}, "s/scenario.yml:5: artifact_root is written s3://bucket/prefix"},
		"another MLflow":          {map[string]string{"scenario.yml": goodStory + "mlflow: 1.9\n"}, `s/scenario.yml:6: mlflow = "1.9"`},
		"expect without number":   {map[string]string{"scenario.yml": goodStory + "expect:\n  - user: a\n"}, "s/scenario.yml:7: an entry of expect needs detection"},
		"expect with a word":      {map[string]string{"scenario.yml": goodStory + "expect:\n  - detection: x\n"}, `s/scenario.yml:7: detection = "x" is no whole number above 0`},
		"expect from after to":    {map[string]string{"scenario.yml": goodStory + "expect:\n  - detection: 1\n    from: 2026-03-02T10:00:00Z\n    to: 2026-03-02T09:00:00Z\n"}, "s/scenario.yml:9: to is before from"},
		"quiet with a word":       {map[string]string{"scenario.yml": goodStory + "quiet:\n  max_alerts_per_100_people_per_day: few\n"}, "s/scenario.yml:7: max_alerts_per_100_people_per_day is a number"},
		"no inputs.conf":          {map[string]string{"inputs.conf": "-"}, "s/inputs.conf: there is no such file"},
		"no acts":                 {map[string]string{"acts.ndjson": "-"}, "s/acts*.ndjson: there are no acts"},
		"not gzip":                {map[string]string{"acts-2.ndjson.gz": "x"}, "s/acts-2.ndjson.gz: not gzip"},
		"not JSON":                {map[string]string{"acts.ndjson": at + `"s3":"x"}` + "\n\n{\n"}, "s/acts.ndjson:3: not JSON"},
		"not an object":           {map[string]string{"acts.ndjson": "[]"}, "s/acts.ndjson:1: a line is one JSON object, and this is an array"},
		"no time of an act":       {map[string]string{"acts.ndjson": `{"s3":"x"}`}, `s/acts.ndjson:1: "at" is missing`},
		"a bad time of an act":    {map[string]string{"acts.ndjson": `{"at":"9:00","s3":"x"}`}, `s/acts.ndjson:1: "at": "9:00" is no time`},
		"nothing happens":         {map[string]string{"acts.ndjson": at + `"s4":"x"}`}, "s/acts.ndjson:1: the line says nothing that happens; an act has one of s3, cloudtrail"},
		"two things happen":       {map[string]string{"acts.ndjson": at + `"s3":"x","access":"y"}`}, `s/acts.ndjson:1: an act is one thing, and this is both "s3" and "access"`},
		"a delay of a call":       {map[string]string{"acts.ndjson": at + `"access":"y","delay":"1h"}`}, `s/acts.ndjson:1: "delay" goes with "s3" and "cloudtrail"`},
		"a delay in words":        {map[string]string{"acts.ndjson": at + `"s3":"y","delay":"late"}`}, `s/acts.ndjson:1: "delay": "late" is no delay`},
		"a line of two":           {map[string]string{"acts.ndjson": at + `"s3":"y\nz"}`}, `s/acts.ndjson:1: "s3" is one line, and this holds several`},
		"a line that is none":     {map[string]string{"acts.ndjson": at + `"s3":{}}`}, `s/acts.ndjson:1: "s3" is one line, a JSON string`},
		"an empty line":           {map[string]string{"acts.ndjson": at + `"access":""}`}, `s/acts.ndjson:1: "access" is empty`},
		"a record that is none":   {map[string]string{"acts.ndjson": at + `"cloudtrail":"x"}`}, `s/acts.ndjson:1: "cloudtrail" is one record`},
		"another collector act":   {map[string]string{"acts.ndjson": at + `"collector":"pause"}`}, `s/acts.ndjson:1: "collector": "pause" is not known`},
		"another index act":       {map[string]string{"acts.ndjson": at + `"index":{"drop":"x"}}`}, `s/acts.ndjson:1: "index" is {"delete": "<search>"}`},
		"a call without path":     {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"GET"}}`}, `s/acts.ndjson:1: "mlflow" needs "method" and "path", or "put"`},
		"a call of another kind":  {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"CONNECT","path":"/x"}}`}, `s/acts.ndjson:1: "mlflow": the method "CONNECT" is not one of MLflow's`},
		"a path that is none":     {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"GET","path":"runs/get"}}`}, `s/acts.ndjson:1: "mlflow": "runs/get" is no path`},
		"a variable's name":       {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"GET","path":"/x","save":{"a b":"c"}}}`}, `s/acts.ndjson:1: "save": "a b" is no name of a variable`},
		"put and call":            {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"GET","path":"/x","put":{"path":"k","size":1}}}`}, `s/acts.ndjson:1: "mlflow" is either a call or a "put"`},
		"put of nothing":          {map[string]string{"acts.ndjson": at + `"mlflow":{"put":{"path":"k"}}}`}, `s/acts.ndjson:1: "put" has either "text" or "size"`},
		"put nowhere":             {map[string]string{"acts.ndjson": at + `"mlflow":{"put":{"size":1}}}`}, `s/acts.ndjson:1: "put" needs "path"`},
		"a put of a wrong type":   {map[string]string{"acts.ndjson": at + `"mlflow":{"put":{"path":"k","size":"big"}}}`}, `s/acts.ndjson:1: "mlflow": "put.size" can't be a JSON string`},
		"git without anything":    {map[string]string{"acts.ndjson": at + `"git":{"repo":"a"}}`}, `s/acts.ndjson:1: "git" has one of "stream", "text" and "bundle"`},
		"git without repository":  {map[string]string{"acts.ndjson": at + `"git":{"text":"x"}}`}, `s/acts.ndjson:1: "git" needs "repo"`},
		"a repository outside":    {map[string]string{"acts.ndjson": at + `"git":{"repo":"../a","text":"x"}}`}, `s/acts.ndjson:1: "git": "../a" is no name of a repository`},
		"a stream outside":        {map[string]string{"acts.ndjson": at + `"git":{"repo":"a","stream":"../x"}}`}, `s/acts.ndjson:1: "git": "../x" is no file of the scenario's folder`},
		"a stream that is none":   {map[string]string{"acts.ndjson": at + `"git":{"repo":"a","stream":"x"}}`}, "s/acts.ndjson:1: there is no file x in the scenario's folder"},
		"force of a bundle":       {map[string]string{"acts.ndjson": at + `"git":{"repo":"a","bundle":"x","force":true}}`}, `s/acts.ndjson:1: "force" goes with a stream`},
		"an act after the end":    {map[string]string{"acts.ndjson": `{"at":"2026-03-02T11:00:00Z","s3":"x"}`}, "s/acts.ndjson:1: it happens after the scenario's end"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(folder(t, c.files))
			var ps Problems
			require.ErrorAs(t, err, &ps)
			require.Contains(t, ps.Error(), c.want)
		})
	}
}

// TestMistakesOfAPlay are what only playing tells.
func TestMistakesOfAPlay(t *testing.T) {
	at := `{"at":"2026-03-02T09:00:00Z",`
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"an unknown setting":         {map[string]string{"inputs.conf": goodInputs + "pth = x\n"}, "s/inputs.conf:3: [aiwatch_s3://logs] pth: "},
		"a mistake in aiwatch.conf":  {map[string]string{"aiwatch.conf": "[hec]\ntoken = x\n"}, "s/aiwatch.conf:2: [hec] token: "},
		"no input":                   {map[string]string{"inputs.conf": "[aiwatch_s3://logs]\npath = ${S3}\ndisabled = 1\n"}, "s/inputs.conf: no input is enabled"},
		"a bucket":                   {map[string]string{"inputs.conf": "[aiwatch_s3://b]\nbucket = b\nregion = eu-central-1\n"}, "s/inputs.conf: [aiwatch_s3://b]: a scenario's log objects lie in a folder; write path = ${S3}"},
		"a folder of the machine":    {map[string]string{"inputs.conf": "[aiwatch_s3://b]\npath = /etc\n"}, "s/inputs.conf: [aiwatch_s3://b]: a scenario's log objects lie in a folder"},
		"a server elsewhere":         {map[string]string{"inputs.conf": "[aiwatch_mlflow://m]\nurl = https://mlflow.example.test\n"}, "s/inputs.conf: [aiwatch_mlflow://m]: a scenario's MLflow server is ${MLFLOW}"},
		"a repository elsewhere":     {map[string]string{"inputs.conf": "[aiwatch_git://g]\nurl = https://git.example.test/a.git\n"}, "s/inputs.conf: [aiwatch_git://g]: a scenario's repositories lie below ${GIT}"},
		"a setting that can't be":    {map[string]string{"inputs.conf": "[aiwatch_git://g]\nurl = ${GIT}/a.git\nallowed_signers_file = ${SCENARIO}/none\n"}, "s/inputs.conf: [aiwatch_git://g]: "},
		"an unknown call":            {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"POST","path":"/api/2.0/mlflow/runs/creat","body":{}}}`}, "s/acts.ndjson:1: MLflow 3.17 has no POST /api/2.0/mlflow/runs/creat"},
		"a refused call that saves":  {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"GET","path":"/api/2.0/mlflow/runs/get","body":{"run_id":"x"},"save":{"R":"run.info.run_id"}}}`}, "s/acts.ndjson:1: GET /api/2.0/mlflow/runs/get?run_id=x is refused with 404, and nothing can be saved"},
		"an answer without it":       {map[string]string{"acts.ndjson": at + `"mlflow":{"method":"POST","path":"/api/2.0/mlflow/experiments/create","body":{"name":"x"},"save":{"R":"run.info.run_id"}}}`}, "s/acts.ndjson:1: the answer has no run.info.run_id to be saved as R"},
		"a variable before its time": {map[string]string{"acts.ndjson": `{"at":"2026-03-02T08:30:00Z","access":"${E}"}` + "\n" + at + `"mlflow":{"method":"POST","path":"/api/2.0/mlflow/experiments/create","body":{"name":"x"},"save":{"E":"experiment_id"}}}`}, "s/acts.ndjson:1: ${E} is used before an act has saved it"},
		"a broken stream":            {map[string]string{"acts.ndjson": at + `"git":{"repo":"a","text":"nonsense\n"}}`}, "s/acts.ndjson:1: git fast-import refuses the stream: "},
		"a broken bundle":            {map[string]string{"b": "x", "acts.ndjson": at + `"git":{"repo":"a","bundle":"b"}}`}, "s/acts.ndjson:1: the bundle b can't be taken: "},
		"not forced":                 {map[string]string{"acts.ndjson": at + `"git":{"repo":"a","text":"commit refs/heads/main\ncommitter A <a@x> 1 +0000\ndata 1\nx\n\n"}}` + "\n" + `{"at":"2026-03-02T09:01:00Z","git":{"repo":"a","force":false,"text":"commit refs/heads/main\ncommitter A <a@x> 2 +0000\ndata 1\ny\n\nreset refs/heads/main\nfrom refs/heads/main\n\ncommit refs/heads/main\ncommitter A <a@x> 3 +0000\ndata 1\nz\n\n"}}`}, "s/acts.ndjson:2: git fast-import refuses the stream: "},
		"a rewind to nothing":        {map[string]string{"acts.ndjson": at + `"collector":"rewind"}`}, `s/acts.ndjson:1: there is no "snapshot" before this "rewind"`},
		"a collector before start":   {map[string]string{"acts.ndjson": `{"at":"2026-03-02T07:00:00Z","collector":"kill"}`}, "s/acts.ndjson:1: before the scenario's start there is neither collector nor index"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Load(folder(t, c.files))
			require.NoError(t, err)
			_, err = Play(t.Context(), s, Options{})
			require.Error(t, err)
			var one Problem
			var several Problems
			require.True(t, asProblem(err, &one) || asProblem(err, &several), err.Error())
			require.Contains(t, err.Error(), c.want)
		})
	}
}

// TestMistakesOfASchedule are what only searching tells.
func TestMistakesOfASchedule(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a deletion of nothing known": {map[string]string{"acts.ndjson": `{"at":"2026-03-02T09:00:00Z","index":{"delete":"index=aiwatch | stats count"}}`}, "s/acts.ndjson:1: delete: "},
		"a lookup without header":     {map[string]string{"lookups/people.csv": ""}, "s/lookups/people.csv: "},
		"a macro that is none":        {map[string]string{"local/macros.conf": "[a]\nnonsense\n"}, "s/local/macros.conf:2: "},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Load(folder(t, c.files))
			require.NoError(t, err)
			run := Run{App: os.DirFS(filepath.Join("testdata", "app")), Findings: &bytes.Buffer{}}
			_, err = run.Do(t.Context(), s)
			require.Error(t, err)
			require.Contains(t, err.Error(), c.want)
		})
	}
}

// TestActsAreMergedByTime reads files of which one is packed and one in no order.
func TestActsAreMergedByTime(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(`{"at":"2026-03-02T09:00:00Z","access":"c"}` + "\r\n\r\n" + `{"at":"2026-03-02T09:00:02Z","access":"e"}`))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	s, err := Load(folder(t, map[string]string{
		"acts.ndjson":      "\ufeff" + `{"at":"2026-03-02T09:00:03.5Z","access":"f"}` + "\n" + `{"at":"2026-03-02T08:00:00Z","access":"a"}` + "\n" + `{"at":"2026-03-02T09:00:00Z","access":"d"}` + "\n",
		"acts-b.ndjson.gz": packed.String(),
		"acts-c.ndjson":    `{"at":"2026-03-02T09:30:00+01:00","access":"b"}` + "\n",
		"other.ndjson":     "not an act",
	}))
	require.NoError(t, err)
	next, done, err := s.merged()
	require.NoError(t, err)
	defer done()
	var order string
	var last time.Time
	for {
		a, err := next()
		require.NoError(t, err)
		if a == nil {
			break
		}
		require.False(t, a.at.Before(last))
		last = a.at
		order += a.line
	}
	require.Equal(t, "abcdef", order)
}

func FuzzAct(f *testing.F) {
	acts, err := os.ReadFile(filepath.Join("testdata", "everything", "acts.ndjson"))
	require.NoError(f, err)
	for line := range bytes.Lines(acts) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := parseAct(line)
		if err != nil {
			if a != nil && a.kind == "" {
				t.Fatal("an act of no kind")
			}
			return
		}
		switch {
		case a.kind == kindMLflow && a.call == nil, a.kind == kindGit && a.push == nil:
			t.Fatal("an act without its value")
		case a.call == nil && a.push == nil && a.line == "":
			t.Fatal("an act that says nothing")
		case a.delay < 0 || a.delay > maxDelay:
			t.Fatal("a delay that is none")
		case a.push != nil && !filepath.IsLocal(a.push.Repo):
			t.Fatal("a repository outside of its folder")
		}
	})
}

func asProblem[T error](err error, target *T) bool { return errors.As(err, target) }

// TestAStoryMayBeWrittenInManyWays: what a YAML author takes for granted.
func TestAStoryMayBeWrittenInManyWays(t *testing.T) {
	s, err := Load(folder(t, map[string]string{"scenario.yml": "# a comment\r\nname: 2026\r\nstory: |\r\n  one\r\n  two\r\nstart: \"2026-03-02T09:00:00+01:00\"\r\nend: 2026-03-02T10:00:00.5Z\r\npeople: 3\r\nmlflow: 2.22\r\nexpect:\r\nquiet:\r\n  max_alerts_per_100_people_per_day: 0.5\r\n  allow:\r\n  - {detection: 7}\r\nmore: {a: [1]}\r\n"}))
	require.NoError(t, err)
	require.Equal(t, "2026", s.Name)
	require.Equal(t, "2.22", s.MLflow)
	require.Equal(t, eight, s.Start)
	require.Empty(t, s.Expect)
	require.InDelta(t, 0.5, s.Quiet.MaxAlerts, 0)
	require.Equal(t, []Allow{{Detection: 7}}, s.Quiet.Allow)
	for _, text := range []string{"", "expect: []\nquiet: {}\n", "quiet:\n", "expect: []\nquiet:\n  allow: []\n"} {
		s, err := Load(folder(t, map[string]string{"scenario.yml": goodStory + text}))
		require.NoError(t, err, text)
		require.Negative(t, s.Quiet.MaxAlerts, "any number may be raised")
	}
}
