package preview

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
	"aiwatch/internal/spl"
)

// A Recording is a folder with what came of a scenario, or of any other source
// of events: the events, among them the findings, in events.ndjson or
// events.ndjson.zst, lookups in lookups/*.csv, and the moment at which it ended
// in end.
type Recording struct{ Dir string }

const (
	recordedEvents  = "events.ndjson.zst"
	recordedLookups = "lookups"
	recordedEnd     = "end"
)

// Play plays a scenario's folder and runs the app's searches over it. What came
// of it is kept in a folder of cache, and taken from there until the scenario,
// the app's searches or the program that made it change.
func Play(ctx context.Context, root Root, app fs.FS, dir, cache string) (*Recording, error) {
	key, err := playKey(root, app, dir)
	if err != nil {
		return nil, err
	}
	r := &Recording{filepath.Join(cache, filepath.Base(dir)+"-"+key)}
	if _, err := os.Stat(filepath.Join(r.Dir, recordedEnd)); err == nil {
		return r, nil
	}
	s, err := scenario.Load(dir)
	if err != nil {
		return nil, err
	}
	searches, err := scenario.Searches(app)
	if err != nil {
		return nil, err
	}
	played, err := scenario.Play(ctx, s, scenario.Options{})
	if err != nil {
		return nil, err
	}
	report, err := scenario.Schedule(ctx, played, app, searches, scenario.ScheduleOptions{})
	if err != nil {
		return nil, err
	}
	return r, r.write(ctx, report, s.End)
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
		add(root.FS(), "collectors", source),
		add(root.FS(), "internal", source),
	)
	if err != nil {
		return "", fmt.Errorf("read what decides the play: %w", err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:6]), nil
}

// write keeps what came of a play. The folder appears whole or not at all.
func (r *Recording) write(ctx context.Context, report *scenario.Report, end time.Time) (err error) {
	if err := os.MkdirAll(filepath.Dir(r.Dir), 0o700); err != nil {
		return fmt.Errorf("keep what was played: %w", err)
	}
	made, err := os.MkdirTemp(filepath.Dir(r.Dir), ".play-")
	if err != nil {
		return fmt.Errorf("keep what was played: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	if err := writeEvents(ctx, filepath.Join(made, recordedEvents), report); err != nil {
		return err
	}
	if err := report.WriteLookups(filepath.Join(made, recordedLookups)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(made, recordedEnd), []byte(end.UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(made, r.Dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep what was played: %w", err)
	}
	return nil
}

// writeEvents writes the events of a report: what was collected as envelopes,
// findings as flat rows.
func writeEvents(ctx context.Context, path string, report *scenario.Report) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out, err := zstd.NewWriter(file, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	collected, err := report.Engine.Run(ctx, `index!=summary | fields _time _indextime host source sourcetype index _raw | sort 0 _indextime`, spl.Params{})
	if err != nil {
		return fmt.Errorf("read the events: %w", err)
	}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false) // an event's text is what it was
	for _, row := range collected.Rows {
		get := func(field string) string { return collected.Get(row, field).String() }
		if err := lines.Encode(map[string]any{
			"time": json.Number(get("_time")), "indextime": json.Number(get("_indextime")),
			"host": get("host"), "source": get("source"), "sourcetype": get("sourcetype"), "index": get("index"),
			"event": json.RawMessage(get("_raw")),
		}); err != nil {
			return err
		}
	}
	return report.WriteFindings(ctx, out)
}

// Load makes data of the recording. Without an end its clock stands a second
// after the newest event.
func (r *Recording) Load(ctx context.Context, app fs.FS) (*Data, error) {
	engine, err := detection.Engine(app, time.UTC)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{recordedEvents, strings.TrimSuffix(recordedEvents, ".zst")} {
		err := LoadEvents(engine, filepath.Join(r.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := LoadLookups(engine, filepath.Join(r.Dir, recordedLookups)); err != nil {
		return nil, err
	}
	end, err := newest(ctx, engine)
	if text, readErr := os.ReadFile(filepath.Join(r.Dir, recordedEnd)); readErr == nil {
		end, err = time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	}
	if err != nil {
		return nil, fmt.Errorf("find out when %s ends: %w", r.Dir, err)
	}
	return NewData(engine, func() time.Time { return end }), nil
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
