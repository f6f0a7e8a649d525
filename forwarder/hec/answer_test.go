package hec

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/forwarder"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func answered(status int, body string, header ...string) *answer {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(body)))}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	retry, err := checkRetry(context.Background(), resp, nil)
	if retry || err != nil {
		panic("an answer is never tried again by itself")
	}
	return readAnswer(resp)
}

// TestEveryCodeHasItsAction is the table of codes, as a body of ten events meets
// them.
func TestEveryCodeHasItsAction(t *testing.T) {
	const (
		delivered = forwarder.Delivered
		retry     = forwarder.Retry
		hold      = forwarder.Hold
		index     = forwarder.HoldIndex
		refused   = forwarder.Refused
		tooLarge  = forwarder.TooLarge
	)
	for _, c := range []struct {
		name    string
		answer  *answer
		verdict forwarder.Verdict
		want    forwarder.Outcome // but for verdict, text and reason
		reason  string            // is part of it
	}{
		{"0", answered(200, `{"text":"Success","code":0}`), delivered, forwarder.Outcome{}, ""},
		{"0 with ackId", answered(200, `{"text":"Success","code":0,"ackId":0}`), delivered, forwarder.Outcome{}, ""},
		{"1", answered(403, `{"text":"Token disabled","code":1}`), hold, forwarder.Outcome{Code: 1}, "enable it in Splunk"},
		{"2", answered(401, `{"text":"Token is required","code":2}`), hold, forwarder.Outcome{Code: 2}, "no token arrived"},
		{"3", answered(401, `{"text":"Invalid authorization","code":3}`), hold, forwarder.Outcome{Code: 3}, "Authorization header"},
		{"4", answered(403, `{"text":"Invalid token","code":4}`), hold, forwarder.Outcome{Code: 4}, "not known there"},
		{"5", answered(400, `{"text":"No data","code":5}`), refused, forwarder.Outcome{Code: 5}, "No data"},
		{"6", answered(400, `{"text":"Invalid data format","code":6,"invalid-event-number":4}`), refused, forwarder.Outcome{Code: 6, Taken: 4, Named: true}, ""},
		{"6 at 0", answered(400, `{"text":"Invalid data format","code":6,"invalid-event-number":0}`), refused, forwarder.Outcome{Code: 6, Named: true, MaybeSize: true}, ""},
		{"6 unnamed", answered(400, `{"text":"Invalid data format","code":6}`), refused, forwarder.Outcome{Code: 6, MaybeSize: true}, ""},
		{"6 outside", answered(400, `{"text":"Invalid data format","code":6,"invalid-event-number":10}`), refused, forwarder.Outcome{Code: 6, MaybeSize: true}, ""},
		{"7", answered(400, `{"text":"Incorrect index","code":7,"invalid-event-number":1}`), index, forwarder.Outcome{Code: 7}, "aiwatch queue reroute"},
		{"7 behind a prefix", answered(400, `{"text":"Incorrect index","code":7,"invalid-event-number":4}`), index, forwarder.Outcome{Code: 7, Taken: 3}, ""},
		{"7 as k", answered(400, `{"text":"Incorrect index","code":7,"invalid-event-number":0}`), index, forwarder.Outcome{Code: 7}, ""},
		{"8", answered(500, `{"text":"Internal server error","code":8}`), retry, forwarder.Outcome{Code: 8}, "code 8"},
		{"9", answered(503, `{"text":"Server is busy","code":9}`, "Retry-After", "7"), retry, forwarder.Outcome{Code: 9, After: 7 * time.Second}, ""},
		{"9 behind a prefix", answered(503, `{"text":"Server is busy","code":9,"invalid-event-number":2}`), retry, forwarder.Outcome{Code: 9, Taken: 2}, ""},
		{"10", answered(400, `{"text":"Data channel is missing","code":10}`), hold, forwarder.Outcome{Code: 10}, "X-Splunk-Request-Channel"},
		{"11", answered(400, `{"text":"Invalid data channel","code":11}`), hold, forwarder.Outcome{Code: 11}, "X-Splunk-Request-Channel"},
		{"12", answered(400, `{"text":"Event field is required","code":12,"invalid-event-number":9}`), refused, forwarder.Outcome{Code: 12, Taken: 9, Named: true}, ""},
		{"13", answered(400, `{"text":"Event field cannot be blank","code":13,"invalid-event-number":0}`), refused, forwarder.Outcome{Code: 13, Named: true}, ""},
		{"14", answered(400, `{"text":"ACK is disabled","code":14}`), hold, forwarder.Outcome{Code: 14}, "ack = auto"},
		{"15", answered(400, `{"text":"Error in handling indexed fields","code":15,"invalid-event-number":1}`), refused, forwarder.Outcome{Code: 15, Taken: 1, Named: true}, ""},
		{"16", answered(400, `{"text":"Query string authorization is not enabled","code":16}`), hold, forwarder.Outcome{Code: 16}, "query string"},
		{"17", answered(200, `{"text":"HEC is healthy","code":17}`), hold, forwarder.Outcome{Code: 17}, "HEC is healthy"},
		{"18", answered(503, `{"text":"HEC is unhealthy, queues are full","code":18}`), retry, forwarder.Outcome{Code: 18}, ""},
		{"19", answered(503, `{"text":"HEC is unhealthy, ack service unavailable","code":19}`), retry, forwarder.Outcome{Code: 19}, ""},
		{"20", answered(503, `{"text":"HEC is unhealthy","code":20}`), retry, forwarder.Outcome{Code: 20}, ""},
		{"21", answered(400, `{"text":"Invalid token","code":21}`), hold, forwarder.Outcome{Code: 21}, "not known there"},
		{"22", answered(400, `{"text":"Token disabled","code":22}`), hold, forwarder.Outcome{Code: 22}, "disabled"},
		{"23", answered(503, `{"text":"Server is shutting down","code":23}`), retry, forwarder.Outcome{Code: 23}, ""},
		{"24", answered(200, `{"text":"Queue is approaching capacity","code":24}`), delivered, forwarder.Outcome{Code: 24, After: slowDown}, ""},
		{"25", answered(200, `{"text":"Ack channel is approaching capacity","code":25}`), delivered, forwarder.Outcome{Code: 25, After: slowDown}, ""},
		{"26", answered(429, `{"text":"Queue is at capacity","code":26}`, "Retry-After", "3"), retry, forwarder.Outcome{Code: 26, After: 3 * time.Second}, ""},
		{"27", answered(429, `{"text":"Ack channel is at capacity","code":27}`), retry, forwarder.Outcome{Code: 27}, ""},
		{"28", answered(400, `{"text":"Data channel is missing, sticky","code":28}`), hold, forwarder.Outcome{Code: 28}, "sticky load balancing"},

		{"413", answered(413, `<html>Request Entity Too Large</html>`), tooLarge, forwarder.Outcome{Code: -1}, ""},
		{"413 as HEC", answered(413, `{"text":"Invalid data format","code":6}`), tooLarge, forwarder.Outcome{Code: -1}, ""},
		{"404", answered(404, `{"text":"The requested URL was not found on this server.","code":404}`), hold, forwarder.Outcome{Code: -1}, "there is no HTTP Event Collector at this URL"},
		{"405", answered(405, ``), hold, forwarder.Outcome{Code: -1}, "there is no HTTP Event Collector at this URL"},
		{"415", answered(415, `{"text":"Unsupported","code":415}`), hold, forwarder.Outcome{Code: -1}, "does not take gzip"},
		{"302", answered(302, ``, "Location", "https://elsewhere.example/"), hold, forwarder.Outcome{Code: -1}, `a redirect to "https://elsewhere.example/"`},
		{"307", answered(307, ``, "Location", "https://elsewhere.example/"), hold, forwarder.Outcome{Code: -1}, "redirects are not followed"},
		{"401 of a proxy", answered(401, `<html>who are you`), hold, forwarder.Outcome{Code: -1}, "a web page"},
		{"407", answered(407, ``), hold, forwarder.Outcome{Code: -1}, "the proxy wants"},
		{"HTML with 200", answered(200, "<html>\x1b[31mWelcome</html>", "Content-Type", "text/html"), hold, forwarder.Outcome{Code: -1}, "HTTP 200 with a web page"},
		{"empty", answered(200, ``), hold, forwarder.Outcome{Code: -1}, "an empty answer"},
		{"text", answered(200, `ok`), hold, forwarder.Outcome{Code: -1}, "not HEC's (ok)"},
		{"a code that is none", answered(200, `{"text":"?","code":99}`), hold, forwarder.Outcome{Code: -1}, "not HEC's"},
		{"no code", answered(200, `{"text":"Success"}`), hold, forwarder.Outcome{Code: -1}, "not HEC's"},
		{"success that is none", answered(400, `{"text":"Success","code":0}`), hold, forwarder.Outcome{Code: 0}, "HTTP 400"},
		{"HTML with 502", answered(502, `<html>Bad Gateway</html>`, "Retry-After", now.Add(time.Minute).Format(http.TimeFormat)), retry, forwarder.Outcome{Code: -1, After: time.Minute}, "HTTP 502 with a web page"},
		{"503 empty", answered(503, ``), retry, forwarder.Outcome{Code: -1}, "an empty answer"},
		{"504", answered(504, `x`), retry, forwarder.Outcome{Code: -1}, ""},
		{"429 of a proxy", answered(429, `slow down`, "Retry-After", "100000"), retry, forwarder.Outcome{Code: -1, After: maxRetryAfter}, ""},
		{"408", answered(408, ``), retry, forwarder.Outcome{Code: -1}, ""},
		{"501", answered(501, ``), hold, forwarder.Outcome{Code: -1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.answer.outcome("https://splunk.test:8088", 10, now)
			require.Contains(t, got.Reason, c.reason)
			if c.verdict != delivered {
				require.Contains(t, got.Reason, "https://splunk.test:8088 answered")
			}
			require.NotContains(t, got.Reason, "\x1b")
			c.want.Verdict, c.want.Text, c.want.Reason = c.verdict, got.Text, got.Reason
			require.Equal(t, c.want, got)
		})
	}
	require.Len(t, actions, 29, "a code without a row above")
}

