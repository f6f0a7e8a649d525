// Command shoot draws one page of the app into a PNG, and tells what went wrong
// on it; with --pictures all that the documentation shows: `make screenshots`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"aiwatch/splunk_app/preview"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shoot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var source preview.Source
	view := flag.String("view", "overview", "`NAME` of the page; ?form.TOKEN=VALUE may follow")
	theme := flag.String("theme", "dark", "dark or light")
	width := flag.Int("width", 1280, "of the window, in `PIXELS`")
	out := flag.String("out", "", "the PNG `FILE`")
	pictures := flag.String("pictures", "", "draw all pages, dark and light, into the folder `DIR`, as the documentation shows them")
	source.Flags(flag.CommandLine)
	flag.Parse()
	if (*out == "") == (*pictures == "") {
		return errors.New("name the picture with --out FILE, or all of them with --pictures DIR")
	}
	app, err := preview.Open(ctx, "127.0.0.1:0", source, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	browser, err := preview.StartBrowser(app.Packages)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, browser.Close()) }()
	shots := []preview.Shot{{View: *view, Theme: *theme, Width: *width, Path: *out}}
	if *pictures != "" {
		tree, err := app.Root.App()
		if err != nil {
			return err
		}
		if shots, err = preview.Pictures(tree, *pictures); err != nil {
			return err
		}
	}
	for _, shot := range shots {
		said, err := browser.Shoot(app.URL, shot)
		for _, text := range said {
			fmt.Fprintf(os.Stderr, "%s: %s\n", shot.View, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
