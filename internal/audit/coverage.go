package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/internal/detection"
	"aiwatch/internal/event"
)

// Coverage is what could have been found, and what cannot be known.
type Coverage struct {
	Detections []Judged `json:"detections"`
	CanFire    int      `json:"can_fire"`
	Limited    int      `json:"limited"`
	CannotFire int      `json:"cannot_fire"`
	// Unknown is what these events cannot tell.
	Unknown []string `json:"unknown"`
}

// A Judged is a detection with whether it could have fired.
type Judged struct {
	Number   int    `json:"detection"`
	Name     string `json:"name"`
	Severity string `json:"severity"`
	// Findings counts what it raised.
	Findings int `json:"findings"`
	// Until is when the newest events were indexed that it judged: it waits for
	// what may explain an act. NotJudged counts the events that came after that
	// from sources that it reads.
	Until     time.Time `json:"judged_until"`
	NotJudged int       `json:"not_judged,omitempty"`
	detection.Coverage
}

// judged finds out up to when each detection judged: the end of the period, where
// it ran once more, or as long before that as it waits.
func (a *audit) judged(ctx context.Context) error {
	a.until, a.beyond = map[int]time.Time{}, map[int]int{}
	if !a.Ran.Closed {
		return errors.New("the searches did not run at the end of the period")
	}
	to := a.report.Period.To
	for _, d := range a.detections {
		wait, err := d.Wait(ctx, a.Ran.Engine, to)
		if err != nil {
			return fmt.Errorf("detection %d: %w", d.Number, err)
		}
		a.until[d.Number] = to.Add(-wait)
	}
	return nil
}

// late counts an event for the detections that had not judged it by the end.
func (a *audit) late(r *record, at time.Time) {
	kind := strings.TrimPrefix(string(r.Sourcetype), "aiwatch:")
	for _, d := range a.detections {
		if at.After(a.until[d.Number]) && slices.Contains(d.Needs.Sources, kind) {
			a.beyond[d.Number]++
		}
	}
}

// coverage judges the detections by the inputs that told of themselves, the
// lookups as they are at the end, and the history of their sources: since the
// oldest act that a log tells, which may be older than the input.
func (a *audit) coverage(context.Context) error {
	p := a.report.Period
	situation := detection.Situation{Lookups: map[string]int{}, Now: p.To, WithoutSplunk: !a.splunk}
	situation.Inputs = append(situation.Inputs, a.Configured...)
	for _, w := range a.report.Watch {
		if !slices.ContainsFunc(a.Configured, func(in detection.Input) bool { return in.Stanza == w.Input }) {
			situation.Inputs = append(situation.Inputs, a.watches.inputs[w.Input].observed())
		}
	}
	engine := a.Ran.Engine
	for name, definition := range engine.Transforms {
		if strings.EqualFold(definition["external_type"], "kvstore") {
			situation.Lookups[name] = 0 // nothing was written to it, unless there is a table
		}
	}
	for _, name := range engine.Lookups.Names() {
		situation.Lookups[name] = len(engine.Lookups.Table(name).Rows)
	}
	raised := map[int]int{}
	for _, f := range a.report.Findings {
		raised[f.Detection]++
	}
	c := &a.report.Coverage
	for _, d := range a.detections {
		situation.Since = a.watches.since(d.Needs.Sources, p.History)
		j := Judged{Number: d.Number, Name: d.Name, Severity: d.Severity, Findings: raised[d.Number], Until: a.until[d.Number], NotJudged: a.beyond[d.Number], Coverage: d.Coverage(situation)}
		// An audit has run what fills the tables.
		j.Notes = slices.DeleteFunc(slices.Clone(j.Notes), func(n string) bool { return strings.HasPrefix(n, "to be enabled with it") })
		if j.Findings > 0 && j.Verdict == detection.CannotFire {
			j.Verdict = detection.Limited // it has fired
		}
		c.Detections = append(c.Detections, j)
		switch j.Verdict {
		case detection.CanFire:
			c.CanFire++
		case detection.Limited:
			c.Limited++
		default:
			c.CannotFire++
		}
	}
	a.unknown(c)
	return nil
}

