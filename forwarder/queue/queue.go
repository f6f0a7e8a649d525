package queue

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Names of files in the state folder.
const (
	FileName = "queue.db"
	lastName = "queue.last" // the newest transaction that this folder knew of
)

// DefaultMaxBytes is the limit on the file's size that holds when none is set.
const DefaultMaxBytes = 10 << 30

const (
	version   = 1
	idStep    = 1 << 20 // ids between two batches, so that the parts of one have room
	mapAhead  = 1 << 30 // address space mapped at once; memory is used as the file grows
	allocSize = 4 << 20
)

var (
	metaBucket   = []byte("meta")
	inputsBucket = []byte("inputs")
	tokensBucket = []byte("tokens")
	stateBucket  = []byte("state")
	headerBucket = []byte("headers")
	bodyBucket   = []byte("bodies")
	heldBucket   = []byte("held")
	deadBucket   = []byte("dead")
	buckets      = [][]byte{metaBucket, inputsBucket, tokensBucket, stateBucket, headerBucket, bodyBucket, heldBucket, deadBucket}

	versionKey   = []byte("version")
	collectorKey = []byte("collector")
	createdKey   = []byte("created")
	originKey    = []byte("origin")
	archiveKey   = []byte("archive")
	bodyKey      = []byte("b")
)

// Options are what a queue is opened with.
type Options struct {
	// MaxBytes limits the file's size; 0 is DefaultMaxBytes.
	MaxBytes int64
	// Now tells the time; nil is the machine's clock.
	Now func() time.Time
	// Log is told what an operator should know; nil drops it.
	Log *slog.Logger
}

// A Condition says in what state the state was found.
type Condition string

// The conditions.
const (
	Known    Condition = ""         // it goes on where it ended
	New      Condition = "new"      // there was none
	Restored Condition = "restored" // it is older than what this folder last knew
	Damaged  Condition = "damaged"  // it was set aside and begun anew
)

// Queue is an open queue. Its methods may be called from several goroutines.
type Queue struct {
	dir       string
	path      string
	db        *bbolt.DB
	options   Options
	collector string
	created   time.Time
	condition Condition
	reason    string

	archive Archive // nil is none; set before anything is archived

	writes chan *write
	stop   chan struct{} // closed to end the writer
	done   chan struct{} // closed when the writer has ended
	close  sync.Once

	mu     sync.Mutex
	failed error // set once, when the file broke
	nextID uint64
	depth  map[string]Depth // by input
	freed  chan struct{}    // closed when something was removed
	last   uint64           // transaction noted in lastName
}

// Open opens the queue in dir, which is made when it is not there. What it finds
// is told by Condition. A damaged file is renamed and a new one made under a new
// collector id.
//
// The error is ErrHeld when another process has it, ErrState when the state
// can't be used, both with what to do in the text.
func Open(dir string, options Options) (*Queue, error) {
	if options.MaxBytes <= 0 {
		options.MaxBytes = DefaultMaxBytes
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	q := &Queue{
		dir: dir, path: filepath.Join(dir, FileName), options: options,
		writes: make(chan *write), stop: make(chan struct{}), done: make(chan struct{}), freed: make(chan struct{}), depth: map[string]Depth{},
	}
	if err := checkMode(q.path); err != nil {
		return nil, err
	}
	err := q.open()
	var broken *brokenError
	if errors.As(err, &broken) {
		if err := q.setAside(broken); err != nil {
			return nil, err
		}
		err = q.open()
	}
	if err != nil {
		return nil, stateError(err, q.path)
	}
	q.noteLast()
	go q.write()
	return q, nil
}

// Inspect opens the queue in dir for reading alone. It changes nothing. The
// error is ErrNone when there is no queue, ErrHeld when a process has it.
func Inspect(dir string) (*Queue, error) {
	q := &Queue{
		dir: dir, path: filepath.Join(dir, FileName), depth: map[string]Depth{},
		stop: make(chan struct{}), freed: make(chan struct{}),
	}
	close(q.stop) // nothing is written
	q.options = Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if _, err := os.Stat(q.path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNone, dir)
	}
	err := guard(func() error {
		db, err := bbolt.Open(q.path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Millisecond})
		if err != nil {
			return err
		}
		q.db = db
		return q.db.View(q.load)
	})
	if err != nil {
		if q.db != nil {
			_ = q.db.Close()
		}
		return nil, stateError(err, q.path)
	}
	return q, nil
}

