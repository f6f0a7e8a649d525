package logfile

import (
	"bytes"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Request is one request as an access log tells it.
type Request struct {
	Time   time.Time // zero where the line has none
	Method string
	Target string // path and query, percent-encoded as the client sent them
	Status int
	User   string // empty where nobody was named
	// Peer is who connected, and Forwarded what X-Forwarded-For said.
	Peer, Forwarded string
	Agent           string
	Bytes           int64 // sent; -1 where it is not told
}

// Path is the target without its query, decoded: whoever calls may encode any
// letter of it. What is not properly encoded is as it was logged.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	if decoded, err := url.PathUnescape(path); err == nil {
		return decoded
	}
	return path
}

// Query is what follows the target's question mark; what can't be read is left
// out.
func (r *Request) Query() url.Values {
	_, raw, _ := strings.Cut(r.Target, "?")
	q, _ := url.ParseQuery(raw)
	return q
}

// ErrNoRequest says that a line is none of an access log: servers write other
// things into the same file.
var ErrNoRequest = errors.New("not a line of an access log")

var (
	errFormat = errors.New("neither the combined format, JSON nor uvicorn's format")
	errDate   = errors.New("no date that can be read")
	errStatus = errors.New("no status")
)

// ParseRequest reads one line: NCSA's common or combined format, which nginx,
// Apache, gunicorn and others write, JSON of nginx, Envoy, Caddy or Traefik, or
// uvicorn's format, whose lines may have no date.
func ParseRequest(line []byte) (Request, error) {
	line = bytes.TrimSpace(line)
	if len(line) > 0 && line[0] == '{' {
		return parseJSON(line)
	}
	s := string(line)
	if m := combinedStart.FindStringSubmatch(s); m != nil {
		return parseCombined(m, s[len(m[0])-1:])
	}
	if m := uvicornLine.FindStringSubmatch(s); m != nil {
		return parseUvicorn(m)
	}
	if strings.Contains(s, " HTTP/1.") || strings.Contains(s, " HTTP/2") {
		return Request{}, errFormat
	}
	return Request{}, ErrNoRequest
}

// combinedStart is `host ident user [date] "`. A user may hold spaces, and what
// looks like a date, but no quote as it is.
var combinedStart = regexp.MustCompile(`^(\S+) \S+ (.{1,256}?) \[([^\]]{20,32})\] "`)

// combinedNumbers are status and bytes.
var combinedNumbers = regexp.MustCompile(`^ (\d{3}) (\d+|-)`)

// parseCombined reads what follows the start of a line:
//
//	"METHOD target HTTP/x" status bytes "referer" "agent" "forwarded for"
//
// where what follows the bytes may be missing.
func parseCombined(start []string, rest string) (Request, error) {
	r := Request{Peer: start[1], User: dash(unescape(strings.Trim(start[2], `"`))), Bytes: -1}
	var err error
	if r.Time, err = time.Parse(apacheDate, start[3]); err != nil {
		return r, errDate
	}
	request, rest, ok := quoted(rest)
	if !ok {
		return r, errFormat
	}
	m := combinedNumbers.FindStringSubmatch(rest)
	if m == nil {
		return r, errFormat
	}
	r.Status, _ = strconv.Atoi(m[1])
	r.Bytes = size(m[2])
	if _, rest, ok = quoted(rest[len(m[0]):]); ok { // the referer
		if r.Agent, rest, ok = quoted(rest); ok {
			r.Forwarded, _, _ = quoted(rest)
		}
	}
	r.Agent, r.Forwarded = dash(r.Agent), dash(r.Forwarded)
	return r, r.line(request)
}

// uvicornLine is `[<date>] INFO: <address> - "<request>" <status> <reason>`.
var uvicornLine = regexp.MustCompile(`^(?:(\d{4}[/-]\d\d[/-]\d\d[ T]\d\d:\d\d:\d\d)\S* )?INFO:? +(\S+) - "(.*)" (\d{3})(?: [A-Za-z' -]*)?$`)

func parseUvicorn(m []string) (Request, error) {
	r := Request{Peer: m[2], Bytes: -1}
	if m[1] != "" {
		var err error
		if r.Time, err = time.ParseInLocation("2006-01-02 15:04:05", strings.NewReplacer("/", "-", "T", " ").Replace(m[1]), time.Local); err != nil {
			return r, errDate
		}
	}
	r.Status, _ = strconv.Atoi(m[4])
	return r, r.line(m[3])
}

