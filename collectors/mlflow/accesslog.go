package mlflow

import (
	"strings"

	"aiwatch/collectors/logfile"
)

// A verb is a call of MLflow's API: its method and what follows /mlflow/, such
// as "POST registered-models/alias"; object is the id where the path holds one.
func verbOf(r *logfile.Request) (verb, object string, ok bool) {
	path := r.Path()
	_, rest, ok := strings.Cut(path, "/mlflow/")
	if !ok || !strings.Contains(path, "api/") {
		return "", "", false
	}
	rest = strings.Trim(rest, "/")
	if tail, found := strings.CutPrefix(rest, "logged-models/"); found && tail != "search" {
		id, _, _ := strings.Cut(tail, "/")
		return r.Method + " logged-models", id, true
	}
	return r.Method + " " + rest, "", true
}

// An artifactCall is which artifact a request is about: its path below the
// artifact root, or the run or version and the path below that.
type artifactCall struct {
	operation     string
	key           string // <exp>/<run>/artifacts/<path>
	runID         string // with path
	modelID       string // with path
	model, number string // with path
	path          string
}

func artifactOf(r *logfile.Request) (a artifactCall, ok bool) {
	path := r.Path()
	operation := map[string]string{"GET": "artifact.read", "PUT": "artifact.uploaded", "DELETE": "artifact.removed"}[r.Method]
	if operation == "" {
		return a, false
	}
	a.operation = operation
	if _, rest, found := strings.Cut(path, "/mlflow-artifacts/artifacts/"); found {
		a.key = rest
		return a, a.key != ""
	}
	if r.Method != "GET" {
		return a, false
	}
	q := r.Query()
	switch {
	case strings.HasSuffix(path, "/model-versions/get-artifact"):
		a.model, a.number, a.path = q.Get("name"), q.Get("version"), q.Get("path")
		return a, a.model != "" && a.path != ""
	case strings.HasSuffix(path, "/get-artifact"):
		a.runID, a.path = q.Get("run_uuid"), q.Get("path")
		if a.runID == "" {
			a.runID = q.Get("run_id")
		}
		return a, a.runID != "" && a.path != ""
	case strings.HasSuffix(path, "/artifacts/files"):
		_, rest, _ := strings.Cut(path, "/logged-models/")
		a.modelID, _, _ = strings.Cut(rest, "/")
		a.path = q.Get("artifact_file_path")
		return a, a.modelID != "" && a.path != ""
	}
	return a, false
}
