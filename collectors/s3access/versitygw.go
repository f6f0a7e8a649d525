package s3access

import (
	"strings"
	"time"

	"aiwatch/internal/event"
)

// versitygw's access log (v1.8.0, s3log/file.go) has the fields of the server
// access log up to ACL required, but quotes and escapes nothing, writes the
// month in full and the request URI without method and protocol. Key, referer,
// user agent and version id are the caller's text.
//
// A key with a newline makes several lines of one, and with enough patience
// whole forged records. No reader can tell them from true ones, so names in this
// log are claimed unless the operator says otherwise; what can be done is to be
// strict about each field: the line repeats bucket and key in its last but one
// field, and both must agree.

// parseVersitygw reads one line without its newline into r, which it resets.
func (p *lineParser) parseVersitygw(line string, r *record) error {
	*r = record{}
	var ok bool
	rest := line
	if r.owner, rest, ok = strings.Cut(rest, " "); !ok || !versionChars.all(r.owner) {
		return parseError("no bucket owner")
	}
	if r.bucket, rest, ok = bucketChars.cut(rest, maxBucket); !ok {
		return parseError("no bucket")
	}
	end := strings.Index(rest, "] ")
	if end < 0 || end > 40 {
		return parseError("no time")
	}
	at, err := time.Parse("[02/January/2006:15:04:05 -0700", rest[:end])
	if err != nil {
		return parseError("no time")
	}
	r.ms = at.UnixMilli()
	rest = rest[end+2:]
	if r.ip, rest, ok = cutAddress(rest); !ok {
		return parseError("no remote address")
	}
	if r.requester, rest, ok = strings.Cut(rest, " "); !ok || r.requester == "" {
		return parseError("no requester")
	}
	if r.requestID, rest, ok = idChars.cut(rest, maxRequestID); !ok {
		return parseError("no request id")
	}
	word, rest, ok := strings.Cut(rest, " ")
	name, known := strings.CutPrefix(word, "s3_")
	if !ok || !known && word != "ActionUnDetected" && word != "-" || known && !isWord(name) {
		return parseError("no operation")
	}
	r.operation = operationOf(name)

	rest, ok = strings.CutSuffix(rest, " Yes")
	if !ok {
		return parseError("no end of the line")
	}
	key, middle, ok := p.cutRepeatedKey(rest, r.bucket)
	if !ok {
		return parseError("key and its repetition differ")
	}
	rawKey := key
	if key == "" {
		rawKey = "-"
	}
	uri, middle, ok := strings.Cut(middle, " ")
	if !ok || uri == "" || uri[0] != '/' {
		return parseError("no request URI")
	}
	if middle, ok = cutVersitygwNumbers(middle, r); !ok {
		return parseError("no status and sizes")
	}
	version, ok := cutVersitygwMiddle(middle, r)
	if !ok {
		return parseError("no fields behind the user agent")
	}
	if r.bucket == "-" {
		r.bucket = ""
	}
	r.versionID = null(version)
	if r.operation == "REST.GET.OBJECT" {
		r.bytesSent = event.Number{} // always 0: what left is not told
	}
	p.place(r, key)
	p.ids = [4]string{r.requestID, r.operation, rawKey, version}
	r.id = p.ids[:]
	return nil
}

// cutRepeatedKey reads the key, which stands behind the operation as it is and
// once more in the last field as arn:aws:s3:::/bucket/key.
func (p *lineParser) cutRepeatedKey(s, bucket string) (key, middle string, ok bool) {
	const mark = " arn:aws:s3:::/"
	if bucket == "-" {
		bucket = ""
	}
	for before := s; ; {
		i := strings.LastIndex(before, mark)
		if i < 0 {
			return "", "", false
		}
		before = s[:i]
		path := s[i+len(mark):]
		if path == bucket || path == bucket+"/" {
			if middle, ok = strings.CutPrefix(before, "- "); ok {
				return "", middle, true
			}
			continue
		}
		if key, ok = strings.CutPrefix(path, bucket+"/"); !ok {
			continue
		}
		if middle, ok = strings.CutPrefix(before, key); ok && strings.HasPrefix(middle, " /") {
			return key, middle[1:], true
		}
	}
}

// cutVersitygwNumbers reads status, error, bytes, size, total and turnaround
// time. An error that is no S3 error is written in words.
func cutVersitygwNumbers(s string, r *record) (rest string, ok bool) {
	if rest, ok = cutNumbers(s, r); ok {
		return rest, true
	}
	if len(s) < 5 || s[3] != ' ' || !isDigits(s[:3]) {
		return "", false
	}
	words := s[4:]
	for from := 0; ; {
		i := strings.IndexByte(words[from:], ' ')
		if i < 0 {
			return "", false
		}
		from += i + 1
		if rest, ok = cutNumbers("- - "+words[from:], r); ok {
			r.status, r.errorCode = s[:3], words[:from-1]
			return rest, true
		}
	}
}

// cutVersitygwMiddle reads from the referer to the TLS version, from the right.
func cutVersitygwMiddle(s string, r *record) (version string, ok bool) {
	var f [7]string // TLS version, host header, authentication, cipher, signature, host id, version id
	for i := range f {
		at := strings.LastIndexByte(s, ' ')
		if at < 0 {
			return "", false
		}
		s, f[i] = s[:at], s[at+1:]
	}
	if f[0] != "-" && !strings.HasPrefix(f[0], "TLSv") || !errorChars.all(f[1]) || f[2] != "AuthHeader" || !errorChars.all(f[3]) || f[4] != "SigV4" || !versionChars.all(f[5]) || !isVersion(f[6]) {
		return "", false
	}
	r.hostHeader = null(f[1]) // the authentication is a constant and tells nothing
	referer, agent, ok := strings.Cut(s, " ")
	if !ok {
		return "", false
	}
	if referer != "-" && strings.IndexByte(agent, ' ') >= 0 {
		r.doubt = doubtMiddle
		return f[6], true
	}
	r.referer, r.agent = null(referer), null(agent)
	return f[6], true
}

// isVersitygwStart reports whether line is what versitygw writes when it opens
// its log, and nothing more.
func isVersitygwStart(line string) bool {
	at, ok := strings.CutPrefix(line, "log starts ")
	if !ok || len(at) > 80 {
		return false
	}
	at, mono, found := strings.Cut(at, " m=")
	if found && !errorChars.all(strings.TrimPrefix(mono, "+")) {
		return false
	}
	_, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", at)
	return err == nil
}
