package hecserver_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/hecserver"
)

// TestCodesByCause has a row for every code that a request or a state of the
// receiver brings about; TestCodesByScript has all the others.
func TestCodesByCause(t *testing.T) {
	const one = `{"event":"a"}`
	for name, c := range map[string]struct {
		path, token, body string
		headers           []string
		config            func(*hecserver.Config)
		before            func(*receiver)
		status            int
		answer            string
		indexed           int
	}{
		"0 success":            {token: goodToken, body: one, status: 200, answer: success, indexed: 1},
		"0 success with ackId": {token: ackToken, headers: onChannel(channel), body: one, status: 200, answer: `{"text":"Success","code":0,"ackId":0}`, indexed: 1},
		"1 token disabled":     {token: offToken, body: one, status: 403, answer: `{"text":"Token disabled","code":1}`},
		"2 token required":     {body: one, status: 401, answer: `{"text":"Token is required","code":2}`},
		"2 token empty":        {headers: []string{"Authorization", "Splunk "}, body: one, status: 401, answer: `{"text":"Token is required","code":2}`},
		"3 authorization":      {headers: []string{"Authorization", "Bearer " + goodToken}, body: one, status: 401, answer: `{"text":"Invalid authorization","code":3}`},
		"3 bad basic":          {headers: []string{"Authorization", "Basic !"}, body: one, status: 401, answer: `{"text":"Invalid authorization","code":3}`},
		"4 unknown token":      {token: "nope", body: one, status: 403, answer: `{"text":"Invalid token","code":4}`},
		"5 empty body":         {token: goodToken, body: "", status: 400, answer: `{"text":"No data","code":5}`},
		"5 blank body":         {token: goodToken, body: " \n", status: 400, answer: `{"text":"No data","code":5}`},
		"5 empty array":        {token: goodToken, body: "[ ]", status: 400, answer: `{"text":"No data","code":5}`},
		"5 empty gzip":         {token: goodToken, headers: []string{"Content-Encoding", "gzip"}, status: 400, answer: `{"text":"No data","code":5}`},
		"5 blank raw":          {path: rawPath, token: goodToken, headers: onChannel(channel), body: "\n \n", status: 400, answer: `{"text":"No data","code":5}`},
		"6 broken JSON":        {token: goodToken, body: one + `{"event":`, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":1}`, indexed: 1},
		"6 not an object":      {token: goodToken, body: `"a"`, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`},
		"6 comma between":      {token: goodToken, body: one + "," + one, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":1}`, indexed: 1},
		"6 open array":         {token: goodToken, body: "[" + one, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":1}`, indexed: 1},
		"6 text behind array":  {token: goodToken, body: "[" + one + "]x", status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":1}`, indexed: 1},
		"6 invalid UTF-8":      {token: goodToken, body: "{\"event\":\"a\xff\"}", status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`},
		"6 control character":  {token: goodToken, body: "{\"event\":\"a\nb\"}", status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`},
		"6 time is no number":  {token: goodToken, body: `{"time":"now","event":"a"}`, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`},
		"6 host is no string":  {token: goodToken, body: `{"host":1,"event":"a"}`, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`},
		"6 key twice":          {token: goodToken, body: `{"event":"a","\u0065vent":"b"}`, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`},
		"6 not gzip":           {token: goodToken, headers: []string{"Content-Encoding", "gzip"}, body: one, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`},
		"6 unknown key":        {token: goodToken, body: one + `{"event":"b","hots":"x"}` + one, status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":1}`, indexed: 1},
		"6 too large on Cloud": {
			token: goodToken, body: one + one, config: func(c *hecserver.Config) { c.MaxRaw, c.CloudOversize = 20, true },
			status: 400, answer: `{"text":"Invalid data format","code":6,"invalid-event-number":0}`,
		},
		"7 incorrect index":     {token: goodToken, body: one + `{"event":"b","index":"ai"}{"event":"c","index":"_internal"}`, status: 400, answer: `{"text":"Incorrect index","code":7,"invalid-event-number":3}`, indexed: 2},
		"7 empty index":         {token: goodToken, body: `{"event":"c","index":""}`, status: 400, answer: `{"text":"Incorrect index","code":7,"invalid-event-number":1}`},
		"7 incorrect raw index": {path: rawPath + "?index=nope", token: goodToken, headers: onChannel(channel), body: "a", status: 400, answer: `{"text":"Incorrect index","code":7,"invalid-event-number":1}`},
		"8 sink fails":          {token: goodToken, body: one, before: func(r *receiver) { r.sink.fail = errors.New("disk full") }, status: 500, answer: `{"text":"Internal server error","code":8}`},
		"10 no channel, ack":    {token: ackToken, body: one, status: 400, answer: `{"text":"Data channel is missing","code":10}`},
		"10 no channel, raw":    {path: rawPath, token: goodToken, body: "a", status: 400, answer: `{"text":"Data channel is missing","code":10}`},
		"10 no channel, asking": {path: "/services/collector/ack", token: ackToken, body: `{"acks":[0]}`, status: 400, answer: `{"text":"Data channel is missing","code":10}`},
		"11 channel is no GUID": {token: ackToken, headers: onChannel("7"), body: one, status: 400, answer: `{"text":"Invalid data channel","code":11}`},
		"11 GUID without dash":  {token: ackToken, headers: onChannel(strings.ReplaceAll(channel, "-", "a")), body: one, status: 400, answer: `{"text":"Invalid data channel","code":11}`},
		"12 no event":           {token: goodToken, body: one + `{"host":"h"}`, status: 400, answer: `{"text":"Event field is required","code":12,"invalid-event-number":1}`, indexed: 1},
		"12 null event":         {token: goodToken, body: `{"event":null}`, status: 400, answer: `{"text":"Event field is required","code":12,"invalid-event-number":0}`},
		"13 blank event":        {token: goodToken, body: one + one + `{"event":""}`, status: 400, answer: `{"text":"Event field cannot be blank","code":13,"invalid-event-number":2}`, indexed: 2},
		"14 ack is disabled":    {path: ackPath, token: goodToken, body: `{"acks":[0]}`, status: 400, answer: `{"text":"ACK is disabled","code":14}`},
		"15 nested fields":      {token: goodToken, body: `{"event":"a","fields":{"a":["x",1],"b":{"c":1}}}`, status: 400, answer: `{"text":"Error in handling indexed fields","code":15,"invalid-event-number":0}`},
		"15 list in a list":     {token: goodToken, body: `{"event":"a","fields":{"a":["[",[1]]}}`, status: 400, answer: `{"text":"Error in handling indexed fields","code":15,"invalid-event-number":0}`},
		"15 fields is a list":   {token: goodToken, body: `{"event":"a","fields":[]}`, status: 400, answer: `{"text":"Error in handling indexed fields","code":15,"invalid-event-number":0}`},
		"16 token in the query": {path: eventPath + "?token=" + goodToken, token: goodToken, body: one, status: 400, answer: `{"text":"Query string authorization is not enabled","code":16}`},
		"23 shutting down":      {token: goodToken, body: one, before: func(r *receiver) { r.Drain() }, status: 503, answer: `{"text":"Server is shutting down","code":23}`},
		"404":                   {path: "/services/collectors", token: goodToken, body: one, status: 404, answer: `{"text":"The requested URL was not found on this server.","code":404}`},
		"413 raw": {
			token: goodToken, body: one + one, config: func(c *hecserver.Config) { c.MaxRaw = 20 },
			status: 413, answer: `{"text":"The request is too large","code":413}`,
		},
		"415 deflate": {token: goodToken, headers: []string{"Content-Encoding", "deflate"}, body: one, status: 415, answer: `{"text":"Unsupported content encoding","code":415}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.config)
			if c.before != nil {
				c.before(r)
			}
			path := c.path
			if path == "" {
				path = eventPath
			}
			want(t, r.post(path, c.token, c.body, c.headers...), c.status, c.answer)
			require.Len(t, r.sink.events, c.indexed)
		})
	}
}

// TestCodesByScript asks for every code of the table by a fault and holds status
// and text to the reference.
func TestCodesByScript(t *testing.T) {
	for code, c := range []struct {
		status int
		text   string
	}{
		1:  {403, "Token disabled"},
		2:  {401, "Token is required"},
		3:  {401, "Invalid authorization"},
		4:  {403, "Invalid token"},
		5:  {400, "No data"},
		6:  {400, "Invalid data format"},
		7:  {400, "Incorrect index"},
		8:  {500, "Internal server error"},
		9:  {503, "Server is busy"},
		10: {400, "Data channel is missing"},
		11: {400, "Invalid data channel"},
		12: {400, "Event field is required"},
		13: {400, "Event field cannot be blank"},
		14: {400, "ACK is disabled"},
		15: {400, "Error in handling indexed fields"},
		16: {400, "Query string authorization is not enabled"},
		17: {200, "HEC is healthy"},
		18: {503, "HEC is unhealthy, queues are full"},
		19: {503, "HEC is unhealthy, ack service unavailable"},
		20: {503, "HEC is unhealthy, queues are full, ack service unavailable"},
		21: {400, "Invalid token"},
		22: {400, "Token disabled"},
		23: {503, "Server is shutting down"},
		24: {200, "Queue is approaching capacity"},
		25: {200, "Ack channel is approaching capacity"},
		26: {429, "Queue is at capacity"},
		27: {429, "Ack channel is at capacity"},
		28: {400, "Data channel is missing, sticky load balancing is required"},
	} {
		if code == 0 {
			continue
		}
		t.Run(c.text, func(t *testing.T) {
			r := newReceiver(t, withFaults(t, hecserver.Fault{Code: hecserver.Code(code), Times: 1}))
			w := r.post(eventPath, goodToken, `{"event":"a"}`)
			require.Equal(t, c.status, w.Code)
			require.Contains(t, w.Body.String(), `{"text":"`+c.text+`","code":`)
			if code == 24 || code == 25 {
				require.Len(t, r.sink.events, 1, "a success that asks for less")
			} else {
				require.Empty(t, r.sink.events)
			}
			want(t, r.post(eventPath, goodToken, `{"event":"b"}`), 200, success)
		})
	}
}

func TestMethodIsHeld(t *testing.T) {
	r := newReceiver(t, nil)
	for _, path := range []string{eventPath, rawPath, ackPath} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		want(t, w, 405, `{"text":"Method not allowed","code":405}`)
	}
	want(t, r.post("/services/collector/health", goodToken, ""), 405, `{"text":"Method not allowed","code":405}`)
}

func TestCompressedLimit(t *testing.T) {
	r := newReceiver(t, func(c *hecserver.Config) { c.MaxCompressed = 60 })
	body := `{"event":"` + strings.Repeat("a", 500) + `"}`
	want(t, r.post(eventPath, goodToken, zipped(t, body), "Content-Encoding", "gzip"), 200, success)
	want(t, r.post(eventPath, goodToken, body), 413, `{"text":"The request is too large","code":413}`)
	r = newReceiver(t, func(c *hecserver.Config) { c.MaxRaw = 500 })
	want(t, r.post(eventPath, goodToken, zipped(t, body), "Content-Encoding", "gzip"), 413, `{"text":"The request is too large","code":413}`)
	require.Empty(t, r.sink.events)
}

func TestBodyAtTheLimitIsTaken(t *testing.T) {
	const body = `{"event":"a"}`
	r := newReceiver(t, func(c *hecserver.Config) { c.MaxRaw = len(body) })
	want(t, r.post(eventPath, goodToken, body), 200, success)
	want(t, r.post(eventPath, goodToken, body+" "), 413, `{"text":"The request is too large","code":413}`)
}

func TestDamagedGzipIndexesNothing(t *testing.T) {
	whole := zipped(t, strings.Repeat(`{"event":"a"}`, 100))
	for name, body := range map[string]string{
		"cut":      whole[:len(whole)-6],
		"checksum": whole[:len(whole)-8] + "\x00\x00\x00\x00" + whole[len(whole)-4:],
		"tail":     whole + "x",
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, nil)
			want(t, r.post(eventPath, goodToken, body, "Content-Encoding", "gzip"), 400, `{"text":"Invalid data format","code":6,"invalid-event-number":0}`)
			require.Empty(t, r.sink.events)
		})
	}
}

// TestHealth covers 17 by itself, 18 to 20 by script, 21 to 23 by cause.
func TestHealth(t *testing.T) {
	get := func(r *receiver, token string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(http.MethodGet, "/services/collector/health", nil)
		if token != "" {
			req.Header.Set("Authorization", "Splunk "+token)
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w
	}
	r := newReceiver(t, withFaults(t, hecserver.Fault{On: "health", Code: 18, Skip: 2, Times: 1}, hecserver.Fault{On: "health", Code: 20, Skip: 2, Times: 1}))
	want(t, get(r, ""), 200, `{"text":"HEC is healthy","code":17}`)
	want(t, get(r, goodToken), 200, `{"text":"HEC is healthy","code":17}`)
	want(t, get(r, ""), 503, `{"text":"HEC is unhealthy, queues are full","code":18}`)
	want(t, get(r, ""), 503, `{"text":"HEC is unhealthy, queues are full, ack service unavailable","code":20}`)
	want(t, get(r, "nope"), 400, `{"text":"Invalid token","code":21}`)
	want(t, get(r, offToken), 400, `{"text":"Token disabled","code":22}`)
	r.Drain()
	want(t, get(r, ""), 503, `{"text":"Server is shutting down","code":23}`)
}
