package detection

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"aiwatch/internal/addon"
	"aiwatch/internal/event/schema"
	"aiwatch/internal/spl"
)

// The words that a file may use.
var (
	types   = []Type{TTP, Anomaly, Correlation, Baseline, Hunting}
	sources = []string{"mlflow", "s3", "git", "health", "findings", "splunk_audit"}
	// tactics are ATT&CK's, with which compound detections count.
	tactics = []string{
		"collection", "credential_access", "defense_impairment", "discovery", "execution", "exfiltration",
		"impact", "initial_access", "persistence", "privilege_escalation", "stealth", "supply_chain",
	}
	objectTypes = []string{"user", "system", "other"}

	uuid      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	base      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	macroName = regexp.MustCompile(`^aiwatch_[a-z0-9_]+$`)
	atlas     = regexp.MustCompile(`^AML\.T\d{4}(\.\d{3})?$`)
	attack    = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)
	period    = regexp.MustCompile(`^\d+[smhd]$`)
	source    = regexp.MustCompile("^`aiwatch_(mlflow|s3|git|events|health|findings|splunk_audit)`|^\\(+`aiwatch_|^\\| (inputlookup|tstats|`aiwatch_tstats`)")
	// hole is a token of a drilldown: the ids of events, or a value that Splunk
	// quotes.
	hole = regexp.MustCompile(`\$[^$\s]*\$`)
	// quoted, call and a number that stands alone, in a search as it is written.
	quoted    = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	call      = regexp.MustCompile("`[^`]*`")
	number    = regexp.MustCompile(`(^|[^\w.@+-])(-?\d+(\.\d+)?)($|[^\w.])`)
	operation = regexp.MustCompile(`\boperation\s*(?:!=|==|=)\s*("[^"]*"|[\w.*]+)|\boperation\s+(?i:IN)\s*\(([^)]*)\)|\b(?i:in)\(operation\s*,([^)]*)\)`)
	word      = regexp.MustCompile(`"[^"]*"|[\w.*]+`)
)

// searchFields are fields of a search itself, of every event of Splunk.
var searchFields = []string{"_time", "_indextime", "_raw", "index", "source", "sourcetype", "host", "earliest", "latest", "_index_earliest", "_index_latest"}

// Check tells what is wrong with the detections of an app's sources. The error
// joins Problems with file and line.
func Check(app fs.FS) error {
	all, err := Load(app)
	if err != nil {
		return err
	}
	made, err := Make(app)
	if err != nil {
		return err
	}
	engine, err := Engine(made, time.UTC)
	if err != nil {
		return err
	}
	c := &checker{app: app, all: all, engine: engine, macros: map[string]string{}, known: EventFields()}
	names := map[string]string{}
	for _, d := range all {
		c.d = d
		for _, key := range []struct{ what, value string }{{"id", d.ID}, {"name", d.Name}, {"number", strconv.Itoa(d.Number)}} {
			if first := names[key.what+key.value]; first != "" && key.value != "0" {
				c.report("$."+key.what, "%s %s stands in %s too", key.what, key.value, first)
			}
			names[key.what+key.value] = d.Path
		}
		c.head()
		c.search()
		c.schedule()
		c.tests()
	}
	return errors.Join(c.problems...)
}

// EventFields are the fields that an event can have in a search.
func EventFields() map[string]bool {
	known := map[string]bool{}
	for _, f := range append(slices.Clone(schema.All()), schema.SearchTime...) {
		known[f.Name] = true
	}
	for _, f := range append(addon.SearchTimeFields(), searchFields...) {
		known[f] = true
	}
	return known
}

type checker struct {
	app      fs.FS
	all      []*Detection
	engine   *spl.Engine
	macros   map[string]string // of the detections, with the file that has them
	known    map[string]bool   // fields of events
	findings map[string]bool   // fields of findings, once they are asked for
	d        *Detection
	problems []error
}

func (c *checker) report(key, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.d.Path, c.d.line(key), fmt.Sprintf(format, args...)})
}

func (c *checker) oneOf(key, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		c.report(key, "%s is %q; known are %s", strings.TrimPrefix(key, "$."), value, strings.Join(allowed, ", "))
	}
}

