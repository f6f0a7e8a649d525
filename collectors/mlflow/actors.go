package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/collectors/identity"
	"aiwatch/collectors/logfile"
	"aiwatch/collectors/modelfile"
	"aiwatch/internal/event"
)

// A cause is which calls can make a change.
type cause struct {
	calls []string // verbs
	at    string   // the object's id, where the call's path holds it
}

func callOf(calls ...string) cause     { return cause{calls: calls} }
func callAt(call, object string) cause { return cause{calls: []string{call}, at: object} }
func (c *cause) explained(by *call) bool {
	return slices.Contains(c.calls, by.Verb) && (c.at == "" || by.Object == "" || c.at == by.Object || strings.HasPrefix(c.at, by.Object+"/"))
}

// several are the calls that can change more than one thing of an object at
// once.
var several = []string{
	"POST runs/log-batch", "POST runs/update", "POST runs/log-inputs", "POST experiments/delete", "POST experiments/restore",
	"DELETE model-versions/delete", "DELETE registered-models/delete",
}

// artifactVerb follows the method in the verb of a call that writes or removes an
// artifact, whose object is the artifact's asset_id.
const artifactVerb = " artifact"

// A call is a line of the access log that may have changed something.
type call struct {
	At     int64  `json:"at"`
	Verb   string `json:"verb"`
	Object string `json:"object,omitempty"`
	Status int    `json:"status"`
	User   string `json:"user,omitempty"`
	Src    string `json:"src,omitempty"`
	Agent  string `json:"agent,omitempty"`
	Ref    string `json:"ref,omitempty"`
	Used   bool   `json:"used,omitempty"` // it was named as the cause of a change

	key   string
	dirty bool
}

// maxCalls is how many calls are remembered; over it the oldest go.
const maxCalls = 20_000

// dateSlack is how far the date of a line and the server's date of its effect
// may be apart: lines have whole seconds, of the begin or the end of a request.
const dateSlack = 5 * time.Second

// actors find out who made a change: the access log's calls, remembered for as
// long as a change may still be seen late.
type actors struct {
	c     *Collector
	log   logfile.Log
	now   time.Time
	calls []*call
}

func newActors(c *Collector, now time.Time) *actors {
	a := &actors{c: c, now: now, log: logfile.Log{Path: c.cfg.AccessLog, Key: "log", Now: c.cfg.Now, Lost: c.lost}}
	if c.cfg.Backfill {
		a.log.Backfill = logfile.All
	}
	return a
}

// read takes what was added to the access log: acts on artifacts become events
// at once, other acts are remembered.
func (a *actors) read(ctx context.Context, out collectors.Output) error {
	if a.calls == nil {
		if err := a.load(out); err != nil {
			return err
		}
	}
	err := a.log.Read(ctx, out, func(l *logfile.Line) error { return a.line(out, l) })
	if err != nil {
		return fmt.Errorf("read access_log %s: %w", a.log.Path, err)
	}
	return nil
}

// load reads the remembered calls, and forgets those that explain nothing any
// more.
func (a *actors) load(out collectors.Output) error {
	a.calls = []*call{}
	oldest := a.now.Add(-2*a.c.cfg.Interval - time.Hour).UnixMilli()
	var stale []string
	if err := out.Range("c/", func(key string, value []byte) error {
		c := &call{key: key}
		if json.Unmarshal(value, c) != nil || c.At < oldest {
			stale = append(stale, key)
		} else {
			a.calls = append(a.calls, c)
		}
		return nil
	}); err != nil {
		return err
	}
	for over := len(a.calls) - maxCalls; over > 0; over-- {
		stale = append(stale, a.calls[0].key)
		a.calls = a.calls[1:]
	}
	for _, key := range stale {
		out.Delete(key)
	}
	if len(stale) == 0 {
		return nil
	}
	return out.Checkpoint()
}

// line takes one line of the log.
func (a *actors) line(out collectors.Output, l *logfile.Line) error {
	r, err := logfile.ParseRequest(l.Text)
	if l.TooLong {
		err = logfile.ErrTooLong
	}
	if errors.Is(err, logfile.ErrNoRequest) {
		return nil
	}
	a.c.read(1, r.Time.UnixMilli())
	if err != nil {
		ev := a.event("record.damaged", "", event.Input, l.Ref)
		ev.Raw, ev.RawSHA256, ev.ParseError = string(l.Text), digest(l.Text), err.Error()
		ev.ID = event.MakeID(event.SourcetypeMLflow, "damaged", l.File, fmt.Sprint(l.Number), ev.RawSHA256)
		return out.Emit(&ev)
	}
	if art, ok := artifactOf(&r); ok {
		return a.artifact(out, &r, &art, l)
	}
	verb, object, ok := verbOf(&r)
	if !ok || r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS" || r.Status == 401 || r.Status == 403 || strings.HasSuffix(verb, "/search") {
		return nil
	}
	a.remember(out, &r, verb, object, l)
	return nil
}

