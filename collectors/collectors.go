// Package collectors says what a collector is and runs collectors.
//
// A collector reads one source and turns what the source knows into AI-asset
// events. It lives in a folder of its own below this one, imports this package,
// modelfile and internal/event, and never the forwarder: where its events go
// and where its state is kept is behind Output. README.md tells how to add one.
//
// Read Collector and Output first; Runner schedules the inputs and tells how
// they are.
package collectors

import (
	"context"
	"time"

	"aiwatch/internal/event"
)

// A Collector reads one source.
//
// It holds no positions of its own between polls: all that a later poll must
// know is in Output's state, because the process may be killed at any moment
// and because the same events must come out whichever process reads on.
type Collector interface {
	// Poll reads what is new since the state that out holds, emits it, and
	// returns when it has caught up with the source or when ctx is done. It is
	// never called twice at the same time.
	//
	// Bad input is data, not an error: it becomes an event. An error means that
	// the source, or a part of it, could not be read; what could be read was
	// emitted all the same. Everything since the last Checkpoint of a failed
	// poll is discarded.
	Poll(ctx context.Context, out Output) error

	// Check tries the source without reading it through, for a person who sets
	// the input up. It neither emits nor changes anything.
	Check(ctx context.Context) []Finding

	// Report tells how the reading goes. Its counters start anew with each
	// call. It may be called while Poll runs.
	Report() Report
}

// Output takes what a collector finds and keeps what it must remember.
//
// Events and state changes between two checkpoints become durable together or
// not at all. An Output belongs to one collector and is used by one goroutine
// at a time.
type Output interface {
	// Emit takes one event; the caller may use ev again afterwards, and whatever
	// memory its strings are in: an Output that keeps events copies them whole,
	// which most do by encoding them. Collector, Seq, Source, Index and, when they
	// are empty, Host and Sourcetype are filled in; where AssetType is input, so
	// are AssetID and AssetName. An event without ID or time is a programming error
	// and panics.
	//
	// Emit waits while the queue is at its limit, and fails only when ctx of the
	// poll is done or the state can't be written.
	Emit(ev *event.Event) error

	// Get returns the value under key, nil when there is none. It sees what
	// this collector has put since the last checkpoint. The bytes are the
	// caller's.
	Get(key string) ([]byte, error)
	// Range visits all keys with the prefix in their order, what has been put
	// since the last checkpoint included. The bytes are valid during the visit
	// only, and the visit must not write. An error of visit ends it and is
	// returned.
	Range(prefix string, visit func(key string, value []byte) error) error
	// Put remembers value under key; the bytes are copied. A key has at most
	// 1 KiB, a value at most 1 MiB. Values stay small and many, so that what is
	// written follows what changed.
	Put(key string, value []byte)
	// Delete forgets key.
	Delete(key string)

	// Checkpoint says that the events and state changes so far belong together
	// and may be committed. It is cheap and called often: at least once for
	// every 256 events or 1 MiB of them.
	Checkpoint() error
	// Flush is a checkpoint that returns when all is durable, for a collector
	// that must tell its source so (an SQS message that may now be deleted).
	Flush() error
}

// Report is how the reading goes, for heartbeats, status and progress.
type Report struct {
	// RecordsRead counts the source's records since the last report.
	RecordsRead int64
	// NewestRecord is the date of the newest record ever read by this process.
	NewestRecord time.Time
	// LastSweep is when the source was last read to its end.
	LastSweep time.Time
	// InventoryComplete is true when what existed at first contact was read to
	// its end. A source without an inventory leaves it absent.
	InventoryComplete event.Bool
	// Coverage names what of the source is not watched, and why.
	Coverage []string
	// Notes are things an operator should know that are no errors, such as the
	// moment from which records are sent.
	Notes []string
	// Parts tell of parts of the source, such as each S3 bucket whose log is
	// read.
	Parts []Part
	// Done and Total measure the poll that runs, in bytes or records; Total is 0
	// when it is not known.
	Done, Total int64
}

// A Part is what a Report tells of one part of a source.
type Part struct {
	AssetID      string // such as s3://bucket
	RecordsRead  int64  // since the last report
	NewestRecord time.Time
}

// A Finding is one thing that Check tells.
type Finding struct {
	Verdict Verdict
	Text    string // what was found, one sentence
	Fix     string // what to do about it; empty when all is well
}

// A Verdict says what a finding means for the exit code of `aiwatch check`.
type Verdict int

// The verdicts, from harmless to grave.
const (
	Good        Verdict = iota // all is well
	Warning                    // works, but the operator should know
	Unavailable                // the source can't be reached or refuses us: exit 69
	Misset                     // a setting is wrong: exit 2
)

// A Notifier is a collector that hears from its source between polls, such as
// by a webhook: each value asks for a poll now.
type Notifier interface {
	Notify() <-chan struct{}
}

// A Listener is a collector that has something to run beside its polls, such
// as an HTTP server. Run returns when ctx is done, or with the error that
// ended it before.
type Listener interface {
	Run(ctx context.Context) error
}
