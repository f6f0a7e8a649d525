package conf

import (
	"fmt"
	"slices"

	"aiwatch/internal/event/schema"
)

// A Setting is one key that users may write.
type Setting struct {
	Name string
	Type Type
	// Many makes it a list: values of Type, separated by commas.
	Many bool
	// Default is what holds when it is not set, as a user would write it; empty
	// when nothing does. DefaultDoc says it in words where it depends on
	// something else.
	Default    string
	DefaultDoc string
	// Values of a Choice.
	Values []string
	// Min and Max bound an Int, Duration or Size, as a user would write them.
	Min, Max string
	Required bool
	// Aliases are names that it had in earlier versions.
	Aliases []string
	// Doc is what it means, in a sentence without its full stop.
	Doc string
	// Note is what differs where Splunk runs the input.
	Note string
}

// Keys are the names under which it is written: its own, and for a secret the
// ways to name it.
func (d *Setting) Keys() []string {
	if d.Type != SecretType {
		return []string{d.Name}
	}
	var keys []string
	for _, way := range secretWays {
		keys = append(keys, d.Name+way)
	}
	return keys
}

// A Kind is a stanza, or a kind of stanza of which there may be several, with
// what may stand in it.
type Kind struct {
	Name string
	// Named kinds are written [Name://NAME], others [Name].
	Named bool
	// File is the name of the file to which it belongs.
	File string
	// Doc is what it is for, in a sentence without its full stop.
	Doc      string
	Settings []Setting
	Rules    []Rule
	// Most is how many stanzas of a named kind there may be; 0 is any number.
	Most int
}

// String returns the stanza as it is written, such as aiwatch_s3://NAME.
func (k *Kind) String() string {
	if k.Named {
		return k.Name + "://NAME"
	}
	return k.Name
}

// IsInput tells whether its stanzas are inputs.
func (k *Kind) IsInput() bool { return k.File == InputsFile }

// The files of a configuration.
const (
	InputsFile  = "inputs.conf"
	AIWatchFile = "aiwatch.conf"
)

