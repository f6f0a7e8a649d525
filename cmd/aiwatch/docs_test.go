package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	"mvdan.cc/sh/v3/syntax"

	searchtime "aiwatch/internal/addon"
	"aiwatch/internal/conf"
	"aiwatch/internal/detection"
	"aiwatch/internal/house"
	"aiwatch/internal/spl"
)

// repository is what a page may point at.
type repository struct {
	files, folders map[string]bool
	pages          map[string]*page
	tests          map[string]bool // tests, benchmarks and fuzz targets
	targets        map[string]bool // of the Makefile
	app            *cli.App
	engine         *spl.Engine
	scratch        string // a folder for configurations
}

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	makeTarget   = regexp.MustCompile(`(?m)^([a-z]+):`)
)

func readRepository(t *testing.T) *repository {
	t.Helper()
	files := house.Files(t, top)
	app, err := detection.FS()
	require.NoError(t, err)
	engine, err := detection.Engine(app, time.UTC)
	require.NoError(t, err)
	r := &repository{
		files: map[string]bool{}, folders: map[string]bool{}, tests: map[string]bool{}, targets: map[string]bool{},
		pages: readPages(t, files), app: (&program{}).app(), engine: engine, scratch: t.TempDir(),
	}
	for _, name := range files {
		r.files[name] = true
		for dir := path.Dir(name); !r.folders[dir]; dir = path.Dir(dir) {
			r.folders[dir] = true
		}
		if strings.HasSuffix(name, "_test.go") {
			source, err := os.ReadFile(filepath.Join(top, name))
			require.NoError(t, err)
			for _, found := range testFunction.FindAllSubmatch(source, -1) {
				r.tests[string(found[1])] = true
			}
		}
	}
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	require.NoError(t, err)
	for _, found := range makeTarget.FindAllSubmatch(makefile, -1) {
		r.targets[string(found[1])] = true
	}
	return r
}

// TestDocs holds every page of the repository to the repository: links lead to
// files and headings that are there, commands and flags are those of the
// program, and the files and tests that are named exist.
func TestDocs(t *testing.T) {
	r := readRepository(t)
	for _, name := range slices.Sorted(maps.Keys(r.pages)) {
		for _, mistake := range r.mistakes(r.pages[name]) {
			t.Error(mistake)
		}
	}
}

func (r *repository) mistakes(p *page) (all []string) {
	note := func(line int, what string) {
		if what != "" {
			all = append(all, fmt.Sprintf("%s:%d: %s", p.name, line, what))
		}
	}
	for _, l := range p.links {
		note(l.line, r.link(p, l.target))
	}
	for _, s := range p.spans {
		note(s.line, r.span(s.text))
	}
	for _, b := range p.blocks {
		switch b.language {
		case "sh":
			for _, mistake := range r.script(b.text) {
				note(b.line, mistake)
			}
		case "ini":
			note(b.line, r.settings(b.text))
		case "": // a synopsis, perhaps
			for line := range strings.Lines(b.text) {
				note(b.line, r.span(line))
			}
		case "spl":
			if _, err := r.engine.Parse(strings.TrimSpace(b.text), time.Now()); err != nil {
				note(b.line, "no search: "+err.Error())
			}
		}
	}
	return all
}

// scenarioVariable stands in the configuration of a scenario for a place that
// its player makes.
var scenarioVariable = regexp.MustCompile(`\$\{\w+\}`)

// settings says what is wrong with stanzas of ours; those of Splunk's own files
// are not looked at.
func (r *repository) settings(text string) string {
	text = scenarioVariable.ReplaceAllString(text, "/x")
	file, err := conf.Parse("block", strings.NewReader(text))
	if err != nil {
		return err.Error()
	}
	dir, err := os.MkdirTemp(r.scratch, "conf")
	if err != nil {
		return err.Error()
	}
	var stanzas [2]conf.File // of inputs.conf, of aiwatch.conf
	for _, s := range file.Stanzas {
		name, _, _ := strings.Cut(s.Name, "://")
		at := slices.IndexFunc(conf.Kinds(), func(k *conf.Kind) bool { return k.Name == name })
		if at < 0 {
			return ""
		}
		to := &stanzas[1]
		if conf.Kinds()[at].IsInput() {
			to = &stanzas[0]
		}
		to.Stanzas = append(to.Stanzas, s)
	}
	for i, name := range []string{"inputs.conf", "aiwatch.conf"} {
		to := filepath.Join(dir, "local", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, []byte(stanzas[i].String()), 0o600)); err != nil {
			return err.Error()
		}
	}
	if _, err := conf.Load(dir); err != nil {
		return strings.ReplaceAll(err.Error(), dir+"/", "")
	}
	return ""
}

