package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const stanza = "aiwatch_s3://prod"

func open(t *testing.T, dir string, o Options) *Queue {
	t.Helper()
	q, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func input(t *testing.T, q *Queue) *Input {
	t.Helper()
	in, err := q.Input(stanza, "s3://logs/", "")
	require.NoError(t, err)
	return in
}

// add commits a batch of ten events with a body of size bytes.
func add(t *testing.T, q *Queue, in *Input, index string, body []byte, state map[string][]byte) Header {
	t.Helper()
	seq, err := q.Seq(in.Name())
	require.NoError(t, err)
	h := Header{ID: q.NewID(), Index: index, Input: in.Name(), Events: 10, First: seq + 1, Last: seq + 10, Raw: 8 * len(body), Size: len(body), Created: q.now()}
	require.NoError(t, q.Commit(func(tx *Tx) error {
		if err := tx.Add(h, body); err != nil {
			return err
		}
		if err := tx.SetSeq(in.Name(), h.Last); err != nil {
			return err
		}
		return tx.PutState(in, state)
	}))
	return h
}

func random(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestWhatIsCommittedIsThereAgain(t *testing.T) {
	dir := t.TempDir() + "/state"
	q := open(t, dir, Options{})
	condition, _ := q.Condition()
	require.Equal(t, New, condition)
	require.Regexp(t, `^[0-9a-f]{8}$`, q.Collector())
	in := input(t, q)
	require.True(t, in.Fresh)
	require.True(t, in.Anew)
	bodies := [][]byte{[]byte("a small one"), random(200_000, 1), random(4000, 2), random(1_000_000, 3)}
	var headers []Header
	for i, body := range bodies {
		headers = append(headers, add(t, q, in, []string{"ai", ""}[i%2], body, map[string][]byte{"at": fmt.Append(nil, i), "k" + fmt.Sprint(i): {}}))
	}
	require.NoError(t, q.Update(func(tx *Tx) error { return tx.PutState(in, map[string][]byte{"k0": nil}) }))
	collector := q.Collector()
	require.NoError(t, q.Close())
	require.NoError(t, q.Close())

	for _, again := range []func() (*Queue, error){
		func() (*Queue, error) { return Inspect(dir) },
		func() (*Queue, error) { return Open(dir, Options{}) },
	} {
		q, err := again()
		require.NoError(t, err)
		condition, _ := q.Condition()
		require.Equal(t, Known, condition)
		require.Equal(t, collector, q.Collector())
		require.Equal(t, map[string]Depth{stanza: {4, 40, 1_204_011}}, q.Depths())
		indexes, err := q.Indexes()
		require.NoError(t, err)
		require.Equal(t, []string{"", "ai"}, indexes)
		for i, want := range headers {
			got, found, err := q.Next(want.Index, want.ID-1)
			require.NoError(t, err)
			require.True(t, found)
			body, err := q.Body(got, []byte("x"))
			require.NoError(t, err)
			require.Equal(t, "x"+string(bodies[i]), string(body))
			got.sum = 0
			require.Equal(t, want, got)
		}
		_, found, err := q.Next("ai", headers[2].ID)
		require.NoError(t, err)
		require.False(t, found)
		in, err := q.Input(stanza, "s3://logs/", "")
		require.NoError(t, err)
		require.False(t, in.Fresh || in.Anew)
		require.EqualValues(t, 40, in.Seq)
		v, err := in.Get("at")
		require.NoError(t, err)
		require.Equal(t, "3", string(v))
		pairs, next, err := in.Page("k", "k2")
		require.NoError(t, err)
		require.Empty(t, next)
		require.Equal(t, []Pair{{"k2", []byte{}}, {"k3", []byte{}}}, pairs)
		require.NoError(t, q.Close())
	}
	q = open(t, dir, Options{})
	for _, h := range headers {
		require.NoError(t, q.Update(func(tx *Tx) error { return tx.Remove(h) }))
		require.NoError(t, q.Update(func(tx *Tx) error { return tx.Remove(h) }), "removing twice is harmless")
	}
	require.Zero(t, q.Depth())
	indexes, err := q.Indexes()
	require.NoError(t, err)
	require.Empty(t, indexes)
}

func TestStateIsReadInPages(t *testing.T) {
	q := open(t, t.TempDir()+"/state", Options{})
	in := input(t, q)
	state := map[string][]byte{}
	for i := range 1000 {
		state[fmt.Sprintf("k%04d", i)] = []byte{1}
	}
	require.NoError(t, q.Update(func(tx *Tx) error { return tx.PutState(in, state) }))
	var keys []string
	for from := ""; ; {
		pairs, next, err := in.Page("k", from)
		require.NoError(t, err)
		require.LessOrEqual(t, len(pairs), pageKeys)
		for _, p := range pairs {
			keys = append(keys, p.Key)
		}
		if next == "" {
			break
		}
		from = next
	}
	require.Len(t, keys, 1000)
	require.IsIncreasing(t, keys)
}

func TestStateBelongsToStanzaAndSourceNumbersToTheStanza(t *testing.T) {
	q := open(t, t.TempDir()+"/state", Options{})
	one := input(t, q)
	add(t, q, one, "", []byte("b"), map[string][]byte{"at": []byte("1")})
	at := func(source, token string) (string, *Input) {
		in, err := q.Input(stanza, source, token)
		require.NoError(t, err)
		require.False(t, in.Fresh)
		require.EqualValues(t, 10, in.Seq)
		v, err := in.Get("at")
		require.NoError(t, err)
		return string(v), in
	}
	v, in := at("s3://other/", "")
	require.Empty(t, v)
	require.True(t, in.Anew)
	v, in = at("s3://logs/", "")
	require.Equal(t, "1", v, "an old source goes on")
	require.False(t, in.Anew)
	v, in = at("s3://logs/", "again")
	require.Empty(t, v, "a changed restart_token forgets")
	require.True(t, in.Anew)
	_, in = at("s3://logs/", "again")
	require.False(t, in.Anew)
	_, err := q.Input("", "x", "")
	require.Error(t, err)
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir() + "/state"
	q := open(t, dir, Options{})
	_, err := Open(dir, Options{})
	require.ErrorIs(t, err, ErrHeld)
	_, err = Inspect(dir)
	require.ErrorIs(t, err, ErrHeld)
	require.NoError(t, q.Close())
	require.Error(t, q.Update(func(*Tx) error { return nil }))
	_, err = Inspect(t.TempDir())
	require.ErrorIs(t, err, ErrNone)
}

func TestAStateThatOthersMayReadOrThatCantBeWrittenIsRefused(t *testing.T) {
	dir := t.TempDir() + "/state"
	require.NoError(t, open(t, dir, Options{}).Close())
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	file := filepath.Join(dir, FileName)
	info, err = os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	for path, mode := range map[string]os.FileMode{dir: 0o750, file: 0o604} {
		before, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(path, mode))
		_, err = Open(dir, Options{})
		require.ErrorIs(t, err, ErrState)
		require.ErrorContains(t, err, "chmod go-rwx "+path)
		require.NoError(t, os.Chmod(path, before.Mode().Perm()))
	}
	require.NoError(t, open(t, dir, Options{}).Close())

	_, err = Open(file, Options{})
	require.ErrorIs(t, err, ErrState)
	other := t.TempDir()
	require.NoError(t, os.Chmod(other, 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(other, FileName), 0o700))
	_, err = Open(other, Options{})
	require.ErrorIs(t, err, ErrState)
}

// TestADamagedFileIsSetAside breaks the file in many places: whatever is hit,
// opening never fails, and each batch is read as it was written, found
// unreadable, or set aside with the file.
func TestADamagedFileIsSetAside(t *testing.T) {
	dir := t.TempDir() + "/state"
	q := open(t, dir, Options{})
	in := input(t, q)
	for i := range 30 {
		add(t, q, in, "ai", random(3000*i, uint64(i)), map[string][]byte{fmt.Sprint("key", i): random(100, uint64(i))})
	}
	collector := q.Collector()
	require.NoError(t, q.Close())
	whole, err := os.ReadFile(filepath.Join(dir, FileName))
	require.NoError(t, err)
	page := os.Getpagesize()
	used := int(lastPage(t, dir)) * page

	seen := map[string]int{}
	r := rand.New(rand.NewPCG(7, 7))
	try := func(name string, change func(b []byte) []byte) {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), change(bytes.Clone(whole)), 0o600))
		q, err := Open(dir, Options{})
		require.NoError(t, err, name)
		defer func() { require.NoError(t, q.Close(), name) }()
		condition, reason := q.Condition()
		if condition == Damaged {
			seen["damaged"]++
			require.NotEqual(t, collector, q.Collector())
			require.Contains(t, reason, "set aside")
			aside, err := filepath.Glob(filepath.Join(dir, FileName+".damaged-*"))
			require.NoError(t, err)
			require.Len(t, aside, 1)
			in, err := q.Input(stanza, "s3://logs/", "")
			require.NoError(t, err)
			require.True(t, in.Fresh)
			return
		}
		require.Equal(t, Known, condition, name)
		require.Equal(t, collector, q.Collector())
		after := uint64(0)
		for i := range 30 {
			h, found, err := q.Next("ai", after)
			require.NoError(t, err, name)
			require.True(t, found, name)
			after = h.ID
			body, err := q.Body(h, nil)
			if errors.Is(err, ErrUnreadable) {
				seen["unreadable"]++
				require.NoError(t, q.Update(func(tx *Tx) error { return tx.SetAside(h) }), name)
				continue
			}
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(random(3000*i, uint64(i)), body), name)
		}
		seen["whole"]++
	}
	for range 40 {
		at, bit := r.IntN(used), byte(1)<<r.IntN(8)
		try(fmt.Sprintf("bit %#x of byte %d", bit, at), func(b []byte) []byte { b[at] ^= bit; return b })
	}
	for range 25 { // where the structure is
		at, bit := r.IntN(used/page)*page+r.IntN(200), byte(1)<<r.IntN(8)
		try(fmt.Sprintf("bit %#x of byte %d", bit, at), func(b []byte) []byte { b[at] ^= bit; return b })
	}
	for at := 0; at < used; at += 41 * page {
		try(fmt.Sprintf("page %d zeroed", at/page), func(b []byte) []byte { clear(b[at : at+page]); return b })
		try(fmt.Sprintf("page %d full", at/page), func(b []byte) []byte {
			for i := range page {
				b[at+i] = 0xff
			}
			return b
		})
	}
	for _, size := range []int{1, 15, page - 1, page, 3 * page, used / 2, used - page} {
		try(fmt.Sprintf("cut to %d", size), func(b []byte) []byte { return b[:size] })
	}
	try("other content", func([]byte) []byte { return []byte(strings.Repeat("this is no queue\n", 1000)) })
	for _, kind := range []string{"damaged", "unreadable", "whole"} {
		require.NotZero(t, seen[kind], "%v", seen)
	}
	t.Log(seen)
}

