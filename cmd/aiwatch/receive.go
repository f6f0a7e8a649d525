package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"aiwatch/internal/hecserver"
)

// How often receive tells of its progress, and how long it waits for requests
// under way when it is told to end.
const (
	receiveOnTerminal = time.Second
	receiveInLog      = time.Minute
	receiveDrain      = 10 * time.Second
)

// receiveCommand runs the embedded HEC receiver.
func (p *program) receiveCommand() *cli.Command {
	return &cli.Command{
		Name:  "receive",
		Usage: "run an embedded Splunk HEC receiver",
		Description: "Takes events as Splunk's HTTP Event Collector does, as strictly, and counts\n" +
			"them: how many came, came twice, came changed, and which numbers of an input\n" +
			"never came. For trying aiwatch out and for tests; it indexes nothing and needs\n" +
			"about 64 bytes of memory an event. Ends on SIGTERM with a summary.\n\n" +
			"  aiwatch receive --write-events events.ndjson\n" +
			"  curl -H \"Authorization: Splunk $TOKEN\" -d '{\"event\":\"hello\"}' \\\n" +
			"      http://127.0.0.1:8088/services/collector/event",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8088", Usage: "`ADDRESS` to listen on, port 0 for a free one; other than loopback only with TLS"},
			&cli.PathFlag{Name: "write-events", Usage: "append what is received to `FILE`, one envelope a line"},
			&cli.BoolFlag{Name: "ack", Usage: "acknowledge indexing, as a token with useACK does"},
			&cli.StringSliceFlag{Name: "index", Usage: "`NAME` of an index the token may write to, the first is its default; any without this flag"},
			&cli.PathFlag{Name: "tls-cert", Usage: "`FILE` with the certificate and its chain, PEM"},
			&cli.PathFlag{Name: "tls-key", Usage: "`FILE` with the certificate's key, PEM"},
			&cli.PathFlag{Name: "token-file", Usage: "`FILE` with the token, readable by its owner alone; without it one is made and printed"},
			&cli.IntFlag{Name: "max-bytes", Value: hecserver.DefaultMaxBytes, Usage: "limit on a body in `BYTES`, raw and compressed"},
			&cli.BoolFlag{Name: "faults", Usage: "also serve a control URL on loopback, by which a test makes the receiver misbehave"},
			&cli.BoolFlag{Name: "json", Usage: "print address and summary as JSON, a line each"},
		},
		Action: p.receive,
	}
}

// receiveStart is what receive prints when it is ready.
type receiveStart struct {
	URL     string `json:"url"`
	Token   string `json:"token,omitempty"` // not when it came from a file
	Control string `json:"control,omitempty"`
}

func (p *program) receive(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	tlsConfig, err := receiveTLS(c.Path("tls-cert"), c.Path("tls-key"))
	if err != nil {
		return exitWith(exitUsage, err)
	}
	if c.Int("max-bytes") <= 0 {
		return exitWith(exitUsage, fmt.Errorf("--max-bytes %d: want more than 0", c.Int("max-bytes")))
	}
	var start receiveStart
	token, err := receiveToken(c.Path("token-file"))
	if err != nil {
		return exitWith(exitUsage, err)
	}
	if c.Path("token-file") == "" {
		start.Token = token
	}

	counter := hecserver.NewCounter()
	sinks := hecserver.Sinks{counter}
	if path := c.Path("write-events"); path != "" {
		file, err := hecserver.NewFile(path)
		if err != nil {
			return err
		}
		// The file is closed last; what could not be written is an error then.
		defer func() { err = errors.Join(err, file.Close()) }()
		sinks = hecserver.Sinks{file, counter}
	}
	log := p.log
	if log == nil {
		log = slog.New(slog.NewTextHandler(p.stderr, nil))
	}
	indexes := c.StringSlice("index")
	config := hecserver.Config{
		Tokens: []hecserver.Token{{Value: token, Indexes: indexes, Ack: c.Bool("ack")}},
		Sink:   sinks,
		MaxRaw: c.Int("max-bytes"), MaxCompressed: c.Int("max-bytes"),
		Now: p.now, Log: log,
	}
	if len(indexes) > 0 {
		config.Tokens[0].DefaultIndex = indexes[0]
	}
	server, err := hecserver.Start(c.String("listen"), tlsConfig, config)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	start.URL = server.URL()
	if c.Bool("faults") {
		control, controlErr := hecserver.StartControl(server, counter)
		if controlErr != nil {
			return errors.Join(controlErr, server.Close())
		}
		defer func() { err = errors.Join(err, control.Close()) }()
		start.Control = control.URL()
	}
	p.printReceiveStart(start, c.Bool("json"))
	p.watchReceive(c.Context, server, log)

	drain, cancel := context.WithTimeout(context.WithoutCancel(c.Context), receiveDrain)
	defer cancel()
	err = server.Shutdown(drain)
	p.printReceiveSummary(counter.Stats(), c.Bool("json"))
	return err
}

