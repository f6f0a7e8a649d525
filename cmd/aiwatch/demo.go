package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/internal/conf"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
	"aiwatch/internal/orglog"
)

// demoMark is in every folder that the demo made: it replaces no other.
const demoMark = ".aiwatch-demo"

// demoCommand shows the whole way of events on one machine.
func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "a small organisation's week of access logs, from the logs to a receiver",
		Description: "Makes up a week of S3 access logs as S3 delivers them, late, doubled, out of order\n" +
			"and damaged; starts the embedded HEC receiver; collects and delivers with what\n" +
			"aiwatch run works with; and compares what arrived with what was made up. Ends by\n" +
			"itself and leaves nothing outside its folder.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Value: "demo-out", Usage: "the `DIR` for logs, configuration, state and events; replaced when it is an earlier demo's"},
			&cli.IntFlag{Name: "records", Value: 20_000, Usage: "about how many records"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "another seed, another week"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			dir, err := filepath.Abs(c.String("out"))
			if err != nil {
				return err
			}
			if err := freshDemo(dir); err != nil {
				return exitWith(exitUsage, err)
			}
			d := &demo{program: p, dir: dir, shown: c.String("out")}
			return d.run(c.Context, c.Uint64("seed"), c.Int("records"))
		},
	}
}

// freshDemo makes the demo's folder anew. It removes only what a demo made.
func freshDemo(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, demoMark)); err != nil {
			return fmt.Errorf("%s is not empty and no demo made it; name another folder with --out", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove the demo before: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, demoMark), nil, 0o600)
}

// demo is one showing.
type demo struct {
	program *program
	dir     string
	shown   string // the folder as the user named it
}

func (d *demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.program.stdout, format+"\n", args...)
}

