package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/collectors"
	"aiwatch/forwarder"
	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/conf"
	"aiwatch/internal/splunkd"
)

// checkTime bounds the check of one source or destination.
const checkTime = time.Minute

const (
	coverageFlag = "coverage"
	appFlag      = "app"
)

// checkCommand tries everything that a run needs.
func (p *program) checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "try the configuration, each source and the destination, and say what to do",
		Description: "Reads the configuration, reaches each source and the destination as a run would,\n" +
			"and looks at the state. Each line says what was found, and with it what to do\n" +
			"about it. No source is read through and no state is changed; the destination gets\n" +
			"one line of sourcetype aiwatch:check for each index, for nothing less shows that\n" +
			"events arrive.\n\n" +
			"Ends with 2 when a setting is wrong, 69 when a source or the destination can't\n" +
			"be reached, 74 when the state can't be used, 75 when another run holds it.\n\n" +
			"With --conf of an installed add-on ($SPLUNK_HOME/etc/apps/TA-aiwatch) it also says\n" +
			"whether this Splunk is the place for its inputs, and looks at splunkd's state folders.\n\n" +
			"With --coverage it reaches nothing and says instead for each detection of the app\n" +
			"aiwatch whether it can fire with these inputs, the app's lookups and the history\n" +
			"since the state began, and what to do where it can't. What only Splunk knows (the\n" +
			"tables that searches fill) is told by the app's report Detection coverage. Ends\n" +
			"with 0 whatever can't fire.",
		Flags: []cli.Flag{
			confFlag, stateFlag, inputFlag, jsonFlag,
			&cli.BoolFlag{Name: coverageFlag, Usage: "say for each detection whether it can fire"},
			&cli.StringFlag{Name: appFlag, Usage: "with --coverage: take the lookups of the app in `DIR`, as it is installed, instead of the built-in app's"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.IsSet(appFlag) && !c.Bool(coverageFlag) {
				return exitWith(exitUsage, errors.New("--app goes with --coverage"))
			}
			config, err := p.configuration(c)
			if err != nil {
				return err
			}
			if c.Bool(coverageFlag) {
				inputs, err := chosenInputs(c, config)
				if err != nil {
					return err
				}
				return p.checkCoverage(c, config, inputs)
			}
			host := splunkd.HostOf(config.Dir)
			// An add-on without inputs is in its place on many a Splunk.
			var inputs []*conf.Settings
			if host == nil || len(config.Inputs()) > 0 {
				if inputs, err = chosenInputs(c, config); err != nil {
					return err
				}
			}
			report := &checkReport{out: p.stdout, json: c.Bool(jsonFlag.Name)}
			report.add("configuration", finding{Verdict: collectors.Good, Text: fmt.Sprintf("%s is read; inputs: %d", config.Dir, len(inputs))})
			if host != nil {
				checkPlacement(host, config.Dir, inputs, report)
				if host.Role == splunkd.Distributor {
					return report.exit()
				}
			}
			if err := p.checkInputs(c.Context, config, inputs, host, report); err != nil {
				return err
			}
			p.checkDestination(c.Context, config, inputs, host, report)
			if host == nil {
				p.checkState(c.String(stateFlag.Name), report)
				checkArchive(config.One("archive"), report)
			} else {
				p.checkSplunkState(host, inputs, report)
			}
			return report.exit()
		},
	}
}