// head checks everything but the search, its schedule and its tests.
func (c *checker) head() {
	d := c.d
	if !base.MatchString(d.Base()) {
		c.report("$.name", "the file's name is small letters, digits and _, because its filter macro has it")
	}
	if !slices.Contains(types, d.Type) {
		c.report("$.type", "type is %q; known are ttp, anomaly, correlation, baseline, hunting", d.Type)
	}
	if !uuid.MatchString(d.ID) {
		c.report("$.id", "id is no UUID in small letters: %q", d.ID)
	}
	if d.Version < 1 {
		c.report("$.version", "version is a number from 1")
	}
	if d.Name == "" || len(d.Title()) > 99 {
		c.report("$.name", "a name has 1 to 99 characters with what the title adds; %q has %d", d.Title(), len(d.Title()))
	}
	if d.Description == "" {
		c.report("$.description", "description is missing: what it means when it fires")
	}
	for _, s := range d.Needs.Sources {
		c.oneOf("$.needs.sources", s, sources)
	}
	for _, a := range d.Needs.Acts {
		source, what, special := strings.Cut(a, "/")
		if !slices.Contains(d.Needs.Sources, source) {
			c.report("$.needs.acts", "%s is none of the sources", source)
		} else if _, ok := setups[source][what]; special && !ok {
			c.report("$.needs.acts", "an input of %s is not set up for %q", source, what)
		}
	}
	for _, s := range d.Needs.Required {
		if !slices.Contains(d.Needs.Sources, s) {
			c.report("$.needs.required", "%s is none of the sources", s)
		}
	}
	for _, b := range d.Needs.Baselines {
		if !slices.ContainsFunc(c.all, func(o *Detection) bool { return o.Type == Baseline && o.Base() == b }) {
			c.report("$.needs.baselines", "no detections/%s.yml of type baseline", b)
		}
	}
	for i, m := range d.Tuning {
		key := fmt.Sprintf("$.tuning[%d].macro", i)
		if !macroName.MatchString(m.Name) {
			c.report(key, "a macro's name is aiwatch_ and small letters, digits and _: %q", m.Name)
		}
		if m.Value == "" || m.Meaning == "" {
			c.report(key, "macro %s needs value and meaning", m.Name)
		}
		if first := c.macros[m.Stanza()]; first != "" {
			c.report(key, "macro %s stands in %s too", m.Stanza(), first)
		}
		c.macros[m.Stanza()] = d.Path
	}
	if !d.Finds() {
		if d.Number != 0 {
			c.report("$.number", "a %s search has no number of the catalogue", d.Type)
		}
		return
	}
	if d.Number < 1 || d.Number > 45 {
		c.report("$.number", "number is the detection's row of the catalogue, 1 to 45, not %d", d.Number)
	}
	if severities[d.Severity] == 0 {
		c.report("$.severity", "severity is %q; known are informational, low, medium, high, critical", d.Severity)
	}
	c.oneOf("$.tactic", d.Tactic, tactics)
	for _, text := range []struct{ key, value string }{{"logic", d.Logic}, {"how_to_respond", d.Respond}, {"known_false_positives", d.False}} {
		if text.value == "" {
			c.report("$."+text.key, "%s is missing", text.key)
		}
	}
	if len(d.ATTACK)+len(d.ATLAS) == 0 || len(d.NIST) == 0 {
		c.report("$.mitre_attack", "a detection maps to a technique (mitre_attack or mitre_atlas) and to nist")
	}
	for _, t := range d.ATLAS {
		if !atlas.MatchString(t) {
			c.report("$.mitre_atlas", "%q is no ATLAS technique such as AML.T0018.002", t)
		}
	}
	for _, t := range d.ATTACK {
		if !attack.MatchString(t) {
			c.report("$.mitre_attack", "%q is no ATT&CK technique such as T1565.001", t)
		}
	}
	if d.Risk.Score < 1 || d.Risk.Score > 100 || d.Risk.ClaimedScore >= d.Risk.Score {
		c.report("$.risk.score", "score is 1 to 100, and claimed_score is less")
	}
	if d.Starter && len(d.Needs.Baselines)+len(d.Needs.Filled) > 0 {
		c.report("$.starter", "a rule of the starter set needs no baseline and no filled lookup")
	}
	if d.Risk.Message == "" || len(d.Risk.Objects) == 0 {
		c.report("$.risk", "risk needs message and objects")
	}
	for _, o := range d.Risk.Objects {
		c.oneOf("$.risk.objects", o.Type, objectTypes)
	}
	if len(d.Drilldowns) < 2 {
		c.report("$.drilldowns", "a detection has at least two drilldowns, this one has %d", len(d.Drilldowns))
	}
	for i, x := range d.Drilldowns {
		c.drilldown(fmt.Sprintf("$.drilldowns[%d].search", i), x)
	}
}

