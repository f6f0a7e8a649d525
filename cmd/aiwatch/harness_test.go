package main

import (
	"bytes"
	"encoding/json"
	"fmt"
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

	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
)

// rounds is how often a randomised or killing test repeats itself.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("AIWATCH_ROUNDS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "AIWATCH_ROUNDS")
	return n
}

// built is the program as a user has it, built once a test asks for it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func builtProgram(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "aiwatch-binary-"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-buildvcs=false", "-tags", programTags, "-o", built.dir, ".").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build the program: %w\n%s", err, out)
		}
	})
	require.NoError(t, built.err)
	return filepath.Join(built.dir, "aiwatch")
}

// cleaning runs the tests and removes the program that they have built.
type cleaning struct{ *testing.M }

func (c cleaning) Run() int {
	code := c.M.Run()
	_ = os.RemoveAll(built.dir) // nothing happens when it is ""
	return code
}

// patience is how long a test waits for what must come. It is no measure of how
// fast that is: it only keeps a test that fails from hanging.
const patience = 90 * time.Second

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is the program, started by a test.
type process struct {
	cmd      *exec.Cmd
	out, log output
	exited   chan struct{}
}

// startProgram starts the program with nothing of this machine's own
// configuration and credentials.
func startProgram(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(builtProgram(t), args...), exited: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "AIWATCH_CONF=", "AIWATCH_STATE=", "HEC_TOKEN="+hecToken, "S3_SECRET=secret",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s\n%s\n%s", strings.Join(p.cmd.Args, " "), tail(p.out.String()), tail(p.log.String()))
		}
	})
	return p
}

// end waits for the process and returns its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	eventually(t, "the program ends", p.hasEnded)
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) hasEnded() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// says waits until the process has logged the text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the program says "+text, func() bool { return strings.Contains(p.log.String(), text) || p.hasEnded() })
	require.Contains(t, p.log.String(), text)
}

// works fails the test when the process has ended.
func (p *process) works(t *testing.T) {
	t.Helper()
	require.False(t, p.hasEnded(), "the program has ended: %s", tail(p.log.String()))
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(s))
}

// finish ends a run in order.
func (p *process) finish(t *testing.T) {
	t.Helper()
	p.works(t)
	p.signal(t, syscall.SIGTERM)
	require.Equal(t, exitDone, p.end(t), tail(p.log.String()))
}

// setup is a configuration, and a state folder that the first run makes.
type setup struct{ conf, state string }

func newSetup(t *testing.T, inputs, aiwatch string) setup {
	t.Helper()
	return setup{writeConfiguration(t, inputs, aiwatch), filepath.Join(t.TempDir(), "state")}
}

// start starts a command on the set-up.
func (s setup) start(t *testing.T, command string, args ...string) *process {
	t.Helper()
	return s.startIn(t, nil, command, args...)
}

func (s setup) startIn(t *testing.T, env []string, command string, args ...string) *process {
	t.Helper()
	return startProgram(t, env, append([]string{command, "--conf", s.conf, "--state", s.state}, args...)...)
}

// once makes one pass and returns the exit code and the log.
func (s setup) once(t *testing.T, args ...string) (code int, log string) {
	t.Helper()
	p := s.start(t, "run", append([]string{"--once"}, args...)...)
	code = p.end(t)
	return code, p.log.String()
}

// deliverOnce makes a pass that must end well.
func (s setup) deliverOnce(t *testing.T) {
	t.Helper()
	code, log := s.once(t)
	require.Equal(t, exitDone, code, tail(log))
}

// waiting returns how many events wait, as aiwatch status tells.
func (s setup) waiting(t *testing.T) int64 {
	t.Helper()
	p := startProgram(t, nil, "status", "--state", s.state, "--json")
	require.Equal(t, exitDone, p.end(t), p.log.String())
	var status struct {
		Waiting struct{ Events int64 }
	}
	require.NoError(t, json.Unmarshal([]byte(p.out.String()), &status))
	return status.Waiting.Events
}

// accessLine is one record of a read in the format of S3's access log, and the
// identity that the schema gives it.
func accessLine(n int, at time.Time) (line string, id event.ID) {
	request := fmt.Sprintf("%016X", 0x5A17000000000000+n)
	key := fmt.Sprintf("vision/v%d/model-%05d.safetensors", n%7, n)
	line = fmt.Sprintf("79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be models [%s] 198.51.100.%d arn:aws:iam::111122223333:user/person%d %s REST.GET.OBJECT %s"+
		" \"GET /models/%s HTTP/1.1\" 200 - %d %d 12 9 \"-\" \"Boto3/1.34\" - aG9zdA== SigV4 TLS_AES_128_GCM_SHA256 AuthHeader models.s3.amazonaws.com TLSv1.3 - -",
		at.Format("02/Jan/2006:15:04:05 -0700"), n%250, n%40, request, key, key, 1000+n, 1000+n)
	return line, event.MakeID(event.SourcetypeS3, request, "REST.GET.OBJECT", key, "-")
}

// accessLines is the text of a log object with records first to first+n-1.
func accessLines(first, n int, at time.Time) (text []byte, ids []event.ID) {
	for i := first; i < first+n; i++ {
		line, id := accessLine(i, at.Add(time.Duration(i-first)*time.Millisecond))
		text = append(append(text, line...), '\n')
		ids = append(ids, id)
	}
	return text, ids
}

// logFolder is a folder of access logs, with its truth.
type logFolder struct {
	dir   string
	ids   []event.ID
	first int // number of its first record; another folder has others
}

