package archive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/forwarder/archive"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// rig is an archive in a folder, with a clock and what the queue would know.
type rig struct {
	t        *testing.T
	dir      string
	now      time.Time
	options  archive.Options
	w        *archive.Writer
	position []byte // committed
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "archive"), now: noon}
	r.start()
	return r
}

// start opens the archive, after a stop or after the writer has died.
func (r *rig) start() {
	r.t.Helper()
	if r.w != nil {
		require.NoError(r.t, r.w.Close())
	}
	r.options.Now = func() time.Time { return r.now }
	var err error
	r.w, err = archive.OpenWriter(r.dir, r.options)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = r.w.Close() })
	require.NoError(r.t, r.w.Recover(r.position))
}

// envelope is an event that happened at this time.
func envelope(id int, at time.Time) string {
	return fmt.Sprintf(`{"time":%d,"sourcetype":"aiwatch:s3","event":{"event_id":"%d"}}`, at.Unix(), id)
}

// block packs events with these ids, one for each second before now.
func (r *rig) block(ids ...int) []byte {
	var raw []byte
	var ends []int
	for i, id := range ids {
		raw = append(raw, envelope(id, r.now.Add(-time.Duration(len(ids)-i)*time.Second))...)
		ends = append(ends, len(raw))
	}
	return r.w.Pack(nil, raw, ends, r.now)
}

// append appends blocks as a transaction of the queue that dies before it is
// committed.
func (r *rig) append(blocks ...[]byte) []byte {
	r.t.Helper()
	position, err := r.w.Append(blocks)
	require.NoError(r.t, err)
	return position
}

// commit appends blocks and commits them.
func (r *rig) commit(blocks ...[]byte) {
	r.t.Helper()
	r.position = r.append(blocks...)
	r.w.Committed()
}

