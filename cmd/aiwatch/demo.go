package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/internal/demo"
	"aiwatch/internal/detection"
	"aiwatch/internal/spl"
)

// demoMark is in every folder that the demo made: it replaces no other.
const demoMark = ".aiwatch-demo"

// demoCommand shows an insider caught, on one machine.
func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "an insider's week, from the sources to the findings, on this machine alone",
		Description: "Makes up a week of a small organisation in which an engineer uses his rights against\n" +
			"it, told in S3 access logs, MLflow calls and Git pushes; collects them, delivers them\n" +
			"by queue and HEC to an embedded receiver, runs the app's searches over what arrived,\n" +
			"and tells what was found. Reaches nothing but this machine, ends by itself, and\n" +
			"leaves nothing behind unless --keep or --out says so. Needs git.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep", Usage: "keep logs, repositories, configuration, state, events and findings in the folder of --out"},
			&cli.StringFlag{Name: "out", Value: "aiwatch-demo", Usage: "keep all of it in `DIR`; replaced when it is an earlier demo's"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "another seed, another week of ordinary work"},
			&cli.StringFlag{Name: appFlag, Usage: "run the searches of the app in `DIR`, as it is installed, instead of the built-in app's"},
			&cli.StringFlag{Name: "mlflow", Usage: "refused: a real server dates what happens itself, and a week can't be told to it in a minute", Hidden: true},
		},
		Action: p.runDemo,
	}
}

func (p *program) runDemo(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.IsSet("mlflow") {
		return exitWith(exitUsage, errors.New("--mlflow: a real MLflow server dates by its own clock what happens on it, so that a week can't be told to it in a minute, and the demo writes into no server but its own; to watch yours, name it in inputs.conf and run aiwatch check"))
	}
	if _, err := exec.LookPath("git"); err != nil {
		return exitWith(exitUsage, errors.New("the demo keeps models in Git repositories and finds no git; install it"))
	}
	o := demo.Options{Seed: c.Uint64("seed"), Version: version, Made: p.now(), Log: slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelError})), Step: p.demoStep()}
	if dir := c.String(appFlag); dir != "" {
		o.App = os.DirFS(dir)
	} else if o.App, err = detection.FS(); err != nil {
		return err
	}
	kept := ""
	if c.Bool("keep") || c.IsSet("out") {
		kept, o.Audit = c.String("out"), true
		if o.Dir, err = filepath.Abs(kept); err != nil {
			return err
		}
		if err := freshDemo(o.Dir); err != nil {
			return exitWith(exitUsage, err)
		}
	} else {
		if o.Dir, err = os.MkdirTemp("", "aiwatch-demo-"); err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	if p.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(spl.MemoryGoal)
	}
	if kept == "" {
		p.say("An insider's week, on this machine alone. Nothing leaves it, and nothing stays on it.\n")
	} else {
		p.say("An insider's week, on this machine alone. What it is made of stays in %s.\n", printable(kept))
	}
	began := p.now()
	result, err := demo.Run(c.Context, o)
	if c.Context.Err() != nil {
		return errors.New("the demo was stopped before its end")
	}
	if err != nil {
		return err
	}
	result.Story.Print(p.stdout, printable)
	p.say("\nAll of it took %s.", p.now().Sub(began).Round(100*time.Millisecond))
	app := ""
	if c.IsSet(appFlag) {
		app = " --app " + printable(c.String(appFlag))
	}
	p.sayNext(result, kept, app)
	return nil
}

// freshDemo makes the demo's folder anew. It removes only what a demo made.
func freshDemo(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, demoMark)); err != nil {
			return fmt.Errorf("%s is not empty and no demo made it; name another folder with --out", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove the demo before: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, demoMark), nil, 0o600)
}

func (p *program) say(format string, args ...any) {
	fmt.Fprintf(p.stdout, format+"\n", args...)
}

// demoStep tells of the demo's steps as they begin and end.
func (p *program) demoStep() func(string) func(string, ...any) {
	number := 0
	return func(what string) func(string, ...any) {
		number++
		began := p.now()
		p.say("%d  %s", number, what)
		return func(format string, args ...any) {
			p.say("   %-84s %9s", fmt.Sprintf(format, args...), p.now().Sub(began).Round(100*time.Millisecond))
		}
	}
}

// sayNext tells what is there to be tried; app is the flag that names another app.
func (p *program) sayNext(r *demo.Result, kept, app string) {
	if kept == "" {
		p.say("Nothing of it is left. aiwatch demo --keep keeps everything to play with, and the audit report.")
	} else {
		in := func(name string) string { return printable(filepath.Join(kept, name)) }
		now := r.Scenario.End.Format(time.RFC3339)
		p.say("\nWhat is there now:")
		p.say("  %-34s the audit report, for a browser", in(demo.AuditFile))
		p.say("  %-34s what arrived, an event a line", in(demo.EventsFile))
		p.say("  %-34s what was found, a finding a line", in(demo.FindingsFile))
		p.say("  %-34s lookups, baselines, first-seen tables", in(demo.LookupsDir))
		p.say("  %-34s log objects, repositories, access log", in("sources"))
		p.say("  %-34s the configuration; state, the queue's", in("conf"))
		p.say("  %-34s the week as it was told to the sources", in(demo.ScenarioDir))
		p.say("\nWhat to try next:")
		p.say("  aiwatch spl --events %s --lookups %s --now %s '`aiwatch_events` actor=%s | stats count by operation'", in(demo.EventsFile), in(demo.LookupsDir), now, r.Story.Who)
		p.say("  aiwatch spl --events %s --now %s '`aiwatch_findings` | table _time title message'", in(demo.FindingsFile), now)
		p.say("  aiwatch collect --conf %s aiwatch_s3://acme", in("conf"))
		p.say("  aiwatch audit --events %s --lookups %s --out %s%s", in(demo.EventsFile), in(filepath.Join(demo.ScenarioDir, "lookups")), in("audit"), app)
	}
	if _, err := os.Stat(filepath.Join("splunk_app", "preview")); err == nil {
		p.say("In this checkout make preview shows the dashboards over the same week.")
	}
}
