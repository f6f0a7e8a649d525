package forwarder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"aiwatch/forwarder/queue"
)

// SocketName is the control socket in the state folder. It speaks HTTP with
// JSON, and whoever may open it may do all that Admin does:
//
//	GET  /status              Status
//	GET  /deadletters         a list of queue.DeadLetter
//	POST /reroute             order with input and index; answers result
//	POST /deadletters/resend  order with numbers, none for all; answers result
//	POST /deadletters/drop    the same
const SocketName = "control.sock"

// order is what a change is asked for with.
type order struct {
	Input   string   `json:"input,omitempty"`
	Index   string   `json:"index,omitempty"`
	Numbers []uint64 `json:"numbers,omitempty"`
}

// result is what became of it.
type result struct {
	Events int    `json:"events"`
	Error  string `json:"error,omitempty"`
	Kind   string `json:"kind,omitempty"` // of the error
}

// kindNoLetter is the kind of ErrNoLetter.
const kindNoLetter = "no-letter"

const (
	maxOrder       = 1 << 20 // bytes
	controlTimeout = 10 * time.Second
)

// ServeControl answers on the control socket until ctx is done. The queue's lock
// is held, so a socket that is there is left over and is replaced.
func (f *Forwarder) ServeControl(ctx context.Context) error {
	path := filepath.Join(f.queue.Dir(), SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make the control socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("make the control socket %s: %w", path, err)
	}
	// The folder is 0700, so nobody else was able to connect before this.
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("make the control socket: %w", err), listener.Close())
	}
	server := &http.Server{
		Handler: controlHandler(f), ReadTimeout: controlTimeout, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var g errgroup.Group
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the control socket: %w", err)
		}
		return nil
	})
	<-ctx.Done()
	return errors.Join(server.Close(), g.Wait())
}

func controlHandler(a Admin) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Status(r.Context())
		respond(w, s, err)
	})
	mux.HandleFunc("GET /deadletters", func(w http.ResponseWriter, r *http.Request) {
		all, err := a.DeadLetters(r.Context())
		respond(w, all, err)
	})
	change := func(do func(context.Context, order) (int, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var o order
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&o); err != nil {
				respond(w, nil, fmt.Errorf("read the order: %w", err))
				return
			}
			n, err := do(r.Context(), o)
			respond(w, result{Events: n}, err)
		}
	}
	mux.HandleFunc("POST /reroute", change(func(ctx context.Context, o order) (int, error) { return a.Reroute(ctx, o.Input, o.Index) }))
	mux.HandleFunc("POST /deadletters/resend", change(func(ctx context.Context, o order) (int, error) { return a.Resend(ctx, o.Numbers...) }))
	mux.HandleFunc("POST /deadletters/drop", change(func(ctx context.Context, o order) (int, error) { return a.Drop(ctx, o.Numbers...) }))
	return mux
}

// respond writes v or err. Events keep their bytes: nothing is escaped for HTML.
func respond(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		res := result{Error: err.Error()}
		if errors.Is(err, ErrNoLetter) {
			res.Kind = kindNoLetter
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = res
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client may have gone
}

// remote is the Admin of a running process.
type remote struct{ client http.Client }

// dial connects to the process that has the state in dir.
func dial(ctx context.Context, dir string) (*remote, error) {
	path := filepath.Join(dir, SocketName)
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: controlTimeout}).DialContext(ctx, "unix", path)
	}
	conn, err := connect(ctx, "", "")
	if err != nil {
		return nil, err
	}
	if err := conn.Close(); err != nil {
		return nil, err
	}
	return &remote{http.Client{Transport: &http.Transport{DialContext: connect}}}, nil
}

func (a *remote) Close() error {
	a.client.CloseIdleConnections()
	return nil
}

// ask sends a request and reads the answer into v.
func (a *remote) ask(ctx context.Context, method, path string, o *order, v any) (err error) {
	var body io.Reader
	if o != nil {
		b, err := json.Marshal(o)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, body)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the running process: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		var res result
		if err := json.NewDecoder(io.LimitReader(resp.Body, maxOrder)).Decode(&res); err != nil {
			return fmt.Errorf("ask the running process: HTTP %d: %w", resp.StatusCode, err)
		}
		if res.Kind == kindNoLetter {
			return &remoteError{res.Error, ErrNoLetter}
		}
		return errors.New(res.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("read the running process's answer: %w", err)
	}
	return nil
}

// remoteError is an error of the other process.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func (a *remote) Status(ctx context.Context) (s Status, err error) {
	err = a.ask(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

func (a *remote) DeadLetters(ctx context.Context) (all []queue.DeadLetter, err error) {
	err = a.ask(ctx, http.MethodGet, "/deadletters", nil, &all)
	return all, err
}

func (a *remote) Reroute(ctx context.Context, input, index string) (int, error) {
	return a.change(ctx, "/reroute", order{Input: input, Index: index})
}

func (a *remote) Resend(ctx context.Context, numbers ...uint64) (int, error) {
	return a.change(ctx, "/deadletters/resend", order{Numbers: numbers})
}

func (a *remote) Drop(ctx context.Context, numbers ...uint64) (int, error) {
	return a.change(ctx, "/deadletters/drop", order{Numbers: numbers})
}

func (a *remote) change(ctx context.Context, path string, o order) (int, error) {
	var res result
	err := a.ask(ctx, http.MethodPost, path, &o, &res)
	return res.Events, err
}
