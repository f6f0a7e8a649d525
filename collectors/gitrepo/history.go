package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A teller tells one difference between a mirror and what was told of it.
//
// What it tells, and in which order, follows from the state and the mirror
// alone, and the state of the references is written when all is told. So a
// process that was killed half-way begins anew, passes over as many events as
// were committed, and goes on.
type teller struct {
	r         *repository
	ctx       context.Context // of the poll, with which a teller lives
	out       collectors.Output
	at        time.Time
	notBefore event.Time
	old       map[string]refState
	changes   []*refChange
	joins     joins
	spent     []string // keys of pushes that can be forgotten
	// finally holds the new state of the references: nil deletes. It is written
	// when all is told, so that a new process compares with the same state again.
	finally []keyValue
	meta    *meta

	target    string // names the difference
	skip      int64  // events that an earlier process told
	due       int64  // that were come to, those that are passed over among them
	told      int64  // that were come to and told
	unsaved   int
	inventory bool

	objects *objects
	dates   map[string]int64 // commit dates of parents
	infos   map[string]object
	scans   map[string]scanned
	merges  *mergeReader
	auto    autoMerge
}

type keyValue struct {
	key   string
	value []byte
}

// resume reads how far an earlier process came with the same difference.
func (t *teller) resume() error {
	b, err := t.out.Get(t.r.key + "progress")
	if err != nil {
		return err
	}
	target, n, ok := strings.Cut(string(b), "\n")
	if !ok || target != t.target {
		return nil
	}
	t.skip, err = strconv.ParseInt(n, 10, 64)
	return err
}

// next counts the next event and reports whether it has to be told.
func (t *teller) next() bool {
	t.due++
	return t.due > t.skip
}

// emit tells an event that was next.
func (t *teller) emit(ev *event.Event) error {
	if err := t.out.Emit(ev); err != nil {
		return err
	}
	t.told = t.due
	if t.unsaved++; t.unsaved < t.r.c.checkpointEvery {
		return nil
	}
	return t.save()
}

// save makes what was told so far last.
func (t *teller) save() error {
	if t.unsaved == 0 {
		return nil
	}
	t.unsaved = 0
	t.out.Put(t.r.key+"progress", []byte(t.target+"\n"+strconv.FormatInt(t.told, 10)))
	return t.out.Checkpoint()
}

// conclude writes the new state, after all was told.
func (t *teller) conclude() {
	for _, kv := range t.finally {
		if kv.value == nil {
			t.out.Delete(kv.key)
		} else {
			t.out.Put(kv.key, kv.value)
		}
	}
	t.out.Delete(t.r.key + "progress")
	for _, key := range t.spent {
		t.out.Delete(key)
	}
}

// tellAll tells commits, then references, and writes the new state.
func (t *teller) tellAll() error {
	t.inventory = !t.meta.Inventoried
	if len(t.changes) == 0 && !t.inventory {
		return nil
	}
	objects, err := t.r.mirror.git.objects(t.ctx)
	if err != nil {
		return err
	}
	t.objects = objects
	t.dates, t.infos, t.scans = map[string]int64{}, map[string]object{}, map[string]scanned{}
	defer func() {
		t.objects.close()
		t.merges.close()
		t.auto.close()
	}()
	tips, err := t.r.loadKept(t.out)
	if err != nil {
		return err
	}
	if err := t.peel(); err != nil {
		return err
	}
	if t.inventory {
		if err := t.tellInventory(); err != nil {
			return err
		}
	} else {
		if err := t.tellRenewal(); err != nil {
			return err
		}
		if err := t.tellCommits(tips); err != nil {
			return err
		}
	}
	return t.tellRefs(tips)
}

