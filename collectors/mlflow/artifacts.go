package mlflow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

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
	// Those behind aliases take up to half of the requests, then the others, and
	// what these leave.
	n, all, half := 0, 0, p.budget/2
	for i, part := range []struct {
		turn  string
		alias bool
		left  int
	}{{"alias", true, half}, {"o", false, 0}, {"alias", true, 0}} {
		ids, of := p.rotation("o", part.turn, maxOwners, func(value []byte) bool {
			return bytes.Contains(value, []byte(`"alias":true`)) == part.alias && bytes.Contains(value, []byte(`"root":`))
		})
		if i > 0 { // the first and the last part are the same
			all += of
		}
		for _, id := range ids {
			if p.budget <= part.left {
				break
			}
			p.turnAt(part.turn, id)
			key := within("o", p.ws) + id
			var o owner
			if p.visited[key] || !p.load(key, &o) || !under(o.Root, p.area.Root) {
				continue
			}
			if p.visited == nil {
				p.visited = map[string]bool{}
			}
			p.visited[key] = true
			n++
			if err := p.listOwner(key, &o); err != nil {
				return err
			}
		}
	}
	p.turns("artifacts behind versions are listed again", n, all)
	return p.err
}

// maxOwners is how many runs and logged models one sweep lists at most.
const maxOwners = 10_000

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
		if err := p.add(change{events: []told{{ev, callAt("DELETE"+artifactVerb, ev.AssetID)}}, writes: []write{{k, nil}}}); err != nil {
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
		ev.ModelName, ev.ModelVersion = splitVersion(o.Versions[len(o.Versions)-1])
		var v version
		if _, found := decodeRecord(p.get(p.versionKey(ev.ModelName, ev.ModelVersion)), &v); found && ev.RunID == "" {
			ev.RunID = v.RunID
		}
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
	put := callAt("PUT"+artifactVerb, p.asset(o.ID+"/artifacts", a.Path))
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
	if h.Digest != "" {
		// What was hashed is hashed again at an even pace over the day, so that at
		// no hour the budget is used up for what is new.
		day := p.now.UTC().Truncate(24 * time.Hour)
		budget = budget/100 + int64(float64(budget)*0.99*p.now.Sub(day).Hours()/24)
	}
	if a.Size > smallFile && !weights {
		budget /= 2 // the other half is for small files and production weights
	}
	if s.Bytes+a.Size > budget {
		if h.Digest == "" {
			p.lacks("artifacts wait to be hashed, for hash_budget")
		}
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
