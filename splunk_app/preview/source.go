package preview

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario/week"
	"aiwatch/internal/spl"
)

// A Source says what is searched; its fields are the flags of the commands.
type Source struct {
	Scenario string   // folder of a scenario to play
	Events   []string // files of events instead
	Lookups  string   // folder of lookups, over the app's
	Now      string   // the searches' clock
	Live     bool     // nothing but these files and what comes, as it comes
}

// Flags adds the flags that choose a source.
func (s *Source) Flags(flags *flag.FlagSet) {
	flags.StringVar(&s.Scenario, "scenario", "", "play the scenario in `DIR`; without any source the insider's week")
	flags.Func("events", "search the events of `FILE`, an envelope or flat row a line; may be given again, for findings", func(path string) error {
		s.Events = append(s.Events, path)
		return nil
	})
	flags.StringVar(&s.Lookups, "lookups", "", "take lookups from the CSV files in `DIR`, over the app's")
	flags.StringVar(&s.Now, "now", "", "the searches' clock: epoch seconds or RFC 3339; without it the end of what was recorded")
}

// Load makes the data.
func (s *Source) Load(ctx context.Context, root Root, log *slog.Logger) (*Data, error) {
	app, err := root.App()
	if err != nil {
		return nil, err
	}
	from := *s
	if len(s.Events) == 0 && !s.Live {
		log.Info("playing, unless that was done before")
		played, err := s.play(ctx, root, app)
		if err != nil {
			return nil, err
		}
		from.Events = played.Events
		from.Lookups = cmp.Or(s.Lookups, played.Lookups)
		from.Now = cmp.Or(s.Now, played.Now)
	}
	return from.read(ctx, app)
}

// read reads the files.
func (s *Source) read(ctx context.Context, app fs.FS) (*Data, error) {
	engine, err := detection.Engine(app, time.UTC)
	if err != nil {
		return nil, err
	}
	for _, path := range s.Events {
		if err := LoadEvents(engine, path); err != nil {
			return nil, err
		}
	}
	if s.Lookups != "" {
		if err := LoadLookups(engine, s.Lookups); err != nil {
			return nil, err
		}
	}
	switch {
	case s.Now != "":
		now, err := spl.ParseTime(s.Now, time.Now(), time.UTC)
		if err != nil {
			return nil, fmt.Errorf("--now: %w", err)
		}
		return NewData(engine, func() time.Time { return now }), nil
	case s.Live:
		return NewData(engine, time.Now), nil
	}
	end, err := newest(ctx, engine)
	if err != nil {
		return nil, fmt.Errorf("find the newest event: %w", err)
	}
	return NewData(engine, func() time.Time { return end }), nil
}

// play plays the scenario, the insider's week where none is named.
func (s *Source) play(ctx context.Context, root Root, app fs.FS) (*Source, error) {
	cache, err := playCache()
	if err != nil {
		return nil, err
	}
	if s.Scenario != "" {
		return Play(ctx, root, app, s.Scenario, cache)
	}
	dir, err := os.MkdirTemp("", "aiwatch-preview-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the insider's week: %w", err)
	}
	defer os.RemoveAll(dir)
	dir = filepath.Join(dir, "week")
	if _, err := week.Write(dir, week.Options{}); err != nil {
		return nil, err
	}
	return Play(ctx, root, app, dir, cache)
}

// playCache is where plays are kept.
func playCache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for what was played: %w", err)
	}
	return filepath.Join(dir, "aiwatch-preview"), nil
}
