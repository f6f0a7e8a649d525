package counterpart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// VersitygwOptions are what a test may want of the S3 server.
type VersitygwOptions struct {
	// EventWebhook is a URL that gets the server's S3 events as POST. It must
	// answer before the server starts: it is sent s3:TestEvent first.
	EventWebhook string
}

// S3Server is a running versitygw over a folder.
type S3Server struct {
	*Process
	URL       string // endpoint, to be used with path-style addressing
	Region    string
	AccessKey string // of root
	SecretKey string
	// AccessLog is the file that the server writes its access log to, in a
	// dialect of its own: one line for each request, written at its end.
	AccessLog string

	binary string
}

// Versitygw starts an S3 server with versioning, its own users and an access log.
func Versitygw(tb testing.TB, options VersitygwOptions) *S3Server {
	tb.Helper()
	binary := filepath.Join(installed(tb, "versitygw"), "bin", "versitygw")
	dir := tb.TempDir()
	data, versions, users := filepath.Join(dir, "data"), filepath.Join(dir, "versions"), filepath.Join(dir, "users")
	for _, folder := range []string{data, versions, users} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	s := &S3Server{
		Region:    "us-east-1",
		AccessKey: "root-access-key",
		SecretKey: "root-secret-key",
		AccessLog: filepath.Join(dir, "access.log"),
		binary:    binary,
	}
	s.Process = start(tb, "versitygw", func(address string) spec {
		args := []string{
			"--port", address, "--region", s.Region, "--quiet", "--health", "/healthz",
			"--access-log", s.AccessLog, "--iam-dir", users,
		}
		if options.EventWebhook != "" {
			args = append(args, "--event-webhook-url", options.EventWebhook)
		}
		return spec{
			path:  binary,
			args:  append(args, "posix", "--versioning-dir", versions, data),
			env:   []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
			ready: "http://" + address + "/healthz",
		}
	})
	s.URL = "http://" + s.Address()
	return s
}

// AddUser makes a user of the server who may do what bucket policies and
// ownership allow. The name is the access key, as the access log shows it.
func (s *S3Server) AddUser(tb testing.TB, accessKey, secretKey string) {
	tb.Helper()
	command := exec.CommandContext(
		tb.Context(), s.binary, "admin", "--access", s.AccessKey, "--secret", s.SecretKey,
		"--endpoint-url", s.URL, "--region", s.Region,
		"create-user", "--access", accessKey, "--secret", secretKey, "--role", "user",
	)
	if out, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("add the S3 user %s: %v: %s", accessKey, err, strings.TrimSpace(string(out)))
	}
}
