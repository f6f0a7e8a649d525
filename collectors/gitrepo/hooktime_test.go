package gitrepo

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkPushWithHook measures how much longer a push takes with `aiwatch
// git-hook` than with a hook that does nothing, for logs that can't be written.
func BenchmarkPushWithHook(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "aiwatch")
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", bin, "aiwatch/cmd/aiwatch").CombinedOutput()
	require.NoError(b, err, string(out))
	for name, prepare := range map[string]func(dir string) string{
		"written":    func(dir string) string { return filepath.Join(dir, "hook.log") },
		"unwritable": func(dir string) string { return filepath.Join(dir, "none", "hook.log") },
		"full": func(dir string) string {
			p := filepath.Join(dir, "full")
			require.NoError(b, os.Symlink("/dev/full", p))
			return p
		},
		"blocked pipe": func(dir string) string {
			p := filepath.Join(dir, "fifo")
			require.NoError(b, syscall.Mkfifo(p, 0o600))
			return p
		},
	} {
		b.Run(name, func(b *testing.B) {
			l := newLab(b)
			log := prepare(l.dir)
			hook := filepath.Join(l.source, "hooks", "post-receive")
			require.NoError(b, os.MkdirAll(filepath.Dir(hook), 0o700))
			push := func(script string) time.Duration {
				require.NoError(b, os.WriteFile(hook, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
				l.commit("x")
				start := time.Now()
				l.push("main")
				return time.Since(start)
			}
			var with, without, worst time.Duration
			n := 0
			for b.Loop() {
				plain := push("exit 0")
				hooked := push("exec " + bin + " git-hook --log '" + log + "'")
				with, without, worst = with+hooked, without+plain, max(worst, hooked-plain)
				n++
			}
			b.ReportMetric(float64((with-without).Milliseconds())/float64(n), "more-ms/push")
			b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
		})
	}
}
