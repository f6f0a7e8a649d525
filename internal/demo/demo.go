// Package demo shows an insider caught, on embedded parts alone: a week is made
// up and played into the sources, read by the collectors, delivered by queue and
// HEC to a receiver on loopback, and searched by the app; from what was found a
// story is made.
//
//	demo.go      the way from the scenario to the findings
//	server.go    a real MLflow server, to which MLflow's part is told
//	deliver.go   queue, forwarder and receiver; what arrived, at the week's time
//	story.go     findings and events as a story
//	print.go     the story on a terminal
//
// Nothing of the story is written beforehand: each line is made from a finding
// or counted from what arrived.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"aiwatch/internal/audit"
	"aiwatch/internal/scenario"
	"aiwatch/internal/scenario/week"
	"aiwatch/internal/scenario/words"
)

// Options are what a demo is made of.
type Options struct {
	Dir     string // an empty folder for all that it makes
	Seed    uint64
	App     fs.FS // whose searches run
	Version string
	Made    time.Time // when the audit's report is made
	Log     *slog.Logger
	// Audit makes the report of an auditor, too.
	Audit bool
	// Server, if set, is told MLflow's part of the week, in the place of the
	// stand-in. It has been reached.
	Server *Server
	// Step is told what begins, and returns what is to be called with what came of
	// it.
	Step func(what string) (done func(format string, args ...any))
}

// A Result is what came of a demo.
type Result struct {
	Scenario *scenario.Scenario
	Made     words.Count
	Arrived  Arrived
	Told     Told // to a server
	Report   *scenario.Report
	Story    *Story
	Audit    *audit.Report // nil: it was not asked for
}

// Names of what a demo keeps below its folder.
const (
	ScenarioDir  = "scenario"
	EventsFile   = "events.ndjson"
	FindingsFile = "findings.ndjson"
	LookupsDir   = "lookups"
	AuditFile    = "audit.html"
)

// Run does it all.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	r := &Result{}
	done := o.Step("making up a week of acme, a small organisation")
	dir := filepath.Join(o.Dir, ScenarioDir)
	options := week.Options{Seed: o.Seed}
	if o.Server != nil {
		options.Present, options.Names = o.Server.Now().Truncate(time.Second), o.Server.Names
	}
	if r.Made, err = week.Write(dir, options); err != nil {
		return nil, err
	}
	if r.Scenario, err = scenario.Load(dir); err != nil {
		return nil, err
	}
	done("%d people, %d access-log lines, %d MLflow calls, %d Git pushes", r.Scenario.People, r.Made.Lines, r.Made.Calls, r.Made.Pushes)

	rec, err := r.collect(ctx, o, options.Present)
	if err != nil {
		return nil, err
	}
	if o.Server != nil && o.Server.Keep {
		defer func() { // it stays when all went well
			if err != nil {
				err = errors.Join(err, r.leave(ctx, o))
			}
		}()
	}
	done = o.Step("searching what arrived, as Splunk would: every search of the app at its times")
	searches, err := scenario.Searches(o.App)
	if err != nil {
		return nil, err
	}
	if r.Report, err = scenario.Schedule(ctx, rec, o.App, searches, scenario.ScheduleOptions{Closing: true}); err != nil {
		return nil, err
	}
	if err := r.keep(ctx, o.Dir); err != nil {
		return nil, err
	}
	done("%d searches ran %d times; %d findings", len(searches), r.Report.Runs, len(r.Report.Findings))
	if r.Story, err = Tell(ctx, r.Scenario, r.Report, searches); err != nil || !o.Audit {
		return r, err
	}
	done = o.Step("the same evidence as an auditor asks for it")
	events, err := audit.EventsOf(rec)
	if err != nil {
		return nil, err
	}
	if r.Audit, err = audit.Run(ctx, audit.Input{
		Events: events, Ran: r.Report, App: o.App, From: r.Scenario.Start, To: r.Scenario.End, Made: o.Made, Version: o.Version,
	}); err != nil {
		return nil, err
	}
	if err := write(filepath.Join(o.Dir, AuditFile), r.Audit.WriteHTML); err != nil {
		return nil, err
	}
	done("%d findings, %d versions in production and their custody", len(r.Audit.Findings), len(r.Audit.Custody))
	return r, nil
}

// collect plays the week through collectors, queue and receiver, and returns
// what arrived.
func (r *Result) collect(ctx context.Context, o Options, present time.Time) (rec *scenario.Recording, err error) {
	var server *scenario.Server
	if s := o.Server; s != nil {
		server = &scenario.Server{URL: s.URL(), Carry: s, Now: s.Now, Present: present}
		defer func() {
			if err != nil || !s.Keep {
				err = errors.Join(err, r.leave(ctx, o))
			}
		}()
	}
	done := o.Step("three collectors read it; a queue delivers by HEC to a receiver on this machine")
	w := &way{dir: filepath.Join(o.Dir, "state"), version: o.Version, log: o.Log}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		err = errors.Join(err, w.close())
	}()
	rec, err = scenario.Play(ctx, r.Scenario, scenario.Options{
		Dir: o.Dir, Version: o.Version, Log: o.Log, MLflow: server,
		Forward: func(now func() time.Time) (scenario.Forwarder, error) {
			return w, w.open(ctx, now)
		},
	})
	if err != nil {
		return nil, err
	}
	if len(rec.Warnings) > 0 {
		return nil, fmt.Errorf("play the week: %s", rec.Warnings[0])
	}
	if r.Arrived, err = w.arrive(ctx, rec, filepath.Join(o.Dir, EventsFile)); err != nil {
		return nil, err
	}
	if o.Server != nil {
		r.Told = o.Server.Told()
	}
	rec.Finish(r.Scenario.Start, r.Scenario.End)
	done("%d events arrived at %s: none lost, none sent twice", r.Arrived.Events, r.Arrived.URL)
	return rec, nil
}

// leave takes back what was made on a server.
func (r *Result) leave(ctx context.Context, o Options) error {
	made := o.Server.Told()
	if made == (Told{}) {
		return nil
	}
	done := o.Step("taking back what was made on " + o.Server.URL())
	if err := o.Server.Remove(ctx); err != nil {
		return &LeftError{err}
	}
	done("%d models deleted; %d experiments with %d runs marked as deleted", made.Models, made.Experiments, made.Runs)
	return nil
}

// A LeftError says that something stayed on a server that should not.
type LeftError struct{ err error }

func (e *LeftError) Error() string { return e.err.Error() }

// Unwrap is why.
func (e *LeftError) Unwrap() error { return e.err }

// keep writes the findings and the lookups beside the events.
func (r *Result) keep(ctx context.Context, dir string) error {
	return errors.Join(
		write(filepath.Join(dir, FindingsFile), func(out io.Writer) error { return r.Report.WriteFindings(ctx, out) }),
		r.Report.WriteLookups(filepath.Join(dir, LookupsDir)),
	)
}

// write makes a file of what is written to it.
func write(path string, text func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep what was found: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return text(f)
}
