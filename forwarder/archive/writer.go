package archive

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

var (
	// ErrHeld says that another process writes the archive.
	ErrHeld = errors.New("another run writes this archive")
	// ErrFolder says that the folder can't be used.
	ErrFolder = errors.New("the archive's folder can't be used")
)

// lockName is the file by whose lock a folder has one writer.
const lockName = ".lock"

// Options are what a Writer is opened with.
type Options struct {
	// Retention is how long files are kept after their day; 0 is for ever.
	Retention time.Duration
	// Now tells the time; nil is the machine's clock.
	Now func() time.Time
	// Log is told what an operator should know; nil drops it.
	Log *slog.Logger
}

// Writer writes an archive. Append and Committed are called by one goroutine,
// everything else by any.
type Writer struct {
	dir       string
	retention time.Duration
	now       func() time.Time
	log       *slog.Logger
	lock      *os.File
	packer    *packer

	mu      sync.Mutex
	at      position // what is committed ends here
	pending position // where the last Append ended
	beyond  bool     // something may stand behind at
	out     *os.File // of the day that is written
	day     int32    // of out
	losses  []string // that were not told yet
}

// OpenWriter opens the archive in dir for writing, and makes the folder when it
// is not there. Nothing is written before Recover. The error is ErrHeld when
// another process writes it, ErrFolder when the folder can't be used, both with
// what to do.
func OpenWriter(dir string, o Options) (*Writer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	packer, err := newPacker()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w; it must be writable by the user that aiwatch runs as, or change path under [archive]", ErrFolder, err)
	}
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; it must be writable by the user that aiwatch runs as", ErrFolder, err)
	}
	w := &Writer{dir: dir, retention: o.Retention, now: o.Now, log: o.Log, lock: lock, packer: packer}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("open the archive in %s: %w; give each forwarder a path of its own under [archive]", dir, err), lock.Close())
	}
	return w, nil
}

// Check looks at the folder of an archive that is to be written, and changes
// nothing. It returns nil when there is none yet and the folder can be made. The
// error is ErrFolder.
func Check(dir string) (*Status, error) {
	there := dir
	for {
		if _, err := os.Stat(there); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(there) == there {
			break
		}
		there = filepath.Dir(there)
	}
	if there == dir {
		if err := checkFolder(dir); err != nil {
			return nil, err
		}
	}
	if err := writable(there); err != nil {
		return nil, fmt.Errorf("%w: write to %s: %w; it must be writable by the user that aiwatch runs as", ErrFolder, there, err)
	}
	if there != dir {
		return nil, nil
	}
	s, err := Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return &s, nil
}

// checkFolder refuses a folder that others may use.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFolder, err)
	case !info.IsDir():
		return fmt.Errorf("%w: %s is no folder", ErrFolder, dir)
	case permissionsCount && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%w: %s may be used by others (mode %04o); run chmod go-rwx %s", ErrFolder, dir, info.Mode().Perm(), dir)
	}
	return nil
}

// Close gives the archive up. What was appended and not committed stays until
// the next Recover. It may be called again.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.closeOut()
	if w.lock != nil {
		err = errors.Join(err, w.lock.Close())
		w.lock = nil
	}
	return err
}

func (w *Writer) closeOut() error {
	if w.out == nil {
		return nil
	}
	out := w.out
	w.out = nil
	return out.Close()
}

// Dir returns the folder.
func (w *Writer) Dir() string { return w.dir }

// Pack appends to buf a block for Append, of the envelopes that end at these
// places of raw. It may be called by several goroutines.
func (w *Writer) Pack(buf, raw []byte, ends []int, indexed time.Time) []byte {
	return w.packer.pack(buf, raw, ends, indexed)
}

// committed is a position as the queue keeps it.
type committed struct {
	Path   string `json:"path"`
	Day    int32  `json:"day"`
	Length int64  `json:"length"`
}

// Path returns the folder of a position that Append returned, empty when it is
// none.
func Path(position []byte) string {
	var c committed
	_ = json.Unmarshal(position, &c)
	return c.Path
}

// Recover makes the archive what it was when this position was committed; nil is
// none. What does not fit is told by Losses. It is called once, before Append.
func (w *Writer) Recover(last []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.recover(last); err != nil {
		return fmt.Errorf("%w: recover %s: %w", ErrFolder, w.dir, err)
	}
	return nil
}

