package gitrepo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
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

// generate fills the lab's source with a history of n commits in 200 folders;
// one of ten commits touches a file of an AI-asset class, one of twenty merges.
func (l *lab) generate(n int) {
	l.t.Helper()
	var s bytes.Buffer
	fmt.Fprintf(&s, "reset refs/heads/main\n")
	mark := 0
	for i := range n {
		mark++
		message := fmt.Sprintf("change number %d of a generated history", i)
		fmt.Fprintf(&s, "commit refs/heads/main\nmark :%d\nauthor Dev %d <dev%d@example.test> %d +0000\ncommitter Dev <dev@example.test> %d +0000\ndata %d\n%s\n",
			mark, i%40, i%40, 1700000000+i*60, 1700000000+i*60, len(message), message)
		if mark > 1 {
			fmt.Fprintf(&s, "from :%d\n", mark-1)
		}
		if i%20 == 19 {
			fmt.Fprintf(&s, "merge :%d\n", mark-10)
		}
		for j := range 3 {
			name := fmt.Sprintf("src/d%d/f%d.go", (i*7+j)%200, (i+j)%50)
			if i%10 == 0 && j == 0 {
				name = fmt.Sprintf("models/m%d.safetensors", i%30)
			}
			content := fmt.Sprintf("content %d %d\n", i, j)
			fmt.Fprintf(&s, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
		}
	}
	cmd := exec.CommandContext(l.t.Context(), "git", "-C", l.source, "fast-import", "--quiet")
	cmd.Stdin = &s
	out, err := cmd.CombinedOutput()
	require.NoError(l.t, err, string(out))
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
			l.generate(n)
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
	var refs strings.Builder
	for i := range 18000 {
		fmt.Fprintf(&refs, "create refs/heads/team%d/branch-%d %s\n", i%50, i, c)
	}
	cmd := exec.CommandContext(b.Context(), "git", "-C", l.source, "update-ref", "--stdin")
	cmd.Stdin = strings.NewReader(refs.String())
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, string(out))
	l.gitIn(l.source, "pack-refs", "--all")
	require.NoError(b, l.collector().Poll(b.Context(), l.out))
	start, n := cpu(b), 0
	for b.Loop() {
		l.tick()
		require.NoError(b, l.collector().Poll(b.Context(), l.out))
		n++
	}
	b.ReportMetric((cpu(b)-start).Seconds()/float64(n), "cpu-s/poll")
}
