package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A hardening is one line of defence against a hostile repository. Each has a
// test that runs its attack with the line and, to show that the attack is real,
// without it.
type hardening struct {
	// Env is a variable of the environment, or Config a setting of git's; one of
	// them is set.
	Env, Config string
	// Why says what it keeps from happening.
	Why string
}

// hardenings is what every git of ours is started with, beside an environment
// that holds nothing else but a PATH and an empty home.
var hardenings = []hardening{
	{Env: "GIT_CONFIG_NOSYSTEM=1", Why: "the machine's configuration does not change what is read"},
	{Env: "GIT_ATTR_NOSYSTEM=1", Why: "nor do the machine's attributes"},
	{Env: "GIT_TERMINAL_PROMPT=0", Why: "a question for a password fails instead of waiting for a person"},
	{Env: "GIT_ASKPASS=false", Why: "no program is asked for a password"},
	{Env: "GIT_NO_REPLACE_OBJECTS=1", Why: "refs/replace/* hides no object"},
	{Env: "GIT_NO_LAZY_FETCH=1", Why: "a missing object is missing; nothing is fetched for it from where a configuration says"},
	{Env: "GIT_GRAFT_FILE=/dev/null/none", Why: "no file of grafts changes the parents of a commit"},
	{Env: "GIT_LFS_SKIP_SMUDGE=1", Why: "a pointer is not followed"},
	{Env: "GIT_OPTIONAL_LOCKS=0", Why: "reading writes nothing"},
	{Env: "GIT_LITERAL_PATHSPECS=1", Why: "a path is no pattern"},
	{Config: "core.hooksPath=/dev/null", Why: "no hook runs"},
	{Config: "core.fsmonitor=false", Why: "no file system monitor is started"},
	{Config: "core.attributesFile=/dev/null", Why: "no attributes choose a driver"},
	{Config: "credential.helper=", Why: "no helper is asked for, or told, a password"},
	{Config: "http.followRedirects=false", Why: "a server sends us and our token nowhere else"},
	{Config: "fetch.recurseSubmodules=false", Why: "a submodule's URL is not fetched"},
	{Config: "fetch.writeCommitGraph=false", Why: "a fetch only fetches"},
	{Config: "gc.auto=0", Why: "nothing is collected: dropped commits are evidence"},
	{Config: "log.showSignature=false", Why: "no gpg is started"},
	{Config: "log.mailmap=false", Why: "a .mailmap launders no names"},
	{Config: "log.showRoot=true", Why: "the first commit has a diff too"},
}

// limits keep git small on a repository that is large or made to be.
var limits = []string{
	"core.bigFileThreshold=16m",    // a large blob is streamed, not held
	"core.packedGitWindowSize=16m", // a large pack is not mapped whole
	"core.packedGitLimit=256m",     // and not many of them at once
	"core.deltaBaseCacheLimit=32m", // delta bases are not hoarded
	"fetch.unpackLimit=1",          // what came stays in its pack, however little it is
}

// gitRunner starts git in one mirror.
type gitRunner struct {
	dir        string // the mirror, GIT_DIR
	home       string // an empty folder, HOME
	protocol   string // the one protocol of the configured URL
	hardenings []hardening
	env        []string // of this repository: credentials, ssh
	config     []string // of this repository: the URL, TLS
	secrets    []string // never in a message
	maxMemory  uint64   // address space of each process, bytes; 0 no limit
	inherit    *os.File // the mirror's lock, held as long as a child lives
}

// with returns a runner with more environment.
func (g *gitRunner) with(env ...string) *gitRunner {
	c := *g
	c.env = append(append([]string(nil), g.env...), env...)
	return &c
}

// set returns a runner with more configuration.
func (g *gitRunner) set(config ...string) *gitRunner {
	c := *g
	c.config = append(append([]string(nil), g.config...), config...)
	return &c
}

func (g *gitRunner) command(ctx context.Context, args ...string) *exec.Cmd {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.home, "XDG_CONFIG_HOME=" + g.home,
		"LC_ALL=C", "TZ=UTC", "GIT_DIR=" + g.dir,
		"GIT_CONFIG_GLOBAL=" + g.globalConfig(),
		"GIT_ALLOW_PROTOCOL=" + g.protocol,
	}
	var config []string
	for _, h := range g.hardenings {
		if h.Env != "" {
			env = append(env, h.Env)
		} else {
			config = append(config, "-c", h.Config)
		}
	}
	for _, c := range slices.Concat(limits, g.config) {
		config = append(config, "-c", c)
	}
	cmd := exec.CommandContext(ctx, "git", append(config, args...)...)
	cmd.Env = append(env, g.env...)
	cmd.Dir = g.home
	if g.inherit != nil {
		cmd.ExtraFiles = []*os.File{g.inherit}
	}
	ownGroup(cmd)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// globalConfig is a file of ours that holds nothing but which local
