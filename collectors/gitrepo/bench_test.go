package gitrepo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/internal/counterpart"
)

// cpu is the time that this process and its ended children have computed.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	return cpuOf(t, syscall.RUSAGE_SELF) + cpuOf(t, syscall.RUSAGE_CHILDREN)
}

func cpuOf(t testing.TB, who int) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(who, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHistory tells a whole history and compares the CPU with that of
// `git log --raw` over the same mirror. 40,000 commits with AIWATCH_ROUNDS=100.
func BenchmarkHistory(b *testing.B) {
	sizes := []int{5000}
	if rounds(b) > 10 {
		sizes = append(sizes, 40000)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := newLab(b)
			counterpart.GitHistory(b, l.source, n)
			l.cfg.BackfillDays = 36500
			var ours, ourGit, git time.Duration
			for b.Loop() {
				require.NoError(b, os.RemoveAll(l.cfg.Dir))
				l.restart()
				l.out = &collectors.Memory{Source: "s", Collector: "c", Deliver: func([]byte) error { return nil }}
				// The fetch is git's; what is told after it is ours.
				col := l.collector()
				r := col.repos[0]
				require.NoError(b, os.MkdirAll(filepath.Join(l.cfg.Dir, "home"), 0o700))
				require.NoError(b, r.open(b.Context()))
				require.NoError(b, r.observe(b.Context(), l.out))
				start, children := cpu(b), cpuOf(b, syscall.RUSAGE_CHILDREN)
				require.NoError(b, r.tell(b.Context(), l.out))
				ours += cpu(b) - start
				ourGit += cpuOf(b, syscall.RUSAGE_CHILDREN) - children
				start = cpu(b)
				out, err := exec.CommandContext(b.Context(), "sh", "-c", "git --git-dir "+r.mirror.dir+" log --all --raw -z --no-abbrev --no-renames --diff-merges=first-parent | cat >/dev/null").CombinedOutput()
				require.NoError(b, err, string(out))
				git += cpu(b) - start
				r.mirror.close()
			}
			b.ReportMetric(ours.Seconds()/float64(b.N), "ours-cpu-s")
			b.ReportMetric(ourGit.Seconds()/float64(b.N), "of-it-git-cpu-s")
			b.ReportMetric(git.Seconds()/float64(b.N), "git-cpu-s")
			b.ReportMetric(float64(ours)/float64(git), "times-git")
			b.ReportMetric(float64(l.out.Events()), "events")
		})
	}
}

// BenchmarkUnchangedRefs polls a repository of 18,000 references in which
// nothing moved.
func BenchmarkUnchangedRefs(b *testing.B) {
	l := newLab(b)
	c := l.commit("first")
	l.push()
	counterpart.GitBranches(b, l.source, c, 18000)
	require.NoError(b, l.collector().Poll(b.Context(), l.out))
	start, n := cpu(b), 0
	for b.Loop() {
		l.tick()
		require.NoError(b, l.collector().Poll(b.Context(), l.out))
		n++
	}
	b.ReportMetric((cpu(b)-start).Seconds()/float64(n), "cpu-s/poll")
}
