package mlflow_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/collectors/identity"
	"aiwatch/collectors/mlflow"
	"aiwatch/internal/mlflowsim"
)

// TestTwoPeopleTwoAliases: two aliases of two models are set by two people
// between two sweeps. Either could have been either; nobody is named.
func TestTwoPeopleTwoAliases(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
	s.AddUser("alice", false)
	s.AddUser("bob", false)
	admin := s.rest(t)
	for _, m := range []string{"one", "two"} {
		admin.post("registered-models/create", object{"name": m})
		admin.post("model-versions/create", object{"name": m, "source": "s3://x/y"})
	}
	s.clock.skip(time.Minute)
	cfg := s.config()
	cfg.AccessLog, cfg.Trusted = s.log, true
	w := newWatch(t, cfg)
	w.poll()
	set := func(user, model string) {
		s.clock.skip(10 * time.Second)
		admin.as(user, "x").post("registered-models/alias", object{"name": model, "alias": "champion", "version": "1"})
	}
	set("alice", "one")
	set("bob", "two")
	s.clock.skip(10 * time.Second)
	rows := w.poll()
	require.Len(t, rows, 2)
	for _, r := range rows {
		require.Empty(t, r.s("user"), r.what())
		require.Equal(t, []string{"alice", "bob"}, r.list("user_candidates"))
	}

	// One by one each is named, and a call that was named explains nothing else.
	admin.post("model-versions/create", object{"name": "one", "source": "s3://x/y"})
	w.poll()
	s.clock.skip(10 * time.Second)
	admin.as("bob", "x").post("registered-models/alias", object{"name": "one", "alias": "champion", "version": "2"})
	rows = w.poll()
	require.Len(t, rows, 1)
	require.Equal(t, "bob", rows[0].s("user"))
	require.Equal(t, "authenticated", rows[0].s("user_confidence"))
	require.Equal(t, "10.0.0.7", rows[0].s("src"))

	// A refused call alone is no change, and a call that nobody logged is nobody's.
	s.write(t, fmt.Sprintf("10.0.0.7 - bob [%s] \"POST /api/2.0/mlflow/registered-models/rename HTTP/1.1\" 403 9 \"-\" \"x\"\n", s.clock.now().Format("02/Jan/2006:15:04:05 -0700")))
	require.Empty(t, w.poll())
}

// TestManyActsOfOnePerson: as many calls as changes, all by one person, leave no
// doubt about who, though any call may be any change's. Where somebody else had a
// hand in it, or a call has no effect to show, there are candidates.
func TestManyActsOfOnePerson(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true, Bulk: mlflowsim.Bulk{Models: 20, Versions: 100, At: 1_700_000_000_000}})
	s.AddUser("eve", true)
	s.AddUser("bob", true)
	cfg := s.config()
	cfg.AccessLog, cfg.Trusted = s.log, true
	w := newWatch(t, cfg)
	w.poll()
	hands := func(name string) restHands { return restHands{s.rest(t).as(name, "x"), 3, s.clock.now} }
	remove := func(name string, model int) {
		s.clock.skip(time.Second)
		hands(name).do("delete_version", object{"name": fmt.Sprintf("model-%06d", model), "version": "1"})
	}
	for i := range 10 {
		remove("eve", i)
	}
	rows := w.poll()
	require.Len(t, rows, 10)
	for _, r := range rows {
		require.Equal(t, "eve", r.s("user"), r.what())
		require.Equal(t, "authenticated", r.s("user_confidence"))
		require.Empty(t, r.s("raw_ref"), "which of the lines is not known")
	}
	remove("eve", 11)
	remove("bob", 12)
	for _, r := range w.poll() {
		require.Empty(t, r.s("user"), r.what())
		require.Equal(t, []string{"bob", "eve"}, r.list("user_candidates"))
	}
	// There and back, and one change that no line tells of.
	for _, version := range []string{"2", "5"} {
		hands("eve").do("set_alias", object{"name": "model-000013", "alias": "champion", "version": version})
	}
	unlogged := s.rest(t)
	s.quiet = true
	unlogged.post("registered-models/alias", object{"name": "model-000014", "alias": "champion", "version": "1"})
	s.quiet = false
	rows = w.poll()
	require.Equal(t, []string{`alias.set model-000014 1 alias.champion: "5" -> "1"`}, whats(rows))
	require.Empty(t, rows[0].s("user"))
	require.Equal(t, []string{"eve"}, rows[0].list("user_candidates"))
}

// TestSelfGrantIsNotMasked: the MANAGE that the server gives with each creation
// is nobody's grant, so that creating something hides no grant to oneself.
func TestSelfGrantIsNotMasked(t *testing.T) {
	for _, version := range []string{"2.22.5", "3.17.2"} {
		t.Run(version, func(t *testing.T) {
			s := newStandIn(t, mlflowsim.Options{Version: version, BasicAuth: true})
			s.AddUser("eve", true)
			hands := func(name string) restHands {
				return restHands{s.rest(t).as(name, "x"), int(version[0] - '0'), s.clock.now}
			}
			hands("admin").do("create_model", object{"name": "fraud"})
			s.clock.skip(time.Hour)
			cfg := s.config()
			cfg.AccessLog, cfg.Trusted = s.log, true
			w := newWatch(t, cfg)
			w.poll()
			hands("eve").do("create_experiment", object{"name": "known"}) // a 2.x server shows her from now on
			s.clock.skip(time.Hour)
			first := slices.DeleteFunc(w.poll(), func(r row) bool { return r.s("asset_type") != "permission" })
			if version[0] == '2' {
				for _, r := range first {
					require.Equal(t, "inventory", r.s("operation"), "nobody knows since when: %s", r.what())
				}
				require.Equal(t, []string{"inventory eve", "inventory known"}, whats(first))
			}
			s.clock.skip(time.Hour)
			w.poll()
			hands("eve").do("create_model", object{"name": "decoy"})
			exp := hands("eve").do("create_experiment", object{"name": "decoy"})
			hands("eve").do("grant", object{"user": "eve", "model": "fraud", "permission": "MANAGE"})
			s.clock.skip(time.Minute)
			grants := map[string]string{}
			for _, r := range w.poll() {
				if r.s("operation") == "permission.granted" {
					require.Equal(t, "eve", r.s("user"))
					grants[r.s("asset_id")] = r.s("src_user")
				}
			}
			require.Equal(t, map[string]string{"mlflow:prod/models/fraud": "eve", "mlflow:prod/models/decoy": "", "mlflow:prod/experiments/" + exp: ""}, grants)
		})
	}
}

