package modelfile

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Verdict is what the imports of a file's pickles and the findings about it
// come to. A greater verdict is a worse one.
type Verdict uint8

// The verdicts.
const (
	// NoVerdict: nothing that could be unpickled was found.
	NoVerdict Verdict = iota
	// Safe: all was looked into, and every import is on the list of the allowed.
	Safe
	// Suspicious: an import that is on no list, or something that could not be
	// looked into, is damaged or exceeds a limit.
	Suspicious
	// Dangerous: an import that runs code, or leads to it.
	Dangerous
)

// String returns the value of the event field verdict, empty for NoVerdict.
func (v Verdict) String() string {
	return [...]string{"", "safe", "suspicious", "dangerous"}[min(v, Dangerous)]
}

// MarshalText writes v as String does.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// A Finding is something about a file, other than an import, that keeps its
// verdict from being safe.
type Finding struct {
	Code   string `json:"code"`            // one of the codes below
	Where  string `json:"where,omitempty"` // the entry of the container, as the file names it
	Offset int64  `json:"offset"`          // in bytes from the beginning of the file or entry
	Detail string `json:"detail,omitempty"`
}

// The codes of findings.
const (
	ComputedImport = "computed_import" // the name of an import is computed, or an extension code
	ComputedCall   = "computed_call"   // what is called is no import
	ChangesImport  = "changes_import"  // an imported object itself is changed
	Damaged        = "damaged"         // no unpickler or archiver reads this without an error
	OverLimit      = "over_limit"      // a limit was reached; what lies behind was not looked at
	NotExamined    = "not_examined"    // a form that can't be looked into
	NestedPickle   = "nested_pickle"   // a pickle among a pickle's data, or in bytes of no entry
	HiddenBytes    = "hidden_bytes"    // bytes that belong to no pickle and no entry
	Encrypted      = "encrypted"       // an entry is marked as encrypted
	DuplicateEntry = "duplicate_entry" // two entries of one name
	HeaderMismatch = "header_mismatch" // an archive's directory and its entries disagree
	UnsafeName     = "unsafe_name"     // an entry's name leads out of the archive, or is unreadable
	CarriesCode    = "carries_code"    // code that the usual loader runs, other than by a pickle
	Polyglot       = "polyglot"        // valid as two formats
)

// Limits bound what looking at one file may cost. Reaching one is a finding.
type Limits struct {
	Bytes    int64         // bytes read, those of decompressed streams included
	Opcodes  int64         // opcodes of all pickles
	Memo     int           // memo entries of one pickle
	Stack    int           // objects on the stack of one pickle
	Depth    int           // containers and pickles within one another
	Entries  int           // entries of all archives
	Ratio    int64         // decompressed bytes for each compressed one, beyond the first 64 MiB
	Capture  int64         // bytes of nested archives that are held in memory at once
	Imports  int           // different imports
	Findings int           // findings reported
	Time     time.Duration // 0: as long as the context allows
}

// DefaultLimits suits a machine that does other work too: at most about 64 MiB
// of memory, whatever the file.
func DefaultLimits() Limits {
	return Limits{
		Bytes: 64 << 30, Opcodes: 100e6, Memo: 4 << 20, Stack: 1 << 19, Depth: 8, Entries: 100_000,
		Ratio: 500, Capture: 16 << 20, Imports: 1000, Findings: 100, Time: 5 * time.Minute,
	}
}

// maxAttempts bounds how often a pickle is tried where none is expected.
const maxAttempts = 200

// maxFindingsHeld bounds the findings of one pickle before they are merged.
const maxFindingsHeld = 100

// Scan is what unpickling a file would import.
type Scan struct {
	Format   Format    // by content; empty where it tells nothing
	Pickles  int       // pickles walked
	Imports  []string  // module.name, sorted; UnknownImport for a computed one
	Verdict  Verdict   //
	Findings []Finding // in the order found
}