// peel finds the commits of the references that changed.
func (t *teller) peel() error {
	ids := make([]string, 0, 2*len(t.changes))
	for _, c := range t.changes {
		for _, oid := range []string{c.old.oid, c.new} {
			if oid != "" && !strings.HasPrefix(c.name, replaced) {
				ids = append(ids, oid)
			}
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	found, err := t.objects.peel(ids)
	if err != nil {
		return fmt.Errorf("read tips: %w", err)
	}
	commits := make(map[string]string, len(ids))
	var others []string
	for i, id := range ids {
		if found[i].kind == "commit" {
			commits[id] = found[i].oid
		} else {
			others = append(others, id)
		}
	}
	// A reference may point at a blob or a tree. That what it points at now is
	// nowhere can't be.
	if found, err = t.objects.info(others); err != nil {
		return fmt.Errorf("read tips: %w", err)
	}
	lost := map[string]bool{}
	for i, id := range others {
		lost[id] = found[i].kind == ""
	}
	for _, c := range t.changes {
		if lost[c.new] && !strings.HasPrefix(c.name, replaced) {
			return fmt.Errorf("read %s of %s: %w", c.new, c.name, errDamaged)
		}
	}
	for _, c := range t.changes {
		if !strings.HasPrefix(c.name, replaced) {
			c.oldCommit, c.newCommit = commits[c.old.oid], commits[c.new]
		}
	}
	return nil
}

// tellCommits tells the commits that became reachable from a protected
// reference, then those that became reachable at all from any other.
func (t *teller) tellCommits(tips []keptTip) error {
	protected := walk{tips: map[string]string{}}
	other := walk{tips: map[string]string{}}
	protected.from(t.changes, func(c *refChange) bool { return c.protected })
	other.from(t.changes, func(c *refChange) bool { return !c.protected })
	for _, name := range slices.Sorted(maps.Keys(t.old)) {
		oid := t.old[name].oid
		if oid == "" || strings.HasPrefix(name, replaced) {
			continue
		}
		other.not = append(other.not, oid)
		if t.r.c.isProtected(name) {
			protected.not = append(protected.not, oid)
		}
	}
	for _, tip := range tips {
		other.not = append(other.not, tip.oid)
		if tip.protected {
			protected.not = append(protected.not, tip.oid)
		}
	}
	for tip := range protected.tips {
		other.not = append(other.not, tip)
	}
	slices.Sort(other.not)
	if err := t.tellWalk(protected, true, nil); err != nil {
		return err
	}
	return t.tellWalk(other, false, nil)
}

// tellRecords tells some commits and their files.
func (t *teller) tellRecords(records []record, protected bool, as telling) error {
	if len(records) == 0 {
		return nil
	}
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].oid
	}
	raws, err := t.objects.contents(ids, maxCommit)
	if err != nil {
		return fmt.Errorf("read commits: %w", err)
	}
	sha256 := len(ids[0]) == 64
	commits := make([]commit, len(records))
	for i := range raws {
		if raws[i].kind != "commit" {
			return fmt.Errorf("read commit %s: %w", ids[i], errDamaged)
		}
		commits[i] = parseCommit(raws[i].data, sha256)
		commits[i].cut = raws[i].size > maxCommit
		if id := commits[i].committer; id.dated {
			t.remember(ids[i], id.unix)
		}
	}
	if err := t.parentDates(commits, sha256); err != nil {
		return err
	}
	if err := t.prefetch(records); err != nil {
		return err
	}
	for i := range records {
		e := entry{rec: &records[i], c: &commits[i], protected: protected, history: as != nil}
		e.inventory = e.history && as(e.c)
		e.signature = t.r.c.signers.verify(e.c, t.notBefore, t.at, e.history)
		if !e.rec.more {
			t.r.c.readCommit()
			if t.next() {
				if err := t.emit(t.commitEvent(&e)); err != nil {
					return err
				}
			}
		}
		if e.inventory {
			continue
		}
		if err := t.tellFiles(&e); err != nil {
			return err
		}
	}
	return nil
}

// An entry is a commit on its way into events.
type entry struct {
	rec       *record
	c         *commit
	protected bool // told as reached from a protected reference
	history   bool // from before the first contact
	inventory bool // and told as inventory
	signature verified
}

// maxRemembered bounds the tables that save asking git twice.
const maxRemembered = 1 << 17

func (t *teller) remember(oid string, unix int64) {
	if len(t.dates) >= maxRemembered {
		clear(t.dates)
	}
	t.dates[oid] = unix
}

