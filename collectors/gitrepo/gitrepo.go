package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"aiwatch/collectors"
	"aiwatch/collectors/identity"
	"aiwatch/internal/event"
)

// Config is one input's settings, read and checked.
type Config struct {
	// URLs are the repositories: https, ssh (also git@host:path), http on
	// loopback, or absolute paths of local bare repositories.
	URLs []string
	// Instance is the host under which local repositories are known (default
	// `local`), Root the folder below which their paths count.
	Instance, Root string

	// Username and Password, or Token alone, authenticate https.
	Username, Password, Token string
	// SSHKeyFile is the private key of ssh, KnownHostsFile whom it believes.
	SSHKeyFile, KnownHostsFile string
	// TLS and the way out, for https.
	CAFile, ClientCertFile, ClientKeyFile, Proxy string
	InsecureSkipVerify                           bool

	// ProtectedRefs are patterns of full reference names; * matches slashes too.
	ProtectedRefs []string
	// AllowedSignersFile is OpenSSH's, OpenPGPKeysFile an exported key ring.
	AllowedSignersFile, OpenPGPKeysFile string
	// PathRules say what a path is before the built-in classes do; the first that
	// matches holds.
	PathRules []PathRule

	// BlobBudget is the largest blob that is fetched and looked into, in bytes.
	BlobBudget int64
	// LFSBudget is how many bytes a day (UTC) come from LFS, 0 none; LFSURL is the
	// endpoint, by default the one that belongs to an http(s) repository's URL.
	LFSBudget int64
	LFSURL    string
	// DiskBudget bounds all mirrors of the input together, in bytes.
	DiskBudget int64
	// FetchTimeout bounds one fetch.
	FetchTimeout time.Duration
	// PullRequests reads the references of pull and merge requests too.
	PullRequests bool
	// BackfillDays is how much history before the first contact is told as events.
	BackfillDays int

	// AccessLog, AuditLog and HookLog are files that grow; empty reads none.
	AccessLog, AuditLog, HookLog string
	// TrustLogs says that the names in them were proven by whoever writes them.
	TrustLogs bool
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	// Name is the input's stanza, such as aiwatch_git://models.
	Name string
	// Dir is the folder of this input's mirrors; nothing else is in it.
	Dir string
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
	// Identity says who a principal is. Its confidence counts where an operator's
	// rule sets it, for names in logs alone: whoever writes a commit writes its
	// author as they like, in the form of a proven name too.
	Identity *identity.Rules
}

// Defaults of settings that are 0.
const (
	defaultBlobBudget   = 32 << 20
	defaultDiskBudget   = 10 << 30
	defaultFetchTimeout = 10 * time.Minute
	defaultCheckpoint   = 200
)

// maxGitMemory is the address space of one git in bytes, against a pack that
// unfolds into memory.
const maxGitMemory = 4 << 30

var defaultProtected = []string{"refs/heads/main", "refs/heads/master", "refs/heads/release/*", "refs/tags/*"}

// A Collector reads the repositories of one input, and the logs about them.
type Collector struct {
	cfg       Config
	protected []*regexp.Regexp
	repos     []*repository
	rules     []pathRule
	signers   *signers
	lfs       *lfsClient
	logs      []*log
	// checkpointEvery is how many events go between two checkpoints.
	checkpointEvery int
	maxSpool        int64 // bytes of one walk

	mu     sync.Mutex
	report collectors.Report
}

