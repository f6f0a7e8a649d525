package hec

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/forwarder"
	"aiwatch/internal/counterpart"
	"aiwatch/internal/hecserver"
)

const token = "5e1f0000-0000-4000-8000-000000000001"

// manualClock moves when it is told to.
type manualClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *manualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *manualClock) After(time.Duration) <-chan time.Time { return nil }

func (c *manualClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func destination(t *testing.T, config Config) *Destination {
	t.Helper()
	if config.Token == "" {
		config.Token = token
	}
	if config.Clock == nil {
		config.Clock = &manualClock{now: time.Now()}
	}
	d, err := New(config)
	require.NoError(t, err)
	t.Cleanup(func() { d.transport.Load().CloseIdleConnections() })
	return d
}

// body is one of so many events; what it holds does not matter here.
func body(events int) forwarder.Body {
	return forwarder.Body{Data: []byte("x"), Raw: 1, Events: events}
}

// word is what confirm was told.
type word struct {
	mu  sync.Mutex
	got []bool
}

func (w *word) confirm(ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, ok)
}

func (w *word) said() []bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got
}

func TestARequestIsAsSplunkWantsIt(t *testing.T) {
	var got *http.Request
	var sent []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		sent, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
	}))
	defer server.Close()
	for _, url := range []string{server.URL, server.URL + "/", server.URL + "/services/collector", server.URL + "/services/collector/event/1.0"} {
		d := destination(t, Config{URLs: []string{url}, UserAgent: "aiwatch/1.2.3"})
		out := d.Send(t.Context(), body(1), nil)
		require.Equal(t, forwarder.Outcome{Text: "Success"}, out)
		require.Equal(t, "/services/collector/event", got.URL.Path)
		require.Empty(t, got.URL.RawQuery)
		require.Equal(t, "Splunk "+token, got.Header.Get("Authorization"))
		require.Equal(t, "gzip", got.Header.Get("Content-Encoding"))
		require.Equal(t, "aiwatch/1.2.3", got.Header.Get("User-Agent"))
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, got.Header.Get("X-Splunk-Request-Channel"))
		require.Equal(t, "x", string(sent))
	}
}

func TestARedirectIsNotFollowedAndTheTokenStaysHere(t *testing.T) {
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, status)
		}))
		out := destination(t, Config{URLs: []string{server.URL}}).Send(t.Context(), body(1), nil)
		require.Equal(t, forwarder.Hold, out.Verdict)
		require.Contains(t, out.Reason, other.URL)
		server.Close()
	}
	require.Zero(t, reached.Load())
}

func TestTheTokenIsNeverTold(t *testing.T) {
	var log strings.Builder
	for _, url := range []string{"http://127.0.0.1:1", "http://host.invalid:8088", "https://user:" + token + "@x", "http://x/?token=" + token, "://" + token} {
		d, err := New(Config{URLs: []string{url}, Token: token, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err != nil {
			require.NotContains(t, err.Error(), token)
			continue
		}
		out := d.Send(t.Context(), body(1), nil)
		require.Equal(t, forwarder.Retry, out.Verdict)
		require.NotContains(t, fmt.Sprint(out, d.Check(t.Context())), token)
	}
	require.NotEmpty(t, log.String())
	require.NotContains(t, log.String(), token)
}

func TestConnectionErrorsAreTriedAgainAnswersAreNot(t *testing.T) {
	var posts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch posts.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // the connection breaks
		case 2:
			_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
		default:
			w.WriteHeader(503)
		}
	}))
	defer server.Close()
	d := destination(t, Config{URLs: []string{server.URL}})
	require.Equal(t, forwarder.Delivered, d.Send(t.Context(), body(1), nil).Verdict)
	require.EqualValues(t, 2, posts.Load())
	require.Equal(t, forwarder.Retry, d.Send(t.Context(), body(1), nil).Verdict)
	require.EqualValues(t, 3, posts.Load(), "a 503 may have taken a prefix: it is not just sent again")
}

