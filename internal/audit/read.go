package audit

import (
	"errors"
	"fmt"
	"io"
	"time"

	"aiwatch/internal/scenario"
	"aiwatch/internal/spl"
)

// Events are what an audit stands on: envelopes by their index time, with an
// account of where they came from.
type Events struct {
	rec     *scenario.Recording
	sources []*Source
	// first and last are the bounds of the index times.
	first, last time.Time
	// once: each input was read a single time, for this audit.
	once bool
	// played: the recording is a scenario's, with its own period and lookups.
	played bool
}

// A Source is a file, an archive or a run of the collectors that events came
// from.
type Source struct {
	Name   string `json:"name"`
	Events int    `json:"events"`
	// Bad counts the lines that are no events; BadLines are the first of them.
	Bad      int       `json:"bad"`
	BadLines []BadLine `json:"bad_lines,omitempty"`
	// Undated counts the events of which nobody noted when they were indexed.
	Undated int `json:"undated"`
	// Broken says where the source can't be read on.
	Broken string `json:"broken,omitempty"`
}

// A BadLine is a line that is no event. Its text is not kept.
type BadLine struct {
	Line int    `json:"line"`
	Why  string `json:"why"`
}

// mostBadLines is how many bad lines a source names.
const mostBadLines = 5

// NewEvents begins an account without events.
func NewEvents() *Events { return &Events{rec: scenario.NewRecording("audit")} }

// Source begins another source; what is added from now on came from it.
func (e *Events) Source(name string) *Source {
	s := &Source{Name: name}
	e.sources = append(e.sources, s)
	return s
}

// EventsOf are the events of a scenario that was played; its period is the
// scenario's.
func EventsOf(rec *scenario.Recording) (*Events, error) {
	e := &Events{rec: rec, played: true}
	s := e.Source(rec.Scenario.Name)
	err := rec.Each(func(step scenario.Step) error {
		if step.Event == nil {
			return nil
		}
		r, err := checked(step.Event)
		if err != nil {
			return fmt.Errorf("read the recording: %w", err)
		}
		e.count(s, r)
		return nil
	})
	return e, err
}

// Collected begins the source of events that are collected for this audit: the
// inputs are read a single time, and no hour of theirs can be missing.
func (e *Events) Collected(name string) *Source {
	e.once = true
	return e.Source(name)
}

// Read takes the envelopes of a file, one a line, gzip and zstd too. What is no
// envelope is counted and told; a file that breaks off is read as far as it goes.
func (e *Events) Read(name string, in io.Reader) {
	s := e.Source(name)
	if err := spl.Lines(in, func(line int, envelope []byte) error {
		if envelope == nil {
			s.bad(line, errors.New("the line is too long"))
			return nil
		}
		if err := e.Add(envelope); err != nil {
			s.bad(line, err)
		}
		return nil
	}); err != nil {
		s.Broken = err.Error()
	}
}

// Add takes one envelope of the source that was begun last. The error says what
// is wrong with it; the bytes are copied.
func (e *Events) Add(envelope []byte) error {
	r, err := checked(envelope)
	if err != nil {
		return err
	}
	if len(e.sources) == 0 {
		e.Source("events")
	}
	s := e.sources[len(e.sources)-1]
	e.rec.Add(e.count(s, r), envelope)
	return nil
}

// count takes an event into the account; at is when it was indexed.
func (e *Events) count(s *Source, r *record) (at time.Time) {
	s.Events++
	if !r.Indexed.set {
		s.Undated++
	}
	at = r.indexed()
	if e.first.IsZero() || at.Before(e.first) {
		e.first = at
	}
	if at.After(e.last) {
		e.last = at
	}
	return at
}

// Damaged notes a part of the source that could not be read, and how many events
// it held as far as that is known.
func (s *Source) Damaged(what string, events int) {
	s.Bad += events
	if s.Broken != "" {
		s.Broken += "; "
	}
	s.Broken += what
}

func (s *Source) bad(line int, why error) {
	if s.Bad++; len(s.BadLines) < mostBadLines {
		s.BadLines = append(s.BadLines, BadLine{line, why.Error()})
	}
}

// Len is the number of events.
func (e *Events) Len() (n int) {
	for _, s := range e.sources {
		n += s.Events
	}
	return n
}

// Span is when the first and the last event were indexed.
func (e *Events) Span() (first, last time.Time) { return e.first, e.last }

// none says why there is nothing to audit.
func (e *Events) none() error {
	bad := 0
	for _, s := range e.sources {
		bad += s.Bad
	}
	if bad > 0 {
		return fmt.Errorf("there is no event among %d lines: %s", bad, e.sources[0].why())
	}
	return errors.New("there is no event to audit")
}

func (s *Source) why() string {
	if len(s.BadLines) == 0 {
		return s.Broken
	}
	return fmt.Sprintf("line %d: %s", s.BadLines[0].Line, s.BadLines[0].Why)
}
