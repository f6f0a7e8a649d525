package forwarder_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/collectors"
	"aiwatch/forwarder"
	"aiwatch/forwarder/hec"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
)

// shelf is a destination that keeps what it gets. While it is shut it takes
// nothing.
type shelf struct {
	mu     sync.Mutex
	shut   bool
	bodies []string // unpacked
}

func (d *shelf) Send(_ context.Context, body forwarder.Body, _ func(bool)) forwarder.Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return forwarder.Outcome{Verdict: forwarder.Retry, After: time.Millisecond, Code: -1, Reason: "shut"}
	}
	r, err := gzip.NewReader(bytes.NewReader(body.Data))
	if err != nil {
		panic(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	if len(raw) != body.Raw {
		panic("a body's size is wrong")
	}
	d.bodies = append(d.bodies, string(raw))
	return forwarder.Outcome{}
}

func (d *shelf) Run(ctx context.Context) error           { <-ctx.Done(); return nil }
func (*shelf) Check(context.Context) []forwarder.Finding { return nil }

func (d *shelf) set(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
}

func (d *shelf) all() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.bodies, "")
}

var seqField = regexp.MustCompile(`"seq":(\d+),`)

// numbers counts how often each number was sent.
func numbers(sent string) map[int]int {
	count := map[int]int{}
	for _, m := range seqField.FindAllStringSubmatch(sent, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			panic(err)
		}
		count[n]++
	}
	return count
}

// requireNumbers asserts that the numbers 1 to last were sent, each once.
func requireNumbers(t *testing.T, sent string, last int) {
	t.Helper()
	count := numbers(sent)
	require.Len(t, count, last)
	for n := 1; n <= last; n++ {
		require.Equal(t, 1, count[n], "number %d", n)
	}
}

func stateOf(t *testing.T, out collectors.Output) map[string]string {
	t.Helper()
	state := map[string]string{}
	require.NoError(t, out.Range("", func(key string, value []byte) error {
		state[key] = string(value)
		v, err := out.Get(key)
		require.NoError(t, err)
		require.Equal(t, string(value), string(v))
		return nil
	}))
	return state
}

// TestAStreamDoesWhatItsTwinInMemoryDoes plays random polls on both, over
// several lives of the process: what comes out and what is remembered is the
// same, to the byte.
func TestAStreamDoesWhatItsTwinInMemoryDoes(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			dir := t.TempDir() + "/state"
			var want strings.Builder
			twin := &collectors.Memory{Source: input, Host: "s3.test", Index: "ai", Deliver: func(b []byte) error {
				_, err := want.Write(b)
				return err
			}}
			d := &shelf{}
			n := 0
			archived := t.TempDir() + "/archive"
			before := "" // the first event, which the twin has not
			for life := range 4 {
				rig := start(t, dir, rigOptions{archive: archived, forwarder: forwarder.Options{Destination: d, BatchBytes: 3000 + r.IntN(5000), InFlight: 1, Linger: time.Duration(1+r.IntN(3)) * time.Millisecond}})
				s := rig.open(input)
				if life == 0 {
					twin.Collector = rig.queue.Collector()
					require.NoError(t, rig.drain())
					before = d.all()
					d.bodies = nil
					require.Contains(t, before, `"operation":"state.new"`)
					require.NoError(t, twin.Health(access(0)))
					want.Reset()
				}
				both := []collectors.Stream{s, twin}
				for range 400 {
					n++
					op, key := r.IntN(20), fmt.Sprint("k", r.IntN(30))
					for _, out := range both {
						switch {
						case op < 10:
							ev := access(n)
							if op == 0 {
								ev.Host = ""
							}
							require.NoError(t, out.Emit(ev))
							require.Equal(t, access(n).ID, ev.ID)
							require.Zero(t, ev.Seq, "the caller's event is as it was")
						case op < 13:
							out.Put(key, fmt.Append(nil, n))
						case op < 14:
							out.Delete(key)
						case op < 17:
							require.NoError(t, out.Checkpoint())
						case op < 18:
							out.Discard()
							require.NoError(t, out.Checkpoint())
						case op < 19:
							ev := access(n)
							ev.Sourcetype = event.SourcetypeHealth
							require.NoError(t, out.Health(ev))
						default:
							require.NoError(t, out.Flush())
						}
					}
					if r.IntN(20) == 0 {
						require.Equal(t, stateOf(t, twin), stateOf(t, s))
					}
				}
				for _, out := range both {
					out.Discard()
					require.NoError(t, out.Flush())
				}
				require.Equal(t, stateOf(t, twin), stateOf(t, s))
				require.NoError(t, rig.drain())
				require.Equal(t, want.String(), d.all())
				require.Equal(t, before+want.String(), strings.Join(archivedEvents(t, archived), ""), "the archive has the same bytes")
				rig.stop()
			}
		})
	}
}

