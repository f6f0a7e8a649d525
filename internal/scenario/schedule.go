package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"aiwatch/internal/conf"
	"aiwatch/internal/detection"
	"aiwatch/internal/spl"
)

// A Finding is one alert.
type Finding struct {
	Scenario  string
	Detection int
	Name      string    // the detection's title
	Search    string    // the saved search that found it
	Time      time.Time // when the alert was raised
	User      []string
	Asset     []string
	Score     string
	Message   string
	Row       json.RawMessage // the result row
}

// MarshalJSON writes the finding as one line of the report.
func (f Finding) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Scenario  string          `json:"scenario"`
		Detection int             `json:"detection"`
		Name      string          `json:"name"`
		Time      string          `json:"time"`
		User      any             `json:"user"`
		Asset     any             `json:"asset"`
		Score     any             `json:"score"`
		Message   string          `json:"message"`
		Row       json.RawMessage `json:"row"`
	}{f.Scenario, f.Detection, f.Name, f.Time.UTC().Format(time.RFC3339), single(f.User), single(f.Asset), numeric(f.Score), f.Message, f.Row})
}

// single is a value as a report shows it: several stay a list.
func single(values []string) any {
	if len(values) > 1 {
		return values
	}
	return strings.Join(values, "")
}

func numeric(text string) any {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n
	}
	return text
}

// ScheduleOptions are how searches are run over a recording.
type ScheduleOptions struct {
	// Zone is the time zone of the searches' owner; nil is UTC.
	Zone *time.Location
	// Every parses every search anew for each of its runs and lets it read all
	// of its window, instead of remembering from run to run what it finds.
	Every bool
	// Prepare, if set, is handed the engine before the searches are parsed: what
	// lookups and macros are there beside the app's and the scenario's.
	Prepare func(*spl.Engine) error
	// Refused, if set, takes the events that can't be indexed, and the searches
	// run without them. Otherwise one such event ends it all.
	Refused func(envelope []byte, err error)
	// InTurn runs searches that are due at one moment one after the other.
	InTurn bool
	// Closing runs each search that finds once more after the end, over what was
	// indexed by then, so that nothing is left to a run that would come later.
	// What it finds counts as raised at the end.
	Closing bool
}

// A Report is what the searches found.
type Report struct {
	Findings []Finding
	// Events counts what was indexed, by sourcetype.
	Events map[string]int
	// Runs counts the runs of searches.
	Runs int
	// Closed: the searches that find ran once more at the end.
	Closed bool
	// Warnings are what the evaluator warned of, each once.
	Warnings []string
	Took     time.Duration
	// Engine holds what was indexed, the findings among it, and the lookups as the
	// searches left them.
	Engine *spl.Engine
}

// App is the app under the scenario's own macros.
func (s *Scenario) App(app fs.FS) fs.FS {
	if s.Dir == "" { // it has no folder
		return app
	}
	return tuned{app: app, own: os.DirFS(s.Dir)}
}

// tuned is an app under a scenario's local/macros.conf.
type tuned struct{ app, own fs.FS }

// Open opens a file of the scenario where it may replace the app's.
func (t tuned) Open(name string) (fs.File, error) {
	if name == "local/macros.conf" {
		if f, err := t.own.Open(name); err == nil {
			return f, nil
		}
	}
	return t.app.Open(name)
}

// Schedule runs searches over a recording, from its scenario's start to its
// end: each at its cron times over its own window, with its throttling, its
// summary events and what it writes to lookups.
func Schedule(ctx context.Context, rec *Recording, app fs.FS, searches []*Search, o ScheduleOptions) (*Report, error) {
	began := time.Now()
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	r, err := newRounds(rec, app, searches, o)
	if err != nil {
		return nil, err
	}
	defer r.steps.close()
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	r.report.Took = time.Since(began)
	return r.report, nil
}

// rounds is one run of a schedule.
type rounds struct {
	rec     *Recording
	engine  *spl.Engine
	options ScheduleOptions
	jobs    []*job
	steps   *cursor // what is not yet indexed
	report  *Report
	warned  map[string]bool
	now     time.Time
	closing bool // the searches run once more, by no schedule
}

// A job is a search with what its runs leave behind.
type job struct {
	*Search
	query   *spl.Query // nil: it is parsed for each run
	writes  bool       // what other searches read
	next    time.Time
	alerted map[string]time.Time // throttled until
	reads   bool                 // summary events are among what it searches
	rows    map[string]bool      // of its last run, where a closing one follows
}

