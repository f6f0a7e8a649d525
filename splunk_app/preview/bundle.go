package preview

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// A Bundle is the page's code with Splunk's renderer in it.
type Bundle struct {
	Dir     string
	Version string // of its content
}

// Build bundles the code of web/ with the packages that are installed in the
// folder packages. What was built from the same before is taken from there.
func Build(packages string) (*Bundle, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, filepath.Base(packages))
	err := fs.WalkDir(web, "web", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := web.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the page's code: %w", err)
	}
	b := &Bundle{Version: fmt.Sprintf("%x", sum.Sum(nil)[:6])}
	b.Dir = packages + ".bundles/" + b.Version
	if _, err := os.Stat(b.Dir); err == nil {
		return b, nil
	}
	if err := os.MkdirAll(filepath.Dir(b.Dir), 0o755); err != nil {
		return nil, fmt.Errorf("bundle the page's code: %w", err)
	}
	made, err := os.MkdirTemp(filepath.Dir(b.Dir), ".bundle-")
	if err != nil {
		return nil, fmt.Errorf("bundle the page's code: %w", err)
	}
	defer os.RemoveAll(made)
	sources := filepath.Join(made, "sources")
	if err := os.CopyFS(sources, web); err != nil {
		return nil, fmt.Errorf("bundle the page's code: %w", err)
	}
	out := filepath.Join(made, "out")
	if text, err := exec.Command("node", filepath.Join(sources, "web", "build.mjs"), packages, out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bundle the page's code: %w\n%s", err, text)
	}
	if err := os.Rename(out, b.Dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("keep the bundle: %w", err)
	}
	return b, nil
}
