package mlflow

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A Collector reads one tracking server.
type Collector struct {
	cfg    Config
	client *client
	host   string
	hints  *hints

	mu     sync.Mutex
	report collectors.Report
	losses []string // notes that no report has told yet
}

var (
	_ collectors.Collector = (*Collector)(nil)
	_ collectors.Notifier  = (*Collector)(nil)
	_ collectors.Listener  = (*Collector)(nil)
)

// New makes a collector of a server that it does not talk to yet.
func New(cfg Config) (*Collector, error) {
	if err := cfg.prepare(); err != nil {
		return nil, err
	}
	cl, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	if cfg.InsecureSkipVerify {
		cfg.Log.Warn("the server's certificate is not verified", "input", cfg.Name)
	}
	return &Collector{cfg: cfg, client: cl, host: cl.base.Hostname(), hints: newHints()}, nil
}

// A server is what is known of the software that answers.
type server struct {
	Version    string
	Major      int
	Workspaces bool
}

// An area is what is remembered of one workspace; the one of a server without
// workspaces has no name.
type area struct {
	// Contact is when we first looked, in milliseconds since the epoch, and
	// Baseline tells that what existed then was read to its end.
	Contact  int64 `json:"contact"`
	Baseline bool  `json:"baseline,omitempty"`
	// Swept is when the last complete sweep began: what changed since then was
	// not seen by it.
	Swept int64 `json:"swept,omitempty"`
	// Emptied and Hidden: it was told that the registry answers with nothing, or
	// not at all. The counts make each telling an event of its own.
	Emptied  bool `json:"emptied,omitempty"`
	Hidden   bool `json:"hidden,omitempty"`
	Tellings int  `json:"tellings,omitempty"`
	// Runs is up to when starts and ends of runs were read.
	Runs int64 `json:"runs,omitempty"`
	// Root is the server's artifact root.
	Root string `json:"root,omitempty"`
	// Owned: it was looked up which run or logged model stands behind which
	// version; since then, changes of versions leave a mark.
	Owned bool `json:"owned,omitempty"`
	// Lacking: runs behind versions wait to be read for the first time.
	Lacking bool `json:"lacking,omitempty"`
	// Turn is where the rotation of run, artifact and grant reading stands.
	Turn map[string]string `json:"turn,omitempty"`
}

// A poll is one reading of one workspace.
type poll struct {
	*ledger
	c      *Collector
	ctx    context.Context //nolint:containedctx // a poll lives as long as its context
	server server
	ws     string
	area   area
	now    time.Time
	full   bool
	budget int // requests left for what is read in rotation
	lack   *[]string
	notice *[]string

	postpone  bool    // aliases are told when the versions are known
	postponed int     // bytes of what is postponed
	later     []model // what is postponed

	visited map[string]bool // runs and logged models whose artifacts were listed
}

