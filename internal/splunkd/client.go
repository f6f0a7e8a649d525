package splunkd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"aiwatch/internal/conf"
)

const (
	// timeout bounds one call.
	timeout = 30 * time.Second
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 8 << 20
)

// DefaultURI is where splunkd listens unless told otherwise.
const DefaultURI = "https://127.0.0.1:8089"

// Config says how splunkd is reached.
type Config struct {
	// URI is splunkd's management address, such as https://127.0.0.1:8089.
	URI string
	// Session is a session key, Token one of Splunk's authentication tokens. One
	// of them is set, or neither before Login.
	Session, Token conf.Secret
	// CAFile holds the certificates of the authorities that are believed, PEM;
	// empty means the system's. See CAFile, the function.
	CAFile string
}

// Client talks to one splunkd. It may be used by several goroutines once it is
// logged in.
type Client struct {
	base          *url.URL
	authorization conf.Secret
	http          *http.Client
}

// New returns a client. It reaches nothing yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URI)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil || strings.Trim(base.Path, "/") != "" {
		return nil, fmt.Errorf("splunkd's address %q is not one: want https://host:port", cfg.URI)
	}
	tlsConfig, err := trust(base.Hostname(), cfg.CAFile)
	if err != nil {
		return nil, err
	}
	c := &Client{base: base, http: &http.Client{
		Timeout: timeout,
		// No proxy: a session key is for splunkd alone.
		Transport: &http.Transport{TLSClientConfig: tlsConfig, ResponseHeaderTimeout: timeout, MaxIdleConns: 1, IdleConnTimeout: timeout},
		// A redirect would take the key elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	switch {
	case !cfg.Session.IsZero():
		c.authorization = conf.NewSecret("Splunk " + cfg.Session.Reveal())
	case !cfg.Token.IsZero():
		c.authorization = conf.NewSecret("Bearer " + cfg.Token.Reveal())
	}
	return c, nil
}

// Login opens a session with a user's name and password.
func (c *Client) Login(ctx context.Context, user string, password conf.Secret) error {
	var answer struct {
		SessionKey string `json:"sessionKey"`
	}
	form := url.Values{"username": {user}, "password": {password.Reveal()}}
	if err := c.call(ctx, http.MethodPost, []string{"services", "auth", "login"}, form, &answer); err != nil {
		return fmt.Errorf("log in to splunkd as %s: %w", strconv.Quote(user), err)
	}
	if answer.SessionKey == "" {
		return fmt.Errorf("log in to splunkd as %s: it answered without a session key", strconv.Quote(user))
	}
	c.authorization = conf.NewSecret("Splunk " + answer.SessionKey)
	return nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// statusError is an answer other than success.
type statusError struct {
	code int
	text string // splunkd's words
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("splunkd answers %d", e.code)
	if e.text != "" {
		text += ": " + e.text
	}
	switch {
	case e.code == http.StatusUnauthorized:
		text += "; the session has ended or the credentials are wrong"
	case e.code == http.StatusForbidden:
		text += "; the user needs the capabilities list_storage_passwords, to change entries edit_storage_passwords too"
	case e.code >= 300 && e.code < 400:
		text += "; redirects are not followed: give splunkd's own address"
	}
	return text
}

func isStatus(err error, code int) bool {
	var e *statusError
	return errors.As(err, &e) && e.code == code
}

// Errors of a splunkd that was reached and said no.
var (
	ErrRefused      = errors.New("splunkd refuses")
	ErrUnauthorized = errors.New("splunkd refuses the session or token")
)

func (e *statusError) Is(target error) bool {
	return target == ErrRefused || target == ErrUnauthorized && e.code == http.StatusUnauthorized
}

// call calls the endpoint at path, whose elements are escaped, and decodes the
// answer's JSON into answer, if it is not nil.
func (c *Client) call(ctx context.Context, method string, path []string, form url.Values, answer any) error {
	escaped := make([]string, len(path))
	for i, element := range path {
		escaped[i] = strings.ReplaceAll(url.PathEscape(element), ":", "%3A")
	}
	u := *c.base
	u.RawPath = "/" + strings.Join(escaped, "/")
	u.Path = "/" + strings.Join(path, "/")
	u.RawQuery = "output_mode=json"
	if method == http.MethodGet {
		u.RawQuery += "&count=0" // all entries, not the first 30
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return fmt.Errorf("call splunkd: %w", err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if !c.authorization.IsZero() {
		request.Header.Set("Authorization", c.authorization.Reveal())
	}
	response, err := c.http.Do(request)
	if err != nil {
		// The URL would only repeat what the caller says.
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("reach splunkd at %s: %w", c.base.Host, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read splunkd's answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return &statusError{response.StatusCode, messages(text)}
	}
	if answer == nil {
		return nil
	}
	if len(text) > maxAnswer {
		return fmt.Errorf("splunkd's answer is larger than %d MiB", maxAnswer>>20)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("splunkd's answer is not the JSON that was asked for; is %s splunkd's management port?", c.base.Host)
	}
	return nil
}

// messages returns what splunkd says about an error, in one short line.
func messages(text []byte) string {
	var answer struct {
		Messages []struct {
			Text string `json:"text"`
		} `json:"messages"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return ""
	}
	var all []string
	for _, m := range answer.Messages {
		all = append(all, m.Text)
	}
	line := strings.Join(all, "; ")
	if quoted := strconv.QuoteToGraphic(line); quoted != `"`+line+`"` {
		line = quoted
	}
	const most = 300
	if r := []rune(line); len(r) > most {
		line = string(r[:most]) + "..."
	}
	return line
}
