package packaging_test

import (
	"encoding/xml"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
	"aiwatch/internal/modinput"
	"aiwatch/internal/packaging"
)

// root is the repository.
const root = "../.."

// The tests here look at what Splunk's own inspection does not see, and the
// packages' linter does not know.

func addon(t *testing.T) *packaging.Package {
	t.Helper()
	p, err := packaging.Addon(root, t.TempDir())
	require.NoError(t, err)
	return p
}

// TestEveryFileIsListed: what lies in the add-on's folders is shipped, and
// nothing else is.
func TestEveryFileIsListed(t *testing.T) {
	var listed, there []string
	for _, f := range addon(t).Files {
		folder, _, nested := strings.Cut(f.Path, "/")
		if nested && !strings.HasPrefix(folder, "linux_") {
			listed = append(listed, f.Path)
		}
	}
	for _, folder := range []string{"README", "bin", "default", "metadata", "static"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				there = append(there, filepath.ToSlash(strings.TrimPrefix(path, root+"/")))
			}
			return err
		}))
	}
	slices.Sort(listed)
	slices.Sort(there)
	require.Equal(t, there, listed)
}

func TestLaunchers(t *testing.T) {
	var first []byte
	for _, k := range conf.Kinds() {
		if !k.IsInput() {
			continue
		}
		path := filepath.Join(root, "bin", k.Name)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NotZero(t, info.Mode().Perm()&0o100, "%s can't be run from the repository", path)
		if first == nil {
			first = text
		}
		require.Equal(t, string(first), string(text), "launchers differ in nothing but their names")
		for _, platform := range packaging.Platforms {
			require.Contains(t, string(text), "platform="+platform.Folder)
		}
	}
}

// TestForms: a form's fields are arguments of the scheme, or what every input of
// Splunk has; a form takes names of secrets in storage/passwords alone; and
// what can be set without a secret's file can be set in the form.
func TestForms(t *testing.T) {
	type field struct {
		Name     string  `xml:"name,attr"`
		Type     string  `xml:"type,attr"`
		Label    string  `xml:"label,attr"`
		Elements []field `xml:"element"`
	}
	for _, k := range conf.Kinds() {
		if !k.IsInput() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, "default/data/ui/manager", k.Name+".xml"))
		require.NoError(t, err)
		var form struct {
			XMLName  xml.Name `xml:"endpoint"`
			Base     string   `xml:"base,attr"`
			Header   string   `xml:"header"`
			Elements []field  `xml:"elements>element"`
		}
		require.NoError(t, xml.Unmarshal(text, &form))
		require.Equal(t, "data/inputs/"+k.Name, form.Base)
		require.Equal(t, modinput.Title(k), form.Header)
		shown := map[string]bool{}
		var visit func([]field)
		visit = func(fields []field) {
			for _, f := range fields {
				if f.Type == "fieldset" {
					visit(f.Elements)
					continue
				}
				require.False(t, shown[f.Name], "%s twice", f.Name)
				require.NotEmpty(t, f.Label, f.Name)
				shown[f.Name] = true
			}
		}
		visit(form.Elements)
		for _, builtin := range []string{"name", "interval", "index"} {
			require.True(t, shown[builtin], builtin)
			delete(shown, builtin)
		}
		for _, a := range modinput.Arguments(k) {
			wanted := !a.Secret || strings.HasSuffix(a.Key, "_credential")
			require.Equal(t, wanted, shown[a.Key], a.Key)
			delete(shown, a.Key)
		}
		require.Empty(t, shown, "fields that the scheme does not know")
	}
}