// New checks the settings and returns the collector. It touches no repository.
func New(cfg Config) (*Collector, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Instance == "" {
		cfg.Instance = "local"
	}
	if cfg.BlobBudget <= 0 {
		cfg.BlobBudget = defaultBlobBudget
	}
	if cfg.DiskBudget <= 0 {
		cfg.DiskBudget = defaultDiskBudget
	}
	if cfg.FetchTimeout <= 0 {
		cfg.FetchTimeout = defaultFetchTimeout
	}
	if len(cfg.ProtectedRefs) == 0 {
		cfg.ProtectedRefs = defaultProtected
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("folder of the mirrors %q: want an absolute path", cfg.Dir)
	}
	if len(cfg.URLs) == 0 {
		return nil, errors.New("url: name at least one repository")
	}
	c := &Collector{cfg: cfg, checkpointEvery: defaultCheckpoint, maxSpool: maxSpool}
	for _, pattern := range cfg.ProtectedRefs {
		c.protected = append(c.protected, globRegexp(pattern))
	}
	var err error
	if c.rules, err = compileRules(cfg.PathRules); err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, address := range cfg.URLs {
		r, err := c.newRepository(address)
		if err != nil {
			return nil, fmt.Errorf("url %s: %w", redactURL(address), err)
		}
		if other, ok := seen[r.id]; ok {
			return nil, fmt.Errorf("url: %s and %s are both known as %s; set root or instance, or name one of them", redactURL(other), redactURL(address), r.id)
		}
		seen[r.id] = address
		r.rules = c.rulesOf(r.id)
		c.repos = append(c.repos, r)
	}
	if c.signers, err = readSigners(cfg.AllowedSignersFile, cfg.OpenPGPKeysFile); err != nil {
		return nil, err
	}
	if cfg.LFSBudget > 0 {
		if c.lfs, err = newLFSClient(cfg); err != nil {
			return nil, err
		}
	}
	for _, l := range []struct {
		kind, path string
		parse      lineParser
	}{
		{"access", cfg.AccessLog, c.accessLine},
		{"hook", cfg.HookLog, c.hookLine},
		{"audit", cfg.AuditLog, c.auditLine},
	} {
		if l.path != "" {
			c.logs = append(c.logs, c.newLog(l.kind, l.path, l.parse))
		}
	}
	return c, nil
}

// newRepository checks one address and derives how git may reach it.
func (c *Collector) newRepository(address string) (*repository, error) {
	cfg := &c.cfg
	host, path, err := splitAddress(address, cfg.Instance, cfg.Root)
	if err != nil {
		return nil, err
	}
	g := &gitRunner{hardenings: hardenings, maxMemory: maxGitMemory, home: filepath.Join(cfg.Dir, "home")}
	remote := address
	switch scheme, rest, hasScheme := strings.Cut(address, "://"); {
	case filepath.IsAbs(address):
		g.protocol, remote = "file", filepath.Clean(address)
	case !hasScheme || scheme == "ssh":
		g.protocol = "ssh"
		if g.env, err = sshEnv(cfg.SSHKeyFile, cfg.KnownHostsFile); err != nil {
			return nil, err
		}
	case scheme == "https" || scheme == "http":
		g.protocol = scheme
		u, err := url.Parse(address)
		if err != nil {
			return nil, errors.New("not a URL")
		}
		if u.User != nil {
			return nil, errors.New("user and password do not belong into the URL; use username and password, or token")
		}
		if scheme == "http" && !isLoopback(u.Hostname()) {
			return nil, errors.New("http is for this machine only; use https")
		}
		g.httpAccess(cfg, scheme+"://"+u.Host+"/")
	case scheme == "file":
		return nil, fmt.Errorf("write a local repository as its path, %s", strings.TrimPrefix(rest, "localhost"))
	default:
		return nil, fmt.Errorf("the protocol %q is not one of https, ssh, http (loopback) or a local path", scheme)
	}
	return &repository{
		c: c, id: collectors.RepositoryID(host, path), host: host, path: path, remote: remote,
		key:    "g/" + shortHash(remote) + "/",
		mirror: newMirror(cfg, g, remote),
	}, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// globRegexp turns a pattern into an expression: * is anything, ? one character.
func globRegexp(pattern string) *regexp.Regexp {
	q := regexp.QuoteMeta(pattern)
	q = strings.ReplaceAll(q, `\*`, `.*`)
	q = strings.ReplaceAll(q, `\?`, `.`)
	return regexp.MustCompile(`^(?s:` + q + `)$`)
}

func (c *Collector) isProtected(ref string) bool {
	for _, p := range c.protected {
		if p.MatchString(ref) {
			return true
		}
	}
	return false
}

// Poll brings the mirrors up to date, reads the logs, and tells what changed.
//
// Logs are read after the fetch, so that they hold the pushes that it brought.
// What an earlier process fetched and did not tell any more is told first: a
// reference may have moved again since.
func (c *Collector) Poll(ctx context.Context, out collectors.Output) error {
	var failed []error
	note := func(err error) bool {
		if err != nil && ctx.Err() == nil {
			failed = append(failed, err)
		}
		return err == nil
	}
	if err := os.MkdirAll(filepath.Join(c.cfg.Dir, "home"), 0o700); err != nil {
		return fmt.Errorf("make the folder of the mirrors: %w", err)
	}
	if err := c.writeGlobalConfig(); err != nil {
		return err
	}
	defer func() {
		for _, r := range c.repos {
			r.mirror.close()
		}
	}()
	c.readLogs(ctx, out, note)
	ready := make([]*repository, 0, len(c.repos))
	for _, r := range c.repos {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !note(r.open(ctx)) {
			continue
		}
		err := r.catchUp(ctx, out)
		if err == nil || r.heal(ctx, true) {
			err = r.observe(ctx, out)
		}
		if !note(err) {
			continue
		}
		ready = append(ready, r)
	}
	c.readLogs(ctx, out, note)
	complete := len(ready) == len(c.repos)
	for _, r := range ready {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := r.tell(ctx, out)
		if err != nil && r.heal(ctx, true) {
			if err = r.observe(ctx, out); err == nil {
				err = r.tell(ctx, out)
			}
		}
		if !note(err) {
			complete = false
		}
	}
	c.mu.Lock()
	if complete {
		c.report.LastSweep = c.cfg.Now()
		c.report.InventoryComplete = event.True
	} else if c.report.InventoryComplete == 0 {
		c.report.InventoryComplete = event.False
	}
	c.report.Done, c.report.Total = 0, 0
	c.report.Coverage = nil
	for _, r := range c.repos {
		c.report.Coverage = append(c.report.Coverage, r.coverage...)
	}
	c.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(failed...)
}

// writeGlobalConfig names the local repositories that git may read although
// they belong to somebody else; git reads nothing else from there.
func (c *Collector) writeGlobalConfig() error {
	var b strings.Builder
	for _, r := range c.repos {
		if r.mirror.git.protocol == "file" {
			fmt.Fprintf(&b, "[safe]\n\tdirectory = %s\n", quoteConfig(r.remote))
		}
	}
	path := filepath.Join(c.cfg.Dir, "home", "gitconfig")
	if old, err := os.ReadFile(path); err == nil && string(old) == b.String() {
		return nil
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write git's configuration: %w", err)
	}
	return nil
}

// quoteConfig quotes a value for a git configuration file.
func quoteConfig(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}

// Report tells how the reading goes.
func (c *Collector) Report() collectors.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	c.report.RecordsRead = 0
	c.report.Notes = nil
	return r
}

