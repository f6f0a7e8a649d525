package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"aiwatch/internal/hecserver"
)

// receiving is a running `aiwatch receive`.
type receiving struct {
	t      *testing.T
	start  receiveStart
	lines  *bufio.Scanner // the rest of its output
	stop   context.CancelFunc
	ended  chan error
	stderr *bytes.Buffer // to be read when it has ended
}

// startReceive runs the command on a free port with --json and these flags, and
// waits until it is ready.
func startReceive(t *testing.T, flags ...string) *receiving {
	t.Helper()
	out, in := io.Pipe()
	r := &receiving{t: t, lines: bufio.NewScanner(out), ended: make(chan error, 1), stderr: &bytes.Buffer{}}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	p := &program{stdout: in, stderr: r.stderr, now: time.Now}
	go func() {
		err := runReceive(ctx, p, append([]string{"--json", "--listen", "127.0.0.1:0"}, flags...)...)
		r.ended <- err
		_ = in.CloseWithError(io.EOF)
	}()
	require.True(t, r.lines.Scan())
	require.NoError(t, json.Unmarshal(r.lines.Bytes(), &r.start))
	return r
}

func runReceive(ctx context.Context, p *program, flags ...string) error {
	app := &cli.App{Name: "aiwatch", Commands: []*cli.Command{p.receiveCommand()}, ExitErrHandler: func(*cli.Context, error) {}}
	return app.RunContext(ctx, append([]string{"aiwatch", "receive"}, flags...))
}

// post sends a body under a token and returns the answer.
func (r *receiving) post(url, token, body string) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(r.t, err)
	req.Header.Set("Authorization", "Splunk "+token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return string(b)
}

// end stops the command, as SIGTERM does, and returns its summary.
func (r *receiving) end() hecserver.CounterStats {
	r.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	r.stop()
	var summary hecserver.CounterStats
	require.True(r.t, r.lines.Scan())
	require.NoError(r.t, json.Unmarshal(r.lines.Bytes(), &summary))
	require.False(r.t, r.lines.Scan())
	require.NoError(r.t, <-r.ended)
	return summary
}

const hecEvent = "/services/collector/event"

func TestReceiveCountsAndWritesEvents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.ndjson")
	r := startReceive(t, "--write-events", file, "--index", "ai", "--index", "main")
	require.Regexp(t, regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`), r.start.Token)
	require.Empty(t, r.start.Control)
	const one = `{"time":1,"source":"aiwatch_s3://p","event":{"collector":"c","event_id":"a","seq":4}}`
	require.Equal(t, `{"text":"Success","code":0}`, r.post(r.start.URL+hecEvent, r.start.Token, one+one+strings.NewReplacer(`"a"`, `"b"`, "4", "6").Replace(one)))
	require.Equal(t, `{"text":"Incorrect index","code":7,"invalid-event-number":1}`, r.post(r.start.URL+hecEvent, r.start.Token, `{"event":"x","index":"os"}`))
	require.Equal(t, hecserver.CounterStats{
		Events: 3, Distinct: 2, Duplicates: 1, SeqMissing: 1,
		Streams: []hecserver.Stream{{Collector: "c", Source: "aiwatch_s3://p", First: 4, Last: 6, Missing: 1, Holes: []hecserver.Span{{From: 5, To: 5}}}},
	}, r.end())
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 3, bytes.Count(b, []byte("\n")))
	require.Regexp(t, `^\{"time":1,"source":"aiwatch_s3://p","index":"ai","event":\{"collector":"c","event_id":"a","seq":4\},"indextime":\d+(\.\d+)?\}\n`, string(b))
}

func TestReceiveTokenFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("my-token\n"), 0o600))
	r := startReceive(t, "--token-file", file, "--ack", "--max-bytes", "30")
	require.Empty(t, r.start.Token, "a token from a file is not printed")
	require.Equal(t, `{"text":"Data channel is missing","code":10}`, r.post(r.start.URL+hecEvent, "my-token", `{"event":"a"}`))
	onChannel := r.start.URL + hecEvent + "?channel=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	require.Equal(t, `{"text":"Success","code":0,"ackId":0}`, r.post(onChannel, "my-token", `{"event":"a"}`))
	require.Contains(t, r.post(onChannel, "my-token", `{"event":"aaaaaaaaaaaaaaaaaaaaaaaaa"}`), "too large")
	require.EqualValues(t, 1, r.end().WithoutID)
	require.NotContains(t, r.stderr.String(), "my-token")
}

func TestReceiveIsToldToMisbehave(t *testing.T) {
	r := startReceive(t, "--faults")
	require.Empty(t, r.post(r.start.Control, r.start.Token, `{"faults":[{"code":9,"times":1}]}`))
	require.Equal(t, `{"text":"Server is busy","code":9}`, r.post(r.start.URL+hecEvent, r.start.Token, `{"event":"a"}`))
	require.Equal(t, `{"text":"Success","code":0}`, r.post(r.start.URL+hecEvent, r.start.Token, `{"event":"a"}`))
	require.EqualValues(t, 1, r.end().Events)
}

func TestReceiveUsageErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		return path
	}
	for name, c := range map[string]struct {
		flags []string
		says  string
	}{
		"an argument":       {[]string{"now"}, "receive takes no arguments"},
		"not loopback":      {[]string{"--listen", "0.0.0.0:0"}, "without TLS only a loopback address"},
		"no port":           {[]string{"--listen", "localhost"}, "want HOST:PORT"},
		"certificate alone": {[]string{"--tls-cert", "c.pem"}, "--tls-cert and --tls-key: one is missing"},
		"no certificate":    {[]string{"--tls-cert", write("c.pem", "", 0o600), "--tls-key", write("k.pem", "", 0o600)}, "load certificate"},
		"limit":             {[]string{"--max-bytes", "0"}, "want more than 0"},
		"token for all":     {[]string{"--token-file", write("wide", "a", 0o644)}, "can be read by others"},
		"no token":          {[]string{"--token-file", write("empty", "\n", 0o600)}, "want one token and nothing else"},
		"two tokens":        {[]string{"--token-file", write("two", "a\nb\n", 0o600)}, "want one token and nothing else"},
		"no token file":     {[]string{"--token-file", filepath.Join(dir, "none")}, "read token file"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			p := &program{stdout: &out, stderr: &out, now: time.Now}
			err := runReceive(t.Context(), p, c.flags...)
			require.ErrorContains(t, err, c.says)
			var coded *exitError
			require.ErrorAs(t, err, &coded)
			require.Equal(t, exitUsage, coded.code)
			require.Empty(t, out.String())
		})
	}
}

func TestReceiveSpeaksToPeople(t *testing.T) {
	var out bytes.Buffer
	p := &program{stdout: &out}
	p.printReceiveStart(receiveStart{URL: "http://127.0.0.1:8088", Token: "t", Control: "c"}, false)
	p.printReceiveSummary(hecserver.CounterStats{
		Events: 5, Distinct: 3, Duplicates: 1, Conflicts: 1, SeqMissing: 2, SeqDoubles: 1,
		Streams: []hecserver.Stream{{Collector: "0badcafe", Source: "aiwatch_s3://\x1b[31m", First: 1, Last: 5, Missing: 2}},
	}, false)
	require.Equal(t, `listening on http://127.0.0.1:8088/services/collector
token t
control c
received 5 events: 3 distinct, 1 sent twice, 0 told twice, 1 changed on the way, 0 without event_id
seq: 2 missing, 1 given to two events
  "0badcafe" "aiwatch_s3://\x1b[31m": 1 to 5, 2 missing
`, out.String())
}
