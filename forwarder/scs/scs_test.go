package scs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/forwarder"
	"aiwatch/internal/event"
)

// tenant is the ingest service as its API description has it, for one tenant.
type tenant struct {
	t      *testing.T
	token  string
	tokens int // tokens given out
	answer func(w http.ResponseWriter) bool
	posts  [][]posted
}

type posted struct {
	Body       map[string]any `json:"body"`
	Attributes map[string]any `json:"attributes"`
	Host       string         `json:"host"`
	ID         string         `json:"id"`
	Source     string         `json:"source"`
	Sourcetype string         `json:"sourcetype"`
	Timestamp  int64          `json:"timestamp"`
}

func (s *tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	require.NoError(s.t, err)
	if r.URL.Path != "/acme/ingest/v1beta2/events" {
		// The identity provider.
		user, password, _ := r.BasicAuth()
		if user != "principal" || password != "its-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.tokens++
		s.token = "token-" + strconv.Itoa(s.tokens)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": s.token, "token_type": "Bearer", "expires_in": 43200})
		return
	}
	require.Equal(s.t, http.MethodPost, r.Method)
	require.Equal(s.t, "application/json", r.Header.Get("Content-Type"))
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.answer != nil && s.answer(w) {
		return
	}
	require.LessOrEqual(s.t, len(body), 1<<20)
	var events []posted
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	require.NoError(s.t, decoder.Decode(&events))
	require.NotEmpty(s.t, events)
	require.LessOrEqual(s.t, len(events), 500)
	s.posts = append(s.posts, events)
	_, _ = io.WriteString(w, `{"code":"SUCCESS","message":"Success"}`)
}

func start(t *testing.T, config Config) (*tenant, *Destination) {
	t.Helper()
	s := &tenant{t: t, token: config.Token}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	config.Tenant, config.Host, config.Timeout = "acme", server.URL, 5*time.Second
	d, err := New(config)
	require.NoError(t, err)
	return s, d
}