func TestAnAnswerThatBreaksOffOrNeverEndsIsNoDelivery(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		body         io.Reader
	}{
		{"breaks off", "an answer that broke off", io.MultiReader(bytes.NewReader([]byte(`{"text":"Success","code":0}`)), brokenReader{})},
		{"never ends", "an answer that broke off", io.MultiReader(bytes.NewReader([]byte(`{"text":"Success","code":0}`)), endless{})},
	} {
		resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(c.body)}
		_, err := checkRetry(context.Background(), resp, nil)
		require.NoError(t, err)
		out := readAnswer(resp).outcome("https://splunk.test", 3, now)
		require.Equal(t, forwarder.Hold, out.Verdict, c.name)
		require.Contains(t, out.Reason, c.reason)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// FuzzAnswer: whatever is answered, nothing counts as taken that was not said to
// be, and what is told is fit for a terminal.
func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"text":"Success","code":0,"ackId":3}`, "", 10)
	f.Add(400, `{"text":"Invalid data format","code":6,"invalid-event-number":3}`, "", 10)
	f.Add(400, `{"text":"Incorrect index","code":7,"invalid-event-number":1}`, "", 1)
	f.Add(503, `{"text":"Server is busy","code":9,"invalid-event-number":-1}`, "120", 2)
	f.Add(429, "<html>\u202e\x1b[2J", "Fri, 31 Dec 1999 23:59:59 GMT", 1)
	f.Add(200, `{"code":0.0,"text":7,"ackId":-1}`, "-3", 5)
	f.Add(200, `{"acks":{"0":true,"18446744073709551615":false}}`, "", 5)
	f.Fuzz(func(t *testing.T, status int, body, retryAfter string, events int) {
		if events < 1 {
			return
		}
		a := answered(status, body, "Retry-After", retryAfter)
		out := a.outcome("https://splunk.test", events, now)
		if out.Verdict == forwarder.Delivered && (status != 200 || out.Code != 0 && out.Code != 24 && out.Code != 25) {
			t.Fatalf("HTTP %d %q is a delivery: %+v", status, body, out)
		}
		if out.Taken < 0 || out.Taken >= events {
			t.Fatalf("%d of %d events taken", out.Taken, events)
		}
		if out.After < 0 || out.After > maxRetryAfter {
			t.Fatalf("wait %s", out.After)
		}
		if clean(out.Text) != out.Text {
			t.Fatalf("text %q", out.Text)
		}
		if states, err := a.acks(); err == nil && status != 200 {
			t.Fatalf("HTTP %d acknowledges %v", status, states)
		}
	})
}
