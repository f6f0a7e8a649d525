package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Config is a whole configuration.
type Config struct {
	// Dir is the directory with default/ and local/.
	Dir string

	stanzas []*Settings // those written, in their order
	options options
}

// Load reads aiwatch.conf and inputs.conf in default/ under local/ of dir. Any
// of the files may be missing, but one of them must be there. Values of
// [default] and of a scheme's own stanza, such as [aiwatch_s3], hold for every
// input of the scheme that does not set them itself.
//
// The error is Problems when it is the user's mistake: all of them, not the
// first alone.
func Load(dir string, opts ...Option) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the configuration: %w", err)
	}
	c := &Config{Dir: dir, options: newOptions(opts)}
	names := []string{AIWatchFile, InputsFile}
	if c.options.noInputs {
		names = names[:1]
	} else if err := anyFile(dir); err != nil {
		return nil, err
	}
	var problems Problems
	for _, name := range names {
		f, err := Read(dir, name)
		var found Problems
		switch {
		case errors.As(err, &found):
			problems = append(problems, found...)
		case err != nil:
			return nil, err
		}
		problems = append(problems, c.add(name, f)...)
	}
	if scs := c.One("scs"); scs.Present() && c.One("hec").Present() {
		problems = append(problems, Problem{scs.origin, "", "both [hec] and [scs] are configured, and events have one destination", "remove one of them"})
	}
	if err := problems.orNil(); err != nil {
		return nil, err
	}
	return c, nil
}

// anyFile refuses a directory that holds none of the files.
func anyFile(dir string) error {
	for _, layer := range []string{"local", "default"} {
		for _, name := range []string{AIWatchFile, InputsFile} {
			if _, err := os.Stat(filepath.Join(dir, layer, name)); !errors.Is(err, fs.ErrNotExist) {
				return nil
			}
		}
	}
	return Problems{{Origin{File: dir}, "", "there is no configuration here", "write local/aiwatch.conf and local/inputs.conf below it, or name another directory by --conf or AIWATCH_CONF"}}
}

// add takes the stanzas of one file.
func (c *Config) add(file string, f *File) Problems {
	var problems Problems
	count := map[*Kind]int{}
	kinds := Kinds()
	for _, st := range f.Stanzas {
		kind, name, wrong := kindOf(kinds, file, st.Name)
		switch {
		case wrong != nil:
			problems = append(problems, Problem{st.Origin, "", wrong.what, wrong.fix})
			continue
		case kind == nil: // [default] or a scheme's defaults
			problems = append(problems, checkDefaults(kinds, file, st)...)
			continue
		}
		if count[kind]++; kind.Most > 0 && count[kind] == kind.Most+1 {
			problems = append(problems, Problem{st.Origin, "", fmt.Sprintf("there are more than %d stanzas of this kind", kind.Most), "put several into one regular expression"})
		}
		values := st.Values
		if kind.IsInput() {
			values = slices.Concat(values, defaultsOf(kind, f.Stanza(kind.Name)), defaultsOf(kind, f.Stanza(DefaultStanza)))
		}
		s, more := newSettings(kind, name, st.Origin, values, c.Dir, c.options)
		c.stanzas = append(c.stanzas, s)
		problems = append(problems, more...)
	}
	return problems
}

// kindOf finds what a stanza's name means in the file: a kind and its NAME, or
// no kind for [default] and for a scheme's own stanza.
func kindOf(kinds []*Kind, file, stanza string) (*Kind, string, *refusal) {
	base, name, named := strings.Cut(stanza, "://")
	if stanza == DefaultStanza {
		return nil, "", nil
	}
	var other *Kind
	for _, k := range kinds {
		switch {
		case k.Name != base:
		case k.Named == named:
			if k.File != file {
				return nil, "", &refusal{"the stanza stands in the wrong file", "move it to " + k.File}
			}
			if named {
				return k, name, checkName(name)
			}
			return k, "", nil
		case k.IsInput() && file == k.File:
			return nil, "", nil
		default:
			other = k
		}
	}
	if other == nil {
		other = nearestKind(kinds, file, stanza)
	}
	return nil, "", &refusal{"there is no such stanza", fmt.Sprintf("the nearest known one is [%s] in %s", other, other.File)}
}

