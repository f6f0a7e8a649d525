package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/collectors/gitrepo"
)

// hookPatience is how long a push may wait for its line, with room for starting
// and ending the program within a tenth of a second.
const hookPatience = 50 * time.Millisecond

// Limits of one hook line in bytes: what the collector reads as one.
const (
	maxHookLine  = 512 << 10
	maxHookValue = 1 << 10
)

// gitHookCommand is a post-receive hook.
func (p *program) gitHookCommand() *cli.Command {
	return &cli.Command{
		Name:  "git-hook",
		Usage: "post-receive hook: write who pushed what to a file",
		Description: "Called by git after a push, it appends one JSON line to the file that the\n" +
			"input's hook_log names. It never delays or fails a push: what can't be written\n" +
			"at once is lost, silently. As hooks/post-receive of a repository:\n\n" +
			"  #!/bin/sh\n" +
			"  exec aiwatch git-hook --log /var/log/aiwatch/git-hook.log",
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "log", EnvVars: []string{"AIWATCH_HOOK_LOG"}, Usage: "append to `FILE`"},
		},
		Action: func(c *cli.Context) error {
			ctx, cancel := context.WithTimeout(c.Context, hookPatience)
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				// Nobody is there to be told: a hook's words go to who pushes.
				_ = p.writeHookLine(c.Path("log"))
			}()
			// A disk that does not answer holds the writer; the program ends without
			// it, and with the program it ends too.
			select {
			case <-done:
			case <-ctx.Done():
			}
			return nil
		},
	}
}

// writeHookLine reads the references that were pushed and appends the line.
func (p *program) writeHookLine(path string) error {
	if path == "" {
		return errors.New("no file is named")
	}
	lines, err := p.hookLines()
	if err != nil {
		return err
	}
	// Not blocking: a pipe that nobody reads is refused, not waited for.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	// A line that a full disk cut off must not spoil this one.
	last := []byte{'\n'}
	if info.Size() > 0 {
		if _, err := f.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
	}
	if last[0] != '\n' {
		lines = append([]byte{'\n'}, lines...)
	}
	_, err = f.Write(lines)
	return err
}

// hookLines makes the line of a push from what git and the server tell a hook:
// `<old> <new> <ref>` on standard input, the rest in the environment. A push of
// very many references takes more than one.
func (p *program) hookLines() ([]byte, error) {
	line := gitrepo.HookLine{Time: p.now().UTC(), Repo: p.hookRepo()}
	line.User, line.Src, line.Via = p.hookCaller()
	var out []byte
	size := 0
	flush := func() error {
		if len(line.Updates) == 0 {
			return nil
		}
		b, err := line.Encode()
		out, line.Updates, size = append(out, b...), nil, 0
		return err
	}
	in := bufio.NewReader(p.stdin)
	for {
		text, err := in.ReadString('\n')
		if f := strings.SplitN(strings.TrimRight(text, "\r\n"), " ", 3); len(f) == 3 {
			line.Updates = append(line.Updates, gitrepo.HookUpdate{Old: f[0], New: f[1], Ref: f[2]})
			if size += len(text) + 64; size > maxHookLine {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("nothing was pushed")
	}
	return out, nil
}

// hookRepo is the repository's folder: git starts a hook in it.
func (p *program) hookRepo() string {
	dir := p.getenv("GIT_DIR")
	if dir == "" {
		dir = "."
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return bounded(dir)
}

// hookCaller tells who pushes, from where and by what, in the words of Gitea and
// Forgejo, GitLab, gitolite, git http-backend and sshd.
func (p *program) hookCaller() (user, src, via string) {
	first := func(names ...string) string {
		for _, name := range names {
			if v := p.getenv(name); v != "" {
				return bounded(v)
			}
		}
		return ""
	}
	ssh, _, _ := strings.Cut(first("SSH_CONNECTION", "SSH_CLIENT"), " ")
	user = first("GITEA_PUSHER_NAME", "GL_USERNAME", "GL_USER", "REMOTE_USER")
	switch {
	case first("REMOTE_ADDR") != "":
		return user, first("REMOTE_ADDR"), "http"
	case ssh != "":
		if user == "" { // everybody has an account of their own
			user = first("LOGNAME", "USER")
		}
		return user, ssh, "ssh"
	}
	if user == "" {
		user = first("LOGNAME", "USER")
	}
	return user, "", ""
}

// bounded cuts a text of the environment.
func bounded(s string) string {
	if len(s) > maxHookValue {
		return strings.ToValidUTF8(s[:maxHookValue], "")
	}
	return s
}
