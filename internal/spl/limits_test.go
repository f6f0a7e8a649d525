package spl

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLimits: passing a limit is an error that names it, never a shorter
// result.
func TestLimits(t *testing.T) {
	s := NewStore(nil)
	for i := range 500 {
		require.NoError(t, s.Add([]byte(fmt.Sprintf(`{"_time":%d,"n":%d,"m":["a","b","c"]}`, i, i))))
	}
	for _, c := range []struct {
		limits        Limits
		search, words string
	}{
		{Limits{Cells: 100}, "* | sort 0 n", "limit Cells"},
		{Limits{Cells: 100}, "* | stats values(n)", "limit Cells"},
		{Limits{Cells: 100}, "* | stats dc(n)", "limit Cells"},
		{Limits{Cells: 100}, "* | stats median(n)", "limit Cells"},
		{Limits{Cells: 100}, "* | stats mode(n)", "limit Cells"},
		{Limits{Cells: 100}, "* | eventstats count", "limit Cells"},
		{Limits{Cells: 100}, "* | streamstats dc(n)", "limit Cells"},
		{Limits{Cells: 100}, "* | chart count by n", "limit Cells"},
		{Limits{Groups: 10}, "* | stats count by n", "limit Groups"},
		{Limits{Groups: 10}, "* | top n", "limit Groups"},
		{Limits{Groups: 10}, "* | dedup n", "limit Groups"},
		{Limits{Groups: 10}, "* | timechart span=1s count", "limit Groups"},
		{Limits{Groups: 10}, "* | streamstats count by n", "limit Groups"},
		{Limits{Groups: 10}, "| tstats count by _time span=1s", "limit Groups"},
		{Limits{Text: 10}, "* | eval x=\"0123456789\".n", "limit Text"},
		{Limits{Expand: 10}, "* | mvexpand m", "limit Expand"},
		{Limits{Expand: 10}, "* | append [search *]", "limit Expand"},
		{Limits{Rows: 10}, "*", "limit Rows"},
		{Limits{Steps: 100}, "* | streamstats window=50 sum(n)", "limit Steps"},
		{Limits{Subsearch: time.Nanosecond}, "[search * | fields n]", "limit Subsearch"},
		{Limits{}, "* | timechart span=1s count | append [search n=0 | eval _time=9000000] | timechart span=1s count", "more than 50000 buckets"},
		{Limits{}, "| makeresults | eval x=mvrange(1,1000000)", "more than 100000 values"},
		{Limits{}, "| makeresults count=2000000", "at most 1000000"},
		{Limits{}, "*" + strings.Repeat(" | where (", 1) + strings.Repeat("(", 100) + "n=1" + strings.Repeat(")", 101), "nested deeper"},
		{Limits{}, strings.Repeat("[search ", 100), "nested deeper"},
	} {
		_, err := (&Engine{Store: s, Limits: c.limits}).Run(context.Background(), c.search, Params{Now: testNow})
		require.ErrorContains(t, err, c.words, c.search)
	}
}

func TestMacrosThatGrowEnd(t *testing.T) {
	macros := Conf{"m0": {"definition": strings.Repeat("x ", 100)}}
	for i := 1; i < 20; i++ {
		macros[fmt.Sprint("m", i)] = map[string]string{"definition": strings.Repeat(fmt.Sprintf("`m%d` ", i-1), 10)}
	}
	_, err := (&Engine{Macros: macros}).Run(context.Background(), "`m19`", Params{Now: testNow})
	require.ErrorContains(t, err, "longer than")
}

// TestWhatSplunkCuts: the documented cuts are made, with a warning.
func TestWhatSplunkCuts(t *testing.T) {
	s := NewStore(nil)
	for i := range 10_050 {
		require.NoError(t, s.Add([]byte(fmt.Sprintf(`{"_time":%d,"n":%d}`, i, i))))
	}
	e := &Engine{Store: s}
	for _, c := range []struct {
		search   string
		rows     int
		warnings int
	}{
		{"* | sort n", 10_000, 1},
		{"* | sort 0 n", 10_050, 0},
		{"* | sort 10020 n", 10_020, 0},
		{"n=* [search * | fields n]", 10_000, 1},
		{"* | append [search *]", 20_100, 0},
		{"* | append maxout=7 [search *]", 10_057, 1},
	} {
		res, err := e.Run(context.Background(), c.search, Params{Now: testNow})
		require.NoError(t, err)
		require.Len(t, res.Rows, c.rows, c.search)
		require.Len(t, res.Warnings, c.warnings, c.search)
	}
	res, err := e.Run(context.Background(), "* | stats list(n) as l | eval c=mvcount(l) | table c", Params{Now: testNow})
	require.NoError(t, err)
	require.Equal(t, "100", res.Get(res.Rows[0], "c").String())
}

func TestCancelledSearchEnds(t *testing.T) {
	s := NewStore(nil)
	require.NoError(t, s.Add([]byte(`{"_time":1}`)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := (&Engine{Store: s}).Run(ctx, "*", Params{Now: testNow})
	require.ErrorIs(t, err, context.Canceled)
}