func lastPage(t *testing.T, dir string) uint64 {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, FileName))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	info, err := f.Stat()
	require.NoError(t, err)
	meta, err := newestMeta(f, info.Size())
	require.NoError(t, err)
	return meta.pages
}

func TestARestoredStateGoesOnUnderANewName(t *testing.T) {
	dir := t.TempDir() + "/state"
	file := filepath.Join(dir, FileName)
	q := open(t, dir, Options{})
	add(t, q, input(t, q), "", []byte("one"), nil)
	require.NoError(t, q.Close())
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	q = open(t, dir, Options{})
	collector := q.Collector()
	add(t, q, input(t, q), "", []byte("two"), nil)
	require.NoError(t, q.Close())

	require.NoError(t, os.WriteFile(file, old, 0o600))
	q = open(t, dir, Options{})
	condition, reason := q.Condition()
	require.Equal(t, Restored, condition)
	require.Contains(t, reason, "older than what this folder last knew")
	require.NotEqual(t, collector, q.Collector())
	require.EqualValues(t, 1, q.Depth().Batches)
	restored := q.Collector()
	require.NoError(t, q.Close())
	q = open(t, dir, Options{})
	condition, _ = q.Condition()
	require.Equal(t, Known, condition)
	require.Equal(t, restored, q.Collector())
	require.NoError(t, q.Close())

	require.NoError(t, os.Remove(file))
	condition, reason = open(t, dir, Options{}).Condition()
	require.Equal(t, New, condition)
	require.Contains(t, reason, "is gone")
}

