package bench

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/collectors/s3access"
	"aiwatch/internal/event"
	"aiwatch/internal/orglog"
)

// weekEnd is when the organisation's week of logs ends.
var weekEnd = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func week(records int) orglog.Options {
	return orglog.Options{Seed: 1, Start: weekEnd.Add(-7 * 24 * time.Hour), End: weekEnd, Records: records}
}

const watchBuckets = "watch_buckets = " + orglog.ArtifactBucket + ", " + orglog.DataBucket + ", " + orglog.WebBucket + "\n"

// writtenLogs is a folder of access logs, written once.
var writtenLogs = struct {
	sync.Mutex
	dir   string
	truth orglog.Truth
}{}

func logs(b *testing.B) (dir string, truth orglog.Truth) {
	b.Helper()
	w := &writtenLogs
	w.Lock()
	defer w.Unlock()
	if w.dir == "" {
		dir := filepath.Join(scratch, "logs")
		truth, err := orglog.WriteFolder(dir, week(events(b)))
		require.NoError(b, err)
		w.dir, w.truth = dir, truth
	}
	return w.dir, w.truth
}

// BenchmarkLogsToHEC runs the program once over a folder of access logs, with
// all that it does: queue, acknowledgements, health events, its start.
func BenchmarkLogsToHEC(b *testing.B) {
	for _, scope := range []string{"assets", "all"} {
		b.Run("scope="+scope, func(b *testing.B) { logsToHEC(b, scope) })
	}
}

func logsToHEC(b *testing.B, scope string) {
	dir, truth := logs(b)
	// Lines that broke off early may be the same, and are one then.
	damaged := map[event.ID]bool{}
	for _, id := range truth.Damaged {
		damaged[id] = true
	}
	want := len(truth.Assets) + len(truth.Control) + len(damaged)
	if scope == "all" {
		want += len(truth.Other)
	}
	var sum cost
	var sent uint64
	for b.Loop() {
		r := startReceiver(b, true)
		conf := configuration(b, "path = "+dir+"\nfollow = false\nscope = "+scope+"\n"+watchBuckets, r.url)
		cmd := exec.Command(binary(b), "run", "--once", "--conf", conf, "--state", filepath.Join(b.TempDir(), "state"))
		c := measure(b, cmd)
		stats := r.stop()
		require.Zero(b, stats.SeqMissing, "numbers that never came")
		// Health events come as well.
		require.GreaterOrEqual(b, stats.Distinct, uint64(want), "different events at the receiver")
		sent += stats.Events
		sum.cpu += c.cpu
		sum.clock += c.clock
		sum.maxRSS = max(sum.maxRSS, c.maxRSS)
	}
	b.ReportMetric(sum.cpu.Seconds()/float64(sent)*1e6, "cpu-s/M")
	b.ReportMetric(sum.cpu.Seconds()/float64(truth.Lines*b.N)*1e6, "cpu-s/M-lines")
	b.ReportMetric(float64(sent)/sum.clock.Seconds(), "events/s")
	b.ReportMetric(float64(sum.maxRSS)/(1<<20), "rss-MiB")
	reportLoad(b)
}

