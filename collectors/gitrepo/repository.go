package gitrepo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A repository is one source and its mirror.
type repository struct {
	c      *Collector
	id     string // git:<host>/<path>
	host   string
	path   string
	remote string // what git fetches from
	key    string // prefix of its state
	mirror *mirror
	rules  []*pathRule // those about this repository

	// caughtUp: what was fetched was told; false after a fetch and at the start,
	// because an earlier process may have fetched.
	caughtUp bool
	// triedOver: this process tried to fetch although the disk budget was
	// passed. The setting may have been raised when it started.
	triedOver bool
	seen      observation
	coverage  []string
	looked    time.Time   // when the mirror was looked through for damage
	salvaged  bool        // what stands aside was made use of
	told      event.Event // the event that is being made; one after the other
}

// An observation is what one poll found the source to have.
type observation struct {
	at           time.Time // when the references were listed
	listing      string    // digest of the list; empty when none was made
	unchanged    bool      // nothing moved since it was told
	listed       []ref     // set when only references are read
	refsOnly     bool
	replacements []ref
}

const (
	// maxKept bounds the dropped tips of a repository that are held on to.
	maxKept = 5000
	// retryOver is how long a repository over the disk budget is left alone
	// before fetching is tried again, when its references changed.
	retryOver = time.Hour
)

func (r *repository) open(ctx context.Context) error {
	if err := r.mirror.open(ctx); err != nil {
		return fmt.Errorf("%s: %w", r.id, err)
	}
	return nil
}

// event returns an event about this repository's asset, which is valid until the
// next call.
func (r *repository) event(operation, action, assetType, assetID string, at time.Time) *event.Event {
	r.told = event.Event{
		Envelope:  event.Envelope{Time: event.At(at), Host: r.host, Sourcetype: event.SourcetypeGit},
		Operation: operation, Action: action,
		AssetType: assetType, AssetID: assetID, AssetName: r.path, GitRepo: r.id,
	}
	return &r.told
}

// catchUp tells what an earlier process, or an earlier poll that failed, had
// fetched and not told.
func (r *repository) catchUp(ctx context.Context, out collectors.Output) error {
	if r.caughtUp {
		return nil
	}
	m, err := r.loadMeta(out)
	if err != nil {
		return err
	}
	if m.First == 0 || !r.mirror.whole() || m.Over {
		return nil
	}
	r.seen = observation{at: r.c.cfg.Now()}
	return r.tell(ctx, out)
}

// observe lists the source's references and fetches when they changed.
func (r *repository) observe(ctx context.Context, out collectors.Output) error {
	m, err := r.loadMeta(out)
	if err != nil {
		return err
	}
	r.coverage = nil
	now := r.c.cfg.Now()
	refs, replacements, err := r.mirror.list(ctx)
	if err != nil && r.heal(ctx, false) {
		refs, replacements, err = r.mirror.list(ctx)
	}
	if err != nil {
		return r.unreachable(ctx, out, m, now, err)
	}
	r.seen = observation{at: now, replacements: replacements, listing: listingDigest(refs, replacements)}
	same := r.seen.listing == m.Listing
	if same && !m.Over && !m.Down && r.mirror.whole() {
		r.seen.unchanged = true
		return nil
	}
	if m.Over && r.triedOver && (same || now.UnixMilli()-m.Tried < retryOver.Milliseconds()) {
		r.seen.unchanged, r.seen.refsOnly, r.seen.listed = same, true, refs
		r.overCoverage()
		return nil
	}
	err = r.fetch(ctx, out, refs, replacements)
	if err != nil && !errors.Is(err, errOverBudget) && r.heal(ctx, true) {
		err = r.fetch(ctx, out, refs, replacements)
	}
	switch {
	case errors.Is(err, errOverBudget):
		return r.overBudget(out, m, now, refs)
	case err != nil:
		return r.unreachable(ctx, out, m, now, err)
	}
	if err := r.salvage(ctx, out); err != nil {
		return fmt.Errorf("%s: %w", r.id, err)
	}
	if m.Over || m.Down {
		m.Over, m.Down = false, false
		r.saveMeta(out, m)
		return out.Checkpoint()
	}
	return nil
}

