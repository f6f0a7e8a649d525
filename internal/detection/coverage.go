package detection

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/internal/conf"
)

// A Situation is what is at hand for the detections.
type Situation struct {
	Inputs []Input
	// Lookups has the number of rows of each lookup that is known.
	Lookups map[string]int
	// Since is when events began to be collected; zero where nobody knows.
	Since time.Time
	Now   time.Time
	// WithoutSplunk: Splunk's own logs are not there.
	WithoutSplunk bool
}

// An Input is what an input tells of its source.
type Input struct {
	Stanza string
	Source string
	// Tells are the words of setups for which the input is set up.
	Tells []string
	// Authenticated: the names in its logs were proven.
	Authenticated bool
	// Observed: it is known by its events alone, which show a log that it reads
	// only where something of that log came.
	Observed bool
}

// setups are what inputs tell of only where they are set up for it, by source,
// with what to do.
var setups = map[string]map[string]string{
	"mlflow": {"access_log": "set access_log"},
	"git":    {"access_log": "set access_log", "audit_log": "set audit_log", "hook_log": "set hook_log"},
	"s3":     {"control": "name its buckets in watch_buckets or an [asset_rule://NAME], or set scope = all"},
}

// sourceNames are sources that have inputs of their own, as people write them.
var sourceNames = map[string]string{"mlflow": "MLflow", "s3": "S3", "git": "Git"}

// InputsOf tells what inputs of a configuration tell.
func InputsOf(config *conf.Config, inputs []*conf.Settings) []Input {
	ruled := slices.ContainsFunc(config.All("asset_rule"), func(s *conf.Settings) bool { return s.IsSet("bucket") })
	var all []Input
	for _, s := range inputs {
		in := Input{Stanza: s.Stanza(), Source: strings.TrimPrefix(s.Kind(), "aiwatch_"), Authenticated: s.String("trust") == "authenticated"}
		for _, what := range slices.Sorted(maps.Keys(setups[in.Source])) {
			if what == "control" && (ruled || s.IsSet("watch_buckets") || s.String("scope") == "all") || isLog(what) && s.IsSet(what) {
				in.Tells = append(in.Tells, what)
			}
		}
		all = append(all, in)
	}
	return all
}

func isLog(what string) bool { return strings.HasSuffix(what, "_log") }

// A Verdict says whether a detection can fire.
type Verdict int

// The verdicts, each graver than the one before.
const (
	CanFire Verdict = iota
	Limited
	CannotFire
)

var verdicts = []string{"can fire", "limited", "can't fire"}

func (v Verdict) String() string { return verdicts[v] }

