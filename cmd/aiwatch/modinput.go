package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"aiwatch/collectors"
	"aiwatch/forwarder"
	"aiwatch/internal/conf"
	"aiwatch/internal/modinput"
	"aiwatch/internal/splunkd"
)

const (
	// validateTime bounds the check of an input's source while an administrator
	// waits for the form.
	validateTime = 20 * time.Second
	// modinputDrain is how long an input that was told to stop goes on
	// delivering; splunkd kills what does not end by itself.
	modinputDrain = 5 * time.Second
	// watchEvery is how often it is looked whether splunkd is still there.
	watchEvery = time.Second
)

// modinputCommand is what the launchers in bin/ call.
func (p *program) modinputCommand() *cli.Command {
	return &cli.Command{
		Name:      "modinput",
		Usage:     "run as one of Splunk's modular inputs; called by splunkd",
		ArgsUsage: "KIND [--scheme|--validate-arguments]",
		Description: "KIND is aiwatch_s3, aiwatch_mlflow or aiwatch_git. splunkd hands the input over as\n" +
			"XML on standard input, reads events from standard output and the log from\n" +
			"standard error. AIWATCH_CONF names the add-on's folder, whose local/aiwatch.conf\n" +
			"is read.",
		// splunkd puts its flags behind KIND.
		SkipFlagParsing: true,
		Action:          p.modinput,
	}
}

func (p *program) modinput(c *cli.Context) error {
	m := &modular{program: p, log: slog.New(modinput.NewLogHandler(p.stderr, slog.LevelInfo))}
	args := c.Args().Slice()
	for _, k := range conf.Kinds() {
		if len(args) > 0 && k.IsInput() && k.Name == args[0] {
			m.kind = k
		}
	}
	switch {
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h"):
		return cli.ShowCommandHelp(c, c.Command.Name)
	case m.kind == nil:
		return m.ends(fmt.Errorf("%q names no kind of input: want aiwatch_s3, aiwatch_mlflow or aiwatch_git; see aiwatch modinput --help", args))
	case len(args) == 1:
		return m.ends(m.run(c.Context))
	case len(args) == 2 && args[1] == "--scheme":
		return m.ends(modinput.WriteScheme(p.stdout, m.kind))
	case len(args) == 2 && args[1] == "--validate-arguments":
		return m.ends(m.validate(c.Context))
	}
	return m.ends(fmt.Errorf("splunkd's arguments %q mean nothing to this version", args[1:]))
}

// modular is one run as a modular input.
type modular struct {
	program *program
	kind    *conf.Kind
	log     *slog.Logger
}

// ends logs err, each of its mistakes in a line, and turns it into an exit code
// without words: whatever else stood on stderr would look like splunkd's error.
func (m *modular) ends(err error) error {
	if err == nil {
		return nil
	}
	code := exitFailed
	var e *exitError
	if errors.As(err, &e) {
		if code = e.code; e.err == nil {
			return err
		}
	}
	var problems conf.Problems
	if errors.As(err, &problems) {
		for _, problem := range problems {
			m.log.Error(problem.Error())
		}
	} else {
		m.log.Error(err.Error())
	}
	return exitWith(code, nil)
}

// settings reads the input that splunkd handed over, and aiwatch.conf.
func (m *modular) settings(request *modinput.Request) (*conf.Settings, *conf.Config, error) {
	options := []conf.Option{
		conf.WithEnv(m.program.getenv), conf.WithoutInputs(),
		conf.WithCredentials(m.credentials(request)),
	}
	// Both are read, so that an administrator sees all mistakes at once.
	input, inputErr := conf.FromParams(m.kind.Name, request.Name, request.Params, options...)
	config, configErr := conf.Load(m.program.getenv("AIWATCH_CONF"), options...)
	var all conf.Problems
	for _, err := range []error{inputErr, configErr} {
		var problems conf.Problems
		if errors.As(err, &problems) {
			all = append(all, problems...)
		} else if err != nil {
			return nil, nil, err
		}
	}
	if len(all) > 0 {
		return nil, nil, exitWith(exitUsage, all)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.One("log").String("level"))); err == nil {
		m.log = slog.New(modinput.NewLogHandler(m.program.stderr, level))
	}
	return input, config, nil
}

// credentials returns a reader of storage/passwords. splunkd is reached when the
// first secret is asked for.
func (m *modular) credentials(request *modinput.Request) func(context.Context, string) (string, error) {
	return func(ctx context.Context, name string) (string, error) {
		client, err := splunkd.New(splunkd.Config{
			URI: request.ServerURI, Session: request.SessionKey,
			CAFile: splunkd.CAFile(m.program.getenv("SPLUNK_HOME")),
		})
		if err != nil {
			return "", err
		}
		defer client.Close()
		secret, err := client.Credential(ctx, name)
		return secret.Reveal(), err
	}
}

// validate tries the settings that splunkd hands over and answers with what is
// wrong with them.
func (m *modular) validate(ctx context.Context) error {
	request, err := modinput.ReadItems(m.program.stdin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, validateTime)
	defer cancel()
	if err := m.try(ctx, request); err != nil {
		if err := modinput.WriteRefusal(m.program.stdout, err.Error()); err != nil {
			return err
		}
		return exitWith(exitFailed, nil)
	}
	return nil
}