// The names that the fields of a JSON line have in common configurations and
// examples of nginx, Envoy, Caddy, Traefik and HAProxy, in the order of
// preference. A dot leads into an object.
var (
	jsonTime      = []string{"time_iso8601", "time", "ts", "@timestamp", "timestamp", "StartUTC", "start_time", "time_local", "msec"}
	jsonMethod    = []string{"request_method", "method", "request.method", "RequestMethod"}
	jsonTarget    = []string{"request_uri", "uri", "request.uri", "RequestPath", "path", "url", "x-envoy-original-path"}
	jsonStatus    = []string{"status", "status_code", "DownstreamStatus", "response_code", "code"}
	jsonUser      = []string{"remote_user", "user", "user_id", "username", "ClientUsername", "x_forwarded_user", "x-forwarded-user", "requester"}
	jsonPeer      = []string{"remote_addr", "request.client_ip", "request.remote_ip", "client_ip", "ClientHost", "remote_ip", "src", "downstream_remote_address_without_port", "downstream_remote_address", "client", "remote_address", "ip"}
	jsonForwarded = []string{"http_x_forwarded_for", "x_forwarded_for", "x-forwarded-for", "request.headers.X-Forwarded-For", "request_X-Forwarded-For", "forwarded_for"}
	jsonAgent     = []string{"http_user_agent", "user_agent", "request.headers.User-Agent", "request_User-Agent", "agent"}
	jsonBytes     = []string{"body_bytes_sent", "bytes_sent", "size", "DownstreamContentSize", "bytes", "response_size"}
)

func parseJSON(line []byte) (Request, error) {
	o, err := ParseObject(line)
	if err != nil {
		return Request{}, errors.New("begins as JSON and is none")
	}
	field := func(keys []string) string {
		for _, key := range keys {
			if s := dash(o.Text(key)); s != "" {
				return s
			}
		}
		return ""
	}
	r := Request{
		User: field(jsonUser), Peer: field(jsonPeer), Forwarded: field(jsonForwarded), Agent: field(jsonAgent),
		Bytes: size(field(jsonBytes)),
	}
	request := o.Text("request")
	if method, target := field(jsonMethod), field(jsonTarget); method != "" && target != "" {
		request = method + " " + target
	}
	if request == "" {
		return r, ErrNoRequest
	}
	if r.Status, err = strconv.Atoi(field(jsonStatus)); err != nil {
		return r, errStatus
	}
	if r.Time = o.Time(jsonTime...); r.Time.IsZero() {
		return r, errDate
	}
	return r, r.line(request)
}

// line takes `POST /acme/vision.git/git-upload-pack HTTP/1.1` apart.
func (r *Request) line(request string) error {
	method, target, ok := strings.Cut(request, " ")
	if !ok || method == "" || len(method) > 10 || strings.ToUpper(method) != method {
		return errors.New("the request can't be read")
	}
	if i := strings.LastIndex(target, " HTTP/"); i >= 0 {
		target = target[:i]
	}
	if u, err := url.Parse(target); err == nil && u.Scheme != "" && u.Host != "" { // the absolute form, by a proxy
		target = u.RequestURI()
	}
	if !strings.HasPrefix(target, "/") {
		return errors.New("the request has no path")
	}
	r.Method, r.Target = method, target
	return nil
}

// quoted reads a text in quotes, with what follows it.
func quoted(s string) (text, rest string, ok bool) {
	s = strings.TrimLeft(s, " ")
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return unescape(s[1:i]), s[i+1:], true
		}
	}
	return "", s, false
}

// unescape undoes \" \\ and \xHH, as Apache and nginx write them. Any other
// backslash stays: gunicorn escapes none, and DOMAIN\user is a name.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			switch next := s[i+1]; next {
			case '"', '\\':
				b.WriteByte(next)
				i++
				continue
			case 'x':
				if i+3 < len(s) {
					if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
						b.WriteByte(byte(n))
						i += 3
						continue
					}
				}
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func dash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// size reads a count of bytes; -1 where there is none.
func size(s string) int64 {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return n
	}
	return -1
}
