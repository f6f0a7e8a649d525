package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
)

// Input is what the queue keeps for one stanza that reads one source.
type Input struct {
	q    *Queue
	name string
	key  []byte // of its state
	// Seq is the number of the last event that was committed before the input
	// was opened.
	Seq uint64
	// Fresh says that the input was never opened before in this queue, Anew that
	// it has no positions for this source.
	Fresh, Anew bool
}

// Name returns the stanza.
func (in *Input) Name() string { return in.name }

// Input opens what is kept for a stanza. Its numbers go by the stanza alone, its
// state by stanza and source (whatever text tells one source from another); a
// token that changed makes it forget the state.
func (q *Queue) Input(name, source, token string) (*Input, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return nil, fmt.Errorf("open the state of %q: that is no name for an input", name)
	}
	digest := sha256.Sum256([]byte(source))
	in := &Input{q: q, name: name, key: []byte(name + "\x00" + hex.EncodeToString(digest[:8]))}
	var known []byte
	err := q.view(func(tx *bbolt.Tx) error {
		seq, err := getSummed(tx.Bucket(inputsBucket), []byte(name))
		if err != nil {
			return err
		}
		if seq == nil {
			in.Fresh = true
		} else {
			in.Seq = binary.BigEndian.Uint64(seq)
		}
		in.Anew = tx.Bucket(stateBucket).Bucket(in.key) == nil
		stored, err := getSummed(tx.Bucket(tokensBucket), in.key)
		known = bytes.Clone(stored)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the state of %s: %w", name, err)
	}
	if !in.Anew && known != nil && string(known) == token {
		return in, nil
	}
	err = q.Update(func(tx *Tx) error {
		states := tx.tx.Bucket(stateBucket)
		if !in.Anew && string(known) != token {
			if err := states.DeleteBucket(in.key); err != nil {
				return err
			}
		}
		if _, err := states.CreateBucketIfNotExists(in.key); err != nil {
			return err
		}
		return putSummed(tx.tx.Bucket(tokensBucket), in.key, []byte(token))
	})
	if err != nil {
		return nil, fmt.Errorf("open the state of %s: %w", name, err)
	}
	in.Anew = in.Anew || string(known) != token
	return in, nil
}

// Seq returns the number of the last event of an input that was committed.
func (q *Queue) Seq(input string) (seq uint64, err error) {
	err = q.view(func(tx *bbolt.Tx) error {
		v, err := getSummed(tx.Bucket(inputsBucket), []byte(input))
		if v != nil {
			seq = binary.BigEndian.Uint64(v)
		}
		return err
	})
	return seq, err
}

// Get returns a copy of the value under key, nil when there is none.
func (in *Input) Get(key string) (value []byte, err error) {
	err = in.q.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(stateBucket).Bucket(in.key)
		if b == nil {
			return nil
		}
		v, err := getSummed(b, []byte(key))
		if v != nil {
			value = append([]byte{}, v...)
		}
		return err
	})
	return value, err
}

// Pair is a key with its value.
type Pair struct {
	Key   string
	Value []byte
}

// Pairs read at once, at most.
const (
	pageKeys  = 256
	pageBytes = 1 << 20
)

// Page returns the pairs whose key has the prefix and is not below from, in
// their order, as many as are read at once; next is where to go on, empty at the
// end.
func (in *Input) Page(prefix, from string) (pairs []Pair, next string, err error) {
	err = in.q.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(stateBucket).Bucket(in.key)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		size := 0
		for k, stored := c.Seek([]byte(max(prefix, from))); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, stored = c.Next() {
			if len(pairs) == pageKeys || size > pageBytes {
				next = string(k)
				return nil
			}
			v, err := unsummed(k, stored)
			if err != nil {
				return err
			}
			pairs = append(pairs, Pair{string(k), append([]byte{}, v...)})
			size += len(v)
		}
		return nil
	})
	return pairs, next, err
}
