package spl

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zstd"
)

// Store holds events for many searches: each field is a column of codes into
// that field's dictionary, so that a predicate is evaluated once for a value
// and not once for an event. Events are in time order twice over, by event time
// and by index time. Searches may read it side by side, but not while somebody
// adds or deletes.
type Store struct {
	columns map[string]*column
	names   []string // of the columns, in their order
	n       uint32
	dead    map[uint32]bool // deleted events

	deletions int // how often some were deleted

	times   []float64
	indexed []float64
	raw     rawText
	rawKind []bool // whether _raw is a field of the row, or only the line it was read from

	ordering sync.Mutex // searches bring the orders up to date
	byTime   []uint32   // events, oldest first
	byIndex  []uint32   // events, by index time, oldest first
	sorted   uint32     // how many events the two above hold

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
	chunks []chunk
	hidden bool // not part of the event, only asked for by name
}

// chunk holds the codes of chunkSize events, less a base, as narrow as they
// are; 0 is null. All are nil where no event of the chunk has the field.
type chunk struct {
	base   uint32
	narrow []uint8
	middle []uint16
	wide   []uint32
}

func (ch *chunk) code(i uint32) uint32 {
	v := uint32(0)
	switch {
	case ch.narrow != nil:
		v = uint32(ch.narrow[i])
	case ch.middle != nil:
		v = uint32(ch.middle[i])
	case ch.wide != nil:
		v = ch.wide[i]
	}
	if v == 0 {
		return 0
	}
	return v + ch.base
}

// put stores a code that lies over the base, if the width allows it.
func (ch *chunk) put(i, code uint32) bool {
	v := code - ch.base
	switch {
	case code != 0 && code <= ch.base:
		return false
	case code == 0:
		v = 0
	}
	switch {
	case ch.narrow != nil && v <= math.MaxUint8:
		ch.narrow[i] = uint8(v)
	case ch.middle != nil && v <= math.MaxUint16:
		ch.middle[i] = uint16(v)
	case ch.wide != nil:
		ch.wide[i] = v
	default:
		return false
	}
	return true
}

// refit makes the chunk hold one more code: with a lower base, or wider.
func (ch *chunk) refit(code uint32) {
	old, lo, hi := *ch, code, code
	for i := range uint32(chunkSize) {
		if c := old.code(i); c != 0 {
			lo, hi = min(lo, c), max(hi, c)
		}
	}
	*ch = chunk{}
	switch {
	case hi <= math.MaxUint8:
		ch.narrow = make([]uint8, chunkSize)
	case hi-lo < math.MaxUint8/2 && old.wide == nil && old.middle == nil:
		ch.base, ch.narrow = lo-1, make([]uint8, chunkSize)
	case hi <= math.MaxUint16:
		ch.middle = make([]uint16, chunkSize)
	case hi-lo < math.MaxUint16-chunkSize:
		// Room below, so that falling codes do not refit the chunk each time.
		ch.base, ch.middle = lo-1-min(lo-1, chunkSize), make([]uint16, chunkSize)
	default:
		ch.wide = make([]uint32, chunkSize)
	}
	for i := range uint32(chunkSize) {
		ch.put(i, old.code(i))
	}
}

func (c *column) code(id uint32) uint32 {
	if i := int(id / chunkSize); i < len(c.chunks) {
		return c.chunks[i].code(id % chunkSize)
	}
	return 0
}

func (c *column) set(id, code uint32) {
	i := int(id / chunkSize)
	if i >= len(c.chunks) {
		if code == 0 {
			return
		}
		c.chunks = append(c.chunks, make([]chunk, i+1-len(c.chunks))...)
	}
	ch := &c.chunks[i]
	if !ch.put(id%chunkSize, code) && code != 0 {
		ch.refit(code)
		ch.put(id%chunkSize, code)
	}
}

func (c *column) value(id uint32) Value {
	code := c.code(id)
	if code == 0 {
		return null
	}
	return c.dict.value(code)
}

