package main

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"aiwatch/internal/conf"
)

// completions are the scripts, each named as its shell. They call the program
// with the words of the line and completeFlag.
//
//go:embed completion
var completions embed.FS

var shells = []string{"bash", "zsh", "fish"}

// completeFlag as the last word asks what the word before it may become. It is
// looked for before the command line is: the library's own flag of this name does
// nothing behind a --, and then the command would run.
const completeFlag = "--generate-bash-completion"

// completionCommand prints the script that a shell loads.
func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script that makes a shell complete aiwatch's commands, flags and inputs",
		ArgsUsage: strings.Join(shells, "|"),
		Description: "For the shell that runs, and for each new one:\n\n" +
			"   bash   source <(aiwatch completion bash), in ~/.bashrc\n" +
			"   zsh    source <(aiwatch completion zsh), in ~/.zshrc behind compinit\n" +
			"   fish   aiwatch completion fish | source, in ~/.config/fish/config.fish\n\n" +
			"INPUT is completed from the configuration that --conf or AIWATCH_CONF names.",
		Action: func(c *cli.Context) error {
			shell, err := oneArgument(c, "shell")
			if err != nil {
				return err
			}
			if !slices.Contains(shells, shell) {
				return exitWith(exitUsage, fmt.Errorf("there is no completion for %q; want bash, zsh or fish", shell))
			}
			script, err := completions.ReadFile("completion/" + shell)
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(script)
			return err
		},
	}
}

// A proposal is what may stand in a word's place, and what it is for.
type proposal struct{ word, usage string }

// complete prints what the last word of the line may become, a proposal a line:
// the word, a tab, what it is for. Nothing leaves it to the shell, which has
// files. Words are the line without the program.
func (p *program) complete(words []string) {
	commands := p.commands()
	if len(words) == 0 {
		words = []string{""}
	}
	line, last := words[:len(words)-1], words[len(words)-1]
	flags, arguments := []cli.Flag{cli.HelpFlag, cli.VersionFlag}, 0
	var command *cli.Command
	var asked string // the flag whose value the next word is
	configuration := p.getenv("AIWATCH_CONF")
	for _, word := range line {
		switch flag := flagOf(flags, word); {
		case asked != "":
			if asked == confFlag.Name {
				configuration = word
			}
			asked = ""
		case strings.HasPrefix(word, "-"):
			name, value, set := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if set && name == confFlag.Name {
				configuration = value
			}
			if !set && takesValue(flag) {
				asked = name
			}
		default:
			if next := commandOf(commands, word); next != nil && arguments == 0 {
				command, commands = next, next.Subcommands
				flags = append([]cli.Flag{cli.HelpFlag}, next.Flags...)
			} else {
				arguments++
			}
		}
	}
	name, value, set := strings.Cut(strings.TrimLeft(last, "-"), "=")
	switch {
	case asked != "":
		p.propose(last, "", p.valuesOf(asked, configuration))
	case strings.HasPrefix(last, "-") && set:
		p.propose(value, strings.TrimSuffix(last, value), p.valuesOf(name, configuration))
	case strings.HasPrefix(last, "-"):
		p.propose(last, "", flagsOf(flags))
	case len(commands) > 0 && arguments == 0:
		p.propose(last, "", commandsOf(commands))
	case command != nil && arguments == 0:
		p.propose(last, "", p.argumentsOf(command, configuration))
	}
}

// propose prints the proposals that begin with what is written already, each
// behind lead.
func (p *program) propose(begun, lead string, all []proposal) {
	for _, a := range all {
		if strings.HasPrefix(a.word, begun) {
			fmt.Fprintf(p.stdout, "%s%s\t%s\n", lead, a.word, a.usage)
		}
	}
}

func commandOf(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func commandsOf(commands []*cli.Command) (all []proposal) {
	for _, c := range commands {
		if !c.Hidden {
			all = append(all, proposal{c.Name, c.Usage})
		}
	}
	return all
}

func flagOf(flags []cli.Flag, word string) cli.Flag {
	name := strings.TrimLeft(word, "-")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	described, ok := f.(cli.DocGenerationFlag)
	return ok && described.TakesValue()
}

func flagsOf(flags []cli.Flag) (all []proposal) {
	for _, f := range flags {
		if visible, ok := f.(cli.VisibleFlag); ok && !visible.IsVisible() {
			continue
		}
		usage := ""
		if described, ok := f.(cli.DocGenerationFlag); ok {
			usage = strings.ReplaceAll(described.GetUsage(), "`", "")
		}
		for _, name := range f.Names() {
			if len(name) > 1 {
				all = append(all, proposal{"--" + name, usage})
			}
		}
	}
	return all
}

// valuesOf returns what a flag may be set to, as far as it is known.
func (p *program) valuesOf(flag, configuration string) []proposal {
	if flag == inputFlag.Name {
		return p.inputsOf(configuration)
	}
	return nil
}

// argumentsOf returns what the first argument of a command may be.
func (p *program) argumentsOf(c *cli.Command, configuration string) (all []proposal) {
	switch c.Name {
	case "collect":
		return p.inputsOf(configuration)
	case "completion":
		for _, shell := range shells {
			all = append(all, proposal{word: shell})
		}
	case "modinput":
		for _, k := range conf.Kinds() {
			if k.IsInput() {
				all = append(all, proposal{k.Name, k.Doc})
			}
		}
	}
	return all
}

// inputsOf returns the inputs of a configuration: by name where that is enough.
// What is wrong with the configuration is no matter here.
func (p *program) inputsOf(dir string) []proposal {
	if dir == "" {
		dir = confFlag.Value
	}
	config, err := conf.Load(dir, conf.WithEnv(p.getenv))
	if err != nil {
		return nil
	}
	inputs := map[string]string{}
	for _, s := range config.Inputs() {
		word := s.Name()
		if one, err := config.Input(word); err != nil || one.Stanza() != s.Stanza() {
			word = s.Stanza()
		}
		if !strings.ContainsFunc(word, func(r rune) bool {
			return r <= ' ' || r == '\\' || r == '\'' || r == '"' || r == '$' || r == '`' || r == 0x7f
		}) {
			inputs[word] = s.Stanza()
		}
	}
	var all []proposal
	for _, word := range slices.Sorted(maps.Keys(inputs)) {
		all = append(all, proposal{word, inputs[word]})
	}
	return all
}