func TestHealthMayBeToldWhileAPollRuns(t *testing.T) {
	d := &shelf{}
	r := start(t, t.TempDir()+"/state", rigOptions{forwarder: forwarder.Options{Destination: d, BatchBytes: 20_000}})
	s := r.open(input)
	var g errgroup.Group
	g.Go(func() error {
		for n := range 2000 {
			if err := s.Emit(access(n)); err != nil {
				return err
			}
			s.Put("at", fmt.Append(nil, n))
			if n%64 == 63 {
				if err := s.Checkpoint(); err != nil {
					return err
				}
			}
		}
		return s.Flush()
	})
	g.Go(func() error {
		for n := range 200 {
			ev := access(10_000 + n)
			if err := s.Health(ev); err != nil {
				return err
			}
			s.Events()
		}
		return nil
	})
	require.NoError(t, g.Wait())
	require.NoError(t, s.Flush())
	require.NoError(t, r.drain())
	require.EqualValues(t, 2201, s.Events())
	requireNumbers(t, d.all(), 2201)
}

func TestCollectorsWaitAtTheLimitAndGoOn(t *testing.T) {
	d := &shelf{shut: true}
	r := start(t, t.TempDir()+"/state", rigOptions{
		queue:     queue.Options{MaxBytes: 2 << 20},
		forwarder: forwarder.Options{Destination: d, BatchBytes: 64 << 10},
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := r.f.Open(ctx, forwarder.Input{Name: input, Source: "s3://logs/"})
	require.NoError(t, err)
	noise := rand.New(rand.NewPCG(1, 1))
	emit := func(n int) error {
		ev := access(n)
		ev.UserAgent = fmt.Sprintf("%x", [4]uint64{noise.Uint64(), noise.Uint64(), noise.Uint64(), noise.Uint64()})
		if err := s.Emit(ev); err != nil {
			return err
		}
		if n%50 == 49 {
			return s.Checkpoint()
		}
		return nil
	}
	const events = 20_000
	var g errgroup.Group
	g.Go(func() error {
		for n := range events {
			if err := emit(n); err != nil {
				return err
			}
		}
		return s.Flush()
	})
	// It waits: the queue takes no more, although not all was emitted.
	full := func() bool { return r.queue.Commit(func(*queue.Tx) error { return nil }) != nil }
	require.Eventually(t, full, 20*time.Second, time.Millisecond)
	require.Less(t, s.Events(), uint64(events))
	d.set(false)
	require.NoError(t, g.Wait())
	require.NoError(t, r.drain())
	requireNumbers(t, d.all(), events+1)
	// The end of the polls' context ends the wait.
	d.set(true)
	g.Go(func() error {
		for n := 0; ; n++ {
			if err := emit(n); err != nil {
				return err
			}
		}
	})
	require.Eventually(t, full, 20*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, g.Wait(), context.Canceled)
	d.set(false)
}

func TestABodyThatCantBeReadIsTold(t *testing.T) {
	dir := t.TempDir() + "/state"
	d := &shelf{shut: true}
	r := start(t, dir, rigOptions{forwarder: forwarder.Options{Destination: d, BatchBytes: 20_000}})
	r.emit(r.open(input), 0, 300)
	var hit queue.Header
	n := 0
	require.NoError(t, r.queue.Headers(func(h queue.Header) error {
		if n++; n == 3 {
			hit = h
		}
		return nil
	}))
	body, err := r.queue.Body(hit, nil)
	require.NoError(t, err)
	r.stop()
	file := filepath.Join(dir, queue.FileName)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	at := bytes.Index(content, body)
	require.Positive(t, at)
	content[at+len(body)/2] ^= 0x10
	require.NoError(t, os.WriteFile(file, content, 0o600))

	d.set(false)
	r = start(t, dir, rigOptions{forwarder: forwarder.Options{Destination: d}})
	require.NoError(t, r.drain())
	sent := d.all()
	require.Equal(t, 1, strings.Count(sent, `"operation":"gap.unreadable"`))
	require.Contains(t, sent, fmt.Sprintf("events %d to %d could not be read", hit.First, hit.Last))
	require.Contains(t, sent, `"source":"`+input+`"`)
	lost := 0
	came := numbers(sent)
	for seq := uint64(1); seq <= 301; seq++ {
		if came[int(seq)] == 0 {
			lost++
			require.True(t, hit.First <= seq && seq <= hit.Last)
		}
	}
	require.Equal(t, hit.Events, lost)
	require.EqualValues(t, lost, r.f.Metrics().Lost.Load())
}

func TestWhatTheStateWentThroughIsTold(t *testing.T) {
	dir := t.TempDir() + "/state"
	tell := func(open ...string) string {
		d := &shelf{}
		r := start(t, dir, rigOptions{forwarder: forwarder.Options{Destination: d}})
		for _, in := range open {
			name, token, _ := strings.Cut(in, " ")
			_, err := r.f.Open(t.Context(), forwarder.Input{Name: name, Source: "x", RestartToken: token})
			require.NoError(t, err)
		}
		require.NoError(t, r.drain())
		r.stop()
		var told []string
		for _, part := range strings.Split(d.all(), `"operation":"`)[1:] {
			operation, rest, _ := strings.Cut(part, `"`)
			_, text, _ := strings.Cut(rest, `"text":"`)
			text, _, _ = strings.Cut(text, `"`)
			told = append(told, operation+": "+text)
		}
		return strings.Join(told, "\n")
	}
	require.Equal(t, "state.new: there was no state; everything begins anew\nstate.new: there was no state; everything begins anew", tell("a", "b"))
	require.Empty(t, tell("a", "b"))
	require.Equal(t, "state.new: this input has no state yet; it begins anew", tell("a", "c"))
	require.Equal(t, "state.new: this input's source or restart_token changed; it begins anew and keeps its numbers", tell("a again"))
	file := filepath.Join(dir, queue.FileName)
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Empty(t, tell("a again"))
	require.NoError(t, os.WriteFile(file, old, 0o600))
	require.Contains(t, tell("a again", "b"), "state.restored: the state is older than what this folder last knew")
	require.NoError(t, os.WriteFile(file, []byte("nonsense"), 0o600))
	require.Contains(t, tell("a again"), "state.damaged: the state was damaged")
}

func TestAnAdminAsksTheRunningProcess(t *testing.T) {
	dir := t.TempDir() + "/state"
	admin, err := forwarder.Attach(t.Context(), dir)
	require.NoError(t, err)
	_, err = admin.Status(t.Context())
	require.ErrorIs(t, err, queue.ErrNone)
	_, err = admin.Resend(t.Context())
	require.ErrorIs(t, err, queue.ErrNone)

	server, counter := receiver(t, hecserver.Config{Tokens: []hecserver.Token{{Value: token, Indexes: []string{"ai2"}}}})
	r := start(t, dir, rigOptions{
		hec:       hec.Config{URLs: []string{server.URL()}},
		forwarder: forwarder.Options{Collecting: func() any { return []string{"fine"} }},
	})
	r.emit(r.open(input), 0, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return r.f.ServeControl(ctx) })
	socket := filepath.Join(dir, forwarder.SocketName)
	require.Eventually(t, func() bool {
		info, err := os.Stat(socket)
		return err == nil && info.Mode().Perm() == 0o600
	}, 10*time.Second, time.Millisecond)
	admin, err = forwarder.Attach(t.Context(), dir)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := admin.Status(t.Context())
		require.NoError(t, err)
		return s.Running && len(s.Held) == 1 && s.Input(input).Held == 101 && string(s.Collecting) == `["fine"]` && s.Collector == r.queue.Collector()
	}, 10*time.Second, time.Millisecond)
	n, err := admin.Reroute(t.Context(), input, "ai2")
	require.NoError(t, err)
	require.Equal(t, 101, n)
	require.NoError(t, r.drain())
	whole(t, counter, 100, 0)
	_, err = admin.Reroute(t.Context(), input, "A B")
	require.ErrorContains(t, err, "lower-case")
	letters, err := admin.DeadLetters(t.Context())
	require.NoError(t, err)
	require.Empty(t, letters)
	_, err = admin.Drop(t.Context(), 7)
	require.ErrorIs(t, err, forwarder.ErrNoLetter)
	require.NoError(t, admin.Close())
	cancel()
	require.NoError(t, g.Wait())
	r.stop()
	admin, err = forwarder.Attach(t.Context(), dir)
	require.NoError(t, err)
	s, err := admin.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Running)
	require.Zero(t, s.Waiting)
}

func TestAFullDiskIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	unmount := mountSmall(t, dir)
	defer unmount()
	state := filepath.Join(dir, "state")
	ballast := filepath.Join(dir, "ballast")
	d := &shelf{}
	r := start(t, state, rigOptions{forwarder: forwarder.Options{Destination: d, BatchBytes: 64 << 10}})
	s := r.open(input)
	r.emit(s, 0, 100)
	require.NoError(t, r.drain())
	// Somebody else fills the disk to its last byte.
	f, err := os.Create(ballast)
	require.NoError(t, err)
	for _, err = f.Write(make([]byte, 4096)); err == nil; _, err = f.Write(make([]byte, 4096)) {
	}
	require.ErrorContains(t, err, "no space")
	require.NoError(t, f.Close())
	d.set(true)
	var g errgroup.Group
	noise := rand.New(rand.NewPCG(1, 1))
	g.Go(func() error {
		for n := 100; n < 3000; n++ {
			ev := access(n)
			ev.UserAgent = fmt.Sprintf("%x", [2]uint64{noise.Uint64(), noise.Uint64()})
			if err := s.Emit(ev); err != nil {
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
	require.Eventually(t, func() bool { return s.Stalled() != nil }, 20*time.Second, time.Millisecond)
	require.NoError(t, os.Remove(ballast))
	d.set(false)
	require.NoError(t, g.Wait())
	require.NoError(t, r.drain())
	requireNumbers(t, d.all(), 3001)
	r.stop()
	q, err := queue.Open(state, queue.Options{})
	require.NoError(t, err)
	condition, _ := q.Condition()
	require.Equal(t, queue.Known, condition)
	require.NoError(t, q.Close())
}