// parentDates reads the commit dates of those parents that are not known yet.
func (t *teller) parentDates(commits []commit, sha256 bool) error {
	var ask []string
	for i := range commits {
		for _, p := range commits[i].parents {
			if _, ok := t.dates[p]; !ok {
				ask = append(ask, p)
			}
		}
	}
	if len(ask) == 0 {
		return nil
	}
	slices.Sort(ask)
	ask = slices.Compact(ask)
	raws, err := t.objects.contents(ask, maxCommit)
	if err != nil {
		return fmt.Errorf("read parents: %w", err)
	}
	for i := range raws {
		if raws[i].kind != "commit" {
			continue
		}
		parent := parseCommit(raws[i].data, sha256)
		if parent.committer.dated {
			t.remember(ask[i], parent.committer.unix)
		}
	}
	return nil
}

// commitEvent tells of one commit.
func (t *teller) commitEvent(e *entry) *event.Event {
	r := t.r
	operation, action := "commit.added", "created"
	if e.inventory {
		operation, action = "inventory", "read"
	}
	ev := r.event(operation, action, "commit", r.id+"@"+e.rec.oid, t.at)
	ev.ID = event.MakeID(event.SourcetypeGit, operation, ev.AssetID, e.rec.ref, strconv.FormatBool(e.protected))
	ev.GitCommit, ev.GitRef = e.rec.oid, e.rec.ref
	ev.Protected = event.B(e.protected)
	if e.protected {
		ev.Direct = event.B(e.rec.direct)
	}
	fillCommit(ev, e.c)
	ev.ParentDate = t.newestParent(e.c)
	ev.Signature, ev.SignerKey = e.signature.status, e.signature.key
	if e.inventory {
		ev.Evidence = "inventory"
		return ev
	}
	t.tellAct(ev, e)
	return ev
}

// tellAct says when a change happened and who did it: the pusher whom a log
// proves, else who signed, else the pusher whom a log claims, else whom the
// commit claims as its author. History before the first contact is dated by its
// own claim.
func (t *teller) tellAct(ev *event.Event, e *entry) {
	ev.Status = "success"
	if e.history {
		ev.TimeBasis, ev.ClaimedTime = "claimed", dated(e.c.committer)
	} else {
		ev.NotBefore = t.notBefore
	}
	t.joins.credit(t.r.c, ev, e.rec.ref)
	if ev.UserConfidence == confidenceAuthenticated {
		return
	}
	if principal := e.signature.signed(); principal != "" {
		t.r.c.actor(ev, principal, confidenceSigned)
		return
	}
	if ev.User != "" {
		return
	}
	principal := e.c.author.email
	if principal == "" {
		principal = e.c.author.name
	}
	t.r.c.actor(ev, principal, confidenceClaimed)
}

// fillCommit copies what a commit says of itself.
func fillCommit(ev *event.Event, c *commit) {
	ev.Merge = event.B(len(c.parents) > 1)
	ev.Parents = c.parents
	ev.Author, ev.AuthorEmail, ev.AuthorDate = c.author.name, c.author.email, dated(c.author)
	ev.Committer, ev.CommitterEmail, ev.CommitDate = c.committer.name, c.committer.email, dated(c.committer)
	ev.Subject = c.subject
}

// dated is the date of an ident; one that no clock shows is left out.
func dated(id ident) event.Time {
	const maxSeconds = 1 << 43 // in ms still an integer that JSON keeps
	if !id.dated || id.unix > maxSeconds || id.unix < -maxSeconds {
		return event.Time{}
	}
	return event.Millis(id.unix * 1000)
}

func (t *teller) newestParent(c *commit) event.Time {
	newest := event.Time{}
	for _, p := range c.parents {
		if unix, ok := t.dates[p]; ok {
			d := dated(ident{unix: unix, dated: true})
			if d.IsSet() && (!newest.IsSet() || d.UnixMilli() > newest.UnixMilli()) {
				newest = d
			}
		}
	}
	return newest
}