// TestNamesAreClaimedUnlessTrusted: a log is a file that someone can write.
func TestNamesAreClaimedUnlessTrusted(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
	cfg := s.config()
	cfg.AccessLog = s.log
	var err error
	cfg.Identity, err = identity.New(nil, []identity.Rule{
		{Name: "ci", Match: "^ci-bot$", UserType: "service", Confidence: "authenticated"},
		{Name: "kiosk", Match: "^kiosk$", Confidence: "unknown"},
		{Name: "people", Match: "^(?P<user>[a-z]+)@corp$", UserType: "user"},
	})
	require.NoError(t, err)
	confidence := func(name string, trusted bool) (user, id, kind, sure string) {
		s.AddUser(name, true)
		cfg.Trusted = trusted
		w := newWatch(t, cfg)
		w.poll()
		s.clock.skip(time.Minute)
		s.rest(t).as(name, "x").post("registered-models/create", object{"name": fmt.Sprint("by ", name, trusted)})
		for _, r := range w.poll() {
			if r.s("operation") == "model.created" {
				return r.s("user"), r.s("user_id"), r.s("user_type"), r.s("user_confidence")
			}
		}
		t.Fatal("not told")
		return
	}
	for _, c := range []struct {
		name                 string
		trusted              bool
		user, kind, expected string
	}{
		{"ann@corp", false, "ann", "user", "claimed"},
		{"ann@corp", true, "ann", "user", "authenticated"},
		{"ci-bot", false, "ci-bot", "service", "authenticated"}, // the operator says so
		{"kiosk", true, "kiosk", "", "unknown"},                 // many people use it
	} {
		user, id, kind, sure := confidence(c.name, c.trusted)
		require.Equal(t, []string{c.user, c.name, c.kind, c.expected}, []string{user, id, kind, sure}, c.name)
	}

	// No rule makes what a run's client says more than a claim.
	w := newWatch(t, cfg)
	w.poll()
	s.rest(t).post("runs/create", object{"experiment_id": "0", "user_id": "ci-bot", "start_time": s.clock.now().UnixMilli()})
	cfg.AccessLog = ""
	for _, r := range w.poll() {
		if r.s("operation") == "run.created" {
			require.Equal(t, "ci-bot", r.s("trained_by"))
			require.Equal(t, "claimed", r.s("trained_by_confidence"))
		}
	}
}

// TestBehindAProxy: the address of an act is the client's where the proxy in
// front is believed, and the proxy's where it is not.
func TestBehindAProxy(t *testing.T) {
	for _, c := range []struct {
		believed string
		want     string
	}{{"10.0.0.0/24", "192.0.2.7"}, {"10.9.9.0/24", "10.0.0.5"}} {
		s := newStandIn(t, mlflowsim.Options{})
		cfg := s.config()
		cfg.AccessLog, cfg.Trusted, cfg.TrustedProxies = s.log+".proxy", true, []netip.Prefix{netip.MustParsePrefix(c.believed)}
		require.NoError(t, os.WriteFile(cfg.AccessLog, nil, 0o600))
		w := newWatch(t, cfg)
		w.poll()
		s.rest(t).post("registered-models/create", object{"name": "m"})
		stamp := s.clock.now().Format("02/Jan/2006:15:04:05 -0700")
		var lines string
		for _, request := range []string{"POST /api/2.0/mlflow/registered-models/create", "GET /get-artifact?path=model.pkl&run_uuid=" + strings.Repeat("a", 32)} {
			lines += fmt.Sprintf("10.0.0.5 - eve [%s] \"%s HTTP/1.1\" 200 9 \"-\" \"python\" \"203.0.113.9, 192.0.2.7\"\n", stamp, request)
		}
		require.NoError(t, os.WriteFile(cfg.AccessLog, []byte(lines), 0o600))
		rows := w.poll()
		require.Equal(t, []string{"artifact.read", "model.created"}, []string{rows[0].s("operation"), rows[1].s("operation")})
		for _, r := range rows[:2] {
			require.Equal(t, c.want, r.s("src"), r.what())
			require.Equal(t, "eve", r.s("user"))
		}
	}
}

