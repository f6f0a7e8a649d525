package modelfile

import "strings"

// Role is what a file is for; the values of the event field asset_role.
type Role string

// The roles.
const (
	RoleWeights   Role = "weights"   // parameters of a model, optimizer state
	RoleDataset   Role = "dataset"   // training or evaluation data, and pointers to it
	RoleConfig    Role = "config"    // how a model is built or its environment
	RoleCode      Role = "code"      // code that runs with the model, chat templates
	RoleTokenizer Role = "tokenizer" // vocabularies, merges, tokenizer settings
	RoleCard      Role = "card"      // documentation of a model or dataset
	RolePipeline  Role = "pipeline"  // how a model is trained or deployed
	RoleControl   Role = "control"   // who may change what: attributes, owners, CI, signatures
	RoleOther     Role = "other"     // none of these
)

// Format is a file's format; the values of the event field asset_format. It is
// empty where neither name nor content tells.
type Format string

// Class is what a path tells about a file. The zero Class is not used: a path
// that tells nothing has RoleOther.
type Class struct {
	Role   Role
	Format Format
	// Asset: the path by itself names an AI asset. It is false for what is found
	// everywhere (a plain .py, .json or .zip), also where Role is known.
	Asset bool
	// CanCarryCode: loading such a file in the usual way can run code that
	// stands in it, or makes the loader run a file that it names.
	CanCarryCode bool
	// Template: the file holds a prompt template, which decides what a model is
	// told and is to be treated as code.
	Template bool

	// either: the same format holds weights and datasets; the folder decides.
	either bool
}

// Classify tells what path is, by its name, its extension and its folders, in
// this order. Separators are slashes; letter case does not matter. It does not
// allocate.
func Classify(path string) Class {
	base := path[strings.LastIndexByte(path, '/')+1:]
	if base == "" {
		return Class{Role: RoleOther}
	}
	if c := byName.lookup(base); c != nil {
		return byFolderIfEither(c, path, base)
	}
	stem, ext := cutExt(base)
	if compression.lookup(ext) != nil {
		stem, ext = cutExt(stem)
	}
	if c, ok := byPattern(stem, ext); ok {
		return c
	}
	if c := byExt.lookup(ext); c != nil {
		return byFolderIfEither(c, path, base)
	}
	if c := byFolder(path, base); c != nil {
		return *c
	}
	return Class{Role: RoleOther}
}

// byFolderIfEither turns a class whose format holds both weights and datasets
// into a dataset where a folder says so.
func byFolderIfEither(c *Class, path, base string) Class {
	if !c.either {
		return *c
	}
	d := *c
	d.either = false
	if f := byFolder(path, base); f != nil {
		d.Role, d.Asset = f.Role, true
	}
	return d
}

// byPattern knows the names that neither a whole name nor an extension tells.
// stem is the name without extension.
func byPattern(stem, ext string) (Class, bool) {
	if ext == "" || len(ext) > maxName {
		return Class{}, false
	}
	var buf [maxName]byte
	low := lower(&buf, ext)
	switch string(low) {
	case "bin":
		switch {
		case hasPrefixFold(stem, "ggml"):
			return Class{Role: RoleWeights, Format: "ggml", Asset: true}, true
		case containsAnyFold(stem, "model", "weight", "optimizer", "scheduler", "adapter", "consolidated", "lora"):
			return Class{Role: RoleWeights, Format: "pickle", Asset: true, CanCarryCode: true}, true
		}
	case "py":
		if containsAnyFold(stem, "modeling", "modelling", "tokenization", "configuration_", "processing_", "handler", "inference", "predict", "train", "finetune", "model", "score") {
			return Class{Role: RoleCode, Format: "python", Asset: true, CanCarryCode: true}, true
		}
	case "json":
		switch {
		case hasSuffixFold(stem, ".safetensors.index") || hasSuffixFold(stem, ".bin.index"):
			return Class{Role: RoleWeights, Format: "json", Asset: true}, true
		case hasPrefixFold(stem, "tokenizer"):
			return Class{Role: RoleTokenizer, Format: "json", Asset: true, Template: true}, true
		case hasPrefixFold(stem, "vocab"):
			return Class{Role: RoleTokenizer, Format: "json", Asset: true}, true
		case hasSuffixFold(stem, "_config"):
			return Class{Role: RoleConfig, Format: "json", Asset: true}, true
		}
	case "jinja", "jinja2", "j2":
		if containsAnyFold(stem, "chat_template", "prompt") {
			return Class{Role: RoleCode, Format: "jinja", Asset: true, CanCarryCode: true, Template: true}, true
		}
	case "txt":
		switch {
		case hasPrefixFold(stem, "requirements"):
			return Class{Role: RoleConfig, Format: "text", Asset: true, CanCarryCode: true}, true
		case hasPrefixFold(stem, "vocab"), hasPrefixFold(stem, "merges"):
			return Class{Role: RoleTokenizer, Format: "text", Asset: true}, true
		}
	}
	// TensorFlow's sharded checkpoints: model.ckpt-7.data-00000-of-00001, and
	// model.ckpt-7.index, model.ckpt-7.meta, variables.index beside it.
	switch string(low[:min(len(low), 5)]) {
	case "data-", "ckpt-":
		return weights("tensorflow"), true
	case "index", "meta":
		if containsAnyFold(stem, "ckpt", "variables") {
			return weights("tensorflow"), true
		}
	}
	return Class{}, false
}

