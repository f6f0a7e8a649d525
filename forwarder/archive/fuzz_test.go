package archive

import (
	"bytes"
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// FuzzRead reads whatever stands in a file. It ends, each byte belongs to a block
// or is told as damaged, and a whole block behind it is read.
func FuzzRead(f *testing.F) {
	p, err := newPacker()
	require.NoError(f, err)
	raw := []byte(`{"time":1764244800,"event":{}}{"time":1764244801.5,"event":{"a":"` + "\u2028" + `"}}`)
	first := p.pack(nil, raw, []int{30, len(raw)}, time.Unix(1764244900, 0))
	last := p.pack(nil, raw, []int{30, len(raw)}, time.Unix(1764244900, 0))
	place(last, position{20000, 77})
	for _, text := range [][]byte{nil, first, first[:len(first)-5], first[:headerBytes], first[:9], append([]byte("no block"), first...), append(bytes.Clone(first), last...)} {
		f.Add(text, int64(1764244800_000), int64(1764244801_000))
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<20))
	require.NoError(f, err)
	f.Cleanup(decoder.Close)
	f.Fuzz(func(t *testing.T, text []byte, from, to int64) {
		text = append(bytes.Clone(text), last...)
		read := func(from, to int64) (visited int, told int64) {
			r := reader{from: from, to: to, decoder: decoder, visit: func([]byte) error { visited++; return nil }}
			require.NoError(t, r.blocks(context.Background(), bytes.NewReader(text), int64(len(text))))
			require.Equal(t, visited, r.report.Events)
			for _, d := range r.report.Damaged {
				require.GreaterOrEqual(t, d.Offset, told)
				require.Positive(t, d.Bytes)
				told = d.Offset + d.Bytes
			}
			require.LessOrEqual(t, told, int64(len(text)))
			return visited, told
		}
		all, told := read(always, never)
		require.GreaterOrEqual(t, all, 2)
		require.LessOrEqual(t, told, int64(len(text)-len(last)), "the last block is not damaged")
		some, _ := read(from, to)
		require.LessOrEqual(t, some, all)
	})
}

// FuzzEventTime finds a time in any line, or none, and the time that it finds is
// the one that stands there.
func FuzzEventTime(f *testing.F) {
	for _, text := range []string{"0", "1764244800.123", "-1.5", "1e9", `"x"`, "", "-", ".5", "1.", "99999999999999999999", "1764244800.1234"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ms, ok := eventTime([]byte(timeKey + text + ","))
		if !ok {
			return
		}
		seconds, err := strconv.ParseFloat(text[:len(text)-len(trimNumber(text))], 64)
		require.NoError(t, err)
		require.InDelta(t, seconds*1000, float64(ms), 0.5)
	})
}

// trimNumber returns what stands behind the number at the front.
func trimNumber(text string) string {
	for i, c := range text {
		if c == ',' {
			return text[i:]
		}
	}
	return ""
}
