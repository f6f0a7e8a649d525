package s3access

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// local reads a file, the files below a folder, or those that a glob names.
//
// A file is known by device and inode, and by a fingerprint of its beginning:
// so a log that is renamed and begun anew, or copied and truncated, is read on
// where it was left and the new one from its beginning.
type local struct{ c *Collector }

// settled is how long a file without a final newline must be left alone until
// its last line counts as whole.
const settled = 5 * time.Minute

// forgotten is after how long the position in a file that is gone is dropped.
const forgotten = 14 * 24 * time.Hour

// fingerprinted is how many bytes at most a fingerprint covers.
const fingerprinted = 1024

// statePosition is the prefix of a file's position; device and inode follow.
const statePosition = "file/"

// A position is how far a file was read.
type position struct {
	offset, line int64
	size, mtime  int64 // of the file when it was read last
	seen         int64 // day on which the file was last there
	headLen      int64 // bytes that head covers
	head         [12]byte
	flags        byte
	format       byte
}

const (
	packedFlag = 1 << iota // gzip
	doneFlag               // read to its end at this size
	waitFlag               // read to its last, incomplete line at this size
)

var formatCodes = []Format{Auto, ServerAccess, Cloudtrail, Versitygw}

func (p *position) encode() []byte {
	b := make([]byte, 0, 64)
	for _, n := range []int64{p.offset, p.line, p.size, p.mtime, p.seen, p.headLen} {
		b = binary.AppendVarint(b, n)
	}
	b = append(b, p.flags, p.format)
	return append(b, p.head[:]...)
}

func decodePosition(b []byte) (p position, ok bool) {
	for _, n := range []*int64{&p.offset, &p.line, &p.size, &p.mtime, &p.seen, &p.headLen} {
		v, used := binary.Varint(b)
		if used <= 0 {
			return p, false
		}
		*n, b = v, b[used:]
	}
	if len(b) != 2+len(p.head) || int(b[1]) >= len(formatCodes) {
		return p, false
	}
	p.flags, p.format = b[0], b[1]
	copy(p.head[:], b[2:])
	return p, true
}

// A logFile is one file of this poll.
type logFile struct {
	path string
	info fs.FileInfo
	id   string // device and inode
}

