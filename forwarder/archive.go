package forwarder

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/event"
)

// tendEvery is how often it is looked whether the archive holds what it need not
// keep any more.
const tendEvery = time.Hour

// tracedArchive has a point between what the archive has and the commit.
type tracedArchive struct {
	*archive.Writer
	trace func(string)
}

func (a tracedArchive) Append(blocks [][]byte) ([]byte, error) {
	position, err := a.Writer.Append(blocks)
	a.trace("archived")
	return position, err
}

// keepArchive looks after the archive until ctx is done. What goes wrong with it
// is no reason to stop the delivery.
func (f *Forwarder) keepArchive(ctx context.Context) error {
	for f.archive != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-f.clock.After(tendEvery):
		}
		if s := f.anyStream(); s != nil {
			if err := f.tendArchive(s); err != nil && !errors.Is(err, errClosed) {
				f.log.Warn("the archive could not be looked after", "error", err)
			}
		}
	}
	return nil
}

// anyStream returns the stream whose name comes first, nil when there is none.
func (f *Forwarder) anyStream() *Stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first *Stream
	for _, s := range f.streams {
		if first == nil || s.name < first.name {
			first = s
		}
	}
	return first
}

// tendArchive tells, by this stream, in what the archive is not what was written,
// and deletes what is past its retention once that is told for good.
func (f *Forwarder) tendArchive(s *Stream) error {
	if f.archive == nil {
		return nil
	}
	for _, loss := range f.archive.Losses() {
		ev := f.archiveEvent(s, "archive.damaged", loss, loss, strconv.FormatInt(f.clock.Now().UnixNano(), 10))
		if err := s.Health(&ev); err != nil {
			return err
		}
	}
	if !f.tendDue() {
		return nil
	}
	expired, err := f.archive.Expired()
	if err != nil {
		f.log.Warn("the archive's retention could not be looked after", "error", err)
		return nil
	}
	for _, e := range expired {
		text := fmt.Sprintf("%s with %d events is past its retention and deleted", e.File, e.Events)
		ev := f.archiveEvent(s, "archive.expired", text, e.File)
		if err := s.tell(told{ev, &rider{nothing, func() { f.deleteExpired(e) }}}); err != nil {
			return err
		}
	}
	return nil
}

func nothing(*queue.Tx) error { return nil }

// tendDue says whether it is time to look after the archive, and that it is done
// now.
func (f *Forwarder) tendDue() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Now()
	if !f.tended.IsZero() && now.Sub(f.tended) < tendEvery {
		return false
	}
	f.tended = now
	return true
}

func (f *Forwarder) archiveEvent(s *Stream, operation, text string, distinct ...string) event.Event {
	ev := f.healthEvent(s.name, operation, distinct...)
	ev.Text = text
	return ev
}

func (f *Forwarder) deleteExpired(e archive.Expired) {
	if err := f.archive.Delete(e); err != nil {
		f.log.Error("a file of the archive is past its retention and could not be deleted; it is tried again", "file", e.File, "error", err)
	}
}

// archiveStatus tells how large the archive is that this forwarder writes or,
// where none runs, that was last written.
func (f *Forwarder) archiveStatus() (*archive.Status, error) {
	var path string
	if f.archive != nil {
		path = f.archive.Dir()
	} else if position, err := f.queue.Archived(); err != nil || position == nil {
		return nil, err
	} else {
		path = archive.Path(position)
	}
	s, err := archive.Stat(path)
	if err != nil {
		s = archive.Status{Path: path, Error: err.Error()}
	}
	return &s, nil
}