func read(t *testing.T, dir string, from, to time.Time) (ids []string, report archive.Report) {
	t.Helper()
	a, err := archive.Open(dir)
	require.NoError(t, err)
	report, err = a.Read(t.Context(), from, to, func(line []byte) error {
		var e struct {
			IndexTime float64
			Event     struct {
				ID string `json:"event_id"`
			}
		}
		require.NoError(t, json.Unmarshal(line, &e), "%s", line)
		require.NotZero(t, e.IndexTime)
		ids = append(ids, e.Event.ID)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, ids, report.Events)
	return ids, report
}

// holds asserts that the archive has these events and nothing damaged.
func (r *rig) holds(ids string) {
	r.t.Helper()
	got, report := read(r.t, r.dir, time.Time{}, time.Time{})
	require.Equal(r.t, ids, strings.Join(got, " "))
	require.Empty(r.t, report.Damaged)
}

func (r *rig) path(day string) string {
	return filepath.Join(r.dir, "events-"+day+".ndjson.zst")
}

func TestWhatIsCommittedIsRead(t *testing.T) {
	r := newRig(t)
	r.commit(r.block(1, 2), r.block(3))
	r.now = noon.Add(12 * time.Hour) // midnight
	r.commit(r.block(4))
	r.start()
	r.commit(r.block(5))
	r.holds("1 2 3 4 5")
	require.Empty(t, r.w.Losses())

	s, err := archive.Stat(r.dir)
	require.NoError(t, err)
	require.Equal(t, 2, s.Files)
	require.Equal(t, "2026-11-27", s.Oldest)
	require.Equal(t, "2026-11-28", s.Newest)
	for path, mode := range map[string]os.FileMode{r.dir: 0o700, r.path(s.Oldest): 0o600, r.path(s.Newest): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}

	_, report := read(t, r.dir, time.Time{}, time.Time{})
	require.Equal(t, archive.Report{Events: 5, Blocks: 4, Oldest: noon, Newest: r.now}, report)
}

// TestSpan: events outside the span are left out, and blocks that hold no other
// are not unpacked. A late event lies with those of the day on which it came.
func TestSpan(t *testing.T) {
	r := newRig(t)
	r.commit(r.block(1, 2, 3)) // 11:59:57, :58, :59
	r.now = noon.Add(24 * time.Hour)
	late := []byte(envelope(4, noon.Add(-time.Second)))
	r.commit(r.block(5), r.w.Pack(nil, late, []int{len(late)}, r.now))
	for _, c := range []struct {
		from, to time.Time
		ids      string
		skipped  int
	}{
		{time.Time{}, time.Time{}, "1 2 3 5 4", 0},
		{noon.Add(-2 * time.Second), noon, "2 3 4", 1},
		{noon.Add(-time.Second), noon, "3 4", 1},
		{time.Time{}, noon.Add(-time.Second), "1 2", 2},
		{time.Time{}, noon.Add(-time.Second + 1), "1 2 3 4", 1},
		{noon, time.Time{}, "5", 2},
		{noon.Add(48 * time.Hour), time.Time{}, "", 3},
	} {
		ids, report := read(t, r.dir, c.from, c.to)
		require.Equal(t, c.ids, strings.Join(ids, " "), "%s to %s", c.from, c.to)
		require.Equal(t, c.skipped, report.Skipped, "%s to %s", c.from, c.to)
	}
}

// TestTimes: decimals and dates before 1970 are times; what has none is always
// visited.
func TestTimes(t *testing.T) {
	r := newRig(t)
	for i, c := range []struct {
		text     string
		from, to time.Time
		visited  bool
	}{
		{"1764244800.123", time.UnixMilli(1764244800123), time.UnixMilli(1764244800124), true},
		{"1764244800.123", time.UnixMilli(1764244800124), time.Time{}, false},
		{"1764244800.5", time.UnixMilli(1764244800500), time.UnixMilli(1764244800501), true},
		{"-1.5", time.UnixMilli(-1500), time.UnixMilli(-1499), true},
		{"-1.5", time.UnixMilli(-1499), time.Time{}, false},
		{"0", time.UnixMilli(0), time.UnixMilli(1), true},
		{`"soon"`, noon, noon.Add(1), true},
		{"1e9", noon, noon.Add(1), true},
		{"1764244800.1234", noon, noon.Add(1), true},
		{"", noon, noon.Add(1), true},
	} {
		dir := fmt.Sprintf("%s-%d", r.dir, i)
		w, err := archive.OpenWriter(dir, archive.Options{})
		require.NoError(t, err)
		require.NoError(t, w.Recover(nil))
		raw := []byte(`{"time":` + c.text + `,"event":{}}`)
		_, err = w.Append([][]byte{w.Pack(nil, raw, []int{len(raw)}, noon)})
		require.NoError(t, err)
		w.Committed()
		require.NoError(t, w.Close())
		a, err := archive.Open(dir)
		require.NoError(t, err)
		n := 0
		_, err = a.Read(t.Context(), c.from, c.to, func([]byte) error { n++; return nil })
		require.NoError(t, err)
		require.Equal(t, c.visited, n == 1, "%s from %s to %s", c.text, c.from, c.to)
	}
}

// TestDeadBeforeTheCommit: what was appended and not committed is gone at the
// next start, wherever the write broke off, and nothing else is.
func TestDeadBeforeTheCommit(t *testing.T) {
	for name, next := range map[string]time.Duration{"on the same day": 0, "on the next day": 12 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(r.block(1), r.block(2))
			r.now = noon.Add(next)
			before, err := os.Stat(r.path("2026-11-27"))
			require.NoError(t, err)
			r.append(r.block(3), r.block(4, 5))
			path := r.path(r.now.Format(time.DateOnly))
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			begin := int(before.Size())
			if next > 0 {
				begin = 0
			}
			for at := len(whole); at >= begin; at -= 1 + (at-begin)/20 {
				for _, behind := range []string{"", strings.Repeat("\x00", 5000)} {
					require.NoError(t, os.WriteFile(path, append(bytes.Clone(whole[:at]), behind...), 0o600))
					r.start()
					r.holds("1 2")
					require.Empty(t, r.w.Losses())
				}
			}
			r.commit(r.block(3), r.block(4, 5))
			r.holds("1 2 3 4 5")
		})
	}
}

