package spl

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestColumnAgainstPlainSlice: whatever codes come in whatever order, a column
// gives back what was put, however narrow it keeps them.
func TestColumnAgainstPlainSlice(t *testing.T) {
	for seed := range uint64(3 * rounds(t)) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		const events = chunkSize + 500
		want := make([]uint32, events)
		var c column
		top := []uint32{3, 200, 300, 60_000, 70_000, 10_000_000}[rnd.IntN(6)]
		rising := uint32(0)
		for range 2000 {
			id := rnd.Uint32N(events)
			code := rnd.Uint32N(top + 1)
			switch rnd.IntN(3) {
			case 0: // as a field of unique values has them
				rising += rnd.Uint32N(3)
				code = rising
			case 1: // falling, from far above
				code = top + 5000 - min(rising, 4000)
			}
			c.set(id, code)
			want[id] = code
		}
		for id := range uint32(events) {
			require.Equal(t, want[id], c.code(id), "seed %d, event %d", seed, id)
		}
	}
}

// TestDictionaryKeepsValues: every value has one code, before and after the
// dictionary is sealed, also those that are larger than a block.
func TestDictionaryKeepsValues(t *testing.T) {
	var d dictionary
	long := strings.Repeat("x", 3<<blockBits)
	values := []string{"", "a", long, long + "y", strings.Repeat("z", 31), strings.Repeat("z", 32)}
	for i := range 6000 {
		values = append(values, strings.Repeat("v", i%50)+string(rune('A'+i%26))+strings.Repeat("w", i/50))
	}
	codes := map[string]uint32{}
	check := func(fresh bool) {
		for _, v := range values {
			for _, kind := range []uint8{entryText, entryNumber} {
				code, isNew := d.intern(kind, []byte(v))
				key := string(rune(kind)) + v
				if known, ok := codes[key]; ok {
					require.Equal(t, known, code)
					require.False(t, isNew)
				} else {
					require.True(t, fresh && isNew)
					codes[key] = code
				}
				k, b := d.entry(code)
				require.Equal(t, kind, k)
				require.Equal(t, v, string(b))
			}
		}
	}
	check(true)
	d.seal()
	require.Nil(t, d.table)
	check(false)
	require.Equal(t, len(codes), d.len())
}