func TestAnEndpointThatFailsIsLeftAloneAndComesBack(t *testing.T) {
	clock := &manualClock{now: now}
	var status atomic.Int32
	var posts [2]atomic.Int32
	handler := func(i int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			posts[i].Add(1)
			if i == 0 && status.Load() != 0 {
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(int(status.Load()))
				return
			}
			_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
		}
	}
	first, second := httptest.NewServer(handler(0)), httptest.NewServer(handler(1))
	defer first.Close()
	defer second.Close()
	d := destination(t, Config{URLs: []string{first.URL, second.URL}, Clock: clock})
	count := func(n int) (a, b int32) {
		before := [2]int32{posts[0].Load(), posts[1].Load()}
		for range n {
			d.Send(t.Context(), body(1), nil)
		}
		return posts[0].Load() - before[0], posts[1].Load() - before[1]
	}
	a, b := count(10)
	require.Equal(t, []int32{5, 5}, []int32{a, b}, "both are used in turn")
	status.Store(503)
	a, b = count(10)
	require.EqualValues(t, 1, a, "it fails once and is left alone")
	require.EqualValues(t, 9, b)
	clock.advance(29 * time.Second)
	a, _ = count(4)
	require.Zero(t, a, "Retry-After is honoured")
	status.Store(0)
	clock.advance(2 * time.Second)
	a, b = count(10)
	require.Equal(t, []int32{5, 5}, []int32{a, b}, "it is back")

	// With none left there is a time to wait and a reason.
	second.Close()
	status.Store(503)
	var out forwarder.Outcome
	for range 4 {
		out = d.Send(t.Context(), body(1), nil)
	}
	require.Equal(t, forwarder.Retry, out.Verdict)
	require.Positive(t, out.After)
	require.Contains(t, out.Reason, "HTTP 503")
	require.Contains(t, out.Reason, "refuses connections")
}

// acker answers posts with the ids it is told to, and questions on a channel of
// the posts with what is acknowledged; with once it forgets what it has told, as
// Splunk does.
type acker struct {
	mu       sync.Mutex
	next     uint64
	acked    map[uint64]bool
	once     bool
	asked    map[string][]uint64 // channel -> ids of the last question
	channels []string            // of the posts
	hold     chan struct{}       // posts wait for it when it is there
	held     chan struct{}
}

func (a *acker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	channel := r.Header.Get("X-Splunk-Request-Channel")
	if r.URL.Path == ackPath {
		var q struct{ Acks []uint64 }
		_ = json.NewDecoder(r.Body).Decode(&q)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.asked == nil {
			a.asked = map[string][]uint64{}
		}
		asked := r.URL.Query().Get("channel")
		a.asked[asked] = q.Acks
		states := map[string]bool{}
		for _, id := range q.Acks {
			states[fmt.Sprint(id)] = a.acked[id] && slices.Contains(a.channels, asked)
			if a.once && states[fmt.Sprint(id)] {
				delete(a.acked, id)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"acks": states})
		return
	}
	a.mu.Lock()
	id, hold, held := a.next, a.hold, a.held
	a.next++
	a.channels = append(a.channels, channel)
	a.mu.Unlock()
	if hold != nil {
		close(held)
		<-hold
	}
	_, _ = fmt.Fprintf(w, `{"text":"Success","code":0,"ackId":%d}`, id)
}

func (a *acker) set(next uint64, acked ...uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next, a.acked = next, map[uint64]bool{}
	for _, id := range acked {
		a.acked[id] = true
	}
}

func ackRig(t *testing.T) (*acker, *Destination, *manualClock) {
	a := &acker{}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	clock := &manualClock{now: now}
	return a, destination(t, Config{URLs: []string{server.URL}, Clock: clock}), clock
}

