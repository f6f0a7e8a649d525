package spl

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

const (
	maxLine      = 16 << 20 // bytes of one line of a file
	maxJSONDepth = 32
	maxFields    = 2000 // of one event
)

// Load reads events, one JSON object a line: envelopes (with "event" and
// "time") or flat rows (with "_time"). gzip and zstd are recognised. It returns
// how many events were read.
func (s *Store) Load(r io.Reader) (int, error) {
	count := 0
	err := Lines(r, func(line int, text []byte) error {
		if text == nil {
			return fmt.Errorf("line %d is longer than %d bytes", line, maxLine)
		}
		if err := s.Add(text); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		count++
		return nil
	})
	if err == nil {
		s.seal()
	}
	return count, err
}

// Lines visits the lines of a file of events without their white space, empty
// ones left out; gzip and zstd are recognised. The text is valid until the next
// line, and nil where a line is too long. An error of visit ends it.
func Lines(r io.Reader, visit func(line int, text []byte) error) error {
	br := bufio.NewReaderSize(r, 1<<20)
	if magic, _ := br.Peek(4); bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return fmt.Errorf("read gzip: %w", err)
		}
		br = bufio.NewReaderSize(z, 1<<20)
	} else if isZstd(magic) {
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return fmt.Errorf("read zstd: %w", err)
		}
		defer z.Close()
		br = bufio.NewReaderSize(z, 1<<20)
	}
	var long []byte
	for line := 1; ; line++ {
		b, err := br.ReadSlice('\n')
		tooLong := false
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long[:0], b...)
			for errors.Is(err, bufio.ErrBufferFull) {
				b, err = br.ReadSlice('\n')
				if tooLong = tooLong || len(long)+len(b) > maxLine; !tooLong {
					long = append(long, b...)
				}
			}
			b = long
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			if tooLong {
				b = nil
			}
			if visitErr := visit(line, b); visitErr != nil {
				return visitErr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// isZstd tells whether this is how a zstd file begins: with a frame, or with one
// that is to be skipped, as in a file of the archive.
func isZstd(magic []byte) bool {
	return bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) || len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18})
}

// seal frees what only adding needs. Whoever adds event by event between
// searches does not want it: Add would make it again.
func (s *Store) seal() {
	for _, c := range s.columns {
		c.dict.seal()
	}
}

// Add stores one event: the JSON of an envelope or of a flat row. The bytes are
// copied.
func (s *Store) Add(line []byte) error {
	if s.n == math.MaxUint32 {
		return errors.New("the store is full")
	}
	f := &s.outer
	f.list = f.list[:0]
	if err := f.object(line); err != nil {
		return err
	}
	id := s.n
	at, indexed, event := math.NaN(), math.NaN(), []byte(nil)
	isEnvelope := false
	for i := range f.list {
		if string(f.list[i].name) == "event" && f.list[i].depth == 0 {
			isEnvelope = true
			event = f.list[i].raw
		}
	}
	raw, rawSet := line, false
	for i := range f.list {
		kv := &f.list[i]
		switch string(kv.name) {
		case "time", "_time":
			if isEnvelope == (string(kv.name) == "time") {
				t, err := parseEventTime(kv)
				if err != nil {
					return fmt.Errorf("%s: %w", kv.name, err)
				}
				at = t
				kv.skip = true
			}
		case "indextime", "_indextime":
			if isEnvelope == (string(kv.name) == "indextime") {
				t, err := parseEventTime(kv)
				if err != nil {
					return fmt.Errorf("%s: %w", kv.name, err)
				}
				indexed = t
				kv.skip = true
			}
		case "_raw":
			if !isEnvelope {
				raw, rawSet = kv.text(), true
				kv.skip = true
			}
		}
	}
	if isEnvelope {
		outer := f
		f = &s.inner
		f.list = f.list[:0]
		if len(event) > 0 && event[0] == '{' {
			if err := f.object(event); err != nil {
				return fmt.Errorf("event: %w", err)
			}
			raw = event
		} else {
			kv := jsonField{raw: event}
			raw = bytes.Clone(kv.text())
			// A text that is itself a JSON object is extracted like one
			// (KV_MODE=json); any other text is an event without fields.
			if f.object(raw) != nil {
				f.list = f.list[:0]
			}
		}
		// What the envelope says of host, source, sourcetype and index is metadata
		// of the event and wins over fields of these names.
		for i := range outer.list {
			switch kv := &outer.list[i]; string(kv.name) {
			case "host", "source", "sourcetype", "index":
				for j := range f.list {
					if string(f.list[j].name) == string(kv.name) {
						f.list[j].skip = true
					}
				}
				f.list = append(f.list, *kv)
			}
		}
	} else if math.IsNaN(at) && !rawSet && len(f.list) == 0 {
		return errors.New("an object without fields is no event")
	}
	s.n++
	s.times = append(s.times, at)
	if math.IsNaN(at) {
		// A flat row without a time sorts last, and has no _time.
		s.times[id] = -endOfTime
	}
	if math.IsNaN(indexed) {
		// Documented for this evaluator only: an event that was never delivered
		// counts as indexed when it happened.
		indexed = s.times[id]
	}
	s.indexed = append(s.indexed, indexed)
	s.raw.add(raw)
	s.rawKind = append(s.rawKind, isEnvelope || rawSet)
	for i := range f.list {
		if kv := &f.list[i]; !kv.skip && !kv.element {
			if err := s.addField(id, kv); err != nil {
				s.dead[id] = true
				return err
			}
		}
	}
	s.defaultIndex(id, isEnvelope)
	s.props.apply(s, id)
	return nil
}