// MarshalText gives the verdict's words.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// A Coverage is a verdict with its reasons, and what is worth knowing beside them.
type Coverage struct {
	Verdict Verdict  `json:"verdict"`
	Reasons []Reason `json:"reasons,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// A Reason is what is lacking, and what to do about it.
type Reason struct {
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

// String is the coverage on one line.
func (c Coverage) String() string {
	var parts []string
	for _, r := range c.Reasons {
		parts = append(parts, r.Text+": "+r.Fix)
	}
	text := c.Verdict.String()
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, "; ")
	}
	if len(c.Notes) > 0 {
		text += " (" + strings.Join(c.Notes, "; ") + ")"
	}
	return text
}

// add keeps the reasons of the gravest verdict.
func (c *Coverage) add(v Verdict, reasons ...Reason) {
	if v > c.Verdict {
		c.Verdict, c.Reasons = v, nil
	}
	for _, r := range reasons {
		if v == c.Verdict && !slices.Contains(c.Reasons, r) {
			c.Reasons = append(c.Reasons, r)
		}
	}
}

// Coverage judges whether the detection can fire in a situation.
func (d *Detection) Coverage(s Situation) Coverage {
	var c Coverage
	d.coverSources(s, &c)
	d.coverLookups(s, &c)
	d.coverHistory(s, &c)
	return c
}

// acts are the sources of what the detection looks for, in their order, each
// with what its inputs must be set up for; nothing where any input does. Health
// is of every input that there is, so that no kind of input is lacking beside it.
func (d *Detection) acts() (sources []string, setup map[string][]string) {
	setup = map[string][]string{}
	entries := d.Needs.Acts
	if len(entries) == 0 {
		entries = d.Needs.Sources
	}
	if slices.Contains(entries, "health") {
		entries = []string{"health"}
	}
	for _, entry := range entries {
		source, what, special := strings.Cut(entry, "/")
		if !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
		if special {
			setup[source] = append(setup[source], what)
		}
	}
	return sources, setup
}

func (d *Detection) coverSources(s Situation, c *Coverage) {
	sources, setup := d.acts()
	seen := false
	told := map[string]bool{} // inputs that something was said of
	var lacking []Reason
	for _, source := range sources {
		switch source {
		case "splunk_audit": // Splunk's own: always there
			seen = seen || !s.WithoutSplunk
			if s.WithoutSplunk {
				lacking = append(lacking, Reason{"Splunk's own logs are not there", "let Splunk run it"})
			}
			continue
		case "health", "findings":
			seen = seen || len(s.Inputs) > 0
			continue
		}
		inputs := s.of(source)
		if len(inputs) == 0 {
			lacking = append(lacking, noInput(source))
		}
		for _, in := range inputs {
			if in.tells(setup[source]) {
				seen = true
				continue
			}
			told[in.Stanza] = true
			if in.Observed {
				seen = true
				lacking = append(lacking, Reason{"no event of " + in.Stanza + " " + shows(setup[source]), "look into its stanza: " + howTo(source, setup[source])})
				continue
			}
			lacking = append(lacking, Reason{in.Stanza + " does not tell of it", howTo(source, setup[source])})
		}
	}
	switch {
	case !seen && len(s.Inputs) == 0 && len(lacking) == 0:
		c.add(CannotFire, Reason{"no input", "add one to local/inputs.conf"})
	case !seen:
		c.add(CannotFire, lacking...)
	case len(lacking) > 0:
		c.add(Limited, lacking...)
	}
	for source, verdict := range d.besides() {
		if len(s.of(source)) == 0 {
			c.add(verdict, noInput(source))
		}
	}
	if !d.weighsProof() {
		return
	}
	for _, in := range s.Inputs {
		logs := slices.DeleteFunc(slices.Sorted(maps.Keys(setups[in.Source])), func(what string) bool { return !isLog(what) })
		switch {
		case !slices.Contains(sources, in.Source) || told[in.Stanza] || len(logs) == 0 || in.tells(logs) && in.Authenticated:
		case !in.tells(logs) && in.Observed:
			c.add(Limited, Reason{"no event of " + in.Stanza + " shows a log that tells who acted", "look into its stanza: " + howTo(in.Source, logs)})
		case !in.tells(logs):
			c.add(Limited, Reason{in.Stanza + " has no log that tells who acted", howTo(in.Source, logs)})
		default:
			c.add(Limited, Reason{"actors are only claimed by " + in.Stanza, "set trust = authenticated if whoever writes its log has proven them"})
		}
	}
}

// besides are the sources that must be there beside those of the acts, with what
// it means when one is not.
func (d *Detection) besides() iter.Seq2[string, Verdict] {
	acts, _ := d.acts()
	return func(yield func(string, Verdict) bool) {
		for _, source := range d.Needs.Sources {
			verdict := Limited
			switch {
			case slices.Contains(d.Needs.Required, source):
				verdict = CannotFire
			case sourceNames[source] == "", slices.Contains(acts, source), slices.Contains(acts, "health"):
				continue
			}
			if !yield(source, verdict) {
				return
			}
		}
	}
}

// weighsProof tells whether it makes a difference to the detection that the
// actor is proven.
func (d *Detection) weighsProof() bool {
	search := d.Saved()
	return strings.Contains(search, "`aiwatch_proven(") || strings.Contains(search, `user_confidence="authenticated"`)
}

func (s Situation) of(source string) (inputs []Input) {
	for _, in := range s.Inputs {
		if in.Source == source {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// tells whether the input is set up for one of these, or needs not be.
func (in Input) tells(any []string) bool {
	return len(any) == 0 || slices.ContainsFunc(any, func(what string) bool { return slices.Contains(in.Tells, what) })
}

func noInput(source string) Reason {
	return Reason{"no " + sourceNames[source] + " input", fmt.Sprintf("add [aiwatch_%s://NAME] to local/inputs.conf", source)}
}

// shows says what an event would do that shows such a setup.
func shows(any []string) string {
	if slices.Contains(any, "control") {
		return "tells of a change of logging, versioning or policy"
	}
	return "comes from its " + strings.Join(any, " or ")
}

func howTo(source string, any []string) string {
	var ways []string
	for _, what := range any {
		ways = append(ways, setups[source][what])
	}
	return strings.Join(ways, " or ")
}

func (d *Detection) coverLookups(s Situation, c *Coverage) {
	var empty []string
	for _, l := range d.Needs.Lookups {
		rows, known := s.Lookups[l]
		switch {
		case !known || rows > 0:
		case slices.Contains(d.Needs.Filled, l):
			fix := "fill it"
			if slices.ContainsFunc(d.Needs.Baselines, func(b string) bool { return tableOf(b) == l }) {
				fix = "its search fills it once there is history"
			}
			c.add(CannotFire, Reason{"lookup " + l + " is empty", fix})
		default:
			empty = append(empty, l)
		}
	}
	if len(empty) > 0 {
		c.Notes = append(c.Notes, "empty: "+strings.Join(empty, ", "))
	}
	if len(d.Needs.Baselines) > 0 {
		c.Notes = append(c.Notes, "to be enabled with it: "+strings.Join(d.Needs.Baselines, ", "))
	}
}

func (d *Detection) coverHistory(s Situation, c *Coverage) {
	const day = 24 * time.Hour
	if d.Needs.History == 0 {
		return
	}
	needed := fmt.Sprintf("needs %d days of history", d.Needs.History)
	if s.Since.IsZero() {
		c.add(Limited, Reason{needed + ", and how many are there is unknown", "name the collector's state with --state"})
		return
	}
	enough := s.Since.Add(time.Duration(d.Needs.History) * day)
	if !s.Now.Before(enough) {
		return
	}
	c.add(d.withoutHistory(), Reason{
		fmt.Sprintf("%s, %d are there", needed, max(0, s.Now.Sub(s.Since)/day)),
		"wait until " + enough.UTC().Format(time.DateOnly),
	})
}

// withoutHistory is the verdict while there is too little history: a detection
// that stands on a table that history fills is silent till then.
func (d *Detection) withoutHistory() Verdict {
	for _, b := range d.Needs.Baselines {
		if slices.Contains(d.Needs.Filled, tableOf(b)) {
			return CannotFire
		}
	}
	return Limited
}

// tableOf is the lookup that a baseline search fills.
func tableOf(baseline string) string { return "aiwatch_" + baseline }

// needsTable is the lookup aiwatch_detections: what each detection needs, a row
// for each need, for the report that judges inside Splunk.
func needsTable(all []*Detection) []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	rows := [][]string{{"number", "name", "need", "value"}}
	for _, d := range all {
		if !d.Finds() {
			continue
		}
		row := func(need, value string) {
			rows = append(rows, []string{strconv.Itoa(d.Number), d.Name, need, value})
		}
		sources, _ := d.acts()
		for _, s := range sources {
			row("act", s)
		}
		for s, verdict := range d.besides() {
			row(map[Verdict]string{Limited: "other", CannotFire: "required"}[verdict], s)
		}
		for _, l := range d.Needs.Filled {
			row("filled", l)
		}
		if d.Needs.History > 0 {
			need := "history"
			if d.withoutHistory() == CannotFire {
				need = "required_history"
			}
			row(need, strconv.Itoa(d.Needs.History))
		}
	}
	_ = w.WriteAll(rows) // into memory: can't fail
	return out.Bytes()
}

// countLookups is the macro aiwatch_lookup_rows: a row for each lookup that must
// be filled, with how many rows it has.
func countLookups(all []*Detection) string {
	filled := map[string]string{}
	for _, d := range all {
		for _, l := range d.Needs.Filled {
			filled[l] = fmt.Sprintf("append [| inputlookup %s | stats count AS entries | eval value=%q]", l, l)
		}
	}
	if len(filled) == 0 {
		return "eval entries=null()"
	}
	var parts []string
	for _, l := range slices.Sorted(maps.Keys(filled)) {
		parts = append(parts, filled[l])
	}
	return strings.Join(parts, " | ")
}
