package mlflow

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"

	"aiwatch/internal/event"
)

// promptTag marks a registered model that is a prompt. Searches hide prompts
// unless the filter asks for them, so that everything is swept twice.
const promptTag = "mlflow.prompt.is_prompt"

const promptFilter = "tags.`" + promptTag + "` = 'true'"

// versionPage is how many versions a page holds; servers allow 200,000.
const versionPage = 10_000

// modelPage is how many models a page holds: 2.x needs nine seconds for 1000.
func (p *poll) modelPage() int {
	if p.server.Major < 3 {
		return 100
	}
	return 1000
}

// A model is what the server says of a registered model or prompt.
type model struct {
	Created     int64             `json:"created"`
	Updated     int64             `json:"updated"`
	Prompt      bool              `json:"prompt,omitempty"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Aliases     map[string]string `json:"aliases,omitempty"`
	Name        string            `json:"name"`
}

func (m *modelJSON) observe() model {
	o := model{
		Name: m.Name, Created: int64(m.Created), Updated: int64(m.Updated),
		Description: short(m.Description), Tags: pairs(m.Tags),
	}
	if len(m.Aliases) > 0 {
		o.Aliases = map[string]string{}
		for _, a := range m.Aliases {
			o.Aliases[short(a.Alias)] = string(a.Version)
		}
		o.Aliases = limited(o.Aliases)
	}
	o.Prompt = o.Tags[promptTag] == "true"
	return o
}

// A version is what the server says of a model version.
type version struct {
	Created     int64             `json:"created"`
	Updated     int64             `json:"updated"`
	Prompt      bool              `json:"prompt,omitempty"`
	Stage       string            `json:"stage,omitempty"`
	Description string            `json:"description,omitempty"`
	Source      string            `json:"source,omitempty"`
	RunID       string            `json:"run,omitempty"`
	Status      string            `json:"status,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Model       string            `json:"model"`
	Number      string            `json:"number"`

	sum string // of what it was listed as; empty when it was got by itself
}

func (v *versionJSON) observe() version {
	o := version{
		Model: v.Name, Number: short(string(v.Version)), Created: int64(v.Created), Updated: int64(v.Updated),
		Stage: short(v.Stage), Description: short(v.Description), Source: short(v.Source),
		RunID: short(v.RunID), Status: short(v.Status), Tags: pairs(v.Tags),
	}
	if o.Stage == "None" {
		o.Stage = ""
	}
	o.Prompt = o.Tags[promptTag] == "true"
	return o
}

func (p *poll) modelSubject(m *model) subject {
	s := subject{kind: "model", id: p.asset("models", m.Name), name: m.Name, created: m.Created}
	if m.Prompt {
		s.kind, s.id = "prompt", p.asset("prompts", m.Name)
	}
	return s
}

func (p *poll) versionSubject(v *version) subject {
	kind := "models"
	if v.Prompt {
		kind = "prompts"
	}
	return subject{kind: "model_version", id: p.asset(kind, v.Model, v.Number), name: v.Model, created: v.Created}
}

func (p *poll) modelKey(name string) string { return stateKey("m", p.ws, name) }
func (p *poll) versionKey(model, number string) string {
	return stateKey("v", p.ws, model, number)
}

// A set holds keys by their hash, which is enough to know that one was seen.
type set struct {
	seed maphash.Seed
	m    map[uint64]struct{}
}

func newSet() *set                 { return &set{maphash.MakeSeed(), map[uint64]struct{}{}} }
func (s *set) add(key string)      { s.m[maphash.String(s.seed, key)] = struct{}{} }
func (s *set) has(key string) bool { _, ok := s.m[maphash.String(s.seed, key)]; return ok }

