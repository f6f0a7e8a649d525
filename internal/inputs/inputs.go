// Package inputs makes collectors of the inputs that a configuration names: one
// place where each setting of inputs.conf finds its way into a collector, for
// the program and for scenarios.
package inputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"aiwatch/collectors"
	"aiwatch/collectors/gitrepo"
	"aiwatch/collectors/identity"
	"aiwatch/collectors/mlflow"
	"aiwatch/collectors/s3access"
	"aiwatch/internal/conf"
)

// rules are what all inputs share: who a principal is, what an object is.
type rules struct {
	identity *identity.Rules
	assets   []s3access.AssetRule
	paths    []gitrepo.PathRule
}

// sharedRules reads [identity], [identity://NAME] and [asset_rule://NAME].
func sharedRules(config *conf.Config) (*rules, error) {
	var people []identity.Rule
	for _, s := range config.All("identity") {
		people = append(people, identity.Rule{
			Name: s.Name(), Match: s.Regexp("match").String(), User: s.String("user"),
			UserType: s.String("user_type"), Confidence: s.String("confidence"),
		})
	}
	who, err := identity.New(config.One("identity").List("domains"), people)
	if err != nil {
		return nil, err
	}
	shared := &rules{identity: who}
	for _, s := range config.All("asset_rule") {
		pattern := ""
		if re := s.Regexp("pattern"); re != nil {
			pattern = re.String()
		}
		if repo := s.String("repo"); repo != "" {
			shared.paths = append(shared.paths, gitrepo.PathRule{
				Name: s.Name(), Repo: repo, Pattern: pattern, Role: s.String("asset_role"), Owner: s.String("owner"),
			})
			continue
		}
		shared.assets = append(shared.assets, s3access.AssetRule{
			Name: s.Name(), Bucket: s.String("bucket"), Pattern: pattern, Type: s.String("asset_type"),
			Role: s.String("asset_role"), Owner: s.String("owner"),
		})
	}
	return shared, nil
}

// A Builder makes the collectors of a configuration's inputs.
type Builder struct {
	rules *rules
	state string // the folder in which mirrors of repositories are kept
	now   func() time.Time
	log   *slog.Logger

	// MLflow carries the requests to MLflow servers; nil is the network.
	MLflow http.RoundTripper
}

// New returns the builder for a run over the state folder.
func New(config *conf.Config, state string, now func() time.Time, log *slog.Logger) (*Builder, error) {
	shared, err := sharedRules(config)
	if err != nil {
		return nil, err
	}
	state, err = filepath.Abs(state)
	if err != nil {
		return nil, fmt.Errorf("find the state folder: %w", err)
	}
	return &Builder{rules: shared, state: state, now: now, log: log}, nil
}

// Collector makes the collector of one input. Its error is a mistake of whoever
// wrote the settings, and names the stanza.
func (b *Builder) Collector(ctx context.Context, s *conf.Settings) (collectors.Collector, error) {
	log := b.log.With("input", s.Stanza())
	if s.Bool("insecure_skip_verify") {
		log.Warn("the server's certificate is not verified: whoever is in between can read the credentials and change what is read; remove insecure_skip_verify and set ca_file")
	}
	var c collectors.Collector
	var err error
	switch s.Kind() {
	case "aiwatch_s3":
		c, err = b.s3(ctx, s, log)
	case "aiwatch_mlflow":
		c, err = b.mlflow(ctx, s, log)
	case "aiwatch_git":
		c, err = b.git(ctx, s, log)
	default:
		panic("no collector for " + s.Kind())
	}
	if err != nil {
		return nil, fmt.Errorf("[%s]: %w", s.Stanza(), err)
	}
	return c, nil
}

func (b *Builder) s3(ctx context.Context, s *conf.Settings, log *slog.Logger) (collectors.Collector, error) {
	key, err := s.Secret(ctx, "secret_access_key")
	if err != nil {
		return nil, err
	}
	at, ago := s.Time("start")
	aws := s3access.AWS{
		Region: s.String("region"), Endpoint: s.String("endpoint"), PathStyle: s.Bool("path_style"),
		Profile: s.String("profile"), RoleARN: s.String("role_arn"), ExternalID: s.String("external_id"),
		AccessKeyID: s.String("access_key_id"), SecretAccessKey: key.Reveal(),
		CAFile: s.String("ca_file"), ClientCertFile: s.String("client_cert_file"), ClientKeyFile: s.String("client_key_file"),
		Proxy: s.String("proxy"), Timeout: s.Duration("timeout"), InsecureSkipVerify: s.Bool("insecure_skip_verify"),
	}
	return s3access.New(s3access.Config{
		Name: s.Name(), Path: s.String("path"), Follow: s.Bool("follow"),
		Bucket: s.String("bucket"), Prefix: s.String("prefix"), QueueURL: s.String("queue_url"),
		Format: s3access.Format(s.String("format")), All: s.String("scope") == "all",
		WatchBuckets: s.List("watch_buckets"), Lateness: s.Duration("lateness"),
		Start: s3access.Start{At: at, Ago: ago}, Trusted: s.String("trust") == "authenticated",
		Identity: b.rules.identity, Assets: b.rules.assets, AWS: aws,
		Now: b.now, Log: log,
	})
}