// fetch brings the mirror to what the source has, and makes room for it where
// that is needed.
func (r *repository) fetch(ctx context.Context, out collectors.Output, refs, replacements []ref) error {
	oidLen := 40
	if len(refs) > 0 {
		oidLen = len(refs[0].oid)
	}
	if err := r.mirror.make(ctx, oidLen); err != nil {
		return err
	}
	r.caughtUp = false
	err := r.mirror.fetch(ctx, refs, replacements)
	for errors.Is(err, errOverBudget) {
		more, roomErr := r.makeRoom(ctx, out)
		if roomErr != nil {
			return roomErr
		}
		if !more {
			break
		}
		err = r.mirror.fetch(ctx, refs, replacements)
	}
	return err
}

// unreachable tells once that the source can't be fetched, and fails the poll
// every time.
func (r *repository) unreachable(ctx context.Context, out collectors.Output, m meta, now time.Time, cause error) error {
	cause = fmt.Errorf("fetch %s: %w", r.id, cause)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if m.Down {
		return cause
	}
	m.Down = true
	m.Outages++
	ev := r.event("repo.unreachable", "unknown", "repository", r.id, now)
	ev.ID = event.MakeID(event.SourcetypeGit, "repo.unreachable", r.id, strconv.FormatInt(m.Outages, 10))
	ev.NotBefore = millis(m.Seen)
	ev.Status = "failure"
	ev.ErrorCode = "fetch_failed"
	ev.Error = cause.Error()
	if err := out.Emit(ev); err != nil {
		return err
	}
	r.saveMeta(out, m)
	if err := out.Checkpoint(); err != nil {
		return err
	}
	return cause
}

func (r *repository) overCoverage() {
	r.coverage = append(r.coverage, r.id+": over the disk budget, only references are read; raise disk_budget")
}

// overBudget goes over to reading references only, and tells so.
func (r *repository) overBudget(out collectors.Output, m meta, now time.Time, refs []ref) error {
	r.seen.refsOnly, r.seen.listed, r.triedOver = true, refs, true
	r.overCoverage()
	m.Tried = now.UnixMilli()
	if !m.Over {
		m.Over = true
		m.Overs++
		ev := r.event("repo.over_budget", "unknown", "repository", r.id, now)
		ev.ID = event.MakeID(event.SourcetypeGit, "repo.over_budget", r.id, strconv.FormatInt(m.Overs, 10))
		ev.NotBefore = millis(m.Seen)
		ev.ErrorCode = "disk_budget"
		if err := out.Emit(ev); err != nil {
			return err
		}
	}
	r.saveMeta(out, m)
	return out.Checkpoint()
}

// makeRoom lets go of a damaged mirror that stands aside, else of the older half
// of the dropped tips. It reports whether there was anything to let go of.
func (r *repository) makeRoom(ctx context.Context, out collectors.Output) (bool, error) {
	if _, err := os.Stat(r.mirror.aside()); err == nil {
		return true, os.RemoveAll(r.mirror.aside())
	}
	tips, err := r.loadKept(out)
	if err != nil || len(tips) == 0 {
		return false, err
	}
	var oids []string
	for _, t := range tips[:(len(tips)+1)/2] {
		oids = append(oids, t.oid)
		out.Delete(t.key)
	}
	if err := out.Checkpoint(); err != nil {
		return false, err
	}
	if err := r.mirror.forget(ctx, oids); err != nil {
		return false, err
	}
	return true, r.mirror.shrink(ctx)
}

