package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A mirror is a bare repository of ours that holds what one source repository
// held: its references under refs/m/, tips that it dropped under refs/k/.
type mirror struct {
	git        *gitRunner
	dir        string
	root       string // the folder of all mirrors of the input
	diskBudget int64  // of root
	blobLimit  int64
	timeout    time.Duration
	pulls      bool
	lock       *os.File
	cleaned    bool
}

// A ref is a reference of the source.
type ref struct{ name, oid string }

const (
	mirrored = "refs/m/" // in the mirror; refs/ at the source
	kept     = "refs/k/"
	replaced = "refs/replace/"
)

// requestRefs are where forges keep pull and merge requests.
var requestRefs = []string{"refs/pull/", "refs/merge-requests/", "refs/pull-requests/", "refs/pr/", "refs/changes/"}

// maxListing bounds the list of a source's references in bytes.
const maxListing = 64 << 20

var errOverBudget = errors.New("over the disk budget")

func newMirror(cfg *Config, g *gitRunner, remote string) *mirror {
	g.dir = filepath.Join(cfg.Dir, shortHash(remote)+".git")
	g.config = append(g.config, "remote.origin.url="+remote)
	return &mirror{
		git: g, dir: g.dir, root: cfg.Dir, diskBudget: cfg.DiskBudget, blobLimit: cfg.BlobBudget,
		timeout: cfg.FetchTimeout, pulls: cfg.PullRequests,
	}
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// open takes the mirror's lock and removes what a killed git left behind.
func (m *mirror) open(ctx context.Context) error {
	if m.lock != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	lock, err := lockFile(ctx, strings.TrimSuffix(m.dir, ".git")+".lock")
	if err != nil {
		return fmt.Errorf("lock mirror %s: %w", m.dir, err)
	}
	m.lock, m.git.inherit = lock, lock
	if !m.cleaned {
		m.removeLeftovers()
		m.cleaned = true
	}
	if m.exists() {
		return m.configure()
	}
	return nil
}

func (m *mirror) close() {
	if m.lock != nil {
		m.lock.Close()
		m.lock, m.git.inherit = nil, nil
	}
}

// exists reports whether the mirror was made.
func (m *mirror) exists() bool {
	_, err := os.Stat(filepath.Join(m.dir, "HEAD"))
	return err == nil
}

// whole reports whether the last fetch ended well, so that the references in
// the mirror are what the source had.
func (m *mirror) whole() bool {
	_, err := os.Stat(m.marker())
	return err == nil
}

func (m *mirror) marker() string { return filepath.Join(m.dir, "aiwatch-fetched") }

// make makes the mirror, for object ids of the given length in hex digits.
func (m *mirror) make(ctx context.Context, oidLen int) error {
	if !m.exists() {
		if _, err := os.Stat(m.dir); err == nil {
			if err := m.setAside(); err != nil {
				return fmt.Errorf("make mirror: set aside what is left of the old one: %w", err)
			}
		}
		// A git that is killed meanwhile leaves half a repository, under another name.
		fresh := *m.git
		fresh.dir = m.dir + ".new"
		if err := os.RemoveAll(fresh.dir); err != nil {
			return fmt.Errorf("make mirror: %w", err)
		}
		args := []string{"init", "--quiet", "--bare", "--template="}
		if oidLen == 64 {
			args = append(args, "--object-format=sha256")
		}
		if _, err := fresh.output(ctx, nil, maxToken, args...); err != nil {
			return fmt.Errorf("make mirror: %w", err)
		}
		if err := os.Rename(fresh.dir, m.dir); err != nil {
			return fmt.Errorf("make mirror: %w", err)
		}
	}
	return m.configure()
}

// configure writes the mirror's configuration. A fetch that leaves out large
// blobs notes there that they can be fetched later; read by any other git that
// would make of each missing blob a fetch, or a failure.
func (m *mirror) configure() error {
	config := "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\tfilemode = false\n[gc]\n\tpruneExpire = never\n"
	if m.sha256() {
		config += "[extensions]\n\tobjectFormat = sha256\n"
	}
	path := filepath.Join(m.dir, "config")
	if old, err := os.ReadFile(path); err == nil && string(old) == config {
		return nil
	}
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return fmt.Errorf("configure mirror: %w", err)
	}
	return nil
}

