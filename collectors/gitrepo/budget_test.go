package gitrepo

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noise is content that does not compress.
func noise(seed uint64, bytes int) string {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// An insider floods the repository to blind us: references are still read, it is
// told, and what was missed is made up for once the flood is gone.
func TestFloodOverTheDiskBudget(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.DiskBudget = 1 << 20
	base := l.commit("first", "model.pt", "1")
	lost := l.commit("second", "model.pt", "2")
	l.push()
	l.poll()

	l.git("checkout", "-q", "-b", "flood")
	l.commit("flood", "a.bin", noise(1, 2<<20))
	l.push("flood")
	events := l.poll()
	require.Equal(t, []string{"repo.over_budget ", "ref.created @refs/heads/flood"}, ops(events))
	require.Equal(t, "not_fetched", events[1].s("error_code"))
	require.NotEmpty(t, l.collector().Report().Coverage)
	size, err := l.collector().repos[0].mirror.size()
	require.NoError(t, err)
	require.Less(t, size, l.cfg.DiskBudget, "what was fetched of the flood is gone")
	require.Empty(t, l.poll())

	// Under its cover history is rewritten: how it moved can't be seen yet.
	l.git("checkout", "-q", "-B", "main", base)
	evil := l.commit("evil", "model.pt", "3")
	l.push("-f", "main")
	events = l.poll()
	require.Equal(t, []string{"ref.updated @refs/heads/main"}, ops(events))
	require.Equal(t, "not_fetched", events[0].s("error_code"))

	// The flood is removed. Fetching is tried again an hour later.
	l.push(":flood")
	require.Equal(t, []string{"ref.deleted @refs/heads/flood"}, ops(l.poll()))
	l.now = l.now.Add(2 * time.Hour)
	l.push("main:refs/heads/other")
	events = l.poll()
	require.Equal(t, []string{
		"commit.added @" + evil[:7], "file.modified //model.pt",
		"ref.force_pushed @refs/heads/main", "commit.dropped @" + lost[:7], "ref.created @refs/heads/other",
	}, ops(events))
	require.Equal(t, lost, events[2].s("old_value"))
	require.Empty(t, l.collector().Report().Coverage)
	require.Empty(t, l.poll())
}

// A raised budget is taken at the next start.
func TestRaisedDiskBudget(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.DiskBudget = 256 << 10
	l.commit("first", "a.bin", noise(2, 1<<20))
	l.push()
	require.Equal(t, []string{"repo.over_budget "}, ops(l.poll()))
	require.Empty(t, l.poll())
	l.cfg.DiskBudget = 1 << 30
	l.restart()
	require.Len(t, with(l.poll(), "inventory"), 3)
}

// Over the budget the oldest dropped tips go first.
func TestOldDroppedTipsMakeRoom(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.DiskBudget = 1 << 20
	base := l.commit("first")
	l.push()
	l.poll()
	for i := range 6 {
		l.git("reset", "-q", "--hard", base)
		l.commit(fmt.Sprint("try ", i), "a.bin", noise(uint64(10+i), 200<<10))
		l.push("-f", "main")
		events := l.poll()
		require.Empty(t, with(events, "repo.over_budget"), "try %d", i)
	}
	size, err := l.collector().repos[0].mirror.size()
	require.NoError(t, err)
	require.Less(t, size, l.cfg.DiskBudget)
	require.Empty(t, l.poll())
}

// Many small fetches do not leave many small packs.
func TestSmallPacksArePutTogether(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.commit("first")
	l.push()
	for i := range maxSmallPacks + 3 {
		c := l.commit(fmt.Sprint(i), "model.pt", fmt.Sprint(i))
		l.push()
		events := l.poll()
		if i > 0 {
			require.Equal(t, "commit.added @"+c[:7], ops(events)[0])
		}
	}
	packs, err := filepath.Glob(filepath.Join(l.collector().repos[0].mirror.dir, "objects", "pack", "*.pack"))
	require.NoError(t, err)
	require.Less(t, len(packs), maxSmallPacks)
	l.gitIn(l.collector().repos[0].mirror.dir, "-c", "core.hooksPath=/dev/null", "rev-list", "--all", "--objects", "--quiet")
}

// A blob over the blob budget is not fetched, and that is said.
func TestLargeBlobIsNotLookedInto(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.BlobBudget = 64 << 10
	l.commit("first")
	l.push()
	l.poll()
	l.commit("large", "model.pkl", pickled("os", "system")+noise(3, 1<<20), "small.pkl", pickled("os", "system"))
	l.push()
	events := with(l.poll(), "file.added")
	require.Len(t, events, 2)
	require.Equal(t, notInMirror, events[0].s("error_code"))
	require.True(t, strings.HasPrefix(events[0].s("asset_digest"), "gitoid:"))
	require.Equal(t, "dangerous", events[1].s("verdict"))
	require.Equal(t, "sha256:"+sha256Hex(pickled("os", "system")), events[1].s("asset_digest"))
	size, err := l.collector().repos[0].mirror.size()
	require.NoError(t, err)
	require.Less(t, size, int64(512<<10))

	// A server that ignores the filter sends it; it is not read all the same.
	l.gitIn(l.source, "config", "uploadpack.allowFilter", "false")
	l.commit("larger", "model.pkl", pickled("os", "system")+noise(4, 1<<20))
	l.push()
	require.Equal(t, notLookedInto, one(t, l.poll(), "file.modified").s("error_code"))
}

// A version that is left out is no base for the one that follows.
func TestVersionAfterALargeOne(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.BlobBudget = 64 << 10
	l.commit("first")
	l.push()
	l.poll()
	content := noise(5, 70<<10)
	l.commit("large", "model.pt", content)
	l.push()
	l.poll()
	l.commit("a little smaller", "model.pt", content[:60<<10])
	l.push()
	require.Empty(t, one(t, l.poll(), "file.modified").s("error_code"))
}

// A fetch that takes too long is ended, and is an outage like another.
func TestFetchTimeout(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.commit("first")
	l.push()
	l.cfg.FetchTimeout = time.Millisecond
	_, err := l.tryPoll()
	require.Error(t, err)
}

// A gigabyte of zeros, and a pack that unfolds into one, cost neither memory nor
// disk: the blob is over the budget, and git streams what is large.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("writes hundreds of megabytes")
	}
	l := newLab(t)
	l.gitIn(l.source, "config", "uploadpack.allowFilter", "false") // as a hostile server would
	l.cfg.DiskBudget = 64 << 20
	l.commit("first")
	l.push()
	l.poll()
	f, err := os.Create(filepath.Join(l.work, "model.pkl"))
	require.NoError(t, err)
	size := int64(128 << 20)
	if rounds(t) > 10 {
		size = 1 << 30
	}
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
	l.git("-c", "core.bigFileThreshold=1m", "-c", "core.compression=1", "add", "-A")
	l.git("commit", "-q", "-m", "bomb")
	l.git("-c", "pack.compression=1", "push", "-q", "origin", "main")
	before := childrenPeak(t)
	e := one(t, l.poll(), "file.added")
	require.Equal(t, notLookedInto, e.s("error_code"))
	require.Equal(t, strconv.FormatInt(size, 10), e.s("asset_size"))
	// The developer's git is among the children too, which had its own peak.
	require.Less(t, childrenPeak(t), max(before, 200<<20))
}

