package modelfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The walker reads a pickle opcode by opcode, as Python's pickletools describes
// them (protocols 0 to 5), over symbols instead of objects: nothing is built
// and nothing is called. It follows the stack and the memo exactly as CPython's
// unpickler does, because an import may be put together from strings that were
// stored long before. Where an unpickler would fail the walker reads on when it
// can: a call that came before the damage has been made by then.

// A value is what the walker knows of an object on the stack:
//
//	nil         nothing, or nothing that matters here
//	string      a string that could be a module or an attribute
//	int64       an integer
//	bool        true or false
//	blob        bytes
//	*global     an import
//	*call       what calling an import gave
//	tuple, *dict
type value any

// blob is a bytes object; true when a pickle or container was found in it.
type blob bool

type global struct {
	name    string
	verdict Verdict
}

type call struct {
	callee *global
	arg    string // the first argument, of numpy.dtype only
	state  value  // what the first BUILD set
}

type tuple []value

// dict keeps the entries of a dictionary that tell joblib's arrays apart.
type dict struct{ shape, dtype, alignment value }

// What the walker keeps of a pickle; more than this is not needed to tell what
// is imported, and cells and text are cut off so that a hostile pickle can't
// make us hold it.
const (
	maxIdentifier = 256     // bytes of a string that could name a module
	maxLine       = 1 << 16 // bytes of a text line that are kept
	maxItems      = 16      // items of a tuple that are kept
	maxCells      = 1 << 18 // tuples with their items, dicts and calls in one pickle
	maxText       = 8 << 20 // bytes of different strings in one pickle
	maxSparse     = 16      // of the memo's limit one in so many may be out of order
	window        = 1 << 16 // bytes that can be looked at ahead
)

var (
	errOpcode = errors.New("no such opcode")
	errLimit  = errors.New("over a limit")
)

// A walker walks one pickle.
type walker struct {
	s     *scanner
	r     *bufio.Reader
	where string
	depth int

	offset  int64
	stack   []value
	marks   []int
	memo    memo
	strings map[string]interned
	text    int
	cells   int

	imports  []*global
	known    map[[2]string]*global
	found    []Finding
	verdict  Verdict
	proto    bool // began with PROTO
	calls    int  // REDUCE, INST, OBJ, NEWOBJ, BUILD
	stopped  bool // reached STOP
	cut      bool // the last line was too long to be kept
	torchMag bool // held the magic number of torch's legacy format
}

// note records a finding and what it makes of the pickle.
func (w *walker) note(v Verdict, code, detail string) {
	w.verdict = max(w.verdict, v)
	if len(w.found) < maxFindingsHeld {
		w.found = append(w.found, Finding{Code: code, Where: w.where, Offset: w.offset, Detail: detail})
	}
}

