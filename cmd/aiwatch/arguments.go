package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// teachUsage makes a wrong flag of any command an error that says where help is.
func teachUsage(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageError
		c.HideHelpCommand = true
		teachUsage(c.Subcommands)
	}
}

func usageError(c *cli.Context, err error, _ bool) error {
	name := "aiwatch"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return exitWith(exitUsage, fmt.Errorf("%w; see %s --help", err, name))
}

// noCommand answers a command line that names none of the commands.
func (p *program) noCommand(c *cli.Context) error {
	if c.NArg() > 0 {
		return exitWith(exitUsage, fmt.Errorf("there is no command %q; see aiwatch --help", c.Args().First()))
	}
	return cli.ShowAppHelp(c)
}

// subcommandNeeded answers a command that only its subcommands do something for.
func subcommandNeeded(c *cli.Context) error {
	if c.NArg() > 0 {
		return exitWith(exitUsage, fmt.Errorf("%s has no %q; see aiwatch %s --help", c.Command.Name, c.Args().First(), c.Command.Name))
	}
	return cli.ShowSubcommandHelp(c)
}

// noArguments refuses arguments where a command takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return exitWith(exitUsage, fmt.Errorf("%s takes no arguments, got %q; see %s --help", c.Command.Name, c.Args().First(), c.Command.HelpName))
	}
	return nil
}
