package conf

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Settings are what one stanza says, checked and with defaults filled in. Its
// accessors panic when the table declares no setting of that name and type. It
// does not change, and may be used by several goroutines.
type Settings struct {
	kind    *Kind
	name    string
	origin  Origin
	present bool
	values  map[string]value // by the key of the table
	options options
}

type value struct {
	Value
	set    bool // false: the default
	parsed any
}

// Options of Load and FromParams.
type options struct {
	getenv     func(string) string
	credential func(ctx context.Context, name string) (string, error)
	noInputs   bool
}

// An Option changes what is read, and where secrets come from.
type Option func(*options)

// WithEnv hands in the environment; without it it is the process's.
func WithEnv(getenv func(string) string) Option {
	return func(o *options) { o.getenv = getenv }
}

// WithCredentials hands in a reader of Splunk's storage/passwords; without it
// X_credential is refused when the secret is asked for.
func WithCredentials(read func(ctx context.Context, name string) (string, error)) Option {
	return func(o *options) { o.credential = read }
}

// WithoutInputs makes Load leave inputs.conf alone, for a modular input: splunkd
// hands it its own stanza, and a mistake in another's is not its affair. There
// may then be no file at all.
func WithoutInputs() Option {
	return func(o *options) { o.noInputs = true }
}

func newOptions(opts []Option) options {
	o := options{getenv: os.Getenv}
	for _, set := range opts {
		set(&o)
	}
	return o
}

// Kind is the name of the stanza's kind, such as hec or aiwatch_s3.
func (s *Settings) Kind() string { return s.kind.Name }

// Name is what stands behind the ://, empty for a stanza such as [hec].
func (s *Settings) Name() string { return s.name }

// Stanza is the stanza as it is written, such as aiwatch_s3://prod.
func (s *Settings) Stanza() string {
	if s.kind.Named {
		return s.kind.Name + "://" + s.name
	}
	return s.kind.Name
}

// Present tells whether the stanza was written at all.
func (s *Settings) Present() bool { return s.present }

// Where returns the place of the stanza, or of the setting where it is set, for
// errors that only its use brings up.
func (s *Settings) Where(name string) Origin {
	_, d := s.kind.find(name)
	for _, key := range append(d.Keys(), name) {
		if v := s.values[key]; v.set {
			return v.Origin
		}
	}
	return s.origin
}

// IsSet tells whether the setting is written, and not empty. A secret is set
// when one of its ways is.
func (s *Settings) IsSet(name string) bool {
	key, d := s.kind.find(name)
	return s.values[key].set || (key == d.Name && slices.ContainsFunc(d.Keys(), func(k string) bool { return s.values[k].set }))
}

// String returns a value of the types that are text, empty without one.
func (s *Settings) String(name string) string {
	return get[string](s, name, false, String, Choice, Path, URL, Repository, Bucket, BucketGlob, Address, Glob)
}

// List returns a list of the types that are text, nil without one.
func (s *Settings) List(name string) []string {
	return slices.Clone(get[[]string](s, name, true, String, Choice, Path, URL, Repository, Bucket, BucketGlob, Address, Glob))
}

// Networks returns a list of networks, nil without one.
func (s *Settings) Networks(name string) []netip.Prefix {
	return slices.Clone(get[[]netip.Prefix](s, name, true, Network))
}

// Bool returns a boolean.
func (s *Settings) Bool(name string) bool { return get[bool](s, name, false, Bool) }

// Int returns a whole number.
func (s *Settings) Int(name string) int { return get[int](s, name, false, Int) }

// Duration returns a duration, 0 without one.
func (s *Settings) Duration(name string) time.Duration {
	return get[time.Duration](s, name, false, Duration)
}

// Size returns a number of bytes, 0 without one.
func (s *Settings) Size(name string) int64 { return get[int64](s, name, false, Size) }

// Regexp returns a regular expression, nil without one.
func (s *Settings) Regexp(name string) *regexp.Regexp {
	return get[*regexp.Regexp](s, name, false, Regexp)
}

// Time returns a time as it is written: a moment, or how long before another
// one that the reader knows, such as its first start. Both are zero without one.
func (s *Settings) Time(name string) (at time.Time, ago time.Duration) {
	m := get[moment](s, name, false, Time)
	return m.at, m.ago
}

