package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/collectors"
	"aiwatch/forwarder"
	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
)

// administer attaches to whatever has the state, a running forwarder or nobody,
// and hands it to do.
func administer(c *cli.Context, do func(context.Context, forwarder.Admin) error) (err error) {
	dir := c.String(stateFlag.Name)
	admin, err := forwarder.Attach(c.Context, dir)
	if err != nil {
		return stateError(err)
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	err = do(c.Context, admin)
	if errors.Is(err, queue.ErrNone) {
		return exitWith(exitUsage, fmt.Errorf("there is no state in %s; name its folder with --state", dir))
	}
	return stateError(err)
}

// statusCommand tells how collection and delivery are.
func (p *program) statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "tell what waits, what is held and why, and how each input is",
		Description: "Asks the running forwarder by its control socket, or opens the state's file when\n" +
			"none runs.",
		Flags: []cli.Flag{stateFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return administer(c, func(ctx context.Context, admin forwarder.Admin) error {
				s, err := admin.Status(ctx)
				if err != nil {
					return err
				}
				if c.Bool(jsonFlag.Name) {
					return printJSON(p.stdout, s)
				}
				return printStatus(p.stdout, s, p.now())
			})
		},
	}
}

func printStatus(out io.Writer, s forwarder.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	if s.Running {
		row("forwarder", "runs, collector %s", s.Collector)
	} else {
		row("forwarder", "does not run, collector %s", s.Collector)
	}
	row("waiting", "%s, %s compressed%s", event.Count(s.Waiting.Events, "event"), event.Size(s.Waiting.Bytes), since(", the oldest for ", s.Oldest, now))
	if s.Unconfirmed > 0 {
		row("unconfirmed", "%d events of them were sent and wait for the indexer's word", s.Unconfirmed)
	}
	row("file", "%s", event.Size(s.FileBytes))
	if a := s.Archive; a != nil {
		row("archive", "%s", describeArchive(*a))
	}
	if s.Trouble != "" {
		row("trouble", "%s", s.Trouble)
	}
	if s.Stalled != "" {
		row("inputs wait", "%s", s.Stalled)
	}
	for _, h := range s.Held {
		index := "index " + strconv.Quote(h.Index)
		if h.Index == queue.AllIndexes {
			index = "all indexes"
		}
		row("held", "%s for %s%s: %s", event.Count(h.Events, "event"), index, since(", for ", h.Since, now), h.Reason)
	}
	row("dead letters", "%d", s.DeadLetters)
	if c := s.Counters; c != nil {
		row("since its start", "%d events committed, %d sent, %d confirmed, %d refused, %d sent again", c.Committed, c.Sent, c.Confirmed, c.Refused, c.Resent)
	}

	var collecting []collectors.Status
	if len(s.Collecting) > 0 {
		if err := json.Unmarshal(s.Collecting, &collecting); err != nil {
			return fmt.Errorf("read how the inputs are: %w", err)
		}
	}
	told := map[string]bool{}
	for _, in := range collecting {
		told[in.Name] = true
		row("", "")
		row(in.Name, "%s", in.State)
		row("  last success", "%s", when(in.LastSuccess, now))
		row("  newest record", "%s", when(in.NewestRecord, now))
		if !in.LastSweep.IsZero() {
			row("  last sweep", "%s", when(in.LastSweep, now))
		}
		row("  read", "%s, %s", event.Count(in.Records, "record"), event.Count(in.Events, "event"))
		if waiting := s.Input(in.Name); waiting.Events+waiting.Held+waiting.DeadLetters > 0 {
			row("  waiting", "%d events, %d held, %d dead letters", waiting.Events, waiting.Held, waiting.DeadLetters)
		}
		if in.Error != "" {
			row("  error", "%s", in.Error)
		}
		for _, gap := range in.Coverage {
			row("  not watched", "%s", gap)
		}
		for _, note := range in.Notes {
			row("  note", "%s", note)
		}
	}
	for _, in := range s.Inputs {
		if !told[in.Name] {
			row("", "")
			row(in.Name, "%d events wait, %d held, %d dead letters", in.Events, in.Held, in.DeadLetters)
		}
	}
	return w.Flush()
}

// describeArchive tells how large an archive is and how far it reaches back.
func describeArchive(s archive.Status) string {
	switch {
	case s.Error != "":
		return s.Path + " can't be read: " + s.Error
	case s.Files == 0:
		return s.Path + " is empty"
	}
	text := fmt.Sprintf("%s: %s in %s, from %s to %s", s.Path, event.Size(s.Bytes), event.Count(s.Files, "file"), s.Oldest, s.Newest)
	if s.Damaged > 0 {
		text += fmt.Sprintf("; %d of them are damaged and set aside", s.Damaged)
	}
	return text
}

// when tells a moment and how long ago it was.
func when(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339) + since(", ", t, now) + " ago"
}

