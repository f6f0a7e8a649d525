package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/splunkhecexporter"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"golang.org/x/sync/errgroup"
)

// envelope is a prepared event, as HEC takes it.
type envelope struct {
	Time       float64        `json:"time"` // seconds
	Host       string         `json:"host"`
	Source     string         `json:"source"`
	Sourcetype string         `json:"sourcetype"`
	Index      string         `json:"index"`
	Event      map[string]any `json:"event"`
}

// result is what one run measured. Only the sending counts: reading the events
// comes before.
type result struct {
	Events          int     `json:"events"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	CPUSeconds      float64 `json:"cpu_seconds"` // user and system, of this process
	MaxRSSMiB       float64 `json:"max_rss_mib"`
}

// send delivers prepared events through the exporter, without its queue, and
// prints what that took as JSON.
func send(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	endpoint := flags.String("url", "", "HEC endpoint, with /services/collector")
	tokenFile := flags.String("token-file", "", "`file` that holds the HEC token")
	path := flags.String("events", "", "`file` of envelopes, one JSON object a line")
	repeat := flags.Int("repeat", 1, "send the file so many times")
	batch := flags.Int("batch", 1000, "events in a call of the exporter")
	workers := flags.Int("workers", runtime.GOMAXPROCS(0), "calls at the same time")
	prebuilt := flags.Bool("prebuilt", false, "convert the events to OpenTelemetry's form before the clock starts")
	uncompressed := flags.Bool("no-gzip", false, "send without gzip")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *batch < 1 || *workers < 1 || *repeat < 1 {
		return errors.New("-batch, -workers and -repeat are at least 1")
	}
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	events, err := load(*path)
	if err != nil {
		return fmt.Errorf("load the events: %w", err)
	}

	factory := splunkhecexporter.NewFactory()
	config := factory.CreateDefaultConfig().(*splunkhecexporter.Config)
	config.Endpoint = *endpoint
	config.Token = configopaque.String(token)
	config.DisableCompression = *uncompressed
	config.QueueSettings = configoptional.None[exporterhelper.QueueBatchConfig]()
	hec, err := factory.CreateLogs(ctx, exporter.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: telemetry()}, config)
	if err != nil {
		return fmt.Errorf("create the exporter: %w", err)
	}
	if err := hec.Start(ctx, host{}); err != nil {
		return fmt.Errorf("start the exporter: %w", err)
	}

	var batches []func() plog.Logs
	for start := 0; start < len(events); start += *batch {
		part := events[start:min(start+*batch, len(events))]
		logs := func() plog.Logs { return convert(part) }
		if *prebuilt {
			ready := convert(part)
			ready.MarkReadOnly()
			logs = func() plog.Logs { return ready }
		}
		batches = append(batches, logs)
	}

	began, usedBefore := time.Now(), used()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(*workers)
	for range *repeat {
		for _, logs := range batches {
			group.Go(func() error { return hec.ConsumeLogs(groupCtx, logs()) })
		}
	}
	err = errors.Join(group.Wait(), hec.Shutdown(context.WithoutCancel(ctx)))
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	seconds, usage := time.Since(began).Seconds(), used()
	count := len(events) * *repeat
	return json.NewEncoder(os.Stdout).Encode(result{
		Events:          count,
		Seconds:         seconds,
		EventsPerSecond: float64(count) / seconds,
		CPUSeconds:      (usage.cpu - usedBefore.cpu).Seconds(),
		MaxRSSMiB:       float64(usage.maxRSS) / (1 << 20),
	})
}

func load(path string) ([]envelope, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only
	var events []envelope
	for decoder := json.NewDecoder(bufio.NewReaderSize(file, 1<<20)); ; {
		var e envelope
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events)+1, err)
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil, errors.New("there are none in " + path)
	}
	return events, nil
}

// convert puts events into OpenTelemetry's form, one resource for each run of
// events with the same metadata.
func convert(events []envelope) plog.Logs {
	logs := plog.NewLogs()
	var records plog.LogRecordSlice
	var last [4]string
	for i, e := range events {
		about := [4]string{e.Host, e.Source, e.Sourcetype, e.Index}
		if i == 0 || about != last {
			last = about
			resource := logs.ResourceLogs().AppendEmpty()
			attributes := resource.Resource().Attributes()
			for j, key := range []string{"host.name", "com.splunk.source", "com.splunk.sourcetype", "com.splunk.index"} {
				attributes.PutStr(key, about[j])
			}
			records = resource.ScopeLogs().AppendEmpty().LogRecords()
		}
		record := records.AppendEmpty()
		record.SetTimestamp(pcommon.NewTimestampFromTime(time.UnixMilli(int64(math.Round(e.Time * 1e3)))))
		// A value that JSON can hold never fails.
		_ = record.Body().FromRaw(e.Event)
	}
	return logs
}

// usage is what this process has used so far.
type usage struct {
	cpu    time.Duration
	maxRSS int64 // bytes
}

func used() usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}
	}
	return usage{cpu: time.Duration(r.Utime.Nano() + r.Stime.Nano()), maxRSS: r.Maxrss << 10}
}
