package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"aiwatch/collectors"
)

// dryCollector is the collector id of events of a dry run.
const dryCollector = "00000000"

// collectCommand prints what an input would send.
func (p *program) collectCommand() *cli.Command {
	return &cli.Command{
		Name:      "collect",
		Usage:     "print an input's events; deliver nothing, keep no state",
		ArgsUsage: "INPUT",
		Description: "A dry run: reads the source of INPUT (a stanza such as aiwatch_s3://prod, or\n" +
			"its name) as at first contact and prints each event in its envelope, one a\n" +
			"line. Nothing is delivered and nothing is remembered. The collector id of\n" +
			"these events is " + dryCollector + ".",
		Flags: []cli.Flag{confFlag},
		Action: func(c *cli.Context) error {
			name, err := oneArgument(c, "input")
			if err != nil {
				return err
			}
			config, err := p.configuration(c)
			if err != nil {
				return err
			}
			settings, err := config.Input(name)
			if err != nil {
				return exitWith(exitUsage, err)
			}
			log := p.logger(config)
			b, done, err := p.dryInputBuilder(config, log)
			if err != nil {
				return err
			}
			defer done()
			collector, err := b.Collector(c.Context, settings)
			if err != nil {
				return exitWith(exitUsage, err)
			}
			host, err := hostOf(settings)
			if err != nil {
				return err
			}
			out := bufio.NewWriterSize(p.stdout, 1<<16)
			dry := &collectors.Memory{
				Source: settings.Stanza(), Index: settings.String("index"), Host: host, Collector: dryCollector,
				Deliver: func(envelope []byte) error {
					_, err := out.Write(append(envelope, '\n'))
					return err
				},
			}
			pollErr := collector.Poll(c.Context, dry)
			if pollErr == nil {
				pollErr = dry.Checkpoint()
			}
			if err := out.Flush(); err != nil {
				return fmt.Errorf("print events: %w", err)
			}
			for _, note := range collector.Report().Notes {
				log.Info(note, "input", settings.Stanza())
			}
			if pollErr != nil && !errors.Is(pollErr, context.Canceled) {
				return exitWith(exitUnavailable, fmt.Errorf("collect from [%s]: %w", settings.Stanza(), pollErr))
			}
			return nil
		},
	}
}

// hostOf returns the host of events whose source names none.
func hostOf(settings interface{ String(string) string }) (string, error) {
	if host := settings.String("host"); host != "" {
		return host, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", exitWith(exitUsage, fmt.Errorf("find out this machine's name: %w; set host in the input's stanza", err))
	}
	return host, nil
}