// BenchmarkBacklog lets the program collect while its destination is dead, and
// tells its anonymous memory: the most it ever had, and what it has when all of
// the events wait in the queue.
func BenchmarkBacklog(b *testing.B) {
	if _, err := anonymous(os.Getpid()); err != nil {
		b.Skipf("anonymous memory is told by Linux: %v", err)
	}
	dir, truth := logs(b)
	var most, last int64
	var waiting backlog
	for b.Loop() {
		conf := configuration(b, "path = "+dir+"\nscope = all\n"+watchBuckets, deadURL(b))
		state := filepath.Join(b.TempDir(), "state")
		cmd := exec.Command(binary(b), "run", "--conf", conf, "--state", state)
		require.NoError(b, cmd.Start())
		wait := sync.OnceValue(cmd.Wait)
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = wait()
		})
		began, asked := time.Now(), time.Now()
		for {
			now, err := anonymous(cmd.Process.Pid)
			require.NoError(b, err)
			most, last = max(most, now), now
			if time.Since(asked) > 500*time.Millisecond {
				asked = time.Now()
				if waiting = queued(b, state); waiting.Waiting.Events >= truth.Lines {
					break
				}
				require.Less(b, time.Since(began), 10*time.Minute, "the events are not in the queue")
			}
			time.Sleep(20 * time.Millisecond)
		}
		require.NoError(b, cmd.Process.Kill())
		_ = wait() // killed
	}
	b.ReportMetric(float64(most)/(1<<20), "anon-most-MiB")
	b.ReportMetric(float64(last)/(1<<20), "anon-MiB")
	b.ReportMetric(float64(waiting.FileBytes)/float64(waiting.Waiting.Events), "disk-B/event")
	reportLoad(b)
}

// backlog is what of the program's status tells of the queue.
type backlog struct {
	Waiting   struct{ Events int }
	FileBytes int64 `json:"file_bytes"`
}

// queued asks the running program what waits.
func queued(b *testing.B, state string) (waiting backlog) {
	b.Helper()
	out, err := exec.Command(binary(b), "status", "--json", "--state", state).Output()
	if err != nil {
		return waiting // it is just starting
	}
	require.NoError(b, json.Unmarshal(out, &waiting))
	return waiting
}

// deadURL is an address at which nobody answers.
func deadURL(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	require.NoError(b, listener.Close())
	return "http://" + listener.Addr().String()
}

// identified reads what identifies a record off the organisation's log lines.
var identified = regexp.MustCompile(` ([0-9A-F]{16}) (\S+) (\S+) (?:"|- ).*"\S* (\S+)[^"]*$`)

// BenchmarkEventSize tells how long an event is, of the line that it was made
// from, over the demonstration's week and without damaged records.
func BenchmarkEventSize(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "logs")
	truth, err := orglog.WriteFolder(dir, week(20_000))
	require.NoError(b, err)
	lines := map[event.ID]int{}
	require.NoError(b, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if m := identified.FindStringSubmatch(line); m != nil {
				lines[event.MakeID(event.SourcetypeS3, m[1:]...)] = len(line)
			}
		}
		return err
	}))
	var found *sizes
	for b.Loop() {
		collector, err := s3access.New(s3access.Config{
			Name: "bench", Path: dir, WatchBuckets: []string{orglog.ArtifactBucket, orglog.DataBucket, orglog.WebBucket},
			Now: func() time.Time { return weekEnd.Add(7 * 24 * time.Hour) },
		})
		require.NoError(b, err)
		found = &sizes{lines: lines}
		require.NoError(b, collector.Poll(b.Context(), found))
	}
	require.Zero(b, found.unknown, "events whose line was not found")
	require.GreaterOrEqual(b, found.events, len(truth.Assets)+len(truth.Control))
	b.ReportMetric(float64(found.bytes)/float64(found.raw), "event/raw")
	b.ReportMetric(float64(found.bytes)/float64(found.events), "B/event")
	b.ReportMetric(float64(found.raw)/float64(found.events), "B/line")
}

// sizes is an Output that adds up lengths of events and of their lines.
type sizes struct {
	collectors.Memory
	lines              map[event.ID]int
	buf                []byte
	events, bytes, raw int
	unknown            int
}

func (s *sizes) Emit(ev *event.Event) error {
	if ev.Operation == "record.damaged" {
		return nil
	}
	s.events++
	ev.Collector, ev.Seq = "0badcafe", uint64(s.events)
	s.buf = ev.AppendJSON(s.buf[:0])
	s.bytes += len(s.buf)
	raw, ok := s.lines[ev.ID]
	if !ok {
		s.unknown++
	}
	s.raw += raw
	return nil
}
