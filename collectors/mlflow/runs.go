package mlflow

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"aiwatch/internal/event"
)

const (
	runPage  = 1000 // of 50,000 allowed
	runBatch = 100  // runs that one request asks for by their ids
	idChunk  = 5000 // experiments that one request names
)

// A run is what the server says of one.
type run struct {
	ID         string            `json:"id"`
	Name       string            `json:"name,omitempty"`
	Experiment string            `json:"experiment,omitempty"`
	User       string            `json:"user,omitempty"`
	Status     string            `json:"status,omitempty"`
	Start      int64             `json:"start,omitempty"`
	End        int64             `json:"end,omitempty"`
	Artifacts  string            `json:"artifacts,omitempty"`
	Deleted    bool              `json:"deleted,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Params     map[string]string `json:"params,omitempty"`
	Metrics    map[string]string `json:"metrics,omitempty"`
	Data       []dataset         `json:"data,omitempty"`
	Model      string            `json:"model,omitempty"` // the logged model that it used, where that is one
}

// A dataset is what a run says that it used.
type dataset struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	SourceType string `json:"type,omitempty"`
	Source     string `json:"source,omitempty"`
	Context    string `json:"context,omitempty"`
}

func (r *runJSON) observe() run {
	o := run{
		ID: short(r.id()), Name: short(r.Info.Name), Experiment: short(string(r.Info.Experiment)), User: short(r.Info.User),
		Status: short(r.Info.Status), Start: int64(r.Info.Start), End: int64(r.Info.End), Artifacts: short(r.Info.Artifacts),
		Deleted: r.Info.Lifecycle == "deleted", Tags: pairs(r.Data.Tags), Params: pairs(r.Data.Params),
	}
	if len(r.Data.Metrics) > 0 {
		o.Metrics = map[string]string{}
		for _, m := range r.Data.Metrics {
			o.Metrics[short(m.Key)] = short(strings.Trim(string(m.Value), `"`))
		}
		o.Metrics = limited(o.Metrics)
	}
	for i := range min(len(r.Inputs.Datasets), 100) {
		in := &r.Inputs.Datasets[i]
		d := dataset{
			Name: short(in.Dataset.Name), Digest: short(in.Dataset.Digest),
			SourceType: short(in.Dataset.SourceType), Source: short(in.Dataset.Source),
		}
		for _, t := range in.Tags {
			if t.Key == "mlflow.data.context" {
				d.Context = short(string(t.Value))
			}
		}
		o.Data = append(o.Data, d)
	}
	if len(r.Inputs.Models) == 1 {
		o.Model = short(r.Inputs.Models[0].ID)
	}
	slices.SortFunc(o.Data, func(a, b dataset) int {
		return strings.Compare(a.Name+"\x00"+a.Digest+"\x00"+a.Context, b.Name+"\x00"+b.Digest+"\x00"+b.Context)
	})
	return o
}

func (r *run) ended() bool {
	return r.Status == "FINISHED" || r.Status == "FAILED" || r.Status == "KILLED"
}

func (p *poll) runSubject(r *run) subject {
	return subject{kind: "run", id: p.asset("runs", r.ID), name: r.ID, created: r.Start}
}

func (p *poll) runKey(id string) string { return stateKey("r", p.ws, id) }

// openRun is how long what was told of a run that has not ended is remembered:
// its end brings it up again. A run whose client died never ends, and what is
// known of it must not be kept for ever.
const openRun = 30 * 24 * time.Hour

// sighting is what was told of a run in the window that each poll reads again,
// or that may come up again when it ends.
type sighting struct {
	At      int64    `json:"at"`
	Created bool     `json:"created,omitempty"`
	Ended   bool     `json:"ended,omitempty"`
	Data    []string `json:"data,omitempty"`
}

