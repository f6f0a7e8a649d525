package detection

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event"
	"aiwatch/internal/spl"
)

// TestWords: what a field becomes in a message, one and many, in units, and where
// there is no value.
func TestWords(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	engine, err := Engine(app, time.UTC)
	require.NoError(t, err)
	for _, c := range []struct{ value, message, want string }{
		{"1", "$n|gap$", "1 gap"},
		{"2", "$n|gap$", "2 gaps"},
		{"0", "$n|gap$", "0 gaps"},
		{"2.5", "$n|gap$", "2.5 gaps"},
		{"1", "$n|repository|repositories$!", "1 repository!"},
		{"3", "in $n|repository|repositories$", "in 3 repositories"},
		{"null()", "$n|gap$", "an unknown number of gaps"},
		{"0", "$n|bytes$", "0 B"},
		{"999", "$n|bytes$", "999 B"},
		{"1000", "$n|bytes$", "1.0 kB"},
		{"204800", "$n|bytes$", "204.8 kB"},
		{"60000000", "$n|bytes$", "60.0 MB"},
		{"16000000001", "($n|bytes$)", "(16.0 GB)"},
		{"null()", "$n|bytes$", "an unknown amount"},
		{`"ann"`, "by $user$", "by ann"},
		{`split("ann,bob",",")`, "by $user$", "by ann, bob"},
		{`"unknown"`, "by $user$", "by an unnamed user"},
		{"null()", "$user$ did", "an unnamed user did"},
		{"null()", "$n$", "unknown"},
	} {
		res, err := engine.Run(t.Context(), "| makeresults | eval n="+c.value+", user=n | eval message="+messageExpression(c.message), spl.Params{Now: checkTime})
		require.NoError(t, err, c.message)
		require.Equal(t, c.want, res.Get(res.Rows[0], "message").String(), "%s of %s", c.message, c.value)
		if n, err := strconv.ParseInt(c.value, 10, 64); err == nil && c.message == "$n|bytes$" {
			require.Equal(t, c.want, event.Size(n), "the same in a message and in the program")
		}
	}
}

// TestFindingsHaveANameOfTheirAsset: the event's own, else that of the list of
// crown jewels, else the short form of asset_id.
func TestFindingsHaveANameOfTheirAsset(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	l, err := newLab(app, "UTC")
	require.NoError(t, err)
	all, err := Load(tree())
	require.NoError(t, err)
	for _, d := range all {
		if !d.Finds() {
			continue
		}
		tail := strings.TrimPrefix(d.Saved(), strings.TrimRight(strings.TrimSuffix(d.Search, "`"+d.Filter()+"`"), " \t\n|"))
		for _, c := range []struct{ fields, want string }{
			{`"asset_id":"s3://ml/fraud/w","asset_name":"own"`, "own"},
			{`"asset_id":"s3://ml/fraud/w"`, "ml/fraud"},
			{`"asset_id":"s3://jewels/x/w"`, "a jewel"},
		} {
			engine := l.engine()
			jewels, err := spl.ReadTable(strings.NewReader("asset_id,asset_name,owner,env\ns3://jewels/*,a jewel,o,\n"))
			require.NoError(t, err)
			engine.Lookups.Set("aiwatch_crown_jewels.csv", jewels)
			require.NoError(t, engine.Store.Add([]byte(`{"_time":1,"index":"aiwatch","user":"ann","event_ids":"x",`+c.fields+`}`)))
			res, err := engine.Run(t.Context(), "index=aiwatch "+tail, spl.Params{Now: time.Unix(1000, 0)})
			require.NoError(t, err)
			require.Equal(t, c.want, res.Get(res.Rows[0], "asset_name").String(), d.Base())
		}
	}
}
