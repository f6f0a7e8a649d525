//go:build linux

package splunkdsim

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"aiwatch/internal/conf"
)

// nobody is the user that runs the inputs where the test itself runs as root.
const nobody = 65534

// Instance is a Splunk with one app installed.
type Instance struct {
	// Home is SPLUNK_HOME, App the app's folder.
	Home, App string
	// Grace is how long an input that was told to end has for it.
	Grace time.Duration

	tb   testing.TB
	rest *REST
	path string // folder of PATH
}

// Install makes a Splunk and installs the app of an archive. Its inputs run as
// another user, where the test may change users, with a PATH that has git alone.
func Install(tb testing.TB, rest *REST, archive string) *Instance {
	tb.Helper()
	// The folders that the test package makes are for their owner alone.
	home := tb.TempDir()
	for dir := home; strings.Count(dir, "/") > strings.Count(filepath.Clean(os.TempDir()), "/"); dir = filepath.Dir(dir) {
		check(tb, os.Chmod(dir, 0o755))
	}
	i := &Instance{Home: home, Grace: 30 * time.Second, tb: tb, rest: rest, path: filepath.Join(home, "path")}
	for _, dir := range []string{"path", "etc/auth", "etc/apps", "var/lib/splunk/modinputs"} {
		check(tb, os.MkdirAll(filepath.Join(home, dir), 0o755))
	}
	if git, err := exec.LookPath("git"); err == nil {
		check(tb, os.Symlink(git, filepath.Join(i.path, "git")))
	}
	ca, err := os.ReadFile(rest.CAFile)
	check(tb, err)
	check(tb, os.WriteFile(filepath.Join(home, "etc/auth/cacert.pem"), ca, 0o644))
	i.Upgrade(archive)
	return i
}

// Upgrade unpacks an archive over the app that is there, as Splunk does: local/
// stays.
func (i *Instance) Upgrade(archive string) {
	i.tb.Helper()
	f, err := os.Open(archive)
	check(i.tb, err)
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	check(i.tb, err)
	apps := filepath.Join(i.Home, "etc/apps")
	for r := tar.NewReader(unzipped); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(i.tb, err)
		if !filepath.IsLocal(header.Name) {
			i.tb.Fatalf("%s leaves the app", header.Name)
		}
		path := filepath.Join(apps, header.Name)
		if header.Typeflag == tar.TypeDir {
			check(i.tb, os.MkdirAll(path, 0o755))
			if filepath.Dir(path) == apps {
				i.App = path
			}
			continue
		}
		content, err := io.ReadAll(r)
		check(i.tb, err)
		_ = os.Remove(path)
		check(i.tb, os.WriteFile(path, content, header.FileInfo().Mode()))
		check(i.tb, os.Chmod(path, header.FileInfo().Mode()))
	}
	i.own()
}

// own gives everything to the user that runs Splunk.
func (i *Instance) own() {
	if os.Getuid() != 0 {
		return
	}
	check(i.tb, filepath.WalkDir(i.Home, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	}))
}

// Schemes returns the schemes that the app registers, as splunkd finds them:
// the stanzas of its inputs.conf.spec.
func (i *Instance) Schemes() []string {
	i.tb.Helper()
	text, err := os.ReadFile(filepath.Join(i.App, "README/inputs.conf.spec"))
	check(i.tb, err)
	var names []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), "://<name>]"); ok {
			names = append(names, strings.TrimPrefix(name, "["))
		}
	}
	return names
}

// command is one start of a launcher.
func (i *Instance) command(scheme string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(i.App, "bin", scheme), args...)
	c.Dir = "/"
	c.Env = []string{"SPLUNK_HOME=" + i.Home, "SPLUNK_DB=" + filepath.Join(i.Home, "var/lib/splunk"), "PATH=" + i.path}
	// A group of its own, so that no child outlives the test.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return c
}

// Scheme asks for a scheme as splunkd does at its start.
func (i *Instance) Scheme(scheme string) []byte {
	i.tb.Helper()
	out, err := i.command(scheme, "--scheme").Output()
	check(i.tb, err)
	return out
}