// Interval returns an input's interval.
func (s *Settings) Interval() Schedule { return get[Schedule](s, "interval", false, Interval) }

// get returns the value of a declared setting, the zero value when it has none.
func get[T any](s *Settings, name string, many bool, types ...Type) T {
	_, d := s.kind.find(name)
	if d.Many != many || !slices.Contains(types, d.Type) {
		panic(fmt.Sprintf("conf: %s of [%s] is a %s and not read so", name, s.kind, d.Type))
	}
	v, _ := s.values[name].parsed.(T)
	return v
}

// find returns the declared setting of that name or panics.
func (k *Kind) find(name string) (string, *Setting) {
	key, d, _ := k.lookup(name)
	if d == nil {
		panic(fmt.Sprintf("conf: [%s] has no setting %s", k, name))
	}
	return key, d
}

// lookup finds what a user's key means: the key in the table, without its
// alias, the setting, and the type of what is written. A secret's own name is
// found with the type SecretType.
func (k *Kind) lookup(name string) (string, *Setting, Type) {
	for i := range k.Settings {
		d := &k.Settings[i]
		for _, known := range append([]string{d.Name}, d.Aliases...) {
			if name == known {
				return d.Name, d, d.Type
			}
			way, ok := strings.CutPrefix(name, known)
			if d.Type != SecretType || !ok {
				continue
			}
			switch way {
			case fromFile:
				return d.Name + way, d, Path
			case fromEnv:
				return d.Name + way, d, variable
			case fromCredential:
				return d.Name + way, d, credential
			}
		}
	}
	return "", nil, ""
}

// keys are all keys that may be written in a stanza of the kind.
func (k *Kind) keys() []string {
	var keys []string
	for i := range k.Settings {
		keys = append(keys, k.Settings[i].Keys()...)
	}
	return keys
}

// splunkKeys are settings of any modular input that splunkd reads or hands
// over, and that mean nothing to us. So do those that begin with _ or eai:.
var splunkKeys = []string{
	"passAuth", "persistentQueueSize", "python.required", "python.version",
	"queue", "queueSize", "run_introspection", "run_only_one", "source",
	"sourcetype", "start_by_shell",
}

func isSplunks(key string) bool {
	return slices.Contains(splunkKeys, key) || strings.HasPrefix(key, "_") || strings.HasPrefix(key, "eai:")
}

// newSettings reads a stanza of the kind. Values of the same key come with the
// strongest first. Paths that are not absolute are below base.
func newSettings(kind *Kind, name string, origin Origin, values []Value, base string, o options) (*Settings, Problems) {
	s := &Settings{kind: kind, name: name, origin: origin, values: map[string]value{}, options: o}
	s.present = len(values) > 0 || origin != Origin{}
	var problems Problems
	read := map[string]Value{}
	for _, v := range values {
		key, d, typ := kind.lookup(v.Key)
		if first, again := read[key]; d != nil && again {
			if first.Key != v.Key && first.Origin.File == v.Origin.File {
				problems = append(problems, Problem{v.Origin, v.Key, fmt.Sprintf("%s is set too, which is the same setting by another name", first.Key), "keep " + key})
			}
			continue
		}
		read[key] = v
		switch {
		case d == nil && kind.IsInput() && isSplunks(v.Key):
		case d == nil:
			problems = append(problems, Problem{v.Origin, v.Key, "there is no such setting", fmt.Sprintf("the nearest known one is %s", nearest(v.Key, kind.keys()))})
		case typ == SecretType:
			problems = append(problems, Problem{v.Origin, v.Key, "a secret is never written into the configuration", fmt.Sprintf("take it out, change it if others saw it, and set %s (a file that only its owner can read), %s (the name of an environment variable) or, under Splunk, %s (the name of an entry in storage/passwords)", d.Name+fromFile, d.Name+fromEnv, d.Name+fromCredential)})
			// Set, for all that the rules ask.
			s.values[d.Name] = value{Value: Value{Key: v.Key, Origin: v.Origin}, set: true}
		case v.Text == "":
			// Empty is unset, so that local/ can take back what default/ sets.
		default:
			parsed, err := d.parse(typ, base, v.Text)
			if err != nil {
				problems = append(problems, s.problemOf(value{Value: v}, err))
			}
			s.values[key] = value{v, true, parsed}
		}
	}
	for i := range kind.Settings {
		d := &kind.Settings[i]
		if _, ok := s.values[d.Name]; ok || d.Default == "" {
			continue
		}
		parsed, err := d.parse(d.Type, base, d.Default)
		if err != nil {
			panic(fmt.Sprintf("conf: the default of %s in [%s]: %v", d.Name, kind, err))
		}
		s.values[d.Name] = value{parsed: parsed}
	}
	if !s.off() {
		// A value that was refused is not told of again.
		refused := func(p Problem) bool {
			return slices.ContainsFunc(problems, func(q Problem) bool { return p.Key != "" && p.Key == q.Key })
		}
		problems = append(problems, slices.DeleteFunc(s.checkRules(), refused)...)
	}
	return s, problems
}