// try reads the settings, makes the collector and has it try its source.
func (m *modular) try(ctx context.Context, request *modinput.Request) error {
	input, config, err := m.settings(request)
	if err != nil {
		return err
	}
	if input.Bool("disabled") {
		return nil
	}
	if input.String("output") == "hec" {
		if _, err := m.program.destination(ctx, config, m.log); err != nil {
			return err
		}
	}
	b, done, err := m.program.dryInputBuilder(config, m.log)
	if err != nil {
		return err
	}
	defer done()
	collector, err := b.Collector(ctx, input)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	var wrong []string
	for _, found := range collector.Check(ctx) {
		text := found.Text
		if found.Fix != "" {
			text += ": " + found.Fix
		}
		switch found.Verdict {
		case collectors.Unavailable, collectors.Misset:
			wrong = append(wrong, text)
		case collectors.Warning:
			m.log.Warn(text, "input", input.Stanza())
		case collectors.Good:
		}
	}
	if len(wrong) > 0 {
		return errors.New(printable(strings.Join(wrong, ". ")))
	}
	return nil
}

// run collects and delivers as splunkd asked, until the pass is done (interval
// is a cron expression), splunkd says so, or splunkd is gone.
func (m *modular) run(ctx context.Context) error {
	// From here on a closed pipe is an error of a write, not our end.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	parent := os.Getppid()

	request, err := modinput.ReadInput(m.program.stdin)
	if err != nil {
		return err
	}
	input, config, err := m.settings(request)
	if err != nil {
		return err
	}
	if config.One("archive").Present() {
		m.log.Warn("[archive] is written by aiwatch run alone: as an add-on's input nothing is archived")
	}
	if request.CheckpointDir == "" {
		return errors.New("splunkd names no checkpoint_dir: there is no place for the state")
	}

	var out *os.File // nil in tests
	stream := modinput.NewStream(m.program.stdout)
	if file, ok := m.program.stdout.(*os.File); ok {
		out = modinput.PipeOut(file)
		stream = modinput.NewStream(out)
	}
	from := parts{
		config: config, inputs: []*conf.Settings{input}, state: filepath.Join(request.CheckpointDir, stateName(input)), log: m.log,
		destination: toSplunkd{stream}, inFlight: 1, // one pipe, and splunkd knows the index of the stanza
	}
	if input.String("output") == "hec" {
		if from.destination, err = m.program.destination(ctx, config, m.log); err != nil {
			return err
		}
		from.index, from.inFlight = config.One("hec").String("index"), 0
	}
	r, err := m.program.putTogether(ctx, from)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	ctx, done := context.WithCancel(ctx)
	defer done()
	if out != nil {
		g.Go(func() error {
			tick := time.NewTicker(watchEvery)
			defer tick.Stop()
			return modinput.Watch(ctx, parent, out, tick.C)
		})
	}
	g.Go(func() error {
		defer done()
		return m.deliver(ctx, r, stream, input.Interval().Cron != "")
	})
	gone := g.Wait()
	if err := errors.Join(gone, r.close()); !splunkdGone(err) {
		return err
	}
	m.log.Warn("stopped: " + gone.Error() + "; what was not surely delivered is sent again by the next run")
	return nil
}

func splunkdGone(err error) bool {
	return errors.Is(err, modinput.ErrBroken) || errors.Is(err, modinput.ErrPipeClosed) || errors.Is(err, modinput.ErrParentGone)
}

// deliver polls and delivers until ctx is done or, with once, for one pass, and
// then ends the stream.
func (m *modular) deliver(ctx context.Context, r *run, stream *modinput.Stream, once bool) error {
	beside, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g, beside := errgroup.WithContext(beside)
	g.Go(func() error { return r.forwarder.Run(beside) })
	g.Go(func() error {
		defer cancel()
		// What breaks the delivery ends the polls.
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(beside, stop)()
		var polled error
		if once {
			if polled = r.runner.Once(ctx); ctx.Err() != nil {
				polled = nil // told to stop
			}
		} else if err := r.runner.Run(ctx); err != nil {
			return err
		}
		if cause := context.Cause(ctx); splunkdGone(cause) {
			// What was written last may never have been read: it stays in the queue.
			return cause
		}
		drain, cancel := context.WithTimeout(beside, modinputDrain)
		defer cancel()
		stream.Finish()
		drained := r.forwarder.Drain(drain)
		if errors.Is(drained, forwarder.ErrUnavailable) {
			m.log.Warn("stopped with events in the queue: " + drained.Error())
			drained = nil
		}
		return errors.Join(polled, drained)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), modinputDrain)
	defer cancel()
	return stream.Close(end)
}

// stateName is the name of an input's state folder. Stanzas may differ in
// letters that a file name can't hold or tell apart; the digest does.
func stateName(input *conf.Settings) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, input.Name())
	digest := sha256.Sum256([]byte(input.Stanza()))
	return plain[:min(len(plain), 40)] + "-" + hex.EncodeToString(digest[:8])
}
