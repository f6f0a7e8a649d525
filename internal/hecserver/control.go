package hecserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Order is what a test in another process posts to /_control. The script of
// faults is always replaced: an order without faults ends all misbehaviour.
type Order struct {
	Seed    uint64  `json:"seed"`
	Faults  []Fault `json:"faults"`
	Restart bool    `json:"restart"` // forget all channels now
}

// Report is what GET /_control/stats answers.
type Report struct {
	Stats
	CounterStats `json:"counter"`
}

// Control is the other side of a receiver: it tells it to misbehave and asks
// what it has seen. It is for tests, is served on loopback, apart from the
// receiver, and wants one of the receiver's tokens.
//
//	POST /_control        an Order; answers 204
//	GET  /_control/stats  a Report
func Control(h *Handler, c *Counter) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /_control", func(w http.ResponseWriter, r *http.Request) {
		body, err := readAtMost(nil, r.Body, DefaultMaxBytes)
		if errors.Is(err, errTooLarge) {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		var order Order
		if err == nil {
			err = decodeStrict(body, &order)
		}
		if err == nil {
			err = h.config.Faults.Set(order.Seed, order.Faults...)
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("read order: %v", err), http.StatusBadRequest)
			return
		}
		if order.Restart {
			h.Restart()
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_control/stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Report{h.Stats(), c.Stats()})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, code := h.authorize(&request{Request: r}); code != Success {
			http.Error(w, code.Text(), code.Status())
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// ControlServer serves a Control on a free loopback port.
type ControlServer struct {
	server *http.Server
	url    string
	done   chan struct{}
}

// StartControl serves s's control until Close.
func StartControl(s *Server, c *Counter) (*ControlServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	control := &ControlServer{
		server: newHTTPServer(Control(s.handler, c), s.handler.config.Log),
		url:    "http://" + listener.Addr().String() + "/_control",
		done:   make(chan struct{}),
	}
	control.server.ReadTimeout, control.server.WriteTimeout = 10*time.Second, 10*time.Second
	go func() {
		defer close(control.done)
		_ = control.server.Serve(listener) // ends with Close
	}()
	return control, nil
}

// URL is where orders are posted.
func (c *ControlServer) URL() string { return c.url }

// Close ends it.
func (c *ControlServer) Close() error {
	err := c.server.Close()
	<-c.done
	return err
}