// sha256 reports whether the mirror's object ids are SHA-256.
func (m *mirror) sha256() bool {
	b, err := os.ReadFile(filepath.Join(m.dir, "config"))
	return err == nil && bytes.Contains(bytes.ToLower(b), []byte("objectformat = sha256"))
}

// watched reports whether a reference of the source is read.
func (m *mirror) watched(name string) bool {
	if strings.HasPrefix(name, replaced) {
		return false
	}
	return m.pulls || !slices.ContainsFunc(requestRefs, func(p string) bool { return strings.HasPrefix(name, p) })
}

// list asks the source for its references, those under refs/replace/ apart.
func (m *mirror) list(ctx context.Context) (refs, replacements []ref, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	// The first version of the protocol lists references by a GET alone, so that
	// looking for changes is no fetch in the server's access log.
	out, err := m.git.set("protocol.version=0").output(ctx, nil, maxListing, "ls-remote", "--refs", "--quiet", "--end-of-options", "origin")
	if err != nil {
		return nil, nil, err
	}
	for line := range bytes.Lines(out) {
		oid, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t")
		if !ok || !isOid(oid) || !strings.HasPrefix(name, "refs/") {
			return nil, nil, fmt.Errorf("the server listed %q as a reference", clip(string(line)))
		}
		switch {
		case strings.HasPrefix(name, replaced):
			replacements = append(replacements, ref{name, oid})
		case m.watched(name):
			refs = append(refs, ref{name, oid})
		}
	}
	return refs, replacements, nil
}

// refs returns the references as they were fetched last, in the order of their
// names.
func (m *mirror) refs(ctx context.Context) ([]ref, error) {
	out, err := m.git.output(ctx, nil, maxListing, "for-each-ref", "--format=%(objectname) %(refname)", mirrored)
	if err != nil {
		return nil, fmt.Errorf("read references of the mirror: %w", err)
	}
	var refs []ref
	for line := range bytes.Lines(out) {
		oid, name, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		if name = "refs/" + strings.TrimPrefix(name, mirrored); m.watched(name) {
			refs = append(refs, ref{name, oid})
		}
	}
	slices.SortFunc(refs, func(a, b ref) int { return strings.Compare(a.name, b.name) })
	return refs, nil
}

// fetch brings the mirror to what the source has. listed is what it had a moment
// ago: references that are not there are removed first, because a new one may
// need the place of an old one (refs/heads/a, refs/heads/a/b).
func (m *mirror) fetch(ctx context.Context, listed, replacements []ref) error {
	have, err := m.refs(ctx)
	if err != nil {
		return err
	}
	if err := os.Remove(m.marker()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("fetch: %w", err)
	}
	there := make(map[string]bool, len(listed))
	for _, r := range listed {
		there[r.name] = true
	}
	var gone strings.Builder
	for _, r := range have {
		if !there[r.name] {
			fmt.Fprintf(&gone, "delete %s%s\x00\x00", mirrored, strings.TrimPrefix(r.name, "refs/"))
		}
	}
	if gone.Len() > 0 {
		if _, err := m.git.output(ctx, []byte(gone.String()), maxToken, "update-ref", "-z", "--stdin"); err != nil {
			return fmt.Errorf("remove deleted references from the mirror: %w", err)
		}
	}
	if len(listed) == 0 {
		return m.fetched(replacements)
	}
	args := []string{
		"fetch", "--quiet", "--atomic", "--force", "--no-tags", "--no-prune", "--no-write-fetch-head",
		"--no-auto-maintenance", "--no-recurse-submodules", "--no-show-forced-updates",
		fmt.Sprintf("--filter=blob:limit=%d", m.blobLimit),
		"--end-of-options", "origin", "+refs/*:" + mirrored + "*", "^" + replaced + "*",
	}
	if !m.pulls {
		for _, p := range requestRefs {
			args = append(args, "^"+p+"*")
		}
	}
	err = m.bounded(ctx, args)
	if needsBase(err) {
		m.removeLeftovers()
		if err = m.bounded(ctx, slices.Insert(args, 1, "--refetch")); err == nil {
			err = m.shrink(ctx) // all of it is there twice now
		}
	}
	if configErr := m.configure(); err == nil {
		err = configErr
	}
	if err != nil {
		m.removeLeftovers()
		return err
	}
	if n, err := m.size(); err == nil && n > m.diskBudget {
		if err := m.rollBack(ctx, have); err != nil {
			return err
		}
		return errOverBudget
	}
	if err := m.tidy(ctx, have); err != nil {
		return err
	}
	return m.fetched(replacements)
}

