// Package s3sim stands in for S3 in tests of scale and of faults: an
// http.Handler that holds one bucket and answers what a reader asks, GetObject
// with ranges and If-Match, and ListObjectsV2. A test can have it answer
// anything else.
//
// It believes every caller and writes nothing. How a real server behaves is for
// internal/counterpart to show. It is for tests alone and imports nothing of
// ours.
package s3sim

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Server is an S3 server with one bucket, addressed by path.
type Server struct {
	bucket string

	mu      sync.Mutex
	objects map[string]Object
	keys    []string // sorted, nil when they are to be sorted anew
	page    int
	fault   Fault
	gets    int
}

// An Object is one that is held, or one that is made while it is read.
type Object struct {
	Body     []byte
	Open     func() io.Reader // instead of Body
	Size     int64            // of what Open gives
	Modified time.Time
}

// ETag is what the server calls this content of an object.
func (o Object) ETag() string {
	sum := fnv.New64a()
	_, _ = sum.Write(o.Body)
	return fmt.Sprintf(`"%016x-%d"`, sum.Sum64(), o.Size)
}

// A Fault sees a request before the server does, and reports whether it has
// answered it. The key is empty for a listing.
type Fault func(w http.ResponseWriter, r *http.Request, key string) (answered bool)

// New returns a server whose bucket is empty.
func New(bucket string) *Server {
	return &Server{bucket: bucket, objects: map[string]Object{}, page: 1000}
}

// Put puts an object in place of what is under the key.
func (s *Server) Put(key string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Open == nil {
		o.Body = bytes.Clone(o.Body)
		o.Size = int64(len(o.Body))
	}
	s.objects[key] = o
	s.keys = nil
}

// Get returns the object under the key, an empty one where there is none.
func (s *Server) Get(key string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key]
}

// Drop removes what is under the key.
func (s *Server) Drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	s.keys = nil
}

// Misbehave has the fault see every request first; nil ends that.
func (s *Server) Misbehave(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Page sets how many keys a page of a listing has at most.
func (s *Server) Page(keys int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = keys
}

// Gets counts the objects that were asked for.
func (s *Server) Gets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets
}

// Error answers with an error of S3.
func Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case fault != nil && fault(w, r, key):
	case bucket != s.bucket:
		Error(w, http.StatusNotFound, "NoSuchBucket")
	case key == "":
		s.list(w, r.URL.Query())
	default:
		s.get(w, r, key)
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	o, ok := s.objects[key]
	s.gets++
	s.mu.Unlock()
	if !ok {
		Error(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if want := r.Header.Get("If-Match"); want != "" && want != o.ETag() {
		Error(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	body := io.Reader(bytes.NewReader(o.Body))
	if o.Open != nil {
		body = o.Open()
	}
	from, to, status := int64(0), o.Size, http.StatusOK
	if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		first, last, _ := strings.Cut(spec, "-")
		from, _ = strconv.ParseInt(first, 10, 64)
		if last != "" {
			to, _ = strconv.ParseInt(last, 10, 64)
			to = min(to+1, o.Size)
		}
		if from >= o.Size {
			Error(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		_, _ = io.CopyN(io.Discard, body, from)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, o.Size))
		status = http.StatusPartialContent
	}
	w.Header().Set("ETag", o.ETag())
	w.Header().Set("Content-Length", strconv.FormatInt(to-from, 10))
	w.WriteHeader(status)
	_, _ = io.CopyN(w, body, to-from)
}

// A listing is the answer to ListObjectsV2.
type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	EncodingType          string   `xml:",omitempty"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []content
	CommonPrefixes        []common
}

type content struct {
	Key, ETag, LastModified string
	Size                    int64
}

type common struct{ Prefix string }

// behind ends a continuation token that means: behind all keys of this folder.
const behind = "\U0010ffff"

func (s *Server) list(w http.ResponseWriter, q url.Values) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(s.listing(q))
}

func (s *Server) listing(q url.Values) *listing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		for key := range s.objects {
			s.keys = append(s.keys, key)
		}
		slices.Sort(s.keys)
	}
	prefix, delimiter := q.Get("prefix"), q.Get("delimiter")
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	limit := s.page
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		limit = min(limit, n)
	}
	answer := &listing{EncodingType: q.Get("encoding-type")}
	encoded := func(key string) string { return key }
	if answer.EncodingType == "url" {
		encoded = url.QueryEscape
	}
	last := ""
	start, _ := slices.BinarySearch(s.keys, max(prefix, after))
	for _, key := range s.keys[start:] {
		if key == after {
			continue
		}
		if !strings.HasPrefix(key, prefix) {
			break
		}
		folder := ""
		if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			folder = key[:len(prefix)+i+len(delimiter)]
			if last == folder+behind {
				continue
			}
		}
		if len(answer.Contents)+len(answer.CommonPrefixes) == limit {
			answer.IsTruncated, answer.NextContinuationToken = true, last
			break
		}
		if folder != "" {
			answer.CommonPrefixes = append(answer.CommonPrefixes, common{encoded(folder)})
			last = folder + behind
			continue
		}
		o := s.objects[key]
		answer.Contents = append(answer.Contents, content{encoded(key), o.ETag(), o.Modified.UTC().Format(time.RFC3339), o.Size})
		last = key
	}
	return answer
}