// remember keeps a call that may explain a change which is yet to be seen.
func (a *actors) remember(out collectors.Output, r *logfile.Request, verb, object string, l *logfile.Line) {
	at := r.Time
	if at.IsZero() {
		at = l.Read
	}
	c := &call{
		At: at.UnixMilli(), Verb: short(verb), Object: short(object), Status: r.Status, User: short(r.User), Src: a.client(r), Agent: short(r.Agent), Ref: l.Ref,
		key: fmt.Sprintf("c/%015d-%s-%d", max(0, at.UnixMilli()), l.File[:8], l.Number),
	}
	a.calls = append(a.calls, c)
	out.Put(c.key, observed(c))
}

func (a *actors) event(operation, id, kind, ref string) event.Event {
	ev := event.Event{
		Envelope:  event.Envelope{Time: event.At(a.now), Host: a.c.host, Sourcetype: event.SourcetypeMLflow},
		Operation: operation, Action: actions[operation], AssetType: kind, AssetID: id,
		Evidence: fromLog, RawRef: ref,
	}
	return ev
}

// artifact tells an act on an artifact, which no field of the API shows.
func (a *actors) artifact(out collectors.Output, r *logfile.Request, art *artifactCall, l *logfile.Line) error {
	ours := a.c.cfg.Username != "" && r.User == a.c.cfg.Username && strings.HasPrefix(r.Agent, "aiwatch")
	if ours || r.Status == 401 || art.operation == "artifact.read" && r.Status == 404 {
		return nil
	}
	ws := ""
	runID, modelID, rel := art.runID, art.modelID, art.path
	var version string
	ev := a.event(art.operation, "", "artifact", l.Ref)
	if art.key != "" {
		if rest, ok := strings.CutPrefix(art.key, "workspaces/"); ok {
			ws, _, _ = strings.Cut(rest, "/")
		}
		var ok bool
		ev.ExperimentID, runID, modelID, rel, ok = modelfile.ParseMLflow(art.key)
		if !ok || rel == "" {
			return nil // a folder, or no artifact of a run
		}
	}
	instance := "mlflow:" + a.c.cfg.Instance
	if ws != "" {
		instance += "/" + ws
	}
	owner := "runs/" + runID
	if modelID != "" {
		owner = "logged-models/" + modelID
	}
	if art.model != "" {
		owner, version = "models/"+art.model+"/"+art.number, art.number
		ev.ModelName, ev.ModelVersion = art.model, version
	}
	ev.AssetID = instance + "/" + owner + "/artifacts/" + rel
	ev.AssetName = rel
	ev.RunID, ev.LoggedModelID = runID, modelID
	class := modelfile.Classify(rel)
	ev.AssetRole, ev.AssetFormat = string(class.Role), string(class.Format)
	switch {
	case !r.Time.IsZero():
		ev.TimeBasis, ev.Time = exact, event.At(r.Time)
	case !l.Since.IsZero():
		ev.Time, ev.NotBefore = event.At(l.Read), event.At(l.Since)
	default:
		ev.Time = event.At(l.Read)
	}
	ev.StatusCode, ev.Status = fmt.Sprint(r.Status), success
	if r.Status >= 400 {
		ev.Status = "failure"
	}
	if art.operation == "artifact.read" && r.Bytes >= 0 {
		ev.BytesOut = event.N(r.Bytes)
	}
	if model, number := a.c.versionOf(out, ws, runID, modelID); model != "" && ev.ModelName == "" {
		ev.ModelName, ev.ModelVersion = model, number
	}
	ev.Src, ev.UserAgent = a.client(r), r.Agent
	ev.UserID, ev.User, ev.UserType, ev.UserConfidence = a.principal(r.User)
	ev.ID = event.MakeID(event.SourcetypeMLflow, "access", l.File, fmt.Sprint(l.Number), art.operation, ev.AssetID)
	if r.Method != "GET" && r.Status/100 == 2 {
		a.remember(out, r, r.Method+artifactVerb, ev.AssetID, l)
	}
	return out.Emit(&ev)
}

func (a *actors) client(r *logfile.Request) string {
	return collectors.ClientAddress(r.Peer, r.Forwarded, a.c.cfg.TrustedProxies)
}

// principal resolves a name that the log holds; it is proven only where the
// operator says so: of the log's writer by trust, or of the name by a rule.
func (a *actors) principal(name string) (id, user, userType, confidence string) {
	if name == "" {
		return "", "", "", "unknown"
	}
	user, userType, confidence = a.c.cfg.Identity.Resolve(name)
	switch {
	case a.c.cfg.Identity.Ruled(name):
	case a.c.cfg.Trusted:
		confidence = identity.Authenticated
	default:
		confidence = claimed
	}
	return name, user, userType, confidence
}