// since tells how long ago a moment was, nothing for the zero one.
func since(lead string, t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return lead + max(0, now.Sub(t)).Truncate(time.Second).String()
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// queueCommand changes what waits.
func (p *program) queueCommand() *cli.Command {
	return &cli.Command{
		Name:   "queue",
		Usage:  "change where waiting events go",
		Action: subcommandNeeded,
		Subcommands: []*cli.Command{{
			Name:  "reroute",
			Usage: "move the held events of an input to another index",
			Description: "For events that wait because the destination refuses their index. Their\n" +
				"envelopes are written anew; the events themselves keep every byte. Set the\n" +
				"input's index as well, or new events will be held again.",
			Flags: []cli.Flag{
				stateFlag,
				&cli.StringFlag{Name: "input", Usage: "the `STANZA` whose events move, such as aiwatch_s3://prod"},
				&cli.StringFlag{Name: "index", Usage: "the index `NAME` they go to"},
			},
			Action: func(c *cli.Context) error {
				if err := noArguments(c); err != nil {
					return err
				}
				// Required flags of the library's would print the help on stdout.
				if c.String("input") == "" || c.String("index") == "" {
					return exitWith(exitUsage, errors.New("reroute takes --input and --index; see aiwatch queue reroute --help"))
				}
				return administer(c, func(ctx context.Context, admin forwarder.Admin) error {
					n, err := admin.Reroute(ctx, c.String("input"), c.String("index"))
					if err != nil {
						return err
					}
					if n == 0 {
						fmt.Fprintf(p.stdout, "no events of %s are held; aiwatch status tells what is\n", c.String("input"))
						return nil
					}
					fmt.Fprintf(p.stdout, "%d events of %s go to index %s now\n", n, c.String("input"), c.String("index"))
					return nil
				})
			},
		}},
	}
}

// deadletterCommand shows what the destination refused for good.
func (p *program) deadletterCommand() *cli.Command {
	numbers := func(c *cli.Context) ([]uint64, error) {
		if c.NArg() == 0 && !c.Bool("all") {
			return nil, exitWith(exitUsage, fmt.Errorf("%s takes the numbers that deadletter list shows, or --all", c.Command.Name))
		}
		if c.NArg() > 0 && c.Bool("all") {
			return nil, exitWith(exitUsage, errors.New("--all goes without numbers"))
		}
		var all []uint64
		for _, arg := range c.Args().Slice() {
			n, err := strconv.ParseUint(arg, 10, 64)
			if err != nil {
				return nil, exitWith(exitUsage, fmt.Errorf("%q is not a number that deadletter list shows", arg))
			}
			all = append(all, n)
		}
		return all, nil
	}
	change := func(name, usage, done string, do func(forwarder.Admin, context.Context, ...uint64) (int, error)) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "NUMBER...|--all",
			Flags: []cli.Flag{stateFlag, &cli.BoolFlag{Name: "all", Usage: "all of them"}},
			Action: func(c *cli.Context) error {
				which, err := numbers(c)
				if err != nil {
					return err
				}
				return administer(c, func(ctx context.Context, admin forwarder.Admin) error {
					n, err := do(admin, ctx, which...)
					if errors.Is(err, forwarder.ErrNoLetter) {
						return exitWith(exitUsage, err)
					}
					if err != nil {
						return err
					}
					fmt.Fprintf(p.stdout, "%s: %s\n", done, event.Count(n, "event"))
					return nil
				})
			},
		}
	}
	return &cli.Command{
		Name:   "deadletter",
		Usage:  "list, show, resend or drop the events that the destination refused for good",
		Action: subcommandNeeded,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list them, and why each was refused",
				Flags: []cli.Flag{stateFlag, jsonFlag},
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return administer(c, func(ctx context.Context, admin forwarder.Admin) error {
						letters, err := admin.DeadLetters(ctx)
						if err != nil {
							return err
						}
						if c.Bool(jsonFlag.Name) {
							for _, d := range letters {
								if err := printJSON(p.stdout, d); err != nil {
									return err
								}
							}
							return nil
						}
						return printDeadLetters(p.stdout, letters)
					})
				},
			},
			{
				Name: "show", Usage: "print the refused event in its envelope", ArgsUsage: "NUMBER...|--all",
				Flags: []cli.Flag{stateFlag, &cli.BoolFlag{Name: "all", Usage: "all of them"}},
				Action: func(c *cli.Context) error {
					which, err := numbers(c)
					if err != nil {
						return err
					}
					return administer(c, func(ctx context.Context, admin forwarder.Admin) error {
						letters, err := admin.DeadLetters(ctx)
						if err != nil {
							return err
						}
						byNumber := map[uint64]queue.DeadLetter{}
						for _, d := range letters {
							byNumber[d.Number] = d
							if c.Bool("all") {
								which = append(which, d.Number)
							}
						}
						for _, n := range which {
							d, ok := byNumber[n]
							if !ok {
								return exitWith(exitUsage, fmt.Errorf("%w %d; aiwatch deadletter list tells those there are", forwarder.ErrNoLetter, n))
							}
							fmt.Fprintf(p.stdout, "%s\n", d.Envelope)
						}
						return nil
					})
				},
			},
			change("resend", "put them back into the queue", "in the queue again", forwarder.Admin.Resend),
			change("drop", "forget them", "forgotten", forwarder.Admin.Drop),
		},
	}
}

func printDeadLetters(out io.Writer, letters []queue.DeadLetter) error {
	if len(letters) == 0 {
		fmt.Fprintln(out, "there are no dead letters")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join([]string{"number", "refused", "input", "seq", "event_id", "code", "text"}, "\t"))
	for _, d := range letters {
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%d\t%s\n", d.Number, d.Refused.UTC().Format(time.RFC3339), printable(d.Input), d.Seq, d.EventID, d.Code, printable(d.Text))
	}
	return w.Flush()
}