func (p *program) checkInputs(ctx context.Context, config *conf.Config, inputs []*conf.Settings, host *splunkd.Host, report *checkReport) error {
	b, done, err := p.dryInputBuilder(config, p.logger(config))
	if err != nil {
		return err
	}
	defer done()
	for _, s := range inputs {
		if names := inPasswords(s); host != nil && len(names) > 0 {
			report.add(s.Stanza(), finding{
				Verdict: collectors.Warning, Text: "not tried: " + strings.Join(names, ", ") + " is in storage/passwords, which splunkd opens to its inputs alone",
				Fix: "save the input in Settings > Data inputs: that tries its source and says what is wrong",
			})
			continue
		}
		collector, err := b.Collector(ctx, s)
		if err != nil {
			report.add(s.Stanza(), finding{Verdict: collectors.Misset, Text: err.Error()})
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		for _, found := range collector.Check(ctx) {
			report.add(s.Stanza(), finding(found))
		}
		cancel()
	}
	return nil
}

func (p *program) checkDestination(ctx context.Context, config *conf.Config, inputs []*conf.Settings, host *splunkd.Host, report *checkReport) {
	if host != nil && !slices.ContainsFunc(inputs, func(s *conf.Settings) bool { return s.String("output") == "hec" }) {
		report.add("destination", finding{Verdict: collectors.Good, Text: "splunkd, which confirms nothing: what it had read and not stored when it died is gone; output = hec with an acknowledging [hec] is surer"})
		return
	}
	destination, err := p.destination(ctx, config, p.logger(config))
	if err != nil {
		report.add("destination", finding{Verdict: collectors.Misset, Text: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for _, found := range destination.Check(ctx) {
		report.add("destination", finding{Verdict: verdicts[found.Severity], Text: found.Text, Fix: found.Fix})
	}
}

// verdicts are the collectors' words for the forwarder's.
var verdicts = map[forwarder.Severity]collectors.Verdict{
	forwarder.Good: collectors.Good, forwarder.Warning: collectors.Warning,
	forwarder.Unavailable: collectors.Unavailable, forwarder.Misset: collectors.Misset,
}

// checkState looks at the state without making or changing it.
func (p *program) checkState(dir string, report *checkReport) {
	q, err := queue.Inspect(dir)
	switch {
	case err == nil:
		depth := q.Depth()
		report.add("state", finding{Verdict: collectors.Good, Text: fmt.Sprintf("%s is usable; %d events wait", dir, depth.Events)})
		_ = q.Close()
	case errors.Is(err, queue.ErrNone):
		report.add("state", finding{
			Verdict: collectors.Warning, Text: fmt.Sprintf("there is no state in %s yet: the first run begins anew", dir),
			Fix: "if there should be one, check --state and that the folder outlives the run",
		})
	case errors.Is(err, queue.ErrHeld):
		report.add("state", finding{
			Verdict: collectors.Warning, Text: fmt.Sprintf("another run holds the state in %s", dir),
			Fix: "nothing, if that is your service: aiwatch status asks it; otherwise stop it, or give this run a folder of its own with --state",
		})
		report.raise(exitHeld)
	default:
		report.add("state", finding{Verdict: collectors.Misset, Text: err.Error()})
		report.code = exitState
	}
}

// checkArchive looks at the archive's folder without making or changing it.
func checkArchive(settings *conf.Settings, report *checkReport) {
	if !settings.Present() {
		return
	}
	s, err := archive.Check(settings.String("path"))
	switch {
	case err != nil:
		report.add("archive", finding{Verdict: collectors.Misset, Text: err.Error()})
		report.raise(exitState)
	case s == nil:
		report.add("archive", finding{Verdict: collectors.Good, Text: fmt.Sprintf("there is none in %s yet; the first run makes it", settings.String("path"))})
	default:
		report.add("archive", finding{Verdict: collectors.Good, Text: describeArchive(*s)})
	}
}

// finding is a collectors.Finding as the report takes it from all sides.
type finding collectors.Finding

// checkReport prints findings as they come and remembers the worst.
type checkReport struct {
	out  io.Writer
	json bool
	code int
}

// exit ends the command as what was found asks for.
func (r *checkReport) exit() error {
	if r.code == exitDone {
		return nil
	}
	return exitWith(r.code, nil)
}

var verdictWords = map[collectors.Verdict]string{
	collectors.Good: "ok", collectors.Warning: "warning", collectors.Unavailable: "unreachable", collectors.Misset: "wrong",
}

func (r *checkReport) add(subject string, f finding) {
	switch f.Verdict {
	case collectors.Misset:
		r.raise(exitUsage)
	case collectors.Unavailable:
		r.raise(exitUnavailable)
	}
	if r.json {
		_ = json.NewEncoder(r.out).Encode(struct {
			Subject string `json:"subject"`
			Verdict string `json:"verdict"`
			Text    string `json:"text"`
			Fix     string `json:"fix,omitempty"`
		}{subject, verdictWords[f.Verdict], f.Text, f.Fix})
		return
	}
	fmt.Fprintf(r.out, "%-11s  %s: %s\n", verdictWords[f.Verdict], subject, printable(f.Text))
	if f.Fix != "" {
		fmt.Fprintf(r.out, "%-11s  %s\n", "", printable(f.Fix))
	}
}

// raise makes code the exit code where it is graver than what was found so far:
// a wrong setting before what can't be reached before a state that is held.
func (r *checkReport) raise(code int) {
	order := map[int]int{exitDone: 0, exitHeld: 1, exitUnavailable: 2, exitUsage: 3, exitState: 4}
	if order[code] > order[r.code] {
		r.code = code
	}
}
