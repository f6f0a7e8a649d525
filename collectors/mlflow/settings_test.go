package mlflow_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/collectors/mlflow"
	"aiwatch/internal/mlflowsim"
)

// TestBackfill: what existed at first contact is told as created, at the date
// that MLflow or the run's client gives it, and not again.
func TestBackfill(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
	admin := restHands{s.rest(t), 3, s.clock.now}
	exp := admin.do("create_experiment", object{"name": "churn"})
	s.clock.skip(24 * time.Hour)
	began := s.clock.now()
	run := admin.do("train", object{"experiment": exp, "auc": 0.5, "digest": "d1", "weights": "w"})
	admin.do("create_model", object{"name": "fraud"})
	s.clock.skip(time.Hour)
	registered := s.clock.now()
	admin.do("register", object{"name": "fraud", "run": run})
	admin.do("set_alias", object{"name": "fraud", "alias": "champion", "version": "1"})
	s.clock.skip(24 * time.Hour)

	cfg := s.config()
	cfg.Backfill, cfg.AccessLog, cfg.Trusted = true, s.log, true
	w := newWatch(t, cfg)
	rows := w.poll()
	told := map[string]row{}
	for _, r := range rows {
		told[r.what()] = r
	}
	at := func(r row, field string) time.Time {
		seconds, _ := r[field].(float64)
		return time.UnixMilli(int64(seconds * 1000))
	}
	version := told["version.created fraud 1"]
	require.Equal(t, "exact", version.s("time_basis"))
	require.WithinDuration(t, registered, at(version, "_time"), time.Second)
	require.Equal(t, "admin", version.s("user"), "the log is read from its beginning")
	require.WithinDuration(t, began, at(told["run.created "+run], "claimed_time"), time.Second)
	for _, what := range []string{"model.created fraud", "experiment.created churn", "run.ended " + run, "dataset.logged customers d1", `alias.set fraud 1 alias.champion: "" -> "1"`, "artifact.uploaded model/model.pkl"} {
		require.Contains(t, told, what)
	}
	require.Empty(t, whats(w.poll()))
}

// TestRuns: which runs are told and which are read again, by the settings runs
// and experiments.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		runs        string
		experiments []string
		first       []string // runs in the inventory
		edits       []string // whose edits are told
	}{
		{mlflow.RunsRegistered, nil, []string{"registered"}, []string{"registered"}},
		{mlflow.RunsAll, nil, []string{"registered", "other", "secret"}, []string{"registered", "other", "secret", "new"}},
		{mlflow.RunsAll, []string{"churn*"}, []string{"registered", "other"}, []string{"registered", "other", "new"}},
		{mlflow.RunsNone, nil, []string{"registered"}, nil},
	} {
		t.Run(fmt.Sprint(c.runs, c.experiments), func(t *testing.T) {
			s := newStandIn(t, mlflowsim.Options{})
			hands := restHands{s.rest(t), 3, s.clock.now}
			hands.user = ""
			churn, private := hands.do("create_experiment", object{"name": "churn"}), hands.do("create_experiment", object{"name": "private"})
			train := func(exp string) string {
				return hands.do("train", object{"experiment": exp, "auc": 0.5, "digest": "d", "weights": "w"})
			}
			names := map[string]string{train(churn): "registered", train(churn): "other", train(private): "secret"}
			hands.do("create_model", object{"name": "fraud"})
			for run, name := range names {
				if name == "registered" {
					hands.do("register", object{"name": "fraud", "run": run})
				}
			}
			s.clock.skip(24 * time.Hour)
			cfg := s.config()
			cfg.Username, cfg.Password, cfg.Runs, cfg.Experiments = "", "", c.runs, c.experiments
			w := newWatch(t, cfg)
			ofRuns := func(operation string) (list []string) {
				for _, r := range w.poll() {
					if r.s("operation") == operation && r.s("asset_type") == "run" {
						list = append(list, names[r.s("run_id")])
					}
				}
				return list
			}
			require.ElementsMatch(t, c.first, ofRuns("inventory"))
			names[train(churn)] = "new"
			require.Equal(t, []string{"new"}, ofRuns("run.ended"))
			for run := range names {
				hands.do("log_metric", object{"run": run, "key": "auc", "value": 0.9})
			}
			require.ElementsMatch(t, c.edits, ofRuns("run.edited_after_end"))
			require.Empty(t, whats(w.poll()))
		})
	}
}

