package house

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the prefix of our own import paths.
const module = "aiwatch"

// all allows a room every import but cmd's.
const all = "..."

// source is what each source's collector may import.
var source = []string{"collectors", "collectors/identity", "collectors/logfile", "collectors/modelfile", "internal/event"}

// rooms says which of our packages a room's code may import; its own
// subfolders that are no rooms of their own are part of it. Tests may import
// more. A folder of internal that is not listed may import internal alone.
var rooms = map[string][]string{
	"cmd":                  {all},
	"collectors":           {"internal/event"},
	"collectors/mlflow":    source,
	"collectors/s3access":  source,
	"collectors/gitrepo":   source,
	"collectors/identity":  {"internal/event"},
	"collectors/logfile":   {},
	"collectors/modelfile": {},
	"forwarder":            {"forwarder/queue", "forwarder/archive", "internal/event"},
	"forwarder/archive":    {},
	"forwarder/queue":      {"forwarder", "internal/event"},
	"forwarder/hec":        {"forwarder", "internal/event"},
	"forwarder/scs":        {"forwarder", "internal/event"},
	"internal/event":       {},
	"internal/conf":        {"internal/event"},
	"internal/hecserver":   {"internal/event"},
	"internal/spl":         {"internal/event", "internal/conf"},
	"internal/detection":   {"internal/addon", "internal/conf", "internal/event", "internal/spl", "splunk_app"},
	"internal/dashboard":   {"internal/detection", "internal/spl"},
	"splunk_app":           {},
	"splunk_app/preview":   {all},
	"internal/scenario":    {all},
	"internal/audit":       {all},
	"internal/demo":        {all},
	"internal/inputs":      {all},
	"internal/addon":       {"internal/event"},
	"internal/counterpart": {},
	"internal/house":       {},
	"internal/s3sim":       {},
}

// testOnly are rooms that exist for tests: no program imports them.
var testOnly = []string{"internal/addontest", "internal/counterpart", "internal/house", "internal/s3sim"}

// topLevel are the folders at the top of the repository, which is Splunk's
// add-on as well as a Go module.
var topLevel = map[string]string{
	".ci":        "what the continuous integration runs",
	"README":     "the add-on's inputs.conf.spec, where Splunk looks for it",
	"bin":        "the add-on's launchers",
	"cmd":        "the program",
	"collectors": "the sources",
	"default":    "the add-on's configuration",
	"deploy":     "units and manifests for systemd, containers, Kubernetes",
	"docs":       "pages for the people who run aiwatch",
	"forwarder":  "durable delivery",
	"internal":   "what is shared between the rooms",
	"lookups":    "the add-on's lookups",
	"metadata":   "the add-on's permissions",
	"splunk_app": "the app that searches the events",
	"static":     "the add-on's icons",
	"tools":      "pinned tools and test counterparts",
}

// pkg is what `go list -json` says about a package.
type pkg struct {
	ImportPath string
	Doc        string
	GoFiles    []string
	Imports    []string
	Module     *struct {
		Path string
		Dir  string
		Main bool
	}
}

func TestImportsGoOneWay(t *testing.T) {
	packages := list(t, "./...")
	require.NotEmpty(t, packages)
	for _, p := range packages {
		for _, imported := range p.Imports {
			if why := forbidden(ours(p.ImportPath), ours(imported)); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, why)
			}
		}
	}
}

// TestImportRule proves the rule itself on imports that nobody has written.
func TestImportRule(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"cmd/aiwatch", "forwarder/hec", true},
		{"internal/audit", "collectors/mlflow", true},
		{"internal/audit", "cmd/aiwatch", false},
		{"collectors", "internal/event", true},
		{"collectors", "collectors/mlflow", false},
		{"collectors/s3access", "forwarder", false},
		{"collectors/s3access", "forwarder/queue", false},
		{"collectors/s3access", "collectors/mlflow", false},
		{"collectors/s3access/lines", "collectors/s3access", true},
		{"collectors/s3access/lines", "collectors/modelfile", true},
		{"collectors/newsource", "collectors", true},
		{"collectors/newsource", "collectors/identity", true},
		{"collectors/newsource", "collectors/logfile", true},
		{"collectors/logfile", "internal/event", false},
		{"collectors/identity", "collectors", false},
		{"collectors/newsource", "forwarder", false},
		{"collectors/modelfile", "internal/event", false},
		{"forwarder/hec", "collectors", false},
		{"forwarder/hec", "forwarder", true},
		{"internal/event", "internal/conf", false},
		{"internal/event", "internal/event/schema", true},
		{"collectors", "internal/event/schema", true},
		{"internal/splunkd", "internal/conf", true},
		{"internal/splunkd", "forwarder", false},
		{"cmd/aiwatch", "internal/counterpart", false},
		{"cmd/aiwatch", "", true}, // not ours
	} {
		why := forbidden(c.from, c.to)
		require.Equal(t, c.allowed, why == "", "%s imports %s: %s", c.from, c.to, why)
	}
}