// fetched notes that the mirror is whole, and the replacements of objects that
// the source listed: they are not fetched, and belong to what is told.
func (m *mirror) fetched(replacements []ref) error {
	var b strings.Builder
	for _, r := range replacements {
		b.WriteString(r.oid + " " + r.name + "\n")
	}
	if err := os.WriteFile(m.marker(), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}

// replacements returns the replacements that the source listed when it was
// fetched last.
func (m *mirror) replacements() ([]ref, error) {
	b, err := os.ReadFile(m.marker())
	if err != nil {
		return nil, fmt.Errorf("read mirror: %w", err)
	}
	var refs []ref
	for line := range strings.Lines(string(b)) {
		if oid, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok {
			refs = append(refs, ref{name, oid})
		}
	}
	return refs, nil
}

// needsBase reports whether a fetch failed because the server sent an object as
// the difference from one that it had been asked to leave out. (Git would fetch
// that one by itself, from wherever a configuration says; see hardenings.)
func needsBase(err error) bool {
	var e *errGit
	return errors.As(err, &e) && (strings.Contains(e.message, "promisor remote") || strings.Contains(e.message, "unresolved delta"))
}

// rollBack takes back a fetch that was larger than the disk budget.
func (m *mirror) rollBack(ctx context.Context, to []ref) error {
	now, err := m.refs(ctx)
	if err != nil {
		return err
	}
	before := make(map[string]string, len(to))
	for _, r := range to {
		before[r.name] = r.oid
	}
	var b strings.Builder
	for _, r := range now {
		name := mirrored + strings.TrimPrefix(r.name, "refs/")
		switch old := before[r.name]; {
		case old == "":
			fmt.Fprintf(&b, "delete %s\x00\x00", name)
		case old != r.oid:
			fmt.Fprintf(&b, "update %s\x00%s\x00\x00", name, old)
		}
	}
	if b.Len() > 0 {
		if _, err := m.git.output(ctx, []byte(b.String()), maxToken, "update-ref", "-z", "--stdin"); err != nil {
			return fmt.Errorf("take back a fetch: %w", err)
		}
	}
	return m.shrink(ctx)
}

// bounded runs a git that is ended when it takes too long or fills the disk.
func (m *mirror) bounded(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	ctx, over := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		m.watchSize(ctx, over)
	}()
	_, err := m.git.set("remote.origin.promisor=true").output(ctx, nil, maxListing, args...)
	cause := context.Cause(ctx)
	over(nil)
	<-watched
	switch {
	case err == nil:
		return nil
	case errors.Is(cause, errOverBudget):
		return errOverBudget
	case errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("not done within %s", m.timeout)
	}
	return err
}

// watchSize ends a fetch that fills the disk.
func (m *mirror) watchSize(ctx context.Context, over context.CancelCauseFunc) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n, err := m.size(); err == nil && n > m.diskBudget {
				over(errOverBudget)
				return
			}
		}
	}
}

// size returns how many bytes all mirrors of the input have on disk.
func (m *mirror) size() (int64, error) {
	var total int64
	err := filepath.WalkDir(m.root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

// removeLeftovers removes what a git that was killed left in the mirror. The
// mirror's lock is held, so no git works in it.
func (m *mirror) removeLeftovers() {
	for _, pattern := range []string{m.spoolFiles(), m.mergeFolders()} {
		left, _ := filepath.Glob(filepath.Join(escapeGlob(m.root), pattern)) // the pattern is ours
		for _, path := range left {
			_ = os.RemoveAll(path)
		}
	}
	_ = filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		name := d.Name()
		objects := strings.HasPrefix(path, filepath.Join(m.dir, "objects"))
		switch {
		case strings.HasSuffix(name, ".lock") && !objects && !d.IsDir(),
			objects && strings.HasPrefix(name, "tmp_") && !d.IsDir():
			_ = os.Remove(path)
		case objects && d.IsDir() && (strings.HasPrefix(name, "tmp_objdir") || strings.HasPrefix(name, "incoming-")):
			_ = os.RemoveAll(path)
			return fs.SkipDir
		}
		return nil
	})
}

// Small packs are put together when there are many of them.
const (
	maxSmallPacks = 30
	smallPack     = 64 << 20
)

