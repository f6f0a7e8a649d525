package spl

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
)

// testNow is the clock of every test that does not set its own.
var testNow = time.Date(2026, 3, 10, 12, 30, 0, 0, time.UTC)

// runRows runs a search over NDJSON events and returns its rows as text, each
// as the JSON that aiwatch spl prints.
func runRows(t testing.TB, e *Engine, search string, params Params) ([]map[string]any, error) {
	t.Helper()
	if params.Now.IsZero() {
		params.Now = testNow
	}
	res, err := e.Run(context.Background(), search, params)
	if err != nil {
		return nil, err
	}
	rows := []map[string]any{}
	for _, r := range res.Rows {
		var m map[string]any
		require.NoError(t, json.Unmarshal(res.AppendJSON(nil, r), &m))
		rows = append(rows, m)
	}
	return rows, nil
}

func storeOf(t testing.TB, events ...string) *Store {
	t.Helper()
	s := NewStore(nil)
	for _, e := range events {
		for _, line := range strings.Split(strings.TrimSpace(e), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				require.NoError(t, s.Add([]byte(line)), line)
			}
		}
	}
	return s
}

// sameRows compares rows; numbers and texts that spell the same number are the
// same, because Splunk's own JSON has only texts.
func sameRows(t testing.TB, want, got []map[string]any) {
	t.Helper()
	if d := cmp.Diff(normalRows(want), normalRows(got)); d != "" {
		t.Fatalf("rows differ (-want +got):\n%s", d)
	}
}

func normalRows(rows []map[string]any) []map[string]any {
	out := []map[string]any{}
	for _, r := range rows {
		m := map[string]any{}
		for k, v := range r {
			m[k] = normalValue(v)
		}
		out = append(out, m)
	}
	return out
}

func normalValue(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = normalValue(v[i])
		}
		return out
	case float64:
		return math.Round(v*1e9) / 1e9
	case int:
		return float64(v)
	case string:
		if f, ok := parseNumber(v); ok {
			return math.Round(f*1e9) / 1e9
		}
	}
	return v
}

// rowsOf reads the expected rows of a case: one JSON object a line.
func rowsOf(t testing.TB, s string) []map[string]any {
	t.Helper()
	rows := []map[string]any{}
	for _, line := range strings.Split(s, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			var m map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &m), line)
			rows = append(rows, m)
		}
	}
	return rows
}

func refusalOf(t testing.TB, err error) *Refusal {
	t.Helper()
	var r *Refusal
	require.Error(t, err)
	require.True(t, errors.As(err, &r), "not a refusal: %v", err)
	return r
}

func parseTestConf(t testing.TB, name, s string) Conf {
	t.Helper()
	f, err := conf.Parse(name, strings.NewReader(s))
	require.NoError(t, err)
	return ConfOf(f)
}
