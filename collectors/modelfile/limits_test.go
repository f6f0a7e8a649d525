package modelfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// allocated returns the bytes that f allocates, freed ones included: a bound on
// the memory it can ever hold that does not depend on the collector's timing.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func requireFinding(t *testing.T, got Scan, code, detail string) {
	t.Helper()
	require.Greater(t, got.Verdict, Safe)
	require.True(t, slices.ContainsFunc(got.Findings, func(f Finding) bool {
		return f.Code == code && strings.Contains(f.Detail, detail)
	}), "no %s %q in %v", code, detail, got.Findings)
}

func scanWith(b []byte, change func(*Limits)) Scan {
	lim := DefaultLimits()
	change(&lim)
	return ScanBytes(context.Background(), "model.pkl", b, lim)
}

func TestLimitsAreFindings(t *testing.T) {
	require.Equal(t, Safe, scanWith(asm(proto2, "N."), func(*Limits) {}).Verdict)

	requireFinding(t, scanWith(asm(proto2, strings.Repeat("N0", 1000), "N."), func(l *Limits) { l.Opcodes = 1000 }), OverLimit, "opcodes")
	requireFinding(t, scanWith(asm(proto4, strings.Repeat("N\x94", 20), "."), func(l *Limits) { l.Memo = 10 }), OverLimit, "memo")
	requireFinding(t, scanWith(asm(proto2, strings.Repeat("N", 20), "."), func(l *Limits) { l.Stack = 10 }), OverLimit, "stack")
	requireFinding(t, scanWith(asm(proto2, strings.Repeat("(", 20), "."), func(l *Limits) { l.Stack = 10 }), OverLimit, "stack")
	requireFinding(t, scanWith(asm(proto2, data(make([]byte, 1<<20)), "."), func(l *Limits) { l.Bytes = 1 << 17 }), OverLimit, "")
	requireFinding(t, scanWith(zipOf("a", []byte("x"), "b", []byte("y"), "c", []byte("z")), func(l *Limits) { l.Entries = 2 }), OverLimit, "entries")

	many := []byte(proto2)
	for i := range 50 {
		many = append(many, imports("acme", fmt.Sprintf("f%d", i))...)
	}
	got := scanWith(append(many, '.'), func(l *Limits) { l.Imports = 10 })
	requireFinding(t, got, OverLimit, "imports")
	require.Len(t, got.Imports, 10)

	b := zipOf("a.pkl", asm("x"), "a.pkl", asm("x"), "a.pkl", asm("x"), "a.pkl", asm("x"))
	got = scanWith(b, func(l *Limits) { l.Findings = 3 })
	requireFinding(t, got, OverLimit, "findings")
	require.Len(t, got.Findings, 4)
}

// What lies within one another ends at a depth, and what is deeper is not safe.
func TestDepthIsBounded(t *testing.T) {
	for name, wrap := range map[string]func([]byte) []byte{
		"gzip":   func(b []byte) []byte { return packed("gzip", b) },
		"zip":    func(b []byte) []byte { return zipOf("x.pkl", b) },
		"pickle": func(b []byte) []byte { return asm(proto2, data(b), ".") },
		"tar":    func(b []byte) []byte { return tarOf("x.pkl", b) },
		"object": func(b []byte) []byte { return joblibArray("O8", b) },
	} {
		b := asm(proto2, "N.")
		for range 30 {
			b = wrap(b)
		}
		t.Run(name, func(t *testing.T) {
			requireFinding(t, scanWith(b, func(*Limits) {}), OverLimit, "nesting")
		})
	}
}

// An archive whose entries are the archive itself ends by the number of entries.
func TestArchiveInItself(t *testing.T) {
	names := make([]any, 0, 40)
	for i := range 20 {
		names = append(names, fmt.Sprintf("e%02d", i), []byte{})
	}
	b := zipOf(names...)
	for at := bytes.Index(b, []byte(zipCentral)); at+46 < len(b); at += 46 + 3 {
		copy(b[at+20:], asm(le32(len(b)), le32(len(b)))) // each entry reaches to the end
		copy(b[at+42:], le32(0))
	}
	// The first entry's data begins with a copy of the archive's first header.
	b = asm(b[:33], b)
	requireFinding(t, scanWith(b, func(l *Limits) { l.Entries = 1000 }), OverLimit, "")
}

