package main

import (
	"github.com/urfave/cli/v2"

	"aiwatch/internal/event/schema"
)

// schemaCommand prints the event schema.
func (p *program) schemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the events, operations and fields",
		Description: "Prints the AI-asset event as Markdown: what each field means, what each\n" +
			"operation says, and what the add-on supplies at search time.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON for programs"}},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.Bool("json") {
				return schema.WriteJSON(p.stdout)
			}
			return schema.WriteMarkdown(p.stdout)
		},
	}
}
