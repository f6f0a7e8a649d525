package preview

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"aiwatch/internal/detection"
)

// Root is the top of the repository: the preview works on its working tree.
type Root string

// FindRoot finds it from the working directory.
func FindRoot() (Root, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tools", "tools.sh")); err == nil {
			return Root(dir), nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("this is not a clone of aiwatch: run it from one")
		}
	}
}

// FS is the working tree.
func (r Root) FS() fs.FS { return os.DirFS(string(r)) }

// Path is that of a file or folder.
func (r Root) Path(parts ...string) string {
	return filepath.Join(append([]string{string(r)}, parts...)...)
}

// App is the app as it would be installed from the working tree.
func (r Root) App() (fs.FS, error) { return detection.Make(os.DirFS(r.Path("splunk_app"))) }

// Packages is the folder that tools/tools.sh installed the renderer into.
func (r Root) Packages() (string, error) {
	out, err := exec.Command(r.Path("tools", "tools.sh"), "path", "dashboards").Output()
	if err != nil {
		return "", fmt.Errorf("the renderer is not installed: run tools/tools.sh install dashboards")
	}
	return strings.TrimSpace(string(out)), nil
}