// ScanReader looks for pickles in the size bytes of r. name is the file's name:
// it tells what the file should be. An error means that r could not be read, or
// that ctx is done; Scan then tells what was found before and is never Safe.
func ScanReader(ctx context.Context, name string, r io.ReaderAt, size int64, lim Limits) (Scan, error) {
	if lim.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lim.Time)
		defer cancel()
	}
	s := &scanner{ctx: ctx, lim: lim, bytes: lim.Bytes, opcodes: lim.Opcodes, entries: lim.Entries, attempts: maxAttempts, imports: make(map[string]bool)}
	s.scan(s.fileSource(r, size, source{class: Classify(name)}))
	if s.err != nil || ctx.Err() != nil {
		s.find(Finding{Code: OverLimit, Detail: "time, or the file could not be read to its end"})
	}
	out := Scan{Format: s.format, Pickles: s.pickles, Verdict: s.verdict, Findings: s.findings}
	out.Imports = slices.Sorted(maps.Keys(s.imports))
	return out, s.err
}

// ScanBytes is ScanReader over bytes.
func ScanBytes(ctx context.Context, name string, b []byte, lim Limits) Scan {
	out, _ := ScanReader(ctx, name, bytes.NewReader(b), int64(len(b)), lim)
	return out
}

// A scanner looks at one file, with all that lies within it.
type scanner struct {
	ctx     context.Context
	lim     Limits
	bytes   int64 // left to read
	opcodes int64 // left to walk
	// What lies in one another multiplies, so these two count for the whole file.
	entries  int // left to look at
	attempts int // left to walk where no pickle is expected

	format   Format
	pickles  int
	imports  map[string]bool
	verdict  Verdict
	findings []Finding
	err      error // the first error of reading the file itself
	captured int64 // bytes held of nested archives
	spare    []*bufio.Reader
}

// buffered returns a reader over r that can look a window ahead.
func (s *scanner) buffered(r io.Reader) *bufio.Reader {
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		b.Reset(r)
		return b
	}
	return bufio.NewReaderSize(r, window)
}

// find records a finding, which makes the file suspicious.
func (s *scanner) find(f Finding) {
	s.verdict = max(s.verdict, Suspicious)
	switch n := len(s.findings); {
	case n < s.lim.Findings:
		s.findings = append(s.findings, f)
	case n == s.lim.Findings:
		s.findings = append(s.findings, Finding{Code: OverLimit, Detail: "findings"})
	}
}

// A source is something to look at: the file, or a part of it.
type source struct {
	where string // the entry's name, empty for the file
	depth int
	class Class // what the name says
	size  int64 // in bytes, -1 where it is not known

	at   io.ReaderAt               // nil for a stream
	open func() (io.Reader, error) // from the beginning; a stream that can't be opened again has none after the first
}

// pickled reports whether the name promises a pickle.
func (src *source) pickled() bool {
	switch src.class.Format {
	case "pickle", "joblib", "torchscript":
		return true
	}
	return false
}

func (s *scanner) fileSource(r io.ReaderAt, size int64, src source) source {
	src.at, src.size = r, size
	src.open = func() (io.Reader, error) {
		return &meter{s: s, r: io.NewSectionReader(r, 0, size), file: true}, nil
	}
	return src
}

// meter charges what is read to the scanner's limits.
type meter struct {
	s    *scanner
	r    io.Reader
	file bool // reads the file itself: its errors are the caller's
}

func (m *meter) Read(p []byte) (int, error) {
	if m.s.ctx.Err() != nil {
		return 0, errLimit
	}
	if m.s.bytes <= 0 {
		return 0, errLimit
	}
	n, err := m.r.Read(p)
	m.s.bytes -= int64(n)
	if err != nil && err != io.EOF && m.file && m.s.err == nil {
		m.s.err = fmt.Errorf("read: %w", err)
	}
	return n, err
}

