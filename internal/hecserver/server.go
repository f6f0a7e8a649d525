package hecserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Timeouts of a Server. The idle one is Splunk's busyKeepAliveIdleTimeout, so
// that a client that keeps its connections longer is found out.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 2 * time.Minute
	writeTimeout  = 5 * time.Minute
	idleTimeout   = 12 * time.Second
)

// Server is a Handler that listens.
type Server struct {
	handler *Handler
	server  *http.Server
	url     string
	done    chan struct{} // closed when serving has ended
	err     error         // why, nil after Shutdown or Close
}

// Start listens on addr ("127.0.0.1:0" takes a free port) and serves config's
// receiver until Shutdown or Close. Without TLS only loopback is listened on.
func Start(addr string, tlsConfig *tls.Config, config Config) (*Server, error) {
	handler, err := New(config)
	if err != nil {
		return nil, err
	}
	listener, err := listen(addr, tlsConfig)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if tlsConfig != nil {
		scheme = "https"
	}
	s := &Server{
		handler: handler,
		server:  newHTTPServer(handler, handler.config.Log),
		url:     scheme + "://" + listener.Addr().String(),
		done:    make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serve HEC on %s: %w", listener.Addr(), err)
		}
	}()
	return s, nil
}

// listen opens a port, on loopback alone where there is no TLS.
func listen(addr string, tlsConfig *tls.Config) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: want HOST:PORT: %w", addr, err)
	}
	ip := net.ParseIP(host)
	if tlsConfig == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen on %s: without TLS only a loopback address is listened on; give a certificate and its key", addr)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	if tlsConfig != nil {
		tlsConfig = tlsConfig.Clone()
		tlsConfig.MinVersion = max(tlsConfig.MinVersion, tls.VersionTLS12)
		tlsConfig.NextProtos = []string{"http/1.1"} // HEC speaks nothing newer
		listener = tls.NewListener(listener, tlsConfig)
	}
	return listener, nil
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// URL is where the receiver is reached: scheme, host and port.
func (s *Server) URL() string { return s.url }

// Handler is the receiver that is served.
func (s *Server) Handler() *Handler { return s.handler }

// Done is closed when serving has ended, by Shutdown, by Close or by an error
// that Err then returns.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why serving ended, nil after Shutdown and Close. It waits for the end.
func (s *Server) Err() error {
	<-s.done
	return s.err
}

// Shutdown ends in order: nothing new is taken, requests under way are answered.
// When ctx ends first, they are cut off. It may be called again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.handler.Drain()
	s.handler.endHalves()
	err := s.server.Shutdown(ctx)
	if err != nil {
		_ = s.server.Close()
		err = fmt.Errorf("shut down HEC receiver: %w", err)
	}
	<-s.done
	return errors.Join(err, s.err)
}

// Close cuts every connection off at once, as a receiver that dies does.
func (s *Server) Close() error {
	s.handler.endHalves()
	err := s.server.Close()
	<-s.done
	return err
}
