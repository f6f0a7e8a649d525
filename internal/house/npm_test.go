package house

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write generated files anew")

const dashboards = "tools/dashboards"

// unstated are packages whose package.json names no licence, and what else they
// say of it.
var unstated = map[string]string{
	"@mapbox/jsonlint-lines-primitives": "none stated; a fork of jsonlint, which is MIT",
	"uuid-v4":                           "none stated",
}

// accepted are licences of packages that are used here and given to nobody.
var accepted = regexp.MustCompile(`^\(?(MIT|MIT-0|ISC|Apache-2\.0|BSD-2-Clause|BSD-3-Clause|0BSD|CC0-1\.0|CC-BY-4\.0|Zlib|MPL-2\.0 OR Apache-2\.0|MIT OR SEE LICENSE IN FEEL-FREE\.md)( (AND|OR) (MIT|Apache-2\.0|Zlib))?\)?$`)

// TestPackagesOfTheRenderer: the npm packages by which dashboards are drawn are
// pinned, their lock file names no registry, and each one's licence is listed.
func TestPackagesOfTheRenderer(t *testing.T) {
	var wanted struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	require.NoError(t, json.Unmarshal(read(t, "package.json"), &wanted))
	text := read(t, "package-lock.json")
	require.NotContains(t, string(text), `"resolved"`, "the lock file names a registry")
	var lock struct {
		Packages map[string]struct{ Version, License, Integrity string }
	}
	require.NoError(t, json.Unmarshal(text, &lock))
	for name, version := range wanted.Dependencies {
		require.Equal(t, version, lock.Packages["node_modules/"+name].Version, "package.json pins %s exactly", name)
	}
	byLicence := map[string][]string{}
	for place, p := range lock.Packages {
		if place == "" {
			continue
		}
		name := place[strings.LastIndex(place, "node_modules/")+len("node_modules/"):]
		require.NotEmpty(t, p.Integrity, "%s has no checksum", place)
		licence := p.License
		if licence == "" {
			licence = unstated[name]
			require.NotEmpty(t, licence, "%s states no licence: find out, and say so in unstated", name)
		} else {
			require.Regexp(t, accepted, licence, name)
		}
		byLicence[licence] = append(byLicence[licence], name+" "+p.Version)
	}
	var page strings.Builder
	page.WriteString("# Splunk's dashboard renderer\n\n" +
		"The packages by which the app's dashboards are drawn, checked and tested, for\n" +
		"development only: none of them is in a program or archive of aiwatch.\n" +
		"`package.json` pins what is used directly, `package-lock.json` everything.\n\n" +
		"Splunk's packages are under Apache-2.0 by their package.json and LICENSE file,\n" +
		"while the head of their compiled files says \"SPLUNK CONFIDENTIAL\".\n\n" +
		"`go test ./internal/house -run TestPackagesOfTheRenderer -update` writes this page.\n\n" +
		"| licence | packages |\n|---|---|\n")
	var names []string
	for licence := range byLicence {
		names = append(names, licence)
	}
	slices.SortFunc(names, func(a, b string) int {
		if n := len(byLicence[b]) - len(byLicence[a]); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	for _, licence := range names {
		list := byLicence[licence]
		slices.Sort(list)
		fmt.Fprintf(&page, "| %s | %s |\n", licence, strings.Join(slices.Compact(list), ", "))
	}
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join(root(t), dashboards, "README.md"), []byte(page.String()), 0o644))
	}
	require.Equal(t, page.String(), string(read(t, "README.md")), "run it with -update")
}

// read is a file that pins the renderer.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), dashboards, name))
	require.NoError(t, err)
	return text
}
