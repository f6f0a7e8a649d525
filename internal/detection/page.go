package detection

import (
	"fmt"
	"slices"
	"strings"
)

// Page is docs/detections.md: the catalogue of the detections for people who
// run the app, with what was measured of them.
func Page(all []*Detection, proof Proof) []byte {
	var b strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	w("# Detections\n\n")
	w("Made by `go generate ./internal/detection` from `splunk_app/detections`: do not edit.\n\n")
	w("Every search ships disabled. Its rows become findings in the index `summary` by Splunk's own summary indexing, " +
		"alerts of plain Splunk, and notables and risk where Enterprise Security is installed. " +
		"`local/macros.conf` tunes: the thresholds below, and each detection's filter macro, whose definition leaves out what a search condition says. " +
		"The list `allow_<number>` of `aiwatch_lists` excuses an actor, principal, asset or source of one detection.\n\n")

	w("## The starter set\n\n")
	w("Twelve rules that need no history. Put this into the app's `local/savedsearches.conf`; nothing else has to be filled for them to fire:\n\n```ini\n")
	for _, d := range all {
		if d.Starter {
			w("[%s]\ndisabled = 0\n", d.Title())
		}
	}
	w("```\n\n")

	w("## Can it fire?\n\n`aiwatch check --coverage` on the collector's host says for each detection whether the inputs, the logs that they read, the app's lookups (`--app DIR` for those of an installed app) and the history since the state began let it fire, and what to do. " +
		"Inside Splunk the report Detection coverage judges by heartbeats, by the rows of the lookups, tables that searches fill among them, and by the days since events are seen.\n\n")

	w("## Catalogue\n\n| # | detection | sources | severity | needs | proof |\n|---|---|---|---|---|---|\n")
	for _, d := range all {
		if d.Finds() {
			w("| %d | [%s](#%s) | %s | %s | %s | %s |\n", d.Number, d.Name, anchor(d), strings.Join(d.Needs.Sources, ", "), d.Severity, d.needs(), d.proof())
		}
	}
	proof.section(w, all)
	for _, d := range all {
		if d.Finds() {
			d.section(w)
		}
	}
	w("\n## Searches that fill tables\n\nEnable those that a detection needs; each runs by itself.\n")
	for _, d := range all {
		if d.Type == Baseline {
			w("\n### %s\n\n`%s`, `%s`. %s\n\n```\n%s\n```\n", d.Name, d.Base(), d.Schedule.Cron, d.Description, d.Search)
			d.tuning(w)
		}
	}
	w("\n## Reports\n\nFor people who ask: run by hand, or scheduled.\n")
	for _, d := range all {
		if d.Type == Hunting {
			w("\n### %s\n\n%s\n\n```\n%s\n```\n", d.Name, d.Description, d.Search)
			d.tuning(w)
		}
	}
	return []byte(b.String())
}

// anchor is how Markdown readers name a detection's heading.
func anchor(d *Detection) string {
	keep := func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return -1
	}
	return strings.Map(keep, strings.ToLower(fmt.Sprintf("%d %s", d.Number, d.Name)))
}

// needs says in a cell what must be there beside the sources.
func (d *Detection) needs() string {
	var parts []string
	for _, l := range d.Needs.Filled {
		if !slices.ContainsFunc(d.Needs.Baselines, func(b string) bool { return tableOf(b) == l }) {
			parts = append(parts, "`"+l+"` filled")
		}
	}
	if len(d.Needs.Baselines) > 0 {
		parts = append(parts, "`"+strings.Join(d.Needs.Baselines, "` `")+"`")
	}
	if d.Needs.History > 0 {
		parts = append(parts, fmt.Sprintf("%d days", d.Needs.History))
	}
	return strings.Join(parts, ", ")
}

// proof names what shows that the detection fires and when it does not.
func (d *Detection) proof() string {
	var parts []string
	cases := 0
	for _, t := range d.Tests {
		if t.Scenario != "" {
			parts = append(parts, fmt.Sprintf("[%s](../splunk_app/scenarios/%s/scenario.yml)", t.Scenario, t.Scenario))
		} else {
			cases++
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%d cases", cases)), ", ")
}

func (d *Detection) section(w func(string, ...any)) {
	w("\n## %d %s\n\n%s\n\n", d.Number, d.Name, d.Description)
	w("**Logic.** %s\n\n", d.Logic)
	w("```\n%s\n```\n\n", d.Search)
	w("Runs at `%s` over %s to %s; the same %s is told once in %s.\n", d.Schedule.Cron, d.Schedule.Earliest, d.Schedule.Latest,
		strings.Join(d.Schedule.Throttle.Fields, ", "), d.Schedule.Throttle.Period)
	if d.Schedule.Waits != "" {
		w("\nIt waits %s seconds for what explains an act before it judges it.\n", d.Schedule.Waits)
	}
	d.tuning(w)
	w("\n**False positives.** %s\n\n", d.False)
	if d.Blind != "" {
		w("**Can't see.** %s\n\n", d.Blind)
	}
	w("**What to do.** %s\n\n", d.Respond)
	var maps []string
	for _, m := range []struct {
		name  string
		terms []string
	}{
		{"ATLAS", d.ATLAS},
		{"ATT&CK", d.ATTACK},
		{"NIST CSF", d.NIST},
		{"EU AI Act", d.Audit.EUAIAct},
		{"ISO/IEC 42001", d.Audit.ISO42001},
		{"NIST AI RMF", d.Audit.NISTAIRMF},
	} {
		if len(m.terms) > 0 {
			maps = append(maps, m.name+" "+strings.Join(m.terms, ", "))
		}
	}
	score := fmt.Sprint(d.Risk.Score)
	if d.Risk.ClaimedScore > 0 {
		score += fmt.Sprintf(", %d where the actor is only claimed", d.Risk.ClaimedScore)
	}
	w("**Maps to** %s. Tactic %s, score %s.\n\n", strings.Join(maps, "; "), d.Tactic, score)
	w("**Proof.**\n\n")
	for _, t := range d.Tests {
		if t.Scenario != "" {
			w("- scenario `%s`: %s\n", t.Scenario, t.Name)
		} else {
			w("- %s\n", t.Name)
		}
	}
}

func (d *Detection) tuning(w func(string, ...any)) {
	if len(d.Tuning) == 0 {
		return
	}
	w("\n| macro | value | |\n|---|---|---|\n")
	for _, m := range d.Tuning {
		w("| `%s` | `%s` | %s |\n", m.Stanza(), strings.ReplaceAll(oneLine(m.Value), "|", `\|`), oneLine(m.Meaning))
	}
}
