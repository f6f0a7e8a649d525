package gitrepo

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func combined(at time.Time, src, user, request, rest string) string {
	return src + " - " + user + " [" + at.Format("02/Jan/2006:15:04:05 -0700") + "] \"" + request + "\" " + rest + "\n"
}

func TestAccessLog(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 1, 5, 0, time.UTC)
	oid := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name, line string
		want       row // nil: nothing
	}{
		{
			"fetch", combined(at, "192.0.2.7", "alice", "POST /acme/vision.git/git-upload-pack HTTP/1.1", `200 1234 "-" "git/2.39.5"`),
			row{"operation": "repo.fetched", "action": "downloaded", "user": "alice", "src": "192.0.2.7", "bytes_out": 1234.0, "user_agent": "git/2.39.5", "status_code": "200", "time_basis": "exact", "evidence": "log", "user_confidence": "claimed", "asset_id": "git:local/acme/vision", "raw_ref": "file:access.log:1"},
		},
		{
			"push by a path with a prefix", combined(at, "2001:db8::1", "bob", "POST /git/acme/vision.git/git-receive-pack HTTP/2.0", "200 -"),
			row{"operation": "repo.pushed", "user": "bob", "src": "2001:0db8:0000:0000:0000:0000:0000:0001", "asset_id": "git:local/acme/vision"},
		},
		{
			"a repository that is not watched", combined(at, "192.0.2.7", "bob", "POST /acme/secret.git/git-upload-pack HTTP/1.1", `200 9 "-" "-"`),
			row{"operation": "repo.fetched", "asset_id": "git:local/acme/secret", "asset_name": "acme/secret"},
		},
		{
			"nobody", combined(at, "192.0.2.7", "-", "POST /acme/vision.git/git-upload-pack HTTP/1.1", `200 9 "-" "-"`),
			row{"operation": "repo.fetched", "user_type": "anonymous", "user_confidence": "unknown", "user": nil},
		},
		{
			"lfs download", combined(at, "10.0.0.1", "alice", "GET /acme/vision.git/info/lfs/objects/"+oid+" HTTP/1.1", `200 77 "-" "git-lfs/3" "203.0.113.9, 10.0.0.2"`),
			row{"operation": "lfs.downloaded", "lfs_oid": oid, "bytes_out": 77.0, "src": "203.0.113.9", "asset_digest": "sha256:" + oid},
		},
		{
			"lfs upload as GitLab has it", combined(at, "10.9.0.1", "alice", "PUT /acme/vision.git/gitlab-lfs/objects/"+oid+"/77 HTTP/1.1", `200 0 "-" "-" "203.0.113.9"`),
			row{"operation": "lfs.uploaded", "lfs_oid": oid, "src": "10.9.0.1", "bytes_out": nil},
		},
		{
			"a fetch whose path is encoded", combined(at, "192.0.2.7", "alice", "POST /acme/vision.git/git%2Dupload%2dpack HTTP/1.1", `200 9`),
			row{"operation": "repo.fetched", "user": "alice", "asset_id": "git:local/acme/vision"},
		},
		{"encoded, and no line at all", "Mar  2 09:00:00 host: 100%\n", nil},
		{
			"uvicorn, whose lines have no date", `INFO:     192.0.2.7:36812 - "POST /acme/vision.git/git-receive-pack HTTP/1.1" 200 OK` + "\n",
			row{"operation": "repo.pushed", "src": "192.0.2.7", "user_type": "anonymous", "time_basis": nil, "not_before": 1772442060.0},
		},
		{
			"a user with brackets", combined(at, "192.0.2.7", "eve [x]", "POST /acme/vision.git/git-upload-pack HTTP/1.1", "200 1"),
			row{"operation": "repo.fetched", "user": "eve [x]"},
		},
		{"refused", combined(at, "192.0.2.7", "-", "POST /acme/vision.git/git-receive-pack HTTP/1.1", "401 0"), nil},
		{"looking", combined(at, "192.0.2.7", "a", "GET /acme/vision.git/info/refs?service=git-upload-pack HTTP/1.1", "200 0"), nil},
		{"another source's", combined(at, "192.0.2.7", "a", "GET /api/2.0/mlflow/runs/get?run_id=1 HTTP/1.1", "200 0"), nil},
		{"no line at all", "Mar  2 09:00:00 host kernel: x\n", nil},
		{"damaged", "git-upload-pack\n", row{"operation": "record.damaged", "raw": "git-upload-pack", "asset_id": "aiwatch:0a0b0c0d/aiwatch_git://lab"}},
		{
			"a hostile user", combined(at, "192.0.2.7", `mal\x22lory x`, "POST /acme/vision.git/git-upload-pack HTTP/1.1", "200 1"),
			row{"operation": "repo.fetched", "user": `mal"lory x`},
		},
		{
			"nginx", `{"time_iso8601":"2026-03-02T09:01:05+00:00","remote_addr":"192.0.2.7","remote_user":"alice","request":"POST /acme/vision.git/git-receive-pack HTTP/1.1","status":"200","body_bytes_sent":"10","http_user_agent":"git/2"}` + "\n",
			row{"operation": "repo.pushed", "user": "alice", "src": "192.0.2.7", "user_agent": "git/2", "_time": "1772442065"},
		},
		{
			"caddy", `{"ts":1772442065.5,"request":{"remote_ip":"192.0.2.7","client_ip":"192.0.2.8","method":"POST","uri":"/acme/vision.git/git-upload-pack","headers":{"User-Agent":["git/2"]}},"user_id":"alice","status":200,"size":55}` + "\n",
			row{"operation": "repo.fetched", "user": "alice", "src": "192.0.2.8", "bytes_out": 55.0, "_time": "1772442065.5"},
		},
		{
			"traefik", `{"ClientHost":"192.0.2.7","ClientUsername":"alice","DownstreamContentSize":5,"DownstreamStatus":200,"RequestMethod":"POST","RequestPath":"/acme/vision.git/git-upload-pack","StartUTC":"2026-03-02T09:01:05.25Z"}` + "\n",
			row{"operation": "repo.fetched", "user": "alice", "bytes_out": 5.0, "_time": "1772442065.25"},
		},
		{"JSON without a time", `{"method":"POST","uri":"/acme/vision.git/git-upload-pack","status":200}` + "\n", row{"operation": "record.damaged", "parse_error": "no date that can be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.cfg.AccessLog = filepath.Join(l.dir, "access.log")
			l.cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
			l.poll()
			l.append(l.cfg.AccessLog, c.line)
			requireRow(t, c.want, l.poll())
		})
	}
}

