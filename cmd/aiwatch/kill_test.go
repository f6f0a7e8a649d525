package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
)

// killAt kills the process the n-th time that it comes to one of these points,
// and returns which it was.
func (p *process) killAt(t *testing.T, points <-chan tracepoint, n int, names ...string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case at := <-points:
			if slices.Contains(names, at.name) {
				n--
			}
			if n > 0 {
				at.goOn()
				continue
			}
			require.NoError(t, p.cmd.Process.Kill())
			<-p.exited
			return at.name
		case <-p.exited:
			t.Fatalf("the run ended by itself, before %v", names)
		case <-deadline:
			t.Fatalf("%v was not reached in a minute, %d to go", names, n)
		}
	}
}

// passes lets the process go on at each point until it ends, which must be well.
func (p *process) passes(t *testing.T, points <-chan tracepoint) {
	t.Helper()
	for {
		select {
		case at := <-points:
			at.goOn()
		case <-p.exited:
			require.Equal(t, exitDone, p.end(t))
			return
		}
	}
}

// A tracepoint is a moment at which a run waits to be told to go on.
type tracepoint struct {
	name string
	goOn func()
}

// listenTrace returns the socket for traceEnv and the points of whatever run
// connects to it.
func listenTrace(t *testing.T) (path string, points <-chan tracepoint) {
	t.Helper()
	dir, err := os.MkdirTemp("", "trace-") // t.TempDir may be too long for a socket
	require.NoError(t, err)
	path = filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	ch := make(chan tracepoint)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					select {
					case ch <- tracepoint{lines.Text(), func() { _, _ = conn.Write([]byte("\n")) }}:
					case <-ctx.Done():
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		wg.Wait()
		os.RemoveAll(dir)
	})
	return path, ch
}

// logBucket is a bucket of access logs on a real S3 server, with its truth.
type logBucket struct {
	server *counterpart.S3Server
	client *s3.Client
	name   string
	ids    []event.ID
}

var logsBegin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// fillBucket puts records into a log bucket, perObject a log object.
func fillBucket(t *testing.T, records, perObject int) *logBucket {
	t.Helper()
	server := counterpart.Versitygw(t, counterpart.VersitygwOptions{})
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), Region: server.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	b := &logBucket{server: server, client: client, name: "access-logs"}
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &b.name})
	require.NoError(t, err)
	for first := 0; first < records; first += perObject {
		var body bytes.Buffer
		delivered := logsBegin.Add(time.Duration(first) * 100 * time.Millisecond)
		for n := first; n < min(first+perObject, records); n++ {
			line, id := accessLine(n, delivered.Add(-time.Hour+time.Duration(n-first)*time.Second))
			body.WriteString(line + "\n")
			b.ids = append(b.ids, id)
		}
		key := fmt.Sprintf("prod/%s-%016X", delivered.Format("2006-01-02-15-04-05"), first)
		_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: bytes.NewReader(body.Bytes())})
		require.NoError(t, err)
	}
	return b
}

// configure writes the configuration of a run that reads the bucket and delivers
// to url, and returns its folder.
func (b *logBucket) configure(t *testing.T, url, batchBytes string) string {
	t.Helper()
	return writeConfiguration(t, fmt.Sprintf(`
[aiwatch_s3://prod]
bucket = %s
prefix = prod/
start = %s
endpoint = %s
region = %s
path_style = true
access_key_id = %s
secret_access_key_env = S3_SECRET
interval = 1
`, b.name, logsBegin.Add(-24*time.Hour).Format(time.RFC3339), b.server.URL, b.server.Region, b.server.AccessKey), fmt.Sprintf(`
[hec]
url = %s
token_env = HEC_TOKEN
batch_bytes = %s
linger = 100ms
`, url, batchBytes))
}

func (b *logBucket) environment() []string {
	return []string{"S3_SECRET=" + b.server.SecretKey, "HEC_TOKEN=" + hecToken, "AWS_EC2_METADATA_DISABLED=true"}
}

// TestKilledAnywhere kills the program at moments of its delivery, over a bucket
// on a real S3 server and with a receiver that fails at random, and counts at
// the receiver.
func TestKilledAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real S3 server")
	}
	kills := rounds(t)
	bucket := fillBucket(t, max(20_000, 2_000*kills), 500)
	hec := startReceiver(t, true, nil)
	conf := bucket.configure(t, hec.URL(), "64KiB")
	state := filepath.Join(t.TempDir(), "state")
	socket, points := listenTrace(t)
	random := rand.New(rand.NewPCG(1, 2))

	// The receiver commits a prefix and is busy, drops the line, fails, restarts.
	usual := []hecserver.Fault{
		{Code: hecserver.ServerBusy, Commit: 10, Named: true, Probability: 0.1},
		{Code: hecserver.ServerBusy, Commit: 5, Probability: 0.03},
		{Code: hecserver.InternalError, Probability: 0.05},
		{End: hecserver.Drop, Probability: 0.03},
		{End: hecserver.Truncate, Probability: 0.02},
		{Status: 502, Body: "<html>bad gateway</html>", Times: 1, Probability: 0.02},
		{Restart: true, Probability: 0.01},
	}
	// So that bodies are recut often enough to be killed at.
	recutting := append([]hecserver.Fault{{Code: hecserver.ServerBusy, Commit: 7, Named: true, Probability: 0.5}}, usual...)

	traced := append(bucket.environment(), traceEnv+"="+socket)
	start := func(args ...string) *process {
		return startProgram(t, traced, append([]string{"run", "--conf", conf, "--state", state}, args...)...)
	}
	killed := map[string]int{}
	for round := range kills {
		target := [...][]string{
			{"committed", "before-post"},     // between commit and POST
			{"posted"},                       // between POST and ack
			{"before-recut"},                 // while a body is recut
			{"before-remove", "removed"},     // around the removal of what is acknowledged
			{"committed", "posted", "recut"}, // at any of these
		}[round%5]
		require.NoError(t, hec.faults.Set(random.Uint64(), map[bool][]hecserver.Fault{true: recutting, false: usual}[round%5 == 2]...))
		killed[start().killAt(t, points, 1+random.IntN(4), target...)]++
	}

	require.NoError(t, hec.faults.Set(1))
	start("--once", "--max-wait", "60s").passes(t, points)
	duplicates := hec.requireAll(t, bucket.ids)
	t.Logf("killed %d times (%v): %d records, none lost, %d sent again with the same id", kills, killed, len(bucket.ids), duplicates)
	require.GreaterOrEqual(t, killed["committed"]+killed["before-post"], kills/5)
	require.GreaterOrEqual(t, killed["posted"], kills/5)
	require.GreaterOrEqual(t, killed["before-recut"], kills/5)
}
