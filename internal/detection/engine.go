package detection

import (
	"bytes"
	"fmt"
	"io/fs"
	"time"

	"aiwatch/internal/addon"
	"aiwatch/internal/conf"
	"aiwatch/internal/spl"
)

// Engine makes an evaluator for an app's searches over an empty store, with the
// add-on's search-time fields and the app's macros, lookups and data models.
func Engine(app fs.FS, zone *time.Location) (*spl.Engine, error) {
	props, err := searchTime(zone)
	if err != nil {
		return nil, err
	}
	engine := &spl.Engine{Store: spl.NewStore(props), Lookups: spl.NewLookups(), Location: zone}
	if err := engine.LoadApp(app); err != nil {
		return nil, fmt.Errorf("read the app: %w", err)
	}
	return engine, nil
}

// searchTime are the add-on's search-time fields.
func searchTime(zone *time.Location) (*spl.Props, error) {
	var text bytes.Buffer
	if err := addon.WriteProps(&text); err != nil {
		return nil, err
	}
	parsed, err := conf.Parse("props.conf", &text)
	if err != nil {
		return nil, err
	}
	props, err := spl.NewProps(spl.ConfOf(parsed), zone)
	if err != nil {
		return nil, fmt.Errorf("read the add-on's props: %w", err)
	}
	return props, nil
}
