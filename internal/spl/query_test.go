package spl

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUses(t *testing.T) {
	e := &Engine{
		Lookups: NewLookups(),
		Macros: Conf{
			"idx": {"definition": "index=aiwatch"}, "s3": {"definition": "(`idx` sourcetype=aiwatch:s3)"},
			"over(1)": {"args": "n", "definition": "where n>$n$"},
		},
	}
	e.Lookups.Set("people", &Table{Fields: []string{"user", "team"}})
	e.Lookups.Set("seen", &Table{Fields: []string{"user", "asset_id"}})
	list := func(s string) []string { return append([]string{}, strings.Fields(s)...) }
	for _, c := range []struct {
		search                  string
		fields, missing, result string
		open                    bool
	}{
		{"`s3` action=read | stats count as n by user | `over(3)`", "action index sourcetype user", "", "n user", false},
		{"* | stats count by user | where action=\"x\"", "user", "action", "count user", false},
		{"* | eval k=coalesce(a,'b.c') | where k>1", "a b.c", "", "k", true},
		{"* | fields - a | where a=1", "", "a", "", true},
		{"* | fields a | where b=1", "a", "b", "_raw _time a", false},
		{"* | table a _time | sort - a", "_time a", "", "_time a", false},
		{"* | rename a as b | where a=b", "a", "a", "b", true},
		{"* | lookup people user OUTPUT team as t | stats values(t) by t2", "t2 user", "", "t2 values(t)", false},
		{"* | lookup people user | table team", "user", "", "team", false},
		{"| inputlookup people | where team=\"x\" AND env=\"y\"", "", "env", "team user", false},
		{"* [search type=a | fields user | rename user as actor] | table x", "actor type user x", "", "x", false},
		{"* [search type=a | return who=user]", "type user who", "", "", true},
		{"* | timechart count by user", "_time user", "", "_time", true},
		{"* | chart count over a", "a", "", "a count", false},
		{"* | rex field=key \"^(?<bucket>[^/]+)\" | stats count by bucket", "key", "", "bucket count", false},
		{"* | stats sum(bytes*) as total_* by user", "bytes* user", "", "user", true},
		{"* | foreach a_* [eval <<FIELD>>=1]", "a_*", "", "", true},
		{"word", "_raw", "", "", true},
		{"* | append [search b=1 | table c] | where d=1", "b c d", "", "c", true},
		{"* | top limit=1 a by b", "a b", "", "a b count percent", false},
		{"* | where searchmatch(\"q=1\")", "q", "", "", true},
		{"| tstats count where index=a by host", "host index", "", "count host", false},
		{"* | eval x=if(user=[search b=1 | return $who], 1, 0) | table x", "b user who", "", "x", false},
		{"* | spath | where anything=1 | table anything", "_raw anything", "", "anything", false},
		{"| makeresults | eval x=1 | where y=1", "", "y", "_time x", false},
		{"* | eventstats count as n by a | streamstats sum(n) as m by b | bin _time span=1h | fields n m", "_time a b", "", "_raw _time m n", false},
	} {
		q, err := e.Parse(c.search, testNow)
		require.NoError(t, err, c.search)
		u := q.Uses()
		require.Equal(t, list(c.fields), append([]string{}, u.Fields...), "%s: fields", c.search)
		require.Equal(t, list(c.missing), append([]string{}, u.Missing...), "%s: missing", c.search)
		require.Equal(t, list(c.result), append([]string{}, u.Results...), "%s: results", c.search)
		require.Equal(t, c.open, u.Open, "%s: open", c.search)
	}
	q, err := e.Parse("`s3` | lookup people user | `over(1)` | append [| inputlookup seen] | outputlookup seen", testNow)
	require.NoError(t, err)
	u := q.Uses()
	require.Equal(t, []string{"idx", "over(1)", "s3"}, u.Macros)
	require.Equal(t, []string{"people", "seen"}, u.Lookups)
	require.Equal(t, []string{"seen"}, u.Written)
}

// TestQueryRunsAgain: a parsed search gives over a grown store what a search
// that is parsed anew gives.
func TestQueryRunsAgain(t *testing.T) {
	e := &Engine{Store: NewStore(nil)}
	q, err := e.Parse("n=* _index_earliest=-10m | bin span=5m _time | streamstats count as c | stats sum(n) as s max(c) as c by _time", testNow)
	require.NoError(t, err)
	for i := range 50 {
		now := testNow.Add(time.Duration(i) * time.Minute)
		line := []byte(`{"_time":` + now.Add(-time.Duration(i%7)*time.Minute).Format("\""+time.RFC3339+"\"") + `,"_indextime":"` + now.Format(time.RFC3339) + `","n":1}`)
		require.NoError(t, e.Store.Add(line))
		got, err := e.RunQuery(context.Background(), q, Params{Now: now})
		require.NoError(t, err)
		want, err := e.Run(context.Background(), q.src.typed, Params{Now: now})
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NotEmpty(t, got.Rows)
	}
}
