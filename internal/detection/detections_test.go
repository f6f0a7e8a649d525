package detection

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/spl"
)

// tree is the app's sources in the working tree, scenarios too.
func tree() fs.FS { return os.DirFS(filepath.Join("..", "..", "splunk_app")) }

// TestDetectionsAreWhole runs every check of the format over the app.
func TestDetectionsAreWhole(t *testing.T) {
	if err := Check(tree()); err != nil {
		t.Fatal(err)
	}
}

// zones in which every search must find the same: its day is no time zone's.
var zones = []string{"UTC", "Asia/Kolkata"}

// TestDetections runs the saved search of every detection over the events of
// its tests, in both zones and in another order of arrival.
func TestDetections(t *testing.T) {
	app, err := Make(tree())
	require.NoError(t, err)
	all, err := Load(tree())
	require.NoError(t, err)
	var labs []*lab
	for _, zone := range zones {
		l, err := newLab(app, zone)
		require.NoError(t, err)
		labs = append(labs, l)
	}
	for _, d := range all {
		t.Run(d.Base(), func(t *testing.T) {
			t.Parallel()
			for _, test := range d.Tests {
				if test.Scenario != "" {
					continue
				}
				t.Run(test.Name, func(t *testing.T) {
					for i, l := range labs {
						rows, err := l.run(d, test, i > 0)
						require.NoError(t, err)
						sameRows(t, test.Expect, rows)
					}
				})
			}
		})
	}
}

// A lab runs tests in one time zone. What all tests share is read once.
type lab struct {
	app   *spl.Engine // of which each test takes a copy
	props *spl.Props
}

func newLab(app fs.FS, zone string) (*lab, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	engine, err := Engine(app, loc)
	if err != nil {
		return nil, err
	}
	props, err := searchTime(loc)
	return &lab{engine, props}, err
}

// engine is a copy of the app's, with no events.
func (l *lab) engine() *spl.Engine {
	e := &spl.Engine{
		Store: spl.NewStore(l.props), Lookups: spl.NewLookups(), Macros: maps.Clone(l.app.Macros),
		Transforms: l.app.Transforms, DataModels: l.app.DataModels, Saved: l.app.Saved, Location: l.app.Location,
	}
	for _, name := range l.app.Lookups.Names() {
		e.Lookups.Set(name, l.app.Lookups.Table(name))
	}
	return e
}

// run gives the rows of a detection's saved search over a test's events.
func (l *lab) run(d *Detection, test Test, shuffled bool) ([]map[string]any, error) {
	now, err := time.Parse(time.RFC3339, test.Now)
	if err != nil {
		return nil, fmt.Errorf("now: %w", err)
	}
	engine := l.engine()
	for name, rows := range test.Lookups {
		engine.Lookups.Set(name, table(rows, engine.Lookups.Table(name)))
	}
	for name, definition := range test.Macros {
		engine.Macros[name] = map[string]string{"definition": definition}
	}
	events, err := lines(test, now)
	if err != nil {
		return nil, err
	}
	if shuffled {
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	for _, e := range events {
		if err := engine.Store.Add(e); err != nil {
			return nil, err
		}
	}
	result, err := engine.Run(context.Background(), d.Saved(), spl.Params{Now: now, Earliest: d.Schedule.Earliest, Latest: d.Schedule.Latest})
	if err != nil {
		return nil, err
	}
	var rows []map[string]any
	for _, r := range result.Rows {
		var row map[string]any
		decoder := json.NewDecoder(bytes.NewReader(result.AppendJSON(nil, r)))
		decoder.UseNumber()
		if err := decoder.Decode(&row); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// lines are a test's events as the store reads them. A time may be counted from
// the test's now; an event without an id gets one; it is of the index aiwatch
// unless it says otherwise.
func lines(test Test, now time.Time) ([][]byte, error) {
	var out [][]byte
	for i, own := range test.Events {
		e := map[string]any{"index": "aiwatch"}
		for _, m := range []map[string]any{test.Each, own} {
			for k, v := range m {
				e[k] = v
			}
		}
		for _, key := range []string{"_time", "_indextime", "not_before", "newest_record_time", "last_sweep_time"} {
			if err := absolute(e, key, now); err != nil {
				return nil, fmt.Errorf("event %d: %w", i+1, err)
			}
		}
		if e["index"] == "aiwatch" && e["event_id"] == nil {
			e["event_id"] = fmt.Sprintf("%032x", i+1)
		}
		if e["_time"] == nil {
			return nil, fmt.Errorf("event %d has no _time", i+1)
		}
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	return out, nil
}

// absolute puts epoch seconds in the place of a time modifier or RFC 3339.
func absolute(e map[string]any, key string, now time.Time) error {
	text, ok := e[key].(string)
	if !ok {
		return nil
	}
	at, err := spl.ParseTime(text, now, time.UTC)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	e[key] = float64(at.UnixMilli()) / 1000
	return nil
}

// table is a lookup's rows, with the columns of the seed or collection.
func table(rows []map[string]any, seed *spl.Table) *spl.Table {
	t := &spl.Table{}
	if seed != nil {
		t.Fields = slices.Clone(seed.Fields)
	}
	for _, r := range rows {
		for _, k := range sortedKeys(r) {
			if !slices.Contains(t.Fields, k) {
				t.Fields = append(t.Fields, k)
			}
		}
	}
	for _, r := range rows {
		row := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			if v, ok := r[f]; ok {
				row[i] = fmt.Sprint(v)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func sortedKeys(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// sameRows compares the fields that are expected, rows in any order. A number
// and its text are the same, as they are to Splunk.
func sameRows(t *testing.T, want, got []map[string]any) {
	t.Helper()
	left := slices.Clone(got)
	for _, w := range want {
		best, bestDiff := -1, ""
		for i, g := range left {
			diff := rowDiff(w, g)
			if best < 0 || len(diff) < len(bestDiff) {
				best, bestDiff = i, diff
			}
		}
		if best < 0 {
			t.Errorf("no row for %v", w)
			continue
		}
		if bestDiff != "" {
			t.Errorf("the nearest row differs (-want +got):\n%s", bestDiff)
		}
		left = slices.Delete(left, best, best+1)
	}
	for _, g := range left {
		text, _ := json.Marshal(g)
		t.Errorf("a row too many: %s", text)
	}
}

func rowDiff(want, got map[string]any) string {
	part := map[string]any{}
	for k := range want {
		if v, ok := got[k]; ok {
			part[k] = plain(v)
		}
	}
	whole := map[string]any{}
	for k, v := range want {
		whole[k] = plain(v)
	}
	return cmp.Diff(whole, part)
}

// plain is a value as text, a list as texts.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		var out []string
		for _, x := range v {
			out = append(out, plain(x).(string))
		}
		return strings.Join(out, "\n")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
