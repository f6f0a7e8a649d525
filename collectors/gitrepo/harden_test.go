package gitrepo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// without returns the hardenings but one.
func without(line string) []hardening {
	return slices.DeleteFunc(slices.Clone(hardenings), func(h hardening) bool { return h.Env == line || h.Config == line })
}

// A trap is a hostile repository, with a git of ours that is led into it.
type trap struct {
	*lab
	git    *gitRunner
	server *httptest.Server // answers 401, and counts those who come
	visits atomic.Int32
}

func newTrap(t *testing.T, removed string) *trap {
	tr := &trap{lab: newLab(t)}
	tr.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tr.visits.Add(1)
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(tr.server.Close)
	home := filepath.Join(tr.dir, "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	tr.git = &gitRunner{dir: filepath.Join(tr.work, ".git"), home: home, protocol: "file:http", hardenings: hardenings, env: []string{"GIT_WORK_TREE=" + tr.work}}
	if removed != "" {
		tr.git.hardenings = without(removed)
		require.Len(t, tr.git.hardenings, len(hardenings)-1, "there is no line %s", removed)
	}
	tr.commit("first", "model.pt", "1")
	tr.push()
	return tr
}

// canary is a command that leaves a file behind.
func (tr *trap) canary() string { return "touch " + filepath.Join(tr.dir, "canary") }

// script writes an executable that leaves the canary, and returns its path.
func (tr *trap) script(path string) string {
	require.NoError(tr.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(tr.t, os.WriteFile(path, []byte("#!/bin/sh\n"+tr.canary()+"\n"), 0o700))
	return path
}

func (tr *trap) config(key, value string) { tr.gitIn(tr.work, "config", key, value) }

// run runs a git of ours and returns what it printed; how it ends is not asked.
func (tr *trap) run(stdin string, args ...string) string {
	out, err := tr.git.output(tr.t.Context(), []byte(stdin), 1<<20, args...)
	return string(out) + fmt.Sprint(err)
}

func (tr *trap) sprung() bool {
	_, err := os.Stat(filepath.Join(tr.dir, "canary"))
	return err == nil
}

// attacks are, for each line of the hardening, what happens without it. Each
// reports whether it succeeded.
var attacks = map[string]func(tr *trap) bool{
	"GIT_CONFIG_NOSYSTEM=1": func(tr *trap) bool {
		p := filepath.Join(tr.dir, "system")
		require.NoError(tr.t, os.WriteFile(p, []byte("[alias]\n\tx = !"+tr.canary()+"\n"), 0o600))
		tr.git = tr.git.with("GIT_CONFIG_SYSTEM=" + p)
		tr.run("", "x")
		return tr.sprung()
	},
	"GIT_ATTR_NOSYSTEM=1": func(tr *trap) bool {
		// The file is /etc/gitattributes, so git runs where /etc is another one.
		tr.config("diff.evil.textconv", tr.canary()+"; cat")
		unshare, err := exec.LookPath("unshare")
		require.NoError(tr.t, err)
		cmd := tr.git.command(tr.t.Context(), "show", "HEAD")
		cmd.Path = unshare
		cmd.Args = append([]string{
			"unshare", "--mount", "sh", "-c",
			`mount -t tmpfs tmpfs /etc && echo "* diff=evil" >/etc/gitattributes && exec "$@"`, "sh",
		}, cmd.Args...)
		out, err := cmd.CombinedOutput()
		if err != nil && bytes.Contains(out, []byte("ermitted")) {
			tr.t.Skip("this machine lets nobody mount another /etc")
		}
		require.NoError(tr.t, err, string(out))
		return tr.sprung()
	},
	"GIT_TERMINAL_PROMPT=0": func(tr *trap) bool {
		return !strings.Contains(tr.run("", "ls-remote", tr.server.URL+"/x.git"), "terminal prompts disabled")
	},
	"GIT_ASKPASS=false": func(tr *trap) bool {
		tr.config("core.askPass", tr.script(filepath.Join(tr.dir, "ask")))
		tr.run("", "ls-remote", tr.server.URL+"/x.git")
		return tr.sprung()
	},
	"GIT_NO_REPLACE_OBJECTS=1": func(tr *trap) bool {
		first := tr.gitIn(tr.work, "rev-parse", "HEAD")
		second := tr.gitIn(tr.work, "commit-tree", "-m", "another", "HEAD^{tree}")
		tr.gitIn(tr.work, "replace", first, second)
		return strings.Contains(tr.run("", "cat-file", "commit", first), "another")
	},
	"GIT_NO_LAZY_FETCH=1": func(tr *trap) bool {
		tr.config("core.repositoryformatversion", "1")
		tr.config("extensions.partialClone", "evil")
		tr.config("remote.evil.url", tr.source)
		tr.config("remote.evil.promisor", "true")
		tr.config("remote.evil.uploadpack", tr.canary()+";")
		tr.run("", "cat-file", "-p", strings.Repeat("12", 20))
		return tr.sprung()
	},
	"GIT_GRAFT_FILE=/dev/null/none": func(tr *trap) bool {
		tr.commit("second")
		tr.write(".git/info/grafts", tr.gitIn(tr.work, "rev-parse", "HEAD")+"\n")
		return strings.HasPrefix(tr.run("", "rev-list", "--count", "HEAD"), "1\n")
	},
	"GIT_LFS_SKIP_SMUDGE=1": func(tr *trap) bool {
		tr.write(".lfsconfig", "[lfs]\n\turl = "+tr.server.URL+"\n")
		tr.run(pointer("a", 10), "lfs", "smudge")
		return tr.visits.Load() > 0
	},
	"GIT_OPTIONAL_LOCKS=0": func(tr *trap) bool {
		index := filepath.Join(tr.work, ".git", "index")
		before, err := os.Stat(index)
		require.NoError(tr.t, err)
		past := before.ModTime().AddDate(0, 0, -1)
		require.NoError(tr.t, os.Chtimes(filepath.Join(tr.work, "model.pt"), past, past))
		tr.run("", "status")
		after, err := os.Stat(index)
		require.NoError(tr.t, err)
		return !os.SameFile(before, after)
	},
	"GIT_LITERAL_PATHSPECS=1": func(tr *trap) bool {
		return strings.Contains(tr.run("", "ls-files", "--", "*.pt"), "model.pt")
	},
	"core.hooksPath=/dev/null": func(tr *trap) bool {
		tr.script(filepath.Join(tr.work, ".git", "hooks", "reference-transaction"))
		tr.run("", "update-ref", "refs/x", "HEAD")
		return tr.sprung()
	},
	"core.fsmonitor=false": func(tr *trap) bool {
		tr.config("core.fsmonitor", tr.script(filepath.Join(tr.dir, "monitor")))
		tr.run("", "status")
		return tr.sprung()
	},
	"core.attributesFile=/dev/null": func(tr *trap) bool {
		tr.write("../attributes", "* diff=evil\n")
		tr.config("core.attributesFile", filepath.Join(tr.dir, "attributes"))
		tr.config("diff.evil.textconv", tr.canary()+"; cat")
		tr.run("", "show", "HEAD")
		return tr.sprung()
	},
	"credential.helper=": func(tr *trap) bool {
		tr.config("credential.helper", "!"+tr.canary()+";")
		tr.run("", "ls-remote", tr.server.URL+"/x.git")
		return tr.sprung()
	},
	"http.followRedirects=false": func(tr *trap) bool {
		from := httptest.NewServer(http.RedirectHandler(tr.server.URL+"/x.git/info/refs?service=git-upload-pack", http.StatusFound))
		defer from.Close()
		tr.run("", "ls-remote", from.URL+"/x.git")
		return tr.visits.Load() > 0
	},
	"fetch.recurseSubmodules=false": func(tr *trap) bool {
		tr.gitIn(tr.work, "-c", "protocol.file.allow=always", "submodule", "add", "-q", tr.source, "dep")
		tr.gitIn(tr.work, "commit", "-q", "-m", "dep")
		tr.gitIn(filepath.Join(tr.work, "dep"), "config", "remote.origin.uploadpack", tr.canary()+";")
		tr.config("fetch.recurseSubmodules", "true")
		tr.run("", "fetch", "origin")
		return tr.sprung()
	},
	"fetch.writeCommitGraph=false": func(tr *trap) bool {
		tr.config("fetch.writeCommitGraph", "true")
		tr.run("", "fetch", "origin", "main:refs/x")
		_, err := os.Stat(filepath.Join(tr.work, ".git", "objects", "info", "commit-graphs"))
		return err == nil
	},
	"gc.auto=0": func(tr *trap) bool {
		// Git guesses how many there are from one of 256 folders.
		var paths strings.Builder
		for i := range 1500 {
			name := fmt.Sprintf("filler/%d", i)
			tr.write(name, name)
			paths.WriteString(name + "\n")
		}
		hash := exec.CommandContext(tr.t.Context(), "git", "-C", tr.work, "hash-object", "-w", "--stdin-paths")
		hash.Stdin = strings.NewReader(paths.String())
		require.NoError(tr.t, hash.Run())
		tr.commit("all of them")
		tr.config("gc.auto", "1")
		tr.config("gc.autoDetach", "false")
		before := tr.gitIn(tr.work, "count-objects")
		tr.run("", "fetch", "origin", "main:refs/y")
		return tr.gitIn(tr.work, "count-objects") != before
	},
	"log.showSignature=false": func(tr *trap) bool {
		tr.keys()
		tr.signed("dana")
		tr.config("log.showSignature", "true")
		tr.config("gpg.ssh.program", tr.script(filepath.Join(tr.dir, "gpg")))
		tr.config("gpg.ssh.allowedSignersFile", tr.cfg.AllowedSignersFile)
		tr.run("", "log", "-1")
		return tr.sprung()
	},
	"log.mailmap=false": func(tr *trap) bool {
		tr.write("../mailmap", "Laundered <clean@example.test> <dana@example.test>\n")
		tr.config("mailmap.file", filepath.Join(tr.dir, "mailmap"))
		tr.config("log.mailmap", "true")
		return strings.Contains(tr.run("", "log", "-1"), "Laundered")
	},
	"log.showRoot=true": func(tr *trap) bool {
		tr.config("log.showRoot", "false")
		return !strings.Contains(tr.run("", "log", "--raw"), "model.pt")
	},
}

// Every line of the hardening keeps a real attack from succeeding, which
// succeeds without it.
func TestEveryHardeningLine(t *testing.T) {
	for _, h := range hardenings {
		line := h.Env + h.Config
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			attack := attacks[line]
			require.NotNil(t, attack, "a line without an attack that it keeps off")
			require.False(t, attack(newTrap(t, "")), "the attack succeeds")
			require.True(t, attack(newTrap(t, line)), "the attack does not succeed without the line either: it proves nothing")
		})
	}
}