// TestCommitThatFails: the queue could not commit. The same blocks come again,
// on another day perhaps, and are there once.
func TestCommitThatFails(t *testing.T) {
	r := newRig(t)
	again := r.block(1)
	r.append(again, r.block(2))
	r.append(again)
	r.commit(again)
	r.holds("1")
	again = r.block(3)
	r.append(again)
	r.now = noon.Add(24 * time.Hour)
	r.append(again)
	r.holds("1 3")
	r.now = noon.Add(48 * time.Hour)
	r.commit(again)
	r.holds("1 3")
	s, err := archive.Stat(r.dir)
	require.NoError(t, err)
	require.Equal(t, 2, s.Files, "no file is left of the day without a commit")
}

// TestClockPutBack: an older file does not grow again.
func TestClockPutBack(t *testing.T) {
	r := newRig(t)
	r.commit(r.block(1))
	r.now = noon.Add(24 * time.Hour)
	r.commit(r.block(2))
	r.now = noon
	r.commit(r.block(3))
	r.start()
	r.commit(r.block(4))
	r.holds("1 2 3 4")
	require.Empty(t, r.w.Losses())
}

// TestNotWhatWasWritten: whatever somebody does to the files is told, no whole
// block is removed for it, and the archive goes on.
func TestNotWhatWasWritten(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, r *rig)
		told   string // empty: nothing
		ids    string
	}{
		"nothing is done": {func(*testing.T, *rig) {}, "", "1 2 3 4"},
		"the file is removed": {func(t *testing.T, r *rig) {
			require.NoError(t, os.Remove(r.path("2026-11-27")))
		}, "events-2026-11-27.ndjson.zst is gone", "4"},
		"the folder is removed": {func(t *testing.T, r *rig) {
			require.NoError(t, os.RemoveAll(r.dir))
		}, "events-2026-11-27.ndjson.zst is gone", "4"},
		"the folder is moved": {func(t *testing.T, r *rig) {
			r.append(r.block(9))
			require.NoError(t, os.Rename(r.dir, r.dir+"-elsewhere"))
			r.dir += "-elsewhere"
		}, "", "1 2 3 4"},
		"another folder is taken": {func(t *testing.T, r *rig) {
			r.dir += "-elsewhere"
		}, "", "4"},
		"a block is cut off": {func(t *testing.T, r *rig) {
			info, err := os.Stat(r.path("2026-11-27"))
			require.NoError(t, err)
			require.NoError(t, os.Truncate(r.path("2026-11-27"), info.Size()/3))
		}, "bytes and had", "1 4"},
		"the state is an older one": {func(t *testing.T, r *rig) {
			older := r.position
			r.commit(r.block(7))
			r.commit(r.block(8))
			r.position = older
		}, "the state is older than the archive", "1 2 3 7 8 4"},
		"the state is an older one, from the day before": {func(t *testing.T, r *rig) {
			older := r.position
			r.now = noon.Add(24 * time.Hour)
			r.commit(r.block(7))
			r.commit(r.block(8))
			r.position = older
		}, "the state is older than the archive", "1 2 3 7 8 4"},
		"the state is a new one": {func(t *testing.T, r *rig) {
			r.position = nil
		}, "", "1 2 3 4"},
		"the file is another one": {func(t *testing.T, r *rig) {
			other := newRig(t)
			other.commit(other.block(20, 21, 22, 23, 24, 25))
			other.commit(other.block(26, 27, 28))
			other.commit(other.block(29))
			text, err := os.ReadFile(other.path("2026-11-27"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(r.path("2026-11-27"), text, 0o600))
		}, "is not the file that was written", "20 21 22 23 24 25 26 27 28 29 4"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(r.block(1))
			r.commit(r.block(2))
			r.commit(r.block(3))
			c.change(t, r)
			r.start()
			told := strings.Join(r.w.Losses(), "; ")
			if c.told == "" {
				require.Empty(t, told)
			} else {
				require.Contains(t, told, c.told)
			}
			require.Empty(t, r.w.Losses(), "it is told once")
			r.commit(r.block(4))
			ids, _ := read(t, r.dir, time.Time{}, time.Time{})
			require.Equal(t, c.ids, strings.Join(ids, " "))
			r.start()
			require.Empty(t, r.w.Losses(), "it goes on from there")
			r.commit(r.block(5))
			ids, _ = read(t, r.dir, time.Time{}, time.Time{})
			require.Equal(t, c.ids+" 5", strings.Join(ids, " "))
		})
	}
}

