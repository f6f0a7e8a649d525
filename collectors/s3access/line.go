package s3access

import (
	"strings"

	"aiwatch/internal/event"
)

// The server access log's line, after AWS's "Amazon S3 server access log
// format": fields with one space between them,
//
//	1 owner 2 bucket 3 [time] 4 ip 5 requester 6 request id 7 operation 8 key
//	9 "request uri" 10 status 11 error 12 bytes 13 size 14 total 15 turnaround
//	16 "referer" 17 "user agent" 18 version id 19 host id 20 signature version
//	21 cipher 22 authentication type 23 host header 24 TLS version
//	25 access point ARN 26 ACL required 27 source region
//
// and whatever AWS adds behind. Quotes inside quoted fields are not escaped, and
// their text is the caller's choice. So the line is read from its certain side:
// fields 1 to 15 from the left, where nothing that a caller writes can hold a
// space; 18 and the rest from the right of the last quote. What lies between is
// referer and user agent. Where their border can't be told, both are left out
// and the record says so: a caller must be able neither to move a field nor to
// turn the record of his access into an unreadable one.

// A lineParser reads server access log lines. It keeps the last date it read,
// and decoded keys in one buffer; it is used by one goroutine.
type lineParser struct {
	day   [11]byte // 06/Feb/2019
	dayMS int64
	arena strings.Builder
	ids   [4]string
}

// parse reads one line without its newline into r, which it resets. The
// strings of r are parts of line or of the arena.
func (p *lineParser) parse(line string, r *record) error {
	*r = record{}
	var ok bool
	rest := line

	if r.owner, rest, ok = strings.Cut(rest, " "); !ok || r.owner == "" || r.owner[0] == '"' {
		return parseError("no bucket owner")
	}
	if r.bucket, rest, ok = bucketChars.cut(rest, maxBucket); !ok {
		return parseError("no bucket")
	}
	if r.bucket == "-" {
		r.bucket = ""
	}
	if len(rest) < 29 || rest[28] != ' ' {
		return parseError("no time")
	}
	if r.ms, ok = p.time(rest[:28]); !ok {
		return parseError("no time")
	}
	rest = rest[29:]
	if r.ip, rest, ok = cutAddress(rest); !ok {
		return parseError("no remote address")
	}
	var rawKey string
	r.requester, r.requestID, r.operation, rawKey, rest, ok = cutCaller(rest)
	if !ok {
		return parseError("no requester, request id and operation")
	}
	var uri, doubt string
	version := "-"
	switch uri, rest, doubt = cutURI(rest, r); doubt {
	case "":
		version, r.doubt = cutTail(rest, r)
	case doubtURI:
		r.doubt = doubt
	default:
		return parseError(doubt)
	}
	p.ids = [4]string{r.requestID, r.operation, rawKey, version}
	r.id = p.ids[:]
	if version != "-" {
		r.versionID = version
	}
	p.locate(r, rawKey, uri)
	return nil
}

// time reads [06/Feb/2019:00:00:38 +0000].
func (p *lineParser) time(s string) (ms int64, ok bool) {
	if s[0] != '[' || s[27] != ']' || s[3] != '/' || s[7] != '/' || s[12] != ':' || s[15] != ':' || s[18] != ':' || s[21] != ' ' {
		return 0, false
	}
	if s[1:12] != string(p.day[:]) {
		dayMS, ok := dayOf(s[1:12])
		if !ok {
			return 0, false
		}
		copy(p.day[:], s[1:12])
		p.dayMS = dayMS
	}
	h, ok1 := two(s[13], s[14])
	m, ok2 := two(s[16], s[17])
	sec, ok3 := two(s[19], s[20])
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || sec > 60 {
		return 0, false
	}
	offset, ok := zone(s[22:27])
	return p.dayMS + ((int64(h)*60+int64(m)-offset)*60+int64(sec))*1000, ok
}

// zone reads +0000 in minutes.
func zone(s string) (minutes int64, ok bool) {
	if s == "+0000" {
		return 0, true
	}
	h, ok1 := two(s[1], s[2])
	m, ok2 := two(s[3], s[4])
	minutes = int64(h)*60 + int64(m)
	switch {
	case !ok1 || !ok2 || h > 14 || m > 59:
		return 0, false
	case s[0] == '+':
		return minutes, true
	case s[0] == '-':
		return -minutes, true
	}
	return 0, false
}

