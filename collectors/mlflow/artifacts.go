package mlflow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"aiwatch/collectors"
	"aiwatch/collectors/modelfile"
	"aiwatch/internal/event"
)

// Limits of what is looked at below one run.
const (
	maxFolders  = 200
	maxFiles    = 5000
	smallFile   = 1 << 20   // bytes: these are hashed first
	maxInMemory = 256 << 20 // bytes of a file that are fetched at all
	scanned     = 16 << 20  // bytes of a file that is looked into for pickle imports
)

// An artifact is one file of a run or logged model, as the listing has it.
type artifact struct {
	Owner string `json:"owner"` // runs/<id>, logged-models/<id>
	Path  string `json:"path"`
	Size  int64  `json:"size"`
}

// An owner is what has artifacts and stands behind a version.
type owner struct {
	ID       string   `json:"id"` // runs/<id>, logged-models/<id>
	Root     string   `json:"root"`
	Versions []string `json:"versions"` // model/number, newest last
	Alias    bool     `json:"alias,omitempty"`
	Listed   bool     `json:"listed,omitempty"`
}

// spent is how much of a day's hash budget is used.
type spent struct {
	Day   int64 `json:"day"`
	Bytes int64 `json:"bytes"`
}

type entryJSON struct {
	Path string `json:"path"`
	Dir  bool   `json:"is_dir"`
	Size number `json:"file_size"`
}

// sweepArtifacts lists the artifacts behind versions in rotation, and fetches
// what the budget allows to hash it.
func (p *poll) sweepArtifacts() error {
	if p.c.cfg.Artifacts == ArtifactsNone {
		return nil
	}
	if p.area.Root == "" {
		p.lacks("artifacts: the server's artifact root is not known, so that nothing is fetched")
		return nil
	}
	if err := p.findOwners(); err != nil {
		return err
	}
	var first, rest []string
	for _, key := range p.rotation("o", p.budget) {
		var o owner
		if p.load(within("o", p.ws)+key, &o) && o.Alias {
			first = append(first, key)
		} else {
			rest = append(rest, key)
		}
	}
	for _, key := range append(first, rest...) {
		if p.budget <= 0 {
			p.lacks("artifacts wait to be listed, for requests_per_sweep")
			return nil
		}
		var o owner
		if p.load(within("o", p.ws)+key, &o) {
			if err := p.listOwner(within("o", p.ws)+key, &o); err != nil {
				return err
			}
		}
	}
	return p.err
}

// findOwners notes which runs and logged models stand behind versions.
func (p *poll) findOwners() error {
	if p.area.Stale = p.area.Stale || p.touched; !p.area.Stale {
		return nil
	}
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
	// Two versions may stand on one run; both are kept with it.
	type found struct {
		key string
		o   owner
	}
	var changed []found
	pending := map[string]int{}
	p.each(within("v", p.ws), func(_ string, record []byte) {
		var v version
		if _, ok := decodeRecord(record, &v); !ok || v.Prompt {
			return
		}
		id, root := p.ownerOf(&v)
		if id == "" {
			return
		}
		key := stateKey("o", p.ws, id)
		name := v.Model + "/" + v.Number
		i, again := pending[key]
		if !again {
			var o owner
			if !p.load(key, &o) {
				o = owner{ID: id, Root: root}
			}
			if slices.Contains(o.Versions, name) && (o.Alias || !aliased[name]) {
				return
			}
			i = len(changed)
			pending[key] = i
			changed = append(changed, found{key, o})
		}
		o := &changed[i].o
		if !slices.Contains(o.Versions, name) && len(o.Versions) < 100 {
			o.Versions = append(o.Versions, name)
		}
		o.Alias = o.Alias || aliased[name]
	})
	for _, f := range changed {
		if err := p.put(f.key, f.o); err != nil {
			return err
		}
	}
	p.area.Stale = false
	return p.forgetOwners()
}