// tellInventory tells what the repository has at first contact: itself, its
// references, the commits on protected ones. With backfill the younger commits
// are told as events instead.
func (t *teller) tellInventory() error {
	r := t.r
	if t.next() {
		ev := r.event("inventory", "read", "repository", r.id, t.at)
		ev.ID = event.MakeID(event.SourcetypeGit, "inventory", r.id, "")
		ev.Evidence = "inventory"
		if err := t.emit(ev); err != nil {
			return err
		}
	}
	for _, c := range t.changes {
		if c.new == "" || strings.HasPrefix(c.name, replaced) || !t.next() {
			continue
		}
		ev := r.event("inventory", "read", "ref", r.id+"@"+c.name, t.at)
		ev.ID = event.MakeID(event.SourcetypeGit, "inventory", ev.AssetID, c.new)
		ev.Evidence = "inventory"
		ev.GitRef, ev.GitCommit, ev.Protected = c.name, c.newCommit, event.B(c.protected)
		if err := t.emit(ev); err != nil {
			return err
		}
	}
	w := walk{tips: map[string]string{}}
	w.from(t.changes, func(c *refChange) bool { return c.protected })
	if len(w.tips) == 0 {
		return nil
	}
	since := time.UnixMilli(t.meta.First).AddDate(0, 0, -r.c.cfg.BackfillDays).Unix()
	return t.tellWalk(w, true, func(c *commit) bool {
		return r.c.cfg.BackfillDays == 0 || !c.committer.dated || c.committer.unix < since
	})
}

// tellRenewal tells when the repository has nothing in common with the one that
// was there before.
func (t *teller) tellRenewal() error {
	had, has := false, false
	for _, c := range t.changes {
		had = had || c.oldCommit != ""
		has = has || c.newCommit != ""
	}
	if !had || !has {
		return nil
	}
	changed := map[string]bool{}
	for _, c := range t.changes {
		changed[c.name] = true
	}
	for name, s := range t.old {
		if s.oid != "" && !changed[name] && !strings.HasPrefix(name, replaced) {
			return nil // something stayed as it was
		}
	}
	w := walk{tips: map[string]string{}}
	w.from(t.changes, func(*refChange) bool { return true })
	all, err := t.count(w)
	if err != nil {
		return err
	}
	for _, c := range t.changes {
		if c.oldCommit != "" {
			w.not = append(w.not, c.oldCommit)
		}
	}
	fresh, err := t.count(w)
	if err != nil || fresh < all {
		return err
	}
	t.meta.Renewals++
	if !t.next() {
		return nil
	}
	r := t.r
	ev := r.event("repo.recreated", "unknown", "repository", r.id, t.at)
	ev.ID = event.MakeID(event.SourcetypeGit, "repo.recreated", r.id, strconv.FormatInt(t.meta.Renewals, 10))
	ev.NotBefore = t.notBefore
	return t.emit(ev)
}

