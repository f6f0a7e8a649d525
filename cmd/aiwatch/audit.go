package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/collectors"
	"aiwatch/forwarder/archive"
	"aiwatch/internal/audit"
	"aiwatch/internal/conf"
	"aiwatch/internal/detection"
	"aiwatch/internal/inputs"
	"aiwatch/internal/spl"
)

// auditDays is how long the period is where nobody says and files do not bound it.
const auditDays = 30

// Names of the files that an audit writes.
const (
	auditHTML = "audit.html"
	auditJSON = "audit.json"
)

// auditCommand answers an auditor from events alone.
func (p *program) auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "run the app's detections over collected events without Splunk, and report",
		Description: "Reads events, runs every search of the app over them at its times as Splunk would\n" +
			"have, and writes a report for an auditor (docs/audit.md): findings with their\n" +
			"evidence, custody of the production models, an access review, which hours and which\n" +
			"detections are missing, and what this shows of the EU AI Act, ISO/IEC 42001 and the\n" +
			"NIST AI RMF. DIR gets " + auditHTML + ", one page that needs nothing else, and " + auditJSON + ".\n\n" +
			"Ends with 3 when there are findings of the severity that --fail-on names or graver,\n" +
			"with 69 when an input could not be read, with 0 otherwise.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "events", Usage: "read events from `FILE`, one envelope a line, gzip and zstd too; - is standard input; may be given again"},
			&cli.StringFlag{Name: "archive", Usage: "read the archive in `DIR`; that of [archive] in the configuration when neither events nor collect are given"},
			&cli.BoolFlag{Name: "collect", Usage: "collect now from the configured inputs; deliver nothing, keep no state"},
			confFlag,
			inputFlag,
			&cli.StringFlag{Name: "from", Usage: "the period's begin: epoch seconds, RFC 3339 or a modifier like -90d@d; else the first event of the files, or 30 days before the end"},
			&cli.StringFlag{Name: "to", Usage: "the period's end; else shortly after the last event of the files, or now"},
			&cli.StringFlag{Name: "out", Value: "aiwatch-audit", Usage: "the `DIR` for the report, made when it is not there"},
			&cli.StringFlag{Name: "fail-on", Usage: "end with 3 when there are findings of this `SEVERITY` or graver: " + strings.Join(audit.Severities, ", ")},
			&cli.StringFlag{Name: appFlag, Usage: "run the searches of the app in `DIR`, as it is installed, with its lookups and macros, instead of the built-in app's"},
			&cli.StringSliceFlag{Name: "lookup", Usage: "`NAME=CSV`: a lookup, as a file, in place of the app's"},
			lookupsFlag,
			&cli.StringFlag{Name: "macros", Usage: "take macros from `FILE`, over the app's"},
			&cli.StringFlag{Name: "transforms", Usage: "take lookup definitions from `FILE`, over the app's"},
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON; files are written only where --out is given"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return p.audit(c)
		},
	}
}

func (p *program) audit(c *cli.Context) error {
	in, err := p.auditInput(c)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	if p.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(spl.MemoryGoal)
	}
	unread, err := p.auditEvents(c, in)
	if err != nil {
		return err
	}
	report, err := audit.Run(c.Context, *in)
	if err != nil {
		return refused(err)
	}
	if !c.Bool("json") || c.IsSet("out") {
		if err := writeReport(c.String("out"), report); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		var text bytes.Buffer
		if err := report.WriteJSON(&text); err != nil {
			return err
		}
		if _, err := p.stdout.Write(asciiEscapes(text.Bytes())); err != nil {
			return fmt.Errorf("print the report: %w", err)
		}
	} else if err := p.tellAudit(report, c.String("out")); err != nil {
		return err
	}
	switch {
	case report.Verdict.ExitCode != audit.ExitDone:
		return exitWith(report.Verdict.ExitCode, nil)
	case unread != nil:
		return exitWith(exitUnavailable, unread)
	}
	return nil
}

// auditInput reads the flags. Its errors are mistakes of whoever wrote them.
func (p *program) auditInput(c *cli.Context) (in *audit.Input, err error) {
	in = &audit.Input{Made: p.now(), Version: version, FailOn: c.String("fail-on")}
	if in.FailOn != "" && !slices.Contains(audit.Severities, in.FailOn) {
		return nil, fmt.Errorf("--fail-on %q is no severity; it is one of %s", in.FailOn, strings.Join(audit.Severities, ", "))
	}
	for flag, into := range map[string]*time.Time{"from": &in.From, "to": &in.To} {
		text := c.String(flag)
		if text == "" {
			continue
		}
		if *into, err = spl.ParseTime(text, in.Made, time.UTC); err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
	}
	if in.App, err = searchedApp(c); err != nil {
		return nil, err
	}
	for _, l := range c.StringSlice("lookup") {
		// Here a file that is not there is no empty lookup: nothing could fill it.
		if name, path, ok := strings.Cut(l, "="); ok {
			if _, err := os.Stat(path); err != nil {
				return nil, fmt.Errorf("--lookup %s: %w", name, err)
			}
		}
	}
	in.Prepare = func(engine *spl.Engine) error {
		if _, err := tuneEngine(c, engine); err != nil {
			return exitWith(exitUsage, err)
		}
		return nil
	}
	named := 0
	for _, flag := range []string{"events", "archive", "collect"} {
		if c.IsSet(flag) {
			named++
		}
	}
	if named > 1 {
		return nil, errors.New("--events, --archive and --collect exclude each other: an audit stands on one of them")
	}
	return in, nil
}

