package counterpart

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// HECReceiver is OpenTelemetry's HEC receiver with acknowledgements. Unlike
// Splunk it checks no token, refuses a whole body, acknowledges at once, counts
// ackIds from 1 and gives none to a request without a channel.
type HECReceiver struct {
	*Process
	URL string // up to the port; the paths are Splunk's

	events string
	stats  string
}

// HECEvent is an event as the receiver understood it.
type HECEvent struct {
	Time       json.Number    `json:"time"` // seconds, three decimals
	Host       string         `json:"host"`
	Source     string         `json:"source"`
	Sourcetype string         `json:"sourcetype"`
	Index      string         `json:"index"`
	Event      any            `json:"event"` // as encoding/json decodes it
	Fields     map[string]any `json:"fields"`
}

// HECCounts are counts since the start.
type HECCounts struct {
	Events   int64 `json:"events"`
	Requests int64 `json:"requests"`
}

// OTelHEC starts a HEC receiver that nobody of us wrote.
func OTelHEC(tb testing.TB) *HECReceiver {
	tb.Helper()
	binary := filepath.Join(installed(tb, "otelhec"), "bin", "otelhec")
	r := &HECReceiver{events: filepath.Join(tb.TempDir(), "events.ndjson")}
	r.Process = start(tb, "otelhec", func(address string) spec {
		r.stats = FreeAddress(tb)
		return spec{
			path:  binary,
			args:  []string{"receive", "--listen", address, "--stats", r.stats, "--out", r.events},
			ready: "http://" + address + "/services/collector/health",
		}
	})
	r.URL = "http://" + r.Address()
	return r
}

// Events are the events received since the start, in the order of their arrival.
// Those of an answered request are among them.
func (r *HECReceiver) Events(tb testing.TB) []HECEvent {
	tb.Helper()
	file, err := os.Open(r.events)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var events []HECEvent
	for decoder := json.NewDecoder(bufio.NewReader(file)); ; {
		var e HECEvent
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return events // the last line may be in the making
		}
		if err != nil {
			tb.Fatalf("read what the HEC receiver wrote: %v", err)
		}
		events = append(events, e)
	}
}

// Counts asks the receiver for its counts.
func (r *HECReceiver) Counts(tb testing.TB) HECCounts {
	tb.Helper()
	var counts HECCounts
	if err := json.Unmarshal(get(tb, "http://"+r.stats+"/stats"), &counts); err != nil {
		tb.Fatalf("read the HEC receiver's counts: %v", err)
	}
	return counts
}

// OTelSendOptions say what OpenTelemetry's HEC exporter is to send. Zero values
// mean its own defaults.
type OTelSendOptions struct {
	URL      string // with /services/collector
	Token    string
	Events   string // file of envelopes, one JSON object a line
	Repeat   int    // send the file so many times
	Batch    int    // events in a call of the exporter
	Workers  int    // calls at the same time
	Prebuilt bool   // convert to OpenTelemetry's form before the clock starts
	NoGzip   bool
}

// OTelSendResult is what the exporter's sending took, reading apart.
type OTelSendResult struct {
	Events          int     `json:"events"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	CPUSeconds      float64 `json:"cpu_seconds"` // user and system, of the sender alone
	MaxRSSMiB       float64 `json:"max_rss_mib"`
}

// OTelSend delivers events through OpenTelemetry's HEC exporter, without a queue
// and without acknowledgements: the sender to be compared with in benchmarks.
func OTelSend(tb testing.TB, options OTelSendOptions) OTelSendResult {
	tb.Helper()
	binary := filepath.Join(installed(tb, "otelhec"), "bin", "otelhec")
	token := filepath.Join(tb.TempDir(), "token")
	if err := os.WriteFile(token, []byte(options.Token), 0o600); err != nil {
		tb.Fatal(err)
	}
	args := []string{"send", "-url", options.URL, "-token-file", token, "-events", options.Events}
	for flag, value := range map[string]int{"-repeat": options.Repeat, "-batch": options.Batch, "-workers": options.Workers} {
		if value > 0 {
			args = append(args, flag, strconv.Itoa(value))
		}
	}
	for flag, set := range map[string]bool{"-prebuilt": options.Prebuilt, "-no-gzip": options.NoGzip} {
		if set {
			args = append(args, flag)
		}
	}
	command := exec.CommandContext(tb.Context(), binary, args...)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		tb.Fatalf("send by OpenTelemetry's exporter: %v: %s", err, &stderr)
	}
	var result OTelSendResult
	if err := json.Unmarshal(out, &result); err != nil {
		tb.Fatalf("read what the exporter's run took: %v: %s", err, out)
	}
	return result
}
