package scenario

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/conf"
	"aiwatch/internal/event"
	"aiwatch/internal/inputs"
)

// stationHost is the name of the machine on which the collectors run.
const stationHost = "aiwatch"

// deliveryTime is how long after its commit an event is indexed: the
// forwarder's linger.
const deliveryTime = time.Second

// A station is the machine on which aiwatch runs: the inputs with their
// numbers, state and heartbeats, as the program's forwarder keeps them.
type station struct {
	clock     *clock
	config    *conf.Config
	log       *slog.Logger
	dir       string // of the state: mirrors of repositories
	collector string
	version   string
	out       func(indexed time.Time, envelope []byte)
	forwarder Forwarder // nil: the play keeps its events itself
	lazy      bool
	world     *world

	inputs  []*input
	running bool
	// What reads a server of the present is started from then on.
	present time.Time
	later   []*input
	kept    *snapshot
}

// An input is one input of the station.
type input struct {
	settings *conf.Settings
	stream   collectors.Stream // nil until a forwarder opens it
	host     string
	index    string
	opened   bool // its state exists
	lane     *lane
	lazy     *lazy
	cancel   context.CancelFunc
	done     chan error
}

// A snapshot is a copy of the state's folder.
type snapshot struct {
	states []inputState
	dir    string
}

type inputState struct {
	opened bool
	state  map[string][]byte
	seq    uint64
}

func newStation(clock *clock, config *conf.Config, w *world, dir, name string, log *slog.Logger, forwarder Forwarder, out func(time.Time, []byte)) *station {
	sum := sha256.Sum256([]byte("collector of " + name))
	st := &station{clock: clock, config: config, world: w, dir: dir, log: log, out: out, collector: hex.EncodeToString(sum[:4]), forwarder: forwarder}
	if forwarder != nil {
		st.collector = forwarder.Collector()
	}
	fallback := config.One("hec").String("index")
	for _, s := range config.Inputs() {
		index := s.String("index")
		if index == "" {
			index = fallback
		}
		host := s.String("host")
		if host == "" {
			host = stationHost
		}
		in := &input{settings: s, host: host, index: index}
		if forwarder == nil {
			in.stream = &collectors.Memory{
				Source: s.Stanza(), Host: host, Index: index, Collector: st.collector,
				Deliver: func(envelope []byte) error {
					st.out(clock.Now().Add(deliveryTime), envelope)
					return nil
				},
			}
		}
		st.inputs = append(st.inputs, in)
	}
	return st
}

// await puts off the inputs that read MLflow to the present.
func (st *station) await(present time.Time) {
	st.present = present
	st.inputs = slices.DeleteFunc(st.inputs, func(in *input) bool {
		later := in.settings.Kind() == "aiwatch_mlflow"
		if later {
			st.later = append(st.later, in)
		}
		return later
	})
}

// start begins collecting, each input by a runner of its own. It returns when
// the first polls have ended.
func (st *station) start(ctx context.Context) error {
	if st.running {
		return nil
	}
	if !st.clock.Now().Before(st.present) {
		st.inputs, st.later = append(st.inputs, st.later...), nil
	}
	b, err := inputs.New(st.config, st.dir, st.clock.Now, st.log)
	if err != nil {
		return err
	}
	b.MLflow = st.world.front
	beat := st.config.One("health").Duration("interval")
	for _, in := range st.inputs {
		c, err := b.Collector(ctx, in.settings)
		if err != nil {
			return Problem{File: st.world.scenario.shown(conf.InputsFile), What: err.Error()}
		}
		sleepers := 1
		if beat > 0 {
			sleepers = 2
		}
		in.lane = st.clock.lane(sleepers)
		in.lazy = newLazy(c, in, st, sleepers-1)
		runner := &collectors.Runner{
			Inputs: []collectors.Input{{
				Name: in.settings.Stanza(), Collector: in.lazy, Schedule: inputs.Schedule(in.settings),
				Open: func(ctx context.Context) (collectors.Stream, error) { return st.open(ctx, in) },
			}},
			Clock: in.lane, Log: st.log, Host: stationHost, Version: st.version, Collector: st.collector, Heartbeat: beat,
			// The destination takes everything at once: nothing waits, nothing is refused.
			Delivery: func(string) collectors.Delivery { return collectors.Delivery{} },
		}
		// Only stop ends a runner: one that ended by itself would be waited for.
		running, cancel := context.WithCancel(context.WithoutCancel(ctx))
		in.cancel, in.done = cancel, make(chan error, 1)
		go func() { in.done <- runner.Run(running) }()
		st.clock.settle()
	}
	st.running = true
	return nil
}

