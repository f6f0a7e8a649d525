package hecserver_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/hecserver"
)

func withFaults(t *testing.T, faults ...hecserver.Fault) func(*hecserver.Config) {
	t.Helper()
	script, err := hecserver.NewFaults(1, faults...)
	require.NoError(t, err)
	return func(c *hecserver.Config) { c.Faults = script }
}

func TestBasicAuthorization(t *testing.T) {
	r := newReceiver(t, nil)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+goodToken))
	want(t, r.post(eventPath, "", `{"event":"a"}`, "Authorization", basic), 200, success)
}

func TestQueryTokenOverridesHeader(t *testing.T) {
	r := newReceiver(t, func(c *hecserver.Config) { c.QueryAuth = true })
	want(t, r.post(eventPath+"?token="+offToken, goodToken, `{"event":"a"}`), 403, `{"text":"Token disabled","code":1}`)
	want(t, r.post(eventPath+"?token="+goodToken, offToken, `{"event":"a"}`), 200, success)
}

func TestArrayOfObjects(t *testing.T) {
	r := newReceiver(t, nil)
	want(t, r.post(eventPath, goodToken, ` [ {"event":"a"} , {"event":"b"} ] `), 200, success)
	want(t, r.post(eventPath, goodToken, `[{"event":"c"},{"event":""},{"event":"d"}]`), 400, `{"text":"Event field cannot be blank","code":13,"invalid-event-number":1}`)
	require.Equal(t, []string{`"a"`, `"b"`, `"c"`}, r.sink.events)
}

func TestDefaultIndex(t *testing.T) {
	r := newReceiver(t, nil)
	want(t, r.post(eventPath, goodToken, `{"event":"a"}{"event":"b","index":"ai"}{"event":"c","index":"\u0061i"}`), 200, success)
	r.post(eventPath, ackToken, `{"event":"d"}`, onChannel(channel)...)
	require.Equal(t, []string{`"main"`, `"ai"`, `"\u0061i"`, `"ai"`}, r.sink.indexes)
}

func TestAllEnvelopeKeysAreTaken(t *testing.T) {
	r := newReceiver(t, nil)
	for _, moment := range []string{"1700000000", "1700000000.123", `"1700000000.123"`} {
		want(t, r.post(eventPath, goodToken, `{"time":`+moment+`,"host":"h","source":"s","sourcetype":"t","index":"main","fields":{"a":"b","c":[1,true]},"event":{"x":"y"}}`), 200, success)
	}
}

// TestUnknownKeyLosesSilently is what Splunk does: 200, and only what stood
// before the object is indexed.
func TestUnknownKeyLosesSilently(t *testing.T) {
	r := newReceiver(t, func(c *hecserver.Config) { c.LoseUnknownKeys = true })
	want(t, r.post(eventPath, goodToken, `{"event":"a"}{"event":"b","extra":1}{"event":"c"}`), 200, success)
	want(t, r.post(eventPath, goodToken, `[{"event":"d"},{"event":"e","extra":1},{"event":"f"},{"event":"g"}]`), 200, success)
	require.Equal(t, []string{`"a"`, `"d"`}, r.sink.events)
	require.EqualValues(t, 2, r.Stats().UnknownKeys)
	require.EqualValues(t, 5, r.Stats().SilentlyLost)
}

func TestRawTakesLines(t *testing.T) {
	r := newReceiver(t, nil)
	want(t, r.post(rawPath+"/1.0?index=ai&sourcetype=x", goodToken, "one\r\n\n\"two\"\nthree", onChannel(channel)...), 200, success)
	require.Equal(t, []string{`"one"`, `"\"two\""`, `"three"`}, r.sink.events)
	require.Equal(t, []string{`"ai"`, `"ai"`, `"ai"`}, r.sink.indexes)
}

func TestAcksCountFromZeroOnEveryChannel(t *testing.T) {
	r := newReceiver(t, nil)
	for i := range 3 {
		want(t, r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...), 200, fmt.Sprintf(`{"text":"Success","code":0,"ackId":%d}`, i))
	}
	want(t, r.post(eventPath+"?channel="+channel2, ackToken, `{"event":"a"}`), 200, `{"text":"Success","code":0,"ackId":0}`)
}

