package scenario

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"aiwatch/internal/conf"
	"aiwatch/internal/spl"
)

// A Search is a scheduled search, as Splunk reads it from savedsearches.conf.
type Search struct {
	Name string
	SPL  string
	// Cron, Earliest and Latest are its schedule and its window.
	Cron, Earliest, Latest string
	// Relation and Quantity decide whether a run alerts: when the number of its
	// rows is, such as, "greater than" 0. An empty relation always alerts.
	Relation string
	Quantity int
	// Suppress are the fields and the period of its throttling; a period of 0
	// throttles nothing. Without fields the whole search is silent for the
	// period.
	SuppressFields []string
	SuppressPeriod time.Duration
	// Index is where its rows are written as summary events; empty writes none.
	Index string
	// Inline are the fields that summary indexing adds to each row.
	Inline map[string]string
	// Message and Title stand in for fields of these names that rows do not
	// have; tokens in them are filled from the row.
	Message, Title string
	// Since is before when it does not run; the zero time is the recording's start.
	Since time.Time
	// Apart keeps what it finds from the other searches: it writes no summary
	// events. Variants of a search are tried so beside the search itself.
	Apart bool
}

// Searches reads the scheduled searches of an app, whether they are disabled or
// not, in the order of their names.
func Searches(app fs.FS) ([]*Search, error) {
	saved, err := readConf(app, "savedsearches.conf")
	if err != nil {
		return nil, err
	}
	var all []*Search
	for _, st := range saved.Stanzas {
		if st.Name == conf.DefaultStanza {
			continue
		}
		s, err := newSearch(st.Name, spl.ConfOf(saved)[st.Name])
		if err != nil {
			return nil, fmt.Errorf("savedsearches.conf: [%s]: %w", st.Name, err)
		}
		if s.SPL != "" && s.Cron != "" {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *Search) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// readConf reads default/NAME under local/NAME of an app.
func readConf(app fs.FS, name string) (*conf.File, error) {
	var files []*conf.File
	for _, layer := range []string{"default", "local"} {
		text, err := fs.ReadFile(app, path.Join(layer, name))
		if err != nil {
			continue // it need not have both
		}
		f, err := conf.Parse(path.Join(layer, name), bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return conf.Overlay(files...), nil
}

func newSearch(name string, keys map[string]string) (*Search, error) {
	s := &Search{
		Name: name, SPL: keys["search"], Cron: keys["cron_schedule"],
		Earliest: keys["dispatch.earliest_time"], Latest: keys["dispatch.latest_time"],
		Inline:  map[string]string{},
		Message: either(keys["action.risk.param._risk_message"], keys["action.notable.param.rule_description"]),
		Title:   either(keys["action.notable.param.rule_title"], keys["action.correlationsearch.label"]),
	}
	if s.Cron != "" && !gronx.IsValid(s.Cron) {
		return nil, fmt.Errorf("cron_schedule = %s is no cron expression", s.Cron)
	}
	if kind := keys["counttype"]; kind == "number of events" || kind == "number of results" {
		s.Relation = keys["relation"]
		s.Quantity, _ = strconv.Atoi(keys["quantity"])
	}
	if isTrue(keys["alert.suppress"]) {
		period, err := suppressPeriod(keys["alert.suppress.period"])
		if err != nil {
			return nil, err
		}
		s.SuppressPeriod = period
		s.SuppressFields = strings.FieldsFunc(keys["alert.suppress.fields"], func(r rune) bool { return r == ',' || r == ' ' })
	}
	if isTrue(keys["action.summary_index"]) {
		s.Index = either(keys["action.summary_index._name"], "summary")
		for key, value := range keys {
			if field, ok := strings.CutPrefix(key, "action.summary_index."); ok && !strings.HasPrefix(field, "_") && !slices.Contains(summarySettings, field) {
				s.Inline[field] = value
			}
		}
	}
	return s, nil
}

// summarySettings are keys of the summary index action that are no fields.
var summarySettings = []string{"command", "force_realtime_schedule", "hostname", "inline", "maxresults", "maxtime", "ttl", "track_alert"}

func isTrue(v string) bool {
	switch strings.ToLower(v) {
	case "1", "true", "yes", "t":
		return true
	}
	return false
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// suppressPeriod reads 24h, 30m, 60s, 7d or seconds.
func suppressPeriod(text string) (time.Duration, error) {
	number := strings.TrimRight(text, "smhd")
	n, err := strconv.Atoi(number)
	unit, ok := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[text[len(number):]]
	if err != nil || n < 0 || !ok {
		return 0, fmt.Errorf("alert.suppress.period = %q is no period such as 24h", text)
	}
	return time.Duration(n) * unit, nil
}

// due is when the search runs next after t.
func (s *Search) due(t time.Time) (time.Time, error) {
	next, err := gronx.NextTickAfter(s.Cron, t, false)
	if err != nil {
		return next, fmt.Errorf("%s: cron_schedule = %s: %w", s.Name, s.Cron, err)
	}
	return next, nil
}
