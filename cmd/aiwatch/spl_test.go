package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// runSPL runs aiwatch spl with the given events on standard input.
func runSPL(t *testing.T, events string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{
		stdin: strings.NewReader(events), stdout: &out, stderr: &errs,
		now: func() time.Time { return time.Unix(1_773_144_000, 0) }, getenv: func(string) string { return "" },
	}
	app := &cli.App{
		Name: "aiwatch", Writer: &out, ErrWriter: &errs, Commands: []*cli.Command{p.splCommand()},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	code = p.report(app.RunContext(context.Background(), append([]string{"aiwatch", "spl"}, args...)))
	return out.String(), errs.String(), code
}

const twoEvents = `{"time":1773140000,"sourcetype":"aiwatch:s3","source":"aiwatch_s3://prod","event":{"operation":"REST.GET.OBJECT","user":"alice","bytes_out":7,"status_code":"200"}}
{"_time":1773141000,"user":"bob","tags":["a","b"]}
`

func TestSPLPrintsRowsNewestFirst(t *testing.T) {
	out, errs, code := runSPL(t, twoEvents, "--events", "-", "* | table _time user action bytes_out tags")
	require.Equal(t, 0, code, errs)
	require.Equal(t, `{"_time":1773141000,"user":"bob","tags":["a","b"]}
{"_time":1773140000,"user":"alice","action":"read","bytes_out":7}
`, out)
}

func TestSPLRefusesWithPosition(t *testing.T) {
	out, errs, code := runSPL(t, twoEvents, "--events", "-", "* | transaction user")
	require.Equal(t, exitUsage, code)
	require.Empty(t, out)
	require.Contains(t, errs, "position 4")
	require.Contains(t, errs, "transaction")
}

func TestSPLWritesLookupsBack(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "seen.csv")
	require.NoError(t, os.WriteFile(path, []byte("user,n\nold,1\n"), 0o600))
	_, errs, code := runSPL(t, twoEvents, "--events", "-", "--lookup", "seen="+path, "* | stats count as n by user | inputlookup append=t seen | outputlookup seen")
	require.Equal(t, 0, code, errs)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "user,n\nalice,1\nbob,1\nold,1\n", string(b))

	fresh := filepath.Join(dir, "fresh.csv")
	_, errs, code = runSPL(t, twoEvents, "--events", "-", "--lookup", "fresh.csv="+fresh, "* | table user | sort user | outputlookup fresh.csv")
	require.Equal(t, 0, code, errs)
	b, err = os.ReadFile(fresh)
	require.NoError(t, err)
	require.Equal(t, "user\nalice\nbob\n", string(b))

	out, errs, code := runSPL(t, twoEvents, "--events", "-", "* | table user | outputlookup nowhere.csv")
	require.Equal(t, exitUsage, code)
	require.Empty(t, out)
	require.Contains(t, errs, "--lookup nowhere")
}

func TestSPLTakesMacrosTransformsAndTimes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, s string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(s), 0o600))
		return path
	}
	macros := write("macros.conf", "[who(1)]\nargs = u\ndefinition = (user=$u$)\n")
	transforms := write("transforms.conf", "[people]\nfilename = people.csv\ncase_sensitive_match = false\n")
	people := write("p.csv", "user,team\nALICE,red\n")
	out, errs, code := runSPL(t, twoEvents, "--events", "-", "--macros", macros, "--transforms", transforms, "--lookup", "people="+people,
		"--now", "2026-03-10T12:00:00Z", "--earliest", "-2h", "--latest", "1773140001", "`who(alice)` | lookup people user OUTPUT team | table team")
	require.Equal(t, 0, code, errs)
	require.Equal(t, "{\"team\":\"red\"}\n", out)
}

func TestSPLUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"a", "b"}, {"--events", "-", "--now", "soon", "*"}, {"--latest", "rt", "*"}, {"--lookup", "x", "*"}, {"--macros", "/nowhere/macros.conf", "*"}} {
		out, errs, code := runSPL(t, "", args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, errs)
		require.Empty(t, out)
		require.NotEmpty(t, errs)
	}
	_, errs, code := runSPL(t, "not json\n", "--events", "-", "*")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "line 1")
}

func TestSPLHasTheApp(t *testing.T) {
	const events = `{"time":1773140000,"sourcetype":"aiwatch:s3","event":{"operation":"REST.GET.OBJECT","user":"alice","src":"10.1.2.3"}}
{"time":1773140001,"sourcetype":"aiwatch:git","event":{"operation":"repo.cloned","user":"bob","src":"10.1.2.3"}}
`
	out, errs, code := runSPL(t, events, "--events", "-", "`aiwatch_s3` | lookup aiwatch_networks cidr AS src OUTPUT name AS network | eval day=`aiwatch_day(_time)` | table user network day")
	require.Equal(t, 0, code, errs)
	require.Equal(t, `{"user":"alice","day":20522}`+"\n", out)

	path := filepath.Join(t.TempDir(), "mine.csv")
	require.NoError(t, os.WriteFile(path, []byte("name,cidr\noffice,10.1.0.0/16\n"), 0o600))
	out, errs, code = runSPL(t, events, "--events", "-", "--lookup", "aiwatch_networks="+path, "`aiwatch_events` | lookup aiwatch_networks cidr AS src OUTPUT name AS network | table user network")
	require.Equal(t, 0, code, errs)
	require.Equal(t, `{"user":"bob","network":"office"}
{"user":"alice","network":"office"}
`, out)

	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "default"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "default", "macros.conf"), []byte("[mine]\ndefinition = user=bob\n"), 0o600))
	out, errs, code = runSPL(t, events, "--events", "-", "--app", dir, "`mine` | table user")
	require.Equal(t, 0, code, errs)
	require.Equal(t, `{"user":"bob"}`+"\n", out)
	_, errs, code = runSPL(t, events, "--events", "-", "--app", dir, "`aiwatch_s3`")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "unknown macro")
}