// scan looks at src and reports whether it found a form that it knows to hold
// pickles or code.
func (s *scanner) scan(src source) bool {
	if src.depth > s.lim.Depth {
		s.find(Finding{Code: OverLimit, Where: src.where, Detail: "nesting"})
		return true
	}
	stream, err := src.open()
	if err != nil {
		s.find(Finding{Code: Damaged, Where: src.where, Detail: err.Error()})
		return true
	}
	r := s.buffered(stream)
	defer func() { s.spare = append(s.spare, r) }()
	head, err := r.Peek(512)
	if err != nil && err != io.EOF {
		s.find(Finding{Code: s.reason(err), Where: src.where, Detail: "the first bytes can't be read"})
		return true
	}
	if src.at == nil {
		// A stream may not be readable twice: who looks further reads on from r.
		src.open = func() (io.Reader, error) { return r, nil }
	}
	f := sniff(head, src.size)
	if s.format == "" && src.depth == 0 {
		s.format = f
	}
	switch f {
	case "zip":
		return s.zip(src, r)
	case "npy":
		return s.npy(src, r)
	case "gzip", "zlib", "bzip2", "zstd":
		return s.compressed(src, r, f)
	case "xz", "lzma", "lz4", "7z", "rar", "joblib_zfile":
		s.find(Finding{Code: NotExamined, Where: src.where, Detail: string(f)})
		return true
	case "hdf5":
		s.keras(src, r)
		return true
	case "tar":
		s.polyglot(src, r, f)
		return s.tar(src)
	case "":
	default: // a format of data only
		return s.polyglot(src, r, f) || s.appendedZip(src, false)
	}
	if src.class.Format == "tensorflow" {
		s.search(src, r, "PyFunc", "EagerPyFunc", "ReadFile", "WriteFile")
		return true
	}
	before := len(s.findings)
	walked := s.walk(src, r, src.pickled())
	if s.appendedZip(src, walked && len(s.findings) == before) {
		return true
	}
	if walked {
		if s.format == "" && src.depth == 0 {
			s.format = "pickle"
		}
		return true
	}
	if src.pickled() || src.class.Format == "npy" || src.class.Format == "npz" {
		if len(head) == 0 {
			s.find(Finding{Code: NotExamined, Where: src.where, Detail: "empty"})
			return true
		}
		s.find(Finding{Code: NotExamined, Where: src.where, Detail: "not in the form that its name says"})
		s.sweep(src)
		return true
	}
	return false
}

// polyglot looks whether the first bytes of a format that is told by others are
// a pickle as well. It consumes nothing of r.
func (s *scanner) polyglot(src source, r *bufio.Reader, f Format) bool {
	b, _ := r.Peek(window)
	if len(b) == 0 || !isOpcode(b[0]) {
		return false
	}
	w := s.newWalker(src.where, src.depth, bufio.NewReaderSize(bytes.NewReader(b), 512), 0)
	_ = w.run() // behind the pickle stands the other format
	if !w.certain() {
		return false
	}
	s.take(w)
	s.find(Finding{Code: Polyglot, Where: src.where, Detail: string(f) + " and pickle"})
	return true
}

// reason tells a limit from damage.
func (s *scanner) reason(err error) string {
	if s.ctx.Err() != nil || s.bytes <= 0 || err == errLimit {
		return OverLimit
	}
	return Damaged
}

// sniff tells a format by its first bytes; empty where they tell nothing. size
// is that of the whole, -1 where it is not known.
func sniff(b []byte, size int64) Format {
	for _, m := range magics {
		if m.at+len(m.magic) <= len(b) && string(b[m.at:m.at+len(m.magic)]) == m.magic {
			return m.format
		}
	}
	if len(b) >= 9 && b[8] == '{' {
		// Safetensors: the length of a JSON header, then the header.
		n := int64(0)
		for i := 7; i >= 0; i-- {
			n = n<<8 | int64(b[i])
		}
		if n > 0 && n <= 100<<20 && (size < 0 || n+8 <= size) {
			return "safetensors"
		}
	}
	return ""
}

var magics = []struct {
	at     int
	magic  string
	format Format
}{
	{0, "PK\x03\x04", "zip"},
	{0, "PK\x05\x06", "zip"},
	{0, "PK\x07\x08", "zip"},
	{0, "\x93NUMPY", "npy"},
	{0, "\x1f\x8b", "gzip"},
	{0, "\x78\x01", "zlib"},
	{0, "\x78\x5e", "zlib"},
	{0, "\x78\x9c", "zlib"},
	{0, "\x78\xda", "zlib"},
	{0, "BZh", "bzip2"},
	{0, "\x28\xb5\x2f\xfd", "zstd"},
	{0, "\xfd7zXZ\x00", "xz"},
	{0, "\x5d\x00\x00", "lzma"},
	{0, "\x04\x22\x4d\x18", "lz4"},
	{0, "7z\xbc\xaf\x27\x1c", "7z"},
	{0, "Rar!\x1a\x07", "rar"},
	{0, "ZF0x", "joblib_zfile"},
	{0, "\x89HDF\r\n\x1a\n", "hdf5"},
	{257, "ustar", "tar"},
	{0, "GGUF", "gguf"},
	{0, "PAR1", "parquet"},
	{0, "ARROW1", "arrow"},
	{0, "ORC", "orc"},
	{0, "Obj\x01", "avro"},
	{4, "TFL3", "tflite"},
}

