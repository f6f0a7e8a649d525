package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Archive is an archive that is read. A forwarder may go on writing it: what is
// read is what was there when it was opened.
type Archive struct {
	dir   string
	files []file
}

// Open opens the archive in dir for reading. It changes nothing.
func Open(dir string) (*Archive, error) {
	files, err := list(dir)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	return &Archive{dir: dir, files: files}, nil
}

// Report is what reading an archive has found.
type Report struct {
	// Events counts those that were visited, Blocks the blocks that were
	// unpacked, Skipped those that lie outside the span.
	Events, Blocks, Skipped int
	// Oldest and Newest are the first and the last indextime of all blocks.
	Oldest, Newest time.Time
	// Damaged is what could not be read, in the order of the files.
	Damaged []Damage
}

// Damage is a part of a file that could not be read.
type Damage struct {
	File          string
	Offset, Bytes int64
	// Events counts the events that it held, 0 when that is not known.
	Events int
	// Torn says that the newest file breaks off here: this is being written, or
	// the forwarder died while it was. Then it holds nothing that was committed;
	// where somebody has cut the file, the forwarder's next start tells.
	Torn bool
	Text string
}

func (d Damage) String() string {
	return fmt.Sprintf("%s: %d bytes at %d: %s", d.File, d.Bytes, d.Offset, d.Text)
}

// Read visits the events whose time is not before from and before to; a zero
// time is no bound. They come in the order in which they were archived, each in
// its envelope with indextime, without the line's end, and stay valid until the
// next one. Each event that was committed comes once; what a source tells twice
// was committed twice, under two numbers.
//
// What is damaged is passed over and reported. An error is visit's, that of ctx,
// or one of the file system.
func (a *Archive) Read(ctx context.Context, from, to time.Time, visit func(event []byte) error) (Report, error) {
	r := reader{visit: visit, from: always, to: never}
	if !from.IsZero() {
		r.from = from.UnixMilli()
	}
	if !to.IsZero() {
		// Times of events are whole milliseconds.
		r.to = to.Add(time.Millisecond - 1).UnixMilli()
	}
	var err error
	if r.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock)); err != nil {
		return Report{}, err
	}
	defer r.decoder.Close()
	for i, f := range a.files {
		if err := r.file(ctx, a.dir, f, i == len(a.files)-1); err != nil {
			return r.report, fmt.Errorf("read the archive: %w", err)
		}
	}
	return r.report, nil
}

// reader reads an archive once.
type reader struct {
	from, to int64
	visit    func([]byte) error
	decoder  *zstd.Decoder
	report   Report

	frame, lines []byte
}

func (r *reader) file(ctx context.Context, dir string, f file, newest bool) (err error) {
	in, err := os.Open(filepath.Join(dir, f.name))
	if errors.Is(err, os.ErrNotExist) {
		r.report.Damaged = append(r.report.Damaged, Damage{File: f.name, Bytes: f.size, Text: "the file was removed while the archive was read"})
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	damaged := len(r.report.Damaged)
	if err := r.blocks(ctx, in, f.size); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	for i := range r.report.Damaged[damaged:] {
		d := &r.report.Damaged[damaged+i]
		d.File, d.Torn = f.name, d.Torn && newest
	}
	return nil
}

// blocks reads the blocks of a file of this size.
func (r *reader) blocks(ctx context.Context, in io.ReaderAt, size int64) error {
	return eachBlock(in, size, func(at int64, h header, rest *bufio.Reader) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		indexed := time.UnixMilli(h.indexed).UTC()
		if r.report.Oldest.IsZero() || indexed.Before(r.report.Oldest) {
			r.report.Oldest = indexed
		}
		if indexed.After(r.report.Newest) {
			r.report.Newest = indexed
		}
		if !h.within(r.from, r.to) {
			r.report.Skipped++
			return false, nil
		}
		return true, r.block(h, rest)
	}, func(d Damage) { r.report.Damaged = append(r.report.Damaged, d) })
}

// block unpacks a block and visits its events.
func (r *reader) block(h header, rest io.Reader) error {
	if cap(r.frame) < h.size {
		r.frame = make([]byte, h.size)
	}
	r.frame = r.frame[:h.size]
	if _, err := io.ReadFull(rest, r.frame); err != nil {
		return err
	}
	if crc32.Checksum(r.frame, castagnoli) != h.sum {
		return errUnlike
	}
	var content zstd.Header
	if err := content.Decode(r.frame); err != nil || content.HasFCS && content.FrameContentSize != uint64(h.raw) {
		return errUnlike
	}
	var err error
	if r.lines, err = r.decoder.DecodeAll(r.frame, r.lines[:0]); err != nil || len(r.lines) != h.raw {
		return errUnlike
	}
	r.report.Blocks++
	for lines := r.lines; len(lines) > 0; {
		line, after, _ := bytes.Cut(lines, []byte{'\n'})
		lines = after
		if at, ok := eventTime(line); ok && (at < r.from || at >= r.to) {
			continue
		}
		r.report.Events++
		if err := r.visit(line); err != nil {
			return err
		}
	}
	return nil
}

// errUnlike says that a frame is not what its header says.
var errUnlike = errors.New("the block is not what was written")

// eachBlock visits the blocks of a file of this size. Visit says whether it has
// read the frame behind the header, as much as there should be. What is no block,
// or errUnlike to visit, is told to damage, and the next one looked for.
func eachBlock(in io.ReaderAt, size int64, visit func(at int64, h header, rest *bufio.Reader) (read bool, err error), damage func(Damage)) error {
	buffered := bufio.NewReaderSize(nil, 64<<10)
	seek := func(at int64) { buffered.Reset(io.NewSectionReader(in, at, size-at)) }
	seek(0)
	for at := int64(0); at < size; {
		begin, err := buffered.Peek(headerBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		h, wrong := decodeHeader(begin)
		end := at + int64(headerBytes+h.size)
		if wrong == nil && end > size || len(begin) < headerBytes && bytes.HasPrefix(prefix, begin[:min(len(begin), len(prefix))]) {
			wrong = errBroken
		}
		read := false
		if wrong == nil {
			_, _ = buffered.Discard(headerBytes) // it was peeked
			if read, err = visit(at, h, buffered); errors.Is(err, errUnlike) {
				wrong = err
			} else if err != nil {
				return err
			}
		}
		switch {
		case wrong != nil:
			// Inside of it: what follows may be whole.
			next, err := nextBlock(in, at+1, size)
			if err != nil {
				return err
			}
			damage(Damage{Offset: at, Bytes: next - at, Events: h.events, Torn: next == size && !errors.Is(wrong, errUnlike), Text: wrong.Error()})
			at = next
			seek(at)
		case read:
			at = end
		case h.size <= buffered.Buffered():
			_, _ = buffered.Discard(h.size) // it is in the buffer
			at = end
		default:
			at = end
			seek(at)
		}
	}
	return nil
}

// nextBlock returns where the next block begins, or size.
func nextBlock(in io.ReaderAt, from, size int64) (int64, error) {
	const step = 64 << 10
	buf := make([]byte, step+headerBytes)
	for at := from; at < size; at += step {
		n, err := in.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for offset := 0; ; offset++ {
			found := bytes.Index(buf[offset:n], prefix)
			if found < 0 {
				break
			}
			offset += found
			if _, err := decodeHeader(buf[offset:n]); err == nil {
				return at + int64(offset), nil
			}
		}
	}
	return size, nil
}
