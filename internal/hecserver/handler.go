package hecserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
)

// DefaultMaxBytes is the limit on a body, raw and as sent, that holds when none
// is set: that of the old releases, the smallest a sender has to live with.
// Newer ones take 838,860,800 [documented].
const DefaultMaxBytes = 1_000_000

// Token is one HEC token.
type Token struct {
	Value        string   // the secret
	Disabled     bool     // answered with code 1
	Indexes      []string // those it may write to; empty is every one
	DefaultIndex string   // where events without an index go; "main" when empty
	Ack          bool     // useACK: requests need a channel and are acknowledged
}

// Config is what a Handler is made of. Tokens and Sink are needed, the rest has
// defaults.
type Config struct {
	Tokens []Token
	Sink   Sink

	// MaxRaw and MaxCompressed limit a body in bytes, before and after it is
	// unpacked. Above them the answer is HTTP 413, or, with CloudOversize, code 6
	// at event 0, as Splunk Cloud answers [probed].
	MaxRaw, MaxCompressed int
	CloudOversize         bool

	// QueryAuth allows the token in the query string, where it overrides the
	// header's.
	QueryAuth bool

	// LoseUnknownKeys answers an object with an unknown envelope key as Splunk
	// does [probed]: 200, and neither it nor what follows it is indexed. Without
	// it the object is refused with code 6, so that a sender's mistake is seen.
	LoseUnknownKeys bool

	Faults *Faults      // scripted misbehaviour; nil is none
	Trace  func(Moment) // called at the moments of a request, which waits for it
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error // waits for slow faults
	Log    *slog.Logger
}

// Stage is a moment in the life of a request.
type Stage string

// The moments that Trace is called at.
const (
	RequestIn Stage = "request-in" // the headers were read
	Committed Stage = "committed"  // the sink has the events; not called when there were none
	Answered  Stage = "answered"   // the answer was handed to the network, or spoilt
	BrokenOff Stage = "broken-off" // the client has gone before it was answered
)

// Moment is what Trace is told. Later moments know more.
type Moment struct {
	Stage   Stage
	Request uint64 // counts from 1
	Path    string
	Channel string
	Bytes   int     // of the raw body
	Events  int     // indexed by this request
	AckID   *uint64 // given by this request
	Status  int     // HTTP
	Code    Code    // -1 when the answer is not HEC's
}

// Handler is the receiver as an http.Handler.
type Handler struct {
	config   Config
	tokens   []*token
	channels *channels

	requests  atomic.Uint64
	events    atomic.Uint64
	lost      atomic.Uint64
	unknown   atomic.Uint64
	draining  atomic.Bool
	answersMu sync.Mutex
	answers   map[string]uint64

	ctx      context.Context // ends when half-closed connections have to go
	cancel   context.CancelFunc
	halvesMu sync.Mutex // no half-closed connection begins once ctx has ended
	halves   sync.WaitGroup
}

// token is a Token prepared for its requests.
type token struct {
	Token
	sum          [sha256.Size]byte
	indexes      map[string]bool
	defaultIndex []byte
}

