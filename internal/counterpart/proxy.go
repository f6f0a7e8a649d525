package counterpart

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// Proxy is an HTTP proxy, as companies have them: it passes plain requests on,
// and tunnels others that ask with CONNECT.
type Proxy struct {
	URL string

	ways map[string]string

	mu    sync.Mutex
	asked map[string]bool
}

// ForwardingProxy starts a proxy that knows the way to the hosts of ways, as
// they are asked for, and to no other: the names need not exist.
func ForwardingProxy(t testing.TB, ways map[string]string) *Proxy {
	t.Helper()
	p := &Proxy{ways: ways, asked: map[string]bool{}}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Asked returns method and host of what was asked for, each once, sorted.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.asked))
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked[r.Method+" "+r.Host] = true
	p.mu.Unlock()
	way := p.ways[r.Host]
	switch {
	case way == "":
		http.Error(w, "no way to "+r.Host, http.StatusBadGateway)
	case r.Method == http.MethodConnect:
		tunnel(w, way)
	default:
		passOn(w, r, way)
	}
}

// passOn sends the request to address. Its Host header, which may be signed, is
// kept.
func passOn(w http.ResponseWriter, r *http.Request, address string) {
	out := r.Clone(r.Context())
	out.URL.Host, out.RequestURI = address, ""
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// tunnel joins the client with address until either hangs up.
func tunnel(w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}
	var back sync.WaitGroup
	back.Go(func() { pass(there, here) })
	pass(here, there)
	back.Wait()
}
