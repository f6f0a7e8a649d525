package packaging_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/packaging"
)

var dist struct {
	once sync.Once
	dir  string
	err  error
}

// app is the app as it is installed.
func app(t *testing.T) fs.FS {
	t.Helper()
	files, err := detection.FS()
	require.NoError(t, err)
	return files
}

// built builds the packages once for all tests.
func built(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the programs of all platforms")
	}
	dist.once.Do(func() {
		if dist.dir, dist.err = os.MkdirTemp("", "aiwatch-dist-"); dist.err == nil {
			_, dist.err = packaging.Build(t.Context(), root, dist.dir, app(t))
		}
	})
	require.NoError(t, dist.err)
	return dist.dir
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dist.dir != "" {
		_ = os.RemoveAll(dist.dir)
	}
	os.Exit(code)
}

// archive returns the path of the add-on's archive.
func archive(t *testing.T) string {
	t.Helper()
	return archives(t)["TA-aiwatch"]
}

// archives returns the paths of all archives by the ids of their packages.
func archives(t *testing.T) map[string]string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(built(t), "*.tar.gz"))
	require.NoError(t, err)
	byID := map[string]string{}
	for _, name := range found {
		id := strings.TrimSuffix(filepath.Base(name), ".tar.gz")
		byID[id[:strings.LastIndexByte(id, '-')]] = name
	}
	require.Len(t, byID, 2)
	return byID
}

// entries returns an archive's entries and the contents of its files.
func entries(t *testing.T, archive string) (headers []*tar.Header, contents map[string][]byte) {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	require.NoError(t, err)
	contents = map[string][]byte{}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		require.NoError(t, err)
		headers = append(headers, h)
		contents[h.Name], err = io.ReadAll(r)
		require.NoError(t, err)
	}
}

func TestArchives(t *testing.T) {
	for id, archive := range archives(t) {
		headers, _ := entries(t, archive)
		var files []string
		for _, h := range headers {
			require.True(t, strings.HasPrefix(h.Name, id+"/"), h.Name)
			require.Zero(t, h.Uid)
			require.Zero(t, h.Gid)
			require.Empty(t, h.Uname)
			require.Equal(t, 2026, h.ModTime.UTC().Year())
			want := int64(0o644)
			if h.Typeflag == tar.TypeDir || path.Base(path.Dir(h.Name)) == "bin" {
				want = 0o755
			}
			require.Equal(t, want, h.Mode, h.Name)
			for _, part := range strings.Split(h.Name, "/") {
				require.False(t, strings.HasPrefix(part, "."), h.Name)
			}
			if h.Typeflag != tar.TypeDir {
				require.Equal(t, byte(tar.TypeReg), h.Typeflag)
				files = append(files, strings.TrimPrefix(h.Name, id+"/"))
			}
		}
		require.True(t, slices.IsSorted(files), files)
		for _, name := range []string{"go.mod", "Makefile", "local", "app.manifest"} {
			require.NotContains(t, files, name)
		}
		// What shows and tests the app is no part of it.
		require.NotRegexp(t, `(?m)(^|/)(preview|tools|node_modules|package(-lock)?\.json)(/|$)`, strings.Join(files, "\n"))
	}
}

// TestPrograms: both platforms' programs are in the add-on, static, with the
// licences of their parts.
func TestPrograms(t *testing.T) {
	_, contents := entries(t, archive(t))
	for folder, machine := range map[string]elf.Machine{"linux_x86_64": elf.EM_X86_64, "linux_arm64": elf.EM_AARCH64} {
		program, err := elf.NewFile(bytes.NewReader(contents["TA-aiwatch/"+folder+"/bin/aiwatch"]))
		require.NoError(t, err, folder)
		require.Equal(t, machine, program.Machine)
		require.Equal(t, elf.ET_EXEC, program.Type, "a position-independent program is another file type to Splunk's inspection")
		for _, segment := range program.Progs {
			require.NotEqual(t, elf.PT_INTERP, segment.Type, "%s is not static", folder)
		}
	}
	licences := string(contents["TA-aiwatch/THIRD-PARTY-LICENSES"])
	for _, words := range []string{"go.etcd.io/bbolt", "stdlib", "Redistributions in binary form", "Permission is hereby granted", "Apache License"} {
		require.Contains(t, licences, words)
	}
}

// TestNothingOfThisMachine: no path of where it was built is in the package.
func TestNothingOfThisMachine(t *testing.T) {
	here, err := filepath.Abs(root)
	require.NoError(t, err)
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	for _, archive := range archives(t) {
		_, contents := entries(t, archive)
		for name, content := range contents {
			for _, dir := range []string{here + "/", home + "/"} {
				require.False(t, bytes.Contains(content, []byte(dir)), "%s holds %s", name, dir)
			}
		}
	}
}

// TestReproducible: the same source makes the same bytes.
func TestReproducible(t *testing.T) {
	first, second := built(t), t.TempDir()
	names, err := packaging.Build(t.Context(), root, second, app(t))
	require.NoError(t, err)
	require.Len(t, names, 2*len(archives(t))+1)
	for _, name := range names {
		a, err := os.ReadFile(filepath.Join(first, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(second, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), "%s differs; did the source change in between?", name)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = second
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestBillOfMaterials(t *testing.T) {
	text, err := os.ReadFile(strings.TrimSuffix(archive(t), ".tar.gz") + ".cdx.json")
	require.NoError(t, err)
	var bill struct {
		BOMFormat, SpecVersion, SerialNumber string
		Components                           []struct{ Name, Version, PURL string }
	}
	require.NoError(t, json.Unmarshal(text, &bill))
	require.Equal(t, "CycloneDX", bill.BOMFormat)
	require.Regexp(t, `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, bill.SerialNumber)
	parts := map[string]string{}
	for _, c := range bill.Components {
		require.Empty(t, parts[c.Name], c.Name)
		require.Equal(t, "pkg:golang/"+c.Name+"@"+c.Version, c.PURL)
		parts[c.Name] = c.Version
	}
	require.Contains(t, parts, "stdlib")
	require.Contains(t, parts, "go.etcd.io/bbolt")
	require.NotContains(t, parts, "github.com/stretchr/testify")

	// The app has no program, and says so.
	text, err = os.ReadFile(strings.TrimSuffix(archives(t)["aiwatch"], ".tar.gz") + ".cdx.json")
	require.NoError(t, err)
	require.Contains(t, string(text), `"components": []`)
}
