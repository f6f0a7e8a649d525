// Package schema is the AI-asset event as data: its fields, its operations and
// what each sourcetype supplies at search time.
//
// It is the one source from which the Go struct and its encoder
// (internal/event), `aiwatch schema`, the add-on's props and the documentation
// are made. A newcomer who adds a field adds one row to Fields and runs
// `go generate ./internal/event`.
//
// The package holds tables and imports nothing but the standard library.
package schema

// Version is the schema's version. New fields may come in 1.x; a field never
// changes its meaning or type.
const Version = "1.0"

// Limits of one event, in bytes.
const (
	// MaxEvent bounds an encoded event. Splunk's search-time JSON extraction
	// stops near 10,240 characters.
	MaxEvent = 10_000
	// MaxValue bounds a value before escaping, a list's values taken together.
	MaxValue = 2_000
)

// Kind is the type of a field's value.
type Kind int

// The kinds of values. There are no objects: an event is flat.
const (
	String Kind = iota
	Number      // a whole number: sizes and counts
	Time        // epoch seconds with up to three decimals
	Bool
	List // a list of strings
)

// String returns the kind as the documentation names it.
func (k Kind) String() string {
	switch k {
	case Number:
		return "number"
	case Time:
		return "time"
	case Bool:
		return "boolean"
	case List:
		return "list of strings"
	default:
		return "string"
	}
}

// A Field is one key of an event.
type Field struct {
	Name  string
	Kind  Kind
	Group string
	// Doc is what the field means, as a sentence without its full stop.
	Doc string
	// Values lists the allowed values, where they are a closed set.
	Values []string
}

// Groups in the order of the documentation.
var Groups = []string{
	"Identity and order", "What happened", "Who", "What", "Lineage",
	"S3", "Git", "Pickle", "MLflow", "Damage", "Health",
}