// TestEmptiedRegistry: a registry that is empty, then half back, then whole.
// The state is the same as after a kill at any time, since nothing else is kept.
func TestEmptiedRegistry(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{Bulk: mlflowsim.Bulk{Models: 6, Versions: 12, At: 1_700_000_000_000}})
	cfg := s.config()
	cfg.Username, cfg.Password = "", ""
	w := newWatch(t, cfg)
	require.Len(t, w.poll(), 6+12+1, "models, versions and the default experiment")
	restart := func() {
		var err error
		w.out.Discard()
		w.collector, err = mlflow.New(func() mlflow.Config { c := cfg; c.Name, c.Instance = "test", "prod"; return c }())
		require.NoError(t, err)
	}
	s.Hide(0)
	require.Equal(t, []string{`registry.emptied aiwatch_mlflow://test`}, trimmed(w.poll()))
	restart()
	require.Empty(t, w.poll(), "told once")
	s.Hide(3)
	restart()
	require.Equal(t, []string{
		`alias.deleted model-000003 2 alias.champion: "2" -> ""`, `alias.deleted model-000004 2 alias.champion: "2" -> ""`,
		`alias.deleted model-000005 2 alias.champion: "2" -> ""`,
		"model.deleted model-000003", "model.deleted model-000004", "model.deleted model-000005",
		"version.deleted model-000003 1", "version.deleted model-000003 2", "version.deleted model-000004 1",
		"version.deleted model-000004 2", "version.deleted model-000005 1", "version.deleted model-000005 2",
	}, whats(w.poll()))
	require.Empty(t, w.poll())
	// Emptied once more it is told once more, with another id.
	first := w.last(`registry.emptied aiwatch_mlflow://test`)
	s.Hide(0)
	rows := w.poll()
	require.Equal(t, []string{`registry.emptied aiwatch_mlflow://test`}, trimmed(rows))
	require.NotEqual(t, first.s("event_id"), rows[0].s("event_id"))
	require.Equal(t, "3", rows[0].s("old_value"))
}

func trimmed(rows []row) []string {
	var list []string
	for _, r := range rows {
		list = append(list, r.s("operation")+" "+r.s("asset_name"))
	}
	return list
}

// TestFaults: whatever a server answers, nothing is believed to be deleted, and
// the next good sweep tells nothing.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request){
		"restart": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		"web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>log in</html>")
		},
		"html 404": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); _, _ = io.WriteString(w, "<html>") },
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"registered_models": [{"name": "model-0000`)
		},
		"token expired": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401); _, _ = io.WriteString(w, "expired") },
		"long wait": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(503)
		},
		"internal error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, `{"error_code":"INTERNAL_ERROR"}`)
		},
		"repeated page": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"registered_models": [{"name": "model-000000","creation_timestamp":1700000000000,"last_updated_timestamp":1700000000000,"aliases":[{"alias":"champion","version":"2"}]}], "next_page_token": "same"}`)
		},
		"other host": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.2:1/steal")
			w.WriteHeader(302)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandIn(t, mlflowsim.Options{Bulk: mlflowsim.Bulk{Models: 6, Versions: 12, At: 1_700_000_000_000}})
			cfg := s.config()
			cfg.Username, cfg.Password = "", ""
			w := newWatch(t, cfg)
			w.poll()
			var broken atomic.Bool
			broken.Store(true)
			s.fault = func(rw http.ResponseWriter, r *http.Request) bool {
				if broken.Load() && strings.HasSuffix(r.URL.Path, "registered-models/search") {
					fault(rw, r)
					return true
				}
				return false
			}
			w.events = nil
			err := w.collector.Poll(t.Context(), w.out)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "\n")
			require.Empty(t, w.events)
			broken.Store(false)
			require.Empty(t, w.poll())
		})
	}
}

// TestBusyServer: 429 and 503 are waited for as the server asks.
func TestBusyServer(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	refused := 0
	s.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		if refused++; refused%2 == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader([]int{429, 503}[refused/2%2])
			return true
		}
		return false
	}
	w := newWatch(t, mlflow.Config{URL: s.url, Interval: 1, FastInterval: 1, Now: s.clock.now})
	require.NotEmpty(t, w.poll())
}

// TestPassedOver: a paging by offset that passes over an object while others are
// deleted makes no deletion of it, and a version that is passed over while an
// alias is set to it is told all the same.
func TestPassedOver(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{Bulk: mlflowsim.Bulk{Models: 6, Versions: 12, At: 1_700_000_000_000}})
	cfg := s.config()
	cfg.Username = ""
	w := newWatch(t, cfg)
	w.poll()
	c := s.rest(t)
	c.user = ""
	var without func(element object) bool
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/search") || without == nil {
			return false
		}
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, r)
		var page map[string]any
		if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return true
		}
		for _, list := range []string{"registered_models", "model_versions"} {
			elements, _ := page[list].([]any)
			page[list] = slices.DeleteFunc(elements, func(e any) bool { return without(e.(object)) })
		}
		_ = json.NewEncoder(w).Encode(page)
		return true
	}
	without = func(e object) bool { return e["name"] == "model-000003" }
	require.Empty(t, w.poll())
	without = func(e object) bool { return e["name"] == "model-000003" && e["version"] != nil }
	c.post("model-versions/create", object{"name": "model-000003", "source": "s3://x/y"})
	c.post("registered-models/alias", object{"name": "model-000003", "alias": "champion", "version": "3"})
	want := []string{`alias.set model-000003 3 alias.champion: "2" -> "3"`, "version.created model-000003 3"}
	require.Equal(t, want, whats(w.poll()))
	require.Equal(t, "s3://x/y", w.last(want[0]).s("source_uri"))
	without = nil
	require.Empty(t, w.poll())
}

// TestHidden: what is refused is hidden, not deleted, and is told once.
func TestHidden(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{Bulk: mlflowsim.Bulk{Models: 3, Versions: 3, At: 1_700_000_000_000}})
	w := newWatch(t, func() mlflow.Config { c := s.config(); c.Username, c.Password = "", ""; return c }())
	w.poll()
	s.Hide(2)
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "registered-models/get") {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return true
		}
		return false
	}
	require.Equal(t, []string{"registry.hidden aiwatch_mlflow://test"}, trimmed(w.poll()))
	require.Empty(t, w.poll())
	require.Contains(t, fmt.Sprint(w.collector.Report().Coverage), "hidden")
	s.fault = nil
	s.Hide(-1)
	require.Empty(t, w.poll(), "it is back and nothing happened to it")
}

// killed is an output that ends the process at a checkpoint.
type killed struct {
	*collectors.Memory
	left int
}

var errKilled = fmt.Errorf("killed")

func (k *killed) Checkpoint() error {
	if k.left--; k.left < 0 {
		return errKilled
	}
	return k.Memory.Checkpoint()
}
func (k *killed) Flush() error { return k.Checkpoint() }

// TestKilledAtEveryCheckpoint: killed at any checkpoint and started again, the
// events are the same, with the same ids.
func TestKilledAtEveryCheckpoint(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true, Bulk: mlflowsim.Bulk{Models: 40, Versions: 400, Runs: 50, At: 1_700_000_000_000}})
	admin := s.rest(t)
	cfg := s.config()
	cfg.Name, cfg.Instance, cfg.AccessLog, cfg.Trusted = "test", "prod", s.log, true
	frozen := s.clock.now()
	cfg.Now = func() time.Time { return frozen }
	ids := func(out *collectors.Memory, got map[string]int) {
		out.Deliver = func(envelope []byte) error {
			i := strings.Index(string(envelope), `"event_id":"`)
			got[string(envelope[i+12:i+44])]++
			return nil
		}
	}
	act := func() {
		for i := range 30 {
			name := fmt.Sprintf("model-%06d", i)
			admin.post("registered-models/set-tag", object{"name": name, "key": "k", "value": "v"})
			admin.post("registered-models/alias", object{"name": name, "alias": "champion", "version": "3"})
			admin.call("DELETE", "model-versions/delete", object{"name": name, "version": "5"})
		}
	}
	play := func(out *collectors.Memory, every int) map[string]int {
		got := map[string]int{}
		ids(out, got)
		for range 100 {
			c, err := mlflow.New(cfg)
			require.NoError(t, err)
			k := &killed{out, every}
			err = c.Poll(t.Context(), k)
			if err == nil {
				return got
			}
			require.ErrorIs(t, err, errKilled)
			out.Discard()
		}
		t.Fatal("never ended")
		return nil
	}
	base := &collectors.Memory{}
	inventory := play(base, 1_000_000)
	for every := 3; every < 8; every++ {
		require.Equal(t, inventory, play(&collectors.Memory{}, every), "killed after %d checkpoints", every)
	}
	state, seq := base.Snapshot()
	s.clock.skip(time.Minute)
	act()
	frozen = s.clock.now()
	want := play(base, 1_000_000)
	require.Len(t, want, 90)
	for every := 3; every < 6; every++ {
		again := &collectors.Memory{}
		again.Restore(state, seq)
		require.Equal(t, want, play(again, every), "killed after %d checkpoints", every)
	}
}

