package mlflow

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"aiwatch/collectors"
)

// An owner is a run or logged model behind versions.
type owner struct {
	ID       string   `json:"id"`             // runs/<id>, logged-models/<id>
	Root     string   `json:"root,omitempty"` // of its artifacts; empty where they are not the versions'
	Versions []string `json:"versions"`       // model/number, newest last
	Alias    bool     `json:"alias,omitempty"`
	Listed   bool     `json:"listed,omitempty"`
}

// maxStanding is how many versions are kept with one run or logged model.
const maxStanding = 100

func (p *poll) ownerKey(id string) string { return stateKey("o", p.ws, id) }

// add takes a change, and marks the versions whose owners it may change.
func (p *poll) add(c change) error {
	if !p.area.Owned {
		return p.ledger.add(c)
	}
	for _, w := range slices.Clone(c.writes) {
		switch {
		case strings.HasPrefix(w.key, "v/"):
			var gone []byte
			if w.value == nil {
				var v version
				if _, ok := decodeRecord(p.get(w.key), &v); ok {
					gone = observed(v)
				}
			}
			key := "w" + w.key[1:]
			if mark := p.get(key); gone == nil && len(mark) > 1 {
				gone = mark[1:] // deleted and created again since
			}
			c.writes = append(c.writes, write{key, append([]byte{'\n'}, gone...)})
		case strings.HasPrefix(w.key, "m/"):
			var before, after model
			_, _ = decodeRecord(p.get(w.key), &before)
			_, _ = decodeRecord(w.value, &after)
			for _, alias := range bothKeys(before.Aliases, after.Aliases) {
				for _, m := range []*model{&before, &after} {
					if number := m.Aliases[alias]; number != "" && before.Aliases[alias] != after.Aliases[alias] {
						key := "w" + p.versionKey(m.Name, number)[1:]
						if p.get(key) == nil {
							c.writes = append(c.writes, write{key, []byte{'\n'}})
						}
					}
				}
			}
		}
	}
	return p.ledger.add(c)
}

// findOwners notes which runs and logged models stand behind versions: of all
// versions once, and later of those that were marked.
func (p *poll) findOwners() error {
	if !p.area.Owned {
		if err := p.findAllOwners(); err != nil {
			return err
		}
		p.area.Owned = !p.area.Lacking
		return p.put(p.areaKey(), p.area)
	}
	if p.area.Lacking { // the versions whose runs were not read are looked at again
		p.area.Owned = false
	}
	var marks []string
	var here, gone []version
	p.each(within("w", p.ws), func(key string, mark []byte) {
		marks = append(marks, key)
		var v version
		if _, ok := decodeRecord(p.get("v"+key[1:]), &v); ok {
			here = append(here, v)
		}
		if json.Unmarshal(mark, &v) == nil {
			gone = append(gone, v)
		}
	})
	// Who stays comes first: what was renamed is gone under its old name.
	for i := range here {
		for _, o := range p.behind(&here[i]) {
			if err := p.stand(&o); err != nil {
				return err
			}
		}
	}
	for i := range gone {
		if err := p.leave(&gone[i]); err != nil {
			return err
		}
	}
	c := change{}
	for _, key := range marks {
		c.writes = append(c.writes, write{key, nil})
	}
	return p.ledger.add(c)
}

// findAllOwners looks at every version. Two versions may stand on one run.
func (p *poll) findAllOwners() error {
	aliased := map[string]bool{}
	p.each(within("m", p.ws), func(_ string, record []byte) {
		var m model
		if bytes.Contains(record, []byte(`"aliases"`)) {
			if _, ok := decodeRecord(record, &m); ok {
				for _, number := range m.Aliases {
					aliased[m.Name+"/"+number] = true
				}
			}
		}
	})
	var found []owner
	at := map[string]int{}
	p.each(within("v", p.ws), func(_ string, record []byte) {
		var v version
		if _, ok := decodeRecord(record, &v); !ok {
			return
		}
		for _, o := range p.behind(&v) {
			o.Alias = aliased[o.Versions[0]]
			i, again := at[o.ID]
			if !again {
				var known owner
				if p.load(p.ownerKey(o.ID), &known) {
					if slices.Contains(known.Versions, o.Versions[0]) && known.Alias == o.Alias && known.Root == o.Root {
						continue
					}
					known.Alias = false
					found = append(found, known)
				} else {
					found = append(found, owner{ID: o.ID})
				}
				i = len(found) - 1
				at[o.ID] = i
			}
			found[i].join(&o)
		}
	})
	for i := range found {
		if err := p.put(p.ownerKey(found[i].ID), found[i]); err != nil {
			return err
		}
	}
	// Who left while nothing was marked.
	var left []string
	p.each(within("o", p.ws), func(_ string, value []byte) {
		var o owner
		if json.Unmarshal(value, &o) == nil && slices.ContainsFunc(o.Versions, func(name string) bool {
			return p.get(p.versionKey(splitVersion(name))) == nil
		}) {
			left = append(left, o.ID)
		}
	})
	for _, id := range left {
		if err := p.prune(id); err != nil {
			return err
		}
	}
	return p.err
}