// TestTakenAwayWhileItIsWritten: the same, while the archive is open.
func TestTakenAwayWhileItIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		told   string
		ids    string
	}{
		"removed": {func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, "is gone while it was written", "3"},
		"replaced": {func(t *testing.T, path string) {
			require.NoError(t, errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)))
		}, "is gone while it was written", "3"},
		"emptied": {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }, "has 0 bytes and had", "3"},
		"cut": {func(t *testing.T, path string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, info.Size()-1))
		}, "bytes and had", "1 3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(r.block(1))
			r.commit(r.block(2))
			c.change(t, r.path("2026-11-27"))
			r.commit(r.block(3))
			require.Contains(t, strings.Join(r.w.Losses(), "; "), c.told)
			ids, _ := read(t, r.dir, time.Time{}, time.Time{})
			require.Equal(t, c.ids, strings.Join(ids, " "))
			r.start()
			require.Empty(t, r.w.Losses())
			r.commit(r.block(4))
			ids, _ = read(t, r.dir, time.Time{}, time.Time{})
			require.Equal(t, c.ids+" 4", strings.Join(ids, " "))
		})
	}
}

// TestDamage: what is damaged is told with its place and the events it held, and
// everything else is read.
func TestDamage(t *testing.T) {
	r := newRig(t)
	var ends []int
	for _, ids := range [][]int{{1, 2}, {3}, {4, 5}} {
		r.commit(r.block(ids...))
		info, err := os.Stat(r.path("2026-11-27"))
		require.NoError(t, err)
		ends = append(ends, int(info.Size()))
	}
	path := r.path("2026-11-27")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		ids    string
		want   archive.Damage
	}{
		"a byte of a frame": {func(b []byte) []byte { b[ends[1]-3] ^= 1; return b }, "1 2 4 5", archive.Damage{
			Offset: int64(ends[0]), Bytes: int64(ends[1] - ends[0]), Events: 1, Text: "the block is not what was written",
		}},
		"a byte of a header": {func(b []byte) []byte { b[ends[0]+30] ^= 1; return b }, "1 2 4 5", archive.Damage{
			Offset: int64(ends[0]), Bytes: int64(ends[1] - ends[0]), Text: "no block begins here",
		}},
		"bytes in between": {func(b []byte) []byte {
			return append(append(b[:ends[0]:ends[0]], "what is this"...), text[ends[0]:]...)
		}, "1 2 3 4 5", archive.Damage{
			Offset: int64(ends[0]), Bytes: 12, Text: "no block begins here",
		}},
		"the end": {func(b []byte) []byte { return b[:ends[2]-1] }, "1 2 3", archive.Damage{
			Offset: int64(ends[1]), Bytes: int64(ends[2] - ends[1] - 1), Events: 2, Torn: true, Text: "the block breaks off",
		}},
		"the end, in a header": {func(b []byte) []byte { return b[:ends[1]+20] }, "1 2 3", archive.Damage{
			Offset: int64(ends[1]), Bytes: 20, Torn: true, Text: "the block breaks off",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, c.change(bytes.Clone(text)), 0o600))
			ids, report := read(t, r.dir, time.Time{}, time.Time{})
			require.Equal(t, c.ids, strings.Join(ids, " "))
			c.want.File = filepath.Base(path)
			require.Equal(t, []archive.Damage{c.want}, report.Damaged)
			require.Contains(t, report.Damaged[0].String(), c.want.Text)
		})
	}
}

