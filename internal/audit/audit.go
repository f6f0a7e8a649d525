package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
	"aiwatch/internal/spl"
	splunkapp "aiwatch/splunk_app"
)

// Severities are the severities of findings, the gravest first.
var Severities = []string{"critical", "high", "medium", "low", "informational"}

// LongestPeriod is how far before its end the searches of an audit begin: what
// was indexed before that is history that they look back on.
const LongestPeriod = 400 * 24 * time.Hour

const (
	// compound is how far back the detection of compound risk counts findings.
	compound = 7 * 24 * time.Hour
	// learn is how long before the period the searches begin that fill tables:
	// these forget after 90 days.
	learn = compound + 30*24*time.Hour + 91*24*time.Hour
)

// settle is how long after the last event an audit without an end runs on, so
// that the searches of every five minutes have seen it.
const settle = 10 * time.Minute

// An Input is what an audit is made of.
type Input struct {
	Events *Events
	// Ran is what the searches found over the recording of these events, with a
	// closing run, where they ran already; nil: they run now.
	Ran *scenario.Report
	// App is the app whose searches run; nil is the built-in one.
	App fs.FS
	// Catalogue is the app's detections; nil are those of the built-in one.
	Catalogue []*detection.Detection
	// Prepare, if set, gives the engine lookups and macros over the app's.
	Prepare func(*spl.Engine) error
	// Configured are the inputs of a configuration; those that are not among them
	// are judged by their events.
	Configured []detection.Input
	// From and To are the period; the zero times are the first event and shortly
	// after the last one.
	From, To time.Time
	// FailOn is the least severity that an audit fails on; empty fails on none.
	FailOn string
	// Made is when the report is made, Version by which aiwatch.
	Made    time.Time
	Version string
}

// A Report is what an audit says. Its JSON is documented in docs/audit.md.
type Report struct {
	Version string    `json:"aiwatch"`
	Made    time.Time `json:"made"`
	Period  Period    `json:"period"`
	Verdict Verdict   `json:"verdict"`
	Sources []*Source `json:"sources"`
	// Kinds counts the events by sourcetype.
	Kinds      map[string]int `json:"events"`
	Findings   []*Finding     `json:"findings"`
	Custody    []*Custody     `json:"custody"`
	Access     Access         `json:"access"`
	Watch      []*Watch       `json:"watch"`
	Coverage   Coverage       `json:"coverage"`
	Frameworks []Framework    `json:"frameworks"`
	// Warnings are what the evaluator warned of and what was left out.
	Warnings []string `json:"warnings,omitempty"`
}

// A Period is the time that was audited.
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// History is since when events are there.
	History time.Time `json:"history"`
	// Searched is since when the searches ran over them.
	Searched time.Time `json:"searched"`
	// Later counts the events that were indexed after the period.
	Later int `json:"later"`
}

