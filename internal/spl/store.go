package spl

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"sort"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/zstd"
)

// Store holds events for many searches: each field is a column of codes into
// that field's dictionary, so that a predicate is evaluated once for a value
// and not once for an event. Events are in time order twice over, by event time
// and by index time. A Store is not safe for concurrent use.
type Store struct {
	columns map[string]*column
	names   []string // of the columns, in order of their first appearance
	n       uint32
	dead    map[uint32]bool // deleted events

	times   []float64
	indexed []float64
	raw     rawText
	rawKind []bool // whether _raw is a field of the row, or only the line it was read from

	byTime  []uint32 // events, newest first
	rank    []uint32 // event to its place in byTime
	byIndex []uint32 // events, by index time, newest first
	sorted  uint32   // how many events the three above hold

	props   *Props
	scratch []byte
	outer   jsonFields // scratch, of the event that is being added
	inner   jsonFields
}

// NewStore makes an empty store whose events get the search-time fields of
// props, which may be nil.
func NewStore(props *Props) *Store {
	return &Store{columns: map[string]*column{}, dead: map[uint32]bool{}, props: props.bind()}
}

// Len is the number of events.
func (s *Store) Len() int { return int(s.n) - len(s.dead) }

const chunkSize = 8192

// column is one field of all events.
type column struct {
	name   string
	dict   dictionary
	chunks [][]uint32 // nil: no event of the chunk has the field; code 0: null
	hidden bool       // not part of the event, only asked for by name
}

func (c *column) code(id uint32) uint32 {
	if i := int(id / chunkSize); i < len(c.chunks) {
		if chunk := c.chunks[i]; chunk != nil {
			return chunk[id%chunkSize]
		}
	}
	return 0
}

func (c *column) set(id, code uint32) {
	i := int(id / chunkSize)
	for i >= len(c.chunks) {
		c.chunks = append(c.chunks, nil)
	}
	if c.chunks[i] == nil {
		c.chunks[i] = make([]uint32, chunkSize)
	}
	c.chunks[i][id%chunkSize] = code
}

func (c *column) value(id uint32) Value {
	code := c.code(id)
	if code == 0 {
		return null
	}
	return c.dict.value(code)
}

// dictionary gives every distinct value of a column a code from 1. The bytes
// of all values lie one after the other; a text is handed out without copying.
type dictionary struct {
	blocks  [][]byte // values never move once written
	where   []uint64 // code-1 to block<<32 | offset
	lengths []uint32 // code-1 to length
	kinds   []uint8
	table   []uint32 // open addressing over codes; nil when sealed
	seed    maphash.Seed
	hashes  []uint32 // of each code, while the table stands
}

const (
	entryText uint8 = iota
	entryNumber
	entryMulti // the bytes are the encoded values
)

func (d *dictionary) bytes(code uint32) []byte {
	w := d.where[code-1]
	block, offset := w>>32, w&math.MaxUint32
	return d.blocks[block][offset : uint32(offset)+d.lengths[code-1]]
}

func (d *dictionary) len() int { return len(d.where) }

func (d *dictionary) value(code uint32) Value {
	b := d.bytes(code)
	s := unsafe.String(unsafe.SliceData(b), len(b)) // the bytes are never written again
	return entryValue(d.kinds[code-1], s)
}

func entryValue(kind uint8, s string) Value {
	switch kind {
	case entryNumber:
		f, _ := parseNumber(s)
		return spelled(f, s)
	case entryMulti:
		return decodeMulti(s)
	}
	return Value{kind: kindText, str: s, data: true}
}

func (d *dictionary) intern(kind uint8, b []byte) uint32 {
	if d.table == nil {
		d.rebuild(max(64, len(d.where)*2))
	}
	h := uint32(maphash.Bytes(d.seed, b)) ^ uint32(kind)*0x9e3779b1
	mask := uint32(len(d.table) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		code := d.table[i]
		if code == 0 {
			code = d.add(kind, b)
			d.hashes = append(d.hashes, h)
			d.table[i] = code
			if len(d.where)*4 > len(d.table)*3 {
				d.rebuild(len(d.table) * 2)
			}
			return code
		}
		if d.hashes[code-1] == h && d.kinds[code-1] == kind && string(d.bytes(code)) == string(b) {
			return code
		}
	}
}