// open gives an input its stream, when it is started for the first time.
func (st *station) open(ctx context.Context, in *input) (collectors.Stream, error) {
	if st.forwarder == nil {
		return in.stream, st.tellNew(in)
	}
	if in.stream == nil {
		s, err := st.forwarder.Open(ctx, Input{Settings: in.settings, Host: in.host, Index: in.index})
		if err != nil {
			return nil, err
		}
		in.stream = &forwarded{Stream: s, forwarder: st.forwarder, now: st.clock.Now}
	}
	return in.stream, nil
}

// tellNew says that an input has no state yet, as the forwarder does when it
// opens its stream.
func (st *station) tellNew(in *input) error {
	if in.opened {
		return nil
	}
	in.opened = true
	now, name := st.clock.Now(), in.settings.Stanza()
	return in.stream.Health(&event.Event{
		Envelope:  event.Envelope{Time: event.At(now), Host: stationHost, Sourcetype: event.SourcetypeHealth},
		ID:        event.MakeID(event.SourcetypeHealth, "state.new", st.collector, name, strconv.FormatInt(now.UnixNano(), 10)),
		Operation: "state.new",
		AssetType: event.Input,
		Text:      "there was no state; everything begins anew",
	})
}

// stop ends collecting; what is committed is delivered. A kill is the same at a
// moment at which nothing runs: what was not committed is not there.
func (st *station) stop(ctx context.Context) error {
	if !st.running {
		return nil
	}
	if err := st.catchUp(ctx); err != nil {
		return err
	}
	st.running = false
	var errs []error
	for _, in := range st.inputs {
		in.lane.close()
		in.cancel()
		errs = append(errs, <-in.done)
		if in.stream != nil {
			in.stream.Discard()
		}
	}
	return errors.Join(errs...)
}

// catchUp does the polls that were put off.
func (st *station) catchUp(ctx context.Context) error {
	if !st.running {
		return nil
	}
	var errs []error
	for _, in := range st.inputs {
		errs = append(errs, in.lazy.catchUp(ctx))
	}
	return errors.Join(errs...)
}

// changes tells the inputs that a source is about to change.
func (st *station) changes(ctx context.Context, source, line string) error {
	if !st.running {
		return nil
	}
	var errs []error
	for _, in := range st.inputs {
		errs = append(errs, in.lazy.changes(ctx, source, line))
	}
	return errors.Join(errs...)
}

// do does a collector act.
func (st *station) do(ctx context.Context, a *act) error {
	switch a.line {
	case collectorStop:
		return st.stop(ctx)
	case collectorStart:
		return st.start(ctx)
	case collectorKill:
		if err := st.stop(ctx); err != nil {
			return err
		}
		return st.start(ctx)
	case collectorSnapshot:
		return st.snapshot(ctx)
	default:
		if st.kept == nil {
			return Problem{a.file, a.number, `there is no "snapshot" before this "rewind"`}
		}
		if err := st.stop(ctx); err != nil {
			return err
		}
		if err := st.restore(); err != nil {
			return err
		}
		return st.start(ctx)
	}
}

// snapshot copies the state's folder.
func (st *station) snapshot(ctx context.Context) error {
	if err := st.catchUp(ctx); err != nil {
		return err
	}
	kept := &snapshot{dir: st.dir + ".snapshot"}
	for _, in := range st.inputs {
		m, err := in.memory()
		if err != nil {
			return err
		}
		state, seq := m.Snapshot()
		kept.states = append(kept.states, inputState{in.opened, state, seq})
	}
	if err := replaceFolder(kept.dir, st.dir); err != nil {
		return fmt.Errorf("copy the state: %w", err)
	}
	st.kept = kept
	return nil
}

// restore puts the whole folder back, with the note of how far it had come: the
// forwarder can't know that, and uses its numbers a second time.
func (st *station) restore() error {
	for i, in := range st.inputs {
		k := st.kept.states[i]
		m, err := in.memory()
		if err != nil {
			return err
		}
		in.opened = k.opened
		m.Restore(k.state, k.seq)
	}
	if err := replaceFolder(st.dir, st.kept.dir); err != nil {
		return fmt.Errorf("put the state back: %w", err)
	}
	return nil
}

// replaceFolder makes to a copy of from, which may be missing.
func replaceFolder(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return os.CopyFS(to, os.DirFS(from))
}
