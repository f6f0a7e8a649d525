package hec

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"aiwatch/forwarder"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// answer is what an endpoint answered.
type answer struct {
	status int
	header http.Header
	body   []byte
	broken error // the body broke off
	reply  *reply
}

// reply is HEC's own answer.
type reply struct {
	Text    string  `json:"text"`
	Code    *int    `json:"code"`
	Invalid *int    `json:"invalid-event-number"`
	AckID   *uint64 `json:"ackId"`
}

// answerBody is a body that was read.
type answerBody struct {
	*bytes.Reader
	read   []byte
	broken error
}

func (answerBody) Close() error { return nil }

// checkRetry has connection errors tried again and reads every answer: whatever
// it is, even a 503, it may say that a prefix was taken, so that the same body
// must not just be sent again.
func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return passing(err), nil
	}
	if _, done := resp.Body.(answerBody); done {
		return false, nil
	}
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	if len(read) > maxAnswer {
		err = fmt.Errorf("it is longer than %d bytes", maxAnswer)
	}
	resp.Body = answerBody{bytes.NewReader(read), read, err}
	return false, nil
}

// readAnswer takes what checkRetry has read.
func readAnswer(resp *http.Response) *answer {
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if b, ok := resp.Body.(answerBody); ok {
		a.body, a.broken = b.read, b.broken
	}
	a.reply = parseReply(a)
	return a
}

// parseReply returns HEC's own answer, nil when this is another.
func parseReply(a *answer) *reply {
	if a.broken != nil {
		return nil
	}
	var r reply
	if json.Unmarshal(a.body, &r) != nil || r.Code == nil || *r.Code < 0 || *r.Code >= len(actions) {
		return nil
	}
	return &r
}

// ackID returns the id by which the body, or its prefix, will be acknowledged.
func (a *answer) ackID() *uint64 {
	if a.reply == nil {
		return nil
	}
	return a.reply.AckID
}

// action is what a code causes.
type action int

const (
	success  action = iota // with After where it asks to slow down
	retry                  // the endpoint is not ready
	poison                 // an event is refused
	wrongRow               // the index is
	setting                // something is set up wrongly
	unmeant                // no answer to a body
)

// actions has HEC's codes by their number: what each causes and, for those that
// are a matter of settings, what can be done.
var actions = [...]struct {
	action action
	fix    string
}{
	0:  {success, ""},
	1:  {setting, "the token is disabled; enable it in Splunk under Settings, Data inputs, HTTP Event Collector"},
	2:  {setting, "no token arrived; a proxy may have dropped the Authorization header"},
	3:  {setting, "the Authorization header was not understood; a proxy may have changed it"},
	4:  {setting, "the token is not known there; compare it with the one in Splunk under Settings, Data inputs, HTTP Event Collector"},
	5:  {poison, ""},
	6:  {poison, ""},
	7:  {wrongRow, "the token may not write to this index; add the index to the token's allowed ones, make it, or move the held events with aiwatch queue reroute"},
	8:  {retry, ""},
	9:  {retry, ""},
	10: {setting, "the data channel did not arrive; a proxy may have dropped the X-Splunk-Request-Channel header"},
	11: {setting, "the data channel was not understood; a proxy may have changed the X-Splunk-Request-Channel header"},
	12: {poison, ""},
	13: {poison, ""},
	14: {setting, "acknowledgements are off for this token; turn on indexer acknowledgement for it, or set ack = auto"},
	15: {poison, ""},
	16: {setting, "the token arrived in the query string; a proxy may have rewritten the request"},
	17: {unmeant, ""},
	18: {retry, ""},
	19: {retry, ""},
	20: {retry, ""},
	21: {setting, "the token is not known there; compare it with the one in Splunk"},
	22: {setting, "the token is disabled; enable it in Splunk"},
	23: {retry, ""},
	24: {success, ""},
	25: {success, ""},
	26: {retry, ""},
	27: {retry, ""},
	28: {setting, "this Splunk Cloud wants sticky load balancing for acknowledgements; turn them off for the token, or use an endpoint that is sticky"},
}

// slowDown is the pause after an answer that asks for one.
const slowDown = time.Second

// outcome says what the answer to a body of so many events means.
func (a *answer) outcome(base string, events int, now time.Time) forwarder.Outcome {
	out := forwarder.Outcome{Code: -1, Text: a.words()}
	if a.status == http.StatusRequestEntityTooLarge {
		out.Verdict, out.Reason = forwarder.TooLarge, a.told(base)
		return out
	}
	if a.reply == nil {
		return a.foreign(base, out, now)
	}
	code := *a.reply.Code
	out.Code = code
	known := actions[code]
	if known.action == success && a.status != http.StatusOK {
		return a.foreign(base, out, now)
	}
	switch known.action {
	case success:
		out.Verdict = forwarder.Delivered
		if code != 0 {
			out.After = max(slowDown, a.retryAfter(now))
		}
		return out
	case retry:
		out.Verdict, out.After = forwarder.Retry, a.retryAfter(now)
		out.Taken, _ = a.prefix(events)
	case poison:
		out.Verdict = forwarder.Refused
		out.Taken, out.Named = a.prefix(events)
		// Splunk Cloud calls a body that is too large so [probed].
		out.MaybeSize = code == 6 && out.Taken == 0
	case wrongRow:
		out.Verdict = forwarder.HoldIndex
		out.Taken, _ = a.prefix(events)
	case setting:
		out.Verdict = forwarder.Hold
	case unmeant:
		return a.foreign(base, out, now)
	}
	out.Reason = a.reason(base)
	return out
}

