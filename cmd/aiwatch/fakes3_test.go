package main

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"aiwatch/internal/s3sim"
)

// fakeS3 is an S3 server with one bucket, logs, whose objects lie side by side.
type fakeS3 struct {
	*s3sim.Server
	URL string
}

func newFakeS3(t *testing.T) *fakeS3 {
	t.Helper()
	f := &fakeS3{Server: s3sim.New("logs")}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// input is the stanza that reads the bucket.
func (f *fakeS3) input() string {
	return fmt.Sprintf(`
[aiwatch_s3://prod]
bucket = logs
prefix = prod/
start = %s
endpoint = %s
region = us-east-1
path_style = true
access_key_id = AKIAEXAMPLE
secret_access_key_env = S3_SECRET
interval = 1
`, logsBegin.Add(-24*time.Hour).Format(time.RFC3339), f.URL)
}

// logKey is the key of the nth log object.
func logKey(n int) string {
	return fmt.Sprintf("prod/%s-%016X", logsBegin.Add(time.Duration(n)*time.Second).Format("2006-01-02-15-04-05"), n)
}

// put makes text the nth log object.
func (f *fakeS3) put(n int, text []byte) {
	f.Put(logKey(n), s3sim.Object{Body: text, Modified: logsBegin})
}
