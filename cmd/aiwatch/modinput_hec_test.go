package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"aiwatch/internal/hecserver"
	"aiwatch/internal/splunkdsim"
)

// TestModinputToHEC: an input whose output is hec delivers to the destination of
// the add-on's aiwatch.conf, whose token is an entry of storage/passwords.
func TestModinputToHEC(t *testing.T) {
	rest := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	rest.Put("aiwatch", "hec", "the-hec-token")
	counter := hecserver.NewCounter()
	server, err := hecserver.Start("127.0.0.1:0", nil, hecserver.Config{
		Tokens: []hecserver.Token{{Value: "the-hec-token"}}, Sink: counter, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })

	home, app := t.TempDir(), t.TempDir()
	ca, err := os.ReadFile(rest.CAFile)
	require.NoError(t, err)
	for path, content := range map[string]string{
		filepath.Join(home, "etc/auth/cacert.pem"): string(ca),
		filepath.Join(app, "local/aiwatch.conf"):   fmt.Sprintf("[hec]\nurl = %s\ntoken_credential = hec\n[archive]\npath = %s\n", server.URL(), filepath.Join(home, "archive")),
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	handed := strings.ReplaceAll(handedOver(t.TempDir(), "aiwatch_s3://prod", map[string]string{
		"interval": "0 * * * *", "path": accessLogs(t, 3), "output": "hec",
	}), "<session_key>k<", "<session_key>"+rest.Session+"<")
	handed = strings.ReplaceAll(handed, "https://127.0.0.1:1<", rest.URI+"<")

	var out, errs bytes.Buffer
	p := &program{
		stdin: strings.NewReader(handed), stdout: &out, stderr: &errs, now: time.Now,
		getenv: func(name string) string {
			return map[string]string{"SPLUNK_HOME": home, "AIWATCH_CONF": app}[name]
		},
	}
	commands := &cli.App{Commands: []*cli.Command{p.modinputCommand()}, ExitErrHandler: func(*cli.Context, error) {}}
	require.Equal(t, exitDone, p.report(commands.RunContext(t.Context(), []string{"aiwatch", "modinput", "aiwatch_s3"})), errs.String())
	require.NotContains(t, errs.String(), "the-hec-token")
	require.Contains(t, errs.String(), "[archive] is written by aiwatch run alone")
	require.NoDirExists(t, filepath.Join(home, "archive"))
	require.NotContains(t, out.String(), "<event")
	stats := counter.Stats()
	require.GreaterOrEqual(t, stats.Distinct, uint64(3), errs.String())
	require.Zero(t, stats.Duplicates)
}
