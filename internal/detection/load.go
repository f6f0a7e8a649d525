package detection

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A Type says what a search is for, in the words of Splunk's security content.
type Type string

// The types of searches.
const (
	TTP         Type = "ttp"         // one act that is wrong by itself
	Anomaly     Type = "anomaly"     // an act that departs from what is usual
	Correlation Type = "correlation" // several findings that belong together
	Baseline    Type = "baseline"    // fills a table that detections read; finds nothing
	Hunting     Type = "hunting"     // a report that a person runs
)

// A Detection is one file of splunk_app/detections.
type Detection struct {
	Number      int    `yaml:"number"` // its row of the catalogue; 0 for baseline and hunting
	Name        string `yaml:"name"`
	ID          string `yaml:"id"`
	Version     int    `yaml:"version"`
	Type        Type   `yaml:"type"`
	Severity    string `yaml:"severity"`
	Tactic      string `yaml:"tactic"`
	Starter     bool   `yaml:"starter"` // one of the rules to begin with: needs no history
	Description string `yaml:"description"`
	Logic       string `yaml:"logic"` // the search in words
	Respond     string `yaml:"how_to_respond"`
	False       string `yaml:"known_false_positives"`
	Blind       string `yaml:"blind_spot"` // what it can't see, where that is worth a word
	Needs       Needs  `yaml:"needs"`
	// Search is the SPL up to and with the filter macro; Saved is what is shipped.
	Search     string      `yaml:"search"`
	Tuning     []Macro     `yaml:"tuning"`
	Schedule   Schedule    `yaml:"schedule"`
	Risk       Risk        `yaml:"risk"`
	Drilldowns []Drilldown `yaml:"drilldowns"`
	ATLAS      []string    `yaml:"mitre_atlas"`
	ATTACK     []string    `yaml:"mitre_attack"`
	NIST       []string    `yaml:"nist"`
	Audit      Audit       `yaml:"audit"`
	Tests      []Test      `yaml:"tests"`

	// Path is the file's, in the app's folder.
	Path string `yaml:"-"`
	file *ast.File
}

// Needs are what must be there for a detection to fire.
type Needs struct {
	Sources []string `yaml:"sources"`
	// Acts are the sources of what it looks for, of which one is enough; all of
	// Sources where it is empty. Source/what is a source whose inputs tell of it
	// only where they are set up for that, such as git/audit_log.
	Acts []string `yaml:"acts"`
	// Required are the sources without which it stays silent whatever the acts are.
	Required []string `yaml:"required"`
	Lookups  []string `yaml:"lookups"`
	// Filled are the lookups of these that must not be empty.
	Filled    []string `yaml:"filled"`
	Baselines []string `yaml:"baselines"` // names of the searches that fill what it reads
	History   int      `yaml:"history"`   // days of events
}

// A Macro is a threshold of a detection, or a piece of SPL that is its own.
type Macro struct {
	Name    string   `yaml:"macro"`
	Args    []string `yaml:"args"`
	Value   string   `yaml:"value"`
	Meaning string   `yaml:"meaning"`
}

// Stanza is the macro's name in macros.conf.
func (m Macro) Stanza() string {
	if len(m.Args) == 0 {
		return m.Name
	}
	return fmt.Sprintf("%s(%d)", m.Name, len(m.Args))
}

// A Schedule says when a search runs, over what, and when a finding is raised
// again.
type Schedule struct {
	Cron     string   `yaml:"cron"`
	Earliest string   `yaml:"earliest"`
	Latest   string   `yaml:"latest"`
	Throttle Throttle `yaml:"throttle"`
	// Waits is for how many seconds an act is not judged yet, because what explains
	// it may still come: an expression of macros. Empty waits for nothing.
	Waits string `yaml:"waits"`
}

// A Throttle keeps silent about rows with the same fields for a period.
type Throttle struct {
	Fields []string `yaml:"fields"`
	Period string   `yaml:"period"`
}

// Risk is what a finding weighs and says.
type Risk struct {
	Score int `yaml:"score"`
	// ClaimedScore is the score where the row's user_confidence is neither
	// authenticated nor signed; 0: no difference is made.
	ClaimedScore int      `yaml:"claimed_score"`
	Message      string   `yaml:"message"` // $field$ is a field of the row
	Objects      []Object `yaml:"objects"`
}

