// Command shoot draws one page of the app into a PNG, and tells what went wrong
// on it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
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
	source.Flags(flag.CommandLine)
	flag.Parse()
	if *out == "" {
		return errors.New("name the picture with --out FILE")
	}
	path, err := filepath.Abs(*out)
	if err != nil {
		return err
	}
	root, err := preview.FindRoot()
	if err != nil {
		return err
	}
	packages, err := root.Packages()
	if err != nil {
		return err
	}
	bundle, err := preview.Build(packages)
	if err != nil {
		return err
	}
	data, err := source.Load(ctx, root, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	server, err := preview.Serve("127.0.0.1:0", preview.Config{App: func() (fs.FS, error) { return root.App() }, Data: data, Bundle: bundle})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	browser, err := preview.StartBrowser(packages)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, browser.Close()) }()
	said, err := browser.Shoot(server.URL, *view, *theme, *width, path)
	for _, text := range said {
		fmt.Fprintln(os.Stderr, text)
	}
	return err
}
