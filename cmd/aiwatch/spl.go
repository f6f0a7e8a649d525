package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/internal/conf"
	"aiwatch/internal/detection"
	"aiwatch/internal/spl"
)

// lookupsFlag names a folder of lookups.
var lookupsFlag = &cli.StringFlag{Name: "lookups", Usage: "each NAME.csv in `DIR` as --lookup NAME=..., which goes before it"}

func (p *program) splCommand() *cli.Command {
	return &cli.Command{
		Name:      "spl",
		Usage:     "run a search over events, without Splunk",
		ArgsUsage: "SEARCH",
		Description: "Runs a search with aiwatch's evaluator for a subset of SPL, with the add-on's\n" +
			"search-time fields and the app's macros, lookups and saved searches, and prints one JSON\n" +
			"object a row. Events come newest first, times are UTC, the range is all time unless one\n" +
			"is given. What the subset does not hold is refused, with its position, exit code 2 and\n" +
			"nothing printed. outputlookup writes to the file that --lookup names; collect keeps nothing.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "events", Usage: "read events from `FILE`, one envelope or flat row a line, gzip and zstd too; - is standard input"},
			&cli.StringSliceFlag{Name: "lookup", Usage: "`NAME=CSV`: a lookup or KV collection, as a file, in place of the app's"},
			lookupsFlag,
			&cli.StringFlag{Name: appFlag, Usage: "take macros, transforms, lookups, data models and saved searches from the app in `DIR`, not from the one that is built in"},
			&cli.StringFlag{Name: "macros", Usage: "take macros from `FILE`, over the app's"},
			&cli.StringFlag{Name: "transforms", Usage: "take lookup definitions from `FILE`, over the app's"},
			&cli.StringFlag{Name: "now", Usage: "the search's clock: epoch seconds or RFC 3339"},
			&cli.StringFlag{Name: "earliest", Usage: "search from `TIME`, inclusive: epoch seconds, RFC 3339 or a modifier like -7d@d"},
			&cli.StringFlag{Name: "latest", Usage: "search until `TIME`, exclusive"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return exitWith(exitUsage, fmt.Errorf("spl takes one search, in quotes, got %d arguments; see aiwatch spl --help", c.NArg()))
			}
			return p.runSearch(c)
		},
	}
}

// runSearch runs the search of the command line. It prints nothing before the
// search has ended well.
func (p *program) runSearch(c *cli.Context) error {
	engine, files, err := p.searchEngine(c)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	now := p.now()
	if s := c.String("now"); s != "" {
		if now, err = spl.ParseTime(s, now, time.UTC); err != nil {
			return exitWith(exitUsage, fmt.Errorf("--now: %w", err))
		}
	}
	params := spl.Params{Now: now, Earliest: c.String("earliest"), Latest: c.String("latest")}
	for name, s := range map[string]string{"--earliest": params.Earliest, "--latest": params.Latest} {
		if s == "" {
			continue
		}
		if _, err := spl.ParseTime(s, now, time.UTC); err != nil {
			return exitWith(exitUsage, fmt.Errorf("%s: %w", name, err))
		}
	}
	search := c.Args().First()
	// What is wrong with the search is told before the events are read.
	if _, err := engine.Parse(search, now); err != nil {
		return refused(err)
	}
	ownLimit := p.getenv("GOMEMLIMIT") == ""
	if ownLimit {
		debug.SetMemoryLimit(spl.MemoryGoal)
	}
	for _, path := range c.StringSlice("events") {
		if err := p.loadEvents(engine.Store, path); err != nil {
			return fmt.Errorf("read events of %s: %w", path, err)
		}
	}
	if ownLimit {
		makeRoom()
	}
	before := map[string]*spl.Table{}
	for _, name := range engine.Lookups.Names() {
		before[name] = engine.Lookups.Table(name)
	}
	res, err := engine.Run(c.Context, search, params)
	if err != nil {
		return refused(err)
	}
	for _, name := range engine.Lookups.Names() {
		t := engine.Lookups.Table(name)
		if t == before[name] {
			continue
		}
		path, ok := files[name]
		if !ok {
			return exitWith(exitUsage, fmt.Errorf("outputlookup has no file for the lookup %q: name one with --lookup %s=FILE", name, name))
		}
		if err := writeTable(path, t); err != nil {
			return err
		}
	}
	for _, w := range res.Warnings {
		fmt.Fprintf(p.stderr, "aiwatch: %s\n", w)
	}
	out := bufio.NewWriter(p.stdout)
	var line []byte
	for _, row := range res.Rows {
		line = append(res.AppendJSON(line[:0], row), '\n')
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("print rows: %w", err)
		}
	}
	return out.Flush()
}

