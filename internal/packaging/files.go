package packaging

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

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
	Path string // in the package
	From fs.FS  // where its content lies, as Name
	Name string
}

// Read returns the file's content.
func (f File) Read() ([]byte, error) { return fs.ReadFile(f.From, f.Name) }

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

// shared lists what of the repository is in the app, too.
var shared = []string{
	"LICENSE",
	"static/appIcon.png",
	"static/appIconAlt.png",
	"static/appIconAlt_2x.png",
	"static/appIcon_2x.png",
}

// app lists, as patterns, the places of an app's files that Splunk reads.
var app = []string{
	"README.md",
	"README/*.conf.spec",
	"default/*.conf",
	"default/data/models/*.json",
	"default/data/ui/nav/default.xml",
	"default/data/ui/views/*.xml",
	"lookups/*.csv",
	"metadata/default.meta",
}

// Addon returns the add-on TA-aiwatch: files of the repository at root, and of
// built the programs, in the folders of Platforms, and THIRD-PARTY-LICENSES.
func Addon(root, built string) (*Package, error) {
	repository, made := os.DirFS(root), os.DirFS(built)
	p, err := identified(repository)
	if err != nil {
		return nil, err
	}
	for _, name := range addon {
		p.add(name, repository, name)
	}
	p.add("README.md", repository, "docs/splunk-addon.md")
	p.add(licences, made, licences)
	for _, platform := range Platforms {
		program := platform.Folder + "/bin/aiwatch"
		p.add(program, made, program)
	}
	return p, nil
}

// App returns the app whose files, as they are installed, are in files, with
// the licence and the icons of the repository at root. It refuses a file that
// lies where Splunk does not look.
func App(root string, files fs.FS) (*Package, error) {
	p, err := identified(files)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		for _, pattern := range app {
			if ok, _ := path.Match(pattern, name); ok {
				p.add(name, files, name)
				return nil
			}
		}
		return fmt.Errorf("package %s: %s is no file of an app", p.ID, name)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range shared {
		p.add(name, os.DirFS(root), name)
	}
	return p, nil
}

func (p *Package) add(path string, from fs.FS, name string) {
	p.Files = append(p.Files, File{Path: path, From: from, Name: name})
}

// identified returns an empty package with the id and version of the app.conf
// in files.
func identified(files fs.FS) (*Package, error) {
	const name = "default/app.conf"
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("read a package's id and version: %w", err)
	}
	file, err := conf.Parse(name, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read a package's id and version: %w", err)
	}
	p := &Package{}
	for _, wanted := range []struct {
		stanza, key string
		value       *string
	}{{"package", "id", &p.ID}, {"launcher", "version", &p.Version}} {
		if stanza := file.Stanza(wanted.stanza); stanza != nil {
			value, _ := stanza.Get(wanted.key)
			*wanted.value = value.Text
		}
	}
	if p.ID == "" || p.Version == "" {
		return nil, errors.New("read a package's id and version: " + name + " lacks [package] id or [launcher] version")
	}
	return p, nil
}