// TestRetention deletes files by their day, tells what they held, and leaves the
// newest and everything that is not the archive's.
func TestRetention(t *testing.T) {
	r := newRig(t)
	r.options.Retention = 48 * time.Hour
	r.start()
	foreign := []string{"notes.txt", "events-2026-11-27.ndjson.gz", "events-2020-01-01.ndjson.zst.old", "events-2020-13-01.ndjson.zst"}
	for _, name := range foreign {
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, name), []byte("keep"), 0o600))
	}
	require.NoError(t, os.Mkdir(r.path("2020-01-01"), 0o700))
	for day := range 4 {
		r.now = noon.Add(time.Duration(day) * 24 * time.Hour)
		r.commit(r.block(2*day+1, 2*day+2))
	}
	expire := func(at time.Time) (gone []string) {
		r.now = at
		all, err := r.w.Expired()
		require.NoError(t, err)
		for _, e := range all {
			require.Equal(t, 2, e.Events)
			require.Positive(t, e.Bytes)
			gone = append(gone, e.File)
			require.NoError(t, r.w.Delete(e))
			require.NoError(t, r.w.Delete(e), "it may be deleted again")
		}
		return gone
	}
	midnight := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	require.Empty(t, expire(midnight.Add(-time.Second)))
	require.Equal(t, []string{"events-2026-11-27.ndjson.zst"}, expire(midnight))
	r.holds("3 4 5 6 7 8")
	require.Equal(t, []string{"events-2026-11-28.ndjson.zst", "events-2026-11-29.ndjson.zst"}, expire(midnight.Add(1000*time.Hour)))
	r.holds("7 8")
	r.commit(r.block(9))
	r.holds("7 8 9")
	for _, name := range foreign {
		require.FileExists(t, filepath.Join(r.dir, name))
	}
	require.DirExists(t, r.path("2020-01-01"))

	// A file whose retention has ended may be gone; that is no loss.
	require.NoError(t, os.Remove(r.path("2027-01-10")))
	r.now = r.now.Add(100 * 24 * time.Hour)
	r.start()
	require.Empty(t, r.w.Losses())
}

func TestOneWriter(t *testing.T) {
	r := newRig(t)
	_, err := archive.OpenWriter(r.dir, archive.Options{})
	require.ErrorIs(t, err, archive.ErrHeld)
	require.ErrorContains(t, err, "give each forwarder a path of its own")
	require.NoError(t, r.w.Close())
	w, err := archive.OpenWriter(r.dir, archive.Options{})
	require.NoError(t, err)
	require.NoError(t, w.Close())
}

func TestFolderThatOthersMayUse(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o750))
	_, err := archive.OpenWriter(dir, archive.Options{})
	require.ErrorIs(t, err, archive.ErrFolder)
	require.ErrorContains(t, err, "run chmod go-rwx "+dir)
	_, err = archive.OpenWriter(filepath.Join(dir, "file", "below"), archive.Options{})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600))
	_, err = archive.OpenWriter(filepath.Join(dir, "plain"), archive.Options{})
	require.ErrorIs(t, err, archive.ErrFolder)
}

// TestReadingEnds at what the visitor, the context and the folder say.
func TestReadingEnds(t *testing.T) {
	r := newRig(t)
	r.commit(r.block(1, 2))
	a, err := archive.Open(r.dir)
	require.NoError(t, err)
	enough := errors.New("enough")
	report, err := a.Read(t.Context(), time.Time{}, time.Time{}, func([]byte) error { return enough })
	require.ErrorIs(t, err, enough)
	require.Equal(t, 1, report.Events)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Read(ctx, time.Time{}, time.Time{}, func([]byte) error { return nil })
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, os.Remove(r.path("2026-11-27")))
	report, err = a.Read(t.Context(), time.Time{}, time.Time{}, func([]byte) error { return nil })
	require.NoError(t, err)
	require.Len(t, report.Damaged, 1)
	require.Contains(t, report.Damaged[0].Text, "removed while the archive was read")

	_, err = archive.Open(r.dir + "-none")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestZstdReadsIt: the tool that everybody has reads the files, and gets the
// lines.
func TestZstdReadsIt(t *testing.T) {
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("zstd is not installed")
	}
	r := newRig(t)
	r.commit(r.block(1, 2), r.block(3))
	r.commit(r.block(4))
	out, err := exec.CommandContext(t.Context(), tool, "-dc", r.path("2026-11-27")).Output()
	require.NoError(t, err)
	var want []string
	for i, at := range []int{2, 1, 1, 1} {
		line := envelope(i+1, noon.Add(-time.Duration(at)*time.Second))
		want = append(want, line[:len(line)-1]+`,"indextime":`+fmt.Sprint(noon.Unix())+"}\n")
	}
	require.Equal(t, strings.Join(want, ""), string(out))
	require.NoError(t, exec.CommandContext(t.Context(), tool, "-tq", r.path("2026-11-27")).Run())
}
