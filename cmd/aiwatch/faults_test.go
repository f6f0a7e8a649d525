package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
	"aiwatch/internal/s3sim"
)

// whole skips what starts the real program: with -short the rooms' own tests
// have to do.
func whole(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the real program")
	}
	t.Parallel()
}

// busy is a receiver that takes nothing.
var busy = hecserver.Fault{Code: hecserver.ServerBusy}

// TestDeadDestination: a pass ends with 69 after --max-wait, what it has
// collected stays, and the next pass delivers it.
func TestDeadDestination(t *testing.T) {
	whole(t)
	address := counterpart.FreeAddress(t)
	logs := newLogFolder(t)
	logs.add(t, 500)
	s := newSetup(t, logs.input(), hecStanza("http://"+address))
	code, log := s.once(t, "--max-wait", "1s")
	require.Equal(t, exitUnavailable, code, log)
	require.Contains(t, log, address+" refuses connections")
	require.GreaterOrEqual(t, s.waiting(t), int64(500))

	logs.add(t, 500)
	hec := startReceiverAt(t, address, true, nil)
	s.deliverOnce(t)
	hec.requireAll(t, logs.ids)
	require.Zero(t, s.waiting(t))
}

// TestSecondRun: one run holds the state, and another ends quietly with 75.
func TestSecondRun(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 100)
	s := newSetup(t, logs.input(), hecStanza(hec.URL()))
	first := s.start(t, "run")
	eventually(t, "the first run delivers", func() bool { return hec.missing(logs.ids) == 0 })
	code, log := s.once(t)
	require.Equal(t, exitHeld, code)
	require.Contains(t, log, "another run holds the state")
	logs.add(t, 100)
	hec.arrives(t, logs.ids)
	first.finish(t)
	hec.requireAll(t, logs.ids)
}

// TestSIGTERM: the first one ends a run in order, the second at once, and
// neither loses anything.
func TestSIGTERM(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 2000)
	s := newSetup(t, logs.input(), hecStanza(hec.URL()))

	// What waits is delivered before the end.
	hec.misbehave(t, busy)
	p := s.start(t, "run")
	eventually(t, "the receiver is asked", func() bool { return hec.Handler().Stats().Requests > 0 })
	p.signal(t, syscall.SIGTERM)
	p.says(t, "stopping")
	hec.misbehave(t)
	require.Equal(t, exitDone, p.end(t))
	require.Zero(t, s.waiting(t), "the run ended with events in its queue")

	// Nobody takes what waits: the first would wait for half a minute.
	logs.add(t, 2000)
	hec.misbehave(t, busy)
	p = s.start(t, "run")
	asked := hec.Handler().Stats().Requests
	eventually(t, "the receiver is asked", func() bool { return hec.Handler().Stats().Requests > asked })
	p.signal(t, syscall.SIGTERM)
	p.says(t, "stopping")
	p.signal(t, syscall.SIGTERM)
	require.Equal(t, -1, p.end(t))
	require.Equal(t, syscall.SIGTERM, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())

	hec.misbehave(t)
	s.deliverOnce(t)
	hec.requireAll(t, logs.ids)
}

// TestStateThatOthersMayRead is refused, with the command that mends it.
func TestStateThatOthersMayRead(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 10)
	s := newSetup(t, logs.input(), hecStanza(hec.URL()))
	require.NoError(t, os.Mkdir(s.state, 0o755))
	require.NoError(t, os.Chmod(s.state, 0o755)) // whatever the umask
	code, log := s.once(t)
	require.Equal(t, exitState, code)
	require.Contains(t, log, "run chmod go-rwx "+s.state)
	require.NoError(t, os.Chmod(s.state, 0o700))
	s.deliverOnce(t)
	hec.requireAll(t, logs.ids)
}

// fullQueue is a set-up whose queue holds all the events of the logs.
func fullQueue(t *testing.T, hec *receiver, logs *logFolder) setup {
	t.Helper()
	s := newSetup(t, logs.input(), hecStanza(hec.URL())+"batch_bytes = 64KiB\n")
	hec.misbehave(t, busy)
	code, log := s.once(t, "--max-wait", "100ms")
	require.Equal(t, exitUnavailable, code, log)
	hec.misbehave(t)
	return s
}

// flip changes one byte of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	var b [1]byte
	_, err = file.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 0x40
	_, err = file.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// TestFlippedByteInABody: one batch can't be read any more. It is set aside, an
