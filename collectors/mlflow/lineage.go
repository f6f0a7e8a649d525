package mlflow

import (
	"net/url"
	"path"
	"strings"

	"aiwatch/internal/event"
)

// Tags in which MLflow's clients note where the code came from; 3.x writes the
// second of each for versions that it tracks itself.
var (
	commitTags = []string{"mlflow.source.git.commit", "mlflow.git.commit"}
	branchTags = []string{"mlflow.source.git.branch", "mlflow.git.branch"}
	repoTags   = []string{"mlflow.source.git.repoURL", "mlflow.git.repo_url"}
	dirtyTags  = []string{"mlflow.source.git.dirty", "mlflow.git.dirty"}
)

func firstTag(tags map[string]string, keys []string) string {
	for _, k := range keys {
		if v := tags[k]; v != "" {
			return v
		}
	}
	return ""
}

// origin puts where a run's code and data came from into an event.
func (p *poll) origin(ev *event.Event, r *run) {
	ev.GitCommit = firstTag(r.Tags, commitTags)
	ev.GitRepo = gitRepo(firstTag(r.Tags, repoTags))
	if branch := firstTag(r.Tags, branchTags); branch != "" && !strings.HasPrefix(branch, "refs/") {
		ev.GitRef = "refs/heads/" + branch
	} else {
		ev.GitRef = branch
	}
	switch strings.ToLower(firstTag(r.Tags, dirtyTags)) {
	case "true", "1":
		ev.GitDirty = event.True
	case "false", "0":
		ev.GitDirty = event.False
	}
	if r.User != "" {
		ev.TrainedBy, _, _ = p.c.cfg.Identity.Resolve(r.User)
		ev.TrainedByConfidence = claimed
	}
	if len(r.Data) > 0 {
		var names, digests, contexts, sources []string
		for _, d := range r.Data {
			names, digests = append(names, d.Name), append(digests, d.Digest)
			contexts, sources = append(contexts, d.Context), append(sources, d.Source)
		}
		ev.DatasetName, ev.DatasetDigest = strings.Join(names, ","), strings.Join(digests, ",")
		ev.DatasetContext, ev.DatasetSource = strings.Trim(strings.Join(contexts, ","), ","), strings.Trim(strings.Join(sources, ","), ",")
	}
}

// lineage puts what is known of a version's run into an event, and whether its
// source lies where it should.
func (p *poll) lineage(ev *event.Event, v *version) {
	var r run
	known := false
	if ev.RunID = p.runBehind(v); isID(ev.RunID) {
		_, known = decodeRecord(p.get(p.runKey(ev.RunID)), &r)
	}
	if known {
		p.origin(ev, &r)
		ev.ExperimentID = r.Experiment
	}
	if id, _, ok := loggedModelSource(v.Source); ok {
		ev.LoggedModelID = id
	}
	if !v.Prompt && v.Source != "" {
		ev.SourceOutside = p.outside(v, &r, known, 0)
	}
}

// runBehind returns the run that a version stands on; a copy, of which a 3.x
// server notes none, stands on that of the version it was copied from.
func (p *poll) runBehind(v *version) string {
	at := *v
	for range maxCopies {
		if at.RunID != "" {
			return at.RunID
		}
		name, number, ok := versionSource(at.Source)
		if !ok {
			return ""
		}
		at = version{}
		if _, found := decodeRecord(p.get(p.versionKey(name, number)), &at); !found {
			return ""
		}
	}
	return ""
}

// maxCopies is how many copies of copies are followed.
const maxCopies = 5

// versionSource reads models:/<name>/<version>.
func versionSource(source string) (name, number string, ok bool) {
	rest, ok := strings.CutPrefix(source, "models:/")
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return "", "", false
	}
	return strings.TrimLeft(rest[:i], "/"), rest[i+1:], true
}

// loggedModelSource reads models:/m-<hex>/<path>.
func loggedModelSource(source string) (id, rel string, ok bool) {
	rest, ok := strings.CutPrefix(source, "models:/")
	if !ok {
		return "", "", false
	}
	id, rel, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
	return id, rel, strings.HasPrefix(id, "m-") && isID(id)
}

// outside tells whether a version's source lies elsewhere than below the
// artifacts of its run or logged model; absent when that is not known.
func (p *poll) outside(v *version, r *run, known bool, depth int) event.Bool {
	source := v.Source
	if unclean(source) {
		return event.True
	}
	if id, _, ok := loggedModelSource(source); ok {
		var m loggedModel
		if _, found := decodeRecord(p.get(stateKey("l", p.ws, id)), &m); found && m.RunID != "" && v.RunID != "" {
			return event.B(m.RunID != v.RunID)
		}
		return event.False // the server itself ties such a source to the logged model
	}
	if rest, ok := strings.CutPrefix(source, "runs:/"); ok {
		id, _, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		return event.B(id != v.RunID)
	}
	if strings.HasPrefix(source, "models:/") {
		// Another version: what holds for it holds here.
		name, number, ok := versionSource(source)
		if !ok || depth >= maxCopies {
			return 0
		}
		var other version
		if _, found := decodeRecord(p.get(p.versionKey(name, number)), &other); !found {
			return 0
		}
		var or run
		_, otherKnown := decodeRecord(p.get(p.runKey(other.RunID)), &or)
		return p.outside(&other, &or, otherKnown, depth+1)
	}
	if v.RunID == "" {
		return event.True
	}
	if !known {
		if p.budget > 0 {
			return event.True // the server does not know such a run
		}
		return 0
	}
	if under(source, r.Artifacts) {
		return event.False
	}
	// A logged model lies beside its run: <experiment>/models/m-<id>/artifacts.
	if home, _, ok := strings.Cut(r.Artifacts, "/"+r.ID+"/"); ok && under(source, home+"/models") {
		id, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(source, home+"/models"), "/"), "/")
		var m loggedModel
		if _, found := decodeRecord(p.get(stateKey("l", p.ws, id)), &m); found {
			return event.B(m.RunID != v.RunID)
		}
		return 0
	}
	return event.True
}

// unclean tells of a path that may lead somewhere else than it seems to.
func unclean(uri string) bool {
	decoded := uri
	for range 3 {
		next, err := url.PathUnescape(decoded)
		if err != nil || next == decoded {
			break
		}
		decoded = next
	}
	for _, part := range strings.FieldsFunc(decoded, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return true
		}
	}
	return false
}

// under tells whether a URI lies at or below root.
func under(uri, root string) bool {
	if root == "" || unclean(uri) {
		return false
	}
	uri, root = tidy(uri), tidy(root)
	return uri == root || strings.HasPrefix(uri, strings.TrimSuffix(root, "/")+"/")
}

// tidy drops doubled slashes and a slash at the end, and whatever query.
func tidy(uri string) string {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return path.Clean(uri)
	}
	host := ""
	if after, found := strings.CutPrefix(rest, "//"); found {
		host, rest, _ = strings.Cut(after, "/")
		rest = "/" + rest
	}
	return strings.ToLower(scheme) + "://" + host + path.Clean("/"+rest)
}