// receiveTLS loads certificate and key, both or neither.
func receiveTLS(cert, key string) (*tls.Config, error) {
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, errors.New("--tls-cert and --tls-key: one is missing")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load certificate %s with key %s: %w", cert, key, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// receiveToken reads the token, or makes one in the form of a UUID, as Splunk's
// tokens are.
func receiveToken(path string) (string, error) {
	if path == "" {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read token file: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("token file %s can be read by others (%s): %w; chmod 600 it", path, info.Mode().Perm(), fs.ErrPermission)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token file %s: want one token and nothing else", path)
	}
	return token, nil
}

func (p *program) printReceiveStart(start receiveStart, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(p.stdout).Encode(start)
		return
	}
	fmt.Fprintf(p.stdout, "listening on %s/services/collector\n", start.URL)
	if start.Token != "" {
		fmt.Fprintf(p.stdout, "token %s\n", start.Token)
	}
	if start.Control != "" {
		fmt.Fprintf(p.stdout, "control %s\n", start.Control)
	}
}

// watchReceive tells of the progress until the server ends or ctx does: on a
// terminal in one line that is written over, elsewhere in the log when something
// has come.
func (p *program) watchReceive(ctx context.Context, server *hecserver.Server, log *slog.Logger) {
	file, onTerminal := p.stderr.(*os.File)
	onTerminal = onTerminal && term.IsTerminal(int(file.Fd()))
	every := receiveInLog
	if onTerminal {
		every = receiveOnTerminal
		defer fmt.Fprintln(p.stderr)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-server.Done():
			return
		case <-tick.C:
		}
		events := server.Handler().Stats().Events
		rate := float64(events-last) / every.Seconds()
		switch {
		case onTerminal:
			fmt.Fprintf(p.stderr, "\r\x1b[Kreceived %d events, %.0f/s", events, rate)
		case events != last:
			log.Info("received", "events", events, "per_second", rate)
		}
		last = events
	}
}

func (p *program) printReceiveSummary(s hecserver.CounterStats, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(p.stdout).Encode(s)
		return
	}
	writeReceiveSummary(p.stdout, s)
}

func writeReceiveSummary(w io.Writer, s hecserver.CounterStats) {
	fmt.Fprintf(w, "received %d events: %d distinct, %d sent twice, %d told twice, %d changed on the way, %d without event_id\n",
		s.Events, s.Distinct, s.Duplicates, s.Repeats, s.Conflicts, s.WithoutID)
	fmt.Fprintf(w, "seq: %d missing, %d given to two events\n", s.SeqMissing, s.SeqDoubles)
	for _, stream := range s.Streams {
		fmt.Fprintf(w, "  %q %q: %d to %d, %d missing\n", stream.Collector, stream.Source, stream.First, stream.Last, stream.Missing)
	}
}