func two(a, b byte) (int, bool) {
	return int(a-'0')*10 + int(b-'0'), a-'0' <= 9 && b-'0' <= 9
}

var months = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// dayOf reads 06/Feb/2019 as the Unix time of its midnight in UTC.
func dayOf(s string) (ms int64, ok bool) {
	d, ok1 := two(s[0], s[1])
	c, ok2 := two(s[7], s[8])
	y, ok3 := two(s[9], s[10])
	for i, name := range months {
		if s[3:6] == name {
			ms, ok := midnight(c*100+y, i+1, d)
			return ms, ok && ok1 && ok2 && ok3
		}
	}
	return 0, false
}

// cutAddress reads an address or "-" and the space behind it.
func cutAddress(s string) (address, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, "- "); ok {
		return "-", rest, true
	}
	return addressChars.cut(s, maxAddress)
}

// cutCaller reads requester, request id, operation and key. Only the requester
// can hold spaces (CloudFront Origin Access Identity E...), and only S3 writes
// the two fields behind it: the first place where they fit is theirs.
func cutCaller(s string) (requester, requestID, operation, key, rest string, ok bool) {
	end := strings.IndexByte(s, ' ')
	for range 8 { // a requester of more words is none
		if end <= 0 {
			return "", "", "", "", "", false
		}
		if id, after, ok := idChars.cut(s[end+1:], maxRequestID); ok {
			op, after, ok1 := strings.Cut(after, " ")
			key, after, ok2 := strings.Cut(after, " ")
			if ok1 && ok2 && isOperation(op) && key != "" {
				return s[:end], id, op, key, after, true
			}
		}
		next := strings.IndexByte(s[end+1:], ' ')
		if next < 0 {
			return "", "", "", "", "", false
		}
		end += 1 + next
	}
	return "", "", "", "", "", false
}

// What cutURI could not tell apart.
const (
	noURI    = "no request URI, status and sizes"
	doubtURI = "the end of the request URI can't be told"
)

// cutURI reads the request URI and fields 10 to 15. A request URI is method,
// target and protocol, and no server takes a target with a space. So the first
// end that is followed by a status and its neighbours is the end where the text
// before it has that shape; otherwise it must be the only one.
func cutURI(s string, r *record) (uri, rest, doubt string) {
	if s, found := strings.CutPrefix(s, "- "); found {
		rest, ok := cutNumbers(s, r)
		if !ok {
			return "", "", noURI
		}
		return "", rest, ""
	}
	if s == "" || s[0] != '"' {
		return "", "", noURI
	}
	s = s[1:]
	doubt = noURI
	for from := 0; ; {
		i := strings.IndexByte(s[from:], '"')
		if i < 0 {
			return uri, rest, doubt
		}
		end := from + i
		from = end + 1
		if from == len(s) || s[from] != ' ' {
			continue
		}
		var at numbers
		after, fits := at.cut(s[end+2:])
		if !fits {
			continue
		}
		if doubt == "" {
			r.status, r.errorCode, r.bytesSent, r.objectSize = "", "", event.Number{}, event.Number{}
			return "", "", doubtURI // two ends fit, and the shape tells neither
		}
		uri, rest, doubt = s[:end], after, ""
		at.into(r)
		if isRequestLine(uri) {
			return uri, rest, ""
		}
	}
}

// isRequestLine reports whether s is a request line: two spaces, a protocol
// behind the second, or a null.
func isRequestLine(s string) bool {
	if s == "-" {
		return true
	}
	method := strings.IndexByte(s, ' ')
	if method < 0 {
		return false
	}
	target := strings.IndexByte(s[method+1:], ' ')
	if target <= 0 {
		return false
	}
	protocol := s[method+1+target+1:]
	return strings.HasPrefix(protocol, "HTTP/") && len(protocol) <= len("HTTP/1.1") && strings.IndexByte(protocol, ' ') < 0
}

// numbers are fields 10 to 13.
type numbers struct {
	status, errorCode     string
	bytesSent, objectSize event.Number
}

func (n *numbers) into(r *record) {
	r.status, r.errorCode, r.bytesSent, r.objectSize = n.status, n.errorCode, n.bytesSent, n.objectSize
}

// cutNumbers reads fields 10 to 15 and the space behind them into r.
func cutNumbers(s string, r *record) (rest string, ok bool) {
	var n numbers
	if rest, ok = n.cut(s); ok {
		n.into(r)
	}
	return rest, ok
}

