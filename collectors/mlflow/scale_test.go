package mlflow_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"aiwatch/collectors/mlflow"
	"aiwatch/internal/event"
	"aiwatch/internal/mlflowsim"
)

// scaleURL and scaleState are how a test hands its server and state file to
// itself as another process, whose memory holds the collector alone.
const (
	scaleURL   = "AIWATCH_TEST_SCALE_URL"
	scaleState = "AIWATCH_TEST_SCALE_STATE"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(scaleURL); url != "" {
		if err := scaled(url, os.Getenv(scaleState)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// onDisk is an output whose state is a file, as the queue's is.
type onDisk struct {
	db     *bbolt.DB
	staged map[string][]byte
	events int
	writes int
}

var bucket = []byte("state")

func (o *onDisk) Emit(*event.Event) error { o.events++; return nil }
func (o *onDisk) Get(key string) (v []byte, err error) {
	if v, ok := o.staged[key]; ok {
		return v, nil
	}
	err = o.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucket).Get([]byte(key)); b != nil {
			v = append([]byte{}, b...)
		}
		return nil
	})
	return v, err
}

func (o *onDisk) Range(prefix string, visit func(string, []byte) error) error {
	if err := o.Checkpoint(); err != nil {
		return err
	}
	return o.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, v = c.Next() {
			if err := visit(string(k), v); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o *onDisk) Put(key string, value []byte) {
	o.staged[key] = append([]byte{}, value...)
	o.writes++
}
func (o *onDisk) Delete(key string) { o.staged[key] = nil; o.writes++ }
func (o *onDisk) Flush() error      { return o.Checkpoint() }
func (o *onDisk) Checkpoint() error {
	if len(o.staged) == 0 {
		return nil
	}
	err := o.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for k, v := range o.staged {
			var err error
			if v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	clear(o.staged)
	return err
}

// measured is what a poll of a process of its own took.
type measured struct {
	Events int
	Writes int // of the state
	CPU    time.Duration
	AnonKB int // the most that was seen
}

// anon is the process's anonymous memory in kB.
func anon() int {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "RssAnon:"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return n
		}
	}
	return 0
}

// scaled polls once and writes what it took to stdout.
func scaled(url, state string) error {
	db, err := bbolt.Open(state, 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		return err
	}
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err }); err != nil {
		return err
	}
	out := &onDisk{db: db, staged: map[string][]byte{}}
	c, err := mlflow.New(mlflow.Config{Name: "scale", URL: url, Interval: time.Nanosecond, FastInterval: time.Nanosecond, Instance: "big"})
	if err != nil {
		return err
	}
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return err
	}
	var most atomic.Int64
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			most.Store(max(most.Load(), int64(anon())))
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	if err := c.Poll(context.Background(), out); err != nil {
		return err
	}
	close(done)
	<-watched
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return err
	}
	cpu := func(r *syscall.Rusage) time.Duration { return time.Duration(r.Utime.Nano() + r.Stime.Nano()) }
	if err := json.NewEncoder(os.Stdout).Encode(measured{out.events, out.writes, cpu(&after) - cpu(&before), int(most.Load())}); err != nil {
		return err
	}
	return db.Close()
}

// TestScale: with AIWATCH_ROUNDS=100 10,000 models, 100,000 versions and
// 1,000,000 runs; by default a tenth of that.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a large registry")
	}
	rounds, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS"))
	if err != nil || rounds < 1 {
		rounds = 10
	}
	rounds = min(rounds, 100)
	s := newStandIn(t, mlflowsim.Options{Bulk: mlflowsim.Bulk{Models: 100 * rounds, Versions: 1000 * rounds, Runs: 10_000 * rounds, At: 1_700_000_000_000}})
	s.clock.at = time.Now()
	var registry atomic.Int64
	s.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "registered-models/") || strings.Contains(r.URL.Path, "model-versions/") {
			registry.Add(1)
		}
		return false
	}
	state := filepath.Join(t.TempDir(), "state")
	poll := func() (m measured, requests int64) {
		registry.Store(0)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), scaleURL+"="+s.url, scaleState+"="+state)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &m))
		return m, registry.Load()
	}
	report := func(what string, m measured, requests int64) {
		t.Logf("%s: %d events, %d writes of the state, %d requests for the registry, %s of CPU, %d MiB of anonymous memory", what, m.Events, m.Writes, requests, m.CPU.Round(time.Millisecond), m.AnonKB>>10)
	}
	m, requests := poll()
	report("first contact", m, requests)
	require.Greater(t, m.Events, 1100*rounds)
	require.LessOrEqual(t, requests, int64(30))
	require.LessOrEqual(t, m.AnonKB, 64<<10)
	for range 3 { // the inventory of runs goes on
		m, requests = poll()
		report("next sweep", m, requests)
		require.LessOrEqual(t, m.AnonKB, 64<<10)
	}
	require.Zero(t, m.Events)
	require.LessOrEqual(t, m.CPU, 2*time.Second)
	require.LessOrEqual(t, requests, int64(30))
	// What is written in an idle sweep tells whose artifacts were listed for the
	// first time, which goes on.
	idle, writes := m.CPU, m.Writes
	require.LessOrEqual(t, writes, mlflow.DefaultRequestsPerSweep+20)
	rest := rest{t: t, url: s.url}
	rest.post("registered-models/set-tag", object{"name": "model-000777", "key": "k", "value": "v"})
	m, requests = poll()
	report("one tag changed", m, requests)
	require.Equal(t, 1, m.Events)
	require.Less(t, m.CPU, 2*idle, "what one change costs follows it, not what exists")
	require.LessOrEqual(t, m.Writes, writes+20)
	require.LessOrEqual(t, requests, int64(30))
	rest.post("model-versions/set-tag", object{"name": "model-000778", "version": "1", "key": "k", "value": "v"})
	rest.call("DELETE", "model-versions/delete", object{"name": "model-000779", "version": "1"})
	m, requests = poll()
	report("a version changed and one deleted", m, requests)
	require.Equal(t, 2, m.Events)
	require.Less(t, m.CPU, 2*idle)
	require.LessOrEqual(t, m.Writes, writes+40)
}
