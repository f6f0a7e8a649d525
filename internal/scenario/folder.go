package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// File names of a scenario's folder.
const (
	storyFile = "scenario.yml"
	actsGlob  = "acts*.ndjson"
)

// A Scenario is a folder as it was read.
type Scenario struct {
	Dir string // absolute

	Name, Story  string
	Start, End   time.Time
	People       int
	ArtifactRoot string // s3://bucket/prefix of the MLflow server
	MLflow       string // the version whose API the stand-in speaks: 3.17 or 2.22
	Expect       []Expect
	Quiet        Quiet

	acts []string // files of acts, in the order of their names
	uses uses
}

// An Expect is one thing that must be found.
type Expect struct {
	Detection int
	User      string // empty: anybody
	Asset     string // a prefix of asset_id; empty: anything
	From, To  time.Time
	Why       string

	line int
}

// A Quiet says how much may be raised beside what is expected.
type Quiet struct {
	// MaxAlerts is the most alerts per hundred people and day that no Expect
	// claims; negative is any number.
	MaxAlerts float64
	Allow     []Allow
}

// An Allow is a detection that may fire for a user, or for anybody.
type Allow struct {
	Detection int
	User      string // empty: anybody
}

// uses is what the acts of a scenario need of the world.
type uses struct {
	grants bool            // calls about users and permissions
	repos  map[string]bool // repositories that acts name
	saved  map[string]bool // variables that some act saves
	acts   int
	// ordered are the files whose lines are in the order of their time.
	ordered map[string]bool
}

// A Problem is one mistake in a scenario, told so that its author can mend it.
type Problem struct {
	File string // below the scenario's folder
	Line int    // from 1; 0 is the file as a whole
	What string
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.What
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What)
}

// Problems are all mistakes that were found, in the order of files and lines.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

func (ps *Problems) add(file string, line int, format string, args ...any) {
	*ps = append(*ps, Problem{file, line, fmt.Sprintf(format, args...)})
}

func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// maxProblems bounds how many mistakes are told: a wrong generator makes the
// same one in each line.
const maxProblems = 50

// Load reads a scenario's folder. Its error is Problems when the scenario is at
// fault: all that were found, each with file and line.
func Load(dir string) (*Scenario, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the scenario: %w", err)
	}
	s := &Scenario{Dir: dir}
	var ps Problems
	switch err := s.readStory(&ps); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Problems{{File: s.shown(storyFile), What: "there is no such file; a scenario is a folder with one"}}
	case err != nil:
		return nil, fmt.Errorf("read the scenario: %w", err)
	}
	if _, err := os.Stat(s.file("inputs.conf")); errors.Is(err, fs.ErrNotExist) {
		ps.add(s.shown("inputs.conf"), 0, "there is no such file; write what an operator would, such as [aiwatch_s3://prod] with path = ${S3}")
	}
	if s.acts, err = actFiles(dir); err != nil {
		return nil, err
	}
	if len(s.acts) == 0 {
		ps.add(s.shown(actsGlob), 0, "there are no acts; write acts.ndjson, one JSON object a line")
	}
	if err := s.survey(&ps); err != nil {
		return nil, err
	}
	return s, ps.orNil()
}

// file is the path of a file of the scenario.
func (s *Scenario) file(name string) string { return filepath.Join(s.Dir, name) }

// shown is how problems call a file of the scenario.
func (s *Scenario) shown(name string) string { return filepath.Join(filepath.Base(s.Dir), name) }

