package archive

import (
	"hash/crc32"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// packer makes blocks.
type packer struct {
	encoder *zstd.Encoder
	lines   sync.Pool // of *[]byte
}

func newPacker() (*packer, error) {
	// One at a time and a small window: memory matters more than how fast several
	// inputs are archived at once.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	return &packer{encoder: encoder}, nil
}

// pack appends a block to buf, which it may grow: the envelopes that end at these
// places of raw, each on a line and with its indextime.
func (p *packer) pack(buf, raw []byte, ends []int, indexed time.Time) []byte {
	kept, _ := p.lines.Get().(*[]byte)
	if kept == nil {
		kept = new([]byte)
	}
	tail := strconv.AppendFloat([]byte(`,"indextime":`), float64(indexed.UnixMilli())/1000, 'f', -1, 64)
	tail = append(tail, "}\n"...)
	h := header{events: len(ends), first: never, last: always, indexed: indexed.UnixMilli()}
	lines := slices.Grow((*kept)[:0], len(raw)+len(ends)*(len(tail)-1))
	begin := 0
	for _, end := range ends {
		at, ok := eventTime(raw[begin:end])
		if ok {
			h.first, h.last = min(h.first, at), max(h.last, at)
		} else {
			h.first, h.last = always, never
		}
		lines = append(append(lines, raw[begin:end-1]...), tail...)
		begin = end
	}
	start := len(buf)
	buf = append(buf, make([]byte, headerBytes)...)
	buf = p.encoder.EncodeAll(lines, buf)
	frame := buf[start+headerBytes:]
	h.size, h.raw, h.sum = len(frame), len(lines), crc32.Checksum(frame, castagnoli)
	h.append(buf[:start])
	*kept = lines
	p.lines.Put(kept)
	return buf
}
