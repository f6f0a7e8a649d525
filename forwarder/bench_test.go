//go:build unix

package forwarder_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/forwarder"
	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/hec"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
)

// benchEvents makes a row of events as S3 access logs give them.
func benchEvents(n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		e := access(i)
		e.UserID = "arn:aws:iam::123456789012:user/alice"
		e.UserType, e.UserConfidence = "user", "authenticated"
		e.StatusCode, e.RequestID = "200", fmt.Sprintf("%016X", i*2654435761)
		e.UserAgent = "aws-cli/2.15.30 Python/3.11.8 Linux/6.1.79-99.164.amzn2023.x86_64 exe/x86_64.amzn.2023 prompt/off command/s3.cp"
		e.Src, e.BytesOut = fmt.Sprintf("203.0.113.%d", i%256), event.N(int64(i)*4096)
		e.AssetRole, e.AssetFormat = "weights", "safetensors"
		e.RawRef = fmt.Sprintf("s3://logs/prod/2026-03-02-09-%02d-00-ABCDEF0123456789:%d", i%60, i)
		events[i] = *e
	}
	return events
}

// nowhere takes everything at once.
type nowhere struct{}

func (nowhere) Send(context.Context, forwarder.Body, func(bool)) forwarder.Outcome {
	return forwarder.Outcome{}
}
func (nowhere) Run(ctx context.Context) error             { <-ctx.Done(); return nil }
func (nowhere) Check(context.Context) []forwarder.Finding { return nil }

func benchForwarder(b *testing.B, d forwarder.Destination, copies *archive.Writer) (*forwarder.Forwarder, *forwarder.Stream) {
	q, err := queue.Open(b.TempDir()+"/state", queue.Options{})
	require.NoError(b, err)
	f, err := forwarder.New(forwarder.Options{Queue: q, Archive: copies, Destination: d, Host: "fw"})
	require.NoError(b, err)
	s, err := f.Open(b.Context(), forwarder.Input{Name: input, Source: "x", Host: "s3.test", Index: "ai"})
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, f.Close())
		require.NoError(b, q.Close())
	})
	return f, s
}

func emitAll(b *testing.B, s *forwarder.Stream, n int, events []event.Event) {
	for i := range n {
		if err := s.Emit(&events[i%len(events)]); err != nil {
			b.Fatal(err)
		}
		if i%256 == 255 {
			if err := s.Checkpoint(); err != nil {
				b.Fatal(err)
			}
		}
	}
	require.NoError(b, s.Flush())
}

// BenchmarkCommit encodes, compresses and commits events; nothing is sent.
func BenchmarkCommit(b *testing.B) {
	_, s := benchForwarder(b, nowhere{}, nil)
	events := benchEvents(1000)
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	emitAll(b, s, b.N, events)
	b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N)*1e6, "cpu-s/M")
}

// BenchmarkDeliver takes events the whole way: encoded, compressed, committed,
// posted, acknowledged, removed. The receiver answers and reads nothing more than
// it must, but its share of the CPU is in the figure.
func BenchmarkDeliver(b *testing.B) {
	var ackID atomic.Uint64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/ack") {
			var q struct{ Acks []uint64 }
			_ = json.NewDecoder(r.Body).Decode(&q)
			states := map[string]bool{}
			for _, id := range q.Acks {
				states[strconv.FormatUint(id, 10)] = true
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"acks": states})
			return
		}
		discard(r)
		_, _ = fmt.Fprintf(w, `{"text":"Success","code":0,"ackId":%d}`, ackID.Add(1)-1)
	}))
	defer server.Close()
	d, err := hec.New(hec.Config{URLs: []string{server.URL}, Token: token, AckInterval: 100 * time.Millisecond})
	require.NoError(b, err)
	f, s := benchForwarder(b, d, nil)
	ctx, cancel := context.WithCancel(b.Context())
	var g errgroup.Group
	g.Go(func() error { return f.Run(ctx) })
	events := benchEvents(1000)
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	emitAll(b, s, b.N, events)
	require.NoError(b, f.Drain(b.Context()))
	b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N)*1e6, "cpu-s/M")
	cancel()
	require.NoError(b, g.Wait())
}

// BenchmarkBacklog commits a million events that nobody takes and tells how much
// memory that needs beside the mapped file. Without the archive it must run
// first, in a process of its own: what once was needed is counted.
func BenchmarkBacklog(b *testing.B) {
	for _, name := range []string{"queue", "archive"} {
		b.Run(name, func(b *testing.B) {
			var copies *archive.Writer
			if name == "archive" {
				var err error
				copies, err = archive.OpenWriter(b.TempDir()+"/archive", archive.Options{})
				require.NoError(b, err)
				b.Cleanup(func() { require.NoError(b, copies.Close()) }) // after the queue's
			}
			_, s := benchForwarder(b, nowhere{}, copies)
			events := benchEvents(1000)
			for b.Loop() {
				emitAll(b, s, 1_000_000, events)
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.Sys-m.HeapReleased)/(1<<20), "anon-MiB")
		})
	}
}

func discard(r *http.Request) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := r.Body.Read(buf); err != nil {
			return
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
