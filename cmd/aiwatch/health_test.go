package main

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/hecserver"
)

// served asks the running program for a page.
func served(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0, "" // it does not listen yet
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// metricOf reads one metric without labels, or for one input, -1 when it is not
// there.
func metricOf(t *testing.T, page, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(page)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	require.NoError(t, err)
	return v
}

// TestMetricsAndReadiness: depth and age of the queue while the destination
// takes nothing, readiness while it is set up wrongly, and both when all is well.
func TestMetricsAndReadiness(t *testing.T) {
	whole(t)
	hec := startReceiver(t, true, nil)
	logs := newLogFolder(t)
	logs.add(t, 500)
	listen := counterpart.FreeAddress(t)
	s := newSetup(t, logs.input(), hecStanza(hec.URL())+"\n[health]\nlisten = "+listen+"\n")
	hec.misbehave(t, hecserver.Fault{Code: hecserver.InvalidToken})
	p := s.start(t, "run")
	metrics, ready := "http://"+listen+"/metrics", "http://"+listen+"/ready"

	var page string
	eventually(t, "events wait, and are held", func() bool {
		_, page = served(t, metrics)
		status, problems := served(t, ready)
		return metricOf(t, page, "aiwatch_queue_events") >= 500 && status == http.StatusServiceUnavailable && strings.Contains(problems, "events are held")
	})
	require.Positive(t, metricOf(t, page, "aiwatch_queue_bytes"))
	require.Positive(t, metricOf(t, page, "aiwatch_queue_file_bytes"))
	require.Equal(t, 500.0, metricOf(t, page, `aiwatch_input_records_total{input="aiwatch_s3://prod"}`))
	require.Zero(t, metricOf(t, page, "aiwatch_sent_events_total"))
	old := metricOf(t, page, "aiwatch_queue_oldest_seconds")
	eventually(t, "what waits grows older", func() bool {
		_, page = served(t, metrics)
		return metricOf(t, page, "aiwatch_queue_oldest_seconds") > max(old, 0)
	})

	hec.misbehave(t)
	eventually(t, "all is confirmed, and it is ready", func() bool {
		_, page = served(t, metrics)
		status, _ := served(t, ready)
		return metricOf(t, page, "aiwatch_confirmed_events_total") >= 500 && metricOf(t, page, "aiwatch_queue_events") == 0 && status == http.StatusOK
	})
	require.Zero(t, metricOf(t, page, "aiwatch_queue_oldest_seconds"))
	require.Zero(t, metricOf(t, page, "aiwatch_held_events"))
	require.Zero(t, metricOf(t, page, "aiwatch_lost_events_total"))
	p.finish(t)
	hec.requireAll(t, logs.ids)
}