// defaultIndex gives an event without an index the one where Splunk would put
// it: the app's for the add-on's sourcetypes, main for other envelopes.
func (s *Store) defaultIndex(id uint32, isEnvelope bool) {
	index := s.column("index")
	if index.code(id) != 0 {
		return
	}
	st := s.column("sourcetype").value(id).str
	switch {
	case len(st) > 8 && st[:8] == "aiwatch:":
		s.setValue(id, index, dataText("aiwatch"))
	case isEnvelope:
		s.setValue(id, index, dataText("main"))
	}
}

func (s *Store) addField(id uint32, kv *jsonField) error {
	name := kv.name
	if len(name) == 0 {
		return nil
	}
	c, ok := s.columns[string(name)]
	if !ok {
		if len(s.columns) >= 20*maxFields {
			return fmt.Errorf("the events have more than %d different fields", 20*maxFields)
		}
		c = s.column(string(name))
	}
	if len(kv.list) > 0 {
		v := multi(kv.list)
		s.setValue(id, c, v)
		if !kv.nestedList {
			// Splunk's own name of an array's values.
			alias := s.column(c.name + "{}")
			alias.hidden = true
			s.setValue(id, alias, v)
		}
		return nil
	}
	b, kind := kv.raw, entryText
	switch {
	case len(b) == 0 || b[0] == 'n' || b[0] == '[' || b[0] == '{':
		return nil // null, [] and {} give no value
	case b[0] == '"':
		b = kv.text()
	case b[0] != 't' && b[0] != 'f':
		kind = entryNumber
	}
	code, _ := c.dict.intern(kind, b)
	if code == 0 {
		return fmt.Errorf("the values of the field %s are more than the store holds", name)
	}
	c.set(id, code)
	return nil
}

func parseEventTime(kv *jsonField) (float64, error) {
	t := string(kv.text())
	if f, ok := parseNumber(t); ok {
		if math.Abs(f) >= endOfTime {
			return 0, fmt.Errorf("%s is no time in epoch seconds", t)
		}
		return f, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, t); err == nil {
		return epochOf(at), nil
	}
	return 0, fmt.Errorf("%q is no time: epoch seconds or RFC 3339", t)
}

// jsonFields are the members of an object, nested ones with dotted names as
// Splunk names them; an array's values are one member.
type jsonFields struct {
	list []jsonField
}

type jsonField struct {
	name       []byte
	raw        []byte // as it stands in the JSON
	list       []Value
	depth      int
	element    bool // a container that was taken apart
	skip       bool
	nestedList bool // came from an array of objects: its name ends in {}.x already
}

// text is the value without quotes and escapes.
func (kv *jsonField) text() []byte {
	if len(kv.raw) >= 2 && kv.raw[0] == '"' {
		return unescapeJSON(kv.raw[1 : len(kv.raw)-1])
	}
	return kv.raw
}

// object reads a JSON object, strictly.
func (f *jsonFields) object(b []byte) error {
	sc := jsonScanner{b: b}
	sc.space()
	if sc.peek() != '{' {
		return errors.New("not a JSON object")
	}
	if err := f.members(&sc, "", 0); err != nil {
		return err
	}
	if sc.space(); sc.i != len(b) {
		return errors.New("not a JSON object: something follows it")
	}
	return nil
}

func (f *jsonFields) members(sc *jsonScanner, prefix string, depth int) error {
	if depth > maxJSONDepth {
		return fmt.Errorf("JSON nested deeper than %d", maxJSONDepth)
	}
	sc.i++ // {
	if sc.space(); sc.peek() == '}' {
		sc.i++
		return nil
	}
	for {
		sc.space()
		key, err := sc.str()
		if err != nil {
			return err
		}
		if sc.space(); sc.peek() != ':' {
			return sc.bad()
		}
		sc.i++
		sc.space()
		name := unescapeJSON(key[1 : len(key)-1])
		if prefix != "" {
			name = append(append([]byte(prefix), '.'), name...)
		}
		if err := f.value(sc, name, depth); err != nil {
			return err
		}
		if len(f.list) > maxFields {
			return fmt.Errorf("more than %d fields in one event", maxFields)
		}
		sc.space()
		c := sc.peek()
		sc.i++
		if c == '}' {
			return nil
		}
		if c != ',' {
			sc.i--
			return sc.bad()
		}
	}
}