// dictionary gives every distinct value of a column a code from 1. The bytes
// of all values lie one after the other, each behind its kind and length; a
// text is handed out without copying.
type dictionary struct {
	blocks [][]byte // values never move once written
	where  []uint32 // code-1 to block<<blockBits | offset
	table  []uint32 // open addressing over codes; nil when sealed
	seed   maphash.Seed
	hashes []uint32 // of each code, while the table stands
}

const (
	blockBits = 18 // of a value's place in its block
	maxBlocks = 1 << (32 - blockBits)
)

const (
	entryText uint8 = iota
	entryNumber
	entryMulti // the bytes are the encoded values
)

func (d *dictionary) entry(code uint32) (kind uint8, b []byte) {
	w := d.where[code-1]
	b = d.blocks[w>>blockBits][w&(1<<blockBits-1):]
	head, n := uint64(b[0]), 1
	if head >= 0x80 {
		head, n = binary.Uvarint(b)
	}
	return uint8(head & 3), b[n : n+int(head>>2)]
}

func (d *dictionary) len() int { return len(d.where) }

func (d *dictionary) value(code uint32) Value {
	kind, b := d.entry(code)
	return entryValue(kind, unsafe.String(unsafe.SliceData(b), len(b))) // the bytes are never written again
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

func (d *dictionary) hash(kind uint8, b []byte) uint32 {
	return uint32(maphash.Bytes(d.seed, b)) ^ uint32(kind)*0x9e3779b1
}

// intern returns the code of a value, and whether it is a new one; 0 where the
// dictionary is full.
func (d *dictionary) intern(kind uint8, b []byte) (code uint32, isNew bool) {
	if d.table == nil {
		d.rebuild(max(64, len(d.where)*2))
	}
	h := d.hash(kind, b)
	mask := uint32(len(d.table) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		code := d.table[i]
		if code == 0 {
			if code = d.add(kind, b); code == 0 {
				return 0, false
			}
			d.hashes = append(d.hashes, h)
			d.table[i] = code
			if len(d.where)*4 > len(d.table)*3 {
				d.rebuild(len(d.table) * 2)
			}
			return code, true
		}
		if d.hashes[code-1] == h {
			if k, have := d.entry(code); k == kind && string(have) == string(b) {
				return code, false
			}
		}
	}
}

func (d *dictionary) add(kind uint8, b []byte) uint32 {
	var head [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(len(b))<<2|uint64(kind))
	last := len(d.blocks) - 1
	if last < 0 || len(d.blocks[last])+n+len(b) > cap(d.blocks[last]) {
		if len(d.blocks) == maxBlocks {
			return 0
		}
		size := 1 << 12
		if len(d.where) > 256 {
			size = 1 << blockBits
		}
		d.blocks = append(d.blocks, make([]byte, 0, max(size, n+len(b))))
		last++
	}
	offset := len(d.blocks[last])
	d.blocks[last] = append(append(d.blocks[last], head[:n]...), b...)
	d.where = append(d.where, uint32(last)<<blockBits|uint32(offset))
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
			d.hashes = append(d.hashes, d.hash(d.entry(code)))
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
	if len(d.where) > 1<<12 {
		d.table, d.hashes = nil, nil
		d.where = slices.Clip(slices.Clone(d.where))
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
		at, _ := slices.BinarySearch(s.names, c.name)
		s.names = slices.Insert(s.names, at, c.name)
	}
	return c
}

// setValue stores a computed value of an event.
func (s *Store) setValue(id uint32, c *column, v Value) {
	c.set(id, s.internValue(c, v))
}

func (s *Store) internValue(c *column, v Value) uint32 {
	kind, b := entryText, s.scratch[:0]
	switch v.kind {
	case kindNull, kindBool:
		return 0
	case kindNumber:
		kind = entryNumber
		b = append(b, v.String()...)
	case kindMulti:
		kind = entryMulti
		b = encodeMulti(b, *v.list)
	default:
		b = append(b, v.str...)
	}
	s.scratch = b
	code, _ := c.dict.intern(kind, b)
	return code
}

// delete removes events; their places in the columns stay.
func (s *Store) delete(ids []uint32) {
	for _, id := range ids {
		s.dead[id] = true
	}
	s.deletions++
	s.sorted = 0 // the orders are made anew without them
}

// order brings byTime and byIndex up to date. Of events of one moment the later
// indexed is newer, then the later read. New events cost as much as lies
// behind the oldest of them.
func (s *Store) order() {
	s.ordering.Lock()
	defer s.ordering.Unlock()
	if s.sorted == s.n {
		return
	}
	if s.sorted == 0 {
		s.byTime, s.byIndex = nil, nil
	}
	fresh := make([]uint32, 0, s.n-s.sorted)
	for id := s.sorted; id < s.n; id++ {
		if !s.dead[id] {
			fresh = append(fresh, id)
		}
	}
	s.byTime = mergeInto(s.byTime, fresh, s.olderByTime)
	s.byIndex = mergeInto(s.byIndex, fresh, func(a, b uint32) int {
		if s.indexed[a] != s.indexed[b] {
			return ascending(s.indexed[a], s.indexed[b])
		}
		return s.olderByTime(a, b)
	})
	s.sorted = s.n
}

func (s *Store) olderByTime(a, b uint32) int {
	if s.times[a] != s.times[b] {
		return ascending(s.times[a], s.times[b])
	}
	if s.indexed[a] != s.indexed[b] {
		return ascending(s.indexed[a], s.indexed[b])
	}
	return int(int64(a) - int64(b))
}

// mergeInto puts fresh ids into sorted ones. What was handed out of old stays
// as it is: a search may be reading it.
func mergeInto(old, fresh []uint32, cmp func(a, b uint32) int) []uint32 {
	if len(fresh) == 0 {
		return old
	}
	add := slices.Clone(fresh)
	if !slices.IsSortedFunc(add, cmp) {
		slices.SortFunc(add, cmp)
	}
	i, _ := slices.BinarySearchFunc(old, add[0], cmp)
	if i == len(old) {
		return append(old, add...)
	}
	out := append(make([]uint32, 0, len(old)+len(add)), old[:i]...)
	j := 0
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

func ascending(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// between returns the events of a time range, oldest first.
func between(ids []uint32, times []float64, r timeRange) []uint32 {
	lo := sort.Search(len(ids), func(i int) bool { return times[ids[i]] >= r.earliest })
	hi := sort.Search(len(ids), func(i int) bool { return times[ids[i]] >= r.latest })
	return ids[lo:max(lo, hi)]
}

// candidates returns the events that may match both ranges, oldest first.
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
	slices.SortFunc(ids, s.olderByTime)
	return ids
}

// rawText keeps the events as they were written, compressed in blocks, because
// few searches read them.
type rawText struct {
	blocks [][]byte
	firsts []uint32 // the first event of each block, of the open one too
	ends   []uint32 // event to the end of its text in its block
	open   []byte   // the block that is being filled
	packed []byte   // scratch
	enc    *zstd.Encoder

	reading sync.Mutex // of what follows
	dec     *zstd.Decoder
	cached  int
	cache   []byte
}

const rawBlock = 128 << 10

func (t *rawText) add(b []byte) {
	if len(t.firsts) == len(t.blocks) {
		t.firsts = append(t.firsts, uint32(len(t.ends)))
	}
	t.open = append(t.open, b...)
	t.ends = append(t.ends, uint32(len(t.open)))
	if len(t.open) >= rawBlock {
		t.flush()
	}
}

func (t *rawText) flush() {
	if t.enc == nil {
		// The options are constants that zstd accepts: no error can come.
		t.enc, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	t.packed = t.enc.EncodeAll(t.open, t.packed[:0])
	t.blocks = append(t.blocks, bytes.Clone(t.packed))
	t.open = t.open[:0]
}

func (t *rawText) get(id uint32) string {
	block := sort.Search(len(t.firsts), func(i int) bool { return t.firsts[i] > id }) - 1
	start := uint32(0)
	if id != t.firsts[block] {
		start = t.ends[id-1]
	}
	if block == len(t.blocks) {
		return string(t.open[start:t.ends[id]])
	}
	t.reading.Lock()
	defer t.reading.Unlock()
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
	b := t.cache[start:t.ends[id]]
	return unsafe.String(unsafe.SliceData(b), len(b)) // a decoded block is never written again
}
