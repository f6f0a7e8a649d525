package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"aiwatch/internal/scenario"
)

// A Finding is an alert with the events behind it.
type Finding struct {
	Detection int    `json:"detection"`
	Title     string `json:"title"`
	Severity  string `json:"severity"`
	Score     string `json:"score"`
	// Raised is when the alert was raised, Happened the time of the act.
	Raised   time.Time `json:"raised"`
	Happened time.Time `json:"happened,omitzero"`
	// Users are who did it, as surely as Confidence says.
	Users      []string `json:"users,omitempty"`
	Confidence string   `json:"user_confidence,omitempty"`
	Assets     []string `json:"assets,omitempty"`
	// AssetName is what people call it.
	AssetName string `json:"asset_name,omitempty"`
	Message   string `json:"message"`
	// Meaning is what the detection says of itself, Respond what to do.
	Meaning string `json:"meaning"`
	Respond string `json:"respond"`
	// Clauses are those that the detection serves.
	Clauses []string `json:"clauses,omitempty"`
	MITRE   []string `json:"mitre,omitempty"`
	// EventIDs are all events behind it; Events are those that are there.
	EventIDs []string        `json:"event_ids,omitempty"`
	Events   []*Evidence     `json:"events,omitempty"`
	Row      json.RawMessage `json:"row"`
}

// Evidence is one event behind a finding, with the way back to its record.
type Evidence struct {
	EventID    string    `json:"event_id"`
	Time       time.Time `json:"time"`
	NotBefore  time.Time `json:"not_before,omitzero"`
	TimeBasis  string    `json:"time_basis,omitempty"`
	Input      string    `json:"input"`
	Sourcetype string    `json:"sourcetype"`
	Operation  string    `json:"operation"`
	Actor      string    `json:"actor,omitempty"`
	Confidence string    `json:"user_confidence,omitempty"`
	Src        string    `json:"src,omitempty"`
	Asset      string    `json:"asset_id,omitempty"`
	Change     string    `json:"change,omitempty"`
	RawRef     string    `json:"raw_ref,omitempty"`
	RequestID  string    `json:"request_id,omitempty"`
}

// Reference is the way back to the source's own record.
func (e *Evidence) Reference() string {
	if e.RawRef != "" {
		return e.RawRef
	}
	return e.RequestID
}

// findings takes what was found in the period, the gravest first.
func (a *audit) findings(context.Context) error {
	a.wanted = map[string][]*Evidence{}
	p := a.report.Period
	for i := range a.Ran.Findings {
		f := &a.Ran.Findings[i]
		if f.Time.Before(p.From) || f.Time.After(p.To) {
			continue
		}
		a.report.Findings = append(a.report.Findings, a.finding(f))
	}
	slices.SortStableFunc(a.report.Findings, func(x, y *Finding) int {
		return cmp.Or(
			slices.Index(Severities, x.Severity)-slices.Index(Severities, y.Severity),
			x.Raised.Compare(y.Raised), x.Detection-y.Detection, cmp.Compare(x.Message, y.Message),
		)
	})
	return nil
}

func (a *audit) finding(f *scenario.Finding) *Finding {
	var row struct {
		Time       number `json:"_time"`
		Severity   text   `json:"severity"`
		Confidence text   `json:"user_confidence"`
		EventIDs   text   `json:"event_ids"`
		AssetName  text   `json:"asset_name"`
	}
	// The row is the evaluator's own JSON.
	_ = json.Unmarshal(f.Row, &row)
	out := &Finding{
		Detection: f.Detection, Title: f.Name, Severity: string(row.Severity), Score: f.Score, Raised: f.Time.UTC(),
		Users: f.User, Confidence: string(row.Confidence), Assets: f.Asset, AssetName: string(row.AssetName), Message: f.Message, Row: f.Row,
	}
	if row.Time.set {
		out.Happened = moment(row.Time.value)
	}
	if d := a.byNumber[f.Detection]; d != nil {
		// The file marks commands for Markdown.
		out.Meaning, out.Respond = strings.ReplaceAll(d.Description, "`", ""), strings.ReplaceAll(d.Respond, "`", "")
		for _, c := range []struct {
			of      string
			clauses []string
		}{{"EU AI Act", d.Audit.EUAIAct}, {"ISO/IEC 42001", d.Audit.ISO42001}, {"NIST AI RMF", d.Audit.NISTAIRMF}} {
			for _, clause := range c.clauses {
				out.Clauses = append(out.Clauses, c.of+" "+clause)
			}
		}
		out.MITRE = append(slices.Clone(d.ATLAS), d.ATTACK...)
		if out.Severity == "" {
			out.Severity = d.Severity
		}
	}
	if !slices.Contains(Severities, out.Severity) {
		out.Severity = "informational"
	}
	for _, id := range strings.Split(string(row.EventIDs), ",") {
		if id == "" || id == "none" || slices.Contains(out.EventIDs, id) {
			continue
		}
		out.EventIDs = append(out.EventIDs, id)
		e := &Evidence{EventID: id}
		out.Events = append(out.Events, e)
		a.wanted[id] = append(a.wanted[id], e)
	}
	return out
}

// evidence fills in an event that stands behind findings. One that came twice is
// the same.
func (a *audit) evidence(r *record) {
	for _, e := range a.wanted[string(r.Event.ID)] {
		if !e.Time.IsZero() {
			continue
		}
		f := r.Event
		*e = Evidence{
			EventID: e.EventID, Time: r.at(), TimeBasis: string(f.TimeBasis), Input: string(r.Source),
			Sourcetype: string(r.Sourcetype), Operation: string(f.Operation), Actor: f.actor(), Confidence: string(f.Confidence),
			Src: string(f.Src), Asset: string(f.AssetID), RawRef: string(f.RawRef), RequestID: string(f.RequestID),
		}
		if f.NotBefore.set {
			e.NotBefore = moment(f.NotBefore.value)
		}
		if f.ChangeField != "" {
			e.Change = string(f.ChangeField) + ": " + orNone(string(f.OldValue)) + " -> " + orNone(string(f.NewValue))
		}
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// found takes away the events that are not there, and orders the others. Where the
// row did not say how sure the actor is, he is proven if all these events prove
// theirs.
func (f *Finding) found() {
	f.Events = slices.DeleteFunc(f.Events, func(e *Evidence) bool { return e.Time.IsZero() })
	slices.SortStableFunc(f.Events, func(x, y *Evidence) int { return x.Time.Compare(y.Time) })
	if f.Confidence != "" || len(f.Users) == 0 || f.Users[0] == "" {
		return
	}
	for _, e := range f.Events {
		switch {
		case e.Health():
		case e.Confidence != "authenticated" && e.Confidence != "signed":
			f.Confidence = "claimed"
			return
		case f.Confidence == "":
			f.Confidence = e.Confidence
		}
	}
}
