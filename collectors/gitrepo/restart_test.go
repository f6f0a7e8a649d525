package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// rounds is how often a randomised test repeats itself.
func rounds(t testing.TB) int {
	n, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS"))
	if err != nil {
		return 10
	}
	require.Positive(t, n)
	return n
}

// story is what happens to a repository; between two of its parts lies at least
// one poll.
var story = []func(l *lab){
	func(l *lab) {
		for i := range 7 {
			l.commit(fmt.Sprint("c", i), "model.pt", fmt.Sprint(i), "config.json", fmt.Sprintf(`{"n":%d}`, i))
		}
		l.git("tag", "v1")
		l.push()
		l.push("v1")
	},
	func(l *lab) {
		l.git("checkout", "-q", "-b", "side")
		for i := range 4 {
			l.commit(fmt.Sprint("s", i), "adapter.pt", fmt.Sprint(i))
		}
		l.push()
	},
	func(l *lab) {
		l.git("checkout", "-q", "main")
		l.commit("m", "README.md", "x")
		l.git("merge", "-q", "--no-ff", "--no-edit", "side")
		l.push()
		l.push(":side")
		l.hook("alice", "refs/heads/main", l.git("rev-parse", "v1"), l.git("rev-parse", "main"))
	},
	func(l *lab) {
		l.git("reset", "-q", "--hard", "v1")
		l.commit("rewritten", "model.pt", "evil")
		l.git("tag", "-f", "v1")
		l.push("-f", "main", "v1")
	},
	func(l *lab) { // the default branch gets another name, in the place of another
		l.push("main:refs/heads/trunk/main", ":refs/heads/main")
		l.push(l.git("commit-tree", "-m", "x", "main^{tree}") + ":refs/replace/" + l.git("rev-parse", "main"))
	},
	func(l *lab) { // many references at once, and all of them gone
		for i := range 6 {
			c := l.git("commit-tree", "-p", "main", "-m", fmt.Sprint("many", i), "main^{tree}")
			l.push(c + ":refs/heads/many/" + fmt.Sprint(i))
		}
	},
	func(l *lab) {
		for i := range 6 {
			l.push(":refs/heads/many/" + fmt.Sprint(i))
		}
	},
	func(l *lab) {
		l.push(":refs/heads/trunk/main")
		l.push("main:refs/heads/trunk")
	},
}

// play plays the story, each part at its own time, and polls after it by poll.
func play(l *lab, poll func()) []string {
	base := l.now
	l.cfg.HookLog, l.cfg.TrustLogs = l.hookLog(), true
	for i, part := range story {
		l.now = base.Add(time.Duration(i) * time.Hour)
		part(l)
		poll()
	}
	var told []string
	for _, e := range l.all {
		told = append(told, e.s("event_id")+" "+e.s("operation")+" "+e.s("asset_id")+" "+e.s("git_ref")+" "+e.s("pusher"))
	}
	slices.Sort(told)
	return told
}

// A stopper is an output that ends the process at its nth call: what was not
// checkpointed is gone.
type stopper struct {
	*collectors.Memory
	left int
}

var errStopped = errors.New("the process is gone")

func (s *stopper) step() error {
	if s.left--; s.left < 0 {
		return errStopped
	}
	return nil
}

func (s *stopper) Emit(ev *event.Event) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.Memory.Emit(ev)
}

func (s *stopper) Checkpoint() error {
	if err := s.step(); err != nil {
		return err
	}
	return s.Memory.Checkpoint()
}

