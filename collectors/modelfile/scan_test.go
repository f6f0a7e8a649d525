package modelfile

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoMaliciousPickleIsSafe(t *testing.T) {
	corpus := malicious()
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		got := ScanBytes(context.Background(), "model.pt", corpus[name], DefaultLimits())
		if got.Verdict <= Safe {
			t.Errorf("%s: %q, imports %q, findings %v", name, got.Verdict, got.Imports, got.Findings)
		}
	}
}

func TestBenignFalseAlarms(t *testing.T) {
	corpus := benign()
	var alarms []string
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		got := ScanBytes(context.Background(), name, corpus[name], DefaultLimits())
		if got.Verdict != Safe {
			alarms = append(alarms, name)
			t.Logf("%s: %q, imports %q, findings %v", name, got.Verdict, got.Imports, got.Findings)
		}
	}
	require.Equal(t, falseAlarms, alarms)
}

// An attack that calls a function of a module that everyone knows is told as
// what it is, in whatever it is wrapped.
func TestKnownAttacksAreDangerous(t *testing.T) {
	for name, b := range malicious() {
		got := ScanBytes(context.Background(), "model.pt", b, DefaultLimits())
		if slices.Contains(got.Imports, "os.system") || slices.Contains(got.Imports, "posix.system") {
			require.Equal(t, Dangerous, got.Verdict, name)
		}
		for _, wrapper := range []string{" eval", " memo"} {
			if strings.HasSuffix(name, wrapper) {
				require.Contains(t, got.Imports, "os.system", name)
			}
		}
	}
}

// The memo and the stack are followed as an unpickler does: the names of an
// import are found wherever they were kept.
func TestImportsAreFollowed(t *testing.T) {
	corpus := malicious()
	for _, name := range []string{
		"memo", "memo long binget", "memo overwritten", "memoize after put", "memo text index", "dup", "pop mark",
		"escaped string", "framed", "frame too long", "nested latin1", "nested torch", "in a list", "in a state",
		"several pickles", "broken after call", "garbage in front", "garbage behind", "protocol 0 in front", "safetensors too",
	} {
		got := ScanBytes(context.Background(), "model.pt", corpus[name], DefaultLimits())
		require.Contains(t, got.Imports, "os.system", name)
	}
}

// The names by which a file goes do not change what is in it.
func TestNameDoesNotHide(t *testing.T) {
	corpus := malicious()
	for _, name := range []string{"global", "stack_global", "memo", "torch zip eval", "npy objects eval", "joblib gzip eval", "inst", "broken after call"} {
		for _, path := range []string{"weights.bin", "vocab.txt", "README.md", "model.safetensors", "data.csv", "x"} {
			got := ScanBytes(context.Background(), path, corpus[name], DefaultLimits())
			require.Equal(t, Dangerous, got.Verdict, "%s as %s", name, path)
		}
	}
}

// Files that are no pickles get no verdict.
func TestOtherFilesGetNoVerdict(t *testing.T) {
	for name, content := range map[string]string{
		"README.md": "# A model\n\ncos\nsystem\n", "vocab.txt": "cat\ndog\n.\n", "train.py": "import os\nos.system('id')\n.\n",
		"data.csv": "a,b\n1,2\n", "config.json": "{}", "x": "", "t.txt": "x^2 + y^2\n", "a.parquet": "PAR1....PAR1", "one": ".", "two": "N.", "(": "(((((",
		"model.safetensors": "\x02\x00\x00\x00\x00\x00\x00\x00{}", "q.gguf": "GGUF\x03\x00\x00\x00",
	} {
		got := ScanBytes(context.Background(), name, []byte(content), DefaultLimits())
		require.Equal(t, NoVerdict, got.Verdict, "%s: %v %v", name, got.Imports, got.Findings)
	}
	for i := range 500 {
		got := ScanBytes(context.Background(), "noise", randomBytes(uint64(i), 2000), DefaultLimits())
		require.Equal(t, NoVerdict, got.Verdict, "seed %d: %v %v", i, got.Imports, got.Findings)
	}
}

// What can't be looked into is never safe.
func TestClosedFormsAreSuspicious(t *testing.T) {
	for name, content := range map[string]string{
		"a.7z": "7z\xbc\xaf\x27\x1c.....", "m.joblib": "\xfd7zXZ\x00....", "m.pkl": "\x04\x22\x4d\x18....", "old.pkl": "ZF0x23          ",
		"empty.pt": "", "text.pt": "hello", "short.npy": "\x93NUMPY", "wide.npy": "\x93NUMPY\x02\x00\xff\xff\xff\xff{",
		"cut.pkl.gz": "\x1f\x8b\x08\x00", "keras.h5": "\x89HDF\r\n\x1a\n....\"class_name\": \"Lambda\"",
		"zlib.pkl": "\x78\x9cjunk", "saved_model.pb": "....EagerPyFunc....",
	} {
		got := ScanBytes(context.Background(), name, []byte(content), DefaultLimits())
		require.Equal(t, Suspicious, got.Verdict, name)
		require.NotEmpty(t, got.Findings, name)
	}
	keras := zipOf("config.json", []byte(`{"class_name": "Lambda", "config": {}}`), "model.weights.h5", []byte("\x89HDF\r\n\x1a\n"))
	got := ScanBytes(context.Background(), "m.keras", keras, DefaultLimits())
	requireFinding(t, got, CarriesCode, "Lambda")
	got = ScanBytes(context.Background(), "m.pt", zipOf("data.pkl", asm(proto2, "N."), "m/hub.py", []byte("import os")), DefaultLimits())
	requireFinding(t, got, CarriesCode, "Python")
}