func TestAnAcknowledgementConfirmsItsBodyAlone(t *testing.T) {
	a, d, _ := ackRig(t)
	words := make([]word, 3)
	for i := range words {
		require.Equal(t, forwarder.Accepted, d.Send(t.Context(), body(1), words[i].confirm).Verdict)
	}
	e := d.endpoints[0]
	e.ask(t.Context())
	require.Equal(t, 3, e.pending())
	a.set(3, 1)
	e.ask(t.Context())
	require.Equal(t, []bool{true}, words[1].said())
	require.Empty(t, words[0].said())
	e.ask(t.Context())
	require.Equal(t, map[string][]uint64{a.channels[0]: {0, 2}}, a.asked, "what was read as true is not asked again")
	a.set(3, 0, 2)
	e.ask(t.Context())
	require.Equal(t, []bool{true}, words[0].said())
	require.Equal(t, []bool{true}, words[2].said())
	require.Zero(t, e.pending())
}

func TestWhatIsNotAcknowledgedInTimeIsSentAgainOnANewChannel(t *testing.T) {
	a, d, clock := ackRig(t)
	var late, later word
	d.Send(t.Context(), body(1), late.confirm)
	clock.advance(4 * time.Minute)
	d.Send(t.Context(), body(1), later.confirm)
	clock.advance(time.Minute)
	e := d.endpoints[0]
	e.ask(t.Context())
	require.Equal(t, []bool{false}, late.said())
	require.Empty(t, later.said())
	d.Send(t.Context(), body(1), later.confirm)
	require.Equal(t, a.channels[0], a.channels[1])
	require.NotEqual(t, a.channels[0], a.channels[2])
	a.set(3, 1)
	e.ask(t.Context())
	require.Equal(t, []bool{true}, later.said(), "the old channel is asked too")
	require.Len(t, e.retired, 1)
	e.ask(t.Context())
	require.Empty(t, e.retired)
}

func TestAnIDThatComesAgainSaysThatTheReceiverStartedAnew(t *testing.T) {
	a, d, _ := ackRig(t)
	words := make([]word, 4)
	for i := range 3 {
		d.Send(t.Context(), body(1), words[i].confirm)
	}
	a.set(0) // ids from 0 again
	d.Send(t.Context(), body(1), words[3].confirm)
	for i := range 3 {
		require.Equal(t, []bool{false}, words[i].said())
	}
	require.Empty(t, words[3].said())
	a.set(1, 0)
	e := d.endpoints[0]
	e.ask(t.Context())
	require.Equal(t, []bool{true}, words[3].said())
	d.Send(t.Context(), body(1), words[3].confirm)
	require.NotEqual(t, a.channels[3], a.channels[4], "the next one has a new channel")
}

// TestAnAnswerOfAReceiverThatStartedAnewConfirmsNothingOfBefore: between two
// questions the receiver starts anew and gives an id again, and before the
// answer to that post is here it acknowledges that id.
func TestAnAnswerOfAReceiverThatStartedAnewConfirmsNothingOfBefore(t *testing.T) {
	a, d, _ := ackRig(t)
	var before, after word
	d.Send(t.Context(), body(1), before.confirm)
	a.set(0, 0)
	a.hold, a.held = make(chan struct{}), make(chan struct{})
	held := a.hold
	release := sync.OnceFunc(func() { close(held) })
	defer release() // a post that waits would keep the server from closing
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Send(context.WithoutCancel(t.Context()), body(1), after.confirm)
	}()
	<-a.held
	e := d.endpoints[0]
	e.ask(t.Context()) // answers: 0 is acknowledged, but it is the other one
	require.Empty(t, before.said())
	release()
	<-done
	require.Equal(t, []bool{false}, before.said())
	require.Empty(t, after.said())
	a.hold = nil
	e.ask(t.Context())
	require.Equal(t, []bool{true}, after.said())

	// Without a restart the same order of things is a confirmation.
	var plain, other word
	d.Send(t.Context(), body(1), plain.confirm)
	a.mu.Lock()
	id := a.next - 1
	a.mu.Unlock()
	a.set(id+1, id)
	a.hold, a.held = make(chan struct{}), make(chan struct{})
	again := a.hold
	letGo := sync.OnceFunc(func() { close(again) })
	defer letGo()
	done = make(chan struct{})
	go func() {
		defer close(done)
		d.Send(context.WithoutCancel(t.Context()), body(1), other.confirm)
	}()
	<-a.held
	e.ask(t.Context())
	require.Empty(t, plain.said())
	letGo()
	<-done
	require.Equal(t, []bool{true}, plain.said())
}

