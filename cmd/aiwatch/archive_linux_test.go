package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArchiveDiskFull: the archive lies on a disk of its own that somebody else
// has filled. A pass waits as long as it may and says why, a run waits and says
// so, also to status, and both lose nothing; with room again all goes on.
func TestArchiveDiskFull(t *testing.T) {
	whole(t)
	disk := mountTmpfs(t, "4m")
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 1000)
	path := filepath.Join(disk, "archive")
	s := newSetup(t, logs.input(), hecStanza(hec.URL())+"\n[archive]\npath = "+path+"\n")
	s.deliverOnce(t)
	hec.requireArchived(t, path, logs.ids)

	ballast := filepath.Join(disk, "ballast")
	require.ErrorContains(t, os.WriteFile(ballast, bytes.Repeat([]byte{1}, 4<<20), 0o600), "no space left")
	for range 20 {
		logs.add(t, 1000)
	}
	code, log := s.once(t, "--max-wait", "200ms")
	require.Equal(t, exitUnavailable, code, tail(log))
	require.Contains(t, log, "nothing can be committed; it is tried again, and collectors wait meanwhile")
	require.Contains(t, log, "no space left on device")
	require.Contains(t, log, "wait: write the archive in "+path)
	hec.requireAll(t, logs.ids[:1000])

	p := s.start(t, "run")
	p.says(t, "no space left on device")
	p.works(t)
	status := startProgram(t, nil, "status", "--state", s.state)
	require.Equal(t, exitDone, status.end(t))
	require.Regexp(t, `(?m)^inputs wait +write the archive in .*: no space left on device$`, status.out.String())

	require.NoError(t, os.Remove(ballast))
	hec.arrives(t, logs.ids)
	p.finish(t)
	hec.requireArchived(t, path, logs.ids)
}