// Every opcode takes the argument that pickletools documents, so that the next
// one is read from the right place.
func TestEveryOpcode(t *testing.T) {
	line := "7\n"
	for op, argument := range map[byte][]byte{
		'(': nil, '0': nil, '1': nil, '2': nil, 'F': asm("1.5\n"), 'G': make([]byte, 8), 'I': asm(line), 'J': make([]byte, 4),
		'K': {1}, 'L': asm("7L\n"), 'M': {1, 2}, 'N': nil, 'P': asm(line), 'Q': nil, 'R': nil, 'S': asm("'x'\n"), 'T': asm(le32(2), "ab"),
		'U': asm(2, "ab"), 'V': asm("x\n"), 'X': asm(le32(2), "ab"), 'B': asm(le32(2), "ab"), 'C': asm(2, "ab"), ']': nil, 'a': nil, 'b': nil,
		'c': asm("m\nn\n"), 'd': nil, 'e': nil, 'g': asm(line), 'h': {0}, 'i': asm("m\nn\n"), 'j': le32(0), 'l': nil, 'o': nil,
		'p': asm(line), 'q': {0}, 'r': le32(0), 's': nil, 't': nil, 'u': nil, ')': nil, '}': nil,
		0x80: {2}, 0x81: nil, 0x82: {1}, 0x83: {1, 2}, 0x84: le32(1), 0x85: nil, 0x86: nil, 0x87: nil, 0x88: nil, 0x89: nil,
		0x8a: asm(2, "ab"), 0x8b: asm(le32(2), "ab"), 0x8c: asm(2, "ab"), 0x8d: asm(le64(2), "ab"), 0x8e: asm(le64(2), "ab"),
		0x8f: nil, 0x90: nil, 0x91: nil, 0x92: nil, 0x93: nil, 0x94: nil, 0x95: le64(9), 0x96: asm(le64(2), "ab"), 0x97: nil, 0x98: nil,
	} {
		require.True(t, isOpcode(op), "%#x", op)
		b := asm("N(NNNNNN", int(op), argument, imports("after", "it"), ".")
		s := &scanner{ctx: context.Background(), lim: DefaultLimits(), bytes: 1 << 20, opcodes: 1 << 20, imports: make(map[string]bool)}
		w := s.newWalker("", 0, bufio.NewReader(bytes.NewReader(b)), 0)
		require.NoError(t, w.run(), "%#x", op)
		require.Equal(t, int64(len(b)), w.offset, "%#x", op)
		require.Equal(t, "after.it", w.imports[len(w.imports)-1].name, "%#x", op)
	}
	n := 0
	for c := range 256 {
		if isOpcode(byte(c)) {
			n++
		}
	}
	require.Equal(t, 68, n, "opcodes of protocols 0 to 5")
}

func TestInspect(t *testing.T) {
	evil := run("os", "system")
	rep, err := Inspect(context.Background(), "runs/model.pkl", bytes.NewReader(evil), int64(len(evil)), DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, Report{
		Class: Classify("model.pkl"), Format: "pickle", Size: int64(len(evil)),
		Digest:  fmt.Sprintf("sha256:%x", sha256.Sum256(evil)),
		Pickles: 1, Imports: []string{"os.system"}, Verdict: Dangerous,
	}, rep)

	rep, err = Inspect(context.Background(), "model.bin", strings.NewReader(lfsPointer), int64(len(lfsPointer)), DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, oid, rep.Pointers[0].Digest)
	require.Equal(t, NoVerdict, rep.Verdict)

	rep, err = Inspect(context.Background(), "x.dvc", strings.NewReader("["), 1, DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, Suspicious, rep.Verdict)
}

func fuzzScan(f *testing.F, name string, seeds ...string) {
	corpus := malicious()
	for _, attack := range slices.Sorted(maps.Keys(corpus)) {
		for _, seed := range seeds {
			if b := corpus[attack]; len(b) < 5000 && strings.Contains(attack, seed) {
				f.Add(b)
			}
		}
	}
	lim := DefaultLimits()
	lim.Opcodes, lim.Bytes, lim.Entries = 1e6, 64<<20, 100
	f.Fuzz(func(t *testing.T, b []byte) {
		got := ScanBytes(context.Background(), name, b, lim)
		require.LessOrEqual(t, len(got.Findings), lim.Findings+1)
		require.LessOrEqual(t, len(got.Imports), lim.Imports)
		if len(got.Findings) > 0 || slices.Contains(got.Imports, "os.system") {
			require.Greater(t, got.Verdict, Safe)
		}
		require.Equal(t, got, ScanBytes(context.Background(), name, b, lim), "the same bytes, the same answer")
	})
}

func FuzzPickle(f *testing.F) { fuzzScan(f, "m.pkl", "") }
func FuzzZip(f *testing.F)    { fuzzScan(f, "m.pt", "zip", "npz") }
func FuzzNpy(f *testing.F)    { fuzzScan(f, "m.npy", "npy") }
