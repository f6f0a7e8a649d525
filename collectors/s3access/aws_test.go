package s3access

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/internal/counterpart"
)

// withoutAWS clears what the SDK would find on this machine, and returns a
// folder for its files.
func withoutAWS(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return dir
}

// signers notes by whose key, and with which session, an S3 server is asked.
type signers struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (s *signers) note(r *http.Request) {
	key, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[strings.TrimSpace(key+" "+r.Header.Get("X-Amz-Security-Token"))] = true
}

// signedLogs is a bucket with one log object whose server notes the signers.
func signedLogs(t *testing.T) (*signers, *fakeS3, Config) {
	t.Helper()
	f, cfg := newFakeS3(t)
	f.put("2026-11-23-11-00-00-AAAAAAAAAAAAAAAA", lines(0, 3, now.Add(-time.Hour)))
	s := &signers{seen: map[string]bool{}}
	f.Misbehave(func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		s.note(r)
		return false
	})
	cfg.Start.At = now.Add(-24 * time.Hour)
	cfg.AWS.AccessKeyID, cfg.AWS.SecretAccessKey = "", ""
	return s, f, cfg
}

// requireRead polls and makes sure that all was read with this key alone.
func (s *signers) requireRead(t *testing.T, cfg Config, key string) {
	t.Helper()
	out := newSink()
	poll(t, collector(t, cfg), out)
	require.Equal(t, 3, len(out.requests()))
	require.Equal(t, map[string]bool{key: true}, s.seen)
}

func TestAProfileOfTheAWSFiles(t *testing.T) {
	dir := withoutAWS(t)
	write(t, filepath.Join(dir, "credentials"), []byte("[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = x\n[audit]\naws_access_key_id = AKIAAUDIT\naws_secret_access_key = y\n"))
	write(t, filepath.Join(dir, "config"), []byte("[profile audit]\nregion = eu-west-1\n"))
	s, _, cfg := signedLogs(t)
	cfg.AWS.Profile = "audit"
	s.requireRead(t, cfg, "AKIAAUDIT")

	cfg.AWS.Profile = "absent"
	_, err := New(cfg)
	require.ErrorContains(t, err, "absent")
}

// stsPeer gives sessions as STS does, to whoever names the role with its
// external id.
func stsPeer(t *testing.T, role, externalID string) *signers {
	t.Helper()
	s := &signers{seen: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		w.Header().Set("Content-Type", "text/xml")
		if r.FormValue("Action") != "AssumeRole" || r.FormValue("RoleArn") != role || r.FormValue("ExternalId") != externalID {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User is not authorized to perform: sts:AssumeRole</Message></Error><RequestId>1</RequestId></ErrorResponse>`)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
			<AssumedRoleUser><AssumedRoleId>AROA:%s</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/logs/%[1]s</Arn></AssumedRoleUser>
			<Credentials><AccessKeyId>ASIASESSION</AccessKeyId><SecretAccessKey>z</SecretAccessKey><SessionToken>session-token</SessionToken><Expiration>%s</Expiration></Credentials>
			</AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>`,
			r.FormValue("RoleSessionName"), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	return s
}

func TestAnAssumedRoleWithItsExternalID(t *testing.T) {
	withoutAWS(t)
	const role = "arn:aws:iam::111122223333:role/logs"
	sts := stsPeer(t, role, "the-external-id")
	s, _, cfg := signedLogs(t)
	cfg.AWS.AccessKeyID, cfg.AWS.SecretAccessKey = "AKIAOURS", "x"
	cfg.AWS.RoleARN, cfg.AWS.ExternalID = role, "the-external-id"
	s.requireRead(t, cfg, "ASIASESSION session-token")
	require.Equal(t, map[string]bool{"AKIAOURS": true}, sts.seen)

	for _, change := range []func(*AWS){func(a *AWS) { a.ExternalID = "" }, func(a *AWS) { a.ExternalID = "wrong" }, func(a *AWS) { a.RoleARN += "x" }} {
		cfg := cfg
		change(&cfg.AWS)
		finding := collector(t, cfg).Check(t.Context())[0]
		require.NotEqual(t, collectors.Good, finding.Verdict)
		require.Contains(t, finding.Text, "the role "+cfg.AWS.RoleARN+" can't be assumed")
		require.Contains(t, finding.Fix, "external_id")
	}
}

// instance is the metadata service of an EC2 instance with a role (IMDSv2).
func instance(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const token, roles = "metadata-token", "/latest/meta-data/iam/security-credentials/"
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			fmt.Fprint(w, token)
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == roles:
			fmt.Fprint(w, "watcher")
		case r.URL.Path == roles+"watcher":
			fmt.Fprintf(w, `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIAINSTANCE","SecretAccessKey":"x","Token":"instance-token","Expiration":%q}`,
				time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}

func TestTheRoleOfAnInstance(t *testing.T) {
	withoutAWS(t)
	instance(t)
	s, _, cfg := signedLogs(t)
	s.requireRead(t, cfg, "ASIAINSTANCE instance-token")
}

// Through a proxy go all requests to the server, plain or in a tunnel, and none
// to the instance that we run on, which only we can ask.
func TestEverythingGoesThroughTheProxyButTheInstance(t *testing.T) {
	withoutAWS(t)
	instance(t)
	s, f, cfg := signedLogs(t)
	plain, err := url.Parse(cfg.AWS.Endpoint)
	require.NoError(t, err)
	secure := httptest.NewTLSServer(f)
	defer secure.Close()
	defer secure.CloseClientConnections()
	proxy := counterpart.ForwardingProxy(t, map[string]string{"s3.intern.invalid": plain.Host, "example.com:443": secure.Listener.Addr().String()})
	cfg.AWS.Proxy = proxy.URL

	cfg.AWS.Endpoint = "http://s3.intern.invalid"
	s.requireRead(t, cfg, "ASIAINSTANCE instance-token")
	require.Contains(t, proxy.Asked(), "GET s3.intern.invalid")

	cfg.AWS.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(cfg.AWS.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	cfg.AWS.Endpoint = "https://example.com"
	s.requireRead(t, cfg, "ASIAINSTANCE instance-token")
	require.Equal(t, []string{"CONNECT example.com:443", "GET s3.intern.invalid"}, proxy.Asked())

	cfg.AWS.Endpoint = "http://elsewhere.invalid"
	finding := collector(t, cfg).Check(t.Context())[0]
	require.NotEqual(t, collectors.Good, finding.Verdict)
}