// since is when the oldest act of these sources happened, and not after fallback.
func (ws *watches) since(sources []string, fallback time.Time) time.Time {
	for _, w := range ws.inputs {
		if (slices.Contains(sources, w.Source) || !slices.ContainsFunc(sources, isSource)) && !w.oldest.IsZero() && w.oldest.Before(fallback) {
			fallback = w.oldest
		}
	}
	return fallback
}

// isSource tells whether it is one that has inputs of its own.
func isSource(name string) bool { return slices.Contains([]string{"mlflow", "s3", "git"}, name) }

// observed is an input as its events show it.
func (w *watching) observed() detection.Input {
	in := detection.Input{Stanza: w.Input, Source: w.Source, Observed: true, Authenticated: w.proven}
	for _, log := range []string{"access_log", "audit_log", "hook_log", "control"} {
		if w.logs[log] {
			in.Tells = append(in.Tells, log)
		}
	}
	return in
}

// unknown says what the events of this audit cannot tell.
func (a *audit) unknown(c *Coverage) {
	say := func(format string, args ...any) { c.Unknown = append(c.Unknown, fmt.Sprintf(format, args...)) }
	p := a.report.Period
	have := map[string]bool{}
	for _, w := range a.report.Watch {
		have[w.Source] = true
		if w.Beats == 0 {
			say("%s sent no heartbeat: whether there were hours in which it was not read is not known.", w.Input)
		}
		if missed := w.Missed(); missed > 0 {
			say("%s was not watched for %s: what happened then and left no record that was read later is not known.", w.Input, length(missed))
		}
		if n := w.Lost(); n > 0 {
			say("%s events of %s were numbered and are not there, and no dead letter explains them.", strconv.FormatUint(n, 10), w.Input)
		}
		if w.Inventory == "false" {
			say("%s had not read what existed at first contact to its end: detections that weigh lineage are silent till then.", w.Input)
		}
		for _, text := range w.NotSeen {
			say("%s does not see: %s.", w.Input, strings.TrimRight(text, "."))
		}
	}
	for _, kind := range []struct{ name, what string }{
		{"s3", "No S3 access log is read: who read or wrote objects directly in the store is not known."},
		{"mlflow", "No MLflow server is read: who registered, promoted or changed a model there is not known."},
		{"git", "No Git repository is read: what was done to code and weights there is not known."},
	} {
		if !have[kind.name] {
			say("%s", kind.what)
		}
	}
	if have["s3"] {
		say("S3 delivers its access logs when it can and promises no record: that a read is not listed does not prove that there was none.")
	}
	for _, j := range c.Detections {
		if j.NotJudged > 0 && j.Verdict != detection.CannotFire {
			say("%d %s waits for what may still come, and judged what was indexed until %s. %s of its sources came after that: an audit whose period ends later judges them.", j.Number, j.Name, stamp(j.Until), event.Count(j.NotJudged, "event"))
		}
	}
	claimed, all := 0, 0
	for _, w := range a.watches.inputs {
		claimed, all = claimed+w.claimed, all+w.acts
	}
	if all > 0 && claimed > 0 {
		say("%s of the acts name an actor whom nobody has proven, or none at all; a claimed name accuses nobody.", percent(claimed, all))
	}
	undated, bad, broken := 0, 0, 0
	for _, s := range a.report.Sources {
		undated += s.Undated
		bad += s.Bad
		if s.Broken != "" {
			broken++
		}
	}
	if undated > 0 {
		say("Of %d events nobody noted when they arrived. They count as having arrived when they happened, as if no log had come late.", undated)
	}
	if bad > 0 {
		say("%d lines could not be read as events.", bad)
	}
	if broken > 0 {
		say("%d of the sources break off before their end.", broken)
	}
	if p.Later > 0 {
		say("%d events came after the period and are not in it.", p.Later)
	}
	say("Whoever holds rights over the collectors' host can keep events from being written; the numbers and heartbeats show holes, and nothing shows what would have stood in them.")
}

func percent(part, all int) string {
	share := float64(part) * 100 / float64(all)
	switch {
	case share > 0 && share < 1:
		return "Under 1%"
	default:
		return fmt.Sprintf("%.0f%%", share)
	}
}
