package demo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"aiwatch/collectors"
	"aiwatch/forwarder"
	"aiwatch/forwarder/hec"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
	"aiwatch/internal/hecserver"
	"aiwatch/internal/inputs"
	"aiwatch/internal/scenario"
)

// Arrived counts what came to the receiver.
type Arrived struct {
	URL    string
	Events int
}

// deliveryWait is how long the receiver may take for what is left when all is
// collected.
const deliveryWait = 30 * time.Second

// A way is the way of events from the collectors to the receiver: what aiwatch
// run delivers with, and the embedded receiver. It is the play's forwarder and
// the receiver's sink.
type way struct {
	dir     string // of the queue
	version string
	log     *slog.Logger

	queue     *queue.Queue
	forwarder *forwarder.Forwarder
	server    *hecserver.Server
	counter   *hecserver.Counter
	delivery  *errgroup.Group
	stop      context.CancelFunc

	mu       sync.Mutex
	indexed  map[event.ID][]time.Time // of what was committed, by the week's clock
	arrivals []arrival
}

// An arrival is an event as the receiver took it.
type arrival struct {
	id    event.ID
	input string
	event hecserver.Received
}

// weekClock shows the week's time, and wakes by the machine's.
type weekClock func() time.Time

// Now is the week's time.
func (c weekClock) Now() time.Time { return c() }

// After wakes once d has passed.
func (c weekClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// open starts the receiver and the delivery to it.
func (w *way) open(ctx context.Context, now func() time.Time) (err error) {
	w.indexed, w.counter = map[event.ID][]time.Time{}, hecserver.NewCounter()
	token := rand.Text()
	if w.server, err = hecserver.Start("127.0.0.1:0", nil, hecserver.Config{
		Tokens: []hecserver.Token{{Value: token, DefaultIndex: "aiwatch"}}, Sink: hecserver.Sinks{w, w.counter},
	}); err != nil {
		return err
	}
	destination, err := hec.New(hec.Config{URLs: []string{w.server.URL()}, Token: token, UserAgent: "aiwatch/" + w.version, Log: w.log})
	if err != nil {
		return err
	}
	if w.queue, err = queue.Open(w.dir, queue.Options{Now: now, Log: w.log}); err != nil {
		return err
	}
	if w.forwarder, err = forwarder.New(forwarder.Options{
		Queue: w.queue, Destination: destination, Host: "aiwatch", Clock: weekClock(now), Log: w.log,
	}); err != nil {
		return err
	}
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.delivery, beside = errgroup.WithContext(beside)
	w.delivery.Go(func() error { return w.forwarder.Run(beside) })
	return nil
}

// close ends what open started, however far that came.
func (w *way) close() error {
	var errs []error
	if w.delivery != nil {
		w.stop()
		errs = append(errs, w.delivery.Wait())
	}
	if w.forwarder != nil {
		errs = append(errs, w.forwarder.Close())
	}
	if w.queue != nil {
		errs = append(errs, w.queue.Close())
	}
	if w.server != nil {
		errs = append(errs, w.server.Close())
	}
	return errors.Join(errs...)
}

// Collector is the queue's id.
func (w *way) Collector() string { return w.queue.Collector() }

// Open opens an input's stream, as aiwatch run does.
func (w *way) Open(ctx context.Context, in scenario.Input) (collectors.Stream, error) {
	return w.forwarder.Open(ctx, forwarder.Input{
		Name: in.Settings.Stanza(), Source: inputs.Fingerprint(in.Settings), Host: in.Host, Index: in.Index,
	})
}

// Indexed notes when an event counts as indexed.
func (w *way) Indexed(id event.ID, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.indexed[id] = append(w.indexed[id], at)
}

// Index takes what the receiver was sent.
func (w *way) Index(events []hecserver.Received) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		id, ok := event.ParseID(string(e.ID))
		if !ok {
			return fmt.Errorf("an event without an id arrived: %.200s", e.Event)
		}
		for _, part := range []*[]byte{&e.Time, &e.Host, &e.Source, &e.Sourcetype, &e.Index, &e.Event, &e.Fields, &e.ID, &e.Collector} {
			*part = bytes.Clone(*part)
		}
		w.arrivals = append(w.arrivals, arrival{id, string(e.Source), e})
	}
	return nil
}

// arrive waits until all is delivered, and gives the recording what arrived, in
// the order in which it was committed. It is an error when anything is missing or
// came twice.
func (w *way) arrive(ctx context.Context, rec *scenario.Recording, file string) (a Arrived, err error) {
	wait, cancel := context.WithTimeout(ctx, deliveryWait)
	defer cancel()
	if err := w.forwarder.Drain(wait); err != nil {
		return a, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.arrivals, func(a, b arrival) int {
		return cmp.Or(cmp.Compare(a.input, b.input), cmp.Compare(a.event.Seq, b.event.Seq))
	})
	for i := range w.arrivals {
		e := &w.arrivals[i]
		if times := w.indexed[e.id]; len(times) > 0 {
			e.event.Indexed, w.indexed[e.id] = times[0], times[1:]
			continue
		}
		// The forwarder itself told of a new state, when it opened the input's stream.
		seconds, err := strconv.ParseFloat(string(e.event.Time), 64)
		if err != nil {
			return a, fmt.Errorf("an event without a time arrived: %.200s", e.event.Event)
		}
		e.event.Indexed = time.UnixMilli(int64(seconds * 1000)).UTC().Add(time.Second)
	}
	missing := 0
	for _, times := range w.indexed {
		missing += len(times)
	}
	stats := w.counter.Stats()
	if missing > 0 || stats.SeqMissing+stats.SeqDoubles+stats.Duplicates+stats.Conflicts > 0 {
		return a, fmt.Errorf("%d events are missing at the receiver, %d numbers are missing, %d were used twice, %d events came twice: please report this",
			missing, stats.SeqMissing, stats.SeqDoubles, stats.Duplicates+stats.Conflicts)
	}
	slices.SortStableFunc(w.arrivals, func(a, b arrival) int { return a.event.Indexed.Compare(b.event.Indexed) })
	kept, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return a, fmt.Errorf("keep what arrived: %w", err)
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	var lines []byte
	for i := range w.arrivals {
		begin := len(lines)
		lines = hecserver.AppendEnvelope(lines, &w.arrivals[i].event)
		rec.Add(w.arrivals[i].event.Indexed, lines[begin:])
		lines = append(lines, '\n')
	}
	if _, err := kept.Write(lines); err != nil {
		return a, fmt.Errorf("keep what arrived: %w", err)
	}
	return Arrived{URL: w.server.URL(), Events: len(w.arrivals)}, nil
}
