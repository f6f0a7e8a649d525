package s3access

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/internal/s3sim"
)

// Each broken set-up of a bucket, and the sentence that names it.
func TestCheckOfABucket(t *testing.T) {
	const name = "2026-11-23-09-00-00-AAAAAAAAAAAAAAAA"
	answer := func(status int, code string, header ...string) s3sim.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			s3sim.Error(w, status, code)
			return true
		}
	}
	for _, tc := range []struct {
		name    string
		fault   s3sim.Fault
		change  func(*Config)
		verdict collectors.Verdict
		text    string
		fix     string
	}{
		{name: "good", verdict: collectors.Good, text: "s3://logs/" + name + " is server_access"},
		{name: "one broken connection", fault: brokenOnce(), verdict: collectors.Good, text: "s3://logs/" + name + " is server_access"},
		{name: "no bucket", change: func(c *Config) { c.Bucket = "absent" }, verdict: collectors.Misset, text: "there is no bucket absent", fix: "correct bucket"},
		{name: "empty", change: func(c *Config) { c.Prefix = "none/" }, verdict: collectors.Warning, text: "no log object under s3://logs/none/ yet", fix: "correct prefix"},
		{name: "listing denied", fault: answer(403, "AccessDenied"), verdict: collectors.Unavailable, text: "list s3://logs/: access denied", fix: "grant s3:ListBucket on arn:aws:s3:::logs"},
		{name: "reading denied", fault: func(w http.ResponseWriter, r *http.Request, key string) bool {
			on := true
			return faultIf(&on, 403, "AccessDenied", name)(w, r, key)
		}, verdict: collectors.Unavailable, text: "get s3://logs/" + name + ": access denied", fix: "grant s3:GetObject on arn:aws:s3:::logs/* (and kms:Decrypt"},
		{name: "region", fault: answer(301, "PermanentRedirect", "x-amz-bucket-region", "eu-west-1"), verdict: collectors.Misset, text: "the bucket is in another region: eu-west-1", fix: "set region = eu-west-1"},
		{name: "region of the signature", fault: answer(400, "AuthorizationHeaderMalformed", "x-amz-bucket-region", "eu-west-1"), verdict: collectors.Misset, text: "another region: eu-west-1", fix: "set region"},
		{name: "clock", fault: answer(403, "RequestTimeTooSkewed"), verdict: collectors.Unavailable, text: "the clock of this machine differs", fix: "set the clock"},
		{name: "key", fault: answer(403, "InvalidAccessKeyId"), verdict: collectors.Misset, text: "the access key is not known", fix: "correct access_key_id"},
		{name: "secret", fault: answer(403, "SignatureDoesNotMatch"), verdict: collectors.Misset, text: "the secret key does not fit", fix: "correct secret_access_key"},
		{name: "expired", fault: answer(400, "ExpiredToken"), verdict: collectors.Unavailable, text: "the credentials have expired", fix: "renew"},
		{name: "down", fault: answer(500, "InternalError"), verdict: collectors.Unavailable, text: "answers with status 500", fix: "try again later"},
		{name: "unreachable", change: func(c *Config) { c.AWS.Endpoint = "http://127.0.0.1:1" }, verdict: collectors.Unavailable, text: "http://127.0.0.1:1 can't be reached", fix: "correct endpoint or proxy"},
		{name: "no such host", change: func(c *Config) { c.AWS.Endpoint = "http://nowhere.invalid" }, verdict: collectors.Unavailable, text: "nowhere.invalid", fix: "correct endpoint"},
		{name: "no log", fault: func(w http.ResponseWriter, _ *http.Request, key string) bool {
			if key == name {
				_, _ = w.Write([]byte("not\nlogs\n"))
			}
			return key == name
		}, verdict: collectors.Misset, text: "not recognised", fix: "set format"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, cfg := newFakeS3(t)
			f.put(name, lines(0, 3, now))
			f.Misbehave(tc.fault)
			if tc.change != nil {
				tc.change(&cfg)
			}
			findings := collector(t, cfg).Check(context.Background())
			last := findings[len(findings)-1]
			require.Equal(t, tc.verdict, last.Verdict, last.Text)
			require.Contains(t, last.Text, tc.text)
			require.Contains(t, last.Fix, tc.fix)
			require.Equal(t, tc.verdict == collectors.Good, last.Fix == "")
			require.NotContains(t, last.Text+last.Fix, cfg.AWS.SecretAccessKey)
		})
	}
}

// brokenOnce cuts the first answer off.
func brokenOnce() s3sim.Fault {
	var met atomic.Bool
	return func(http.ResponseWriter, *http.Request, string) bool {
		if met.CompareAndSwap(false, true) {
			panic(http.ErrAbortHandler)
		}
		return false
	}
}

func TestCheckOfTLS(t *testing.T) {
	server := httptest.NewTLSServer(s3sim.New("logs"))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	cfg := Config{Bucket: "logs", AWS: AWS{Endpoint: server.URL, PathStyle: true, AccessKeyID: "a", SecretAccessKey: "b", Timeout: 5 * time.Second}}
	check := func(change func(*Config)) collectors.Finding {
		cfg := cfg
		change(&cfg)
		return collector(t, cfg).Check(context.Background())[0]
	}
	require.Contains(t, check(func(*Config) {}).Text, "signed by an unknown authority")
	require.Contains(t, check(func(*Config) {}).Fix, "set ca_file")
	require.Equal(t, collectors.Good, check(func(c *Config) { c.AWS.CAFile = ca }).Verdict)
	require.Equal(t, collectors.Good, check(func(c *Config) { c.AWS.InsecureSkipVerify = true }).Verdict)
	wrong := check(func(c *Config) {
		c.AWS.CAFile = ca
		c.AWS.Endpoint = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	})
	require.Contains(t, wrong.Text, "is for another name")
}

// No answer sends us, or our credentials, to another host.
func TestRedirectsAreNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer other.Close()
	f, cfg := newFakeS3(t)
	f.Misbehave(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		return true
	})
	require.Error(t, collector(t, cfg).Poll(context.Background(), newSink()))
	require.NotEqual(t, collectors.Good, collector(t, cfg).Check(context.Background())[0].Verdict)
}
