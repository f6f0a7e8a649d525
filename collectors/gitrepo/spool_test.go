package gitrepo

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// However much of a walk the spool has room for, the same is told in the same
// order, also of a commit of very many files.
func TestSpoolOfAnySize(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.BackfillDays = 36500
	for i := range 70 {
		l.git("commit", "-q", "--allow-empty", "-m", fmt.Sprint("before ", i))
	}
	for i := range changesAtOnce + 10 {
		l.write(fmt.Sprintf("data/%05d.csv", i), fmt.Sprint(i))
	}
	l.commit("very many files")
	twoBranches(l)
	l.git("merge", "-q", "--no-ff", "--no-edit", "side")
	l.commit("after", "model.pt", "x")
	l.push()

	var want []string
	for i, limit := range []int64{maxSpool, 0, 300, 200_000} {
		l.cfg.Dir = filepath.Join(l.dir, fmt.Sprint("mirrors", i))
		l.restart()
		l.out.Restore(nil, 0)
		l.collector().maxSpool = limit
		var got []string
		for _, e := range l.poll() {
			got = append(got, e.s("event_id")+" "+e.s("operation")+" "+e.s("direct"))
		}
		if i == 0 {
			want = got
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(want))), len(want))
			require.Greater(t, len(want), changesAtOnce+80)
			continue
		}
		// The parts of the commit of very many files may change places.
		require.ElementsMatch(t, want, got, "limit %d", limit)
		commits := func(all []string) []string {
			return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.Contains(s, " file.") })
		}
		require.Equal(t, commits(want), commits(got), "limit %d", limit)
		left, err := filepath.Glob(filepath.Join(l.cfg.Dir, "*.walk-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// What is written to a spool comes back, the last first.
func TestSpoolReadsBackwards(t *testing.T) {
	m := &mirror{root: t.TempDir(), dir: "m"}
	random := rand.New(rand.NewPCG(5, 6))
	text := func() string {
		b := make([]byte, random.IntN(300))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	s := newSpool(m, maxSpool)
	defer s.close()
	var want []record
	for range 300 {
		batch := make([]record, random.IntN(40))
		for i := range batch {
			batch[i] = record{oid: text(), ref: text(), direct: random.IntN(2) == 0, more: random.IntN(9) == 0}
			for range random.IntN(4) {
				batch[i].changes = append(batch[i].changes, change{text(), text(), text(), text(), text()})
			}
		}
		require.NoError(t, s.write(batch))
		want = append(want, batch...)
	}
	require.NotNil(t, s.file, "it did not stay in memory")
	require.LessOrEqual(t, len(s.held), 2*maxHeld)
	slices.Reverse(want)
	var got []record
	require.NoError(t, s.backwards(func(batch []record) error {
		got = append(got, batch...)
		return nil
	}))
	require.Equal(t, want, got)
	s.close()
	_, err := os.Stat(s.file.Name())
	require.ErrorIs(t, err, os.ErrNotExist)

	for _, damaged := range []string{"\xff", "\x05abc", strings.Repeat("\x80", 20), "\x00\x00\x00\x7f"} {
		_, _, err := readRecord([]byte(damaged))
		require.ErrorIs(t, err, errSpool)
	}
}