// run walks to STOP, to the end or to the first byte that is no opcode.
func (w *walker) run() error {
	for n := 0; ; n++ {
		if n&0xfff == 0 && w.s.ctx.Err() != nil {
			return errLimit
		}
		if w.s.opcodes--; w.s.opcodes < 0 {
			w.note(Suspicious, OverLimit, "opcodes")
			return errLimit
		}
		op, err := w.r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if n == 0 && op == 0x80 {
			w.proto = true
		}
		if err := w.step(op); err != nil {
			return err
		}
		w.offset++
		if op == '.' {
			w.stopped = true
			return nil
		}
		if len(w.stack) > w.s.lim.Stack || len(w.marks) > w.s.lim.Stack {
			w.note(Suspicious, OverLimit, "stack")
			return errLimit
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// step does one opcode. The names are those of pickletools.
func (w *walker) step(op byte) error {
	switch op {
	case '(': // MARK
		w.marks = append(w.marks, len(w.stack))
	case '.': // STOP
		w.pop()
	case '0': // POP
		if n := len(w.marks); n > 0 && w.marks[n-1] == len(w.stack) {
			w.marks = w.marks[:n-1]
		} else {
			w.pop()
		}
	case '1': // POP_MARK
		w.toMark()
	case '2': // DUP
		w.push(w.top())

	case 'N': // NONE
		w.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		w.push(op == 0x88)
	case 'I', 'L': // INT, LONG
		line, err := w.line()
		if err != nil {
			return err
		}
		switch line {
		case "00", "01":
			w.push(line == "01")
		default:
			w.pushInt(parseInt(strings.TrimSuffix(line, "L")))
		}
	case 'F': // FLOAT
		if _, err := w.line(); err != nil {
			return err
		}
		w.push(nil)
	case 'G': // BINFLOAT
		return w.pushSkipped(8)
	case 'J': // BININT
		n, err := w.uint(4)
		if err != nil {
			return err
		}
		w.pushInt(int64(int32(n)), true)
	case 'K', 'M': // BININT1, BININT2
		n, err := w.uint(1 + int(op-'K')/2)
		if err != nil {
			return err
		}
		w.pushInt(int64(n), true)
	case 0x8a: // LONG1
		return w.long(1)
	case 0x8b: // LONG4
		return w.long(4)

	case 'S': // STRING
		line, err := w.line()
		if err != nil {
			return err
		}
		if n := len(line); n >= 2 && line[0] == line[n-1] && (line[0] == '\'' || line[0] == '"') {
			line = line[1 : n-1]
		}
		w.textString(unescape(line))
	case 'V': // UNICODE
		line, err := w.line()
		if err != nil {
			return err
		}
		w.textString(unescapeUnicode(line))
	case 'U', 0x8c: // SHORT_BINSTRING, SHORT_BINUNICODE
		return w.bytes(1, true)
	case 'T', 'X': // BINSTRING, BINUNICODE
		return w.bytes(4, true)
	case 0x8d: // BINUNICODE8
		return w.bytes(8, true)
	case 'C': // SHORT_BINBYTES
		return w.bytes(1, false)
	case 'B': // BINBYTES
		return w.bytes(4, false)
	case 0x8e, 0x96: // BINBYTES8, BYTEARRAY8
		return w.bytes(8, false)
	case 0x97: // NEXT_BUFFER
		w.push(blob(false))
	case 0x98: // READONLY_BUFFER

	case ')': // EMPTY_TUPLE
		w.push(tuple(nil))
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		items := make(tuple, op-0x84)
		for i := len(items) - 1; i >= 0; i-- {
			items[i] = w.pop()
		}
		w.pushTuple(items)
	case 't': // TUPLE
		w.pushTuple(w.toMark())
	case ']', 0x8f: // EMPTY_LIST, EMPTY_SET
		w.push(nil)
	case 'l', 0x91: // LIST, FROZENSET
		w.toMark()
		w.push(nil)
	case 'a': // APPEND
		w.pop()
		w.change("appends to")
	case 'e', 0x90: // APPENDS, ADDITEMS
		w.toMark()
		w.change("appends to")
	case '}': // EMPTY_DICT
		w.push(w.newDict())
	case 'd': // DICT
		items := w.toMark()
		d := w.newDict()
		if d, ok := d.(*dict); ok {
			d.set(items)
		}
		w.push(d)
	case 's': // SETITEM
		v, k := w.pop(), w.pop()
		w.setItems([]value{k, v})
	case 'u': // SETITEMS
		w.setItems(w.toMark())

	case 'p': // PUT
		line, err := w.line()
		if err != nil {
			return err
		}
		if n, ok := parseInt(line); ok {
			w.put(n)
		} else {
			w.noteOnce(Damaged, "memo index")
		}
	case 'q', 'r': // BINPUT, LONG_BINPUT
		n, err := w.uint(1 + 3*int(op-'q'))
		if err != nil {
			return err
		}
		w.put(int64(n))
	case 0x94: // MEMOIZE
		w.put(int64(w.memo.len()))
	case 'g': // GET
		line, err := w.line()
		if err != nil {
			return err
		}
		n, _ := parseInt(line)
		w.get(n)
	case 'h': // BINGET
		n, err := w.uint(1)
		if err != nil {
			return err
		}
		w.get(int64(n))
	case 'j': // LONG_BINGET
		n, err := w.uint(4)
		if err != nil {
			return err
		}
		w.get(int64(n))

	case 'c': // GLOBAL
		g, err := w.globalLines()
		if err != nil {
			return err
		}
		w.push(g)
	case 'i': // INST
		g, err := w.globalLines()
		if err != nil {
			return err
		}
		w.call(g, w.toMark())
	case 0x93: // STACK_GLOBAL
		name, module := w.pop(), w.pop()
		n, ok1 := name.(string)
		m, ok2 := module.(string)
		if ok1 && ok2 {
			w.push(w.imported(m, n))
		} else {
			w.noteOnce(ComputedImport, "the name of an import is computed")
			w.push(w.unknownImport())
		}
	case 0x82, 0x83, 0x84: // EXT1, EXT2, EXT4
		code, err := w.uint(1 << (op - 0x82))
		if err != nil {
			return err
		}
		w.note(Suspicious, ComputedImport, fmt.Sprintf("extension code %d", code))
		w.push(w.unknownImport())
	case 'R', 0x81: // REDUCE, NEWOBJ
		args, _ := w.pop().(tuple)
		w.call(w.pop(), args)
	case 0x92: // NEWOBJ_EX
		w.pop()
		args, _ := w.pop().(tuple)
		w.call(w.pop(), args)
	case 'o': // OBJ
		items := w.toMark()
		if len(items) == 0 {
			w.noteOnce(Damaged, "OBJ without a class")
			items = tuple{nil}
		}
		w.call(items[0], items[1:])
	case 'b': // BUILD
		return w.build()

	case 'P': // PERSID
		if _, err := w.line(); err != nil {
			return err
		}
		w.push(nil)
	case 'Q': // BINPERSID
		w.pop()
		w.push(nil)

	case 0x80: // PROTO
		_, err := w.uint(1)
		return err
	case 0x95: // FRAME: the frame's bytes are opcodes like all others
		_, err := w.uint(8)
		return err
	default:
		return errOpcode
	}
	return nil
}

func (w *walker) push(v value) { w.stack = append(w.stack, v) }

// fence is the height of the stack at the last mark; nothing is popped below.
func (w *walker) fence() int {
	if n := len(w.marks); n > 0 {
		return w.marks[n-1]
	}
	return 0
}

// pop takes the top of the stack. An unpickler fails where there is none.
func (w *walker) pop() value {
	n := len(w.stack)
	if n <= w.fence() {
		w.noteOnce(Damaged, "the stack is empty")
		return nil
	}
	v := w.stack[n-1]
	w.stack = w.stack[:n-1]
	return v
}

func (w *walker) top() value {
	if len(w.stack) <= w.fence() {
		return nil
	}
	return w.stack[len(w.stack)-1]
}

// toMark takes everything above the last mark. The result is valid until the
// next push.
func (w *walker) toMark() tuple {
	from := w.fence()
	if n := len(w.marks); n > 0 {
		w.marks = w.marks[:n-1]
	} else {
		w.noteOnce(Damaged, "no mark on the stack")
	}
	items := tuple(w.stack[from:])
	w.stack = w.stack[:from]
	return items
}

// cell reports whether n more cells may be kept.
func (w *walker) cell(n int) bool {
	w.cells += n
	return w.cells <= maxCells
}

func (w *walker) pushInt(n int64, ok bool) {
	if !ok || n > 255 && !w.cell(1) {
		w.push(nil)
		return
	}
	w.push(n)
}

func (w *walker) pushTuple(items tuple) {
	if len(items) > maxItems || !w.cell(1+len(items)) {
		w.push(nil)
		return
	}
	w.push(append(tuple(nil), items...))
}

func (w *walker) pushSkipped(n int64) error {
	w.push(nil)
	return w.skip(n)
}

// pushString keeps s where it could be a name.
func (w *walker) pushString(s []byte) {
	if !isName(s) {
		w.push(nil)
		return
	}
	known, ok := w.strings[string(s)]
	if !ok {
		if w.text += len(s) + 64; w.text > maxText {
			w.push(nil)
			return
		}
		known.value = string(s)
		w.strings[string(s)] = known
	}
	w.push(known.value)
}

// interned is a string that is kept once, and its number in the memo.
type interned struct {
	value  value
	number uint32
}

// textString pushes the string of a text line, which may hold a pickle.
func (w *walker) textString(s string) {
	b := []byte(s)
	w.pushString(b)
	if raw := latin1(b); raw != nil {
		b = raw
	}
	if w.cut && looksNested(b) {
		w.noteOnce(OverLimit, "line length")
	}
	w.s.nestedBytes(b, w)
}

// isName reports whether s could name a module or an attribute. Python allows
// letters of all scripts.
func isName(s []byte) bool {
	if len(s) == 0 || len(s) > maxIdentifier {
		return false
	}
	for _, c := range s {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(s)
}

func (w *walker) newDict() value {
	if !w.cell(1) {
		return nil
	}
	return &dict{}
}

func (d *dict) set(items []value) {
	for i := 0; i+1 < len(items); i += 2 {
		switch items[i] {
		case "shape":
			d.shape = items[i+1]
		case "dtype":
			d.dtype = items[i+1]
		case "numpy_array_alignment_bytes":
			d.alignment = items[i+1]
		}
	}
}

func (w *walker) setItems(items []value) {
	if d, ok := w.top().(*dict); ok {
		d.set(items)
		return
	}
	w.change("sets items of")
}

// change notes that what is on top is changed, which for an import itself means
// that the running program is.
func (w *walker) change(how string) {
	if g, ok := w.top().(*global); ok {
		w.noteOnce(ChangesImport, how+" "+g.name)
	}
}

func (w *walker) put(n int64) {
	if n < 0 {
		w.noteOnce(Damaged, "memo index")
		return
	}
	if !w.memo.put(n, w.number(w.top()), w.s.lim.Memo) {
		w.noteOnce(OverLimit, "memo entries")
	}
}

// number returns under which number the memo keeps v, 0 when it does not.
func (w *walker) number(v value) uint32 {
	if v == nil {
		return 0
	}
	s, isString := v.(string)
	if n := w.strings[s].number; isString && n > 0 {
		return n
	}
	if !w.cell(1) {
		return 0
	}
	w.memo.kept = append(w.memo.kept, v)
	n := uint32(len(w.memo.kept))
	if isString {
		w.strings[s] = interned{v, n}
	}
	return n
}

func (w *walker) noteOnce(code, detail string) {
	w.verdict = max(w.verdict, Suspicious)
	for _, f := range w.found {
		if f.Code == code && f.Detail == detail {
			return
		}
	}
	w.note(Suspicious, code, detail)
}

func (w *walker) get(n int64) {
	v, ok := w.memo.get(n)
	if !ok {
		w.noteOnce(Damaged, "a memo entry that was never put")
	}
	w.push(v)
}

// memo holds what was put under an index. Picklers count up from zero, so that
// a slice holds nearly all; other indexes are in a map. Most of what is put
// does not matter: kept holds what does, and the rest is a zero.
type memo struct {
	dense  []uint32
	sparse map[int64]uint32
	kept   []value // by number less one
}

func (m *memo) len() int { return len(m.dense) + len(m.sparse) }

// put reports whether there was room below limit.
func (m *memo) put(n int64, number uint32, limit int) bool {
	switch _, known := m.sparse[n]; {
	case n < int64(len(m.dense)):
		m.dense[n] = number
	case known:
		m.sparse[n] = number
	case m.len() >= limit:
		return false
	case n == int64(len(m.dense)):
		m.dense = append(m.dense, number)
	default:
		if len(m.sparse) >= limit/maxSparse {
			return false
		}
		if m.sparse == nil {
			m.sparse = make(map[int64]uint32)
		}
		m.sparse[n] = number
	}
	return true
}

func (m *memo) get(n int64) (value, bool) {
	var number uint32
	ok := n >= 0 && n < int64(len(m.dense))
	if ok {
		number = m.dense[n]
	} else if number, ok = m.sparse[n]; !ok {
		return nil, false
	}
	if number == 0 {
		return nil, true
	}
	return m.kept[number-1], true
}

func (w *walker) globalLines() (*global, error) {
	module, err := w.line()
	if err != nil {
		return nil, err
	}
	name, err := w.line()
	if err != nil {
		return nil, err
	}
	return w.imported(module, name), nil
}

func (w *walker) imported(module, name string) *global {
	key := [2]string{module, name}
	g, ok := w.known[key]
	if !ok {
		g = w.record(&global{name: module + "." + name, verdict: judge(module, name)})
		if len(w.imports) < w.s.lim.Imports {
			w.known[key] = g
		}
	}
	return g
}

func (w *walker) unknownImport() *global {
	return w.record(&global{name: UnknownImport, verdict: Suspicious})
}

func (w *walker) record(g *global) *global {
	if len(w.imports) >= w.s.lim.Imports {
		w.noteOnce(OverLimit, "imports")
		w.verdict = max(w.verdict, g.verdict)
		return g
	}
	w.verdict = max(w.verdict, g.verdict)
	w.imports = append(w.imports, g)
	return g
}

// call replaces callee and arguments, which are popped, by what a call gives.
func (w *walker) call(callee value, args tuple) {
	w.calls++
	g, ok := callee.(*global)
	if !ok {
		w.noteOnce(ComputedCall, "calls what it computed")
		w.push(nil)
		return
	}
	if g.name == loadFromBytes && (len(args) != 1 || args[0] != value(blob(true))) {
		w.noteOnce(NotExamined, loadFromBytes+" of bytes that are not understood")
	}
	if !w.cell(1) {
		w.push(nil)
		return
	}
	c := &call{callee: g}
	if g.name == numpyDtype && len(args) > 0 {
		c.arg, _ = args[0].(string)
	}
	w.push(c)
}

func (w *walker) build() error {
	w.calls++
	state := w.pop()
	w.change("sets the state of")
	c, ok := w.top().(*call)
	if !ok {
		return nil
	}
	if c.state == nil {
		c.state = state
	}
	if c.callee.name == joblibWrapper || c.callee.name == joblibWrapperOld {
		w.offset++
		err := w.inlineArray(c)
		w.offset--
		return err
	}
	return nil
}

// line reads a text argument. Of a line that is too long the first bytes are
// kept, and cut is set.
func (w *walker) line() (string, error) {
	var line []byte
	total := int64(0)
	for {
		part, err := w.r.ReadSlice('\n')
		total += int64(len(part))
		if room := maxLine - len(line); room > 0 {
			line = append(line, part[:min(len(part), room)]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		w.offset += total
		if err != nil {
			return "", unexpected(err)
		}
		w.cut = total > maxLine
		return string(bytes.TrimSuffix(line, []byte("\n"))), nil
	}
}

// uint reads n bytes, at most 8, least significant first.
func (w *walker) uint(n int) (uint64, error) {
	var buf [8]byte
	if _, err := io.ReadFull(w.r, buf[:n]); err != nil {
		return 0, unexpected(err)
	}
	w.offset += int64(n)
	return binary.LittleEndian.Uint64(buf[:]), nil
}

func (w *walker) skip(n int64) error {
	for n > 0 {
		d, err := w.r.Discard(int(min(n, 1<<30)))
		w.offset += int64(d)
		n -= int64(d)
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// torchMagic is torch.serialization's MAGIC_NUMBER, the first of the pickles
// that make a file of its format before 1.6, as LONG1 writes it.
var torchMagic = []byte{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

func (w *walker) long(width int) error {
	n, err := w.uint(width)
	if err != nil {
		return err
	}
	if n > 8 {
		if head, _ := w.r.Peek(len(torchMagic)); n == uint64(len(torchMagic)) && bytes.Equal(head, torchMagic) {
			w.torchMag = true
		}
		return w.pushSkipped(int64(n))
	}
	v, err := w.uint(int(n))
	if err != nil {
		return err
	}
	if n > 0 && n < 8 && v>>(8*n-1)&1 == 1 {
		v |= ^uint64(0) << (8 * n)
	}
	w.pushInt(int64(v), true)
	return nil
}

// bytes reads a string or bytes argument whose length stands in width bytes.
func (w *walker) bytes(width int, text bool) error {
	n, err := w.uint(width)
	if err != nil {
		return err
	}
	if n > 1<<62 {
		return io.ErrUnexpectedEOF
	}
	if text && n <= maxIdentifier {
		var buf [maxIdentifier]byte
		if _, err := io.ReadFull(w.r, buf[:n]); err != nil {
			return unexpected(err)
		}
		w.offset += int64(n)
		w.pushString(buf[:n])
		nested := buf[:n]
		if n > 2 && buf[0] == 0xc2 && buf[1] == 0x80 {
			nested = latin1(nested)
		}
		w.s.nestedBytes(nested, w)
		return nil
	}
	head, _ := w.r.Peek(int(min(n, 64)))
	if text && len(head) > 2 && head[0] == 0xc2 && head[1] == 0x80 {
		// Protocol 2 writes bytes as a string that is encoded when loaded.
		return w.encodedBytes(int64(n))
	}
	if !looksNested(head) {
		if err := w.skip(int64(n)); err != nil {
			return err
		}
		if text {
			w.push(nil)
		} else {
			w.push(blob(false))
		}
		return nil
	}
	rest := &io.LimitedReader{R: w.r, N: int64(n)}
	found := w.s.nested(rest, int64(n), w)
	w.offset += int64(n) - rest.N
	if err := w.skip(rest.N); err != nil {
		return err
	}
	w.push(blob(found))
	return nil
}

// encodedBytes reads bytes that stand in a string of n bytes of UTF-8, one
// character a byte.
func (w *walker) encodedBytes(n int64) error {
	if n > w.s.lim.Capture {
		w.noteOnce(OverLimit, "bytes of a nested pickle")
		return w.pushSkipped(n)
	}
	b, err := io.ReadAll(io.LimitReader(w.r, n))
	w.offset += int64(len(b))
	if err != nil {
		return err
	}
	if int64(len(b)) < n {
		return io.ErrUnexpectedEOF
	}
	if raw := latin1(b); raw != nil {
		b = raw
	}
	w.push(blob(w.s.nestedBytes(b, w)))
	return nil
}

// latin1 undoes the UTF-8 of bytes that were written as a string; nil when b is
// plain ASCII or holds other characters.
func latin1(b []byte) []byte {
	if !bytes.ContainsFunc(b, func(r rune) bool { return r > 0x7f }) {
		return nil
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r > 0xff {
			return nil
		}
		out = append(out, byte(r))
		b = b[n:]
	}
	return out
}

// parseInt reads a number as Python's int does.
func parseInt(s string) (int64, bool) {
	n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(s), "_", ""), 10, 64)
	return n, err == nil
}

// unescape decodes the escapes of a Python string literal.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'x':
			if n, err := strconv.ParseUint(s[min(i+1, len(s)):min(i+3, len(s))], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
			}
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n := 0
			j := i
			for ; j < len(s) && j < i+3 && '0' <= s[j] && s[j] <= '7'; j++ {
				n = n*8 + int(s[j]-'0')
			}
			out = append(out, byte(n))
			i = j - 1
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// unescapeUnicode decodes Python's raw-unicode-escape: \uXXXX and \UXXXXXXXX.
func unescapeUnicode(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == 'u' || s[i+1] == 'U') {
			width := 4
			if s[i+1] == 'U' {
				width = 8
			}
			if i+2+width <= len(s) {
				if n, err := strconv.ParseUint(s[i+2:i+2+width], 16, 32); err == nil {
					out = utf8.AppendRune(out, rune(n))
					i += 1 + width
					continue
				}
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