// byFolder knows folders whose files belong together whatever their names.
func byFolder(path, base string) *Class {
	if base[0] == '.' {
		return nil
	}
	dirs := path[:len(path)-len(base)]
	for dirs != "" {
		end := strings.IndexByte(dirs, '/')
		dir := dirs[:end]
		dirs = dirs[end+1:]
		if c := folders.lookup(dir); c != nil {
			return c
		}
		dot := strings.LastIndexByte(dir, '.')
		if dot > 0 {
			if c := bundles.lookup(dir[dot+1:]); c != nil {
				return c
			}
		}
		if dot == 0 && (dir == ".github" && hasPrefixFold(dirs, "workflows/") ||
			dir == ".dvc" && (base == "config" || base == "config.local")) {
			return &buildMachine
		}
	}
	return nil
}

// cutExt splits a file's name at its last dot. The extension is empty where
// there is none, and for a hidden file without another dot.
func cutExt(base string) (stem, ext string) {
	dot := strings.LastIndexByte(base, '.')
	if dot <= 0 {
		return base, ""
	}
	return base[:dot], base[dot+1:]
}

// maxName is the length in bytes of the longest name a table may hold.
const maxName = 40

// A table maps names in lower case to what they mean. Most names that are asked
// for are in no table: length, first and last letter tell that without hashing.
type table struct {
	entries map[string]*Class
	first   [maxName + 1]uint32 // by length: bit c&31 for each first letter c
	last    [maxName + 1]uint32
}

func newTable(entries map[string]Class) *table {
	t := &table{entries: make(map[string]*Class, len(entries))}
	for name, c := range entries {
		t.entries[name] = &c
		t.first[len(name)] |= 1 << (name[0] & 31)
		t.last[len(name)] |= 1 << (name[len(name)-1] & 31)
	}
	return t
}

// lookup finds name in any letter case; nil when the table has none. (Upper and
// lower case of a letter have the same low five bits.)
func (t *table) lookup(name string) *Class {
	n := len(name)
	if n == 0 || n > maxName || t.first[n]>>(name[0]&31)&1 == 0 || t.last[n]>>(name[n-1]&31)&1 == 0 {
		return nil
	}
	var buf [maxName]byte
	return t.entries[string(lower(&buf, name))]
}

// lower copies s, at most as long as buf, in ASCII lower case.
func lower(buf *[maxName]byte, s string) []byte {
	b := buf[:len(s)]
	for i := range b {
		b[i] = lowerByte(s[i])
	}
	return b
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// hasPrefixFold reports whether s begins with the lower-case prefix.
func hasPrefixFold(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lowerByte(s[i]) != prefix[i] {
			return false
		}
	}
	return true
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && hasPrefixFold(s[len(s)-len(suffix):], suffix)
}

func containsFold(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if lowerByte(s[i]) == sub[0] && hasPrefixFold(s[i:], sub) {
			return true
		}
	}
	return false
}

func containsAnyFold(s string, subs ...string) bool {
	for _, sub := range subs {
		if containsFold(s, sub) {
			return true
		}
	}
	return false
}
