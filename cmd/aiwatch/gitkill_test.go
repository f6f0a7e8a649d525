package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
)

// TestGitKilledBetweenFetchAndCommit kills the program as soon as a fetch has
// brought the new commits into its mirror, round by round, and counts at the
// receiver: every commit and every changed file is told once.
func TestGitKilledBetweenFetchAndCommit(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git and the built program")
	}
	dir := t.TempDir()
	origin, work := filepath.Join(dir, "models.git"), filepath.Join(dir, "work")
	counterpart.Git(t, dir, "init", "--quiet", "--bare", "--initial-branch=main", origin)
	counterpart.Git(t, dir, "init", "--quiet", "--initial-branch=main", work)
	number := 0
	push := func(commits int) (tip string) {
		for range commits {
			number++
			require.NoError(t, os.WriteFile(filepath.Join(work, "config.json"), fmt.Appendf(nil, `{"layers":%d}`, number), 0o644))
			counterpart.Git(t, work, "add", ".")
			counterpart.Git(t, work, "-c", "user.name=Ada", "-c", "user.email=ada@acme.example", "commit", "--quiet", "-m", fmt.Sprint("round ", number))
		}
		counterpart.Git(t, work, "push", "--quiet", origin, "main")
		return counterpart.Git(t, work, "rev-parse", "HEAD")
	}
	hec := startReceiver(t, false, nil)
	s := newSetup(t, "[aiwatch_git://lab]\nurl = "+origin+"\nroot = "+dir+"\ninterval = 1\n", hecStanza(hec.URL()))
	push(1)
	s.deliverOnce(t) // first contact: what exists is inventory

	var tips []string
	for range rounds(t) {
		tips = append(tips, push(3))
		p := s.start(t, "run")
		eventually(t, "the fetch has brought "+tips[len(tips)-1], func() bool {
			return p.hasEnded() || inMirror(s.state, tips[len(tips)-1])
		})
		p.works(t)
		p.signal(t, syscall.SIGKILL)
		<-p.exited
	}
	s.deliverOnce(t)

	// By event_id: what was posted and not yet removed is sent again.
	events := func(operation string) map[string]int {
		ids, perAsset := map[string]bool{}, map[string]int{}
		for _, e := range hec.told.of(operation) {
			if !ids[e.EventID] {
				ids[e.EventID] = true
				perAsset[strings.TrimPrefix(e.AssetID, "git:local/models")]++
			}
		}
		return perAsset
	}
	added, changed := events("commit.added"), events("file.modified")
	commits := strings.Fields(counterpart.Git(t, work, "rev-list", "HEAD", "--not", "HEAD~"+fmt.Sprint(number-1)))
	require.Len(t, commits, 3*len(tips))
	for _, commit := range commits {
		require.Equal(t, 1, added["@"+commit], "commit %s is told once", commit)
	}
	require.Len(t, added, len(commits))
	require.Equal(t, map[string]int{"//config.json": len(commits)}, changed)
	stats := hec.counter.Stats()
	require.Zero(t, stats.SeqMissing+stats.SeqDoubles+stats.Conflicts+stats.Repeats, "%+v", stats)
	t.Logf("killed %d times: %d commits, each told once, %d events sent again with the same id", len(tips), len(commits), stats.Duplicates)
}

// inMirror tells whether any mirror below the state folder has the commit.
func inMirror(state, commit string) bool {
	mirrors, _ := filepath.Glob(filepath.Join(state, "git", "*", "*.git"))
	for _, mirror := range mirrors {
		cmd := exec.Command("git", "--git-dir", mirror, "cat-file", "-e", commit)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
		if cmd.Run() == nil {
			return true
		}
	}
	return false
}
