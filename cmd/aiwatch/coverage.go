package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"aiwatch/forwarder"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/conf"
	"aiwatch/internal/detection"
	"aiwatch/internal/spl"
	splunkapp "aiwatch/splunk_app"
)

// checkCoverage says for each detection of the app whether it can fire with
// these inputs, lookups and history.
func (p *program) checkCoverage(c *cli.Context, config *conf.Config, inputs []*conf.Settings) error {
	catalogue, err := detection.Load(splunkapp.Files)
	if err != nil {
		return err
	}
	rows, err := lookupRows(splunkapp.Files)
	if err != nil {
		return err
	}
	if dir := c.String(appFlag); dir != "" {
		if _, err := os.Stat(path.Join(dir, "lookups")); err != nil {
			return exitWith(exitUsage, fmt.Errorf("find the lookups of the app: %w; --app takes the folder of the installed app, such as $SPLUNK_HOME/etc/apps/aiwatch", err))
		}
		installed, err := lookupRows(os.DirFS(dir))
		if err != nil {
			return exitWith(exitUsage, err)
		}
		// A lookup that the app should have and has not is as good as empty.
		for name := range rows {
			rows[name] = installed[name]
		}
	}
	situation := detection.Situation{Inputs: detection.InputsOf(config, inputs), Lookups: rows, Now: p.now()}
	if situation.Since, err = stateSince(c.Context, c.String(stateFlag.Name)); err != nil {
		p.logger(config).Warn("how much history there is can't be found out", "error", err)
	}
	counts := map[detection.Verdict]int{}
	for _, d := range catalogue {
		if !d.Finds() {
			continue
		}
		coverage := d.Coverage(situation)
		counts[coverage.Verdict]++
		if c.Bool(jsonFlag.Name) {
			_ = json.NewEncoder(p.stdout).Encode(struct {
				Detection int    `json:"detection"`
				Name      string `json:"name"`
				detection.Coverage
			}{d.Number, d.Name, coverage})
			continue
		}
		fmt.Fprintf(p.stdout, "%2d  %s: %s\n", d.Number, d.Name, printable(coverage.String()))
	}
	if !c.Bool(jsonFlag.Name) {
		fmt.Fprintf(p.stdout, "detections that can fire: %d; limited: %d; that can't fire: %d\n",
			counts[detection.CanFire], counts[detection.Limited], counts[detection.CannotFire])
	}
	return nil
}

// lookupRows counts the rows of an app's lookups; a file of local/lookups
// stands for that of lookups.
func lookupRows(app fs.FS) (map[string]int, error) {
	rows := map[string]int{}
	for _, dir := range []string{"lookups", "local/lookups"} {
		names, err := fs.Glob(app, dir+"/*.csv")
		if err != nil {
			return nil, fmt.Errorf("list the app's lookups: %w", err)
		}
		for _, name := range names {
			f, err := app.Open(name)
			if err != nil {
				return nil, fmt.Errorf("read lookup: %w", err)
			}
			table, err := spl.ReadTable(f)
			_ = f.Close()
			if err != nil {
				return nil, fmt.Errorf("read lookup %s: %w", name, err)
			}
			rows[strings.TrimSuffix(path.Base(name), ".csv")] = len(table.Rows)
		}
	}
	return rows, nil
}

// stateSince is when the state was made, before which nothing was collected;
// zero where there is none.
func stateSince(ctx context.Context, dir string) (since time.Time, err error) {
	admin, err := forwarder.Attach(ctx, dir)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	status, err := admin.Status(ctx)
	if errors.Is(err, queue.ErrNone) {
		return time.Time{}, nil
	}
	return status.Created, err
}
