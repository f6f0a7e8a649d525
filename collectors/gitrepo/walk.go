package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// A walk is a set of commits: those reachable from the tips and not from the
// others.
type walk struct {
	tips map[string]string // commit to the reference it is told under
	not  []string
}

// from adds the tips of the references that pass. Of two references at one
// commit the first by name gives it its name.
func (w *walk) from(changes []*refChange, pass func(*refChange) bool) {
	for _, c := range changes {
		if c.newCommit != "" && pass(c) {
			if _, ok := w.tips[c.newCommit]; !ok {
				w.tips[c.newCommit] = c.name
			}
		}
	}
}

func (w *walk) stdin() []byte {
	var b bytes.Buffer
	for _, tip := range slices.Sorted(maps.Keys(w.tips)) {
		b.WriteString(tip)
		b.WriteByte('\n')
	}
	for _, oid := range w.not {
		b.WriteByte('^')
		b.WriteString(oid)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// A telling decides how a commit of a walk is told; nil tells it as added.
type telling func(c *commit) (asInventory bool)

// A record is a commit with its changed paths, or a part of them.
type record struct {
	oid, ref string
	direct   bool // on the first-parent chain of a tip, and no merge
	more     bool // further paths of a commit that another record tells
	changes  []change
}

const (
	recordsAtOnce = 64
	changesAtOnce = 2048
)

// tellWalk tells the commits of a walk, parents before children.
//
// Git walks from the children to their parents, and only so can be seen which
// commits lie on the first-parent chain of a tip; it is also the way in which
// packs are read fastest. So the walk is written down and told backwards. What
// the spool has no room for is asked for once more, the other way round.
func (t *teller) tellWalk(w walk, protected bool, as telling) error {
	if len(w.tips) == 0 {
		return nil
	}
	diff := "--raw"
	if as != nil && t.r.c.cfg.BackfillDays == 0 {
		diff = "--no-patch"
	}
	spool := newSpool(t.r.mirror, t.r.c.maxSpool)
	defer spool.close()
	chain := map[string]bool{} // commits of the chain that are still to come
	for tip := range w.tips {
		chain[tip] = true
	}
	unwritten := map[string]bool{} // direct commits that the spool does not hold
	total := int64(0)
	visit := func(c *loggedCommit) (direct, last bool) {
		total++
		if !chain[c.oid] {
			return false, false
		}
		delete(chain, c.oid)
		if c.first != "" {
			chain[c.first] = true
		}
		if !c.merge {
			unwritten[c.oid] = true
		}
		return !c.merge, false
	}
	write := func(batch []record) error {
		if err := spool.write(batch); err != nil || spool.full {
			return err
		}
		for i := range batch {
			if !batch[i].more {
				delete(unwritten, batch[i].oid)
			}
		}
		return nil
	}
	if err := t.log(w, false, diff, visit, write); err != nil {
		return err
	}
	if protected {
		t.r.c.progress(0, total)
	}
	tell := func(batch []record) error { return t.tellRecords(batch, protected, as) }
	if left := total - spool.commits; left > 0 {
		visit = func(c *loggedCommit) (direct, last bool) {
			left--
			return unwritten[c.oid], left == 0
		}
		if err := t.log(w, true, diff, visit, tell); err != nil {
			return err
		}
	}
	return spool.backwards(tell)
}

// logArgs are those of the walk over new commits. Nothing that a repository
// holds changes what they print: no mailmap, notes, decoration, encoding or
// drivers.
var logArgs = []string{
	"log", "--topo-order", "--source", "--format=%H %S %P", "-z", "--no-abbrev", "--no-renames",
	"--diff-merges=first-parent", "--no-color", "--no-ext-diff", "--no-textconv", "--no-decorate", "--no-notes",
	"--no-mailmap", "--no-show-signature", "--ignore-missing", "--stdin",
}

// inPieces keeps git from handing on each commit by itself.
const inPieces = "GIT_FLUSH=0"

// log walks and hands records on, batch by batch, which are the taker's until it
// returns. visit sees each commit, says whether it is direct, and ends the walk.
func (t *teller) log(w walk, reverse bool, diff string, visit func(*loggedCommit) (direct, last bool), take func([]record) error) error {
	args := append(slices.Clone(logArgs), diff)
	if reverse {
		args = append(args, "--reverse")
	}
	p, err := t.r.mirror.git.with(inPieces).start(t.ctx, args...)
	if err != nil {
		return err
	}
	defer p.feed(w.stdin())()
	in := rawReader{r: p.stdout}
	batch := make([]record, 0, recordsAtOnce)
	pending := 0
	flush := func() error {
		err := take(batch)
		batch, pending = batch[:0], 0
		return err
	}
	for last := false; !last; {
		var c loggedCommit
		if c, err = in.commit(); errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read history: %w", t.because(p, err))
		}
		rec := record{oid: c.oid, ref: w.tips[c.source]}
		rec.direct, last = visit(&c)
		for {
			change, ok, err := in.change()
			if err != nil {
				return fmt.Errorf("read history: %w", t.because(p, err))
			}
			if !ok {
				break
			}
			if !t.r.class(&change).Asset {
				continue
			}
			rec.changes = append(rec.changes, change)
			if pending++; pending < changesAtOnce {
				continue
			}
			// A part of the commit goes ahead. That which is told first tells the
			// commit itself.
			part := rec
			part.more = part.more || !reverse
			batch = append(batch, part)
			if err := flush(); err != nil {
				return err
			}
			rec.changes, rec.more = nil, reverse
		}
		if batch = append(batch, rec); len(batch) == recordsAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err != nil { // the end of the walk, and not of what was wanted of it
		if err := p.finish(); err != nil {
			return fmt.Errorf("read history: %w", err)
		}
	}
	return nil
}

// because prefers what git said when it ended to what that made of its output.
func (t *teller) because(p *process, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) {
		if gitErr := p.finish(); gitErr != nil {
			return gitErr
		}
	}
	return err
}