// childrenPeak is the largest memory that an ended child had, in bytes.
func childrenPeak(t *testing.T) int64 {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u))
	return u.Maxrss << 10
}

// Names are data: they reach events and nothing else.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.commit("first", "model.pt", "1")
	l.push()
	l.poll()
	names := []string{
		"-rf.pt", "--output=x.pt", "new\nline.pt", "tab\t\"quote\".pt", "esc\x1b[31m.pt", "$(touch x).pt",
		"ünïcode.pt", "\xff\xfe.pt", ":(glob)x.pt", "a/../b.pt", strings.Repeat("long", 60) + ".pt",
	}
	blob := l.git("hash-object", "-w", "model.pt")
	for _, n := range names {
		if !strings.Contains(n, "..") {
			l.git("update-index", "--add", "--cacheinfo", "100644,"+blob+","+n)
		}
	}
	l.git("commit", "-q", "-m", "-m \x1b]0;title\x07 `id`")
	for _, ref := range []string{"refs/heads/-x", "refs/heads/$(id)", "refs/heads/a;b", "refs/heads/ü", "refs/heads/" + strings.Repeat("n", 200) + "/" + strings.Repeat("m", 200) + "/" + strings.Repeat("o", 200)} {
		l.gitIn(l.source, "update-ref", ref, l.gitIn(l.source, "rev-parse", "main"))
	}
	l.push("main")
	events := l.poll()
	require.Len(t, with(events, "file.added"), len(names)-1)
	require.Len(t, with(events, "ref.created"), 5)
	for _, e := range events {
		require.NotContains(t, e.s("asset_id"), "\x1b")
		require.NotContains(t, e.s("asset_id"), "\n")
	}
	require.Empty(t, l.poll())
}
