package mlflow

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"aiwatch/internal/event"
)

// experimentPage is how many experiments a page holds, of 50,000 allowed.
const experimentPage = 1000

// An experiment is what the server says of one.
type experiment struct {
	Created  int64             `json:"created"`
	Updated  int64             `json:"updated"`
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Location string            `json:"location,omitempty"`
	Deleted  bool              `json:"deleted,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
}

func (e *experimentJSON) observe() experiment {
	return experiment{
		ID: short(string(e.ID)), Name: short(e.Name), Location: short(e.Location), Created: int64(e.Created), Updated: int64(e.Updated),
		Deleted: e.Lifecycle == "deleted", Tags: pairs(e.Tags),
	}
}

func (p *poll) experimentSubject(e *experiment) subject {
	return subject{kind: "experiment", id: p.asset("experiments", e.ID), name: e.Name, created: e.Created}
}

func (p *poll) sweepExperiments() error {
	seen := newSet()
	if err := p.searchExperiments("creation_time ASC", experimentPage, func(e *experiment) error {
		seen.add(stateKey("e", p.ws, e.ID))
		return p.experimentSeen(e)
	}); err != nil {
		return err
	}
	var missing []experiment
	p.each(within("e", p.ws), func(key string, record []byte) {
		var e experiment
		if _, ok := decodeRecord(record, &e); ok && !seen.has(key) {
			missing = append(missing, e)
		}
	})
	for i := range missing {
		if p.budget <= 0 {
			break
		}
		p.budget--
		e := &missing[i]
		var answer struct {
			Experiment experimentJSON `json:"experiment"`
		}
		err := p.c.client.get(p.ctx, p.at(request{path: api + "experiments/get", query: query("experiment_id", e.ID)}), &answer)
		switch {
		case isGone(err):
			if err := p.experimentGone(e); err != nil {
				return err
			}
		case isDenied(err):
			p.lacks("experiment %q is hidden from the account", e.Name)
		case err != nil:
			return fmt.Errorf("get an experiment that was not listed: %w", err)
		}
	}
	return p.err
}

// newestExperiments compares those that were updated last.
func (p *poll) newestExperiments() error {
	const size = 50
	seen, changed := 0, 0
	return p.searchExperiments("last_update_time DESC", size, func(e *experiment) error {
		if seen++; !sameRecord(p.get(stateKey("e", p.ws, e.ID)), observed(e)) {
			changed++
		}
		if err := p.experimentSeen(e); err != nil {
			return err
		}
		if seen%size == 0 && changed < seen {
			return errStop
		}
		return nil
	})
}

func (p *poll) searchExperiments(order string, size int, visit func(*experiment) error) error {
	r := p.at(request{method: "POST", path: api + "experiments/search", body: map[string]any{
		"max_results": size, "view_type": "ALL", "order_by": []string{order},
	}})
	if err := each(p.ctx, p.c.client, r, "experiments", func(j *experimentJSON) error {
		p.c.read(1, int64(j.Updated))
		e := j.observe()
		if e.ID == "0" {
			p.foundRoot(e.Location)
		}
		return visit(&e)
	}); err != nil {
		return fmt.Errorf("search experiments: %w", err)
	}
	return nil
}

// foundRoot notes the server's artifact root: the default experiment, which the
// server makes itself, lies directly below it.
func (p *poll) foundRoot(location string) {
	if root, ok := strings.CutSuffix(location, "/0"); ok {
		p.area.Root = root
	}
}

func (p *poll) experimentSeen(e *experiment) error {
	key := stateKey("e", p.ws, e.ID)
	record := p.get(key)
	observation := observed(e)
	if sameRecord(record, observation) {
		return p.err
	}
	s := p.experimentSubject(e)
	fill := func(ev *event.Event, d difference) {
		ev.ExperimentID, ev.TagKey = e.ID, tagKey(d.field)
	}
	var before experiment
	h, ok := decodeRecord(record, &before)
	if !ok {
		ev := p.begun("experiment.created", s)
		ev.ExperimentID, ev.Tags, ev.SourceURI = e.ID, listed(e.Tags), e.Location
		return p.add(change{events: []told{{ev, callOf("POST experiments/create")}}, writes: []write{{key, encodeRecord(head{}, observation)}}})
	}
	var list []difference
	if before.Name != e.Name {
		list = append(list, difference{operation: "experiment.renamed", field: "name", before: before.Name, after: e.Name, dated: true, cause: callOf("POST experiments/update")})
	}
	switch {
	case e.Deleted && !before.Deleted:
		list = append(list, difference{operation: "experiment.deleted", dated: true, cause: callOf("POST experiments/delete")})
	case !e.Deleted && before.Deleted:
		list = append(list, difference{operation: "experiment.restored", field: "status", before: "deleted", after: "active", dated: true, cause: callOf("POST experiments/restore")})
	}
	list = append(list, tagDifferences(before.Tags, e.Tags, "experiment.tag_set", "experiment.tag_deleted",
		callOf("POST experiments/set-experiment-tag"), callOf("DELETE experiments/delete-experiment-tag", "POST experiments/delete-experiment-tag"))...)
	c := change{events: p.differences(s, &h, e.Updated, list, fill)}
	c.writes = []write{{key, encodeRecord(h, observation)}}
	return p.add(c)
}

// experimentGone tells of an experiment that was removed for good.
func (p *poll) experimentGone(e *experiment) error {
	key := stateKey("e", p.ws, e.ID)
	h, _ := decodeRecord(p.get(key), e)
	c := change{writes: []write{{key, nil}}}
	if !e.Deleted {
		s := p.experimentSubject(e)
		ev := p.event("experiment.deleted", s)
		ev.ExperimentID = e.ID
		p.bound(&ev, e.Created)
		identify(&ev, s, h.Changes+1)
		c.events = []told{{ev, callOf("POST experiments/delete")}}
	}
	return p.add(c)
}

// experiments returns the ids of all experiments, or of those whose runs are
// read.
func (p *poll) experiments(watched bool) []string {
	var ids []string
	p.each(within("e", p.ws), func(_ string, record []byte) {
		var e experiment
		if _, ok := decodeRecord(record, &e); ok && (!watched || p.c.watches(e.Name)) {
			ids = append(ids, e.ID)
		}
	})
	return ids
}

func (c *Collector) watches(name string) bool {
	return len(c.cfg.Experiments) == 0 || slices.ContainsFunc(c.cfg.Experiments, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return err == nil && ok || pattern == "*"
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
