package packaging

import (
	"errors"
	"fmt"
	"path/filepath"

	"aiwatch/internal/conf"
)

// A Package is what an administrator installs: a folder of etc/apps.
type Package struct {
	// ID is the app's id and its folder's name.
	ID, Version string
	Files       []File
}

// A File is one file of a package.
type File struct {
	Path   string // in the package, with slashes
	Source string // where its content lies
}

// Platforms are the folders of the add-on's programs and what they are built
// for. Splunk's own inspection knows no folder for arm64; the launchers do.
var Platforms = []struct{ Folder, OS, Arch string }{
	{"linux_x86_64", "linux", "amd64"},
	{"linux_arm64", "linux", "arm64"},
}

// addon lists what of the repository is in the add-on, by its path there.
var addon = []string{
	"LICENSE",
	"README/aiwatch.conf.spec",
	"README/inputs.conf.spec",
	"bin/aiwatch_git",
	"bin/aiwatch_mlflow",
	"bin/aiwatch_s3",
	"default/app.conf",
	"default/data/ui/manager/aiwatch_git.xml",
	"default/data/ui/manager/aiwatch_mlflow.xml",
	"default/data/ui/manager/aiwatch_s3.xml",
	"default/data/ui/nav/default.xml",
	"default/eventtypes.conf",
	"default/inputs.conf",
	"default/props.conf",
	"default/server.conf",
	"default/tags.conf",
	"metadata/default.meta",
	"static/appIcon.png",
	"static/appIconAlt.png",
	"static/appIconAlt_2x.png",
	"static/appIcon_2x.png",
}

// Addon returns the add-on TA-aiwatch: files of the repository at root, and of
// built the programs, in the folders of Platforms, and LICENSES.
func Addon(root, built string) (*Package, error) {
	id, version, err := identity(filepath.Join(root, "default"))
	if err != nil {
		return nil, err
	}
	p := &Package{ID: id, Version: version}
	for _, path := range addon {
		p.add(path, filepath.Join(root, filepath.FromSlash(path)))
	}
	p.add("README.md", filepath.Join(root, "docs", "splunk-addon.md"))
	p.add(licences, filepath.Join(built, licences))
	for _, platform := range Platforms {
		program := platform.Folder + "/bin/aiwatch"
		p.add(program, filepath.Join(built, filepath.FromSlash(program)))
	}
	return p, nil
}

func (p *Package) add(path, source string) {
	p.Files = append(p.Files, File{Path: path, Source: source})
}

// identity reads an app's id and version from the app.conf in dir.
func identity(dir string) (id, version string, err error) {
	file, err := conf.Read(filepath.Dir(dir), "app.conf")
	if err != nil {
		return "", "", fmt.Errorf("read the app's id and version: %w", err)
	}
	for _, wanted := range []struct {
		stanza, key string
		value       *string
	}{{"package", "id", &id}, {"launcher", "version", &version}} {
		if stanza := file.Stanza(wanted.stanza); stanza != nil {
			value, _ := stanza.Get(wanted.key)
			*wanted.value = value.Text
		}
	}
	if id == "" || version == "" {
		return "", "", errors.New("read the app's id and version: app.conf lacks [package] id or [launcher] version")
	}
	return id, version, nil
}