func TestAConditionThatNobodyWasToldIsToldAtTheNextStart(t *testing.T) {
	dir := t.TempDir() + "/state"
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte("x"), 0o600))
	require.NoError(t, open(t, dir, Options{}).Close())
	q := open(t, dir, Options{})
	condition, reason := q.Condition()
	require.Equal(t, Damaged, condition)
	require.Contains(t, reason, "set aside")
	add(t, q, input(t, q), "", []byte("b"), nil)
	require.NoError(t, q.Close())
	condition, _ = open(t, dir, Options{}).Condition()
	require.Equal(t, Known, condition)
}

// TestAtTheLimitOnlyRoomIsMade fills the queue, empties it, and fills it again:
// the file never grows above its limit, and pages are used again.
func TestAtTheLimitOnlyRoomIsMade(t *testing.T) {
	const limit = 8 << 20
	dir := t.TempDir() + "/state"
	q := open(t, dir, Options{MaxBytes: limit})
	in := input(t, q)
	var held []Header
	fill := func() (n int) {
		for {
			h := Header{ID: q.NewID(), Index: "ai", Input: in.Name(), Events: 1}
			body := random(20_000+n*1000%90_000, uint64(n))
			err := q.Commit(func(tx *Tx) error { return tx.Add(h, body) })
			if errors.Is(err, ErrFull) {
				return n
			}
			require.NoError(t, err)
			held = append(held, h)
			n++
		}
	}
	first := fill()
	require.Greater(t, first, 40)
	for range 5 {
		freed := q.Freed()
		// Every other one, so that what is free is scattered.
		kept := held[:0]
		for i, h := range held {
			if i%2 == 0 {
				kept = append(kept, h)
				continue
			}
			require.NoError(t, q.Update(func(tx *Tx) error { return tx.Remove(h) }), "removing is possible at the limit")
		}
		held = kept
		<-freed
		// A body is cut anew at the limit.
		h := held[0]
		require.NoError(t, q.Update(func(tx *Tx) error {
			if err := tx.Remove(h); err != nil {
				return err
			}
			return tx.Add(h, random(20_000, 1))
		}))
		require.NotZero(t, fill())
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(limit))
}