func (d *dictionary) add(kind uint8, b []byte) uint32 {
	last := len(d.blocks) - 1
	if last < 0 || len(d.blocks[last])+len(b) > cap(d.blocks[last]) {
		size := 1 << 12
		if len(d.where) > 256 {
			size = 1 << 18
		}
		d.blocks = append(d.blocks, make([]byte, 0, max(size, len(b))))
		last++
	}
	offset := len(d.blocks[last])
	d.blocks[last] = append(d.blocks[last], b...)
	d.where = append(d.where, uint64(last)<<32|uint64(offset))
	d.lengths = append(d.lengths, uint32(len(b)))
	d.kinds = append(d.kinds, kind)
	return uint32(len(d.where))
}

func (d *dictionary) rebuild(size int) {
	n := 64
	for n < size {
		n *= 2
	}
	if d.hashes == nil {
		d.seed = maphash.MakeSeed()
		d.hashes = make([]uint32, 0, len(d.where))
		for code := uint32(1); int(code) <= len(d.where); code++ {
			d.hashes = append(d.hashes, uint32(maphash.Bytes(d.seed, d.bytes(code)))^uint32(d.kinds[code-1])*0x9e3779b1)
		}
	}
	d.table = make([]uint32, n)
	mask := uint32(n - 1)
	for code, h := range d.hashes {
		i := h & mask
		for d.table[i] != 0 {
			i = (i + 1) & mask
		}
		d.table[i] = uint32(code) + 1
	}
}

// seal frees what only interning needs; it is made again on demand.
func (d *dictionary) seal() {
	if len(d.where) > 1<<16 {
		d.table, d.hashes = nil, nil
	}
}

