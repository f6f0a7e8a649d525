package detection

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
)

const example = "detections/force_push_to_protected_branch.yml"

// copyOf is the app's sources with one detection, the worked example, changed.
func copyOf(t *testing.T, old, replacement string) fs.FS {
	t.Helper()
	app := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(tree(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "detections/") && name != example {
			return err
		}
		text, err := fs.ReadFile(tree(), name)
		app[name] = &fstest.MapFile{Data: text}
		return err
	}))
	text := string(app[example].Data)
	require.Contains(t, text, old)
	app[example].Data = []byte(strings.Replace(text, old, replacement, 1))
	return app
}

// TestMistakes makes each mistake once and expects it named, at its line.
func TestMistakes(t *testing.T) {
	require.NoError(t, Check(copyOf(t, "number: 22", "number: 22")))
	for _, c := range []struct{ old, replacement, where, says string }{
		{"severity: high", "severty: high", "severity: high", "unknown field"},
		{"severity: high", "severity: loud", "severity: high", "severity is \"loud\""},
		{"number: 22", "number: 99", "number: 22", "1 to 45"},
		{"id: 5c1d3a52", "id: 5C1d3a52", "id: 5c1d3a52", "no UUID"},
		{"  | `force_push_to_protected_branch_filter`", "  | head 1", "search: |", "filter macro is missing"},
		{"`aiwatch_git` `aiwatch_indexed_5m`", "index=aiwatch `aiwatch_indexed_5m`", "search: |", "starts with the macro of its source"},
		{"`aiwatch_indexed_5m`", "`aiwatch_indexed_6m`", "`aiwatch_indexed_5m`", "unknown macro `aiwatch_indexed_6m`"},
		{"OR dropped>0", "OR dropped>3", "OR dropped>0", "the number 3 stands in the search"},
		{"| where rewritten=1", "| lookup nowhere user | where rewritten=1", "| where rewritten=1", "\"nowhere\" is not defined"},
		{"| where rewritten=1", "| where author=1", "search: |", "the field author is read where no row has it"},
		{"values(user_id) AS user_id", "values(userid) AS user_id", "search: |", "the schema has no field userid"},
		{`"ref.deleted"`, `"ref.removed"`, "search: |", "no operation ref.removed"},
		{"| where rewritten=1", "| transaction user | where rewritten=1", "| where rewritten=1", "transaction"},
		{"$dropped|commit$", "$removed|commit$", "message:", "no row has the field removed"},
		{"score: 60\n  claimed", "score: 0\n  claimed", "score: 60", "score is 1 to 100"},
		{"field: asset_id, type", "field: object, type", "objects:", "no row has the field object"},
		{"fields: [asset_id, tip]", "fields: [asset_id, branch]", "fields: [asset_id, tip]", "no row has the field branch"},
		{"git_repo=$git_repo|s$", "git_repo=$git_repo$", "search: \"`aiwatch_git` git_repo", "would let a name become SPL"},
		{"cron: \"2-59/5", "cron: \"3-59/5", "cron:", "spread over the hour"},
		{"cron: \"2-59/5", "cron: \"x", "cron:", "cron is five fields"},
		{"earliest: -24h", "earliest: -1d@d", "earliest: -24h", "snaps in the time zone"},
		{"period: 1d", "period: often", "throttle:", "throttle needs fields and a period"},
		{"latest: now", "latest: now\n  waits: soon", "latest: now", "is no number of seconds"},
		{"macro: aiwatch_22_named", "macro: aiwatch_22_wait", "schedule:", "say so with waits"},
		{"tactic: stealth", "tactic: magic", "tactic: stealth", "tactic is \"magic\""},
		{"mitre_attack: [T1565.001]", "mitre_attack: [T15]", "mitre_attack:", "no ATT&CK technique"},
		{"sources: [git]", "sources: [svn]", "sources: [git]", "known are mlflow, s3"},
		{"sources: [git]", "sources: [git]\n  baselines: [nothing]", "sources: [git]", "no detections/nothing.yml"},
		{"sources: [git]", "sources: [git]\n  acts: [mlflow]", "sources: [git]", "mlflow is none of the sources"},
		{"sources: [git]", "sources: [git]\n  acts: [git/journal]", "sources: [git]", "not set up for \"journal\""},
		{"sources: [git]", "sources: [git]\n  required: [s3]", "sources: [git]", "s3 is none of the sources"},
		{"sources: [git]", "sources: [git]\n  filled: [aiwatch_leavers]", "sources: [git]", "does not read the lookup aiwatch_leavers"},
		{"macro: aiwatch_22_named", "macro: named", "macro: aiwatch_22_named", "a macro's name is aiwatch_"},
		{"scenario: force_push", "scenario: forced_push", "name: force push with", "no scenarios/forced_push"},
		{"    now: 2026-03-02T10:00:00Z\n    each", "    each", "name: a rewrite that drops two", "needs now"},
	} {
		err := Check(copyOf(t, c.old, c.replacement))
		require.ErrorContains(t, err, c.says, c.replacement)
		text, readErr := fs.ReadFile(tree(), example)
		require.NoError(t, readErr)
		line := 1 + strings.Count(string(text)[:strings.Index(string(text), c.where)], "\n")
		require.Regexp(t, "(?m)^"+example+":"+strconv.Itoa(line)+`\b|`+example+":"+strconv.Itoa(line+1)+`\b`, err.Error(), "%s: at line %d", c.replacement, line)
	}
	// A report whose rows would pass for findings.
	report := copyOf(t, "type: ttp", "type: hunting").(fstest.MapFS)
	report[example].Data = []byte(strings.Replace(string(report[example].Data), "`force_push_to_protected_branch_filter`", `eval detection="22"`, 1))
	require.ErrorContains(t, Check(report), "rows of a hunting search have no field detection")
	// Whole parts that are missing.
	text, err := fs.ReadFile(tree(), example)
	require.NoError(t, err)
	drilldowns := string(text)[strings.Index(string(text), "  - name: What else"):strings.Index(string(text), "mitre_atlas:")]
	require.ErrorContains(t, Check(copyOf(t, drilldowns, "")), "at least two drilldowns")
	tests := string(text)[strings.Index(string(text), "tests:"):]
	require.ErrorContains(t, Check(copyOf(t, tests, "")), "a test is missing: the attack")
	quiet := string(text)[strings.Index(string(text), "  - name: the deletion of a merged"):]
	require.ErrorContains(t, Check(copyOf(t, quiet, "")), "a test is missing: the innocent twin")
}