// Close ends the writing and closes the file. It may be called again.
func (q *Queue) Close() error {
	var err error
	q.close.Do(func() {
		if !q.db.IsReadOnly() {
			close(q.stop)
			<-q.done
		}
		if q.broken() != nil {
			return // a transaction of the broken file may still be open
		}
		if !q.db.IsReadOnly() {
			q.noteLast()
		}
		err = guard(q.db.Close)
	})
	return err
}

// Collector returns the forwarder's id: 8 hexadecimal digits, made once.
func (q *Queue) Collector() string { return q.collector }

// Created returns when the queue was made.
func (q *Queue) Created() time.Time { return q.created }

// Condition tells how the state was found, and why in words.
func (q *Queue) Condition() (Condition, string) { return q.condition, q.reason }

// Dir returns the state folder.
func (q *Queue) Dir() string { return q.dir }

// open opens the file, makes what is missing and reads what is kept in memory.
func (q *Queue) open() error {
	var opened *os.File
	openFile := func(path string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(path, flag, mode)
		if err != nil {
			return nil, err
		}
		opened = f
		if err := q.checkFirst(f); err != nil {
			_ = f.Close()
			return nil, err
		}
		return f, nil
	}
	err := guard(func() error {
		db, err := bbolt.Open(q.path, 0o600, &bbolt.Options{
			Timeout: time.Millisecond, OpenFile: openFile,
			NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
			InitialMmapSize: int(min(mapAhead, q.options.MaxBytes)),
			MaxSize:         int(q.options.MaxBytes),
		})
		if err != nil {
			return err
		}
		q.db = db
		db.AllocSize = int(max(64<<10, min(allocSize, q.options.MaxBytes/64)))
		if err := db.Update(q.make); err != nil {
			return err
		}
		return db.View(q.load)
	})
	if err == nil {
		return nil
	}
	if opened != nil {
		// Closing twice is harmless; a panic of bbolt may have left it open.
		defer func() { _ = opened.Close() }()
	}
	if q.db != nil {
		_ = guard(q.db.Close)
		q.db = nil
	}
	if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) || errors.Is(err, ErrDamaged) {
		return &brokenError{err}
	}
	return err
}

// checkFirst locks the file and checks its structure, before bbolt reads it.
func (q *Queue) checkFirst(f *os.File) error {
	locked, err := lockFirst(f)
	if err != nil || !locked {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return nil
	}
	if err := checkFile(f, info.Size()); err != nil {
		return &brokenError{err}
	}
	return nil
}

// make writes what a new file needs.
func (q *Queue) make(tx *bbolt.Tx) error {
	if tx.Bucket(metaBucket) != nil {
		q.condition, q.reason = Known, ""
		return q.compare(tx)
	}
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if q.condition != Damaged {
		q.condition, q.reason = New, "there was no state; everything begins anew"
		if known := q.readLast(); known > 0 {
			q.reason = "the state is gone from this folder, which had one; everything begins anew"
		}
	}
	meta := tx.Bucket(metaBucket)
	created := q.options.Now().UTC().Truncate(time.Second)
	for _, kv := range [][2][]byte{
		{versionKey, []byte(strconv.Itoa(version))},
		{createdKey, []byte(created.Format(time.RFC3339))},
		{originKey, []byte(string(q.condition) + " " + q.reason)},
	} {
		if err := putSummed(meta, kv[0], kv[1]); err != nil {
			return err
		}
	}
	return newCollector(meta)
}

func newCollector(meta *bbolt.Bucket) error {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	return putSummed(meta, collectorKey, []byte(hex.EncodeToString(id[:])))
}

// compare finds out whether the file is older than what this folder knew. Such
// a file has forgotten numbers that were used, so that it goes on under a new
// collector id.
func (q *Queue) compare(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	// bbolt numbers the transactions that write one by one; this one is not
	// committed yet.
	if known := q.readLast(); known > uint64(tx.ID())-1 {
		q.condition = Restored
		q.reason = fmt.Sprintf("the state is older than what this folder last knew (transaction %d after %d); it goes on under a new collector id, and events may come again", tx.ID()-1, known)
		if err := putSummed(meta, originKey, []byte(string(q.condition)+" "+q.reason)); err != nil {
			return err
		}
		return newCollector(meta)
	}
	// What was found at a start is told to each input; when the process died
	// before any input was opened, the next start tells it.
	origin, err := getSummed(meta, originKey)
	if err != nil {
		return err
	}
	if k, _ := tx.Bucket(inputsBucket).Cursor().First(); k == nil && len(origin) > 0 {
		condition, reason, _ := strings.Cut(string(origin), " ")
		q.condition, q.reason = Condition(condition), reason
	}
	return nil
}