// walk walks the pickles that r begins with and reports whether there was one.
// Unless sure says that there must be, what it finds counts only when it is a
// pickle beyond doubt.
func (s *scanner) walk(src source, r *bufio.Reader, sure bool) bool {
	if b, _ := r.Peek(1); !sure && (len(b) == 0 || !isOpcode(b[0])) {
		return false
	}
	var offset int64
	var legacy bool
	for n := 0; ; n++ {
		w := s.newWalker(src.where, src.depth, r, offset)
		err := w.run()
		offset = w.offset
		// A name may promise a pickle that isn't one: then nothing is imported.
		if !w.certain() && !(sure && n == 0 && (w.stopped || w.calls > 0 || w.proto || len(w.imports) > 0)) {
			if n > 0 {
				s.find(Finding{Code: HiddenBytes, Where: src.where, Offset: offset, Detail: "bytes after the pickle"})
				s.sweep(src)
			}
			return n > 0
		}
		s.take(w)
		if err != nil {
			s.find(Finding{Code: s.reason(err), Where: src.where, Offset: offset, Detail: err.Error()})
			s.sweep(src)
			return true
		}
		if n == 0 {
			legacy = w.torchMag
		}
		if legacy && n == legacyPickles-1 {
			return true // the storages follow, raw
		}
		if _, err := r.Peek(1); err != nil {
			if err != io.EOF {
				s.find(Finding{Code: s.reason(err), Where: src.where, Offset: offset, Detail: "the rest can't be read"})
			}
			return true
		}
	}
}

// isOpcode reports whether a pickle may begin with c.
func isOpcode(c byte) bool {
	return c >= 0x80 && c <= 0x98 || strings.IndexByte("(.012BCFGIJKLMNPQRSTUVX]abcdeghijlopqrstu})", c) >= 0
}

// legacyPickles is how many pickles stand before the storages in torch's format
// before 1.6: magic number, protocol version, system, object, storage keys.
const legacyPickles = 5

func (s *scanner) newWalker(where string, depth int, r *bufio.Reader, offset int64) *walker {
	return &walker{
		s: s, r: r, where: where, depth: depth, offset: offset,
		strings: make(map[string]interned), known: make(map[[2]string]*global),
	}
}

// certain reports whether what was walked is a pickle and no chance.
func (w *walker) certain() bool {
	switch {
	case w.stopped && w.proto:
		return true
	case len(w.imports) == 0 || !w.plausible():
		return false
	default:
		return w.proto || w.calls > 0 && (w.stopped || w.verdict == Dangerous)
	}
}

// plausible reports whether every import is spelled so that Python could find
// it.
func (w *walker) plausible() bool {
	for _, g := range w.imports {
		for i := range len(g.name) {
			if c := g.name[i]; c < utf8.RuneSelf && !isWord(c) {
				return false
			}
		}
	}
	return true
}

