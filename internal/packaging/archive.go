package packaging

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// modified is the date of every file in an archive, so that the same files make
// the same bytes.
var modified = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Write writes the package as tar.gz. Entries are sorted, owned by root, and
// executable where they lie below a folder called bin, which is where Splunk
// allows it.
func (p *Package) Write(w io.Writer) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	files := map[string]File{}
	folders := map[string]bool{}
	for _, f := range p.Files {
		name := path.Join(p.ID, f.Path)
		if _, again := files[name]; again {
			return fmt.Errorf("package %s: %s is listed twice", p.ID, f.Path)
		}
		files[name] = f
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			folders[dir+"/"] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: modified, Format: tar.FormatUSTAR}); err != nil {
			return fmt.Errorf("package %s: %w", p.ID, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(archive, name, files[name]); err != nil {
			return fmt.Errorf("package %s: %w", p.ID, err)
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

func writeFile(archive *tar.Writer, name string, file File) error {
	f, err := file.From.Open(file.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", file.Name)
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: mode(name), ModTime: modified, Format: tar.FormatUSTAR}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, bufio.NewReaderSize(f, 1<<20))
	return err
}

func mode(name string) int64 {
	if slices.Contains(strings.Split(path.Dir(name), "/"), "bin") {
		return 0o755
	}
	return 0o644
}
