// Package scs delivers to Splunk Cloud Services, by its ingest service.
//
// Splunk Cloud Services is a product of its own, with tenants and the API of
// api.scp.splunk.com. It is neither Splunk Enterprise nor Splunk Cloud Platform:
// those take events by HEC (forwarder/hec).
//
// Splunk ships the SDK with a module that has no licence to pass on, so only a
// program that is built with the tag scs has this destination (README.md).
//
// Events go by the SDK's PostEvents, from our own queue. The SDK's batch sender
// is not used: it keeps events in memory and loses some. The service answers 200
// when it has the events and confirms nothing later.
package scs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/splunk/splunk-cloud-sdk-go/idp"
	"github.com/splunk/splunk-cloud-sdk-go/services"
	"github.com/splunk/splunk-cloud-sdk-go/services/ingest"
	"github.com/splunk/splunk-cloud-sdk-go/util"

	"aiwatch/forwarder"
)

// Limits of one POST: those that the SDK's own batch sender keeps.
const (
	maxEvents = 500
	maxBytes  = 1_040_000
)

const defaultTimeout = time.Minute

// Config is what a Destination is made of. Tenant is needed, and either Token or
// ClientID with ClientSecret.
type Config struct {
	Tenant                 string
	Token                  string // a bearer token, which ends some day
	ClientID, ClientSecret string // of a service principal, which fetches tokens
	// Host replaces scp.splunk.com, the domain of the services. It may be a URL,
	// such as a gateway's, which then answers for the API and for tokens.
	Host    string
	Timeout time.Duration // of one answer; 0 is a minute
}

// Destination is the ingest service of one tenant.
type Destination struct {
	config Config

	mu      sync.Mutex // one call at a time: the SDK takes no context
	ctx     context.Context
	service *ingest.Service // nil until it is needed, and after a token was refused
	refused int             // tokens refused in a row
}