func TestAckIsForgottenOnceReadAsTrue(t *testing.T) {
	r := newReceiver(t, nil)
	r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...)
	want(t, r.post(ackPath, ackToken, `{"acks":[0,0,1]}`), 200, `{"acks":{"0":true,"1":false}}`)
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":false}}`)
}

func TestAckOfAnotherChannelIsFalse(t *testing.T) {
	r := newReceiver(t, nil)
	r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...)
	want(t, r.post("/services/collector/ack?channel="+channel2, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":false}}`)
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":true}}`)
}

func TestAckQuestionIsHeldToItsForm(t *testing.T) {
	r := newReceiver(t, nil)
	for _, body := range []string{`{}`, `{"acks":0}`, `{"acks":["0"]}`, `{"acks":[-1]}`, `{"acks":[0]}{}`, `{"ids":[0]}`, `{"acks":null}`} {
		want(t, r.post(ackPath, ackToken, body), 400, `{"text":"Invalid data format","code":6}`)
	}
	want(t, r.post(ackPath, ackToken, ""), 400, `{"text":"No data","code":5}`)
	want(t, r.post(ackPath, ackToken, `{"acks":[]}`), 200, `{"acks":{}}`)
}

func TestChannelOfATokenWithoutAckGetsNoID(t *testing.T) {
	r := newReceiver(t, nil)
	want(t, r.post(eventPath, goodToken, `{"event":"a"}`, onChannel(channel)...), 200, success)
}

func TestLostAck(t *testing.T) {
	r := newReceiver(t, withFaults(t, hecserver.Fault{LoseAck: true, Times: 1}))
	r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...)
	r.post(eventPath, ackToken, `{"event":"b"}`, onChannel(channel)...)
	want(t, r.post(ackPath, ackToken, `{"acks":[0,1]}`), 200, `{"acks":{"0":false,"1":true}}`)
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":false}}`)
}

func TestLateAckByQuestions(t *testing.T) {
	r := newReceiver(t, withFaults(t, hecserver.Fault{AckAsks: 2}))
	r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...)
	for range 2 {
		want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":false}}`)
	}
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":true}}`)
}

func TestLateAckByTheClock(t *testing.T) {
	now := at
	r := newReceiver(t, func(c *hecserver.Config) {
		withFaults(t, hecserver.Fault{AckDelayMS: 1000})(c)
		c.Now = func() time.Time { return now }
	})
	r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...)
	now = at.Add(999 * time.Millisecond)
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":false}}`)
	now = at.Add(time.Second)
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":true}}`)
}

func TestRestartForgetsChannels(t *testing.T) {
	r := newReceiver(t, withFaults(t, hecserver.Fault{Restart: true, Skip: 2, Times: 1}))
	for _, id := range []int{0, 1, 0} {
		want(t, r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...), 200, fmt.Sprintf(`{"text":"Success","code":0,"ackId":%d}`, id))
	}
	want(t, r.post(ackPath, ackToken, `{"acks":[0,1]}`), 200, `{"acks":{"0":true,"1":false}}`)
	r.Restart()
	want(t, r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...), 200, `{"text":"Success","code":0,"ackId":0}`)
}

func TestAckAnswerThatCannotBeRead(t *testing.T) {
	r := newReceiver(t, withFaults(t,
		hecserver.Fault{On: "ack", Status: 200, Body: "<html>login</html>", Times: 1},
		hecserver.Fault{On: "ack", Code: hecserver.InternalError, Times: 1},
	))
	r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...)
	w := r.post(ackPath, ackToken, `{"acks":[0]}`)
	want(t, w, 200, "<html>login</html>")
	require.Equal(t, "text/html", w.Header().Get("Content-Type"))
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 500, `{"text":"Internal server error","code":8}`)
	want(t, r.post(ackPath, ackToken, `{"acks":[0]}`), 200, `{"acks":{"0":true}}`)
}

