package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"aiwatch/collectors"
	"aiwatch/forwarder"
	"aiwatch/forwarder/archive"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/conf"
	"aiwatch/internal/inputs"
)

// drainTime is how long a run that was told to stop goes on delivering.
const drainTime = 30 * time.Second

// runCommand collects and delivers.
func (p *program) runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "collect and deliver: for ever, or one pass with --once",
		Description: "Reads the inputs at their intervals and delivers to the destination until\n" +
			"SIGTERM, then delivers what it can for 30 seconds and leaves the rest in the\n" +
			"queue; a second SIGTERM ends it at once. Nothing is lost either way.\n\n" +
			"With --once each input is read once, for cron, a systemd timer or a\n" +
			"Kubernetes CronJob. Ends with 0 when all was delivered, 69 when a source or the\n" +
			"destination could not be reached, 74 when the state can't be used, 75 when\n" +
			"another run holds the state.",
		Flags: []cli.Flag{
			confFlag, stateFlag, inputFlag,
			&cli.BoolFlag{Name: "once", Usage: "one pass, then end"},
			&cli.DurationFlag{Name: "max-wait", Value: 5 * time.Minute, Usage: "with --once: how long to wait for a destination that takes nothing"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.IsSet("max-wait") && !c.Bool("once") {
				return exitWith(exitUsage, errors.New("--max-wait goes with --once"))
			}
			config, err := p.configuration(c)
			if err != nil {
				return err
			}
			inputs, err := chosenInputs(c, config)
			if err != nil {
				return err
			}
			r, err := p.newRun(c.Context, config, inputs, c.String(stateFlag.Name), p.logger(config))
			if err != nil {
				return err
			}
			if c.Bool("once") {
				err = r.once(c.Context, c.Duration("max-wait"))
			} else {
				err = r.forEver(c.Context)
			}
			return errors.Join(err, r.close())
		},
	}
}

// run is the inputs, the queue and the destination, put together.
type run struct {
	program   *program
	log       *slog.Logger
	queue     *queue.Queue
	archive   *archive.Writer // nil without [archive]
	forwarder *forwarder.Forwarder
	runner    *collectors.Runner
	listen    string // of the metrics; empty is none
}

// newRun puts a run together. It opens the state, and so holds it.
func (p *program) newRun(ctx context.Context, config *conf.Config, inputs []*conf.Settings, state string, log *slog.Logger) (*run, error) {
	destination, err := p.destination(ctx, config, log)
	if err != nil {
		return nil, err
	}
	r, err := p.putTogether(ctx, parts{
		config: config, inputs: inputs, state: state, log: log,
		destination: destination, index: config.One("hec").String("index"), archive: true,
	})
	if err != nil {
		return nil, err
	}
	r.listen = config.One("health").String("listen")
	return r, nil
}

// parts are what a run is made of.
type parts struct {
	config      *conf.Config
	inputs      []*conf.Settings
	state       string // the folder
	log         *slog.Logger
	destination forwarder.Destination
	index       string // of the events of inputs that name none
	inFlight    int    // 0 is the forwarder's own
	archive     bool   // [archive] is written where it is set
}

// putTogether opens the state and puts queue, forwarder and inputs together.
func (p *program) putTogether(ctx context.Context, from parts) (*run, error) {
	b, err := p.inputBuilder(from.config, from.state, from.log)
	if err != nil {
		return nil, err
	}
	trace, err := p.tracer()
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find out this machine's name: %w", err)
	}
	q, err := queue.Open(from.state, queue.Options{MaxBytes: from.config.One("queue").Size("max_bytes"), Now: p.now, Log: from.log})
	if err != nil {
		return nil, stateError(err)
	}
	hec := from.config.One("hec")
	r := &run{program: p, log: from.log, queue: q, runner: &collectors.Runner{}}
	if settings := from.config.One("archive"); from.archive && settings.Present() {
		r.archive, err = archive.OpenWriter(settings.String("path"), archive.Options{Retention: settings.Duration("retention"), Now: p.now, Log: from.log})
		if err != nil {
			return nil, errors.Join(stateError(err), q.Close())
		}
	}
	r.forwarder, err = forwarder.New(forwarder.Options{
		Collecting: func() any { return r.runner.Statuses() },
		Queue:      q, Archive: r.archive, Destination: from.destination, Host: host, Log: from.log, Trace: trace, InFlight: from.inFlight,
		BatchBytes: int(hec.Size("batch_bytes")), Linger: hec.Duration("linger"), GzipLevel: hec.Int("gzip_level"),
	})
	if err != nil {
		return nil, errors.Join(newError(err), r.closeState())
	}
	r.runner = &collectors.Runner{
		Clock: collectors.SystemClock{}, Log: from.log, Host: host, Version: version, Collector: q.Collector(),
		Heartbeat: from.config.One("health").Duration("interval"), Delivery: r.delivery,
	}
	for _, s := range from.inputs {
		in, err := r.input(ctx, b, s, from.index)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.runner.Inputs = append(r.runner.Inputs, in)
	}
	return r, nil
}

