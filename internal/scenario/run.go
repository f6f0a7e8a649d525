package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// A Run is what it takes to run scenarios from their folders to their verdicts.
type Run struct {
	App     fs.FS
	Options Options
	// Findings gets each finding and each verdict as a line of JSON.
	Findings io.Writer
	// Events gets what the collectors made, an envelope a line; nil keeps none.
	Events io.Writer
	// Summary gets what the searches wrote to their summary index, a flat row a
	// line; nil keeps none.
	Summary io.Writer
	// Lookups is the folder for the lookups as the searches left them; empty
	// keeps none.
	Lookups string
	// Warn is told what an author should know; nil tells nobody.
	Warn func(text string)
}

// Do runs one scenario.
func (r *Run) Do(ctx context.Context, s *Scenario) (*Verdict, error) {
	searches, err := Searches(r.App)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	rec, report, err := PlayAndSchedule(ctx, s, r.Options, r.App, searches, ScheduleOptions{})
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	if r.Events != nil {
		var line []byte
		if err := rec.Each(func(step Step) error {
			if step.Event == nil {
				return nil
			}
			line = append(append(line[:0], step.Event...), '\n')
			_, err := r.Events.Write(line)
			return err
		}); err != nil {
			return nil, fmt.Errorf("write events: %w", err)
		}
	}
	if r.Warn != nil {
		for _, w := range append(rec.Warnings, report.Warnings...) {
			r.Warn(w)
		}
	}
	if r.Summary != nil {
		if err := report.WriteFindings(ctx, r.Summary); err != nil {
			return nil, err
		}
	}
	if r.Lookups != "" {
		if err := report.WriteLookups(r.Lookups); err != nil {
			return nil, err
		}
	}
	verdict := s.Judge(report.Findings)
	verdict.Events, verdict.Took = report.Events, took
	out := json.NewEncoder(r.Findings)
	out.SetEscapeHTML(false)
	for _, f := range report.Findings {
		if err := out.Encode(f); err != nil {
			return nil, fmt.Errorf("write findings: %w", err)
		}
	}
	if err := out.Encode(verdict); err != nil {
		return nil, fmt.Errorf("write findings: %w", err)
	}
	return verdict, nil
}
