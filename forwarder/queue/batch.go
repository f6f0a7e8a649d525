package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// A Header says what a batch is. Its body is kept apart.
type Header struct {
	// ID orders the batches of an index. Its low 20 bits are 0 when the batch is
	// made; a part of it has the position of its first event there.
	ID uint64
	// Index is where the events go; empty leaves it to the destination.
	Index string
	// Input is the stanza whose events these are.
	Input string
	// Created is when the batch was made, to the millisecond.
	Created time.Time
	// Events counts the events, First and Last are the numbers (seq) of the first
	// and the last of them.
	Events      int
	First, Last uint64
	// Raw and Size are the body's bytes, before and after compression.
	Raw, Size int

	sum uint32 // of the body
}

// Depth is how much waits.
type Depth struct {
	Batches int64 `json:"batches"`
	Events  int64 `json:"events"`
	Bytes   int64 `json:"bytes"` // compressed
}

func (d Depth) plus(h Header) Depth {
	return Depth{d.Batches + 1, d.Events + int64(h.Events), d.Bytes + int64(h.Size)}
}

func (d Depth) minus(h Header) Depth {
	return Depth{d.Batches - 1, d.Events - int64(h.Events), d.Bytes - int64(h.Size)}
}

func idBytes(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// headerKey puts the batches of an index side by side, in the order of their ids.
func headerKey(index string, id uint64) []byte {
	b := make([]byte, 0, len(index)+9)
	b = append(append(b, index...), 0)
	return binary.BigEndian.AppendUint64(b, id)
}

func (h *Header) encode() []byte {
	b := make([]byte, 0, 64+len(h.Input))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Created.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, h.First)
	b = binary.BigEndian.AppendUint64(b, h.Last)
	for _, n := range []int{h.Events, h.Raw, h.Size} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = binary.BigEndian.AppendUint32(b, h.sum)
	return append(b, h.Input...)
}

const headerFixed = 3*8 + 4*4

func decodeHeader(key, stored []byte) (Header, error) {
	value, err := unsummed(key, stored)
	if err != nil {
		return Header{}, err
	}
	end := bytes.IndexByte(key, 0)
	if end < 0 || len(key) != end+9 || len(value) < headerFixed {
		return Header{}, fmt.Errorf("%w: a batch's header is not one", ErrDamaged)
	}
	number := func(at int) int { return int(binary.BigEndian.Uint32(value[at:])) }
	return Header{
		ID: binary.BigEndian.Uint64(key[end+1:]), Index: string(key[:end]), Input: string(value[headerFixed:]),
		Created: time.UnixMilli(int64(binary.BigEndian.Uint64(value))).UTC(),
		First:   binary.BigEndian.Uint64(value[8:]), Last: binary.BigEndian.Uint64(value[16:]),
		Events: number(24), Raw: number(28), Size: number(32), sum: uint32(number(36)),
	}, nil
}

func eachHeader(tx *bbolt.Tx, visit func(Header) error) error {
	b := tx.Bucket(headerBucket)
	if b == nil {
		return fmt.Errorf("%w: a part of it is missing", ErrDamaged)
	}
	return b.ForEach(func(key, stored []byte) error {
		h, err := decodeHeader(key, stored)
		if err != nil {
			return err
		}
		return visit(h)
	})
}

// NewID returns the id of a new batch, greater than all before.
func (q *Queue) NewID() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nextID += idStep
	return q.nextID - idStep
}

// Next returns the first batch of an index whose id is above after; found is
// false when there is none.
func (q *Queue) Next(index string, after uint64) (h Header, found bool, err error) {
	err = q.view(func(tx *bbolt.Tx) error {
		key, stored := tx.Bucket(headerBucket).Cursor().Seek(headerKey(index, after+1))
		if key == nil || !bytes.HasPrefix(key, append([]byte(index), 0)) {
			return nil
		}
		found = true
		h, err = decodeHeader(key, stored)
		return err
	})
	return h, found, err
}

// Indexes returns the indexes for which something waits, in their order.
func (q *Queue) Indexes() (indexes []string, err error) {
	err = q.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(headerBucket).Cursor()
		for key, _ := c.First(); key != nil; {
			end := bytes.IndexByte(key, 0)
			if end < 0 {
				return fmt.Errorf("%w: a batch's header is not one", ErrDamaged)
			}
			indexes = append(indexes, string(key[:end]))
			key, _ = c.Seek(append(bytes.Clone(key[:end]), 1))
		}
		return nil
	})
	return indexes, err
}

// Body appends a batch's body to buf. The error is ErrUnreadable when it is not
// what was written; everything else of the queue may be whole.
func (q *Queue) Body(h Header, buf []byte) ([]byte, error) {
	if err := q.broken(); err != nil {
		return buf, err
	}
	start := len(buf)
	id := idBytes(h.ID)
	err := guard(func() error {
		return q.db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(bodyBucket).Bucket(id); b != nil {
				buf = append(buf, b.Get(bodyKey)...)
			}
			return nil
		})
	})
	if err == nil && len(buf)-start == h.Size && sum(id, buf[start:]) == h.sum {
		return buf, nil
	}
	return buf, fmt.Errorf("%w: batch %d of %s, events %d to %d", ErrUnreadable, h.ID, h.Input, h.First, h.Last)
}

// Depths returns how much waits, by input.
func (q *Queue) Depths() map[string]Depth {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make(map[string]Depth, len(q.depth))
	for name, d := range q.depth {
		if d.Batches > 0 {
			out[name] = d
		}
	}
	return out
}

// Depth returns how much waits in all.
func (q *Queue) Depth() (total Depth) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.depth {
		total.Batches += d.Batches
		total.Events += d.Events
		total.Bytes += d.Bytes
	}
	return total
}

// Headers visits the headers of all batches, by index, in their order. Visit
// must be quick and must not write.
func (q *Queue) Headers(visit func(Header) error) error {
	return q.view(func(tx *bbolt.Tx) error { return eachHeader(tx, visit) })
}

// Size returns the file's size in bytes.
func (q *Queue) Size() (size int64, err error) {
	err = q.view(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	return size, err
}
