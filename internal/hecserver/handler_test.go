package hecserver_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/hecserver"
)

const (
	goodToken = "11111111-2222-3333-4444-555555555555"
	ackToken  = "22222222-2222-3333-4444-555555555555"
	offToken  = "33333333-2222-3333-4444-555555555555"
	channel   = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	channel2  = "bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee"
)

// memory is a sink that keeps the text of every event.
type memory struct {
	events  []string
	indexes []string
	fail    error
}

func (m *memory) Index(events []hecserver.Received) error {
	if m.fail != nil {
		return m.fail
	}
	for _, e := range events {
		m.events = append(m.events, string(e.Event))
		m.indexes = append(m.indexes, string(e.Index))
	}
	return nil
}

// receiver is a Handler under test with its sink.
type receiver struct {
	*hecserver.Handler
	t    *testing.T
	sink *memory
}

// at is when the tests happen.
var at = time.Unix(1_700_000_000, 0)

func newReceiver(t *testing.T, change func(*hecserver.Config)) *receiver {
	t.Helper()
	sink := &memory{}
	config := hecserver.Config{
		Tokens: []hecserver.Token{
			{Value: goodToken, Indexes: []string{"main", "ai"}},
			{Value: ackToken, Ack: true, DefaultIndex: "ai"},
			{Value: offToken, Disabled: true},
		},
		Sink: sink,
		Now:  func() time.Time { return at },
		Sleep: func(context.Context, time.Duration) error {
			t.Error("slept without being told to")
			return nil
		},
	}
	if change != nil {
		change(&config)
	}
	h, err := hecserver.New(config)
	require.NoError(t, err)
	return &receiver{Handler: h, t: t, sink: sink}
}

// post sends a body under a token; headers are pairs.
func (r *receiver) post(path, token, body string, headers ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("User-Agent", "test")
	if token != "" {
		req.Header.Set("Authorization", "Splunk "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// want asserts status and body of an answer.
func want(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body.String())
	require.Equal(t, body, w.Body.String())
}

const (
	eventPath = "/services/collector/event"
	rawPath   = "/services/collector/raw"
	ackPath   = "/services/collector/ack?channel=" + channel
	success   = `{"text":"Success","code":0}`
)

func onChannel(guid string) []string { return []string{"X-Splunk-Request-Channel", guid} }

func zipped(t *testing.T, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

func TestEventPaths(t *testing.T) {
	for _, path := range []string{"/services/collector", "/services/collector/event", "/services/collector/event/1.0"} {
		r := newReceiver(t, nil)
		want(t, r.post(path, goodToken, `{"event":"a"}{"event":{"b":1}} {"event":3}`), 200, success)
		require.Equal(t, []string{`"a"`, `{"b":1}`, "3"}, r.sink.events)
	}
}

func TestGzipIsTaken(t *testing.T) {
	r := newReceiver(t, nil)
	want(t, r.post(eventPath, goodToken, zipped(t, `{"event":"a"}`), "Content-Encoding", "gzip"), 200, success)
	require.Equal(t, []string{`"a"`}, r.sink.events)
}

func TestPrefixIsIndexedAndAcknowledged(t *testing.T) {
	r := newReceiver(t, nil)
	w := r.post(eventPath, ackToken, `{"event":"a"}{"event":"b"}{"event":""}{"event":"c"}`, onChannel(channel)...)
	want(t, w, 400, `{"text":"Event field cannot be blank","code":13,"invalid-event-number":2,"ackId":0}`)
	require.Equal(t, []string{`"a"`, `"b"`}, r.sink.events)
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":true}}`)
}
