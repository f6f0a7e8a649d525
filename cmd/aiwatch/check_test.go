package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/hecserver"
	"aiwatch/internal/s3sim"
)

// bench is a set-up that check finds nothing wrong with, for a test to break.
type bench struct {
	hec     http.Handler // the receiver, to be put behind something
	hecURL  string
	token   string // file
	s3      *fakeS3
	inputs  string // beside the local input
	hecMore string // further lines of [hec]
	aiwatch string // further stanzas
	logs    *logFolder
	dir     string
}

// Tokens of the bench's receiver.
const (
	disabledToken = "5a17c0de-0000-4000-8000-000000000002"
	unknownToken  = "5a17c0de-0000-4000-8000-00000000000f"
)

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), logs: newLogFolder(t), s3: newFakeS3(t)}
	b.logs.add(t, 5)
	text, _ := accessLines(0, 5, logsBegin)
	b.s3.put(0, text)
	var err error
	b.hec, err = hecserver.New(hecserver.Config{
		Tokens: []hecserver.Token{{Value: hecToken, Ack: true, Indexes: []string{"main"}}, {Value: disabledToken, Disabled: true}},
		Sink:   hecserver.NewCounter(),
	})
	require.NoError(t, err)
	b.hecURL = b.serve(t, b.hec).URL
	b.token = b.file(t, "token", hecToken+"\n", 0o600)
	b.inputs = b.s3.input()
	return b
}

func (b *bench) file(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(b.dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func (b *bench) serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// serveTLS serves with a certificate that example.com, 127.0.0.1 and ::1 are in,
// and writes its authority's certificate to a file.
func (b *bench) serveTLS(t *testing.T, h http.Handler) (url, ca string) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that a test wants to fail
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, b.file(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})), 0o644)
}

// queue adds an input that reads a queue which answers by h.
func (b *bench) queue(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	b.inputs += strings.Replace(b.s3.input(), "[aiwatch_s3://prod]", "[aiwatch_s3://queue]\nqueue_url = "+b.serve(t, h).URL+"/111122223333/logs", 1)
}

// setup writes the configuration down.
func (b *bench) setup(t *testing.T) setup {
	t.Helper()
	return newSetup(t, "[aiwatch_s3://local]\npath = "+b.logs.dir+"\n"+b.inputs,
		fmt.Sprintf("[hec]\nurl = %s\ntoken_file = %s\nindex = main\n%s\n%s", b.hecURL, b.token, b.hecMore, b.aiwatch))
}

// s3Answers has the bucket answer every request with an error.
func (b *bench) s3Answers(status int, code string, header ...string) {
	b.s3.Misbehave(func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		s3sim.Error(w, status, code)
		return true
	})
}

// sqsAnswers is a queue that answers every request with an error.
func sqsAnswers(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("X-Amzn-Query-Error", code+";Sender")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.sqs#`+strings.TrimPrefix(code, "AWS.SimpleQueueService.")+`","message":"no"}`)
	}
}

