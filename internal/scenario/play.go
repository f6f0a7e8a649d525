package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"aiwatch/internal/conf"
)

// Options are how a scenario is played.
type Options struct {
	// Dir is where sources and state are kept while it is played; empty is a
	// folder that is removed afterwards.
	Dir string
	// Version stands in health events.
	Version string
	// Eager does every poll, also of a source in which nothing changed.
	Eager bool
	// Forward, if set, makes what takes the events on their way, by the play's
	// clock; the recording holds none of them then.
	Forward func(now func() time.Time) (Forwarder, error)
	// MLflow, if set, is a real server in the place of the stand-in.
	MLflow *Server
	Log    *slog.Logger // nil: discarded
}

// A Server is a real MLflow server. What happens on it is dated by its clock,
// whatever the scenario's acts say, and so the play has a present: up to it the
// clock jumps from act to act, from there on it is the server's, and an act comes
// as long after the one before it as the scenario says. Who starts the collectors
// in the present starts those that read MLflow as well; acts on MLflow from before
// are made on the server as they come, and are what they find.
type Server struct {
	URL string
	// Carry carries the requests of acts and collectors to it. A name under which
	// an act is done comes as the user of basic authentication.
	Carry http.RoundTripper
	// Now is the time of the server's clock, Present when the present begins.
	Now     func() time.Time
	Present time.Time
}

// Play plays the scenario's acts through the collectors. Its error is a Problem
// where an act is at fault.
func Play(ctx context.Context, s *Scenario, o Options) (*Recording, error) {
	rec := newRecording(s)
	if err := rec.play(ctx, o); err != nil {
		return nil, err
	}
	return rec, nil
}

// PlayAndSchedule plays a scenario and runs searches over the recording while it
// is being made. What they find is what Schedule finds when Play has ended.
func PlayAndSchedule(ctx context.Context, s *Scenario, o Options, app fs.FS, searches []*Search, so ScheduleOptions) (*Recording, *Report, error) {
	rec := newRecording(s)
	var report *Report
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return rec.play(both, o) })
	group.Go(func() (err error) {
		report, err = Schedule(both, rec, app, searches, so)
		if errors.Is(err, errBroken) || errors.Is(err, errLate) {
			return nil // the play says why; begin anew when all is there
		}
		return err
	})
	err := group.Wait()
	if err == nil && report == nil {
		report, err = Schedule(ctx, rec, app, searches, so)
	}
	if err != nil {
		return nil, nil, err
	}
	return rec, report, nil
}