// TestFastLane: what the fast lane tells is not told by the sweep again.
func TestFastLane(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{Bulk: mlflowsim.Bulk{Models: 300, Versions: 900, At: 1_700_000_000_000}})
	w := newWatch(t, mlflow.Config{URL: s.url, Interval: time.Hour, FastInterval: 30 * time.Second, Now: s.clock.now})
	w.poll()
	admin := s.rest(t)
	admin.user = ""
	before := s.Requests()
	s.clock.skip(30 * time.Second)
	require.Empty(t, w.poll())
	require.LessOrEqual(t, s.Requests()-before, 10, "a quiet look")

	admin.post("model-versions/create", object{"name": "model-000007", "source": "s3://evil"})
	admin.call("DELETE", "model-versions/delete", object{"name": "model-000008", "version": "1"})
	admin.post("registered-models/rename", object{"name": "model-000009", "new_name": "other"})
	s.clock.skip(30 * time.Second)
	require.Equal(t, []string{`model.renamed other name: "model-000009" -> "other"`, "version.created model-000007 4", "version.deleted model-000008 1"}, whats(w.poll()))
	// An alias and a deleted model bump nothing: the sweep sees them.
	admin.post("registered-models/alias", object{"name": "model-000100", "alias": "champion", "version": "2"})
	admin.call("DELETE", "registered-models/delete", object{"name": "model-000010"})
	s.clock.skip(30 * time.Second)
	told := w.poll()
	s.clock.skip(time.Hour)
	require.Equal(t, []string{
		`alias.deleted model-000010 3 alias.champion: "3" -> ""`, `alias.set model-000100 2 alias.champion: "3" -> "2"`,
		"model.deleted model-000010", "version.deleted model-000010 1", "version.deleted model-000010 2", "version.deleted model-000010 3",
	}, whats(append(told, w.poll()...)))
}

// TestLineageOfTheYoungest: a version whose run is as new as its experiment has
// its lineage in the fast lane, even where the experiment is younger than our
// look at experiments.
func TestLineageOfTheYoungest(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	w := newWatch(t, mlflow.Config{URL: s.url, Interval: time.Hour, FastInterval: 30 * time.Second, Now: s.clock.now})
	admin := s.rest(t)
	admin.user = ""
	admin.post("registered-models/create", object{"name": "m"})
	w.poll()
	hands := restHands{admin, 3, s.clock.now}
	young := hands.do("create_experiment", object{"name": "young"})
	register := func(experiment string) {
		run := hands.do("train", object{"experiment": experiment, "auc": 0.5, "digest": "d", "weights": "w", "tags": object{"mlflow.source.git.commit": "c0ffee"}})
		hands.do("register", object{"name": "m", "run": run})
	}
	register(young)
	made := false
	s.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "model-versions/search") && !made {
			made = true
			s.fault = nil
			register(hands.do("create_experiment", object{"name": "younger"}))
		}
		return false
	}
	s.clock.skip(30 * time.Second)
	seen := 0
	for _, r := range w.poll() {
		if r.s("operation") == "version.created" {
			seen++
			require.Equal(t, "c0ffee", r.s("git_commit"), r.what())
			require.Equal(t, false, r["source_outside"], r.what())
		}
	}
	require.Equal(t, 2, seen)
}

