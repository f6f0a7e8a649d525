package mlflow

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"time"

	"aiwatch/collectors/identity"
)

// Words of the settings runs and artifacts.
const (
	RunsRegistered = "registered" // those behind model versions
	RunsAll        = "all"
	RunsNone       = "none"

	ArtifactsHash = "hash"
	ArtifactsList = "list"
	ArtifactsNone = "none"
)

// Defaults of the settings.
const (
	DefaultInterval         = 10 * time.Minute
	DefaultFastInterval     = 30 * time.Second
	DefaultRequestsPerSweep = 500
	DefaultHashBudget       = 1 << 30
	DefaultTimeout          = 60 * time.Second
)

// Config is one [aiwatch_mlflow://NAME] stanza.
type Config struct {
	Name     string // the stanza's NAME
	URL      string // of the tracking server
	Instance string // the name under which its assets are known; empty: the URL's host

	Username, Password string // of basic authentication
	Token              string // a bearer token instead

	Interval     time.Duration // between full sweeps
	FastInterval time.Duration // between looks at what is newest; the pace of Poll

	Experiments      []string // patterns of names whose runs are read; empty: all
	Runs             string   // RunsRegistered (default), RunsAll, RunsNone
	RequestsPerSweep int      // for runs, artifacts and grants, in rotation

	Artifacts  string // ArtifactsHash (default), ArtifactsList, ArtifactsNone
	HashBudget int64  // bytes a day (UTC) that are fetched; 0: DefaultHashBudget, below 0: none

	Listen                        string // host:port of the webhook receiver; empty: none
	WebhookSecret                 string
	ListenCertFile, ListenKeyFile string

	AccessLog      string // file written by the proxy or server; empty: none
	Trusted        bool   // trust = authenticated
	TrustedProxies []netip.Prefix

	Backfill bool

	CAFile, ClientCertFile, ClientKeyFile string
	Proxy                                 string
	Timeout                               time.Duration // until an answer begins
	InsecureSkipVerify                    bool

	// Transport carries the requests; nil is the network, as the settings above
	// have it.
	Transport http.RoundTripper
	// Identity turns a principal into a user, by the operator's rules. Nil has
	// the built-in rules alone.
	Identity *identity.Rules
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: discarded
}

// prepare fills in defaults and refuses what can't work.
func (cfg *Config) prepare() error {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("url = %q: use the http or https address of the tracking server", cfg.URL)
	}
	if u.User != nil {
		return errors.New("url holds a user: set username and password instead")
	}
	if cfg.Instance == "" {
		cfg.Instance = u.Hostname()
	}
	if cfg.Token != "" && cfg.Username != "" {
		return errors.New("token and username are both set: use one")
	}
	if cfg.Listen != "" && cfg.WebhookSecret == "" {
		return errors.New("listen is set without webhook_secret: webhooks that nobody signed are not taken")
	}
	for _, pattern := range cfg.Experiments {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("experiments = %s: %w", pattern, err)
		}
	}
	orDefault(&cfg.Interval, DefaultInterval)
	orDefault(&cfg.FastInterval, DefaultFastInterval)
	orDefault(&cfg.RequestsPerSweep, DefaultRequestsPerSweep)
	orDefault(&cfg.HashBudget, DefaultHashBudget)
	orDefault(&cfg.Timeout, DefaultTimeout)
	orDefault(&cfg.Runs, RunsRegistered)
	orDefault(&cfg.Artifacts, ArtifactsHash)
	switch cfg.Runs {
	case RunsRegistered, RunsAll, RunsNone:
	default:
		return fmt.Errorf("runs = %s: use registered, all or none", cfg.Runs)
	}
	switch cfg.Artifacts {
	case ArtifactsHash, ArtifactsList, ArtifactsNone:
	default:
		return fmt.Errorf("artifacts = %s: use hash, list or none", cfg.Artifacts)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}
