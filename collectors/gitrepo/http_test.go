package gitrepo

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/internal/counterpart"
)

// overHTTP is a lab whose repository is served by git http-backend, which asks
// for a password first, and whose clock is the server's.
func overHTTP(t *testing.T) (*lab, *counterpart.GitServer) {
	t.Helper()
	server := counterpart.GitHTTP(t, map[string]string{"alice": "alice-secret", "aiwatch": "s3cr3t-t0ken"})
	l := newLab(t)
	address := server.NewRepository(t, "vision")
	l.source = filepath.Join(server.Dir, "vision.git")
	l.gitIn(l.source, "config", "uploadpack.allowFilter", "true")
	l.git("remote", "set-url", "origin", server.As("alice", address))
	l.cfg.URLs = []string{address}
	l.cfg.Username, l.cfg.Password = "aiwatch", "s3cr3t-t0ken"
	return l, server
}

// onServerTime gives the lab the clock of the server, whose access log is read.
func (l *lab) onServerTime() {
	l.cfg.Now = time.Now
	l.now = time.Now()
}

// Weights that the real git-lfs client manages: replaced without anything else,
// and put into the repository past it.
func TestActsWithGitLFS(t *testing.T) {
	counterpart.GitLFS(t)
	attributes := "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
	for _, a := range []act{
		{
			name: "weights replaced",
			act:  func(l *lab) { l.commit("tidy", "big.safetensors", "other weights") },
			twin: func(l *lab) { l.commit("tune", "config.json", `{"layers":2}`) },
			found: func(e row, all []row) bool {
				return e["lfs_oid"] != nil && e["change_field"] == "digest" && len(with(all, "file.modified")) == 1
			},
			check: func(t *testing.T, _ *lab, e row, all []row) {
				require.Equal(t, sha256Hex("other weights"), e.s("lfs_oid"))
				require.Equal(t, "13", e.s("lfs_size"))
				up := one(t, all, "lfs.uploaded")
				require.Equal(t, e.s("asset_digest"), up.s("asset_digest"))
				require.Equal(t, "alice", up.s("user"))
			},
		},
		{
			name: "weights past git-lfs",
			act: func(l *lab) {
				l.commit("no filter", ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
				l.git("rm", "-q", "--cached", "big.safetensors")
				l.commit("raw", "big.safetensors", "raw weights")
			},
			twin: func(l *lab) {
				l.commit("filter", ".gitattributes", attributes+"*.bin filter=lfs diff=lfs merge=lfs -text\n")
				l.commit("weights", "big.safetensors", "other weights")
			},
			found: func(e row, _ []row) bool { return e["change_field"] == "pointer" },
			check: func(t *testing.T, _ *lab, e row, all []row) {
				require.Empty(t, e.s("lfs_oid"))
				loosened := with(all, "file.modified")[0]
				require.True(t, strings.HasSuffix(loosened.s("asset_id"), "//.gitattributes"))
				require.Equal(t, "control", loosened.s("asset_role"))
			},
		},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, side := range []string{"act", "twin"} {
				l, server := overHTTP(t)
				l.onServerTime()
				l.cfg.AccessLog, l.cfg.TrustLogs = server.AccessLog, true
				l.git("lfs", "install", "--local", "--skip-repo")
				push := func(play func(*lab)) func(*lab) {
					return func(l *lab) {
						play(l)
						l.git("lfs", "push", "origin", "--all")
						l.push("main")
					}
				}
				b := a
				b.set = push(func(l *lab) { l.commit("lfs", ".gitattributes", attributes, "big.safetensors", "weights") })
				b.act, b.twin = push(a.act), push(a.twin)
				b.play(t, l, side)
			}
		})
	}
}