// cut reads fields 10 to 15 and the space behind them.
func (n *numbers) cut(s string) (rest string, ok bool) {
	switch {
	case len(s) > 4 && s[3] == ' ' && isDigits(s[:3]):
		n.status, rest = s[:3], s[4:]
	case strings.HasPrefix(s, "- "):
		rest = s[2:]
	default:
		return "", false
	}
	var word string
	if word, rest, ok = errorChars.cut(rest, maxErrorCode); !ok {
		return "", false
	}
	n.errorCode = null(word)
	if n.bytesSent, rest, ok = cutNumber(rest); !ok {
		return "", false
	}
	if n.objectSize, rest, ok = cutNumber(rest); !ok {
		return "", false
	}
	if _, rest, ok = cutNumber(rest); !ok {
		return "", false
	}
	_, rest, ok = cutNumber(rest)
	return rest, ok
}

// cutNumber reads a whole number or "-" and the space behind it. A number that
// can't be kept exactly is absent.
func cutNumber(s string) (n event.Number, rest string, ok bool) {
	var v int64
	for i := range len(s) {
		c := s[i]
		switch {
		case c-'0' <= 9 && i < 18:
			v = v*10 + int64(c-'0')
		case c == ' ' && i > 0:
			return event.N(v), s[i+1:], true
		case c == '-' && i == 0 && len(s) > 1 && s[1] == ' ':
			return event.Number{}, s[2:], true
		case c-'0' <= 9 && i < 40:
			v = 1 << 62
		default:
			return event.Number{}, "", false
		}
	}
	return event.Number{}, "", false
}

// What cutTail could not tell apart.
const (
	doubtMiddle = "referer and user agent can't be told apart"
	doubtTail   = "the end of the user agent can't be told"
)

// cutTail reads fields 16 to 26. It returns the version id as the log writes it.
func cutTail(s string, r *record) (version, doubt string) {
	// The common case: a null or a quoted referer, a quoted user agent, no other
	// quote in the line.
	if len(s) > 1 && s[0] == '"' {
		if q1 := strings.IndexByte(s[1:], '"') + 1; q1 > 0 && q1+2 < len(s) && s[q1+1] == ' ' && s[q1+2] == '"' {
			agent := q1 + 3
			if n := strings.IndexByte(s[agent:], '"'); n >= 0 {
				end := agent + n
				if tail := s[end+1:]; strings.IndexByte(tail, '"') < 0 && (tail == "" || tail[0] == ' ') {
					t, ok := readTail(tail)
					if ok {
						t.into(r)
						r.referer, r.agent = null(s[1:q1]), null(s[agent:end])
						return t.version, ""
					}
				}
			}
		}
	}
	return cutOddTail(s, r)
}

// cutOddTail is cutTail for lines whose referer or user agent is not quoted or
// holds quotes.
func cutOddTail(s string, r *record) (version, doubt string) {
	// An unquoted null referer.
	noReferer := false
	if after, ok := strings.CutPrefix(s, "- "); ok {
		noReferer, s = true, after
		if after, ok := strings.CutPrefix(s, "- "); ok { // and an unquoted null agent
			if t, ok := readTail(" " + after); ok && strings.IndexByte(after, '"') < 0 {
				t.into(r)
				return t.version, ""
			}
			return "-", doubtTail
		}
	}
	if s == "" || s[0] != '"' {
		return "-", doubtTail
	}
	end, t, ok := agentEnd(s)
	if !ok {
		return "-", doubtTail
	}
	middle := s[1:end] // without the outer quotes
	const border = `" "`
	switch first, last := strings.Index(middle, border), strings.LastIndex(middle, border); {
	case noReferer:
		t.into(r)
		r.agent = null(middle)
		return t.version, ""
	case first >= 0 && first == last:
		t.into(r)
		r.referer, r.agent = null(middle[:first]), null(middle[first+len(border):])
		return t.version, ""
	case first >= 0:
		t.into(r)
		return t.version, doubtMiddle
	case t.version == "-":
		// A quoted referer and an unquoted null agent, which was taken for the
		// version id.
		if after, ok := strings.CutPrefix(s[end:], `" -`); ok && strings.IndexByte(middle, '"') < 0 {
			if t, ok := readTail(after); ok {
				t.into(r)
				r.referer = null(middle)
				return t.version, ""
			}
		}
	}
	return "-", doubtTail
}

