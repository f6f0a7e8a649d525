package modelfile

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// PointerKind says which tool wrote a pointer.
type PointerKind string

// The kinds of pointers.
const (
	PointerLFS   PointerKind = "lfs"   // Git LFS, Hugging Face Xet
	PointerDVC   PointerKind = "dvc"   // DVC's .dvc files and dvc.lock
	PointerAnnex PointerKind = "annex" // git-annex
)

// A Pointer stands in a repository for content that is kept elsewhere. It is
// read, never followed.
type Pointer struct {
	Kind   PointerKind `json:"kind"`
	Digest string      `json:"digest,omitempty"` // sha256:..., md5:...; empty where the key holds none
	Size   int64       `json:"size"`             // bytes, -1 where it is not told
	Path   string      `json:"path,omitempty"`   // DVC: the output that is pointed to
	Stage  string      `json:"stage,omitempty"`  // DVC: the stage of dvc.lock
	Files  int64       `json:"files,omitempty"`  // DVC: files of a folder
	Dir    bool        `json:"dir,omitempty"`    // DVC: the digest is that of a folder's listing
}

// Sizes in bytes that a pointer never exceeds.
const (
	MaxLFSPointer   = 1023
	MaxDVCPointer   = 4 << 20
	MaxAnnexPointer = 32 << 10
)

// lfsVersions are the versions that git-lfs itself takes for a pointer's.
var lfsVersions = []string{
	"https://git-lfs.github.com/spec/v1",
	"https://hawser.github.com/spec/v1",
	"http://git-media.io/v/2",
}

// ParseLFS reads a Git LFS pointer.
// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
//
// It takes what git-lfs takes when it checks out: spaces around the text and
// carriage returns too. Otherwise it is strict: keys in order, none unknown.
func ParseLFS(b []byte) (Pointer, bool) {
	if len(b) > MaxLFSPointer {
		return Pointer{}, false
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	take := func(key string) (string, bool) {
		if len(lines) == 0 {
			return "", false
		}
		value, ok := strings.CutPrefix(strings.TrimSuffix(lines[0], "\r"), key+" ")
		if ok {
			lines = lines[1:]
		}
		return value, ok
	}
	if version, ok := take("version"); !ok || !slices.Contains(lfsVersions, version) {
		return Pointer{}, false
	}
	for len(lines) > 0 && strings.HasPrefix(lines[0], "ext-") {
		key, value, _ := strings.Cut(strings.TrimSuffix(lines[0], "\r"), " ")
		if len(key) < len("ext-0-x") || key[4] < '0' || key[4] > '9' || key[5] != '-' || !isSHA256(value) {
			return Pointer{}, false
		}
		lines = lines[1:]
	}
	oid, ok := take("oid")
	if !ok || !isSHA256(oid) {
		return Pointer{}, false
	}
	length, ok := take("size")
	if !ok || len(lines) != 0 {
		return Pointer{}, false
	}
	size, ok := parseSize(length)
	if !ok {
		return Pointer{}, false
	}
	return Pointer{Kind: PointerLFS, Digest: oid, Size: size}, true
}

func isSHA256(s string) bool {
	s, ok := strings.CutPrefix(s, "sha256:")
	return ok && isHex(s, 64)
}

// isHex reports whether s is n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if !hexDigits[s[i]] {
			return false
		}
	}
	return true
}

var hexDigits = func() (t [256]bool) {
	for _, c := range []byte("0123456789abcdef") {
		t[c] = true
	}
	return t
}()