func newRounds(rec *Recording, app fs.FS, searches []*Search, o ScheduleOptions) (*rounds, error) {
	if err := rec.Scenario.localMacros(); err != nil {
		return nil, err
	}
	engine, err := detection.Engine(rec.Scenario.App(app), o.Zone)
	if err != nil {
		return nil, err
	}
	if err := rec.Scenario.ownLookups(engine); err != nil {
		return nil, err
	}
	r := &rounds{rec: rec, engine: engine, options: o, steps: rec.cursor(), report: &Report{Events: map[string]int{}, Engine: engine}, warned: map[string]bool{}}
	if o.Prepare != nil {
		if err := o.Prepare(engine); err != nil {
			return nil, err
		}
	}
	engine.Collect = func(index string, fields []string, rows []spl.Row) error {
		return engine.Store.AddSummary(index, fields, rows, r.now)
	}
	written := summaries(searches)
	for _, s := range searches {
		query, err := engine.Parse(s.SPL, rec.Scenario.Start)
		if err != nil {
			return nil, fmt.Errorf("search %q: %w", s.Name, err)
		}
		j := &job{Search: s, writes: query.Writes(), alerted: map[string]time.Time{}, reads: r.readsFindings(s, query, written)}
		if !o.Every && !asksForNow(engine, query) {
			query.Keep()
			j.query = query
		}
		begin := rec.Scenario.Start
		if s.Since.After(begin) {
			begin = s.Since
		}
		// Cron times count in the owner's time zone.
		if j.next, err = s.due(begin.In(o.Zone)); err != nil {
			return nil, err
		}
		r.jobs = append(r.jobs, j)
	}
	return r, nil
}

// summaries matches a text that names an index to which searches write what they
// found; nil where none writes.
func summaries(searches []*Search) *regexp.Regexp {
	var names []string
	for _, s := range searches {
		if s.Index != "" {
			names = append(names, regexp.QuoteMeta(s.Index))
		}
	}
	if names == nil {
		return nil
	}
	slices.Sort(names)
	return regexp.MustCompile(`\bindex\s*=\s*"?(?:` + strings.Join(slices.Compact(names), "|") + `)\b`)
}

// readsFindings tells whether a search, or a macro of it, names such an index.
func (r *rounds) readsFindings(s *Search, query *spl.Query, written *regexp.Regexp) bool {
	if written == nil {
		return false
	}
	return written.MatchString(s.SPL) || slices.ContainsFunc(query.Uses().Macros, func(name string) bool {
		return written.MatchString(r.engine.Macros[name]["definition"])
	})
}

// asksForNow tells whether macros of a query are evaluated when it is parsed.
func asksForNow(engine *spl.Engine, query *spl.Query) bool {
	return slices.ContainsFunc(query.Uses().Macros, func(name string) bool { return isTrue(engine.Macros[name]["iseval"]) })
}

// ownLookups puts the scenario's lookups in the place of the app's.
func (s *Scenario) ownLookups(engine *spl.Engine) error {
	if s.Dir == "" {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(escapeGlob(s.Dir), "lookups", "*.csv"))
	if err != nil {
		return fmt.Errorf("list the lookups: %w", err)
	}
	var ps Problems
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a lookup: %w", err)
		}
		t, err := spl.ReadTable(bytes.NewReader(text))
		if err != nil {
			ps.add(s.shown(filepath.Join("lookups", filepath.Base(path))), 0, "%s", err)
			continue
		}
		engine.Lookups.Set(filepath.Base(path), t)
	}
	return ps.orNil()
}

func (r *rounds) run(ctx context.Context) error {
	end := r.rec.Scenario.End
	last := end
	if r.options.Closing {
		last = closing(end)
	}
	for {
		var first time.Time
		for _, j := range r.jobs {
			if first.IsZero() || j.next.Before(first) {
				first = j.next
			}
		}
		if len(r.jobs) == 0 || first.After(last) {
			break
		}
		by := first
		if by.After(end) {
			by = end
		}
		if err := r.index(ctx, by); err != nil {
			return err
		}
		r.now = first
		var due []*job
		for _, j := range r.jobs {
			if j.next.Equal(first) {
				due = append(due, j)
			}
		}
		run := due
		if first.After(end) {
			run = slices.DeleteFunc(slices.Clone(due), fills)
		}
		if err := r.together(ctx, run); err != nil {
			return err
		}
		for _, j := range due {
			var err error
			if j.next, err = j.due(first); err != nil {
				return err
			}
		}
	}
	if r.options.Closing {
		if err := r.close(ctx, last); err != nil {
			return err
		}
	}
	return r.index(ctx, end.Add(deliveryTime))
}