func (w *Writer) recover(last []byte) error {
	var known committed
	if last != nil {
		if err := json.Unmarshal(last, &known); err != nil {
			return fmt.Errorf("read how far it was written: %w", err)
		}
	}
	files, err := list(w.dir)
	if err != nil {
		return err
	}
	at := position{known.Day, known.Length}
	fits, why := false, ""
	if last != nil {
		if fits, why, err = w.cutBehind(files, at); err != nil {
			return err
		}
	}
	switch {
	case fits:
		w.at = at
		return nil
	case last != nil && known.Path != w.dir:
		w.log.Info("the archive goes on in another folder", "path", w.dir, "before", known.Path)
	case why != "" && known.Path == w.dir && !w.expired(at.day, w.now()):
		w.lost(why)
	}
	return w.adopt(files)
}

// lost notes what is to be told.
func (w *Writer) lost(why string) {
	w.log.Error("the archive is not what was written", "path", w.dir, "reason", why)
	w.losses = append(w.losses, why)
}

// Losses returns, once, in what the archive is not what was written.
func (w *Writer) Losses() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	losses := w.losses
	w.losses = nil
	return losses
}

// cutBehind removes what was written behind a position by the one transaction
// that was not committed. Where it finds anything else it changes nothing, and
// says what.
func (w *Writer) cutBehind(files []file, at position) (fits bool, why string, err error) {
	name := fileName(at.day)
	var ours *file
	var later []file
	for i, f := range files {
		switch {
		case f.name == name:
			ours = &files[i]
		case f.day > at.day:
			later = append(later, f)
		}
	}
	switch {
	case ours == nil:
		return false, fmt.Sprintf("%s is gone; it had %d bytes", name, at.length), nil
	case ours.size < at.length:
		return false, fmt.Sprintf("%s has %d bytes and had %d", name, ours.size, at.length), nil
	}
	boundary, ahead, err := w.look(*ours, at, at.length)
	if err != nil {
		return false, "", err
	}
	if !boundary {
		return false, fmt.Sprintf("%s is not the file that was written up to byte %d", name, at.length), nil
	}
	for _, f := range later {
		whole, more, err := w.look(f, at, 0)
		if err != nil {
			return false, "", err
		}
		ahead = ahead || more || !whole
	}
	if ahead {
		return false, fmt.Sprintf("it holds more than was committed when %s had %d bytes: the state is older than the archive", name, at.length), nil
	}
	for _, f := range later {
		if err := os.Remove(filepath.Join(w.dir, f.name)); err != nil {
			return false, "", err
		}
	}
	if err := w.cut(name, at.length); err != nil {
		return false, "", err
	}
	return true, "", syncDir(w.dir)
}

