// Command serve shows the app in a browser without Splunk: `make preview`.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
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
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var source preview.Source
	listen := flag.String("listen", "127.0.0.1:8000", "loopback `ADDRESS` to listen on, port 0 for a free one")
	receive := flag.Bool("receive", false, "search what comes to an embedded HEC receiver, as it comes")
	source.Flags(flag.CommandLine)
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
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
	source.Live = *receive
	data, err := source.Load(ctx, root, log)
	if err != nil {
		return err
	}
	server, err := preview.Serve(*listen, preview.Config{App: func() (fs.FS, error) { return root.App() }, Data: data, Bundle: bundle})
	if err != nil {
		return err
	}
	if *receive {
		token := rand.Text()
		receiver, err := preview.Receive("127.0.0.1:0", token, data)
		if err != nil {
			return errors.Join(err, server.Close())
		}
		defer func() { err = errors.Join(err, receiver.Close()) }()
		fmt.Printf("events go to %s/services/collector with the token %s\n", receiver.URL(), token)
	}
	fmt.Printf("the app is at %s, as of %s\n", server.URL, data.Now().Format("2006-01-02 15:04 MST"))
	select {
	case <-ctx.Done():
	case <-server.Done():
	}
	return server.Close()
}
