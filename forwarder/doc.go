// Package forwarder delivers events durably: it takes them from collectors,
// keeps them in the queue until the destination has them, retries, and gives up
// honestly. It must not know what an event means or how HEC is spoken.
//
// The way of an event, which is also the order to read in:
//
//	stream.go       Stream: one for each input. Encodes, numbers, and commits
//	                events together with the collector's state
//	queue           the file in which they wait
//	deliver.go      picks batches, hands them to the Destination, removes what it has
//	settle.go       what becomes of a batch that was not simply taken
//	recut.go        cutting a body anew: a prefix was taken, an event is refused,
//	                the body is too large, events go to another index
//	destination.go  Destination: what hec and others implement, and what they answer
//	admin.go        status, reroute, dead letters: of the running forwarder
//	                (control.go, by a socket) or of its file
//
// A program does this:
//
//	q, err := queue.Open(dir, queue.Options{MaxBytes: n, Log: log})
//	f := forwarder.New(forwarder.Options{Queue: q, Destination: d, Log: log, Host: host})
//	go f.Run(ctx)                 // delivers until ctx is done
//	st, err := f.Open(ctx, forwarder.Input{Name: "aiwatch_s3://prod", Source: "s3://logs/"})
//	...                           // st is a collector's Output
//	err = f.Drain(deadline)       // commits what is checkpointed, waits until all is delivered
//	cancel()                      // ends Run
//	err = f.Close()               // ends the streams
//	err = q.Close()
//
// README.md says what is guaranteed and what can't be.
package forwarder