func TestPrefixThenBusy(t *testing.T) {
	for _, c := range []struct {
		named  bool
		answer string
	}{
		{false, `{"text":"Server is busy","code":9}`},
		{true, `{"text":"Server is busy","code":9,"invalid-event-number":2}`},
	} {
		r := newReceiver(t, withFaults(t, hecserver.Fault{Code: hecserver.ServerBusy, Commit: 2, Named: c.named, Times: 1, Header: map[string]string{"Retry-After": "7"}}))
		w := r.post(eventPath, goodToken, `{"event":"a"}{"event":"b"}{"event":"c"}`)
		want(t, w, 503, c.answer)
		require.Equal(t, "7", w.Header().Get("Retry-After"))
		require.Equal(t, []string{`"a"`, `"b"`}, r.sink.events)
	}
}

func TestOnlyAnIndexedPrefixIsAcknowledged(t *testing.T) {
	r := newReceiver(t, withFaults(t, hecserver.Fault{Code: hecserver.ServerBusy, Commit: 1, Skip: 1, Times: 1}))
	want(t, r.post(eventPath, ackToken, `{"event":""}{"event":"a"}`, onChannel(channel)...), 400, `{"text":"Event field cannot be blank","code":13,"invalid-event-number":0}`)
	want(t, r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...), 503, `{"text":"Server is busy","code":9}`)
	require.Equal(t, []string{`"a"`}, r.sink.events)
}

func TestScriptedIndexErrorCountsOneMore(t *testing.T) {
	r := newReceiver(t, withFaults(t, hecserver.Fault{Code: hecserver.IncorrectIndex, Commit: 1}))
	want(t, r.post(eventPath, ackToken, `{"event":"a"}{"event":"b"}`, onChannel(channel)...), 400, `{"text":"Incorrect index","code":7,"invalid-event-number":2,"ackId":0}`)
}

func TestProxyAnswers(t *testing.T) {
	r := newReceiver(t, withFaults(t,
		hecserver.Fault{Status: 502, Body: "<html>bad gateway</html>", Times: 1},
		hecserver.Fault{Status: 200, Body: "<html>welcome</html>", Times: 1},
		hecserver.Fault{Status: 307, Header: map[string]string{"Location": "http://other.example/services/collector"}, Times: 1},
		hecserver.Fault{Status: 504, Times: 1},
	))
	post := func() *httptest.ResponseRecorder { return r.post(eventPath, goodToken, `{"event":"a"}`) }
	want(t, post(), 502, "<html>bad gateway</html>")
	want(t, post(), 200, "<html>welcome</html>")
	w := post()
	want(t, w, 307, "Temporary Redirect")
	require.Equal(t, "http://other.example/services/collector", w.Header().Get("Location"))
	want(t, post(), 504, "Gateway Timeout")
	require.Empty(t, r.sink.events)
	want(t, post(), 200, success)
	require.Equal(t, []int{1, 1, 1, 1}, r.Stats().ScriptedFaults)
}

func TestEmptyAnswer(t *testing.T) {
	r := newReceiver(t, withFaults(t, hecserver.Fault{End: hecserver.Empty}))
	want(t, r.post(eventPath, goodToken, `{"event":"a"}`), 200, "")
	require.Len(t, r.sink.events, 1)
}

func TestScriptedCapOnTheBody(t *testing.T) {
	const small, large = `{"event":"a"}`, `{"event":"bbbbbbbbbbbbb"}`
	r := newReceiver(t, withFaults(t, hecserver.Fault{Status: 413, MinBytes: len(small)}))
	want(t, r.post(eventPath, goodToken, small), 200, success)
	want(t, r.post(eventPath, goodToken, zipped(t, large), "Content-Encoding", "gzip"), 413, "Request Entity Too Large")
}

func TestSlowWaitsByTheInjectedClock(t *testing.T) {
	var waited []time.Duration
	r := newReceiver(t, func(c *hecserver.Config) {
		withFaults(t, hecserver.Fault{DelayMS: 500, BytesPerSecond: 10}, hecserver.Fault{On: "ack", DelayMS: 20})(c)
		c.Sleep = func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
	})
	want(t, r.post(eventPath, ackToken, `{"event":"abcdefg"} `, onChannel(channel)...), 200, `{"text":"Success","code":0,"ackId":0}`)
	r.post(ackPath, ackToken, `{"acks":[0]}`)
	require.Equal(t, []time.Duration{2500 * time.Millisecond, 20 * time.Millisecond}, waited)
}

