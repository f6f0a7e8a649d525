package mlflow_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/mlflow"
	"aiwatch/internal/counterpart"
)

// TestWorkspacesAndWebhooks: a real 3.x server with workspaces is swept one by
// one, and its own webhooks make an alias be told between two sweeps.
func TestWorkspacesAndWebhooks(t *testing.T) {
	t.Parallel()
	s := counterpart.MLflow3(t, counterpart.MLflowOptions{ServeArtifacts: true, Workspaces: true, Webhooks: true})
	someone := newPythonHands(t, s)
	someone.do("create_workspace", object{"name": "team-a"})
	for _, workspace := range []string{"default", "team-a"} {
		someone.do("enter_workspace", object{"name": workspace})
		someone.do("create_model", object{"name": "fraud"})
		someone.do("create_version", object{"name": "fraud", "source": "s3://x/y"})
	}

	now := time.Now
	w := newWatch(t, mlflow.Config{URL: s.URL, Interval: time.Hour, FastInterval: time.Nanosecond, Now: func() time.Time { return now() }, Listen: "127.0.0.1:0", WebhookSecret: "a-shared-secret"})
	ids := map[string]bool{}
	for _, r := range w.poll() {
		require.Equal(t, "inventory", r.s("operation"))
		ids[r.s("asset_id")] = true
	}
	for _, id := range []string{"mlflow:prod/default/models/fraud/1", "mlflow:prod/team-a/models/fraud/1", "mlflow:prod/team-a/models/fraud"} {
		require.Contains(t, ids, id)
	}

	// The server's own webhook, with its signature, at our receiver.
	receiver := w.collector.Webhooks()
	answers := make(chan int, 10)
	at := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		receiver.ServeHTTP(answer, r)
		rw.WriteHeader(answer.Code)
		answers <- answer.Code
	}))
	defer at.Close()
	for _, workspace := range []string{"team-a", "default"} {
		someone.do("enter_workspace", object{"name": workspace})
		someone.do("create_webhook", object{"name": "watch", "url": at.URL, "secret": "a-shared-secret", "events": []string{"model_version_alias.created"}})
	}
	someone.do("enter_workspace", object{"name": "team-a"})
	someone.do("set_alias", object{"name": "fraud", "alias": "champion", "version": "1"})
	delivered := time.NewTimer(3 * time.Minute)
	defer delivered.Stop()
	select {
	case code := <-answers:
		require.Equal(t, http.StatusOK, code, "the receiver takes the server's signature")
	case <-delivered.C:
		t.Fatal("the server sent no webhook")
	}
	<-w.collector.Notify()
	rows := w.poll()
	require.Equal(t, []string{`alias.set fraud 1 alias.champion: "" -> "1"`}, whats(rows))
	require.Equal(t, "mlflow:prod/team-a/models/fraud/1", rows[0].s("asset_id"))

	// What is deleted and made in one workspace is told there alone.
	someone.do("delete_model", object{"name": "fraud"})
	someone.do("enter_workspace", object{"name": "default"})
	someone.do("tag_model", object{"name": "fraud", "key": "k", "value": "v"})
	now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	told := map[string]string{}
	for _, r := range w.poll() {
		told[r.s("operation")] = r.s("asset_id")
	}
	require.Equal(t, map[string]string{
		"alias.deleted": "mlflow:prod/team-a/models/fraud/1", "version.deleted": "mlflow:prod/team-a/models/fraud/1",
		"model.deleted": "mlflow:prod/team-a/models/fraud", "model.tag_set": "mlflow:prod/default/models/fraud",
	}, told)
}
