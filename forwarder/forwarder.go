package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
)

// ErrUnavailable says that something could not be delivered in time. It waits in
// the queue.
var ErrUnavailable = errors.New("not everything could be delivered")

// Clock tells the time and wakes. It is handed in, so that tests need not sleep.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Options are what a Forwarder is made of. Queue and Destination are needed, the
// rest has defaults.
type Options struct {
	Queue       *queue.Queue
	Destination Destination
	// BatchBytes is how large a body is at most, before compression; 0 is 768 KiB,
	// and at least one event goes into it.
	BatchBytes int
	// Linger is how long what is checkpointed waits for more; 0 is 1 s.
	Linger time.Duration
	// GzipLevel is 1 to 9; 0 is 1.
	GzipLevel int
	// InFlight is how many bodies are sent at once, at most; 0 is 4.
	InFlight int
	// HoldMin and HoldMax are the first and the longest pause between two tries
	// while events are held; 0 is 5 s and 5 min.
	HoldMin, HoldMax time.Duration
	// Archive gets a copy of all events, in the commit; nil is none. It must not
	// be recovered yet, and is closed by whoever has opened it, after the queue.
	Archive *archive.Writer
	// Host is this machine's name, for health events.
	Host string
	// Collecting returns what Status passes on about the inputs, as JSON; nil
	// leaves that out.
	Collecting func() any
	// Clock is the machine's when nil; Log drops everything when nil.
	Clock Clock
	Log   *slog.Logger
	// Trace is told each point of a delivery and waited for; tests stop the
	// program there. The points: archived, committed, before-post, posted, before-remove,
	// removed, before-recut, recut.
	Trace func(point string)
}

const (
	defaultBatchBytes = 768 << 10
	maxBatchBytes     = 64 << 20
	defaultLinger     = time.Second
	defaultInFlight   = 4
	defaultHoldMin    = 5 * time.Second
	defaultHoldMax    = 5 * time.Minute
)

// Forwarder delivers what its streams take.
type Forwarder struct {
	queue       *queue.Queue
	archive     *archive.Writer // nil is none
	destination Destination
	clock       Clock
	log         *slog.Logger
	host        string
	linger      time.Duration
	inFlight    int
	holdMin     time.Duration
	holdMax     time.Duration
	traceHook   func(string)
	collecting  func() any
	batchBytes  int
	packer      *packer
	buffers     buffers // of encoded events
	packed      buffers // of compressed bodies
	metrics     Metrics
	wake        chan struct{} // something may be sent
	running     atomic.Bool

	mu       sync.Mutex
	streams  map[string]*Stream
	lanes    map[string]*lane // by index
	busy     map[uint64]*parcel
	sending  int           // bodies on their way
	landing  chan struct{} // closed when one has landed
	paused   int           // nothing is let out
	gate     gate
	caps     caps
	suspects map[uint64]int // batch -> raw size of the refused body it was the front of
	failed   error
	closed   bool
	warned   time.Time // that nothing can be committed
	tended   time.Time // when the archive was looked after

	removals chan struct{} // something is in removing
	removing []*parcel
}

