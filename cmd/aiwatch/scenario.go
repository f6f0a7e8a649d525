package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
	"aiwatch/internal/spl"
)

// scenarioCommand plays scenarios.
func (p *program) scenarioCommand() *cli.Command {
	return &cli.Command{
		Name:   "scenario",
		Usage:  "play scenarios through collectors and searches, and compare",
		Action: subcommandNeeded,
		Subcommands: []*cli.Command{{
			Name:      "run",
			Usage:     "play each scenario and tell what was found, missed and falsely raised",
			ArgsUsage: "DIR...",
			Description: "A scenario is a folder of raw log lines, MLflow calls and Git streams with their\n" +
				"times (docs/scenarios.md). They go through the real collectors on a simulated\n" +
				"clock; then every search of the app runs at its times over what was collected.\n" +
				"Prints one JSON object for each finding and one for each scenario's verdict.\n\n" +
				"Ends with 0 when all that is expected was found and it was quiet enough, 1 when\n" +
				"not, 2 when a scenario itself is wrong.",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "write-events", Usage: "keep what the collectors made in `FILE`, an envelope a line"},
				&cli.StringFlag{Name: appFlag, Usage: "run the searches of the app in `DIR`, as it is installed, instead of the built-in app's"},
			},
			Action: p.runScenarios,
		}},
	}
}

func (p *program) runScenarios(c *cli.Context) (err error) {
	dirs, err := flagsBehind(c)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	if len(dirs) == 0 {
		return exitWith(exitUsage, errors.New("scenario run takes the folders of scenarios; see aiwatch scenario run --help"))
	}
	out := bufio.NewWriter(p.stdout)
	run := scenario.Run{
		Findings: out,
		Options:  scenario.Options{Version: version},
		Warn:     func(text string) { fmt.Fprintf(p.stderr, "aiwatch: %s\n", text) },
	}
	if dir := c.String(appFlag); dir != "" {
		run.App = os.DirFS(dir)
	} else if run.App, err = detection.FS(); err != nil {
		return err
	}
	// All folders are read before the first is played: a mistake in the last
	// need not wait for the others.
	var all []*scenario.Scenario
	var wrong []error
	for _, dir := range dirs {
		s, err := scenario.Load(dir)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		all = append(all, s)
	}
	if err := errors.Join(wrong...); err != nil {
		return scenarioError(err)
	}
	if path := c.String("write-events"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return exitWith(exitUsage, fmt.Errorf("--write-events: %w", err))
		}
		events := bufio.NewWriterSize(f, 1<<18)
		defer func() { err = errors.Join(err, events.Flush(), f.Close()) }()
		run.Events = io.Writer(events)
	}
	if p.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(spl.MemoryGoal)
	}
	failed := 0
	for _, s := range all {
		verdict, err := run.Do(c.Context, s)
		if err := errors.Join(err, out.Flush()); err != nil {
			return scenarioError(err)
		}
		if !verdict.OK() {
			failed++
		}
	}
	if failed > 0 {
		return exitWith(exitFailed, fmt.Errorf("%d of %d scenarios: not all was found, or too much was raised", failed, len(all)))
	}
	return nil
}

// flagsBehind takes the flags that stand behind a command's arguments, which the
// library leaves among them, and returns the arguments. "--" ends the flags.
func flagsBehind(c *cli.Context) (arguments []string, err error) {
	all := c.Args().Slice()
	for i := 0; i < len(all); i++ {
		name, value, assigned := strings.Cut(all[i], "=")
		switch {
		case all[i] == "--":
			return append(arguments, all[i+1:]...), nil
		case !strings.HasPrefix(name, "-"):
			arguments = append(arguments, all[i])
			continue
		}
		if !assigned {
			if i++; i == len(all) {
				return nil, fmt.Errorf("%s needs a value; see %s --help", name, c.Command.HelpName)
			}
			value = all[i]
		}
		if err := c.Set(strings.TrimLeft(name, "-"), value); err != nil {
			return nil, fmt.Errorf("%s: %w; see %s --help", name, err, c.Command.HelpName)
		}
	}
	return arguments, nil
}

// scenarioError gives the mistakes of a scenario their exit code.
func scenarioError(err error) error {
	var one scenario.Problem
	var several scenario.Problems
	if errors.As(err, &one) || errors.As(err, &several) {
		return exitWith(exitUsage, err)
	}
	return err
}
