package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// noArguments refuses arguments where a command takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return exitWith(exitUsage, fmt.Errorf("%s takes no arguments, got %q; see aiwatch %s --help", c.Command.Name, c.Args().First(), c.Command.Name))
	}
	return nil
}
