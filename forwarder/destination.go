package forwarder

import (
	"context"
	"time"
)

// A Destination takes bodies of events.
type Destination interface {
	// Send hands over one body and says what became of it. It is called from
	// several goroutines, and returns when the destination has answered, when it
	// can't be reached, or when ctx is done. It must not keep or change the bytes.
	//
	// Where the answer is Accepted, or TakenAccepted is set, confirm is called
	// once, later or even before Send returns, from any goroutine: with true when
	// the destination has the events for good, with false when it never said so
	// in time and they have to be sent again. Confirm does not block.
	Send(ctx context.Context, body Body, confirm func(ok bool)) Outcome

	// Run does what has to be done beside sending, such as asking for
	// acknowledgements, until ctx is done.
	Run(ctx context.Context) error

	// Check tries the destination for a person who sets it up.
	Check(ctx context.Context) []Finding
}

// Body is what is sent at once.
type Body struct {
	Data   []byte // envelopes one behind the other, gzip
	Raw    int    // bytes before compression
	Events int
	Index  string
}

// Verdict is what became of a body.
type Verdict int

// The verdicts.
const (
	// Delivered: the destination has all of it, as far as it can promise.
	Delivered Verdict = iota
	// Accepted: it has all of it and will confirm.
	Accepted
	// Retry: it can't take it now. After is when to try again.
	Retry
	// Hold: a setting is wrong on one of the two sides. All events wait until
	// somebody has changed it, which is found out by trying now and then.
	Hold
	// HoldIndex: the same, for the events of this body's index alone.
	HoldIndex
	// Refused: an event in it is refused for good. Named says that it is the one
	// behind those that were taken.
	Refused
	// TooLarge: the body is too large; smaller ones may be taken.
	TooLarge
)

// Outcome is what a destination says to a body.
type Outcome struct {
	Verdict Verdict
	// Taken counts the events at the front that were taken even though the body
	// as a whole was not, TakenAccepted says that they will be confirmed.
	Taken         int
	TakenAccepted bool
	// Named says that the destination named the event behind the taken ones as
	// the refused one.
	Named bool
	// MaybeSize says that a Refused body may be refused for its size.
	MaybeSize bool
	// After is how long to wait: before the next try with Retry, before the next
	// body with Delivered and Accepted, when the destination asks to slow down.
	After time.Duration
	// Code is the destination's own code, -1 where it gave none, Text its words.
	Code int
	Text string
	// Reason says in one sentence what was seen and what can be done; empty with
	// Delivered and Accepted.
	Reason string
}

// A Finding is one thing that Check tells.
type Finding struct {
	Severity Severity
	Text     string // what was found, one sentence
	Fix      string // what to do about it; empty when all is well
}

// Severity says what a finding means.
type Severity int

// The severities, from harmless to grave.
const (
	Good        Severity = iota // all is well
	Warning                     // works, but the operator should know
	Unavailable                 // it can't be reached or refuses us
	Misset                      // a setting is wrong
)