// count returns how many commits a walk has.
func (t *teller) count(w walk) (int64, error) {
	out, err := t.r.mirror.git.output(t.ctx, w.stdin(), maxToken, "rev-list", "--count", "--ignore-missing", "--stdin")
	if err != nil {
		return 0, fmt.Errorf("count commits: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("count commits: %w", err)
	}
	return n, nil
}

// tellRefs tells the references that changed, with the commits that were
// dropped, and writes their state.
func (t *teller) tellRefs(tips []keptTip) error {
	r := t.r
	now, err := r.mirror.refs(t.ctx)
	if err != nil {
		return err
	}
	var reachable []string
	for _, c := range now {
		reachable = append(reachable, c.oid)
	}
	var keep []*refChange
	for _, c := range t.changes {
		n := c.old.n
		if !c.known {
			n = t.meta.Floor
		}
		if t.inventory && !strings.HasPrefix(c.name, replaced) {
			t.putRef(c, n)
			continue
		}
		n++
		operation, err := t.refOperation(c)
		if err != nil {
			return err
		}
		if operation != "" && t.next() {
			if err := t.emit(t.refEvent(c, operation, n)); err != nil {
				return err
			}
		}
		if c.oldCommit != "" && c.oldCommit != c.newCommit && operation != "ref.updated" {
			dropped, err := t.tellDropped(c, n, reachable)
			if err != nil {
				return err
			}
			if dropped {
				reachable = append(reachable, c.oldCommit)
				keep = append(keep, c)
			}
		}
		t.putRef(c, n)
	}
	return t.keepTips(keep, tips)
}

// refOperation says what happened to a reference; empty when that was told while
// only references were read.
func (t *teller) refOperation(c *refChange) (string, error) {
	told := c.old.told()
	switch {
	case strings.HasPrefix(c.name, replaced):
		switch {
		case told == c.new:
			return "", nil
		case c.new == "":
			return "ref.deleted", nil
		}
		return "replace_ref.present", nil
	case c.new == "" && told == "":
		return "", nil
	case c.new == "":
		return "ref.deleted", nil
	case told == "":
		return "ref.created", nil
	case strings.HasPrefix(c.name, "refs/tags/"):
		if told == c.new {
			return "", nil
		}
		return "tag.moved", nil
	}
	forward := false
	switch {
	case c.oldCommit != "" && c.newCommit != "":
		var err error
		if forward, err = t.r.mirror.isAncestor(t.ctx, c.oldCommit, c.newCommit); err != nil {
			return "", fmt.Errorf("compare %s: %w", c.name, err)
		}
	case c.old.oid == "":
		forward = true // it came to be while only references were read
	case c.newCommit == "":
		// Whatever it points at now, no history leads there; a reference that never
		// pointed at a commit only has another value.
		forward = c.oldCommit == "" && t.infoKind(c.old.oid) != ""
	}
	switch {
	case !forward:
		return "ref.force_pushed", nil
	case told == c.new:
		return "", nil
	}
	return "ref.updated", nil
}

// infoKind returns the kind of an object, empty when the mirror has lost it.
func (t *teller) infoKind(oid string) string {
	found, err := t.objects.info([]string{oid})
	if err != nil {
		return ""
	}
	return found[0].kind
}

func (t *teller) refEvent(c *refChange, operation string, n int64) *event.Event {
	actions := map[string]string{"ref.created": "created", "ref.updated": "updated", "ref.deleted": "deleted"}
	action := actions[operation]
	if action == "" {
		action = "modified"
	}
	from := c.old.told()
	if operation == "ref.force_pushed" && from == c.new {
		from = c.old.oid // the move was told before, its kind was not known
	}
	ev := t.r.event(operation, action, "ref", t.r.id+"@"+c.name, t.at)
	ev.ID = event.MakeID(event.SourcetypeGit, ev.AssetID, "target", from, c.new, strconv.FormatInt(n, 10), operation)
	ev.Status = "success"
	ev.NotBefore = t.notBefore
	ev.GitRef, ev.Protected = c.name, event.B(c.protected)
	ev.GitCommit = c.newCommit
	if c.new == "" {
		ev.GitCommit = c.oldCommit
	}
	if from != "" && c.new != "" {
		ev.ChangeField, ev.OldValue, ev.NewValue = "target", from, c.new
	}
	if operation == "replace_ref.present" {
		ev.ChangeField, ev.OldValue, ev.NewValue = "target", from, c.new
	}
	t.joins.credit(t.r.c, ev, c.name)
	if ev.UserConfidence == "" {
		ev.UserConfidence = confidenceUnknown
	}
	return ev
}

// tellDropped tells the commits that no reference holds any more because this
// one moved or went away. It reports whether there are any.
func (t *teller) tellDropped(c *refChange, n int64, reachable []string) (bool, error) {
	w := walk{tips: map[string]string{c.oldCommit: c.name}, not: reachable}
	p, err := t.r.mirror.git.with(inPieces).start(t.ctx, "rev-list", "--topo-order", "--ignore-missing", "--stdin")
	if err != nil {
		return false, err
	}
	defer p.feed(w.stdin())()
	dropped := false
	var chunk []string
	for {
		line, err := p.stdout.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("find dropped commits: %w", t.because(p, err))
		}
		if oid := strings.TrimSuffix(line, "\n"); oid != "" {
			dropped = true
			chunk = append(chunk, oid)
		}
		if len(chunk) == recordsAtOnce || err != nil {
			if err := t.tellDroppedCommits(c, n, chunk); err != nil {
				return false, err
			}
			chunk = chunk[:0]
		}
		if err != nil {
			break
		}
	}
	if err := p.finish(); err != nil {
		return false, fmt.Errorf("find dropped commits: %w", err)
	}
	return dropped, nil
}

