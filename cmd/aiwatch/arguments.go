package main

import (
	"fmt"
	"strings"

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

// oneArgument returns the argument of a command that takes one, which what
// names.
func oneArgument(c *cli.Context, what string) (string, error) {
	for _, arg := range c.Args().Tail() {
		if strings.HasPrefix(arg, "-") {
			return "", exitWith(exitUsage, fmt.Errorf("%s: write %s before the %s; see %s --help", c.Command.Name, arg, what, c.Command.HelpName))
		}
	}
	if c.NArg() != 1 {
		return "", exitWith(exitUsage, fmt.Errorf("%s takes one %s, got %d arguments; see %s --help", c.Command.Name, what, c.NArg(), c.Command.HelpName))
	}
	return c.Args().First(), nil
}

// noArguments refuses arguments where a command takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return exitWith(exitUsage, fmt.Errorf("%s takes no arguments, got %q; see %s --help", c.Command.Name, c.Args().First(), c.Command.HelpName))
	}
	return nil
}
