package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
	"aiwatch/internal/s3sim"
)

// TestDiskFull: the state lies on a tmpfs of 4 MiB. The run says that it can't
// write, waits, and goes on by itself once there is room again.
func TestDiskFull(t *testing.T) {
	whole(t)
	for name, tc := range map[string]struct {
		ballast int64 // bytes of the disk that somebody else uses
		fault   []hecserver.Fault
	}{
		"by the queue, while the destination takes nothing": {0, []hecserver.Fault{busy}},
		"by somebody else": {4<<20 - 400<<10, nil},
	} {
		t.Run(name, func(t *testing.T) {
			disk := mountTmpfs(t, "4m")
			hec := startReceiver(t, false, nil)
			hec.misbehave(t, tc.fault...)
			logs := newLogFolder(t)
			for range 20 {
				logs.add(t, 5000)
			}
			s := newSetup(t, logs.input(), hecStanza(hec.URL()))
			s.state = filepath.Join(disk, "state")
			ballast := filepath.Join(disk, "ballast")
			require.NoError(t, os.WriteFile(ballast, bytes.Repeat([]byte{1}, int(tc.ballast)), 0o600))
			if tc.ballast > 0 {
				// All that is left goes when the run has its state.
				hec.misbehave(t, busy)
			}
			p := s.start(t, "run")
			p.says(t, "no space left on device")
			p.works(t)
			require.Positive(t, s.waiting(t), "status answers while the disk is full")

			require.NoError(t, os.Remove(ballast))
			hec.misbehave(t)
			hec.arrives(t, logs.ids)
			logs.add(t, 10)
			hec.arrives(t, logs.ids)
			p.finish(t)
			hec.requireAll(t, logs.ids)
		})
	}
}

// TestReadOnlyState ends with 74 and says what to do, with and without a state
// that is there already. Mended, the next run goes on.
func TestReadOnlyState(t *testing.T) {
	whole(t)
	disk := mountTmpfs(t, "64m")
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 100)
	s := newSetup(t, logs.input(), hecStanza(hec.URL()))
	s.state = filepath.Join(disk, "state")
	refused := func() {
		t.Helper()
		remount(t, disk, syscall.MS_RDONLY)
		code, log := s.once(t)
		require.Equal(t, exitState, code, log)
		require.Contains(t, log, "read-only file system")
		require.Contains(t, log, s.state)
		remount(t, disk, 0)
	}
	refused()
	s.deliverOnce(t)
	logs.add(t, 100)
	refused()
	s.deliverOnce(t)
	hec.requireAll(t, logs.ids)
}

// TestLargeObject reads one object of 200 MB (2 GB with a hundred rounds or
// more), which is made while it is read: the program's own memory stays bounded.
func TestLargeObject(t *testing.T) {
	whole(t)
	size := int64(200 << 20)
	if rounds(t) >= 100 {
		size = 2 << 30
	}
	hec := startReceiver(t, false, nil)
	s3 := newFakeS3(t)
	object := s3sim.Object{Modified: logsBegin}
	var ids []event.ID
	for object.Size < size {
		line, id := accessLine(len(ids), logsBegin)
		ids = append(ids, id)
		object.Size += int64(len(line)) + 1
	}
	object.Open = func() io.Reader { return &generated{records: len(ids)} }
	s3.Put(logKey(0), object)
	s := newSetup(t, s3.input(), hecStanza(hec.URL()))
	most := s.start(t, "run", "--once").mostMiB(t)
	hec.requireAll(t, ids)
	t.Logf("%d MB, %d records: at most %d MiB of anonymous memory", size>>20, len(ids), most)
	require.Less(t, most, 128, "MiB of anonymous memory")
}

// generated is the text of a log object that is made while it is read.
type generated struct {
	next, records int
	line          []byte // what is left of the last one
}

func (g *generated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(g.line) == 0 {
			if g.next == g.records {
				return n, io.EOF
			}
			line, _ := accessLine(g.next, logsBegin)
			g.line = append([]byte(line), '\n')
			g.next++
		}
		taken := copy(p[n:], g.line)
		g.line = g.line[taken:]
		n += taken
	}
	return n, nil
}
