// Command serve shows the app in a browser without Splunk: `make preview`.
package main

import (
	"context"
	"crypto/rand"
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
	source.Live = *receive
	app, err := preview.Open(ctx, *listen, source, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	if *receive {
		token := rand.Text()
		receiver, err := preview.Receive("127.0.0.1:0", token, app.Data)
		if err != nil {
			return errors.Join(err, app.Close())
		}
		defer func() { err = errors.Join(err, receiver.Close()) }()
		fmt.Printf("events go to %s/services/collector with the token %s\n", receiver.URL(), token)
	}
	fmt.Printf("the app is at %s, as of %s\n", app.URL, app.Data.Now().Format("2006-01-02 15:04 MST"))
	select {
	case <-ctx.Done():
	case <-app.Done():
	}
	return app.Close()
}