// link says what is wrong with a link of the page.
func (r *repository) link(p *page, target string) string {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme == "mailto":
		return ""
	case u.Scheme != "" || u.Host != "":
		if u.Scheme != "https" {
			return target + ": an address outside is https"
		}
		return ""
	case strings.HasPrefix(u.Path, "/"):
		return target + ": a link within the repository is relative"
	}
	file, to := p.name, p
	if u.Path != "" {
		file = path.Join(path.Dir(p.name), u.Path)
		to = r.pages[file]
		if !r.files[file] && !r.folders[file] {
			return target + ": there is no " + file
		}
	}
	switch {
	case u.Fragment == "":
		return ""
	case to == nil:
		return target + ": only pages have headings"
	case !to.anchors[u.Fragment]:
		return target + ": " + file + " has no such heading"
	}
	return ""
}

var (
	pathSpan = regexp.MustCompile(`^(\.ci|cmd|collectors|deploy|docs|forwarder|internal|splunk_app|tools)/[\w./-]+$`)
	testSpan = regexp.MustCompile(`^(Test|Benchmark|Fuzz)[A-Z]\w*$`)
)

// span says what is wrong with code within text, as far as it is a command of
// ours, a target of the Makefile, a file or a test.
func (r *repository) span(text string) string {
	words := strings.Fields(text)
	switch {
	case len(words) > 1 && (isProgram(words[0]) || words[0] == "make"):
		// Brackets are around what may be missing.
		return strings.Join(r.script(strings.NewReplacer("[", "", "]", "").Replace(text)), "; ")
	case pathSpan.MatchString(text):
		if name := path.Clean(text); !r.files[name] && !r.folders[name] {
			return "there is no " + text
		}
	case testSpan.MatchString(text):
		if !r.tests[text] {
			return "there is no test " + text
		}
	}
	return ""
}

// wrapped matches the beginning of a call that runs another program.
var wrapped = regexp.MustCompile(`^(sudo|env|exec|time|nice|timeout|(podman|docker) (run|exec)|kubectl .* --) `)

// script says what is wrong with a script of the shell: its grammar, or a call
// of ours in it.
func (r *repository) script(text string) (mistakes []string) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
	if err != nil {
		return []string{"no script of the shell: " + err.Error()}
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var words []string
		for _, arg := range call.Args {
			words = append(words, shown(arg))
		}
		at := 0
		if wrapped.MatchString(strings.Join(words, " ")) {
			for i, word := range words {
				if isProgram(word) {
					at = i
				}
			}
		}
		mistake := ""
		switch {
		case isProgram(words[at]):
			mistake = r.command(words[at+1:])
		case words[0] == "make":
			mistake = r.target(words[1:])
		}
		if mistake != "" {
			mistakes = append(mistakes, strings.Join(words, " ")+": "+mistake)
		}
		return true
	})
	return mistakes
}

// shown is a word of the shell as it is written, without quotes.
func shown(word *syntax.Word) string {
	var b strings.Builder
	_ = syntax.NewPrinter().Print(&b, word) // to memory
	return strings.Trim(b.String(), `"'`)
}

// isProgram tells whether a word calls aiwatch, by name, path or variable.
func isProgram(word string) bool {
	return word == "$aiwatch" || path.Base(word) == "aiwatch" && path.Base(path.Dir(word)) != "cmd"
}

// command says what is wrong with the words behind the program's name: --help
// shows no such command or flag.
func (r *repository) command(words []string) string {
	name, commands, flags := "aiwatch", r.app.Commands, r.app.Flags
	positional := false
	for i := 0; i < len(words); i++ {
		word := words[i]
		flag, isFlag := strings.CutPrefix(word, "-")
		if !isFlag || flag == "" {
			if len(commands) == 0 {
				positional = true
				continue
			}
			at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
			if at < 0 {
				return fmt.Sprintf("%s has no command %q", name, word)
			}
			name, flags, commands = name+" "+word, commands[at].Flags, commands[at].Subcommands
			continue
		}
		if flag == "-" { // the end of flags
			return ""
		}
		if positional && !strings.HasPrefix(name, "aiwatch scenario ") { // those take flags anywhere
			return word + " is behind an argument, where it is none"
		}
		flag, _, hasValue := strings.Cut(strings.TrimPrefix(flag, "-"), "=")
		if flag == "help" || flag == "h" || (name == "aiwatch" && (flag == "version" || flag == "v")) {
			continue
		}
		at := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), flag) })
		if at < 0 {
			return fmt.Sprintf("%s has no flag --%s", name, flag)
		}
		if takes, ok := flags[at].(cli.DocGenerationFlag); ok && takes.TakesValue() && !hasValue {
			i++
		}
	}
	return ""
}

