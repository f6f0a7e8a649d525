package words

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A Folder is what stands in the folder of a scenario beside its acts.
type Folder struct {
	Files   map[string]string   // text by name
	Lookups map[string][]string // rows by name, the header first
	// Acts is the file of the acts; its name may end in .gz.
	Acts string
}

// Write writes the folder, which must not exist or be empty; tell writes the
// acts.
func (f Folder) Write(dir string, tell func(io.Writer) error) (err error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "lookups"), 0o755); err != nil {
		return err
	}
	for name, text := range f.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, rows := range f.Lookups {
		if err := os.WriteFile(filepath.Join(dir, "lookups", name+".csv"), []byte(strings.Join(rows, "\n")+"\n"), 0o644); err != nil {
			return err
		}
	}
	file, err := os.Create(filepath.Join(dir, f.Acts))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<18)
	if !strings.HasSuffix(f.Acts, ".gz") {
		return errors.Join(tell(out), out.Flush())
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	lines := bufio.NewWriterSize(z, 1<<18)
	return errors.Join(tell(lines), lines.Flush(), z.Close(), out.Flush())
}