// play makes the recording.
func (r *Recording) play(ctx context.Context, o Options) (err error) {
	defer r.breakOff()
	began := time.Now()
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "aiwatch-scenario-"); err != nil {
			return fmt.Errorf("make a folder for the play: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &play{scenario: r.Scenario, options: o, clock: newClock(r.Scenario.Start), rec: r}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	if err := p.open(ctx, dir); err != nil {
		return err
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	r.Took = time.Since(began)
	return nil
}

// play is one play of a scenario.
type play struct {
	scenario *Scenario
	options  Options
	clock    *clock
	world    *world
	station  *station
	rec      *Recording
	acted    acted
}

// acted is the act that was done last: its time in the scenario, and that on the
// clock when it was over.
type acted struct{ told, over time.Time }

func (p *play) open(ctx context.Context, dir string) (err error) {
	// The configuration names where the sources are, and the sources must know
	// whom the operator lets read them: it is read twice.
	grants, admins, err := p.scenario.accounts()
	if err != nil {
		return err
	}
	if p.world, err = newWorld(p.scenario, filepath.Join(dir, "sources"), p.clock.Now, admins, grants, p.options.MLflow); err != nil {
		return err
	}
	p.world.warn = func(a *act, format string, args ...any) {
		if len(p.rec.Warnings) < maxProblems {
			p.rec.Warnings = append(p.rec.Warnings, Problem{a.file, a.number, fmt.Sprintf(format, args...)}.Error())
		}
	}
	config, err := p.scenario.configuration(filepath.Join(dir, "conf"), p.world.variables())
	if err != nil {
		return err
	}
	var forwarder Forwarder
	if p.options.Forward != nil {
		if forwarder, err = p.options.Forward(p.clock.Now); err != nil {
			return err
		}
	}
	p.station = newStation(p.clock, config, p.world, filepath.Join(dir, "state"), p.scenario.Name, p.options.Log, forwarder, p.rec.add)
	if p.options.MLflow != nil {
		p.station.await(p.options.MLflow.Present)
	}
	p.station.version, p.station.lazy = p.options.Version, !p.options.Eager
	p.world.changes = p.station.changes
	return p.world.prepare(ctx)
}

func (p *play) close(ctx context.Context) (err error) {
	if p.station != nil {
		err = p.station.stop(context.WithoutCancel(ctx))
	}
	if p.world != nil {
		err = errors.Join(err, p.world.close())
	}
	return err
}

// run does the acts and lets the collectors read, by the one clock. At one
// moment the collectors come first: authors write round times, at which polls
// fall too, and what belongs to an act, such as its line in the access log,
// often comes a second later.
func (p *play) run(ctx context.Context) error {
	next, done, err := p.scenario.merged()
	defer done()
	if err != nil {
		return err
	}
	a, err := next()
	if err != nil {
		return err
	}
	for ; a != nil && a.at.Before(p.scenario.Start); a, err = next() {
		if err != nil {
			return err
		}
		if a.kind == kindCollector || a.kind == kindIndex {
			return Problem{a.file, a.number, "before the scenario's start there is neither collector nor index"}
		}
		p.clock.set(a.at)
		if err := p.world.do(ctx, a); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	p.clock.set(p.scenario.Start)
	if err := p.station.start(ctx); err != nil {
		return err
	}
	told := p.scenario.Start // of the recording
	p.acted = acted{told, told}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, sleeping := p.clock.next()
		acts := a != nil && (!sleeping || p.together(a) || p.due(a).Before(now))
		if acts {
			now = p.due(a)
		} else if !sleeping || now.After(p.scenario.End) {
			p.clock.set(p.scenario.End)
			p.rec.finish()
			return nil
		}
		if now, err = p.reach(ctx, now); err != nil {
			return err
		}
		if now.Sub(told) >= time.Minute { // searches run at minutes
			p.rec.advance(now)
			told = now
		}
		p.clock.set(now)
		if !acts {
			p.clock.wake()
			continue
		}
		if err := p.do(ctx, a); err != nil {
			return err
		}
		p.acted = acted{told: a.at, over: now}
		if p.present(now) {
			p.acted.over = p.options.MLflow.Now()
		}
		if a, err = next(); err != nil {
			return err
		}
	}
}

// present tells whether a time is of the present, in which a real server is
// watched.
func (p *play) present(at time.Time) bool {
	return p.options.MLflow != nil && !at.Before(p.options.MLflow.Present)
}

// together tells whether an act of the present comes at once after the one before
// it: acts of one moment, such as a call and its line in the access log, are no
// two for a poll to come between, however long they take.
func (p *play) together(a *act) bool {
	return p.present(a.at) && a.at.Equal(p.acted.told)
}

// due is when an act comes.
func (p *play) due(a *act) time.Time {
	if !p.present(a.at) {
		return a.at
	}
	return p.acted.over.Add(a.at.Sub(p.acted.told))
}

// reach returns the time of what comes next: that which it has in the scenario,
// and in the present the clock's, when that has come.
func (p *play) reach(ctx context.Context, at time.Time) (time.Time, error) {
	if !p.present(at) {
		return at, nil
	}
	wait := time.NewTimer(at.Sub(p.options.MLflow.Now()))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return at, ctx.Err()
	case <-wait.C:
		return p.options.MLflow.Now(), nil
	}
}

