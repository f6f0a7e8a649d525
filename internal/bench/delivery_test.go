package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/forwarder"
	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/hec"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/counterpart"
	"aiwatch/internal/event"
)

// samples is how many different events there are; a run takes them in turn. They
// are much more than gzip looks back.
const samples = 10_000

// sampleEvents makes events of about 662 bytes, 788 with their envelope.
func sampleEvents() []event.Event {
	random := rand.New(rand.NewPCG(662, 788))
	hex := func(words int) (s string) {
		for range words {
			s += fmt.Sprintf("%016x", random.Uint64())
		}
		return s
	}
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	made := make([]event.Event, samples)
	for i := range made {
		run := hex(2)
		user := pick("alice", "bob", "carol", "dan", "erin") + "@example.com"
		e := &made[i]
		e.Time = event.Millis(1_795_000_000_000 + int64(i)*997)
		e.Host, e.Sourcetype = "s3.eu-west-1.amazonaws.com", event.SourcetypeS3
		e.Source, e.Index = sampleInput, "ai"
		e.ID = event.MakeID(event.SourcetypeS3, fmt.Sprint(i))
		e.Operation = pick("REST.GET.OBJECT", "REST.GET.OBJECT", "REST.HEAD.OBJECT", "REST.PUT.OBJECT")
		e.StatusCode, e.RequestID = pick("200", "200", "206", "403"), hex(1)
		e.UserID = "arn:aws:sts::111122223333:assumed-role/data-science/" + user
		e.User, e.UserConfidence = user, "authenticated"
		e.UserAgent = "Boto3/1.34.131 md/Botocore#1.34.131 lang/python#3.11." + fmt.Sprint(random.IntN(10))
		e.Src = fmt.Sprintf("10.%d.%d.%d", random.IntN(256), random.IntN(256), random.IntN(256))
		e.AssetID = fmt.Sprintf("s3://acme-ml-artifacts/mlflow/%d/%s/artifacts/model/model-%05d-of-30.safetensors", random.IntN(40), run, random.IntN(30))
		e.AssetRole, e.RunID = "weights", run
		e.AssetSize, e.BytesOut = event.N(random.Int64N(1<<33)), event.N(random.Int64N(1<<33))
		e.AuthenticationType = "AuthHeader"
	}
	return made
}

const sampleInput = "aiwatch_s3://bench"

// BenchmarkDelivery delivers events as they stand in memory to a HEC receiver in
// gzip bodies: ours through the durable queue and with acknowledgements, once
// more with a copy in the archive, OpenTelemetry's exporter with neither. The sender is a process of its own, and
// only its sending counts. The receiver is the same, and strict.
func BenchmarkDelivery(b *testing.B) {
	for _, archived := range []bool{false, true} {
		name := map[bool]string{false: "aiwatch", true: "archive"}[archived]
		b.Run(name, func(b *testing.B) {
			var archiveBytes int64
			deliver(b, true, func(url string) counterpart.OTelSendResult {
				dir := b.TempDir()
				job := sendJob{URL: url, State: filepath.Join(dir, "state"), Events: events(b), Profile: os.Getenv("AIWATCH_BENCH_PROFILE")}
				if archived {
					job.Archive = filepath.Join(dir, "archive")
				}
				result := sendBy(b, job)
				if archived {
					s, err := archive.Stat(job.Archive)
					require.NoError(b, err)
					archiveBytes = s.Bytes
				}
				return result
			})
			if archived {
				b.ReportMetric(float64(archiveBytes)/float64(events(b)), "archive-B/event")
			}
		})
	}
	b.Run("opentelemetry", func(b *testing.B) {
		file := filepath.Join(b.TempDir(), "events.ndjson")
		writeSamples(b, file)
		deliver(b, false, func(url string) counterpart.OTelSendResult {
			return counterpart.OTelSend(b, counterpart.OTelSendOptions{
				URL: url + "/services/collector", Token: token, Events: file, Repeat: max(1, events(b)/samples),
			})
		})
	})
}

// sendBy has a process of its own do the job.
func sendBy(b *testing.B, job sendJob) (result counterpart.OTelSendResult) {
	b.Helper()
	text, err := json.Marshal(job)
	require.NoError(b, err)
	self, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), senderEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(b, err)
	require.NoError(b, json.Unmarshal(out, &result))
	return result
}