// join adds a version to what stands on an owner.
func (o *owner) join(other *owner) {
	for _, name := range other.Versions {
		if !slices.Contains(o.Versions, name) {
			if len(o.Versions) >= maxStanding {
				o.Versions = o.Versions[1:]
			}
			o.Versions = append(o.Versions, name)
		}
	}
	o.Alias = o.Alias || other.Alias
	if other.Root != "" {
		o.Root = other.Root
	}
}

// behind is what a version stands on: its run, and the logged model that it was
// registered from, whose artifacts then are the version's.
func (p *poll) behind(v *version) []owner {
	if v.Prompt {
		return nil
	}
	var owners []owner
	name := []string{v.Model + "/" + v.Number}
	id, _, logged := loggedModelSource(v.Source)
	if isID(v.RunID) {
		var r run
		if _, known := decodeRecord(p.get(p.runKey(v.RunID)), &r); known {
			o := owner{ID: "runs/" + r.ID, Versions: name}
			if !logged {
				o.Root = r.Artifacts
			}
			owners = append(owners, o)
		}
	}
	if logged {
		var m loggedModel
		if _, known := decodeRecord(p.get(stateKey("l", p.ws, id)), &m); known {
			owners = append(owners, owner{ID: "logged-models/" + m.ID, Versions: name, Root: m.Artifacts})
		}
	}
	return owners
}

// stand notes a version with its owner, and whether any version of that owner
// has an alias.
func (p *poll) stand(o *owner) error {
	known := owner{ID: o.ID}
	p.load(p.ownerKey(o.ID), &known)
	known.join(o)
	known.Alias = slices.ContainsFunc(known.Versions, p.aliased)
	value := observed(known)
	if bytes.Equal(value, p.get(p.ownerKey(o.ID))) {
		return p.err
	}
	return p.ledger.add(change{writes: []write{{p.ownerKey(o.ID), value}}})
}

func (p *poll) aliased(version string) bool {
	name, number := splitVersion(version)
	var m model
	_, ok := decodeRecord(p.get(p.modelKey(name)), &m)
	for _, n := range m.Aliases {
		if ok && n == number {
			return true
		}
	}
	return false
}

// leave forgets a version that is gone.
func (p *poll) leave(v *version) error {
	ids := []string{"runs/" + v.RunID}
	if id, _, ok := loggedModelSource(v.Source); ok {
		ids = append(ids, "logged-models/"+id)
	}
	for _, id := range ids {
		if err := p.prune(id); err != nil {
			return err
		}
	}
	return p.err
}

// prune forgets which versions stood on a run or logged model and are gone, and
// all that is remembered of it and its artifacts when none is left.
func (p *poll) prune(id string) error {
	key := p.ownerKey(id)
	var o owner
	if !p.load(key, &o) {
		return p.err
	}
	var c change
	o.Versions = slices.DeleteFunc(o.Versions, func(name string) bool {
		var v version
		_, ok := decodeRecord(p.get(p.versionKey(splitVersion(name))), &v)
		return !ok || !slices.ContainsFunc(p.behind(&v), func(other owner) bool { return other.ID == id })
	})
	if len(o.Versions) > 0 {
		o.Alias = slices.ContainsFunc(o.Versions, p.aliased)
		c.writes = append(c.writes, write{key, observed(o)})
	} else {
		c.writes = append(c.writes, write{key, nil})
		p.each(within("a", p.ws, id), func(k string, _ []byte) { c.writes = append(c.writes, write{k, nil}) })
		if run, ok := strings.CutPrefix(id, "runs/"); ok && p.c.cfg.Runs != RunsAll {
			c.writes = append(c.writes, write{p.runKey(run), nil})
		}
	}
	return p.ledger.add(c)
}

func splitVersion(name string) (model, number string) {
	i := strings.LastIndexByte(name, '/')
	return name[:i], name[i+1:]
}

// standing returns the newest version that stands on a run.
func (p *poll) standing(runID string) (model, number string) {
	var o owner
	if !p.load(p.ownerKey("runs/"+runID), &o) || len(o.Versions) == 0 {
		return "", ""
	}
	return splitVersion(o.Versions[len(o.Versions)-1])
}

// versionOf returns the newest version that stands on a run or logged model.
func (c *Collector) versionOf(out collectors.Output, ws, runID, modelID string) (model, number string) {
	id := "runs/" + runID
	if modelID != "" {
		id = "logged-models/" + modelID
	}
	b, err := out.Get(stateKey("o", ws, id))
	var o owner
	if err != nil || b == nil || json.Unmarshal(b, &o) != nil || len(o.Versions) == 0 {
		return "", ""
	}
	return splitVersion(o.Versions[len(o.Versions)-1])
}