// look says whether a block begins or the file ends at this place, and whether
// what stands behind it was written behind another position than at.
func (w *Writer) look(f file, at position, place int64) (boundary, ahead bool, err error) {
	in, err := os.Open(filepath.Join(w.dir, f.name))
	if err != nil {
		return false, false, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	boundary = place == f.size
	err = eachBlock(in, f.size, func(begin int64, h header, _ *bufio.Reader) (bool, error) {
		boundary = boundary || begin == place
		ahead = ahead || begin >= place && h.base != at
		return false, nil
	}, func(d Damage) {
		// The first block behind it may have been cut off in its midst.
		boundary = boundary || d.Offset == place
	})
	return boundary, ahead, err
}

// cut makes a file as long as it was.
func (w *Writer) cut(name string, length int64) error {
	path := filepath.Join(w.dir, name)
	info, err := os.Stat(path)
	if err != nil || info.Size() == length {
		return err
	}
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(out.Truncate(length), out.Sync(), out.Close())
}

// adopt goes on behind whatever the folder holds. A file that breaks off is set
// aside: nothing can be appended to it.
func (w *Writer) adopt(files []file) error {
	if len(files) == 0 {
		return nil
	}
	newest := files[len(files)-1]
	if newest.aside {
		return nil
	}
	in, err := os.Open(filepath.Join(w.dir, newest.name))
	if err != nil {
		return err
	}
	whole := true
	err = eachBlock(in, newest.size, func(int64, header, *bufio.Reader) (bool, error) { return false, nil }, func(d Damage) { whole = whole && !d.Torn })
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	if whole {
		w.at = position{newest.day, newest.size}
		return nil
	}
	aside, err := setAside(w.dir, newest.name, w.now())
	if err != nil {
		return err
	}
	w.log.Warn("a file of the archive breaks off and is set aside", "file", aside)
	return syncDir(w.dir)
}

// Append makes blocks durable behind what is committed, and returns the position
// that commits them. What an earlier Append wrote that was not committed is
// replaced. The blocks are changed.
func (w *Writer) Append(blocks [][]byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, err := w.append(blocks)
	if err != nil {
		return nil, fmt.Errorf("write the archive in %s: %w", w.dir, err)
	}
	w.pending = at
	return json.Marshal(committed{Path: w.dir, Day: at.day, Length: at.length})
}

func (w *Writer) append(blocks [][]byte) (position, error) {
	// A clock that was put back does not begin an older file again.
	day := max(dayOf(w.now()), w.at.day)
	if err := w.prepare(day); err != nil {
		return position{}, err
	}
	w.beyond = true
	end := position{day: w.day}
	if w.day == w.at.day {
		end.length = w.at.length
	}
	for _, b := range blocks {
		place(b, w.at)
		if _, err := w.out.WriteAt(b, end.length); err != nil {
			return position{}, err
		}
		end.length += int64(len(b))
	}
	return end, w.out.Sync()
}

// prepare opens the file of a day that ends with what is committed.
func (w *Writer) prepare(day int32) error {
	if w.beyond {
		if err := w.undo(); err != nil {
			return err
		}
		w.beyond = false
	}
	if w.out != nil && w.day == day {
		return w.ensure()
	}
	if err := w.closeOut(); err != nil {
		return err
	}
	return w.open(day)
}

// undo takes away what was appended and not committed.
func (w *Writer) undo() error {
	if w.out == nil {
		return nil
	}
	if w.day == w.at.day {
		info, err := w.out.Stat()
		if err != nil || info.Size() <= w.at.length {
			return err
		}
		return w.out.Truncate(w.at.length)
	}
	if err := w.closeOut(); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(w.dir, fileName(w.day)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ensure looks whether the file that is open is still the one in the folder, and
// as long as it was.
func (w *Writer) ensure() error {
	name := fileName(w.day)
	there, err := os.Stat(filepath.Join(w.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	have, statErr := w.out.Stat()
	switch {
	case statErr != nil:
		return statErr
	case err == nil && os.SameFile(there, have) && have.Size() >= w.at.length:
		return nil
	case err == nil && os.SameFile(there, have):
		w.lost(fmt.Sprintf("%s has %d bytes and had %d", name, have.Size(), w.at.length))
	default:
		w.lost(fmt.Sprintf("%s is gone while it was written; it had %d bytes", name, w.at.length))
	}
	if err := w.closeOut(); err != nil {
		return err
	}
	day := w.day
	w.at = position{}
	files, err := list(w.dir)
	if err != nil {
		return err
	}
	if err := w.adopt(files); err != nil {
		return err
	}
	return w.open(max(day, w.at.day))
}

// open opens the file of the day that is committed, or begins one.
func (w *Writer) open(day int32) (err error) {
	path := filepath.Join(w.dir, fileName(day))
	if day == w.at.day {
		if w.out, err = os.OpenFile(path, os.O_RDWR, 0); err == nil {
			w.day = day
			return w.ensure()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.lost(fmt.Sprintf("%s is gone; it had %d bytes", fileName(day), w.at.length))
		w.at = position{}
	}
	if _, err := os.Lstat(path); err == nil {
		// Nobody but this process writes here, and it has not begun this day.
		aside, err := setAside(w.dir, fileName(day), w.now())
		if err != nil {
			return err
		}
		w.log.Warn("a file that this forwarder has not written is set aside", "file", aside)
	}
	if w.out, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	w.day = day
	return syncDir(w.dir)
}

// Committed says that the position of the last Append is committed.
func (w *Writer) Committed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.beyond = w.pending, false
}
