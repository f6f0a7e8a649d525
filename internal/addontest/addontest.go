// Package addontest holds events against what the add-on makes of them in
// Splunk: it applies props.conf, eventtypes.conf and tags.conf of the repository
// to envelopes that a collector or the program has written.
//
// It is for tests alone. What it applies stands in default/, what it asks for in
// the tables here, which are written from descriptions of the Common Information
// Model and not from the add-on.
package addontest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
	"aiwatch/internal/spl"
)

// datasets tells by its tags in which dataset of the Common Information Model an
// event type is. The constraints are those of Splunk_SA_CIM: Change is
// tag=change, Data_Access is tag=data tag=access, Alerts is tag=alert.
var datasets = map[string]string{
	"change": "Change.All_Changes", "account change": "Change.Account_Management", "audit change": "Change.Auditing_Changes",
	"access data": "Data_Access.Data_Access", "alert": "Alerts.Alerts", "": "none",
}

// change is what every change must have.
var change = []string{
	"action", "change_type", "command", "dest", "dvc", "object", "object_attrs", "object_category", "object_id", "object_path",
	"status", "src", "user", "user_name", "vendor_product",
}

// required are the fields that a dataset's events must have: what an older and a
// newer field list of the model (the newer as pytest-splunk-addon has it) call
// required, taken together. Data_Access asks for object_size, too; where a
// source tells no size there is none, for a number can't say "unknown".
var required = map[string][]string{
	"Change.All_Changes":        change,
	"Change.Account_Management": append([]string{"src_user"}, change...),
	"Change.Auditing_Changes":   change,
	"Data_Access.Data_Access":   {"action", "app", "dest", "object", "object_attrs", "object_category", "object_id", "src", "tenant_id", "user", "user_name", "vendor_account", "vendor_product"},
	"Alerts.Alerts":             {"app", "dest", "description", "id", "severity", "signature", "signature_id", "src", "type", "user"},
}

// words are the values that a model expects of a field.
var words = map[string]map[string][]string{
	"Change": {
		"action": {"acl_modified", "cleared", "created", "deleted", "modified", "read", "stopped", "updated"},
		"status": {"success", "failure"},
	},
	"Data_Access": {
		"action": {"copied", "created", "deleted", "modified", "read", "updated", "downloaded", "uploaded", "shared"},
	},
	"Alerts": {
		"severity": {"critical", "high", "medium", "low", "informational"},
		"type":     {"alarm", "alert", "event", "task", "warning"},
	},
}

// A Splunk is one with the add-on, as far as events go.
type Splunk struct {
	tb    testing.TB
	props *spl.Props
	types []eventtype
	raw   *conf.File // props.conf

	mu    sync.Mutex
	store *spl.Store
	times []float64 // of the events, as their envelopes have them
}

type eventtype struct{ name, search, dataset string }

// New returns a Splunk without events.
func New(tb testing.TB) *Splunk {
	tb.Helper()
	s := &Splunk{tb: tb, raw: read(tb, "props.conf")}
	var err error
	s.props, err = spl.NewProps(spl.ConfOf(s.raw), time.UTC)
	require.NoError(tb, err)
	s.store = spl.NewStore(s.props)
	tags := read(tb, "tags.conf")
	for _, stanza := range read(tb, "eventtypes.conf").Stanzas {
		var of []string
		if t := tags.Stanza("eventtype=" + stanza.Name); t != nil {
			for _, v := range t.Values {
				require.Equal(tb, "enabled", v.Text)
				of = append(of, v.Key)
			}
		}
		slices.Sort(of)
		dataset, ok := datasets[strings.Join(of, " ")]
		require.True(tb, ok, "the tags %v of %s are no model's", of, stanza.Name)
		search, _ := stanza.Get("search")
		s.types = append(s.types, eventtype{stanza.Name, search.Text, dataset})
	}
	return s
}

// read reads a file of default/.
func read(tb testing.TB, name string) *conf.File {
	tb.Helper()
	dir, err := os.Getwd()
	require.NoError(tb, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		require.NotEqual(tb, dir, filepath.Dir(dir), "no repository here")
		dir = filepath.Dir(dir)
	}
	f, err := os.Open(filepath.Join(dir, "default", name))
	require.NoError(tb, err)
	defer f.Close()
	file, err := conf.Parse(name, f)
	require.NoError(tb, err)
	return file
}

// Hold returns what takes envelopes; when the test ends they are checked. A test
// that failed already is left alone.
func Hold(tb testing.TB) func(envelope []byte) {
	tb.Helper()
	s := New(tb)
	tb.Cleanup(func() {
		if !tb.Failed() && !tb.Skipped() {
			s.Check()
		}
	})
	return s.Add
}

var milliseconds = regexp.MustCompile(`^-?[0-9]+(\.[0-9]{1,3})?$`)

