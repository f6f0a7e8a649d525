package forwarder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/queue"
)

// Admin is what an operator can ask and change. A Forwarder is one, and Attach
// returns one for whatever has the state: a running process or nobody.
type Admin interface {
	// Status tells what waits, what is held and why, what was refused.
	Status(ctx context.Context) (Status, error)
	// Reroute moves the held events of an input to another index and returns how
	// many. Their envelopes are written anew, the events stay as they are.
	Reroute(ctx context.Context, input, index string) (events int, err error)
	// DeadLetters returns the refused events in their order.
	DeadLetters(ctx context.Context) ([]queue.DeadLetter, error)
	// Resend puts refused events back into the queue, Drop forgets them. Without
	// numbers it is all of them. A number that is not there is an error, and then
	// nothing is changed.
	Resend(ctx context.Context, numbers ...uint64) (int, error)
	Drop(ctx context.Context, numbers ...uint64) (int, error)
	Close() error
}

// Status is how the delivery is.
type Status struct {
	Running   bool      `json:"running"`
	Collector string    `json:"collector"`
	Created   time.Time `json:"created"`
	// Waiting is what is in the queue, Unconfirmed how many events of it were
	// sent and wait for their confirmation.
	Waiting     queue.Depth `json:"waiting"`
	Unconfirmed int64       `json:"unconfirmed"`
	// Oldest is when the oldest of it was put there.
	Oldest    time.Time `json:"oldest,omitzero"`
	FileBytes int64     `json:"file_bytes"`
	// Trouble is why nothing is sent at the moment, Stalled why nothing is taken
	// from the inputs; empty when all is well.
	Trouble     string         `json:"trouble,omitempty"`
	Stalled     string         `json:"stalled,omitempty"`
	Held        []HeldEvents   `json:"held,omitempty"`
	DeadLetters int            `json:"dead_letters"`
	Inputs      []InputWaiting `json:"inputs"`
	Counters    *Counters      `json:"counters,omitempty"` // of the running process
	// Archive is how large the archive is; nil without one.
	Archive *archive.Status `json:"archive,omitempty"`
	// Collecting is what the collectors' side says of the inputs; it is passed on.
	Collecting json.RawMessage `json:"collecting,omitempty"`
}

// HeldEvents says why events wait, and how many.
type HeldEvents struct {
	queue.Held
	Events int64 `json:"events"`
}

// InputWaiting is what waits of one input.
type InputWaiting struct {
	Name string `json:"name"`
	queue.Depth
	Oldest time.Time `json:"oldest,omitzero"`
	// Held counts its events that are held.
	Held int64 `json:"held"`
	// DeadLetters counts its events that were refused.
	DeadLetters int64 `json:"dead_letters"`
}

// Input returns what waits of one input.
func (s *Status) Input(name string) InputWaiting {
	for _, in := range s.Inputs {
		if in.Name == name {
			return in
		}
	}
	return InputWaiting{Name: name}
}

// Status tells how the delivery is. It reads the header of every batch.
func (f *Forwarder) Status(context.Context) (Status, error) {
	s := Status{Running: f.running.Load(), Collector: f.queue.Collector(), Created: f.queue.Created(), Waiting: f.queue.Depth()}
	if s.Running {
		s.Counters = f.metrics.counters()
	}
	held := map[string]*HeldEvents{}
	f.mu.Lock()
	for _, p := range f.busy {
		if p.accepted {
			s.Unconfirmed += int64(p.Events)
		}
	}
	s.Trouble = either(f.gate.reason, f.gate.why)
	if f.gate.reason != "" {
		held[queue.AllIndexes] = &HeldEvents{Held: f.gate.held(queue.AllIndexes)}
	}
	for index, l := range f.lanes {
		if l.hold.reason != "" {
			held[index] = &HeldEvents{Held: l.hold.held(index)}
		}
	}
	f.mu.Unlock()

	inputs := map[string]*InputWaiting{}
	input := func(name string) *InputWaiting {
		if inputs[name] == nil {
			inputs[name] = &InputWaiting{Name: name}
		}
		return inputs[name]
	}
	err := f.queue.Headers(func(h queue.Header) error {
		in := input(h.Input)
		in.Batches++
		in.Events += int64(h.Events)
		in.Bytes += int64(h.Size)
		for _, oldest := range []*time.Time{&s.Oldest, &in.Oldest} {
			if oldest.IsZero() || h.Created.Before(*oldest) {
				*oldest = h.Created
			}
		}
		why := held[h.Index]
		if why == nil {
			why = held[queue.AllIndexes]
		}
		if why != nil {
			why.Events += int64(h.Events)
			in.Held += int64(h.Events)
		}
		return nil
	})
	if err != nil {
		return Status{}, err
	}
	err = f.queue.DeadLetters(func(d queue.DeadLetter) error {
		s.DeadLetters++
		input(d.Input).DeadLetters++
		return nil
	})
	if err != nil {
		return Status{}, err
	}
	if s.FileBytes, err = f.queue.Size(); err != nil {
		return Status{}, err
	}
	if s.Archive, err = f.archiveStatus(); err != nil {
		return Status{}, err
	}
	if why := f.Stalled(); why != nil {
		s.Stalled = why.Error()
	}
	for _, in := range inputs {
		s.Inputs = append(s.Inputs, *in)
	}
	slices.SortFunc(s.Inputs, func(a, b InputWaiting) int { return strings.Compare(a.Name, b.Name) })
	for _, h := range held {
		s.Held = append(s.Held, *h)
	}
	slices.SortFunc(s.Held, func(a, b HeldEvents) int { return strings.Compare(a.Index, b.Index) })
	if f.collecting != nil {
		if s.Collecting, err = json.Marshal(f.collecting()); err != nil {
			return Status{}, fmt.Errorf("tell how the inputs are: %w", err)
		}
	}
	return s, nil
}