// readRuns tells which runs began and ended since the last poll, as their
// clients date it.
func (p *poll) readRuns() error {
	if p.area.Runs == 0 && !p.c.cfg.Backfill && p.c.cfg.Runs != RunsAll {
		p.area.Runs = p.area.Contact
	}
	from := max(0, p.area.Runs-skew.Milliseconds())
	if !p.c.cfg.Backfill && p.c.cfg.Runs != RunsAll {
		from = max(from, p.area.Contact) // what was before is inventory
	}
	ids := p.experiments(true)
	for chunk := range slices.Chunk(ids, idChunk) {
		for _, field := range []string{"start_time", "end_time"} {
			if field == "end_time" && from == 0 {
				continue // all runs were read by their start
			}
			r := p.at(request{method: "POST", path: api + "runs/search", body: map[string]any{
				"experiment_ids": chunk, "run_view_type": "ALL", "max_results": runPage,
				"filter":   fmt.Sprintf("attributes.%s >= %d", field, from),
				"order_by": []string{"attributes." + field + " ASC"},
			}})
			if err := each(p.ctx, p.c.client, r, "runs", func(j *runJSON) error {
				p.c.read(1, int64(max(j.Info.Start, j.Info.End)))
				o := j.observe()
				return p.runSighted(&o, from)
			}); err != nil {
				return fmt.Errorf("search runs: %w", err)
			}
		}
	}
	p.area.Runs = p.now.UnixMilli()
	forget := change{writes: []write{{p.areaKey(), observed(p.area)}}}
	p.each(within("s", p.ws), func(key string, value []byte) {
		var s sighting
		if json.Unmarshal(value, &s) != nil || s.At < from && (s.Ended || s.At < p.now.Add(-openRun).UnixMilli()) {
			forget.writes = append(forget.writes, write{key, nil})
		}
	})
	return p.add(forget)
}

// runSighted tells what is new of a run that began or ended lately.
func (p *poll) runSighted(r *run, from int64) error {
	key := stateKey("s", p.ws, r.ID)
	var was sighting
	p.load(key, &was)
	is := sighting{At: max(r.Start, r.End), Created: was.Created, Ended: was.Ended, Data: was.Data}
	var c change
	s := p.runSubject(r)
	old := r.Start <= p.contact() && !p.c.cfg.Backfill
	if !was.Created && r.Start >= from {
		is.Created = true
		if !old || p.c.cfg.Runs == RunsAll && p.get(p.runKey(r.ID)) == nil {
			ev := p.runEvent("run.created", s, r)
			if old {
				ev.Operation, ev.Action, ev.Evidence, ev.Status = inventory, "read", inventory, ""
				ev.TimeBasis, ev.ClaimedTime = "", event.Time{}
				ev.User, ev.UserID, ev.UserConfidence = "", "", ""
			}
			identify(&ev, s, 0)
			c.events = append(c.events, told{ev, callOf("POST runs/create")})
		}
	}
	if !was.Ended && r.ended() {
		is.Ended = true
		if r.End > p.contact() || p.c.cfg.Backfill {
			ev := p.runEvent("run.ended", s, r)
			ev.ClaimedTime = event.Millis(r.End)
			identify(&ev, s, 0)
			c.events = append(c.events, told{ev, callOf("POST runs/update")})
		}
	}
	for i := range r.Data {
		d := &r.Data[i]
		mark := d.Name + "\x00" + d.Digest + "\x00" + d.Context
		if !slices.Contains(is.Data, mark) {
			is.Data = append(is.Data, mark)
			c = p.datasetLogged(c, r, d, old && r.End <= p.contact())
		}
	}
	value := observed(is)
	if len(c.events) > 0 || string(value) != string(p.get(key)) {
		c.writes = append(c.writes, write{key, value})
	}
	if record := p.get(p.runKey(r.ID)); record == nil && p.c.cfg.Runs == RunsAll {
		c.writes = append(c.writes, write{p.runKey(r.ID), encodeRecord(head{Ended: r.ended()}, observed(r))})
	}
	if len(c.events)+len(c.writes) == 0 {
		return p.err
	}
	return p.add(c)
}

// runEvent is about a run, with the times and the user that its client claims.
func (p *poll) runEvent(operation string, s subject, r *run) event.Event {
	ev := p.event(operation, s)
	ev.TimeBasis, ev.ClaimedTime = claimed, event.Millis(r.Start)
	p.describeRun(&ev, r)
	ev.Tags = listed(r.Tags)
	p.claim(&ev, r)
	return ev
}

// claim names whom a run's client said to be. No rule makes that more than a
// claim.
func (p *poll) claim(ev *event.Event, r *run) {
	if r.User != "" {
		ev.UserID, ev.UserConfidence = r.User, claimed
		ev.User, ev.UserType, _ = p.c.cfg.Identity.Resolve(r.User)
	}
}

// describeRun puts what is known of a run into an event.
func (p *poll) describeRun(ev *event.Event, r *run) {
	ev.RunID, ev.ExperimentID, ev.RunStatus, ev.LoggedModelID = r.ID, r.Experiment, r.Status, r.Model
	if r.Start > 0 {
		ev.RunStart = event.Millis(r.Start)
	}
	if r.End > 0 {
		ev.RunEnd = event.Millis(r.End)
	}
	p.origin(ev, r)
}