// encodeMulti and decodeMulti carry a multivalue through a dictionary.
func encodeMulti(b []byte, vs []Value) []byte {
	for _, v := range vs {
		s := v.String()
		kind := entryText
		if v.kind == kindNumber {
			kind = entryNumber
		}
		b = append(b, kind)
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func decodeMulti(s string) Value {
	var vs []Value
	for len(s) > 0 {
		kind := s[0]
		n, w := uvarint(s[1:])
		s = s[1+w:]
		vs = append(vs, entryValue(kind, s[:n]))
		s = s[n:]
	}
	return Value{kind: kindMulti, list: &vs}
}

func uvarint(s string) (n uint64, width int) {
	for i := 0; i < len(s); i++ {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return n, i + 1
		}
	}
	return n, len(s)
}

func (s *Store) column(name string) *column {
	c, ok := s.columns[name]
	if !ok {
		c = &column{name: strings.Clone(name)}
		s.columns[c.name] = c
		s.names = append(s.names, c.name)
	}
	return c
}

// setValue stores a computed value of an event.
func (s *Store) setValue(id uint32, c *column, v Value) {
	c.set(id, s.internValue(c, v))
}

func (s *Store) internValue(c *column, v Value) uint32 {
	switch v.kind {
	case kindNull, kindBool:
		return 0
	case kindNumber:
		return c.dict.intern(entryNumber, []byte(v.String()))
	case kindMulti:
		s.scratch = encodeMulti(s.scratch[:0], *v.list)
		return c.dict.intern(entryMulti, s.scratch)
	}
	return c.dict.intern(entryText, []byte(v.str))
}

// delete removes events; their places in the columns stay.
func (s *Store) delete(ids []uint32) {
	for _, id := range ids {
		s.dead[id] = true
	}
	s.sorted = 0 // the orders are made anew without them
}

// order brings byTime, rank and byIndex up to date. Events of one moment: the
// later indexed first, then the later read.
func (s *Store) order() {
	if s.sorted == s.n {
		return
	}
	s.raw.flush()
	for _, c := range s.columns {
		c.dict.seal()
	}
	newerByTime := func(a, b uint32) int {
		if s.times[a] != s.times[b] {
			return descending(s.times[a], s.times[b])
		}
		if s.indexed[a] != s.indexed[b] {
			return descending(s.indexed[a], s.indexed[b])
		}
		return int(int64(b) - int64(a))
	}
	newerByIndex := func(a, b uint32) int {
		if s.indexed[a] != s.indexed[b] {
			return descending(s.indexed[a], s.indexed[b])
		}
		return newerByTime(a, b)
	}
	if s.sorted == 0 {
		s.byTime, s.byIndex = nil, nil
	}
	var fresh []uint32
	for id := s.n; id > s.sorted; id-- {
		if !s.dead[id-1] {
			fresh = append(fresh, id-1)
		}
	}
	s.byTime = mergeInto(s.byTime, fresh, newerByTime)
	s.byIndex = mergeInto(s.byIndex, fresh, newerByIndex)
	s.rank = make([]uint32, s.n)
	for i, id := range s.byTime {
		s.rank[id] = uint32(i)
	}
	s.sorted = s.n
}

func mergeInto(old, fresh []uint32, cmp func(a, b uint32) int) []uint32 {
	add := slices.Clone(fresh)
	if !slices.IsSortedFunc(add, cmp) {
		slices.SortFunc(add, cmp)
	}
	if len(old) == 0 {
		return add
	}
	out := make([]uint32, 0, len(old)+len(add))
	i, j := 0, 0
	for i < len(old) && j < len(add) {
		if cmp(old[i], add[j]) <= 0 {
			out = append(out, old[i])
			i++
		} else {
			out = append(out, add[j])
			j++
		}
	}
	return append(append(out, old[i:]...), add[j:]...)
}

func descending(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// between returns the events of a time range, newest first.
func between(ids []uint32, times []float64, r timeRange) []uint32 {
	lo := sort.Search(len(ids), func(i int) bool { return times[ids[i]] < r.latest })
	hi := sort.Search(len(ids), func(i int) bool { return times[ids[i]] < r.earliest })
	return ids[lo:max(lo, hi)]
}

// candidates returns the events that may match both ranges, newest first.
func (s *Store) candidates(r, indexRange timeRange) []uint32 {
	s.order()
	byTime := between(s.byTime, s.times, r)
	if indexRange == allTime {
		return byTime
	}
	byIndex := between(s.byIndex, s.indexed, indexRange)
	if len(byIndex)*8 > len(byTime) {
		return byTime // the index range is checked with the other predicates
	}
	ids := slices.Clone(byIndex)
	slices.SortFunc(ids, func(a, b uint32) int { return int(int64(s.rank[a]) - int64(s.rank[b])) })
	return ids
}

// rawText keeps the events as they were written, compressed, because few
// searches read them.
type rawText struct {
	blocks  [][]byte
	where   []uint32 // event to block
	offsets []uint32 // event to offset in the block
	lengths []uint32
	open    []byte // the block that is being filled
	packed  []byte // scratch
	enc     *zstd.Encoder
	dec     *zstd.Decoder
	cached  int
	cache   []byte
}

const rawBlock = 128 << 10

func (t *rawText) add(b []byte) {
	t.where = append(t.where, uint32(len(t.blocks)))
	t.offsets = append(t.offsets, uint32(len(t.open)))
	t.lengths = append(t.lengths, uint32(len(b)))
	t.open = append(t.open, b...)
	if len(t.open) >= rawBlock {
		t.flush()
	}
}

func (t *rawText) flush() {
	if len(t.open) == 0 {
		return
	}
	if t.enc == nil {
		// The options are constants that zstd accepts: no error can come.
		t.enc, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	t.packed = t.enc.EncodeAll(t.open, t.packed[:0])
	t.blocks = append(t.blocks, bytes.Clone(t.packed))
	t.open = t.open[:0]
}

func (t *rawText) get(id uint32) string {
	if t.lengths[id] == 0 {
		return ""
	}
	block := int(t.where[id])
	if t.cache == nil || t.cached != block {
		if t.dec == nil {
			t.dec, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		}
		b, err := t.dec.DecodeAll(t.blocks[block], nil)
		if err != nil {
			return "" // a block of ours that was just encoded always decodes
		}
		t.cache, t.cached = b, block
	}
	b := t.cache[t.offsets[id] : t.offsets[id]+t.lengths[id]]
	return unsafe.String(unsafe.SliceData(b), len(b)) // a block's bytes are never written again
}
