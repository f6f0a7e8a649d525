// Command aiwatch collects AI-asset events from MLflow, S3 access logs and Git
// model repositories and delivers them to Splunk.
//
// A newcomer reads main.go (the program and its exit codes), then the file of
// the command of interest: each command lives in the file of its name and is a
// method of program that returns a *cli.Command. Commands wire the rooms
// together and hold no logic that a room could hold.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// version is set by the release build (-ldflags "-X main.version=...").
var version = "0.1.0-dev"

// program is what every command is handed: the standard streams, the clock,
// the environment. Tests replace any of them.
type program struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	now    func() time.Time
	getenv func(string) string
	log    *slog.Logger
}

func main() {
	p := &program{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		now:    time.Now,
		getenv: os.Getenv,
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; once it has come the handler is
	// taken away, so that a second one ends the program at once.
	context.AfterFunc(ctx, stop)
	code := p.run(ctx, os.Args)
	stop()
	os.Exit(code)
}

// run executes one command line and returns the program's exit code.
func (p *program) run(ctx context.Context, args []string) int {
	if last := len(args) - 1; last > 0 && args[last] == completeFlag {
		p.complete(args[1:last])
		return exitDone
	}
	return p.report(p.app().RunContext(ctx, args))
}

func (p *program) app() *cli.App {
	commands := p.commands()
	teachUsage(commands)
	return &cli.App{
		Name:            "aiwatch",
		Usage:           "watch AI assets from the inside: MLflow, S3 access logs, Git model repositories to Splunk",
		Version:         version,
		Reader:          p.stdin,
		Writer:          p.stdout,
		ErrWriter:       p.stderr,
		HideHelpCommand: true,
		// Errors are printed once, by report, which also knows the exit code.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   usageError,
		Action:         p.noCommand,
		Commands:       commands,
	}
}

// commands lists every command, in the order --help shows them.
func (p *program) commands() []*cli.Command {
	return []*cli.Command{
		p.runCommand(),
		p.collectCommand(),
		p.checkCommand(),
		p.statusCommand(),
		p.queueCommand(),
		p.deadletterCommand(),
		p.splCommand(),
		p.scenarioCommand(),
		p.auditCommand(),
		p.receiveCommand(),
		p.demoCommand(),
		p.inspectCommand(),
		p.schemaCommand(),
		p.credentialsCommand(),
		p.modinputCommand(),
		p.gitHookCommand(),
		p.completionCommand(),
	}
}
