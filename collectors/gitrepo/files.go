package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/collectors/modelfile"
	"aiwatch/internal/event"
)

// Limits of looking into one file.
const (
	maxJSON     = 16 << 20         // bytes of a JSON file whose keys are compared
	maxScanTime = time.Minute      // for the pickles of one file
	maxScanned  = 4 << 30          // bytes that one file may unfold to
	maxAutoTime = 20 * time.Second // for putting one merge together again
	maxAuto     = 1000             // merges that are put together again in one difference
)

// What error_code says of a file that could not be looked into.
const (
	notLookedInto = "over_blob_budget"
	notInMirror   = "not_in_mirror" // the server left it out, which it does with what is over the budget
)

// isBlob reports whether a side of a change is a file with content.
func isBlob(mode, oid string) bool {
	return mode != modeSubmodule && !isZeroOid(mode) && !isZeroOid(oid)
}

// prefetch reads sizes of all blobs of the records at once, and the contents of
// those that are small enough to be a pointer.
func (t *teller) prefetch(records []record) error {
	if len(t.infos) > maxRemembered/4 {
		clear(t.infos)
	}
	var ask []string
	for i := range records {
		for _, c := range records[i].changes {
			for _, side := range [][2]string{{c.oldMode, c.oldOid}, {c.newMode, c.newOid}} {
				if _, known := t.infos[side[1]]; !known && isBlob(side[0], side[1]) {
					ask = append(ask, side[1])
				}
			}
		}
	}
	if len(ask) == 0 {
		return nil
	}
	slices.Sort(ask)
	ask = slices.Compact(ask)
	found, err := t.objects.info(ask)
	if err != nil {
		return fmt.Errorf("read sizes: %w", err)
	}
	if err := t.confirmMissing(ask, found); err != nil {
		return err
	}
	var small []string
	for i, id := range ask {
		t.infos[id] = found[i]
		if found[i].kind == "blob" && found[i].size <= modelfile.MaxLFSPointer {
			small = append(small, id)
		}
	}
	contents, err := t.objects.contents(small, modelfile.MaxLFSPointer)
	if err != nil {
		return fmt.Errorf("read small files: %w", err)
	}
	for i, id := range small {
		t.infos[id] = contents[i]
	}
	return nil
}

