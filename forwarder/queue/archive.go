package queue

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// An Archive is a log beside the file that is written in the commit: what a
// transaction archives is durable there before the transaction is, and how far
// the log goes is part of the transaction.
type Archive interface {
	// Recover makes the log what it was when this position was committed; nil
	// says that none was.
	Recover(position []byte) error
	// Append makes blocks durable behind the position that is committed, in the
	// place of whatever an earlier Append wrote there, and returns the position
	// behind them. It may change the blocks, so that they can be appended again.
	Append(blocks [][]byte) (position []byte, err error)
	// Committed says that the position of the last Append is committed.
	Committed()
}

// Attach recovers the archive to which transactions append from then on. It is
// called before the first of them.
func (q *Queue) Attach(a Archive) error {
	position, err := q.Archived()
	if err != nil {
		return err
	}
	if err := a.Recover(position); err != nil {
		return err
	}
	q.archive = a
	return nil
}

// Archived returns the position of the archive that is committed, nil when there
// is none.
func (q *Queue) Archived() (position []byte, err error) {
	err = q.view(func(tx *bbolt.Tx) error {
		stored, err := getSummed(tx.Bucket(metaBucket), archiveKey)
		position = bytes.Clone(stored)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read how far the archive was written: %w", err)
	}
	return position, nil
}

// Archive puts a block into the archive that is attached.
func (tx *Tx) Archive(block []byte) { tx.blocks = append(tx.blocks, block) }

// archive appends what the transaction archives, as its last act: whatever can
// fail before has not.
func (tx *Tx) archive() error {
	if len(tx.blocks) == 0 {
		return nil
	}
	if tx.q.archive == nil {
		return errors.New("commit to the archive: none is attached")
	}
	position, err := tx.q.archive.Append(tx.blocks)
	if err != nil {
		return err
	}
	return putSummed(tx.tx.Bucket(metaBucket), archiveKey, position)
}
