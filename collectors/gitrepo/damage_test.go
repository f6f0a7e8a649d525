package gitrepo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A damage is what happens to the files of a mirror.
type damage struct {
	name string
	do   func(t *testing.T, dir string)
	// lost: what the mirror alone still had is gone with it.
	lost bool
}

func overwrite(name, content string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
}

// eachPack changes the files of the packs.
func eachPack(t *testing.T, dir, pattern string, change func(name string, b []byte)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "objects", "pack", pattern))
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.Remove(name)) // it is read-only
		change(name, b)
	}
}

func damages() []damage {
	return []damage{
		{"HEAD is overwritten", overwrite("HEAD", "\x00\x00\x00"), false},
		{"HEAD is gone", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "HEAD"))) }, false},
		{"the references are overwritten", func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "refs")))
			overwrite("packed-refs", strings.Repeat("\xff", 200))(t, dir)
		}, false},
		{"a reference is emptied", func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "refs", "m", "heads"), 0o700))
			overwrite("refs/m/heads/damaged", strings.Repeat("1", 40)+"\n")(t, dir)
		}, false},
		{"packs are cut", func(t *testing.T, dir string) {
			eachPack(t, dir, "*.pack", func(name string, b []byte) { require.NoError(t, os.WriteFile(name, b[:len(b)/2], 0o400)) })
		}, true},
		{"packs have another byte in the middle", func(t *testing.T, dir string) {
			eachPack(t, dir, "*.pack", func(name string, b []byte) {
				b[len(b)/2] ^= 0xff
				require.NoError(t, os.WriteFile(name, b, 0o400))
			})
		}, true},
		{"packs are gone", func(t *testing.T, dir string) { eachPack(t, dir, "*", func(string, []byte) {}) }, true},
		{"indexes are emptied", func(t *testing.T, dir string) {
			eachPack(t, dir, "*.idx", func(name string, _ []byte) { require.NoError(t, os.WriteFile(name, nil, 0o400)) })
		}, true},
	}
}

// A mirror that is damaged is set aside and fetched anew; the same events are
// told as if nothing had happened to it.
func TestDamagedMirror(t *testing.T) {
	t.Parallel()
	whole := newLab(t)
	want := play(whole, func() { whole.poll() })
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			healed := 0
			for _, killed := range []bool{true, false} {
				if testing.Short() && !killed {
					break
				}
				l := newLab(t)
				part := 0
				got := play(l, func() {
					part++
					// What was rewritten is in the old mirror alone.
					if part == 1 || d.lost && part >= 4 {
						l.poll()
						return
					}
					r := l.collector().repos[0]
					if killed { // between fetching and telling
						l.tick()
						require.NoError(t, os.MkdirAll(filepath.Join(l.cfg.Dir, "home"), 0o700))
						require.NoError(t, r.open(t.Context()))
						require.NoError(t, r.observe(t.Context(), l.out))
						r.mirror.close()
						l.now = l.now.Add(-time.Minute)
					}
					d.do(t, r.mirror.dir)
					l.restart()
					l.poll()
					for _, note := range l.collector().Report().Notes {
						if strings.Contains(note, "is fetched anew") {
							healed++
						}
					}
				})
				require.Empty(t, added(got, want), "lost")
				require.Empty(t, added(want, got), "invented")
				require.Len(t, got, len(want), "told twice")
			}
			// Of a mirror that lacks what its references name git fetches all anew
			// by itself, but not where that was fetched and is to be told.
			require.Positive(t, healed, "the damage did nothing: it proves nothing")
		})
	}
}

// A source that is gone is no reason to look through its mirror, and what stands
// aside makes room when the disk is full.
func TestDamageIsLookedForWhereItMatters(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.commit("first", "model.pt", "1")
	l.push()
	l.poll()
	r := l.collector().repos[0]
	require.NoError(t, os.Rename(l.source, l.source+".away"))
	_, err := l.tryPoll()
	require.Error(t, err)
	require.True(t, r.looked.IsZero(), "the source is gone, not the mirror")
	require.NoError(t, os.Rename(l.source+".away", l.source))

	overwrite("HEAD", "x")(t, r.mirror.dir)
	l.commit("second", "model.pt", "2")
	l.push()
	require.Len(t, l.poll(), 3)
	require.DirExists(t, r.mirror.aside())
	require.NoError(t, os.WriteFile(filepath.Join(r.mirror.aside(), "large"), make([]byte, 1<<20), 0o600))
	l.cfg.DiskBudget = 1 << 20
	l.restart()
	l.commit("third", "model.pt", "3")
	l.push()
	require.Equal(t, "ref.updated", l.poll()[2].s("operation"))
	require.NoDirExists(t, r.mirror.aside())
}
