package detection

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A mutation is a search with one condition changed.
type mutation struct{ what, search string }

var (
	// condition is a where command up to the next command of its line or the next
	// line; quoted text and macro calls may hold anything.
	condition = regexp.MustCompile("\\| where ((?:\"(?:\\\\.|[^\"\\\\])*\"|`[^`]*`|[^|\"`\\n])+)")
	// turned are the comparisons and tests that can be turned round.
	turned = regexp.MustCompile("\"(?:\\\\.|[^\"\\\\])*\"|`[^`]*`|>=|<=|!=|==|[<>=]|\\bisnull\\b|\\bisnotnull\\b")
	round  = map[string]string{
		">=": "<", "<=": ">", ">": "<=", "<": ">=", "=": "!=", "==": "!=", "!=": "=",
		"isnull": "isnotnull", "isnotnull": "isnull",
	}
)

// mutations are a search with each where dropped, and with each comparison of
// one turned round.
func mutations(search string) []mutation {
	var out []mutation
	for _, at := range condition.FindAllStringSubmatchIndex(search, -1) {
		clause := strings.TrimSpace(search[at[2]:at[3]])
		out = append(out, mutation{"drop: where " + clause, search[:at[0]] + "| where 1=1 " + search[at[1]:]})
		for _, op := range turned.FindAllStringIndex(search[at[2]:at[3]], -1) {
			from, to := at[2]+op[0], at[2]+op[1]
			if by, ok := round[search[from:to]]; ok {
				out = append(out, mutation{fmt.Sprintf("%s to %s at %d: where %s", search[from:to], by, op[0], clause), search[:from] + by + search[to:]})
			}
		}
	}
	return out
}

// TestMutations changes each where of each detection: some test of its file
// must notice.
func TestMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every test of every detection for each change of a where")
	}
	app, err := Make(tree())
	require.NoError(t, err)
	all, err := Load(tree())
	require.NoError(t, err)
	l, err := newLab(app, "UTC")
	require.NoError(t, err)
	for _, d := range all {
		t.Run(d.Base(), func(t *testing.T) {
			t.Parallel()
			for _, m := range mutations(d.Search) {
				changed := *d
				changed.Search = m.search
				if !l.notices(&changed) {
					t.Errorf("%s:%d: no test notices the change %s", d.Path, d.line("$.search"), m.what)
				}
			}
		})
	}
}

// notices tells whether a test of the detection fails.
func (l *lab) notices(d *Detection) bool {
	return slices.ContainsFunc(d.Tests, func(test Test) bool {
		if test.Scenario != "" {
			return false
		}
		rows, err := l.run(d, test, false)
		return err != nil || !same(test.Expect, rows)
	})
}

// same tells what sameRows reports.
func same(want, got []map[string]any) bool {
	left := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(left, func(g map[string]any) bool { return rowDiff(w, g) == "" })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}
