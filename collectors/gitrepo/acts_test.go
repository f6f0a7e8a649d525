package gitrepo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pointer is a Git LFS pointer to content of the given name.
func pointer(digit string, size int) string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", strings.Repeat(digit, 64), size)
}

// pickled is a pickle that calls an import: module and name on lines.
func pickled(module, name string) string {
	return "\x80\x02c" + module + "\n" + name + "\n(U\x02idtR."
}

// An act is what an insider does, its twin what somebody innocent does that
// looks alike. found says whether an event is what gives the act away.
type act struct {
	name  string
	set   func(l *lab) // before the first contact
	act   func(l *lab)
	twin  func(l *lab)
	found func(e row, all []row) bool
	check func(t *testing.T, l *lab, found row, all []row)
}

func operation(name string) func(row, []row) bool {
	return func(e row, _ []row) bool { return e["operation"] == name }
}

func acts() []act {
	return []act{
		{
			name: "force push",
			set:  func(l *lab) { l.commit("two", "model.pt", "2"); l.push() },
			act: func(l *lab) {
				l.git("reset", "-q", "--hard", "HEAD~1")
				l.commit("other", "model.pt", "3")
				l.push("-f", "main")
			},
			twin:  func(l *lab) { l.commit("more", "model.pt", "3"); l.push() },
			found: operation("ref.force_pushed"),
			check: func(t *testing.T, l *lab, e row, all []row) {
				require.Equal(t, "true", e.s("protected"))
				require.Equal(t, e.s("new_value"), one(t, all, "commit.dropped").s("dropped_by"))
			},
		},
		{
			name:  "branch deleted with what only it has",
			set:   func(l *lab) { l.git("checkout", "-q", "-b", "release/1"); l.commit("fix"); l.push() },
			act:   func(l *lab) { l.push(":release/1") },
			twin:  func(l *lab) { l.push("release/1:main"); l.push(":release/1") },
			found: func(e row, _ []row) bool { return e["operation"] == "commit.dropped" },
		},
		{
			name:  "tag moved",
			set:   func(l *lab) { l.git("tag", "v1"); l.push("v1") },
			act:   func(l *lab) { l.commit("x"); l.git("tag", "-f", "v1"); l.push("-f", "main", "v1") },
			twin:  func(l *lab) { l.commit("x"); l.git("tag", "v2"); l.push("main", "v2") },
			found: operation("tag.moved"),
		},
		{
			name: "change hidden in a merge",
			set:  twoBranches,
			act: func(l *lab) {
				l.git("merge", "-q", "--no-ff", "--no-commit", "side")
				l.write("model.pt", "evil")
				l.git("add", "-A")
				l.git("commit", "-q", "-m", "merge")
				l.push("main")
			},
			twin:  func(l *lab) { l.git("merge", "-q", "--no-ff", "--no-edit", "side"); l.push("main") },
			found: func(e row, _ []row) bool { return e.s("merge_only") == "true" },
			check: func(t *testing.T, _ *lab, e row, _ []row) {
				require.True(t, strings.HasSuffix(e.s("asset_id"), "//model.pt"), e.s("asset_id"))
			},
		},
		{
			name: "backdated commit",
			act: func(l *lab) {
				l.commitWith([]string{"GIT_COMMITTER_DATE=1672531200 +0000", "GIT_AUTHOR_DATE=1672531200 +0000"}, "old")
				l.push()
			},
			twin: func(l *lab) { // a rebase keeps the author's date
				l.commitWith([]string{"GIT_AUTHOR_DATE=1672531200 +0000"}, "rebased")
				l.push()
			},
			found: func(e row, _ []row) bool {
				commit, _ := e["commit_date"].(float64)
				parent, _ := e["parent_date"].(float64)
				return e["operation"] == "commit.added" && commit < parent-300
			},
		},
		{
			name: "forged author",
			set:  func(l *lab) { l.cfg.TrustLogs = true },
			act: func(l *lab) {
				l.commitWith([]string{"GIT_AUTHOR_NAME=Carol Chief", "GIT_AUTHOR_EMAIL=carol@example.test"}, "as carol")
				l.pushAs("dana@example.test")
			},
			twin: func(l *lab) { l.commit("as dana"); l.pushAs("dana@example.test") },
			found: func(e row, _ []row) bool {
				return e["operation"] == "commit.added" && e["user_confidence"] == "authenticated" && e["pusher"] != e["author_email"]
			},
		},
		{
			name:  "signed by a key that nobody knows",
			act:   func(l *lab) { l.signed("mallory"); l.push() },
			twin:  func(l *lab) { l.signed("dana"); l.push() },
			found: func(e row, _ []row) bool { return e["signature"] == "unknown_key" },
			check: func(t *testing.T, l *lab, e row, _ []row) {
				require.True(t, strings.HasPrefix(e.s("signer_key"), "SHA256:"))
				require.Equal(t, "claimed", e.s("user_confidence"))
			},
		},
		{
			name:  "signed by a revoked key",
			act:   func(l *lab) { l.signed("leaver"); l.push() },
			twin:  func(l *lab) { l.signed("dana"); l.push() },
			found: func(e row, _ []row) bool { return e["signature"] == "revoked" },
		},
		{
			name: "signature of something else",
			act: func(l *lab) {
				l.signed("dana")
				raw := l.git("cat-file", "commit", "HEAD")
				l.write("../raw", strings.Replace(raw, "Dana Dev", "Dana Dew", 1)+"\n")
				l.git("update-ref", "refs/heads/main", l.git("hash-object", "-t", "commit", "-w", filepath.Join(l.dir, "raw")))
				l.push()
			},
			twin:  func(l *lab) { l.signed("dana"); l.push() },
			found: func(e row, _ []row) bool { return e["signature"] == "bad" },
		},
		{
			name: "LFS pointer swapped",
			set:  func(l *lab) { l.commit("lfs", "big.safetensors", pointer("a", 1000)); l.push() },
			act:  func(l *lab) { l.commit("swap", "big.safetensors", pointer("b", 1000)); l.push() },
			twin: func(l *lab) {
				l.git("update-index", "--chmod=+x", "big.safetensors")
				l.git("commit", "-q", "-m", "mode")
				l.push()
			},
			found: func(e row, _ []row) bool {
				return e["operation"] == "file.modified" && e["change_field"] == "digest" && e["lfs_oid"] != nil
			},
			check: func(t *testing.T, _ *lab, e row, _ []row) {
				require.Equal(t, strings.Repeat("b", 64), e.s("lfs_oid"))
				require.Equal(t, "sha256:"+strings.Repeat("b", 64), e.s("asset_digest"))
				require.Equal(t, "1000", e.s("lfs_size"))
				require.Equal(t, "weights", e.s("asset_role"))
			},
		},
		{
			name:  "pointer replaced by a raw blob",
			set:   func(l *lab) { l.commit("lfs", "big.safetensors", pointer("a", 1000)); l.push() },
			act:   func(l *lab) { l.commit("raw", "big.safetensors", "not a pointer"); l.push() },
			twin:  func(l *lab) { l.commit("swap", "big.safetensors", pointer("c", 9)); l.push() },
			found: func(e row, _ []row) bool { return e["change_field"] == "pointer" },
		},
		{
			name: "submodule moved",
			set:  func(l *lab) { l.submodule("1"); l.push() },
			act:  func(l *lab) { l.submodule("2"); l.push() },
			twin: func(l *lab) { l.commit("beside it", "config.json", "{}"); l.push() },
			found: func(e row, _ []row) bool {
				return e.s("submodule_commit") == strings.Repeat("2", 40) && e["asset_role"] == "control"
			},
		},
		{
			name: "CODEOWNERS loosened with weights in the same push",
			set:  func(l *lab) { l.commit("owners", "CODEOWNERS", "* @ml-leads\n"); l.push() },
			act: func(l *lab) {
				l.commit("tidy", "CODEOWNERS", "")
				l.commit("retrained", "model.pt", "new")
				l.push()
			},
			twin: func(l *lab) { l.commit("tidy", "CODEOWNERS", "* @ml-leads @ml\n"); l.push() },
			found: func(e row, all []row) bool {
				if e["operation"] != "file.modified" || e["asset_role"] != "control" {
					return false
				}
				for _, other := range all {
					if other["asset_role"] == "weights" && other["git_ref"] == e["git_ref"] {
						return true
					}
				}
				return false
			},
		},
		{
			name: "replacement of an object",
			act: func(l *lab) {
				other := l.git("commit-tree", "-m", "nicer", "HEAD^{tree}")
				l.push(other + ":refs/replace/" + l.git("rev-parse", "HEAD"))
			},
			twin:  func(l *lab) { l.push("HEAD:refs/replacements/main") },
			found: operation("replace_ref.present"),
		},
		{
			name: "a mailmap that launders names",
			act: func(l *lab) {
				l.commit("launder", ".mailmap", "Carol Chief <carol@example.test> <dana@example.test>\n")
				l.push()
			},
			twin: func(l *lab) { l.commit("no mailmap", "mailmap.txt", "x"); l.push() },
			found: func(e row, _ []row) bool {
				return strings.HasSuffix(e.s("asset_id"), "//.mailmap") && e["asset_role"] == "control"
			},
			check: func(t *testing.T, l *lab, _ row, all []row) {
				require.Equal(t, "dana@example.test", one(t, all, "commit.added").s("author_email"))
			},
		},
		{
			name: "an encoding that launders names",
			act: func(l *lab) {
				raw := l.git("cat-file", "commit", "HEAD")
				raw = strings.Replace(raw, "\n\n", "\nencoding UTF-7\n\n", 1)
				raw = strings.Replace(raw, "author Dana Dev <", "author +AE0-allory <", 1)
				l.write("../raw", raw+"\n")
				l.git("update-ref", "refs/heads/main", l.git("hash-object", "-t", "commit", "-w", filepath.Join(l.dir, "raw")))
				l.push("-f", "main")
			},
			twin:  func(l *lab) { l.commit("plain"); l.push() },
			found: func(e row, _ []row) bool { return e["author"] == "+AE0-allory" },
		},
		{
			name:  "code slipped into a pickle",
			set:   func(l *lab) { l.commit("model", "model.pkl", pickled("collections", "OrderedDict")); l.push() },
			act:   func(l *lab) { l.commit("retrained", "model.pkl", pickled("os", "system")); l.push() },
			twin:  func(l *lab) { l.commit("retrained", "model.pkl", pickled("collections", "OrderedDict")+"\n"); l.push() },
			found: func(e row, _ []row) bool { return len(e.list("imports_added")) > 0 },
			check: func(t *testing.T, _ *lab, e row, _ []row) {
				require.Equal(t, "dangerous", e.s("verdict"))
				require.Equal(t, []string{"os.system"}, e.list("imports"))
				require.Equal(t, []string{"os.system"}, e.list("imports_added"))
			},
		},
		{
			name: "remote code switched on",
			set:  func(l *lab) { l.commit("config", "config.json", `{"hidden":{"size":1}}`); l.push() },
			act: func(l *lab) {
				l.commit("tune", "config.json", `{"hidden":{"size":1,"trust_remote_code":true}}`)
				l.push()
			},
			twin: func(l *lab) { l.commit("tune", "config.json", `{"hidden":{"size":2}}`); l.push() },
			found: func(e row, _ []row) bool {
				return strings.Contains(strings.Join(e.list("json_keys"), " "), "trust_remote_code")
			},
			check: func(t *testing.T, _ *lab, e row, _ []row) {
				require.Equal(t, []string{"hidden.trust_remote_code", "trust_remote_code"}, e.list("json_keys"))
			},
		},
		{
			name: "chat template swapped",
			set:  func(l *lab) { l.commit("t", "tokenizer_config.json", `{"chat_template":"a","x":1}`); l.push() },
			act:  func(l *lab) { l.commit("t", "tokenizer_config.json", `{"chat_template":"b","x":1}`); l.push() },
			twin: func(l *lab) { l.commit("t", "tokenizer_config.json", `{"chat_template":"a", "x":2}`); l.push() },
			found: func(e row, _ []row) bool {
				return len(e.list("json_keys")) == 1 && e.list("json_keys")[0] == "chat_template"
			},
		},
		{
			name: "dataset changed behind DVC",
			set:  func(l *lab) { l.commit("d", "data.csv.dvc", dvc("1", 10)); l.push() },
			act:  func(l *lab) { l.commit("d", "data.csv.dvc", dvc("2", 10)); l.push() },
			twin: func(l *lab) { l.commit("d", "README.md", "describes the data"); l.push() },
			found: func(e row, _ []row) bool {
				return e.s("dvc_md5") == strings.Repeat("2", 32) && e["asset_role"] == "dataset"
			},
		},
	}
}