// TestCheckNamesCauseAndFix has one broken set-up for each cause, with the
// sentence that names it, the one that mends it, and the exit code.
func TestCheckNamesCauseAndFix(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the real program")
	}
	for _, tc := range []struct {
		name     string
		spoil    func(t *testing.T, b *bench)
		code     int
		sentence string
		fix      string
	}{
		{"nothing", func(*testing.T, *bench) {}, exitDone, "takes events for index main", ""},

		{
			"wrong token", func(t *testing.T, b *bench) { b.token = b.file(t, "token", unknownToken, 0o600) },
			exitUsage, "Invalid token", "compare it with the one in Splunk under Settings, Data inputs, HTTP Event Collector",
		},
		{
			"disabled token", func(t *testing.T, b *bench) { b.token = b.file(t, "token", disabledToken, 0o600) },
			exitUsage, "Token disabled", "enable it in Splunk",
		},
		{
			"wrong index of the destination", func(_ *testing.T, b *bench) { b.hecMore = "index = other" },
			exitUsage, "for index other", "add the index to the token's allowed ones",
		},
		{
			"wrong index of an input", func(_ *testing.T, b *bench) { b.inputs += "index = other\n" },
			exitUsage, "for index other", "aiwatch queue reroute",
		},
		{
			"receiver is no HEC", func(t *testing.T, b *bench) { b.hecURL = b.serve(t, http.NotFoundHandler()).URL },
			exitUsage, "404", "",
		},
		{
			"receiver refuses connections", func(_ *testing.T, b *bench) { b.hecURL = "http://127.0.0.1:1" },
			exitUnavailable, "http://127.0.0.1:1 refuses connections", "look whether the HTTP Event Collector is enabled",
		},
		{"TLS name of the destination", func(t *testing.T, b *bench) {
			url, ca := b.serveTLS(t, b.hec)
			b.hecURL, b.hecMore = strings.Replace(url, "127.0.0.1", "localhost", 1), "ca_file = "+ca
		}, exitUsage, "is for another name", "write the name of the certificate into url"},
		{
			"unknown CA of the destination", func(t *testing.T, b *bench) { b.hecURL, _ = b.serveTLS(t, b.hec) },
			exitUsage, "was issued by an unknown authority", "set ca_file to the authority's certificate",
		},
		{"known CA of the destination", func(t *testing.T, b *bench) {
			url, ca := b.serveTLS(t, b.hec)
			b.hecURL, b.hecMore = url, "ca_file = "+ca
		}, exitDone, "takes events for index main", ""},
		{
			"TLS where there is none", func(_ *testing.T, b *bench) { b.hecURL = strings.Replace(b.hecURL, "http:", "https:", 1) },
			exitUsage, "does not speak TLS", "write http:// into url",
		},
		{"clock, by the destination's", func(t *testing.T, b *bench) {
			b.hecURL = b.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
				b.hec.ServeHTTP(w, r)
			})).URL
		}, exitDone, "the clocks differ", "set the clocks by NTP"},
		{"no acknowledgements", func(t *testing.T, b *bench) {
			b.hecURL = startReceiver(t, false, nil).URL()
		}, exitDone, "accepted, not confirmed", "turn on indexer acknowledgement for the token"},

		{"TLS name of the bucket", func(t *testing.T, b *bench) {
			url, ca := b.serveTLS(t, b.s3)
			b.inputs = strings.Replace(b.inputs, b.s3.URL, strings.Replace(url, "127.0.0.1", "localhost", 1), 1) + "ca_file = " + ca + "\n"
		}, exitUsage, "is for another name", "set endpoint to a name that the certificate holds"},
		{"unknown CA of the bucket", func(t *testing.T, b *bench) {
			url, _ := b.serveTLS(t, b.s3)
			b.inputs = strings.Replace(b.inputs, b.s3.URL, url, 1)
		}, exitUsage, "signed by an unknown authority", "set ca_file"},
		{
			"clock, by the bucket's", func(_ *testing.T, b *bench) { b.s3Answers(http.StatusForbidden, "RequestTimeTooSkewed") },
			exitUnavailable, "the clock of this machine differs", "set the clock, by NTP",
		},
		{"region", func(_ *testing.T, b *bench) {
			b.s3Answers(http.StatusMovedPermanently, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-1")
		}, exitUsage, "the bucket is in another region: eu-west-1", "set region = eu-west-1"},
		{
			"permission to list", func(_ *testing.T, b *bench) { b.s3Answers(http.StatusForbidden, "AccessDenied") },
			exitUnavailable, "access denied", "grant s3:ListBucket on arn:aws:s3:::logs",
		},
		{"permission to read", func(_ *testing.T, b *bench) {
			b.s3.Misbehave(func(w http.ResponseWriter, _ *http.Request, key string) bool {
				if key != "" {
					s3sim.Error(w, http.StatusForbidden, "AccessDenied")
				}
				return key != ""
			})
		}, exitUnavailable, "access denied", "grant s3:GetObject on arn:aws:s3:::logs/prod/*"},
		{
			"no such bucket", func(_ *testing.T, b *bench) {
				b.inputs = strings.Replace(b.inputs, "bucket = logs", "bucket = absent", 1)
			},
			exitUsage, "there is no bucket absent", "correct bucket",
		},
		{
			"secret key", func(_ *testing.T, b *bench) { b.s3Answers(http.StatusForbidden, "SignatureDoesNotMatch") },
			exitUsage, "the secret key does not fit the access key", "correct secret_access_key",
		},
		{"no such queue", func(t *testing.T, b *bench) {
			b.queue(t, sqsAnswers(http.StatusBadRequest, "AWS.SimpleQueueService.NonExistentQueue"))
		}, exitUsage, "there is no such queue", "correct queue_url"},
		{"permission on the queue", func(t *testing.T, b *bench) {
			b.queue(t, sqsAnswers(http.StatusForbidden, "AccessDenied"))
		}, exitUnavailable, "access denied", "grant sqs:ReceiveMessage, sqs:DeleteMessage"},
		{
			"no such folder", func(_ *testing.T, b *bench) { b.logs.dir += "/absent" },
			exitUsage, "/absent", "",
		},

		{
			"secret file is not there", func(_ *testing.T, b *bench) { b.token += ".absent" },
			exitUsage, "token.absent", "",
		},
		{
			"secret file that others can read", func(t *testing.T, b *bench) { b.token = b.file(t, "token", hecToken, 0o644) },
			exitUsage, "mode 0644", "chmod 600 it",
		},
		{
			"secret in no variable", func(_ *testing.T, b *bench) { b.inputs = strings.Replace(b.inputs, "S3_SECRET", "NO_SUCH", 1) },
			exitUsage, `NO_SUCH`, "set it where aiwatch is started",
		},
		{
			"unknown key", func(_ *testing.T, b *bench) { b.hecMore = "ca_fil = /etc/ca.pem" },
			exitUsage, "ca_fil: there is no such setting", "the nearest known one is ca_file",
		},
		{
			"unknown stanza", func(_ *testing.T, b *bench) { b.aiwatch = "[quueue]\nmax_bytes = 1GiB" },
			exitUsage, "quueue", "[queue]",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			tc.spoil(t, b)
			s := b.setup(t)
			p := s.start(t, "check")
			require.Equal(t, tc.code, p.end(t), p.out.String()+p.log.String())
			told := p.out.String() + p.log.String()
			require.Contains(t, told, tc.sentence)
			require.Contains(t, told, tc.fix)
			for _, secret := range []string{hecToken, disabledToken, unknownToken, "secret\n"} {
				require.NotContains(t, told, secret)
			}
			require.NoDirExists(t, s.state, "check makes no state")
		})
	}
}

// TestCheckOfAStateThatARunHolds ends with 75 and says what to do.
func TestCheckOfAStateThatARunHolds(t *testing.T) {
	whole(t)
	hec := startReceiver(t, true, nil)
	logs := newLogFolder(t)
	logs.add(t, 5)
	s := newSetup(t, logs.input(), hecStanza(hec.URL()))
	run := s.start(t, "run")
	eventually(t, "the run delivers", func() bool { return hec.missing(logs.ids) == 0 })
	p := s.start(t, "check")
	require.Equal(t, exitHeld, p.end(t), p.out.String())
	require.Contains(t, p.out.String(), "another run holds the state in "+s.state)
	require.Contains(t, p.out.String(), "otherwise stop it, or give this run a folder of its own with --state")
	run.works(t)
}
