package mlflow_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/mlflowsim"
)

// TestLineageOfCopiesAndEvaluations: a copy of a copy, of which the server notes
// no run, has the run of what was copied; an evaluation names the logged model
// that it judged; files of a logged model name the run that made it.
func TestLineageOfCopiesAndEvaluations(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
	admin := s.rest(t)
	w := newWatch(t, s.config())
	exp := dig(admin.post("experiments/create", object{"name": "churn"}), "experiment_id")
	run := dig(admin.post("runs/create", object{"experiment_id": exp, "user_id": "alice", "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
	logged := dig(admin.post("logged-models", object{"experiment_id": exp, "name": "model", "source_run_id": run}), "model", "info", "model_id")
	admin.call("PUT", "/api/2.0/mlflow-artifacts/artifacts/"+exp+"/models/"+logged+"/artifacts/model.safetensors", "weights")
	for _, v := range []object{
		{"name": "dev", "source": "models:/" + logged, "model_id": logged},
		{"name": "staging", "source": "models:/dev/1"},
		{"name": "serving", "source": "models:/staging/1"},
		{"name": "lost", "source": "models:/nowhere/1"},
	} {
		admin.post("registered-models/create", object{"name": v["name"]})
		admin.post("model-versions/create", v)
		w.poll()
	}
	judge := dig(admin.post("runs/create", object{"experiment_id": exp, "user_id": "vera", "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
	admin.post("runs/log-inputs", object{"run_id": judge, "models": []object{{"model_id": logged}}})
	admin.post("runs/update", object{"run_id": judge, "status": "FINISHED", "end_time": s.clock.now().UnixMilli()})
	w.poll()

	seen := 0
	for _, r := range w.all {
		switch {
		case r.s("operation") == "version.created" && r.s("asset_name") != "lost":
			require.Equal(t, run, r.s("run_id"), r.s("asset_name"))
			require.Equal(t, "alice", r.s("trained_by"), r.s("asset_name"))
			seen++
		case r.s("operation") == "version.created":
			require.Empty(t, r.s("run_id"))
			seen++
		case r.s("asset_type") == "artifact":
			require.Equal(t, run, r.s("run_id"))
			require.Equal(t, logged, r.s("logged_model_id"))
			seen++
		case r.s("operation") == "run.ended":
			require.Equal(t, judge, r.s("run_id"))
			require.Equal(t, logged, r.s("logged_model_id"))
			seen++
		}
	}
	require.Equal(t, 5, seen)
}

// TestDatasetOfAnotherContext: what has the name of other data, and another
// context or source, is other data.
func TestDatasetOfAnotherContext(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	admin := s.rest(t)
	w := newWatch(t, s.config())
	exp := dig(admin.post("experiments/create", object{"name": "churn"}), "experiment_id")
	w.poll()
	log := func(digest, context, source string) {
		run := dig(admin.post("runs/create", object{"experiment_id": exp, "user_id": "alice", "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
		admin.post("runs/log-inputs", object{"run_id": run, "datasets": []object{{
			"tags":    []object{{"key": "mlflow.data.context", "value": context}},
			"dataset": object{"name": "customers", "digest": digest, "source_type": "s3", "source": source},
		}}})
		admin.post("runs/update", object{"run_id": run, "status": "FINISHED", "end_time": s.clock.now().UnixMilli()})
		w.poll()
	}
	log("t1", "training", "s3://lake/customers")
	log("e1", "evaluation", "s3://lake/customers")
	log("t9", "training", "s3://other/customers")
	log("t1", "training", "s3://lake/customers")
	changes := func() []string {
		var list []string
		for _, r := range w.all {
			if r.s("operation") == "dataset.digest_changed" {
				list = append(list, r.s("dataset_context")+" "+r.s("old_value")+" "+r.s("new_value"))
			}
		}
		return list
	}
	require.Empty(t, changes())
	log("x", "training", "s3://lake/customers")
	log("x", "evaluation", "s3://lake/customers")
	require.Equal(t, []string{"training t1 x", "evaluation e1 x"}, changes())
}

// TestStageThatArchives: one call that archives what held the stage before is
// one act of one person; two stages set by two people in the same second are
// nobody's.
func TestStageThatArchives(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{Version: "2.22.5", BasicAuth: true})
	admin := s.rest(t)
	admin.post("registered-models/create", object{"name": "fraud"})
	for range 3 {
		admin.post("model-versions/create", object{"name": "fraud", "source": "s3://x"})
	}
	for _, name := range []string{"mallory", "erin"} {
		admin.post("users/create", object{"username": name, "password": "a-long-password"})
	}
	stage := func(who, version, archive string) {
		admin.as(who, "x").post("model-versions/transition-stage", object{"name": "fraud", "version": version, "stage": "Production", "archive_existing_versions": archive})
	}
	stage("admin", "2", "false")
	cfg := s.config()
	cfg.AccessLog, cfg.Trusted = s.log, true
	w := newWatch(t, cfg)
	w.poll()
	who := func() map[string]string {
		users := map[string]string{}
		for _, r := range w.poll() {
			if r.s("operation") == "version.stage_changed" {
				users[r.s("asset_version")+" "+r.s("new_value")] = r.s("user")
			}
		}
		return users
	}
	s.clock.skip(time.Minute)
	stage("mallory", "1", "true")
	require.Equal(t, map[string]string{"1 Production": "mallory", "2 Archived": "mallory"}, who())
	s.clock.skip(time.Minute)
	stage("mallory", "2", "false")
	stage("erin", "3", "false")
	require.Equal(t, map[string]string{"2 Production": "", "3 Production": ""}, who())
}

// TestALongRunTellsItsDataOnce: a run comes up when it begins and when it ends,
// and what it used is told once.
func TestALongRunTellsItsDataOnce(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	admin := s.rest(t)
	w := newWatch(t, s.config())
	exp := dig(admin.post("experiments/create", object{"name": "churn"}), "experiment_id")
	w.poll()
	run := dig(admin.post("runs/create", object{"experiment_id": exp, "user_id": "alice", "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
	admin.post("runs/log-inputs", object{"run_id": run, "datasets": []object{{
		"tags":    []object{{"key": "mlflow.data.context", "value": "training"}},
		"dataset": object{"name": "customers", "digest": "t1", "source_type": "s3", "source": "s3://lake/customers"},
	}}})
	for range 4 {
		w.poll()
		s.clock.skip(time.Hour)
	}
	admin.post("runs/update", object{"run_id": run, "status": "FINISHED", "end_time": s.clock.now().UnixMilli()})
	w.poll()
	told := map[string]int{}
	for _, r := range w.all {
		if r.s("run_id") == run {
			told[r.s("operation")]++
		}
	}
	require.Equal(t, map[string]int{"run.created": 1, "dataset.logged": 1, "run.ended": 1}, told)
}