// Whenever a process ends, the next one tells the same events, none twice and
// none left out.
func TestSameEventsWhereverItEnds(t *testing.T) {
	t.Parallel()
	whole := newLab(t)
	want := play(whole, func() { whole.poll() })
	require.Len(t, slices.Compact(slices.Clone(want)), len(want), "every event has its own id")
	require.Greater(t, len(want), 40)

	random := rand.New(rand.NewPCG(1, 2))
	for round := range rounds(t) / 2 {
		l := newLab(t)
		ends := 0
		got := play(l, func() {
			for {
				l.tick()
				l.col = nil
				l.collector().checkpointEvery = 1 + random.IntN(5)
				out := &stopper{Memory: l.out, left: random.IntN(25)}
				err := l.collector().Poll(t.Context(), out)
				if err == nil {
					return
				}
				require.ErrorIs(t, err, errStopped)
				l.out.Discard()
				ends++
			}
		})
		require.Equal(t, want, got, "round %d", round)
		require.Positive(t, ends)
	}
}

// A refuser is an output that refuses its nth event and goes on keeping state,
// as one whose poll has to end while it waits for room.
type refuser struct {
	*collectors.Memory
	left int
}

func (r *refuser) Emit(ev *event.Event) error {
	if r.left--; r.left < 0 {
		return errStopped
	}
	return r.Memory.Emit(ev)
}

// An event that was refused is told by the next poll.
func TestRefusedEventIsTold(t *testing.T) {
	t.Parallel()
	whole := newLab(t)
	want := play(whole, func() { whole.poll() })
	l := newLab(t)
	refused := 0
	got := play(l, func() {
		for n := 0; ; n++ {
			l.tick()
			err := l.collector().Poll(t.Context(), &refuser{Memory: l.out, left: n % 7})
			if err == nil {
				return
			}
			require.ErrorIs(t, err, errStopped)
			l.out.Discard()
			refused++
		}
	})
	require.Equal(t, want, got)
	require.Positive(t, refused)
}

// A fetch that is ended half-way, at any moment, leaves a mirror from which the
// next one goes on.
func TestFetchEndedHalfWay(t *testing.T) {
	t.Parallel()
	whole := newLab(t)
	want := play(whole, func() { whole.poll() })
	random := rand.New(rand.NewPCG(3, 4))
	for range rounds(t) / 2 {
		l := newLab(t)
		ends := 0
		got := play(l, func() {
			for i := 0; ; i++ {
				l.tick()
				l.restart()
				ctx, cancel := context.WithCancel(t.Context())
				if i < 4 {
					timer := time.AfterFunc(time.Duration(random.IntN(60))*time.Millisecond, cancel)
					defer timer.Stop()
				}
				err := l.collector().Poll(ctx, l.out)
				cancel()
				if err == nil {
					return
				}
				require.Less(t, i, 4, "%v", err) // nothing ended this one
				l.out.Discard()
				ends++
				l.leftovers()
			}
		})
		require.Equal(t, want, got)
		require.Positive(t, ends)
	}
}

// leftovers puts into the mirror what a killed git leaves there.
func (l *lab) leftovers() {
	dir := l.collector().repos[0].mirror.dir
	if _, err := os.Stat(filepath.Join(dir, "objects", "pack")); err != nil {
		return
	}
	for _, name := range []string{"packed-refs.lock", "refs/m/heads/main.lock", "objects/pack/tmp_pack_abc", "objects/tmp_objdir-incoming-x/pack/p"} {
		p := filepath.Join(dir, name)
		require.NoError(l.t, os.MkdirAll(filepath.Dir(p), 0o700))
		require.NoError(l.t, os.WriteFile(p, []byte("x"), 0o600))
	}
}