// requireRow wants one event with the given fields, nil none of that name, or no
// event at all.
func requireRow(t *testing.T, want row, events []row) {
	t.Helper()
	if want == nil {
		require.Empty(t, events)
		return
	}
	require.Len(t, events, 1)
	for k, v := range want {
		require.Equal(t, v, events[0][k], k)
	}
}

func TestForgeAuditLogs(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       row
	}{
		{
			"GitHub clone", `{"@timestamp":1772442065123,"_document_id":"abc","action":"git.clone","actor":"alice","actor_ip":"192.0.2.7","repo":"acme/vision","org":"acme","user_agent":"git/2.39","transport_protocol_name":"http"}`,
			row{"operation": "repo.cloned", "user": "alice", "src": "192.0.2.7", "asset_id": "git:local/acme/vision", "vendor_action": "git.clone", "_time": "1772442065.123", "time_basis": "exact"},
		},
		{
			"GitHub protection off", `{"@timestamp":1772442065123,"action":"protected_branch.destroy","actor":"alice","repo":"acme/vision","name":"main"}`,
			row{"operation": "protection.changed", "change_field": "protected_branch.destroy:main", "new_value": "off", "old_value": "on"},
		},
		{
			"GitHub administrators exempt", `{"@timestamp":1772442065123,"action":"protected_branch.update_admin_enforced","admin_enforced":false,"actor":"alice","repo":"acme/vision"}`,
			row{"operation": "protection.changed", "new_value": "off"},
		},
		{
			"GitHub force pushes allowed", `{"@timestamp":1772442065123,"action":"protected_branch.update_allow_force_pushes_enforcement_level","allow_force_pushes_enforcement_level":2,"actor":"alice","repo":"acme/vision"}`,
			row{"operation": "protection.changed", "new_value": "off"},
		},
		{
			"GitHub member", `{"@timestamp":1772442065123,"action":"repo.add_member","actor":"alice","user":"mallory","permission":"admin","repo":"acme/vision"}`,
			row{"operation": "member.changed", "user": "mallory", "src_user": "alice", "asset_type": "permission", "grantee_permission": "admin", "new_value": "admin"},
		},
		{
			"GitHub streaming off", `{"@timestamp":1772442065123,"action":"audit_log_streaming.destroy","actor":"alice","business":"acme"}`,
			row{"operation": "audit.disabled", "asset_id": "git:local/acme"},
		},
		{
			"GitHub something else", `{"@timestamp":1772442065123,"action":"repo.access","actor":"alice","repo":"acme/vision","visibility":"public"}`,
			row{"operation": "forge.other", "vendor_action": "repo.access"},
		},
		{
			"GitLab push", `{"id":"1","author_id":1,"entity_id":29,"entity_type":"Project","details":{"author_name":"Alice","custom_message":{"protocol":"ssh","action":"git-receive-pack"},"entity_path":"acme/vision"},"ip_address":"192.0.2.7","author_name":"Alice","entity_path":"acme/vision","created_at":"2026-03-02T09:01:05.283Z","event_type":"repository_git_operation"}`,
			row{"operation": "repo.pushed", "user": "Alice", "src": "192.0.2.7", "asset_id": "git:local/acme/vision"},
		},
		{
			"GitLab protection off", `{"id":"2","author_id":1,"author_name":"Alice","entity_type":"Project","entity_path":"acme/vision","target_details":"main","created_at":"2026-03-02T09:01:05Z","event_type":"protected_branch_removed","details":{}}`,
			row{"operation": "protection.changed", "new_value": "off", "change_field": "protected_branch_removed:main"},
		},
		{
			"Gitea clone", `{"action":"repo:clone","doer":{"friendly_name":"alice"},"repository":"acme/vision","ip_address":"192.0.2.7","time":"2026-03-02T09:01:05Z"}`,
			row{"operation": "repo.cloned", "user": "alice"},
		},
		{
			"Gitea webhook of a push", `{"ref":"refs/heads/main","before":"1111111111111111111111111111111111111111","after":"2222222222222222222222222222222222222222","repository":{"full_name":"acme/vision"},"pusher":{"login":"alice"}}`,
			row{"operation": "repo.pushed", "user": "alice", "git_ref": "refs/heads/main", "pusher": "alice", "time_basis": nil, "not_before": 1772442060.0},
		},
		{
			"Hugging Face", `{"type":"repo.delete","author":{"user":"alice"},"createdAt":"2026-03-02T09:01:05Z","repo":{"name":"acme/vision"},"clientIp":"192.0.2.0"}`,
			row{"operation": "repo.deleted", "user": "alice", "src": "192.0.2.0"},
		},
		{
			"Hugging Face webhook of a push", `{"event":{"action":"update","scope":"repo.content"},"repo":{"type":"model","name":"acme/vision","private":true,"headSha":"2222222222222222222222222222222222222222"},"updatedRefs":[{"ref":"refs/heads/main","oldSha":"1111111111111111111111111111111111111111","newSha":"2222222222222222222222222222222222222222"}],"webhook":{"id":"1","version":3}}`,
			row{"operation": "repo.pushed", "user": nil, "user_confidence": "unknown", "git_ref": "refs/heads/main", "git_commit": "2222222222222222222222222222222222222222", "old_value": "1111111111111111111111111111111111111111"},
		},
		{
			"Hugging Face webhook of a new tag", `{"event":{"action":"update","scope":"repo.content"},"repo":{"name":"acme/vision"},"updatedRefs":[{"ref":"refs/tags/v1","oldSha":null,"newSha":"2222222222222222222222222222222222222222"}],"webhook":{"id":"1","version":3}}`,
			row{"operation": "repo.pushed", "git_ref": "refs/tags/v1", "old_value": nil, "protected": true},
		},
		{
			"Hugging Face webhook of a repository", `{"event":{"action":"delete","scope":"repo"},"repo":{"name":"acme/vision"},"webhook":{"id":"1","version":3}}`,
			row{"operation": "repo.deleted", "asset_id": "git:local/acme/vision"},
		},
		{"no forge", `{"hello":1}`, row{"operation": "record.damaged"}},
		{"no JSON", `hello`, row{"operation": "record.damaged"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.cfg.AuditLog = filepath.Join(l.dir, "audit.log")
			l.poll()
			l.append(l.cfg.AuditLog, c.line+"\n")
			requireRow(t, c.want, l.poll())
		})
	}
}

