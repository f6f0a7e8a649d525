package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"aiwatch/collectors"
)

// serveHealth serves /metrics for Prometheus and /ready for whoever decides
// whether this forwarder works, until ctx is done.
func (r *run) serveHealth(ctx context.Context) error {
	listener, err := net.Listen("tcp", r.listen)
	if err != nil {
		return exitWith(exitUsage, fmt.Errorf("listen for metrics: %w; change listen under [health]", err))
	}
	server := &http.Server{
		Handler:           r.healthHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	r.log.Info("metrics and readiness", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

func (r *run) healthHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&exporter{run: r})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if problems := r.unready(); len(problems) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, strings.Join(problems, "\n"))
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}

// unready says what keeps this forwarder from working, by stanza and state
// alone: whoever can reach the port need not see what a source answered.
func (r *run) unready() (problems []string) {
	for _, s := range r.runner.Statuses() {
		if s.State == collectors.StateFailing || s.State == collectors.StateStarting {
			problems = append(problems, s.Name+" is "+s.State)
		}
	}
	if r.delivery("").Held > 0 {
		problems = append(problems, "events are held: a setting of the destination is wrong")
	}
	return problems
}

// exporter tells Prometheus how inputs and delivery are.
type exporter struct{ run *run }

// metric is one metric of the exporter, with its value for an input or for all.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	input func(collectors.Status) float64
	all   func(*run) float64
}

var inputLabel = []string{"input"}

func gauge(name, help string, all func(*run) float64) metric {
	return metric{prometheus.NewDesc("aiwatch_"+name, help, nil, nil), prometheus.GaugeValue, nil, all}
}

func counter(name, help string, all func(*run) float64) metric {
	return metric{prometheus.NewDesc("aiwatch_"+name, help, nil, nil), prometheus.CounterValue, nil, all}
}

func perInput(kind prometheus.ValueType, name, help string, value func(collectors.Status) float64) metric {
	return metric{prometheus.NewDesc("aiwatch_"+name, help, inputLabel, nil), kind, value, nil}
}

func epochSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// metrics are made once and never changed.
var metrics = []metric{
	gauge("queue_events", "Events that wait for delivery.", func(r *run) float64 { return float64(r.queue.Depth().Events) }),
	gauge("queue_bytes", "Compressed bytes that wait for delivery.", func(r *run) float64 { return float64(r.delivery("").QueueBytes) }),
	gauge("queue_oldest_seconds", "Age of the oldest batch that waits.", func(r *run) float64 { return r.delivery("").Oldest.Seconds() }),
	gauge("dead_letters", "Events that the destination refused for good.", func(r *run) float64 { return float64(r.delivery("").DeadLetters) }),
	gauge("held_events", "Events that wait because a setting is wrong.", func(r *run) float64 { return float64(r.delivery("").Held) }),
	counter("committed_events_total", "Events put into the queue.", func(r *run) float64 { return float64(r.forwarder.Metrics().Committed.Load()) }),
	counter("sent_events_total", "Events that the destination took.", func(r *run) float64 { return float64(r.forwarder.Metrics().Sent.Load()) }),
	counter("confirmed_events_total", "Events that the destination confirmed.", func(r *run) float64 { return float64(r.forwarder.Metrics().Confirmed.Load()) }),
	counter("resent_events_total", "Events sent again because no confirmation came.", func(r *run) float64 { return float64(r.forwarder.Metrics().Resent.Load()) }),
	counter("refused_events_total", "Events put to the dead letters.", func(r *run) float64 { return float64(r.forwarder.Metrics().Refused.Load()) }),
	counter("retried_bodies_total", "Bodies that were not taken and are tried again.", func(r *run) float64 { return float64(r.forwarder.Metrics().Retries.Load()) }),
	counter("recut_bodies_total", "Bodies that were cut anew.", func(r *run) float64 { return float64(r.forwarder.Metrics().Recuts.Load()) }),
	counter("sent_bytes_total", "Compressed bytes handed to the destination.", func(r *run) float64 { return float64(r.forwarder.Metrics().Bytes.Load()) }),
	counter("lost_events_total", "Events in batches that could not be read back.", func(r *run) float64 { return float64(r.forwarder.Metrics().Lost.Load()) }),
	perInput(prometheus.CounterValue, "input_records_total", "Records read.", func(s collectors.Status) float64 { return float64(s.Records) }),
	perInput(prometheus.CounterValue, "input_events_total", "Events committed.", func(s collectors.Status) float64 { return float64(s.Events) }),
	perInput(prometheus.GaugeValue, "input_last_success_timestamp_seconds", "When a poll last ended well.", func(s collectors.Status) float64 { return epochSeconds(s.LastSuccess) }),
	perInput(prometheus.GaugeValue, "input_newest_record_timestamp_seconds", "Date of the newest record read.", func(s collectors.Status) float64 { return epochSeconds(s.NewestRecord) }),
	perInput(prometheus.GaugeValue, "input_failing", "1 when the last poll failed.", func(s collectors.Status) float64 {
		if s.State == collectors.StateFailing {
			return 1
		}
		return 0
	}),
}

// Describe names the metrics.
func (e *exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect reads the metrics.
func (e *exporter) Collect(ch chan<- prometheus.Metric) {
	statuses := e.run.runner.Statuses()
	for _, m := range metrics {
		if m.all != nil {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.all(e.run))
			continue
		}
		for _, s := range statuses {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.input(s), s.Name)
		}
	}
}
