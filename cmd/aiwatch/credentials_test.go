package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"aiwatch/internal/splunkdsim"
)

// runCommandLine runs one command of the program, and returns its exit code and
// what it wrote.
func runCommandLine(t *testing.T, stdin string, command func(*program) *cli.Command, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, now: time.Now,
		getenv: func(string) string { return "" },
	}
	commands := []*cli.Command{command(p)}
	teachUsage(commands)
	app := &cli.App{
		Name: "aiwatch", Commands: commands, Writer: &out, ErrWriter: io.Discard,
		ExitErrHandler: func(*cli.Context, error) {}, OnUsageError: usageError,
	}
	code = p.report(app.RunContext(t.Context(), append([]string{"aiwatch"}, args...)))
	return code, out.String(), errs.String()
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	return path
}

func TestCredentialsCommand(t *testing.T) {
	r := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	session := secretFile(t, r.Session)
	try := func(stdin, subcommand string, args ...string) (int, string, string) {
		t.Helper()
		line := append([]string{"credentials", subcommand, "--splunkd", r.URI, "--ca-file", r.CAFile}, args...)
		return runCommandLine(t, stdin, (*program).credentialsCommand, line...)
	}

	code, out, errs := try("hunter2\n", "set", "--session-file", session, "mlflow-prod")
	require.Equal(t, exitDone, code, errs)
	require.Empty(t, out)
	require.NotContains(t, errs, "hunter2")
	stored, _ := r.Entry("aiwatch", "mlflow-prod")
	require.Equal(t, "hunter2", stored)

	code, _, errs = try("", "set", "--token-file", secretFile(t, r.Token), "--secret-file", secretFile(t, "from a file"), "second")
	require.Equal(t, exitDone, code, errs)
	code, _, errs = try("", "set", "--user", r.User, "--password-file", secretFile(t, r.Password), "--secret-file", secretFile(t, "anew"), "second")
	require.Equal(t, exitDone, code, errs)
	stored, _ = r.Entry("aiwatch", "second")
	require.Equal(t, "anew", stored)

	code, out, errs = try("", "list", "--session-file", session)
	require.Equal(t, exitDone, code, errs)
	require.Equal(t, "mlflow-prod\nsecond\n", out)
	code, out, _ = try(r.Password, "list", "--user", r.User, "--json")
	require.Equal(t, exitDone, code)
	require.Equal(t, `["mlflow-prod","second"]`+"\n", out)

	code, _, errs = try("", "delete", "--session-file", session, "mlflow-prod")
	require.Equal(t, exitDone, code, errs)
	_, there := r.Entry("aiwatch", "mlflow-prod")
	require.False(t, there)
	code, _, errs = try("", "delete", "--session-file", session, "mlflow-prod")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "no such entry")
}

func TestCredentialsCommandRefuses(t *testing.T) {
	r := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	session := secretFile(t, r.Session)
	open := secretFile(t, r.Session)
	require.NoError(t, os.Chmod(open, 0o644))
	for name, c := range map[string]struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		"secret as argument":  {"", []string{"set", "--session-file", session, "name", "hunter2"}, exitUsage, "a secret is never an argument"},
		"no name":             {"x", []string{"set", "--session-file", session}, exitUsage, "one NAME"},
		"bad name":            {"x", []string{"set", "--session-file", session, "a:b"}, exitUsage, "can't be the name"},
		"no secret":           {"\n", []string{"set", "--session-file", session, "name"}, exitUsage, "holds no secret"},
		"two lines":           {"a\nb\n", []string{"set", "--session-file", session, "name"}, exitUsage, "more than one line"},
		"nobody":              {"x", []string{"set", "name"}, exitUsage, "say who asks splunkd"},
		"two ways":            {"x", []string{"list", "--session-file", session, "--user", "a"}, exitUsage, "in one way"},
		"file of others":      {"x", []string{"list", "--session-file", open}, exitUsage, "chmod 600"},
		"one stdin for two":   {"x", []string{"set", "--user", "admin", "name"}, exitUsage, "standard input gives the secret"},
		"wrong password":      {"wrong", []string{"list", "--user", "admin"}, exitFailed, "Login failed"},
		"wrong session":       {"", []string{"list", "--session-file", secretFile(t, "old")}, exitFailed, "the session has ended"},
		"not splunkd's":       {"", []string{"list", "--session-file", session, "--splunkd", "http://127.0.0.1:8089"}, exitUsage, "want https"},
		"other authority":     {"", []string{"list", "--session-file", session, "--ca-file", ""}, exitUnavailable, "the system's authorities"},
		"no such subcommand":  {"", []string{"show"}, exitUsage, `credentials has no "show"`},
		"arguments to a list": {"", []string{"list", "x"}, exitUsage, "takes no arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			line := []string{"credentials", c.args[0]}
			if c.args[0] != "show" {
				line = append(line, "--splunkd", r.URI, "--ca-file", r.CAFile)
			}
			code, out, errs := runCommandLine(t, c.stdin, (*program).credentialsCommand, append(line, c.args[1:]...)...)
			require.Equal(t, c.code, code, errs)
			require.Contains(t, errs, c.want)
			require.Empty(t, out)
		})
	}
}