// datasetLogged tells that a run used a dataset, and when its digest is another
// one than the last run's for a dataset of this name, from this source, for this
// purpose: training and test data may well share a name.
func (p *poll) datasetLogged(c change, r *run, d *dataset, quiet bool) change {
	key := stateKey("d", p.ws, d.Name, digest([]byte(d.Context + "\x00" + d.Source))[:16])
	var before dataset
	h, known := decodeRecord(p.get(key), &before)
	s := subject{kind: "dataset", id: p.asset("datasets", d.Name), name: d.Name}
	fill := func(ev *event.Event) {
		p.describeRun(ev, r)
		ev.AssetVersion = d.Digest
		ev.DatasetName, ev.DatasetDigest, ev.DatasetContext, ev.DatasetSource, ev.SourceType = d.Name, d.Digest, d.Context, d.Source, d.SourceType
		p.bound(ev, 0)
	}
	if !quiet {
		ev := p.event("dataset.logged", s)
		fill(&ev)
		p.claim(&ev, r)
		identify(&ev, s, 0, r.ID, d.Digest, d.Context)
		c.events = append(c.events, told{ev, callOf("POST runs/log-inputs")})
	} else if !known || before.Digest != d.Digest {
		ev := p.event(inventory, s)
		fill(&ev)
		ev.Evidence, ev.NotBefore = inventory, event.Time{}
		identify(&ev, s, 0, d.Digest, d.Context, d.Source)
		c.events = append(c.events, told{event: ev})
	}
	if known && before.Digest != d.Digest && !quiet {
		h.Changes++
		ev := p.event("dataset.digest_changed", s)
		ev.ChangeField = "digest"
		values(&ev, before.Digest, d.Digest)
		fill(&ev)
		p.claim(&ev, r)
		identify(&ev, s, h.Changes, d.Context, d.Source)
		c.events = append(c.events, told{ev, callOf("POST runs/log-inputs")})
	}
	if !known || before != *d {
		c.writes = append(c.writes, write{key, encodeRecord(h, observed(d))})
		p.overlay[key] = c.writes[len(c.writes)-1].value
	}
	return c
}