// A log that is moved away and made anew, cut off or written in pieces loses no
// line and doubles none.
func TestLogsAreFollowed(t *testing.T) {
	l := newLab(t)
	log := filepath.Join(l.dir, "access.log")
	l.cfg.AccessLog = log
	line := func(user string) string {
		return combined(l.now, "192.0.2.7", user, "POST /acme/vision.git/git-upload-pack HTTP/1.1", "200 1")
	}
	users := func(events []row) (list []string) {
		for _, e := range with(events, "repo.fetched") {
			list = append(list, e.s("user"))
		}
		return list
	}
	l.append(log, line("before"))
	require.Empty(t, users(l.poll()), "the log is read from its end")
	l.append(log, line("a")+line("b"))
	require.Equal(t, []string{"a", "b"}, users(l.poll()))

	half := line("c")
	l.append(log, half[:20])
	require.Empty(t, l.poll())
	l.append(log, half[20:])
	require.Equal(t, []string{"c"}, users(l.poll()))

	l.append(log, line("d"))
	require.NoError(t, os.Rename(log, log+".1"))
	require.Equal(t, []string{"d"}, users(l.poll()), "moved away and not yet made anew")
	l.append(log+".1", line("e"))
	l.append(log, line("f"))
	require.Equal(t, []string{"e", "f"}, users(l.poll()))

	require.NoError(t, os.WriteFile(log, []byte(line("g")), 0o600))
	require.Equal(t, []string{"g"}, users(l.poll()), "cut off and written again")
	require.NotEmpty(t, l.collector().Report().Notes)

	// Long lines are damaged and skipped; the one after is read.
	l.append(log, "git-upload-pack"+strings.Repeat("x", 2<<20)+"\n"+line("h"))
	events := l.poll()
	require.Equal(t, []string{"h"}, users(events))
	require.Len(t, with(events, "record.damaged"), 1)

	// The same lines from the same state have the same ids, also after a crash.
	state, seq := l.out.Snapshot()
	l.append(log, line("i")+line("i"))
	first := l.poll()
	l.out.Restore(state, seq)
	l.restart()
	second := l.poll()
	require.Len(t, first, 2)
	require.Equal(t, first[0]["event_id"], second[0]["event_id"])
	require.Equal(t, first[1]["event_id"], second[1]["event_id"])
	require.NotEqual(t, first[0]["event_id"], first[1]["event_id"], "two equal lines are two requests")
}