// allows says whether the token may write to the index, a JSON string.
func (t *token) allows(index []byte) bool {
	name := string(unquoted(index))
	if strings.Contains(name, `\`) {
		name = text(index)
	}
	return name != "" && (len(t.indexes) == 0 || t.indexes[name])
}

// New returns a Handler, or says what is wrong with the configuration.
func New(config Config) (*Handler, error) {
	if len(config.Tokens) == 0 {
		return nil, errors.New("make HEC receiver: no token given")
	}
	if config.Sink == nil {
		return nil, errors.New("make HEC receiver: no sink given")
	}
	if config.MaxRaw <= 0 {
		config.MaxRaw = DefaultMaxBytes
	}
	if config.MaxCompressed <= 0 {
		config.MaxCompressed = DefaultMaxBytes
	}
	if config.Faults == nil {
		config.Faults = &Faults{}
	}
	if config.Trace == nil {
		config.Trace = func(Moment) {}
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Sleep == nil {
		config.Sleep = sleep
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{config: config, channels: newChannels(), answers: make(map[string]uint64)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for i, t := range config.Tokens {
		if t.Value == "" {
			return nil, fmt.Errorf("make HEC receiver: token %d is empty", i)
		}
		prepared := &token{Token: t, sum: sha256.Sum256([]byte(t.Value)), indexes: make(map[string]bool)}
		for _, index := range t.Indexes {
			prepared.indexes[index] = true
		}
		if prepared.defaultIndex = raw(t.DefaultIndex); prepared.defaultIndex == nil {
			prepared.defaultIndex = raw("main")
		}
		h.tokens = append(h.tokens, prepared)
	}
	return h, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Restart forgets all channels, as a restart of the indexer does: what was not
// asked for is never acknowledged, and ids begin at 0 again.
func (h *Handler) Restart() { h.channels.forget() }

// Drain answers whatever comes from now on with code 23.
func (h *Handler) Drain() { h.draining.Store(true) }

// Stats is what a Handler has done so far.
type Stats struct {
	Requests       uint64            `json:"requests"`
	Events         uint64            `json:"events"`          // indexed
	Answers        map[string]uint64 `json:"answers"`         // by "status/code", code "-" where it was not HEC's
	UnknownKeys    uint64            `json:"unknown_keys"`    // objects with a key that HEC does not know
	SilentlyLost   uint64            `json:"silently_lost"`   // events dropped because of such a key
	ScriptedFaults []int             `json:"scripted_faults"` // how often each fault of the script happened
}

// Stats returns what was done so far.
func (h *Handler) Stats() Stats {
	h.answersMu.Lock()
	defer h.answersMu.Unlock()
	return Stats{
		Requests: h.requests.Load(), Events: h.events.Load(), Answers: maps.Clone(h.answers),
		UnknownKeys: h.unknown.Load(), SilentlyLost: h.lost.Load(), ScriptedFaults: h.config.Faults.Fired(),
	}
}

// request is one request while it is handled.
type request struct {
	*http.Request
	moment Moment
}

// ServeHTTP takes a request from its token to its answer.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &request{Request: r}
	req.moment = Moment{Stage: RequestIn, Request: h.requests.Add(1), Path: r.URL.Path, Channel: channelOf(r)}
	h.config.Trace(req.moment)
	if r.UserAgent() == "" {
		// Splunk's forceHttp10=auto: a client without a name gets no keep-alive.
		w.Header().Set("Connection", "close")
	}
	a, err := h.handle(req)
	if err != nil {
		h.config.Log.Warn("request broke off", "path", r.URL.Path, "error", err)
		req.moment.Stage = BrokenOff
		h.config.Trace(req.moment)
		panic(http.ErrAbortHandler)
	}
	// A client that is still sending must not lose the answer to a reset.
	_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
	h.write(w, req, a)
}

// maxDrain is how many bytes of a refused body are still read.
const maxDrain = 8 << 20

// handle finds the endpoint. An error means that there is no one to answer.
func (h *Handler) handle(r *request) (answer, error) {
	method, endpoint := http.MethodPost, h.event
	switch r.URL.Path {
	case "/services/collector", "/services/collector/event", "/services/collector/event/1.0":
	case "/services/collector/raw", "/services/collector/raw/1.0":
		endpoint = h.raw
	case "/services/collector/ack", "/services/collector/ack/1.0":
		endpoint = h.ack
	case "/services/collector/health", "/services/collector/health/1.0":
		method, endpoint = http.MethodGet, h.health
	default:
		return plainAnswer(http.StatusNotFound, "The requested URL was not found on this server."), nil
	}
	if r.Method != method {
		return plainAnswer(http.StatusMethodNotAllowed, "Method not allowed"), nil
	}
	return endpoint(r)
}

// authorize finds the request's token: in the query string, where that is
// allowed, else in the header.
func (h *Handler) authorize(r *request) (*token, Code) {
	value := r.URL.Query().Get("token")
	if value != "" && !h.config.QueryAuth {
		return nil, QueryAuthDisabled
	}
	if value == "" {
		var code Code
		if value, code = headerToken(r.Header.Get("Authorization")); code != Success {
			return nil, code
		}
	}
	sum := sha256.Sum256([]byte(value))
	var found *token
	for _, t := range h.tokens {
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 {
			found = t
		}
	}
	switch {
	case found == nil:
		return nil, InvalidToken
	case found.Disabled:
		return nil, TokenDisabled
	}
	return found, Success
}

// headerToken takes "Splunk <token>" and Basic authorization, whose password is
// the token.
func headerToken(header string) (string, Code) {
	if header == "" {
		return "", TokenRequired
	}
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Splunk"):
	case strings.EqualFold(scheme, "Basic"):
		plain, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", InvalidAuthorization
		}
		_, value, _ = strings.Cut(string(plain), ":")
	default:
		return "", InvalidAuthorization
	}
	if value == "" {
		return "", TokenRequired
	}
	return value, Success
}

func channelOf(r *http.Request) string {
	if channel := r.Header.Get("X-Splunk-Request-Channel"); channel != "" {
		return channel
	}
	return r.URL.Query().Get("channel")
}

// checkChannel holds a channel to the form of a GUID; needed says whether it may
// be missing.
func checkChannel(channel string, needed bool) Code {
	switch {
	case channel == "" && needed:
		return ChannelMissing
	case channel != "" && !isGUID(channel):
		return InvalidChannel
	}
	return Success
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !isHex(s[i]) {
			return false
		}
	}
	return true
}

func (h *Handler) event(r *request) (answer, error) {
	return h.data(r, "event", func(p *bodyParser, body []byte, events []Received) batch {
		return p.parseEvents(body, events)
	})
}

func (h *Handler) raw(r *request) (answer, error) {
	return h.data(r, "raw", func(p *bodyParser, body []byte, events []Received) batch {
		q := r.URL.Query()
		return p.parseRaw(body, rawDefaults{
			time: q.Get("time"), host: q.Get("host"), source: q.Get("source"),
			sourcetype: q.Get("sourcetype"), index: q.Get("index"),
		}, events)
	})
}

// space is what a request needs while it is read, kept for the next one.
type space struct {
	sent   []byte // the body as it came, when it is packed
	body   []byte // raw
	events []Received
	packed bytes.Reader
	gzip   gzip.Reader
}

var spaces = sync.Pool{New: func() any { return new(space) }}

// data takes events in.
func (h *Handler) data(r *request, on string, parse func(*bodyParser, []byte, []Received) batch) (answer, error) {
	token, code := h.authorize(r)
	if code == Success {
		code = checkChannel(r.moment.Channel, token.Ack || on == "raw")
	}
	if code == Success && h.draining.Load() {
		code = ShuttingDown
	}
	if code != Success {
		return answerOf(code), nil
	}
	s := spaces.Get().(*space)
	defer spaces.Put(s)
	if refused, err := h.read(r, s); refused != nil || err != nil {
		if err != nil {
			return answer{}, err
		}
		return *refused, nil
	}
	r.moment.Bytes = len(s.body)

	now := h.config.Now()
	effect := h.config.Faults.next(on, len(s.body), now)
	if effect.restart {
		h.Restart()
	}
	if effect.delay > 0 {
		if err := h.config.Sleep(r.Context(), effect.delay); err != nil {
			return answer{}, fmt.Errorf("wait before the answer: %w", err)
		}
	}
	key := channelKey{token, r.moment.Channel}
	acked := token.Ack && key.guid != ""
	if acked && h.channels.full(key) {
		return answerOf(AckAtCapacity), nil
	}

	parser := bodyParser{token: token, now: now, loseUnknown: h.config.LoseUnknownKeys}
	batch := parse(&parser, s.body, s.events[:0])
	s.events = batch.events
	if batch.unknown {
		h.unknown.Add(1)
		h.lost.Add(uint64(batch.lost))
		h.config.Log.Warn("envelope with a key that HEC does not know", "event", len(batch.events), "lost", batch.lost)
	}
	return h.commit(r, batch, effect, acked, key)
}

// commit hands the good events to the sink and makes the answer.
func (h *Handler) commit(r *request, batch batch, effect effect, acked bool, key channelKey) (answer, error) {
	committed := effect.commit(len(batch.events))
	if committed > 0 {
		if err := h.config.Sink.Index(batch.events[:committed]); err != nil {
			h.config.Log.Error("index events", "error", err)
			return answerOf(InternalError), nil
		}
		h.events.Add(uint64(committed))
		r.moment.Stage, r.moment.Events = Committed, committed
	}
	a := answerOf(batch.code)
	if batch.code.namesEvent() {
		a.invalid = invalidNumber(batch.code, len(batch.events))
	}
	// A refused request is acknowledged too, for the prefix that was indexed
	// [probed]; what an empty prefix gets is not known, here it gets no id.
	if acked && committed > 0 {
		id := h.channels.add(key, effect.ack)
		a.ackID, r.moment.AckID = &id, &id
	}
	if committed > 0 {
		h.config.Trace(r.moment)
	}
	return effect.answer(a, committed), nil
}

// errTooLarge says that a body is over its limit.
var errTooLarge = errors.New("body is too large")

// read fills s.body with the request's body, unpacked. A body that is not taken
// has its answer; an error means that the client has gone.
func (h *Handler) read(r *request, s *space) (*answer, error) {
	var err error
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
		s.body, err = readAtMost(s.body[:0], r.Body, min(h.config.MaxRaw, h.config.MaxCompressed))
	case "gzip":
		if s.sent, err = readAtMost(s.sent[:0], r.Body, h.config.MaxCompressed); err != nil {
			break
		}
		if len(s.sent) == 0 {
			a := answerOf(NoData)
			return &a, nil
		}
		if unpackErr := s.unpack(h.config.MaxRaw); errors.Is(unpackErr, errTooLarge) {
			err = errTooLarge
		} else if unpackErr != nil {
			a := answerOf(InvalidDataFormat)
			a.invalid = invalidNumber(InvalidDataFormat, 0)
			return &a, nil
		}
	default: // deflate too
		a := plainAnswer(http.StatusUnsupportedMediaType, "Unsupported content encoding")
		return &a, nil
	}
	switch {
	case errors.Is(err, errTooLarge) && h.config.CloudOversize:
		a := answerOf(InvalidDataFormat)
		a.invalid = invalidNumber(InvalidDataFormat, 0)
		return &a, nil
	case errors.Is(err, errTooLarge):
		a := plainAnswer(http.StatusRequestEntityTooLarge, "The request is too large")
		return &a, nil
	case err != nil:
		return nil, fmt.Errorf("read body: %w", err)
	}
	return nil, nil
}

// unpack fills s.body with the unpacked s.sent. Nothing of a body is taken before
// its checksum is right. The whole body in memory unpacks faster than a stream.
func (s *space) unpack(limit int) error {
	s.packed.Reset(s.sent)
	if err := s.gzip.Reset(&s.packed); err != nil {
		return err
	}
	var err error
	s.body, err = readAtMost(s.body[:0], &s.gzip, limit)
	return err
}

// readAtMost appends what r holds to b, and fails with errTooLarge above limit
// bytes.
func readAtMost(b []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, make([]byte, max(64<<10, len(b)))...)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(cap(b), limit+1)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return b, errTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// ack answers which ids of a channel are acknowledged.
func (h *Handler) ack(r *request) (answer, error) {
	token, code := h.authorize(r)
	switch {
	case code != Success:
	case !token.Ack:
		code = AckDisabled
	default:
		code = checkChannel(r.moment.Channel, true)
	}
	if code != Success {
		return answerOf(code), nil
	}
	body, err := readAtMost(nil, r.Body, h.config.MaxRaw)
	if errors.Is(err, errTooLarge) {
		return plainAnswer(http.StatusRequestEntityTooLarge, "The request is too large"), nil
	}
	if err != nil {
		return answer{}, fmt.Errorf("read body: %w", err)
	}
	now := h.config.Now()
	effect := h.config.Faults.next("ack", len(body), now)
	if effect.restart {
		h.Restart()
	}
	if effect.delay > 0 {
		if err := h.config.Sleep(r.Context(), effect.delay); err != nil {
			return answer{}, fmt.Errorf("wait before the answer: %w", err)
		}
	}
	if f := effect.fault; f != nil && (f.Code != 0 || f.Status != 0) {
		// The question was not taken, so that no status is read and forgotten.
		return effect.answer(answer{}, 0), nil
	}
	var question struct {
		Acks *[]uint64 `json:"acks"`
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return answerOf(NoData), nil
	}
	if decodeStrict(body, &question) != nil || question.Acks == nil {
		return answerOf(InvalidDataFormat), nil
	}
	states := h.channels.ask(channelKey{token, r.moment.Channel}, *question.Acks, now)
	out, err := json.Marshal(map[string]any{"acks": states})
	if err != nil {
		return answer{}, err
	}
	return effect.answer(answer{status: http.StatusOK, body: out}, 0), nil
}

// decodeStrict decodes one JSON value without unknown keys and nothing behind it.
func decodeStrict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// health tells how the receiver is; a token is not needed, but a wrong one is
// told.
func (h *Handler) health(r *request) (answer, error) {
	effect := h.config.Faults.next("health", 0, h.config.Now())
	if r.Header.Get("Authorization") != "" || r.URL.Query().Has("token") {
		switch _, code := h.authorize(r); code {
		case Success:
		case InvalidToken:
			return answerOf(HealthInvalidToken), nil
		case TokenDisabled:
			return answerOf(HealthTokenDisabled), nil
		default:
			return answerOf(code), nil
		}
	}
	if h.draining.Load() {
		return answerOf(ShuttingDown), nil
	}
	return effect.answer(answerOf(Healthy), 0), nil
}

// write sends the answer, or spoils it as it was told to.
func (h *Handler) write(w http.ResponseWriter, r *request, a answer) {
	r.moment.Stage, r.moment.Status, r.moment.Code = Answered, a.status, a.code
	h.answersMu.Lock()
	h.answers[answerName(a)]++
	h.answersMu.Unlock()
	defer func() { h.config.Trace(r.moment) }()

	body := a.bytes()
	switch a.end {
	case Drop:
		panic(http.ErrAbortHandler)
	case HalfClose:
		h.halfClose(w)
		return
	case Empty:
		body = nil
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=UTF-8")
	if len(body) > 0 && body[0] == '<' {
		header.Set("Content-Type", "text/html")
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	for name, value := range a.header {
		header.Set(name, value)
	}
	w.WriteHeader(a.status)
	if a.end == Truncate {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body)
	// Whoever waits for the moment "answered" must find the answer sent.
	_ = http.NewResponseController(w).Flush()
	if a.end == Truncate {
		panic(http.ErrAbortHandler)
	}
}

func answerName(a answer) string {
	if a.code < 0 {
		return fmt.Sprintf("%d/-", a.status)
	}
	return fmt.Sprintf("%d/%d", a.status, a.code)
}

// halfClose closes the sending side of the connection and keeps the other open
// until the client or the receiver ends it.
func (h *Handler) halfClose(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	if !h.beginHalf() {
		return
	}
	defer h.halves.Done()
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	stop := context.AfterFunc(h.ctx, func() { _ = conn.Close() })
	defer stop()
	_, _ = io.Copy(io.Discard, conn)
}

// beginHalf counts a half-closed connection, unless all of them have to go.
func (h *Handler) beginHalf() bool {
	h.halvesMu.Lock()
	defer h.halvesMu.Unlock()
	if h.ctx.Err() != nil {
		return false
	}
	h.halves.Add(1)
	return true
}

// endHalves closes the half-closed connections, which net/http no longer knows,
// and waits for their handlers.
func (h *Handler) endHalves() {
	h.halvesMu.Lock()
	h.cancel()
	h.halvesMu.Unlock()
	h.halves.Wait()
}