// nearestKind returns the kind whose name is the nearest to that of a stanza.
// One of another file must be much nearer; of two kinds with one name it is the
// one of the stanza's form.
func nearestKind(kinds []*Kind, file, stanza string) *Kind {
	word, _, named := strings.Cut(stanza, ":")
	return slices.MinFunc(kinds, func(a, b *Kind) int {
		far := func(k *Kind) int {
			d := 2 * distance(word, k.Name)
			if k.File != file {
				d += 10
			}
			if k.Named != named {
				d++
			}
			return d
		}
		return far(a) - far(b)
	})
}

// checkDefaults refuses in [default] or a scheme's own stanza what none of the
// stanzas for which it holds knows. Values themselves are checked where they
// are used.
func checkDefaults(kinds []*Kind, file string, st *Stanza) Problems {
	var problems Problems
	for _, v := range st.Values {
		if file != InputsFile {
			problems = append(problems, Problem{v.Origin, v.Key, "the setting stands in no stanza of its own", "write it below the stanza to which it belongs, such as [hec]"})
			continue
		}
		var keys []string
		for _, k := range kinds {
			if k.IsInput() && (st.Name == DefaultStanza || st.Name == k.Name) {
				if _, d, _ := k.lookup(v.Key); d != nil {
					keys = nil
					break
				}
				keys = append(keys, k.keys()...)
			}
		}
		if keys != nil && !isSplunks(v.Key) {
			problems = append(problems, Problem{v.Origin, v.Key, "there is no such setting", fmt.Sprintf("the nearest known one is %s", nearest(v.Key, keys))})
		}
	}
	return problems
}

// defaultsOf returns what of a stanza of defaults the kind knows.
func defaultsOf(kind *Kind, st *Stanza) []Value {
	if st == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(st.Values), func(v Value) bool {
		_, d, _ := kind.lookup(v.Key)
		return d == nil
	})
}

// One returns the stanza of a kind of which there is one, such as hec. When it
// is not written it holds the defaults and is not Present.
func (c *Config) One(kind string) *Settings {
	for _, s := range c.stanzas {
		if s.kind.Name == kind && !s.kind.Named {
			return s
		}
	}
	for _, k := range Kinds() {
		if k.Name == kind && !k.Named {
			// What is not written breaks no rule.
			s, _ := newSettings(k, "", Origin{}, nil, c.Dir, c.options)
			return s
		}
	}
	panic(fmt.Sprintf("conf: there is no stanza [%s]", kind))
}

// All returns the stanzas [KIND://NAME] in their order: those of local/ first,
// each as its file has them.
func (c *Config) All(kind string) []*Settings {
	if !slices.ContainsFunc(Kinds(), func(k *Kind) bool { return k.Named && k.Name == kind }) {
		panic(fmt.Sprintf("conf: there is no stanza [%s://NAME]", kind))
	}
	var all []*Settings
	for _, s := range c.stanzas {
		if s.kind.Named && s.kind.Name == kind {
			all = append(all, s)
		}
	}
	return all
}

// Inputs returns the inputs that are not disabled, in their order.
func (c *Config) Inputs() []*Settings {
	var inputs []*Settings
	for _, s := range c.stanzas {
		if s.kind.IsInput() && !s.off() {
			inputs = append(inputs, s)
		}
	}
	return inputs
}

// Input returns the input of that stanza, or of that NAME where it is unique,
// disabled or not. The error says which there are.
func (c *Config) Input(name string) (*Settings, error) {
	var found []*Settings
	var known []string
	for _, s := range c.stanzas {
		if !s.kind.IsInput() {
			continue
		}
		known = append(known, s.Stanza())
		if s.Stanza() == name {
			return s, nil
		}
		if s.name == name {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		var stanzas []string
		for _, s := range found {
			stanzas = append(stanzas, s.Stanza())
		}
		return nil, fmt.Errorf("several inputs are named %s: say %s", clean(name), words(stanzas, "or"))
	case len(known) == 0:
		return nil, fmt.Errorf("there is no input %s: %s has no input stanzas", clean(name), filepath.Join(c.Dir, "local", InputsFile))
	}
	return nil, fmt.Errorf("there is no input %s: the inputs are %s", clean(name), words(known, "and"))
}

// Destination returns the stanza of the one destination, [hec] or [scs]. The
// error says how to write one.
func (c *Config) Destination() (*Settings, error) {
	for _, kind := range []string{"hec", "scs"} {
		if s := c.One(kind); s.Present() {
			return s, nil
		}
	}
	return nil, Problems{{Origin{File: filepath.Join(c.Dir, "local", AIWatchFile)}, "", "there is no destination", "write a stanza [hec] with url and token_file, or [scs] with tenant and token_file"}}
}
