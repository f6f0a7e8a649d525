package packaging

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// licences is the file with the licences of everything that is in the programs.
const licences = "THIRD-PARTY-LICENSES"

// modules returns the modules of which the programs were made, as they
// themselves say, in the order of their paths.
func modules(programs ...string) ([]*debug.Module, error) {
	all := map[string]*debug.Module{}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return nil, fmt.Errorf("read what %s was made of: %w", program, err)
		}
		for _, m := range info.Deps {
			all[m.Path] = m
		}
		all["stdlib"] = &debug.Module{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}
	}
	var list []*debug.Module
	for _, path := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[path])
	}
	return list, nil
}

// A bom is a bill of materials as CycloneDX 1.6 has it.
type bom struct {
	Format       string      `json:"bomFormat"`
	SpecVersion  string      `json:"specVersion"`
	SerialNumber string      `json:"serialNumber,omitempty"`
	Version      int         `json:"version"`
	Metadata     bomMetadata `json:"metadata"`
	Components   []component `json:"components"`
}

type bomMetadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

// billOfMaterials returns the bill of a package in JSON. It has no date, and a
// serial number made from its content, so that the same package has the same.
func billOfMaterials(p *Package, parts []*debug.Module) ([]byte, error) {
	b := bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Components: []component{}}
	b.Metadata.Component = component{Type: "application", Ref: p.ID, Name: p.ID, Version: p.Version}
	for _, m := range parts {
		purl := "pkg:golang/" + (&url.URL{Path: m.Path}).EscapedPath() + "@" + url.PathEscape(m.Version)
		b.Components = append(b.Components, component{Type: "library", Ref: purl, Name: m.Path, Version: m.Version, PURL: purl})
	}
	content, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(content)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8, which is for such
	x := hex.EncodeToString(id[:16])
	b.SerialNumber = fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", x[:8], x[8:12], x[12:16], x[16:20], x[20:])
	content, err = json.MarshalIndent(b, "", "  ")
	return append(content, '\n'), err
}

// licenceTexts returns the licences and notices of the modules, which their
// licences want to go with the programs.
func licenceTexts(parts []*debug.Module) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("What the programs of this package are made of, and the licences of its parts.\n")
	for _, m := range parts {
		dir, err := moduleDir(m)
		if err != nil {
			return nil, err
		}
		texts, err := textsIn(dir)
		if err != nil {
			return nil, err
		}
		if len(texts) == 0 {
			return nil, fmt.Errorf("%s %s has no licence in %s", m.Path, m.Version, dir)
		}
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			rule := strings.Repeat("=", 78)
			fmt.Fprintf(&b, "\n%s\n%s %s: %s\n%s\n\n%s\n", rule, m.Path, m.Version, name, rule, strings.TrimSpace(strings.ReplaceAll(texts[name], "\r\n", "\n")))
		}
	}
	return b.Bytes(), nil
}

func moduleDir(m *debug.Module) (string, error) {
	args := []string{"list", "-m", "-f", "{{.Dir}}", m.Path}
	if m.Path == "stdlib" {
		args = []string{"env", "GOROOT"}
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", m.Path, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func textsIn(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, entry := range entries {
		upper := strings.ToUpper(entry.Name())
		if entry.IsDir() || !strings.HasPrefix(upper, "LICEN") && !strings.HasPrefix(upper, "COPYING") && !strings.HasPrefix(upper, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		texts[entry.Name()] = string(text)
	}
	return texts, nil
}