func (l *local) poll(ctx context.Context, out collectors.Output) error {
	files, err := l.files()
	if err != nil {
		return err
	}
	positions := map[string]position{}
	if err := out.Range(statePosition, func(key string, value []byte) error {
		if p, ok := decodePosition(value); ok {
			positions[key[len(statePosition):]] = p
		}
		return nil
	}); err != nil {
		return err
	}
	files = l.withRotated(files, positions)

	var errs []error
	var total int64
	for _, f := range files {
		if p, ok := positions[f.id]; !ok || p.size != f.info.Size() {
			total += f.info.Size()
		}
	}
	l.c.counts.total(total)
	orphans := maps.Clone(positions)
	for _, f := range files {
		if p, ok := orphans[f.id]; ok && l.same(f, p) {
			delete(orphans, f.id)
		}
	}
	now := l.c.cfg.Now()
	present := map[string]bool{}
	for _, f := range files {
		present[f.id] = true
	}
	for _, f := range files {
		p, known := positions[f.id]
		if _, replaced := orphans[f.id]; replaced {
			p, known = position{}, false
		}
		if !known {
			p = l.adopt(f, orphans, present, out)
		}
		if err := l.file(ctx, out, f, p, known, now); err != nil {
			if ctx.Err() != nil {
				return err
			}
			errs = append(errs, err)
		}
	}
	for _, id := range sortedKeys(orphans) {
		if now.Sub(time.Unix(orphans[id].seen*86400, 0)) > forgotten && !present[id] {
			out.Delete(statePosition + id)
		}
	}
	if err := l.c.commit(out, nil); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// same reports whether f is the file in which p is a position: not shorter, and
// with the same beginning.
func (l *local) same(f logFile, p position) bool {
	if f.info.Size() == p.size && f.info.ModTime().UnixNano() == p.mtime {
		return true
	}
	if f.info.Size() < p.headLen || p.flags&packedFlag == 0 && f.info.Size() < p.offset {
		return false
	}
	head, err := fingerprint(f.path, p.headLen)
	return err == nil && head == p.head
}

// adopt finds the position of a file that is new here but was read under
// another inode: a copy that a rotation made.
func (l *local) adopt(f logFile, orphans map[string]position, present map[string]bool, out collectors.Output) position {
	for _, id := range sortedKeys(orphans) {
		p := orphans[id]
		if p.headLen < 64 || p.flags&packedFlag != 0 || f.info.Size() < p.offset {
			continue
		}
		if head, err := fingerprint(f.path, p.headLen); err != nil || head != p.head {
			continue
		}
		delete(orphans, id)
		if !present[id] {
			out.Delete(statePosition + id)
		}
		p.size = -1
		return p
	}
	return position{}
}

// file reads one file on from its position.
func (l *local) file(ctx context.Context, out collectors.Output, f logFile, p position, known bool, now time.Time) error {
	today := now.Unix() / 86400
	size, mtime := f.info.Size(), f.info.ModTime().UnixNano()
	idle := now.Sub(f.info.ModTime()) > settled
	unchanged := known && p.size == size && p.mtime == mtime
	if unchanged && (p.flags&doneFlag != 0 || p.flags&waitFlag != 0 && !idle) {
		if p.seen != today {
			p.seen = today
			out.Put(statePosition+f.id, p.encode())
		}
		return nil
	}
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // renamed meanwhile; the next poll finds it
	}
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = file.Close() }()

	d := &document{
		ref:    "file:" + f.path,
		seen:   now.UnixMilli(),
		format: formatCodes[p.format],
		offset: p.offset, line: p.line,
		packed: p.flags&packedFlag != 0,
		whole:  !l.c.cfg.Follow || idle,
	}
	if d.format == Auto {
		d.format = l.c.cfg.Format
	}
	p.seen, p.size, p.mtime = today, size, mtime
	p.flags &^= doneFlag | waitFlag
	if p.headLen < fingerprinted && p.headLen < size {
		p.headLen = min(size, fingerprinted)
		if p.head, err = fingerprint(f.path, p.headLen); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	d.save = func(d *document) {
		p.offset, p.line = d.offset, d.line
		p.format = byte(slices.Index(formatCodes, d.format))
		if d.packed {
			p.flags |= packedFlag
		}
		out.Put(statePosition+f.id, p.encode())
	}
	if !d.fromStart() {
		if _, err := file.Seek(d.offset, io.SeekStart); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	// What is appended while we read is the next poll's: a log that grows faster
	// than it is read would never end.
	body := io.Reader(file)
	if !d.fromStart() {
		body = io.LimitReader(file, size-d.offset)
	}
	err = l.c.read(ctx, out, d, body)
	if ctx.Err() != nil {
		return err
	}
	var broken errDamaged
	switch {
	case errors.As(err, &broken), errors.Is(err, errIncomplete) && d.whole:
		// Damaged for good, or left incomplete by whoever wrote it.
		p.flags |= doneFlag
		why := err.Error()
		if broken.why != "" {
			why = broken.why
		}
		if err := l.c.tr.emitDamage(out, damage{why: why, ref: d.at(), seen: d.seen}); err != nil {
			return err
		}
	case errors.Is(err, errIncomplete):
		p.flags |= waitFlag
	case err != nil:
		return fmt.Errorf("read log %s: %w", f.path, err)
	default:
		p.flags |= doneFlag
	}
	d.save(d)
	if l.c.sinceCheckpoint() {
		return l.c.commit(out, d)
	}
	return nil
}

// fingerprint digests the first n bytes of a file.
func fingerprint(path string, n int64) (head [12]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return head, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.CopyN(h, f, n); err != nil && err != io.EOF {
		return head, err
	}
	copy(head[:], h.Sum(nil))
	return head, nil
}

// files lists what the path names, in the order of the names. Names that begin
// with a dot are left alone: they are not finished, or not logs.
func (l *local) files() ([]logFile, error) {
	roots := []string{l.c.cfg.Path}
	if _, err := os.Lstat(l.c.cfg.Path); err != nil && strings.ContainsAny(l.c.cfg.Path, "*?[") {
		if roots, err = filepath.Glob(l.c.cfg.Path); err != nil {
			return nil, fmt.Errorf("path = %s: %w", l.c.cfg.Path, err)
		}
	}
	var files []logFile
	for _, root := range roots {
		info, err := os.Stat(root)
		if err != nil {
			if len(roots) > 1 && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, fmt.Errorf("read logs: %w", err)
		}
		if !info.IsDir() {
			files = append(files, logFile{root, info, fileID(root, info)})
			continue
		}
		err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case path != root && strings.HasPrefix(entry.Name(), "."):
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			case !entry.Type().IsRegular():
				return nil
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			files = append(files, logFile{path, info, fileID(path, info)})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read logs: %w", err)
		}
	}
	return files, nil
}

