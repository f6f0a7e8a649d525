package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
)

// TestGitMemory reads a repository of 18,000 references and 5,000 commits
// (40,000 with a hundred rounds or more), history included, and then again when
// nothing has changed. The program's own memory stays bounded; git's is git's.
func TestGitMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git and the built program")
	}
	commits, branches := 5000, 18000
	if rounds(t) >= 100 {
		commits = 40000
	}
	dir := t.TempDir()
	origin := filepath.Join(dir, "models.git")
	counterpart.Git(t, dir, "init", "--quiet", "--bare", "--initial-branch=main", origin)
	counterpart.GitHistory(t, origin, commits)
	counterpart.GitBranches(t, origin, counterpart.Git(t, origin, "rev-parse", "main"), branches)
	hec := startReceiver(t, false, nil)
	s := newSetup(t, "[aiwatch_git://lab]\nurl = "+origin+"\nroot = "+dir+"\nbackfill = 36500\n", hecStanza(hec.URL()))
	for _, pass := range []string{"first contact", "nothing changed"} {
		most := s.start(t, "run", "--once").mostMiB(t)
		t.Logf("%s: at most %d MiB of anonymous memory", pass, most)
		require.Less(t, most, 64, "MiB of anonymous memory")
		require.Len(t, hec.told.of("commit.added"), commits)
		require.Len(t, hec.told.of("inventory"), 1+1+branches) // the repository, main, and the branches
	}
}