// repositories may be read although they belong to somebody else.
func (g *gitRunner) globalConfig() string { return g.home + "/gitconfig" }

// A process is a git that runs.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *tailBuffer
	g      *gitRunner
	cancel context.CancelFunc
	done   bool
}

// start starts git with pipes to its standard streams.
func (g *gitRunner) start(ctx context.Context, args ...string) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := g.command(ctx, args...)
	p := &process{name: args[0], cmd: cmd, stderr: &tailBuffer{}, g: g, cancel: cancel}
	cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err == nil {
		var out io.ReadCloser
		if out, err = cmd.StdoutPipe(); err == nil {
			p.stdout = bufio.NewReaderSize(out, 64<<10)
			err = cmd.Start()
		}
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start git %s: %w", p.name, err)
	}
	limitMemory(cmd.Process.Pid, g.maxMemory)
	return p, nil
}

// feed writes to the standard input while the output is read. What it returns
// ends the process and waits for the writing to end.
func (p *process) feed(stdin []byte) (end func()) {
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = p.stdin.Write(stdin) // a git that ends early says why
		p.stdin.Close()
	}()
	return func() {
		p.stop()
		<-fed
	}
}

// finish waits for the end of a process whose output was read to its end.
func (p *process) finish() error {
	p.stdin.Close()
	p.done = true
	err := p.cmd.Wait()
	p.cancel()
	return p.g.explain(p.name, err, p.stderr)
}

// finishReading ends the input and returns the rest of the output, a short one.
func (p *process) finishReading() ([]byte, error) {
	p.stdin.Close()
	out, err := io.ReadAll(io.LimitReader(p.stdout, maxToken))
	if waitErr := p.finish(); waitErr != nil {
		return out, waitErr
	}
	return out, err
}

// stop ends a process that is no longer needed. It may follow finish.
func (p *process) stop() {
	if p.done {
		return
	}
	p.done = true
	p.cancel()
	p.stdin.Close()
	_ = p.cmd.Wait() // it was killed
}

// output runs git and returns what it prints, at most limit bytes.
func (g *gitRunner) output(ctx context.Context, stdin []byte, limit int64, args ...string) ([]byte, error) {
	p, err := g.start(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer p.feed(stdin)()
	out, err := io.ReadAll(io.LimitReader(p.stdout, limit+1))
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("git %s printed more than %d bytes", p.name, limit)
	}
	if waitErr := p.finish(); waitErr != nil {
		return out, waitErr
	}
	return out, err
}

// errGit is what git itself says went wrong.
type errGit struct {
	name    string
	code    int
	message string
}

func (e *errGit) Error() string {
	if e.message == "" {
		return fmt.Sprintf("git %s ended with code %d", e.name, e.code)
	}
	return fmt.Sprintf("git %s: %s", e.name, e.message)
}

// explain turns the end of a process into an error that holds no secret.
func (g *gitRunner) explain(name string, err error, stderr *tailBuffer) error {
	if err == nil {
		return nil
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	message := g.redact(lastWords(stderr.String()))
	if code < 0 && message == "" {
		return fmt.Errorf("git %s: %w", name, err)
	}
	return &errGit{name: name, code: code, message: message}
}

// redact takes secrets out of what git prints.
func (g *gitRunner) redact(s string) string {
	for _, secret := range g.secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "…")
		}
	}
	return s
}

// saysNothing are beginnings of lines that hide what matters.
var saysNothing = []string{
	"warning: filtering not recognized",
	"Please make sure you have the correct access rights", "and the repository exists.", // after ssh said why
}

// lastWords returns the last lines of what git said, printable and on one line.
func lastWords(s string) string {
	var words []string
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, '\r'); i >= 0 {
			line = line[i+1:] // progress writes over itself
		}
		if line != "" && !slices.ContainsFunc(saysNothing, func(s string) bool { return strings.HasPrefix(line, s) }) {
			words = append(words, line)
		}
	}
	if len(words) > 3 {
		words = words[len(words)-3:]
	}
	quoted := strconv.QuoteToGraphic(strings.Join(words, "; "))
	return quoted[1 : len(quoted)-1]
}

// tailBuffer keeps the last bytes that were written to it.
type tailBuffer struct{ b []byte }

const tailBytes = 8 << 10

func (t *tailBuffer) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if over := len(t.b) - tailBytes; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tailBuffer) String() string { return string(bytes.ToValidUTF8(t.b, []byte("\uFFFD"))) }