// TestWebhook: a signed webhook makes a model be read again at once; whatever
// else comes changes nothing.
func TestWebhook(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	admin := s.rest(t)
	admin.user = ""
	admin.post("registered-models/create", object{"name": "m"})
	admin.post("model-versions/create", object{"name": "m", "source": "s3://x"})
	s.clock.skip(time.Second)
	w := newWatch(t, mlflow.Config{URL: s.url, Interval: time.Hour, FastInterval: time.Second, Now: s.clock.now, Listen: "127.0.0.1:0", WebhookSecret: "secret"})
	w.poll()
	receiver := w.collector.Webhooks()
	deliver := func(id string, at time.Time, secret, body string) int {
		stamp := fmt.Sprint(at.Unix())
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = io.WriteString(mac, id+"."+stamp+"."+body)
		req := httptest.NewRequest("POST", "/", strings.NewReader(body))
		req.Header.Set("X-MLflow-Delivery-Id", id)
		req.Header.Set("X-MLflow-Timestamp", stamp)
		req.Header.Set("X-MLflow-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		answer := httptest.NewRecorder()
		receiver.ServeHTTP(answer, req)
		return answer.Code
	}
	notified := func() bool {
		select {
		case <-w.collector.Notify():
			return true
		default:
			return false
		}
	}
	body := `{"entity":"model_version_alias","action":"created","data":{"name":"m","alias":"champ","version":"1"}}`
	now := s.clock.now()
	require.Equal(t, 401, deliver("1", now, "guess", body))
	require.Equal(t, 401, deliver("1", now.Add(-6*time.Minute), "secret", body))
	require.Equal(t, 401, deliver("1", now.Add(6*time.Minute), "secret", body))
	require.False(t, notified())
	require.Equal(t, 200, deliver("1", now, "secret", body))
	require.True(t, notified())
	require.Empty(t, w.poll(), "the server does not confirm it")
	require.Equal(t, 200, deliver("1", now, "secret", body))
	require.False(t, notified(), "the same delivery again")
	admin.post("registered-models/alias", object{"name": "m", "alias": "champ", "version": "1"})
	require.Equal(t, 200, deliver("2", now, "secret", body))
	require.Equal(t, 200, deliver("3", now, "secret", body))
	require.Equal(t, []string{`alias.set m 1 alias.champ: "" -> "1"`}, whats(w.poll()))
	require.Equal(t, 413, deliver("4", now, "secret", strings.Repeat("x", 2<<20)))
}

// TestArtifacts: an overwrite through the proxy shows in no field; the digest and
// the access log tell it.
func TestArtifacts(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
	s.AddUser("eve", false)
	admin := s.rest(t)
	run := dig(admin.post("runs/create", object{"experiment_id": "0", "user_id": "alice", "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
	key := "0/" + run + "/artifacts/model/"
	s.Put(key+"model.pkl", []byte("\x80\x04N."), 0)
	s.Put(key+"MLmodel", []byte("flavors: {}\n"), 0)
	admin.post("registered-models/create", object{"name": "m"})
	admin.post("model-versions/create", object{"name": "m", "source": "mlflow-artifacts:/0/" + run + "/artifacts/model", "run_id": run})
	s.clock.skip(time.Second)
	cfg := s.config()
	cfg.AccessLog, cfg.Trusted = s.log, true
	w := newWatch(t, cfg)
	require.Contains(t, strings.Join(whats(w.poll()), "\n"), "inventory model/model.pkl")
	require.Empty(t, w.poll())

	proxy := "/api/2.0/mlflow-artifacts/artifacts/" + key
	admin.as("eve", "x").call("PUT", proxy+"model.pkl", "\x80\x04cos\nsystem\n.")
	s.clock.skip(time.Second)
	rows := w.poll()
	require.Len(t, rows, 2)
	up, mod := rows[0], rows[1]
	require.Equal(t, "artifact.uploaded", up.s("operation"))
	require.Equal(t, "eve", up.s("user"))
	require.Equal(t, "m", up.s("model_name"))
	require.Equal(t, "mlflow:prod/runs/"+run+"/artifacts/model/model.pkl", up.s("asset_id"))
	require.Equal(t, up.s("asset_id"), mod.s("asset_id"))
	require.Equal(t, "artifact.modified", mod.s("operation"))
	require.Equal(t, "digest", mod.s("change_field"))
	require.Contains(t, mod.list("imports_added"), "os.system")
	require.Equal(t, "dangerous", mod.s("verdict"))
	require.Equal(t, "m", mod.s("model_name"))

	admin.as("eve", "x").call("DELETE", proxy+"MLmodel", nil)
	admin.as("eve", "x").try("GET", proxy+"model.pkl", nil)
	s.clock.skip(time.Second)
	var told []string
	for _, r := range w.poll() {
		told = append(told, r.s("operation")+" "+r.s("asset_name"))
	}
	require.Equal(t, []string{"artifact.removed model/MLmodel", "artifact.read model/model.pkl", "artifact.deleted model/MLmodel"}, told)
}

// registered makes n models with a version each, whose runs hold the files.
func (s *standIn) registered(t *testing.T, n int, files map[string]int64) (runs []string) {
	t.Helper()
	c := s.rest(t)
	for i := range n {
		run := dig(c.post("runs/create", object{"experiment_id": "0", "user_id": "alice", "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
		for name, size := range files {
			s.Put("0/"+run+"/artifacts/model/"+name, nil, size)
		}
		c.post("runs/update", object{"run_id": run, "status": "FINISHED", "end_time": s.clock.now().UnixMilli()})
		name := fmt.Sprintf("m%03d", i)
		c.post("registered-models/create", object{"name": name})
		c.post("model-versions/create", object{"name": name, "source": "mlflow-artifacts:/0/" + run + "/artifacts/model", "run_id": run})
		runs = append(runs, run)
	}
	s.clock.skip(time.Second)
	return runs
}

// TestHashBudget: the bytes of a day go to small files and to weights behind
// aliases before others, what is over them waits and is said to, and what was
// hashed is hashed again at an even pace.
func TestHashBudget(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	s.clock.at = time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)
	runs := s.registered(t, 3, map[string]int64{"weights.safetensors": 4 << 20, "config.json": 1 << 10})
	s.rest(t).post("registered-models/alias", object{"name": "m002", "alias": "champion", "version": "1"})
	var fetched []string
	s.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/get-artifact" {
			fetched = append(fetched, fmt.Sprint(slices.Index(runs, r.URL.Query().Get("run_uuid")), " ", path.Base(r.URL.Query().Get("path"))))
		}
		return false
	}
	cfg := s.config()
	cfg.Username, cfg.HashBudget = "", 10<<20
	w := newWatch(t, cfg)
	look := func() []string {
		fetched = nil
		w.poll()
		slices.Sort(fetched)
		return fetched
	}
	// Half of ten MiB is for small files and the champion's weights alone, so that
	// of the others' weights none is read beside them.
	require.Equal(t, []string{"0 config.json", "1 config.json", "2 config.json", "2 weights.safetensors"}, look())
	require.Contains(t, fmt.Sprint(w.collector.Report().Coverage), "wait to be hashed, for hash_budget")
	require.Empty(t, look(), "at one in the morning a day's pace is used up")
	// The next day has its own bytes; what waited comes before what is known.
	s.clock.at = time.Date(2026, 3, 3, 0, 10, 0, 0, time.UTC)
	require.Contains(t, look(), "0 weights.safetensors")
	s.clock.at = time.Date(2026, 3, 3, 23, 0, 0, 0, time.UTC)
	require.Contains(t, look(), "2 weights.safetensors", "by the evening all may be read again")
}

// TestArtifactRotation: under a small budget of requests all are looked at in
// turn, those behind aliases more often, and the operator is told how often.
func TestArtifactRotation(t *testing.T) {
	for _, version := range []string{"2.22.5", "3.17.2"} {
		t.Run(version, func(t *testing.T) {
			s := newStandIn(t, mlflowsim.Options{Version: version, BasicAuth: true})
			runs := s.registered(t, 30, map[string]int64{"config.json": 100})
			s.rest(t).post("registered-models/alias", object{"name": "m007", "alias": "champion", "version": "1"})
			looked := map[string]int{}
			s.fault = func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "artifacts/list") && r.URL.Query().Get("path") == "" {
					looked[r.URL.Query().Get("run_id")]++
				}
				return false
			}
			cfg := s.config()
			cfg.RequestsPerSweep, cfg.Artifacts = 20, mlflow.ArtifactsList
			w := newWatch(t, cfg)
			const sweeps = 12
			for range sweeps {
				w.poll()
			}
			require.Len(t, looked, len(runs), "none is forgotten")
			require.Equal(t, sweeps, looked[runs[7]], "the champion's are looked at each time")
			report := w.collector.Report()
			require.Contains(t, fmt.Sprint(report.Notes), "artifacts behind versions are listed again every")
			require.NotContains(t, fmt.Sprint(report.Coverage), "than requests_per_sweep", "permissions come before artifacts")
		})
	}
}

// TestStateFollowsWhatExists: what is gone is forgotten, with its artifacts and
// its run, and what is left is not.
func TestStateFollowsWhatExists(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	runs := s.registered(t, 3, map[string]int64{"config.json": 100})
	c := s.rest(t)
	c.user = ""
	// Two versions of two models stand on the first run.
	c.post("model-versions/create", object{"name": "m001", "source": "mlflow-artifacts:/0/" + runs[0] + "/artifacts/model", "run_id": runs[0]})
	s.clock.skip(time.Second)
	cfg := s.config()
	cfg.Username = ""
	w := newWatch(t, cfg)
	w.poll()
	kept := func() map[string]int {
		state, _ := w.out.Snapshot()
		count := map[string]int{}
		for key := range state {
			kind, _, _ := strings.Cut(key, "/")
			count[kind]++
		}
		return map[string]int{"models": count["m"], "versions": count["v"], "runs": count["r"], "owners": count["o"], "artifacts": count["a"], "marks": count["w"]}
	}
	require.Equal(t, map[string]int{"models": 3, "versions": 4, "runs": 3, "owners": 3, "artifacts": 3, "marks": 0}, kept())
	c.call("DELETE", "registered-models/delete", object{"name": "m000"})
	c.post("registered-models/rename", object{"name": "m001", "new_name": "other"})
	c.call("DELETE", "model-versions/delete", object{"name": "m002", "version": "1"})
	w.poll()
	require.Equal(t, map[string]int{"models": 2, "versions": 2, "runs": 2, "owners": 2, "artifacts": 2, "marks": 0}, kept())
	require.Empty(t, w.poll())
	// The same where all has to be looked at, because nothing was marked.
	forgetMarks := func() {
		state, _ := w.out.Snapshot()
		area := strings.Replace(string(state["area/"]), `"owned":true`, `"owned":false`, 1)
		require.Contains(t, area, `"owned":false`)
		w.out.Put("area/", []byte(area))
	}
	forgetMarks()
	c.post("registered-models/create", object{"name": "short"})
	c.post("model-versions/create", object{"name": "short", "source": "mlflow-artifacts:/0/" + runs[2] + "/artifacts/model", "run_id": runs[2]})
	w.poll()
	forgetMarks()
	c.call("DELETE", "registered-models/delete", object{"name": "short"})
	w.poll()
	require.Equal(t, map[string]int{"models": 2, "versions": 2, "runs": 2, "owners": 2, "artifacts": 2, "marks": 0}, kept())
	c.post("runs/log-metric", object{"run_id": runs[0], "key": "auc", "value": 0.1, "timestamp": 1, "step": 1})
	rows := w.poll()
	require.Len(t, rows, 1)
	require.Equal(t, []string{"other", "2"}, []string{rows[0].s("model_name"), rows[0].s("model_version")})
}

// TestManyUsers: users of whom a 2.x server must be asked one by one and that are
// more than the budget allows are said to be unwatched, and stop nothing.
func TestManyUsers(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{Version: "2.22.5", BasicAuth: true})
	s.registered(t, 1, nil)
	cfg := s.config()
	cfg.RequestsPerSweep, cfg.AccessLog = 3, s.log
	w := newWatch(t, cfg)
	w.poll()
	stamp := s.clock.now().Format("02/Jan/2006:15:04:05 -0700")
	for i := range 20 {
		s.write(t, fmt.Sprintf("10.0.0.7 - user%d [%s] \"POST /api/2.0/mlflow/runs/set-tag HTTP/1.1\" 200 9 \"-\" \"x\"\n", i, stamp))
	}
	require.Empty(t, whats(w.poll()))
	require.Contains(t, fmt.Sprint(w.collector.Report().Coverage), "permissions: the known users are more than requests_per_sweep")
}

// TestNothingForeignIsFetched: artifacts of a run whose experiment keeps them
// elsewhere are the writer's to name, and are left alone.
func TestNothingForeignIsFetched(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	admin := s.rest(t)
	admin.user = ""
	exp := dig(admin.post("experiments/create", object{"name": "e", "artifact_location": "s3://evil/here"}), "experiment_id")
	run := dig(admin.post("runs/create", object{"experiment_id": exp, "start_time": s.clock.now().UnixMilli()}), "run", "info", "run_id")
	admin.post("registered-models/create", object{"name": "m"})
	admin.post("model-versions/create", object{"name": "m", "source": "s3://evil/here/" + run + "/artifacts/model", "run_id": run})
	s.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		require.NotContains(t, r.URL.Path, "artifact")
		return false
	}
	w := newWatch(t, mlflow.Config{URL: s.url, Interval: 1, FastInterval: 1, Now: s.clock.now})
	w.poll()
}