// drilldown checks that a search from a finding can be nothing but what its
// author wrote, whatever the names in the finding are.
func (c *checker) drilldown(key string, x Drilldown) {
	for _, token := range hole.FindAllString(x.Search, -1) {
		if token != "$event_ids$" && !strings.HasSuffix(token, "|s$") {
			c.report(key, "the token %s would let a name become SPL: use $event_ids$, or $field|s$", token)
		}
	}
	text := strings.ReplaceAll(x.Search, "$event_ids$", "00")
	text = hole.ReplaceAllString(text, `"x"`)
	if _, err := c.engine.Parse(text, checkTime); err != nil {
		c.report(key, "%s", err)
	}
}

// checkTime is the clock of searches that are parsed and not run.
var checkTime = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func (c *checker) search() {
	d := c.d
	const key = "$.search"
	if !source.MatchString(d.Search) {
		c.report(key, "a search starts with the macro of its source, such as `aiwatch_s3`")
	}
	filter := "`" + d.Filter() + "`"
	if d.Finds() && !strings.HasSuffix(d.Search, filter) {
		c.report(key, "the filter macro is missing: the search ends with | %s", filter)
	}
	bare := call.ReplaceAllString(quoted.ReplaceAllString(d.Search, `""`), "``")
	for i, line := range strings.Split(bare, "\n") {
		for _, m := range number.FindAllStringSubmatch(line, -1) {
			if n := strings.TrimPrefix(m[2], "-"); n != "0" && n != "1" {
				c.problems = append(c.problems, Problem{d.Path, d.line(key) + 1 + i, "the number " + m[2] + " stands in the search: thresholds are macros (tuning) or lookups"})
			}
		}
	}
	own, err := c.engine.Parse(d.Search, checkTime)
	if err != nil {
		c.refused(err)
		return
	}
	uses := own.Uses()
	c.fields(uses)
	c.operations()
	for _, l := range d.Needs.Lookups {
		if !slices.Contains(uses.Lookups, l) {
			c.report("$.needs.lookups", "the search does not read the lookup %s", l)
		}
	}
	for _, l := range d.Needs.Filled {
		if !slices.Contains(uses.Lookups, l) {
			c.report("$.needs.filled", "the search does not read the lookup %s", l)
		}
	}
	for _, m := range d.Tuning {
		if !slices.Contains(uses.Macros, m.Stanza()) {
			c.report("$.tuning", "the search does not use the macro %s", m.Stanza())
		}
	}
	if !d.Finds() {
		if d.Type == Baseline && len(uses.Written) == 0 {
			c.report(key, "a baseline search writes a lookup")
		}
		if slices.Contains(uses.Results, FindingFields[0]) {
			c.report(key, "rows of a %s search have no field %s, which makes a finding of a row", d.Type, FindingFields[0])
		}
		return
	}
	saved, err := c.engine.Parse(d.Saved(), checkTime)
	if err != nil {
		c.report(key, "as a saved search: %s", err)
		return
	}
	gives := func(field string) bool {
		r := saved.Uses()
		return slices.Contains(r.Results, field) || r.Open && c.known[field]
	}
	for _, m := range token.FindAllStringSubmatch(d.Risk.Message, -1) {
		if !gives(m[1]) {
			c.report("$.risk.message", "no row has the field %s of the message", m[1])
		}
	}
	for _, f := range []string{"asset_id", "event_ids"} {
		if !gives(f) {
			c.report(key, "no row has the field %s, which a finding has", f)
		}
	}
	if d.Risk.ClaimedScore > 0 && !gives("user_confidence") {
		c.report("$.risk.claimed_score", "no row has the field user_confidence that decides between the scores")
	}
	for _, o := range d.Risk.Objects {
		if !gives(o.Field) {
			c.report("$.risk.objects", "no row has the field %s", o.Field)
		}
	}
	for _, f := range d.Schedule.Throttle.Fields {
		if !gives(f) {
			c.report("$.schedule.throttle", "no row has the field %s", f)
		}
	}
}

// refused reports a search that the evaluator refuses, at its line.
func (c *checker) refused(err error) {
	var r *spl.Refusal
	if errors.As(err, &r) {
		c.problems = append(c.problems, Problem{c.d.Path, c.d.line("$.search") + r.Line, err.Error()})
		return
	}
	c.report("$.search", "%s", err)
}

// fields checks what the search reads of events, and of rows. The audit trail
// of Splunk has fields of its own.
func (c *checker) fields(uses spl.Uses) {
	for _, f := range uses.Missing {
		c.report("$.search", "the field %s is read where no row has it", f)
	}
	if slices.Contains(c.d.Needs.Sources, "splunk_audit") {
		return
	}
	for _, f := range uses.Fields {
		if !c.known[f] && !strings.Contains(f, "*") && !(slices.Contains(c.d.Needs.Sources, "findings") && c.found()[f]) {
			c.report("$.search", "the schema has no field %s", f)
		}
	}
}