// Add indexes an envelope as Splunk does with the sourcetype's settings: one
// event, at its time to the millisecond.
func (s *Splunk) Add(envelope []byte) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var e map[string]json.RawMessage
	require.NoError(s.tb, json.Unmarshal(envelope, &e), "%s", envelope)
	var sourcetype string
	require.NoError(s.tb, json.Unmarshal(e["sourcetype"], &sourcetype))
	stanza := s.raw.Stanza(sourcetype)
	require.NotNil(s.tb, stanza, "props.conf has no [%s]", sourcetype)
	for key, want := range map[string]string{"SHOULD_LINEMERGE": "false", "TRUNCATE": "0", "DATETIME_CONFIG": "NONE"} {
		got, _ := stanza.Get(key)
		require.Equal(s.tb, want, got.Text, "[%s] %s", sourcetype, key)
	}
	breaker, _ := stanza.Get("LINE_BREAKER")
	require.False(s.tb, regexp.MustCompile(breaker.Text).Match(e["event"]), "more than one event: %s", e["event"])
	at := string(e["time"])
	require.Regexp(s.tb, milliseconds, at)
	var seconds float64
	require.NoError(s.tb, json.Unmarshal(e["time"], &seconds))
	// What the searches here call the event by.
	e["index"] = json.RawMessage(fmt.Sprintf("%q", fmt.Sprint(len(s.times))))
	numbered, err := json.Marshal(e)
	require.NoError(s.tb, err)
	require.NoError(s.tb, s.store.Add(numbered), "%s", envelope)
	s.times = append(s.times, seconds)
}

// An Indexed is an event as a search finds it.
type Indexed struct {
	Dataset string // of the Common Information Model; none where it is in no model
	Fields  map[string]string
}

// Check fails the test where an event has not exactly one event type, or lacks
// what its data model requires. It returns the events.
func (s *Splunk) Check() []Indexed {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.times) == 0 {
		return nil
	}
	engine := &spl.Engine{Store: s.store}
	run := func(search string) *spl.Result {
		s.tb.Helper()
		// A test's context has ended where its cleanup runs.
		result, err := engine.Run(context.WithoutCancel(s.tb.Context()), search, spl.Params{Now: time.Unix(4_000_000_000, 0)})
		require.NoError(s.tb, err, search)
		return result
	}
	found := map[string][]eventtype{}
	for _, t := range s.types {
		result := run("search " + t.search + " | table index")
		for _, row := range result.Rows {
			n := result.Get(row, "index").String()
			found[n] = append(found[n], t)
		}
	}
	var events []Indexed
	result := run("search *")
	require.Len(s.tb, result.Rows, len(s.times))
	for _, row := range result.Rows {
		n := result.Get(row, "index").String()
		text := string(result.AppendJSON(nil, row))
		require.Len(s.tb, found[n], 1, "event types of %s", text)
		var at float64
		require.NoError(s.tb, json.Unmarshal([]byte(result.Get(row, "_time").String()), &at))
		var i int
		require.NoError(s.tb, json.Unmarshal([]byte(n), &i))
		require.Less(s.tb, math.Abs(at-s.times[i]), 0.0005, "the time of %s", text)
		field := func(name string) string { return result.Get(row, name).String() }
		s.requireModel(found[n][0].dataset, field, text)
		fields := map[string]string{}
		for name := range names(text) {
			fields[name] = field(name)
		}
		events = append(events, Indexed{found[n][0].dataset, fields})
	}
	return events
}

// names are the fields of a row in JSON.
func names(text string) map[string]bool {
	var row map[string]json.RawMessage
	_ = json.Unmarshal([]byte(text), &row) // the evaluator's own
	all := map[string]bool{}
	for name := range maps.Keys(row) {
		all[name] = true
	}
	return all
}

// requireModel holds an event against its dataset.
func (s *Splunk) requireModel(dataset string, field func(string) string, event string) {
	s.tb.Helper()
	if dataset == "none" {
		return
	}
	for _, name := range required[dataset] {
		require.NotContains(s.tb, []string{"", "-"}, field(name), "%s lacks %s: %s", dataset, name, event)
	}
	model, _, _ := strings.Cut(dataset, ".")
	for name, allowed := range words[model] {
		require.Contains(s.tb, allowed, field(name), "%s of %s", name, event)
	}
	if model == "Change" {
		require.NotContains(s.tb, []string{"file", "directory", "registry"}, field("object_category"), "these leave the Change model: %s", event)
		require.Equal(s.tb, dataset == "Change.Account_Management", field("object_category") == "user", "user is what an account change is about: %s", event)
		if field("status") == "failure" {
			require.NotEmpty(s.tb, field("result"), event)
		}
	}
	if size := field("asset_size"); model == "Data_Access" && size != "" {
		require.Equal(s.tb, size, field("object_size"), event)
	}
}
