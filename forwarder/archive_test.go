package forwarder_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/forwarder"
	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/hec"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/hecserver"
)

var indexTime = regexp.MustCompile(`,"indextime":[0-9.]+}$`)

// archivedEvents returns the envelopes in an archive, as they were delivered.
func archivedEvents(t *testing.T, dir string) (all []string) {
	t.Helper()
	a, err := archive.Open(dir)
	require.NoError(t, err)
	report, err := a.Read(t.Context(), time.Time{}, time.Time{}, func(line []byte) error {
		require.Regexp(t, indexTime, string(line))
		all = append(all, indexTime.ReplaceAllString(string(line), "}"))
		return nil
	})
	require.NoError(t, err)
	require.Empty(t, report.Damaged)
	return all
}

var idField = regexp.MustCompile(`"event_id":"([0-9a-f]{32})"`)

// archivedIDs counts how often each event is in an archive.
func archivedIDs(t *testing.T, dir string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, e := range archivedEvents(t, dir) {
		count[idField.FindStringSubmatch(e)[1]]++
	}
	return count
}

// day is a day of a simulated clock.
func day(n int) time.Time { return time.Date(2026, 3, 2+n, 9, 0, 0, 0, time.UTC) }

// at is a clock that stands, but for what waits.
type at struct{ now time.Time }

func (c at) Now() time.Time                         { return c.now }
func (c at) After(d time.Duration) <-chan time.Time { return time.After(min(d, 10*time.Millisecond)) }

// TestArchiveHasWhatIsCommitted: each event of several inputs is in the archive
// once, whatever the destination does to it, and so are the dead letters' health
// events. What is refused, rerouted and sent again is not there again.
func TestArchiveHasWhatIsCommitted(t *testing.T) {
	dir := t.TempDir()
	server, counter := receiver(t, hecserver.Config{
		Tokens: []hecserver.Token{{Value: token, Ack: true}}, MaxRaw: 20_000,
		Faults: faults(t, hecserver.Fault{Code: hecserver.ServerBusy, Commit: 20, Named: true, Probability: 0.2}, hecserver.Fault{End: hecserver.Drop, Probability: 0.1}),
	})
	r := start(t, dir+"/state", rigOptions{archive: dir + "/archive", hec: hec.Config{URLs: []string{server.URL()}}, forwarder: forwarder.Options{BatchBytes: 30_000}})
	var g errgroup.Group
	streams := 3
	for i := range streams {
		s := r.open(fmt.Sprint(input, i))
		g.Go(func() error {
			for n := range 1000 {
				if err := s.Emit(access(i*1000 + n)); err != nil {
					return err
				}
				if n%50 == 49 {
					if err := s.Checkpoint(); err != nil {
						return err
					}
				}
			}
			return s.Flush()
		})
	}
	require.NoError(t, g.Wait())
	require.NoError(t, r.drain())
	ids := archivedIDs(t, dir+"/archive")
	for n := range 1000 * streams {
		id := access(n).ID.String()
		require.Equal(t, 1, ids[id], "event %d", n)
		require.NotZero(t, counter.Times(id))
	}
	require.Equal(t, 1000*streams+streams, len(ids), "with a state.new for each")
	require.EqualValues(t, len(ids), counter.Stats().Distinct)

	s, err := r.f.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, dir+"/archive", s.Archive.Path)
	require.Equal(t, 1, s.Archive.Files)
	require.Positive(t, s.Archive.Bytes)
	r.stop()
	admin, err := forwarder.Attach(t.Context(), dir+"/state")
	require.NoError(t, err)
	idle, err := admin.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, s.Archive, idle.Archive, "without a running process the state knows where it is")
	require.NoError(t, os.RemoveAll(dir+"/archive"))
	idle, err = admin.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, idle.Archive.Error, "no such file")
}

// TestArchiveThatCantBeWritten: nothing more is committed and collectors wait,
// but what was committed is delivered. Once it can be written all goes on.
func TestArchiveThatCantBeWritten(t *testing.T) {
	dir := t.TempDir()
	now := at{day(0)}
	d := &shelf{shut: true}
	r := start(t, dir+"/state", rigOptions{archive: dir + "/archive", queue: queue.Options{Now: func() time.Time { return now.now }}, forwarder: forwarder.Options{Destination: d, InFlight: 1}})
	s := r.open(input)
	r.emit(s, 0, 200)

	// The next file can't be made.
	require.NoError(t, os.Rename(dir+"/archive", dir+"/away"))
	now.now = day(1)
	for n := 200; n < 300; n++ {
		require.NoError(t, s.Emit(access(n)))
	}
	var g errgroup.Group
	g.Go(s.Flush)
	require.Eventually(t, func() bool { return s.Stalled() != nil }, time.Minute, time.Millisecond)
	require.ErrorContains(t, r.f.Stalled(), "write the archive in "+dir+"/archive")
	status, err := r.f.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, status.Stalled, "no such file or directory")
	d.set(false)
	require.Eventually(t, func() bool { return r.queue.Depth().Batches == 0 }, time.Minute, time.Millisecond, "what was committed is delivered")
	requireNumbers(t, d.all(), 201)
	ctx, cancel := contextWithDeadline(t, 10*time.Millisecond)
	defer cancel()
	err = r.f.Drain(ctx)
	require.ErrorIs(t, err, forwarder.ErrUnavailable)
	require.ErrorContains(t, err, "write the archive")

	require.NoError(t, os.Rename(dir+"/away", dir+"/archive"))
	require.NoError(t, g.Wait())
	require.NoError(t, r.drain())
	requireNumbers(t, d.all(), 301)
	require.NoError(t, r.f.Stalled())
	require.Equal(t, d.all(), strings.Join(archivedEvents(t, dir+"/archive"), ""))
}

