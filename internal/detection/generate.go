package detection

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// SummaryIndex is where findings are written; every Splunk has it.
const SummaryIndex = "summary"

// FindingFields are what a finding says. The search gives user, asset_id and
// event_ids (values of event_id), and may give score and severity; the rest is
// made from the file.
var FindingFields = []string{"detection", "title", "user", "asset_id", "asset_name", "severity", "score", "message", "tactic", "event_ids"}

// token is a field in a message: as it is, as bytes ($size|bytes$), or as so many
// of something ($reads|read$, $lost|entry|entries$).
var token = regexp.MustCompile(`\$([A-Za-z_][A-Za-z0-9_.]*)(?:\|([a-z]+))?(?:\|([a-z]+))?\$`)

// words is the expression that puts what a token stands for into a sentence.
func words(field, one, several string) string {
	switch {
	case one == "bytes":
		return "`aiwatch_bytes(" + field + ")`"
	case one != "":
		return "`aiwatch_counted(" + field + "," + one + "," + orElse(several, one+"s") + ")`"
	case field == "user":
		return "`aiwatch_who(" + field + ")`"
	}
	return "`aiwatch_text(" + field + ")`"
}

// Saved is the search as it is shipped: the file's, whose rows are then named
// after persons, relieved of what the allow list excuses and given the fields of
// a finding, all before the filter macro. The message is made of values by eval,
// so that no name in them can become SPL.
func (d *Detection) Saved() string {
	if !d.Finds() {
		return d.Search
	}
	search := strings.TrimRight(strings.TrimSuffix(d.Search, "`"+d.Filter()+"`"), " \t\n|")
	score := strconv.Itoa(d.Risk.Score)
	if d.Risk.ClaimedScore > 0 {
		score = fmt.Sprintf("if(`aiwatch_proven(user_confidence)`,%d,%d)", d.Risk.Score, d.Risk.ClaimedScore)
	}
	return search +
		"\n| eval actor=user" +
		"\n| `aiwatch_person(user)`" +
		fmt.Sprintf("\n| `aiwatch_not_allowed(%d)`", d.Number) +
		"\n| `aiwatch_listed_name`" +
		fmt.Sprintf("\n| eval detection=%q, title=%s, tactic=%q, severity=coalesce(severity,%q), score=coalesce(score,%s), asset_name=`aiwatch_asset`, event_ids=`aiwatch_event_ids`, message=%s",
			strconv.Itoa(d.Number), quote(d.Name), d.Tactic, d.Severity, score, messageExpression(d.Risk.Message)) +
		"\n| `" + d.Filter() + "`"
}

// messageExpression is a message as an eval expression.
func messageExpression(message string) string {
	var parts []string
	at := 0
	for _, m := range token.FindAllStringSubmatchIndex(message, -1) {
		if m[0] > at {
			parts = append(parts, quote(message[at:m[0]]))
		}
		parts = append(parts, token.ReplaceAllStringFunc(message[m[0]:m[1]], func(t string) string {
			found := token.FindStringSubmatch(t)
			return words(found[1], found[2], found[3])
		}))
		at = m[1]
	}
	if at < len(message) {
		parts = append(parts, quote(message[at:]))
	}
	return strings.Join(parts, ".")
}

// quote writes a string of SPL.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// severities are the levels of Enterprise Security with those of alert.severity.
var severities = map[string]int{"informational": 2, "low": 3, "medium": 4, "high": 5, "critical": 6}

// setting is one line of a stanza.
type setting struct{ key, value string }

