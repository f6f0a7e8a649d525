package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Expired is a file whose retention has ended.
type Expired struct {
	File   string
	Bytes  int64
	Events int
}

// expired says whether the retention of a day has ended.
func (w *Writer) expired(day int32, now time.Time) bool {
	return w.retention > 0 && !now.Before(dayBegin(day+1).Add(w.retention))
}

// Expired returns the files whose retention has ended, the oldest first. The
// newest file stays in any case: it is the one that is written.
func (w *Writer) Expired() ([]Expired, error) {
	if w.retention == 0 {
		return nil, nil
	}
	all, err := w.findExpired()
	if err != nil {
		return nil, fmt.Errorf("look for files of the archive past their retention: %w", err)
	}
	return all, nil
}

func (w *Writer) findExpired() (all []Expired, err error) {
	files, err := list(w.dir)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	for _, f := range files[:len(files)-1] {
		if !w.expired(f.day, w.now()) {
			break
		}
		e := Expired{File: f.name, Bytes: f.size}
		in, err := os.Open(filepath.Join(w.dir, f.name))
		if err != nil {
			return nil, err
		}
		err = eachBlock(in, f.size, func(_ int64, h header, _ *bufio.Reader) (bool, error) {
			e.Events += h.events
			return false, nil
		}, func(Damage) {})
		if err := errors.Join(err, in.Close()); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// Delete deletes an expired file.
func (w *Writer) Delete(e Expired) error {
	err := os.Remove(filepath.Join(w.dir, e.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete what the archive need not keep: %w", err)
	}
	w.log.Info("a file of the archive is past its retention and deleted", "file", e.File, "events", e.Events)
	return syncDir(w.dir)
}