// Run makes the report.
func Run(ctx context.Context, in Input) (*Report, error) {
	if in.Events == nil || in.Events.Len() == 0 {
		if in.Events == nil {
			in.Events = NewEvents()
		}
		return nil, in.Events.none()
	}
	if in.FailOn != "" && !slices.Contains(Severities, in.FailOn) {
		return nil, fmt.Errorf("%q is no severity: take one of %v", in.FailOn, Severities)
	}
	var err error
	if in.Catalogue == nil {
		if in.Catalogue, err = detection.Load(splunkapp.Files); err != nil {
			return nil, err
		}
	}
	if in.App == nil {
		if in.App, err = detection.FS(); err != nil {
			return nil, err
		}
	}
	a := &audit{Input: in, byNumber: map[int]*detection.Detection{}, report: &Report{
		Version: in.Version, Made: in.Made.UTC().Truncate(time.Second), Sources: in.Events.sources, Kinds: map[string]int{},
	}}
	for _, d := range in.Catalogue {
		if d.Finds() {
			a.detections = append(a.detections, d)
			a.byNumber[d.Number] = d
		} else if d.Type == detection.Hunting {
			a.reports = append(a.reports, d.Title())
		}
	}
	if err := a.period(); err != nil {
		return nil, err
	}
	if err := a.search(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{a.findings, a.production, a.judged, a.events, a.custody, a.access, a.coverage} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	a.frameworks()
	a.verdict()
	return a.report, nil
}

// audit is an audit under way.
type audit struct {
	Input
	detections []*detection.Detection
	byNumber   map[int]*detection.Detection
	reports    []string // saved searches that find nothing
	report     *Report

	wanted  map[string][]*Evidence // events behind findings, by event_id
	watches *watches
	chains  *chains
	splunk  bool // Splunk's own logs are among the events

	until  map[int]time.Time // up to when a detection judged what was indexed
	beyond map[int]int       // events that it reads and that were indexed after that
}

// period settles what is audited.
func (a *audit) period() error {
	first, last := a.Events.Span()
	p := &a.report.Period
	p.History, p.From, p.To = first, a.From.UTC(), a.To.UTC()
	if story := a.Events.rec.Scenario; a.Events.played && a.To.IsZero() {
		p.To = story.End
		if a.From.IsZero() {
			p.From = story.Start
		}
	} else if a.To.IsZero() {
		// An event of tomorrow was not there when this audit was made.
		if p.To = last.Add(settle).Truncate(time.Minute); !a.Made.IsZero() && p.To.After(a.Made) {
			p.To = a.Made.UTC()
		}
	}
	p.Searched = first
	earliest := p.To.Add(-LongestPeriod)
	if !p.From.IsZero() {
		earliest = p.From.Add(-learn)
	}
	if p.Searched.Before(earliest) {
		p.Searched = earliest
	}
	p.Searched = p.Searched.Truncate(time.Minute)
	if p.From.IsZero() {
		p.From = p.Searched
	}
	if !p.To.After(p.From) {
		return fmt.Errorf("the period ends %s, which is not after its begin %s", stamp(p.To), stamp(p.From))
	}
	if p.Length() > LongestPeriod {
		return fmt.Errorf("the period is longer than %d days", LongestPeriod/(24*time.Hour))
	}
	return nil
}

// search runs the app's searches, from the first event on, so that baselines and
// first-seen tables know what was before the period.
func (a *audit) search(ctx context.Context) error {
	if p := a.report.Period; !a.Events.played {
		a.Events.rec.Finish(p.Searched, p.To)
	}
	if a.Ran != nil {
		a.report.Warnings = append(a.report.Warnings, a.Ran.Warnings...)
		return nil
	}
	all, err := scenario.Searches(a.App)
	if err != nil {
		return fmt.Errorf("read the app's searches: %w", err)
	}
	all = slices.DeleteFunc(all, func(s *scenario.Search) bool { return slices.Contains(a.reports, s.Name) })
	for _, s := range all {
		if s.Index != "" { // it finds
			// What it found before may silence it still, and count for others.
			s.Since = a.report.Period.From.Add(-s.SuppressPeriod - compound)
		}
	}
	if len(all) == 0 {
		return errors.New("the app has no scheduled search; --app takes the folder of the installed app")
	}
	refused := 0
	a.Ran, err = scenario.Schedule(ctx, a.Events.rec, a.App, all, scenario.ScheduleOptions{
		Prepare: a.prepare,
		Closing: true,
		Refused: func(_ []byte, err error) {
			if refused++; refused == 1 {
				a.report.Warnings = append(a.report.Warnings, "events that no search can read, and why the first of them: "+err.Error())
			}
		},
	})
	if err != nil {
		return fmt.Errorf("run the app's searches: %w", err)
	}
	if refused > 0 {
		a.report.Warnings = append(a.report.Warnings, strconv.Itoa(refused)+" events were left out of the searches")
	}
	a.report.Warnings = append(a.report.Warnings, a.Ran.Warnings...)
	return nil
}

// prepare makes the searches read every index: where an administrator has put
// the events is no reason not to find them. A macro that the app was tuned with
// stays.
func (a *audit) prepare(engine *spl.Engine) error {
	if index := engine.Macros["aiwatch_index"]; index["definition"] == "(index=aiwatch)" {
		engine.Macros["aiwatch_index"] = map[string]string{"definition": "(index=*)"}
	}
	if a.Prepare == nil {
		return nil
	}
	return a.Prepare(engine)
}

// events goes through the events once, for everybody who asks something of each.
func (a *audit) events(ctx context.Context) error {
	p := &a.report.Period
	a.watches = newWatches(*p, a.Events.once)
	n := 0
	err := a.Events.rec.Each(func(step scenario.Step) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if step.Event == nil {
			return nil // somebody deleted events
		}
		if step.At.After(p.To) {
			p.Later++
			return nil
		}
		r, err := parse(step.Event)
		if err != nil || r.Event == nil {
			return nil // it was counted when it was read
		}
		a.report.Kinds[string(r.Sourcetype)]++
		a.splunk = a.splunk || r.Index == "_audit" || r.Index == "_configtracker"
		a.late(r, step.At)
		a.evidence(r)
		a.watches.see(r, step.At)
		a.chains.see(r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("go through the events: %w", err)
	}
	a.report.Watch = a.watches.all()
	return nil
}

// rows runs a search over all that was indexed by the end of the period, or in
// the period alone, and returns its rows as maps of their fields.
func (a *audit) rows(ctx context.Context, search string, earliest time.Time) ([]row, error) {
	p := spl.Params{Now: a.report.Period.To, Latest: epoch(a.report.Period.To.Add(time.Second))}
	if !earliest.IsZero() {
		p.Earliest = epoch(earliest)
	}
	res, err := a.Ran.Engine.Run(ctx, search, p)
	if err != nil {
		return nil, err
	}
	rows := make([]row, len(res.Rows))
	for i, r := range res.Rows {
		rows[i] = row{res, r}
	}
	return rows, nil
}

// A row is one of a result.
type row struct {
	res *spl.Result
	row spl.Row
}

func (r row) list(field string) []string { return r.res.Get(r.row, field).Strings() }

// text is the field's value, the first of several.
func (r row) text(field string) string {
	if all := r.list(field); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (r row) number(field string) float64 {
	n, _ := r.res.Get(r.row, field).Float()
	return n
}

func (r row) time(field string) time.Time {
	n, ok := r.res.Get(r.row, field).Float()
	if !ok {
		return time.Time{}
	}
	return moment(n)
}

func epoch(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64) }

// quote writes a string of SPL.
func quote(s string) string {
	b := []byte{'"'}
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, '"'))
}

// stamp is a moment as people read it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
