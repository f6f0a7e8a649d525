package gitrepo

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A request is what an access log tells of one.
type request struct {
	at        time.Time
	user      string
	src       string
	forwarded string // X-Forwarded-For
	agent     string
	method    string
	path      string // decoded, without query
	status    int
	bytesOut  int64 // -1 where it is not told
}

var errAccess = errors.New("neither Apache's combined format nor JSON")

// accessLine reads a line of a web server's or proxy's access log. One log may
// serve several sources: what is not about Git is passed over.
func (c *Collector) accessLine(out collectors.Output, l *logLine) error {
	if !concernsGit(l.text) {
		return nil
	}
	req, err := parseAccess(l.text)
	if err != nil {
		return c.damaged(out, l, err)
	}
	if req.at.Before(l.after) {
		return nil
	}
	repo, act := gitRequest(req)
	if act == nil || req.status < 200 || req.status > 299 {
		return nil
	}
	r, id, name := c.findRepo(repo)
	ev := &event.Event{
		Operation: act.operation, Action: act.action, AssetType: "repository", AssetID: id, AssetName: name, GitRepo: id,
		Status: "success", StatusCode: strconv.Itoa(req.status), UserAgent: req.agent,
		LFSOid: act.oid, ID: lineID(l),
	}
	c.stamp(l, ev, req.at)
	ev.Host = hostOf(id)
	ev.Src = collectors.ClientAddress(req.src, req.forwarded, c.cfg.TrustedProxies)
	if req.bytesOut >= 0 && act.action == "downloaded" {
		ev.BytesOut = event.N(req.bytesOut)
	}
	if act.oid != "" {
		ev.AssetDigest = "sha256:" + act.oid
	}
	if req.user == "" {
		ev.UserType, ev.UserConfidence = "anonymous", confidenceUnknown
	} else {
		c.logActor(ev, req.user)
	}
	if r != nil && act.operation == "repo.pushed" {
		p := push{At: req.at.UnixMilli(), Principal: req.user, Src: ev.Src, Agent: req.agent}
		if err := r.rememberPush(out, p, l); err != nil {
			return err
		}
	}
	return out.Emit(ev)
}

// concernsGit tells cheaply whether a line may be about Git.
func concernsGit(line []byte) bool {
	for _, word := range []string{"git-upload-pack", "git-receive-pack", "lfs"} {
		if bytes.Contains(line, []byte(word)) {
			return true
		}
	}
	return false
}

// A gitAct is what a request does to a repository.
type gitAct struct{ operation, action, oid string }

// gitRequest returns the repository's path and what is done to it; nil when the
// request is no transfer. The smart protocol is
// https://git-scm.com/docs/http-protocol, an LFS object's path that of Git LFS,
// Gitea (…/info/lfs/objects/<oid>) and GitLab (…/gitlab-lfs/objects/<oid>/<size>).
func gitRequest(req *request) (repo string, act *gitAct) {
	p := req.path
	if req.method == "POST" {
		if repo, ok := strings.CutSuffix(p, "/git-upload-pack"); ok {
			return repo, &gitAct{operation: "repo.fetched", action: "downloaded"}
		}
		if repo, ok := strings.CutSuffix(p, "/git-receive-pack"); ok {
			return repo, &gitAct{operation: "repo.pushed", action: "uploaded"}
		}
		return "", nil
	}
	if req.method != "GET" && req.method != "PUT" {
		return "", nil
	}
	for _, mark := range []string{"/info/lfs/", "/gitlab-lfs/", "/lfs/"} {
		repo, rest, ok := strings.Cut(p, mark)
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(rest, "/") {
			if len(part) != 64 || !isOid(part) {
				continue
			}
			if req.method == "PUT" {
				return repo, &gitAct{operation: "lfs.uploaded", action: "uploaded", oid: part}
			}
			return repo, &gitAct{operation: "lfs.downloaded", action: "downloaded", oid: part}
		}
	}
	return "", nil
}

func hostOf(id string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(id, "git:"), "/")
	return host
}

// parseAccess reads a line in Apache's common or combined format, as nginx
// writes it too, or a JSON object.
func parseAccess(line []byte) (*request, error) {
	line = bytes.TrimSpace(line)
	if len(line) > 0 && line[0] == '{' {
		return parseAccessJSON(line)
	}
	return parseCombinedFormat(string(line))
}

// parseCombinedFormat reads
//
//	host ident user [02/Jan/2006:15:04:05 -0700] "METHOD target HTTP/x" status bytes "referer" "agent" "forwarded for"
//
// where what follows the bytes may be missing. A user may hold spaces.
func parseCombinedFormat(s string) (*request, error) {
	head, rest, ok := strings.Cut(s, " [")
	if !ok {
		return nil, errAccess
	}
	stamp, rest, ok := strings.Cut(rest, "] ")
	if !ok {
		return nil, errAccess
	}
	req := &request{bytesOut: -1}
	var err error
	if req.at, err = time.Parse("02/Jan/2006:15:04:05 -0700", stamp); err != nil {
		return nil, errAccess
	}
	f := strings.SplitN(head, " ", 3)
	if len(f) != 3 {
		return nil, errAccess
	}
	req.src, req.user = f[0], dash(unescapeLog(strings.Trim(f[2], `"`)))
	line, rest, ok := quoted(rest)
	if !ok {
		return nil, errAccess
	}
	if err := req.requestLine(line); err != nil {
		return nil, err
	}
	f = strings.SplitN(strings.TrimLeft(rest, " "), " ", 3)
	if len(f) < 2 {
		return nil, errAccess
	}
	if req.status, err = strconv.Atoi(f[0]); err != nil {
		return nil, errAccess
	}
	if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n >= 0 {
		req.bytesOut = n
	}
	if len(f) < 3 {
		return req, nil
	}
	if _, rest, ok = quoted(f[2]); ok { // the referer
		var agent string
		if agent, rest, ok = quoted(rest); ok {
			req.agent = dash(agent)
			if forwarded, _, ok := quoted(rest); ok {
				req.forwarded = dash(forwarded)
			}
		}
	}
	return req, nil
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
			return unescapeLog(s[1:i]), s[i+1:], true
		}
	}
	return "", s, false
}