// fills tells whether a search fills a table, which is for the time that follows.
func fills(j *job) bool { return j.writes }

// closing is when searches run once more so that their windows, which end a
// minute before they run, hold everything up to the end.
func closing(end time.Time) time.Time { return end.Truncate(time.Minute).Add(2 * time.Minute) }

// close runs what finds once more. It has run by its schedule within one of its
// periods before, so that no window leaves a gap to the one before it. What
// searches for findings runs last, and twice, since it may find what another one
// of them has found.
func (r *rounds) close(ctx context.Context, at time.Time) error {
	if err := r.index(ctx, r.rec.Scenario.End); err != nil {
		return err
	}
	r.now, r.closing, r.report.Closed = at, true, true
	var first, last []*job
	for _, j := range slices.DeleteFunc(slices.Clone(r.jobs), fills) {
		if j.reads {
			last = append(last, j)
		} else {
			first = append(first, j)
		}
	}
	for _, due := range [][]*job{first, last, last} {
		if err := r.together(ctx, due); err != nil {
			return err
		}
	}
	return nil
}

// together runs the searches that are due at one moment side by side, and takes
// what they found as if one had run after the other: a search that writes runs
// alone, and when one wrote summary events, those behind it run again.
func (r *rounds) together(ctx context.Context, due []*job) error {
	for len(due) > 0 {
		n := 1
		for !r.options.InTurn && !due[0].writes && n < len(due) && !due[n].writes {
			n++
		}
		results := make([]*spl.Result, n)
		group, side := errgroup.WithContext(ctx)
		group.SetLimit(min(runtime.GOMAXPROCS(0), maxSearches))
		for i, j := range due[:n] {
			group.Go(func() (err error) {
				if err := side.Err(); err != nil {
					return err
				}
				if results[i], err = r.search(side, j); err != nil {
					return fmt.Errorf("search %q at %s: %w", j.Name, r.now.Format(time.RFC3339), err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		taken := 0
		for wrote := false; taken < n && !wrote; taken++ {
			var err error
			if wrote, err = r.take(due[taken], results[taken]); err != nil {
				return fmt.Errorf("search %q at %s: %w", due[taken].Name, r.now.Format(time.RFC3339), err)
			}
		}
		due = due[taken:]
	}
	return nil
}

// maxSearches bounds the searches that run side by side, each with its memory.
const maxSearches = 4

// index takes what was delivered by now, and deletes what was deleted.
func (r *rounds) index(ctx context.Context, now time.Time) error {
	for {
		s, ok, err := r.steps.next(now)
		if err != nil || !ok {
			return err
		}
		if s.Event != nil {
			if err := r.engine.Store.Add(s.Event); err != nil {
				if r.options.Refused == nil {
					return fmt.Errorf("index an event: %w", err)
				}
				r.options.Refused(s.Event, err)
				continue
			}
			r.report.Events[sourcetype(s.Event)]++
			continue
		}
		search := regexp.MustCompile(`\|\s*delete\s*$`).ReplaceAllString(s.Delete, "")
		if _, err := r.engine.Delete(ctx, search, spl.Params{Now: s.At}); err != nil {
			return Problem{s.act.file, s.act.number, fmt.Sprintf("delete: %s", err)}
		}
	}
}

// sourcetype is that of an envelope as collectors write it.
func sourcetype(envelope []byte) string {
	_, rest, _ := bytes.Cut(envelope, []byte(`"sourcetype":"`))
	name, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(name)
}

// search runs a search once.
func (r *rounds) search(ctx context.Context, j *job) (*spl.Result, error) {
	params := spl.Params{Now: r.now, Earliest: j.Earliest, Latest: j.Latest}
	if j.query != nil {
		return r.engine.RunQuery(ctx, j.query, params)
	}
	return r.engine.Run(ctx, j.SPL, params)
}

// take accounts for a run, and tells whether it wrote summary events.
func (r *rounds) take(j *job, res *spl.Result) (wrote bool, err error) {
	r.report.Runs++
	for _, w := range res.Warnings {
		if text := j.Name + ": " + w; !r.warned[text] {
			r.warned[text] = true
			r.report.Warnings = append(r.report.Warnings, text)
		}
	}
	return r.alert(j, res)
}

// alert makes findings of a run's rows, but for those that are throttled, and
// tells whether it wrote summary events.
func (r *rounds) alert(j *job, res *spl.Result) (wrote bool, err error) {
	told := j.rows
	if r.options.Closing {
		j.rows = map[string]bool{}
		for _, row := range res.Rows {
			j.rows[string(res.AppendJSON(nil, row))] = true
		}
	}
	if !j.alerts(len(res.Rows)) {
		return false, nil
	}
	var kept []spl.Row
	for _, row := range res.Rows {
		if r.closing && told[string(res.AppendJSON(nil, row))] {
			continue // its window overlaps that of the run before
		}
		if j.SuppressPeriod > 0 {
			key := j.throttle(res, row)
			if until, ok := j.alerted[key]; ok && r.now.Before(until) {
				continue
			}
			j.alerted[key] = r.now.Add(j.SuppressPeriod)
		}
		kept = append(kept, row)
		if f, ok := r.finding(j, res, row); ok {
			r.report.Findings = append(r.report.Findings, f)
		}
	}
	if j.Index == "" || j.Apart || len(kept) == 0 {
		return false, nil
	}
	fields, rows := j.summary(res, kept)
	return true, r.engine.Store.AddSummary(j.Index, fields, rows, r.now)
}

func (j *job) alerts(rows int) bool {
	switch j.Relation {
	case "greater than":
		return rows > j.Quantity
	case "less than":
		return rows < j.Quantity
	case "equal to":
		return rows == j.Quantity
	case "not equal to":
		return rows != j.Quantity
	}
	return rows > 0
}

// throttle is the values by which a row is throttled.
func (j *job) throttle(res *spl.Result, row spl.Row) string {
	var b strings.Builder
	for _, f := range j.SuppressFields {
		b.WriteString(strconv.Quote(res.Get(row, f).String()))
	}
	return b.String()
}

// summary is rows as summary indexing writes them: with the search's name, and
// with the inline fields.
func (j *job) summary(res *spl.Result, rows []spl.Row) ([]string, []spl.Row) {
	fields := slices.Clone(res.Fields)
	extra := map[string]string{"source": j.Name, "sourcetype": "stash", "search_name": j.Name}
	for k, v := range j.Inline {
		extra[k] = v
	}
	names := make([]string, 0, len(extra))
	for k := range extra {
		if !slices.Contains(fields, k) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	fields = append(fields, names...)
	out := make([]spl.Row, len(rows))
	for i, row := range rows {
		full := make(spl.Row, len(res.Fields), len(fields))
		copy(full, row)
		for _, k := range names {
			full = append(full, spl.Text(extra[k]))
		}
		out[i] = full
	}
	return fields, out
}

// finding is a row of a detection; searches whose rows have no detection find
// nothing that counts.
func (r *rounds) finding(j *job, res *spl.Result, row spl.Row) (Finding, bool) {
	get := func(field string) string {
		if v := res.Get(row, field); !v.IsNull() {
			return v.String()
		}
		return j.Inline[field]
	}
	number, err := strconv.Atoi(get("detection"))
	if err != nil {
		return Finding{}, false
	}
	f := Finding{
		Scenario: r.rec.Scenario.Name, Detection: number, Search: j.Name, Time: r.raised(),
		User: res.Get(row, "user").Strings(), Asset: res.Get(row, "asset_id").Strings(), Score: get("score"),
		Name: get("title"), Message: get("message"),
		Row: res.AppendJSON(nil, row),
	}
	// Tokens are what the search's author wrote; in a row they are a name.
	if f.Name == "" {
		f.Name = tokens(either(j.Title, j.Name), get)
	}
	if f.Message == "" {
		f.Message = tokens(j.Message, get)
	}
	return f, true
}

// raised is when what is found now counts as raised.
func (r *rounds) raised() time.Time {
	if end := r.rec.Scenario.End; r.now.After(end) {
		return end
	}
	return r.now
}

var messageToken = regexp.MustCompile(`\$(?:result\.)?([A-Za-z_][A-Za-z0-9_.]*)\$`)

// tokens fills $result.field$ and $field$; a field without a value leaves
// nothing, as it does in Splunk.
func tokens(text string, get func(string) string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	return messageToken.ReplaceAllStringFunc(text, func(t string) string {
		return get(messageToken.FindStringSubmatch(t)[1])
	})
}

// localMacros checks the scenario's own macros.
func (s *Scenario) localMacros() error {
	if s.Dir == "" {
		return nil
	}
	text, err := os.ReadFile(s.file("local/macros.conf"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the scenario's macros: %w", err)
	}
	_, err = conf.Parse("macros.conf", bytes.NewReader(text))
	var found conf.Problems
	if !errors.As(err, &found) {
		return err
	}
	var ps Problems
	for _, f := range found {
		ps.add(s.shown("local/macros.conf"), f.Line, "%s; %s", f.What, f.Fix)
	}
	return ps
}