// The place in a log that earlier versions remembered is read on from.
func TestLogOfAnEarlierVersion(t *testing.T) {
	l := newLab(t)
	l.cfg.AccessLog = filepath.Join(l.dir, "access.log")
	lines := make([]string, 3)
	for n := range lines {
		lines[n] = combined(l.now, "192.0.2.7", "user"+strconv.Itoa(n), "POST /acme/vision.git/git-upload-pack HTTP/1.1", "200 1")
	}
	head := sha256.Sum256([]byte(lines[0]))
	l.out.Put("log/access/"+shortHash(l.cfg.AccessLog), fmt.Appendf(nil, `{"head":%d,"origin":"%x","offset":%d,"line":2,"seen":1772442000000}`, len(lines[0]), head[:8], len(lines[0]+lines[1])))
	require.NoError(t, l.out.Checkpoint())
	l.append(l.cfg.AccessLog, strings.Join(lines, ""))
	fetched := one(t, l.poll(), "repo.fetched")
	require.Equal(t, "user2", fetched.s("user"))
	require.Equal(t, "file:access.log:3", fetched.s("raw_ref"))
}

func TestBackfillOfLogs(t *testing.T) {
	l := newLab(t)
	l.cfg.HookLog, l.cfg.BackfillDays = l.hookLog(), 2
	now := l.now
	for _, days := range []int{5, 1} {
		l.now = now.AddDate(0, 0, -days)
		l.hook("alice", "refs/heads/main", strings.Repeat("0", 40), strings.Repeat(string(rune('0'+days)), 40))
	}
	l.now = now
	require.Equal(t, strings.Repeat("1", 40), one(t, l.poll(), "repo.pushed").s("git_commit"))
}

