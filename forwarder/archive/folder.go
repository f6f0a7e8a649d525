package archive

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// day returns the day of a moment, in UTC, counted from 1970.
func dayOf(t time.Time) int32 { return int32(t.UTC().Unix() / secondsOfDay) }

const secondsOfDay = 24 * 60 * 60

func dayBegin(day int32) time.Time { return time.Unix(int64(day)*secondsOfDay, 0).UTC() }

func dayText(day int32) string { return dayBegin(day).Format(time.DateOnly) }

func fileName(day int32) string { return "events-" + dayText(day) + ".ndjson.zst" }

// fileNames matches the files of an archive: those of days, and those that were
// set aside.
var fileNames = regexp.MustCompile(`^events-(\d{4}-\d{2}-\d{2})\.ndjson\.zst(\.damaged-\d{8}T\d{6}Z(?:-\d+)?)?$`)

// file is one file of an archive.
type file struct {
	name  string
	day   int32
	aside bool // it is damaged and was set aside
	size  int64
}

// list returns the files of the folder in the order in which they were written.
func list(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		parts := fileNames.FindStringSubmatch(e.Name())
		if parts == nil {
			continue
		}
		at, err := time.Parse(time.DateOnly, parts[1])
		if err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // its retention has just ended
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files = append(files, file{name: e.Name(), day: dayOf(at), aside: parts[2] != "", size: info.Size()})
		}
	}
	slices.SortFunc(files, func(a, b file) int {
		order := cmp.Compare(a.day, b.day)
		if order == 0 && a.aside != b.aside {
			// What was set aside was written before what stands in its place.
			if a.aside {
				return -1
			}
			return 1
		}
		return cmp.Or(order, cmp.Compare(a.name, b.name))
	})
	return files, nil
}

// Status is how large an archive is and how far it reaches back.
type Status struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	// Oldest and Newest are days (UTC), such as 2026-11-27.
	Oldest string `json:"oldest,omitempty"`
	Newest string `json:"newest,omitempty"`
	// Damaged counts the files that were set aside.
	Damaged int `json:"damaged,omitempty"`
	// Error is why it can't be told.
	Error string `json:"error,omitempty"`
}

// Stat tells how large the archive in dir is. The error is fs.ErrNotExist when
// there is no such folder.
func Stat(dir string) (Status, error) {
	files, err := list(dir)
	if err != nil {
		return Status{}, fmt.Errorf("look at the archive: %w", err)
	}
	s := Status{Path: dir, Files: len(files)}
	for _, f := range files {
		s.Bytes += f.size
		if f.aside {
			s.Damaged++
		}
	}
	if len(files) > 0 {
		s.Oldest, s.Newest = dayText(files[0].day), dayText(files[len(files)-1].day)
	}
	return s, nil
}

// syncDir makes durable which names a folder has.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// setAside renames a file that is damaged, and returns its new name.
func setAside(dir, name string, now time.Time) (string, error) {
	aside := name + ".damaged-" + now.UTC().Format("20060102T150405Z")
	to := aside
	for n := 2; ; n++ {
		if _, err := os.Lstat(filepath.Join(dir, to)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s-%d", aside, n)
	}
	return to, os.Rename(filepath.Join(dir, name), filepath.Join(dir, to))
}