// unescapeLog undoes \" \\ and \xHH, as Apache and nginx write them.
func unescapeLog(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == 'x' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
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

// requestLine reads `POST /acme/vision.git/git-upload-pack HTTP/1.1`.
func (r *request) requestLine(line string) error {
	f := strings.Fields(line)
	if len(f) < 2 {
		return errAccess
	}
	r.method = f[0]
	return r.target(f[1])
}

func (r *request) target(target string) error {
	raw, _, _ := strings.Cut(target, "?")
	if _, rest, ok := strings.Cut(raw, "://"); ok { // the absolute form, by a proxy
		_, rest, _ = strings.Cut(rest, "/")
		raw = "/" + rest
	}
	p, err := url.PathUnescape(raw)
	if err != nil {
		return errAccess
	}
	r.path = p
	return nil
}

// Keys of JSON access logs, as the examples of nginx, Caddy, Traefik, Envoy and
// HAProxy have them. A dot leads into an object.
var (
	accessTime      = []string{"time_iso8601", "time", "ts", "@timestamp", "timestamp", "StartUTC", "start_time", "time_local", "msec"}
	accessUser      = []string{"remote_user", "user", "user_id", "username", "ClientUsername"}
	accessSrc       = []string{"remote_addr", "request.client_ip", "request.remote_ip", "client_ip", "ClientHost", "remote_ip", "src", "client", "ip"}
	accessForwarded = []string{"http_x_forwarded_for", "x_forwarded_for", "request.headers.X-Forwarded-For", "request_X-Forwarded-For", "forwarded_for"}
	accessAgent     = []string{"http_user_agent", "user_agent", "request.headers.User-Agent", "request_User-Agent", "agent"}
	accessMethod    = []string{"request_method", "method", "request.method", "RequestMethod"}
	accessTarget    = []string{"request_uri", "uri", "request.uri", "RequestPath", "path", "url"}
	accessRequest   = []string{"request"}
	accessStatus    = []string{"status", "status_code", "DownstreamStatus", "response_code", "code"}
	accessBytes     = []string{"body_bytes_sent", "bytes_sent", "size", "DownstreamContentSize", "bytes", "response_size"}
)

func parseAccessJSON(line []byte) (*request, error) {
	o, err := parseObject(line)
	if err != nil {
		return nil, errAccess
	}
	req := &request{
		user: dash(o.text(accessUser...)), src: o.text(accessSrc...), forwarded: dash(o.text(accessForwarded...)),
		agent: dash(o.text(accessAgent...)), method: o.text(accessMethod...), bytesOut: -1,
	}
	if req.at = o.time(accessTime...); req.at.IsZero() {
		return nil, errors.New("no time")
	}
	switch target := o.text(accessTarget...); {
	case target != "" && req.method != "":
		err = req.target(target)
	default:
		err = req.requestLine(o.text(accessRequest...))
	}
	if err != nil {
		return nil, err
	}
	if req.status, err = strconv.Atoi(o.text(accessStatus...)); err != nil {
		return nil, errors.New("no status")
	}
	if n, err := strconv.ParseInt(o.text(accessBytes...), 10, 64); err == nil && n >= 0 {
		req.bytesOut = n
	}
	return req, nil
}

// An object is a JSON object of a log line.
type jsonObject map[string]any

func parseObject(line []byte) (jsonObject, error) {
	if err := boundJSON(line); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var o jsonObject
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("no object")
	}
	return o, nil
}

// value returns what stands at a key, which may lead through objects by dots.
func (o jsonObject) value(key string) any {
	if v, ok := o[key]; ok {
		return v
	}
	head, rest, ok := strings.Cut(key, ".")
	if !ok {
		return nil
	}
	inner, ok := o[head].(map[string]any)
	if !ok {
		return nil
	}
	return jsonObject(inner).value(rest)
}

// text returns the first value of the keys that is a text or a number; of a list
// its first.
func (o jsonObject) text(keys ...string) string {
	for _, key := range keys {
		v := o.value(key)
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		switch v := v.(type) {
		case string:
			if v != "" {
				return v
			}
		case json.Number:
			return v.String()
		case bool:
			return strconv.FormatBool(v)
		}
	}
	return ""
}

// time returns the first value of the keys that is a date: RFC 3339, Apache's
// format, or seconds or milliseconds since 1970.
func (o jsonObject) time(keys ...string) time.Time {
	for _, key := range keys {
		if t := parseDate(o.text(key)); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// dateLayouts are the forms in which logs write a date.
var dateLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05",
	"02/Jan/2006:15:04:05 -0700",
}

func parseDate(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case f > 1e11 && f < 1e14: // milliseconds
			return time.UnixMilli(int64(f))
		case f > 1e8 && f <= 1e11:
			return time.UnixMilli(int64(f * 1000))
		}
		return time.Time{}
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
