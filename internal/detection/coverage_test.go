package detection

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
)

// TestCoverage judges made-up detections in made-up situations.
func TestCoverage(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	var (
		mlflow = Input{Stanza: "aiwatch_mlflow://p", Source: "mlflow"}
		logged = Input{Stanza: "aiwatch_mlflow://q", Source: "mlflow", Tells: []string{"access_log"}}
		proven = Input{Stanza: "aiwatch_mlflow://r", Source: "mlflow", Tells: []string{"access_log"}, Authenticated: true}
		s3     = Input{Stanza: "aiwatch_s3://p", Source: "s3"}

		observed = Input{Stanza: "aiwatch_mlflow://o", Source: "mlflow", Observed: true}

		noGit   = "no Git input: add [aiwatch_git://NAME] to local/inputs.conf"
		noS3    = "no S3 input: add [aiwatch_s3://NAME] to local/inputs.conf"
		noLog   = "aiwatch_mlflow://p does not tell of it: set access_log"
		twoOf   = Needs{Sources: []string{"s3", "mlflow"}, Acts: []string{"s3", "mlflow/access_log"}}
		filled  = Needs{Sources: []string{"s3"}, Lookups: []string{"aiwatch_a", "aiwatch_b"}, Filled: []string{"aiwatch_a"}}
		habit   = Needs{Sources: []string{"s3"}, Filled: []string{"aiwatch_seen_x"}, Baselines: []string{"seen_x"}, History: 7}
		better  = Needs{Sources: []string{"s3"}, History: 7}
		lineage = Needs{Sources: []string{"s3", "git", "mlflow"}, Acts: []string{"s3"}, Required: []string{"git"}}
		daysAgo = func(days int) time.Time { return now.AddDate(0, 0, -days) }
	)
	for _, c := range []struct {
		name    string
		needs   Needs
		claimed int
		s       Situation
		want    string
	}{
		{"its source is there", Needs{Sources: []string{"s3"}}, 0, Situation{Inputs: []Input{s3}}, "can fire"},
		{"its source is not there", Needs{Sources: []string{"s3"}}, 0, Situation{Inputs: []Input{mlflow}}, "can't fire: " + noS3},
		{"nothing is there", Needs{Sources: []string{"health"}}, 0, Situation{}, "can't fire: no input: add one to local/inputs.conf"},
		{"health is of any input", Needs{Sources: []string{"s3", "git", "health"}}, 0, Situation{Inputs: []Input{mlflow}}, "can fire"},
		{"Splunk's own needs none", Needs{Sources: []string{"splunk_audit"}}, 0, Situation{}, "can fire"},
		{"Splunk's own are not there", Needs{Sources: []string{"splunk_audit"}}, 0, Situation{Inputs: []Input{s3}, WithoutSplunk: true}, "can't fire: Splunk's own logs are not there: let Splunk run it"},
		{"its events show the log", twoOf, 0, Situation{Inputs: []Input{s3, {Stanza: "aiwatch_mlflow://o", Source: "mlflow", Observed: true, Tells: []string{"access_log"}}}}, "can fire"},
		{"its events do not show the log", twoOf, 0, Situation{Inputs: []Input{s3, observed}}, "limited: no event of aiwatch_mlflow://o comes from its access_log: look into its stanza: set access_log"},
		{"what its events do not show may be there", Needs{Sources: []string{"mlflow"}, Acts: []string{"mlflow/access_log"}}, 0, Situation{Inputs: []Input{observed}}, "limited: no event of aiwatch_mlflow://o comes from its access_log: look into its stanza: set access_log"},
		{"its events do not show who acted", Needs{Sources: []string{"mlflow"}}, 1, Situation{Inputs: []Input{observed}}, "limited: no event of aiwatch_mlflow://o shows a log that tells who acted: look into its stanza: set access_log"},
		{"acts of both sources", twoOf, 0, Situation{Inputs: []Input{s3, logged}}, "can fire"},
		{"acts of one source", twoOf, 0, Situation{Inputs: []Input{s3, mlflow}}, "limited: " + noLog},
		{"acts of one of its inputs", twoOf, 0, Situation{Inputs: []Input{s3, mlflow, logged}}, "limited: " + noLog},
		{"acts of no source", twoOf, 0, Situation{Inputs: []Input{mlflow}}, "can't fire: " + noS3 + "; " + noLog},
		{"a required source is lacking, another would help", lineage, 0, Situation{Inputs: []Input{s3}}, "can't fire: " + noGit},
		{"only what would help is lacking", lineage, 0, Situation{Inputs: []Input{s3, {Stanza: "g", Source: "git"}}}, "limited: no MLflow input: add [aiwatch_mlflow://NAME] to local/inputs.conf"},

		{"proof makes no difference", Needs{Sources: []string{"mlflow"}}, 0, Situation{Inputs: []Input{mlflow, logged}}, "can fire"},
		{"nobody tells who acted", Needs{Sources: []string{"mlflow"}}, 1, Situation{Inputs: []Input{mlflow}}, "limited: aiwatch_mlflow://p has no log that tells who acted: set access_log"},
		{"who acted is claimed", Needs{Sources: []string{"mlflow"}}, 1, Situation{Inputs: []Input{logged}}, "limited: actors are only claimed by aiwatch_mlflow://q: set trust = authenticated if whoever writes its log has proven them"},
		{"who acted is proven", Needs{Sources: []string{"mlflow"}}, 1, Situation{Inputs: []Input{proven}}, "can fire"},
		{"S3 proves by itself", Needs{Sources: []string{"s3"}}, 1, Situation{Inputs: []Input{s3, logged}}, "can fire"},
		{"what is lacking is said once", twoOf, 1, Situation{Inputs: []Input{s3, mlflow}}, "limited: " + noLog},

		{"the lookups are filled", filled, 0, Situation{Inputs: []Input{s3}, Lookups: map[string]int{"aiwatch_a": 1, "aiwatch_b": 2}}, "can fire"},
		{"a lookup that only helps is empty", filled, 0, Situation{Inputs: []Input{s3}, Lookups: map[string]int{"aiwatch_a": 1, "aiwatch_b": 0}}, "can fire (empty: aiwatch_b)"},
		{"the lookup that it stands on is empty", filled, 0, Situation{Inputs: []Input{s3}, Lookups: map[string]int{"aiwatch_a": 0, "aiwatch_b": 2}}, "can't fire: lookup aiwatch_a is empty: fill it"},
		{"nobody knows the lookups", filled, 0, Situation{Inputs: []Input{s3}}, "can fire"},

		{"no state", better, 0, Situation{Inputs: []Input{s3}, Now: now}, "limited: needs 7 days of history, and how many are there is unknown: name the collector's state with --state"},
		{"six days", better, 0, Situation{Inputs: []Input{s3}, Now: now, Since: daysAgo(7).Add(time.Second)}, "limited: needs 7 days of history, 6 are there: wait until 2026-03-10"},
		{"seven days", better, 0, Situation{Inputs: []Input{s3}, Now: now, Since: daysAgo(7)}, "can fire"},
		{"three days, and it stands on history", habit, 0, Situation{Inputs: []Input{s3}, Now: now, Since: daysAgo(3)}, "can't fire: needs 7 days of history, 3 are there: wait until 2026-03-14 (to be enabled with it: seen_x)"},
		{"a clock set back", better, 0, Situation{Inputs: []Input{s3}, Now: now, Since: daysAgo(-1)}, "limited: needs 7 days of history, 0 are there: wait until 2026-03-18"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &Detection{Type: TTP, Path: "x.yml", Needs: c.needs, Risk: Risk{Score: 2, ClaimedScore: c.claimed}}
			require.Equal(t, c.want, d.Coverage(c.s).String())
		})
	}
}

