package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
)

// A block's header is the payload of a skippable zstd frame, little-endian as
// all of zstd:
//
//	 0  tag       8 bytes, with the version
//	 8  size      of the zstd frame behind the header
//	12  raw       bytes of its lines
//	16  events    its lines
//	20  sum       CRC-32C of the frame
//	24  first     earliest and latest time of its events, epoch milliseconds
//	32  last
//	40  indexed   their indextime
//	48  day       the position behind which its transaction was written
//	52  length
//	60  CRC-32C of all this
const (
	skippable   = 0x184D2A5A
	tag         = "aiwatch1"
	headerBytes = 8 + 64 // with the skippable frame's own
	headerSumAt = headerBytes - 4
	baseAt      = 8 + 48
)

// maxBlock bounds a block that is read, packed and unpacked. A few bodies go into
// one that is written, each of 64 MiB at most.
const maxBlock = 256 << 20

// prefix is how each header begins.
var prefix = func() []byte {
	b := binary.LittleEndian.AppendUint32(nil, skippable)
	b = binary.LittleEndian.AppendUint32(b, headerBytes-8)
	return append(b, tag...)
}()

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// position is a place in the archive: a length of the file of a day. Days are
// counted from 1970; the zero position is before everything.
type position struct {
	day    int32
	length int64
}

// header says what a block holds.
type header struct {
	size, raw, events int
	sum               uint32
	first, last       int64
	indexed           int64
	base              position
}

func (h *header) append(b []byte) []byte {
	start := len(b)
	b = append(b, prefix...)
	for _, n := range []int{h.size, h.raw, h.events} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	b = binary.LittleEndian.AppendUint32(b, h.sum)
	for _, t := range []int64{h.first, h.last, h.indexed} {
		b = binary.LittleEndian.AppendUint64(b, uint64(t))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(h.base.day))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.base.length))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// place writes into a block behind which position it is appended.
func place(block []byte, base position) {
	binary.LittleEndian.PutUint32(block[baseAt:], uint32(base.day))
	binary.LittleEndian.PutUint64(block[baseAt+4:], uint64(base.length))
	binary.LittleEndian.PutUint32(block[headerSumAt:], crc32.Checksum(block[:headerSumAt], castagnoli))
}

var (
	errNoHeader = errors.New("no block begins here")
	errBroken   = errors.New("the block breaks off")
)

func decodeHeader(b []byte) (header, error) {
	if len(b) < headerBytes || !bytes.HasPrefix(b, prefix) ||
		binary.LittleEndian.Uint32(b[headerSumAt:]) != crc32.Checksum(b[:headerSumAt], castagnoli) {
		return header{}, errNoHeader
	}
	number := func(at int) int { return int(binary.LittleEndian.Uint32(b[8+at:])) }
	long := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[8+at:])) }
	h := header{
		size: number(8), raw: number(12), events: number(16), sum: uint32(number(20)),
		first: long(24), last: long(32), indexed: long(40),
		base: position{int32(number(48)), long(52)},
	}
	if h.size > maxBlock || h.raw > maxBlock || h.events > h.raw {
		return header{}, errNoHeader
	}
	return h, nil
}

// within says whether the block may hold events from and before these times.
func (h *header) within(from, to int64) bool { return h.last >= from && h.first < to }

const (
	always = math.MinInt64 // before all times
	never  = math.MaxInt64 // after all times
)

// timeKey is how an envelope begins.
const timeKey = `{"time":`

// eventTime returns the time of an event in its envelope, in milliseconds. What
// is no envelope of aiwatch's has none.
func eventTime(line []byte) (ms int64, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(timeKey))
	if !ok {
		return 0, false
	}
	negative := len(rest) > 0 && rest[0] == '-'
	if negative {
		rest = rest[1:]
	}
	digits, decimals := 0, -1
	for _, c := range rest {
		switch {
		case c >= '0' && c <= '9':
			if digits++; digits > 15 || decimals == 3 {
				return 0, false
			}
			ms = ms*10 + int64(c-'0')
			if decimals >= 0 {
				decimals++
			}
			continue
		case c == '.' && decimals < 0 && digits > 0:
			decimals = 0
			continue
		case c != ',' || digits == 0:
			return 0, false
		}
		break
	}
	for range 3 - max(0, decimals) {
		ms *= 10
	}
	if negative {
		ms = -ms
	}
	return ms, digits > 0
}
