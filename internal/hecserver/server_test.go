package hecserver_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/hecserver"
)

// lockedMemory is memory for several connections.
type lockedMemory struct {
	mu     sync.Mutex
	memory memory
}

// received returns the events so far.
func (m *lockedMemory) received() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.memory.events)
}

func (m *lockedMemory) Index(events []hecserver.Received) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.memory.Index(events)
}

// serve starts a receiver on a free port, with its sink and a client.
func serve(t *testing.T, change func(*hecserver.Config)) (*hecserver.Server, *lockedMemory, *http.Client) {
	t.Helper()
	sink := &lockedMemory{}
	config := hecserver.Config{Tokens: []hecserver.Token{{Value: goodToken}}, Sink: sink}
	if change != nil {
		change(&config)
	}
	s, err := hecserver.Start("127.0.0.1:0", nil, config)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		require.NoError(t, s.Close())
	})
	return s, sink, client
}

func send(t *testing.T, client *http.Client, url, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	// A body that can be had again would let the client retry by itself.
	req.GetBody = nil
	req.Header.Set("Authorization", "Splunk "+goodToken)
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func TestServerTakesEventsAndEndsInOrder(t *testing.T) {
	s, sink, client := serve(t, nil)
	resp, body, err := send(t, client, s.URL()+eventPath, `{"event":"a"}`)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, success, body)
	require.Len(t, sink.received(), 1)
	require.NoError(t, s.Shutdown(t.Context()))
	require.NoError(t, s.Shutdown(t.Context()), "twice does no harm")
	require.NoError(t, s.Err())
	_, _, err = send(t, client, s.URL()+eventPath, `{"event":"b"}`)
	require.Error(t, err)
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	committed, release := make(chan struct{}), make(chan struct{})
	s, sink, client := serve(t, func(c *hecserver.Config) {
		c.Trace = func(m hecserver.Moment) {
			if m.Stage == hecserver.Committed {
				close(committed)
				<-release
			}
		}
	})
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		_, body, err := send(t, client, s.URL()+eventPath, `{"event":"a"}`)
		got <- result{body, err}
	}()
	<-committed
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	close(release)
	require.Equal(t, result{success, nil}, <-got)
	require.NoError(t, <-ended)
	require.Len(t, sink.received(), 1)
}

func TestDropAfterCommit(t *testing.T) {
	s, sink, client := serve(t, withFaults(t, hecserver.Fault{End: hecserver.Drop, Times: 1}))
	_, _, err := send(t, client, s.URL()+eventPath, `{"event":"a"}`)
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, sink.received(), 1)
	_, body, err := send(t, client, s.URL()+eventPath, `{"event":"a"}`)
	require.NoError(t, err)
	require.Equal(t, success, body)
}

func TestDropBeforeCommit(t *testing.T) {
	s, sink, client := serve(t, withFaults(t, hecserver.Fault{Code: hecserver.ServerBusy, End: hecserver.Drop, Times: 1}))
	_, _, err := send(t, client, s.URL()+eventPath, `{"event":"a"}`)
	require.ErrorIs(t, err, io.EOF)
	require.Empty(t, sink.received())
}

func TestTruncatedAnswer(t *testing.T) {
	s, sink, client := serve(t, withFaults(t, hecserver.Fault{End: hecserver.Truncate}))
	resp, body, err := send(t, client, s.URL()+eventPath, `{"event":"a"}`)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, success[:len(success)/2], body)
	require.Len(t, sink.received(), 1)
}

// TestHalfClosed talks to the receiver by hand: its side is closed without an
// answer while ours can still be written to, until the receiver ends.
func TestHalfClosed(t *testing.T) {
	s, sink, _ := serve(t, withFaults(t, hecserver.Fault{End: hecserver.HalfClose}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST "+eventPath+" HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nAuthorization: Splunk "+goodToken+"\r\nContent-Length: 13\r\n\r\n{\"event\":\"a\"}")
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = io.WriteString(conn, "still open")
	require.NoError(t, err)
	require.Len(t, sink.received(), 1)
	require.NoError(t, s.Shutdown(t.Context()), "does not wait for it for ever")
}

// TestBrokenBodyIndexesNothing ends a request in the middle of its body.
func TestBrokenBodyIndexesNothing(t *testing.T) {
	broken := make(chan struct{})
	s, sink, _ := serve(t, func(c *hecserver.Config) {
		c.Trace = func(m hecserver.Moment) {
			if m.Stage == hecserver.BrokenOff {
				close(broken)
			}
		}
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	require.NoError(t, err)
	_, err = io.WriteString(conn, "POST "+eventPath+" HTTP/1.1\r\nHost: x\r\nAuthorization: Splunk "+goodToken+"\r\nContent-Length: 100\r\n\r\n{\"event\":\"a\"}")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	<-broken
	require.Empty(t, sink.received())
	require.Empty(t, s.Handler().Stats().Answers, "there was no one to answer")
}

// TestRefusalReachesAClientThatStillSends writes more than the server would read
// by itself, and only then looks for the answer.
func TestRefusalReachesAClientThatStillSends(t *testing.T) {
	s, _, _ := serve(t, func(c *hecserver.Config) { c.MaxRaw = 1000 })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	require.NoError(t, err)
	defer conn.Close()
	const size = 7 << 20
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nAuthorization: Splunk %s\r\nContent-Length: %d\r\n\r\n", eventPath, goodToken, size)
	require.NoError(t, err)
	_, err = io.Copy(conn, strings.NewReader(strings.Repeat(" ", size)))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 413, resp.StatusCode)
}

func TestRequestsInParallel(t *testing.T) {
	counter := hecserver.NewCounter()
	s, _, client := serve(t, func(c *hecserver.Config) { c.Sink = counter })
	const workers, requests, events = 4, 10, 20
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range requests {
				body := sampleBody(uint64(worker*requests+i), events)
				resp, _, err := send(t, client, s.URL()+eventPath, string(body))
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("post: %v %v", resp, err)
				}
			}
		})
	}
	wg.Wait()
	got := counter.Stats()
	require.EqualValues(t, workers*requests*events, got.Distinct)
	require.EqualValues(t, workers*requests*events-1, got.Streams[0].Last)
	require.Zero(t, got.SeqMissing+got.SeqDoubles+got.Duplicates+got.Conflicts)
}