func TestDecompressionBomb(t *testing.T) {
	const size = freeExpansion + 16<<20
	bomb := packed("gzip", asm(proto2, "B", le32(size), make([]byte, size), "."))
	requireFinding(t, scanWith(bomb, func(*Limits) {}), OverLimit, "ratio")
	require.Less(t, allocated(func() { scanWith(bomb, func(*Limits) {}) }), uint64(8<<20))
}

// A stream yields its head, then its body over and over, and looks now and then
// how much memory is in use by then.
type stream struct {
	head, body string
	reads      int
	live       uint64 // the most bytes in use
}

func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	if s.reads++; s.reads%16 == 0 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		s.live = max(s.live, m.HeapAlloc)
	}
	for i := range p {
		switch at := off + int64(i); {
		case at < int64(len(s.head)):
			p[i] = s.head[at]
		default:
			p[i] = s.body[(at-int64(len(s.head)))%int64(len(s.body))]
		}
	}
	return len(p), nil
}

func TestMemoryIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		stream stream
		size   int64
		detail string
	}{
		"memoize":       {stream{head: proto4 + "N", body: "\x94"}, 10 << 20, "memo"},
		"tuples":        {stream{head: proto4, body: "NNN\x87\x94"}, 10 << 20, "stack"},
		"dicts":         {stream{head: proto4, body: "}\x940"}, 20 << 20, "memo"},
		"marks":         {stream{head: proto4, body: "("}, 10 << 20, "stack"},
		"duplicates":    {stream{head: proto4 + "N", body: "2"}, 10 << 20, "stack"},
		"endless line":  {stream{head: "c", body: "os"}, 64 << 20, "name says"},
		"endless bytes": {stream{head: proto2 + "B\xff\xff\xff\xff", body: "x"}, 64 << 20, "unexpected EOF"},
		"nested bytes":  {stream{head: proto4 + "\x8e\x00\x00\x00\x03\x00\x00\x00\x00", body: proto2 + "B\xff\xff\xff\x00"}, 64 << 20, "places"},
		"imports":       {stream{head: proto2, body: "cos\nx\n0"}, 10 << 20, "unexpected EOF"},
		"tiny pickles":  {stream{head: proto2 + "N.", body: "N."}, 4 << 20, ""},
		"zip headers":   {stream{head: "PK\x03\x04", body: "PK\x03\x04"}, 4 << 20, "no directory"},
	} {
		t.Run(name, func(t *testing.T) {
			lim := DefaultLimits()
			got, err := ScanReader(context.Background(), "model.pkl", &test.stream, test.size, lim)
			require.NoError(t, err)
			require.Greater(t, got.Verdict, Safe)
			require.LessOrEqual(t, len(got.Findings), lim.Findings+1)
			found := slices.ContainsFunc(got.Findings, func(f Finding) bool { return strings.Contains(f.Detail, test.detail) })
			require.True(t, found, "%v", got.Findings)
			require.Less(t, test.stream.live, uint64(64<<20), "bytes in use")
		})
	}
}

func TestSparseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.pt")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	const size = 1 << 30
	require.NoError(t, f.Truncate(size))
	var rep Report
	bytes := allocated(func() { rep, err = Inspect(context.Background(), path, f, size, DefaultLimits()) })
	require.NoError(t, err)
	require.Equal(t, Suspicious, rep.Verdict)
	require.Equal(t, "sha256:49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14", rep.Digest)
	require.Less(t, bytes, uint64(4<<20), "allocated")
}

// failing is a file that can't be read beyond a byte.
type failing struct {
	io.ReaderAt
	from int64
}

var errDisk = errors.New("disk")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestUnreadableIsNeverSafe(t *testing.T) {
	b := asm(proto2, data(make([]byte, 1<<20)), ".")
	for _, from := range []int64{0, 10, 1 << 17} {
		rep, err := Inspect(context.Background(), "m.pkl", failing{bytes.NewReader(b), from}, int64(len(b)), DefaultLimits())
		require.ErrorIs(t, err, errDisk)
		require.Greater(t, rep.Verdict, Safe)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rep, err := Inspect(ctx, "m.pkl", bytes.NewReader(b), int64(len(b)), DefaultLimits())
	require.ErrorIs(t, err, context.Canceled)
	require.Greater(t, rep.Verdict, Safe)

	// The file is shorter than it was said to be.
	rep, err = Inspect(context.Background(), "m.pkl", bytes.NewReader(b), int64(len(b))+1, DefaultLimits())
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Greater(t, rep.Verdict, Safe)
}
