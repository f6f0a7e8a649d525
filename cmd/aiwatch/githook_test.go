package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// runHook calls the hook as git does and returns how it ended.
func runHook(t *testing.T, env map[string]string, stdin string, args ...string) (said string, err error) {
	t.Helper()
	var out bytes.Buffer
	p := &program{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &out,
		now:    func() time.Time { return time.Date(2026, 3, 2, 9, 13, 5, 250e6, time.UTC) },
		getenv: func(name string) string { return env[name] },
	}
	app := &cli.App{Commands: []*cli.Command{p.gitHookCommand()}, Writer: &out, ErrWriter: &out}
	err = app.RunContext(context.Background(), append([]string{"aiwatch", "git-hook"}, args...))
	return out.String(), err
}

const (
	hookOld = "1111111111111111111111111111111111111111"
	hookNew = "2222222222222222222222222222222222222222"
)

func TestGitHookWritesOneLine(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"http-backend", map[string]string{"REMOTE_USER": "alice", "REMOTE_ADDR": "192.0.2.7", "GIT_DIR": "/srv/git/vision.git"}, `"user":"alice","src":"192.0.2.7","via":"http"`},
		{"sshd", map[string]string{"SSH_CONNECTION": "2001:db8::5 4022 10.0.0.1 22", "USER": "bob", "GIT_DIR": "/srv/git/vision.git"}, `"user":"bob","src":"2001:db8::5","via":"ssh"`},
		{"gitea", map[string]string{"GITEA_PUSHER_NAME": "carol", "SSH_CONNECTION": "10.1.1.1 1 2 3", "USER": "git", "GIT_DIR": "/srv/git/vision.git"}, `"user":"carol","src":"10.1.1.1","via":"ssh"`},
		{"local", map[string]string{"LOGNAME": "dave", "GIT_DIR": "/srv/git/vision.git"}, `"user":"dave"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "hook.log")
			said, err := runHook(t, c.env, hookOld+" "+hookNew+" refs/heads/main\n", "--log", log)
			require.NoError(t, err)
			require.Empty(t, said)
			b, err := os.ReadFile(log)
			require.NoError(t, err)
			require.Equal(t, `{"time":"2026-03-02T09:13:05.25Z","repo":"/srv/git/vision.git",`+c.want+
				`,"updates":[{"ref":"refs/heads/main","old":"`+hookOld+`","new":"`+hookNew+`"}]}`+"\n", string(b))
		})
	}
}

func TestGitHookStartsANewLineAfterACutOne(t *testing.T) {
	log := filepath.Join(t.TempDir(), "hook.log")
	require.NoError(t, os.WriteFile(log, []byte(`{"time":"2026-`), 0o600))
	_, err := runHook(t, nil, hookOld+" "+hookNew+" refs/heads/main\n", "--log", log)
	require.NoError(t, err)
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	lines := strings.Split(string(b), "\n")
	require.Len(t, lines, 3)
	require.Equal(t, `{"time":"2026-`, lines[0])
	require.True(t, strings.HasPrefix(lines[1], `{"time":"2026-03-02`))
}

func TestGitHookSplitsAPushOfVeryManyReferences(t *testing.T) {
	log := filepath.Join(t.TempDir(), "hook.log")
	var in strings.Builder
	for range 5000 {
		in.WriteString(hookOld + " " + hookNew + " refs/heads/" + strings.Repeat("x", 200) + "\n")
	}
	// Without the patience of a push, which a slow machine may exceed here.
	p := &program{stdin: strings.NewReader(in.String()), now: time.Now, getenv: func(string) string { return "" }}
	require.NoError(t, p.writeHookLine(log))
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, 5000, bytes.Count(b, []byte(`"ref":`)))
	for line := range bytes.Lines(b) {
		require.Less(t, len(line), 1<<20)
	}
}

// A log that can't be written never fails a push and is never waited for. How
// long a push really takes is measured beside git, in the test of that name.
func TestGitHookNeverFails(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	full := filepath.Join(dir, "full")
	require.NoError(t, os.Symlink("/dev/full", full))
	for name, log := range map[string]string{
		"no file is named":         "",
		"a folder":                 dir,
		"a folder that is not":     filepath.Join(dir, "none", "hook.log"),
		"a pipe that nobody reads": fifo,
		"a full device":            full,
	} {
		t.Run(name, func(t *testing.T) {
			said, err := runHook(t, nil, hookOld+" "+hookNew+" refs/heads/main\n", "--log", log)
			require.NoError(t, err)
			require.Empty(t, said)
		})
	}
	t.Run("a pipe whose reader does not read", func(t *testing.T) {
		r, err := os.OpenFile(fifo, os.O_RDWR, 0)
		require.NoError(t, err)
		defer r.Close()
		said, err := runHook(t, nil, hookOld+" "+hookNew+" refs/heads/main\n", "--log", fifo)
		require.NoError(t, err)
		require.Empty(t, said)
	})
	t.Run("git that says nothing", func(t *testing.T) {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer w.Close()
		p := &program{stdin: r, now: time.Now, getenv: func(string) string { return "" }}
		app := &cli.App{Commands: []*cli.Command{p.gitHookCommand()}}
		require.NoError(t, app.RunContext(context.Background(), []string{"aiwatch", "git-hook", "--log", filepath.Join(dir, "x")}))
	})
}