// Kinds returns all kinds of stanzas with their settings, in the order of the
// documentation. Settings that belong to Splunk and mean nothing to aiwatch are
// taken in an input's stanza without being listed here.
func Kinds() []*Kind {
	return []*Kind{
		{
			Name: "aiwatch_s3", Named: true, File: InputsFile,
			Doc: "Reads S3 access logs: from a local folder, a log bucket, or a queue of S3 notifications",
			Settings: slices.Concat(everyInput("300"), []Setting{
				{Name: "path", Type: Path, Doc: "A local file, folder or glob to read, plain or gzip"},
				{Name: "bucket", Type: Bucket, Doc: "The bucket to which the logs are written"},
				{Name: "prefix", Type: String, Doc: "The beginning of the keys of the log objects"},
				{Name: "queue_url", Type: URL, Doc: "The SQS queue with notifications of new log objects; bucket and prefix are then what may be read, and a message that names anything else is refused and reported"},
				{Name: "follow", Type: Bool, Default: "true", Doc: "With path: files grow, and what is appended is read"},
				{Name: "format", Type: Choice, Default: "auto", Values: []string{"auto", "server_access", "cloudtrail", "versitygw"}, Doc: "The format of the records; auto recognises it by content"},
				{Name: "scope", Type: Choice, Default: "assets", Values: []string{"assets", "all"}, Doc: "Which records are sent: those on AI assets with the control operations on watched buckets, or all"},
				{Name: "watch_buckets", Type: BucketGlob, Many: true, Doc: "Buckets that are watched beside those that an asset rule names, or patterns of their names"},
				{Name: "lateness", Type: Duration, Default: "48h", Doc: "Each poll finds log objects that came up to this late; once a day the last 14 days are listed again"},
				{Name: "start", Type: Time, DefaultDoc: "with path everything, otherwise the moment of the first start", Doc: "Records older than this are not sent: an RFC 3339 time, or how long before the first start, such as -7d"},
				{Name: "region", Type: String, DefaultDoc: "as the AWS tools find it", Doc: "The AWS region of bucket and queue"},
				{Name: "endpoint", Type: URL, DefaultDoc: "Amazon's", Doc: "The URL of another S3 service than Amazon's"},
				{Name: "path_style", Type: Bool, Default: "false", Doc: "The bucket's name stands in the path of requests, not in the host's name"},
				{Name: "profile", Type: String, Doc: "The profile of the AWS configuration files to use"},
				{Name: "role_arn", Type: String, Doc: "The role to assume"},
				{Name: "external_id", Type: String, Doc: "The external id that the role asks for"},
				{Name: "access_key_id", Type: String, DefaultDoc: "as the AWS tools find it", Doc: "The access key's id"},
				{Name: "secret_access_key", Type: SecretType, Doc: "The access key's secret"},
			}, httpSettings("30s")),
			Rules: []Rule{
				exactlyOne("path", "bucket"),
				needs("prefix", "bucket"),
				needs("queue_url", "bucket"),
				needs("follow", "path"),
				needs("external_id", "role_arn"),
				atMostOne("profile", "access_key_id"),
				together("access_key_id", "secret_access_key"),
				clientCertificate,
			},
		},
		{
			Name: "aiwatch_mlflow", Named: true, File: InputsFile,
			Doc: "Reads what an MLflow tracking server knows: models, versions, aliases, runs, artifacts, permissions",
			Settings: slices.Concat(everyInput("600"), []Setting{
				{Name: "url", Type: URL, Required: true, Doc: "The tracking server"},
				{Name: "instance", Type: String, DefaultDoc: "the URL's host", Doc: "The name under which the server's assets are known"},
				{Name: "username", Type: String, Doc: "The user of basic authentication"},
				{Name: "password", Type: SecretType, Doc: "The user's password"},
				{Name: "token", Type: SecretType, Doc: "The bearer token, instead of user and password"},
				{Name: "fast_interval", Type: Duration, Default: "30s", Min: "1s", Doc: "The pace of the fast lane, which looks for what matters most between full sweeps"},
				{Name: "experiments", Type: Glob, Many: true, Default: "*", Doc: "Patterns of the names of experiments whose runs are read"},
				{Name: "runs", Type: Choice, Default: "registered", Values: []string{"registered", "all", "none"}, Doc: "Which runs are read again for later edits: those behind model versions, all, or none"},
				{Name: "requests_per_sweep", Type: Int, Default: "500", Min: "1", Max: "1000000", Doc: "How many requests a sweep may take to read runs, artifacts and grants again, in rotation"},
				{Name: "artifacts", Type: Choice, Default: "hash", Values: []string{"hash", "list", "none"}, Doc: "What is done with artifacts: they are fetched and hashed, listed, or left alone"},
				{Name: "hash_budget", Type: Size, Default: "1GiB", Doc: "Bytes a day (UTC) that are fetched to be hashed; small files and weights behind production aliases come first"},
				{Name: "listen", Type: Address, Doc: "Address of the webhook receiver, host:port or a port of this machine", Note: "Splunk Cloud allows no listeners"},
				{Name: "webhook_secret", Type: SecretType, Doc: "The secret with which MLflow signs its webhooks"},
				{Name: "listen_cert_file", Type: Path, Doc: "The receiver's TLS certificate chain, PEM"},
				{Name: "listen_key_file", Type: Path, Doc: "The certificate's private key, PEM"},
				{Name: "access_log", Type: Path, Doc: "The access log of the proxy or server in front of MLflow"},
				{Name: "backfill", Type: Bool, Default: "false", Doc: "What existed before the first start is told as events, not as inventory alone"},
			}, httpSettings("60s")),
			Rules: []Rule{
				atMostOne("token", "username"),
				together("username", "password"),
				needs("listen", "webhook_secret"),
				webhookTLS,
				webhookStays,
				together("listen_cert_file", "listen_key_file"),
				clientCertificate,
			},
		},
		{
			Name: "aiwatch_git", Named: true, File: InputsFile,
			Doc: "Reads Git repositories that hold models, datasets or the code that makes them",
			Settings: slices.Concat(everyInput("300"), []Setting{
				{Name: "url", Type: Repository, Many: true, Required: true, Doc: "The repositories: https, ssh, http on this machine only, or absolute paths of local bare repositories"},
				{Name: "instance", Type: String, Default: "local", Doc: "For local repositories: the host under which their assets are known"},
				{Name: "root", Type: Path, Doc: "For local repositories: the folder below which their paths count"},
				{Name: "username", Type: String, Doc: "The user of https"},
				{Name: "password", Type: SecretType, Doc: "The user's password"},
				{Name: "token", Type: SecretType, Doc: "The access token of https, instead of user and password"},
				{Name: "ssh_key_file", Type: Path, Doc: "The private key of ssh"},
				{Name: "known_hosts_file", Type: Path, Doc: "The host keys that ssh believes, in the format of OpenSSH"},
				{Name: "protected_refs", Type: Glob, Many: true, Default: "refs/heads/main, refs/heads/master, refs/heads/release/*, refs/tags/*", Doc: "Patterns of refs whose rewriting and deletion matter"},
				{Name: "allowed_signers_file", Type: Path, Doc: "Who may sign by SSH, in the format of OpenSSH's allowed signers"},
				{Name: "openpgp_keys_file", Type: Path, Doc: "Who may sign by OpenPGP: an exported key ring"},
				{Name: "blob_budget", Type: Size, Default: "32MiB", Doc: "The largest blob that is fetched and looked into; a larger one is reported as not looked into"},
				{Name: "lfs_budget", Type: Size, Default: "0", Doc: "Bytes a day (UTC) that are fetched from LFS; 0 is off"},
				{Name: "lfs_url", Type: URL, Doc: "The LFS endpoint; what the repository's own .lfsconfig names is never used"},
				{Name: "disk_budget", Type: Size, Default: "10GiB", Min: "1MiB", Doc: "Size of the mirrors on disk; over it the oldest dropped tips go first, then only refs are read, and that is a finding"},
				{Name: "fetch_timeout", Type: Duration, Default: "10m", Min: "1s", Doc: "How long one fetch may take"},
				{Name: "pull_requests", Type: Bool, Default: "false", Doc: "The refs of pull and merge requests are read too"},
				{Name: "access_log", Type: Path, Doc: "The log of the proxy in front of the Git server"},
				{Name: "audit_log", Type: Path, Doc: "The audit log of the forge, JSON lines"},
				{Name: "hook_log", Type: Path, Doc: "The file to which aiwatch git-hook writes on the server"},
				{Name: "backfill", Type: Int, Default: "0", Min: "0", Max: "36500", Doc: "How many days of history before the first start are told as events"},
			}, httpSettings("30s")),
			Rules: []Rule{atMostOne("token", "username"), together("username", "password"), clientCertificate},
		},
		{
			Name: "hec", File: AIWatchFile,
			Doc: "The destination Splunk HTTP Event Collector: for Splunk Enterprise and Splunk Cloud Platform",
			Settings: slices.Concat([]Setting{
				{Name: "url", Type: URL, Many: true, Required: true, Doc: "One or more endpoints, such as https://splunk:8088"},
				{Name: "token", Type: SecretType, Required: true, Doc: "The HEC token"},
				{Name: "index", Type: String, DefaultDoc: "the token's", Doc: "The index to which events go whose input names none"},
				{Name: "ack", Type: Choice, Default: "auto", Values: []string{"auto", "on", "off"}, Doc: "Whether the indexer's acknowledgement is waited for; auto sends a channel and goes by what is answered"},
				{Name: "gzip_level", Type: Int, Default: "1", Min: "0", Max: "9", Doc: "How hard bodies are compressed; 0 is not at all"},
				{Name: "batch_bytes", Type: Size, Default: "768KiB", Min: "16KiB", Max: "512MiB", Doc: "Size of a body before compression"},
				{Name: "linger", Type: Duration, Default: "1s", Max: "1h", Doc: "How long a batch waits to be filled"},
			}, httpSettings("30s")),
			Rules: []Rule{clientCertificate},
		},
		{
			Name: "scs", File: AIWatchFile,
			Doc: "The destination Splunk Cloud Services, in programs that are built with the tag scs; for Splunk Enterprise and Splunk Cloud Platform use [hec]",
			Settings: []Setting{
				{Name: "tenant", Type: String, Required: true, Doc: "The tenant's name"},
				{Name: "token", Type: SecretType, Doc: "An access token"},
				{Name: "client_id", Type: String, Doc: "The id of a service principal, which fetches its tokens itself"},
				{Name: "client_secret", Type: SecretType, Doc: "The principal's secret"},
				{Name: "host", Type: String, DefaultDoc: "Splunk's", Doc: "Another domain of the services, or the URL of a gateway in front of them"},
			},
			Rules: []Rule{exactlyOne("token", "client_id"), together("client_id", "client_secret")},
		},
		{
			Name: "queue", File: AIWatchFile,
			Doc: "The durable queue in the state folder",
			Settings: []Setting{
				{Name: "max_bytes", Type: Size, Default: "10GiB", Min: "1MiB", Doc: "The size of the queue's file at which collectors wait"},
			},
		},
		{
			Name: "archive", File: AIWatchFile,
			Doc: "A copy of all events in local files, zstd by day, written by aiwatch run whatever the destination does",
			Settings: []Setting{
				{Name: "path", Type: Path, Required: true, Doc: "The folder of the copies, for this forwarder alone; it is made when it is not there"},
				{Name: "retention", Type: Duration, DefaultDoc: "for ever", Min: "1h", Doc: "How long the file of a day (UTC) is kept after the day has ended"},
			},
		},
		{
			Name: "identity", File: AIWatchFile,
			Doc: "How a principal becomes a user, for all sources",
			Settings: []Setting{
				{Name: "domains", Type: String, Many: true, Doc: "Domains that are taken off a user's name"},
			},
		},
		{
			Name: "identity", Named: true, File: AIWatchFile, Most: maxRules,
			Doc: "A rule that says who a principal is; the first that matches, in the order of the file, holds",
			Settings: []Setting{
				{Name: "match", Type: Regexp, Required: true, Doc: "Regular expression over the principal; its group user, if it has one, is the user"},
				{Name: "user", Type: String, Doc: "The user"},
				{Name: "user_type", Type: Choice, Values: valuesOf("user_type"), Doc: "What kind of principal it is"},
				{Name: "confidence", Type: Choice, Values: valuesOf("user_confidence"), Doc: "How sure it is that the principal is who it says"},
			},
			Rules: []Rule{identitySays},
		},
		{
			Name: "asset_rule", Named: true, File: AIWatchFile, Most: maxRules,
			Doc: "A rule that says what an S3 object or, with repo, a file in a Git repository is; the first that matches, in the order of the file, holds, before the built-in rules",
			Settings: []Setting{
				{Name: "bucket", Type: BucketGlob, DefaultDoc: "any", Doc: "The bucket of the objects, or a pattern of names, such as acme-models-*"},
				{Name: "repo", Type: Glob, Doc: "The repositories of the files, as host/path without .git, such as git.acme.example/vision/*; * matches slashes too"},
				{Name: "pattern", Type: Regexp, DefaultDoc: "all keys or paths", Doc: "Regular expression over the object's decoded key or the file's path; its groups name and version, if it has them, are asset_name and asset_version"},
				{Name: "asset_type", Type: Choice, Values: valuesOf("asset_type"), Doc: "What kind of asset the object is; a file in a repository is always a file"},
				{Name: "asset_role", Type: Choice, Values: valuesOf("asset_role"), Doc: "What the object or file is for"},
				{Name: "owner", Type: String, Doc: "Who owns the asset"},
			},
			Rules: []Rule{atLeastOne("bucket", "repo", "pattern"), atMostOne("bucket", "repo"), atMostOne("repo", "asset_type")},
		},
		{
			Name: "health", File: AIWatchFile,
			Doc: "How aiwatch tells that it is alive",
			Settings: []Setting{
				{Name: "interval", Type: Duration, Default: "5m", Min: "1s", Doc: "The pace of heartbeats"},
				{Name: "listen", Type: Address, Doc: "Address of Prometheus metrics and readiness, host:port or a port of this machine"},
			},
		},
		{
			Name: "log", File: AIWatchFile,
			Doc: "aiwatch's own log, on stderr",
			Settings: []Setting{
				{Name: "level", Type: Choice, Default: "info", Values: []string{"debug", "info", "warn", "error"}, Doc: "From which level on is logged"},
				{Name: "format", Type: Choice, Default: "text", Values: []string{"text", "json"}, Doc: "How lines look", Note: "Splunk's own line format is always used"},
			},
		},
	}
}