// A pipe where a log should be is an error, not a wait.
func TestLogThatIsAPipe(t *testing.T) {
	l := newLab(t)
	l.cfg.AccessLog = "/dev/zero"
	_, err := l.tryPoll()
	require.ErrorContains(t, err, "not a regular file")
}

// TestPusherIsJoinedOnlyWhenCertain plays pushes and what the logs say of them.
func TestPusherIsJoinedOnlyWhenCertain(t *testing.T) {
	access := func(l *lab, user string) {
		l.append(l.cfg.AccessLog, combined(l.now, "192.0.2.7", user, "POST /acme/vision.git/git-receive-pack HTTP/1.1", "200 1"))
	}
	for _, c := range []struct {
		name       string
		play       func(l *lab)
		user       string
		candidates []string
	}{
		{"nothing is logged", func(l *lab) { l.commit("x"); l.push("main") }, "", nil},
		{"one push, one change", func(l *lab) { l.commit("x"); l.push("main"); access(l, "alice") }, "alice", nil},
		{"two pushes, one change", func(l *lab) { l.commit("x"); l.push("main"); access(l, "alice"); access(l, "bob") }, "", []string{"alice", "bob"}},
		{"one push, two changes", func(l *lab) { l.commit("x"); l.push("main", "main:refs/heads/other"); access(l, "alice") }, "", []string{"alice"}},
		{"a push long before", func(l *lab) {
			access(l, "alice")
			l.poll()
			l.tick()
			l.commit("x")
			l.push("main")
		}, "", nil},
		{"a hook names the reference", func(l *lab) {
			old := l.git("rev-parse", "HEAD")
			access(l, "alice")
			access(l, "bob")
			l.push("main", "main:refs/heads/other")
			l.hook("bob", "refs/heads/main", old, l.commit("x"))
			l.push("main")
		}, "bob", nil},
		{"a hook that tells of something else", func(l *lab) {
			l.commit("x")
			l.push("main")
			l.hook("bob", "refs/heads/main", strings.Repeat("3", 40), strings.Repeat("4", 40))
		}, "", nil},
		{"two steps of one person", func(l *lab) {
			a, b := l.git("rev-parse", "HEAD"), l.commit("x")
			c := l.commit("y")
			l.hook("bob", "refs/heads/main", a, b)
			l.hook("bob", "refs/heads/main", b, c)
			l.push("main")
		}, "bob", nil},
		{"two steps of two people", func(l *lab) {
			a, b := l.git("rev-parse", "HEAD"), l.commit("x")
			c := l.commit("y")
			l.hook("bob", "refs/heads/main", a, b)
			l.hook("alice", "refs/heads/main", b, c)
			l.push("main")
		}, "", []string{"bob", "alice"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.cfg.AccessLog, l.cfg.HookLog, l.cfg.TrustLogs = filepath.Join(l.dir, "access.log"), l.hookLog(), true
			l.commit("first")
			l.push()
			l.poll()
			l.tick()
			c.play(l)
			var ref, commit row
			events := l.poll()
			for _, e := range events {
				if e["operation"] == "ref.updated" {
					ref = e
				}
				if e["operation"] == "commit.added" {
					commit = e
				}
			}
			require.NotNil(t, ref, ops(events))
			require.Equal(t, c.user, ref.s("user"))
			require.Equal(t, c.user, ref.s("pusher"))
			require.Equal(t, c.user, commit.s("pusher"))
			require.Equal(t, c.candidates, ref.list("user_candidates"))
			if c.user == "" {
				require.Equal(t, "unknown", ref.s("user_confidence"))
				require.Equal(t, "claimed", commit.s("user_confidence"), "the commit's own claim")
			} else {
				require.Equal(t, "authenticated", ref.s("user_confidence"))
			}
		})
	}
}