// listingDigest is the digest of what a source lists.
func listingDigest(refs, replacements []ref) string {
	h := sha256.New()
	for _, list := range [][]ref{refs, replacements} {
		sorted := slices.SortedFunc(slices.Values(list), func(a, b ref) int { return strings.Compare(a.name, b.name) })
		for _, r := range sorted {
			_, _ = io.WriteString(h, r.oid+" "+r.name+"\n") // never fails
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A refChange is a reference that is not as it was told.
type refChange struct {
	name      string
	old       refState // zero when there was none
	known     bool     // there is a state
	new       string   // empty when it is gone
	protected bool
	// commits that old and new are or point at, empty where they are none
	oldCommit, newCommit string
}

// tell compares the mirror with what was told and tells the difference.
func (r *repository) tell(ctx context.Context, out collectors.Output) error {
	m, err := r.loadMeta(out)
	if err != nil {
		return err
	}
	if r.seen.unchanged {
		m.Seen = r.seen.at.UnixMilli()
		r.saveMeta(out, m)
		return out.Checkpoint()
	}
	if r.seen.refsOnly && !m.Inventoried {
		return nil // a first contact needs the mirror
	}
	if m.First == 0 {
		m.First = r.seen.at.UnixMilli()
		r.saveMeta(out, m)
	}
	old, err := r.loadRefs(out)
	if err != nil {
		return err
	}
	current, replacements := r.seen.listed, r.seen.replacements
	if !r.seen.refsOnly {
		if current, err = r.mirror.refs(ctx); err == nil {
			replacements, err = r.mirror.replacements()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.id, err)
		}
	}
	current = slices.Concat(current, replacements)
	t := &teller{
		r: r, ctx: ctx, out: out, at: r.seen.at, notBefore: millis(m.Seen),
		changes: r.diff(old, current), old: old,
		meta: &m, target: "1 " + listingDigest(current, nil),
	}
	if err := t.resume(); err != nil {
		return err
	}
	if t.joins, err = r.joins(t); err != nil {
		return err
	}
	if r.seen.refsOnly {
		err = t.tellRefsOnly()
	} else {
		err = t.tellAll()
	}
	if err != nil {
		// What was told goes with its count, whatever is checkpointed next.
		return errors.Join(fmt.Errorf("%s: %w", r.id, err), t.save())
	}
	m.Inventoried = true
	m.Listing = ""
	if r.seen.listing != "" {
		// What was fetched before and is told now is no look at the source.
		m.Seen = r.seen.at.UnixMilli()
		m.Listing = r.agreed(current)
	}
	r.saveMeta(out, m)
	t.conclude()
	if err := out.Checkpoint(); err != nil {
		return err
	}
	r.caughtUp = true
	return nil
}

// agreed returns the digest of the list when it is what the mirror has; a
// reference that moved between the listing and the fetch makes it empty, so that
// the next poll compares again.
func (r *repository) agreed(current []ref) string {
	var refs, replacements []ref
	for _, c := range current {
		if strings.HasPrefix(c.name, replaced) {
			replacements = append(replacements, c)
		} else {
			refs = append(refs, c)
		}
	}
	if listingDigest(refs, replacements) == r.seen.listing {
		return r.seen.listing
	}
	return ""
}

// diff returns the references that are not as they were told, in the order of
// their names.
func (r *repository) diff(old map[string]refState, current []ref) []*refChange {
	var changes []*refChange
	there := make(map[string]bool, len(current))
	add := func(name, oid string) {
		s, known := old[name]
		if known && s.oid == oid && s.seen == "" {
			return
		}
		changes = append(changes, &refChange{name: name, old: s, known: known, new: oid, protected: r.c.isProtected(name)})
	}
	for _, c := range current {
		there[c.name] = true
		add(c.name, c.oid)
	}
	for name := range old {
		if !there[name] {
			add(name, "")
		}
	}
	slices.SortFunc(changes, func(a, b *refChange) int { return strings.Compare(a.name, b.name) })
	return changes
}

func millis(ms int64) event.Time {
	if ms == 0 {
		return event.Time{}
	}
	return event.Millis(ms)
}
