package s3access

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"time"

	"aiwatch/collectors/identity"
)

// A Format is what a log is written in.
type Format string

// The formats.
const (
	Auto         Format = "auto" // by content, for each file or object by itself
	ServerAccess Format = "server_access"
	Cloudtrail   Format = "cloudtrail"
	Versitygw    Format = "versitygw"
)

// A Start says from when on records are sent. Its zero value is the intake's
// own default: everything for a path, otherwise the moment of the first poll.
type Start struct {
	At  time.Time     // records before this moment are not sent
	Ago time.Duration // the same, counted back from the first poll
}

// Config is one [aiwatch_s3://NAME] stanza. Exactly one intake is set: Path, or
// Bucket, or QueueURL with Bucket.
type Config struct {
	Name string // the stanza's NAME

	Path   string // a local file, folder or glob
	Follow bool   // files under Path grow: an incomplete last line waits

	Bucket, Prefix string
	QueueURL       string

	Format       Format   // empty is Auto
	All          bool     // scope = all; otherwise assets and control operations
	WatchBuckets []string // globs
	Lateness     time.Duration
	Start        Start
	Trusted      bool // trust = authenticated

	Identity *identity.Rules // nil: the built-in ones
	Assets   []AssetRule

	AWS AWS
	// S3 and SQS replace the clients that are otherwise made from AWS.
	S3  S3Client
	SQS SQSClient

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: discarded
}

// DefaultLateness is how late a log object may come and still be found by every
// poll.
const DefaultLateness = 48 * time.Hour

// check fills in defaults and refuses what can't work.
func (cfg *Config) check() error {
	switch {
	case cfg.Path == "" && cfg.Bucket == "":
		return errors.New("no intake: set path, or bucket and prefix, or queue_url with bucket and prefix")
	case cfg.Path != "" && (cfg.Bucket != "" || cfg.QueueURL != ""):
		return errors.New("path and bucket are both set: one input has one intake")
	}
	switch cfg.Format {
	case "":
		cfg.Format = Auto
	case Auto, ServerAccess, Cloudtrail, Versitygw:
	default:
		return fmt.Errorf("format = %s: use auto, server_access, cloudtrail or versitygw", cfg.Format)
	}
	if cfg.Lateness == 0 {
		cfg.Lateness = DefaultLateness
	}
	if cfg.Lateness < 0 || cfg.Lateness > relist {
		return fmt.Errorf("lateness = %s: use up to %s", cfg.Lateness, relist)
	}
	for _, glob := range cfg.WatchBuckets {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("watch_buckets: %s: %w", glob, err)
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// relist is how far back the objects of a bucket are listed again once a day.
const relist = 14 * 24 * time.Hour