func dvc(digit string, size int) string {
	return fmt.Sprintf("outs:\n- md5: %s\n  size: %d\n  path: data.csv\n", strings.Repeat(digit, 32), size)
}

// twoBranches makes main and side change different lines of one file, and
// different weights.
func twoBranches(l *lab) {
	lines := func(first, last string) string { return first + strings.Repeat("\n#", 20) + "\n" + last + "\n" }
	l.commit("base", "params.yaml", lines("a", "z"))
	l.git("checkout", "-q", "-b", "side")
	l.commit("side", "params.yaml", lines("a", "side"), "adapter.pt", "side")
	l.git("checkout", "-q", "main")
	l.commit("main", "params.yaml", lines("main", "z"))
	l.push()
}

// commitWith commits with more environment.
func (l *lab) commitWith(env []string, message string) {
	l.t.Helper()
	out, err := l.tryGit(l.work, env, "commit", "-q", "--allow-empty", "-m", message)
	require.NoError(l.t, err, out)
}

// submodule points dep at a commit that exists nowhere.
func (l *lab) submodule(digit string) {
	l.write(".gitmodules", "[submodule \"dep\"]\n\tpath = dep\n\turl = https://example.test/dep.git\n")
	l.git("add", ".gitmodules")
	l.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat(digit, 40)+",dep")
	l.git("commit", "-q", "-m", "dep "+digit)
}