// New returns a Forwarder that delivers from the queue to the destination once
// Run is called.
func New(o Options) (*Forwarder, error) {
	if o.Queue == nil || o.Destination == nil {
		return nil, errors.New("make a forwarder: it needs a queue and a destination")
	}
	level := o.GzipLevel
	if level == 0 {
		level = 1
	}
	packer, err := newPacker(level)
	if err != nil {
		return nil, err
	}
	if o.BatchBytes > maxBatchBytes {
		return nil, fmt.Errorf("batches of %d bytes are larger than %d, the most there may be", o.BatchBytes, maxBatchBytes)
	}
	f := &Forwarder{
		queue: o.Queue, archive: o.Archive, destination: o.Destination, host: o.Host, traceHook: o.Trace, packer: packer,
		clock: o.Clock, log: o.Log, collecting: o.Collecting, landing: make(chan struct{}),
		batchBytes: either(o.BatchBytes, defaultBatchBytes), linger: either(o.Linger, defaultLinger),
		inFlight: either(o.InFlight, defaultInFlight),
		holdMin:  either(o.HoldMin, defaultHoldMin), holdMax: either(o.HoldMax, defaultHoldMax),
		wake: make(chan struct{}, 1), removals: make(chan struct{}, 1),
		streams: map[string]*Stream{}, lanes: map[string]*lane{}, busy: map[uint64]*parcel{}, suspects: map[uint64]int{},
	}
	f.caps.limit.Store(int64(f.batchBytes))
	f.buffers.size = groupBodies*f.batchBytes + f.batchBytes/4
	f.packed.size = f.batchBytes / 4
	if f.clock == nil {
		f.clock = systemClock{}
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	indexes, err := f.queue.Indexes()
	if err != nil {
		return nil, err
	}
	for _, index := range indexes {
		f.lanes[index] = &lane{}
	}
	if f.archive != nil {
		if err := f.queue.Attach(tracedArchive{f.archive, f.trace}); err != nil {
			return nil, err
		}
	}
	return f, f.loadHeld()
}

// loadHeld takes over what the last run has held; it is tried at once.
func (f *Forwarder) loadHeld() error {
	all, err := f.queue.Held()
	if err != nil {
		return err
	}
	for _, h := range all {
		was := hold{reason: h.Reason, code: h.Code, since: h.Since}
		if h.Index == queue.AllIndexes {
			f.gate = gate{hold: was, probing: true}
		} else {
			f.rewind(h.Index, 1)
			f.lanes[h.Index].hold = was
		}
	}
	return nil
}

func either[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Open opens the stream of an input. The waits of the polls end with ctx. State
// that is new, restored or was damaged is told by a health event.
func (f *Forwarder) Open(ctx context.Context, in Input) (*Stream, error) {
	kept, err := f.queue.Input(in.Name, in.Source, in.RestartToken)
	if err != nil {
		return nil, err
	}
	s, err := f.stream(in.Name, in.Index, kept.Seq)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.in, s.ctx, s.host = kept, ctx, in.Host
	if s.encoder.index != in.Index {
		// A batch has one index: what waits in the group still goes to the old one.
		if err := s.flushed(); err != nil {
			s.mu.Unlock()
			return nil, err
		}
		s.encoder = encoder{collector: s.encoder.collector, source: in.Name, index: in.Index}
	}
	s.mu.Unlock()
	return s, errors.Join(f.tellCondition(s, kept), f.tendArchive(s))
}

// stream returns the stream of this name, made when there is none.
func (f *Forwarder) stream(name, index string, seq uint64) (*Stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed
	}
	s := f.streams[name]
	if s == nil {
		s = newStream(f, name, index, seq)
		f.streams[name] = s
	}
	return s, nil
}

// tellCondition says by a health event what was lost or begun anew.
func (f *Forwarder) tellCondition(s *Stream, in *queue.Input) error {
	condition, reason := f.queue.Condition()
	switch {
	case condition == queue.Damaged && in.Fresh, condition == queue.Restored:
	case condition == queue.New && in.Fresh:
	case in.Fresh:
		condition, reason = queue.New, "this input has no state yet; it begins anew"
	case in.Anew:
		condition, reason = queue.New, "this input's source or restart_token changed; it begins anew and keeps its numbers"
	default:
		return nil
	}
	operation := "state." + string(condition)
	f.log.Warn(operation, "input", s.name, "reason", reason)
	ev := f.healthEvent(s.name, operation, strconv.FormatInt(f.clock.Now().UnixNano(), 10))
	ev.Text = reason
	return s.Health(&ev)
}

// healthEvent returns a health event about an input; distinct tells it from
// others of the same operation.
func (f *Forwarder) healthEvent(input, operation string, distinct ...string) event.Event {
	return event.Event{
		Envelope:  event.Envelope{Time: event.At(f.clock.Now()), Host: f.host, Sourcetype: event.SourcetypeHealth},
		ID:        event.MakeID(event.SourcetypeHealth, append([]string{operation, f.queue.Collector(), input}, distinct...)...),
		Operation: operation,
		AssetType: event.Input,
	}
}

// Run delivers until ctx is done, and returns nil then. Bodies that are being
// sent are given up at that moment; they stay in the queue. An error means that
// the queue is broken.
func (f *Forwarder) Run(ctx context.Context) error {
	f.running.Store(true)
	defer f.running.Store(false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.destination.Run(ctx) })
	g.Go(func() error { return f.remove(ctx) })
	g.Go(func() error { return f.deliver(ctx) })
	g.Go(func() error { return f.keepArchive(ctx) })
	err := g.Wait()
	if err == nil {
		// What was delivered by now need not be sent again at the next start.
		err = f.removeAll(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Drain commits what is checkpointed and returns when everything is delivered.
// When ctx is done before, the error is ErrUnavailable and says what waits and
// why. Run must be running.
func (f *Forwarder) Drain(ctx context.Context) error {
	f.mu.Lock()
	streams := slices.Collect(maps.Values(f.streams))
	f.mu.Unlock()
	for {
		for _, s := range streams {
			if err := s.drain(ctx); err != nil {
				return err
			}
		}
		if f.queue.Depth().Batches == 0 {
			return nil
		}
		if err := f.failure(); err != nil {
			return err
		}
		// Dead letters put health events in while the queue runs empty.
		freed := f.queue.Freed()
		if f.queue.Depth().Batches == 0 {
			continue
		}
		select {
		case <-freed:
		case <-f.clock.After(f.linger):
		case <-ctx.Done():
			return f.undelivered()
		}
	}
}

// drain waits, as long as ctx lasts, until all that is checkpointed is durable.
func (s *Stream) drain(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush = true
	s.broadcast()
	for s.err == nil && !s.settled() {
		if ctx.Err() != nil {
			if s.stalled != nil {
				return fmt.Errorf("%w: events of %s wait: %w", ErrUnavailable, s.name, s.stalled)
			}
			return fmt.Errorf("%w: events of %s wait to be committed", ErrUnavailable, s.name)
		}
		changed := s.changed
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
	if s.err != nil && !errors.Is(s.err, errClosed) {
		return s.err
	}
	return nil
}

// undelivered says what waits and why.
func (f *Forwarder) undelivered() error {
	depth := f.queue.Depth()
	f.mu.Lock()
	reason := either(f.gate.reason, f.gate.why)
	for index, l := range f.lanes {
		if reason == "" && l.hold.reason != "" {
			reason = fmt.Sprintf("index %q: %s", index, l.hold.reason)
		}
	}
	f.mu.Unlock()
	if reason == "" {
		reason = "the time was too short"
	}
	return fmt.Errorf("%w: %d events wait in the queue: %s", ErrUnavailable, depth.Events, reason)
}

// Close commits what is checkpointed, with one try, and ends the streams. Run
// must have ended, or ends soon. It may be called again.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	streams := f.streams
	f.mu.Unlock()
	for _, s := range streams {
		s.close()
	}
	return f.failure()
}

// Metrics returns the counters.
func (f *Forwarder) Metrics() *Metrics { return &f.metrics }

// fail notes that nothing can be done any more.
func (f *Forwarder) fail(err error) {
	f.mu.Lock()
	if f.failed == nil {
		f.failed = err
		f.log.Error("the queue can't be used any more", "error", err)
	}
	f.mu.Unlock()
	f.stir()
}

func (f *Forwarder) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// stir wakes the delivery loop.
func (f *Forwarder) stir() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Forwarder) trace(point string) {
	if f.traceHook != nil {
		f.traceHook(point)
	}
}

// Pauses between two tries of a commit.
const (
	persistMin = 100 * time.Millisecond
	persistMax = 5 * time.Second
)

// persist tries write until it is done, stop is closed or the queue is broken.
// Stalled, where given, is told when it does not go through.
func (f *Forwarder) persist(stop <-chan struct{}, stalled func(error), write func() error) error {
	for wait := persistMin; ; wait = min(2*wait, persistMax) {
		freed := f.queue.Freed()
		err := write()
		if err == nil {
			return nil
		}
		if errors.Is(err, queue.ErrDamaged) {
			f.fail(err)
			return err
		}
		f.warnStalled(err)
		if stalled != nil {
			stalled(err)
		}
		select {
		case <-stop:
			return err
		case <-freed:
		case <-f.clock.After(wait):
		}
	}
}

// Stalled says why nothing is committed of some input at the moment, nil when all
// is.
func (f *Forwarder) Stalled() error {
	f.mu.Lock()
	streams := slices.Collect(maps.Values(f.streams))
	f.mu.Unlock()
	for _, s := range streams {
		if err := s.Stalled(); err != nil {
			return err
		}
	}
	return nil
}

// warnStalled says that nothing can be committed, once in a while.
func (f *Forwarder) warnStalled(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.clock.Now(); now.Sub(f.warned) >= warnAgain {
		f.warned = now
		f.log.Warn("nothing can be committed; it is tried again, and collectors wait meanwhile", "error", err)
	}
}

// warnAgain is the time between two warnings of the same kind.
const warnAgain = time.Minute

// buffers keeps a few large buffers for the next one who needs one.
type buffers struct {
	pool sync.Pool
	size int
}

func (b *buffers) get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, b.size)
}

func (b *buffers) put(buf []byte) {
	if cap(buf) >= b.size && cap(buf) <= 4*b.size {
		b.pool.Put(&buf)
	}
}
