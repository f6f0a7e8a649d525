package schema

// An Operation is a word of the `operation` field. The S3 collector's words are
// the log's own, so that they stand here as patterns.
type Operation struct {
	// Name is the word, or with Pattern a shape such as REST.GET.*.
	Name       string
	Pattern    bool
	Sourcetype string
	// Action is the CIM verb that goes with it.
	Action string
	// AssetTypes are what it can happen to.
	AssetTypes []string
	// Doc says what happened, as a sentence without its full stop.
	Doc string
}

const (
	mlflow = "aiwatch:mlflow"
	s3     = "aiwatch:s3"
	git    = "aiwatch:git"
	health = "aiwatch:health"
	// anySource stands for the three collectors' sourcetypes.
	anySource = "aiwatch:*"
)

// Operations is the closed list of what an event can say was done.
var Operations = []Operation{
	{"*.COPY.*_GET", true, s3, "read", []string{"object"}, "The source of a copy was read; `bytes_out` is the object's size"},
	{"*.COPY.*", true, s3, "copied", []string{"object"}, "An object was written as a copy of another"},
	{"*.DELETE.*", true, s3, "deleted", []string{"object", "bucket"}, "An object, version or setting was deleted"},
	{"BATCH.DELETE.*", true, s3, "deleted", []string{"object"}, "An object was deleted by a batch request"},
	{"S3.EXPIRE.*", true, s3, "deleted", []string{"object"}, "A lifecycle rule expired an object"},
	{"S3.CREATE.DELETEMARKER", true, s3, "deleted", []string{"object"}, "A lifecycle rule put a delete marker"},
	{"*.PUT.OBJECT", true, s3, "uploaded", []string{"object"}, "An object was written"},
	{"*.POST.OBJECT", true, s3, "uploaded", []string{"object"}, "An object was written by a form"},
	{"*.POST.UPLOAD", true, s3, "uploaded", []string{"object"}, "An upload in parts was completed"},
	{"*.PUT.ACL", true, s3, "acl_modified", []string{"object", "bucket"}, "Who may do what was changed; the policy writes count here too"},
	{"*.PUT.*", true, s3, "modified", []string{"object", "bucket"}, "A part, tag or setting was written"},
	{"*.POST.*", true, s3, "modified", []string{"object", "bucket"}, "Something was changed by a POST"},
	{"*.GET.*", true, s3, "read", []string{"object", "bucket"}, "Something was read or listed"},
	{"*.HEAD.*", true, s3, "read", []string{"object", "bucket"}, "Metadata was read"},
	{"*.*.*", true, s3, "unknown", []string{"object", "bucket"}, "Whatever else the log names"},

	{"model.created", false, mlflow, "created", []string{"model", "prompt"}, "A registered model or prompt came to be"},
	{"model.deleted", false, mlflow, "deleted", []string{"model", "prompt"}, "A registered model or prompt is gone; re-created is deleted and created"},
	{"model.renamed", false, mlflow, "modified", []string{"model", "prompt"}, "It has a new name; what moves along is not told again"},
	{"model.description_changed", false, mlflow, "modified", []string{"model", "prompt"}, "Its description changed"},
	{"model.tag_set", false, mlflow, "modified", []string{"model", "prompt"}, "A tag was set or changed"},
	{"model.tag_deleted", false, mlflow, "modified", []string{"model", "prompt"}, "A tag was deleted"},
	{"version.created", false, mlflow, "created", []string{"model_version"}, "A version was registered"},
	{"version.deleted", false, mlflow, "deleted", []string{"model_version"}, "A version is gone"},
	{"version.stage_changed", false, mlflow, "modified", []string{"model_version"}, "A version moved to another stage"},
	{"version.source_changed", false, mlflow, "modified", []string{"model_version"}, "A version points at other files"},
	{"version.description_changed", false, mlflow, "modified", []string{"model_version"}, "A version's description changed"},
	{"version.status_changed", false, mlflow, "modified", []string{"model_version"}, "A version's status changed"},
	{"version.tag_set", false, mlflow, "modified", []string{"model_version"}, "A version's tag was set or changed"},
	{"version.tag_deleted", false, mlflow, "modified", []string{"model_version"}, "A version's tag was deleted"},
	{"alias.set", false, mlflow, "modified", []string{"model_version"}, "An alias points at this version; old and new value are versions"},
	{"alias.deleted", false, mlflow, "modified", []string{"model_version"}, "An alias of this version is gone"},
	{"experiment.created", false, mlflow, "created", []string{"experiment"}, "An experiment came to be"},
	{"experiment.renamed", false, mlflow, "modified", []string{"experiment"}, "An experiment has a new name"},
	{"experiment.deleted", false, mlflow, "deleted", []string{"experiment"}, "An experiment was deleted"},
	{"experiment.restored", false, mlflow, "modified", []string{"experiment"}, "A deleted experiment is back"},
	{"experiment.tag_set", false, mlflow, "modified", []string{"experiment"}, "An experiment's tag was set or changed"},
	{"experiment.tag_deleted", false, mlflow, "modified", []string{"experiment"}, "An experiment's tag was deleted"},
	{"run.created", false, mlflow, "created", []string{"run"}, "A run began, as its client says"},
	{"run.ended", false, mlflow, "modified", []string{"run"}, "A run ended, as its client says"},
	{"run.deleted", false, mlflow, "deleted", []string{"run"}, "A run was deleted"},
	{"run.restored", false, mlflow, "modified", []string{"run"}, "A deleted run is back"},
	{"run.edited_after_end", false, mlflow, "modified", []string{"run"}, "Something of a run changed after it had ended, reopening included"},
	{"logged_model.created", false, mlflow, "created", []string{"logged_model"}, "A logged model came to be"},
	{"logged_model.finalized", false, mlflow, "modified", []string{"logged_model"}, "A logged model was finalized"},
	{"logged_model.deleted", false, mlflow, "deleted", []string{"logged_model"}, "A logged model is gone"},
	{"logged_model.tag_set", false, mlflow, "modified", []string{"logged_model"}, "A logged model's tag was set or changed"},
	{"logged_model.tag_deleted", false, mlflow, "modified", []string{"logged_model"}, "A logged model's tag was deleted"},
	{"dataset.logged", false, mlflow, "read", []string{"dataset"}, "A run used a dataset"},
	{"dataset.digest_changed", false, mlflow, "modified", []string{"dataset"}, "A dataset of the same name has another digest"},
	{"artifact.created", false, mlflow, "created", []string{"artifact"}, "An artifact is there that was not, by listing or digest"},
	{"artifact.modified", false, mlflow, "modified", []string{"artifact"}, "An artifact's size or digest changed"},
	{"artifact.deleted", false, mlflow, "deleted", []string{"artifact"}, "An artifact is gone"},
	{"artifact.read", false, mlflow, "read", []string{"artifact"}, "An access log shows that an artifact was read"},
	{"artifact.uploaded", false, mlflow, "uploaded", []string{"artifact"}, "An access log shows that an artifact was written"},
	{"artifact.removed", false, mlflow, "deleted", []string{"artifact"}, "An access log shows that an artifact was removed"},
	{"permission.granted", false, mlflow, "acl_modified", []string{"permission"}, "A permission was granted"},
	{"permission.changed", false, mlflow, "acl_modified", []string{"permission"}, "A permission was changed"},
	{"permission.revoked", false, mlflow, "acl_modified", []string{"permission"}, "A permission was revoked"},
	{"account.created", false, mlflow, "created", []string{"permission"}, "An account came to be"},
	{"account.deleted", false, mlflow, "deleted", []string{"permission"}, "An account is gone"},
	{"account.admin_changed", false, mlflow, "acl_modified", []string{"permission"}, "An account became or is no longer an administrator"},
	{"registry.emptied", false, mlflow, "unknown", []string{"input"}, "The registry answers with nothing where there was something"},
	{"registry.hidden", false, mlflow, "unknown", []string{"input"}, "The server refuses to show what it showed before"},

	{"ref.created", false, git, "created", []string{"ref"}, "A reference came to be"},
	{"ref.updated", false, git, "updated", []string{"ref"}, "A reference moved forward"},
	{"ref.force_pushed", false, git, "modified", []string{"ref"}, "A reference moved to a commit that does not descend from the one before"},
	{"ref.deleted", false, git, "deleted", []string{"ref"}, "A reference is gone"},
	{"tag.moved", false, git, "modified", []string{"ref"}, "A tag points elsewhere"},
	{"replace_ref.present", false, git, "modified", []string{"ref"}, "The repository has a replacement for an object"},
	{"commit.added", false, git, "created", []string{"commit"}, "A commit is first reachable, or first reachable from a protected reference"},
	{"commit.dropped", false, git, "deleted", []string{"commit"}, "A commit is no longer reachable"},
	{"file.added", false, git, "created", []string{"file"}, "A file of an AI-asset class was added"},
	{"file.modified", false, git, "modified", []string{"file"}, "A file of an AI-asset class changed"},
	{"file.deleted", false, git, "deleted", []string{"file"}, "A file of an AI-asset class was deleted"},
	{"repo.pushed", false, git, "uploaded", []string{"repository"}, "A log shows a push"},
	{"repo.fetched", false, git, "downloaded", []string{"repository"}, "A log shows a fetch or clone"},
	{"repo.cloned", false, git, "downloaded", []string{"repository"}, "A log that can tell shows a clone"},
	{"lfs.downloaded", false, git, "downloaded", []string{"repository"}, "A log shows a Git LFS download"},
	{"lfs.uploaded", false, git, "uploaded", []string{"repository"}, "A log shows a Git LFS upload"},
	{"protection.changed", false, git, "modified", []string{"repository"}, "A protection rule was switched; `change_field` names it, `new_value` is on or off"},
	{"member.changed", false, git, "acl_modified", []string{"permission"}, "Who may do what in the repository changed"},
	{"hook.changed", false, git, "modified", []string{"repository"}, "A hook of the repository changed"},
	{"repo.deleted", false, git, "deleted", []string{"repository"}, "The forge deleted the repository"},
	{"repo.created", false, git, "created", []string{"repository"}, "The forge created the repository"},
	{"audit.disabled", false, git, "modified", []string{"repository"}, "The forge's audit log was switched off"},
	{"forge.other", false, git, "modified", []string{"repository", "permission"}, "Another act of the forge; `vendor_action` has its word"},
	{"repo.unreachable", false, git, "unknown", []string{"repository"}, "The repository could not be fetched"},
	{"repo.recreated", false, git, "unknown", []string{"repository"}, "The repository shares no commit with what was there before"},
	{"repo.over_budget", false, git, "unknown", []string{"repository"}, "The mirror is over its disk budget; only references are read"},

	{"inventory", false, anySource, "read", []string{"model", "model_version", "prompt", "run", "experiment", "logged_model", "dataset", "artifact", "repository", "ref", "commit", "permission"}, "What exists at first contact, told once"},
	{"record.damaged", false, anySource, "unknown", []string{"object", "artifact", "repository", "input"}, "A record that could not be read; `raw` holds it, `parse_error` says why"},

	{"heartbeat", false, health, "", []string{"input", "bucket"}, "How the input is, at every interval and at each change of state"},
	{"deadletter", false, health, "", []string{"input"}, "The destination refused an event for good"},
	{"state.new", false, health, "", []string{"input"}, "The state began anew"},
	{"state.restored", false, health, "", []string{"input"}, "The state is older than what this forwarder last knew"},
	{"state.damaged", false, health, "", []string{"input"}, "The state was damaged and set aside"},
	{"archive.damaged", false, health, "", []string{"input"}, "The archive is not what this forwarder has written: files are gone, shorter, or ahead of the state"},
	{"archive.expired", false, health, "", []string{"input"}, "A file of the archive is past its retention and deleted"},
	{"gap.unreadable", false, health, "", []string{"input"}, "Waiting events could not be read back and are lost"},
}