// actKey names the act that a change was made by, should a call of that verb
// have made it: what one call changes at once is one act.
func actKey(change, event int, t *told, verb string) string {
	switch {
	case verb == "POST model-versions/transition-stage" && t.event.TimeBasis == exact:
		// It archives the versions that held the stage as well, at the same moment.
		return fmt.Sprint("stage ", t.event.Time.UnixMilli(), " ", t.event.ModelName)
	case slices.Contains(several, verb):
		return fmt.Sprint(change)
	}
	return fmt.Sprint(change, ".", event)
}

// candidates are the calls that can have made a change: those that succeeded, or
// else those that failed, because a 2.x server answers 400 and 404 to calls that
// took effect.
func (a *actors) candidates(t *told) []*call {
	if len(t.cause.calls) == 0 {
		return nil
	}
	from, to := t.event.NotBefore.UnixMilli()-time.Second.Milliseconds(), a.now.Add(time.Minute).UnixMilli()
	if t.event.TimeBasis == exact {
		from, to = t.event.Time.UnixMilli()-dateSlack.Milliseconds(), t.event.Time.UnixMilli()+dateSlack.Milliseconds()
	}
	var good, other []*call
	for _, c := range a.calls {
		switch {
		case c.Used || c.At < from || c.At > to || !t.cause.explained(c):
		case c.Status/100 == 2:
			good = append(good, c)
		default:
			other = append(other, c)
		}
	}
	if len(good) > 0 {
		return good
	}
	return other
}

// A bundle is calls and changes of which any may belong to any.
type bundle struct {
	calls    map[*call]bool
	explains map[string]bool
	joined   *bundle // the bundle that took this one in
}

func (b *bundle) whole() *bundle {
	for b.joined != nil {
		b = b.joined
	}
	return b
}

// settled tells that the bundle leaves no doubt about who: one call and one
// change, or as many calls as changes, all by one caller.
func (b *bundle) settled() bool {
	if len(b.calls) != len(b.explains) {
		return false
	}
	var first *call
	for c := range b.calls {
		if first == nil {
			first = c
		}
		if c.User != first.User || c.User == "" && len(b.calls) > 1 {
			return false
		}
	}
	return true
}

// resolve names the actors of all waiting changes. A name is given only where
// exactly one call can explain a change and that call explains no other, or
// where that holds of all of one caller's calls together.
func (a *actors) resolve(waiting []change) {
	found := map[*told][]*call{}
	bundles := map[*call]*bundle{}
	for i := range waiting {
		for j := range waiting[i].events {
			t := &waiting[i].events[j]
			found[t] = a.candidates(t)
			var all *bundle
			for _, c := range found[t] {
				b := bundles[c]
				if b == nil {
					b = &bundle{calls: map[*call]bool{c: true}, explains: map[string]bool{}}
					bundles[c] = b
				}
				b = b.whole()
				b.explains[actKey(i, j, t, c.Verb)] = true
				if all != nil && all != b {
					maps.Copy(b.calls, all.calls)
					maps.Copy(b.explains, all.explains)
					all.joined = b
				}
				all = b
			}
		}
	}
	for i := range waiting {
		for j := range waiting[i].events {
			t := &waiting[i].events[j]
			calls := found[t]
			a.name(&t.event, calls, len(calls) > 0 && bundles[calls[0]].whole().settled())
		}
	}
}

// name puts what the calls tell into an event.
func (a *actors) name(ev *event.Event, calls []*call, settled bool) {
	if settled {
		first := calls[0]
		ev.Src, ev.UserAgent = first.Src, first.Agent
		if len(calls) == 1 {
			ev.RawRef = first.Ref
		}
		for _, c := range calls {
			c.Used, c.dirty = true, true
			if c.Src != first.Src {
				ev.Src = ""
			}
			if c.Agent != first.Agent {
				ev.UserAgent = ""
			}
		}
		if first.User == "" {
			return
		}
		id, user, kind, confidence := a.principal(first.User)
		ev.UserConfidence = confidence
		if ev.AssetType == "permission" {
			ev.SrcUser = user
			return
		}
		ev.UserID, ev.User, ev.UserType = id, user, kind
		return
	}
	for _, c := range calls {
		if c.User == "" {
			continue
		}
		_, user, _, _ := a.principal(c.User)
		if !slices.Contains(ev.UserCandidates, user) && len(ev.UserCandidates) < 20 {
			ev.UserCandidates = append(ev.UserCandidates, user)
		}
	}
	slices.Sort(ev.UserCandidates)
}

// settle remembers which calls were named.
func (a *actors) settle(out collectors.Output) {
	for _, c := range a.calls {
		if c.dirty {
			out.Put(c.key, observed(c))
			c.dirty = false
		}
	}
}