func (p *play) do(ctx context.Context, a *act) error {
	switch a.kind {
	case kindCollector:
		return p.station.do(ctx, a)
	case kindIndex:
		search, err := p.world.fill(a, a.line)
		if err != nil {
			return err
		}
		p.rec.delete(Step{At: a.at, Delete: search, act: a})
		return nil
	}
	return p.world.do(ctx, a)
}

// configuration writes what the operator wrote, with the places of this play in
// it, and reads it as the program does.
func (s *Scenario) configuration(dir string, values map[string]string) (*conf.Config, error) {
	local := filepath.Join(dir, "local")
	if err := os.MkdirAll(local, 0o700); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	for _, name := range []string{conf.InputsFile, conf.AIWatchFile} {
		text, err := os.ReadFile(s.file(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		if err := os.WriteFile(filepath.Join(local, name), []byte(fill(string(text), values)), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	// The stand-in believes everybody: a secret that is not set here is no mistake.
	config, err := conf.Load(dir, conf.WithEnv(func(name string) string {
		if value := os.Getenv(name); value != "" {
			return value
		}
		return "secret"
	}))
	var found conf.Problems
	if errors.As(err, &found) {
		var ps Problems
		for _, f := range found {
			where := ""
			if f.Stanza != "" {
				where = "[" + f.Stanza + "] "
			}
			if f.Key != "" {
				where += f.Key + ": "
			}
			ps.add(s.shown(filepath.Base(f.File)), f.Line, "%s%s; %s", where, f.What, f.Fix)
		}
		return nil, ps
	}
	if err != nil {
		return nil, err
	}
	var ps Problems
	for _, in := range config.Inputs() {
		// What is outside of a scenario is not asked.
		switch in.Kind() {
		case "aiwatch_s3":
			if path := in.String("path"); path != values["S3"] && !strings.HasPrefix(path, values["S3"]+"/") {
				ps.add(s.shown(conf.InputsFile), 0, "[%s]: a scenario's log objects lie in a folder; write path = ${S3}", in.Stanza())
			}
		case "aiwatch_mlflow":
			if strings.TrimRight(in.String("url"), "/") != values["MLFLOW"] {
				ps.add(s.shown(conf.InputsFile), 0, "[%s]: a scenario's MLflow server is ${MLFLOW}", in.Stanza())
			}
		case "aiwatch_git":
			for _, url := range in.List("url") {
				if !strings.HasPrefix(url, values["GIT"]+"/") {
					ps.add(s.shown(conf.InputsFile), 0, "[%s]: a scenario's repositories lie below ${GIT}, as ${GIT}/acme/vision.git", in.Stanza())
				}
			}
		}
	}
	if len(config.Inputs()) == 0 {
		ps.add(s.shown(conf.InputsFile), 0, "no input is enabled")
	}
	return config, ps.orNil()
}

// accounts tells whether the MLflow server of the scenario has accounts, and
// under which names the operator reads it.
func (s *Scenario) accounts() (grants bool, admins []string, err error) {
	dir, err := os.MkdirTemp("", "aiwatch-scenario-")
	if err != nil {
		return false, nil, fmt.Errorf("make a folder for the play: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	config, err := s.configuration(dir, map[string]string{
		"S3": "/s3", "MLFLOW": "http://" + mlflowHost, "GIT": "/git", "SCENARIO": s.Dir,
		"ACCESS_LOG": "/access.log", "FORGE_LOG": "/forge.log", "HOOK_LOG": "/hook.log",
	})
	if err != nil {
		return false, nil, err
	}
	grants = s.uses.grants
	for _, in := range config.Inputs() {
		if in.Kind() == "aiwatch_mlflow" && in.String("username") != "" {
			grants = true
			admins = append(admins, in.String("username"))
		}
	}
	return grants, admins, nil
}
