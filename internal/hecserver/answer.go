package hecserver

import (
	"encoding/json"
	"net/http"
)

// Code is the number by which HEC says what became of a request.
type Code int

// The documented codes.
const (
	Success              Code = 0
	TokenDisabled        Code = 1
	TokenRequired        Code = 2
	InvalidAuthorization Code = 3
	InvalidToken         Code = 4
	NoData               Code = 5
	InvalidDataFormat    Code = 6
	IncorrectIndex       Code = 7
	InternalError        Code = 8
	ServerBusy           Code = 9
	ChannelMissing       Code = 10
	InvalidChannel       Code = 11
	EventRequired        Code = 12
	EventBlank           Code = 13
	AckDisabled          Code = 14
	IndexedFieldsError   Code = 15
	QueryAuthDisabled    Code = 16
	Healthy              Code = 17
	QueuesFull           Code = 18
	AckUnavailable       Code = 19
	QueuesFullNoAck      Code = 20
	HealthInvalidToken   Code = 21
	HealthTokenDisabled  Code = 22
	ShuttingDown         Code = 23
	QueueNearCapacity    Code = 24
	AckNearCapacity      Code = 25
	QueueAtCapacity      Code = 26
	AckAtCapacity        Code = 27
	StickyRequired       Code = 28
)

// codes holds status and text of every code, by its number.
var codes = [...]struct {
	status int
	text   string
}{
	Success:              {http.StatusOK, "Success"},
	TokenDisabled:        {http.StatusForbidden, "Token disabled"},
	TokenRequired:        {http.StatusUnauthorized, "Token is required"},
	InvalidAuthorization: {http.StatusUnauthorized, "Invalid authorization"},
	InvalidToken:         {http.StatusForbidden, "Invalid token"},
	NoData:               {http.StatusBadRequest, "No data"},
	InvalidDataFormat:    {http.StatusBadRequest, "Invalid data format"},
	IncorrectIndex:       {http.StatusBadRequest, "Incorrect index"},
	InternalError:        {http.StatusInternalServerError, "Internal server error"},
	ServerBusy:           {http.StatusServiceUnavailable, "Server is busy"},
	ChannelMissing:       {http.StatusBadRequest, "Data channel is missing"},
	InvalidChannel:       {http.StatusBadRequest, "Invalid data channel"},
	EventRequired:        {http.StatusBadRequest, "Event field is required"},
	EventBlank:           {http.StatusBadRequest, "Event field cannot be blank"},
	AckDisabled:          {http.StatusBadRequest, "ACK is disabled"},
	IndexedFieldsError:   {http.StatusBadRequest, "Error in handling indexed fields"},
	QueryAuthDisabled:    {http.StatusBadRequest, "Query string authorization is not enabled"},
	Healthy:              {http.StatusOK, "HEC is healthy"},
	QueuesFull:           {http.StatusServiceUnavailable, "HEC is unhealthy, queues are full"},
	AckUnavailable:       {http.StatusServiceUnavailable, "HEC is unhealthy, ack service unavailable"},
	QueuesFullNoAck:      {http.StatusServiceUnavailable, "HEC is unhealthy, queues are full, ack service unavailable"},
	HealthInvalidToken:   {http.StatusBadRequest, "Invalid token"},
	HealthTokenDisabled:  {http.StatusBadRequest, "Token disabled"},
	ShuttingDown:         {http.StatusServiceUnavailable, "Server is shutting down"},
	QueueNearCapacity:    {http.StatusOK, "Queue is approaching capacity"},
	AckNearCapacity:      {http.StatusOK, "Ack channel is approaching capacity"},
	QueueAtCapacity:      {http.StatusTooManyRequests, "Queue is at capacity"},
	AckAtCapacity:        {http.StatusTooManyRequests, "Ack channel is at capacity"},
	StickyRequired:       {http.StatusBadRequest, "Data channel is missing, sticky load balancing is required"},
}

// known says whether c is a documented code.
func (c Code) known() bool { return c >= 0 && int(c) < len(codes) }

// Status is the HTTP status that goes with the code, 500 for an unknown one.
func (c Code) Status() int {
	if !c.known() {
		return http.StatusInternalServerError
	}
	return codes[c].status
}

// Text is the sentence that goes with the code, empty for an unknown one.
func (c Code) Text() string {
	if !c.known() {
		return ""
	}
	return codes[c].text
}

// answer is what a request is answered with: HEC's JSON, or, where body is set,
// something else.
type answer struct {
	status  int
	code    Code
	ackID   *uint64
	invalid *int // invalid-event-number
	header  map[string]string
	body    []byte
	end     End
}

// answerOf returns the plain answer of a code.
func answerOf(c Code) answer { return answer{status: c.Status(), code: c} }

// plainAnswer is one that splunkd gives before HEC sees the request.
func plainAnswer(status int, text string) answer {
	body, _ := json.Marshal(struct {
		Text string `json:"text"`
		Code int    `json:"code"`
	}{text, status})
	return answer{status: status, code: -1, body: body}
}

// bytes encodes the answer's body.
func (a *answer) bytes() []byte {
	if a.body != nil {
		return a.body
	}
	body, _ := json.Marshal(struct {
		Text    string  `json:"text"`
		Code    Code    `json:"code"`
		Invalid *int    `json:"invalid-event-number,omitempty"`
		AckID   *uint64 `json:"ackId,omitempty"`
	}{a.code.Text(), a.code, a.invalid, a.ackID})
	return body
}