// New returns a Destination. It reaches nothing.
func New(config Config) (*Destination, error) {
	switch {
	case config.Tenant == "":
		return nil, errors.New("[scs] tenant is missing")
	case (config.Token == "") == (config.ClientID == ""):
		return nil, errors.New("[scs] either token or client_id with client_secret is wanted")
	case (config.ClientID == "") != (config.ClientSecret == ""):
		return nil, errors.New("[scs] client_id and client_secret go together")
	}
	if at, err := url.Parse(config.Host); strings.Contains(config.Host, "://") && (err != nil || at.Host == "" || at.Path != "" || at.Scheme != "https" && !isLoopback(at)) {
		return nil, fmt.Errorf("[scs] host = %s: give a domain, or a URL of https without a path", config.Host)
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	return &Destination{config: config}, nil
}

// isLoopback tells whether a URL is of this machine, where http is harmless.
func isLoopback(at *url.URL) bool {
	ip := net.ParseIP(at.Hostname())
	return at.Scheme == "http" && (at.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// connect returns the service, with a token that it fetches when there is none.
func (d *Destination) connect() (*ingest.Service, error) {
	if d.service != nil {
		return d.service, nil
	}
	config := &services.Config{
		Tenant: d.config.Tenant, Host: d.config.Host, Timeout: d.config.Timeout, RoundTripper: transport{d},
	}
	var auth string // Splunk's
	if scheme, host, ok := strings.Cut(d.config.Host, "://"); ok {
		config.Scheme, config.OverrideHost, config.Host = scheme, host, ""
		auth = d.config.Host
	} else if d.config.Host != "" {
		auth = "https://auth." + d.config.Host
	}
	if d.config.Token != "" {
		config.Token = d.config.Token
	} else {
		config.TokenRetriever = idp.NewClientCredentialsRetriever(d.config.ClientID, d.config.ClientSecret, "", auth)
	}
	client, err := services.NewClient(config)
	if err != nil {
		return nil, err
	}
	d.service = ingest.NewService(client)
	return d.service, nil
}

// transport sends a request within the context of the Send that makes it, and
// follows no redirect: the token is for one host.
type transport struct{ d *Destination }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r.WithContext(t.d.ctx))
	if err == nil && response.StatusCode >= 300 && response.StatusCode < 400 {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s answers with a redirect, which is not followed", r.URL.Host)
	}
	return response, err
}

// Send posts the events of a body, in as many calls as the service's limits ask
// for. Nothing is confirmed later.
func (d *Destination) Send(ctx context.Context, body forwarder.Body, _ func(bool)) forwarder.Outcome {
	posts, err := cut(body)
	if err != nil {
		return forwarder.Outcome{Verdict: forwarder.Refused, Code: -1, Text: err.Error(), Reason: err.Error()}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = ctx
	taken := 0
	for _, events := range posts {
		service, err := d.connect()
		if err != nil {
			d.service = nil
			return forwarder.Outcome{Verdict: forwarder.Retry, Taken: taken, After: time.Second, Code: -1, Text: err.Error(), Reason: "no token could be had: " + err.Error()}
		}
		var response http.Response
		if _, err := service.PostEvents(events, &response); err != nil {
			out := d.judge(err, response.Header)
			out.Taken = taken
			return out
		}
		d.refused = 0
		taken += len(events)
	}
	return forwarder.Outcome{Verdict: forwarder.Delivered, Code: http.StatusOK}
}

// judge says what an error of a call means.
func (d *Destination) judge(err error, header http.Header) forwarder.Outcome {
	out := forwarder.Outcome{Verdict: forwarder.Retry, After: time.Second, Code: -1, Text: err.Error(), Reason: "the service can't be reached: " + err.Error()}
	var answer *util.HTTPError
	if !errors.As(err, &answer) {
		return out
	}
	out.Code, out.Text = answer.HTTPStatusCode, strings.TrimSpace(answer.Code+" "+answer.Message)
	switch code := answer.HTTPStatusCode; {
	case code == http.StatusUnauthorized:
		d.service = nil
		if d.refused++; d.refused == 1 && d.config.ClientID != "" {
			out.Reason = "the token has ended; another is fetched"
			return out
		}
		out.Verdict, out.Reason = forwarder.Hold, "the service refuses the token: give a new token, or check client_id and client_secret"
	case code == http.StatusForbidden, code == http.StatusNotFound:
		out.Verdict, out.Reason = forwarder.Hold, fmt.Sprintf("the service answers %d: check tenant and the rights of the principal", code)
	case code == http.StatusTooManyRequests:
		out.Reason = "the service asks to slow down"
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 {
			out.After = time.Duration(seconds) * time.Second
		}
	case code == http.StatusRequestEntityTooLarge:
		out.Verdict, out.Reason = forwarder.TooLarge, "the body is too large for the service"
	case code >= 400 && code < 500:
		out.Verdict, out.Reason = forwarder.Refused, fmt.Sprintf("the service answers %d", code)
	default:
		out.Reason = fmt.Sprintf("the service answers %d", code)
	}
	return out
}

// Run has nothing to do beside sending.
func (d *Destination) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Check fetches a token where that is asked of us. Whether the tenant takes
// events is shown by sending alone.
func (d *Destination) Check(ctx context.Context) []forwarder.Finding {
	const unproven = "whether the tenant takes events is known when the first are sent"
	if d.config.Token != "" {
		return []forwarder.Finding{{Severity: forwarder.Warning, Text: "a token is set; " + unproven, Fix: "prefer client_id and client_secret: a token ends some day"}}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = ctx
	if _, err := d.connect(); err != nil {
		return []forwarder.Finding{{Severity: forwarder.Unavailable, Text: fmt.Sprintf("no token could be had: %v", err), Fix: "check client_id, client_secret and host"}}
	}
	return []forwarder.Finding{{Severity: forwarder.Good, Text: "a token was fetched; " + unproven}}
}

type envelope struct {
	Time       json.Number     `json:"time"`
	Host       string          `json:"host"`
	Source     string          `json:"source"`
	Sourcetype string          `json:"sourcetype"`
	Index      string          `json:"index"`
	Event      json.RawMessage `json:"event"`
}

// cut makes the service's events of a body, no more at once than it takes.
func cut(body forwarder.Body) ([][]ingest.Event, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(body.Data))
	if err != nil {
		return nil, fmt.Errorf("unpack a batch: %w", err)
	}
	var posts [][]ingest.Event
	var events []ingest.Event
	size := 2
	for decoder := json.NewDecoder(unzipped); ; {
		var e envelope
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read a batch: %w", err)
		}
		ev, err := e.event()
		if err != nil {
			return nil, err
		}
		written, err := json.Marshal(ev)
		if err != nil {
			return nil, fmt.Errorf("write an event: %w", err)
		}
		if len(events) == maxEvents || len(events) > 0 && size+len(written)+1 > maxBytes {
			posts, events, size = append(posts, events), nil, 2
		}
		events, size = append(events, ev), size+len(written)+1
	}
	if len(events) > 0 {
		posts = append(posts, events)
	}
	return posts, nil
}

// event returns the envelope's event as the service has it. Its id is ours, by
// which the service can tell what comes twice.
func (e *envelope) event() (ingest.Event, error) {
	seconds, fraction, _ := strings.Cut(e.Time.String(), ".")
	ms, err := strconv.ParseInt(seconds+(fraction + "000")[:3], 10, 64)
	if err != nil {
		return ingest.Event{}, fmt.Errorf("the time %s of an event: %w", e.Time, err)
	}
	var own struct {
		ID string `json:"event_id"`
	}
	if err := json.Unmarshal(e.Event, &own); err != nil {
		return ingest.Event{}, fmt.Errorf("read an event: %w", err)
	}
	ev := ingest.Event{Body: e.Event, Timestamp: &ms}
	for _, text := range []struct {
		value string
		into  **string
	}{{e.Host, &ev.Host}, {e.Source, &ev.Source}, {e.Sourcetype, &ev.Sourcetype}, {own.ID, &ev.Id}} {
		if text.value != "" {
			*text.into = &text.value
		}
	}
	if e.Index != "" {
		ev.Attributes = map[string]any{"index": e.Index}
	}
	return ev, nil
}