// load reads what is kept in memory and checks every small value.
func (q *Queue) load(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return fmt.Errorf("%w: it holds nothing", ErrDamaged)
	}
	v, err := getSummed(meta, versionKey)
	if err != nil {
		return err
	}
	if string(v) != strconv.Itoa(version) {
		return fmt.Errorf("%w: it was written by another version of aiwatch (%q, this one writes %d)", ErrState, v, version)
	}
	id, err := getSummed(meta, collectorKey)
	if err != nil {
		return err
	}
	created, err := getSummed(meta, createdKey)
	if err != nil {
		return err
	}
	q.collector = string(id)
	if q.created, err = time.Parse(time.RFC3339, string(created)); err != nil {
		return fmt.Errorf("%w: when it was made: %w", ErrDamaged, err)
	}
	for _, name := range [][]byte{inputsBucket, tokensBucket, stateBucket, heldBucket, deadBucket} {
		if err := checkSums(tx.Bucket(name)); err != nil {
			return err
		}
	}
	q.depth = map[string]Depth{}
	if err := eachHeader(tx, func(h Header) error {
		q.depth[h.Input] = q.depth[h.Input].plus(h)
		return nil
	}); err != nil {
		return err
	}
	q.nextID = idStep
	if k, _ := tx.Bucket(bodyBucket).Cursor().Last(); len(k) == 8 {
		q.nextID = (binary.BigEndian.Uint64(k)/idStep + 1) * idStep
	}
	return nil
}

// setAside renames the broken file.
func (q *Queue) setAside(broken *brokenError) error {
	to := q.path + ".damaged-" + q.options.Now().UTC().Format("20060102T150405Z")
	for n := 2; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s.damaged-%s-%d", q.path, q.options.Now().UTC().Format("20060102T150405Z"), n)
	}
	if err := os.Rename(q.path, to); err != nil {
		return fmt.Errorf("%w: %s is damaged (%w) and can't be set aside: %w", ErrState, q.path, broken.err, err)
	}
	q.condition = Damaged
	q.reason = fmt.Sprintf("the state was damaged (%v) and is set aside as %s; what waited there was not delivered, and everything begins anew under a new collector id", broken.err, filepath.Base(to))
	q.options.Log.Error("the state is damaged and set aside", "file", to, "error", broken.err)
	return nil
}

// noteLast writes down how far this folder has come, so that an older file that
// is put in its place is noticed. What prevents it is no reason to stop.
func (q *Queue) noteLast() {
	var id uint64
	err := guard(func() error {
		return q.db.View(func(tx *bbolt.Tx) error {
			id = uint64(tx.ID())
			return nil
		})
	})
	if err == nil {
		path := filepath.Join(q.dir, lastName)
		if err = os.WriteFile(path+".new", []byte(strconv.FormatUint(id, 10)+"\n"), 0o600); err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if err != nil {
		q.options.Log.Warn("how far the state has come could not be noted", "error", err)
		return
	}
	q.last = id
}

func (q *Queue) readLast() uint64 {
	b, err := os.ReadFile(filepath.Join(q.dir, lastName))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// brokenError says that the file is damaged and may be set aside.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// stateError says what the operator can do.
func stateError(err error, path string) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout), errors.Is(err, ErrHeld):
		return fmt.Errorf("open %s: %w", path, ErrHeld)
	case errors.Is(err, ErrState):
		return fmt.Errorf("open %s: %w", path, err)
	default:
		return fmt.Errorf("open %s: %w: %w; it must be writable by the user that aiwatch runs as, on a disk that is not full", path, ErrState, err)
	}
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: make the state folder: %w", ErrState, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is no folder", ErrState, dir)
	}
	return narrow(dir, info)
}

func checkMode(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is no file", ErrState, path)
	}
	return narrow(path, info)
}

// narrow refuses what others may read or write.
func narrow(path string, info fs.FileInfo) error {
	if wide := info.Mode().Perm() & 0o077; wide != 0 && permissionsCount {
		return fmt.Errorf("%w: %s may be used by others (mode %04o); run chmod go-rwx %s", ErrState, path, info.Mode().Perm(), path)
	}
	return nil
}

// guard runs f on the mapped file. A damaged page makes bbolt panic, a page that
// the disk no longer gives makes the kernel send a signal; both become
// ErrDamaged.
func guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

func (q *Queue) broken() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failed
}

// view reads in one transaction, which must be short: bbolt can't grow its map
// while one is open.
func (q *Queue) view(f func(tx *bbolt.Tx) error) error {
	if err := q.broken(); err != nil {
		return err
	}
	return guard(func() error { return q.db.View(f) })
}