// forgetOwners drops what is remembered of runs and artifacts behind which no
// version stands any more.
func (p *poll) forgetOwners() error {
	var c change
	p.each(within("o", p.ws), func(key string, value []byte) {
		var o owner
		if json.Unmarshal(value, &o) != nil {
			return
		}
		kept := slices.DeleteFunc(slices.Clone(o.Versions), func(name string) bool {
			i := strings.LastIndexByte(name, '/')
			return p.get(p.versionKey(name[:i], name[i+1:])) == nil
		})
		switch {
		case len(kept) == len(o.Versions):
		case len(kept) > 0:
			o.Versions = kept
			c.writes = append(c.writes, write{key, observed(o)})
		default:
			c.writes = append(c.writes, write{key, nil})
			p.each(within("a", p.ws, o.ID), func(k string, _ []byte) { c.writes = append(c.writes, write{k, nil}) })
		}
	})
	if p.c.cfg.Runs != RunsAll {
		used := newSet()
		p.each(within("v", p.ws), func(_ string, record []byte) {
			var v struct {
				RunID string `json:"run"`
			}
			if _, ok := decodeRecord(record, &v); ok && v.RunID != "" {
				used.add(p.runKey(v.RunID))
			}
		})
		p.each(within("r", p.ws), func(key string, _ []byte) {
			if !used.has(key) {
				c.writes = append(c.writes, write{key, nil})
			}
		})
	}
	return p.add(c)
}

// ownerOf is whose artifacts a version's are, if they lie below the server's
// artifact root.
func (p *poll) ownerOf(v *version) (id, root string) {
	if lm, _, ok := loggedModelSource(v.Source); ok {
		var m loggedModel
		if _, found := decodeRecord(p.get(stateKey("l", p.ws, lm)), &m); found && under(m.Artifacts, p.area.Root) {
			return "logged-models/" + m.ID, m.Artifacts
		}
		return "", ""
	}
	var r run
	if _, found := decodeRecord(p.get(p.runKey(v.RunID)), &r); isID(v.RunID) && found && under(r.Artifacts, p.area.Root) {
		return "runs/" + r.ID, r.Artifacts
	}
	return "", ""
}

