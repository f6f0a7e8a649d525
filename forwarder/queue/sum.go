package queue

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumSize = 4

// sum is CRC-32C over key and value, so that a value in another's place is found
// out too.
func sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// summed returns value behind its sum.
func summed(key, value []byte) []byte {
	b := make([]byte, sumSize, sumSize+len(value))
	binary.BigEndian.PutUint32(b, sum(key, value))
	return append(b, value...)
}

// unsummed returns the value of what summed returned.
func unsummed(key, stored []byte) ([]byte, error) {
	if len(stored) < sumSize || binary.BigEndian.Uint32(stored) != sum(key, stored[sumSize:]) {
		return nil, fmt.Errorf("%w: the value of %.80q is not what was written", ErrDamaged, key)
	}
	return stored[sumSize:], nil
}

func putSummed(b *bbolt.Bucket, key, value []byte) error {
	return b.Put(key, summed(key, value))
}

// getSummed returns the value under key, nil when there is none.
func getSummed(b *bbolt.Bucket, key []byte) ([]byte, error) {
	stored := b.Get(key)
	if stored == nil {
		return nil, nil
	}
	return unsummed(key, stored)
}

// checkSums checks every value of a bucket and of those in it.
func checkSums(b *bbolt.Bucket) error {
	if b == nil {
		return fmt.Errorf("%w: a part of it is missing", ErrDamaged)
	}
	return b.ForEach(func(key, stored []byte) error {
		if stored == nil {
			return checkSums(b.Bucket(key))
		}
		_, err := unsummed(key, stored)
		return err
	})
}
