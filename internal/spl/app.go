package spl

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"aiwatch/internal/conf"
)

// LoadApp reads what an app's folder brings to searches: macros.conf,
// transforms.conf and savedsearches.conf (default/ under local/), the data
// models and the lookups. What is not there is left out; what the engine has
// already stays where the app says nothing of it.
func (e *Engine) LoadApp(app fs.FS) error {
	for _, c := range []struct {
		name string
		into *Conf
	}{{"macros.conf", &e.Macros}, {"transforms.conf", &e.Transforms}} {
		read, err := readConf(app, c.name)
		if err != nil {
			return err
		}
		if *c.into == nil {
			*c.into = Conf{}
		}
		for stanza, settings := range read {
			(*c.into)[stanza] = settings
		}
	}
	saved, err := readConf(app, "savedsearches.conf")
	if err != nil {
		return err
	}
	if e.Saved == nil {
		e.Saved = map[string]string{}
	}
	for name, s := range saved {
		if s["search"] != "" {
			e.Saved[name] = s["search"]
		}
	}
	if e.DataModels == nil {
		e.DataModels = map[string]DataModel{}
	}
	models, _ := fs.Glob(app, "default/data/models/*.json")
	for _, name := range models {
		f, err := app.Open(name)
		if err != nil {
			return fmt.Errorf("read data model: %w", err)
		}
		m, err := ReadDataModel(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		e.DataModels[strings.TrimSuffix(path.Base(name), ".json")] = m
	}
	if e.Lookups == nil {
		e.Lookups = NewLookups()
	}
	tables, _ := fs.Glob(app, "lookups/*.csv")
	for _, name := range tables {
		f, err := app.Open(name)
		if err != nil {
			return fmt.Errorf("read lookup: %w", err)
		}
		t, err := ReadTable(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		e.Lookups.Set(path.Base(name), t)
	}
	return nil
}

func readConf(app fs.FS, name string) (Conf, error) {
	var files []*conf.File
	for _, dir := range []string{"default", "local"} {
		f, err := app.Open(path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		parsed, err := conf.Parse(path.Join(dir, name), f)
		f.Close()
		if err != nil {
			return nil, err
		}
		files = append(files, parsed)
	}
	return ConfOf(conf.Overlay(files...)), nil
}

// ParseTime reads a moment as --now, earliest and latest take it: epoch
// seconds, RFC 3339 or a modifier like -7d@d, counted from now.
func ParseTime(s string, now time.Time, loc *time.Location) (time.Time, error) {
	m, err := parseTimeModifier(s)
	if err != nil {
		return time.Time{}, err
	}
	return timeOf(m.resolve(epochOf(now), loc), loc), nil
}