func TestFaultsAddUpUntilOneAnswers(t *testing.T) {
	r := newReceiver(t, withFaults(t,
		hecserver.Fault{LoseAck: true},
		hecserver.Fault{Code: hecserver.ServerBusy, Times: 1},
		hecserver.Fault{Code: hecserver.InternalError, Times: 1},
	))
	post := func() *httptest.ResponseRecorder {
		return r.post(eventPath, ackToken, `{"event":"a"}`, onChannel(channel)...)
	}
	require.Equal(t, 503, post().Code)
	require.Equal(t, 500, post().Code)
	require.Equal(t, 200, post().Code)
	require.Equal(t, []int{3, 1, 1}, r.Stats().ScriptedFaults)
}

func TestProbabilityIsSeeded(t *testing.T) {
	run := func(seed uint64) string {
		script, err := hecserver.NewFaults(seed, hecserver.Fault{Code: hecserver.ServerBusy, Probability: 0.3})
		require.NoError(t, err)
		r := newReceiver(t, func(c *hecserver.Config) { c.Faults = script })
		var b strings.Builder
		for range 200 {
			fmt.Fprint(&b, r.post(eventPath, goodToken, `{"event":"a"}`).Code/100)
		}
		return b.String()
	}
	first := run(7)
	require.Equal(t, first, run(7))
	require.NotEqual(t, first, run(8))
	require.InDelta(t, 60, strings.Count(first, "5"), 25)
}

func TestFaultsThatMeanNothingAreRefused(t *testing.T) {
	for _, f := range []hecserver.Fault{
		{On: "everything"}, {End: "explode"}, {Code: 29}, {Code: -1}, {Status: 42}, {Probability: 1.5}, {Commit: -2}, {Times: -1},
	} {
		_, err := hecserver.NewFaults(1, f)
		require.Error(t, err, "%+v", f)
	}
}

func TestTraceSeesEveryMoment(t *testing.T) {
	var moments []string
	r := newReceiver(t, func(c *hecserver.Config) {
		c.Trace = func(m hecserver.Moment) {
			id := "-"
			if m.AckID != nil {
				id = fmt.Sprint(*m.AckID)
			}
			moments = append(moments, fmt.Sprintf("%d %s bytes=%d events=%d ack=%s status=%d code=%d", m.Request, m.Stage, m.Bytes, m.Events, id, m.Status, m.Code))
		}
	})
	r.post(eventPath, ackToken, `{"event":"a"}{"event":""}`, onChannel(channel)...)
	r.post(eventPath, "nope", `{"event":"a"}`)
	require.Equal(t, []string{
		"1 request-in bytes=0 events=0 ack=- status=0 code=0",
		"1 committed bytes=25 events=1 ack=0 status=0 code=0",
		"1 answered bytes=25 events=1 ack=0 status=400 code=13",
		"2 request-in bytes=0 events=0 ack=- status=0 code=0",
		"2 answered bytes=0 events=0 ack=- status=403 code=4",
	}, moments)
}

func TestNoUserAgentMeansNoKeepAlive(t *testing.T) {
	r := newReceiver(t, nil)
	require.Equal(t, "close", r.post(eventPath, goodToken, `{"event":"a"}`, "User-Agent", "").Header().Get("Connection"))
	require.Empty(t, r.post(eventPath, goodToken, `{"event":"a"}`).Header().Get("Connection"))
}

func TestAnswersAreJSON(t *testing.T) {
	r := newReceiver(t, nil)
	w := r.post(eventPath, goodToken, `{"event":"a"}`)
	require.Equal(t, "application/json; charset=UTF-8", w.Header().Get("Content-Type"))
	require.True(t, json.Valid(bytes.TrimSpace(w.Body.Bytes())))
}

func TestConfigurationIsHeld(t *testing.T) {
	_, err := hecserver.New(hecserver.Config{Sink: &memory{}})
	require.ErrorContains(t, err, "no token")
	_, err = hecserver.New(hecserver.Config{Tokens: []hecserver.Token{{Value: "a"}}})
	require.ErrorContains(t, err, "no sink")
	_, err = hecserver.New(hecserver.Config{Tokens: []hecserver.Token{{}}, Sink: &memory{}})
	require.ErrorContains(t, err, "token 0 is empty")
}