// TestInputsOf: what inputs of a configuration tell.
func TestInputsOf(t *testing.T) {
	const rule = "[asset_rule://models]\nbucket = models\npattern = .*\nasset_type = model\n"
	for _, c := range []struct {
		inputs, rules string
		want          Input
	}{
		{"[aiwatch_s3://p]\nbucket = logs\n", "", Input{Stanza: "aiwatch_s3://p", Source: "s3"}},
		{"[aiwatch_s3://p]\nbucket = logs\nscope = all\n", "", Input{Stanza: "aiwatch_s3://p", Source: "s3", Tells: []string{"control"}}},
		{"[aiwatch_s3://p]\nbucket = logs\nwatch_buckets = models\n", "", Input{Stanza: "aiwatch_s3://p", Source: "s3", Tells: []string{"control"}}},
		{"[aiwatch_s3://p]\nbucket = logs\n", rule, Input{Stanza: "aiwatch_s3://p", Source: "s3", Tells: []string{"control"}}},
		{"[aiwatch_mlflow://p]\nurl = https://m.example.test\naccess_log = a.log\n", rule, Input{Stanza: "aiwatch_mlflow://p", Source: "mlflow", Tells: []string{"access_log"}}},
		{
			"[aiwatch_git://p]\nurl = https://g.example.test/a.git\naudit_log = a.log\nhook_log = h.log\ntrust = authenticated\n", "",
			Input{Stanza: "aiwatch_git://p", Source: "git", Tells: []string{"audit_log", "hook_log"}, Authenticated: true},
		},
	} {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "local"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "local", conf.InputsFile), []byte(c.inputs), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "local", conf.AIWatchFile), []byte(c.rules), 0o600))
		config, err := conf.Load(dir)
		require.NoError(t, err)
		require.Equal(t, []Input{c.want}, InputsOf(config, config.Inputs()))
	}
}

// TestNeedsTable: each detection has its rows, as the report reads them.
func TestNeedsTable(t *testing.T) {
	all := []*Detection{
		{Type: TTP, Number: 1, Name: "One", Needs: Needs{
			Sources: []string{"s3", "mlflow", "git"}, Acts: []string{"s3", "mlflow/access_log"}, Required: []string{"mlflow"},
			Lookups: []string{"aiwatch_a", "aiwatch_b"}, Filled: []string{"aiwatch_b"}, History: 14,
		}},
		{Type: Anomaly, Number: 2, Name: "Two", Needs: Needs{Sources: []string{"git", "health"}, Filled: []string{"aiwatch_seen_x"}, Baselines: []string{"seen_x"}, History: 7}},
		{Type: Baseline, Name: "Not found by"},
	}
	require.Equal(t, strings.Join([]string{
		"number,name,need,value",
		"1,One,act,s3", "1,One,act,mlflow", "1,One,required,mlflow", "1,One,other,git", "1,One,filled,aiwatch_b", "1,One,history,14",
		"2,Two,act,health", "2,Two,filled,aiwatch_seen_x", "2,Two,required_history,7", "",
	}, "\n"), string(needsTable(all)))
	require.Equal(t, `append [| inputlookup aiwatch_b | stats count AS entries | eval value="aiwatch_b"] | append [| inputlookup aiwatch_seen_x | stats count AS entries | eval value="aiwatch_seen_x"]`, countLookups(all))
}