// TestOtherShapes: a server that writes numbers as strings, and versions as
// numbers, is read as the real ones are.
func TestOtherShapes(t *testing.T) {
	var turned func(v any) any
	turned = func(v any) any {
		switch v := v.(type) {
		case json.Number:
			return v.String()
		case map[string]any:
			for k, field := range v {
				if number, err := strconv.Atoi(fmt.Sprint(field)); err == nil && k == "version" {
					v[k] = number
				} else {
					v[k] = turned(field)
				}
			}
		case []any:
			for i := range v {
				v[i] = turned(v[i])
			}
		}
		return v
	}
	s := newStandIn(t, mlflowsim.Options{Bulk: mlflowsim.Bulk{Models: 5, Versions: 15, Runs: 4, At: 1_700_000_000_000}})
	hands := restHands{s.rest(t), 3, s.clock.now}
	hands.user = ""
	hands.do("create_model", object{"name": "fraud"})
	hands.do("register", object{"name": "fraud", "run": hands.do("train", object{"experiment": "0", "auc": 0.5, "digest": "d1", "weights": "w"})})
	hands.do("set_alias", object{"name": "fraud", "alias": "champion", "version": "1"})
	hands.do("create_logged_model", object{"experiment": "0", "name": "net"})
	s.clock.skip(time.Hour)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, r)
		d := json.NewDecoder(answer.Body)
		d.UseNumber()
		var v any
		if r.URL.Path != "/get-artifact" && strings.Contains(answer.Header().Get("Content-Type"), "json") && d.Decode(&v) == nil {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(turned(v))
			return
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	defer other.Close()
	cfg := s.config()
	cfg.Username, cfg.Artifacts = "", mlflow.ArtifactsList
	at := s.clock.now()
	cfg.Now = func() time.Time { return at }
	plain := newWatch(t, cfg)
	plain.poll()
	cfg.URL = other.URL
	w := newWatch(t, cfg)
	told := w.poll()
	require.NotEmpty(t, told)
	require.Equal(t, plain.events, told)
	cfg.URL = s.url
	back, err := mlflow.New(func() mlflow.Config { c := cfg; c.Name, c.Instance = "test", "prod"; return c }())
	require.NoError(t, err)
	w.collector = back
	require.Empty(t, w.poll(), "the same things, otherwise written, have not changed")
}

