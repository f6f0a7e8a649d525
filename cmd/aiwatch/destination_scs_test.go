//go:build scs

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// programTags are the build tags of the program that tests build.
const programTags = "scs"

// tenant is one tenant of Splunk Cloud Services, as the description of its
// ingest API (v1beta2) and its identity provider have it. Nobody of us has a
// tenant.
type tenant struct {
	t *testing.T

	mu       sync.Mutex
	token    string // the one that is good now
	tokens   int    // given out
	busy     int    // posts that are still told to slow down
	good     int    // posts that a token is good for, 0 without end
	poison   string // the id of an event that is refused
	received map[string]int
}

func (s *tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.Method + " " + r.URL.Path {
	case "POST /token":
		user, password, _ := r.BasicAuth()
		if user != "principal" || password != "its secret" || r.PostFormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.tokens++
		s.token = "token-" + strconv.Itoa(s.tokens)
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": s.token, "token_type": "Bearer", "expires_in": 43200})
	case "POST /acme/ingest/v1beta2/events":
		s.events(w, r)
	default:
		s.t.Errorf("%s %s is no call of the ingest API", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *tenant) events(w http.ResponseWriter, r *http.Request) {
	answer := func(status int, code string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": "as the test wants"})
	}
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		answer(http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	if s.busy > 0 {
		s.busy--
		w.Header().Set("Retry-After", "1")
		answer(http.StatusTooManyRequests, "RATE_LIMIT")
		return
	}
	text, err := io.ReadAll(r.Body)
	if err != nil || len(text) > 1<<20 {
		s.t.Errorf("a post of %d bytes: %v", len(text), err)
	}
	var events []struct {
		Attributes map[string]any  `json:"attributes"`
		Body       json.RawMessage `json:"body"`
		Host       string          `json:"host"`
		ID         string          `json:"id"`
		Nanos      int             `json:"nanos"`
		Source     string          `json:"source"`
		Sourcetype string          `json:"sourcetype"`
		Timestamp  int64           `json:"timestamp"`
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&events); err != nil || len(events) == 0 || len(events) > 500 {
		s.t.Errorf("a post of %d events: %v", len(events), err)
	}
	for _, e := range events {
		if e.ID == s.poison {
			answer(http.StatusBadRequest, "INVALID_DATA")
			return
		}
	}
	for _, e := range events {
		var own struct {
			ID string `json:"event_id"`
		}
		if json.Unmarshal(e.Body, &own) != nil || own.ID != e.ID || e.Timestamp < 1e12 || e.Sourcetype == "" {
			s.t.Errorf("no event of ours: %+v", e)
		}
		s.received[e.ID]++
	}
	if s.good > 0 {
		if s.good--; s.good == 0 {
			s.token = "none" // the next call finds its token ended
		}
	}
	_, _ = io.WriteString(w, `{"code":"SUCCESS","message":"Success"}`)
}

// TestSCSDelivers: the program sends an input's events to a tenant that is busy
// at first, whose token ends on the way, and that refuses one of them.
func TestSCSDelivers(t *testing.T) {
	s := &tenant{t: t, busy: 1, good: 2, received: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	logs := newLogFolder(t)
	logs.add(t, 3000)
	s.poison = logs.ids[1234].String()
	set := newSetup(t, logs.input(), "[scs]\ntenant = acme\nclient_id = principal\nclient_secret_env = SCS_SECRET\nhost = "+server.URL+"\n")
	secret := []string{"SCS_SECRET=its secret"}

	check := set.startIn(t, secret, "check")
	require.Equal(t, exitDone, check.end(t), check.out.String()+check.log.String())
	require.Contains(t, check.out.String(), "destination: a token was fetched")

	run := set.startIn(t, secret, "run", "--once")
	require.Equal(t, exitDone, run.end(t), tail(run.log.String()))
	require.NotContains(t, run.log.String(), "its secret")
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := 0
	for _, id := range logs.ids {
		if s.received[id.String()] == 0 {
			missing++
			require.Equal(t, s.poison, id.String())
		}
	}
	require.Equal(t, 1, missing)
	require.GreaterOrEqual(t, s.tokens, 3, "check, run, and once more when the token had ended")
	require.Zero(t, s.busy)
	require.Zero(t, set.waiting(t))
	dead := startProgram(t, nil, "deadletter", "list", "--state", set.state)
	require.Equal(t, exitDone, dead.end(t))
	require.Contains(t, dead.out.String(), s.poison)
}

// TestSCSWithAWrongSecret: check and run say what is wrong, and nothing is lost.
func TestSCSWithAWrongSecret(t *testing.T) {
	s := &tenant{t: t, received: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	logs := newLogFolder(t)
	logs.add(t, 10)
	set := newSetup(t, logs.input(), "[scs]\ntenant = acme\nclient_id = principal\nclient_secret_env = SCS_SECRET\nhost = "+server.URL+"\n")
	check := set.startIn(t, []string{"SCS_SECRET=wrong"}, "check")
	require.Equal(t, exitUnavailable, check.end(t))
	require.Contains(t, check.out.String(), "check client_id, client_secret and host")
	run := set.startIn(t, []string{"SCS_SECRET=wrong"}, "run", "--once", "--max-wait", "2s")
	require.Equal(t, exitUnavailable, run.end(t))
	require.Empty(t, s.received)
	require.GreaterOrEqual(t, set.waiting(t), int64(10))
	set.startIn(t, []string{"SCS_SECRET=its secret"}, "run", "--once").end(t)
	require.GreaterOrEqual(t, len(s.received), 10)
}