// confirmMissing fails when git can't read what it says is not there: it calls
// both missing, and tells them apart by what it complains of.
func (t *teller) confirmMissing(ids []string, found []object) error {
	var missing []string
	for i := range found {
		if found[i].kind == "" {
			missing = append(missing, ids[i])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	p, err := t.r.mirror.git.start(t.ctx, "cat-file", "--batch-check")
	if err != nil {
		return err
	}
	defer p.feed([]byte(strings.Join(missing, "\n") + "\n"))()
	if _, err = io.Copy(io.Discard, p.stdout); err == nil {
		err = p.finish()
	}
	if complaint := p.stderr.String(); err == nil && complaint != "" {
		err = fmt.Errorf("%w: %s", errDamaged, lastWords(complaint))
	}
	if err != nil {
		return fmt.Errorf("look for files: %w", err)
	}
	return nil
}

// tellFiles tells the changed paths of one commit.
func (t *teller) tellFiles(e *entry) error {
	merge := len(e.c.parents) > 1
	var only map[string]bool
	if merge && len(e.rec.changes) > 0 {
		var err error
		if only, err = t.inNoParent(e); err != nil {
			return err
		}
	}
	for i := range e.rec.changes {
		if !t.next() {
			continue
		}
		c := &e.rec.changes[i]
		ev := t.fileEvent(e, c)
		ev.Merge = event.B(merge)
		if merge {
			ev.MergeOnly = event.B(only[c.path])
		}
		t.describe(ev, c, e.history)
		// What could not be looked into because git ended, or because we have to,
		// is looked into again.
		if err := errors.Join(t.objects.broken, t.ctx.Err()); err != nil {
			return fmt.Errorf("look into %q: %w", c.path, err)
		}
		t.tellAct(ev, e)
		if err := t.emit(ev); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) fileEvent(e *entry, c *change) *event.Event {
	operation, action := "file.modified", "modified"
	switch {
	case c.added():
		operation, action = "file.added", "created"
	case c.deleted():
		operation, action = "file.deleted", "deleted"
	}
	r := t.r
	ev := r.event(operation, action, "file", r.id+"//"+c.path, t.at)
	ev.ID = event.MakeID(event.SourcetypeGit, operation, ev.AssetID, e.rec.oid, e.rec.ref, strconv.FormatBool(e.protected))
	ev.GitCommit, ev.GitRef, ev.Protected = e.rec.oid, e.rec.ref, event.B(e.protected)
	r.class(c).fill(ev)
	return ev
}

// A side is one version of a file.
type side struct {
	object
	pointers []modelfile.Pointer
}

// look reads what there is to know of one version without looking into it.
func (t *teller) look(path, mode, oid string) (side, error) {
	if !isBlob(mode, oid) {
		return side{}, nil
	}
	s := side{object: t.infos[oid]}
	if s.kind != "blob" {
		return s, errMissing
	}
	b := s.data
	if b == nil {
		limit := int64(0)
		switch {
		case modelfile.Classify(path).Format == "dvc":
			limit = modelfile.MaxDVCPointer
		case mode == modeSymlink:
			limit = modelfile.MaxAnnexPointer
		}
		if s.size == 0 || s.size > limit {
			return s, nil
		}
		var err error
		if b, err = t.objects.blob(oid, limit); err != nil {
			return s, err
		}
	}
	var err error
	s.pointers, err = modelfile.ParsePointers(path, b)
	return s, err
}

// describe fills in what changed and what the new version is.
func (t *teller) describe(ev *event.Event, c *change, history bool) {
	old, oldErr := t.look(c.path, c.oldMode, c.oldOid)
	now, nowErr := t.look(c.path, c.newMode, c.newOid)
	if !c.added() && !c.deleted() {
		switch {
		case c.oldOid == c.newOid:
			ev.ChangeField, ev.OldValue, ev.NewValue = "mode", c.oldMode, c.newMode
		case oldErr == nil && nowErr == nil && (len(old.pointers) > 0) != (len(now.pointers) > 0):
			ev.ChangeField, ev.OldValue, ev.NewValue = "pointer", c.oldOid, c.newOid
		default:
			ev.ChangeField, ev.OldValue, ev.NewValue = "digest", c.oldOid, c.newOid
		}
	}
	if c.newMode == modeSubmodule {
		ev.SubmoduleCommit = c.newOid
	}
	if c.deleted() {
		// What is gone is told as it was.
		if oldErr == nil && isBlob(c.oldMode, c.oldOid) {
			ev.AssetDigest, ev.AssetSize = "gitoid:"+c.oldOid, event.N(old.size)
			fillPointer(ev, old.pointers, nil)
		}
		return
	}
	if !isBlob(c.newMode, c.newOid) {
		return
	}
	ev.AssetDigest = "gitoid:" + c.newOid
	switch {
	case errors.Is(nowErr, errMissing):
		ev.ErrorCode = notInMirror
		return
	case nowErr != nil:
		ev.ErrorCode = "damaged"
	}
	ev.AssetSize = event.N(now.size)
	if len(now.pointers) > 0 {
		fillPointer(ev, now.pointers, old.pointers)
		t.lookBehind(ev, c, now.pointers)
		return
	}
	if c.oldOid == c.newOid {
		return
	}
	cls := t.r.class(c)
	if cls.Format == "json" && cls.Role != modelfile.RoleDataset {
		t.compareJSON(ev, c, old, now)
	}
	if scannable(cls) {
		t.scanChange(ev, c, old, now)
	}
	if cls.Role == modelfile.RoleWeights && !history {
		t.digestContent(ev, c.newOid, now)
	}
}

// digestContent gives weights the digest under which other sources know them. It
// reads all of them, so that history does without.
func (t *teller) digestContent(ev *event.Event, oid string, now side) {
	if now.size > t.r.c.cfg.BlobBudget {
		return
	}
	b := now.data
	if int64(len(b)) != now.size {
		var err error
		if b, err = t.objects.blob(oid, t.r.c.cfg.BlobBudget); err != nil {
			return // the object's id is its digest then
		}
	}
	sum := sha256.Sum256(b)
	ev.AssetDigest = "sha256:" + hex.EncodeToString(sum[:])
}

// scannable reports whether a file may hold pickles: weights, and data in
// formats that hold them.
func scannable(cls class) bool {
	return cls.CanCarryCode && (cls.Role == modelfile.RoleWeights || cls.Role == modelfile.RoleDataset)
}

// fillPointer fills in what a pointer names; of several (dvc.lock) the first
// that is new.
func fillPointer(ev *event.Event, now, old []modelfile.Pointer) {
	if len(now) == 0 {
		return
	}
	p := now[0]
	for _, candidate := range now {
		if !slices.Contains(old, candidate) {
			p = candidate
			break
		}
	}
	if p.Digest != "" {
		ev.AssetDigest = p.Digest
	}
	size := event.Number{}
	if p.Size >= 0 {
		size = event.N(p.Size)
	}
	ev.AssetSize = size
	switch p.Kind {
	case modelfile.PointerLFS:
		ev.LFSOid, ev.LFSSize = strings.TrimPrefix(p.Digest, "sha256:"), size
	case modelfile.PointerDVC:
		ev.DVCMD5 = strings.TrimPrefix(p.Digest, "md5:")
		if p.Dir {
			ev.DVCMD5 += ".dir"
		}
	}
}

func (t *teller) compareJSON(ev *event.Event, c *change, old, now side) {
	limit := min(maxJSON, t.r.c.cfg.BlobBudget)
	if now.size > limit || old.size > limit {
		ev.ErrorCode = notLookedInto
		return
	}
	after, err := t.objects.blob(c.newOid, limit)
	if err != nil {
		ev.ErrorCode = notInMirror
		return
	}
	var before []byte
	if isBlob(c.oldMode, c.oldOid) {
		if before, err = t.objects.blob(c.oldOid, limit); err != nil {
			ev.ErrorCode = notInMirror
			return
		}
	}
	keys, err := changedKeys(before, after)
	if err != nil {
		ev.ErrorCode = "damaged"
	}
	ev.JSONKeys = keys
}

// scanned is what looking for pickles gave.
type scanned struct {
	imports []string
	verdict modelfile.Verdict
}

// scanChange looks for pickles in a new version and for what it imports that the
// last one did not.
func (t *teller) scanChange(ev *event.Event, c *change, old, now side) {
	if now.size > t.r.c.cfg.BlobBudget {
		ev.ErrorCode = notLookedInto
		return
	}
	new, err := t.scan(c.path, c.newOid)
	if err != nil {
		ev.ErrorCode = notInMirror
		return
	}
	if new.verdict == modelfile.NoVerdict {
		return
	}
	ev.Imports, ev.Verdict = new.imports, new.verdict.String()
	if !isBlob(c.oldMode, c.oldOid) || len(old.pointers) > 0 || old.size > t.r.c.cfg.BlobBudget {
		return
	}
	before, err := t.scan(c.path, c.oldOid)
	if err != nil {
		return
	}
	ev.ImportsAdded = added(before.imports, new.imports)
}

// added returns what is in now and not in before.
func added(before, now []string) []string {
	var more []string
	for _, name := range now {
		if !slices.Contains(before, name) {
			more = append(more, name)
		}
	}
	return more
}

func (t *teller) scan(name, oid string) (scanned, error) {
	key := oid + path.Base(name)
	if s, ok := t.scans[key]; ok {
		return s, nil
	}
	b, err := t.objects.blob(oid, t.r.c.cfg.BlobBudget)
	if err != nil {
		return scanned{}, err
	}
	found := modelfile.ScanBytes(t.ctx, name, b, scanLimits())
	if len(t.scans) > 1000 {
		clear(t.scans)
	}
	s := scanned{imports: found.Imports, verdict: found.Verdict}
	t.scans[key] = s
	return s, nil
}

func scanLimits() modelfile.Limits {
	limits := modelfile.DefaultLimits()
	limits.Time, limits.Bytes = maxScanTime, maxScanned
	return limits
}

// inNoParent returns the paths of a merge whose content no parent has and that
// putting the parents together does not give either: somebody wrote it into the
// merge itself.
func (t *teller) inNoParent(e *entry) (map[string]bool, error) {
	if t.merges == nil {
		var err error
		if t.merges, err = t.r.mirror.git.merges(t.ctx); err != nil {
			return nil, err
		}
	}
	paths, err := t.merges.differFromAll(e.rec.oid)
	if err != nil {
		return nil, fmt.Errorf("compare merge %s: %w", e.rec.oid, err)
	}
	only := map[string]bool{}
	for _, p := range paths {
		only[p] = true
	}
	for i := range e.rec.changes {
		ch := &e.rec.changes[i]
		if only[ch.path] && t.auto.gives(t.ctx, t.r.mirror, e.rec.oid, e.c.parents, ch) {
			delete(only, ch.path)
		}
	}
	return only, nil
}

// A mergeReader asks one long-lived git which paths of a merge differ from all
// its parents.
type mergeReader struct{ p *process }

func (g *gitRunner) merges(ctx context.Context) (*mergeReader, error) {
	p, err := g.start(ctx, "diff-tree", "--stdin", "-c", "-r", "--raw", "-z", "--no-abbrev", "--no-renames")
	if err != nil {
		return nil, err
	}
	return &mergeReader{p: p}, nil
}

func (m *mergeReader) close() {
	if m != nil {
		m.p.stop()
	}
}

// endOfMerge is a line that is no commit; git prints it back as it is, which
// tells that what belongs to the commit before it is complete.
const endOfMerge = "end\n"

func (m *mergeReader) differFromAll(oid string) ([]string, error) {
	if _, err := m.p.stdin.Write([]byte(oid + "\n" + endOfMerge)); err != nil {
		return nil, err
	}
	var out []byte
	for {
		head, err := m.p.stdout.Peek(1)
		if err != nil {
			return nil, err
		}
		if head[0] == endOfMerge[0] {
			if head, err = m.p.stdout.Peek(len(endOfMerge)); err == nil && string(head) == endOfMerge {
				_, err = m.p.stdout.Discard(len(endOfMerge))
				if err != nil {
					return nil, err
				}
				return parseCombined(out)
			}
		}
		// A path begins only behind what announces it, so one token of each kind
		// is read at a time.
		token, err := readToken(m.p.stdout)
		if err != nil {
			return nil, err
		}
		announces := bytes.HasPrefix(token, []byte("::"))
		out = append(out, token...)
		if announces {
			if token, err = readToken(m.p.stdout); err != nil {
				return nil, err
			}
			out = append(out, token...)
		}
		if len(out) > maxListing {
			return nil, errToken
		}
	}
}

// readToken reads a text with the NUL that ends it.
func readToken(r *bufio.Reader) ([]byte, error) {
	var token []byte
	for {
		part, err := r.ReadSlice(0)
		token = append(token, part...)
		if err == nil {
			return token, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(token) > maxToken {
			return nil, err
		}
	}
}

// An autoMerge puts merges together again as git does, in a folder of its own.
type autoMerge struct {
	dir    string
	commit string
	tree   string // empty: it could not be put together
	count  int
}

// mergeFolders is the pattern of the folders' names; a process that is killed
// leaves one behind.
func (m *mirror) mergeFolders() string { return shortHash(m.dir) + ".merge-*" }

func (a *autoMerge) close() {
	if a.dir != "" {
		_ = os.RemoveAll(a.dir)
	}
}

// gives reports whether merging the parents by itself gives the content that
// the merge has at a path.
func (a *autoMerge) gives(ctx context.Context, m *mirror, oid string, parents []string, c *change) bool {
	if len(parents) != 2 || !isBlob(c.newMode, c.newOid) {
		return false
	}
	g := m.git
	if a.dir == "" {
		dir, err := os.MkdirTemp(m.root, m.mergeFolders())
		if err != nil {
			return false
		}
		a.dir = dir
	}
	g = g.with("GIT_OBJECT_DIRECTORY="+a.dir, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+m.dir+"/objects")
	ctx, cancel := context.WithTimeout(ctx, maxAutoTime)
	defer cancel()
	if a.commit != oid {
		a.commit, a.tree = oid, ""
		if a.count++; a.count > maxAuto {
			return false
		}
		out, err := g.output(ctx, nil, maxListing, "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", parents[0], parents[1])
		var e *errGit
		if err != nil && (!errors.As(err, &e) || e.code != 1) {
			return false
		}
		// <tree>\0 and, after conflicts (code 1), their paths; a path with a
		// conflict has markers in it, and what a person made of them is theirs.
		tree, _, _ := bytes.Cut(out, []byte{0})
		if isOid(string(tree)) {
			a.tree = string(tree)
		}
	}
	if a.tree == "" {
		return false
	}
	out, err := g.output(ctx, nil, maxToken, "ls-tree", "-z", "--full-tree", a.tree, "--", c.path)
	if err != nil {
		return false
	}
	return bytes.HasPrefix(out, []byte(c.newMode+" blob "+c.newOid+"\t"))
}
