package mlflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event"
)

func TestParseAccess(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want logLine
		verb string
	}{
		"gunicorn": {
			`127.0.0.1 - admin [23/Nov/2026:01:19:23 +0000] "POST /api/2.0/mlflow/registered-models/alias HTTP/1.1" 200 67 "-" "curl/7.88.1"`,
			logLine{At: time.Date(2026, 11, 23, 1, 19, 23, 0, time.UTC), Method: "POST", Target: "/api/2.0/mlflow/registered-models/alias", Status: 200, User: "admin", Peer: "127.0.0.1", Agent: "curl/7.88.1", Bytes: 67},
			"POST registered-models/alias",
		},
		"uvicorn": {
			`2026/11/23 00:53:03 INFO:     127.0.0.1:36812 - "PUT /api/2.0/mlflow-artifacts/artifacts/3/a b/MLmodel HTTP/1.1" 200 OK`,
			logLine{At: time.Date(2026, 11, 23, 0, 53, 3, 0, time.Local), Method: "PUT", Target: "/api/2.0/mlflow-artifacts/artifacts/3/a b/MLmodel", Status: 200, Peer: "127.0.0.1:36812", Bytes: -1},
			"",
		},
		"nginx JSON": {
			`{"time_iso8601":"2026-03-02T09:00:00+01:00","remote_addr":"2001:db8::1","remote_user":"alice","request":"DELETE /ajax-api/2.0/mlflow/logged-models/m-1/tags/a?x=1 HTTP/2.0","status":"200","body_bytes_sent":5,"http_user_agent":"mlflow-python-client/3.17"}`,
			logLine{At: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), Method: "DELETE", Target: "/ajax-api/2.0/mlflow/logged-models/m-1/tags/a?x=1", Status: 200, User: "alice", Peer: "2001:db8::1", Agent: "mlflow-python-client/3.17", Bytes: 5},
			"DELETE logged-models",
		},
		"Envoy JSON": {
			`{"start_time":"2026-03-02T08:00:00.250Z","method":"GET","path":"/get-artifact?path=a&run_uuid=b","response_code":200,"downstream_remote_address":"10.1.2.3:999","bytes_sent":7,"user_agent":null,"nested":{"status":1}}`,
			logLine{At: time.Date(2026, 3, 2, 8, 0, 0, 250_000_000, time.UTC), Method: "GET", Target: "/get-artifact?path=a&run_uuid=b", Status: 200, Peer: "10.1.2.3:999", Bytes: 7},
			"",
		},
		"nginx JSON behind a balancer": {
			`{"msec":"1772438400.5","remote_addr":"10.0.0.5","http_x_forwarded_for":"192.0.2.7, 10.0.0.6","request":"POST /api/2.0/mlflow/registered-models/alias HTTP/1.1","status":"200"}`,
			logLine{At: time.UnixMilli(1772438400500), Method: "POST", Target: "/api/2.0/mlflow/registered-models/alias", Status: 200, Peer: "10.0.0.5", Forwarded: "192.0.2.7, 10.0.0.6", Bytes: -1},
			"POST registered-models/alias",
		},
		"combined with X-Forwarded-For": {
			`10.0.0.5 - bob [23/Nov/2026:01:19:23 +0000] "DELETE /api/2.0/mlflow/registered-models/delete HTTP/1.1" 200 2 "http://x/\"y" "agent \"q\"" "192.0.2.7, 10.0.0.6"`,
			logLine{At: time.Date(2026, 11, 23, 1, 19, 23, 0, time.UTC), Method: "DELETE", Target: "/api/2.0/mlflow/registered-models/delete", Status: 200, User: "bob", Peer: "10.0.0.5", Forwarded: "192.0.2.7, 10.0.0.6", Agent: `agent \"q\"`, Bytes: 2},
			"DELETE registered-models/delete",
		},
		"user with spaces": {
			`10.0.0.1 - eve [x] admin [23/Nov/2026:01:19:23 +0000] "GET / HTTP/1.1" 200 1`,
			logLine{At: time.Date(2026, 11, 23, 1, 19, 23, 0, time.UTC), Method: "GET", Target: "/", Status: 200, User: "eve [x] admin", Peer: "10.0.0.1", Bytes: 1},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAccess(c.line)
			require.NoError(t, err)
			require.True(t, c.want.At.Equal(got.At), got.At)
			got.At = c.want.At
			require.Equal(t, c.want, got)
			verb, _, _ := got.verb()
			require.Equal(t, c.verb, verb)
		})
	}
	for _, line := range []string{"Traceback (most recent call last):", "2026/11/23 00:53:03 INFO mlflow.server: started", "", `{"level":"info"}`} {
		_, err := parseAccess(line)
		require.ErrorIs(t, err, errNoAccess, line)
	}
	for _, line := range []string{`x "GET / HTTP/1.1" nonsense`, `{"method":"GET","path":"/","status":"?"}`, `{broken`} {
		_, err := parseAccess(line)
		require.Error(t, err)
		require.NotErrorIs(t, err, errNoAccess, line)
	}
}

func FuzzParseAccess(f *testing.F) {
	f.Add(`127.0.0.1 - admin [23/Nov/2026:01:19:23 +0000] "GET /api/2.0/mlflow/x HTTP/1.1" 200 67 "-" "a\"b"`)
	f.Add(`INFO:     127.0.0.1:36812 - "PUT /api/2.0/mlflow-artifacts/artifacts/3/%0a HTTP/1.1" 200 OK`)
	f.Add(`{"time":1.5e9,"request_method":"GET","uri":"/a?b","status":200}`)
	f.Fuzz(func(t *testing.T, line string) {
		l, err := parseAccess(line)
		if err != nil {
			return
		}
		require.NotEmpty(t, l.Method)
		require.True(t, l.Target[0] == '/')
		l.verb()
		l.artifact()
	})
}

func TestGitRepo(t *testing.T) {
	for in, want := range map[string]string{
		"git@github.com:acme/churn.git":               "git:github.com/acme/churn",
		"https://user:pw@GitHub.com:8443/acme/churn/": "git:github.com/acme/churn",
		"ssh://git@git.acme.io:2222/ml/churn.git":     "git:git.acme.io/ml/churn",
		"/srv/repos/churn":                            "",
		"":                                            "",
	} {
		require.Equal(t, want, gitRepo(in), in)
	}
}

func TestUnder(t *testing.T) {
	root := "mlflow-artifacts:/3/" + "abc" + "/artifacts"
	for uri, want := range map[string]bool{
		root:              true,
		root + "/model":   true,
		root + "//model/": true,
		"mlflow-artifacts:///3/abc/artifacts/model": true,
		root + "x":                                false,
		root + "/../../other":                     false,
		root + "/%2e%2e/other":                    false,
		root + "/%252e%252e/other":                false,
		"mlflow-artifacts://host/3/abc/artifacts": false,
		"s3://3/abc/artifacts":                    false,
		"":                                        false,
	} {
		require.Equal(t, want, under(uri, root), uri)
	}
}

func TestShortNoticesWhatLiesBehindTheCut(t *testing.T) {
	long := string(make([]byte, 5000))
	a, b := short(long+"a"), short(long+"b")
	require.NotEqual(t, a, b)
	require.LessOrEqual(t, len(a), 2000)
	require.True(t, isShort(a))
	ev := event.Event{}
	values(&ev, "x", a)
	require.Equal(t, []string{"new_value"}, ev.Truncated)
}