// event says which numbers are lost, and all others arrive.
func TestFlippedByteInABody(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	logs := newLogFolder(t)
	logs.add(t, 3000)
	s := fullQueue(t, hec, logs)
	path := filepath.Join(s.state, "queue.db")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	body := bytes.Index(text, []byte{0x1f, 0x8b, 0x08}) // where gzip begins
	require.Positive(t, body)
	flip(t, path, int64(body)+1000)

	code, log := s.once(t)
	require.Equal(t, exitDone, code, tail(log))
	require.Contains(t, log, "a batch is unreadable and set aside")
	lost := hec.lostBatches(t)
	require.Positive(t, lost)
	require.EqualValues(t, lost, hec.counter.Stats().SeqMissing, "the numbers that are missing are those that were told")
	require.InDelta(t, lost, hec.missing(logs.ids), 2, "a batch holds health events too")
	require.Zero(t, hec.counter.Stats().SeqDoubles)

	logs.add(t, 10)
	s.deliverOnce(t)
	require.Zero(t, hec.missing(logs.ids[3000:]), "the state goes on")
}

// lostBatches is how many numbers the gap.unreadable events say are lost.
func (r *receiver) lostBatches(t *testing.T) (lost int) {
	t.Helper()
	for _, e := range r.told.of("gap.unreadable") {
		var first, last int
		_, err := fmt.Sscanf(e.Text, "events %d to %d", &first, &last)
		require.NoError(t, err, e.Text)
		lost += last - first + 1
	}
	return lost
}

// TestFlippedByteInTheStructure: the file is set aside under another name, an
// event says so, and the run goes on under a new collector id.
func TestFlippedByteInTheStructure(t *testing.T) {
	whole(t)
	for name, damage := range map[string]func(t *testing.T, path string){
		"the page of the root": func(t *testing.T, path string) {
			flip(t, path, int64(rootPage(t, path)*os.Getpagesize())+8)
		},
		"both meta pages": func(t *testing.T, path string) {
			flip(t, path, 16+20)
			flip(t, path, int64(os.Getpagesize())+16+20)
		},
		"the file's end": func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(path, 3*int64(os.Getpagesize())))
		},
	} {
		t.Run(name, func(t *testing.T) {
			hec := startReceiver(t, false, nil)
			logs := newLogFolder(t)
			logs.add(t, 1000)
			s := fullQueue(t, hec, logs)
			damage(t, filepath.Join(s.state, "queue.db"))
			code, log := s.once(t)
			require.Equal(t, exitDone, code, tail(log))
			require.Contains(t, log, "the state is damaged and set aside")
			aside, err := filepath.Glob(filepath.Join(s.state, "queue.db.damaged-*"))
			require.NoError(t, err)
			require.Len(t, aside, 1)
			require.Len(t, hec.told.of("state.damaged"), 1)
			require.Contains(t, hec.told.of("state.damaged")[0].Text, filepath.Base(aside[0]))
			hec.requireAll(t, logs.ids)
		})
	}
}

// rootPage is the number of the page that the younger meta page of a bbolt file
// names as its root.
func rootPage(t *testing.T, path string) (root int) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var youngest uint64
	for _, at := range []int{0, os.Getpagesize()} {
		meta := text[at+16:] // behind the page's header
		if tx := binary.NativeEndian.Uint64(meta[48:]); tx >= youngest {
			youngest, root = tx, int(binary.NativeEndian.Uint64(meta[16:]))
		}
	}
	return root
}

// TestFlippedByteAnywhere: whatever byte of the file changes, the next run
// ends well and each event arrives, or an event says that its number is lost.
func TestFlippedByteAnywhere(t *testing.T) {
	whole(t)
	random := rand.New(rand.NewPCG(3, 4))
	harmless := 0
	for range rounds(t) {
		hec := startReceiver(t, false, nil)
		logs := newLogFolder(t)
		logs.add(t, 1000)
		s := fullQueue(t, hec, logs)
		path := filepath.Join(s.state, "queue.db")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		at := random.Int64N(int64(len(bytes.TrimRight(text, "\x00")))) // behind that is room for later
		flip(t, path, at)
		code, log := s.once(t)
		require.Equal(t, exitDone, code, "byte %d: %s", at, tail(log))
		stats, lost := hec.counter.Stats(), hec.lostBatches(t)
		missing := stats.SeqMissing
		for _, stream := range stats.Streams {
			missing += stream.First - 1 // the batch that was lost may be the first one
		}
		require.EqualValues(t, lost, missing, "byte %d", at)
		require.Zero(t, stats.SeqDoubles+stats.Conflicts, "byte %d", at)
		require.LessOrEqual(t, hec.missing(logs.ids), lost, "byte %d", at)
		if lost == 0 && len(hec.told.of("state.damaged")) == 0 {
			harmless++
		}
	}
	t.Logf("%d flips, %d of bytes that nothing needed", rounds(t), harmless)
}

