package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeS3 is an S3 server with one bucket, logs, whose objects lie side by side.
// It does what a collector asks of one, and can be told to misbehave.
type fakeS3 struct {
	*httptest.Server

	mu      sync.Mutex
	objects map[string]fakeObject
	keys    []string // sorted, nil when it is to be made anew
	fault   func(w http.ResponseWriter, r *http.Request, key string) (answered bool)
}

// fakeObject is an object that is held, or one that is made while it is read.
type fakeObject struct {
	body []byte
	open func() io.Reader // instead of body
	size int64
}

func (o fakeObject) etag() string {
	sum := fnv.New64a()
	_, _ = sum.Write(o.body)
	return fmt.Sprintf(`"%016x-%d"`, sum.Sum64(), o.size)
}

func newFakeS3(t *testing.T) *fakeS3 {
	t.Helper()
	f := &fakeS3{objects: map[string]fakeObject{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
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

func (f *fakeS3) put(key string, o fakeObject) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.open == nil {
		o.size = int64(len(o.body))
	}
	f.objects[key] = o
	f.keys = nil
}

func (f *fakeS3) drop(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, key)
	f.keys = nil
}

// misbehave has fault see every request first; nil ends that.
func (f *fakeS3) misbehave(fault func(w http.ResponseWriter, r *http.Request, key string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case fault != nil && fault(w, r, key):
	case bucket != "logs":
		s3Error(w, http.StatusNotFound, "NoSuchBucket")
	case key == "":
		f.list(w, r)
	default:
		f.get(w, r, key)
	}
}

func s3Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

func (f *fakeS3) get(w http.ResponseWriter, r *http.Request, key string) {
	f.mu.Lock()
	o, ok := f.objects[key]
	f.mu.Unlock()
	if !ok {
		s3Error(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if want := r.Header.Get("If-Match"); want != "" && want != o.etag() {
		s3Error(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("ETag", o.etag())
	if o.open == nil {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.body))
		return
	}
	body, from := o.open(), int64(0)
	if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		from, _ = strconv.ParseInt(strings.TrimSuffix(text, "-"), 10, 64)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, o.size-1, o.size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(o.size-from, 10))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.CopyN(io.Discard, body, from)
	}
	_, _ = io.Copy(w, body)
}

// list answers ListObjectsV2 for a bucket without folders below the prefix.
func (f *fakeS3) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		for key := range f.objects {
			f.keys = append(f.keys, key)
		}
		slices.Sort(f.keys)
	}
	query := r.URL.Query()
	after := max(query.Get("start-after"), query.Get("continuation-token"))
	limit := 1000
	if n, err := strconv.Atoi(query.Get("max-keys")); err == nil {
		limit = min(limit, n)
	}
	type content struct {
		Key, ETag, LastModified string
		Size                    int64
	}
	var answer struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
	}
	for _, key := range f.keys {
		if key <= after || !strings.HasPrefix(key, query.Get("prefix")) {
			continue
		}
		if n := len(answer.Contents); n == limit {
			answer.IsTruncated, answer.NextContinuationToken = true, answer.Contents[n-1].Key
			break
		}
		o := f.objects[key]
		answer.Contents = append(answer.Contents, content{key, o.etag(), logsBegin.Format(time.RFC3339), o.size})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(answer)
}