// makeRoom raises the memory limit where the events alone fill half of it: the
// collector would run without end to hold a goal that is meant for fewer.
func makeRoom() {
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc < spl.MemoryGoal/2 {
		return
	}
	runtime.GC()
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(max(spl.MemoryGoal, 2*int64(m.HeapAlloc)))
}

// refused gives a search that is at fault the exit code of wrong usage.
func refused(err error) error {
	var r *spl.Refusal
	if errors.As(err, &r) {
		return exitWith(exitUsage, r)
	}
	return err
}

// searchEngine makes an engine of the command's flags. files tells where each
// lookup that was named came from.
func (p *program) searchEngine(c *cli.Context) (engine *spl.Engine, files map[string]string, err error) {
	app, err := searchedApp(c)
	if err != nil {
		return nil, nil, err
	}
	if engine, err = detection.Engine(app, time.UTC); err != nil {
		return nil, nil, fmt.Errorf("read the app: %w", err)
	}
	engine.Collect = func(index string, _ []string, rows []spl.Row) error {
		fmt.Fprintf(p.stderr, "aiwatch: collect: %d rows for index %s are not kept\n", len(rows), index)
		return nil
	}
	files, err = tuneEngine(c, engine)
	return engine, files, err
}

// searchedApp is the app that --app names, or the built-in one.
func searchedApp(c *cli.Context) (fs.FS, error) {
	if dir := c.String(appFlag); dir != "" {
		return os.DirFS(dir), nil
	}
	return detection.FS()
}

// tuneEngine puts what --macros, --transforms and --lookup name over the app's.
func tuneEngine(c *cli.Context, engine *spl.Engine) (files map[string]string, err error) {
	for flag, into := range map[string]spl.Conf{"macros": engine.Macros, "transforms": engine.Transforms} {
		path := c.String(flag)
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		parsed, err := conf.Parse(path, f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		for stanza, settings := range spl.ConfOf(parsed) {
			into[stanza] = settings
		}
	}
	lookups, err := namedLookups(c)
	if err != nil {
		return nil, err
	}
	files = map[string]string{}
	for _, l := range lookups {
		name, path, ok := strings.Cut(l, "=")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("--lookup takes NAME=CSV, not %q", l)
		}
		t, err := readTable(path)
		if err != nil {
			return nil, fmt.Errorf("--lookup %s: %w", name, err)
		}
		if file := engine.Transforms[name]["filename"]; file != "" {
			name = file // the name of a definition stands for its file
		}
		files[strings.TrimSuffix(name, ".csv")] = path
		engine.Lookups.Set(name, t)
	}
	return files, nil
}

// namedLookups are the lookups of --lookups and, over them, those of --lookup.
func namedLookups(c *cli.Context) (all []string, err error) {
	if dir := c.String("lookups"); dir != "" {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("--lookups: %w", err)
		}
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".csv"); ok {
				all = append(all, name+"="+filepath.Join(dir, e.Name()))
			}
		}
	}
	return append(all, c.StringSlice("lookup")...), nil
}

// readTable reads a lookup; a file that is not there yet is an empty one, which
// outputlookup may fill.
func readTable(path string) (*spl.Table, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return &spl.Table{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return spl.ReadTable(f)
}

// writeTable puts a lookup's new contents in its file's place at once.
func writeTable(path string, t *spl.Table) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write lookup %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // does nothing once it is renamed
	err = t.Write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write lookup %s: %w", path, err)
	}
	return nil
}

func (p *program) loadEvents(store *spl.Store, path string) error {
	var r io.Reader = p.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	}
	_, err := store.Load(r)
	return err
}