// deliver measures a sender and makes sure that all has arrived.
func deliver(b *testing.B, ack bool, send func(url string) counterpart.OTelSendResult) {
	var sum counterpart.OTelSendResult
	for b.Loop() {
		r := startReceiver(b, ack)
		result := send(r.url)
		stats := r.stop()
		// Health events come as well.
		require.GreaterOrEqual(b, stats.Events, uint64(result.Events), "events at the receiver")
		require.Zero(b, stats.SeqMissing, "numbers that never came")
		sum.Events += result.Events
		sum.Seconds += result.Seconds
		sum.CPUSeconds += result.CPUSeconds
		sum.MaxRSSMiB = max(sum.MaxRSSMiB, result.MaxRSSMiB)
	}
	b.ReportMetric(sum.CPUSeconds/float64(sum.Events)*1e6, "cpu-s/M")
	b.ReportMetric(float64(sum.Events)/sum.Seconds, "events/s")
	b.ReportMetric(sum.MaxRSSMiB, "rss-MiB")
	reportLoad(b)
}

// writeSamples writes the events as our sender makes them.
func writeSamples(b *testing.B, path string) {
	b.Helper()
	file, err := os.Create(path)
	require.NoError(b, err)
	w := bufio.NewWriter(file)
	var line []byte
	bare, whole := 0, 0
	for i, e := range sampleEvents() {
		e.Collector, e.Seq = "0badcafe", uint64(i+1)
		bare += len(e.AppendJSON(line[:0]))
		line = e.AppendEnvelope(line[:0])
		whole += len(line)
		_, err := w.Write(append(line, '\n'))
		require.NoError(b, err)
	}
	require.NoError(b, w.Flush())
	require.NoError(b, file.Close())
	b.Logf("%d bytes an event, %d with its envelope", bare/samples, whole/samples)
}

// sendJob tells this program, started once more, to be the sender.
type sendJob struct {
	URL, State, Profile string
	Archive             string // the folder; empty is none
	Events              int
}

const senderEnv = "AIWATCH_BENCH_SENDER"

// send delivers a job's events and prints what that took.
func send(text string, out io.Writer) (err error) {
	var job sendJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	made := sampleEvents()
	if job.Profile != "" {
		file, err := os.Create(job.Profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, file.Close())
		}()
	}
	began, before := time.Now(), used()
	if err := forward(job, made); err != nil {
		return err
	}
	seconds, after := time.Since(began).Seconds(), used()
	return json.NewEncoder(out).Encode(counterpart.OTelSendResult{
		Events: job.Events, Seconds: seconds, EventsPerSecond: float64(job.Events) / seconds,
		CPUSeconds: (after.cpu - before.cpu).Seconds(), MaxRSSMiB: float64(after.maxRSS) / (1 << 20),
	})
}

// forward does what a program does with the forwarder.
func forward(job sendJob, made []event.Event) (err error) {
	q, err := queue.Open(job.State, queue.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	// Acknowledgements are asked for each second, so that the last ones do not
	// make a short run long.
	destination, err := hec.New(hec.Config{URLs: []string{job.URL}, Token: token, Ack: hec.AckOn, AckInterval: time.Second})
	if err != nil {
		return err
	}
	var copies *archive.Writer
	if job.Archive != "" {
		if copies, err = archive.OpenWriter(job.Archive, archive.Options{}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, copies.Close()) }()
	}
	f, err := forwarder.New(forwarder.Options{Queue: q, Archive: copies, Destination: destination, Host: "bench"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return f.Run(ctx) })
	err = func() error {
		stream, err := f.Open(ctx, forwarder.Input{Name: sampleInput, Source: "bench", Index: "ai"})
		if err != nil {
			return err
		}
		for i := range job.Events {
			if err := stream.Emit(&made[i%samples]); err != nil {
				return err
			}
			if i%256 == 255 {
				if err := stream.Checkpoint(); err != nil {
					return err
				}
			}
		}
		if err := stream.Flush(); err != nil {
			return err
		}
		return f.Drain(ctx)
	}()
	cancel()
	return errors.Join(err, group.Wait())
}

// used is what this process has used so far.
func used() cost {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return cost{}
	}
	return cost{cpu: time.Duration(r.Utime.Nano() + r.Stime.Nano()), maxRSS: r.Maxrss << 10}
}