// Poll does a full sweep when one is due, and otherwise looks at what is newest.
func (c *Collector) Poll(ctx context.Context, out collectors.Output) error {
	now := c.cfg.Now()
	srv, err := c.ask(ctx)
	if err != nil {
		return err
	}
	var who *actors
	var lack, notices []string
	if c.cfg.AccessLog != "" {
		who = newActors(c, now)
		if err := who.read(ctx, out); err != nil {
			return err
		}
	}
	book := newLedger(out, who)
	areas := []string{""}
	if srv.Workspaces {
		if areas, err = c.workspaces(ctx); err != nil {
			return err
		}
	}
	budget := c.cfg.RequestsPerSweep
	complete, swept := true, false
	var failed []error
	hinted := c.hints.take()
	for _, ws := range areas {
		p := &poll{ledger: book, c: c, ctx: ctx, server: srv, ws: ws, now: now, budget: max(1, budget/len(areas)), lack: &lack, notice: &notices}
		full, err := p.run(hinted)
		if err != nil {
			failed = append(failed, p.named(err))
			// What waits of this workspace is whole; the state was not told that the
			// sweep ended.
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		swept = swept || full && err == nil
		complete = complete && p.area.Baseline && !p.area.Lacking
	}
	if who != nil {
		if err := who.read(ctx, out); err != nil {
			failed = append(failed, err)
		}
	}
	if err := book.flush(); err != nil {
		return errors.Join(append(failed, err)...)
	}
	c.mu.Lock()
	if swept {
		c.report.LastSweep = now
		c.report.Coverage, c.report.Notes = lack, notices
	}
	c.report.InventoryComplete = event.B(complete)
	c.mu.Unlock()
	return errors.Join(failed...)
}

func (p *poll) named(err error) error {
	if p.ws == "" {
		return err
	}
	return fmt.Errorf("workspace %q: %w", p.ws, err)
}

// run reads one workspace and tells whether it was a full sweep.
func (p *poll) run(hinted []string) (full bool, err error) {
	if !p.load(p.areaKey(), &p.area) {
		p.area = area{Contact: p.now.UnixMilli()}
		if err := p.put(p.areaKey(), p.area); err != nil {
			return false, err
		}
	}
	due := time.UnixMilli(p.area.Swept).Add(p.c.cfg.Interval - p.c.cfg.FastInterval/2)
	p.full = p.area.Swept == 0 || !p.now.Before(due)
	if !p.full {
		return false, errors.Join(p.fast(hinted), p.err)
	}
	for _, step := range []func() error{p.sweepExperiments, p.sweepRegistry, p.readRuns, p.sweepLoggedModels, p.rereadRuns, p.findOwners, p.sweepGrants, p.sweepArtifacts} {
		if err := step(); err != nil {
			if isDenied(err) {
				err = errors.Join(err, p.hide(err))
			}
			return true, err
		}
		if p.err != nil {
			return true, p.err
		}
	}
	p.area.Swept = p.now.UnixMilli()
	p.area.Baseline = true
	p.area.Hidden = false
	return true, p.put(p.areaKey(), p.area)
}

func (p *poll) areaKey() string { return "area/" + keyPart(p.ws) }

// contact is when we first looked: what is older is inventory.
func (p *poll) contact() int64 { return p.area.Contact }

// hide tells once that the server refuses what it showed before.
func (p *poll) hide(cause error) error {
	if p.area.Hidden || !p.area.Baseline {
		return nil
	}
	p.area.Hidden = true
	return p.registryEvent("registry.hidden", "", cause.Error())
}

// registryEvent tells something about the registry as a whole.
func (p *poll) registryEvent(operation, before, after string) error {
	p.area.Tellings++
	s := subject{kind: event.Input, id: "aiwatch_mlflow://" + p.c.cfg.Name, created: p.area.Contact}
	ev := p.event(operation, s)
	values(&ev, before, short(after))
	p.bound(&ev, 0)
	identify(&ev, s, p.area.Tellings, p.ws)
	return p.add(change{events: []told{{event: ev}}, writes: []write{{p.areaKey(), observed(p.area)}}})
}

// lacks says what is not watched.
func (p *poll) lacks(format string, args ...any) { p.say(p.lack, fmt.Sprintf(format, args...)) }

// notes says what an operator should know besides.
func (p *poll) notes(text string) { p.say(p.notice, text) }

func (p *poll) say(list *[]string, text string) {
	if p.ws != "" {
		text = "workspace " + strconv.Quote(p.ws) + ": " + text
	}
	if !slices.Contains(*list, text) && len(*list) < 50 {
		*list = append(*list, text)
	}
}

// at addresses a request to the poll's workspace.
func (p *poll) at(r request) request {
	r.workspace = p.ws
	return r
}

// ask finds out which software answers.
func (c *Collector) ask(ctx context.Context) (server, error) {
	var s server
	version, err := c.client.text(ctx, request{path: "/version"})
	if err != nil && !isMissing(err) && !isGone(err) {
		return s, fmt.Errorf("ask the server for its version: %w", err)
	}
	major, _, _ := strings.Cut(version, ".")
	s.Major, err = strconv.Atoi(major)
	if err != nil || s.Major < 1 || len(version) > 40 {
		// Another server with the same API: what all have.
		return server{Version: "unknown", Major: 2}, nil
	}
	s.Version = version
	if s.Major < 3 {
		return s, nil
	}
	var info struct {
		Workspaces bool `json:"workspaces_enabled"`
	}
	if err := c.client.get(ctx, request{path: "/api/3.0/mlflow/server-info"}, &info); err != nil && !isMissing(err) {
		return s, fmt.Errorf("ask the server for its features: %w", err)
	}
	s.Workspaces = info.Workspaces
	return s, nil
}

func (c *Collector) workspaces(ctx context.Context) ([]string, error) {
	var answer struct {
		Workspaces []struct {
			Name string `json:"name"`
		} `json:"workspaces"`
	}
	if err := c.client.get(ctx, request{path: "/api/3.0/mlflow/workspaces"}, &answer); err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	var names []string
	for _, w := range answer.Workspaces {
		if w.Name != "" {
			names = append(names, w.Name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, errors.New("list workspaces: the account sees none; grant it one")
	}
	return names, nil
}

// Report tells how the reading goes.
func (c *Collector) Report() collectors.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.Notes = slices.Concat(r.Notes, c.losses)
	c.report.RecordsRead, c.losses = 0, nil
	return r
}

// lost notes that lines of the access log can't be read any more.
func (c *Collector) lost(note string) {
	note = "access_log " + note
	c.cfg.Log.Warn(note)
	c.mu.Lock()
	c.losses = append(c.losses, note)
	c.mu.Unlock()
}

// read counts records for the report.
func (c *Collector) read(n int64, newest int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.RecordsRead += n
	if newest <= c.report.NewestRecord.UnixMilli() {
		return // nearly always
	}
	if at := time.UnixMilli(newest); newest > 0 && at.After(c.report.NewestRecord) && !at.After(c.cfg.Now()) {
		c.report.NewestRecord = at
	}
}

// api is the prefix of most calls.
const api = "/api/2.0/mlflow/"

func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}