// TestCheck: what an operator is told, and what to do about it.
func TestCheck(t *testing.T) {
	seconds := regexp.MustCompile(`took \S+`)
	check := func(t *testing.T, cfg mlflow.Config) string {
		c, err := mlflow.New(cfg)
		require.NoError(t, err)
		var b strings.Builder
		for _, f := range c.Check(t.Context()) {
			fmt.Fprintf(&b, "%s: %s", map[collectors.Verdict]string{collectors.Good: "ok", collectors.Warning: "warning", collectors.Unavailable: "unreachable", collectors.Misset: "wrong"}[f.Verdict], f.Text)
			if f.Fix != "" {
				b.WriteString(" > " + f.Fix)
			}
			b.WriteByte('\n')
		}
		return seconds.ReplaceAllString(b.String(), "took N")
	}
	bulk := mlflowsim.Bulk{Models: 300, Versions: 600, Runs: 40, At: 1_700_000_000_000}
	t.Run("3.x as administrator", func(t *testing.T) {
		s := newStandIn(t, mlflowsim.Options{BasicAuth: true, Bulk: bulk})
		s.AddUser("eve", false)
		cfg := s.config()
		cfg.AccessLog, cfg.Interval, cfg.RequestsPerSweep = s.log, 10*time.Minute, 5
		require.Equal(t, strings.ReplaceAll(`ok: MLflow 3.17.2 answers at @
ok: 300 models with 600 versions of 40 runs, 0 prompts, 1 experiment; reading the registry took N
ok: requests_per_sweep = 5: a run behind a version is read again after 10m0s at the latest
ok: basic-auth is on: permissions of 2 users are watched
ok: no webhook receiver: changes of aliases and tags are seen by the full sweep, every 10m0s
ok: names in the access log count as claimed (trust = claimed)
`, "@", s.url), check(t, cfg))
	})
	t.Run("3.x as somebody, and no log", func(t *testing.T) {
		s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
		s.AddUser("eve", false)
		cfg := s.config()
		cfg.Username, cfg.Listen, cfg.WebhookSecret = "eve", "127.0.0.1:9", "s"
		require.Contains(t, check(t, cfg), `warning: basic-auth is on, and the account may not list users: permissions are not watched > make the account an administrator to watch permissions
ok: webhooks are taken at 127.0.0.1:9
warning: no access log: who made a change is not known, and reads and overwrites of artifacts are not seen > set access_log to the log of the proxy or server, gunicorn's has the names
`)
	})
	t.Run("2.x", func(t *testing.T) {
		s := newStandIn(t, mlflowsim.Options{Version: "2.22.5", BasicAuth: true, Bulk: bulk})
		cfg := s.config()
		cfg.AccessLog = filepath.Join(t.TempDir(), "absent.log")
		told := check(t, cfg)
		require.Contains(t, told, "ok: MLflow 2.22.5 answers")
		require.Contains(t, told, "warning: basic-auth of 2.x lists no users: permissions of the names that runs and the access log hold are watched")
		require.Contains(t, told, "wrong: access_log can't be read: ")
		require.NotContains(t, told, "webhook")
	})
	t.Run("nobody answers", func(t *testing.T) {
		require.Contains(t, check(t, mlflow.Config{URL: "http://127.0.0.1:1", Timeout: time.Second}), "unreachable: ask the server for its version: ")
	})
	t.Run("a wrong password", func(t *testing.T) {
		s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
		cfg := s.config()
		cfg.Username, cfg.Password = "", ""
		require.Contains(t, check(t, cfg), "> correct username and password or token, and let the account read what is to be watched")
	})
}

// TestPurposesOfDatasets: training and test data of one name are two datasets,
// each with its own digest.
func TestPurposesOfDatasets(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	c := s.rest(t)
	c.user = ""
	w := newWatch(t, func() mlflow.Config { cfg := s.config(); cfg.Username = ""; return cfg }())
	w.poll()
	run := func(digests map[string]string, source string) (told []string) {
		id := dig(c.post("runs/create", object{"experiment_id": "0", "user_id": "alice", "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
		for purpose, digest := range digests {
			c.post("runs/log-inputs", object{"run_id": id, "datasets": []object{{
				"tags":    []object{{"key": "mlflow.data.context", "value": purpose}},
				"dataset": object{"name": "customers", "digest": digest, "source_type": "s3", "source": source},
			}}})
		}
		for _, r := range w.poll() {
			if r.s("operation") == "dataset.digest_changed" {
				told = append(told, r.s("dataset_context")+" "+r.s("old_value")+" "+r.s("new_value"))
			}
		}
		return told
	}
	require.Empty(t, run(map[string]string{"training": "a1", "testing": "b1"}, "s3://lake"))
	require.Empty(t, run(map[string]string{"training": "a1", "testing": "b1"}, "s3://lake"))
	require.Empty(t, run(map[string]string{"training": "c1"}, "s3://elsewhere"))
	require.Equal(t, []string{"training a1 a2"}, run(map[string]string{"training": "a2", "testing": "b1"}, "s3://lake"))
}

// TestListenSettings: a receiver that others could reach in clear, or that takes
// what nobody signed, is refused.
func TestListenSettings(t *testing.T) {
	_, err := mlflow.New(mlflow.Config{URL: "http://127.0.0.1:1", Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "webhook_secret")
	c, err := mlflow.New(mlflow.Config{URL: "http://127.0.0.1:1", Listen: "0.0.0.0:0", WebhookSecret: "s"})
	require.NoError(t, err)
	require.ErrorContains(t, c.Run(t.Context()), "only with listen_cert_file and listen_key_file")
}
