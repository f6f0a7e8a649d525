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
			"leaves nothing behind unless --keep or --out says so. Needs git.\n\n" +
			"With --mlflow a real server takes the place of the stand-in. It dates by its own\n" +
			"clock, so that MLflow's part happens now: models, versions and runs under a name of\n" +
			"the demo's own, which are deleted at the end. It sees and touches nothing else there.\n" +
			"The account is read from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or\n" +
			"MLFLOW_TRACKING_TOKEN, as by MLflow's own client.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep", Usage: "keep logs, repositories, configuration, state, events and findings in the folder of --out"},
			&cli.StringFlag{Name: "out", Value: "aiwatch-demo", Usage: "keep all of it in `DIR`; replaced when it is an earlier demo's"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "another seed, another week of ordinary work"},
			&cli.StringFlag{Name: appFlag, Usage: "run the searches of the app in `DIR`, as it is installed, instead of the built-in app's"},
			&cli.StringFlag{Name: mlflowFlag, Usage: "tell MLflow's part to the tracking server at `URL`, now, and take it back at the end"},
		},
		Action: p.runDemo,
	}
}

func (p *program) runDemo(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
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
	if c.IsSet(mlflowFlag) {
		if o.Server, err = p.demoServer(c); err != nil {
			return err
		}
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
	switch {
	case o.Server != nil:
		o.Server.Keep = kept != ""
		p.say("An insider's week, on this machine and on MLflow %s at %s.", printable(o.Server.Version), printable(o.Server.URL()))
		p.say("There it makes models and experiments named %s..., and touches no others.\n", o.Server.Names)
	case kept == "":
		p.say("An insider's week, on this machine alone. Nothing leaves it, and nothing stays on it.\n")
	default:
		p.say("An insider's week, on this machine alone. What it is made of stays in %s.\n", printable(kept))
	}
	began := p.now()
	result, err := demo.Run(c.Context, o)
	if c.Context.Err() != nil {
		stopped := errors.New("the demo was stopped before its end")
		if left := (*demo.LeftError)(nil); errors.As(err, &left) {
			stopped = errors.Join(stopped, left)
		}
		return stopped
	}
	if err != nil {
		return err
	}
	if o.Server != nil {
		p.sayTold(result, o.Server)
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

// sayTold tells what of the demo is of today, and what stays on a server.
func (p *program) sayTold(r *demo.Result, s *demo.Server) {
	clock := func(at time.Time) string { return at.UTC().Format(time.TimeOnly) }
	p.say("\nMLflow's part happened now, on %s", printable(s.URL()))
	p.say("  From %s to %s UTC by the server's clock. S3 and Git are as their logs tell of the days", clock(r.Told.From), clock(r.Told.To))
	p.say("  before, and end here. Searches ran ahead of the clock, as they would up to %s.", clock(r.Scenario.End))
	p.say("  Who did it is in an access log, as a proxy in front of MLflow writes it; the demo wrote it.")
	if s.Keep {
		p.say("  %d models, and %d experiments with %d runs, stay there. They are named %s...", r.Told.Models, r.Told.Experiments, r.Told.Runs, s.Names)
		return
	}
	p.say("  Its %d models are deleted. Its %d experiments with %d runs stay there, marked as deleted:", r.Told.Models, r.Told.Experiments, r.Told.Runs)
	p.say("  MLflow's API can do no more. On the server, mlflow gc removes them for good.")
}

// The flag of demo for a real server, and where the account is read from: the
// variables that MLflow's own client reads.
const (
	mlflowFlag     = "mlflow"
	mlflowUsername = "MLFLOW_TRACKING_USERNAME"
	mlflowPassword = "MLFLOW_TRACKING_PASSWORD"
	mlflowToken    = "MLFLOW_TRACKING_TOKEN"
)

// demoServer reaches the server that is to be told MLflow's part.
func (p *program) demoServer(c *cli.Context) (*demo.Server, error) {
	s, err := demo.NewServer(c.String(mlflowFlag), demo.Account{
		Username: p.getenv(mlflowUsername), Password: p.getenv(mlflowPassword), Token: p.getenv(mlflowToken),
	})
	if err != nil {
		return nil, exitWith(exitUsage, fmt.Errorf("--%s: %w", mlflowFlag, err))
	}
	if err := s.Reach(c.Context); err != nil {
		return nil, exitWith(exitUnavailable, fmt.Errorf("--%s: %w", mlflowFlag, err))
	}
	return s, nil
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
		p.say("Nothing of it is left here. aiwatch demo --keep keeps everything to play with, and the audit report.")
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
