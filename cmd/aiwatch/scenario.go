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
	"aiwatch/internal/scenario/week"
	"aiwatch/internal/spl"
)

// scenarioCommand plays scenarios.
func (p *program) scenarioCommand() *cli.Command {
	return &cli.Command{
		Name:   "scenario",
		Usage:  "write scenarios, and play them through collectors and searches",
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
				&cli.StringFlag{Name: "write-findings", Usage: "keep what the searches found in `FILE`, as their summary index has it, a row a line"},
				&cli.StringFlag{Name: "write-lookups", Usage: "keep all lookups and baselines, as the searches left them, in `DIR`; for one scenario"},
				&cli.StringFlag{Name: appFlag, Usage: "run the searches of the app in `DIR`, as it is installed, instead of the built-in app's"},
			},
			Action: p.runScenarios,
		}, {
			Name:      "week",
			Usage:     "write the scenario of an insider's week",
			ArgsUsage: "DIR",
			Description: "Makes up a small organisation with two models in production, three weeks of its\n" +
				"ordinary work, and a week in which an engineer who has given notice uses his rights\n" +
				"against it. The folder is a scenario: aiwatch scenario run plays it.",
			Flags: []cli.Flag{
				&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "another seed, another week of ordinary work"},
			},
			Action: p.writeWeek,
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
	for flag, into := range map[string]*io.Writer{"write-events": &run.Events, "write-findings": &run.Summary} {
		path := c.String(flag)
		if path == "" {
			continue
		}
		f, err := os.Create(path)
		if err != nil {
			return exitWith(exitUsage, fmt.Errorf("--%s: %w", flag, err))
		}
		lines := bufio.NewWriterSize(f, 1<<18)
		defer func() { err = errors.Join(err, lines.Flush(), f.Close()) }()
		*into = lines
	}
	if run.Lookups = c.String("write-lookups"); run.Lookups != "" && len(all) > 1 {
		return exitWith(exitUsage, errors.New("--write-lookups keeps the lookups of one scenario, and several are named"))
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

// writeWeek writes the scenario of an insider's week.
func (p *program) writeWeek(c *cli.Context) error {
	dirs, err := flagsBehind(c)
	if err == nil && len(dirs) != 1 {
		err = errors.New("scenario week takes the folder to write; see aiwatch scenario week --help")
	}
	if err != nil {
		return exitWith(exitUsage, err)
	}
	count, err := week.Write(dirs[0], week.Options{Seed: c.Uint64("seed")})
	if err != nil {
		return exitWith(exitUsage, err)
	}
	fmt.Fprintf(p.stdout, "%s: %d access-log lines, %d MLflow calls, %d pushes; play it with\n  aiwatch scenario run %[1]s\n", printable(dirs[0]), count.Lines, count.Calls, count.Pushes)
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
