package mlflow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/mlflow"
	"aiwatch/internal/counterpart"
)

// TestPeople: a data scientist, an insider and an administrator work under their
// own names on both real servers, by MLflow's own client.
func TestPeople(t *testing.T) {
	t.Parallel()
	for _, real := range realServers {
		t.Run(real.name, func(t *testing.T) {
			t.Parallel()
			s := real.start(t, counterpart.MLflowOptions{BasicAuth: true, ServeArtifacts: true, Gunicorn: true})
			runPeople(t, table{
				major: real.major, admin: newPythonHands(t, s), database: s.Database, now: time.Now,
				cfg: mlflow.Config{URL: s.URL, Username: s.Username, Password: s.Password, AccessLog: s.AccessLog},
			})
		})
	}
}

// TestPeopleOnStandIn is the same play on the stand-in.
func TestPeopleOnStandIn(t *testing.T) { onStandIn(t, runPeople) }

// runPeople: Alice trains and registers. Eve, who runs the server, swaps an
// alias, edits a metric after the end, re-points a version's source in the
// database, overwrites an artifact through the proxy, deletes and re-creates a
// model of hers and grants herself MANAGE on Alice's, all between two sweeps.
func runPeople(t *testing.T, on table) {
	t.Helper()
	const secret = "a-long-password-of-hers"
	admin := on.admin
	for _, name := range []string{"alice", "eve"} {
		admin.do("create_user", object{"user": name, "password": secret})
	}
	admin.do("set_admin", object{"user": "eve", "admin": true})
	alice, eve := admin.as("alice", secret), admin.as("eve", secret)
	exp := alice.do("create_experiment", object{"name": "churn"})
	train := func(who hands) string {
		return who.do("train", object{"experiment": exp, "auc": 0.7, "digest": "d1", "weights": "\u0080\u0004N."})
	}
	run := train(alice)
	alice.do("create_model", object{"name": "fraud"})
	for range 2 {
		alice.do("register", object{"name": "fraud", "run": run})
	}
	alice.do("set_alias", object{"name": "fraud", "alias": "champion", "version": "1"})
	eve.do("create_model", object{"name": "hers"})
	eve.do("register", object{"name": "hers", "run": train(eve)})

	cfg := on.cfg
	cfg.Interval, cfg.FastInterval, cfg.Trusted, cfg.Now = time.Nanosecond, time.Nanosecond, true, on.now
	w := newWatch(t, cfg)
	w.poll()

	eve.do("set_alias", object{"name": "fraud", "alias": "champion", "version": "2"})
	eve.do("log_metric", object{"run": run, "key": "auc", "value": 0.99})
	eve.do("log_artifact", object{"run": run, "name": "model.pkl", "text": "\u0080\u0004cos\nsystem\n."})
	eve.do("delete_model", object{"name": "hers"})
	eve.do("create_model", object{"name": "hers"})
	eve.do("grant", object{"user": "eve", "model": "fraud", "permission": "MANAGE"})
	source := "(not edited)"
	if on.database != "" {
		source = "s3://evil/model"
		eve.do("edit_version", object{"database": on.database, "name": "fraud", "version": "2", "column": "source", "value": source})
	}
	told := w.poll()
	found := map[string]row{}
	for _, r := range told {
		if r.s("operation") == "permission.granted" && r.s("asset_name") == "hers" || r.s("operation") == "permission.revoked" {
			continue // what the server gives and takes by itself
		}
		if ofAct(r) && r.s("user") == on.cfg.Username {
			continue // our own fetching
		}
		require.NotContains(t, found, r.what(), "told twice")
		found[r.what()] = r
	}
	byEve := []string{
		`alias.set fraud 2 alias.champion: "1" -> "2"`, "run.edited_after_end " + run + ` metrics.auc: "0.7" -> "0.99"`,
		"artifact.uploaded model/model.pkl", "model.deleted hers", "version.deleted hers 1", "model.created hers",
	}
	for _, what := range byEve {
		require.Contains(t, found, what)
		require.Equal(t, "eve", found[what].s("user"), "%s: %v", what, found[what])
		require.Equal(t, "authenticated", found[what].s("user_confidence"), what)
	}
	require.Equal(t, "alice", found[byEve[0]].s("trained_by"))
	granted := found[`permission.granted fraud permission: "" -> "MANAGE"`]
	require.Equal(t, "eve", granted.s("user"))
	require.Equal(t, "eve", granted.s("src_user"), "%v", granted)
	require.Equal(t, "authenticated", granted.s("user_confidence"))
	others := 0
	for what, r := range found {
		switch {
		case strings.HasPrefix(what, "artifact.modified model/model.pkl digest"):
			require.Contains(t, r.list("imports_added"), "os.system")
			require.Equal(t, "eve", r.s("user"))
			others++
		case strings.HasPrefix(what, "version.source_changed fraud 2"):
			require.Equal(t, source, r.s("new_value"))
			require.Empty(t, r.s("user"), "no call explains it")
			require.Equal(t, true, r["source_outside"])
			others++
		}
	}
	edited := 0
	if on.database != "" {
		edited = 1
	}
	require.Equal(t, 1+edited, others)
	require.Len(t, found, len(byEve)+1+others, "%v", whats(told))

	// What an administrator does with people, some of it not visible on 2.x, which
	// lists no users.
	admin.do("create_user", object{"user": "mallory", "password": secret})
	admin.do("set_admin", object{"user": "eve", "admin": false})
	admin.do("revoke", object{"user": "eve", "model": "fraud"})
	admin.do("change_grant", object{"user": "alice", "model": "fraud", "permission": "READ"})
	want := []string{
		`account.admin_changed eve permission: "admin" -> "user"`,
		`permission.changed fraud permission: "MANAGE" -> "READ"`, `permission.revoked fraud permission: "MANAGE" -> ""`,
	}
	if on.major >= 3 {
		want = append(want, "account.created mallory")
	}
	slices.Sort(want)
	require.Equal(t, want, whats(w.poll()))
	for _, r := range w.events {
		switch r.s("operation") {
		case "account.admin_changed":
			require.Equal(t, "admin", r.s("src_user"), r.what())
		case "permission.changed":
			require.Equal(t, "alice", r.s("user"))
		}
	}
	admin.do("delete_user", object{"user": "mallory"})
	want = []string{}
	if on.major >= 3 {
		want = append(want, "account.deleted mallory")
	}
	require.Equal(t, want, whats(w.poll()))

	// An account that may not list permissions says what it can't see.
	cfg.Username, cfg.Password, cfg.AccessLog, cfg.Artifacts = "alice", secret, "", mlflow.ArtifactsNone
	seeing := newWatch(t, cfg)
	seeing.poll()
	require.Contains(t, strings.Join(seeing.collector.Report().Coverage, "\n"), "permissions: ")
	require.NotContains(t, strings.Join(whats(seeing.events), "\n"), "account")
}
