package mlflow_test

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
)

// hands do what people do to a server: MLflow's own client on real ones, the
// same calls on the stand-in.
type hands interface {
	// do performs an act, with its arguments by name, and returns what it made:
	// mostly an id.
	do(act string, with object) string
	as(user, password string) hands
}

//go:embed testdata/acts.py
var actsPy string

// pythonHands are MLflow's own client.
type pythonHands struct {
	t      *testing.T
	client *counterpart.MLflowClient
	env    map[string]string
}

func newPythonHands(t *testing.T, s *counterpart.MLflowServer) pythonHands {
	t.Helper()
	return pythonHands{t: t, client: s.Client(t, actsPy), env: map[string]string{
		"LOGNAME": "alice", "MLFLOW_TRACKING_USERNAME": s.Username, "MLFLOW_TRACKING_PASSWORD": s.Password,
	}}
}

func (h pythonHands) as(user, password string) hands {
	h.env = map[string]string{"LOGNAME": user, "MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
	return h
}

func (h pythonHands) do(act string, with object) string {
	h.t.Helper()
	return fmt.Sprint(h.client.Do(h.t, act, with, h.env))
}

// restHands make the calls that MLflow's client makes.
type restHands struct {
	rest
	major int
	now   func() time.Time
}

func (h restHands) as(user, password string) hands {
	h.rest = h.rest.as(user, password)
	return h
}

func (h restHands) do(act string, with object) string {
	h.t.Helper()
	s := func(name string) string {
		if with[name] == nil {
			return ""
		}
		return fmt.Sprint(with[name])
	}
	// body takes arguments under the names that the API has for them.
	body := func(names ...string) object {
		o := object{}
		for _, name := range names {
			to, from, renamed := strings.Cut(name, "=")
			if !renamed {
				from = to
			}
			if with[from] != nil {
				o[to] = with[from]
			}
		}
		return o
	}
	tag := func() object { return object{"key": "mlflow.prompt.is_prompt", "value": "true"} }
	switch act {
	case "create_model":
		h.post("registered-models/create", body("name", "description"))
	case "describe_model":
		h.call("PATCH", "registered-models/update", body("name", "description"))
	case "tag_model":
		h.post("registered-models/set-tag", body("name", "key", "value"))
	case "untag_model":
		h.call("DELETE", "registered-models/delete-tag", body("name", "key"))
	case "rename_model":
		h.post("registered-models/rename", body("name", "new_name"))
	case "delete_model":
		h.call("DELETE", "registered-models/delete", body("name"))
	case "create_version":
		return dig(h.post("model-versions/create", body("name", "source", "run_id=run")), "model_version", "version")
	case "register":
		run := h.call("GET", "runs/get?run_id="+s("run"), nil)
		return dig(h.post("model-versions/create", object{"name": s("name"), "run_id": s("run"), "source": dig(run, "run", "info", "artifact_uri") + "/model"}), "model_version", "version")
	case "describe_version":
		h.call("PATCH", "model-versions/update", body("name", "version", "description"))
	case "tag_version":
		h.post("model-versions/set-tag", body("name", "version", "key", "value"))
	case "untag_version":
		h.call("DELETE", "model-versions/delete-tag", body("name", "version", "key"))
	case "stage_version":
		h.post("model-versions/transition-stage", body("name", "version", "stage"))
	case "delete_version":
		h.call("DELETE", "model-versions/delete", body("name", "version"))
	case "set_alias":
		h.post("registered-models/alias", body("name", "alias", "version"))
	case "delete_alias":
		h.call("DELETE", "registered-models/alias", body("name", "alias"))
	case "register_prompt":
		h.post("registered-models/create", object{"name": s("name"), "tags": []object{tag()}})
		h.post("model-versions/create", object{"name": s("name"), "source": "prompt-template", "tags": []object{tag(), {"key": "mlflow.prompt.text", "value": s("template")}}})
	case "create_experiment":
		return dig(h.post("experiments/create", body("name")), "experiment_id")
	case "rename_experiment":
		h.post("experiments/update", body("experiment_id=experiment", "new_name"))
	case "tag_experiment":
		h.post("experiments/set-experiment-tag", body("experiment_id=experiment", "key", "value"))
	case "untag_experiment":
		h.post("experiments/delete-experiment-tag", body("experiment_id=experiment", "key"))
	case "delete_experiment":
		h.post("experiments/delete", body("experiment_id=experiment"))
	case "restore_experiment":
		h.post("experiments/restore", body("experiment_id=experiment"))
	case "start_run", "train":
		tags := []object{}
		given, _ := with["tags"].(object)
		for k, v := range given {
			tags = append(tags, object{"key": k, "value": v})
		}
		run := dig(h.post("runs/create", object{"experiment_id": s("experiment"), "user_id": h.worker(), "start_time": h.now().UnixMilli(), "tags": tags}), "run", "info", "run_id")
		if act == "start_run" {
			return run
		}
		h.do("log_input", object{"run": run, "name": "customers", "digest": s("digest")})
		h.do("log_param", object{"run": run, "key": "depth", "value": "3"})
		h.do("log_metric", object{"run": run, "key": "auc", "value": with["auc"], "step": 0})
		h.do("log_artifact", object{"run": run, "name": "model.pkl", "text": s("weights")})
		h.do("log_artifact", object{"run": run, "name": "MLmodel", "text": "flavors: {}\n"})
		h.do("end_run", object{"run": run})
		return run
	case "log_metric":
		step := with["step"]
		if step == nil {
			step = 1
		}
		h.post("runs/log-metric", object{"run_id": s("run"), "key": s("key"), "value": with["value"], "timestamp": h.now().UnixMilli(), "step": step})
	case "log_param":
		h.post("runs/log-parameter", body("run_id=run", "key", "value"))
	case "tag_run":
		h.post("runs/set-tag", body("run_id=run", "key", "value"))
	case "untag_run":
		h.post("runs/delete-tag", body("run_id=run", "key"))
	case "rename_run":
		h.post("runs/update", body("run_id=run", "run_name=new_name"))
	case "reopen_run":
		h.post("runs/update", object{"run_id": s("run"), "status": "RUNNING"})
	case "end_run":
		end := with["end_time"]
		if end == nil {
			end = h.now().UnixMilli()
		}
		h.post("runs/update", object{"run_id": s("run"), "status": "FINISHED", "end_time": end})
	case "log_input":
		h.post("runs/log-inputs", object{"run_id": s("run"), "datasets": []object{{
			"tags":    []object{{"key": "mlflow.data.context", "value": "training"}},
			"dataset": object{"name": s("name"), "digest": s("digest"), "source_type": "s3", "source": `{"uri": "s3://lake/` + s("name") + `"}`},
		}}})
	case "delete_run":
		h.post("runs/delete", body("run_id=run"))
	case "restore_run":
		h.post("runs/restore", body("run_id=run"))
	case "log_artifact":
		h.call("PUT", h.artifact(s("run"), "model/"+s("name")), s("text"))
	case "delete_artifact":
		h.call("DELETE", h.artifact(s("run"), s("path")), nil)
	case "read_artifact":
		h.call("GET", h.artifact(s("run"), s("path")), nil)
	case "create_logged_model":
		return dig(h.post("logged-models", body("experiment_id=experiment", "name", "source_run_id=run")), "model", "info", "model_id")
	case "tag_logged_model":
		h.call("PATCH", "logged-models/"+s("model")+"/tags", object{"tags": []object{body("key", "value")}})
	case "untag_logged_model":
		h.call("DELETE", "logged-models/"+s("model")+"/tags/"+s("key"), nil)
	case "finalize_logged_model":
		h.call("PATCH", "logged-models/"+s("model"), object{"model_id": s("model"), "status": "LOGGED_MODEL_READY"})
	case "delete_logged_model":
		h.call("DELETE", "logged-models/"+s("model"), nil)
	case "create_user":
		h.post("users/create", body("username=user", "password"))
	case "set_admin":
		h.call("PATCH", "users/update-admin", body("username=user", "is_admin=admin"))
	case "delete_user":
		h.call("DELETE", "users/delete", body("username=user"))
	case "grant", "revoke", "change_grant":
		h.permission(act, s("user"), s("model"), s("permission"))
	default:
		require.FailNow(h.t, "no such act", act)
	}
	return ""
}

// worker is who trains.
func (h restHands) worker() string {
	if h.user == "" || h.user == "admin" {
		return "alice"
	}
	return h.user
}

// artifact is the path of a run's file behind the artifact proxy.
func (h restHands) artifact(run, path string) string {
	root := dig(h.call("GET", "runs/get?run_id="+run, nil), "run", "info", "artifact_uri")
	return "/api/2.0/mlflow-artifacts/artifacts/" + strings.TrimPrefix(root, "mlflow-artifacts:/") + "/" + path
}

func (h restHands) permission(act, user, model, permission string) {
	if h.major < 3 {
		method := map[string]string{"grant": "POST", "revoke": "DELETE", "change_grant": "PATCH"}[act]
		path := map[string]string{"grant": "create", "revoke": "delete", "change_grant": "update"}[act]
		h.call(method, "registered-models/permissions/"+path, object{"name": model, "username": user, "permission": permission})
		return
	}
	resource := object{"username": user, "resource_type": "registered_model", "resource_id": model}
	if act != "grant" {
		h.post("/api/3.0/mlflow/users/permissions/revoke", resource)
	}
	if act != "revoke" {
		resource["permission"] = permission
		h.post("/api/3.0/mlflow/users/permissions/grant", resource)
	}
}
