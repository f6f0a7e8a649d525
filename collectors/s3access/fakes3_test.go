package s3access

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeS3 is an S3 server with what a collector uses of it, and with faults on
// demand.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string]fakeObject
	pages   int // keys of one page; 0 is 1000
	// fault may answer a request itself; it is called without the lock.
	fault func(w http.ResponseWriter, r *http.Request, key string) bool
	lists []string // prefix and start-after of each listing
	gets  int
}

type fakeObject struct {
	body     []byte
	open     func() io.Reader // instead of body
	size     int64
	modified time.Time
}

func (o fakeObject) etag() string {
	sum := md5.Sum(o.body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func newFakeS3(t testing.TB) (*fakeS3, Config) {
	f := &fakeS3{objects: map[string]fakeObject{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, Config{
		Bucket: "logs",
		AWS:    AWS{Endpoint: server.URL, PathStyle: true, Region: "us-east-1", AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "not-a-secret", Timeout: 10 * time.Second},
	}
}

func (f *fakeS3) put(key string, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[key] = fakeObject{body: bytes.Clone(body), size: int64(len(body)), modified: now}
}

func (f *fakeS3) drop(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, key)
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if f.fault != nil && f.fault(w, r, key) {
		return
	}
	switch {
	case bucket != "logs":
		s3Error(w, 404, "NoSuchBucket")
	case key == "":
		f.list(w, r.URL.Query())
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
	f.gets++
	f.mu.Unlock()
	if !ok {
		s3Error(w, 404, "NoSuchKey")
		return
	}
	if want := r.Header.Get("If-Match"); want != "" && want != o.etag() {
		s3Error(w, 412, "PreconditionFailed")
		return
	}
	body := io.Reader(bytes.NewReader(o.body))
	if o.open != nil {
		body = o.open()
	}
	from, to := int64(0), o.size
	status := 200
	if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		first, last, _ := strings.Cut(spec, "-")
		from, _ = strconv.ParseInt(first, 10, 64)
		if last != "" {
			to, _ = strconv.ParseInt(last, 10, 64)
			to = min(to+1, o.size)
		}
		if from >= o.size {
			s3Error(w, 416, "InvalidRange")
			return
		}
		_, _ = io.CopyN(io.Discard, body, from)
		status = 206
	}
	w.Header().Set("ETag", o.etag())
	w.Header().Set("Content-Length", strconv.FormatInt(to-from, 10))
	w.WriteHeader(status)
	_, _ = io.CopyN(w, body, to-from)
}

func (f *fakeS3) list(w http.ResponseWriter, q url.Values) {
	f.mu.Lock()
	defer f.mu.Unlock()
	prefix, delimiter := q.Get("prefix"), q.Get("delimiter")
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	f.lists = append(f.lists, prefix+" "+after)
	limit := f.pages
	if limit == 0 {
		limit = 1000
	}
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		limit = min(limit, n)
	}
	type content struct {
		Key, ETag, LastModified string
		Size                    int64
	}
	type common struct{ Prefix string }
	var answer struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
		CommonPrefixes        []common
	}
	answer.EncodingType = "url"
	keys := make([]string, 0, len(f.objects))
	for key := range f.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	seen := map[string]bool{}
	last := ""
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		name := key
		if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			name = key[:len(prefix)+i+1]
			if seen[name] || strings.HasPrefix(after, name) && strings.HasSuffix(after, "\xff") {
				continue
			}
		}
		if len(answer.Contents)+len(answer.CommonPrefixes) == limit {
			answer.IsTruncated, answer.NextContinuationToken = true, last
			break
		}
		if name != key {
			seen[name] = true
			answer.CommonPrefixes = append(answer.CommonPrefixes, common{url.QueryEscape(name)})
			last = name + "\xff"
			continue
		}
		o := f.objects[key]
		answer.Contents = append(answer.Contents, content{url.QueryEscape(key), o.etag(), o.modified.UTC().Format(time.RFC3339), o.size})
		last = key
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(answer)
}

// faultIf answers requests for a key with an error while on is true.
func faultIf(on *bool, status int, code, key string) func(http.ResponseWriter, *http.Request, string) bool {
	return func(w http.ResponseWriter, _ *http.Request, asked string) bool {
		if *on && asked == key {
			s3Error(w, status, code)
			return true
		}
		return false
	}
}
