package preview

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aiwatch/internal/scenario"
	"aiwatch/internal/spl"
)

// Play plays a scenario's folder with the program of the working tree, as
// aiwatch scenario run does, and tells where what came of it is: events, what
// the searches found, lookups, and the moment at which the scenario ends. It is
// kept in a folder of cache, and taken from there until the scenario, the app's
// searches or the program change.
func Play(ctx context.Context, root Root, app fs.FS, dir, cache string) (*Source, error) {
	key, err := playKey(root, app, dir)
	if err != nil {
		return nil, err
	}
	s, err := scenario.Load(dir)
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(cache, filepath.Base(dir)+"-"+key)
	if _, err := os.Stat(kept); err != nil {
		if err := play(ctx, root, dir, kept); err != nil {
			return nil, err
		}
	}
	return &Source{
		Events:  []string{filepath.Join(kept, "events.ndjson"), filepath.Join(kept, "findings.ndjson")},
		Lookups: filepath.Join(kept, "lookups"),
		Now:     s.End.UTC().Format(time.RFC3339),
	}, nil
}

// play writes the folder kept, which appears whole or not at all.
func play(ctx context.Context, root Root, dir, kept string) (err error) {
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return fmt.Errorf("keep what is played: %w", err)
	}
	made, err := os.MkdirTemp(filepath.Dir(kept), ".play-")
	if err != nil {
		return fmt.Errorf("keep what is played: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	program := filepath.Join(made, "aiwatch")
	if err := command(ctx, root, "go", "build", "-o", program, "./cmd/aiwatch"); err != nil {
		return fmt.Errorf("build the program that plays: %w", err)
	}
	out := filepath.Join(made, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		return fmt.Errorf("keep what is played: %w", err)
	}
	err = command(ctx, root, program, "scenario", "run", dir,
		"--write-events", filepath.Join(out, "events.ndjson"),
		"--write-findings", filepath.Join(out, "findings.ndjson"),
		"--write-lookups", filepath.Join(out, "lookups"))
	// A scenario that finds other things than it expects can be looked at, too.
	if failed := new(exec.ExitError); err != nil && (!errors.As(err, &failed) || failed.ExitCode() != 1) {
		return fmt.Errorf("play %s: %w", dir, err)
	}
	if err := os.Rename(out, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep what is played: %w", err)
	}
	return nil
}

// command runs a command at the top of the repository.
func command(ctx context.Context, root Root, name string, arguments ...string) error {
	c := exec.CommandContext(ctx, name, arguments...)
	c.Dir, c.Stderr = root.Path(), os.Stderr
	return c.Run()
}

// playKey is a hash over what decides what comes of a scenario. Dashboards do
// not.
func playKey(root Root, app fs.FS, dir string) (string, error) {
	sum := sha256.New()
	add := func(from fs.FS, under string, want func(name string) bool) error {
		return fs.WalkDir(from, under, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !want(name) {
				return err
			}
			text, err := fs.ReadFile(from, name)
			fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
			return err
		})
	}
	source := func(name string) bool { return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") }
	err := errors.Join(
		add(os.DirFS(dir), ".", func(string) bool { return true }),
		add(app, ".", func(name string) bool { return !strings.HasPrefix(name, "default/data/ui/") }),
		add(root.FS(), "cmd", source),
		add(root.FS(), "collectors", source),
		add(root.FS(), "internal", source),
	)
	if err != nil {
		return "", fmt.Errorf("read what decides the play: %w", err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:6]), nil
}

// LoadEvents reads events from a file, an envelope or flat row a line.
func LoadEvents(engine *spl.Engine, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer file.Close()
	if _, err := engine.Store.Load(file); err != nil {
		return fmt.Errorf("read events of %s: %w", path, err)
	}
	return nil
}

// LoadLookups reads the lookups of a folder, each from its CSV file.
func LoadLookups(engine *spl.Engine, dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil {
		return fmt.Errorf("list the lookups: %w", err)
	}
	slices.Sort(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a lookup: %w", err)
		}
		table, err := spl.ReadTable(bytes.NewReader(text))
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the lookup %s: %w", path, err)
		}
		engine.Lookups.Set(strings.TrimSuffix(filepath.Base(path), ".csv"), table)
	}
	return nil
}

// newest is a second after the newest event.
func newest(ctx context.Context, engine *spl.Engine) (time.Time, error) {
	result, err := engine.Run(ctx, `index=* | stats max(_time) AS newest`, spl.Params{})
	if err != nil || len(result.Rows) == 0 {
		return time.Now(), err
	}
	seconds, ok := result.Get(result.Rows[0], "newest").Float()
	if !ok {
		return time.Now(), nil
	}
	return time.Unix(int64(seconds)+1, 0).UTC(), nil
}