func (h *hold) held(index string) queue.Held {
	return queue.Held{Index: index, Since: h.since, Reason: h.reason, Code: h.code}
}

// indexName is what Splunk takes as the name of an index.
var indexName = regexp.MustCompile(`^[a-z0-9_][a-z0-9_-]*$`)

// Reroute moves the held events of an input to another index.
func (f *Forwarder) Reroute(ctx context.Context, input, index string) (int, error) {
	if !indexName.MatchString(index) {
		return 0, fmt.Errorf("reroute to index %q: a name has lower-case letters, digits, _ and - only", index)
	}
	resume, err := f.pause(ctx)
	if err != nil {
		return 0, err
	}
	defer resume()
	f.mu.Lock()
	all := f.gate.reason != ""
	var from []string
	for name, l := range f.lanes {
		if name != index && (all || l.hold.reason != "") {
			from = append(from, name)
		}
	}
	f.mu.Unlock()
	moved := 0
	for _, lane := range from {
		for after := uint64(0); ; {
			h, found, err := f.queue.Next(lane, after)
			if err != nil {
				return moved, err
			}
			if !found {
				break
			}
			after = h.ID
			if h.Input != input || f.isBusy(h.ID) {
				continue
			}
			if err := f.moveTo(h, index); err != nil {
				return moved, fmt.Errorf("reroute events of %s to index %s: %w", input, index, err)
			}
			moved += h.Events
			if err := ctx.Err(); err != nil {
				return moved, err
			}
		}
		if err := f.endEmptyHold(lane); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

func (f *Forwarder) isBusy(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.busy[id] != nil
}

// moveTo writes a batch anew for another index.
func (f *Forwarder) moveTo(h queue.Header, index string) error {
	data, err := f.queue.Body(h, nil)
	if err != nil {
		return err
	}
	raw, err := unpack(data, h.Raw)
	if err != nil {
		return err
	}
	ends, err := splitEnvelopes(raw)
	if err != nil {
		return err
	}
	moved := h
	moved.Index = index
	var out []byte
	begin := 0
	for _, end := range ends {
		out = setIndex(out, raw[begin:end], index)
		begin = end
	}
	moved.Raw = len(out)
	body := f.packer.pack(nil, out)
	err = f.queue.Update(func(tx *queue.Tx) error {
		if err := tx.Remove(h); err != nil {
			return err
		}
		return tx.Add(moved, body)
	})
	if err != nil {
		return err
	}
	f.added(index, h.ID)
	return nil
}

// setIndex appends an envelope with another index. Inside a JSON string a quote
// is escaped, so neither key can be found in a value.
func setIndex(b, envelope []byte, index string) []byte {
	at := bytes.Index(envelope, []byte(eventKey))
	head := envelope[:at]
	if i := bytes.LastIndex(head, []byte(indexKey)); i >= 0 {
		head = head[:i]
	}
	b = append(append(b, head...), indexKey...)
	b = append(append(b, index...), '"') // an index name needs no escaping
	return append(b, envelope[at:]...)
}

// endEmptyHold ends the hold on an index for which nothing waits any more.
func (f *Forwarder) endEmptyHold(index string) error {
	if _, found, err := f.queue.Next(index, 0); found || err != nil {
		return err
	}
	f.mu.Lock()
	f.lanes[index].hold = hold{}
	f.mu.Unlock()
	return f.queue.Update(func(tx *queue.Tx) error { return tx.ClearHeld(index) })
}

// pause lets no batch out until resume is called, and returns when none is on
// its way.
func (f *Forwarder) pause(ctx context.Context) (resume func(), err error) {
	f.mu.Lock()
	f.paused++
	f.mu.Unlock()
	resume = func() {
		f.mu.Lock()
		f.paused--
		f.mu.Unlock()
		f.stir()
	}
	for {
		f.mu.Lock()
		sending, landing := f.sending, f.landing
		f.mu.Unlock()
		if sending == 0 {
			return resume, nil
		}
		select {
		case <-landing:
		case <-ctx.Done():
			resume()
			return nil, fmt.Errorf("wait for bodies that are being sent: %w", ctx.Err())
		}
	}
}

// DeadLetters returns the refused events in their order.
func (f *Forwarder) DeadLetters(context.Context) (all []queue.DeadLetter, err error) {
	err = f.queue.DeadLetters(func(d queue.DeadLetter) error {
		all = append(all, d)
		return nil
	})
	return all, err
}

// Resend puts refused events back into the queue.
func (f *Forwarder) Resend(_ context.Context, numbers ...uint64) (int, error) {
	letters, err := f.letters(numbers)
	if err != nil {
		return 0, err
	}
	for i, d := range letters {
		body := f.packer.pack(nil, d.Envelope)
		h := queue.Header{
			ID: f.queue.NewID(), Index: d.Index, Input: d.Input, Created: f.clock.Now(),
			Events: 1, First: d.Seq, Last: d.Seq, Raw: len(d.Envelope),
		}
		err := f.queue.Commit(func(tx *queue.Tx) error {
			if err := tx.RemoveDeadLetter(d.Number); err != nil {
				return err
			}
			return tx.Add(h, body)
		})
		if err != nil {
			return i, fmt.Errorf("resend dead letter %d: %w", d.Number, err)
		}
		f.added(d.Index, h.ID)
	}
	return len(letters), nil
}

// Drop forgets refused events.
func (f *Forwarder) Drop(_ context.Context, numbers ...uint64) (int, error) {
	letters, err := f.letters(numbers)
	if err != nil {
		return 0, err
	}
	err = f.queue.Update(func(tx *queue.Tx) error {
		for _, d := range letters {
			if err := tx.RemoveDeadLetter(d.Number); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("drop dead letters: %w", err)
	}
	return len(letters), nil
}

// letters returns the dead letters of these numbers, or all.
func (f *Forwarder) letters(numbers []uint64) (letters []queue.DeadLetter, err error) {
	if len(numbers) == 0 {
		return f.DeadLetters(context.Background())
	}
	for _, n := range numbers {
		d, found, err := f.queue.DeadLetter(n)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("%w %d; aiwatch deadletter list tells those there are", ErrNoLetter, n)
		}
		letters = append(letters, d)
	}
	return letters, nil
}

// ErrNoLetter says that there is no dead letter of a number.
var ErrNoLetter = errors.New("there is no dead letter")

// Attach returns the Admin of the state in dir: that of the process that has it,
// asked by its control socket, or one that opens the file for each call. The
// error of a call is queue.ErrNone when there is no queue at all.
func Attach(ctx context.Context, dir string) (Admin, error) {
	if c, err := dial(ctx, dir); err == nil {
		return c, nil
	}
	return file{dir}, nil
}

// file is the Admin of a state that nobody has open.
type file struct{ dir string }

func (file) Close() error { return nil }

// idle is the destination of a forwarder that delivers nothing.
type idle struct{ Destination }

// with opens the queue, for reading alone or for changes, and runs do.
func (a file) with(change bool, do func(*Forwarder) error) (err error) {
	open := queue.Inspect
	if change {
		if _, err := os.Stat(filepath.Join(a.dir, queue.FileName)); err != nil {
			return fmt.Errorf("%w in %s", queue.ErrNone, a.dir)
		}
		open = func(dir string) (*queue.Queue, error) { return queue.Open(dir, queue.Options{}) }
	}
	q, err := open(a.dir)
	if errors.Is(err, queue.ErrHeld) {
		return fmt.Errorf("%w, and does not answer on its control socket: it is just starting or ending; try again", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	f, err := New(Options{Queue: q, Destination: idle{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return do(f)
}

func (a file) Status(ctx context.Context) (s Status, err error) {
	err = a.with(false, func(f *Forwarder) (err error) {
		s, err = f.Status(ctx)
		return err
	})
	return s, err
}

func (a file) Reroute(ctx context.Context, input, index string) (n int, err error) {
	err = a.with(true, func(f *Forwarder) (err error) {
		n, err = f.Reroute(ctx, input, index)
		return err
	})
	return n, err
}

func (a file) DeadLetters(ctx context.Context) (all []queue.DeadLetter, err error) {
	err = a.with(false, func(f *Forwarder) (err error) {
		all, err = f.DeadLetters(ctx)
		return err
	})
	return all, err
}

func (a file) Resend(ctx context.Context, numbers ...uint64) (n int, err error) {
	err = a.with(true, func(f *Forwarder) (err error) {
		n, err = f.Resend(ctx, numbers...)
		return err
	})
	return n, err
}

func (a file) Drop(ctx context.Context, numbers ...uint64) (n int, err error) {
	err = a.with(true, func(f *Forwarder) (err error) {
		n, err = f.Drop(ctx, numbers...)
		return err
	})
	return n, err
}