func TestHTTPWithAccessLogAndLFS(t *testing.T) {
	counterpart.GitLFS(t)
	l, server := overHTTP(t)
	l.onServerTime()
	l.cfg.AccessLog, l.cfg.TrustLogs, l.cfg.LFSBudget = server.AccessLog, true, 1<<20
	l.git("lfs", "install", "--local", "--skip-repo")
	l.commit("first", ".gitattributes", "*.pkl filter=lfs diff=lfs merge=lfs -text\n", "model.pkl", pickled("collections", "OrderedDict"))
	l.git("lfs", "push", "origin", "--all")
	l.push()
	events := l.poll()
	require.Equal(t, "git:127.0.0.1/vision", events[0].s("asset_id"))
	require.Empty(t, with(events, "repo.pushed"), "the log is read from its end")

	l.commit("retrained", "model.pkl", pickled("os", "system"))
	l.git("lfs", "push", "origin", "--all")
	l.push("main")
	events = l.poll()
	file := one(t, events, "file.modified")
	require.Equal(t, "dangerous", file.s("verdict"))
	require.Equal(t, []string{"os.system"}, file.list("imports"))
	require.Equal(t, "sha256:"+file.s("lfs_oid"), file.s("asset_digest"))
	push := one(t, events, "repo.pushed")
	require.Equal(t, "alice", push.s("user"))
	require.Equal(t, "exact", push.s("time_basis"))
	require.Equal(t, "127.0.0.1", push.s("src"))
	require.Equal(t, file.s("lfs_oid"), one(t, events, "lfs.uploaded").s("lfs_oid"))
	ref := one(t, events, "ref.updated")
	require.Equal(t, "alice", ref.s("pusher"))
	require.Equal(t, "authenticated", ref.s("user_confidence"))

	// What the first version imported was not scanned at first contact; that of
	// the second version is known.
	l.commit("again", "model.pkl", pickled("os", "popen"))
	l.git("lfs", "push", "origin", "--all")
	l.push("main")
	events = l.poll()
	require.Equal(t, []string{"os.popen"}, one(t, events, "file.modified").list("imports_added"))

	clone := filepath.Join(l.dir, "clone")
	l.gitIn(l.dir, "clone", "-q", "-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.required=true", server.As("alice", l.cfg.URLs[0]), clone)
	events = l.poll()
	require.NotEmpty(t, with(events, "repo.fetched"))
	mine := 0
	for _, e := range with(events, "repo.fetched") {
		if e.s("user") == "alice" {
			mine++
			require.Positive(t, e["bytes_out"])
		}
	}
	require.Positive(t, mine)
	readers := map[string]bool{}
	for _, e := range with(events, "lfs.downloaded") {
		readers[e.s("user")] = true
	}
	require.Equal(t, map[string]bool{"alice": true, "aiwatch": true}, readers, "the developer, and we ourselves before")
	clones := len(with(events, "repo.fetched"))
	require.Positive(t, clones)
	require.Empty(t, l.poll(), "looking for changes is no fetch")
	require.NotContains(t, l.logged.String(), "s3cr3t-t0ken")
}

