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
	"aiwatch/forwarder"
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
	if len(r.status().Held) > 0 {
		problems = append(problems, "events are held: a setting of the destination is wrong")
	}
	return problems
}

// status is how the delivery is, empty when that can't be found out.
func (r *run) status() forwarder.Status {
	s, err := r.forwarder.Status(context.Background())
	if err != nil {
		r.log.Error("find out what waits", "error", err)
	}
	return s
}

// exporter tells Prometheus how inputs and delivery are.
type exporter struct{ run *run }

// metric is one metric of the exporter, with its value for an input or for all.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	input func(collectors.Status) float64
	queue func(forwarder.Status, time.Time) float64
	count func(*forwarder.Metrics) int64
}

var inputLabel = []string{"input"}

func waiting(name, help string, value func(s forwarder.Status, now time.Time) float64) metric {
	return metric{desc: prometheus.NewDesc("aiwatch_"+name, help, nil, nil), kind: prometheus.GaugeValue, queue: value}
}

func delivered(name, help string, value func(*forwarder.Metrics) int64) metric {
	return metric{desc: prometheus.NewDesc("aiwatch_"+name, help, nil, nil), kind: prometheus.CounterValue, count: value}
}

func perInput(kind prometheus.ValueType, name, help string, value func(collectors.Status) float64) metric {
	return metric{desc: prometheus.NewDesc("aiwatch_"+name, help, inputLabel, nil), kind: kind, input: value}
}

func epochSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// metrics are made once and never changed.
var metrics = []metric{
	waiting("queue_events", "Events that wait for delivery.", func(s forwarder.Status, _ time.Time) float64 { return float64(s.Waiting.Events) }),
	waiting("queue_bytes", "Compressed bytes that wait for delivery.", func(s forwarder.Status, _ time.Time) float64 { return float64(s.Waiting.Bytes) }),
	waiting("queue_file_bytes", "Size of the queue's file.", func(s forwarder.Status, _ time.Time) float64 { return float64(s.FileBytes) }),
	waiting("queue_oldest_seconds", "Age of the oldest batch that waits.", func(s forwarder.Status, now time.Time) float64 {
		if s.Oldest.IsZero() {
			return 0
		}
		return max(0, now.Sub(s.Oldest).Seconds())
	}),
	waiting("unconfirmed_events", "Events that were sent and are not confirmed.", func(s forwarder.Status, _ time.Time) float64 { return float64(s.Unconfirmed) }),
	waiting("dead_letters", "Events that the destination refused for good.", func(s forwarder.Status, _ time.Time) float64 { return float64(s.DeadLetters) }),
	waiting("held_events", "Events that wait because a setting is wrong.", func(s forwarder.Status, _ time.Time) (n float64) {
		for _, in := range s.Inputs {
			n += float64(in.Held)
		}
		return n
	}),
	delivered("committed_events_total", "Events put into the queue.", func(m *forwarder.Metrics) int64 { return m.Committed.Load() }),
	delivered("sent_events_total", "Events that the destination took.", func(m *forwarder.Metrics) int64 { return m.Sent.Load() }),
	delivered("confirmed_events_total", "Events that the destination confirmed.", func(m *forwarder.Metrics) int64 { return m.Confirmed.Load() }),
	delivered("resent_events_total", "Events sent again because no confirmation came.", func(m *forwarder.Metrics) int64 { return m.Resent.Load() }),
	delivered("refused_events_total", "Events put to the dead letters.", func(m *forwarder.Metrics) int64 { return m.Refused.Load() }),
	delivered("retried_bodies_total", "Bodies that were not taken and are tried again.", func(m *forwarder.Metrics) int64 { return m.Retries.Load() }),
	delivered("recut_bodies_total", "Bodies that were cut anew.", func(m *forwarder.Metrics) int64 { return m.Recuts.Load() }),
	delivered("sent_bytes_total", "Compressed bytes handed to the destination.", func(m *forwarder.Metrics) int64 { return m.Bytes.Load() }),
	delivered("lost_events_total", "Events in batches that could not be read back.", func(m *forwarder.Metrics) int64 { return m.Lost.Load() }),
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
	inputs, delivery, now := e.run.runner.Statuses(), e.run.status(), e.run.program.now()
	for _, m := range metrics {
		switch {
		case m.queue != nil:
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.queue(delivery, now))
		case m.count != nil:
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.count(e.run.forwarder.Metrics())))
		default:
			for _, s := range inputs {
				ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.input(s), s.Name)
			}
		}
	}
}
