package logfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/logfile"
)

func TestParseRequest(t *testing.T) {
	at := time.Date(2026, 11, 23, 1, 19, 23, 0, time.UTC)
	for name, c := range map[string]struct {
		line string
		want logfile.Request
	}{
		"gunicorn": {
			`127.0.0.1 - admin [23/Nov/2026:01:19:23 +0000] "POST /api/2.0/mlflow/registered-models/alias HTTP/1.1" 200 67 "-" "curl/7.88.1"`,
			logfile.Request{Time: at, Method: "POST", Target: "/api/2.0/mlflow/registered-models/alias", Status: 200, User: "admin", Peer: "127.0.0.1", Agent: "curl/7.88.1", Bytes: 67},
		},
		"common format": {
			`2001:db8::1 - bob [23/Nov/2026:02:19:23 +0100] "POST /git/acme/vision.git/git-receive-pack HTTP/2.0" 200 -`,
			logfile.Request{Time: at, Method: "POST", Target: "/git/acme/vision.git/git-receive-pack", Status: 200, User: "bob", Peer: "2001:db8::1", Bytes: -1},
		},
		"combined with X-Forwarded-For": {
			`10.0.0.5 - - [23/Nov/2026:01:19:23 +0000] "DELETE /a HTTP/1.1" 200 2 "http://x/\"y" "agent \"q\"" "192.0.2.7, 10.0.0.6" "something else"`,
			logfile.Request{Time: at, Method: "DELETE", Target: "/a", Status: 200, Peer: "10.0.0.5", Forwarded: "192.0.2.7, 10.0.0.6", Agent: `agent "q"`, Bytes: 2},
		},
		"a target with spaces": {
			`10.0.0.5 - - [23/Nov/2026:01:19:23 +0000] "GET /a b HTTP/1.1" 200 2`,
			logfile.Request{Time: at, Method: "GET", Target: "/a b", Status: 200, Peer: "10.0.0.5", Bytes: 2},
		},
		"an absolute target": {
			`10.0.0.5 - - [23/Nov/2026:01:19:23 +0000] "GET http://mlflow:5000/a?b=://c HTTP/1.1" 200 2`,
			logfile.Request{Time: at, Method: "GET", Target: "/a?b=://c", Status: 200, Peer: "10.0.0.5", Bytes: 2},
		},
		"user with spaces": {
			`10.0.0.1 - eve [x] admin [23/Nov/2026:01:19:23 +0000] "GET / HTTP/1.1" 200 1`,
			logfile.Request{Time: at, Method: "GET", Target: "/", Status: 200, User: "eve [x] admin", Peer: "10.0.0.1", Bytes: 1},
		},
		"a user who writes a line into the line": {
			`10.0.0.1 - eve [23/Nov/2026:00:00:00 +0000] \x22GET /innocent HTTP/1.1\x22 404 1 [23/Nov/2026:01:19:23 +0000] "DELETE /a HTTP/1.1" 200 1`,
			logfile.Request{Time: at, Method: "DELETE", Target: "/a", Status: 200, User: `eve [23/Nov/2026:00:00:00 +0000] "GET /innocent HTTP/1.1" 404 1`, Peer: "10.0.0.1", Bytes: 1},
		},
		"a path that writes a status into the line": {
			`10.0.0.1 - eve [23/Nov/2026:01:19:23 +0000] "DELETE /a\" 404 1 \"b HTTP/1.1" 200 1`,
			logfile.Request{Time: at, Method: "DELETE", Target: `/a" 404 1 "b`, Status: 200, User: "eve", Peer: "10.0.0.1", Bytes: 1},
		},
		"names with backslashes": {
			`10.0.0.1 - ACME\dana [23/Nov/2026:01:19:23 +0000] "GET / HTTP/1.1" 200 1 "-" "\xC3\xBC \x2"`,
			logfile.Request{Time: at, Method: "GET", Target: "/", Status: 200, User: `ACME\dana`, Peer: "10.0.0.1", Bytes: 1, Agent: `ü \x2`},
		},
		"a user whom Apache escaped": {
			`10.0.0.1 - ACME\\da\"na [23/Nov/2026:01:19:23 +0000] "GET / HTTP/1.1" 200 1`,
			logfile.Request{Time: at, Method: "GET", Target: "/", Status: 200, User: `ACME\da"na`, Peer: "10.0.0.1", Bytes: 1},
		},
		"a user whom nginx escaped": {
			`10.0.0.1 - ACME\x5Cda\x22na [23/Nov/2026:01:19:23 +0000] "GET / HTTP/1.1" 200 1`,
			logfile.Request{Time: at, Method: "GET", Target: "/", Status: 200, User: `ACME\da"na`, Peer: "10.0.0.1", Bytes: 1},
		},
		"uvicorn": {
			`2026/11/23 00:53:03 INFO:     127.0.0.1:36812 - "PUT /api/2.0/mlflow-artifacts/artifacts/3/a b/MLmodel HTTP/1.1" 200 OK`,
			logfile.Request{Time: time.Date(2026, 11, 23, 0, 53, 3, 0, time.Local), Method: "PUT", Target: "/api/2.0/mlflow-artifacts/artifacts/3/a b/MLmodel", Status: 200, Peer: "127.0.0.1:36812", Bytes: -1},
		},
		"uvicorn without a date": {
			`INFO:     127.0.0.1:36812 - "GET /a HTTP/1.1" 404 Not Found`,
			logfile.Request{Method: "GET", Target: "/a", Status: 404, Peer: "127.0.0.1:36812", Bytes: -1},
		},
		"nginx JSON": {
			`{"time_iso8601":"2026-11-23T02:19:23+01:00","remote_addr":"2001:db8::1","remote_user":"alice","request":"DELETE /ajax-api/2.0/mlflow/logged-models/m-1/tags/a?x=1 HTTP/2.0","status":"200","body_bytes_sent":5,"http_user_agent":"mlflow-python-client/3.17"}`,
			logfile.Request{Time: at, Method: "DELETE", Target: "/ajax-api/2.0/mlflow/logged-models/m-1/tags/a?x=1", Status: 200, User: "alice", Peer: "2001:db8::1", Agent: "mlflow-python-client/3.17", Bytes: 5},
		},
		"nginx JSON behind a balancer": {
			`{"msec":"1772438400.5","remote_addr":"10.0.0.5","remote_user":"-","user":"bob","http_x_forwarded_for":"192.0.2.7, 10.0.0.6","request":"POST /a HTTP/1.1","status":"200"}`,
			logfile.Request{Time: time.UnixMilli(1772438400500), Method: "POST", Target: "/a", Status: 200, User: "bob", Peer: "10.0.0.5", Forwarded: "192.0.2.7, 10.0.0.6", Bytes: -1},
		},
		"Envoy": {
			`{"start_time":"2026-03-02T08:00:00.250Z","method":"GET","path":"/get-artifact?path=a&run_uuid=b","response_code":200,"downstream_remote_address":"10.1.2.3:999","bytes_sent":7,"user_agent":null,"nested":{"status":1}}`,
			logfile.Request{Time: time.Date(2026, 3, 2, 8, 0, 0, 250_000_000, time.UTC), Method: "GET", Target: "/get-artifact?path=a&run_uuid=b", Status: 200, Peer: "10.1.2.3:999", Bytes: 7},
		},
		"Caddy": {
			`{"ts":1772442065.5,"request":{"remote_ip":"192.0.2.7","client_ip":"192.0.2.8","method":"POST","uri":"/acme/vision.git/git-upload-pack","headers":{"User-Agent":["git/2"]}},"user_id":"alice","status":200,"size":55}`,
			logfile.Request{Time: time.UnixMilli(1772442065500), Method: "POST", Target: "/acme/vision.git/git-upload-pack", Status: 200, User: "alice", Peer: "192.0.2.8", Agent: "git/2", Bytes: 55},
		},
		"Traefik": {
			`{"ClientHost":"192.0.2.7","ClientUsername":"alice","DownstreamContentSize":5,"DownstreamStatus":200,"RequestMethod":"POST","RequestPath":"/a","StartUTC":"2026-03-02T09:01:05.25Z"}`,
			logfile.Request{Time: time.Date(2026, 3, 2, 9, 1, 5, 250_000_000, time.UTC), Method: "POST", Target: "/a", Status: 200, User: "alice", Peer: "192.0.2.7", Bytes: 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := logfile.ParseRequest([]byte(c.line + "\r\n"))
			require.NoError(t, err)
			require.True(t, c.want.Time.Equal(got.Time), got.Time)
			got.Time = c.want.Time
			require.Equal(t, c.want, got)
		})
	}
}

