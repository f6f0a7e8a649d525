package modelfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// NumPy's own file form: magic, version, the length of a header, the header as
// a Python dictionary, then the items, or a pickle where items are objects.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

const maxNumpyHeader = 1 << 16 // bytes

// The headers that NumPy writes. The type's letter decides: whatever is spelled
// in another way is not trusted to hold no object.
var (
	npyPlain = regexp.MustCompile(`^\{'descr': '[|<>=]?([a-zA-Z?])\d*(?:\[\w+\])?', 'fortran_order': (?:True|False), 'shape': \([0-9L, ]*\),? *\}\s*$`)
	npyMixed = regexp.MustCompile(`^\{'descr': \[(?:\('[^'\\]*', '[|<>=]?[biufcSUVmM?]\d*(?:\[\w+\])?'(?:, \([0-9, ]*\))?\)(?:, )?)*\], 'fortran_order': (?:True|False), 'shape': \([0-9L, ]*\),? *\}\s*$`)
)

// npy looks at an array in NumPy's form.
func (s *scanner) npy(src source, r *bufio.Reader) bool {
	head, _ := r.Peek(12)
	if len(head) < 12 {
		s.find(Finding{Code: Damaged, Where: src.where, Detail: "header"})
		return true
	}
	skip, n := 10, int64(binary.LittleEndian.Uint16(head[8:]))
	if head[6] > 1 {
		skip, n = 12, int64(binary.LittleEndian.Uint32(head[8:]))
	}
	if n > maxNumpyHeader {
		s.find(Finding{Code: OverLimit, Where: src.where, Detail: "header"})
		return true
	}
	header := make([]byte, int64(skip)+n)
	if _, err := io.ReadFull(r, header); err != nil {
		s.find(Finding{Code: s.reason(err), Where: src.where, Detail: "header"})
		return true
	}
	header = header[skip:]
	switch m := npyPlain.FindSubmatch(header); {
	case m != nil && m[1][0] != 'O' || npyMixed.Match(header):
		s.verdict = max(s.verdict, Safe)
	case m != nil || bytes.Contains(header, []byte("O")):
		if !s.walk(src, r, true) {
			s.find(Finding{Code: Damaged, Where: src.where, Detail: "array of objects without a pickle"})
		}
	default:
		s.find(Finding{Code: NotExamined, Where: src.where, Detail: "the header's type is not understood"})
		s.walk(src, r, false)
	}
	return true
}

// errArray ends the walk of a pickle whose inline array has no known length.
var errArray = errors.New("an inline array of unknown size")

// inlineArray passes over the array that joblib writes into the pickle, after
// it has set the state of a NumpyArrayWrapper.
func (w *walker) inlineArray(c *call) error {
	state, _ := c.state.(*dict)
	if state == nil {
		w.note(Suspicious, NotExamined, "joblib array without a shape")
		return nil
	}
	size, objects, ok := itemSize(state.dtype)
	if objects {
		return w.objectArray()
	}
	// Whoever loads the file without joblib takes the array's bytes for opcodes,
	// and a lying type would make joblib unpickle them.
	w.disguised()
	shape, isTuple := state.shape.(tuple)
	if !ok || !isTuple {
		w.note(Suspicious, NotExamined, "joblib array of unknown type or shape")
		return errArray
	}
	n := size
	for _, v := range shape {
		d, isInt := v.(int64)
		if !isInt || d < 0 || d > 0 && n > 1<<62/d {
			w.note(Suspicious, NotExamined, "joblib array of unknown shape")
			return errArray
		}
		n *= d
	}
	if state.alignment != nil {
		pad, err := w.uint(1)
		if err != nil {
			return err
		}
		if pad != 0xff { // no alignment was wanted
			if err := w.skip(int64(pad)); err != nil {
				return err
			}
		}
		w.disguised()
	}
	return w.skip(n)
}

// objectArray walks the pickle that stands for an array of objects.
func (w *walker) objectArray() error {
	if w.depth >= w.s.lim.Depth {
		w.note(Suspicious, OverLimit, "nesting")
		return errLimit
	}
	inner := w.s.newWalker(w.where, w.depth+1, w.r, w.offset)
	err := inner.run()
	w.offset = inner.offset
	w.s.take(inner)
	return err
}

// disguised walks what follows as if it were opcodes.
func (w *walker) disguised() {
	b, _ := w.r.Peek(window)
	if len(b) == 0 || !isOpcode(b[0]) {
		return
	}
	as := w.s.newWalker(w.where, w.depth, bufio.NewReaderSize(bytes.NewReader(b), 512), w.offset)
	err := as.run()
	switch {
	case as.certain(), as.calls > 0 && len(as.imports) > 0 && as.plausible():
		w.s.take(as)
		w.note(Suspicious, NestedPickle, "opcodes in place of an array")
	case len(b) == window && errors.Is(err, io.ErrUnexpectedEOF):
		w.note(Suspicious, NotExamined, "an array that may be opcodes")
	}
}

// itemSize returns the size in bytes of an item of a dtype, and whether items
// are objects.
func itemSize(v value) (size int64, objects, ok bool) {
	c, isCall := v.(*call)
	if !isCall || c.callee.name != numpyDtype || c.arg == "" {
		return 0, false, false
	}
	code := strings.TrimLeft(c.arg, "<>=|")
	if code == "" {
		return 0, false, false
	}
	n, err := strconv.ParseInt(code[1:], 10, 32)
	if code[0] == 'O' {
		return 0, true, true
	}
	if code == "?" {
		return 1, false, true
	}
	if err != nil || n < 0 {
		return 0, false, false
	}
	switch code[0] {
	case 'b', 'i', 'u', 'f', 'c', 'S', 'm', 'M':
		return n, false, true
	case 'U':
		return 4 * n, false, true
	case 'V':
		// The state ends with item size, alignment and flags; bit 0 says objects.
		state, _ := c.state.(tuple)
		if len(state) < 8 {
			return n, false, true
		}
		flags, isInt := state[7].(int64)
		return n, isInt && flags&1 != 0, isInt
	default:
		return 0, false, false
	}
}