// readRunsOf reads the runs behind versions that are not known yet, so that the
// versions' events can tell their lineage.
func (p *poll) readRunsOf(versions []version) error {
	var ids []string
	seen := map[string]bool{}
	for i := range versions {
		if id := versions[i].RunID; isID(id) && !seen[id] && p.get(p.runKey(id)) == nil {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return p.fetchRuns(ids, p.runRegistered, p.passedRun)
}

// passedRun asks for a run that no known experiment holds, because that is newer
// than what we know, before it is said that there is none.
func (p *poll) passedRun(id string) error {
	if p.budget <= p.c.cfg.RequestsPerSweep/10 {
		p.area.Lacking = true
		return nil
	}
	r, err := p.getRun(id)
	if isGone(err) || isDenied(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the run behind a version: %w", err)
	}
	return p.runRegistered(&r)
}

func (p *poll) getRun(id string) (run, error) {
	p.budget--
	var answer struct {
		Run runJSON `json:"run"`
	}
	err := p.c.client.get(p.ctx, p.at(request{path: api + "runs/get", query: query("run_id", id)}), &answer)
	return answer.Run.observe(), err
}

// fetchRuns reads runs by their ids, as many as the budget allows. absent is
// called for those that the server does not list.
func (p *poll) fetchRuns(ids []string, visit func(*run) error, absent func(id string) error) error {
	if len(ids) == 0 {
		return nil
	}
	experiments := p.experiments(false)
	for batch := range slices.Chunk(ids, runBatch) {
		if p.budget <= p.c.cfg.RequestsPerSweep/10 {
			p.area.Lacking = true
			p.lacks("runs behind registered versions wait to be read, for requests_per_sweep")
			return nil
		}
		found := map[string]bool{}
		var runs []run
		for chunk := range slices.Chunk(experiments, idChunk) {
			p.budget--
			r := p.at(request{method: "POST", path: api + "runs/search", body: map[string]any{
				"experiment_ids": chunk, "run_view_type": "ALL", "max_results": runPage,
				"filter": "attributes.run_id IN ('" + strings.Join(batch, "','") + "')",
			}})
			if err := each(p.ctx, p.c.client, r, "runs", func(j *runJSON) error {
				p.c.read(1, 0)
				o := j.observe()
				if slices.Contains(batch, o.ID) && !found[o.ID] {
					found[o.ID] = true
					runs = append(runs, o)
				}
				return nil
			}); err != nil {
				return fmt.Errorf("read runs behind versions: %w", err)
			}
		}
		// In the order in which they began: the data of the last one is the newest.
		slices.SortFunc(runs, func(a, b run) int { return cmp.Or(cmp.Compare(a.Start, b.Start), strings.Compare(a.ID, b.ID)) })
		for i := range runs {
			if err := visit(&runs[i]); err != nil {
				return err
			}
		}
		for _, id := range batch {
			if !found[id] && absent != nil {
				if err := absent(id); err != nil {
					return err
				}
			}
		}
	}
	return p.err
}

// isID tells whether s looks like an id that MLflow made, which may stand in a
// filter.
func isID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// runRegistered remembers a run that stands behind a version.
func (p *poll) runRegistered(r *run) error {
	key := p.runKey(r.ID)
	if p.get(key) != nil {
		return p.err
	}
	c := change{}
	if !p.c.cfg.Backfill && r.Start <= p.contact() {
		s := p.runSubject(r)
		ev := p.event(inventory, s)
		ev.Evidence = inventory
		p.describeRun(&ev, r)
		ev.Tags = listed(r.Tags)
		identify(&ev, s, 0)
		c.events = append(c.events, told{event: ev})
		for i := range r.Data {
			c = p.datasetLogged(c, r, &r.Data[i], true)
		}
	}
	c.writes = append(c.writes, write{key, encodeRecord(head{Ended: r.ended()}, observed(r))})
	return p.add(c)
}

// rereadRuns reads remembered runs again, in rotation under the budget.
func (p *poll) rereadRuns() error {
	if p.c.cfg.Runs == RunsNone {
		return nil
	}
	if err := p.readLacking(); err != nil {
		return err
	}
	// A fifth of the requests, the rest is for artifacts and grants.
	ids, all := p.rotation("r", "r", max(1, p.c.cfg.RequestsPerSweep/runShare)*runBatch, func([]byte) bool { return true })
	if len(ids) > 0 {
		p.turnAt("r", ids[len(ids)-1])
	}
	p.turns("runs behind versions are read again", len(ids), all)
	return p.fetchRuns(ids, p.runAgain, func(id string) error {
		r, err := p.getRun(id)
		switch {
		case isGone(err):
			return p.runGone(id)
		case isDenied(err):
			p.lacks("runs behind registered versions are hidden from the account")
			return nil
		case err != nil:
			return fmt.Errorf("read a run again: %w", err)
		}
		return p.runAgain(&r)
	})
}

// runShare is the part of requests_per_sweep that runs may take.
const runShare = 5

// readLacking reads the runs behind versions for which the budget of an earlier
// sweep had no room.
func (p *poll) readLacking() error {
	if !p.area.Lacking {
		return nil
	}
	var ids []string
	seen := newSet()
	p.each(within("v", p.ws), func(_ string, record []byte) {
		var v struct {
			RunID string `json:"run"`
		}
		if len(ids) >= p.budget*runBatch {
			return
		}
		if _, ok := decodeRecord(record, &v); ok && isID(v.RunID) && !seen.has(v.RunID) {
			seen.add(v.RunID)
			if p.get(p.runKey(v.RunID)) == nil {
				ids = append(ids, v.RunID)
			}
		}
	})
	p.area.Lacking = false
	return p.fetchRuns(ids, p.runRegistered, nil)
}

// rotation returns the last parts of the keys of a kind whose values are wanted
// and that are next in turn, n at most, and of how many that is.
func (p *poll) rotation(kind, turn string, n int, wanted func(value []byte) bool) (ids []string, all int) {
	prefix := within(kind, p.ws)
	after := p.area.Turn[turn]
	var head, tail []string
	p.each(prefix, func(key string, value []byte) {
		if !wanted(value) {
			return
		}
		id := key[len(prefix):]
		all++
		switch {
		case id > after && len(tail) < n:
			tail = append(tail, id)
		case id <= after && len(head) < n:
			head = append(head, id)
		}
	})
	slices.Sort(tail)
	slices.Sort(head)
	ids = append(tail, head...)
	if len(ids) > n {
		ids = ids[:n]
	}
	return ids, all
}

// turnAt notes up to where the rotation of a kind has come.
func (p *poll) turnAt(kind, id string) {
	if p.area.Turn == nil {
		p.area.Turn = map[string]string{}
	}
	p.area.Turn[kind] = id
}

// turns notes how old what we know of a kind may get under the budget.
func (p *poll) turns(what string, n, all int) {
	if n > 0 && n < all {
		p.notes(fmt.Sprintf("requests_per_sweep = %d: %s every %s", p.c.cfg.RequestsPerSweep, what, time.Duration((all+n-1)/n)*p.c.cfg.Interval))
	}
}

// runAgain compares a run with what is remembered of it.
func (p *poll) runAgain(r *run) error {
	key := p.runKey(r.ID)
	record := p.get(key)
	observation := observed(r)
	if sameRecord(record, observation) {
		return p.err
	}
	var before run
	h, ok := decodeRecord(record, &before)
	if !ok {
		return p.runRegistered(r)
	}
	s := p.runSubject(&before)
	var list []difference
	switch {
	case r.Deleted && !before.Deleted:
		list = append(list, difference{operation: "run.deleted", cause: callOf("POST runs/delete", "POST experiments/delete")})
	case !r.Deleted && before.Deleted:
		list = append(list, difference{operation: "run.restored", field: "status", before: "deleted", after: "active", cause: callOf("POST runs/restore", "POST experiments/restore")})
	}
	if h.Ended {
		list = append(list, runEdits(&before, r)...)
	}
	h.Ended = h.Ended || r.ended()
	c := change{events: p.differences(s, &h, 0, list, func(ev *event.Event, d difference) {
		p.describeRun(ev, r)
		ev.ModelName, ev.ModelVersion = p.standing(r.ID)
		ev.TagKey = tagKey(d.field)
		if d.field == "inputs" && len(r.Data) > 0 {
			ev.DatasetName, ev.DatasetDigest = r.Data[0].Name, r.Data[0].Digest
		}
	})}
	c.writes = []write{{key, encodeRecord(h, observation)}}
	return p.add(c)
}

// runEdits are the changes of a run that has ended.
func runEdits(before, r *run) []difference {
	const edited = "run.edited_after_end"
	var list []difference
	update := callOf("POST runs/update")
	for _, f := range []struct{ field, before, after string }{
		{"status", before.Status, r.Status},
		{"end_time", millis(before.End), millis(r.End)},
		{"name", before.Name, r.Name},
		{"source", before.Artifacts, r.Artifacts},
	} {
		if f.before != f.after {
			list = append(list, difference{operation: edited, field: f.field, before: f.before, after: f.after, cause: update})
		}
	}
	if was, is := dataList(before.Data), dataList(r.Data); was != is {
		list = append(list, difference{operation: edited, field: "inputs", before: was, after: is, cause: callOf("POST runs/log-inputs")})
	}
	for _, m := range []struct {
		prefix        string
		before, after map[string]string
		cause         cause
	}{
		{"tags.", before.Tags, r.Tags, callOf("POST runs/set-tag", "POST runs/delete-tag", "POST runs/log-batch", "POST runs/update")},
		{"params.", before.Params, r.Params, callOf("POST runs/log-parameter", "POST runs/log-batch")},
		{"metrics.", before.Metrics, r.Metrics, callOf("POST runs/log-metric", "POST runs/log-batch")},
	} {
		for _, k := range bothKeys(m.before, m.after) {
			if m.before[k] != m.after[k] {
				list = append(list, difference{operation: edited, field: m.prefix + k, before: m.before[k], after: m.after[k], cause: m.cause})
			}
		}
	}
	return list
}

func dataList(data []dataset) string {
	var list []string
	for _, d := range data {
		list = append(list, d.Name+"@"+d.Digest)
	}
	return short(strings.Join(list, ", "))
}

// millis writes a moment as the server does, empty when there is none.
func millis(ms int64) string {
	if ms == 0 {
		return ""
	}
	return fmt.Sprint(ms)
}

// runGone tells of a run that was removed for good.
func (p *poll) runGone(id string) error {
	var r run
	h, ok := decodeRecord(p.get(p.runKey(id)), &r)
	if !ok {
		return p.err
	}
	c := change{writes: []write{{p.runKey(id), nil}}}
	if !r.Deleted {
		c.events = p.differences(p.runSubject(&r), &h, 0, []difference{{operation: "run.deleted", cause: callOf("POST runs/delete")}}, func(ev *event.Event, _ difference) {
			p.describeRun(ev, &r)
			ev.ModelName, ev.ModelVersion = p.standing(r.ID)
		})
	}
	return p.add(c)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