func TestParseRequestRefuses(t *testing.T) {
	for line, want := range map[string]string{
		`x "GET / HTTP/1.1" nonsense`:                                       "neither the combined format, JSON nor uvicorn's format",
		`1 - - [23/Nov/2026:01:19:23 +0000] "GET /" HTTP/1.1" 200 1`:        "neither the combined format, JSON nor uvicorn's format",
		`1 - - [99/Nov/2026:01:19:23 +0000] "GET / HTTP/1.1" 200 1`:         "no date that can be read",
		`1 - - [23/Nov/2026:01:19:23 +0000] "\x16\x03\x01" 400 1`:           "the request can't be read",
		`1 - - [23/Nov/2026:01:19:23 +0000] "CONNECT a:443 HTTP/1.1" 400 1`: "the request has no path",
		`{"method":"GET","path":"/","status":"?","ts":1772442065}`:          "no status",
		`{"method":"GET","path":"/","status":200}`:                          "no date that can be read",
		`{broken`: "begins as JSON and is none",
		`{"method":"GET","path":"/","status":200,"ts":1772442065}{"method":1}`: "begins as JSON and is none",
	} {
		_, err := logfile.ParseRequest([]byte(line))
		require.EqualError(t, err, want, line)
	}
	for _, line := range []string{
		"Traceback (most recent call last):", "2026/11/23 00:53:03 INFO mlflow.server: started", "", `{"level":"info"}`,
		`{"level":"info","request":{"id":1}}`,
	} {
		_, err := logfile.ParseRequest([]byte(line))
		require.ErrorIs(t, err, logfile.ErrNoRequest, line)
	}
}

