package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"aiwatch/collectors/modelfile"
	"aiwatch/internal/event"
)

// An lfsClient fetches objects by the batch API of Git LFS from the endpoint
// that the operator configured, and from nowhere else.
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
type lfsClient struct {
	http     *http.Client
	endpoint string // of all repositories; empty: each URL's own
	auth     string // for the hosts of the configured URLs only
	hosts    map[string]bool
	dir      string
}

const lfsMediaType = "application/vnd.git-lfs+json"

// What error_code says of an LFS object that was not looked into.
const (
	lfsOverBudget = "over_lfs_budget"
	lfsRefused    = "lfs_refused" // the server sends us to another host, or does not give it
	lfsMismatch   = "lfs_digest_mismatch"
)

var errElsewhere = errors.New("the server sends us to another host")

func newLFSClient(cfg Config) (*lfsClient, error) {
	l := &lfsClient{endpoint: strings.TrimSuffix(cfg.LFSURL, "/"), auth: basicAuth(&cfg), hosts: map[string]bool{}, dir: cfg.Dir}
	if l.endpoint != "" {
		u, err := url.Parse(l.endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
			return nil, fmt.Errorf("lfs_url %q: want https (http on this machine), without user and password", redactURL(cfg.LFSURL))
		}
	}
	for _, address := range cfg.URLs {
		if u, err := url.Parse(address); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
			l.hosts[u.Host] = true
		}
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.InsecureSkipVerify} //nolint:gosec // a setting that is warned of
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate", cfg.CAFile)
		}
	}
	if cfg.ClientCertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.ClientCertFile, cfg.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("client_cert_file: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: conf, ResponseHeaderTimeout: time.Minute, DisableCompression: true}
	if cfg.Proxy != "" {
		proxy, err := url.Parse(cfg.Proxy)
		if err != nil {
			return nil, errors.New("proxy is not a URL")
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	l.http = &http.Client{
		Transport: transport, Timeout: cfg.FetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errElsewhere },
	}
	return l, nil
}

// endpointOf returns the LFS endpoint of a repository, empty when it has none.
func (l *lfsClient) endpointOf(remote string) string {
	if l.endpoint != "" {
		return l.endpoint
	}
	if !strings.HasPrefix(remote, "http") {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(remote, "/"), ".git") + ".git/info/lfs"
}

// lookBehind looks into what a pointer stands for, within the budget of the day.
func (t *teller) lookBehind(ev *event.Event, c *change, now []modelfile.Pointer) {
	l := t.r.c.lfs
	cls := t.r.class(c)
	if l == nil || now[0].Kind != modelfile.PointerLFS || !scannable(cls) || c.oldOid == c.newOid {
		return
	}
	endpoint := l.endpointOf(t.r.remote)
	if endpoint == "" {
		return
	}
	oid := strings.TrimPrefix(now[0].Digest, "sha256:")
	found, known := t.scans[oid]
	if !known {
		if !t.spend(now[0].Size) {
			ev.ErrorCode = lfsOverBudget
			return
		}
		var err error
		if found, err = l.scan(t.ctx, endpoint, c.path, oid, now[0].Size); err != nil {
			ev.ErrorCode = lfsRefused
			if errors.Is(err, errMismatch) {
				ev.ErrorCode = lfsMismatch
			}
			t.r.c.cfg.Log.Warn("an LFS object could not be looked into", "asset", ev.AssetID, "error", err)
			return
		}
		t.scans[oid] = found
	}
	if found.verdict == modelfile.NoVerdict {
		return
	}
	ev.Imports, ev.Verdict = found.imports, found.verdict.String()
	// The same change is told again when it reaches a protected reference.
	key := boundedKey(fmt.Sprintf("%spick/%d/", t.r.key, ev.Protected), c.path)
	if b, err := t.out.Get(key); err == nil && b != nil && !c.added() {
		var before []string
		if json.Unmarshal(b, &before) == nil {
			ev.ImportsAdded = added(before, found.imports)
		}
	}
	if b, err := json.Marshal(found.imports); err == nil {
		t.out.Put(key, b)
	}
}

// spend takes bytes from the day's budget.
func (t *teller) spend(bytes int64) bool {
	if day := t.at.UTC().Format(time.DateOnly); t.meta.LFSDay != day {
		t.meta.LFSDay, t.meta.LFSBytes = day, 0
	}
	if bytes < 0 || bytes > t.r.c.cfg.LFSBudget-t.meta.LFSBytes {
		return false
	}
	t.meta.LFSBytes += bytes
	return true
}

var errMismatch = errors.New("the content is not what the pointer names")

// scan fetches one object and looks for pickles in it.
func (l *lfsClient) scan(ctx context.Context, endpoint, name, oid string, size int64) (scanned, error) {
	href, header, err := l.batch(ctx, endpoint, oid, size)
	if err != nil {
		return scanned{}, fmt.Errorf("ask %s for an object: %w", endpoint, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, href, nil)
	if err != nil {
		return scanned{}, errors.New("the server names no usable address")
	}
	l.authorize(req)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return scanned{}, fmt.Errorf("fetch an object: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return scanned{}, fmt.Errorf("fetch an object: the server answers %s", resp.Status)
	}
	f, err := os.CreateTemp(l.dir, "lfs-")
	if err != nil {
		return scanned{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(resp.Body, size+1))
	if err != nil {
		return scanned{}, fmt.Errorf("fetch an object: %w", err)
	}
	if n != size || hex.EncodeToString(sum.Sum(nil)) != oid {
		return scanned{}, errMismatch
	}
	found, err := modelfile.ScanReader(ctx, name, f, size, scanLimits())
	if err != nil {
		return scanned{}, err
	}
	return scanned{imports: found.Imports, verdict: found.Verdict}, nil
}

// batch asks where an object is. An address on another host is refused: the
// server is watched too.
func (l *lfsClient) batch(ctx context.Context, endpoint, oid string, size int64) (href string, header map[string]string, err error) {
	type object struct {
		Oid  string `json:"oid"`
		Size int64  `json:"size"`
	}
	body, err := json.Marshal(map[string]any{
		"operation": "download", "transfers": []string{"basic"}, "hash_algo": "sha256", "objects": []object{{oid, size}},
	})
	if err != nil {
		return "", nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/objects/batch", bytes.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Accept", lfsMediaType)
	req.Header.Set("Content-Type", lfsMediaType)
	l.authorize(req)
	resp, err := l.http.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", nil, fmt.Errorf("the server answers %s", resp.Status)
	}
	var answer struct {
		Objects []struct {
			Oid     string `json:"oid"`
			Actions struct {
				Download struct {
					Href   string            `json:"href"`
					Header map[string]string `json:"header"`
				} `json:"download"`
			} `json:"actions"`
		} `json:"objects"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return "", nil, fmt.Errorf("the answer is not JSON: %w", err)
	}
	if len(answer.Objects) != 1 || answer.Objects[0].Oid != oid || answer.Objects[0].Actions.Download.Href == "" {
		return "", nil, errors.New("the server does not have it")
	}
	download := answer.Objects[0].Actions.Download
	from, err := url.Parse(endpoint)
	if err != nil {
		return "", nil, err
	}
	to, err := from.Parse(download.Href)
	if err != nil || to.Scheme != from.Scheme || to.Host != from.Host {
		return "", nil, errElsewhere
	}
	return to.String(), download.Header, nil
}

// authorize adds the credentials where the host is one they were given for.
func (l *lfsClient) authorize(req *http.Request) {
	if l.auth != "" && l.hosts[req.URL.Host] {
		req.Header.Set("Authorization", l.auth)
	}
}