func TestManyWritersShareTransactions(t *testing.T) {
	q := open(t, t.TempDir()+"/state", Options{})
	var g sync.WaitGroup
	var mu sync.Mutex
	failures := 0
	for w := range 8 {
		g.Go(func() {
			in, err := q.Input(fmt.Sprint("in", w), "", "")
			if err != nil {
				panic(err)
			}
			for i := range 50 {
				err := q.Commit(func(tx *Tx) error {
					if w == 0 && i%5 == 0 {
						return errors.New("refused")
					}
					if err := tx.Add(Header{ID: uint64(w*1000+i+1) << 20, Input: in.Name(), Events: 1}, []byte("b")); err != nil {
						return err
					}
					return tx.SetSeq(in.Name(), uint64(i+1))
				})
				if err != nil {
					mu.Lock()
					failures++
					mu.Unlock()
				}
			}
		})
	}
	g.Wait()
	require.Equal(t, 10, failures, "only those that failed failed")
	require.EqualValues(t, 390, q.Depth().Events)
}

func TestHeldAndDeadLetters(t *testing.T) {
	dir := t.TempDir() + "/state"
	q := open(t, dir, Options{})
	since := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	letter := DeadLetter{Refused: since, Input: stanza, Index: "ai", Collector: "0badcafe", Seq: 7, EventID: "00", Code: 6, Text: "no", Envelope: []byte(`{"event":"<&>\u2028"}`)}
	require.NoError(t, q.Update(func(tx *Tx) error {
		for _, index := range []string{"", "ai", AllIndexes} {
			if err := tx.SetHeld(Held{Index: index, Since: since, Reason: "because", Code: 7}); err != nil {
				return err
			}
		}
		for range 3 {
			if err := tx.AddDeadLetter(letter); err != nil {
				return err
			}
		}
		return tx.ClearHeld("ai")
	}))
	require.NoError(t, q.Update(func(tx *Tx) error { return tx.RemoveDeadLetter(2) }))
	require.NoError(t, q.Close())
	q = open(t, dir, Options{})
	held, err := q.Held()
	require.NoError(t, err)
	require.Equal(t, []Held{{"", since, "because", 7}, {AllIndexes, since, "because", 7}}, held)
	n := 0
	require.NoError(t, q.DeadLetters(func(DeadLetter) error { n++; return nil }))
	require.Equal(t, 2, n)
	got, found, err := q.DeadLetter(3)
	require.NoError(t, err)
	require.True(t, found)
	letter.Number = 3
	require.Equal(t, letter, got, "the envelope's bytes stay as they were")
	_, found, err = q.DeadLetter(2)
	require.NoError(t, err)
	require.False(t, found)
}

// FuzzCheckFile: whatever the file holds, the check says so and does not panic.
func FuzzCheckFile(f *testing.F) {
	dir := f.TempDir()
	q, err := Open(filepath.Join(dir, "state"), Options{})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 5 {
		if err := q.Commit(func(tx *Tx) error {
			return tx.Add(Header{ID: q.nextID + uint64(i)<<20, Input: "in", Events: 1}, random(100*i, 1))
		}); err != nil {
			f.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "state", FileName))
	if err != nil {
		f.Fatal(err)
	}
	if err := checkFile(bytes.NewReader(whole), int64(len(whole))); err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(4096), []byte{1, 2, 3})
	f.Add(uint32(0), []byte{})
	f.Add(uint32(3*4096+8), []byte{2, 0, 255, 255})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(whole)
		if int(at) > len(b) {
			b = b[:int(at)%len(b)]
		}
		if int(at) < len(b) {
			copy(b[at:], patch)
		}
		// A meta page that was patched is made valid again, to get behind it.
		for _, page := range []int{0, os.Getpagesize()} {
			if len(b) >= page+pageHeader+metaSize {
				m := b[page+pageHeader:]
				binary.NativeEndian.PutUint64(m[56:], fnvSum(m[:56]))
			}
		}
		_ = checkFile(bytes.NewReader(b), int64(len(b)))
	})
}
