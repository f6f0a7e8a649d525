package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/forwarder/archive"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
)

// archiveStanza archives below the test's folder.
func archiveStanza(t *testing.T) (path, stanza string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "archive")
	return path, "\n[archive]\npath = " + path + "\n"
}

// archived counts how often each event is in the archive.
func archived(t *testing.T, path string) (count map[string]int, report archive.Report) {
	t.Helper()
	a, err := archive.Open(path)
	require.NoError(t, err)
	count = map[string]int{}
	report, err = a.Read(t.Context(), time.Time{}, time.Time{}, func(line []byte) error {
		var envelope struct {
			Event struct {
				ID string `json:"event_id"`
			}
		}
		if err := json.Unmarshal(line, &envelope); err != nil {
			return err
		}
		count[envelope.Event.ID]++
		return nil
	})
	require.NoError(t, err)
	return count, report
}

// requireArchived asserts that the archive is whole, and has each event of the
// truth and each that the receiver knows, once.
func (r *receiver) requireArchived(t *testing.T, path string, ids []event.ID) {
	t.Helper()
	count, report := archived(t, path)
	require.Empty(t, report.Damaged)
	for _, id := range ids {
		require.Equal(t, 1, count[id.String()], "event %s", id)
	}
	require.EqualValues(t, r.counter.Stats().Distinct, report.Events, "events in the archive, those at the receiver")
	require.Equal(t, report.Events, len(count), "each once")
}

// TestArchiveKilledAnywhere kills the program at the moments of its commits, at
// those of its delivery and at random ones, while two inputs commit at once and
// the receiver fails at random. The archive has each event once, like the
// receiver.
func TestArchiveKilledAnywhere(t *testing.T) {
	whole(t)
	hec := startReceiver(t, true, nil)
	prod, lab := newLogFolder(t), newLogFolder(t)
	lab.first = 1_000_000
	path, stanza := archiveStanza(t)
	s := newSetup(t, prod.input()+strings.Replace(lab.input(), "prod", "lab", 1), hecStanza(hec.URL())+"batch_bytes = 64KiB\n"+stanza)
	socket, points := listenTrace(t)
	random := rand.New(rand.NewPCG(3, 4))
	start := func(args ...string) *process {
		return s.startIn(t, []string{traceEnv + "=" + socket}, "run", args...)
	}
	killed := map[string]int{}
	for round := range rounds(t) {
		for range 4 {
			prod.add(t, 150)
			lab.add(t, 150)
		}
		require.NoError(t, hec.faults.Set(random.Uint64(),
			hecserver.Fault{Code: hecserver.ServerBusy, Commit: 10, Named: true, Probability: 0.1},
			hecserver.Fault{End: hecserver.Drop, Probability: 0.05}, hecserver.Fault{Code: hecserver.InternalError, Probability: 0.05}))
		p := start()
		target := [...][]string{
			{"archived"},  // between the archive and the commit
			{"committed"}, // behind it
			{"archived", "committed", "before-post", "posted", "before-remove"},
		}[round%3]
		if round%2 == 0 {
			killed[p.killAt(t, points, 1+random.IntN(6), target...)]++
			continue
		}
		// Anywhere: some time after it has gone on from there.
		p.killAfter(t, points, 1+random.IntN(6), time.Duration(random.IntN(20_000))*time.Microsecond, target...)
		killed["in between"]++
		count, report := archived(t, path)
		require.Equal(t, report.Events, len(count), "nothing is there twice before the next start either")
		for _, d := range report.Damaged {
			require.True(t, d.Torn, "%s", d)
		}
	}
	require.NoError(t, hec.faults.Set(1))
	start("--once", "--max-wait", "60s").passes(t, points)
	ids := append(prod.ids, lab.ids...)
	hec.requireAllFrom(t, ids, 2)
	hec.requireArchived(t, path, ids)
	require.Empty(t, hec.told.of("archive.damaged"))
	t.Logf("killed %d times (%v): %d records, each once in the archive", rounds(t), killed, len(ids))
}

// killAfter kills the process some time after it has come to one of these points
// the n-th time and gone on.
func (p *process) killAfter(t *testing.T, points <-chan tracepoint, n int, after time.Duration, names ...string) {
	t.Helper()
	var kill <-chan time.Time
	for {
		select {
		case at := <-points:
			at.goOn()
			if slices.Contains(names, at.name) {
				n--
			}
			if n == 0 && kill == nil {
				kill = time.After(after)
			}
		case <-kill:
			require.NoError(t, p.cmd.Process.Kill())
			<-p.exited
			return
		case <-p.exited:
			t.Fatalf("the run ended by itself, before %v", names)
		case <-time.After(time.Minute):
			t.Fatalf("%v was not reached in a minute, %d to go", names, n)
		}
	}
}

// TestArchiveThatIsTakenAway: somebody removes a file, and an event says so.
// Delivery goes on.
func TestArchiveThatIsTakenAway(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 100)
	path, stanza := archiveStanza(t)
	s := newSetup(t, logs.input(), hecStanza(hec.URL())+stanza)
	s.deliverOnce(t)
	hec.requireArchived(t, path, logs.ids)
	files, err := filepath.Glob(filepath.Join(path, "events-*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.NoError(t, os.Remove(f))
	}
	logs.add(t, 100)
	s.deliverOnce(t)
	hec.requireAll(t, logs.ids)
	told := hec.told.of("archive.damaged")
	require.Len(t, told, 1)
	require.Regexp(t, `^events-20[0-9-]+\.ndjson\.zst is gone; it had [0-9]+ bytes$`, told[0].Text)
	count, _ := archived(t, path)
	for i, id := range logs.ids {
		require.Equal(t, i/100, count[id.String()], "event %d", i)
	}
}

// TestArchiveOfTwoForwarders is refused: each needs a folder of its own.
func TestArchiveOfTwoForwarders(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 100)
	_, stanza := archiveStanza(t)
	one := newSetup(t, logs.input(), hecStanza(hec.URL())+stanza)
	other := newSetup(t, logs.input(), hecStanza(hec.URL())+stanza)
	first := one.start(t, "run")
	hec.arrives(t, logs.ids)
	code, log := other.once(t)
	require.Equal(t, exitUsage, code)
	require.Contains(t, log, "give each forwarder a path of its own under [archive]")
	first.finish(t)
}
