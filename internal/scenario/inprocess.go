package scenario

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// inProcess carries requests to a handler, without a network, and to nothing
// else: a scenario is a stranger's, and its configuration must not make us call
// anybody.
type inProcess struct {
	host    string
	handler http.Handler
}

// RoundTrip answers a request.
func (p *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "http" || r.URL.Host != p.host {
		return nil, fmt.Errorf("there is no %s://%s in a scenario; its MLflow server is ${MLFLOW}", r.URL.Scheme, r.URL.Host)
	}
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = r.URL.RequestURI()
	w := &answer{header: http.Header{}, status: http.StatusOK, begun: make(chan struct{})}
	go func() {
		p.handler.ServeHTTP(w, in)
		w.end()
	}()
	<-w.begun
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: w.body, ContentLength: -1, Request: r,
	}, nil
}

// answerBuffer is how much of an answer is held; a longer one is handed over as
// it is written.
const answerBuffer = 256 << 10

// An answer is what a handler writes.
type answer struct {
	header http.Header
	status int
	held   bytes.Buffer
	pipe   *io.PipeWriter // of a long answer
	begun  chan struct{}
	body   io.ReadCloser
}

// Header is the answer's.
func (w *answer) Header() http.Header { return w.header }

// WriteHeader sets the status.
func (w *answer) WriteHeader(status int) { w.status = status }

// Write takes a part of the body.
func (w *answer) Write(b []byte) (int, error) {
	if w.pipe == nil && w.held.Len()+len(b) <= answerBuffer {
		return w.held.Write(b)
	}
	if w.pipe == nil {
		var rest *io.PipeReader
		rest, w.pipe = io.Pipe()
		w.body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(w.held.Bytes()), rest), rest}
		close(w.begun)
	}
	return w.pipe.Write(b)
}

func (w *answer) end() {
	if w.pipe != nil {
		_ = w.pipe.Close() // never fails
		return
	}
	w.body = io.NopCloser(bytes.NewReader(w.held.Bytes()))
	close(w.begun)
}