// maxRules is how many rules of a kind there may be.
const maxRules = 200

// everyInput are the settings that all inputs have.
func everyInput(interval string) []Setting {
	return []Setting{
		{Name: "disabled", Type: Bool, Default: "false", Doc: "The input is not run"},
		{Name: "index", Type: String, DefaultDoc: "the destination's", Doc: "The index of the input's events"},
		{Name: "host", Type: String, DefaultDoc: "the name of this machine", Doc: "The host of events whose source names none"},
		{Name: "interval", Type: Interval, Default: interval, Doc: "Seconds: the process stays and polls at that pace. A cron expression of five fields: one pass at each time, then the process ends"},
		{Name: "output", Type: Choice, Default: "splunkd", Values: []string{"splunkd", "hec"}, Doc: "Where a modular input's events go: to splunkd, or to the destination of aiwatch.conf", Note: "Means nothing outside Splunk"},
		{Name: "restart_token", Type: String, Doc: "Any text: changed, the input forgets its positions and starts anew"},
		{Name: "trust", Type: Choice, Default: "claimed", Values: []string{"claimed", "authenticated"}, Doc: "Whether names in the access, hook or forge log of this input were proven by whoever writes it"},
		{Name: "trusted_proxies", Type: Network, Many: true, Doc: "Networks whose X-Forwarded-For in an access log is believed; S3's own records have none"},
	}
}

// httpSettings are the settings of whatever speaks HTTP.
func httpSettings(timeout string) []Setting {
	return []Setting{
		{Name: "ca_file", Type: Path, DefaultDoc: "the system's", Doc: "The certificate authorities that are believed, PEM"},
		{Name: "client_cert_file", Type: Path, Doc: "The client certificate to show, PEM"},
		{Name: "client_key_file", Type: Path, Doc: "The client certificate's private key, PEM"},
		{Name: "proxy", Type: URL, DefaultDoc: "as HTTPS_PROXY and NO_PROXY say", Doc: "The HTTP proxy to go through"},
		{Name: "timeout", Type: Duration, Default: timeout, Min: "1s", Doc: "How long an answer may take to begin"},
		{Name: "insecure_skip_verify", Type: Bool, Default: "false", Doc: "The server's certificate is not verified; warned of at every start"},
	}
}

var clientCertificate = together("client_cert_file", "client_key_file")

// valuesOf returns the allowed values of an event's field.
func valuesOf(field string) []string {
	for _, f := range schema.Fields {
		if f.Name == field {
			return f.Values
		}
	}
	panic(fmt.Sprintf("conf: the schema has no field %s", field))
}