// found are the fields of findings: those of every finding, and what the
// detections' rows have beside them.
func (c *checker) found() map[string]bool {
	if c.findings == nil {
		c.findings = FoundFields(c.all, c.engine)
	}
	return c.findings
}

// FoundFields are the fields that a finding of the detections can have in a
// search, beside those of events.
func FoundFields(all []*Detection, engine *spl.Engine) map[string]bool {
	found := map[string]bool{"search_name": true}
	for _, d := range all {
		if q, err := engine.Parse(d.Saved(), checkTime); err == nil && d.Finds() {
			for _, f := range q.Uses().Results {
				found[f] = true
			}
		}
	}
	return found
}

// operations checks the words that the search compares with operation.
func (c *checker) operations() {
	for _, m := range operation.FindAllStringSubmatch(c.d.Search, -1) {
		for _, w := range word.FindAllString(m[1]+m[2]+m[3], -1) {
			w = strings.Trim(w, `"`)
			if !slices.ContainsFunc(schema.Operations, func(o schema.Operation) bool {
				name, _ := path.Match(o.Name, w)
				wild, _ := path.Match(w, o.Name)
				return o.Name == w || o.Pattern && name || wild
			}) {
				c.report("$.search", "the schema has no operation %s", w)
			}
		}
	}
}

func (c *checker) schedule() {
	d := c.d
	s := d.Schedule
	if !gronx.IsValid(s.Cron) || len(strings.Fields(s.Cron)) != 5 {
		c.report("$.schedule.cron", "cron is five fields, not %q", s.Cron)
	} else if minute := strings.Fields(s.Cron)[0]; d.Number > 0 {
		if want := fmt.Sprintf("%d-59/5", d.Number%5); strings.Contains(minute, "/") && minute != want {
			c.report("$.schedule.cron", "searches are spread over the hour: the minute of this one is %s, not %s", want, minute)
		} else if !strings.Contains(minute, "/") && minute != strconv.Itoa(d.Number) {
			c.report("$.schedule.cron", "searches are spread over the hour: the minute of this one is %d, not %s", d.Number, minute)
		}
	}
	for key, text := range map[string]string{"earliest": s.Earliest, "latest": s.Latest} {
		if _, err := spl.ParseTime(text, checkTime, time.UTC); err != nil || text == "" {
			c.report("$.schedule."+key, "%s is a time modifier such as -24h, not %q", key, text)
		}
		if strings.Contains(text, "@d") || strings.Contains(text, "@w") {
			c.report("$.schedule."+key, "%s: @d snaps in the time zone of the search's owner; use hours", text)
		}
	}
	if d.Finds() && (len(s.Throttle.Fields) == 0 || !period.MatchString(s.Throttle.Period)) {
		c.report("$.schedule.throttle", "throttle needs fields and a period such as 1d")
	}
	for _, m := range d.Tuning {
		if waiting.MatchString(m.Name) && !strings.Contains(s.Waits, "`"+m.Name+"`") {
			c.report("$.schedule", "the search waits for %s: say so with waits", m.Name)
		}
	}
	if _, err := d.Wait(context.Background(), c.engine, checkTime); err != nil {
		c.report("$.schedule.waits", "%s", err)
	}
}

// waiting are the names of macros that tell how long a search waits.
var waiting = regexp.MustCompile(`_(wait|lateness)$`)

// tests checks that there is something that fires and something that does not.
func (c *checker) tests() {
	var fires, quiet, scenario bool
	for i, t := range c.d.Tests {
		key := fmt.Sprintf("$.tests[%d].name", i)
		switch {
		case t.Name == "":
			c.report(fmt.Sprintf("$.tests[%d]", i), "a test has a name")
		case t.Scenario != "" && len(t.Events)+len(t.Expect) > 0:
			c.report(key, "a scenario has its own events and expectations")
		case t.Scenario != "":
			if _, err := fs.Stat(c.app, "scenarios/"+t.Scenario+"/scenario.yml"); err != nil {
				c.report(key, "there is no scenarios/%s/scenario.yml", t.Scenario)
			}
			scenario = true
		case t.Now == "":
			c.report(key, "a test with events needs now")
		}
		fires = fires || len(t.Expect) > 0 || t.Scenario != ""
		quiet = quiet || t.Scenario == "" && len(t.Expect) == 0
	}
	switch {
	case !fires:
		c.report("$.tests", "a test is missing: the attack, which fires")
	case c.d.Finds() && !quiet:
		c.report("$.tests", "a test is missing: the innocent twin, which stays silent")
	case c.d.Finds() && !scenario && !slices.Contains(c.d.Needs.Sources, "splunk_audit"):
		c.report("$.tests", "a test is missing: the scenario of attack and twin")
	}
}
