package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aiwatch/collectors"
)

// A mirror is a file on a disk, and disks fail. What git can't read of it is
// never told as something that the source lacks: the telling fails, the mirror
// is looked through, and a damaged one is set aside and fetched anew.

// errDamaged is what reading a mirror fails with that has lost something.
var errDamaged = errors.New("the mirror is damaged")

// lookEvery is how often a mirror is looked through at most: it costs as much as
// the mirror is large.
const lookEvery = time.Hour

// heal looks for damage where reading or fetching failed, sets a damaged mirror
// aside and reports whether it did; what failed can be tried again then. Where
// the source itself did not answer only the mirror's frame is looked at.
func (r *repository) heal(ctx context.Context, thorough bool) bool {
	now := r.c.cfg.Now()
	if ctx.Err() != nil || thorough && now.Sub(r.looked) < lookEvery {
		return false
	}
	if thorough {
		r.looked = now
	}
	why := r.mirror.damage(ctx, thorough)
	if why == "" || ctx.Err() != nil {
		return false
	}
	if err := r.mirror.setAside(); err != nil {
		r.c.say(fmt.Sprintf("the mirror of %s is damaged (%s) and can't be set aside: %v; remove %s", r.id, why, err, r.mirror.dir))
		return false
	}
	r.caughtUp = false
	r.c.say(fmt.Sprintf("the mirror of %s was damaged (%s); it stands aside as %s and is fetched anew", r.id, why, r.mirror.aside()))
	return true
}

// salvage brings what was told from the mirror that stands aside, as far as that
// can still be read: dropped tips, and references that have moved since.
func (r *repository) salvage(ctx context.Context, out collectors.Output) error {
	if _, err := os.Stat(r.mirror.aside()); err != nil || r.salvaged {
		return nil
	}
	r.salvaged = true
	old, err := r.loadRefs(out)
	if err != nil {
		return err
	}
	tips, err := r.loadKept(out)
	if err != nil {
		return err
	}
	var want, keep []string
	for name, s := range old {
		if s.oid != "" && !strings.HasPrefix(name, replaced) {
			want = append(want, s.oid)
		}
	}
	for _, tip := range tips {
		want, keep = append(want, tip.oid), append(keep, tip.oid)
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if want, err = r.mirror.lacks(ctx, want); err != nil {
		return err
	}
	// All at once, and where that fails those that can be had.
	if len(want) > 0 && r.mirror.bring(ctx, want) != nil {
		for _, oid := range want[:min(len(want), maxSalvaged)] {
			_ = r.mirror.bring(ctx, []string{oid}) // it is lost
		}
	}
	lost, err := r.mirror.lacks(ctx, keep)
	if err != nil {
		return err
	}
	return r.mirror.keep(ctx, slices.DeleteFunc(keep, func(oid string) bool { return slices.Contains(lost, oid) }))
}

// maxSalvaged bounds the commits that are brought one by one.
const maxSalvaged = 100

// aside is where a damaged mirror stands.
func (m *mirror) aside() string { return m.dir + ".damaged" }

func (m *mirror) setAside() error {
	if err := os.RemoveAll(m.aside()); err != nil {
		return err
	}
	return os.Rename(m.dir, m.aside())
}

// damage says what is wrong with the mirror, empty when nothing was found.
func (m *mirror) damage(ctx context.Context, thorough bool) string {
	if _, err := os.Stat(m.dir); err != nil {
		return "" // there is none
	}
	if !m.exists() {
		return "it has no HEAD"
	}
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	broken := func(args ...string) string {
		_, err := m.git.output(ctx, nil, maxListing, args...)
		var e *errGit
		if errors.As(err, &e) && e.code > 0 { // it was neither killed nor out of time
			return e.Error()
		}
		return ""
	}
	if why := broken("for-each-ref", "--format=%(objectname) %(objecttype)"); why != "" || !thorough {
		return why
	}
	// Large blobs are left out of a mirror; nothing else is.
	if why := broken("rev-list", "--all", "--objects", "--filter=blob:none", "--quiet"); why != "" {
		return why
	}
	packs, err := filepath.Glob(filepath.Join(escapeGlob(m.dir), "objects", "pack", "pack-*.idx"))
	if err != nil {
		return ""
	}
	for _, idx := range packs {
		if why := broken("verify-pack", "--", idx); why != "" {
			return why
		}
	}
	return ""
}

// lacks returns those of the objects that the mirror has not.
func (m *mirror) lacks(ctx context.Context, oids []string) ([]string, error) {
	if len(oids) == 0 {
		return nil, nil
	}
	objects, err := m.git.objects(ctx)
	if err != nil {
		return nil, err
	}
	defer objects.close()
	found, err := objects.info(oids)
	if err != nil {
		return nil, fmt.Errorf("look for commits in the mirror: %w", err)
	}
	var missing []string
	for i, oid := range oids {
		if found[i].kind == "" {
			missing = append(missing, oid)
		}
	}
	return missing, nil
}

// bring copies commits, with all that they hold, from the mirror that stands
// aside.
func (m *mirror) bring(ctx context.Context, oids []string) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	have, err := m.refs(ctx)
	if err != nil {
		return err
	}
	var stdin strings.Builder
	for _, oid := range oids {
		stdin.WriteString(oid + "\n")
	}
	for _, r := range have {
		stdin.WriteString("^" + r.oid + "\n")
	}
	// Whatever else is wrong with the old mirror, its objects may be read.
	both := m.git.with("GIT_ALTERNATE_OBJECT_DIRECTORIES=" + filepath.Join(m.aside(), "objects"))
	from, err := both.start(ctx, "pack-objects", "--quiet", "--revs", "--stdout", "--missing=allow-any")
	if err != nil {
		return err
	}
	defer from.feed([]byte(stdin.String()))()
	to, err := m.git.start(ctx, "index-pack", "--stdin")
	if err != nil {
		return err
	}
	defer to.stop()
	if _, err := io.Copy(to.stdin, from.stdout); err != nil {
		return err
	}
	if err := from.finish(); err != nil {
		return err
	}
	name, err := to.finishReading()
	if err != nil {
		return err
	}
	// Like what was fetched, it may lack blobs.
	_, hash, _ := bytes.Cut(bytes.TrimSpace(name), []byte("\t"))
	if !isOid(string(hash)) {
		return fmt.Errorf("git index-pack printed %q", clip(string(name)))
	}
	return os.WriteFile(filepath.Join(m.dir, "objects", "pack", "pack-"+string(hash)+".promisor"), nil, 0o600)
}