// withRotated adds files beside a log that were read before, under the name
// that the path tells: what was written before a rotation is read to its end.
func (l *local) withRotated(files []logFile, positions map[string]position) []logFile {
	have := map[string]bool{}
	for _, f := range files {
		have[f.id] = true
	}
	var rotated []logFile
	looked := map[string]bool{}
	for _, f := range files {
		dir := filepath.Dir(f.path)
		if have[f.id] && (looked[dir] || len(files) > 64) {
			continue
		}
		looked[dir] = true
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			path := filepath.Join(dir, entry.Name())
			if id := fileID(path, info); !have[id] {
				if _, ok := positions[id]; ok {
					have[id] = true
					rotated = append(rotated, logFile{path, info, id})
				}
			}
		}
	}
	return append(rotated, files...)
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (l *local) check(context.Context) []collectors.Finding {
	files, err := l.files()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []collectors.Finding{{Verdict: collectors.Misset, Text: fmt.Sprintf("path %s does not exist", l.c.cfg.Path), Fix: "correct path, or mount what it should show"}}
	case errors.Is(err, fs.ErrPermission):
		return []collectors.Finding{{Verdict: collectors.Unavailable, Text: fmt.Sprintf("path %s can't be read: %v", l.c.cfg.Path, err), Fix: "let the user that runs aiwatch read the folder and its files"}}
	case err != nil:
		return []collectors.Finding{{Verdict: collectors.Unavailable, Text: err.Error(), Fix: "make the path readable"}}
	case len(files) == 0:
		return []collectors.Finding{{Verdict: collectors.Warning, Text: fmt.Sprintf("no log file at %s yet", l.c.cfg.Path), Fix: "nothing, if logs are still to come; otherwise correct path"}}
	}
	var bytes int64
	for _, f := range files {
		bytes += f.info.Size()
	}
	findings := []collectors.Finding{{Verdict: collectors.Good, Text: fmt.Sprintf("%s, %s, at %s", event.Count(len(files), "file"), event.Size(bytes), l.c.cfg.Path)}}
	// The newest file that holds something tells the format.
	for _, f := range slices.Backward(files) {
		if f.info.Size() == 0 {
			continue
		}
		file, err := os.Open(f.path)
		if err != nil {
			return append(findings, collectors.Finding{Verdict: collectors.Unavailable, Text: fmt.Sprintf("log can't be read: %v", err), Fix: "let the user that runs aiwatch read the files"})
		}
		defer func() { _ = file.Close() }()
		return append(findings, l.c.checkFormat(file, f.path))
	}
	return findings
}
