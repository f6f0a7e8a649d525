package detection

import (
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"

	splunkapp "aiwatch/splunk_app"
)

// FS is the app as it is installed: what stands in its folders, with
// savedsearches.conf, the macros of the detections, what they need as a lookup, and
// the data model.
func FS() (fs.FS, error) { return Make(splunkapp.Files) }

// Make makes the app of other sources, such as a working tree's.
func Make(sources fs.FS) (fs.FS, error) {
	all, err := Load(sources)
	if err != nil {
		return nil, err
	}
	app := fstest.MapFS{}
	for _, dir := range []string{"default", "lookups", "metadata"} {
		err := fs.WalkDir(sources, dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(sources, name)
			app[name] = &fstest.MapFile{Data: text, Mode: 0o644}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the app's %s: %w", dir, err)
		}
	}
	const macrosConf = "default/macros.conf"
	if app[macrosConf] == nil {
		app[macrosConf] = &fstest.MapFile{Mode: 0o644}
	}
	app[macrosConf].Data = append(app[macrosConf].Data, macros(all)...)
	app["default/savedsearches.conf"] = &fstest.MapFile{Data: savedSearches(all), Mode: 0o644}
	app["lookups/aiwatch_detections.csv"] = &fstest.MapFile{Data: needsTable(all), Mode: 0o644}
	model, err := dataModel()
	if err != nil {
		return nil, err
	}
	app["default/data/models/"+modelName+".json"] = &fstest.MapFile{Data: model, Mode: 0o644}
	return app, nil
}