func (d *demo) run(ctx context.Context, seed uint64, records int) (err error) {
	began := d.program.now()
	end := began.UTC().Truncate(time.Hour)
	d.say("making up a week of access logs ...")
	truth, err := orglog.WriteFolder(d.path("logs"), orglog.Options{Seed: seed, Start: end.Add(-7 * 24 * time.Hour), End: end, Records: records})
	if err != nil {
		return err
	}
	d.say("  %d lines in %d log objects; %d lines came twice, %d more than a day late, %d are damaged",
		truth.Lines, truth.Objects, truth.Doubled, truth.Late, len(truth.Damaged))

	counter := hecserver.NewCounter()
	received, err := hecserver.NewFile(d.path("events.ndjson"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, received.Close()) }()
	token := rand.Text()
	server, err := hecserver.Start("127.0.0.1:0", nil, hecserver.Config{
		Tokens: []hecserver.Token{{Value: token, DefaultIndex: "aiwatch"}}, Sink: hecserver.Sinks{received, counter},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()

	config, err := d.configure(server.URL(), token)
	if err != nil {
		return err
	}
	d.say("collecting, and delivering to the embedded HEC receiver at %s ...", server.URL())
	r, err := d.program.newRun(ctx, config, config.Inputs(), d.path("state"), d.program.logger(config))
	if err != nil {
		return err
	}
	collecting := d.program.now()
	err = errors.Join(r.once(ctx, time.Minute), r.close())
	if err != nil {
		return err
	}
	took := d.program.now().Sub(collecting)
	return d.tell(truth, counter, took)
}

// configure writes what an operator would write, and reads it.
func (d *demo) configure(url, token string) (*conf.Config, error) {
	if err := os.MkdirAll(d.path("conf", "local"), 0o700); err != nil {
		return nil, fmt.Errorf("make the demo's configuration: %w", err)
	}
	for name, text := range map[string]string{
		"inputs.conf": "# What is read: the folder stands for a bucket of access logs.\n" +
			"[aiwatch_s3://demo]\npath = " + d.path("logs") + "\nindex = aiwatch\n" +
			"watch_buckets = " + orglog.ArtifactBucket + ", " + orglog.DataBucket + ", " + orglog.WebBucket + "\n",
		"aiwatch.conf": "# Where it goes.\n[hec]\nurl = " + url + "\ntoken_file = " + d.path("conf", "token") + "\n\n[log]\nlevel = error\n",
	} {
		if err := os.WriteFile(d.path("conf", "local", name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write the demo's configuration: %w", err)
		}
	}
	if err := os.WriteFile(d.path("conf", "token"), []byte(token+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the demo's token: %w", err)
	}
	return conf.Load(d.path("conf"), conf.WithEnv(d.program.getenv))
}

// tell compares what arrived with what was made up, and shows it.
func (d *demo) tell(truth orglog.Truth, counter *hecserver.Counter, took time.Duration) error {
	arrived := func(ids []event.ID) (n int) {
		for _, id := range ids {
			if counter.Times(id.String()) > 0 {
				n++
			}
		}
		return n
	}
	stats := counter.Stats()
	d.say("\nwhat arrived: %d events in %s", stats.Events, took.Round(10*time.Millisecond))
	d.say("  %6d of %d accesses to models and datasets", arrived(truth.Assets), len(truth.Assets))
	d.say("  %6d of %d changes of logging, versioning, policies", arrived(truth.Control), len(truth.Control))
	d.say("  %6d of %d damaged lines, as they are, each with what is wrong with it", arrived(truth.Damaged), len(truth.Damaged))
	d.say("  %6d of lines that came twice, under the event_id of the first", stats.Repeats)
	d.say("  %6d numbers missing, %d used twice", stats.SeqMissing, stats.SeqDoubles)
	d.say("what was left out: %d accesses to what is no AI asset (scope = all sends them too)", len(truth.Other))

	why, actors, err := d.read()
	if err != nil {
		return err
	}
	d.say("\nwhat could not be read, and why:")
	d.list(why, 5)
	d.say("\nwho read the most, and how sure that is:")
	d.list(actors, 5)
	d.say("\nwhere it stands:\n  %s   what arrived, an event a line\n  %s   what was collected\n  %s   the configuration: try aiwatch collect --conf %s demo",
		filepath.Join(d.shown, "events.ndjson"), filepath.Join(d.shown, "logs"), filepath.Join(d.shown, "conf"), filepath.Join(d.shown, "conf"))

	missing := len(truth.Assets) + len(truth.Control) + len(truth.Damaged) -
		arrived(truth.Assets) - arrived(truth.Control) - arrived(truth.Damaged)
	if missing > 0 || stats.SeqMissing > 0 || stats.SeqDoubles > 0 || stats.Conflicts > 0 {
		return fmt.Errorf("%d events are missing, %d numbers are missing, %d were used twice, %d events came again with other bytes: please report this with the seed",
			missing, stats.SeqMissing, stats.SeqDoubles, stats.Conflicts)
	}
	return nil
}

// read goes through what arrived: why lines are damaged, and who read how many
// bytes.
func (d *demo) read() (why, actors map[string]int64, err error) {
	file, err := os.Open(d.path("events.ndjson"))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	why, actors = map[string]int64{}, map[string]int64{}
	in := json.NewDecoder(bufio.NewReaderSize(file, 1<<16))
	for {
		var line struct {
			Event struct {
				Operation  string `json:"operation"`
				ParseError string `json:"parse_error"`
				User       string `json:"user"`
				Confidence string `json:"user_confidence"`
				BytesOut   int64  `json:"bytes_out"`
			} `json:"event"`
		}
		if err := in.Decode(&line); errors.Is(err, io.EOF) {
			return why, actors, nil
		} else if err != nil {
			return nil, nil, fmt.Errorf("read what arrived: %w", err)
		}
		switch e := line.Event; {
		case e.Operation == "record.damaged":
			why[e.ParseError]++
		case e.User != "" && e.BytesOut > 0:
			actors[fmt.Sprintf("bytes by %s, %s", e.User, e.Confidence)] += e.BytesOut
		}
	}
}

// list prints the largest counts.
func (d *demo) list(counts map[string]int64, most int) {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		if counts[names[i]] != counts[names[j]] {
			return counts[names[i]] > counts[names[j]]
		}
		return names[i] < names[j]
	})
	if len(names) == 0 {
		d.say("  nothing")
	}
	for _, name := range names[:min(most, len(names))] {
		d.say("  %14d  %s", counts[name], printable(name))
	}
}