// TestClockSetBack: the first pass runs three days ahead. With the clock right
// again nothing that comes is skipped, and nothing is sent under another
// event_id or number. The clock is that of the queue and of the S3 collector;
// the runner's, which paces polls, is the machine's in both passes.
func TestClockSetBack(t *testing.T) {
	whole(t)
	secrets := map[string]string{"HEC_TOKEN": hecToken, "S3_SECRET": "secret"}
	hec := startReceiver(t, false, nil)
	s3 := newFakeS3(t)
	s := newSetup(t, s3.input(), hecStanza(hec.URL()))
	var ids []event.ID
	right := logsBegin.Add(12 * time.Hour)
	for pass, now := range []time.Time{right.Add(72 * time.Hour), right, right.Add(time.Minute)} {
		text, more := accessLines(pass*100, 100, right)
		ids = append(ids, more...)
		s3.put(pass*60, text)
		var log output
		p := &program{stdin: strings.NewReader(""), stdout: &log, stderr: &log, now: func() time.Time { return now }, getenv: func(name string) string { return secrets[name] }}
		code := p.run(context.Background(), []string{"aiwatch", "run", "--once", "--conf", s.conf, "--state", s.state})
		require.Equal(t, exitDone, code, log.String())
		require.Zero(t, hec.requireAll(t, ids))
	}
}

// TestBucketThatFails: 503, answers cut off, objects that vanish or become
// shorter between listing and reading. Passes end with 69 and say what failed
// until the bucket is well again; no record is lost, and an event tells of each
// object that is not what was listed.
func TestBucketThatFails(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	s3 := newFakeS3(t)
	s := newSetup(t, s3.input(), hecStanza(hec.URL()))
	const objects, perObject = 40, 50
	var ids, vanished []event.ID
	for n := range objects {
		text, more := accessLines(n*perObject, perObject, logsBegin)
		switch n {
		case 7: // vanishes
			vanished = more
		case 11: // shrinks: what is left is the truth
			ids = append(ids, more[:10]...)
		default:
			ids = append(ids, more...)
		}
		s3.put(n, text)
	}
	var seen atomic.Int64
	var moved atomic.Bool
	s3.Misbehave(func(w http.ResponseWriter, r *http.Request, key string) bool {
		if key == "" {
			return false
		}
		if moved.CompareAndSwap(false, true) { // all of it was listed
			s3.Drop(logKey(7))
			text, _ := accessLines(11*perObject, 10, logsBegin)
			s3.put(11, text)
		}
		switch n := seen.Add(1); {
		case key == logKey(3): // for good: the pass can't end well
			s3sim.Error(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		case n%5 == 1:
			s3sim.Error(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		case n%5 == 3: // cut off
			w.Header().Set("Content-Length", "1000000")
			text, _ := accessLines(0, 2, logsBegin)
			_, _ = w.Write(text)
			panic(http.ErrAbortHandler)
		}
		return false
	})
	code, log := s.once(t)
	require.Equal(t, exitUnavailable, code, tail(log))
	require.Contains(t, log, logKey(3))
	require.Positive(t, hec.missing(ids))

	s3.Misbehave(nil)
	s.deliverOnce(t)
	require.Zero(t, hec.requireAll(t, ids))
	require.Equal(t, len(vanished), hec.missing(vanished))
	var why []string
	for _, e := range hec.told.of("record.damaged") {
		why = append(why, e.RawRef+": "+e.ParseError)
	}
	require.ElementsMatch(t, why, []string{
		"s3://logs/" + logKey(7) + ": the log object vanished after it was listed",
		"s3://logs/" + logKey(11) + ": the log object changed after it was listed",
	})
}

// TestTinyObjects reads ten thousand objects of one record each.
func TestTinyObjects(t *testing.T) {
	whole(t)
	hec := startReceiver(t, false, nil)
	s3 := newFakeS3(t)
	var ids []event.ID
	for n := range 10_000 {
		text, more := accessLines(n, 1, logsBegin)
		ids = append(ids, more...)
		s3.put(n, text)
	}
	s := newSetup(t, s3.input(), hecStanza(hec.URL()))
	s.deliverOnce(t)
	require.Zero(t, hec.requireAll(t, ids))
	before := hec.counter.Stats().Distinct
	s.deliverOnce(t)
	require.Zero(t, hec.requireAll(t, ids))
	require.Less(t, hec.counter.Stats().Distinct-before, uint64(10), "the second pass has nothing but its health to tell")
}
