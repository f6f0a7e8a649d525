package spl

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// TestLoadPacked reads files as they come: plain, gzip, zstd, and zstd with
// skippable frames before and between its frames, as a file of the archive.
func TestLoadPacked(t *testing.T) {
	lines := []byte(`{"time":1,"event":{"a":"1"},"indextime":2}` + "\n" + `{"time":2,"event":{"a":"2"}}` + "\n")
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err := w.Write(lines)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	encoder, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	frame := encoder.EncodeAll(lines, nil)
	skip := binary.LittleEndian.AppendUint32(nil, 0x184D2A5A)
	skip = append(binary.LittleEndian.AppendUint32(skip, 3), "any"...)
	for name, c := range map[string]struct {
		file []byte
		n    int
	}{
		"plain":      {lines, 2},
		"gzip":       {gz.Bytes(), 2},
		"zstd":       {frame, 2},
		"an archive": {bytes.Join([][]byte{skip, frame, skip, frame}, nil), 4},
		"nothing":    {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := NewStore(nil).Load(bytes.NewReader(c.file))
			require.NoError(t, err)
			require.Equal(t, c.n, n)
		})
	}
}
