package mlflow

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Pages of the fast lane: what is newest fits into one.
const (
	fastVersions = 100
	fastModels   = 50
	fastModels2  = 20 // 2.x takes 9 ms of CPU for each
	fastPages    = 20
)

// fast looks at what is newest: versions, models and runs by their dates, and
// the models that webhooks named.
func (p *poll) fast(hinted []string) error {
	if err := p.newestExperiments(); err != nil {
		return err
	}
	for _, name := range hinted {
		if err := p.reread(name); err != nil {
			return err
		}
	}
	p.postpone = true
	var bumped []string
	for _, prompts := range []bool{false, true} {
		names, err := p.newestModels(prompts)
		if err != nil {
			return err
		}
		bumped = append(bumped, names...)
	}
	for _, prompts := range []bool{false, true} {
		pages := 0
		if err := p.searchVersions(prompts, fastVersions, "last_updated_timestamp DESC", "", nil, func(changed int) error {
			if pages++; changed < fastVersions || pages >= fastPages {
				return errStop
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := p.tellLater(nil); err != nil {
		return err
	}
	for _, name := range bumped {
		if err := p.reread(name); err != nil {
			return err
		}
	}
	return p.readRuns()
}

// newestModels compares the models that were updated last, and returns the names
// of those whose update neither they themselves nor a newer version explain:
// something of them was deleted, or they were renamed.
func (p *poll) newestModels(prompts bool) (unexplained []string, err error) {
	size := fastModels
	if p.server.Major < 3 {
		size = fastModels2
	}
	var news []model
	seen := 0
	err = p.searchModels(prompts, size, "last_updated_timestamp DESC", func(m *model) error {
		seen++
		record := p.get(p.modelKey(m.Name))
		if !sameRecord(record, observed(m)) {
			var before model
			if _, ok := decodeRecord(record, &before); !ok || before.Updated != m.Updated || before.Created != m.Created {
				news = append(news, *m)
			} else {
				p.known(m)
			}
		}
		if seen%size == 0 && (len(news) < seen || seen >= fastPages*size) {
			return errStop
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range news {
		m := &news[i]
		var before model
		switch _, ok := decodeRecord(p.get(p.modelKey(m.Name)), &before); {
		case !ok:
			if err := p.appeared(m); err != nil {
				return nil, err
			}
		case before.Created != m.Created:
			// Deleted and created again: the full sweep tells both.
		default:
			same := before.Description == m.Description
			p.known(m)
			if same {
				unexplained = append(unexplained, m.Name)
			}
		}
	}
	return unexplained, p.err
}

// appeared tells what became of a name that was not known: a rename when the
// model of that creation date is gone, else a creation.
func (p *poll) appeared(m *model) error {
	var old *model
	p.each(within("m", p.ws), func(_ string, record []byte) {
		var known model
		if _, ok := decodeRecord(record, &known); ok && known.Created == m.Created && known.Prompt == m.Prompt {
			old = &known
		}
	})
	if old == nil {
		return p.modelArrived(m)
	}
	if _, err := p.getModel(old.Name); isGone(err) {
		h, _ := decodeRecord(p.get(p.modelKey(old.Name)), old)
		return p.renamed(old, h, m)
	} else if err != nil && !isDenied(err) {
		return fmt.Errorf("get a model that may have been renamed: %w", err)
	}
	return p.modelArrived(m)
}

// reread compares one model and all its versions.
func (p *poll) reread(name string) error {
	m, err := p.getModel(name)
	if isGone(err) || isDenied(err) {
		return nil // the full sweep finds out why
	}
	if err != nil {
		return fmt.Errorf("read a model again: %w", err)
	}
	p.postpone = true
	var before model
	switch _, ok := decodeRecord(p.get(p.modelKey(m.Name)), &before); {
	case !ok:
		if err := p.appeared(&m); err != nil {
			return err
		}
	case before.Created != m.Created:
		return nil
	default:
		p.known(&m)
	}
	filter, ok := nameFilter(name)
	if !ok {
		return p.tellLater(nil) // what else waits for the sweep: no filter can hold the name
	}
	listed := &listing{keys: newSet()}
	if err := p.searchVersions(m.Prompt, versionPage, "version_number DESC", filter, listed, nil); err != nil {
		return err
	}
	if err := p.tellLater(listed); err != nil {
		return err
	}
	var missing []version
	p.each(within("v", p.ws, name), func(key string, record []byte) {
		var v version
		if _, ok := decodeRecord(record, &v); ok && !listed.has(key, record) {
			missing = append(missing, v)
		}
	})
	for i := range missing {
		if err := p.missingVersion(&missing[i]); err != nil {
			return err
		}
	}
	return p.err
}

// nameFilter is the filter for one model's versions. MLflow's grammar has no
// escape for the quote that surrounds a string.
func nameFilter(name string) (string, bool) {
	for _, quote := range []string{"'", `"`} {
		if !strings.Contains(name, quote) && !strings.Contains(name, `\`) {
			return "name = " + quote + name + quote, true
		}
	}
	return "", false
}

// hints are the models that webhooks named since the last poll.
type hints struct {
	mu     sync.Mutex
	names  map[string]struct{}
	notify chan struct{}
}

// maxHints is how many models are read again between two sweeps.
const maxHints = 1000

func newHints() *hints {
	return &hints{names: map[string]struct{}{}, notify: make(chan struct{}, 1)}
}

// add notes a model and asks for a poll. A name that is noted is not noted
// again.
func (h *hints) add(name string) {
	h.mu.Lock()
	if len(h.names) < maxHints {
		h.names[name] = struct{}{}
	}
	h.mu.Unlock()
	select {
	case h.notify <- struct{}{}:
	default:
	}
}

func (h *hints) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for name := range h.names {
		names = append(names, name)
	}
	clear(h.names)
	slices.Sort(names)
	return names
}

// Notify asks for a poll when a webhook came.
func (c *Collector) Notify() <-chan struct{} { return c.hints.notify }