// parseSize reads a number of bytes, digits only.
func parseSize(s string) (int64, bool) {
	if !isNumber(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// ParseAnnex reads a git-annex pointer: the target of a symbolic link, or the
// text of an unlocked file. https://git-annex.branchable.com/internals/pointer_file/
func ParseAnnex(b []byte) (Pointer, bool) {
	const objects = "annex/objects/"
	if len(b) > MaxAnnexPointer {
		return Pointer{}, false
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	path := strings.TrimSuffix(string(line), "\r")
	i := strings.Index(path, objects)
	if i < 0 || i > 0 && path[i-1] != '/' || strings.ContainsAny(path, "\x00 ") {
		return Pointer{}, false
	}
	for part := range strings.SplitSeq(path[:i], "/") {
		if part != "" && part != ".." && part != "." && part != ".git" {
			return Pointer{}, false
		}
	}
	_, key := cutLast(path[i+len(objects)-1:])
	fields, name, ok := strings.Cut(key, "--")
	if !ok || name == "" {
		return Pointer{}, false
	}
	backend, rest, _ := strings.Cut(fields, "-")
	if backend == "" || strings.ToUpper(backend) != backend {
		return Pointer{}, false
	}
	p := Pointer{Kind: PointerAnnex, Size: -1}
	for field := range strings.SplitSeq(rest, "-") {
		if length, ok := strings.CutPrefix(field, "s"); ok {
			if p.Size, ok = parseSize(length); !ok {
				return Pointer{}, false
			}
		}
	}
	// Backends that end in E add the file's extension to the hash.
	if strings.HasSuffix(backend, "E") {
		backend = strings.TrimSuffix(backend, "E")
		name, _, _ = strings.Cut(name, ".")
	}
	if n := annexHashes[backend]; n > 0 {
		if !isHex(name, n) {
			return Pointer{}, false
		}
		p.Digest = strings.ToLower(backend) + ":" + name
	}
	return p, true
}

// annexHashes are the backends whose keys are hashes, with their hex digits.
var annexHashes = map[string]int{"SHA256": 64, "SHA512": 128, "SHA384": 96, "SHA224": 56, "SHA1": 40, "MD5": 32}

// dvcOut is an output as DVC writes it.
type dvcOut struct {
	Path  string `yaml:"path"`
	MD5   string `yaml:"md5"`
	Size  *int64 `yaml:"size"`
	Files int64  `yaml:"nfiles"`
}

// ParseDVC reads the outputs of a .dvc file or a dvc.lock, those of a lock in
// the order of their stages' names. An error says why b is neither.
func ParseDVC(b []byte) ([]Pointer, error) {
	if err := boundYAML(b); err != nil {
		return nil, err
	}
	var file struct {
		Outs   []dvcOut `yaml:"outs"`
		Stages map[string]struct {
			Outs []dvcOut `yaml:"outs"`
		} `yaml:"stages"`
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("read DVC file: %s", yaml.FormatError(err, false, false))
	}
	pointers := dvcPointers(nil, "", file.Outs)
	for _, stage := range slices.Sorted(maps.Keys(file.Stages)) {
		pointers = dvcPointers(pointers, stage, file.Stages[stage].Outs)
	}
	return pointers, nil
}

func dvcPointers(to []Pointer, stage string, outs []dvcOut) []Pointer {
	for _, o := range outs {
		p := Pointer{Kind: PointerDVC, Size: -1, Path: o.Path, Stage: stage, Files: max(o.Files, 0)}
		if o.Size != nil && *o.Size >= 0 {
			p.Size = *o.Size
		}
		sum, dir := strings.CutSuffix(o.MD5, ".dir")
		if isHex(sum, 32) {
			p.Digest, p.Dir = "md5:"+sum, dir
		}
		to = append(to, p)
	}
	return to
}

var errYAML = errors.New("read DVC file: too large, too deep, or with anchors, which DVC never writes")

// boundYAML refuses what would cost a YAML reader more than the file's size:
// aliases multiply, and depth is recursion.
func boundYAML(b []byte) error {
	const (
		maxDepth  = 32  // brackets within one another
		maxIndent = 128 // bytes in front of a line's content
	)
	if len(b) > MaxDVCPointer {
		return errYAML
	}
	depth, indent, content := 0, 0, false
	for _, c := range b {
		switch c {
		case '\n':
			indent, content = 0, false
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if !content && (c == ' ' || c == '-' || c == '?' || c == ':' || c == '\t') {
			indent++
		} else {
			content = true
		}
		if depth > maxDepth || indent > maxIndent {
			return errYAML
		}
	}
	for _, t := range lexer.Tokenize(string(b)) {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType:
			return errYAML
		}
	}
	return nil
}

// ParsePointers reads the pointers that a file's content is, nil when it is
// none: of DVC where the path says so, otherwise of Git LFS or git-annex.
func ParsePointers(path string, b []byte) ([]Pointer, error) {
	if Classify(path).Format == "dvc" {
		return ParseDVC(b)
	}
	if p, ok := ParseLFS(b); ok {
		return []Pointer{p}, nil
	}
	if p, ok := ParseAnnex(b); ok {
		return []Pointer{p}, nil
	}
	return nil, nil
}