// TestEveryRoomIsOnTheMap: docs/architecture.md names each folder of code.
func TestEveryRoomIsOnTheMap(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs/architecture.md"))
	require.NoError(t, err)
	for _, p := range list(t, "./...") {
		if name := room(ours(p.ImportPath)); !strings.HasPrefix(name, "tools/") && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/architecture.md does not say what %s is for", name)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t, "./...") {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func TestTopLevelFolders(t *testing.T) {
	for _, file := range Files(t, root(t)) {
		folder, _, nested := strings.Cut(file, "/")
		if nested && topLevel[folder] == "" {
			t.Errorf("%s: the top-level folder %s has no reason in topLevel", file, folder)
		}
	}
}

// stray matches what says where a file was made instead of what it is about: a
// path of somebody's machine, the host of a package registry.
var stray = regexp.MustCompile(`(^|[^\w./-])/(work|root)/` +
	`|\b(proxy|sum)\.golang\.org|registry\.npmjs|\bpypi\.org|pythonhosted\.org|\bindex-url\b`)

func TestNoMachinePathNoRegistryNoBinary(t *testing.T) {
	for _, file := range Files(t, root(t)) {
		if path.Ext(file) == ".png" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root(t), file))
		require.NoError(t, err)
		if bytes.IndexByte(content, 0) >= 0 {
			t.Errorf("%s is binary: write a generator for it", file)
			continue
		}
		for number, line := range strings.Split(string(content), "\n") {
			if found := stray.FindString(line); found != "" {
				t.Errorf("%s:%d: %q has no place in the repository", file, number+1, found)
			}
		}
	}
}

func TestStray(t *testing.T) {
	for text, want := range map[string]bool{
		"cd /" + "root/go":              true,
		`"/` + `work/main"`:             true,
		"s3://bucket/root/model.bin":    false,
		"GOPROXY=https://goproxy.test/": false,
		"https://proxy." + "golang.org": true,
		"a rootless container":          false,
		"--index" + "-url x":            true,
	} {
		require.Equal(t, want, stray.MatchString(text), text)
	}
}

// licences tells the licences that an Apache-2.0 program may carry by words
// that only they have.
var licences = []struct{ name, words string }{
	{"Apache-2.0", "Apache License"},
	{"MPL-2.0", "Mozilla Public License"},
	{"ISC", "Permission to use, copy, modify, and/or distribute"},
	{"ISC", "Permission to use, copy, modify, and distribute"},
	{"BSD", "Redistribution and use in source and binary forms"},
	{"MIT", "Permission is hereby granted, free of charge"},
}

func TestLicencesOfTheProgram(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t, "-deps", "./cmd/...") {
		if p.Module == nil || p.Module.Main || seen[p.Module.Path] {
			continue
		}
		seen[p.Module.Path] = true
		if name := licence(t, p.Module.Dir); name == "" {
			t.Errorf("%s: no licence that aiwatch may carry was found in it", p.Module.Path)
		} else {
			t.Logf("%-10s %s", name, p.Module.Path)
		}
	}
}

// licence names the licence of the module in dir; "" when it has none we know.
func licence(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		upper := strings.ToUpper(entry.Name())
		if !strings.HasPrefix(upper, "LICEN") && !strings.HasPrefix(upper, "COPYING") {
			continue
		}
		text, err := fs.ReadFile(os.DirFS(dir), entry.Name())
		require.NoError(t, err)
		for _, l := range licences {
			if strings.Contains(strings.Join(strings.Fields(string(text)), " "), l.words) {
				return l.name
			}
		}
	}
	return ""
}

// forbidden says why the package from may not import the package to, both
// relative to the module; "" when it may. An empty to is not ours.
func forbidden(from, to string) string {
	fromRoom, toRoom := room(from), room(to)
	switch {
	case to == "" || fromRoom == toRoom:
		return ""
	case toRoom == "cmd":
		return "nobody imports the program"
	case slices.Contains(testOnly, toRoom):
		return toRoom + " is for tests"
	}
	allowed, listed := rooms[fromRoom]
	switch {
	case slices.Contains(allowed, all), slices.Contains(allowed, toRoom):
		return ""
	case !listed && strings.HasPrefix(fromRoom, "internal/") && strings.HasPrefix(toRoom, "internal/"):
		return ""
	case !listed && strings.HasPrefix(fromRoom, "collectors/") && slices.Contains(source, toRoom):
		return "" // a new source has the rights of the others
	}
	return fromRoom + " may import of ours only: " + strings.Join(allowed, ", ")
}

// room is the listed room that a package lies in, else the folder that is one
// (internal/x, collectors/x).
func room(p string) string {
	for dir := p; dir != "." && dir != ""; dir = path.Dir(dir) {
		if _, ok := rooms[dir]; ok && (dir != "collectors" || p == dir) {
			return dir
		}
		if strings.Count(dir, "/") == 1 && path.Dir(dir) != "cmd" && path.Dir(dir) != "forwarder" {
			return dir
		}
	}
	return p
}

// ours is an import path relative to the module; "" when it is not ours.
func ours(importPath string) string {
	relative, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return relative
}

// root is the top of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	return dir
}

// list runs `go list -json` at the root.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	out := run(t, "go", append([]string{"list", "-json=ImportPath,Doc,GoFiles,Imports,Module"}, args...)...)
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p pkg
		require.NoError(t, decoder.Decode(&p))
		packages = append(packages, p)
	}
	return packages
}

// run runs a command at the root and returns what it wrote.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = root(t)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), &stderr)
	return out
}