func actFiles(dir string) ([]string, error) {
	var names []string
	for _, pattern := range []string{actsGlob, actsGlob + ".gz"} {
		found, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		if err != nil {
			return nil, fmt.Errorf("list the acts: %w", err)
		}
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// story is scenario.yml as it is written; a scalar is taken as its text, so
// that quotes are the author's choice.
type story struct {
	Name         scalar `yaml:"name"`
	Story        scalar `yaml:"story"`
	Start        scalar `yaml:"start"`
	End          scalar `yaml:"end"`
	People       scalar `yaml:"people"`
	ArtifactRoot scalar `yaml:"artifact_root"`
	MLflow       scalar `yaml:"mlflow"`
	Expect       []struct {
		Detection scalar `yaml:"detection"`
		User      scalar `yaml:"user"`
		Asset     scalar `yaml:"asset"`
		From      scalar `yaml:"from"`
		To        scalar `yaml:"to"`
		Why       scalar `yaml:"why"`
	} `yaml:"expect"`
	Quiet struct {
		MaxAlerts scalar `yaml:"max_alerts_per_100_people_per_day"`
		Allow     []struct {
			Detection scalar `yaml:"detection"`
			User      scalar `yaml:"user"`
		} `yaml:"allow"`
	} `yaml:"quiet"`
}

// A scalar is a YAML value by its text, whatever type it looks like.
type scalar struct {
	text string
	set  bool
	line int
}

// UnmarshalYAML takes a scalar.
func (v *scalar) UnmarshalYAML(node ast.Node) error {
	tk := node.GetToken()
	v.line = tk.Position.Line
	switch n := node.(type) {
	case *ast.NullNode:
		return nil
	case *ast.StringNode:
		v.text, v.set = n.Value, true
	case *ast.LiteralNode:
		v.text, v.set = n.Value.Value, true
		v.line = n.Start.Position.Line
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		v.text, v.set = tk.Value, true
	default:
		return fmt.Errorf("[%d:%d] one value is wanted here, not a %s", tk.Position.Line, tk.Position.Column, strings.ToLower(node.Type().String()))
	}
	return nil
}

func (s *Scenario) readStory(ps *Problems) error {
	text, err := os.ReadFile(s.file(storyFile))
	if err != nil {
		return err
	}
	name := s.shown(storyFile)
	var in story
	file, err := parser.ParseBytes(text, 0)
	if err == nil && len(file.Docs) > 0 {
		if body := file.Docs[0].Body; body != nil {
			err = yaml.NodeToValue(body, &in)
		}
	}
	if err != nil {
		line, what := yamlMistake(err)
		ps.add(name, line, "%s", what)
		return nil
	}
	r := reader{file: name, ps: ps}
	s.Name = in.Name.text
	if !in.Name.set {
		s.Name = filepath.Base(s.Dir)
	}
	s.Story = strings.TrimSpace(in.Story.text)
	s.Start, s.End = r.moment("start", in.Start, true), r.moment("end", in.End, true)
	if !s.Start.IsZero() && !s.End.IsZero() && !s.End.After(s.Start) {
		ps.add(name, in.End.line, "end is not after start")
	}
	if s.End.Sub(s.Start) > 400*24*time.Hour {
		ps.add(name, in.End.line, "the scenario lasts longer than 400 days")
	}
	s.People = r.number("people", in.People, 1)
	if s.ArtifactRoot = strings.TrimRight(in.ArtifactRoot.text, "/"); in.ArtifactRoot.set && !strings.HasPrefix(s.ArtifactRoot, "s3://") {
		ps.add(name, in.ArtifactRoot.line, "artifact_root is written s3://bucket/prefix")
	}
	switch v := in.MLflow.text; {
	case !in.MLflow.set, v == "3.17", strings.HasPrefix(v, "3.17."):
		s.MLflow = "3.17"
	case v == "2.22", strings.HasPrefix(v, "2.22."):
		s.MLflow = "2.22"
	default:
		ps.add(name, in.MLflow.line, `mlflow = %q: the stand-in speaks "3.17" and "2.22"`, v)
	}
	for _, e := range in.Expect {
		x := Expect{User: e.User.text, Asset: e.Asset.text, Why: e.Why.text, line: e.Detection.line}
		if !e.Detection.set {
			ps.add(name, max(e.From.line, e.To.line, e.User.line, e.Asset.line), "an entry of expect needs detection, the number in the catalogue")
		}
		x.Detection = r.number("detection", e.Detection, 0)
		x.From, x.To = r.moment("from", e.From, false), r.moment("to", e.To, false)
		if !x.From.IsZero() && !x.To.IsZero() && x.To.Before(x.From) {
			ps.add(name, e.To.line, "to is before from")
		}
		s.Expect = append(s.Expect, x)
	}
	s.Quiet.MaxAlerts = -1
	if m := in.Quiet.MaxAlerts; m.set {
		var n float64
		if _, err := fmt.Sscan(m.text, &n); err != nil || n < 0 {
			ps.add(name, m.line, "max_alerts_per_100_people_per_day is a number that is not negative, not %q", m.text)
		}
		s.Quiet.MaxAlerts = n
	}
	for _, a := range in.Quiet.Allow {
		s.Quiet.Allow = append(s.Quiet.Allow, Allow{r.number("detection", a.Detection, 0), a.User.text})
	}
	return nil
}

// yamlMistake takes line and sentence out of an error of the YAML library.
func yamlMistake(err error) (line int, what string) {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		return located.GetToken().Position.Line, located.GetMessage()
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	var column int
	if n, _ := fmt.Sscanf(first, "[%d:%d]", &line, &column); n == 2 {
		_, first, _ = strings.Cut(first, "] ")
	}
	return line, first
}

// reader turns texts into values and notes what is wrong.
type reader struct {
	file string
	ps   *Problems
}

func (r reader) moment(key string, v scalar, needed bool) time.Time {
	if !v.set {
		if needed {
			r.ps.add(r.file, v.line, "%s is missing: RFC 3339 in UTC, such as 2026-03-02T00:00:00Z", key)
		}
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, v.text)
	if err != nil {
		r.ps.add(r.file, v.line, "%s = %q is no time: RFC 3339 in UTC, such as 2026-03-02T00:00:00Z", key, v.text)
	}
	return t.UTC()
}

func (r reader) number(key string, v scalar, otherwise int) int {
	if !v.set {
		return otherwise
	}
	var n int
	if _, err := fmt.Sscanf(v.text+"\n", "%d\n", &n); err != nil || n < 1 {
		r.ps.add(r.file, v.line, "%s = %q is no whole number above 0", key, v.text)
		return otherwise
	}
	return n
}
