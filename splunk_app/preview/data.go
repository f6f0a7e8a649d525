package preview

import (
	"context"
	"fmt"
	"sync"
	"time"

	"aiwatch/internal/spl"
)

// A Searcher runs searches.
type Searcher interface {
	// Run runs a search. One that is at fault is a *spl.Refusal.
	Run(ctx context.Context, s Search) (*spl.Result, error)
}

// Search is what a browser asks for.
type Search struct {
	Text, Earliest, Latest string
}

// Chain is the search with another behind it, as a chained data source has it.
func (s Search) Chain(more string) Search {
	if more[0] != '|' {
		more = "| " + more
	}
	s.Text += " " + more
	return s
}

// Data is what is searched. It may be asked and fed by several at once.
type Data struct {
	// Now is the clock of the searches, so that a recorded week looks like this
	// one.
	now func() time.Time

	mu     sync.Mutex // the engine runs one search at a time
	engine *spl.Engine
	grown  int // how often events came
	known  map[question]*outcome
}

// question is a search at a moment over certain events.
type question struct {
	Search
	now   time.Time
	grown int
}

// outcome is what came of a question.
type outcome struct {
	result *spl.Result
	err    error
}

// keptOutcomes bounds the results that are remembered.
const keptOutcomes = 500

// NewData makes data of an engine with its events. now is the searches' clock.
func NewData(engine *spl.Engine, now func() time.Time) *Data {
	return &Data{now: now, engine: engine, known: map[question]*outcome{}}
}

// Now is the searches' clock.
func (d *Data) Now() time.Time { return d.now() }

// Run runs a search, or remembers what came of it before. A search at fault is
// a *spl.Refusal.
func (d *Data) Run(ctx context.Context, s Search) (*spl.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	q := question{s, now, d.grown}
	if known := d.known[q]; known != nil {
		return known.result, known.err
	}
	result, err := d.engine.Run(ctx, s.Text, spl.Params{Now: now, Earliest: s.Earliest, Latest: s.Latest})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(d.known) >= keptOutcomes {
		clear(d.known)
	}
	d.known[q] = &outcome{result, err}
	return result, err
}

// Add takes an event's envelope, as it comes.
func (d *Data) Add(envelope []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.grown++
	if err := d.engine.Store.Add(envelope); err != nil {
		return fmt.Errorf("index an event: %w", err)
	}
	return nil
}
