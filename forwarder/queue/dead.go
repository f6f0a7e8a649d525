package queue

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// DeadLetter is an event that the destination refused for good.
type DeadLetter struct {
	Number    uint64          `json:"number"`
	Refused   time.Time       `json:"refused"`
	Input     string          `json:"input"`
	Index     string          `json:"index,omitempty"`
	Collector string          `json:"collector"`
	Seq       uint64          `json:"seq"`
	EventID   string          `json:"event_id"`
	Code      int             `json:"code"` // HEC's, -1 when it gave none
	Text      string          `json:"text"` // the destination's words
	Envelope  json.RawMessage `json:"envelope"`
}

// Held says why the events of an index wait. The index "*" stands for all.
type Held struct {
	Index  string    `json:"index"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	Code   int       `json:"code"`
}

// AllIndexes is the index of a Held that holds everything.
const AllIndexes = "*"

// AddDeadLetter keeps a refused event under a new number.
func (tx *Tx) AddDeadLetter(d DeadLetter) error {
	b := tx.tx.Bucket(deadBucket)
	number, err := b.NextSequence()
	if err != nil {
		return err
	}
	d.Number = number
	var value bytes.Buffer
	e := json.NewEncoder(&value)
	e.SetEscapeHTML(false) // the event's bytes stay as they are
	if err := e.Encode(d); err != nil {
		return err
	}
	return putSummed(b, idBytes(number), value.Bytes())
}

// RemoveDeadLetter forgets a refused event.
func (tx *Tx) RemoveDeadLetter(number uint64) error {
	return tx.tx.Bucket(deadBucket).Delete(idBytes(number))
}

// DeadLetters visits the refused events in their order. Visit must be quick and
// must not write.
func (q *Queue) DeadLetters(visit func(DeadLetter) error) error {
	return q.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(deadBucket).ForEach(func(key, stored []byte) error {
			d, err := decodeDead(key, stored)
			if err != nil {
				return err
			}
			return visit(d)
		})
	})
}

// DeadLetter returns a refused event; found is false when there is none of this
// number.
func (q *Queue) DeadLetter(number uint64) (d DeadLetter, found bool, err error) {
	err = q.view(func(tx *bbolt.Tx) error {
		key := idBytes(number)
		stored := tx.Bucket(deadBucket).Get(key)
		if stored == nil {
			return nil
		}
		found = true
		d, err = decodeDead(key, stored)
		return err
	})
	return d, found, err
}

func decodeDead(key, stored []byte) (d DeadLetter, err error) {
	value, err := unsummed(key, stored)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(value, &d); err != nil {
		return d, fmt.Errorf("%w: a dead letter: %w", ErrDamaged, err)
	}
	d.Number = binary.BigEndian.Uint64(key)
	return d, nil
}

// SetHeld notes why the events of an index wait.
func (tx *Tx) SetHeld(h Held) error {
	value, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return putSummed(tx.tx.Bucket(heldBucket), heldKey(h.Index), value)
}

// ClearHeld notes that they wait no longer.
func (tx *Tx) ClearHeld(index string) error {
	return tx.tx.Bucket(heldBucket).Delete(heldKey(index))
}

// heldKey is never empty, as the default index's name is.
func heldKey(index string) []byte { return []byte("." + index) }

// Held returns why events wait.
func (q *Queue) Held() (all []Held, err error) {
	err = q.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(heldBucket).ForEach(func(key, stored []byte) error {
			value, err := unsummed(key, stored)
			if err != nil {
				return err
			}
			var h Held
			if err := json.Unmarshal(value, &h); err != nil {
				return fmt.Errorf("%w: a reason to hold: %w", ErrDamaged, err)
			}
			all = append(all, h)
			return nil
		})
	})
	return all, err
}