func body(t *testing.T, n, size int) forwarder.Body {
	t.Helper()
	var raw []byte
	for i := range n {
		ev := event.Event{
			Envelope:  event.Envelope{Time: event.Millis(1_761_900_000_120), Host: "h", Source: "aiwatch_s3://prod", Sourcetype: event.SourcetypeS3, Index: "ai"},
			ID:        event.MakeID("scs", strconv.Itoa(i)),
			Operation: strings.Repeat("x", size), Seq: uint64(i),
		}
		raw = ev.AppendEnvelope(raw)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write(raw)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return forwarder.Body{Data: zipped.Bytes(), Raw: len(raw), Events: n, Index: "ai"}
}

func send(t *testing.T, d *Destination, b forwarder.Body) forwarder.Outcome {
	t.Helper()
	return d.Send(t.Context(), b, func(bool) { t.Error("nothing is confirmed later") })
}

func TestSend(t *testing.T) {
	s, d := start(t, Config{Token: "given"})
	require.Equal(t, forwarder.Delivered, send(t, d, body(t, 1, 10)).Verdict)
	got := s.posts[0][0]
	require.Equal(t, event.MakeID("scs", "0").String(), got.ID)
	require.Equal(t, got.ID, got.Body["event_id"])
	require.Equal(t, int64(1_761_900_000_120), got.Timestamp)
	require.Equal(t, "h aiwatch_s3://prod aiwatch:s3", got.Host+" "+got.Source+" "+got.Sourcetype)
	require.Equal(t, map[string]any{"index": "ai"}, got.Attributes)
}

// TestLimits: no post is larger than the service takes, and every event comes.
func TestLimits(t *testing.T) {
	for _, c := range []struct{ events, size, posts int }{{500, 10, 1}, {501, 10, 2}, {900, 1900, 2}} {
		s, d := start(t, Config{Token: "given"})
		require.Equal(t, forwarder.Delivered, send(t, d, body(t, c.events, c.size)).Verdict)
		require.Len(t, s.posts, c.posts)
		seen := map[string]bool{}
		for _, post := range s.posts {
			for _, e := range post {
				seen[e.ID] = true
			}
		}
		require.Len(t, seen, c.events)
	}
}

func TestTokenIsFetchedAndFetchedAnew(t *testing.T) {
	s, d := start(t, Config{ClientID: "principal", ClientSecret: "its-secret"})
	require.Equal(t, forwarder.Delivered, send(t, d, body(t, 1, 10)).Verdict)
	require.Equal(t, 1, s.tokens)
	s.token = "another" // the service has forgotten ours
	require.Equal(t, forwarder.Retry, send(t, d, body(t, 1, 10)).Verdict)
	require.Equal(t, forwarder.Delivered, send(t, d, body(t, 1, 10)).Verdict)
	require.Equal(t, 2, s.tokens)
	require.Equal(t, forwarder.Good, d.Check(t.Context())[0].Severity)

	_, wrong := start(t, Config{ClientID: "principal", ClientSecret: "no-secret"})
	out := send(t, wrong, body(t, 1, 10))
	require.Equal(t, forwarder.Retry, out.Verdict)
	require.NotContains(t, out.Text+out.Reason, "no-secret")
	require.Equal(t, forwarder.Unavailable, wrong.Check(t.Context())[0].Severity)
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		code    int
		verdict forwarder.Verdict
		after   time.Duration
	}{
		{400, forwarder.Refused, 0},
		{401, forwarder.Hold, 0},
		{403, forwarder.Hold, 0},
		{404, forwarder.Hold, 0},
		{413, forwarder.TooLarge, 0},
		{429, forwarder.Retry, 7 * time.Second},
		{500, forwarder.Retry, time.Second},
		{503, forwarder.Retry, time.Second},
		{302, forwarder.Retry, time.Second},
	} {
		s, d := start(t, Config{Token: "given"})
		posts := 0
		s.answer = func(w http.ResponseWriter) bool {
			if posts++; posts == 1 {
				return false
			}
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(c.code)
			_, _ = io.WriteString(w, `{"code":"SOME_CODE","message":"some words"}`)
			return true
		}
		out := send(t, d, body(t, 600, 10))
		require.Equal(t, c.verdict, out.Verdict, "%d: %+v", c.code, out)
		require.Equal(t, 500, out.Taken, "the first post was taken")
		require.NotEmpty(t, out.Reason)
		if c.after > 0 {
			require.Equal(t, c.after, out.After, c.code)
		}
		if c.code != 302 {
			require.Equal(t, c.code, out.Code)
			require.Contains(t, out.Text, "some words")
		}
	}
}

func TestCancelled(t *testing.T) {
	s, d := start(t, Config{Token: "given"})
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	s.answer = func(http.ResponseWriter) bool {
		cancel()
		<-returned // no answer comes before
		return true
	}
	out := d.Send(ctx, body(t, 1, 10), func(bool) {})
	close(returned)
	require.Equal(t, forwarder.Retry, out.Verdict)
	require.Contains(t, out.Text, "canceled")
}

func TestNew(t *testing.T) {
	for want, config := range map[string]Config{
		"tenant is missing": {Token: "t"},
		"either token":      {Tenant: "a"},
		"go together":       {Tenant: "a", ClientID: "c"},
	} {
		_, err := New(config)
		require.ErrorContains(t, err, want)
	}
	for _, host := range []string{"http://proxy.example", "https://proxy.example/path", "ftp://proxy.example", "https://"} {
		_, err := New(Config{Tenant: "a", Token: "t", Host: host})
		require.ErrorContains(t, err, "host = "+host)
	}
	_, err := New(Config{Tenant: "a", Token: "t", ClientID: "c", ClientSecret: "s"})
	require.ErrorContains(t, err, "either token")
}
