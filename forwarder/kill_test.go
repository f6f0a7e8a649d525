package forwarder_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
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

// The kill test runs this test binary as the program that is killed.
const (
	childDir    = "AIWATCH_TEST_CHILD_DIR"
	childURL    = "AIWATCH_TEST_CHILD_URL"
	childPoint  = "AIWATCH_TEST_CHILD_POINT" // name and count: the n-th time kills
	childEvents = 3000
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a run that goes on where the last one ended and kills itself at a
// point, without any warning.
func child(dir string) error {
	point, count, _ := strings.Cut(os.Getenv(childPoint), " ")
	left, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	trace := func(at string) {
		mu.Lock()
		defer mu.Unlock()
		if at != point {
			return
		}
		if left--; left == 0 {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			panic(fmt.Sprint("still alive: ", err))
		}
	}
	q, err := queue.Open(dir, queue.Options{})
	if err != nil {
		return err
	}
	a, err := archive.OpenWriter(dir+"/archive", archive.Options{})
	if err != nil {
		return err
	}
	d, err := hec.New(hec.Config{URLs: []string{os.Getenv(childURL)}, Token: token, AckInterval: 3 * time.Millisecond, RetryMin: time.Millisecond})
	if err != nil {
		return err
	}
	f, err := forwarder.New(forwarder.Options{
		Queue: q, Archive: a, Destination: d, BatchBytes: 40_000, Linger: time.Millisecond, InFlight: 2,
		HoldMin: time.Millisecond, HoldMax: 5 * time.Millisecond, Host: "fw", Trace: trace,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { return f.Run(ctx) })
	s, err := f.Open(ctx, forwarder.Input{Name: input, Source: "s3://logs/", Host: "s3.test"})
	if err != nil {
		return err
	}
	at, err := s.Get("at")
	if err != nil {
		return err
	}
	from := 0
	if at != nil {
		if from, err = strconv.Atoi(string(at)); err != nil {
			return err
		}
	}
	for n := from; n < childEvents; n++ {
		if err := s.Emit(access(n)); err != nil {
			return err
		}
		s.Put("at", []byte(strconv.Itoa(n+1)))
		if n%50 == 49 {
			if err := s.Checkpoint(); err != nil {
				return err
			}
		}
	}
	drain, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	if err := f.Drain(drain); err != nil {
		return err
	}
	cancel()
	if err := g.Wait(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := q.Close(); err != nil {
		return err
	}
	return a.Close()
}

func TestKilledAnywhereNothingIsLost(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS")); err == nil {
		rounds = n
	}
	binary, err := os.Executable()
	require.NoError(t, err)
	points := []string{"archived", "committed", "before-post", "posted", "before-remove", "removed", "before-recut", "recut"}
	kills := map[string]int{}
	duplicates := uint64(0)
	for round := range max(1, rounds/2) {
		random := rand.New(rand.NewPCG(uint64(round), 7))
		server, counter := receiver(t, hecserver.Config{
			Tokens: []hecserver.Token{{Value: token, Ack: round%2 == 1}},
			MaxRaw: 30_000, // every body is recut
			Faults: faults(t, hecserver.Fault{Code: hecserver.ServerBusy, Commit: 20, Named: true, Probability: 0.1}, hecserver.Fault{End: hecserver.Drop, Probability: 0.03}),
		})
		dir := t.TempDir() + "/state"
		for run := 0; ; run++ {
			require.Less(t, run, 100, "it never ends")
			point := points[(run+round)%len(points)]
			if run >= 2*len(points) {
				point = "none"
			}
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append(os.Environ(), childDir+"="+dir, childURL+"="+server.URL(), fmt.Sprintf("%s=%s %d", childPoint, point, 1+random.IntN(6)))
			var stderr bytes.Buffer
			cmd.Stderr, cmd.Stdout = &stderr, io.Discard
			err := cmd.Run()
			if err == nil {
				break
			}
			require.Equal(t, -1, cmd.ProcessState.ExitCode(), "it was not killed: %s", stderr.String())
			kills[point]++
		}
		stats := counter.Stats()
		whole(t, counter, childEvents, int(stats.Duplicates))
		require.Len(t, stats.Streams, 1, "one collector, one source")
		require.EqualValues(t, 1, stats.Streams[0].First)
		duplicates += stats.Duplicates
		archived := archivedIDs(t, dir+"/archive")
		for n := range childEvents {
			require.Equal(t, 1, archived[access(n).ID.String()], "event %d in the archive", n)
		}
		require.EqualValues(t, stats.Distinct, len(archived), "what was delivered, and nothing else")
	}
	for _, point := range points {
		require.NotZero(t, kills[point], "never killed at %s", point)
	}
	t.Logf("kills %v, events sent twice (the same event_id) %d", kills, duplicates)
}
