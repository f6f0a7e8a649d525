package forwarder

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// packer compresses bodies. Its writers are kept, for each holds about a
// megabyte of tables.
type packer struct {
	level   int
	writers sync.Pool
}

func newPacker(level int) (*packer, error) {
	if _, err := gzip.NewWriterLevel(io.Discard, level); err != nil {
		return nil, fmt.Errorf("compress with level %d: %w", level, err)
	}
	return &packer{level: level}, nil
}

// pack returns raw as gzip, in buf's memory where it fits.
func (p *packer) pack(buf, raw []byte) []byte {
	out := bytes.NewBuffer(buf[:0])
	w, _ := p.writers.Get().(*gzip.Writer)
	if w == nil {
		w, _ = gzip.NewWriterLevel(out, p.level) // the level was tried
	} else {
		w.Reset(out)
	}
	defer p.writers.Put(w)
	_, _ = w.Write(raw) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// unpack returns what pack was given, of which size is known.
func unpack(data []byte, size int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpack a body: %w", err)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("unpack a body of %d bytes: %w", size, err)
	}
	return raw, nil
}
