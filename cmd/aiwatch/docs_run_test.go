package main

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/house"
	"aiwatch/internal/splunkdsim"
)

// TestDocsRun does what the pages say, in an empty home, with the program of
// this build as aiwatch and dist/aiwatch, and splunk_app beside it. What stands behind the language of a
// fence says what a block is:
//
//	sh run          a script, which must end with 0. The scripts of a page are
//	                one terminal: folder and variables go on
//	sh serve        one command, which runs in another terminal until the page
//	                ends; what follows waits for its output
//	text output     what the block above writes, as far as it is told: "..." is
//	                anything, a line of it any lines
//	ini file=PATH   the file that the reader makes there, in any language
//
// Each address 127.0.0.1:PORT becomes a free one.
func TestDocsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("plays scenarios and waits for programs")
	}
	pages := readPages(t, house.Files(t, top))
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		p := pages[name]
		if !slices.ContainsFunc(p.blocks, func(b block) bool { return len(b.words) > 0 }) {
			continue
		}
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			after := func() {}
			if prepare := standIns[name]; prepare != nil {
				after = prepare(t, r)
			}
			r.read(p)
			after()
		})
	}
}

// standIns put somebody in the place of what a page speaks of; what they return
// looks at what has become of it.
var standIns = map[string]func(*testing.T, *reader) func(){
	"docs/splunk-addon.md": func(t *testing.T, r *reader) func() {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("curl is not installed")
		}
		splunkd := splunkdsim.StartREST(t, splunkdsim.RESTOptions{Names: []string{"127.0.0.1"}})
		r.replace["https://<stack>.splunkcloud.com:8089"] = splunkd.URI
		r.replace["<token>"] = splunkd.Token
		r.env = append(r.env, "CURL_CA_BUNDLE="+splunkd.CAFile)
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "secret.txt"), []byte("the secret & more"), 0o600))
		return func() {
			secret, _ := splunkd.Entry("aiwatch", "mlflow-prod")
			require.Equal(t, "the secret & more", secret)

			// Changing and removing go to the entry that the page names.
			text, err := os.ReadFile(filepath.Join(top, "docs/splunk-addon.md"))
			require.NoError(t, err)
			entry := regexp.MustCompile("`\\.\\.\\.(/storage/passwords/[^`]*)`").FindSubmatch(text)
			require.NotNil(t, entry)
			call := "curl --fail --silent --show-error --config token.curl " + splunkd.URI + "/servicesNS/nobody/TA-aiwatch" + string(entry[1])
			out, err := r.terminal(call + " --data-urlencode password=new").CombinedOutput()
			require.NoError(t, err, string(out))
			secret, _ = splunkd.Entry("aiwatch", "mlflow-prod")
			require.Equal(t, "new", secret)
			out, err = r.terminal(call + " --request DELETE").CombinedOutput()
			require.NoError(t, err, string(out))
			_, ok := splunkd.Entry("aiwatch", "mlflow-prod")
			require.False(t, ok)
		}
	},
}

// reader is somebody who does what a page says.
type reader struct {
	t       *testing.T
	dir     string
	env     []string
	replace map[string]string
	serving []func() // ends what serves
}

