package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/ackextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/splunkhecreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
)

// receive takes HEC requests until ctx is done.
func receive(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("receive", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8088", "`address` of the HEC endpoint")
	statsListen := flags.String("stats", "", "`address` that answers GET /stats with counts as JSON")
	out := flags.String("out", "", "`file` for the events, one JSON object a line; each is written before its request is answered")
	if err := flags.Parse(args); err != nil {
		return err
	}

	sink := &sink{}
	if *out != "" {
		file, err := os.Create(*out)
		if err != nil {
			return fmt.Errorf("create the file for events: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		sink.lines = bufio.NewWriterSize(file, 1<<20)
	}
	if *statsListen != "" {
		listener, err := net.Listen("tcp", *statsListen)
		if err != nil {
			return fmt.Errorf("listen for /stats: %w", err)
		}
		mux := http.NewServeMux()
		mux.Handle("GET /stats", sink)
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		defer func() { _ = server.Close() }()
		go func() { _ = server.Serve(listener) }() // ends with Close
	}

	ackFactory := ackextension.NewFactory()
	ackID := component.NewID(ackFactory.Type())
	acks, err := ackFactory.Create(ctx, extension.Settings{ID: ackID, TelemetrySettings: telemetry()}, ackFactory.CreateDefaultConfig())
	if err != nil {
		return fmt.Errorf("create the ack extension: %w", err)
	}
	collector := host{ackID: acks}
	if err := acks.Start(ctx, collector); err != nil {
		return fmt.Errorf("start the ack extension: %w", err)
	}
	defer func() { err = errors.Join(err, acks.Shutdown(context.WithoutCancel(ctx))) }()

	factory := splunkhecreceiver.NewFactory()
	config := factory.CreateDefaultConfig().(*splunkhecreceiver.Config)
	config.NetAddr.Endpoint = *listen
	config.Ack.Extension = &ackID
	logs, err := consumer.NewLogs(sink.consume)
	if err != nil {
		return fmt.Errorf("make the consumer: %w", err)
	}
	hec, err := factory.CreateLogs(ctx, receiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: telemetry()}, config, logs)
	if err != nil {
		return fmt.Errorf("create the HEC receiver: %w", err)
	}
	if err := hec.Start(ctx, collector); err != nil {
		return fmt.Errorf("start the HEC receiver: %w", err)
	}
	<-ctx.Done()
	return hec.Shutdown(context.WithoutCancel(ctx))
}

// sink counts the events that arrive and writes them down.
type sink struct {
	mu     sync.Mutex
	lines  *bufio.Writer // nil: count only
	counts struct {
		Events   int64 `json:"events"`
		Requests int64 `json:"requests"`
	}
}

// line is an event as it was understood by the receiver.
type line struct {
	Time       json.Number    `json:"time"` // seconds with three decimals
	Host       string         `json:"host,omitempty"`
	Source     string         `json:"source,omitempty"`
	Sourcetype string         `json:"sourcetype,omitempty"`
	Index      string         `json:"index,omitempty"`
	Event      any            `json:"event"`
	Fields     map[string]any `json:"fields,omitempty"`
}

func (s *sink) consume(_ context.Context, logs plog.Logs) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Requests++
	s.counts.Events += int64(logs.LogRecordCount())
	if s.lines == nil {
		return nil
	}
	encoder := json.NewEncoder(s.lines)
	encoder.SetEscapeHTML(false)
	for _, resource := range logs.ResourceLogs().All() {
		about := resource.Resource().Attributes()
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				// The receiver reads the time as a floating-point number.
				at := record.Timestamp().AsTime().Round(time.Millisecond)
				if err := encoder.Encode(line{
					Time:       json.Number(fmt.Sprintf("%d.%03d", at.Unix(), at.Nanosecond()/1e6)),
					Host:       text(about, "host.name"),
					Source:     text(about, "com.splunk.source"),
					Sourcetype: text(about, "com.splunk.sourcetype"),
					Index:      text(about, "com.splunk.index"),
					Event:      record.Body().AsRaw(),
					Fields:     record.Attributes().AsRaw(),
				}); err != nil {
					return fmt.Errorf("write an event: %w", err)
				}
			}
		}
	}
	return s.lines.Flush()
}

func text(attributes pcommon.Map, key string) string {
	value, ok := attributes.Get(key)
	if !ok {
		return ""
	}
	return value.AsString()
}

// ServeHTTP answers /stats.
func (s *sink) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	counts := s.counts
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts) // the asker has gone away
}