// account reads the secrets by which an input logs in; what is not set is empty.
func account(ctx context.Context, s *conf.Settings) (password, token conf.Secret, err error) {
	if password, err = s.Secret(ctx, "password"); err != nil {
		return password, token, err
	}
	token, err = s.Secret(ctx, "token")
	return password, token, err
}

func (b *Builder) mlflow(ctx context.Context, s *conf.Settings, log *slog.Logger) (collectors.Collector, error) {
	password, token, err := account(ctx, s)
	if err != nil {
		return nil, err
	}
	webhook, err := s.Secret(ctx, "webhook_secret")
	if err != nil {
		return nil, err
	}
	budget := s.Size("hash_budget")
	if budget == 0 {
		budget = -1 // nothing may be fetched; 0 is the collector's default
	}
	return mlflow.New(mlflow.Config{
		Name: s.Name(), URL: s.String("url"), Instance: s.String("instance"),
		Username: s.String("username"), Password: password.Reveal(), Token: token.Reveal(),
		// Without a pace (a cron expression) the collector's default is the least
		// time between two full sweeps.
		Interval: s.Interval().Every, FastInterval: s.Duration("fast_interval"),
		Experiments: s.List("experiments"), Runs: s.String("runs"), RequestsPerSweep: s.Int("requests_per_sweep"),
		Artifacts: s.String("artifacts"), HashBudget: budget,
		Listen: s.String("listen"), WebhookSecret: webhook.Reveal(),
		ListenCertFile: s.String("listen_cert_file"), ListenKeyFile: s.String("listen_key_file"),
		AccessLog: s.String("access_log"), Trusted: s.String("trust") == "authenticated",
		TrustedProxies: s.Networks("trusted_proxies"), Backfill: s.Bool("backfill"),
		CAFile: s.String("ca_file"), ClientCertFile: s.String("client_cert_file"), ClientKeyFile: s.String("client_key_file"),
		Proxy: s.String("proxy"), Timeout: s.Duration("timeout"), InsecureSkipVerify: s.Bool("insecure_skip_verify"),
		Transport: b.MLflow,
		Identity:  b.rules.identity, Now: b.now, Log: log,
	})
}

func (b *Builder) git(ctx context.Context, s *conf.Settings, log *slog.Logger) (collectors.Collector, error) {
	password, token, err := account(ctx, s)
	if err != nil {
		return nil, err
	}
	// The stanza's name is a user's text and no name of a folder.
	sum := sha256.Sum256([]byte(s.Stanza()))
	return gitrepo.New(gitrepo.Config{
		Name: s.Stanza(), URLs: s.List("url"), Instance: s.String("instance"), Root: s.String("root"),
		Username: s.String("username"), Password: password.Reveal(), Token: token.Reveal(),
		SSHKeyFile: s.String("ssh_key_file"), KnownHostsFile: s.String("known_hosts_file"),
		CAFile: s.String("ca_file"), ClientCertFile: s.String("client_cert_file"), ClientKeyFile: s.String("client_key_file"),
		Proxy: s.String("proxy"), InsecureSkipVerify: s.Bool("insecure_skip_verify"),
		ProtectedRefs: s.List("protected_refs"), AllowedSignersFile: s.String("allowed_signers_file"), OpenPGPKeysFile: s.String("openpgp_keys_file"),
		PathRules:  b.rules.paths,
		BlobBudget: s.Size("blob_budget"), LFSBudget: s.Size("lfs_budget"), LFSURL: s.String("lfs_url"),
		DiskBudget: s.Size("disk_budget"), FetchTimeout: s.Duration("fetch_timeout"),
		PullRequests: s.Bool("pull_requests"), BackfillDays: s.Int("backfill"),
		AccessLog: s.String("access_log"), AuditLog: s.String("audit_log"), HookLog: s.String("hook_log"),
		TrustLogs: s.String("trust") == "authenticated", TrustedProxies: s.Networks("trusted_proxies"),
		Dir: filepath.Join(b.state, "git", hex.EncodeToString(sum[:8])), Identity: b.rules.identity,
		Now: b.now, Log: log,
	})
}

// Fingerprint names the source that an input reads. The state of an input
// belongs to its stanza and this: positions in one source mean nothing in
// another.
func Fingerprint(s *conf.Settings) string {
	switch s.Kind() {
	case "aiwatch_s3":
		return fmt.Sprintf("path=%s bucket=%s prefix=%s endpoint=%s", s.String("path"), s.String("bucket"), s.String("prefix"), s.String("endpoint"))
	case "aiwatch_mlflow":
		return "url=" + s.String("url")
	default:
		// Each repository of a Git input keeps its own positions.
		return "root=" + s.String("root") + " instance=" + s.String("instance")
	}
}

// Schedule returns when an input is read.
func Schedule(s *conf.Settings) collectors.Schedule {
	interval := s.Interval()
	if s.Kind() == "aiwatch_mlflow" && interval.Cron == "" {
		// The collector itself decides which polls are full sweeps.
		return collectors.Every(s.Duration("fast_interval"))
	}
	if s.Kind() == "aiwatch_s3" && s.IsSet("queue_url") {
		// A queue is asked again at once: it answers when it has something.
		return collectors.Every(0)
	}
	return interval.Next
}