// An Object is what risk is laid on.
type Object struct {
	Field string `yaml:"field"`
	Type  string `yaml:"type"` // user, system, other
	Score int    `yaml:"score"`
}

// A Drilldown is a search from a finding to what it is made of.
type Drilldown struct {
	Name     string `yaml:"name"`
	Search   string `yaml:"search"`
	Earliest string `yaml:"earliest"`
	Latest   string `yaml:"latest"`
}

// Audit are the clauses an auditor asks about.
type Audit struct {
	EUAIAct   []string `yaml:"eu_ai_act"`
	ISO42001  []string `yaml:"iso_42001"`
	NISTAIRMF []string `yaml:"nist_ai_rmf"`
}

// A Test is a scenario that has its own expectations, or events with the rows
// that the saved search makes of them.
type Test struct {
	Name     string `yaml:"name"`
	Scenario string `yaml:"scenario"` // a folder of splunk_app/scenarios
	// Now is the search's clock, RFC 3339.
	Now string `yaml:"now"`
	// Each holds the fields that every event has unless it says otherwise.
	Each   map[string]any   `yaml:"each"`
	Events []map[string]any `yaml:"events"`
	// Lookups and collections by name, as rows.
	Lookups map[string][]map[string]any `yaml:"lookups"`
	Macros  map[string]string           `yaml:"macros"`
	// Expect are the rows, in any order: the fields that stand here, and no row more.
	Expect []map[string]any `yaml:"expect"`
}

// Base is the file's name without its ending; the filter macro is named by it.
func (d *Detection) Base() string { return strings.TrimSuffix(path.Base(d.Path), ".yml") }

// Filter is the macro that an administrator changes to leave something out.
func (d *Detection) Filter() string { return d.Base() + "_filter" }

// Title is the name of the saved search.
func (d *Detection) Title() string {
	switch d.Type {
	case Baseline:
		return "AI Asset - " + d.Name + " - Baseline"
	case Hunting:
		return "AI Asset - " + d.Name + " - Report"
	}
	return "AI Asset - " + d.Name + " - Rule"
}

// Finds tells whether the search's rows become findings.
func (d *Detection) Finds() bool { return d.Type != Baseline && d.Type != Hunting }

// A Problem is a mistake in a file.
type Problem struct {
	Path string
	Line int
	Text string
}

func (p Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text) }

// Load reads all detections of the app's sources, in the order of their
// numbers, then of their files. The error joins all Problems.
func Load(app fs.FS) ([]*Detection, error) {
	names, err := fs.Glob(app, "detections/*.yml")
	if err != nil {
		return nil, fmt.Errorf("list detections: %w", err)
	}
	var all []*Detection
	var problems []error
	for _, name := range names {
		text, err := fs.ReadFile(app, name)
		if err != nil {
			return nil, fmt.Errorf("read detection: %w", err)
		}
		d, err := Parse(name, text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b *Detection) int {
		order := func(d *Detection) int {
			if d.Number == 0 {
				return 1000
			}
			return d.Number
		}
		return order(a) - order(b)
	})
	return all, errors.Join(problems...)
}

// Parse reads one file. A key that the format does not have is an error.
func Parse(name string, text []byte) (*Detection, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, yamlProblem(name, err)
	}
	d := &Detection{Path: name, file: file}
	if err := yaml.UnmarshalWithOptions(text, d, yaml.Strict()); err != nil {
		return nil, yamlProblem(name, err)
	}
	d.Search = strings.TrimSpace(d.Search)
	d.Risk.Message = oneLine(d.Risk.Message)
	for _, s := range []*string{&d.Description, &d.Logic, &d.Respond, &d.False} {
		*s = oneLine(*s)
	}
	return d, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func yamlProblem(name string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		return Problem{name, y.GetToken().Position.Line, y.GetMessage()}
	}
	return Problem{name, 1, err.Error()}
}

// line is where a key stands, by its path such as $.risk.message; 1 where it is
// not there.
func (d *Detection) line(key string) int {
	p, err := yaml.PathString(key)
	if err != nil || d.file == nil {
		return 1
	}
	node, err := p.FilterFile(d.file)
	if err != nil || node == nil {
		return 1
	}
	return node.GetToken().Position.Line
}
