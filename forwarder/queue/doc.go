// Package queue keeps what waits for delivery, and what the inputs remember, in
// one file (bbolt) of the state folder. Batches of events and the state that
// says "read up to here" are committed in one transaction, so that whatever
// dies in between, nothing is skipped and no number is used for two events.
//
// It knows nothing of collectors, of HEC or of how an event looks: a body is
// bytes with a header. It must not send anything or decide what is sent next.
//
// Read Open first, then Tx, which is all that can be written, then Next and
// Body, which is how a sender reads. The file holds:
//
//	meta     what the file is: version, the collector's id, when it was made; and
//	         how far the archive was written
//	inputs   stanza -> the last seq that was used
//	tokens   stanza and source -> its restart_token
//	state    stanza and source -> a bucket of key-values
//	headers  index, 0, batch id -> Header
//	bodies   batch id -> a bucket with the body alone
//	held     index -> why its events wait
//	dead     number -> DeadLetter
//
// A body stands in a bucket of its own because bbolt keeps up to four values on
// one page run: adding or removing one would write the others anew.
//
// An Archive is a log outside the file that is written in the commit.
//
// Every value has a CRC-32C over its key and itself. The file's structure is
// checked when it is opened (check.go), before bbolt reads it: bbolt's own check
// panics on a goroutine that nobody can guard.
package queue