// pushAs pushes main, and the hook log tells who did it.
func (l *lab) pushAs(user string) {
	l.t.Helper()
	old := l.gitIn(l.source, "rev-parse", "main")
	l.push("main")
	l.hook(user, "refs/heads/main", old, l.git("rev-parse", "main"))
}

func (l *lab) hookLog() string { return filepath.Join(l.dir, "hook.log") }

func (l *lab) hook(user, ref, old, new string) {
	l.t.Helper()
	b, err := HookLine{Time: l.now, Repo: "/home/git/acme/vision.git", User: user, Src: "192.0.2.9", Updates: []HookUpdate{{Ref: ref, Old: old, New: new}}}.Encode()
	require.NoError(l.t, err)
	l.append(l.hookLog(), string(b))
}

func (l *lab) append(path, text string) {
	l.t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(l.t, err)
	_, err = f.WriteString(text)
	require.NoError(l.t, err)
	require.NoError(l.t, f.Close())
}

// keys makes an SSH key for each person and the file of those who may sign.
func (l *lab) keys() {
	l.t.Helper()
	var allowed strings.Builder
	for _, who := range []string{"dana", "mallory", "leaver"} {
		key := filepath.Join(l.dir, who)
		out, err := exec.CommandContext(l.t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", key).CombinedOutput()
		require.NoError(l.t, err, string(out))
		public, err := os.ReadFile(key + ".pub")
		require.NoError(l.t, err)
		switch who {
		case "dana":
			fmt.Fprintf(&allowed, "# who may sign\ndana@example.test namespaces=\"git\" %s", public)
		case "leaver":
			fmt.Fprintf(&allowed, "leaver@example.test valid-before=%q %s", l.now.Add(-time.Hour).Format("20060102150405"), public)
		}
	}
	l.cfg.AllowedSignersFile = filepath.Join(l.dir, "allowed_signers")
	require.NoError(l.t, os.WriteFile(l.cfg.AllowedSignersFile, []byte(allowed.String()), 0o600))
}

func (l *lab) signed(who string) {
	l.t.Helper()
	l.git("-c", "gpg.format=ssh", "-c", "user.signingKey="+filepath.Join(l.dir, who), "commit", "-q", "-S", "--allow-empty", "-m", "signed by "+who)
}

// Each act is found exactly once, and what its twin does is not taken for it:
// over a local path, and over HTTP, where a password is asked for first.
func TestActsAndTwins(t *testing.T) {
	for _, a := range acts() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, side := range []string{"act", "twin"} {
				a.play(t, newLab(t), side)
			}
		})
	}
}

func TestActsAndTwinsOverHTTP(t *testing.T) {
	for _, a := range acts() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, side := range []string{"act", "twin"} {
				l, _ := overHTTP(t)
				a.play(t, l, side)
			}
		})
	}
}

// play plays one side of an act and looks for it among the events.
func (a *act) play(t *testing.T, l *lab, side string) {
	t.Helper()
	l.keys()
	l.cfg.HookLog = l.hookLog()
	l.commit("first", "model.pt", "1", "config.json", "{}")
	l.push()
	if a.set != nil {
		a.set(l)
	}
	l.poll()
	l.tick()
	map[string]func(*lab){"act": a.act, "twin": a.twin}[side](l)
	events := l.poll()
	var found []row
	for _, e := range events {
		if a.found(e, events) {
			found = append(found, e)
		}
	}
	if side == "twin" {
		require.Empty(t, found, "the twin")
		require.NotEmpty(t, events, "the twin does something")
		return
	}
	require.Len(t, found, 1, "found in %v", ops(events))
	if a.check != nil {
		a.check(t, l, found[0], events)
	}
	require.Empty(t, l.poll(), "told once")
}