func TestListensOnLoopbackWithoutTLS(t *testing.T) {
	config := hecserver.Config{Tokens: []hecserver.Token{{Value: goodToken}}, Sink: &memory{}}
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0"} {
		_, err := hecserver.Start(addr, nil, config)
		require.ErrorContains(t, err, "without TLS only a loopback address", addr)
	}
	_, err := hecserver.Start("8088", nil, config)
	require.ErrorContains(t, err, "want HOST:PORT")
}

func TestTLS(t *testing.T) {
	// httptest brings a certificate for 127.0.0.1 and a client that trusts it.
	borrowed := httptest.NewUnstartedServer(nil)
	borrowed.StartTLS()
	defer borrowed.Close()
	sink := &lockedMemory{}
	s, err := hecserver.Start("127.0.0.1:0", borrowed.TLS, hecserver.Config{Tokens: []hecserver.Token{{Value: goodToken}}, Sink: sink})
	require.NoError(t, err)
	defer s.Close()
	require.True(t, strings.HasPrefix(s.URL(), "https://127.0.0.1:"))
	resp, body, err := send(t, borrowed.Client(), s.URL()+eventPath, `{"event":"a"}`)
	require.NoError(t, err)
	require.Equal(t, success, body)
	require.Equal(t, 1, resp.ProtoMajor)
}

func TestControl(t *testing.T) {
	counter := hecserver.NewCounter()
	script, err := hecserver.NewFaults(0)
	require.NoError(t, err)
	s, _, client := serve(t, func(c *hecserver.Config) { c.Sink, c.Faults = counter, script })
	control, err := hecserver.StartControl(s, counter)
	require.NoError(t, err)
	defer func() { require.NoError(t, control.Close()) }()

	resp, _, err := send(t, client, control.URL(), `{"seed":3,"faults":[{"code":9,"commit":1,"named":true,"times":1,"header":{"Retry-After":"1"}}]}`)
	require.NoError(t, err)
	require.Equal(t, 204, resp.StatusCode)
	_, body, err := send(t, client, s.URL()+eventPath, string(sampleBody(1, 3)))
	require.NoError(t, err)
	require.Equal(t, `{"text":"Server is busy","code":9,"invalid-event-number":1}`, body)
	_, body, err = send(t, client, s.URL()+eventPath, string(sampleBody(1, 3)))
	require.NoError(t, err)
	require.Equal(t, success, body)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, control.URL()+"/stats", nil)
	require.NoError(t, err)
	resp, err = client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 401, resp.StatusCode, "without a token")
	req.Header.Set("Authorization", "Splunk "+goodToken)
	resp, err = client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var report hecserver.Report
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&report))
	require.EqualValues(t, 4, report.Stats.Events)
	require.Equal(t, map[string]uint64{"503/9": 1, "200/0": 1}, report.Answers)
	require.Equal(t, []int{1}, report.ScriptedFaults)
	require.EqualValues(t, 3, report.Distinct)
	require.EqualValues(t, 1, report.Duplicates)
	require.Equal(t, []hecserver.Stream{{Collector: "0badcafe", Source: "aiwatch_s3://prod", First: 3, Last: 5}}, report.Streams)
}

func TestControlRefusesWhatItDoesNotKnow(t *testing.T) {
	s, _, client := serve(t, nil)
	control, err := hecserver.StartControl(s, hecserver.NewCounter())
	require.NoError(t, err)
	defer func() { require.NoError(t, control.Close()) }()
	for _, order := range []string{``, `[]`, `{"fault":[]}`, `{"faults":[{"codes":9}]}`, `{"faults":[{"code":99}]}`} {
		resp, _, err := send(t, client, control.URL(), order)
		require.NoError(t, err)
		require.Equal(t, 400, resp.StatusCode, order)
	}
	resp, _, err := send(t, client, control.URL(), strings.Repeat(" ", 2<<20))
	require.NoError(t, err)
	require.Equal(t, 413, resp.StatusCode)
}

// TestBodyReaderFails covers a body whose connection fails, without a network.
func TestBodyReaderFails(t *testing.T) {
	r := newReceiver(t, nil)
	req := httptest.NewRequest(http.MethodPost, eventPath, io.MultiReader(bytes.NewBufferString(`{"event":"a"}`), failing{}))
	req.Header.Set("Authorization", "Splunk "+goodToken)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { r.ServeHTTP(httptest.NewRecorder(), req) })
	require.Empty(t, r.sink.events)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