func TestAckOnAndOff(t *testing.T) {
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == ackPath {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"text":"ACK is disabled","code":14}`)
			return
		}
		_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
	})
	var posts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == eventPath {
			posts.Add(1)
		}
		plain(w, r)
	}))
	defer server.Close()
	d := destination(t, Config{URLs: []string{server.URL}, Ack: AckOn})
	for range 3 {
		out := d.Send(t.Context(), body(1), nil)
		require.Equal(t, forwarder.Hold, out.Verdict)
		require.Equal(t, 14, out.Code)
		require.Contains(t, out.Reason, "ack = auto")
	}
	require.Zero(t, posts.Load(), "nothing is sent, so nothing is doubled")

	a := &acker{}
	acking := httptest.NewServer(a)
	defer acking.Close()
	var w word
	require.Equal(t, forwarder.Accepted, destination(t, Config{URLs: []string{acking.URL}, Ack: AckOn}).Send(t.Context(), body(1), w.confirm).Verdict)
	require.Equal(t, forwarder.Delivered, destination(t, Config{URLs: []string{acking.URL}, Ack: AckOff}).Send(t.Context(), body(1), w.confirm).Verdict)
	require.Empty(t, w.said())
	_, err := New(Config{URLs: []string{acking.URL}, Token: token, Ack: "maybe"})
	require.ErrorContains(t, err, "auto, on or off")
}

// Senders that begin at the same moment each ask whether there are
// acknowledgements, the last one perhaps when the first has posted. The question
// must not take the acknowledgement of what was posted.
func TestTheQuestionWhetherThereAreAcknowledgementsTakesNone(t *testing.T) {
	a := &acker{once: true}
	server := httptest.NewServer(a)
	defer server.Close()
	d := destination(t, Config{URLs: []string{server.URL}, Ack: AckOn})
	e := d.endpoints[0]
	var first, second word
	require.Equal(t, forwarder.Accepted, d.Send(t.Context(), body(1), first.confirm).Verdict)
	a.set(1, 0)
	e.unverify() // as the second sender found it before the first was answered
	require.Equal(t, forwarder.Accepted, d.Send(t.Context(), body(1), second.confirm).Verdict)
	e.ask(t.Context())
	require.Equal(t, []bool{true}, first.said())
}

// Bodies and questions for acknowledgements go through the proxy, plain or in a
// tunnel.
func TestEventsGoThroughAProxy(t *testing.T) {
	config := hecserver.Config{Tokens: []hecserver.Token{{Value: token, Ack: true}}, Sink: hecserver.NewCounter()}
	plain, err := hecserver.Start("127.0.0.1:0", nil, config)
	require.NoError(t, err)
	defer func() { _ = plain.Close() }()
	secure := httptest.NewTLSServer(&acker{})
	defer secure.Close()
	proxy := counterpart.ForwardingProxy(t, map[string]string{
		"splunk.invalid:8088": strings.TrimPrefix(plain.URL(), "http://"), "example.com:8088": secure.Listener.Addr().String(),
	})
	packed := &bytes.Buffer{}
	zip := gzip.NewWriter(packed)
	_, _ = zip.Write([]byte(`{"event":"e"}`))
	require.NoError(t, zip.Close())
	for url, ca := range map[string]string{"http://splunk.invalid:8088": "", "https://example.com:8088": certificate(t, secure)} {
		d := destination(t, Config{URLs: []string{url}, Proxy: proxy.URL, CAFile: ca, Ack: AckOn})
		out := d.Send(t.Context(), forwarder.Body{Data: packed.Bytes(), Raw: 13, Events: 1}, nil)
		require.Equal(t, forwarder.Accepted, out.Verdict, out.Reason)
	}
	require.Equal(t, []string{"CONNECT example.com:8088", "POST splunk.invalid:8088"}, proxy.Asked())
}

func TestConnectionsAreRenewed(t *testing.T) {
	var mu sync.Mutex
	connections := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connections[r.RemoteAddr] = true
		mu.Unlock()
		_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
	}))
	defer server.Close()
	d := destination(t, Config{URLs: []string{server.URL}})
	for range 5 {
		d.Send(t.Context(), body(1), nil)
	}
	require.Len(t, connections, 1)
	d.renew()
	for range 5 {
		d.Send(t.Context(), body(1), nil)
	}
	require.Len(t, connections, 2)
	require.LessOrEqual(t, d.transport.Load().IdleConnTimeout, 10*time.Second)
}

// certificate writes the certificate of a TLS test server to a file.
func certificate(t *testing.T, server *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return path
}

// TestCheckNamesTheFix has one broken set-up for each cause.
func TestCheckNamesTheFix(t *testing.T) {
	start := func(config hecserver.Config) string {
		if config.Tokens == nil {
			config.Tokens = []hecserver.Token{{Value: token, Indexes: []string{"ai"}, DefaultIndex: "ai"}}
		}
		config.Sink = hecserver.NewCounter()
		s, err := hecserver.Start("127.0.0.1:0", nil, config)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s.URL()
	}
	answering := func(status int, header, value, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	fine := start(hecserver.Config{})
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
	}))
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer secure.Close()
	picky := httptest.NewUnstartedServer(secure.Config.Handler)
	picky.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	picky.Config.ErrorLog = secure.Config.ErrorLog
	picky.StartTLS()
	defer picky.Close()
	ca := certificate(t, secure)
	closed := httptest.NewServer(nil)
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()

	for _, c := range []struct {
		name      string
		config    Config
		severity  forwarder.Severity
		text, fix string
	}{
		{"fine", Config{URLs: []string{fine}}, forwarder.Good, "takes events for the token's default index", ""},
		{"fine index", Config{URLs: []string{fine}, Indexes: []string{"ai"}}, forwarder.Good, "takes events for index ai", ""},
		{"not confirmed", Config{URLs: []string{fine}}, forwarder.Warning, "accepted, not confirmed", "turn on indexer acknowledgement"},
		{"confirmed", Config{URLs: []string{start(hecserver.Config{Tokens: []hecserver.Token{{Value: token, Ack: true}}})}}, forwarder.Good, "acknowledges what is indexed", ""},
		{"ack off for nothing", Config{Ack: AckOff, URLs: []string{start(hecserver.Config{Tokens: []hecserver.Token{{Value: token, Ack: true}}})}}, forwarder.Warning, "but ack = off", "set ack = auto"},
		{"ack on in vain", Config{Ack: AckOn, URLs: []string{fine}}, forwarder.Misset, "although ack = on", "ack = auto"},
		{"wrong token", Config{URLs: []string{fine}, Token: "wrong"}, forwarder.Misset, "Invalid token", "compare it with the one in Splunk"},
		{"disabled token", Config{URLs: []string{start(hecserver.Config{Tokens: []hecserver.Token{{Value: token, Disabled: true}}})}}, forwarder.Misset, "Token disabled", "enable it in Splunk"},
		{"wrong index", Config{URLs: []string{fine}, Indexes: []string{"ai", "other"}}, forwarder.Misset, "Incorrect index) for index other", "add the index to the token's allowed ones"},
		{"busy", Config{URLs: []string{answering(503, "", "", `{"text":"Server is busy","code":9}`)}}, forwarder.Unavailable, "Server is busy", "takes nothing now"},
		{"web page", Config{URLs: []string{answering(200, "Content-Type", "text/html", "<html>")}}, forwarder.Misset, "a web page", "something else than the HTTP Event Collector"},
		{"not found", Config{URLs: []string{answering(404, "", "", "")}}, forwarder.Misset, "HTTP 404", "8088"},
		{"clock", Config{URLs: []string{fine}, Clock: &manualClock{now: time.Now().Add(-time.Hour)}}, forwarder.Warning, "the clocks differ", "NTP"},
		{"refused", Config{URLs: []string{closed.URL}}, forwarder.Unavailable, "refuses connections", "the port (8088"},
		{"no such host", Config{URLs: []string{"http://splunk.invalid:8088"}}, forwarder.Unavailable, "splunk.invalid", "DNS"},
		{"silent", Config{URLs: []string{"http://" + silent.Addr().String()}, Timeout: 50 * time.Millisecond}, forwarder.Unavailable, "did not answer in time", "firewalls"},
		{"proxy", Config{URLs: []string{secure.URL}, Proxy: closed.URL}, forwarder.Unavailable, "the proxy on the way", "HTTPS_PROXY"},
		{"unknown CA", Config{URLs: []string{secure.URL}}, forwarder.Misset, "unknown authority", "set ca_file"},
		{"own CA", Config{URLs: []string{secure.URL}, CAFile: ca}, forwarder.Good, "takes events", ""},
		{"TLS name", Config{URLs: []string{secure.URL}, CAFile: ca, ServerName: "other.test"}, forwarder.Misset, "is for another name", "name of the certificate"},
		{"server name", Config{URLs: []string{secure.URL}, CAFile: ca, ServerName: "example.com"}, forwarder.Good, "takes events", ""},
		{"insecure", Config{URLs: []string{secure.URL}, InsecureSkipVerify: true}, forwarder.Warning, "whoever is on the way", "ca_file"},
		{"no TLS there", Config{URLs: []string{strings.Replace(fine, "http:", "https:", 1)}}, forwarder.Misset, "does not speak TLS", "http://"},
		{"TLS there", Config{URLs: []string{strings.Replace(secure.URL, "https:", "http:", 1)}}, forwarder.Misset, "HTTP 400", "look at the URL"},
		{"client certificate", Config{URLs: []string{picky.URL}, CAFile: certificate(t, picky)}, forwarder.Misset, "ended the TLS handshake", "client_cert_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.config.Clock == nil {
				c.config.Clock = systemClock{}
			}
			findings := destination(t, c.config).Check(t.Context())
			for _, f := range findings {
				require.Equal(t, f.Severity == forwarder.Good, f.Fix == "", "%+v", f)
				if f.Severity == c.severity && strings.Contains(f.Text, c.text) && strings.Contains(f.Fix, c.fix) {
					return
				}
			}
			require.Fail(t, "not found", "%+v", findings)
		})
	}
}

func TestAWrongSettingIsAnErrorThatNamesIt(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for want, config := range map[string]Config{
		"[hec] url is missing":                  {},
		"[hec] token is missing":                {URLs: []string{"https://x:8088"}},
		"[hec] token has white space":           {URLs: []string{"https://x:8088"}, Token: token + "\n"},
		"[hec] url wants http or https":         {URLs: []string{"ftp://x"}, Token: token},
		"such as https://splunk.example":        {URLs: []string{"x:8088"}, Token: token},
		"[hec] ca_file: open /nowhere/ca.pem":   {URLs: []string{"https://x"}, Token: token, CAFile: "/nowhere/ca.pem"},
		"holds no certificate":                  {URLs: []string{"https://x"}, Token: token, CAFile: empty},
		"[hec] client_cert_file and client_key": {URLs: []string{"https://x"}, Token: token, ClientCertFile: empty},
		"[hec] proxy can't be read":             {URLs: []string{"https://x"}, Token: token, Proxy: "proxy"},
	} {
		_, err := New(config)
		require.ErrorContains(t, err, want)
	}
}