// TestStanzas reads the made savedsearches.conf as Splunk does and looks for
// what makes a search work with and without Enterprise Security.
func TestStanzas(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	f, err := app.Open("default/savedsearches.conf")
	require.NoError(t, err)
	defer f.Close()
	parsed, err := conf.Parse("savedsearches.conf", f)
	require.NoError(t, err)
	all, err := Load(tree())
	require.NoError(t, err)
	require.Len(t, parsed.Stanzas, len(all))
	starters := 0
	for i, s := range parsed.Stanzas {
		d := all[i]
		require.Equal(t, d.Title(), s.Name)
		get := func(key string) string { v, _ := s.Get(key); return v.Text }
		require.Equal(t, d.Saved(), strings.ReplaceAll(get("search"), " \n", "\n"), "the search survives its line breaks")
		require.Equal(t, "1", get("disabled"), "all ship disabled")
		require.Equal(t, "0", get("realtime_schedule"))
		if !d.Finds() {
			continue
		}
		if d.Starter {
			starters++
		}
		require.Equal(t, "0", get("alert.digest_mode"))
		require.Equal(t, "1", get("alert.track"))
		require.Regexp(t, "^[2-6]$", get("alert.severity"))
		require.Equal(t, "1", get("alert.suppress"))
		require.NotEmpty(t, get("alert.suppress.fields"))
		require.Equal(t, "1", get("action.summary_index"))
		require.Equal(t, "summary", get("action.summary_index._name"))
		require.JSONEq(t, d.annotations(), get("action.correlationsearch.annotations"))
	}
	require.Equal(t, 12, starters, "the starter set has twelve rules")
}

// TestTheDocumentationIsCurrent compares docs/detections.md with what would be
// written now.
func TestTheDocumentationIsCurrent(t *testing.T) {
	all, err := Load(tree())
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "detections.md"))
	require.NoError(t, err)
	proof, err := ReadProof(os.DirFS("testdata"))
	require.NoError(t, err)
	require.Equal(t, string(Page(all, proof)), string(page), "run go generate ./internal/detection")
}

func TestMessageExpression(t *testing.T) {
	for message, want := range map[string]string{
		"$user$ did it":       "`aiwatch_who(user)`.\" did it\"",
		"$n|read$, $n|bytes$": "`aiwatch_counted(n,read,reads)`.\", \".`aiwatch_bytes(n)`",
		`says "x\" to $user$`: "\"says \\\"x\\\\\\\" to \".`aiwatch_who(user)`",
		"costs 5$":            `"costs 5$"`,
	} {
		require.Equal(t, want, messageExpression(message))
	}
}