func TestPathAndQuery(t *testing.T) {
	for target, want := range map[string]string{
		"/a%2Db%2fc?x=%2D": "/a-b/c",
		"/a%3Fb":           "/a?b",
		"/a%zz":            "/a%zz",
	} {
		r := logfile.Request{Target: target}
		require.Equal(t, want, r.Path())
	}
	r := logfile.Request{Target: "/a?path=b%20c&run_uuid=%zz&run_id=1"}
	require.Equal(t, "b c", r.Query().Get("path"))
	require.Equal(t, "1", r.Query().Get("run_id"))
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`127.0.0.1 - admin [23/Nov/2026:01:19:23 +0000] "GET /api/2.0/mlflow/x HTTP/1.1" 200 67 "-" "a\"b"`))
	f.Add([]byte(`INFO:     127.0.0.1:36812 - "PUT /api/2.0/mlflow-artifacts/artifacts/3/%0a HTTP/1.1" 200 OK`))
	f.Add([]byte(`{"time":1.5e9,"request_method":"GET","uri":"/a?b","status":200}`))
	f.Add([]byte(`{"ts":1,"request":{"method":"POST","uri":"/x/git-receive-pack"},"status":200}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := logfile.ParseRequest(line)
		if err != nil {
			return
		}
		require.NotEmpty(t, r.Method)
		require.True(t, r.Target[0] == '/')
		require.GreaterOrEqual(t, r.Bytes, int64(-1))
		require.NotEmpty(t, r.Path())
		r.Query()
	})
}
