package mlflow

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of the receiver.
const (
	maxWebhook     = 1 << 20 // bytes
	webhookWindow  = 5 * time.Minute
	maxDeliveries  = 10_000
	webhookTimeout = 10 * time.Second
)

// A receiver takes MLflow's webhooks. What they say is never believed: each
// only names a model that is read again.
type receiver struct {
	secret []byte
	now    func() time.Time
	hint   func(model string)

	mu   sync.Mutex
	seen map[string]time.Time // delivery ids within the window
}

// Run serves the webhook receiver until ctx is done; without the setting listen
// it only waits.
func (c *Collector) Run(ctx context.Context) error {
	if c.cfg.Listen == "" {
		<-ctx.Done()
		return nil
	}
	at := c.cfg.Listen
	if !strings.Contains(at, ":") {
		at = "127.0.0.1:" + at
	}
	host, _, err := net.SplitHostPort(at)
	if err != nil {
		return fmt.Errorf("listen = %s: %w", c.cfg.Listen, err)
	}
	if a, err := netip.ParseAddr(host); c.cfg.ListenCertFile == "" && host != "localhost" && (err != nil || !a.IsLoopback()) {
		return fmt.Errorf("listen = %s: outside this machine only with listen_cert_file and listen_key_file", c.cfg.Listen)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
	if err != nil {
		return fmt.Errorf("listen for webhooks: %w", err)
	}
	if c.cfg.ListenCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.cfg.ListenCertFile, c.cfg.ListenKeyFile)
		if err != nil {
			return errors.Join(fmt.Errorf("read listen_cert_file: %w", err), l.Close())
		}
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	}
	return c.serve(ctx, l)
}

func (c *Collector) serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           c.Webhooks(),
		ReadHeaderTimeout: webhookTimeout, ReadTimeout: webhookTimeout, WriteTimeout: webhookTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve webhooks: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookTimeout)
	defer cancel()
	err := srv.Shutdown(stop)
	<-failed
	return err
}

// Webhooks is the receiver as a handler.
func (c *Collector) Webhooks() http.Handler {
	return &receiver{secret: []byte(c.cfg.WebhookSecret), now: c.cfg.Now, hint: c.hints.add, seen: map[string]time.Time{}}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxWebhook))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	id := req.Header.Get("X-MLflow-Delivery-Id")
	stamp := req.Header.Get("X-MLflow-Timestamp")
	if !r.signed(id, stamp, body, req.Header.Get("X-MLflow-Signature")) {
		http.Error(w, "not signed", http.StatusUnauthorized)
		return
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if age := r.now().Sub(time.Unix(seconds, 0)); err != nil || age > webhookWindow || age < -webhookWindow {
		http.Error(w, "too old", http.StatusUnauthorized)
		return
	}
	if r.repeated(id) {
		w.WriteHeader(http.StatusOK) // MLflow tries again when our answer got lost
		return
	}
	var told struct {
		Data struct {
			Name string `json:"name"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &told) == nil && told.Data.Name != "" {
		r.hint(told.Data.Name)
	}
	w.WriteHeader(http.StatusOK)
}

// signed verifies v1,<base64 HMAC-SHA256(secret, "<id>.<timestamp>.<body>")>.
func (r *receiver) signed(id, stamp string, body []byte, signature string) bool {
	if len(r.secret) == 0 || id == "" || len(id) > 200 {
		return false
	}
	mac := hmac.New(sha256.New, r.secret)
	_, _ = io.WriteString(mac, id+"."+stamp+".")
	_, _ = mac.Write(body)
	want := mac.Sum(nil)
	for _, part := range strings.Fields(signature) {
		given, found := strings.CutPrefix(part, "v1,")
		if got, err := base64.StdEncoding.DecodeString(given); found && err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}

// repeated remembers a delivery for as long as its date is believed.
func (r *receiver) repeated(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if at, ok := r.seen[id]; ok && now.Sub(at) <= 2*webhookWindow {
		return true
	}
	if len(r.seen) >= maxDeliveries {
		for known, at := range r.seen {
			if now.Sub(at) > 2*webhookWindow {
				delete(r.seen, known)
			}
		}
		if len(r.seen) >= maxDeliveries {
			return true // the next sweep sees what these many hint at
		}
	}
	r.seen[id] = now
	return false
}
