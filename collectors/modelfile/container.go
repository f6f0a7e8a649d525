package modelfile

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// decompress opens a stream of a compressed form.
func decompress(f Format, r io.Reader) (io.Reader, error) {
	switch f {
	case "gzip":
		return gzip.NewReader(r)
	case "zlib":
		return zlib.NewReader(r)
	case "deflate":
		return flate.NewReader(r), nil
	case "bzip2":
		return bzip2.NewReader(r), nil
	case "zstd":
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(16<<20), zstd.WithDecoderLowmem(true))
	default:
		return nil, fmt.Errorf("no decompressor for %s", f)
	}
}

// unpacked is src behind a decompressor.
func (s *scanner) unpacked(src source, f Format) source {
	packed := src.open
	src.at, src.size = nil, -1
	src.open = func() (io.Reader, error) {
		stream, err := packed()
		if err != nil {
			return nil, err
		}
		in := &counter{r: stream}
		out, err := decompress(f, bufio.NewReader(in))
		if err != nil {
			return nil, err
		}
		return &meter{s: s, r: &expansion{s: s, where: src.where, in: in, r: out}}, nil
	}
	return src
}

// counter counts the bytes read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// expansion ends a stream that grows too much.
type expansion struct {
	s     *scanner
	where string
	in    *counter
	r     io.Reader
	out   int64
}

const freeExpansion = 64 << 20 // bytes that any stream may grow to

func (e *expansion) Read(p []byte) (int, error) {
	if e.out > freeExpansion && e.out/max(e.in.n, 1) > e.s.lim.Ratio {
		e.s.find(Finding{Code: OverLimit, Where: e.where, Offset: e.out, Detail: "decompression ratio"})
		return 0, errLimit
	}
	n, err := e.r.Read(p)
	e.out += int64(n)
	return n, err
}

// compressed looks into a compressed stream, as joblib and others write it. r
// has the first bytes of it.
func (s *scanner) compressed(src source, r *bufio.Reader, f Format) bool {
	if !src.pickled() && f == "zlib" {
		// Two bytes are a weak sign: text may begin so.
		b, _ := r.Peek(window)
		probe, err := decompress(f, bytes.NewReader(b))
		if err == nil {
			_, err = io.CopyN(io.Discard, probe, window)
		}
		if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false
		}
	}
	inner := s.unpacked(src, f)
	inner.depth++
	return s.scan(inner)
}

// tar looks at the files of a tar archive.
func (s *scanner) tar(src source) bool {
	stream, err := src.open()
	if err != nil {
		s.find(Finding{Code: s.reason(err), Where: src.where, Detail: err.Error()})
		return true
	}
	known := false
	tr := tar.NewReader(stream)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return known
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			s.find(Finding{Code: s.reason(err), Where: src.where, Detail: "tar"})
			return true
		}
		if s.entries--; s.entries < 0 {
			s.find(Finding{Code: OverLimit, Where: src.where, Detail: "entries"})
			return true
		}
		where := within(src.where, h.Name)
		if !safeName(h.Name) {
			s.find(Finding{Code: UnsafeName, Where: where})
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if s.scan(source{
			where: where, depth: src.depth + 1, class: Classify(h.Name), size: h.Size,
			open: func() (io.Reader, error) { return tr, nil },
		}) {
			known = true
		}
	}
}

// within names an entry of a container.
func within(where, entry string) string {
	const longest = 512
	if len(entry) > longest {
		entry = entry[:longest]
	}
	if where == "" {
		return entry
	}
	return where + "!" + entry
}

// safeName reports whether an entry stays within the folder it is unpacked to
// and has the same name for everyone who reads it.
func safeName(name string) bool {
	if name == "" || name[0] == '/' || strings.ContainsAny(name, "\\\x00") || len(name) > 1 && name[1] == ':' {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
}

// keras looks for layers of a Keras model that hold code. Their names stand as
// JSON in the file, also in HDF5.
func (s *scanner) keras(src source, r *bufio.Reader) {
	s.search(src, r, `"class_name": "Lambda"`, `"class_name":"Lambda"`, `"__lambda__"`, `"class_name": "function"`)
}

// search reports each of words that src holds as code that it carries.
func (s *scanner) search(src source, r *bufio.Reader, words ...string) {
	longest := 0
	for _, word := range words {
		longest = max(longest, len(word))
	}
	seen := make(map[string]bool)
	var offset int64
	for {
		b, err := r.Peek(window)
		for _, word := range words {
			if i := bytes.Index(b, []byte(word)); i >= 0 && !seen[word] {
				seen[word] = true
				s.find(Finding{Code: CarriesCode, Where: src.where, Offset: offset + int64(i), Detail: word})
			}
		}
		if err != nil {
			if err != io.EOF {
				s.find(Finding{Code: s.reason(err), Where: src.where, Offset: offset, Detail: "the rest can't be read"})
			}
			return
		}
		n, err := r.Discard(len(b) - longest)
		if err != nil {
			return
		}
		offset += int64(n)
	}
}