func newLogFolder(t *testing.T) *logFolder {
	t.Helper()
	return &logFolder{dir: t.TempDir()}
}

// add writes a log object with n more records.
func (l *logFolder) add(t *testing.T, n int) {
	t.Helper()
	text, ids := accessLines(l.first+len(l.ids), n, logsBegin)
	name := fmt.Sprintf("%s-%016X", logsBegin.Add(time.Duration(len(l.ids))*time.Second).Format("2006-01-02-15-04-05"), len(l.ids))
	l.ids = append(l.ids, ids...)
	// Renamed into place, as whoever fetches logs does.
	hidden := filepath.Join(filepath.Dir(l.dir), "."+name)
	require.NoError(t, os.WriteFile(hidden, text, 0o600))
	require.NoError(t, os.Rename(hidden, filepath.Join(l.dir, name)))
}

// input is the stanza that reads the folder.
func (l *logFolder) input() string {
	return "[aiwatch_s3://prod]\npath = " + l.dir + "\ninterval = 1\n"
}

// hecStanza delivers to url.
func hecStanza(url string) string {
	return "[hec]\nurl = " + url + "\ntoken_env = HEC_TOKEN\nlinger = 50ms\n"
}

const hecToken = "5a17c0de-0000-4000-8000-000000000001"

func writeConfiguration(t *testing.T, inputs, aiwatch string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "local"), 0o755))
	for name, text := range map[string]string{"inputs.conf": inputs, "aiwatch.conf": aiwatch} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "local", name), []byte(text), 0o644))
	}
	return dir
}

// receiver is a HEC receiver that counts, keeps what is no access, and can be
// told to misbehave.
type receiver struct {
	*hecserver.Server
	counter *hecserver.Counter
	faults  *hecserver.Faults
	told    told
}

// told is a sink that keeps the events that are no record of S3: health events
// and damaged records.
type told struct {
	mu     sync.Mutex
	events []toldEvent
}

type toldEvent struct {
	Operation  string
	Text       string
	ParseError string `json:"parse_error"`
	Raw        string
	RawRef     string `json:"raw_ref"`
	AssetID    string `json:"asset_id"`
	EventID    string `json:"event_id"`
	Coverage   []string
	Seq        uint64
}

func (k *told) Index(events []hecserver.Received) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range events {
		if bytes.Contains(events[i].Event, []byte(`"operation":"REST.`)) {
			continue
		}
		var e toldEvent
		if json.Unmarshal(events[i].Event, &e) == nil { // what is no object is no event of ours
			k.events = append(k.events, e)
		}
	}
	return nil
}

// of returns the events with this operation.
func (k *told) of(operation string) (found []toldEvent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if e.Operation == operation {
			found = append(found, e)
		}
	}
	return found
}

func startReceiver(t *testing.T, ack bool, trace func(hecserver.Moment)) *receiver {
	t.Helper()
	return startReceiverAt(t, "127.0.0.1:0", ack, trace)
}

func startReceiverAt(t *testing.T, address string, ack bool, trace func(hecserver.Moment)) *receiver {
	t.Helper()
	faults, err := hecserver.NewFaults(1)
	require.NoError(t, err)
	r := &receiver{counter: hecserver.NewCounter(), faults: faults}
	r.Server, err = hecserver.Start(address, nil, hecserver.Config{
		Tokens: []hecserver.Token{{Value: hecToken, Ack: ack}}, Sink: hecserver.Sinks{&r.told, r.counter}, Faults: faults, Trace: trace,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// misbehave replaces the receiver's faults.
func (r *receiver) misbehave(t *testing.T, faults ...hecserver.Fault) {
	t.Helper()
	require.NoError(t, r.faults.Set(1, faults...))
}

// missing counts the events of the truth that have not arrived.
func (r *receiver) missing(ids []event.ID) (n int) {
	for _, id := range ids {
		if r.counter.Times(id.String()) == 0 {
			n++
		}
	}
	return n
}

// requireAll asserts that every event of the truth has arrived, that no number
// is missing or was used twice, and that what came twice is the same. It returns
// how many came twice.
func (r *receiver) requireAll(t *testing.T, ids []event.ID) uint64 {
	t.Helper()
	return r.requireAllFrom(t, ids, 1)
}

// requireAllFrom is requireAll for several collectors or inputs.
func (r *receiver) requireAllFrom(t *testing.T, ids []event.ID, streams int) uint64 {
	t.Helper()
	stats := r.counter.Stats()
	require.Zero(t, r.missing(ids), "events lost of %d", len(ids))
	require.Zero(t, stats.SeqMissing, "numbers missing: %+v", stats.Streams)
	require.Zero(t, stats.SeqDoubles, "numbers used for two events")
	require.Zero(t, stats.Conflicts, "events that came twice with other bytes")
	require.Len(t, stats.Streams, streams, "streams of one collector and one input")
	for _, s := range stats.Streams {
		require.EqualValues(t, 1, s.First, "the first number of %s %s", s.Collector, s.Source)
	}
	return stats.Duplicates
}

// arrives waits for every event of the truth, and asserts as requireAll does.
func (r *receiver) arrives(t *testing.T, ids []event.ID) {
	t.Helper()
	eventually(t, "all events arrive", func() bool { return r.missing(ids) == 0 })
	r.requireAll(t, ids)
}

// tail is the end of a long text.
func tail(s string) string {
	if len(s) > 4000 {
		return "..." + s[len(s)-4000:]
	}
	return s
}