// tidy keeps the mirror quick: references in one file when many are new, small
// packs put together.
func (m *mirror) tidy(ctx context.Context, before []ref) error {
	now, err := m.refs(ctx)
	if err != nil {
		return err
	}
	if changed := countChanged(before, now); changed > 64 {
		if _, err := m.git.output(ctx, nil, maxToken, "pack-refs", "--all", "--prune"); err != nil {
			return fmt.Errorf("pack references of the mirror: %w", err)
		}
	}
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "pack-*.pack"))
	if err != nil {
		return err
	}
	packs = slices.DeleteFunc(packs, func(p string) bool {
		info, err := os.Stat(p)
		return err != nil || info.Size() > smallPack
	})
	if len(packs) <= maxSmallPacks {
		return nil
	}
	var ids bytes.Buffer
	for _, p := range packs {
		idx, err := os.ReadFile(strings.TrimSuffix(p, ".pack") + ".idx")
		if err != nil {
			return fmt.Errorf("put packs together: %w", err)
		}
		out, err := m.git.output(ctx, idx, maxListing, "show-index")
		if err != nil {
			return fmt.Errorf("put packs together: %w", err)
		}
		for line := range bytes.Lines(out) { // <offset> <oid> (<crc>)
			if f := bytes.Fields(line); len(f) > 1 {
				ids.Write(f[1])
				ids.WriteByte('\n')
			}
		}
	}
	return m.repack(ctx, ids.Bytes(), packs)
}

// shrink rewrites the mirror so that it holds what is reachable from its
// references and nothing else.
func (m *mirror) shrink(ctx context.Context) error {
	out, err := m.git.output(ctx, nil, maxListing, "for-each-ref", "--format=%(objectname)")
	if err != nil {
		return fmt.Errorf("shrink mirror: %w", err)
	}
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "pack-*.pack"))
	if err != nil {
		return err
	}
	return m.repack(ctx, out, packs, "--revs", "--missing=allow-any")
}

// repack makes one pack of what stdin names and removes the packs it replaces.
func (m *mirror) repack(ctx context.Context, stdin []byte, packs []string, args ...string) error {
	base := filepath.Join(m.dir, "objects", "pack", "pack")
	args = append(append([]string{"pack-objects", "--quiet"}, args...), base)
	out, err := m.git.output(ctx, stdin, maxToken, args...)
	if err != nil {
		return fmt.Errorf("rewrite the mirror's packs: %w", err)
	}
	name := strings.TrimSpace(string(out))
	made := ""
	if isOid(name) {
		made = base + "-" + name
		if err := os.WriteFile(made+".promisor", nil, 0o600); err != nil {
			return fmt.Errorf("rewrite the mirror's packs: %w", err)
		}
	}
	for _, p := range packs {
		old := strings.TrimSuffix(p, ".pack")
		if old == made {
			continue
		}
		// The index goes first: a pack without one is not there for git.
		for _, ext := range []string{".idx", ".rev", ".bitmap", ".promisor", ".pack"} {
			if err := os.Remove(old + ext); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("rewrite the mirror's packs: %w", err)
			}
		}
	}
	return nil
}

func countChanged(a, b []ref) int {
	old := make(map[string]string, len(a))
	for _, r := range a {
		old[r.name] = r.oid
	}
	n := 0
	for _, r := range b {
		if old[r.name] != r.oid {
			n++
		}
	}
	return n
}

// keep holds on to tips that the source dropped, forget lets go of them.
func (m *mirror) keep(ctx context.Context, oids []string) error {
	return m.updateKept(ctx, "update %s%s\x00%[2]s\x00\x00", oids)
}

func (m *mirror) forget(ctx context.Context, oids []string) error {
	return m.updateKept(ctx, "delete %s%s\x00\x00", oids)
}

func (m *mirror) updateKept(ctx context.Context, format string, oids []string) error {
	if len(oids) == 0 {
		return nil
	}
	var b strings.Builder
	for _, oid := range oids {
		fmt.Fprintf(&b, format, kept, oid)
	}
	if _, err := m.git.output(ctx, []byte(b.String()), maxToken, "update-ref", "-z", "--stdin"); err != nil {
		return fmt.Errorf("keep dropped commits: %w", err)
	}
	return nil
}

// isAncestor reports whether old is new or one of its ancestors.
func (m *mirror) isAncestor(ctx context.Context, old, new string) (bool, error) {
	_, err := m.git.output(ctx, nil, maxToken, "merge-base", "--is-ancestor", old, new)
	var e *errGit
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &e) && e.code == 1:
		return false, nil
	default:
		return false, err
	}
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
