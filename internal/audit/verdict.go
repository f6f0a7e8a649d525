package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"aiwatch/internal/event"
)

// Exit codes of an audit.
const (
	ExitDone  = 0
	ExitFound = 3
)

// logGap is the detection of hours that a source's log leaves out.
const logGap = 30

// A Verdict is the report in a sentence.
type Verdict struct {
	// Level is alarm where something critical or high was found, warning where
	// something else was or the evidence has holes, quiet otherwise.
	Level    string `json:"level"`
	Headline string `json:"headline"`
	// Names is who stands in the most findings, where it is somebody.
	Names    string         `json:"names,omitempty"`
	Evidence string         `json:"evidence"`
	Findings map[string]int `json:"findings"` // by severity
	FailOn   string         `json:"fail_on,omitempty"`
	ExitCode int            `json:"exit_code"`
}

// gaps are the assets whose source's own log was found to leave out hours: the
// input may have read all of it.
func (r *Report) gaps() (assets []string) {
	for _, f := range r.Findings {
		if f.Detection == logGap && len(f.Assets) > 0 && !slices.Contains(assets, f.Assets[0]) {
			assets = append(assets, f.Assets[0])
		}
	}
	return assets
}

// verdict sums the report up.
func (a *audit) verdict() {
	r := a.report
	v := &r.Verdict
	v.FailOn, v.Findings, v.Level = a.FailOn, map[string]int{}, "quiet"
	for _, f := range r.Findings {
		v.Findings[f.Severity]++
		if a.FailOn != "" && slices.Index(Severities, f.Severity) <= slices.Index(Severities, a.FailOn) {
			v.ExitCode = ExitFound
		}
	}
	var found []string
	for _, s := range Severities {
		if n := v.Findings[s]; n > 0 {
			found = append(found, fmt.Sprintf("%d %s", n, s))
		}
	}
	switch len(found) {
	case 0:
		v.Headline = "Nothing was found"
	case 1:
		v.Headline = found[0] + strings.TrimPrefix(event.Count(len(r.Findings), " finding"), strconv.Itoa(len(r.Findings))+" ")
	default:
		v.Headline = fmt.Sprintf("%d findings: %s", len(r.Findings), strings.Join(found, ", "))
	}
	v.Names = named(r.Findings)
	var holes []string
	for _, w := range r.Watch {
		input := clipped(w.Input)
		switch {
		case w.Missed() > 0:
			holes = append(holes, input+" was not watched for "+length(w.Missed()))
		case w.Beats == 0:
			holes = append(holes, input+" sent no heartbeat")
		}
		if n := w.Lost(); n > 0 {
			holes = append(holes, fmt.Sprintf("%d events of %s are missing", n, input))
		}
		if w.Twice > 0 {
			holes = append(holes, fmt.Sprintf("%s used %s for two events", input, event.Count(w.Twice, "number")))
		}
		for _, operation := range []string{"state.restored", "state.damaged", "archive.damaged", "gap.unreadable"} {
			if slices.ContainsFunc(w.Losses, func(l Loss) bool { return l.What == losses[operation] }) {
				holes = append(holes, input+": "+losses[operation])
			}
		}
	}
	for _, asset := range r.gaps() {
		holes = append(holes, "the log of "+clipped(asset)+" leaves out hours")
	}
	for _, s := range r.Sources {
		if s.Bad > 0 || s.Broken != "" {
			holes = append(holes, s.Name+" could not be read whole")
		}
	}
	blind := ""
	if n := r.Coverage.CannotFire; n > 0 {
		blind = fmt.Sprintf("%d of %d detections could not have fired", n, len(r.Coverage.Detections))
	}
	switch {
	case len(holes) > 0:
		v.Evidence = "The evidence has holes: " + strings.Join(append(holes, nonempty(blind)...), "; ") + "."
	case blind != "":
		v.Evidence = "The evidence has no holes, but " + blind + "."
	default:
		v.Evidence = "The evidence has no holes, and every detection could have fired."
	}
	switch {
	case v.Findings["critical"]+v.Findings["high"] > 0:
		v.Level = "alarm"
	case len(r.Findings) > 0 || len(holes) > 0:
		v.Level = "warning"
	}
}

// named says whom the most findings name.
func named(all []*Finding) string {
	counts := map[string]int{}
	most := ""
	for _, f := range all {
		for _, u := range f.Users {
			if u == "" {
				continue
			}
			if counts[u]++; counts[u] > counts[most] || counts[u] == counts[most] && u < most {
				most = u
			}
		}
	}
	switch {
	case most == "":
		return ""
	case len(all) == 1:
		return "It names " + clipped(most) + "."
	case counts[most] == len(all):
		return "All of them name " + clipped(most) + "."
	default:
		return fmt.Sprintf("%d of them name %s.", counts[most], clipped(most))
	}
}

// clipped is a name as the first lines can hold it.
func clipped(name string) string {
	const most = 80
	if utf8.RuneCountInString(name) <= most {
		return name
	}
	return string([]rune(name)[:most]) + "..."
}

func nonempty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