// agentEnd finds the quote that ends the user agent: the last one behind which
// a tail fits. S3 writes no quote behind the user agent, and since 2019 it
// writes at least six fields there. Where a full tail stands further left and
// only a short one on the right, either the line is older and its agent pretends
// one, or fields with quotes were added: nobody can tell.
func agentEnd(s string) (end int, t tail, ok bool) {
	if s[len(s)-1] == '"' && len(s) > 1 {
		end, ok = len(s)-1, true
		t = tail{version: "-"}
	}
	const full = 6
	for i := len(s) - 2; i > 0; i-- {
		if s[i] != '"' || s[i+1] != ' ' {
			continue
		}
		left, fits := readTail(s[i+1:])
		if !fits {
			continue
		}
		if !ok {
			end, t, ok = i, left, true
			if t.fields >= full {
				return end, t, true
			}
		} else if left.fields >= full {
			return 0, tail{}, false
		}
	}
	return end, t, ok
}

// A tail is fields 18 to 26.
type tail struct {
	version, authType, hostHeader, accessPoint, aclRequired string
	fields                                                  int
}

func (t *tail) into(r *record) {
	r.authType, r.hostHeader, r.accessPoint, r.aclRequired = null(t.authType), null(t.hostHeader), null(t.accessPoint), null(t.aclRequired)
}

// readTail reads what follows the user agent, from the space before the version
// id on; a line may end after any field. It reports whether the fields look as
// S3 writes them.
func readTail(s string) (t tail, ok bool) {
	t.version = "-"
	if s == "" {
		return t, true
	}
	var f [9]string
	n := 0
	for s != "" && n < len(f) {
		s = s[1:] // the space
		i := strings.IndexByte(s, ' ')
		if i < 0 {
			f[n], s = s, ""
		} else {
			f[n], s = s[:i], s[i:]
		}
		if f[n] == "" {
			return tail{}, false
		}
		n++
		// A host id can hold a space: the signature version tells.
		if n == 4 && !isSignature(f[2]) && isSignature(f[3]) {
			f[2], n = f[3], 3
		}
	}
	t.fields = n
	t.version, t.authType, t.hostHeader, t.accessPoint, t.aclRequired = f[0], f[4], f[5], f[7], f[8]
	switch {
	case !isVersion(f[0]),
		n > 1 && strings.IndexByte(f[1], '"') >= 0,
		n > 2 && !isSignature(f[2]) && n > 3,
		n > 4 && !isWord(f[4]),
		n > 6 && f[6] != "-" && !strings.HasPrefix(f[6], "TLS") && !strings.HasPrefix(f[6], "SSL"),
		n > 7 && f[7] != "-" && !strings.HasPrefix(f[7], "arn:"),
		n > 8 && !isWord(f[8]):
		return tail{}, false
	}
	return t, true
}

func null(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// charset is a set of bytes.
type charset [256]bool

func chars(s string) (set charset) {
	for i := range len(s) {
		set[s[i]] = true
	}
	return set
}

const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var (
	bucketChars  = chars(letters + digits + ".-_")
	addressChars = chars(digits + "abcdefABCDEF:.")
	idChars      = chars(letters + digits + "-_")
	wordChars    = chars(letters + digits + "-")
	errorChars   = chars(letters + digits + ".-_:")
	versionChars = chars(letters + digits + "-_.~+/=")
)

func (c *charset) all(s string) bool {
	for i := range len(s) {
		if !c[s[i]] {
			return false
		}
	}
	return s != ""
}

// cut reads a field of at least one and at most limit bytes of the set and the
// space behind it.
func (c *charset) cut(s string, limit int) (field, rest string, ok bool) {
	for i := range len(s) {
		if !c[s[i]] {
			return s[:i], s[i+1:], s[i] == ' ' && 0 < i && i <= limit
		}
	}
	return "", "", false
}

// Lengths in bytes that no true field exceeds.
const (
	maxBucket    = 255
	maxAddress   = 45
	maxRequestID = 64
	maxErrorCode = 128
)

func isBucket(s string) bool    { return len(s) <= maxBucket && bucketChars.all(s) }
func isWord(s string) bool      { return len(s) <= 64 && wordChars.all(s) }
func isVersion(s string) bool   { return len(s) <= 1024 && versionChars.all(s) }
func isSignature(s string) bool { return s == "-" || strings.HasPrefix(s, "Sig") && len(s) < 16 }

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return s != ""
}

