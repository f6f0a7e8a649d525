package mlflow

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Limits of what an answer may cost.
const (
	maxAnswer  = 1 << 30  // bytes of one answer
	maxElement = 16 << 20 // bytes of one element of a list, or of an answer that is no list
	maxPages   = 100_000
	maxWait    = 60 * time.Second // the longest Retry-After that is waited for
	retries    = 3
)

// A client speaks MLflow's REST API, one request at a time: a 2.x server works
// on one at a time as well.
type client struct {
	base     *url.URL
	http     *retryablehttp.Client
	username string
	password string
	token    string

	requests int // made so far, for budgets and measurements
}

func newClient(cfg *Config) (*client, error) {
	base, err := url.Parse(strings.TrimRight(cfg.URL, "/"))
	if err != nil {
		return nil, fmt.Errorf("url = %q: %w", cfg.URL, err)
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: cfg.Timeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          1,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.InsecureSkipVerify}, //nolint:gosec // warned of at every start
	}
	if cfg.Proxy != "" {
		proxy, err := url.Parse(cfg.Proxy)
		if err != nil {
			return nil, fmt.Errorf("proxy = %q: %w", cfg.Proxy, err)
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file = %s holds no certificate in PEM", cfg.CAFile)
		}
	}
	if cfg.ClientCertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.ClientCertFile, cfg.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client_cert_file: %w", err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	rc := retryablehttp.NewClient()
	rc.Logger = nil
	rc.RetryMax = retries
	rc.RetryWaitMin, rc.RetryWaitMax = 250*time.Millisecond, 5*time.Second
	rc.CheckRetry = checkRetry
	rc.ErrorHandler = retryablehttp.PassthroughErrorHandler
	rc.HTTPClient = &http.Client{Transport: either(cfg.Transport, transport), CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host != base.Host || r.URL.Scheme != base.Scheme {
			return fmt.Errorf("the server redirects to %s://%s: set url to the address that is meant", r.URL.Scheme, r.URL.Host)
		}
		return errors.New("the server redirects: set url to the address that is meant")
	}}
	return &client{base: base, http: rc, username: cfg.Username, password: cfg.Password, token: cfg.Token}, nil
}

func either(set, otherwise http.RoundTripper) http.RoundTripper {
	if set != nil {
		return set
	}
	return otherwise
}

// refuseLinkLocal keeps us from the addresses under which clouds hand out
// credentials.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("%s is a link-local address, which is never asked", at.Addr())
	}
	return nil
}

// checkRetry tries again where the server asks for it, within bounds, and where
// the connection broke.
func checkRetry(ctx context.Context, answer *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return retryablehttp.ErrorPropagatedRetryPolicy(ctx, answer, err)
	}
	if answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusServiceUnavailable {
		return false, nil
	}
	wait := answer.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(wait, 10, 64); err == nil {
		return time.Duration(seconds)*time.Second <= maxWait, nil
	}
	if at, err := http.ParseTime(wait); err == nil {
		return time.Until(at) <= maxWait, nil
	}
	return true, nil
}

// An apiError is an answer that is no success.
type apiError struct {
	What    string // method and path
	Status  int
	Code    string // MLflow's error_code, empty when the answer is no JSON
	Message string
}

func (e *apiError) Error() string {
	text := fmt.Sprintf("%s: answered %d", e.What, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + strconv.Quote(e.Message)
	}
	switch e.Status {
	case http.StatusUnauthorized:
		text += "; check username and password, or the token, which may have expired"
	case http.StatusForbidden:
		text += "; let the account read what is to be watched, and the server accept this host name (--allowed-hosts)"
	}
	return text
}

// isGone tells that the server says an object does not exist. An HTML 404 of a
// proxy or of an unknown path says no such thing.
func isGone(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code == "RESOURCE_DOES_NOT_EXIST"
}

func isDenied(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.Status == http.StatusForbidden
}

// isMissing tells that the server does not know such a request: an older or
// another server.
func isMissing(err error) bool {
	var e *apiError
	return errors.As(err, &e) && (e.Status == http.StatusNotFound && e.Code != "RESOURCE_DOES_NOT_EXIST" || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented)
}

// A request is one call. Path is escaped already and begins with a slash.
type request struct {
	method    string // empty: GET
	path      string
	query     url.Values
	body      any // sent as JSON
	workspace string
}

