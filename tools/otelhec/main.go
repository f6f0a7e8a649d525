// Command otelhec runs OpenTelemetry's own HEC code, which knows nothing of
// aiwatch: its receiver with its acknowledgements as a peer for tests (receive),
// its exporter as the sender to be compared with in benchmarks (send).
//
// It is a module of its own: what it needs does not belong to the product.
// receive.go and send.go each hold one of the two.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "otelhec:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "receive":
			return receive(ctx, args[1:])
		case "send":
			return send(ctx, args[1:])
		}
	}
	return errors.New("say `otelhec receive -h` or `otelhec send -h`")
}

// host is the collector around a component: the extensions it may ask for.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

// telemetry is switched off: nothing of what OpenTelemetry measures about itself
// is to be part of a comparison.
func telemetry() component.TelemetrySettings { return componenttest.NewNopTelemetrySettings() }