// isWord reports whether c may stand in the path of an import.
func isWord(c byte) bool {
	return c == '.' || c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// take merges what a walker found.
func (s *scanner) take(w *walker) {
	s.pickles++
	s.verdict = max(s.verdict, w.verdict, Safe)
	for _, f := range w.found {
		s.find(f)
	}
	for _, g := range w.imports {
		if len(s.imports) >= s.lim.Imports && !s.imports[g.name] {
			s.find(Finding{Code: OverLimit, Where: w.where, Detail: "imports"})
			return
		}
		s.imports[g.name] = true
	}
}

// looksNested reports whether bytes within a pickle may be a pickle or a
// container of some.
func looksNested(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch head[0] {
	case 0x80:
		return head[1] <= 5
	case 'c', 'i':
		return importLine(head[1:]) != nil
	case '(', ']', '}', ')':
		return bytes.IndexByte(head, '\n') > 0
	}
	switch sniff(head, -1) {
	case "zip", "npy", "gzip", "zlib", "bzip2", "zstd":
		return true
	}
	return false
}

// importLine returns the module or name on the line that b begins with, nil
// when there is none.
func importLine(b []byte) []byte {
	end := bytes.IndexByte(b, '\n')
	if end < 1 || end > maxIdentifier {
		return nil
	}
	for _, c := range b[:end] {
		if !isWord(c) {
			return nil
		}
	}
	return b[:end]
}

// nestedBytes looks at bytes that stand in a pickle and reports whether they
// are a pickle or a container.
func (s *scanner) nestedBytes(b []byte, w *walker) bool {
	if !looksNested(b) {
		return false
	}
	return s.nested(bytes.NewReader(b), int64(len(b)), w)
}

// nested is nestedBytes over a stream of n bytes. What is small is held in
// memory, so that archives can be read; of the rest pickles are walked as they
// come.
func (s *scanner) nested(r io.Reader, n int64, w *walker) bool {
	src := source{where: w.where, depth: w.depth + 1, size: n}
	if n > s.lim.Capture-s.captured {
		src.open = func() (io.Reader, error) { return r, nil }
		return s.scan(src)
	}
	s.captured += n
	defer func() { s.captured -= n }()
	var b bytes.Buffer // grows with what is there, whatever length is claimed
	if _, err := io.CopyN(&b, r, n); err != nil {
		return false // the pickle is cut off, which its walker tells
	}
	return s.scan(s.fileSource(bytes.NewReader(b.Bytes()), n, src))
}

// sweep looks for pickles anywhere in src: behind a prefix, behind damage,
// between entries. Each is walked within a window. It is asked for only where
// something is wrong with src, and what it finds adds to that. The first byte
// has been tried by then.
func (s *scanner) sweep(src source) {
	if src.at == nil {
		return
	}
	s.sweepRange(src, min(1, src.size), src.size)
}

func (s *scanner) sweepRange(src source, from, to int64) {
	r := bufio.NewReaderSize(&meter{s: s, r: io.NewSectionReader(src.at, from, to-from)}, window)
	for {
		b, err := r.Peek(window)
		if len(b) == 0 {
			return
		}
		last := err != nil
		// The last bytes of a window are looked at again as the first of the next.
		limit := len(b)
		if !last {
			limit -= 2 * (maxIdentifier + 2)
		}
		i := candidate(b, limit)
		if i < 0 {
			if last {
				return
			}
			if _, err := r.Discard(limit); err != nil {
				return
			}
			from += int64(limit)
			continue
		}
		if s.attempts--; s.attempts < 0 || s.opcodes <= 0 {
			s.find(Finding{Code: OverLimit, Where: src.where, Offset: from, Detail: "places that look like a pickle"})
			return
		}
		if _, err := r.Discard(i); err != nil {
			return
		}
		from += int64(i)
		b, _ = r.Peek(window)
		w := s.newWalker(src.where, src.depth, bufio.NewReaderSize(bytes.NewReader(b), 512), from)
		err = w.run()
		step := 1
		if w.certain() && len(w.imports) > 0 {
			s.take(w)
			s.find(Finding{Code: NestedPickle, Where: src.where, Offset: from, Detail: "outside of where a pickle is expected"})
			if err == nil {
				step = max(1, int(min(w.offset-from, int64(len(b)))))
			}
		}
		if _, err := r.Discard(step); err != nil {
			return
		}
		from += int64(step)
	}
}

// candidate returns where in b[:limit] a pickle may begin, -1 if nowhere: at a
// PROTO of protocols 2 to 5, or at a GLOBAL or INST of protocol 0.
func candidate(b []byte, limit int) int {
	for i := 0; i < limit && i+3 < len(b); i++ {
		switch c := b[i]; {
		case c == 0x80:
			if b[i+1] >= 2 && b[i+1] <= 5 {
				return i
			}
		case c == 'c' || c == 'i':
			if module := importLine(b[i+1:]); module != nil && importLine(b[i+len(module)+2:]) != nil {
				return i
			}
		}
	}
	return -1
}
