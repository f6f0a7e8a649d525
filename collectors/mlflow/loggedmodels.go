package mlflow

import (
	"fmt"
	"net/url"
	"slices"

	"aiwatch/internal/event"
)

// loggedModelPage is how many logged models a page holds.
const loggedModelPage = 1000

// A loggedModel is what a 3.x server says of one.
type loggedModel struct {
	ID         string            `json:"id"`
	Name       string            `json:"name,omitempty"`
	Experiment string            `json:"experiment,omitempty"`
	Created    int64             `json:"created"`
	Updated    int64             `json:"updated"`
	Status     string            `json:"status,omitempty"`
	RunID      string            `json:"run,omitempty"`
	Artifacts  string            `json:"artifacts,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
}

func (j *loggedModelJSON) observe() loggedModel {
	i := &j.Info
	return loggedModel{
		ID: short(i.ID), Name: short(i.Name), Experiment: short(string(i.Experiment)), Created: int64(i.Created), Updated: int64(i.Updated),
		Status: loggedModelStatus(string(i.Status)), RunID: short(i.RunID), Artifacts: short(i.Artifacts), Tags: pairs(i.Tags),
	}
}

// loggedModelStatus names a status in one way: JSON has LOGGED_MODEL_READY,
// READY, or the number of the enumeration.
func loggedModelStatus(s string) string {
	switch s {
	case "1", "LOGGED_MODEL_PENDING":
		return "PENDING"
	case "2", "LOGGED_MODEL_READY":
		return "READY"
	case "3", "LOGGED_MODEL_UPLOAD_FAILED":
		return "FAILED"
	}
	return short(s)
}

func (p *poll) loggedModelSubject(m *loggedModel) subject {
	return subject{kind: "logged_model", id: p.asset("logged-models", m.ID), name: m.ID, created: m.Created}
}

func (p *poll) sweepLoggedModels() error {
	if p.server.Major < 3 {
		return nil
	}
	seen := newSet()
	for chunk := range slices.Chunk(p.experiments(true), idChunk) {
		r := p.at(request{method: "POST", path: api + "logged-models/search", body: map[string]any{
			"experiment_ids": chunk, "max_results": loggedModelPage,
			"order_by": []map[string]any{{"field_name": "creation_timestamp", "ascending": true}},
		}})
		if err := each(p.ctx, p.c.client, r, "models", func(j *loggedModelJSON) error {
			p.c.read(1, int64(j.Info.Updated))
			m := j.observe()
			seen.add(stateKey("l", p.ws, m.ID))
			return p.loggedModelSeen(&m)
		}); err != nil {
			return fmt.Errorf("search logged models: %w", err)
		}
	}
	var missing []loggedModel
	p.each(within("l", p.ws), func(key string, record []byte) {
		var m loggedModel
		if _, ok := decodeRecord(record, &m); ok && !seen.has(key) {
			missing = append(missing, m)
		}
	})
	for i := range missing {
		if p.budget <= 0 {
			p.lacks("logged models that are no longer listed wait to be looked up, for requests_per_sweep")
			break
		}
		p.budget--
		m := &missing[i]
		var answer struct {
			Model loggedModelJSON `json:"model"`
		}
		err := p.c.client.get(p.ctx, p.at(request{path: api + "logged-models/" + url.PathEscape(m.ID)}), &answer)
		switch {
		case isGone(err):
			if err := p.loggedModelGone(m); err != nil {
				return err
			}
		case isDenied(err):
			p.lacks("logged models are hidden from the account")
		case err != nil:
			return fmt.Errorf("get a logged model that was not listed: %w", err)
		}
	}
	return p.err
}

func (p *poll) describeLoggedModel(ev *event.Event, m *loggedModel) {
	ev.LoggedModelID, ev.ExperimentID, ev.RunID, ev.SourceURI = m.ID, m.Experiment, m.RunID, m.Artifacts
	var r run
	if _, ok := decodeRecord(p.get(p.runKey(m.RunID)), &r); ok && m.RunID != "" {
		p.origin(ev, &r)
	}
}

func (p *poll) loggedModelSeen(m *loggedModel) error {
	key := stateKey("l", p.ws, m.ID)
	record, observation := p.get(key), observed(m)
	if sameRecord(record, observation) {
		return p.err
	}
	s := p.loggedModelSubject(m)
	var before loggedModel
	h, ok := decodeRecord(record, &before)
	if !ok {
		ev := p.begun("logged_model.created", s)
		p.describeLoggedModel(&ev, m)
		ev.Tags = listed(m.Tags)
		return p.add(change{events: []told{{ev, callOf("POST logged-models")}}, writes: []write{{key, encodeRecord(head{}, observation)}}})
	}
	var list []difference
	if before.Status != m.Status || before.Updated != m.Updated {
		// Only finalizing bumps the date, a second time as well.
		list = append(list, difference{operation: "logged_model.finalized", field: "status", before: before.Status, after: m.Status, dated: true, cause: callAt("PATCH logged-models", m.ID)})
	}
	list = append(list, tagDifferences(before.Tags, m.Tags, "logged_model.tag_set", "logged_model.tag_deleted",
		callAt("PATCH logged-models", m.ID), callAt("DELETE logged-models", m.ID))...)
	c := change{events: p.differences(s, &h, m.Updated, list, func(ev *event.Event, d difference) {
		p.describeLoggedModel(ev, m)
		ev.TagKey = tagKey(d.field)
	})}
	c.writes = []write{{key, encodeRecord(h, observation)}}
	return p.add(c)
}

func (p *poll) loggedModelGone(m *loggedModel) error {
	key := stateKey("l", p.ws, m.ID)
	h, _ := decodeRecord(p.get(key), m)
	s := p.loggedModelSubject(m)
	ev := p.event("logged_model.deleted", s)
	p.describeLoggedModel(&ev, m)
	p.bound(&ev, m.Created)
	identify(&ev, s, h.Changes)
	return p.add(change{events: []told{{ev, callAt("DELETE logged-models", m.ID)}}, writes: []write{{key, nil}}})
}
