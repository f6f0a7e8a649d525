package queue

import "errors"

var (
	// ErrHeld says that another process has the state open.
	ErrHeld = errors.New("another run holds the state")
	// ErrState says that the state can't be opened or written: it is read-only,
	// the disk is full, others may read it.
	ErrState = errors.New("the state can't be used")
	// ErrDamaged says that the file broke while it was open. It is set aside at
	// the next Open.
	ErrDamaged = errors.New("the queue is damaged")
	// ErrFull says that the file is at its limit; it passes when something was
	// delivered.
	ErrFull = errors.New("the queue is full")
	// ErrUnreadable says that one body is not what was written.
	ErrUnreadable = errors.New("the batch is unreadable")
	// ErrNone says that there is no queue in the folder.
	ErrNone = errors.New("there is no queue")
)