// TestHostileNames: what people write as names becomes values, nothing else.
func TestHostileNames(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{BasicAuth: true})
	admin := s.rest(t)
	cfg := s.config()
	cfg.AccessLog, cfg.Trusted = s.log, true
	w := newWatch(t, cfg)
	w.poll()
	names := []string{
		"line\nbreak", "%0aGET", `quote'"both`, "../../etc/passwd"[6:8] + "..", "\u202egnp.exe", strings.Repeat("long", 500), `{"json"}`, "a\tb\x1b[31m", "*", "名前",
	}
	for _, name := range names {
		admin.post("registered-models/create", object{
			"name": name, "description": strings.Repeat("x", 1<<20),
			"tags": []object{{"key": `{"a":1}`, "value": "{\"operation\":\"model.deleted\"}\n"}, {"key": "k\nk", "value": "v"}},
		})
		admin.post("model-versions/create", object{"name": name, "source": "s3://x/" + name})
		admin.post("registered-models/alias", object{"name": name, "alias": name, "version": "1"})
		exp := dig(admin.post("experiments/create", object{"name": "/team/" + name}), "experiment_id")
		admin.post("runs/create", object{"experiment_id": exp, "user_id": name, "start_time": s.clock.now().UnixMilli(), "tags": []object{{"key": name, "value": name}}})
	}
	s.clock.skip(time.Minute)
	admin.try("GET", "/api/2.0/mlflow-artifacts/artifacts/0/"+strings.Repeat("a", 32)+"/artifacts/x%0a10.0.0.1%20-%20bob", nil)
	admin.try("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/"+strings.Repeat("a", 32)+"/artifacts/x%0a%22y", "z")
	rows := slices.DeleteFunc(w.poll(), automatic)
	operations := map[string]int{}
	for _, r := range rows {
		operations[r.s("operation")]++
		require.NotContains(t, fmt.Sprint(r), "\n")
	}
	require.Equal(t, map[string]int{
		"model.created": len(names), "version.created": len(names), "alias.set": len(names), "artifact.uploaded": 1,
		"experiment.created": len(names), "run.created": len(names),
	}, operations)
	require.Empty(t, w.poll())
	for _, name := range names {
		admin.post("registered-models/set-tag", object{"name": name, "key": "k\nk", "value": "w"})
	}
	require.Len(t, w.poll(), len(names))
}