func (f *jsonFields) value(sc *jsonScanner, name []byte, depth int) error {
	begin := sc.i
	switch sc.peek() {
	case '{':
		at := len(f.list)
		f.list = append(f.list, jsonField{name: name, depth: depth, element: true})
		if err := f.members(sc, string(name), depth+1); err != nil {
			return err
		}
		f.list[at].raw = sc.b[begin:sc.i]
		return nil
	case '[':
		if depth > maxJSONDepth {
			return fmt.Errorf("JSON nested deeper than %d", maxJSONDepth)
		}
		return f.array(sc, name, depth)
	case '"':
		s, err := sc.str()
		if err != nil {
			return err
		}
		f.list = append(f.list, jsonField{name: name, raw: s, depth: depth})
		return nil
	}
	if err := sc.scalar(); err != nil {
		return err
	}
	f.list = append(f.list, jsonField{name: name, raw: sc.b[begin:sc.i], depth: depth})
	return nil
}

func (f *jsonFields) array(sc *jsonScanner, name []byte, depth int) error {
	sc.i++ // [
	var vs []Value
	nested := map[string][]Value{}
	var order []string
	if sc.space(); sc.peek() == ']' {
		sc.i++
		return nil
	}
	for {
		sc.space()
		var inner jsonFields
		if err := inner.value(sc, nil, depth+1); err != nil {
			return err
		}
		for i := range inner.list {
			kv := &inner.list[i]
			if kv.element {
				continue
			}
			values := kv.list
			if values == nil {
				values = []Value{kv.single()}
			}
			if len(kv.name) == 0 {
				vs = append(vs, values...)
				continue
			}
			key := string(name) + "{}" + "." + string(bytes.TrimPrefix(kv.name, []byte(".")))
			if _, ok := nested[key]; !ok {
				order = append(order, key)
			}
			nested[key] = append(nested[key], values...)
		}
		sc.space()
		c := sc.peek()
		sc.i++
		if c == ']' {
			break
		}
		if c != ',' {
			sc.i--
			return sc.bad()
		}
	}
	if len(vs) > 0 {
		f.list = append(f.list, jsonField{name: name, list: vs, depth: depth})
	}
	for _, key := range order {
		f.list = append(f.list, jsonField{name: []byte(key), list: nested[key], depth: depth + 1, nestedList: true})
	}
	return nil
}

// single is the value of a member that is no container.
func (kv *jsonField) single() Value {
	switch {
	case len(kv.raw) == 0 || kv.raw[0] == 'n':
		return null
	case kv.raw[0] == '"':
		return dataText(string(kv.text()))
	case kv.raw[0] == 't' || kv.raw[0] == 'f':
		return dataText(string(kv.raw))
	}
	s := string(kv.raw)
	n, _ := parseNumber(s)
	return spelled(n, s)
}

type jsonScanner struct {
	b []byte
	i int
}

func (sc *jsonScanner) peek() byte {
	if sc.i < len(sc.b) {
		return sc.b[sc.i]
	}
	return 0
}

func (sc *jsonScanner) space() {
	for sc.i < len(sc.b) && isSpace(sc.b[sc.i]) {
		sc.i++
	}
}

func (sc *jsonScanner) bad() error {
	return fmt.Errorf("not JSON at byte %d", sc.i)
}

// str takes a string with its quotes.
func (sc *jsonScanner) str() ([]byte, error) {
	if sc.peek() != '"' {
		return nil, sc.bad()
	}
	for j := sc.i + 1; j < len(sc.b); j++ {
		switch c := sc.b[j]; {
		case c == '\\':
			j++
		case c == '"':
			s := sc.b[sc.i : j+1]
			sc.i = j + 1
			return s, nil
		case c < 0x20:
			return nil, sc.bad()
		}
	}
	return nil, sc.bad()
}

func (sc *jsonScanner) scalar() error {
	begin := sc.i
	for sc.i < len(sc.b) && (isWordByte(sc.b[sc.i]) || bytes.IndexByte([]byte("+-."), sc.b[sc.i]) >= 0) {
		sc.i++
	}
	word := sc.b[begin:sc.i]
	switch string(word) {
	case "true", "false", "null":
		return nil
	}
	if len(word) > 0 && len(word) <= 64 && isPlainInteger(word) || json.Valid(word) {
		return nil
	}
	sc.i = begin
	return sc.bad()
}

func isPlainInteger(b []byte) bool {
	if b[0]-'1' > 8 {
		return false
	}
	for _, c := range b {
		if c-'0' > 9 {
			return false
		}
	}
	return true
}

// unescapeJSON resolves the escapes of a JSON string; without any, it returns
// its argument.
func unescapeJSON(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch b[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			r, ok := hexRune(b, i+1)
			if !ok {
				out = append(out, `\u`...)
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := hexRune(b, i+3)
				if ok && i+2 < len(b) && b[i+1] == '\\' && b[i+2] == 'u' {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						r = both
						i += 6
					}
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, b[i])
		}
	}
	return out
}

func hexRune(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[i:i+4]), 16, 32)
	return rune(n), err == nil
}