// Only the protocol of the configured URL is spoken, whatever is configured.
func TestOtherProtocolsAreRefused(t *testing.T) {
	for _, protocol := range []string{"file", "ext"} {
		tr := newTrap(t, "")
		tr.git.protocol = protocol
		tr.config("protocol.ext.allow", "always")
		tr.run("", "ls-remote", "ext::sh -c "+strings.ReplaceAll(tr.canary(), " ", "% "))
		require.Equal(t, protocol == "ext", tr.sprung())
	}
	tr := newTrap(t, "")
	tr.git.protocol = "https"
	require.Contains(t, tr.run("", "ls-remote", "file://"+tr.source), "not allowed")
}

func TestAddressesThatAreRefused(t *testing.T) {
	for _, address := range []string{
		"ext::sh -c x", "file:///srv/x.git", "http://example.test/x.git", "https://user:pw@example.test/x.git",
		"git://example.test/x.git", "relative/path", "--upload-pack=x", "", "https://", "fd::3", "-oProxyCommand=x:y", "ssh://-oProxyCommand=x/y",
	} {
		_, err := New(Config{URLs: []string{address}, Dir: t.TempDir()})
		require.Error(t, err, address)
		require.NotContains(t, err.Error(), "pw", address)
	}
}

// A local repository's own configuration, hooks and attributes do nothing.
func TestHostileSource(t *testing.T) {
	tr := newTrap(t, "")
	hook := tr.script(filepath.Join(tr.dir, "hook"))
	for key, value := range map[string]string{
		"uploadpack.packObjectsHook": hook, "core.fsmonitor": hook, "core.hooksPath": filepath.Join(tr.dir, "hooks"),
		"core.alternateRefsCommand": hook, "core.sshCommand": hook, "core.askPass": hook, "core.pager": hook, "core.editor": hook,
		"credential.helper": "!" + hook, "gpg.program": hook, "diff.external": hook, "protocol.ext.allow": "always",
		"extensions.partialClone": "evil", "remote.evil.promisor": "true", "remote.evil.url": "ext::" + hook, "remote.evil.uploadpack": hook,
		"core.repositoryformatversion": "1", "filter.x.smudge": hook, "url.ext::" + hook + ".insteadOf": "/",
	} {
		tr.gitIn(tr.source, "config", key, value)
	}
	for _, name := range []string{"post-receive", "reference-transaction", "post-checkout", "pre-auto-gc", "update"} {
		tr.script(filepath.Join(tr.dir, "hooks", name))
		tr.script(filepath.Join(tr.source, "hooks", name))
	}
	tr.commit("attributes", ".gitattributes", "* filter=x diff=x merge=x\n", ".gitmodules", "[submodule \"d\"]\n\tpath = d\n\turl = ext::"+hook+"\n\tupdate = !"+hook+"\n")
	objects := tr.gitIn(tr.work, "rev-parse", "HEAD")
	// The objects come by hand: a push would run the source's hooks, as it should.
	out, err := exec.CommandContext(t.Context(), "cp", "-Rn", filepath.Join(tr.work, ".git", "objects"), tr.source).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.WriteFile(filepath.Join(tr.source, "refs", "heads", "main"), []byte(objects+"\n"), 0o600))
	require.Len(t, with(tr.poll(), "inventory"), 4)
	require.False(t, tr.sprung())
	require.Empty(t, tr.poll())
	require.False(t, tr.sprung())
}

func TestSSHIsStartedWithNothingOfTheUsers(t *testing.T) {
	_, err := sshEnv("/etc/aiwatch/key", "")
	require.Error(t, err)
	l := newLab(t)
	bin := filepath.Join(l.dir, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o700))
	said := filepath.Join(l.dir, "said")
	require.NoError(t, os.WriteFile(filepath.Join(bin, "ssh"), []byte("#!/bin/sh\nprintf '%s\\n' \"$@\" > "+said+"\nexit 1\n"), 0o700))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	l.cfg.URLs = []string{"git@example.test:acme/vision.git"}
	l.cfg.SSHKeyFile, l.cfg.KnownHostsFile = filepath.Join(l.dir, "the key"), filepath.Join(l.dir, "known'hosts")
	_, err = l.tryPoll()
	require.Error(t, err)
	b, err := os.ReadFile(said)
	require.NoError(t, err)
	args := string(b)
	for _, want := range []string{
		"-F\n/dev/null\n", "BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none",
		`UserKnownHostsFile="` + l.cfg.KnownHostsFile + `"`, `IdentityFile="` + l.cfg.SSHKeyFile + `"`, "git@example.test", "git-upload-pack 'acme/vision.git'",
	} {
		require.Contains(t, args, want)
	}
}