// TestLogRotation: nothing is read twice and nothing is missed when the log is
// renamed, or when a line is written in two steps.
func TestLogRotation(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	cfg := s.config()
	cfg.Username, cfg.Password, cfg.AccessLog = "", "", s.log+".other"
	w := newWatch(t, cfg)
	line := func(n int) string {
		return fmt.Sprintf("10.0.0.7 - bob [%s] \"PUT /api/2.0/mlflow-artifacts/artifacts/0/%032d/artifacts/f%d HTTP/1.1\" 200 9 \"-\" \"x\"\n", s.clock.now().Format("02/Jan/2006:15:04:05 -0700"), 1, n)
	}
	require.NoError(t, os.WriteFile(cfg.AccessLog, []byte(line(0)), 0o600))
	w.poll()
	add := func(text string) {
		f, err := os.OpenFile(cfg.AccessLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	whole := line(1)
	add(whole[:20])
	require.Empty(t, w.poll())
	add(whole[20:])
	require.Len(t, w.poll(), 1)
	add(line(2))
	require.NoError(t, os.Rename(cfg.AccessLog, cfg.AccessLog+".1"))
	add(line(3) + line(4))
	require.Len(t, w.poll(), 3)
	require.Empty(t, w.poll())
	add("\"PUT / HTTP/1.1\" nonsense\n" + strings.Repeat("y", 2<<20) + "\n")
	rows := w.poll()
	require.Equal(t, "record.damaged", rows[0].s("operation"))
	require.Len(t, rows, 2)

	// What is gone is said, once; who encodes letters of a path is seen.
	require.Empty(t, w.collector.Report().Notes)
	require.NoError(t, os.WriteFile(cfg.AccessLog, []byte(strings.Replace(line(5), "mlflow-artifacts", "mlflow%2Dartifacts", 1)), 0o600))
	require.Len(t, w.poll(), 1)
	notes := w.collector.Report().Notes
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "access_log "+cfg.AccessLog+" was replaced")
	require.Empty(t, w.collector.Report().Notes)
}

// TestLogOfAnEarlierVersion: the place in the access log that earlier versions
// remembered is read on from.
func TestLogOfAnEarlierVersion(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	cfg := s.config()
	cfg.Username, cfg.Password, cfg.AccessLog = "", "", s.log+".other"
	w := newWatch(t, cfg)
	lines := make([]string, 3)
	for n := range lines {
		lines[n] = fmt.Sprintf("10.0.0.7 - bob [%s] \"PUT /api/2.0/mlflow-artifacts/artifacts/0/%032d/artifacts/f%d HTTP/1.1\" 200 9 \"-\" \"x\"\n", s.clock.now().Format("02/Jan/2006:15:04:05 -0700"), 1, n)
	}
	w.out.Put("log", fmt.Appendf(nil, `{"first":"%x","offset":%d,"line":2}`, sha256.Sum256([]byte(lines[0])), len(lines[0]+lines[1])))
	require.NoError(t, w.out.Checkpoint())
	require.NoError(t, os.WriteFile(cfg.AccessLog, []byte(strings.Join(lines, "")), 0o600))
	rows := slices.DeleteFunc(w.poll(), func(r row) bool { return !ofAct(r) })
	require.Len(t, rows, 1)
	require.Equal(t, "file:access.log.other:3", rows[0].s("raw_ref"))
}

// TestUndatedLines: an act in a log without dates happened between two looks,
// also in a log that was not there at the first.
func TestUndatedLines(t *testing.T) {
	s := newStandIn(t, mlflowsim.Options{})
	cfg := s.config()
	cfg.Username, cfg.Password, cfg.AccessLog = "", "", s.log+".other"
	w := newWatch(t, cfg)
	w.poll()
	looked := s.clock.now()
	s.clock.skip(time.Minute)
	require.NoError(t, os.WriteFile(cfg.AccessLog, []byte(`INFO:     10.0.0.7:36812 - "PUT /api/2.0/mlflow-artifacts/artifacts/0/`+strings.Repeat("1", 32)+`/artifacts/f HTTP/1.1" 200 OK`+"\n"), 0o600))
	rows := w.poll()
	require.Len(t, rows, 1)
	require.Equal(t, "artifact.uploaded", rows[0].s("operation"))
	require.Equal(t, "10.0.0.7", rows[0].s("src"))
	require.Empty(t, rows[0].s("time_basis"))
	require.InDelta(t, looked.Unix(), rows[0]["not_before"], 1)
	require.InDelta(t, looked.Add(time.Minute).Unix(), rows[0]["_time"], 1)
}