// A process that is killed takes its git with it, and while one still lives
// nobody works in the mirror.
func TestKilledProcessTakesGitWithIt(t *testing.T) {
	if dir := os.Getenv("AIWATCH_TEST_CHILD"); dir != "" {
		g := &gitRunner{home: dir, dir: dir, hardenings: hardenings}
		lock, err := lockFile(t.Context(), filepath.Join(dir, "lock"))
		require.NoError(t, err)
		g.inherit = lock
		cmd := g.command(t.Context(), "cat-file", "--batch")
		cmd.Stdin = os.Stdin // which the test holds open, so that git waits
		require.NoError(t, cmd.Start())
		fmt.Print("\nstarted\n")
		_ = cmd.Wait() // not before this process is killed
	}
	dir := t.TempDir()
	newLab(t).gitIn(dir, "init", "-q", "--bare", dir)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcessTakesGitWithIt$")
	cmd.Env = append(os.Environ(), "AIWATCH_TEST_CHILD="+dir)
	in, held, err := os.Pipe()
	require.NoError(t, err)
	defer held.Close()
	defer in.Close()
	cmd.Stdin = in
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said strings.Builder
	for b := make([]byte, 100); !strings.Contains(said.String(), "started"); {
		n, err := out.Read(b)
		require.NoError(t, err, said.String())
		said.Write(b[:n])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	_, err = lockFile(ctx, filepath.Join(dir, "lock"))
	cancel()
	require.Error(t, err, "it is held")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f, err := lockFile(ctx, filepath.Join(dir, "lock"))
	require.NoError(t, err, "git went with it")
	f.Close()
}

// A mirror that is lost is made anew, and nothing is told twice.
func TestLostMirror(t *testing.T) {
	l := newLab(t)
	l.commit("first", "model.pt", "1")
	l.commit("second", "model.pt", "2")
	l.push()
	l.poll()
	require.NoError(t, os.RemoveAll(l.cfg.Dir))
	l.restart()
	require.Empty(t, l.poll())
	// Lost, and rewritten meanwhile: the old commits are nowhere any more.
	require.NoError(t, os.RemoveAll(l.cfg.Dir))
	l.restart()
	l.git("checkout", "-q", "--orphan", "fresh")
	l.commit("fresh", "model.pt", "3")
	l.push("-f", "fresh:main")
	l.gitIn(l.source, "reflog", "expire", "--expire=now", "--all")
	l.gitIn(l.source, "gc", "-q", "--prune=now")
	events := l.poll()
	require.Len(t, with(events, "ref.force_pushed"), 1)
	require.Len(t, with(events, "commit.added"), 1)
}

func TestRecreatedRepository(t *testing.T) {
	l := newLab(t)
	l.commit("first", "model.pt", "1")
	l.push()
	l.poll()
	require.NoError(t, os.RemoveAll(l.source))
	_, err := l.tryPoll()
	require.Error(t, err)
	l.gitIn(l.dir, "init", "-q", "--bare", "--initial-branch=main", l.source)
	l.git("checkout", "-q", "--orphan", "fresh")
	l.commit("made anew", "model.pt", "2")
	l.push("fresh:main")
	events := l.poll()
	require.Len(t, with(events, "repo.recreated"), 1)
	require.Len(t, with(events, "ref.force_pushed"), 1)
	require.Len(t, with(events, "commit.dropped"), 1)
	require.Empty(t, l.poll())
	// The twin: history that is rewritten but for its beginning.
	l.commit("more", "model.pt", "3")
	l.push("fresh:main")
	l.poll()
	l.git("reset", "-q", "--hard", "HEAD~1")
	l.commit("other", "model.pt", "4")
	l.push("-f", "fresh:main")
	require.Empty(t, with(l.poll(), "repo.recreated"))
}

// An emptied repository is its references deleted, not an error.
func TestEmptiedAndEmptyRepository(t *testing.T) {
	l := newLab(t)
	require.Equal(t, []string{"inventory "}, ops(l.poll()), "empty at first contact")
	c := l.commit("first", "model.pt", "1")
	l.push()
	require.Equal(t, []string{"commit.added @" + c[:7], "file.added //model.pt", "ref.created @refs/heads/main"}, ops(l.poll()))
	l.push(":main")
	require.Equal(t, []string{"ref.deleted @refs/heads/main", "commit.dropped @" + c[:7]}, ops(l.poll()))
	l.push("main")
	require.Equal(t, []string{"ref.created @refs/heads/main"}, ops(l.poll()), "its commit was told")
}