// auditEvents brings the events. unread says which inputs could not be read.
func (p *program) auditEvents(c *cli.Context, in *audit.Input) (unread, err error) {
	in.Events = audit.NewEvents()
	if files := c.StringSlice("events"); len(files) > 0 {
		for _, path := range files {
			if err := p.readEvents(in.Events, path); err != nil {
				return nil, exitWith(exitUsage, fmt.Errorf("--events: %w", err))
			}
		}
		return nil, nil
	}
	if in.To.IsZero() {
		in.To = in.Made // what has told nothing since is missing till now
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-auditDays * 24 * time.Hour)
	}
	if dir := c.String("archive"); dir != "" {
		return nil, readArchive(c.Context, dir, in)
	}
	config, err := p.configuration(c)
	if err != nil {
		return nil, err
	}
	chosen, err := chosenInputs(c, config)
	if err != nil {
		return nil, err
	}
	in.Configured = detection.InputsOf(config, chosen)
	if !c.Bool("collect") {
		kept := config.One("archive")
		if !kept.Present() {
			return nil, exitWith(exitUsage, errors.New("say what to audit: --events FILE, --archive DIR or --collect; this configuration has no [archive]"))
		}
		return nil, readArchive(c.Context, kept.String("path"), in)
	}
	return p.collectForAudit(c.Context, config, chosen, in)
}

func (p *program) readEvents(into *audit.Events, path string) error {
	if path == "-" {
		into.Read("standard input", p.stdin)
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	into.Read(path, f)
	return nil
}

// readArchive takes what an archive holds of the longest time that an audit looks
// back.
func readArchive(ctx context.Context, dir string, in *audit.Input) error {
	kept, err := archive.Open(dir)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	source := in.Events.Source(dir)
	wrong := 0
	read, err := kept.Read(ctx, in.To.Add(-audit.LongestPeriod), time.Time{}, func(envelope []byte) error {
		if in.Events.Add(envelope) != nil {
			wrong++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if wrong > 0 {
		source.Damaged(fmt.Sprintf("%d lines are no events", wrong), wrong)
	}
	for _, d := range read.Damaged {
		if !d.Torn { // it is being written
			source.Damaged(d.String(), d.Events)
		}
	}
	return nil
}

// collectForAudit reads each input once, as at first contact.
func (p *program) collectForAudit(ctx context.Context, config *conf.Config, chosen []*conf.Settings, in *audit.Input) (unread, err error) {
	log := p.logger(config)
	b, done, err := p.dryInputBuilder(config, log)
	if err != nil {
		return nil, err
	}
	defer done()
	source := in.Events.Collected(fmt.Sprintf("collected now from %d inputs", len(chosen)))
	var mu sync.Mutex
	runner := &collectors.Runner{Clock: programClock{now: p.now}, Log: log, Version: version, Collector: dryCollector}
	for _, s := range chosen {
		collector, err := b.Collector(ctx, s)
		if err != nil {
			return nil, exitWith(exitUsage, err)
		}
		host, err := hostOf(s)
		if err != nil {
			return nil, err
		}
		runner.Host = host
		stream := &collectors.Memory{
			Source: s.Stanza(), Index: s.String("index"), Host: host, Collector: dryCollector,
			Deliver: func(envelope []byte) error {
				mu.Lock()
				defer mu.Unlock()
				return in.Events.Add(envelope)
			},
		}
		runner.Inputs = append(runner.Inputs, collectors.Input{
			Name: s.Stanza(), Collector: collector, Schedule: inputs.Schedule(s),
			Open: func(context.Context) (collectors.Stream, error) { return stream, nil },
		})
	}
	unread = runner.Once(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if unread != nil {
		source.Broken = unread.Error()
	}
	return unread, nil
}

// programClock is the machine's clock as the program reads it.
type programClock struct {
	collectors.SystemClock
	now func() time.Time
}

// Now returns the current time.
func (c programClock) Now() time.Time { return c.now() }

// writeReport writes the report's files, for their owner alone: they name people.
func writeReport(dir string, report *audit.Report) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exitWith(exitUsage, fmt.Errorf("--out: %w", err))
	}
	for name, write := range map[string]func(io.Writer) error{auditHTML: report.WriteHTML, auditJSON: report.WriteJSON} {
		if err := writeOwn(filepath.Join(dir, name), write); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// writeOwn puts a file in its place at once, readable for its owner alone.
func writeOwn(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing once it is renamed
	out := bufio.NewWriter(f)
	if err := errors.Join(write(out), out.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// tellAudit prints the report in a few lines.
func (p *program) tellAudit(r *audit.Report, dir string) error {
	out := bufio.NewWriter(p.stdout)
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	say("%s to %s UTC: %s.", r.Period.From.Format("2006-01-02 15:04"), r.Period.To.Format("2006-01-02 15:04"), printable(r.Verdict.Headline))
	say("%s", printable(r.Verdict.Evidence))
	const most = 20
	for i, f := range r.Findings {
		if i == most {
			say("  ... and %d more", len(r.Findings)-most)
			break
		}
		say("  %-13s  %s  %2d  %s", f.Severity, f.When().Format("2006-01-02 15:04"), f.Detection, printable(f.Message))
	}
	for _, w := range r.Watch {
		for i, s := range w.Missing {
			if i == most {
				break
			}
			say("  not watched    %s to %s  %s: %s", s.From.Format("2006-01-02 15:04"), s.To.Format("2006-01-02 15:04"), printable(w.Input), printable(s.Why))
		}
	}
	say("%s\n%s", filepath.Join(dir, auditHTML), filepath.Join(dir, auditJSON))
	return out.Flush()
}