// Fields are all fields of an event but event_id, collector and seq, which
// every event has and the encoder writes by itself. They stand grouped for the
// reader; the encoder sorts them.
var Fields = []Field{
	{"time_basis", String, "Identity and order", "How `time` is known: the source dates it, it happened between `not_before` and `time`, or an interested party dates it in `claimed_time`", []string{"exact", "bounded", "claimed"}},
	{"not_before", Time, "Identity and order", "Earliest moment at which it can have happened, with `time_basis` bounded", nil},
	{"claimed_time", Time, "Identity and order", "The date that an interested party gives, with `time_basis` claimed", nil},
	{"evidence", String, "Identity and order", "How it is known", []string{"log", "diff", "webhook", "refs", "scan", "inventory"}},
	{"raw_ref", String, "Identity and order", "The way back to the record: `s3://log-bucket/key:line`, `file:name:line`, `git:...@<commit>`", nil},

	{"action", String, "What happened", "CIM verb", []string{"read", "created", "modified", "updated", "deleted", "uploaded", "downloaded", "copied", "acl_modified", "unknown"}},
	{"operation", String, "What happened", "What was done, a word of the operations table", nil},
	{"status", String, "What happened", "Whether it took effect", []string{"success", "failure"}},
	{"status_code", String, "What happened", "The source's own code, such as an HTTP status", nil},
	{"error_code", String, "What happened", "The source's own word for the error", nil},
	{"change_type", String, "What happened", "CIM change type", nil},
	{"change_field", String, "What happened", "The one field that changed: `alias.<a> tags.<k> metrics.<k> params.<k> name description stage status source end_time inputs size digest permission`", nil},
	{"old_value", String, "What happened", "Its value before", nil},
	{"new_value", String, "What happened", "Its value after", nil},
	{"vendor_action", String, "What happened", "A forge's own word for an act that has no operation of ours", nil},

	{"user", String, "Who", "The person or service, in one form for all sources, after the `[identity]` rules", nil},
	{"user_id", String, "Who", "The principal as the source wrote it", nil},
	{"user_type", String, "Who", "What kind of principal it is", []string{"user", "service", "role", "anonymous", "unknown"}},
	{"user_confidence", String, "Who", "How sure the actor is: proven by the source, a good signature by a known key, free text or the caller's choice, or not known", []string{"authenticated", "signed", "claimed", "unknown"}},
	{"user_candidates", List, "Who", "Those who could have done it, when there are several", nil},
	{"src_user", String, "Who", "On permission events who granted, where `user` is who got it", nil},
	{"src", String, "Who", "Client address; IPv6 is written in full", nil},
	{"user_agent", String, "Who", "Client software as it names itself", nil},

	{"asset_type", String, "What", "What kind of thing the asset is", []string{"model", "model_version", "prompt", "run", "experiment", "logged_model", "dataset", "artifact", "object", "bucket", "repository", "ref", "commit", "file", "permission", "input"}},
	{"asset_id", String, "What", "The asset's one name across sources", nil},
	{"asset_name", String, "What", "Short name: a rule's `name`, else logged model or run id, else bucket and first folder; for Git files the repository; for MLflow the object's own name", nil},
	{"asset_version", String, "What", "Version of the asset", nil},
	{"asset_role", String, "What", "What the asset is for", []string{"weights", "dataset", "config", "code", "tokenizer", "card", "pipeline", "control", "other"}},
	{"asset_format", String, "What", "File format: `safetensors pickle onnx gguf hdf5 parquet` and others", nil},
	{"asset_digest", String, "What", "Digest with its kind in front: `sha256: md5: etag: gitoid:`", nil},
	{"asset_size", Number, "What", "Size of the asset, in bytes", nil},
	{"bytes_out", Number, "What", "Bytes that left", nil},
	{"owner", String, "What", "Who owns the asset, from the asset rules", nil},

	{"run_id", String, "Lineage", "MLflow run", nil},
	{"logged_model_id", String, "Lineage", "MLflow logged model", nil},
	{"experiment_id", String, "Lineage", "MLflow experiment", nil},
	{"model_name", String, "Lineage", "Registered model", nil},
	{"model_version", String, "Lineage", "Version of the registered model", nil},
	{"git_commit", String, "Lineage", "Commit, as its full object id", nil},
	{"git_repo", String, "Lineage", "`git:<host>/<path>`: scheme, user, port and `.git` dropped", nil},
	{"git_ref", String, "Lineage", "Full name of the reference", nil},
	{"dataset_name", String, "Lineage", "Dataset", nil},
	{"dataset_digest", String, "Lineage", "Digest of the dataset as its client computed it", nil},
	{"source_uri", String, "Lineage", "Where a version says its files are", nil},
	{"source_outside", Bool, "Lineage", "True: the version's source does not lie under its run's or logged model's artifact root", nil},

	{"request_id", String, "S3", "The request's id in the log", nil},
	{"bucket_owner", String, "S3", "Canonical id of the bucket's owner", nil},
	{"version_id", String, "S3", "Version id of the object", nil},
	{"authentication_type", String, "S3", "`AuthHeader`, `QueryString` (a presigned link), or absent", nil},
	{"acl_required", String, "S3", "`Yes` when an ACL was needed to allow the request", nil},
	{"access_point", String, "S3", "ARN of the access point", nil},
	{"host_header", String, "S3", "Endpoint that was addressed", nil},
	{"referer", String, "S3", "HTTP Referer", nil},

	{"protected", Bool, "Git", "True: the reference is one of the input's protected ones", nil},
	{"direct", Bool, "Git", "True: a commit on the first-parent chain of a protected reference that came by no merge", nil},
	{"merge", Bool, "Git", "True: the commit has several parents", nil},
	{"merge_only", Bool, "Git", "True: the change is in a merge commit and no parent has it", nil},
	{"parents", List, "Git", "Parent commits", nil},
	{"parent_date", Time, "Git", "Commit date of the newest parent", nil},
	{"author", String, "Git", "Author's name, free text", nil},
	{"author_email", String, "Git", "Author's address, free text", nil},
	{"author_date", Time, "Git", "Author's date, the author's choice", nil},
	{"committer", String, "Git", "Committer's name, free text", nil},
	{"committer_email", String, "Git", "Committer's address, free text", nil},
	{"commit_date", Time, "Git", "Committer's date, the committer's choice", nil},
	{"subject", String, "Git", "First line of the commit message", nil},
	{"signature", String, "Git", "What the commit's signature is worth", []string{"none", "good", "bad", "unknown_key", "revoked"}},
	{"signer_key", String, "Git", "Fingerprint of the signing key", nil},
	{"lfs_oid", String, "Git", "Digest that a Git LFS pointer names", nil},
	{"lfs_size", Number, "Git", "Size that a Git LFS pointer names, in bytes", nil},
	{"dvc_md5", String, "Git", "Digest that a DVC file names", nil},
	{"submodule_commit", String, "Git", "Commit that a submodule points at", nil},
	{"json_keys", List, "Git", "Keys that changed in a JSON configuration file", nil},
	{"dropped_by", String, "Git", "The new tip whose arrival made the commit unreachable", nil},
	{"pusher", String, "Git", "Who pushed, where a log tells", nil},

	{"imports", List, "Pickle", "What a pickle imports", nil},
	{"imports_added", List, "Pickle", "What it imports that its previous version did not", nil},
	{"verdict", String, "Pickle", "What the imports are worth", []string{"safe", "suspicious", "dangerous"}},

	{"alias", String, "MLflow", "Alias of a model version", nil},
	{"stage", String, "MLflow", "Stage of a model version", nil},
	{"tag_key", String, "MLflow", "Key of the tag that changed", nil},
	{"run_status", String, "MLflow", "Status of the run", nil},
	{"run_start", Time, "MLflow", "Start of the run, the client's word", nil},
	{"run_end", Time, "MLflow", "End of the run, the client's word", nil},
	{"tags", List, "MLflow", "Tags as `key=value`, on created, ended and inventory events of runs and versions", nil},
	{"trained_by", String, "MLflow", "The run's user", nil},
	{"trained_by_confidence", String, "MLflow", "How sure `trained_by` is, in the words of `user_confidence`", []string{"authenticated", "signed", "claimed", "unknown"}},
	{"registered_by", String, "MLflow", "The user of `version.created`, where authenticated", nil},
	{"dataset_context", String, "MLflow", "What the run used the dataset for", nil},
	{"dataset_source", String, "MLflow", "Where the dataset says it came from", nil},
	{"aliases", List, "MLflow", "Aliases, on inventory events", nil},
	{"git_dirty", Bool, "MLflow", "True: the run's work tree had changes that no commit holds", nil},
	{"source_type", String, "MLflow", "Source type as MLflow names it", nil},
	{"grantee_permission", String, "MLflow", "What the grantee may do", nil},

	{"raw", String, "Damage", "The damaged record, cut so that the event fits", nil},
	{"raw_sha256", String, "Damage", "SHA-256 of the whole damaged record", nil},
	{"parse_error", String, "Damage", "What is wrong with it", nil},
	{"truncated", List, "Damage", "Fields whose values were cut", nil},

	{"schema_version", String, "Health", "Version of this schema", nil},
	{"version", String, "Health", "Version of aiwatch", nil},
	{"state", String, "Health", "State of the input", []string{"ok", "lagging", "failing", "silent", "starting"}},
	{"events", Number, "Health", "Events made since the last heartbeat", nil},
	{"records_read", Number, "Health", "Records read since the last heartbeat", nil},
	{"newest_record_time", Time, "Health", "Date of the newest record read", nil},
	{"last_sweep_time", Time, "Health", "When the source was last read to its end", nil},
	{"inventory_complete", Bool, "Health", "True: what exists at first contact was read to its end", nil},
	{"lag_seconds", Number, "Health", "Age of the newest record when it was read, in seconds", nil},
	{"queue_bytes", Number, "Health", "Bytes that wait in the queue", nil},
	{"oldest_queued_seconds", Number, "Health", "Age of the oldest waiting batch, in seconds", nil},
	{"dead_letters", Number, "Health", "Events that the destination refused for good", nil},
	{"held", Number, "Health", "Events that wait because a setting is wrong", nil},
	{"error", String, "Health", "Last error, in words", nil},
	{"coverage", List, "Health", "What of the source is not watched, and why", nil},
	{"refused_collector", String, "Health", "`collector` of the refused event", nil},
	{"refused_seq", Number, "Health", "`seq` of the refused event", nil},
	{"refused_event_id", String, "Health", "`event_id` of the refused event", nil},
	{"code", String, "Health", "Code of the destination's answer", nil},
	{"text", String, "Health", "Text of the destination's answer, or what was lost or begun anew", nil},
}