// reason says what was seen and, where something can be done, what.
func (a *answer) reason(base string) string {
	if fix := a.fix(); fix != "" {
		return a.told(base) + ": " + fix
	}
	return a.told(base)
}

// fix says what can be done about the answer, empty where that is to wait.
func (a *answer) fix() string {
	if a.reply != nil && actions[*a.reply.Code].action != unmeant && actions[*a.reply.Code].action != success {
		return actions[*a.reply.Code].fix
	}
	if a.retryable() {
		return ""
	}
	return a.foreignFix()
}

// prefix returns how many events at the front were taken, as
// invalid-event-number has it: the position of the event that was not, and one
// more for an incorrect index [probed]. A number that can't be is none.
func (a *answer) prefix(events int) (taken int, named bool) {
	if a.reply.Invalid == nil {
		return 0, false
	}
	k := *a.reply.Invalid
	if *a.reply.Code == 7 && k > 0 {
		k--
	}
	if k < 0 || k >= events {
		return 0, false
	}
	return k, true
}

// foreign is the outcome of an answer that is not HEC's, by its status.
func (a *answer) foreign(base string, out forwarder.Outcome, now time.Time) forwarder.Outcome {
	out.Verdict, out.Reason = forwarder.Hold, a.reason(base)
	if a.retryable() {
		out.Verdict, out.After = forwarder.Retry, a.retryAfter(now)
	}
	return out
}

// retryable says whether the status of an answer that is not HEC's is one that
// passes by itself.
func (a *answer) retryable() bool {
	s := a.status
	return s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s >= 500 && s != http.StatusNotImplemented
}

func (a *answer) foreignFix() string {
	switch s := a.status; {
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		return "there is no HTTP Event Collector at this URL; the port is 8088 unless it was changed, and on Splunk Cloud the host begins with http-inputs"
	case s == http.StatusProxyAuthRequired:
		return "the proxy wants a user and password; give them in its URL"
	case s >= 300 && s < 400:
		return "redirects are not followed, because the token would go along; set url to where it points, if that is yours"
	case s == http.StatusUnsupportedMediaType:
		return "something on the way does not take gzip"
	case a.broken != nil || len(a.body) == 0:
		return "whether the events were taken is not known, so they are kept and sent again"
	default:
		return "something else than the HTTP Event Collector answers there; look at the URL and at the proxy"
	}
}

// told says what was seen.
func (a *answer) told(base string) string {
	if a.reply != nil {
		return fmt.Sprintf("%s answered HTTP %d, code %d (%s)", base, a.status, *a.reply.Code, a.words())
	}
	kind := "an answer that is not HEC's"
	switch {
	case a.broken != nil:
		kind = "an answer that broke off"
	case len(a.body) == 0:
		kind = "an empty answer"
	case a.html():
		kind = "a web page"
	}
	s := fmt.Sprintf("%s answered HTTP %d with %s", base, a.status, kind)
	if to := a.header.Get("Location"); to != "" {
		return s + fmt.Sprintf(", a redirect to %q", clean(to))
	}
	if w := a.words(); w != "" {
		s += fmt.Sprintf(" (%s)", w)
	}
	return s
}

func (a *answer) html() bool {
	return strings.Contains(a.header.Get("Content-Type"), "html") || bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<"))
}

// words are the answer's own.
func (a *answer) words() string {
	if a.reply != nil {
		return clean(a.reply.Text)
	}
	return clean(string(a.body))
}

const maxWords = 120 // characters

// clean makes a stranger's text fit for a log, a terminal and an event.
func clean(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)), " ")
	if r := []rune(s); len(r) > maxWords {
		return string(r[:maxWords]) + "…"
	}
	return s
}

// maxRetryAfter is the longest pause that an answer can ask for.
const maxRetryAfter = 15 * time.Minute

// retryAfter returns what the Retry-After header asks for, seconds or a date.
func (a *answer) retryAfter(now time.Time) time.Duration {
	v := a.header.Get("Retry-After")
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		if n < 0 {
			return 0
		}
		return time.Duration(min(n, int64(maxRetryAfter/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(0, t.Sub(now)), maxRetryAfter)
	}
	return 0
}
