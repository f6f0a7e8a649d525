package detection

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/spl"
)

// hurting are names that would leave their place if anything made SPL, a
// pattern, a token or markup of them.
var hurting = []string{
	`x" | delete index=*`, `a\" b`, `$user$ $event_ids$`, `[search index=* | head 1]`, "`aiwatch_index`", `*`, `<script>alert(1)</script>`, `a'b(c)`, `\`,
}

// TestHostileNames gives each detection a row whose every field is a name that
// hurts: one finding comes of it, and its message holds the names as they are.
// What a drilldown asks is the same whatever the names are.
func TestHostileNames(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	all, err := Load(tree())
	require.NoError(t, err)
	l, err := newLab(app, "UTC")
	require.NoError(t, err)
	for _, d := range all {
		if !d.Finds() {
			continue
		}
		own := strings.TrimRight(strings.TrimSuffix(d.Search, "`"+d.Filter()+"`"), " \t\n|")
		tail := strings.TrimPrefix(d.Saved(), own)
		for _, name := range hurting {
			row := map[string]any{"_time": 1, "index": "aiwatch", "user": name, "asset_id": name, "user_id": name, "source_uri": name, "event_id": "x", "event_ids": []string{name, "0123456789abcdef0123456789abcdef"}}
			tokens := token.FindAllStringSubmatch(d.Risk.Message, -1)
			want := d.Risk.Message
			for _, m := range tokens {
				row[m[1]] = name
			}
			line, err := json.Marshal(row)
			require.NoError(t, err)
			engine := l.engine()
			require.NoError(t, engine.Store.Add(line))
			result, err := engine.Run(context.Background(), "index=aiwatch "+tail, spl.Params{Now: time.Unix(1000, 0)})
			require.NoError(t, err, "%s with %s", d.Base(), name)
			require.Len(t, result.Rows, 1, "%s with %s", d.Base(), name)
			want = token.ReplaceAllStringFunc(want, func(t string) string {
				if m := token.FindStringSubmatch(t); m[2] != "" && m[2] != "bytes" {
					return name + " " + orElse(m[3], m[2]+"s")
				}
				return name
			})
			require.Equal(t, want, result.Get(result.Rows[0], "message").String(), d.Base())
			require.Equal(t, name, result.Get(result.Rows[0], "user").String(), d.Base())
			require.Equal(t, "0123456789abcdef0123456789abcdef", result.Get(result.Rows[0], "event_ids").String(), d.Base())
			for _, x := range d.Drilldowns {
				require.Equal(t, asked(t, engine, x, "calm"), asked(t, engine, x, name), "%s: %s with %s", d.Base(), x.Name, name)
			}
		}
	}
}

// asked is what a drilldown touches once Splunk has put a value in its place.
func asked(t *testing.T, engine *spl.Engine, x Drilldown, name string) spl.Uses {
	t.Helper()
	text := strings.ReplaceAll(x.Search, "$event_ids$", "0123456789abcdef0123456789abcdef")
	text = hole.ReplaceAllLiteralString(text, quote(name))
	q, err := engine.Parse(text, checkTime)
	require.NoError(t, err, text)
	return q.Uses()
}