// isOperation reports whether s is an operation: REST.GET.OBJECT,
// S3.COMPUTE.OBJECT.CHECKSUM, BATCH.DELETE.OBJECT, WEBSITE..., SOAP.GetObject.
func isOperation(s string) bool {
	api, rest, ok := strings.Cut(s, ".")
	if !ok || rest == "" || len(s) > 128 {
		return false
	}
	switch api {
	case "REST", "S3", "BATCH", "WEBSITE", "SOAP":
	default:
		for i := range len(api) {
			if api[i] < 'A' || api[i] > 'Z' {
				return false
			}
		}
		if api == "" || strings.IndexByte(rest, '.') < 0 {
			return false
		}
	}
	dot := true // a word has to follow
	for i := range len(rest) {
		c := rest[i]
		if !idChars[c] && (c != '.' || dot) {
			return false
		}
		dot = c == '.'
	}
	return !dot
}

// locate sets key and asset id. The log writes a key URL-encoded twice, but once
// for the acts that S3's own services do; a plus is a plus. An act on an object
// whose key is "-" can be told from one without key by the request's target.
func (p *lineParser) locate(r *record, raw, uri string) {
	if r.bucket == "" {
		return
	}
	if raw == "-" && !(strings.HasSuffix(r.operation, ".OBJECT") && targetEndsWithDash(uri)) {
		p.place(r, "")
		return
	}
	if strings.IndexByte(raw, '%') < 0 {
		p.place(r, raw)
		return
	}
	twice := r.operation != "BATCH.DELETE.OBJECT" && r.operation != "S3.EXPIRE.OBJECT"
	start := p.begin(r.bucket, len(raw))
	p.arena.WriteByte('/')
	for i := 0; i < len(raw); {
		c, n := unescape(raw[i:])
		if twice && c == '%' {
			// The first decoding gives a percent sign: the second one reads on in
			// what the first gives.
			c, n = unescapeTwice(raw[i:], n)
		}
		p.arena.WriteByte(c)
		i += n
	}
	p.end(r, start)
}

// place sets key and asset id of an object, or of the bucket where key is empty.
func (p *lineParser) place(r *record, key string) {
	if r.bucket == "" {
		return
	}
	start := p.begin(r.bucket, len(key))
	if key != "" {
		p.arena.WriteByte('/')
		p.arena.WriteString(key)
	}
	p.end(r, start)
}

// begin makes room for an asset id and writes it up to the bucket. A full
// buffer is left to the strings that were cut from it.
func (p *lineParser) begin(bucket string, key int) (start int) {
	need := len("s3:///") + len(bucket) + key
	if p.arena.Cap()-p.arena.Len() < need {
		p.arena = strings.Builder{}
		p.arena.Grow(max(64<<10, need))
	}
	start = p.arena.Len()
	p.arena.WriteString("s3://")
	p.arena.WriteString(bucket)
	return start
}

func (p *lineParser) end(r *record, start int) {
	r.assetID = p.arena.String()[start:]
	if at := len("s3://") + len(r.bucket) + 1; at < len(r.assetID) {
		r.key = r.assetID[at:]
	}
}

// unescape reads one byte of URL-encoded text and returns how much it took.
// What is no escape stands for itself.
func unescape(s string) (c byte, n int) {
	if s[0] == '%' && len(s) > 2 {
		if hi, lo := unhex[s[1]], unhex[s[2]]; hi >= 0 && lo >= 0 {
			return byte(hi)<<4 | byte(lo), 3
		}
	}
	return s[0], 1
}

// unescapeTwice reads one byte of twice encoded text whose first n bytes are
// the first decoding's percent sign.
func unescapeTwice(s string, n int) (c byte, used int) {
	var digit [2]byte
	used = n
	for i := range digit {
		if used >= len(s) {
			return '%', n
		}
		d, m := unescape(s[used:])
		digit[i] = d
		used += m
	}
	if hi, lo := unhex[digit[0]], unhex[digit[1]]; hi >= 0 && lo >= 0 {
		return byte(hi)<<4 | byte(lo), used
	}
	return '%', n
}

var unhex = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range 10 {
		t['0'+i] = int8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = int8(10+i), int8(10+i)
	}
	return t
}()

// targetEndsWithDash reports whether a request line's path ends in /-.
func targetEndsWithDash(uri string) bool {
	_, target, _ := strings.Cut(uri, " ")
	target, _, _ = strings.Cut(target, " ")
	path, _, _ := strings.Cut(target, "?")
	return strings.HasSuffix(path, "/-")
}