func newReader(t *testing.T) *reader {
	t.Helper()
	program, err := exec.LookPath("aiwatch") // this test's binary, by TestMain
	require.NoError(t, err)
	r := &reader{t: t, dir: t.TempDir(), replace: map[string]string{}}
	home := filepath.Join(r.dir, "home")
	for _, dir := range []string{home, filepath.Join(r.dir, "dist")} {
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
	app, err := filepath.Abs(filepath.Join(top, "splunk_app"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(program, filepath.Join(r.dir, "dist", "aiwatch")))
	require.NoError(t, os.Symlink(app, filepath.Join(r.dir, "splunk_app")))
	r.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + t.TempDir(), "LANG=C.UTF-8",
		// Nobody is asked but loopback, neither for data nor for credentials.
		"http_proxy=http://127.0.0.1:1", "https_proxy=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1",
		"no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1", "AWS_EC2_METADATA_DISABLED=true", "GIT_CONFIG_NOSYSTEM=1",
	}
	return r
}

// read goes through the page, block by block.
func (r *reader) read(p *page) {
	r.t.Helper()
	defer func() {
		for _, end := range r.serving {
			end()
		}
	}()
	for i := range p.blocks {
		b := &p.blocks[i]
		want := ""
		if i+1 < len(p.blocks) && p.blocks[i+1].is("output") {
			want = r.filled(p.blocks[i+1].text)
		}
		switch {
		case b.file() != "":
			r.keep(p, b)
		case b.is("run"):
			out, err := r.terminal(r.filled(b.text)).CombinedOutput()
			require.NoError(r.t, err, "%s:%d:\n%s", p.name, b.line, out)
			require.True(r.t, shows(string(out), want), "%s:%d writes:\n%s\ninstead of:\n%s", p.name, b.line, out, want)
		case b.is("serve"):
			r.serve(p, b, want)
		case b.is("output") && i > 0 && (p.blocks[i-1].is("run") || p.blocks[i-1].is("serve")):
		case len(b.words) > 0:
			r.t.Fatalf("%s:%d: a block is run, serve, file=PATH, or output behind one of them, not %q", p.name, b.line, b.words)
		}
	}
}

// keep writes the file that a block shows. Where the page is read without its
// source, the paragraph above has to name it.
func (r *reader) keep(p *page, b *block) {
	r.t.Helper()
	require.Contains(r.t, b.before, filepath.Base(b.file()), "%s:%d: the paragraph above does not name the file", p.name, b.line)
	to := filepath.Join(r.dir, b.file())
	require.NoError(r.t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(r.t, os.WriteFile(to, []byte(r.filled(b.text)), 0o600))
}

// loopback matches an address that a page chose for something that listens.
var loopback = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// filled is a text of a page with what stands in for what it names.
func (r *reader) filled(text string) string {
	for _, address := range loopback.FindAllString(text, -1) {
		if _, ok := r.replace[address]; !ok {
			r.replace[address] = counterpart.FreeAddress(r.t)
		}
	}
	var pairs []string
	for from, to := range r.replace {
		pairs = append(pairs, from, to)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// terminal is a script that goes on where the one before it ended.
func (r *reader) terminal(script string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	r.t.Cleanup(cancel)
	c := exec.CommandContext(ctx, "bash", "-c", "set -aeuo pipefail\n"+
		`kept=$1; [ ! -e "$kept" ] || . "$kept"`+"\n"+script+"\n"+
		`{ export -p; printf 'cd %q\n' "$PWD"; } > "$kept"`, "bash", filepath.Join(r.dir, "home", ".kept"))
	c.Dir, c.Env = r.dir, r.env
	return c
}

// serve starts the command of a block and waits until it has written what the
// page tells.
func (r *reader) serve(p *page, b *block, want string) {
	r.t.Helper()
	require.NotEmpty(r.t, want, "%s:%d: what serves has an output that can be waited for", p.name, b.line)
	c := r.terminal("exec " + r.filled(b.text))
	var out output
	c.Stdout, c.Stderr = &out, &out
	require.NoError(r.t, c.Start())
	r.serving = append(r.serving, func() {
		_ = c.Process.Signal(syscall.SIGTERM) // what has ended is none
		require.NoError(r.t, c.Wait(), "%s:%d:\n%s", p.name, b.line, &out)
	})
	eventually(r.t, p.name+" serves", func() bool { return shows(out.String(), want) })
}

var (
	runOfSpaces = regexp.MustCompile(`[ \t]+`)
	anyLines    = regexp.MustCompile(`(?m)^ *\\\.\\\.\\\. *\n`)
)

// shows tells whether the output is what a page tells, where columns may be
// wider.
func shows(out, want string) bool {
	if want == "" {
		return true
	}
	narrow := func(text string) string {
		lines := strings.Split(runOfSpaces.ReplaceAllString(text, " "), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return strings.Trim(strings.Join(lines, "\n"), "\n") + "\n"
	}
	pattern := anyLines.ReplaceAllString(regexp.QuoteMeta(narrow(want)), `(?:.*\n)*`)
	pattern = strings.ReplaceAll(pattern, `\.\.\.`, `.*`)
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(narrow(out))
}

func TestDocsRunShows(t *testing.T) {
	for _, c := range []struct {
		out, want string
		is        bool
	}{
		{"a  b\nc\n", "a b\nc\n", true},
		{"a b\nc\n", "a b\n", false},
		{"a b\nc\n", "a ...\nc\n", true},
		{"1\n2\n3\n", "1\n...\n", true},
		{"1\n2\n3\n", "...\n3\n", true},
		{"1\n2\n3\n", "...\n2\n", false},
		{"3\n", "...\n3\n", true},
		{"a.b\n", "a.b\n", true},
		{"axb\n", "a.b\n", false},
	} {
		require.Equal(t, c.is, shows(c.out, c.want), "%q shows %q", c.out, c.want)
	}
}
