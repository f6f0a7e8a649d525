package counterpart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// startLimit bounds a start; MLflow 3 needs 12 s of CPU and the machine may
	// be busy with other things.
	startLimit = 3 * time.Minute
	// stopLimit is how long a program may take to end after SIGTERM.
	stopLimit = 15 * time.Second
	// attempts is how many ports are tried: a port that was free a moment ago may
	// be taken by somebody else.
	attempts = 3
	// logged is how much of a program's output a failed test shows.
	logged = 16 << 10
)

// Process is a counterpart that runs as a program of its own.
type Process struct {
	name    string
	address string
	spec    func(address string) spec
	output  string // file that collects stdout and stderr
	tb      testing.TB

	running *exec.Cmd     // nil when stopped
	ended   chan struct{} // closed when running has ended
}

// spec is how a program is started for an address, host and port.
type spec struct {
	path  string
	args  []string
	env   []string // added to a small environment, later wins
	dir   string
	ready string // URL that answers 200 when the program is ready
}

// start starts a program and waits until it is ready.
func start(tb testing.TB, name string, specFor func(address string) spec) *Process {
	tb.Helper()
	p := &Process{name: name, spec: specFor, tb: tb, output: filepath.Join(tb.TempDir(), name+".log")}
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("the end of %s's output:\n%s", name, p.tail())
		}
	})
	var err error
	for range attempts {
		p.address = FreeAddress(tb)
		if err = p.launch(); err == nil || !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		tb.Fatalf("start %s: %v\n%s", name, err, p.tail())
	}
	return p
}

// Start starts a stopped program again, at the same address with the same data.
func (p *Process) Start() {
	p.tb.Helper()
	if p.running != nil {
		return
	}
	if err := p.launch(); err != nil {
		p.tb.Fatalf("start %s again: %v\n%s", p.name, err, p.tail())
	}
}

// Stop ends the program: SIGTERM, and SIGKILL to all of its processes when it
// does not go. A stopped program may be stopped again.
func (p *Process) Stop() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
	}
	p.Kill()
}

// Kill ends the program and its children without warning.
func (p *Process) Kill() {
	if p.running == nil {
		return
	}
	// The group is named by the program's pid; it may be empty by now.
	_ = syscall.Kill(-p.running.Process.Pid, syscall.SIGKILL)
	<-p.ended
	p.running = nil
}

// Address is the loopback host and port that the program listens on.
func (p *Process) Address() string { return p.address }

// Output is the file with all that the program wrote to stdout and stderr.
func (p *Process) Output() string { return p.output }

var errEnded = errors.New("it ended before it was ready")

func (p *Process) launch() error {
	spec := p.spec(p.address)
	output, err := os.OpenFile(p.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }() // the program has its own descriptor
	command := exec.Command(spec.path, spec.args...)
	home := filepath.Dir(p.output)
	command.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "LC_ALL=C.UTF-8",
	}, spec.env...)
	command.Dir = spec.dir
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = attributes()

	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		// The kernel ends the program with the thread that started it: keep it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended shows in its output
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.running, p.ended = command, ended
	if err := waitReady(p.tb.Context(), spec.ready, ended); err != nil {
		p.Kill()
		return err
	}
	return nil
}

// waitReady returns when url answers 200, with errEnded when the program has
// ended before.
func waitReady(ctx context.Context, url string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
			err = fmt.Errorf("%s: %s", url, response.Status)
			if response.StatusCode == http.StatusOK {
				select {
				case <-ended: // somebody else answers on this port
					return errEnded
				default:
					return nil
				}
			}
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (%w)", last, ctx.Err())
		case <-tick.C:
		}
	}
}

// tail is the end of the program's output.
func (p *Process) tail() string {
	content, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-logged):])
}

// FreeAddress is a loopback host and port that nobody listens on.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("find a free port: %v", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// installed is the folder that tools/tools.sh installed name into. The test is
// skipped, or with CI set fails, when there is none.
func installed(tb testing.TB, name string) string {
	tb.Helper()
	script := filepath.Join(repository(tb), "tools", "tools.sh")
	wanted(tb, name)
	var stderr bytes.Buffer
	command := exec.CommandContext(tb.Context(), script, "path", name)
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		absent(tb, name, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out))
}

// wanted skips a test that needs a counterpart in a -short run.
func wanted(tb testing.TB, name string) {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("counterpart %s: left out of a -short run", name)
	}
}

// absent ends a test whose counterpart is not there.
func absent(tb testing.TB, name, why string) {
	tb.Helper()
	message := fmt.Sprintf("counterpart %s absent: %s", name, why)
	if os.Getenv("CI") != "" {
		tb.Fatal(message)
	}
	tb.Skip(message)
}

// repository is the top of the repository: tests run in their package's folder.
func repository(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tools", "tools.sh")); err == nil {
			return dir
		}
	}
	tb.Fatal("counterpart: not inside the repository")
	return ""
}

// copyFile copies a small file.
func copyFile(tb testing.TB, to, from string) {
	tb.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		tb.Fatalf("copy %s: %v", from, err)
	}
}

// get reads url, which must answer 200.
func get(tb testing.TB, url string) []byte {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		tb.Fatalf("get %s: %v", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		tb.Fatalf("get %s: %s: %s (%v)", url, response.Status, body, err)
	}
	return body
}