func (d *Setting) parse(typ Type, base, text string) (any, error) {
	if d.Many {
		return parseList(d, typ, base, text)
	}
	return parseValue(d, typ, base, text)
}

// off tells whether the stanza is an input that is not run, and so need not be
// whole.
func (s *Settings) off() bool { return s.kind.IsInput() && s.Bool("disabled") }

// checkRules returns what is missing and what does not go together.
func (s *Settings) checkRules() Problems {
	var problems Problems
	for i := range s.kind.Settings {
		if d := &s.kind.Settings[i]; d.Required && !s.IsSet(d.Name) {
			problems = append(problems, Problem{s.origin, "", words(d.Keys(), "or") + " is missing", "set it: " + d.Doc})
		}
		if d := &s.kind.Settings[i]; d.Type == SecretType {
			if name, wrong := atMostOne(d.Keys()...).check(s); wrong != nil {
				problems = append(problems, s.problemOf(s.values[name], wrong))
			}
		}
	}
	for _, rule := range s.kind.Rules {
		name, wrong := rule.check(s)
		if wrong == nil {
			continue
		}
		at := Problem{Origin: s.origin, What: wrong.what, Fix: wrong.fix}
		if name != "" {
			at.Origin, at.Key = s.Where(name), name
		}
		problems = append(problems, at)
	}
	return problems
}

// problemOf tells of a refused value.
func (s *Settings) problemOf(v value, err error) Problem {
	r := asRefusal(err)
	return Problem{v.Origin, v.Key, r.what, r.fix}
}

// checkName refuses what can't be the NAME of a stanza: it becomes a part of
// sources, states and file names.
func checkName(name string) *refusal {
	const most = 100
	switch {
	case name == "":
		return &refusal{"no name stands behind the ://", "write one, such as ://prod"}
	case len(name) > most:
		return &refusal{"the name is too long", fmt.Sprintf("write at most %d characters", most)}
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }):
		return &refusal{"the name holds a space or a character that can't be seen", "write letters, digits, - and _"}
	}
	return nil
}

// FromParams reads the parameters that Splunk hands a modular input: kind is
// the scheme, name the stanza with it or without. Paths must be absolute. The
// error is Problems.
func FromParams(kind, name string, params map[string][]string, opts ...Option) (*Settings, error) {
	i := slices.IndexFunc(Kinds(), func(k *Kind) bool { return k.Name == kind && k.IsInput() })
	if i < 0 {
		panic(fmt.Sprintf("conf: %s is no kind of input", kind))
	}
	k := Kinds()[i]
	name = strings.TrimPrefix(name, kind+"://")
	origin := Origin{Stanza: kind + "://" + name}
	if wrong := checkName(name); wrong != nil {
		return nil, Problems{{origin, "", wrong.what, wrong.fix}}
	}
	var values []Value
	var problems Problems
	for _, key := range slices.Sorted(maps.Keys(params)) {
		texts := params[key]
		if _, d, _ := k.lookup(key); d != nil && !d.Many && len(texts) > 1 {
			problems = append(problems, Problem{origin, key, "several values are given, and it takes one", "give one"})
			continue
		}
		text := strings.TrimSpace(strings.Join(texts, ","))
		if (key == "host" && text == "$decideOnStartup") || (key == "index" && text == "default") {
			// Splunk's ways to say that none is configured.
			continue
		}
		values = append(values, Value{key, text, origin})
	}
	s, more := newSettings(k, name, origin, values, "", newOptions(opts))
	if err := append(problems, more...).orNil(); err != nil {
		return nil, err
	}
	return s, nil
}
