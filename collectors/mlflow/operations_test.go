package mlflow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/mlflow"
)

// A table of operations runs on a real server or on the stand-in.
type table struct {
	major    int
	cfg      mlflow.Config // the collector's, with the administrator's account
	admin    hands
	database string // of a real server: some acts are edits of it
	now      func() time.Time
}

// runOperations performs acts one by one and compares what is told of each.
func runOperations(t *testing.T, on table) {
	t.Helper()
	admin := on.admin
	people := on.cfg.Username != ""
	const secret = "eves-long-password"
	if people {
		admin.do("create_user", object{"user": "eve", "password": secret})
	}
	admin.do("create_model", object{"name": "fraud", "description": "finds fraud"})
	exp := admin.do("create_experiment", object{"name": "churn"})
	code := object{
		"mlflow.source.git.commit":  "0123456789012345678901234567890123456789",
		"mlflow.source.git.branch":  "main",
		"mlflow.source.git.repoURL": "git@github.com:acme/churn.git",
		"mlflow.source.git.dirty":   "True",
		"weights.sha256":            "abc",
	}
	train := func(digest string, auc float64) string {
		return admin.do("train", object{"experiment": exp, "tags": code, "auc": auc, "digest": digest, "weights": "weights"})
	}
	run1 := train("d1", 0.7)
	admin.do("register", object{"name": "fraud", "run": run1})

	cfg := on.cfg
	cfg.Interval, cfg.FastInterval, cfg.Trusted, cfg.Now = time.Nanosecond, time.Nanosecond, true, on.now
	w := newWatch(t, cfg)
	first := w.poll()
	for _, r := range first {
		require.True(t, ofAct(r) || r.s("operation") == "inventory", r.what())
		require.Empty(t, r.s("user"), r.what())
	}
	for _, what := range []string{"fraud", "fraud 1", run1, "churn", "customers d1", "model/model.pkl"} {
		require.Contains(t, whats(first), "inventory "+what)
	}
	require.Empty(t, whats(w.poll()), "nothing changed")

	lineage := func(r row) {
		require.Equal(t, "0123456789012345678901234567890123456789", r.s("git_commit"), r.what())
		require.Equal(t, "git:github.com/acme/churn", r.s("git_repo"), r.what())
		require.Equal(t, "refs/heads/main", r.s("git_ref"), r.what())
		require.Equal(t, true, r["git_dirty"], r.what())
		require.Equal(t, "alice", r.s("trained_by"), r.what())
		require.Equal(t, "claimed", r.s("trained_by_confidence"), r.what())
		require.NotEmpty(t, r.s("run_id"), r.what())
		require.Contains(t, r.s("dataset_name"), "customers", r.what())
		require.NotEmpty(t, r.s("dataset_digest"), r.what())
	}
	basis := func(want string) func([]row) {
		return func(rows []row) {
			if want == "" {
				require.NotNil(t, rows[0]["not_before"], rows[0].what())
			}
			require.Equal(t, want, rows[0].s("time_basis"), rows[0].what())
		}
	}
	// Bounded is what the add-on supplies where nothing is said.
	dated, undated := basis("exact"), basis("")
	var run2, logged, exp2, number string
	tests := []struct {
		name  string
		only  int    // major version of the server; 0: both
		where string // "real": the database is edited; "people": users are needed
		do    func()
		want  []string // not visible where empty
		actor string
		check func(rows []row)
	}{
		{"model created", 0, "", func() { admin.do("create_model", object{"name": "extra"}) }, []string{"model.created extra"}, "admin", dated},
		{"model description", 0, "", func() { admin.do("describe_model", object{"name": "extra", "description": "new"}) }, []string{`model.description_changed extra description: "" -> "new"`}, "admin", undated},
		{"model tag set", 0, "", func() { admin.do("tag_model", object{"name": "extra", "key": "k", "value": "v"}) }, []string{`model.tag_set extra tags.k: "" -> "v"`}, "admin", undated},
		{"model tag changed", 0, "", func() { admin.do("tag_model", object{"name": "extra", "key": "k", "value": "w"}) }, []string{`model.tag_set extra tags.k: "v" -> "w"`}, "admin", undated},
		{"model tag deleted", 0, "", func() { admin.do("untag_model", object{"name": "extra", "key": "k"}) }, []string{`model.tag_deleted extra tags.k: "w" -> ""`}, "admin", undated},
		{"run created and ended", 0, "", func() { run2 = train("d2", 0.8) }, []string{"@run2 run.created", "@run2 run.ended", `dataset.digest_changed customers d2 digest: "d1" -> "d2"`, "dataset.logged customers d2"}, "", func(rows []row) {
			for _, r := range rows {
				if o := r.s("operation"); o == "run.created" || o == "run.ended" {
					require.Equal(t, "claimed", r.s("time_basis"))
					require.NotNil(t, r["claimed_time"])
					require.Contains(t, r.list("tags"), "weights.sha256=abc")
					lineage(r)
				}
				if r.s("asset_type") == "dataset" {
					require.Equal(t, "training", r.s("dataset_context"))
					require.Contains(t, r.s("dataset_source"), "s3://lake/customers")
					require.Equal(t, run2, r.s("run_id"))
					if !people {
						require.Equal(t, "alice", r.s("user"))
					}
				}
			}
		}},
		{"version created", 0, "", func() { number = admin.do("register", object{"name": "fraud", "run": run2}) }, []string{"artifact", "version.created fraud 2"}, "", func(rows []row) {
			r := rows[len(rows)-1]
			require.Equal(t, "exact", r.s("time_basis"))
			require.Equal(t, "d2", r.s("dataset_digest"))
			require.Equal(t, false, r["source_outside"])
			lineage(r)
			if people {
				require.Equal(t, "admin", r.s("user"))
				require.Equal(t, "authenticated", r.s("user_confidence"))
			}
		}},
		{"version from elsewhere, and its alias at once", 0, "", func() {
			number = admin.do("create_version", object{"name": "fraud", "source": "s3://evil/model", "run": run2})
			admin.do("set_alias", object{"name": "fraud", "alias": "shadow", "version": number})
		}, []string{`alias.set fraud 3 alias.shadow: "" -> "3"`, "version.created fraud 3"}, "admin", func(rows []row) {
			for _, r := range rows {
				require.Equal(t, true, r["source_outside"], r.what())
				require.Equal(t, on.cfg.Username, r.s("registered_by"), r.what())
				lineage(r)
			}
		}},
		{"alias set", 0, "", func() { admin.do("set_alias", object{"name": "fraud", "alias": "champion", "version": "1"}) }, []string{`alias.set fraud 1 alias.champion: "" -> "1"`}, "admin", undated},
		{"alias swapped", 0, "", func() { admin.do("set_alias", object{"name": "fraud", "alias": "champion", "version": "3"}) }, []string{`alias.set fraud 3 alias.champion: "1" -> "3"`}, "admin", func(rows []row) {
			require.Equal(t, on.cfg.Username, rows[0].s("registered_by"))
			require.Equal(t, "champion", rows[0].s("alias"))
			require.Equal(t, "fraud", rows[0].s("model_name"))
			require.Equal(t, "3", rows[0].s("model_version"))
			require.Equal(t, true, rows[0]["source_outside"])
			undated(rows)
			lineage(rows[0])
		}},
		{"source re-pointed", 0, "real", func() {
			admin.do("edit_version", object{"database": on.database, "name": "fraud", "version": "2", "column": "source", "value": "s3://evil/model"})
		}, []string{`version.source_changed fraud 2 source: "@source2" -> "s3://evil/model"`}, "", func(rows []row) {
			require.Equal(t, true, rows[0]["source_outside"])
			undated(rows)
		}},
		{"status changed", 0, "real", func() {
			admin.do("edit_version", object{"database": on.database, "name": "fraud", "version": "2", "column": "status", "value": "FAILED_REGISTRATION"})
		}, []string{`version.status_changed fraud 2 status: "READY" -> "FAILED_REGISTRATION"`}, "", nil},
		{"status put back", 0, "real", func() {
			admin.do("edit_version", object{"database": on.database, "name": "fraud", "version": "2", "column": "status", "value": "READY"})
		}, []string{`version.status_changed fraud 2 status: "FAILED_REGISTRATION" -> "READY"`}, "", nil},
		{"stage", 0, "", func() { admin.do("stage_version", object{"name": "fraud", "version": "2", "stage": "Production"}) }, []string{`version.stage_changed fraud 2 stage: "" -> "Production"`}, "admin", func(rows []row) {
			dated(rows)
			require.Equal(t, "Production", rows[0].s("stage"))
			lineage(rows[0])
		}},
		{"version description", 0, "", func() {
			admin.do("describe_version", object{"name": "fraud", "version": "2", "description": "d"})
		}, []string{`version.description_changed fraud 2 description: "" -> "d"`}, "admin", dated},
		{"version tag set", 0, "", func() {
			admin.do("tag_version", object{"name": "fraud", "version": "2", "key": "approved", "value": "yes"})
		}, []string{`version.tag_set fraud 2 tags.approved: "" -> "yes"`}, "admin", func(rows []row) {
			undated(rows)
			require.Equal(t, "approved", rows[0].s("tag_key"))
		}},
		{"version tag deleted", 0, "", func() { admin.do("untag_version", object{"name": "fraud", "version": "2", "key": "approved"}) }, []string{`version.tag_deleted fraud 2 tags.approved: "yes" -> ""`}, "admin", undated},
		{"version deleted with its aliases", 0, "", func() { admin.do("delete_version", object{"name": "fraud", "version": "3"}) }, []string{`alias.deleted fraud 3 alias.champion: "3" -> ""`, `alias.deleted fraud 3 alias.shadow: "3" -> ""`, "version.deleted fraud 3"}, "admin", nil},
		{"nothing more of that", 0, "", func() {}, nil, "", nil},
		{"alias deleted", 0, "", func() {
			admin.do("set_alias", object{"name": "fraud", "alias": "next", "version": "2"})
			w.poll()
			admin.do("delete_alias", object{"name": "fraud", "alias": "next"})
		}, []string{`alias.deleted fraud 2 alias.next: "2" -> ""`}, "admin", undated},
		{"alias moved from a version that is deleted", 0, "", func() {
			number = admin.do("create_version", object{"name": "fraud", "source": "s3://x/y"})
			admin.do("set_alias", object{"name": "fraud", "alias": "next", "version": number})
			w.poll()
			admin.do("set_alias", object{"name": "fraud", "alias": "next", "version": "1"})
			admin.do("delete_version", object{"name": "fraud", "version": number})
		}, []string{`alias.set fraud 1 alias.next: "4" -> "1"`, "version.deleted fraud 4"}, "", nil},
		{"model renamed", 0, "", func() { admin.do("rename_model", object{"name": "fraud", "new_name": "swindle"}) }, []string{`model.renamed swindle name: "fraud" -> "swindle"`}, "admin", dated},
		{"model deleted", 0, "", func() { admin.do("delete_model", object{"name": "extra"}) }, []string{"model.deleted extra"}, "admin", undated},
		{"model deleted and created again", 0, "", func() {
			admin.do("delete_model", object{"name": "swindle"})
			admin.do("create_model", object{"name": "swindle"})
			admin.do("register", object{"name": "swindle", "run": run1})
		}, []string{`alias.deleted swindle 1 alias.next: "1" -> ""`, "model.created swindle", "model.deleted swindle", "version.created swindle 1", "version.deleted swindle 1", "version.deleted swindle 2"}, "", nil},
		{"model created with versions and an alias", 0, "", func() {
			admin.do("create_model", object{"name": "quick"})
			admin.do("register", object{"name": "quick", "run": run2})
			admin.do("set_alias", object{"name": "quick", "alias": "champion", "version": "1"})
		}, []string{"artifact", `alias.set quick 1 alias.champion: "" -> "1"`, "model.created quick", "version.created quick 1"}, "", func(rows []row) {
			lineage(rows[0])
			require.Equal(t, false, rows[0]["source_outside"])
			require.Equal(t, on.cfg.Username, rows[0].s("registered_by"))
			require.Equal(t, on.cfg.Username, rows[0].s("user"))
		}},
		{"prompt created", 0, "", func() { admin.do("register_prompt", object{"name": "greet", "template": "Hello"}) }, []string{"model.created greet", "version.created greet 1"}, "", func(rows []row) {
			require.Equal(t, "prompt", rows[0].s("asset_type"))
			require.Equal(t, "mlflow:prod/prompts/greet/1", rows[1].s("asset_id"))
		}},
		{"experiment created", 0, "", func() { exp2 = admin.do("create_experiment", object{"name": "second"}) }, []string{"experiment.created second"}, "admin", dated},
		{"experiment renamed", 0, "", func() { admin.do("rename_experiment", object{"experiment": exp2, "new_name": "2nd"}) }, []string{`experiment.renamed 2nd name: "second" -> "2nd"`}, "admin", dated},
		{"experiment tag", 0, "", func() { admin.do("tag_experiment", object{"experiment": exp2, "key": "a", "value": "b"}) }, []string{`experiment.tag_set 2nd tags.a: "" -> "b"`}, "admin", undated},
		{"experiment tag deleted", 3, "", func() { admin.do("untag_experiment", object{"experiment": exp2, "key": "a"}) }, []string{`experiment.tag_deleted 2nd tags.a: "b" -> ""`}, "admin", undated},
		{"experiment deleted", 0, "", func() { admin.do("delete_experiment", object{"experiment": exp2}) }, []string{"experiment.deleted 2nd"}, "admin", dated},
		{"experiment restored", 0, "", func() { admin.do("restore_experiment", object{"experiment": exp2}) }, []string{`experiment.restored 2nd status: "deleted" -> "active"`}, "admin", dated},
		{"metric edited after the end", 0, "", func() { admin.do("log_metric", object{"run": run1, "key": "auc", "value": 0.99}) }, []string{`@run1 run.edited_after_end metrics.auc: "0.7" -> "0.99"`}, "admin", func(rows []row) {
			undated(rows)
			lineage(rows[0])
			require.Equal(t, "swindle", rows[0].s("model_name"))
			require.Equal(t, "1", rows[0].s("model_version"))
		}},
		{"tag set after the end", 0, "", func() { admin.do("tag_run", object{"run": run1, "key": "reviewed", "value": "yes"}) }, []string{`@run1 run.edited_after_end tags.reviewed: "" -> "yes"`}, "admin", func(rows []row) {
			require.Equal(t, "reviewed", rows[0].s("tag_key"))
		}},
		{"tag deleted after the end", 0, "", func() { admin.do("untag_run", object{"run": run1, "key": "reviewed"}) }, []string{`@run1 run.edited_after_end tags.reviewed: "yes" -> ""`}, "admin", nil},
		{"param added after the end", 0, "", func() { admin.do("log_param", object{"run": run1, "key": "lr", "value": "0.1"}) }, []string{`@run1 run.edited_after_end params.lr: "" -> "0.1"`}, "admin", nil},
		{"dataset added after the end", 0, "", func() { admin.do("log_input", object{"run": run1, "name": "leaked", "digest": "d9"}) }, []string{`@run1 run.edited_after_end inputs: "customers@d1" -> "customers@d1, leaked@d9"`}, "admin", nil},
		{"end moved into the past", 0, "", func() { admin.do("end_run", object{"run": run1, "end_time": 1_700_000_000_000}) }, []string{`@run1 run.edited_after_end end_time: "@end1" -> "1700000000000"`}, "admin", nil},
		{"run reopened", 0, "", func() { admin.do("reopen_run", object{"run": run1}) }, []string{`@run1 run.edited_after_end status: "FINISHED" -> "RUNNING"`}, "admin", nil},
		{"metric with an older step", 0, "", func() { admin.do("log_metric", object{"run": run1, "key": "auc", "value": 0.1, "step": 0}) }, nil, "", nil},
		{"run deleted", 0, "", func() { admin.do("delete_run", object{"run": run1}) }, []string{"@run1 run.deleted"}, "admin", undated},
		{"run restored", 0, "", func() { admin.do("restore_run", object{"run": run1}) }, []string{`@run1 run.restored status: "deleted" -> "active"`}, "admin", undated},
		{"artifact overwritten", 0, "", func() {
			admin.do("log_artifact", object{"run": run1, "name": "model.pkl", "text": "\u0080\u0004cos\nsystem\n."})
		}, []string{`artifact.modified model/model.pkl digest`}, "", func(rows []row) {
			i := slices.IndexFunc(rows, func(r row) bool { return r.s("operation") == "artifact.modified" })
			require.Equal(t, []string{"os.system"}, rows[i].list("imports_added"))
			require.Equal(t, "weights", rows[i].s("asset_role"))
			require.Equal(t, "swindle", rows[i].s("model_name"))
			require.Equal(t, "1", rows[i].s("model_version"))
			require.Equal(t, run1, rows[i].s("run_id"))
			act := slices.IndexFunc(rows, func(r row) bool { return r.s("operation") == "artifact.uploaded" })
			require.Equal(t, rows[i].s("asset_id"), rows[act].s("asset_id"))
			require.Equal(t, "exact", rows[act].s("time_basis"))
			require.Equal(t, "swindle", rows[act].s("model_name"))
		}},
		{"artifact added", 0, "", func() { admin.do("log_artifact", object{"run": run1, "name": "extra.txt", "text": "x"}) }, []string{"artifact.created model/extra.txt"}, "", nil},
		{"artifact read", 0, "", func() { admin.do("read_artifact", object{"run": run1, "path": "model/extra.txt"}) }, nil, "", func(rows []row) {
			i := slices.IndexFunc(rows, ofAct)
			require.Equal(t, "artifact.read", rows[i].s("operation"))
			require.Equal(t, "model/extra.txt", rows[i].s("asset_name"))
			require.InDelta(t, 1, rows[i]["bytes_out"], 100)
		}},
		{"artifact deleted", 0, "", func() { admin.do("delete_artifact", object{"run": run1, "path": "model/extra.txt"}) }, []string{"artifact.deleted model/extra.txt"}, "", func(rows []row) {
			require.True(t, slices.ContainsFunc(rows, func(r row) bool {
				return r.s("operation") == "artifact.removed" && r.s("asset_name") == "model/extra.txt"
			}))
		}},
		{"run purged", 0, "real", func() { admin.do("purge_run", object{"database": on.database, "run": run2}) }, []string{"@run2 run.deleted"}, "", nil},
		{"logged model created", 3, "", func() {
			logged = admin.do("create_logged_model", object{"experiment": exp, "name": "net", "run": run1})
		}, []string{"@logged logged_model.created"}, "admin", func(rows []row) {
			require.Equal(t, run1, rows[0].s("run_id"))
			lineage(rows[0])
		}},
		{"logged model tag", 3, "", func() { admin.do("tag_logged_model", object{"model": logged, "key": "a", "value": "b"}) }, []string{`@logged logged_model.tag_set tags.a: "" -> "b"`}, "admin", undated},
		{"logged model finalized", 3, "", func() { admin.do("finalize_logged_model", object{"model": logged}) }, []string{`@logged logged_model.finalized status: "PENDING" -> "READY"`}, "admin", dated},
		{"logged model tag deleted", 3, "", func() { admin.do("untag_logged_model", object{"model": logged, "key": "a"}) }, []string{`@logged logged_model.tag_deleted tags.a: "b" -> ""`}, "admin", undated},
		{"logged model deleted", 3, "", func() { admin.do("delete_logged_model", object{"model": logged}) }, []string{"@logged logged_model.deleted"}, "admin", undated},
		{"account created", 3, "people", func() { admin.do("create_user", object{"user": "mallory", "password": "a-long-password"}) }, []string{"account.created mallory"}, "", nil},
		{"account admin", 3, "people", func() { admin.do("set_admin", object{"user": "mallory", "admin": true}) }, []string{`account.admin_changed mallory permission: "user" -> "admin"`}, "", func(rows []row) {
			require.Equal(t, "admin", rows[0].s("src_user"))
			require.Equal(t, "mallory", rows[0].s("user"))
		}},
		{"account deleted", 3, "people", func() { admin.do("delete_user", object{"user": "mallory"}) }, []string{"account.deleted mallory"}, "", nil},
		{"permission granted", 0, "people", func() {
			// A 2.x server lists no users: hers is found because she calls.
			admin.as("eve", secret).do("tag_run", object{"run": run1, "key": "by", "value": "eve"})
			w.poll()
			admin.do("grant", object{"user": "eve", "model": "swindle", "permission": "EDIT"})
		}, []string{`permission.granted swindle permission: "" -> "EDIT"`}, "", func(rows []row) {
			require.Equal(t, "admin", rows[0].s("src_user"))
			require.Equal(t, "eve", rows[0].s("user"))
			require.Equal(t, "EDIT", rows[0].s("grantee_permission"))
		}},
		{"permission changed", 0, "people", func() { admin.do("change_grant", object{"user": "eve", "model": "swindle", "permission": "MANAGE"}) }, []string{`permission.changed swindle permission: "EDIT" -> "MANAGE"`}, "", func(rows []row) {
			require.Equal(t, "MANAGE", rows[0].s("grantee_permission"))
		}},
		{"permission revoked", 0, "people", func() { admin.do("revoke", object{"user": "eve", "model": "swindle"}) }, []string{`permission.revoked swindle permission: "MANAGE" -> ""`}, "", nil},
	}
	for _, test := range tests {
		if test.only != 0 && test.only != on.major || test.where == "people" && !people || test.where == "real" && on.database == "" {
			continue
		}
		marks := strings.NewReplacer("@source2", w.last("version.created fraud 2").s("source_uri"), "@end1", endOf(append(slices.Clone(first), w.all...), run1))
		test.do()
		rows := slices.DeleteFunc(w.poll(), func(r row) bool {
			return automatic(r) || r.s("user_agent") == "aiwatch" // our own fetching, where it is nobody's
		})
		var want, got []string
		for _, what := range test.want {
			for mark, id := range map[string]string{"@run1": run1, "@run2": run2, "@logged": logged} {
				if rest, ok := strings.CutPrefix(what, mark+" "); ok {
					operation, field, _ := strings.Cut(rest, " ")
					what = strings.TrimSpace(operation + " " + id + " " + field)
				}
			}
			if what != "artifact" {
				want = append(want, marks.Replace(what))
			}
		}
		for _, what := range whats(rows) {
			switch {
			case strings.HasPrefix(what, "artifact.modified model/model.pkl digest"):
				what = "artifact.modified model/model.pkl digest"
			case strings.HasPrefix(what, "inventory") && slices.Contains(test.want, "artifact"):
				continue // the artifacts of a run that becomes watched
			}
			got = append(got, what)
		}
		slices.Sort(want)
		require.Equal(t, want, got, test.name)
		slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.what(), b.what()) })
		if test.actor != "" && people {
			for _, r := range rows {
				require.Equal(t, test.actor, r.s("user"), "%s: %s", test.name, r.what())
			}
		}
		if test.check != nil {
			test.check(rows)
		}
	}
}

// last is the newest event that is so; empty when none is.
func (w *watch) last(what string) row {
	for _, r := range slices.Backward(w.all) {
		if r.what() == what {
			return r
		}
	}
	return row{}
}

// endOf is when a run ended, as the server writes it.
func endOf(rows []row, run string) string {
	for _, r := range rows {
		if seconds, ok := r["run_end"].(float64); ok && r.s("run_id") == run {
			return fmt.Sprint(int64(seconds*1000 + 0.5))
		}
	}
	return ""
}
