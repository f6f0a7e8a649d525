package preview

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"
)

// Config is what a Server serves.
type Config struct {
	// App reads the app; it is asked for each page, so that a dashboard is seen
	// as soon as it is saved.
	App    func() (fs.FS, error)
	Data   Searcher
	Bundle *Bundle
}

// A Server serves the app on loopback.
type Server struct {
	URL string

	server *http.Server
	done   chan struct{}
	err    error
}

// policy keeps a page from asking anybody but us. The renderer makes styles as it
// goes, and code of the schemas by which it checks definitions.
const policy = "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; " +
	"connect-src 'self'; worker-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Serve listens on a loopback address, such as 127.0.0.1:0, until Close.
func Serve(address string, c Config) (*Server, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: want HOST:PORT: %w", address, err)
	}
	if !loopback(host) {
		return nil, fmt.Errorf("listen on %s: the preview asks nobody who they are and is for loopback only", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	s := &Server{
		URL:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: handler(c), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 256 << 10},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serve on %s: %w", listener.Addr(), err)
		}
	}()
	return s, nil
}

// handler is all that is served.
func handler(c Config) http.Handler {
	mux := http.NewServeMux()
	newJobs(c.Data).register(mux)
	(&pages{app: c.App, data: c.Data, bundle: c.Bundle.Version}).register(mux)
	mux.HandleFunc("GET /static/page.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, web, "web/page.css") })
	mux.Handle("GET /static/"+c.Bundle.Version+"/", http.StripPrefix("/static/"+c.Bundle.Version+"/", forever(http.FileServer(http.Dir(c.Bundle.Dir)))))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return guarded(mux)
}

// forever lets browsers keep what never changes under its address.
func forever(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		h.ServeHTTP(w, r)
	})
}

// guarded refuses who comes by another name than loopback's, such as a page
// elsewhere whose name was made to point here, and asks with another page's
// origin.
func guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !loopback(host) {
			http.Error(w, "The preview answers on loopback only.", http.StatusForbidden)
			return
		}
		if origin := r.Header.Get("Origin"); r.Method != http.MethodGet && origin != "" && origin != "http://"+r.Host {
			http.Error(w, "The preview answers its own pages only.", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		h.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Done is closed when serving has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Close ends serving and tells what ended it before, if anything did.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close()
	}
	<-s.done
	return s.err
}
