package mlflow

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A mark is how far a log file was read. A file is known by a digest of its
// first line, so that one that was renamed by a rotation is read to its end
// under its new name, and one that began anew from its beginning.
type mark struct {
	First  string `json:"first"` // digest of the first line
	Offset int64  `json:"offset"`
	Line   int64  `json:"line"`
}

// maxLine is the longest line that is read; what is longer is told as damaged.
const maxLine = 64 << 10

// follow reads the whole lines that were added to a log since the mark, those
// of a rotated predecessor first, and calls visit with each and the mark behind
// it. Without a mark it begins at the end, or at the beginning when all is
// wanted.
func follow(path string, m mark, known, all bool, visit func(line string, over bool, ref string, m mark) error) error {
	first, err := firstLine(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not written yet, or between two steps of a rotation
	}
	if err != nil {
		return fmt.Errorf("read access_log: %w", err)
	}
	if !known && !all {
		return skipToEnd(path, first, visit)
	}
	if known && m.First != "" && m.First != first {
		if old := rotated(path, m.First); old != "" {
			if err := readOn(old, m, visit); err != nil {
				return err
			}
		}
		m = mark{}
	}
	m.First = first
	if info, err := os.Stat(path); err == nil && info.Size() < m.Offset {
		m = mark{First: first}
	}
	return readOn(path, m, visit)
}

// firstLine digests a file's first line; empty while that is not whole.
func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	line, err := bufio.NewReader(io.LimitReader(f, maxLine)).ReadString('\n')
	if err != nil && len(line) < maxLine {
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		return "", err
	}
	return digest([]byte(line)), nil
}

// rotated finds the file beside a log that begins with the given line.
func rotated(path, first string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return ""
	}
	base := filepath.Base(path)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	for _, e := range entries {
		if e.Name() == base || !strings.HasPrefix(e.Name(), stem) || !e.Type().IsRegular() {
			continue
		}
		other := filepath.Join(filepath.Dir(path), e.Name())
		if d, err := firstLine(other); err == nil && d == first {
			return other
		}
	}
	return ""
}

func skipToEnd(path, first string, visit func(string, bool, string, mark) error) error {
	m := mark{First: first}
	err := readOn(path, m, func(_ string, _ bool, _ string, at mark) error {
		m = at
		return nil
	})
	if err != nil {
		return err
	}
	return visit("", false, "", m)
}

// readOn reads the whole lines behind the mark.
func readOn(path string, m mark, visit func(string, bool, string, mark) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read access_log: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(m.Offset, io.SeekStart); err != nil {
		return fmt.Errorf("read access_log: %w", err)
	}
	r := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		over := errors.Is(err, bufio.ErrBufferFull)
		text, size := string(line), int64(len(line))
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.ReadSlice('\n')
			size += int64(len(line))
		}
		if errors.Is(err, io.EOF) {
			return nil // the last line is not whole
		}
		if err != nil {
			return fmt.Errorf("read access_log: %w", err)
		}
		m.Offset += size
		m.Line++
		if m.First == "" {
			m.First = digest([]byte(text))
		}
		if err := visit(text, over, fmt.Sprintf("file:%s:%d", filepath.Base(path), m.Line), m); err != nil {
			return err
		}
	}
}
