package hec

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"aiwatch/forwarder"
)

// Ack says whether acknowledgements are awaited.
type Ack string

// The ways to treat acknowledgements.
const (
	AckAuto Ack = "auto" // an ackId in the answer decides
	AckOn   Ack = "on"   // without acknowledgements everything is held
	AckOff  Ack = "off"  // what is answered with 200 is delivered
)

// Config is what a Destination is made of. URLs and Token are needed.
type Config struct {
	// URLs are the endpoints: scheme, host and port. A path that ends in HEC's own
	// is taken too.
	URLs []string
	// Token is the HEC token. It stands in a header, never in a URL or a log.
	Token string
	Ack   Ack
	// Indexes are those that Check tries, an empty one is the token's default.
	Indexes []string

	// CAFile holds certificates (PEM) that are trusted instead of the system's.
	// ClientCertFile and ClientKeyFile are shown to the server. ServerName is the
	// name in its certificate where it is not the URL's.
	CAFile, ClientCertFile, ClientKeyFile, ServerName string
	InsecureSkipVerify                                bool
	// Proxy is the URL of a proxy; empty takes it from the environment.
	Proxy string
	// Timeout is how long an answer may take; 0 is a minute.
	Timeout time.Duration
	// UserAgent names the program; without one Splunk keeps no connection.
	UserAgent string

	// AckInterval is the longest time between two questions for acknowledgements,
	// 0 is 10 s; AckTimeout how long one may take, 0 is 5 min. RenewAfter is how long
	// connections are used, 0 is 5 min.
	AckInterval, AckTimeout, RenewAfter time.Duration
	// RetryMin is how long an endpoint that failed is left alone at first; 0 is
	// 1 s.
	RetryMin time.Duration

	Clock forwarder.Clock // the machine's when nil
	Log   *slog.Logger
}

const (
	defaultTimeout     = time.Minute
	defaultAckInterval = 10 * time.Second
	soonestAsk         = time.Second
	defaultAckTimeout  = 5 * time.Minute
	defaultRenewAfter  = 5 * time.Minute
	defaultRetryMin    = time.Second
	// idleTimeout is below Splunk's busyKeepAliveIdleTimeout of 12 s, so that no
	// request goes into a connection that is just being closed.
	idleTimeout = 10 * time.Second

	eventPath = "/services/collector/event"
	ackPath   = "/services/collector/ack"
)

// Destination is HEC behind one or more endpoints.
type Destination struct {
	config    Config
	clock     forwarder.Clock
	log       *slog.Logger
	client    *retryablehttp.Client
	transport atomic.Pointer[http.Transport]
	endpoints []*endpoint
	turn      atomic.Uint64
}

// New returns a Destination, or says what is wrong with the configuration. It
// reads the certificate files and reaches nothing.
func New(config Config) (*Destination, error) {
	if len(config.URLs) == 0 {
		return nil, errors.New("[hec] url is missing: give scheme, host and port, such as https://splunk.example.com:8088")
	}
	if config.Token == "" {
		return nil, errors.New("[hec] token is missing: give token_file or token_env")
	}
	if strings.ContainsAny(config.Token, "\r\n") || strings.TrimSpace(config.Token) != config.Token {
		return nil, errors.New("[hec] token has white space around it or a line break in it")
	}
	switch config.Ack {
	case "":
		config.Ack = AckAuto
	case AckAuto, AckOn, AckOff:
	default:
		return nil, fmt.Errorf("[hec] ack = %s: want auto, on or off", config.Ack)
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&config.Timeout, defaultTimeout},
		{&config.AckInterval, defaultAckInterval},
		{&config.AckTimeout, defaultAckTimeout},
		{&config.RenewAfter, defaultRenewAfter},
		{&config.RetryMin, defaultRetryMin},
	} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	if config.UserAgent == "" {
		config.UserAgent = "aiwatch"
	}
	transport, err := newTransport(config)
	if err != nil {
		return nil, err
	}
	d := &Destination{config: config, clock: config.Clock, log: config.Log}
	if d.clock == nil {
		d.clock = systemClock{}
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.transport.Store(transport)
	jar, err := cookiejar.New(nil) // a load balancer's stickiness may be a cookie
	if err != nil {
		return nil, err
	}
	d.client = &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: roundTripper{d}, Jar: jar, Timeout: config.Timeout,
			// A redirect is answered by holding: the token goes nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax: 2, RetryWaitMin: 100 * time.Millisecond, RetryWaitMax: time.Second,
		CheckRetry: checkRetry, Backoff: retryablehttp.DefaultBackoff,
	}
	for _, raw := range config.URLs {
		base, err := baseURL(raw)
		if err != nil {
			return nil, err
		}
		d.endpoints = append(d.endpoints, newEndpoint(d, base))
	}
	return d, nil
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// baseURL returns scheme, host and port, and the path before HEC's own.
func baseURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error repeats the URL, which may hold a password.
		return "", errors.New("[hec] url can't be read: it wants scheme, host and port, such as https://splunk.example.com:8088")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("[hec] url wants http or https, host and port, such as https://splunk.example.com:8088")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// Which they are is not repeated: it may be the token.
		return "", fmt.Errorf("[hec] url for %s: a user, a query or a fragment does not belong there; the token goes by token_file or token_env", u.Host)
	}
	path := strings.TrimSuffix(u.Path, "/")
	for _, own := range []string{"/1.0", "/event", "/services/collector"} {
		path = strings.TrimSuffix(path, own)
	}
	return u.Scheme + "://" + u.Host + path, nil
}