// Validate has the settings of an input checked. The message is what an
// administrator sees; it is empty when they are accepted.
func (i *Instance) Validate(scheme, name string, params map[string]string) (message string) {
	i.tb.Helper()
	c := i.command(scheme, "--validate-arguments")
	c.Stdin = strings.NewReader("<items>" + i.head(scheme) + `<item name="` + escaped(name) + `">` + paramsXML(params) + "</item></items>")
	out, err := c.Output()
	if err == nil {
		if len(out) != 0 {
			i.tb.Fatalf("settings are accepted with the words %q", out)
		}
		return ""
	}
	var refusal struct {
		XMLName xml.Name `xml:"error"`
		Message string   `xml:"message"`
	}
	if xmlErr := xml.Unmarshal(out, &refusal); xmlErr != nil {
		i.tb.Fatalf("settings are refused by %v with %q: %v", err, out, xmlErr)
	}
	return refusal.Message
}

func (i *Instance) head(scheme string) string {
	return "<server_host>hf01</server_host><server_uri>" + i.rest.URI + "</server_uri><session_key>" + i.rest.Session +
		"</session_key><checkpoint_dir>" + filepath.Join(i.Home, "var/lib/splunk/modinputs", scheme) + "</checkpoint_dir>"
}

// Input is one run of an input.
type Input struct {
	tb      testing.TB
	command *exec.Cmd
	stdin   io.Closer
	stdout  io.ReadCloser

	grace   time.Duration
	reading chan struct{} // closed when events are to be read

	mu     sync.Mutex
	events []Event
	raw    bytes.Buffer // all that was read
	last   int64        // where in it the last event ended
	whole  bool
	failed error
	log    []string
	more   chan struct{} // closed and replaced when an event came
	ended  chan struct{} // closed when the process and its pipes have ended
	err    error         // of the process
}

// Start runs an input and reads its events. Its stanza's values lie over the
// defaults that the app ships for the scheme, and stdin stays open.
func (i *Instance) Start(scheme, name string, params map[string]string) *Input {
	i.tb.Helper()
	in := i.start(scheme, name, params)
	close(in.reading)
	return in
}

// StartCut is Start for a splunkd that dies when it has read n bytes of the
// stream, wherever in an event that is.
func (i *Instance) StartCut(scheme, name string, params map[string]string, n int) *Input {
	i.tb.Helper()
	in := i.start(scheme, name, params)
	if _, err := io.CopyN(io.Discard, in.stdout, int64(n)); err != nil {
		i.tb.Fatalf("the stream ended before %d bytes: %v", n, err)
	}
	in.ClosePipe()
	return in
}

// StartUnread is Start for a splunkd that reads no event: it returns when at
// least n bytes lie in the pipe, where they stay until the input is killed or
// ClosePipe.
func (i *Instance) StartUnread(scheme, name string, params map[string]string, n int) *Input {
	i.tb.Helper()
	in := i.start(scheme, name, params)
	raw, err := in.stdout.(*os.File).SyscallConn()
	check(i.tb, err)
	for deadline := time.Now().Add(patience); ; {
		lie := 0
		check(i.tb, raw.Control(func(fd uintptr) {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
			lie, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		}))
		if lie >= n {
			return in
		}
		if time.Now().After(deadline) {
			i.tb.Fatalf("no event came:\n%s", strings.Join(in.Log(), "\n"))
		}
	}
}

func (i *Instance) start(scheme, name string, params map[string]string) *Input {
	i.tb.Helper()
	checkpoints := filepath.Join(i.Home, "var/lib/splunk/modinputs", scheme)
	check(i.tb, os.MkdirAll(checkpoints, 0o700))
	i.own()
	all := map[string]string{"host": "$decideOnStartup", "index": "default"}
	defaults, err := conf.Read(i.App, "inputs.conf")
	check(i.tb, err)
	if stanza := defaults.Stanza(scheme); stanza != nil {
		for _, v := range stanza.Values {
			all[v.Key] = v.Text
		}
	}
	maps.Copy(all, params)

	in := &Input{tb: i.tb, command: i.command(scheme), grace: i.Grace, reading: make(chan struct{}), more: make(chan struct{}), ended: make(chan struct{})}
	stdin, err := in.command.StdinPipe()
	check(i.tb, err)
	in.stdin = stdin
	in.stdout, err = in.command.StdoutPipe()
	check(i.tb, err)
	stderr, err := in.command.StderrPipe()
	check(i.tb, err)
	check(i.tb, in.command.Start())
	i.tb.Cleanup(in.Kill)
	var pipes sync.WaitGroup
	pipes.Go(func() { in.read() })
	pipes.Go(func() { in.readLog(stderr) })
	go func() {
		pipes.Wait()
		in.err = in.command.Wait()
		close(in.ended)
	}()
	_, err = io.WriteString(stdin, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<input>"+i.head(scheme)+
		`<configuration><stanza name="`+escaped(scheme+"://"+name)+`" app="TA-aiwatch">`+paramsXML(all)+"</stanza></configuration></input>\n")
	check(i.tb, err)
	return in
}