// TestArchiveOnAFullDisk: the same, with a disk of its own for the archive.
func TestArchiveOnAFullDisk(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()+"/state"
	defer mountSmall(t, dir)()
	d := &shelf{}
	r := start(t, state, rigOptions{archive: dir + "/archive", forwarder: forwarder.Options{Destination: d, BatchBytes: 64 << 10, InFlight: 1}})
	defer r.stop() // before the disk goes
	s := r.open(input)
	r.emit(s, 0, 100)
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	require.ErrorContains(t, err, "no space")
	require.NoError(t, ballast.Close())
	var g errgroup.Group
	g.Go(func() error {
		for n := 100; n < 3000; n++ {
			if err := s.Emit(access(n)); err != nil {
				return err
			}
			if n%50 == 49 {
				if err := s.Checkpoint(); err != nil {
					return err
				}
			}
		}
		return s.Flush()
	})
	require.Eventually(t, func() bool { return s.Stalled() != nil }, time.Minute, time.Millisecond)
	require.ErrorContains(t, s.Stalled(), "no space left on device")
	require.NoError(t, os.Remove(ballast.Name()))
	require.NoError(t, g.Wait())
	require.NoError(t, r.drain())
	requireNumbers(t, d.all(), 3001)
	require.Equal(t, d.all(), strings.Join(archivedEvents(t, dir+"/archive"), ""))
}

// TestArchiveRetention: a file past its retention is deleted once that is told,
// at the start and while the forwarder runs, and what the files held is told.
func TestArchiveRetention(t *testing.T) {
	dir := t.TempDir()
	var d *shelf
	run := func(n int, do func(r *rig, s *forwarder.Stream)) {
		t.Helper()
		d = &shelf{}
		clock := at{day(n)}
		r := start(t, dir+"/state", rigOptions{
			archive: dir + "/archive", retention: 24 * time.Hour,
			queue: queue.Options{Now: clock.Now}, forwarder: forwarder.Options{Destination: d, Clock: clock},
		})
		s := r.open(input)
		do(r, s)
		require.NoError(t, r.drain())
		r.stop()
	}
	files := func() (names []string) {
		entries, err := filepath.Glob(dir + "/archive/events-*")
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, filepath.Base(e)[len("events-2026-03-"):len("events-2026-03-02")])
		}
		return names
	}
	run(0, func(r *rig, s *forwarder.Stream) { r.emit(s, 0, 10) })
	run(1, func(r *rig, s *forwarder.Stream) { r.emit(s, 10, 20) })
	require.Equal(t, []string{"02", "03"}, files())
	require.NotContains(t, d.all(), "archive.expired")
	run(2, func(r *rig, s *forwarder.Stream) { r.emit(s, 20, 30) })
	require.Equal(t, []string{"03", "04"}, files())
	require.Contains(t, d.all(), `"operation":"archive.expired"`)
	require.Contains(t, d.all(), `"text":"events-2026-03-02.ndjson.zst with 11 events is past its retention and deleted"`)
	require.Equal(t, 1, strings.Count(d.all(), "archive.expired"))

	// All inputs are looked after once.
	run(9, func(r *rig, s *forwarder.Stream) { r.open("aiwatch_git://other"); r.emit(s, 30, 40) })
	require.Equal(t, []string{"04", "11"}, files(), "what was the newest at the start goes next time")
	require.Equal(t, 1, strings.Count(d.all(), "archive.expired"))
}

// TestArchiveThatIsNotWhatWasWritten is told, once.
func TestArchiveThatIsNotWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	run := func(n int) string {
		t.Helper()
		d := &shelf{}
		clock := at{day(n)}
		r := start(t, dir+"/state", rigOptions{archive: dir + "/archive", queue: queue.Options{Now: clock.Now}, forwarder: forwarder.Options{Destination: d, Clock: clock}})
		r.emit(r.open(input), 10*n, 10*n+10)
		r.open("aiwatch_git://other")
		require.NoError(t, r.drain())
		r.stop()
		return d.all()
	}
	require.NotContains(t, run(0), "archive.damaged")
	require.NoError(t, os.Remove(dir+"/archive/events-2026-03-02.ndjson.zst"))
	told := run(1)
	require.Equal(t, 1, strings.Count(told, `"operation":"archive.damaged"`))
	require.Regexp(t, `"text":"events-2026-03-02.ndjson.zst is gone; it had [0-9]+ bytes"`, told)
	require.NotContains(t, run(2), "archive.damaged")
	require.Equal(t, 1+10+10, len(archivedIDs(t, dir+"/archive")), "with the event that tells")
}