// read counts source records: commits and lines.
func (c *Collector) read(n int64) {
	c.mu.Lock()
	c.report.RecordsRead += n
	c.mu.Unlock()
}

// readCommit counts a commit, which is a step of the telling too.
func (c *Collector) readCommit() {
	c.mu.Lock()
	c.report.RecordsRead++
	c.report.Done++
	c.mu.Unlock()
}

func (c *Collector) progress(done, total int64) {
	c.mu.Lock()
	c.report.Done, c.report.Total = done, total
	c.mu.Unlock()
}

func (c *Collector) say(text string) {
	c.mu.Lock()
	c.report.Notes = append(c.report.Notes, text)
	c.mu.Unlock()
	c.cfg.Log.Warn(text)
}

// actor fills in who did it, and how sure that is.
func (c *Collector) actor(ev *event.Event, principal, confidence string) {
	if principal == "" {
		return
	}
	ev.User, ev.UserType, _ = c.cfg.Identity.Resolve(principal)
	ev.UserID, ev.UserConfidence = principal, confidence
}

// logActor fills in whom a log names.
func (c *Collector) logActor(ev *event.Event, principal string) {
	confidence := confidenceClaimed
	if c.cfg.TrustLogs {
		confidence = confidenceAuthenticated
	}
	if c.cfg.Identity.Ruled(principal) {
		_, _, confidence = c.cfg.Identity.Resolve(principal)
	}
	c.actor(ev, principal, confidence)
}

// userOf returns the one name of a person or service.
func (c *Collector) userOf(principal string) string {
	user, _, _ := c.cfg.Identity.Resolve(principal)
	return user
}

// The values of user_confidence.
const (
	confidenceAuthenticated = identity.Authenticated
	confidenceSigned        = identity.Signed
	confidenceClaimed       = identity.Claimed
	confidenceUnknown       = identity.Unknown
)