// stanza is the detection in savedsearches.conf.
func (d *Detection) stanza() []setting {
	s := []setting{
		{"description", d.Description},
		{"search", d.Saved()},
		{"cron_schedule", d.Schedule.Cron},
		{"dispatch.earliest_time", d.Schedule.Earliest},
		{"dispatch.latest_time", d.Schedule.Latest},
		{"enableSched", "1"},
		{"disabled", "1"},
		// Continuous scheduling: no stretch of time is left out when a run is late.
		{"realtime_schedule", "0"},
		{"schedule_window", "0"},
		{"is_visible", "1"},
	}
	if d.Type == Hunting {
		return s
	}
	if d.Type == Baseline {
		return append(s, setting{"schedule_priority", "higher"})
	}
	s = append(s,
		setting{"counttype", "number of events"},
		setting{"relation", "greater than"},
		setting{"quantity", "0"},
		setting{"alert.digest_mode", "0"},
		setting{"alert.track", "1"},
		setting{"alert.severity", strconv.Itoa(severities[d.Severity])},
		setting{"alert.expires", "30d"},
		setting{"alert.suppress", "1"},
		setting{"alert.suppress.fields", strings.Join(d.Schedule.Throttle.Fields, ",")},
		setting{"alert.suppress.period", d.Schedule.Throttle.Period},
		setting{"action.summary_index", "1"},
		setting{"action.summary_index._name", SummaryIndex},
		setting{"action.correlationsearch.enabled", "1"},
		setting{"action.correlationsearch.detection_type", "ebd"},
		setting{"action.correlationsearch.label", d.Title()},
		setting{"action.correlationsearch.annotations", d.annotations()},
		setting{"action.correlationsearch.metadata", compact(map[string]any{"detection_id": d.ID, "detection_version": strconv.Itoa(d.Version), "deprecated": "0"})},
	)
	if d.Type != Correlation {
		s = append(s,
			setting{"action.risk", "1"},
			setting{"action.risk.param._risk_message", "$message$"},
			setting{"action.risk.param._risk", d.riskObjects()},
			setting{"action.risk.param._risk_score", "0"},
			setting{"action.risk.param.verbose", "0"},
		)
	}
	if d.Type != Anomaly {
		s = append(s,
			setting{"action.notable", "1"},
			setting{"action.notable.param.rule_title", d.Name},
			setting{"action.notable.param.rule_description", "$message$"},
			setting{"action.notable.param.security_domain", "threat"},
			setting{"action.notable.param.severity", d.Severity},
			setting{"action.notable.param.nes_fields", strings.Join(d.Schedule.Throttle.Fields, ",")},
			setting{"action.notable.param.drilldown_searches", d.drilldowns()},
			setting{"action.notable.param.next_steps", compact(map[string]any{"version": 1, "data": d.Respond})},
		)
	}
	return s
}

func (d *Detection) annotations() string {
	a := map[string]any{
		"analytic_story": []string{"AI asset insider"},
		"type":           strings.ToUpper(string(d.Type)),
		"mitre_attack":   d.ATTACK,
		"mitre_atlas":    d.ATLAS,
		"nist":           d.NIST,
		"data_source":    d.Needs.Sources,
	}
	for key, clauses := range map[string][]string{"eu_ai_act": d.Audit.EUAIAct, "iso_42001": d.Audit.ISO42001, "nist_ai_rmf": d.Audit.NISTAIRMF} {
		if len(clauses) > 0 {
			a[key] = clauses
		}
	}
	return compact(a)
}

func (d *Detection) riskObjects() string {
	type object struct {
		Field string `json:"risk_object_field"`
		Type  string `json:"risk_object_type"`
		Score int    `json:"risk_score"`
	}
	objects := []object{}
	for _, o := range d.Risk.Objects {
		objects = append(objects, object(o))
	}
	return compact(objects)
}

func (d *Detection) drilldowns() string {
	type drilldown struct {
		Name     string `json:"name"`
		Search   string `json:"search"`
		Earliest string `json:"earliest_offset"`
		Latest   string `json:"latest_offset"`
	}
	var out []drilldown
	for _, x := range d.Drilldowns {
		out = append(out, drilldown{x.Name, oneLine(x.Search), orElse(x.Earliest, "$info_min_time$"), orElse(x.Latest, "$info_max_time$")})
	}
	return compact(out)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// compact is JSON on one line. Its arguments are plain data, which always
// encodes.
func compact(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// savedSearches is savedsearches.conf.
func savedSearches(all []*Detection) []byte {
	var b strings.Builder
	b.WriteString("# Made from splunk_app/detections: do not edit.\n")
	for _, d := range all {
		fmt.Fprintf(&b, "\n[%s]\n", d.Title())
		for _, s := range d.stanza() {
			fmt.Fprintf(&b, "%s = %s\n", s.key, strings.ReplaceAll(s.value, "\n", " \\\n"))
		}
	}
	return []byte(b.String())
}

// macros are what the detections add to macros.conf.
func macros(all []*Detection) []byte {
	var b strings.Builder
	for _, d := range all {
		for _, m := range d.Tuning {
			fmt.Fprintf(&b, "\n# %s: %s\n[%s]\n", d.Name, oneLine(m.Meaning), m.Stanza())
			if len(m.Args) > 0 {
				fmt.Fprintf(&b, "args = %s\n", strings.Join(m.Args, ", "))
			}
			fmt.Fprintf(&b, "definition = %s\n", oneLine(m.Value))
		}
		if d.Finds() {
			fmt.Fprintf(&b, "\n[%s]\ndefinition = search *\n", d.Filter())
		}
		// Splunk may not find a report by its name while it is disabled, as it ships.
		if d.Type == Hunting {
			fmt.Fprintf(&b, "\n# The report %s, for pages.\n[aiwatch_%s]\ndefinition = %s\n", d.Name, d.Base(), oneLine(d.Search))
		}
	}
	fmt.Fprintf(&b, "\n# How many rows the lookups have that a detection needs filled.\n[aiwatch_lookup_rows]\ndefinition = %s\n", countLookups(all))
	return []byte(b.String())
}
