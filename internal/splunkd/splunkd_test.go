package splunkd_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
	"aiwatch/internal/splunkd"
	"aiwatch/internal/splunkdsim"
)

func client(t *testing.T, r *splunkdsim.REST) *splunkd.Client {
	t.Helper()
	c, err := splunkd.New(splunkd.Config{URI: r.URI, Session: conf.NewSecret(r.Session), CAFile: r.CAFile})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestCredentials(t *testing.T) {
	r := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	c := client(t, r)
	secret := func(s string) conf.Secret { return conf.NewSecret(s) }

	_, err := c.Credential(t.Context(), "mlflow-prod")
	require.ErrorIs(t, err, splunkd.ErrNoCredential)

	require.NoError(t, c.SetCredential(t.Context(), "mlflow-prod", secret("first & =")))
	got, err := c.Credential(t.Context(), "mlflow-prod")
	require.NoError(t, err)
	require.Equal(t, "first & =", got.Reveal())

	require.NoError(t, c.SetCredential(t.Context(), "mlflow-prod", secret("second")))
	got, err = c.Credential(t.Context(), "mlflow-prod")
	require.NoError(t, err)
	require.Equal(t, "second", got.Reveal())

	r.Put("other", "theirs", "x")
	for i := range 40 { // more than splunkd lists unasked
		require.NoError(t, c.SetCredential(t.Context(), fmt.Sprintf("n%02d", i), secret("x")))
	}
	names, err := c.Credentials(t.Context())
	require.NoError(t, err)
	require.Len(t, names, 41)
	require.NotContains(t, names, "theirs")

	require.NoError(t, c.DeleteCredential(t.Context(), "mlflow-prod"))
	require.ErrorIs(t, c.DeleteCredential(t.Context(), "mlflow-prod"), splunkd.ErrNoCredential)
	require.Contains(t, r.Calls(), "GET /servicesNS/nobody/TA-aiwatch/storage/passwords/aiwatch%3Amlflow-prod%3A")
}

func TestNames(t *testing.T) {
	r := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	c := client(t, r)
	for _, name := range []string{"", "a:b", "../x", "a b", "-x", strings.Repeat("x", 101), "a%2Fb", "é"} {
		require.Error(t, c.SetCredential(t.Context(), name, conf.NewSecret("x")), name)
		require.Error(t, c.DeleteCredential(t.Context(), name), name)
		_, err := c.Credential(t.Context(), name)
		require.Error(t, err, name)
	}
	require.Empty(t, r.Calls())
}

func TestToken(t *testing.T) {
	r := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	c, err := splunkd.New(splunkd.Config{URI: r.URI, Token: conf.NewSecret(r.Token), CAFile: r.CAFile})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.Credentials(t.Context())
	require.NoError(t, err)
}

func TestLogin(t *testing.T) {
	r := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	c, err := splunkd.New(splunkd.Config{URI: r.URI, CAFile: r.CAFile})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.Credentials(t.Context())
	require.ErrorIs(t, err, splunkd.ErrUnauthorized)
	err = c.Login(t.Context(), r.User, conf.NewSecret("wrong-password"))
	require.ErrorContains(t, err, "Login failed")
	require.NotContains(t, err.Error(), "wrong-password")
	require.NoError(t, c.Login(t.Context(), r.User, conf.NewSecret(r.Password)))
	_, err = c.Credentials(t.Context())
	require.NoError(t, err)
}

func TestForbidden(t *testing.T) {
	r := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	r.Forbid()
	err := client(t, r).SetCredential(t.Context(), "x", conf.NewSecret("the-secret"))
	require.ErrorContains(t, err, "list_storage_passwords")
	require.NotContains(t, err.Error(), "the-secret")
}

// TestTrust: whose certificate is believed.
func TestTrust(t *testing.T) {
	plain := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	named := splunkdsim.StartREST(t, splunkdsim.RESTOptions{Names: []string{"127.0.0.1"}})
	foreign := splunkdsim.StartREST(t, splunkdsim.RESTOptions{Names: []string{"splunk.example.com"}})
	ask := func(uri, caFile string) error {
		c, err := splunkd.New(splunkd.Config{URI: uri, Session: conf.NewSecret(plain.Session), CAFile: caFile})
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Credentials(t.Context())
		return err
	}
	require.NoError(t, ask(plain.URI, plain.CAFile), "Splunk's own certificate, on loopback")
	require.NoError(t, ask(named.URI, named.CAFile))
	require.ErrorContains(t, ask(plain.URI, named.CAFile), "verify splunkd's certificate against "+named.CAFile)
	require.ErrorContains(t, ask(plain.URI, ""), "the system's authorities")
	require.ErrorContains(t, ask(foreign.URI, foreign.CAFile), "127.0.0.1", "a name that is another's is no name")
	require.Empty(t, foreign.Calls())

	_, err := splunkd.New(splunkd.Config{URI: plain.URI, CAFile: filepath.Join(t.TempDir(), "absent.pem")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAddress(t *testing.T) {
	for _, uri := range []string{"", "http://127.0.0.1:8089", "https://", "https://user:pw@h:8089", "https://h:8089/path", "127.0.0.1:8089"} {
		_, err := splunkd.New(splunkd.Config{URI: uri})
		require.ErrorContains(t, err, "want https://host:port", uri)
	}
}

// TestRedirect: the session key goes nowhere else.
func TestRedirect(t *testing.T) {
	other := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	server := httptest.NewTLSServer(http.RedirectHandler(other.URI, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	_, err := clientOf(t, server).Credential(t.Context(), "x")
	require.ErrorContains(t, err, "redirects are not followed")
	require.Empty(t, other.Calls())
}

func clientOf(t *testing.T, server *httptest.Server) *splunkd.Client {
	t.Helper()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, pemOf(server), 0o600))
	c, err := splunkd.New(splunkd.Config{URI: server.URL, Session: conf.NewSecret("s"), CAFile: caFile})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// TestOtherAnswers: what is no splunkd is told, and none of its text obeyed.
func TestOtherAnswers(t *testing.T) {
	body, code := "", 200
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	c := clientOf(t, server)
	for _, try := range []struct {
		code int
		body string
		want string
	}{
		{200, "<html>", "is not the JSON that was asked for"},
		{500, "<html>", "splunkd answers 500"},
		{500, `{"messages":[{"type":"ERROR","text":"\u001b[31mred\n"}]}`, `\x1b[31mred\n`},
		{200, `{"entry":[]}`, "no such entry"},
		{200, `{"entry":[{"content":{"realm":"other","username":"x","clear_password":"p"}}]}`, "no such entry"},
		{200, `{"entry":[` + strings.Repeat(" ", 9<<20), "larger than 8 MiB"},
	} {
		code, body = try.code, try.body
		_, err := c.Credential(t.Context(), "x")
		require.ErrorContains(t, err, try.want)
	}
}

func TestCAFile(t *testing.T) {
	home := t.TempDir()
	require.Empty(t, splunkd.CAFile(""))
	require.Empty(t, splunkd.CAFile(home))
	write := func(path, text string) string {
		path = filepath.Join(home, filepath.FromSlash(path))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	shipped := write("etc/auth/cacert.pem", "x")
	require.Equal(t, shipped, splunkd.CAFile(home))
	own := write("etc/auth/own/ca.pem", "x")
	for _, value := range []string{"$SPLUNK_HOME/etc/auth/own/ca.pem", "${SPLUNK_HOME}/etc/auth/own/ca.pem", own, "own/ca.pem"} {
		write("etc/system/local/server.conf", "[general]\nserverName = hf01\n[sslConfig]\nsslPassword = $7$x\nsslRootCAPath = "+value+"\n")
		require.Equal(t, own, splunkd.CAFile(home), value)
	}
	write("etc/system/local/server.conf", "[sslConfig]\nsslRootCAPath = /absent.pem\n")
	require.Equal(t, shipped, splunkd.CAFile(home))
}

func pemOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
