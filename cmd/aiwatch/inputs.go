package main

import (
	"fmt"
	"log/slog"
	"os"

	"aiwatch/internal/conf"
	"aiwatch/internal/inputs"
)

// inputBuilder returns the builder for a run over the state folder.
func (p *program) inputBuilder(config *conf.Config, state string, log *slog.Logger) (*inputs.Builder, error) {
	b, err := inputs.New(config, state, p.now, log)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	return b, nil
}

// dryInputBuilder returns a builder for collectors that must leave nothing
// behind. Done removes what they made.
func (p *program) dryInputBuilder(config *conf.Config, log *slog.Logger) (b *inputs.Builder, done func(), err error) {
	scratch, err := os.MkdirTemp("", "aiwatch-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder for a dry run: %w", err)
	}
	done = func() {
		if err := os.RemoveAll(scratch); err != nil {
			log.Warn("what a dry run made is left behind", "folder", scratch, "error", err)
		}
	}
	if b, err = p.inputBuilder(config, scratch, log); err != nil {
		done()
		return nil, nil, err
	}
	return b, done, nil
}
