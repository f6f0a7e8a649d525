package mlflow_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/mlflow"
	"aiwatch/internal/mlflowsim"
)

// A clock goes on a little with each look.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(7 * time.Millisecond)
	return c.at
}

func (c *clock) skip(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A standIn is the stand-in server behind HTTP, with an access log as gunicorn
// writes it.
type standIn struct {
	*mlflowsim.Server
	clock *clock
	url   string
	log   string
	quiet bool // nothing is logged
	// fault answers instead of the server when it returns true.
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func newStandIn(t *testing.T, opt mlflowsim.Options) *standIn {
	t.Helper()
	s := &standIn{clock: newClock(), log: filepath.Join(t.TempDir(), "access.log")}
	require.NoError(t, os.WriteFile(s.log, nil, 0o600))
	opt.Now = s.clock.now
	opt.Access = func(r mlflowsim.Request) {
		if s.quiet {
			return
		}
		user := r.User
		if user == "" {
			user = "-"
		}
		s.write(t, fmt.Sprintf("10.0.0.7 - %s [%s] \"%s %s HTTP/1.1\" %d %d \"-\" %q\n", user, r.At.Format("02/Jan/2006:15:04:05 -0700"), r.Method, r.Target, r.Status, r.Bytes, r.Agent))
	}
	s.Server = mlflowsim.New(opt)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.fault != nil && s.fault(w, r) {
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *standIn) write(t *testing.T, line string) {
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(line)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func (s *standIn) rest(t *testing.T) rest {
	return rest{t: t, url: s.url, user: "admin", password: "x"}
}

// config is for a collector of the stand-in that sweeps fully at each poll.
func (s *standIn) config() mlflow.Config {
	return mlflow.Config{URL: s.url, Username: "admin", Password: "x", Interval: time.Nanosecond, FastInterval: time.Nanosecond, Now: s.clock.now}
}

// TestOperationsOnStandIn runs the table that runs on real servers, which shows
// that the stand-in behaves as they do.
func TestOperationsOnStandIn(t *testing.T) { onStandIn(t, runOperations) }

// onStandIn runs a table on the stand-in in both versions.
func onStandIn(t *testing.T, play func(*testing.T, table)) {
	t.Helper()
	for _, version := range []string{"2.22.5", "3.17.2"} {
		t.Run(version, func(t *testing.T) {
			s := newStandIn(t, mlflowsim.Options{Version: version, BasicAuth: true})
			now := func() time.Time { s.clock.skip(2 * time.Second); return s.clock.now() }
			cfg := s.config()
			cfg.AccessLog = s.log
			major := int(version[0] - '0')
			play(t, table{major: major, admin: restHands{s.rest(t), major, now}, cfg: cfg, now: now})
		})
	}
}
