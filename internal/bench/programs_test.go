package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/hecserver"
)

// scratch is a folder for what outlives a benchmark.
var scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if job := os.Getenv(senderEnv); job != "" {
		if err := send(job, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "send:", err)
			return 1
		}
		return 0
	}
	var err error
	if scratch, err = os.MkdirTemp("", "aiwatch-bench-"); err != nil {
		fmt.Fprintln(os.Stderr, "make a folder:", err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}

// events is how many events a run takes.
func events(b *testing.B) int {
	b.Helper()
	text := os.Getenv("AIWATCH_BENCH_EVENTS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(b, err, "AIWATCH_BENCH_EVENTS")
	require.Positive(b, n, "AIWATCH_BENCH_EVENTS")
	return n
}

// builtBinary is the program as a user has it, built once.
var builtBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "aiwatch")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", path, "aiwatch/cmd/aiwatch").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

func binary(b *testing.B) string {
	b.Helper()
	path, err := builtBinary()
	require.NoError(b, err)
	return path
}

const token = "5a17c0de-0000-4000-8000-000000000001"

func tokenFile(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "token")
	require.NoError(b, os.WriteFile(path, []byte(token), 0o600))
	return path
}

// receiver is the embedded HEC receiver in a process of its own. It is strict,
// and it counts.
type receiver struct {
	url string

	b      *testing.B
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// startReceiver starts one; with ack it wants channels and acknowledges.
func startReceiver(b *testing.B, ack bool) *receiver {
	b.Helper()
	r := &receiver{b: b}
	r.cmd = exec.Command(binary(b), "receive", "--ack="+strconv.FormatBool(ack), "--json", "--listen", "127.0.0.1:0",
		"--token-file", tokenFile(b), "--max-bytes", strconv.Itoa(8<<20))
	r.cmd.Stderr = &r.stderr
	pipe, err := r.cmd.StdoutPipe()
	require.NoError(b, err)
	r.stdout = bufio.NewReader(pipe)
	require.NoError(b, r.cmd.Start())
	b.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
	})
	var start struct {
		URL string `json:"url"`
	}
	r.read(&start)
	r.url = start.URL
	return r
}

func (r *receiver) read(v any) {
	r.b.Helper()
	line, err := r.stdout.ReadBytes('\n')
	require.NoError(r.b, err, "the receiver's answer; it says: %s", &r.stderr)
	require.NoError(r.b, json.Unmarshal(line, v))
}

// stop ends the receiver and returns what it has counted.
func (r *receiver) stop() hecserver.CounterStats {
	r.b.Helper()
	require.NoError(r.b, r.cmd.Process.Signal(syscall.SIGTERM))
	var stats hecserver.CounterStats
	r.read(&stats)
	require.NoError(r.b, r.cmd.Wait(), "%s", &r.stderr)
	return stats
}

// cost is what a program used.
type cost struct {
	cpu    time.Duration // user and system
	clock  time.Duration
	maxRSS int64 // bytes
}

// measure runs a program to its end.
func measure(b *testing.B, cmd *exec.Cmd) cost {
	b.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	require.NoError(b, cmd.Run(), "%s: %s", strings.Join(cmd.Args, " "), &stderr)
	c := cost{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), clock: time.Since(began)}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.maxRSS = usage.Maxrss << 10
	}
	return c
}

// anonymous returns a process's anonymous memory in bytes: what it has taken
// itself, without the files that it maps.
func anonymous(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "Anonymous:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("smaps_rollup tells no anonymous memory")
}

// configuration writes what an operator would write: an input of access logs and
// a HEC destination.
func configuration(b *testing.B, input, url string) (dir string) {
	b.Helper()
	dir = b.TempDir()
	require.NoError(b, os.Mkdir(filepath.Join(dir, "local"), 0o700))
	for name, text := range map[string]string{
		"inputs.conf": "[aiwatch_s3://bench]\n" + input,
		"aiwatch.conf": "[hec]\nurl = " + url + "\nack = on\ntoken_file = " + tokenFile(b) +
			"\n\n[log]\nlevel = error\n",
	} {
		require.NoError(b, os.WriteFile(filepath.Join(dir, "local", name), []byte(text), 0o600))
	}
	return dir
}

// reportLoad tells how busy the machine was with everything.
func reportLoad(b *testing.B) {
	b.Helper()
	file, err := os.Open("/proc/loadavg")
	if err != nil {
		return // not Linux
	}
	defer file.Close()
	var load float64
	text, err := io.ReadAll(file)
	require.NoError(b, err)
	_, err = fmt.Sscan(string(text), &load)
	require.NoError(b, err)
	b.ReportMetric(load, "load")
}
