package spl

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAKeptQueryGivesTheSameRows runs searches again and again over a store that
// grows, late events and deletions included, kept and anew.
func TestAKeptQueryGivesTheSameRows(t *testing.T) {
	searches := []string{
		`index=aiwatch operation=a* | stats count, values(user) AS user by asset_id | where count > 2`,
		`index=aiwatch _index_earliest=-6m@m _index_latest=-1m@m | table _time user asset_id`,
		`index=aiwatch earliest=-1h user IN (u1, u2) | search NOT operation=b | where n > 5 | stats sum(n) AS n by user`,
		`index=aiwatch operation=none | stats count`,
		`index=aiwatch operation=none | stats count by user`,
		`index=aiwatch operation=none | stats count by user | append [search index=aiwatch operation=a | stats count by user]`,
		`index=aiwatch [search index=aiwatch operation=c | head 1 | fields user] | stats count by operation`,
		`index=aiwatch (operation=a _index_earliest=-30m) OR (operation=b _index_earliest=-10m) | stats count by operation`,
		`"u3" | stats count by user | sort - count`,
		`index=aiwatch operation=b | search [search index=aiwatch operation=c | tail 1 | fields user] | stats count`,
		`index=aiwatch | eval old=now()-_time | where old > 600 | stats max(old) AS old by user`,
		`index=aiwatch | head 3 | table _time user`,
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, ordered := range []bool{true, false} {
		e := &Engine{Store: NewStore(nil), Location: time.UTC}
		now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		var queries []*Query
		for _, s := range searches {
			q, err := e.Parse(s, now)
			require.NoError(t, err, s)
			q.Keep()
			queries = append(queries, q)
		}
		for round := range 60 {
			for range rnd.IntN(8) {
				at := float64(now.Unix()) - float64(rnd.IntN(4000))
				indexed := float64(now.Unix())
				if !ordered {
					indexed -= float64(rnd.IntN(3000))
				}
				require.NoError(t, e.Store.Add(fmt.Appendf(nil, `{"_time":%f,"_indextime":%f,"index":"aiwatch","operation":"%c","user":"u%d","asset_id":"x%d","n":%d}`,
					at, indexed, "abc"[rnd.IntN(3)], rnd.IntN(5), rnd.IntN(6), rnd.IntN(10))))
			}
			if round%20 == 19 {
				_, err := e.Delete(t.Context(), "user=u1", Params{Now: now})
				require.NoError(t, err)
			}
			now = now.Add(time.Duration(rnd.IntN(400)) * time.Second)
			for i, s := range searches {
				p := Params{Now: now, Earliest: "-2h", Latest: "now"}
				want, err := e.Run(t.Context(), s, p)
				require.NoError(t, err, s)
				got, err := e.RunQuery(t.Context(), queries[i], p)
				require.NoError(t, err, s)
				require.Equal(t, rowsAsJSON(want), rowsAsJSON(got), "%s in round %d", s, round)
			}
		}
	}
}

func rowsAsJSON(res *Result) (lines []string) {
	for _, row := range res.Rows {
		lines = append(lines, string(res.AppendJSON(nil, row)))
	}
	return lines
}
