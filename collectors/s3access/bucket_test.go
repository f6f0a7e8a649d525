package s3access

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/internal/s3sim"
)

// sampleLine is a record of a read, n in its request id.
func sampleLine(n int, at time.Time) string {
	return fmt.Sprintf(`79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be ml [%s] 192.0.2.%d arn:aws:iam::111122223333:user/alice REQ%013d REST.GET.OBJECT models/m%d/weights.safetensors "GET /models/m%d/weights.safetensors HTTP/1.1" 200 - 1048576 1048576 120 18 "-" "aws-cli/2.15.0 Python/3.11.6 Linux/6.1" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader ml.s3.us-east-1.amazonaws.com TLSv1.3 - - us-east-1`,
		at.Format("02/Jan/2006:15:04:05 +0000"), n%250, n, n%7, n%7)
}

// lines returns n records, the first with number from.
func lines(from, n int, at time.Time) []byte {
	var b bytes.Buffer
	for i := range n {
		b.WriteString(sampleLine(from+i, at))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

// requests returns the request ids of the events, sorted, each once.
func (s *sink) requests() []string {
	var ids []string
	for _, e := range s.envelopes {
		if _, rest, ok := strings.Cut(e, `"request_id":"`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (s *sink) damages() (whys []string) {
	for _, e := range s.envelopes {
		if _, rest, ok := strings.Cut(e, `"parse_error":"`); ok {
			why, _, _ := strings.Cut(rest, `"`)
			whys = append(whys, why)
		}
	}
	return whys
}

func poll(t testing.TB, c *Collector, out collectors.Output) {
	t.Helper()
	require.NoError(t, c.Poll(context.Background(), out))
}

func TestBothLayoutsOfABucket(t *testing.T) {
	f, cfg := newFakeS3(t)
	f.Page(3)
	cfg.Start.At = now.Add(-30 * 24 * time.Hour)
	at := now.Add(-3 * time.Hour)
	f.put("web/2026-11-23-09-00-00-AAAAAAAAAAAAAAAA", lines(0, 3, at))
	f.put("web/2026-11-23-10-00-00-BBBBBBBBBBBBBBBB", zipped(lines(3, 2, at)))
	f.put("web/2025-01-01-00-00-00-CCCCCCCCCCCCCCCC", lines(900, 1, at))
	for i := range 10 { // pages of names that discovery must step over
		f.put(fmt.Sprintf("web/2024-01-01-00-00-%02d-CCCCCCCCCCCCCCCC", i), lines(900, 1, at))
	}
	f.put("p/111122223333/us-east-1/ml/2026/11/23/2026-11-23-00-00-00-DDDDDDDDDDDDDDDD", lines(5, 2, at))
	f.put("p/111122223333/us-east-1/ml/2026/11/22/2026-11-22-00-00-00-DDDDDDDDDDDDDDDD", lines(7, 1, at))
	f.put("p/111122223333/eu-west-1/other/2026/11/23/2026-11-23-11-00-00-EEEEEEEEEEEEEEEE", lines(8, 1, at))
	f.put("odd/access.log", lines(9, 1, at))
	f.put("AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/11/23/x.json.gz", []byte("{}"))
	f.put("empty/", nil)

	c := collector(t, cfg)
	out := newSink()
	poll(t, c, out)
	want := []string{}
	for i := range 10 {
		want = append(want, fmt.Sprintf("REQ%013d", i))
	}
	require.Equal(t, want, out.requests())
	gets := f.Gets()

	poll(t, c, out)
	require.Equal(t, gets, f.Gets(), "what is done is not read again")
	require.Equal(t, 10, len(out.envelopes))

	// Late by name, under both layouts.
	f.put("web/2026-11-22-00-00-00-FFFFFFFFFFFFFFFF", lines(10, 1, at))
	f.put("p/111122223333/us-east-1/ml/2026/11/23/2026-11-23-00-00-00-000000000000FFFF", lines(11, 1, at))
	poll(t, c, out)
	require.Equal(t, 12, len(out.requests()))
}

func TestLateObjectsAndForgetting(t *testing.T) {
	f, cfg := newFakeS3(t)
	clock := now
	cfg.Now = func() time.Time { return clock }
	cfg.Start.Ago = 24 * time.Hour
	c := collector(t, cfg)
	out := newSink()
	name := func(at time.Time, n int) string { return at.Format("2006-01-02-15-04-05-") + fmt.Sprintf("%016d", n) }
	n := 0
	for day := range 40 {
		clock = now.AddDate(0, 0, day)
		for range 5 {
			f.put(name(clock.Add(-time.Hour), n), lines(n, 1, clock.Add(-2*time.Hour)))
			n++
		}
		poll(t, c, out)
	}
	require.Equal(t, n, len(out.requests()))
	state, _ := out.Snapshot()
	require.Less(t, len(state), 5*(14+4)+10, "what is remembered follows the window, not the age of the bucket")

	// Ten days late: found by the next day's long listing, and named.
	f.put(name(clock.AddDate(0, 0, -10), n), lines(n, 1, clock.AddDate(0, 0, -10)))
	poll(t, c, out)
	require.Equal(t, n, len(out.requests()))
	c.Report()
	clock = clock.AddDate(0, 0, 1)
	poll(t, c, out)
	require.Equal(t, n+1, len(out.requests()))
	require.Contains(t, strings.Join(c.Report().Notes, "\n"), "1 log objects came later than the lateness of 48h0m0s")
}

func TestRecordsBeforeTheStartAreNotSent(t *testing.T) {
	f, cfg := newFakeS3(t)
	c := collector(t, cfg)
	f.put("2026-11-23-11-30-00-AAAAAAAAAAAAAAAA", append(lines(0, 1, now.Add(-time.Minute)), lines(1, 1, now.Add(time.Minute))...))
	out := newSink()
	poll(t, c, out)
	require.Equal(t, []string{"REQ0000000000001"}, out.requests())
	rep := c.Report()
	require.Contains(t, rep.Notes[0], "records before 2026-11-23T12:00:00Z are not sent")
	require.EqualValues(t, 2, rep.RecordsRead)
	require.Equal(t, "s3://ml", rep.Parts[0].AssetID)
	require.EqualValues(t, 2, rep.Parts[0].RecordsRead)
	require.Equal(t, now, rep.LastSweep)
}

// Whatever happens to the source between the listing and the reading is told and
// stops nothing.
func TestObjectsThatChangeUnderOurHands(t *testing.T) {
	f, cfg := newFakeS3(t)
	cfg.Start.At = now.Add(-24 * time.Hour)
	at := now.Add(-time.Hour)
	vanishes, shrinks, broken := "2026-11-23-09-00-00-AAAAAAAAAAAAAAAA", "2026-11-23-09-00-01-BBBBBBBBBBBBBBBB", "2026-11-23-09-00-02-CCCCCCCCCCCCCCCC"
	f.put(vanishes, lines(0, 1, at))
	f.put(shrinks, lines(1, 2, at))
	half := zipped(lines(3, 2000, at))
	f.put(broken, half[:len(half)/2])
	f.put("2026-11-23-09-00-03-DDDDDDDDDDDDDDDD", lines(9000, 1, at))
	f.Misbehave(func(_ http.ResponseWriter, r *http.Request, key string) bool {
		switch key {
		case vanishes:
			f.Drop(key)
		case shrinks:
			f.put(key, lines(1, 1, at))
		}
		return false
	})
	c := collector(t, cfg)
	out := newSink()
	poll(t, c, out)
	whys := strings.Join(out.damages(), "\n")
	require.Contains(t, whys, "the log object vanished after it was listed")
	require.Contains(t, whys, "the log object changed after it was listed")
	require.Contains(t, whys, "log object: the log ends within a record")
	ids := out.requests()
	require.Contains(t, ids, "REQ0000000000001")
	require.Contains(t, ids, "REQ0000000009000")
	require.Contains(t, ids, "REQ0000000000100", "what stands in front of the break is read")
	n := len(out.envelopes)
	poll(t, c, out)
	require.Equal(t, n, len(out.envelopes))

	f.put("2026-11-23-09-00-03-DDDDDDDDDDDDDDDD", lines(9000, 2, at))
	poll(t, c, out)
	require.Contains(t, out.requests(), "REQ0000000009001")
	require.Contains(t, strings.Join(c.Report().Notes, "\n"), "changed after it was read")
}

func TestServerErrorsAndTruncatedBodies(t *testing.T) {
	f, cfg := newFakeS3(t)
	cfg.Start.At = now.Add(-24 * time.Hour)
	at := now.Add(-time.Hour)
	const objects = 12
	for i := range objects {
		f.put(fmt.Sprintf("2026-11-23-09-00-%02d-AAAAAAAAAAAAAAAA", i), lines(i*100, 100, at))
	}
	f.put("2026-11-23-09-01-00-LARGELARGELARGEL", lines(objects*100, 2000, at)) // streamed
	var requests atomic.Int64
	f.Misbehave(func(w http.ResponseWriter, r *http.Request, key string) bool {
		switch n := requests.Add(1); {
		case n%5 == 0:
			s3sim.Error(w, 503, "SlowDown")
			return true
		case key != "" && n%4 == 0: // the body breaks off
			o := f.Get(key)
			w.Header().Set("ETag", o.ETag())
			w.Header().Set("Content-Length", fmt.Sprint(o.Size))
			_, _ = w.Write(o.Body[:o.Size/3])
			panic(http.ErrAbortHandler)
		}
		return false
	})
	c := collector(t, cfg)
	out := newSink()
	for range 20 {
		if err := c.Poll(context.Background(), out); err == nil {
			break
		}
		out.Discard()
	}
	require.Equal(t, objects*100+2000, len(out.requests()))
	require.Empty(t, out.damages())
}

// A kill at any checkpoint, and any split of the source into polls, gives the
// same events.
func TestKilledAnywhereTheSameEventsCome(t *testing.T) {
	f, cfg := newFakeS3(t)
	cfg.Start.At = now.Add(-24 * time.Hour)
	at := now.Add(-time.Hour)
	f.put("2026-11-23-09-00-00-AAAAAAAAAAAAAAAA", lines(0, 1500, at))
	f.put("2026-11-23-09-00-01-BBBBBBBBBBBBBBBB", zipped(lines(1500, 3000, at)))
	f.put("2026-11-23-09-00-02-CCCCCCCCCCCCCCCC", []byte("damaged\n"))
	f.put("2026-11-23-09-00-03-DDDDDDDDDDDDDDDD", lines(4500, 10, at))
	whole := newSink()
	poll(t, collector(t, cfg), whole)
	want := withoutSeq(whole.envelopes)
	require.Len(t, want, 4511)

	rnd := rand.New(rand.NewPCG(1, 2))
	for range rounds(t) {
		out := &killedSink{sink: newSink()}
		for {
			out.left = 1 + rnd.IntN(12)
			err := collector(t, cfg).Poll(context.Background(), out)
			out.Discard()
			if err == nil {
				break
			}
			require.ErrorIs(t, err, errKilled)
		}
		require.Empty(t, difference(want, withoutSeq(out.envelopes)))
	}
}

var errKilled = fmt.Errorf("killed")

// A killedSink ends a poll at one of its checkpoints, before or after it became
// durable.
type killedSink struct {
	*sink
	left int
}

func (k *killedSink) Checkpoint() error {
	k.left--
	if k.left == 0 {
		return errKilled
	}
	if err := k.sink.Checkpoint(); err != nil {
		return err
	}
	if k.left == 1 {
		k.left = 0
		return errKilled
	}
	return nil
}

func (k *killedSink) Flush() error { return k.Checkpoint() }

// difference names an element that only one of two sorted lists has.
func difference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i == len(got) || i < len(want) && want[i] < got[i]:
			return "lost: " + want[i]
		case i == len(want) || want[i] > got[i]:
			return "invented: " + got[i]
		}
	}
	return ""
}

// withoutSeq returns the events without their numbers, each once, sorted.
func withoutSeq(envelopes []string) []string {
	var out []string
	for _, e := range envelopes {
		i := strings.Index(e, `"seq":`)
		j := i + strings.IndexAny(e[i:], ",}")
		out = append(out, e[:i]+e[j:])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestTenThousandTinyObjects(t *testing.T) {
	f, cfg := newFakeS3(t)
	cfg.Start.At = now.Add(-48 * time.Hour)
	for i := range 10_000 {
		f.put(now.Add(-time.Duration(i)*time.Second).Format("2006-01-02-15-04-05-")+fmt.Sprintf("%016d", i), lines(i, 1, now.Add(-time.Hour)))
	}
	out := newSink()
	poll(t, collector(t, cfg), out)
	require.Equal(t, 10_000, len(out.requests()))
	poll(t, collector(t, cfg), out)
	require.Equal(t, 10_000, len(out.envelopes))
}

// A large object is read in memory that does not follow its size.
func TestLargeObjectInBoundedMemory(t *testing.T) {
	f, cfg := newFakeS3(t)
	cfg.Start.At = now.Add(-24 * time.Hour)
	chunk := lines(0, 2000, now.Add(-time.Hour))
	times := 20 * rounds(t) // 130 MB with 10 rounds, 2 GB with 160
	f.Put("2026-11-23-09-00-00-AAAAAAAAAAAAAAAA", s3sim.Object{
		Size: int64(len(chunk) * times), Modified: now,
		Open: func() io.Reader { return &repeated{chunk: chunk} },
	})
	c := collector(t, cfg)
	out := &countingOutput{}
	var peak uint64
	out.each = func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	runtime.GC()
	poll(t, c, out)
	require.EqualValues(t, 2000*times, out.events)
	require.Less(t, peak, uint64(64<<20))
}

type repeated struct {
	chunk []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.chunk[r.at:])
	r.at = (r.at + n) % len(r.chunk)
	return n, nil
}