// listOwner compares the files of one run or logged model.
func (p *poll) listOwner(key string, o *owner) error {
	var files []artifact
	folders := []string{""}
	for n := 0; n < len(folders); n++ {
		if n >= maxFolders || len(files) > maxFiles {
			p.lacks("artifacts: %s has too many files, the rest is not watched", o.ID)
			break
		}
		if p.budget <= 0 {
			return nil // a part would look like deletions
		}
		p.budget--
		entries, err := p.listFolder(o, folders[n])
		if isGone(err) || isMissing(err) || isDenied(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list artifacts: %w", err)
		}
		for _, e := range entries {
			switch {
			case e.Path == "" || path.Clean("/"+e.Path) != "/"+strings.TrimSuffix(e.Path, "/") || !strings.HasPrefix(e.Path, folders[n]):
			case e.Dir:
				folders = append(folders, e.Path)
			default:
				files = append(files, artifact{o.ID, short(e.Path), int64(e.Size)})
			}
		}
	}
	seen := newSet()
	// Small files first, then weights: so a model's code and configuration are
	// known even where the budget is small.
	slices.SortFunc(files, func(a, b artifact) int {
		if (a.Size <= smallFile) != (b.Size <= smallFile) {
			if a.Size <= smallFile {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Path, b.Path)
	})
	for i := range files {
		seen.add(stateKey("a", p.ws, o.ID, files[i].Path))
		if err := p.artifactSeen(o, &files[i]); err != nil {
			return err
		}
	}
	var gone []artifact
	p.each(within("a", p.ws, o.ID), func(k string, record []byte) {
		var a artifact
		if _, ok := decodeRecord(record, &a); ok && !seen.has(k) {
			gone = append(gone, a)
		}
	})
	for i := range gone {
		a := &gone[i]
		k := stateKey("a", p.ws, o.ID, a.Path)
		h, _ := decodeRecord(p.get(k), a)
		h.Changes++
		ev := p.artifactEvent("artifact.deleted", o, a, &h)
		p.bound(&ev, 0)
		identify(&ev, subject{id: ev.AssetID, created: p.area.Swept}, h.Changes)
		if err := p.add(change{events: []told{{ev, cause{}}}, writes: []write{{k, nil}}}); err != nil {
			return err
		}
	}
	if !o.Listed {
		o.Listed = true
		return p.put(key, o)
	}
	return p.err
}

func (p *poll) listFolder(o *owner, folder string) (entries []entryJSON, err error) {
	r := p.at(request{path: api + "artifacts/list"})
	if id, ok := strings.CutPrefix(o.ID, "runs/"); ok {
		r.query = query("run_id", id)
		if folder != "" {
			r.query.Set("path", folder)
		}
	} else {
		_, id, _ := strings.Cut(o.ID, "/")
		r.path = api + "logged-models/" + url.PathEscape(id) + "/artifacts/directories"
		if folder != "" {
			r.query = query("artifact_directory_path", folder)
		}
	}
	_, err = page(p.ctx, p.c.client, r, "files", func(e *entryJSON) error {
		if entries = append(entries, *e); len(entries) > maxFiles {
			return fmt.Errorf("a folder has over %d files", maxFiles)
		}
		return nil
	})
	return entries, err
}

func (p *poll) artifactEvent(operation string, o *owner, a *artifact, h *head) event.Event {
	s := subject{kind: "artifact", id: p.asset(o.ID+"/artifacts", a.Path), name: a.Path}
	ev := p.event(operation, s)
	if id, ok := strings.CutPrefix(o.ID, "runs/"); ok {
		ev.RunID = id
	} else {
		_, ev.LoggedModelID, _ = strings.Cut(o.ID, "/")
	}
	if len(o.Versions) > 0 {
		last := o.Versions[len(o.Versions)-1]
		i := strings.LastIndexByte(last, '/')
		ev.ModelName, ev.ModelVersion = last[:i], last[i+1:]
	}
	class := modelfile.Classify(a.Path)
	ev.AssetRole, ev.AssetFormat = string(class.Role), string(class.Format)
	ev.AssetSize, ev.AssetDigest = event.N(a.Size), h.Digest
	ev.Imports, ev.Verdict = h.Imports, h.Verdict
	ev.Evidence = fromScan
	return ev
}

// artifactSeen compares one file: its size, and its digest when the budget
// allows to fetch it.
func (p *poll) artifactSeen(o *owner, a *artifact) error {
	key := stateKey("a", p.ws, a.Owner, a.Path)
	record := p.get(key)
	var before artifact
	h, known := decodeRecord(record, &before)
	was := h
	if err := p.fingerprint(o, a, &h); err != nil {
		return err
	}
	var list []difference
	put := callOf("PUT " + a.Path)
	switch {
	case !known:
		operation := "artifact.created"
		if !o.Listed {
			operation = inventory
		}
		ev := p.artifactEvent(operation, o, a, &h)
		if operation == inventory {
			ev.Evidence = inventory
		} else {
			p.bound(&ev, 0)
		}
		identify(&ev, subject{id: ev.AssetID, created: p.area.Swept}, 0)
		return p.add(change{events: []told{{ev, put}}, writes: []write{{key, encodeRecord(h, observed(a))}}})
	case was.Digest != "" && h.Digest != was.Digest:
		list = append(list, difference{operation: "artifact.modified", field: "digest", before: was.Digest, after: h.Digest})
	case before.Size != a.Size:
		list = append(list, difference{operation: "artifact.modified", field: "size", before: fmt.Sprint(before.Size), after: fmt.Sprint(a.Size)})
	case was.Digest == h.Digest:
		return p.err
	}
	c := change{}
	for _, d := range list {
		h.Changes++
		ev := p.artifactEvent(d.operation, o, a, &h)
		ev.ChangeField = d.field
		values(&ev, d.before, d.after)
		for _, i := range h.Imports {
			if !slices.Contains(was.Imports, i) {
				ev.ImportsAdded = append(ev.ImportsAdded, i)
			}
		}
		p.bound(&ev, 0)
		identify(&ev, subject{id: ev.AssetID}, h.Changes)
		c.events = append(c.events, told{ev, put})
	}
	c.writes = []write{{key, encodeRecord(h, observed(a))}}
	return p.add(c)
}

// fingerprint fetches a file through the server and notes its digest and its
// pickle imports, if today's budget has room for it.
func (p *poll) fingerprint(o *owner, a *artifact, h *head) error {
	if p.c.cfg.Artifacts != ArtifactsHash || a.Size > maxInMemory || p.budget <= 0 || !under(o.Root, p.area.Root) {
		return nil
	}
	weights := o.Alias && modelfile.Classify(a.Path).Role == modelfile.RoleWeights
	var s spent
	p.load("spent", &s)
	if today := p.now.Unix() / 86400; s.Day != today {
		s = spent{Day: today}
	}
	budget := p.c.cfg.HashBudget
	if a.Size > smallFile && !weights {
		budget /= 2 // the other half is for small files and production weights
	}
	if s.Bytes+a.Size > budget {
		p.lacks("artifacts wait to be hashed, for hash_budget")
		return nil
	}
	p.budget--
	sum, size, report, err := p.fetch(o, a)
	if isGone(err) || isMissing(err) || isDenied(err) {
		return nil
	}
	var answered *apiError
	if errors.As(err, &answered) {
		p.lacks("artifacts that the server fails to send: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.Bytes += size
	h.Digest = sum
	if report.Pickles > 0 || len(report.Imports) > 0 {
		h.Imports, h.Verdict = report.Imports, report.Verdict.String()
		if len(h.Imports) > 200 {
			h.Imports = h.Imports[:200]
		}
	} else {
		h.Imports, h.Verdict = nil, ""
	}
	return p.put("spent", s)
}

// fetch reads a file. The request names the run or logged model and a path
// below it, never a URI.
func (p *poll) fetch(o *owner, a *artifact) (sum string, size int64, report modelfile.Report, err error) {
	r := p.at(request{path: "/get-artifact"})
	if id, ok := strings.CutPrefix(o.ID, "runs/"); ok {
		r.query = query("run_uuid", id, "path", a.Path)
	} else {
		_, id, _ := strings.Cut(o.ID, "/")
		r.path = "/ajax-api/2.0/mlflow/logged-models/" + url.PathEscape(id) + "/artifacts/files"
		r.query = query("artifact_file_path", a.Path)
	}
	answer, err := p.c.client.send(p.ctx, r)
	if err != nil {
		return "", 0, report, err
	}
	defer func() { _ = answer.Body.Close() }()
	hash := sha256.New()
	var head bytes.Buffer
	body := io.LimitReader(answer.Body, maxInMemory+1)
	if size, err = io.Copy(io.MultiWriter(hash, &capped{&head}), body); err != nil {
		return "", 0, report, fmt.Errorf("fetch an artifact: %w", err)
	}
	if size > maxInMemory {
		return "", 0, report, fmt.Errorf("fetch an artifact: it is larger than the listing says")
	}
	if size <= scanned {
		report, err = modelfile.Inspect(p.ctx, a.Path, bytes.NewReader(head.Bytes()), size, modelfile.DefaultLimits())
		if err != nil && !errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), size, report, err
}

// capped keeps the beginning of what is written to it.
type capped struct{ b *bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if room := scanned - c.b.Len(); room > 0 {
		c.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// versionOf returns the version that stands on a run or logged model.
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
	last := o.Versions[len(o.Versions)-1]
	i := strings.LastIndexByte(last, '/')
	return last[:i], last[i+1:]
}