func (t *teller) tellDroppedCommits(c *refChange, n int64, ids []string) error {
	raws, err := t.objects.contents(ids, maxCommit)
	if err != nil {
		return fmt.Errorf("read dropped commits: %w", err)
	}
	for i, oid := range ids {
		if raws[i].kind != "commit" {
			return fmt.Errorf("read dropped commit %s: %w", oid, errDamaged)
		}
		if !t.next() {
			continue
		}
		commit := parseCommit(raws[i].data, len(oid) == 64)
		ev := t.r.event("commit.dropped", "deleted", "commit", t.r.id+"@"+oid, t.at)
		ev.ID = event.MakeID(event.SourcetypeGit, "commit.dropped", ev.AssetID, c.name, c.old.oid, c.new, strconv.FormatInt(n, 10))
		ev.Status = "success"
		ev.NotBefore = t.notBefore
		ev.GitCommit, ev.GitRef, ev.Protected = oid, c.name, event.B(c.protected)
		ev.DroppedBy = c.newCommit
		fillCommit(ev, &commit)
		t.joins.credit(t.r.c, ev, c.name)
		if ev.UserConfidence == "" {
			ev.UserConfidence = confidenceUnknown
		}
		if err := t.emit(ev); err != nil {
			return err
		}
	}
	return nil
}

// putRef writes what was told of a reference. One that is gone leaves nothing
// but its count, so that one of its name that is made anew counts on.
func (t *teller) putRef(c *refChange, n int64) {
	if c.new == "" {
		t.meta.Floor = max(t.meta.Floor, n)
		t.finally = append(t.finally, keyValue{key: t.r.refKey(c.name)})
		return
	}
	t.finally = append(t.finally, keyValue{t.r.refKey(c.name), refState{oid: c.new, n: n}.encode(c.name)})
}

// keepTips holds on to the tips whose commits were dropped, the newest of them.
func (t *teller) keepTips(dropped []*refChange, tips []keptTip) error {
	var add, remove []string
	for _, c := range dropped {
		add = append(add, c.oldCommit)
		t.finally = append(t.finally, t.r.keptTip(t.at.UnixMilli(), c.oldCommit, c.protected))
	}
	for i := range len(tips) + len(dropped) - maxKept {
		if i >= len(tips) {
			break
		}
		remove = append(remove, tips[i].oid)
		t.finally = append(t.finally, keyValue{key: tips[i].key})
	}
	if err := t.r.mirror.keep(t.ctx, add); err != nil {
		return err
	}
	return t.r.mirror.forget(t.ctx, remove)
}

// tellRefsOnly tells what a list of references shows while nothing is fetched:
// whether a branch moved forward or was rewritten it does not show, and the
// event says so. That is made up for when fetching is possible again.
func (t *teller) tellRefsOnly() error {
	for _, c := range t.changes {
		told := c.old.told()
		n := c.old.n
		if !c.known {
			n = t.meta.Floor
		}
		if told != c.new && t.meta.Inventoried {
			n++
			operation := "ref.updated"
			switch {
			case strings.HasPrefix(c.name, replaced) && c.new != "":
				operation = "replace_ref.present"
			case told == "":
				operation = "ref.created"
			case c.new == "":
				operation = "ref.deleted"
			case strings.HasPrefix(c.name, "refs/tags/"):
				operation = "tag.moved"
			}
			if t.next() {
				ev := t.refEvent(c, operation, n)
				ev.ErrorCode = "not_fetched"
				if err := t.emit(ev); err != nil {
					return err
				}
			}
		}
		seen := c.new
		if seen == "" {
			seen = goneRef
		}
		switch {
		case seen == c.old.oid:
			seen = ""
		case c.old.oid == "" && c.new == "":
			t.meta.Floor = max(t.meta.Floor, n)
			t.finally = append(t.finally, keyValue{key: t.r.refKey(c.name)})
			continue
		}
		t.finally = append(t.finally, keyValue{t.r.refKey(c.name), refState{oid: c.old.oid, n: n, seen: seen}.encode(c.name)})
	}
	return nil
}