// target says what is wrong with the words behind make.
func (r *repository) target(words []string) string {
	for _, word := range words {
		if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") && !r.targets[word] {
			return "the Makefile has no target " + word
		}
	}
	return ""
}

// TestDocsRules proves the rules on pages that nobody has written.
func TestDocsRules(t *testing.T) {
	r := readRepository(t)
	for _, c := range []struct{ text, mistake string }{
		{"[a](docs/run.md#by-hand) [b](https://example.com/x) [c](docs) [d](#here)\n\n# Here\n", ""},
		{"[a](docs/none.md)", "there is no docs/none.md"},
		{"![a](docs/none.png)", "there is no docs/none.png"},
		{"<img src=\"docs/none.png\">", "there is no docs/none.png"},
		{"[a](docs/run.md#no-such-heading)", "docs/run.md has no such heading"},
		{"[a](/docs/run.md)", "is relative"},
		{"[a](http://example.com)", "is https"},
		{"`cmd/aiwatch/main.go`, `TestDocs`, `aiwatch run [--once]`, `aiwatch deadletter list|show`", ""},
		{"`cmd/aiwatch/none.go`", "there is no cmd/aiwatch/none.go"},
		{"`TestThatNobodyWrote`", "there is no test TestThatNobodyWrote"},
		{"`aiwatch walk`", `aiwatch has no command "walk"`},
		{"`make coffee`", "no target coffee"},
		{"```sh\nX=1 dist/aiwatch run --once \\\n  --max-wait 4m | cat # aiwatch walk\n```", ""},
		{"```sh\nsudo -u splunk $app/linux_x86_64/bin/aiwatch check --conf $app\n```", ""},
		{"```sh\npodman exec aiwatch aiwatch status\ninstall -o aiwatch file\n```", ""},
		{"```sh\ntrue && aiwatch run --twice\n```", "aiwatch run has no flag --twice"},
		{"```sh\naiwatch queue sort\n```", `aiwatch queue has no command "sort"`},
		{"```sh\naiwatch collect prod --conf x\n```", "--conf is behind an argument"},
		{"```sh\nif true\n```", "no script of the shell"},
		{"```\naiwatch run [--twice]\n```", "aiwatch run has no flag --twice"},
		{"```\naiwatch scenario run DIR... [--write-events FILE]\naiwatchers of the world\n```", ""},
		{"```ini\n[aiwatch_s3://prod]\nbucket = logs\n[hec]\nurl = https://splunk.example.com:8088\ntoken_env = TOKEN\n```", ""},
		{"```ini\n[AI Asset - Made up - Rule]\ndisabled = 0\n```", ""},
		{"```spl\n`aiwatch_findings` | stats count by user\n```", ""},
		{"```spl\n`no_such_macro` | stats count by user\n```", "no search"},
		{"```ini\n[aiwatch_s3://prod]\nbuckets = logs\n```", "buckets"},
	} {
		found := strings.Join(r.mistakes(readPage("PAGE.md", []byte(c.text))), "\n")
		if c.mistake == "" {
			require.Empty(t, found, c.text)
		} else {
			require.Contains(t, found, c.mistake, c.text)
		}
	}
}

// TestDocsModels: the add-on's page tells of each event type and of each field
// that the add-on makes for the Common Information Model.
func TestDocsModels(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "docs/splunk-addon.md"))
	require.NoError(t, err)
	for _, m := range searchtime.Models {
		require.True(t, bytes.Contains(text, []byte("`"+m.Eventtype+"`")), m.Eventtype)
	}
	for _, field := range searchtime.SearchTimeFields() {
		require.True(t, bytes.Contains(text, []byte("`"+field+"`")), field)
	}
}
