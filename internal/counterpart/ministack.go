package counterpart

import (
	"path/filepath"
	"testing"
)

// AWS is a running ministack: SQS, and S3 that notifies it as AWS does.
type AWS struct {
	*Process
	URL       string // endpoint of every service, path-style for S3
	Region    string
	AccessKey string // any would do
	SecretKey string
}

// Ministack starts SQS and S3 whose bucket notifications reach queues, with the
// test event first and with AWS's encoding of keys.
func Ministack(tb testing.TB) *AWS {
	tb.Helper()
	python := filepath.Join(installed(tb, "ministack"), "bin", "python")
	a := &AWS{Region: "us-east-1", AccessKey: "test", SecretKey: "test"}
	dir := tb.TempDir()
	a.Process = start(tb, "ministack", func(address string) spec {
		return spec{
			path: python,
			args: []string{filepath.Join(filepath.Dir(python), "ministack")},
			// It would listen on every interface without BIND_HOST.
			env:   []string{"BIND_HOST=127.0.0.1", "GATEWAY_PORT=" + port(address), "PYTHONUNBUFFERED=1"},
			dir:   dir,
			ready: "http://" + address + "/_ministack/health",
		}
	})
	a.URL = "http://" + a.Address()
	return a
}