// send makes a call and returns the answer of a success; the caller closes it.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	what := method + " " + r.path
	target, err := url.Parse(c.base.String() + r.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	target.RawQuery = r.query.Encode()
	var body []byte
	if r.body != nil {
		if body, err = json.Marshal(r.body); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	req.Header.Set("User-Agent", "aiwatch")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.workspace != "" {
		req.Header.Set("X-MLFLOW-WORKSPACE", r.workspace)
	}
	switch {
	case c.token != "":
		req.Header.Set("Authorization", "Bearer "+c.token)
	case c.username != "":
		req.SetBasicAuth(c.username, c.password)
	}
	c.requests++
	answer, err := c.http.Do(req)
	if err != nil {
		if answer != nil {
			_ = answer.Body.Close()
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	failure := &apiError{What: what, Status: answer.StatusCode}
	var told struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &told) == nil {
		failure.Code, failure.Message = told.Code, told.Message
	} else {
		failure.Message = string(bytes.TrimSpace(text))
	}
	if len(failure.Message) > 200 {
		failure.Message = failure.Message[:200] + "..."
	}
	return nil, failure
}

// get makes a call whose answer is one JSON object.
func (c *client) get(ctx context.Context, r request, into any) error {
	answer, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	body := &metered{r: answer.Body, left: maxElement}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return notJSON(r, answer, err)
	}
	return nil
}

// text makes a call whose answer is a short text.
func (c *client) text(ctx context.Context, r request) (string, error) {
	answer, err := c.send(ctx, r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return string(bytes.TrimSpace(b)), err
}

func notJSON(r request, answer *http.Response, err error) error {
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind == "text/html" {
		return fmt.Errorf("%s: answered with a web page: is url the tracking server, or does a proxy ask for a login?", r.path)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read the answer of %s: %w", r.path, err)
}

// each visits the elements of a list, page by page. set puts a page token into
// the request. It stops without an error when visit returns errStop.
func each[T any](ctx context.Context, c *client, r request, field string, visit func(*T) error) error {
	last := ""
	for range maxPages {
		next, err := page(ctx, c, r, field, visit)
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil || next == "" {
			return err
		}
		if next == last {
			return fmt.Errorf("read the answer of %s: the server repeats a page", r.path)
		}
		last = next
		r = r.atPage(next)
	}
	return fmt.Errorf("read the answer of %s: over %d pages", r.path, maxPages)
}

// errStop ends a listing early.
var errStop = errors.New("seen enough")

// atPage returns the request for another page.
func (r request) atPage(token string) request {
	if body, ok := r.body.(map[string]any); ok {
		copied := make(map[string]any, len(body)+1)
		for k, v := range body {
			copied[k] = v
		}
		copied["page_token"] = token
		r.body = copied
		return r
	}
	query := url.Values{}
	for k, v := range r.query {
		query[k] = v
	}
	query.Set("page_token", token)
	r.query = query
	return r
}

// page visits the elements of one page, one at a time in memory, and returns
// the token of the next.
func page[T any](ctx context.Context, c *client, r request, field string, visit func(*T) error) (next string, err error) {
	answer, err := c.send(ctx, r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body := &metered{r: io.LimitReader(answer.Body, maxAnswer), left: maxElement}
	dec := json.NewDecoder(body)
	if err := expect(dec, '{'); err != nil {
		return "", notJSON(r, answer, err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return "", notJSON(r, answer, err)
		}
		switch key {
		case field:
			// An empty list may also be null.
			token, err := dec.Token()
			if err != nil {
				return "", notJSON(r, answer, err)
			}
			if token == nil {
				continue
			}
			if token != json.Delim('[') {
				return "", fmt.Errorf("read the answer of %s: %s is no list", r.path, field)
			}
			for dec.More() {
				body.left = maxElement
				var element T
				if err := dec.Decode(&element); err != nil {
					return "", notJSON(r, answer, err)
				}
				if err := visit(&element); err != nil {
					return "", err
				}
			}
			if err := expect(dec, ']'); err != nil {
				return "", notJSON(r, answer, err)
			}
		case "next_page_token":
			var token text
			if err := dec.Decode(&token); err != nil {
				return "", notJSON(r, answer, err)
			}
			next = string(token)
		default:
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return "", notJSON(r, answer, err)
			}
		}
	}
	if err := expect(dec, '}'); err != nil {
		return "", notJSON(r, answer, err)
	}
	return next, nil
}

func expect(dec *json.Decoder, delim json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != delim {
		return fmt.Errorf("%v where %v should be", token, delim)
	}
	return nil
}

// metered fails when more is read than was allowed since left was set last.
type metered struct {
	r    io.Reader
	left int
}

func (m *metered) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fmt.Errorf("an element of the answer is over %d bytes", maxElement)
	}
	n, err := m.r.Read(p)
	m.left -= n
	return n, err
}
