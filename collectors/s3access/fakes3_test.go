package s3access

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"aiwatch/internal/s3sim"
)

// A fakeS3 is a server whose objects were written now.
type fakeS3 struct{ *s3sim.Server }

func newFakeS3(t testing.TB) (*fakeS3, Config) {
	f := &fakeS3{s3sim.New("logs")}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, Config{
		Bucket: "logs",
		AWS:    AWS{Endpoint: server.URL, PathStyle: true, Region: "us-east-1", AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "not-a-secret", Timeout: 10 * time.Second},
	}
}

func (f *fakeS3) put(key string, body []byte) { f.Put(key, s3sim.Object{Body: body, Modified: now}) }

// faultIf answers requests for a key with an error while on is true.
func faultIf(on *bool, status int, code, key string) s3sim.Fault {
	return func(w http.ResponseWriter, _ *http.Request, asked string) bool {
		if *on && asked == key {
			s3sim.Error(w, status, code)
			return true
		}
		return false
	}
}