func (r *run) input(ctx context.Context, b *inputs.Builder, s *conf.Settings, fallback string) (collectors.Input, error) {
	c, err := b.Collector(ctx, s)
	if err != nil {
		return collectors.Input{}, exitWith(exitUsage, err)
	}
	host, err := hostOf(s)
	if err != nil {
		return collectors.Input{}, err
	}
	index := s.String("index")
	if index == "" {
		index = fallback
	}
	return collectors.Input{
		Name: s.Stanza(), Collector: c, Schedule: inputs.Schedule(s),
		Open: func(ctx context.Context) (collectors.Stream, error) {
			return r.forwarder.Open(ctx, forwarder.Input{
				Name: s.Stanza(), Source: inputs.Fingerprint(s), RestartToken: s.String("restart_token"),
				Host: host, Index: index,
			})
		},
	}, nil
}

// delivery is what heartbeats tell of the way of an input's events.
func (r *run) delivery(input string) collectors.Delivery {
	s, err := r.forwarder.Status(context.Background())
	if err != nil {
		r.log.Error("find out what waits", "error", err)
		return collectors.Delivery{}
	}
	in := s.Input(input)
	d := collectors.Delivery{QueueBytes: in.Bytes, DeadLetters: in.DeadLetters, Held: in.Held}
	if !in.Oldest.IsZero() {
		d.Oldest = r.program.now().Sub(in.Oldest)
	}
	return d
}

// forEver collects and delivers until ctx is done, then drains.
func (r *run) forEver(ctx context.Context) error {
	return r.deliverWhile(ctx, func(ctx context.Context) error {
		if err := r.runner.Run(ctx); err != nil {
			return err
		}
		r.log.Info("stopping: what can be delivered in time is, the rest stays in the queue", "seconds", int(drainTime/time.Second))
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if err := r.forwarder.Drain(drain); err != nil && !errors.Is(err, forwarder.ErrUnavailable) {
			return stateError(err)
		} else if err != nil {
			r.log.Warn("stopped with events in the queue", "reason", err)
		}
		return nil
	})
}

// once makes one pass and waits until all is delivered, or until the
// destination has taken nothing for maxWait.
func (r *run) once(ctx context.Context, maxWait time.Duration) error {
	return r.deliverWhile(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var gaveUp atomic.Bool
		go r.watch(ctx, maxWait, func() { gaveUp.Store(true); cancel() })
		collected := r.runner.Once(ctx)
		drained := r.forwarder.Drain(ctx)
		switch {
		case errors.Is(drained, forwarder.ErrUnavailable), gaveUp.Load():
			if errors.Is(collected, context.Canceled) {
				collected = nil
			}
			return exitWith(exitUnavailable, errors.Join(collected, drained))
		case drained != nil:
			return stateError(drained)
		case collected != nil:
			return exitWith(exitUnavailable, collected)
		}
		metrics := r.forwarder.Metrics()
		r.log.Info("the pass is done", "events", metrics.Committed.Load(), "sent", metrics.Sent.Load(), "confirmed", metrics.Confirmed.Load())
		return nil
	})
}

// watch calls giveUp once the destination has taken nothing for maxWait while
// events waited for it, or to be committed.
func (r *run) watch(ctx context.Context, maxWait time.Duration, giveUp func()) {
	tick := time.NewTicker(min(time.Second, maxWait/4+time.Millisecond))
	defer tick.Stop()
	metrics := r.forwarder.Metrics()
	progress := func() int64 { return metrics.Sent.Load() + metrics.Confirmed.Load() + metrics.Refused.Load() }
	last, since := progress(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		idle := r.queue.Depth().Batches == 0 && r.forwarder.Stalled() == nil
		if now := progress(); now != last || idle {
			last, since = now, time.Now()
		} else if time.Since(since) >= maxWait {
			giveUp()
			return
		}
	}
}

// deliverWhile runs the delivery, progress and the listener beside work, and
// ends them after it.
func (r *run) deliverWhile(ctx context.Context, work func(context.Context) error) error {
	beside, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g, beside := errgroup.WithContext(beside)
	g.Go(func() error { return r.forwarder.Run(beside) })
	g.Go(func() error {
		// Collecting goes on without it: the path of a socket may be too long.
		if err := r.forwarder.ServeControl(beside); err != nil {
			r.log.Warn("aiwatch status can't ask this run", "error", err)
		}
		return nil
	})
	g.Go(func() error {
		r.program.showProgress(beside, r.log, func() measure {
			return measureOf(r.runner.Statuses(), int64(r.queue.Depth().Events))
		})
		return nil
	})
	if r.listen != "" {
		g.Go(func() error { return r.serveHealth(beside) })
	}
	g.Go(func() error {
		defer cancel()
		// What breaks beside the work ends it.
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(beside, stop)()
		return work(ctx)
	})
	return g.Wait()
}

func (r *run) close() error { return errors.Join(r.forwarder.Close(), r.closeState()) }

func (r *run) closeState() error {
	err := r.queue.Close()
	if r.archive != nil {
		err = errors.Join(err, r.archive.Close())
	}
	return err
}

// newError gives an error of forwarder.New its exit code: what is no matter of
// the state is one of the settings.
func newError(err error) error {
	if e := new(exitError); errors.As(stateError(err), &e) {
		return e
	}
	return exitWith(exitUsage, err)
}

// stateError gives an error of the state its exit code.
func stateError(err error) error {
	switch {
	case errors.Is(err, queue.ErrHeld):
		return exitWith(exitHeld, err)
	case errors.Is(err, archive.ErrHeld):
		return exitWith(exitUsage, err)
	case errors.Is(err, queue.ErrState), errors.Is(err, queue.ErrDamaged), errors.Is(err, archive.ErrFolder):
		return exitWith(exitState, err)
	default:
		return err
	}
}