func (in *Input) read() {
	<-in.reading
	whole, err := readStream(io.TeeReader(in.stdout, &in.raw), func(e Event, end int64) {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.events, in.last = append(in.events, e), end
		close(in.more)
		in.more = make(chan struct{})
	})
	in.mu.Lock()
	defer in.mu.Unlock()
	in.whole = whole
	// A pipe that the test itself has closed is no mistake of the input's.
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		in.failed = err
	}
}

func (in *Input) readLog(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		in.mu.Lock()
		in.log = append(in.log, lines.Text())
		in.mu.Unlock()
	}
}

// Events returns what has been read so far, and fails the test when the stream
// broke a rule.
func (in *Input) Events() []Event {
	in.tb.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.failed != nil {
		in.tb.Fatalf("the stream: %v", in.failed)
	}
	return slices.Clone(in.events)
}

// Rest waits until the input has ended and returns what its stream holds behind
// the last whole event.
func (in *Input) Rest() string {
	in.tb.Helper()
	in.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.raw.String()[in.last:]
}

// Log returns the lines of stderr so far, and fails the test when one has no
// level in front.
func (in *Input) Log() []string {
	in.tb.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, line := range in.log {
		level, _, _ := strings.Cut(line, " ")
		if !slices.Contains([]string{"DEBUG", "INFO", "WARN", "ERROR", "FATAL"}, level) {
			in.tb.Fatalf("a line of the log without a level: %q", line)
		}
	}
	return slices.Clone(in.log)
}

// patience bounds every wait; only a hanging input meets it.
const patience = 2 * time.Minute

// WaitFor waits until so many events that satisfy want have come.
func (in *Input) WaitFor(n int, want func(Event) bool) {
	in.tb.Helper()
	timeout := time.After(patience)
	for {
		in.mu.Lock()
		more := in.more
		in.mu.Unlock()
		count := 0
		for _, e := range in.Events() {
			if want(e) {
				count++
			}
		}
		if count >= n {
			return
		}
		select {
		case <-more:
		case <-in.ended:
			in.tb.Fatalf("the input ended (%v) after %d of %d events:\n%s", in.err, count, n, strings.Join(in.Log(), "\n"))
		case <-timeout:
			in.tb.Fatalf("%d of %d events came:\n%s", count, n, strings.Join(in.Log(), "\n"))
		}
	}
}

// Wait waits until the input has ended and tells whether its stream was whole
// and its exit code; -1 is a signal.
func (in *Input) Wait() (whole bool, code int) {
	in.tb.Helper()
	select {
	case <-in.ended:
	case <-time.After(patience):
		in.tb.Fatalf("the input does not end:\n%s", strings.Join(in.Log(), "\n"))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.whole, in.command.ProcessState.ExitCode()
}

// Terminate ends the input as splunkd does: SIGTERM, and later SIGKILL. Killed
// tells that the second was needed.
func (in *Input) Terminate() (killed bool) {
	in.tb.Helper()
	_ = in.command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-in.ended:
		return false
	case <-time.After(in.grace):
		in.Kill()
		return true
	}
}

// Visible is what other users of the machine, or a listing of processes, can see
// of the input: its command line and its environment.
func (in *Input) Visible() string {
	in.tb.Helper()
	var all strings.Builder
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", in.command.Process.Pid, name))
		check(in.tb, err)
		all.Write(text)
	}
	return all.String()
}

// Freeze stops the input as a machine without memory or disk does: it answers no
// signal but SIGKILL.
func (in *Input) Freeze() {
	in.tb.Helper()
	check(in.tb, syscall.Kill(-in.command.Process.Pid, syscall.SIGSTOP))
}

// Kill ends the input, and whatever it started, without warning.
func (in *Input) Kill() {
	_ = syscall.Kill(-in.command.Process.Pid, syscall.SIGKILL)
	in.release()
	<-in.ended
	_ = in.stdin.Close()
}

// ClosePipe closes the pipe of the events, as a splunkd that dies does.
func (in *Input) ClosePipe() {
	_ = in.stdout.Close()
	in.release()
}

// release lets a reader go that was never to read.
func (in *Input) release() {
	select {
	case <-in.reading:
	default:
		close(in.reading)
	}
}

func paramsXML(params map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(&b, `<param name="%s">%s</param>`, escaped(name), escaped(params[name]))
	}
	return b.String()
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
