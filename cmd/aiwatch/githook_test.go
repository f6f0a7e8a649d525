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

	"aiwatch/internal/counterpart"
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
// long a push really takes is measured beside git, in TestPushIsNotHeldUp.
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

// TestPushIsNotHeldUp pushes with the hook and with one that does nothing, and
// compares: whatever the log is, a push ends well and at most 100 ms later. A
// busy machine may hold up either, so each has a few tries.
func TestPushIsNotHeldUp(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git and the built program")
	}
	const tries = 30
	bin := builtProgram(t)
	for name, prepare := range map[string]func(t *testing.T, dir string) string{
		"written":    func(_ *testing.T, dir string) string { return filepath.Join(dir, "hook.log") },
		"unwritable": func(_ *testing.T, dir string) string { return filepath.Join(dir, "none", "hook.log") },
		"full": func(t *testing.T, dir string) string {
			log := filepath.Join(dir, "full")
			require.NoError(t, os.Symlink("/dev/full", log))
			return log
		},
		"a pipe that nobody reads": func(t *testing.T, dir string) string {
			log := filepath.Join(dir, "fifo")
			require.NoError(t, syscall.Mkfifo(log, 0o600))
			return log
		},
		"a pipe that is full": func(t *testing.T, dir string) string {
			log := filepath.Join(dir, "fifo")
			require.NoError(t, syscall.Mkfifo(log, 0o600))
			pipe, err := os.OpenFile(log, os.O_RDWR|syscall.O_NONBLOCK, 0)
			require.NoError(t, err)
			t.Cleanup(func() { _ = pipe.Close() })
			for err == nil {
				require.NoError(t, pipe.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
				_, err = pipe.Write(make([]byte, 1<<16))
			}
			return log
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			log := prepare(t, dir)
			source, work := filepath.Join(dir, "source.git"), filepath.Join(dir, "work")
			counterpart.Git(t, dir, "init", "--quiet", "--bare", "--initial-branch=main", source)
			counterpart.Git(t, dir, "init", "--quiet", "--initial-branch=main", work)
			hook := filepath.Join(source, "hooks", "post-receive")
			push := func(script string) time.Duration {
				require.NoError(t, os.WriteFile(hook, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
				counterpart.Git(t, work, "commit", "--quiet", "--allow-empty", "-m", "x")
				start := time.Now()
				counterpart.Git(t, work, "push", "--quiet", source, "main") // fails the test when it fails
				return time.Since(start)
			}
			plain, hooked := time.Duration(1<<62), time.Duration(1<<62)
			for i := range tries {
				plain = min(plain, push("exit 0"))
				hooked = min(hooked, push("exec '"+bin+"' git-hook --log '"+log+"'"))
				if i >= 2 && hooked-plain <= 100*time.Millisecond {
					break
				}
			}
			t.Logf("%s longer than without", hooked-plain)
			require.LessOrEqual(t, hooked-plain, 100*time.Millisecond)
			if name == "written" {
				lines, err := os.ReadFile(log)
				require.NoError(t, err)
				require.Contains(t, string(lines), "refs/heads/main")
			}
		})
	}
}