// sweepRegistry compares all models and versions with what is remembered.
func (p *poll) sweepRegistry() error {
	p.postpone = true
	seen := newSet()
	var arrived []model
	for _, prompts := range []bool{false, true} {
		if err := p.searchModels(prompts, p.modelPage(), "name ASC", func(m *model) error {
			if key := p.modelKey(m.Name); !seen.has(key) {
				seen.add(key)
				if !p.known(m) {
					arrived = append(arrived, *m)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	emptied, err := p.emptied(len(seen.m))
	if err != nil || emptied {
		return err
	}
	arrived, err = p.missingModels(seen, arrived)
	if err != nil {
		return err
	}
	for i := range arrived {
		if err := p.modelArrived(&arrived[i]); err != nil {
			return err
		}
	}
	return p.sweepVersions()
}

// searchModels visits models or prompts. visit may make no request: a server
// that works on one at a time would wait for us.
func (p *poll) searchModels(prompts bool, size int, order string, visit func(*model) error) error {
	q := query("max_results", strconv.Itoa(size), "order_by", order)
	if prompts {
		q.Set("filter", promptFilter)
	}
	err := each(p.ctx, p.c.client, p.at(request{path: api + "registered-models/search", query: q}), "registered_models", func(m *modelJSON) error {
		p.c.read(1, int64(m.Updated))
		o := m.observe()
		return errors.Join(visit(&o), p.err)
	})
	if err != nil {
		return fmt.Errorf("search registered models: %w", err)
	}
	return nil
}

// known compares a model with what is remembered under its name and adds the
// change. It is false when nothing is: then it has come to be, or was renamed.
func (p *poll) known(m *model) bool {
	key := p.modelKey(m.Name)
	record := p.get(key)
	if record == nil {
		return false
	}
	observation := observed(m)
	if sameRecord(record, observation) {
		return true
	}
	var before model
	h, ok := decodeRecord(record, &before)
	if !ok || before.Created != m.Created {
		return false
	}
	if p.postpone && p.postponed < maxPageBytes && !maps.Equal(before.Aliases, m.Aliases) {
		p.later = append(p.later, *m)
		p.postponed += len(observation)
		return true
	}
	p.changedModel(&before, m, h)
	return true
}

// tellLater tells what was postponed: an alias tells of the version that it
// stands for, which must be known by then. One that went with its version, which
// is not among the listed, is told with that.
func (p *poll) tellLater(listed *listing) error {
	later := p.later
	p.later, p.postpone, p.postponed = nil, false, 0
	for i := range later {
		m := &later[i]
		for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
			if number := m.Aliases[alias]; p.get(p.versionKey(m.Name, number)) == nil {
				if err := p.passedOver(m.Name, number); err != nil {
					return err
				}
			}
		}
		var before model
		_, _ = decodeRecord(p.get(p.modelKey(m.Name)), &before)
		for alias, number := range before.Aliases {
			key := p.versionKey(m.Name, number)
			if m.Aliases[alias] == "" && listed != nil && !listed.has(key, p.get(key)) && before.Created == m.Created {
				if m.Aliases == nil {
					m.Aliases = map[string]string{}
				}
				m.Aliases[alias] = number
			}
		}
		p.known(m)
	}
	return p.err
}

// passedOver asks for a version that an alias stands for and that no listing
// had.
func (p *poll) passedOver(model, number string) error {
	v, err := p.getVersion(model, number)
	if isGone(err) || isDenied(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get the version of an alias: %w", err)
	}
	if err := p.readRunsOf([]version{v}); err != nil {
		return err
	}
	return p.versionSeen(&v)
}

func (p *poll) getVersion(model, number string) (version, error) {
	var answer struct {
		Version versionJSON `json:"model_version"`
	}
	err := p.c.client.get(p.ctx, p.at(request{path: api + "model-versions/get", query: query("name", model, "version", number)}), &answer)
	return answer.Version.observe(), err
}

// changedModel tells what changed of a model.
func (p *poll) changedModel(before, m *model, h head) {
	h.Hidden = false
	if len(h.Dangling) > 0 {
		for alias, number := range h.Dangling {
			if m.Aliases[alias] == number {
				delete(m.Aliases, alias)
			} else {
				delete(h.Dangling, alias)
			}
		}
	}
	var list []difference
	if before.Description != m.Description {
		list = append(list, difference{operation: "model.description_changed", field: "description", before: before.Description, after: m.Description, cause: callOf("PATCH registered-models/update")})
	}
	list = append(list, tagDifferences(before.Tags, m.Tags, "model.tag_set", "model.tag_deleted",
		callOf("POST registered-models/set-tag"), callOf("DELETE registered-models/delete-tag"))...)
	s := p.modelSubject(m)
	c := change{events: p.differences(s, &h, m.Updated, list, func(ev *event.Event, d difference) { ev.TagKey, ev.ModelName = tagKey(d.field), m.Name })}
	c.events = append(c.events, p.aliasEvents(before, m, &h)...)
	key, record := p.modelKey(m.Name), encodeRecord(h, observed(m))
	if len(c.events) == 0 && bytes.Equal(record, p.get(key)) {
		return
	}
	c.writes = []write{{key, record}}
	p.fail(p.add(c))
}

// aliasEvents tells which aliases were set, moved and deleted.
func (p *poll) aliasEvents(before, m *model, h *head) []told {
	var events []told
	for _, alias := range bothKeys(before.Aliases, m.Aliases) {
		old, now := before.Aliases[alias], m.Aliases[alias]
		if old == now {
			continue
		}
		d := difference{operation: "alias.set", field: "alias." + alias, before: old, after: now, cause: callOf("POST registered-models/alias")}
		number := now
		if now == "" {
			d.operation, number = "alias.deleted", old
			d.cause = callOf("DELETE registered-models/alias", "DELETE model-versions/delete")
		}
		events = append(events, p.aliasEvent(m, h, number, alias, d)...)
	}
	return events
}

func (p *poll) aliasEvent(m *model, h *head, number, alias string, d difference) []told {
	var v version
	vh, ok := decodeRecord(p.get(p.versionKey(m.Name, number)), &v)
	if !ok {
		v = version{Model: m.Name, Number: number, Prompt: m.Prompt}
	}
	s := p.versionSubject(&v)
	s.created = m.Created // an alias is the model's
	return p.differences(s, h, 0, []difference{d}, func(ev *event.Event, _ difference) {
		ev.Alias = alias
		p.describe(ev, &v, &vh)
	})
}

// describe puts what is known of a version, its run and its data into an event.
func (p *poll) describe(ev *event.Event, v *version, h *head) {
	ev.AssetVersion, ev.ModelName, ev.ModelVersion = v.Number, v.Model, v.Number
	ev.Stage, ev.RunID, ev.SourceURI, ev.RegisteredBy = v.Stage, v.RunID, v.Source, h.By
	p.lineage(ev, v)
}

// emptied tells whether the registry answers with nothing where there was
// something, which is told once instead of a deletion of all there was.
func (p *poll) emptied(seen int) (bool, error) {
	if seen > 0 {
		if p.area.Emptied {
			p.area.Emptied = false
			return false, p.put(p.areaKey(), p.area)
		}
		return false, nil
	}
	known := 0
	p.each(within("m", p.ws), func(string, []byte) { known++ })
	if known < 2 {
		return false, p.err // one model may well be deleted
	}
	if p.area.Emptied {
		return true, p.err
	}
	p.area.Emptied = true
	return true, p.registryEvent("registry.emptied", strconv.Itoa(known), "0")
}

// missingModels finds out what became of the models that a sweep did not see:
// deleted, renamed, hidden from us, or passed over by the paging. It returns
// what arrived and is no renamed model.
func (p *poll) missingModels(seen *set, arrived []model) ([]model, error) {
	var missing []model
	p.each(within("m", p.ws), func(key string, record []byte) {
		if !seen.has(key) {
			var m model
			if _, ok := decodeRecord(record, &m); ok {
				missing = append(missing, m)
			}
		}
	})
	// What has a known name and another creation date was deleted and created
	// again.
	for i := range arrived {
		var before model
		if h, ok := decodeRecord(p.get(p.modelKey(arrived[i].Name)), &before); ok {
			if err := p.modelGone(&before, h, arrived); err != nil {
				return nil, err
			}
		}
	}
	for i := range missing {
		if p.budget <= 0 {
			p.lacks("%d models that are no longer listed wait to be looked up, for requests_per_sweep", len(missing)-i)
			break
		}
		if err := p.missingModel(&missing[i], arrived); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(arrived, func(m model) bool { return p.get(p.modelKey(m.Name)) != nil && p.known(&m) }), p.err
}

// missingModel asks for one model that was not listed.
func (p *poll) missingModel(m *model, arrived []model) error {
	p.budget--
	now, err := p.getModel(m.Name)
	switch {
	case isGone(err):
		h, ok := decodeRecord(p.get(p.modelKey(m.Name)), m)
		if !ok {
			return p.err
		}
		return p.modelGone(m, h, arrived)
	case isDenied(err):
		h, ok := decodeRecord(p.get(p.modelKey(m.Name)), m)
		p.lacks("model %q is hidden from the account", m.Name)
		if !ok || h.Hidden {
			return p.err
		}
		h.Hidden = true
		h.Changes++
		ev := p.event("registry.hidden", subject{kind: event.Input})
		ev.ModelName = m.Name
		p.bound(&ev, 0)
		identify(&ev, p.modelSubject(m), h.Changes)
		return p.add(change{events: []told{{event: ev}}, writes: []write{{p.modelKey(m.Name), encodeRecord(h, observed(m))}}})
	case err != nil:
		return fmt.Errorf("get a model that was not listed: %w", err)
	}
	if !p.known(&now) {
		// Created again since it was searched for.
		if h, ok := decodeRecord(p.get(p.modelKey(m.Name)), m); ok {
			if err := p.modelGone(m, h, arrived); err != nil {
				return err
			}
		}
		return p.modelArrived(&now)
	}
	return p.err
}

func (p *poll) getModel(name string) (model, error) {
	var answer struct {
		Model modelJSON `json:"registered_model"`
	}
	err := p.c.client.get(p.ctx, p.at(request{path: api + "registered-models/get", query: query("name", name)}), &answer)
	return answer.Model.observe(), err
}

// modelGone tells that a model has another name now, if one of the arrived has
// its creation date, and that it was deleted otherwise.
func (p *poll) modelGone(m *model, h head, arrived []model) error {
	i := slices.IndexFunc(arrived, func(a model) bool {
		return a.Name != m.Name && a.Created == m.Created && a.Prompt == m.Prompt && p.get(p.modelKey(a.Name)) == nil
	})
	if i >= 0 {
		return p.renamed(m, h, &arrived[i])
	}
	var gone change
	var versions []version
	p.each(within("v", p.ws, m.Name), func(_ string, record []byte) {
		var v version
		if _, ok := decodeRecord(record, &v); ok {
			versions = append(versions, v)
		}
	})
	slices.SortFunc(versions, func(a, b version) int {
		return cmp.Or(cmp.Compare(len(a.Number), len(b.Number)), cmp.Compare(a.Number, b.Number))
	})
	aliases := maps.Clone(m.Aliases)
	for i := range versions {
		c := p.versionGone(&versions[i], m, &h, callOf("DELETE registered-models/delete"))
		gone.events, gone.writes = append(gone.events, c.events...), append(gone.writes, c.writes...)
	}
	s := p.modelSubject(m)
	ev := p.event("model.deleted", s)
	ev.ModelName, ev.Aliases = m.Name, listed(aliases)
	p.bound(&ev, m.Created)
	identify(&ev, s, h.Changes)
	gone.events = append(gone.events, told{ev, callOf("DELETE registered-models/delete")})
	gone.writes = append(gone.writes, write{p.modelKey(m.Name), nil})
	return p.add(gone)
}

// renamed tells the new name and moves what is remembered along.
func (p *poll) renamed(before *model, h head, m *model) error {
	d := difference{operation: "model.renamed", field: "name", before: before.Name, after: m.Name, dated: true, cause: callOf("POST registered-models/rename")}
	c := change{events: p.differences(p.modelSubject(m), &h, m.Updated, []difference{d}, func(ev *event.Event, _ difference) { ev.ModelName = m.Name })}
	was := *before
	was.Name = m.Name
	c.writes = []write{{p.modelKey(before.Name), nil}, {p.modelKey(m.Name), encodeRecord(h, observed(was))}}
	p.each(within("v", p.ws, before.Name), func(key string, record []byte) {
		var v version
		if vh, ok := decodeRecord(record, &v); ok {
			v.Model, vh.Sum = m.Name, ""
			c.writes = append(c.writes, write{key, nil}, write{p.versionKey(m.Name, v.Number), encodeRecord(vh, observed(v))})
		}
	})
	if err := p.add(c); err != nil {
		return err
	}
	p.known(m) // what else changed of it
	return p.err
}

// modelArrived tells that a model has come to be.
func (p *poll) modelArrived(m *model) error {
	s := p.modelSubject(m)
	ev := p.begun("model.created", s)
	ev.ModelName, ev.Tags = m.Name, listed(m.Tags)
	if ev.Operation == inventory {
		ev.Aliases = listed(m.Aliases)
		return p.add(change{events: []told{{event: ev}}, writes: []write{{p.modelKey(m.Name), encodeRecord(head{}, observed(m))}}})
	}
	// Aliases are acts of their own, whoever made the model.
	bare := *m
	bare.Aliases = nil
	if err := p.add(change{
		events: []told{{ev, callOf("POST registered-models/create")}},
		writes: []write{{p.modelKey(m.Name), encodeRecord(head{}, observed(bare))}},
	}); err != nil {
		return err
	}
	p.known(m)
	return p.err
}

// sweepVersions compares all versions with what is remembered.
func (p *poll) sweepVersions() error {
	listed := &listing{keys: newSet(), sums: map[sum]bool{}}
	p.each(within("v", p.ws), func(_ string, record []byte) {
		if s, ok := recordSum(record); ok {
			listed.sums[s] = false
		}
	})
	for _, prompts := range []bool{false, true} {
		if err := p.searchVersions(prompts, versionPage, "name ASC", "", listed, nil); err != nil {
			return err
		}
	}
	if err := p.tellLater(listed); err != nil {
		return err
	}
	var missing []version
	p.each(within("v", p.ws), func(key string, record []byte) {
		if !listed.has(key, record) {
			var v version
			if _, ok := decodeRecord(record, &v); ok {
				missing = append(missing, v)
			}
		}
	})
	for i := range missing {
		v := &missing[i]
		var m model
		if h, ok := decodeRecord(p.get(p.modelKey(v.Model)), &m); ok && h.Hidden {
			continue
		}
		if p.budget <= 0 {
			p.lacks("%d versions that are no longer listed wait to be looked up, for requests_per_sweep", len(missing)-i)
			break
		}
		p.budget--
		if err := p.missingVersion(v); err != nil {
			return err
		}
	}
	return p.err
}

// A listing is which versions a search has listed.
type listing struct {
	keys *set
	// sums are those of the versions that are remembered, true when one was
	// listed as before.
	sums map[sum]bool
}

func (l *listing) has(key string, record []byte) bool {
	s, ok := recordSum(record)
	return ok && l.sums[s] || l.keys.has(key)
}

// searchVersions visits versions and tells what is new of them, after each
// page, because telling may need requests of its own. listed and after may be
// nil; after ends the search by errStop.
func (p *poll) searchVersions(prompts bool, size int, order, filter string, listed *listing, after func(changed int) error) error {
	q := query("max_results", strconv.Itoa(size), "order_by", order)
	if prompts {
		filter = strings.TrimPrefix(filter+" AND "+promptFilter, " AND ")
	}
	if filter != "" {
		q.Set("filter", filter)
	}
	r := p.at(request{path: api + "model-versions/search", query: q})
	last := ""
	for range maxPages {
		var changed []version
		size := 0
		next, err := page(p.ctx, p.c.client, r, "model_versions", func(element *json.RawMessage) error {
			s := sumOf(*element)
			if listed != nil {
				if _, known := listed.sums[s]; known {
					listed.sums[s] = true
					p.c.read(1, 0)
					return nil
				}
			}
			var j versionJSON
			if err := json.Unmarshal(*element, &j); err != nil {
				return fmt.Errorf("read a model version: %w", err)
			}
			p.c.read(1, int64(j.Updated))
			v := j.observe()
			v.sum = hex.EncodeToString(s[:])
			key := p.versionKey(v.Model, v.Number)
			if listed != nil {
				listed.keys.add(key)
			}
			observation := observed(&v)
			if record := p.get(key); sameRecord(record, observation) {
				if was, ok := recordSum(record); ok && was == s {
					return p.err
				}
				h, _ := decodeRecord(record, &version{})
				h.Sum = v.sum
				return p.ledger.add(change{writes: []write{{key, encodeRecord(h, observation)}}})
			}
			if size += len(observation) + 200; size > maxPageBytes {
				return p.versionSeen(&v)
			}
			changed = append(changed, v)
			return p.err
		})
		if err != nil {
			return fmt.Errorf("search model versions: %w", err)
		}
		if err := p.readRunsOf(changed); err != nil {
			return err
		}
		for i := range changed {
			if err := p.versionSeen(&changed[i]); err != nil {
				return err
			}
		}
		if after != nil {
			if err := after(len(changed)); err != nil {
				if errors.Is(err, errStop) {
					return nil
				}
				return err
			}
		}
		if next == "" {
			return nil
		}
		if next == last {
			return fmt.Errorf("search model versions: the server repeats a page")
		}
		last = next
		r = r.atPage(next)
	}
	return fmt.Errorf("search model versions: over %d pages", maxPages)
}

// maxPageBytes is how much of a page is held until its runs are read; what is
// beyond goes without their lineage.
const maxPageBytes = 12 << 20

// versionSeen compares a version with what is remembered of it.
func (p *poll) versionSeen(v *version) error {
	key := p.versionKey(v.Model, v.Number)
	record := p.get(key)
	if record == nil {
		return p.versionArrived(v)
	}
	var before version
	h, ok := decodeRecord(record, &before)
	if !ok {
		return p.versionArrived(v)
	}
	if before.Created != v.Created {
		var m model
		mh, _ := decodeRecord(p.get(p.modelKey(v.Model)), &m)
		gone := p.versionGone(&before, &m, &mh, callOf("DELETE model-versions/delete"))
		if err := p.add(gone); err != nil {
			return err
		}
		return p.versionArrived(v)
	}
	var list []difference
	for _, f := range []struct {
		operation, field, before, after string
		dated                           bool
		cause                           cause
	}{
		{"version.stage_changed", "stage", before.Stage, v.Stage, true, callOf("POST model-versions/transition-stage")},
		{"version.source_changed", "source", before.Source, v.Source, false, cause{}},
		{"version.description_changed", "description", before.Description, v.Description, true, callOf("PATCH model-versions/update")},
		{"version.status_changed", "status", before.Status, v.Status, true, callOf("POST model-versions/finalize")},
	} {
		if f.before != f.after {
			list = append(list, difference{f.operation, f.field, f.before, f.after, f.dated, f.cause})
		}
	}
	list = append(list, tagDifferences(before.Tags, v.Tags, "version.tag_set", "version.tag_deleted",
		callOf("POST model-versions/set-tag"), callOf("DELETE model-versions/delete-tag"))...)
	s := p.versionSubject(v)
	c := change{events: p.differences(s, &h, v.Updated, list, func(ev *event.Event, d difference) {
		p.describe(ev, v, &h)
		ev.TagKey = tagKey(d.field)
	})}
	h.Sum = v.sum
	c.writes = []write{{key, encodeRecord(h, observed(v))}}
	return p.add(c)
}

// versionArrived tells that a version was registered.
func (p *poll) versionArrived(v *version) error {
	s := p.versionSubject(v)
	ev := p.begun("version.created", s)
	h := head{Sum: v.sum}
	p.describe(&ev, v, &h)
	ev.Tags = listed(v.Tags)
	cause := callOf("POST model-versions/create")
	if ev.Operation == inventory {
		cause.calls = nil
		var m model
		if _, ok := decodeRecord(p.get(p.modelKey(v.Model)), &m); ok {
			for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
				if m.Aliases[alias] == v.Number {
					ev.Aliases = append(ev.Aliases, alias)
				}
			}
		}
	}
	return p.add(change{events: []told{{ev, cause}}, writes: []write{{p.versionKey(v.Model, v.Number), encodeRecord(h, observed(v))}}})
}

// missingVersion asks for one version that was not listed.
func (p *poll) missingVersion(v *version) error {
	now, err := p.getVersion(v.Model, v.Number)
	switch {
	case isGone(err):
		var m model
		h, ok := decodeRecord(p.get(p.modelKey(v.Model)), &m)
		if !ok {
			m = model{Name: v.Model, Prompt: v.Prompt}
		}
		c := p.versionGone(v, &m, &h, callOf("DELETE model-versions/delete"))
		if ok {
			c.writes = append(c.writes, write{p.modelKey(m.Name), encodeRecord(h, observed(m))})
		}
		return p.add(c)
	case isDenied(err):
		p.lacks("versions of model %q are hidden from the account", v.Model)
		return nil
	case err != nil:
		return fmt.Errorf("get a version that was not listed: %w", err)
	}
	return p.versionSeen(&now)
}

// versionGone makes the change of a version's deletion, and of the aliases that
// went with it; m and h are those of its model and are changed.
func (p *poll) versionGone(v *version, m *model, h *head, by cause) change {
	var c change
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		if m.Aliases[alias] != v.Number {
			continue
		}
		d := difference{operation: "alias.deleted", field: "alias." + alias, before: v.Number, cause: by}
		c.events = append(c.events, p.aliasEvent(m, h, v.Number, alias, d)...)
		delete(m.Aliases, alias)
		if p.server.Major < 3 {
			if h.Dangling == nil {
				h.Dangling = map[string]string{}
			}
			h.Dangling[alias] = v.Number
		}
	}
	var vh head
	vh, _ = decodeRecord(p.get(p.versionKey(v.Model, v.Number)), &version{})
	s := p.versionSubject(v)
	ev := p.event("version.deleted", s)
	p.describe(&ev, v, &vh)
	p.bound(&ev, v.Created)
	identify(&ev, s, vh.Changes)
	c.events = append(c.events, told{ev, by})
	c.writes = append(c.writes, write{p.versionKey(v.Model, v.Number), nil})
	return c
}
