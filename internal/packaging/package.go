package packaging

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Build builds the packages of the repository at root into the folder dist: the
// add-on with its programs and the app, which is handed in as it is installed.
// Each has an archive and a bill of materials, and SHA256SUMS is over all. It
// returns their names. The same source and compiler make the same bytes.
func Build(ctx context.Context, root, dist string, app fs.FS) ([]string, error) {
	built, err := os.MkdirTemp("", "aiwatch-package-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(built) }()
	addon, err := Addon(root, built)
	if err != nil {
		return nil, err
	}
	searches, err := App(root, app)
	if err != nil {
		return nil, err
	}
	var programs []string
	for _, platform := range Platforms {
		program := filepath.Join(built, platform.Folder, "bin", "aiwatch")
		if err := compile(ctx, root, program, platform.OS, platform.Arch, addon.Version); err != nil {
			return nil, err
		}
		programs = append(programs, program)
	}
	parts, err := modules(programs...)
	if err != nil {
		return nil, err
	}
	texts, err := licenceTexts(parts)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(built, licences), texts, 0o644); err != nil {
		return nil, err
	}
	products := map[string][]byte{}
	for _, p := range []*Package{addon, searches} {
		if problems := p.Problems(); len(problems) > 0 {
			return nil, fmt.Errorf("package %s:\n  %s", p.ID, strings.Join(problems, "\n  "))
		}
		var archive bytes.Buffer
		if err := p.Write(&archive); err != nil {
			return nil, err
		}
		if p != addon {
			parts = nil // the app holds no program
		}
		bill, err := billOfMaterials(p, parts)
		if err != nil {
			return nil, err
		}
		name := p.ID + "-" + p.Version
		products[name+".tar.gz"], products[name+".cdx.json"] = archive.Bytes(), bill
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(products))
	var sums strings.Builder
	for _, name := range names {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(products[name]), name)
	}
	products["SHA256SUMS"] = []byte(sums.String())
	for name, content := range products {
		if err := os.WriteFile(filepath.Join(dist, name), content, 0o644); err != nil {
			return nil, err
		}
	}
	return append(names, "SHA256SUMS"), nil
}

// compile builds the program, static and with nothing of this machine in it.
func compile(ctx context.Context, root, program, goos, goarch, version string) error {
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+version, "-o", program, "./cmd/aiwatch")
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build aiwatch for %s/%s: %w\n%s", goos, goarch, err, out)
	}
	return nil
}