func newTransport(config Config) (*http.Transport, error) {
	tlsConfig := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: config.ServerName,
		InsecureSkipVerify: config.InsecureSkipVerify, // the operator's choice, of which the program warns
	}
	if config.CAFile != "" {
		pem, err := os.ReadFile(config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("[hec] ca_file: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("[hec] ca_file %s holds no certificate (PEM)", config.CAFile)
		}
	}
	if config.ClientCertFile != "" || config.ClientKeyFile != "" {
		pair, err := tls.LoadX509KeyPair(config.ClientCertFile, config.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("[hec] client_cert_file and client_key_file: %w", err)
		}
		tlsConfig.Certificates = []tls.Certificate{pair}
	}
	proxy := http.ProxyFromEnvironment
	if config.Proxy != "" {
		u, err := url.Parse(config.Proxy)
		if err != nil || u.Host == "" {
			return nil, errors.New("[hec] proxy can't be read: want a URL such as http://proxy.example.com:3128")
		}
		proxy = http.ProxyURL(u)
	}
	return &http.Transport{
		Proxy: proxy, TLSClientConfig: tlsConfig,
		IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: 8,
		TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: config.Timeout,
		MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
	}, nil
}

// roundTripper sends by the transport of the moment.
type roundTripper struct{ d *Destination }

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.d.transport.Load().RoundTrip(req)
}

// renew lets new requests have new connections, so that a load balancer can
// spread them anew. Those in use end idle, and are closed then.
func (d *Destination) renew() {
	old := d.transport.Load()
	d.transport.Store(old.Clone())
	old.CloseIdleConnections()
}

// Send posts a body to the endpoint whose turn it is.
func (d *Destination) Send(ctx context.Context, body forwarder.Body, confirm func(ok bool)) forwarder.Outcome {
	e, wait := d.choose()
	if e == nil {
		return forwarder.Outcome{Verdict: forwarder.Retry, After: wait, Code: -1, Reason: d.whyNone()}
	}
	if d.config.Ack == AckOn {
		if out, ok := e.verifyAck(ctx); !ok {
			return d.judged(ctx, e, out)
		}
	}
	ch, ticket := e.begin()
	ans, err := d.post(ctx, e.base+eventPath, ch.guid, body.Data, true)
	var out forwarder.Outcome
	var ackID *uint64
	if err != nil {
		out = d.failed(e, err)
	} else {
		out = ans.outcome(e.base, body.Events, d.clock.Now())
		ackID = ans.ackID()
	}
	e.end(ch, ticket, ackID, d.awaited(&out, ackID), confirm)
	if out.Verdict == forwarder.Delivered && d.config.Ack == AckOn {
		// The token's acknowledgements were turned off behind our back.
		e.unverify()
		out.Verdict, out.Code = forwarder.Hold, -1
		out.Reason = e.base + " answered without an ackId although ack = on; turn indexer acknowledgement on for the token, or set ack = auto"
	}
	return d.judged(ctx, e, out)
}

// awaited says whether the answer's acknowledgement is to be awaited, and makes
// the outcome say so.
func (d *Destination) awaited(out *forwarder.Outcome, ackID *uint64) bool {
	switch {
	case ackID == nil || d.config.Ack == AckOff:
		return false
	case out.Verdict == forwarder.Delivered:
		out.Verdict = forwarder.Accepted
	case out.Taken > 0:
		out.TakenAccepted = true
	default:
		return false
	}
	return true
}

// post sends a request and reads its answer.
func (d *Destination) post(ctx context.Context, target, channel string, body []byte, packed bool) (*answer, error) {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return nil, err
	}
	if packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	d.setHeaders(req.Header, channel)
	return d.do(req)
}

func (d *Destination) setHeaders(h http.Header, channel string) {
	h.Set("Authorization", "Splunk "+d.config.Token)
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", d.config.UserAgent)
	if channel != "" {
		h.Set("X-Splunk-Request-Channel", channel)
	}
}

func (d *Destination) do(req *retryablehttp.Request) (*answer, error) {
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	return readAnswer(resp), nil
}

// Run asks for acknowledgements and renews connections until ctx is done.
func (d *Destination) Run(ctx context.Context) error {
	renewed := d.clock.Now()
	// Asked sooner while answers bring something, so that a pass ends when the
	// indexer is done, and seldom while it takes its time.
	soon := min(soonestAsk, d.config.AckInterval)
	wait := soon
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.clock.After(wait):
		}
		before, pending := 0, 0
		for _, e := range d.endpoints {
			before += e.pending()
			e.ask(ctx)
			pending += e.pending()
		}
		if wait = min(2*wait, d.config.AckInterval); pending == 0 || pending < before {
			wait = soon
		}
		// Behind a load balancer a new connection may lead to an indexer that
		// knows nothing of what waits, so it is made when nothing does.
		if now := d.clock.Now(); now.Sub(renewed) >= d.config.RenewAfter && pending == 0 {
			d.renew()
			renewed = now
		}
	}
}