// A Sourcetype is what the add-on knows of one sourcetype.
type Sourcetype struct {
	Name string
	Doc  string
	// Defaults are constant fields that are not sent but supplied at search
	// time, in the order of the documentation.
	Defaults []Default
}

// A Default is a field's value where the event has none.
type Default struct{ Field, Value string }

// Sourcetypes are all sourcetypes. A field that an event carries wins over the
// default.
var Sourcetypes = []Sourcetype{
	{mlflow, "Changes of a MLflow tracking server", []Default{{"vendor_product", "MLflow"}, {"app", "mlflow"}, {"evidence", "diff"}, {"time_basis", "bounded"}}},
	{s3, "Accesses to S3 objects", []Default{{"vendor_product", "Amazon S3"}, {"app", "s3"}, {"evidence", "log"}, {"time_basis", "exact"}}},
	{git, "Changes of Git repositories", []Default{{"vendor_product", "Git"}, {"app", "git"}, {"evidence", "refs"}, {"time_basis", "bounded"}}},
	{health, "How the watching itself is", []Default{{"vendor_product", "aiwatch"}, {"app", "aiwatch"}, {"evidence", "scan"}, {"time_basis", "exact"}}},
}

// SearchTime are fields that the add-on computes at search time for every
// sourcetype.
var SearchTime = []Field{
	{"vendor_product", String, "Search time", "The watched product", nil},
	{"app", String, "Search time", "The watched product in one word, for CIM", nil},
	{"actor", String, "Search time", "Who did it on every event: `coalesce(src_user,user)` as they were sent; empty where the source does not tell", nil},
	{"src_ip", String, "Search time", "`src` as it was sent; empty where the source does not tell", nil},
}
