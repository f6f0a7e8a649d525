package gitrepo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
)

// A spool holds the records of a walk, to be read backwards: in memory while
// they are few, else in a file beside the mirror.
type spool struct {
	mirror  *mirror
	limit   int64
	commits int64 // that were written to their end
	full    bool  // the limit was reached: what came later is not here

	held    []byte // what is not in the file yet
	file    *os.File
	filed   int64   // length of the file
	batches []int64 // where each batch begins
}

const (
	// maxSpool is how much of a walk is written down, in bytes.
	maxSpool = 256 << 20
	// maxHeld is how much of that is held in memory.
	maxHeld = 1 << 20
)

var errSpool = errors.New("the spool of a walk is damaged")

func newSpool(m *mirror, limit int64) *spool { return &spool{mirror: m, limit: limit} }

// spoolFiles is the pattern of the files' names; a process that is killed leaves
// one behind.
func (m *mirror) spoolFiles() string { return shortHash(m.dir) + ".walk-*" }

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
		_ = os.Remove(s.file.Name()) // the next start removes it otherwise
	}
}

// write adds a batch.
func (s *spool) write(batch []record) error {
	if s.full || len(batch) == 0 {
		return nil
	}
	start, end := len(s.held), s.filed+int64(len(s.held))
	for i := range batch {
		s.held = batch[i].append(s.held)
	}
	if s.filed+int64(len(s.held)) > s.limit {
		s.full = true
		s.held = s.held[:start]
		return nil
	}
	s.batches = append(s.batches, end)
	for i := range batch {
		if !batch[i].more {
			s.commits++
		}
	}
	if len(s.held) < maxHeld {
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.mirror.root, s.mirror.spoolFiles())
		if err != nil {
			return fmt.Errorf("write down a walk: %w", err)
		}
		s.file = f
	}
	n, err := s.file.Write(s.held)
	s.filed += int64(n)
	if err != nil {
		return fmt.Errorf("write down a walk: %w", err)
	}
	s.held = s.held[:0]
	return nil
}

// backwards hands on what was written, the last record first.
func (s *spool) backwards(take func([]record) error) error {
	end := s.filed + int64(len(s.held))
	// Parts of a commit whose end the spool had no room for are told with it.
	cut := s.full
	for _, start := range slices.Backward(s.batches) {
		batch, err := s.read(start, end)
		if err != nil {
			return err
		}
		slices.Reverse(batch)
		for cut && len(batch) > 0 && batch[0].more {
			batch = batch[1:]
		}
		cut = cut && len(batch) == 0
		if len(batch) > 0 {
			if err := take(batch); err != nil {
				return err
			}
		}
		end = start
	}
	return nil
}

func (s *spool) read(start, end int64) ([]record, error) {
	var b []byte
	if start >= s.filed {
		b = s.held[start-s.filed : end-s.filed]
	} else {
		b = make([]byte, end-start)
		if _, err := s.file.ReadAt(b, start); err != nil {
			return nil, fmt.Errorf("read a walk: %w", err)
		}
	}
	var batch []record
	for len(b) > 0 {
		var r record
		var err error
		if r, b, err = readRecord(b); err != nil {
			return nil, err
		}
		batch = append(batch, r)
	}
	return batch, nil
}

// append adds the record to b.
func (r *record) append(b []byte) []byte {
	flags := uint64(0)
	if r.direct {
		flags |= 1
	}
	if r.more {
		flags |= 2
	}
	b = appendText(appendText(b, r.oid), r.ref)
	b = binary.AppendUvarint(binary.AppendUvarint(b, flags), uint64(len(r.changes)))
	for i := range r.changes {
		c := &r.changes[i]
		for _, text := range []string{c.oldMode, c.newMode, c.oldOid, c.newOid, c.path} {
			b = appendText(b, text)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readRecord reads what append wrote, and returns what follows it.
func readRecord(b []byte) (r record, rest []byte, err error) {
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			err, b = errSpool, nil
			return 0
		}
		b = b[size:]
		return n
	}
	text := func() string {
		n := number()
		if n > uint64(len(b)) {
			err, b = errSpool, nil
			return ""
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	r.oid, r.ref = text(), text()
	flags := number()
	r.direct, r.more = flags&1 != 0, flags&2 != 0
	for n := number(); n > 0 && err == nil; n-- {
		r.changes = append(r.changes, change{oldMode: text(), newMode: text(), oldOid: text(), newOid: text(), path: text()})
	}
	return r, b, err
}
