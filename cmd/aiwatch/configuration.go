package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"aiwatch/internal/conf"
)

// confFlag and stateFlag are what every command takes that reads the
// configuration or the state.
var (
	confFlag = &cli.StringFlag{
		Name: "conf", Value: "/etc/aiwatch", EnvVars: []string{"AIWATCH_CONF"},
		Usage: "the configuration's `DIR`, with local/inputs.conf and local/aiwatch.conf",
	}
	stateFlag = &cli.StringFlag{
		Name: "state", Value: "/var/lib/aiwatch", EnvVars: []string{"AIWATCH_STATE"},
		Usage: "the state's `DIR`, 0700: what waits for delivery, and how far each input has read",
	}
	inputFlag = &cli.StringSliceFlag{
		Name:  "input",
		Usage: "only this `INPUT`, a stanza (aiwatch_s3://prod) or its name; may be given again",
	}
	jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print JSON for programs"}
)

// configuration reads the configuration that --conf names. Its mistakes, all of
// them, end the program with exitUsage.
func (p *program) configuration(c *cli.Context) (*conf.Config, error) {
	dir := c.String(confFlag.Name)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, exitWith(exitUsage, fmt.Errorf("there is no configuration folder %s; make it with local/inputs.conf in it, or name another with --conf", dir))
	}
	config, err := conf.Load(dir, conf.WithEnv(p.getenv))
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	return config, nil
}

// chosenInputs returns the inputs that --input names, or all that are enabled.
func chosenInputs(c *cli.Context, config *conf.Config) ([]*conf.Settings, error) {
	names := c.StringSlice(inputFlag.Name)
	if len(names) == 0 {
		inputs := config.Inputs()
		if len(inputs) == 0 {
			return nil, exitWith(exitUsage, fmt.Errorf("%s has no enabled input; write a stanza such as [aiwatch_s3://prod] into its local/inputs.conf", c.String(confFlag.Name)))
		}
		return inputs, nil
	}
	var chosen []*conf.Settings
	for _, name := range names {
		in, err := config.Input(name)
		if err != nil {
			return nil, exitWith(exitUsage, err)
		}
		chosen = append(chosen, in)
	}
	return chosen, nil
}

// secret fetches a secret; what prevents it is a mistake in the configuration.
func secret(ctx context.Context, s *conf.Settings, name string) (conf.Secret, error) {
	value, err := s.Secret(ctx, name)
	if err != nil {
		return conf.Secret{}, exitWith(exitUsage, err)
	}
	return value, nil
}

// logger returns the program's logger, as [log] has it.
func (p *program) logger(config *conf.Config) *slog.Logger {
	settings := config.One("log")
	var level slog.Level
	if err := level.UnmarshalText([]byte(settings.String("level"))); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if settings.String("format") == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.stderr, options))
}
