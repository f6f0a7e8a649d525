package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Tx is a transaction that writes.
type Tx struct {
	q     *Queue
	tx    *bbolt.Tx
	depth map[string]Depth
	freed bool
	// blocks are for the archive.
	blocks [][]byte
}

// Add puts a batch in. An id that is there already is replaced, so that a
// transaction may be tried again. The bytes of body must stay as they are until
// the transaction has ended.
func (tx *Tx) Add(h Header, body []byte) error {
	if err := tx.forget(h.Index, h.ID); err != nil {
		return err
	}
	id := idBytes(h.ID)
	h.Size, h.sum = len(body), sum(id, body)
	b, err := tx.tx.Bucket(bodyBucket).CreateBucket(id)
	if err != nil {
		return err
	}
	if err := b.Put(bodyKey, body); err != nil {
		return err
	}
	tx.depth[h.Input] = tx.depth[h.Input].plus(h)
	key := headerKey(h.Index, h.ID)
	return putSummed(tx.tx.Bucket(headerBucket), key, h.encode())
}

// Remove takes a batch out; one that is not there is no error.
func (tx *Tx) Remove(h Header) error {
	tx.freed = true
	return tx.forget(h.Index, h.ID)
}

// SetAside takes out a batch whose body is unreadable. Its pages stay where they
// are: bbolt must not walk what may be damaged.
func (tx *Tx) SetAside(h Header) error {
	tx.depth[h.Input] = tx.depth[h.Input].minus(h)
	return tx.tx.Bucket(headerBucket).Delete(headerKey(h.Index, h.ID))
}

func (tx *Tx) forget(index string, id uint64) error {
	headers := tx.tx.Bucket(headerBucket)
	key := headerKey(index, id)
	stored := headers.Get(key)
	if stored == nil {
		return nil
	}
	h, err := decodeHeader(key, stored)
	if err != nil {
		return err
	}
	tx.depth[h.Input] = tx.depth[h.Input].minus(h)
	if err := headers.Delete(key); err != nil {
		return err
	}
	err = tx.tx.Bucket(bodyBucket).DeleteBucket(idBytes(id))
	if errors.Is(err, berrors.ErrBucketNotFound) {
		return nil
	}
	return err
}

// SetSeq notes the last number that an input has used.
func (tx *Tx) SetSeq(input string, seq uint64) error {
	return putSummed(tx.tx.Bucket(inputsBucket), []byte(input), binary.BigEndian.AppendUint64(nil, seq))
}

// PutState writes deltas of an input's state; a nil value forgets its key.
func (tx *Tx) PutState(in *Input, deltas map[string][]byte) error {
	if len(deltas) == 0 {
		return nil
	}
	b, err := tx.tx.Bucket(stateBucket).CreateBucketIfNotExists(in.key)
	if err != nil {
		return err
	}
	for key, value := range deltas {
		if value == nil {
			err = b.Delete([]byte(key))
		} else {
			err = putSummed(b, []byte(key), value)
		}
		if err != nil {
			return fmt.Errorf("put %.80q into the state of %s: %w", key, in.name, err)
		}
	}
	return nil
}

// write is an Update that waits for the writer.
type write struct {
	f     func(*Tx) error
	grows bool // adds batches, and waits at the limit
	err   chan error
}

// groupSize is how many updates are committed at once, at most.
const groupSize = 16

// Update runs f in a transaction, together with other updates that wait, and
// returns when it is durable. F may run more than once and must not change
// anything but the queue. Removing and recutting is possible at the limit too.
func (q *Queue) Update(f func(*Tx) error) error {
	return q.send(&write{f: f, err: make(chan error, 1)})
}

// Commit is Update for what adds batches: at the limit the error is ErrFull.
func (q *Queue) Commit(f func(*Tx) error) error {
	return q.send(&write{f: f, grows: true, err: make(chan error, 1)})
}

func (q *Queue) send(w *write) error {
	if err := q.broken(); err != nil {
		return err
	}
	select {
	case q.writes <- w:
		return <-w.err
	case <-q.stop:
		return errors.New("the queue is closed, or open for reading alone")
	}
}

// Freed returns a channel that is closed when something has been removed.
func (q *Queue) Freed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.freed
}

// write is the one goroutine that writes. Updates that come while a transaction
// is being made durable share the next one.
func (q *Queue) write() {
	defer close(q.done)
	debug.SetPanicOnFault(true)
	for {
		var group []*write
		select {
		case <-q.stop:
			return
		case w := <-q.writes:
			group = append(group, w)
		}
	gather:
		for len(group) < groupSize {
			select {
			case w := <-q.writes:
				group = append(group, w)
			default:
				break gather
			}
		}
		q.commit(group)
	}
}

// commit answers each write of the group. When the group fails each is tried by
// itself, those that free space first.
func (q *Queue) commit(group []*write) {
	if len(group) > 1 && q.transact(group) == nil {
		for _, w := range group {
			w.err <- nil
		}
		return
	}
	for _, grows := range []bool{false, true} {
		for _, w := range group {
			if w.grows == grows {
				w.err <- q.transact([]*write{w})
			}
		}
	}
}

// reserve is how much of the limit is left to removing and recutting.
func (q *Queue) reserve() int64 { return min(2<<20, q.options.MaxBytes/8) }

// transact runs a group in one transaction.
func (q *Queue) transact(group []*write) error {
	if err := q.broken(); err != nil {
		return err
	}
	grows := false
	for _, w := range group {
		grows = grows || w.grows
	}
	q.db.MaxSize = int(q.options.MaxBytes)
	if !grows {
		// Free pages may lie too scattered for a body that is cut anew.
		q.db.MaxSize += int(q.reserve())
	}
	tx := &Tx{q: q, depth: map[string]Depth{}}
	err := guard(func() (err error) {
		if tx.tx, err = q.db.Begin(true); err != nil {
			return err
		}
		if grows {
			stats := q.db.Stats()
			free := int64(stats.FreePageN+stats.PendingPageN) * int64(q.db.Info().PageSize)
			if tx.tx.Size()-free > q.options.MaxBytes-2*q.reserve() {
				_ = tx.tx.Rollback()
				return ErrFull
			}
		}
		for _, w := range group {
			if err := w.f(tx); err != nil {
				_ = tx.tx.Rollback()
				return err
			}
		}
		if err := tx.archive(); err != nil {
			_ = tx.tx.Rollback()
			return err
		}
		return tx.tx.Commit()
	})
	switch {
	case err == nil:
		if len(tx.blocks) > 0 {
			q.archive.Committed()
		}
		q.apply(tx)
		return nil
	case errors.Is(err, ErrDamaged):
		// The transaction can't be ended: the file is not touched again. It is
		// found damaged, and set aside, at the next start.
		q.mu.Lock()
		q.failed = err
		q.mu.Unlock()
		q.options.Log.Error("the queue is damaged", "file", q.path, "error", err)
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached):
		return ErrFull
	}
	return err
}

// apply takes what was committed into what is kept in memory.
func (q *Queue) apply(tx *Tx) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, d := range tx.depth {
		have := q.depth[name]
		q.depth[name] = Depth{have.Batches + d.Batches, have.Events + d.Events, have.Bytes + d.Bytes}
	}
	maps.DeleteFunc(q.depth, func(_ string, d Depth) bool { return d == Depth{} })
	if tx.freed {
		close(q.freed)
		q.freed = make(chan struct{})
	}
}

// now returns the time as the file keeps it.
func (q *Queue) now() time.Time { return q.options.Now().UTC().Truncate(time.Millisecond) }