// The token reaches the server, and nobody can read it: not in the arguments of
// a running git or of those it starts, not in a log, not in an error.
func TestTokenIsNowhereToBeSeen(t *testing.T) {
	l, server := overHTTP(t)
	l.commit("first", "config.json", "{}")
	l.push()

	// A server in front that holds the request until the processes were looked at.
	var seen atomic.Bool
	held := make(chan struct{})
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	arguments := make(chan string, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.CompareAndSwap(false, true) {
			arguments <- commandLines(t, l.cfg.Dir)
			close(held)
		}
		<-held
		if _, _, ok := r.BasicAuth(); !ok {
			t.Error("a request without the credentials")
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	l.cfg.URLs = []string{front.URL + "/vision.git"}
	l.cfg.Username, l.cfg.Password, l.cfg.Token = "", "", "s3cr3t-t0ken"
	server.Password = "unused"
	// The token's user is x-access-token, whom the counterpart does not know, so
	// the poll fails: the error must not hold the token either.
	_, err = l.tryPoll()
	require.Error(t, err)
	lines := <-arguments
	require.Contains(t, lines, "ls-remote")
	for _, secret := range []string{"s3cr3t-t0ken", "eC1hY2Nlc3MtdG9rZW46"} { // as it is, and in base64
		require.NotContains(t, lines, secret)
		require.NotContains(t, err.Error(), secret)
		require.NotContains(t, l.logged.String(), secret)
		for _, e := range l.all {
			b, err := json.Marshal(e)
			require.NoError(t, err)
			require.NotContains(t, string(b), secret)
		}
	}
}

// commandLines returns the arguments of every git that works for the mirrors in
// dir, and of what those have started.
func commandLines(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var lines strings.Builder
	for _, path := range all {
		environ, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if err != nil || !strings.Contains(string(environ), "GIT_DIR="+dir) {
			continue
		}
		b, err := os.ReadFile(path)
		if err == nil {
			lines.WriteString(strings.ReplaceAll(string(b), "\x00", " ") + "\n")
		}
	}
	return lines.String()
}

// A server that sends us elsewhere is not followed, and gets no second token.
func TestRedirectIsNotFollowed(t *testing.T) {
	var visits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/vision.git/info/refs?service=git-upload-pack", http.StatusFound))
	defer server.Close()
	l := newLab(t)
	l.cfg.URLs = []string{server.URL + "/vision.git"}
	l.cfg.Token = "s3cr3t-t0ken"
	events, err := l.tryPoll()
	require.Error(t, err)
	require.Zero(t, visits.Load())
	require.Equal(t, "failure", one(t, events, "repo.unreachable").s("status"))

	col := l.collector()
	for i, r := range col.repos {
		col.repos[i].mirror.git.hardenings = without("http.followRedirects=false")
		_ = r
	}
	_, _ = l.tryPoll() // how it ends is the other server's to say
	require.Positive(t, visits.Load(), "without the line the attack works")
}

// An LFS server that names another host is not followed.
func TestLFSElsewhereIsRefused(t *testing.T) {
	var visits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	content := pickled("os", "system")
	oid := sha256Hex(content)
	for name, serve := range map[string]http.HandlerFunc{
		"href": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"objects":[{"oid":"` + oid + `","actions":{"download":{"href":"` + elsewhere.URL + `/x"}}}]}`))
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"redirect of the object": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/batch") {
				_, _ = w.Write([]byte(`{"objects":[{"oid":"` + oid + `","actions":{"download":{"href":"/object"}}}]}`))
				return
			}
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		},
		"other content": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/batch") {
				_, _ = w.Write([]byte(`{"objects":[{"oid":"` + oid + `","actions":{"download":{"href":"/object"}}}]}`))
				return
			}
			_, _ = w.Write([]byte(strings.Repeat("x", len(content))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			lfs := httptest.NewServer(serve)
			defer lfs.Close()
			l := newLab(t)
			l.cfg.LFSBudget, l.cfg.LFSURL = 1<<20, lfs.URL
			l.commit("first", "a.txt", "a")
			l.push()
			l.poll()
			// The repository's own word for where its objects are is not asked.
			l.commit("weights", ".lfsconfig", "[lfs]\n\turl = "+elsewhere.URL+"\n",
				"model.pkl", strings.Replace(pointer("0", len(content)), strings.Repeat("0", 64), oid, 1))
			l.push()
			events := l.poll()
			found := ""
			for _, e := range with(events, "file.added") {
				if strings.HasSuffix(e.s("asset_id"), "model.pkl") {
					found = e.s("error_code")
					require.Empty(t, e.s("verdict"))
				}
			}
			want := lfsRefused
			if name == "other content" {
				want = lfsMismatch
			}
			require.Equal(t, want, found)
			require.Zero(t, visits.Load())
		})
	}
}

func TestLFSBudgetIsForTheDay(t *testing.T) {
	content := pickled("os", "system")
	var asked atomic.Int32
	lfs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/batch") {
			asked.Add(1)
			_, _ = w.Write([]byte(`{"objects":[{"oid":"` + sha256Hex(content) + `","actions":{"download":{"href":"/object"}}}]}`))
			return
		}
		_, _ = w.Write([]byte(content))
	}))
	defer lfs.Close()
	l := newLab(t)
	l.cfg.LFSBudget, l.cfg.LFSURL = int64(len(content)), lfs.URL
	l.commit("first", "a.txt", "a")
	l.push()
	l.poll()
	pointerTo := strings.Replace(pointer("0", len(content)), strings.Repeat("0", 64), sha256Hex(content), 1)
	for i, want := range []string{"dangerous", "", "dangerous"} {
		if i == 2 {
			l.now = l.now.Add(24 * time.Hour)
		}
		name := string(rune('a'+i)) + ".pkl"
		l.commit(name, name, pointerTo)
		l.push()
		e := one(t, l.poll(), "file.added")
		require.Equal(t, want, e.s("verdict"))
		if want == "" {
			require.Equal(t, lfsOverBudget, e.s("error_code"))
		}
	}
	require.Equal(t, int32(2), asked.Load())
}

// Over ssh, with OpenSSH at both ends: the key that is set lets us in, and a
// server of another key than the known one is not believed.
func TestSSH(t *testing.T) {
	server := counterpart.SSHD(t)
	l := newLab(t)
	l.cfg.URLs = []string{server.URL(l.source)}
	l.cfg.SSHKeyFile, l.cfg.KnownHostsFile = server.KeyFile, server.KnownHosts
	l.commit("first", "model.pt", "1")
	l.push()
	events := l.poll()
	id := "git:127.0.0.1" + strings.TrimSuffix(l.source, ".git")
	require.Equal(t, id, events[0].s("asset_id"))
	c := l.commit("second", "model.pt", "2")
	l.push()
	require.Equal(t, id+"@"+c, one(t, l.poll(), "commit.added").s("asset_id"))
	require.Empty(t, l.poll())
	for _, f := range l.collector().Check(t.Context())[:2] {
		require.Equal(t, collectors.Good, f.Verdict, f.Text)
	}

	log, err := os.ReadFile(server.Log)
	require.NoError(t, err)
	require.Contains(t, string(log), "Accepted publickey")

	for name, wrong := range map[string]func(){
		"another server": func() {
			l.cfg.KnownHostsFile = counterpart.SSHD(t).KnownHosts
			known, err := os.ReadFile(l.cfg.KnownHostsFile)
			require.NoError(t, err)
			_, key, _ := strings.Cut(string(known), " ")
			host, port, _ := strings.Cut(server.Address, ":")
			require.NoError(t, os.WriteFile(l.cfg.KnownHostsFile, []byte("["+host+"]:"+port+" "+key), 0o600))
		},
		"a server that nobody knows": func() {
			l.cfg.KnownHostsFile = filepath.Join(l.dir, "none")
			require.NoError(t, os.WriteFile(l.cfg.KnownHostsFile, nil, 0o600))
		},
		"a key that it does not let in": func() {
			l.keys()
			l.cfg.SSHKeyFile = filepath.Join(l.dir, "mallory")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l.cfg.SSHKeyFile, l.cfg.KnownHostsFile = server.KeyFile, server.KnownHosts
			wrong()
			l.restart()
			_, err := l.tryPoll()
			if name == "a key that it does not let in" {
				require.ErrorContains(t, err, "Permission denied")
			} else {
				require.ErrorContains(t, err, "Host key verification failed")
			}
		})
	}
}

func TestUnreachableIsToldOnceAndComesBack(t *testing.T) {
	l := newLab(t)
	l.commit("first", "model.pt", "1")
	l.push()
	l.poll()
	require.NoError(t, os.Rename(l.source, l.source+".away"))
	events, err := l.tryPoll()
	require.ErrorContains(t, err, "git:local/acme/vision")
	require.Equal(t, []string{"repo.unreachable "}, ops(events))
	events, err = l.tryPoll()
	require.Error(t, err)
	require.Empty(t, events)
	require.NoError(t, os.Rename(l.source+".away", l.source))
	l.commit("second", "model.pt", "2")
	l.push()
	require.Len(t, l.poll(), 3)
	require.NoError(t, os.Rename(l.source, l.source+".away"))
	events, err = l.tryPoll()
	require.Error(t, err)
	require.Len(t, with(events, "repo.unreachable"), 1, "a second outage")
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	l := newLab(t)
	l.cfg.AccessLog = filepath.Join(l.dir, "none.log")
	verdicts := func() (list []collectors.Verdict) {
		for _, f := range l.collector().Check(t.Context()) {
			list = append(list, f.Verdict)
			require.NotEmpty(t, f.Text)
			require.Equal(t, f.Verdict == collectors.Good, f.Fix == "", f.Text)
		}
		return list
	}
	require.Equal(t, []collectors.Verdict{collectors.Good, collectors.Good, collectors.Unavailable, collectors.Warning}, verdicts())
	require.NoError(t, os.RemoveAll(l.source))
	require.Contains(t, verdicts(), collectors.Unavailable)
}
