package addon

import (
	"fmt"
	"strings"

	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
)

// A Model is a dataset of Splunk's Common Information Model, and which events
// are in it. Every operation of the schema belongs to exactly one Model, so that
// an event is in one data model at most.
type Model struct {
	// Dataset is CIM's name for it, empty for events that are in no model.
	Dataset string
	// Eventtype is the event type of its events, Tags what puts that type into
	// the dataset.
	Eventtype string
	Tags      []string
	// Operations are the schema's words by sourcetype.
	Operations map[string][]string
	// S3 selects among S3's operations, whose words are patterns.
	S3 string
}

// S3's operations are told apart by what they do, not by their words: a write to
// a bucket is a setting, a write to an object is data. A request about neither,
// such as the list of all buckets, has no asset_id.
const (
	s3Audit   = `operation IN ("*.PUT.LOGGING_STATUS", "*.PUT.VERSIONING")`
	s3Setting = `(action=acl_modified OR (asset_type=bucket action IN (modified, deleted)))`
)

// Models are in the order of the documentation. Nothing of the schema is a
// login: the Authentication model stays empty.
var Models = []Model{
	{
		Dataset: "Change.All_Changes", Eventtype: "aiwatch_change", Tags: []string{"change"},
		Operations: map[string][]string{
			event.SourcetypeMLflow: {
				"model.created", "model.deleted", "model.renamed", "model.description_changed", "model.tag_set", "model.tag_deleted",
				"version.created", "version.deleted", "version.stage_changed", "version.source_changed", "version.description_changed", "version.status_changed", "version.tag_set", "version.tag_deleted",
				"alias.set", "alias.deleted",
				"experiment.created", "experiment.renamed", "experiment.deleted", "experiment.restored", "experiment.tag_set", "experiment.tag_deleted",
				"run.created", "run.ended", "run.deleted", "run.restored", "run.edited_after_end",
				"logged_model.created", "logged_model.finalized", "logged_model.deleted", "logged_model.tag_set", "logged_model.tag_deleted",
				"dataset.digest_changed", "artifact.created", "artifact.modified", "artifact.deleted",
			},
			event.SourcetypeGit: {
				"ref.created", "ref.updated", "ref.force_pushed", "ref.deleted", "tag.moved", "replace_ref.present",
				"commit.added", "commit.dropped", "file.added", "file.modified", "file.deleted",
				"repo.created", "repo.deleted", "forge.other",
			},
		},
		S3: `asset_id=* ` + s3Setting + ` NOT ` + s3Audit,
	},
	{
		Dataset: "Change.Account_Management", Eventtype: "aiwatch_change_account", Tags: []string{"change", "account"},
		Operations: map[string][]string{
			event.SourcetypeMLflow: {"permission.granted", "permission.changed", "permission.revoked", "account.created", "account.deleted", "account.admin_changed"},
			event.SourcetypeGit:    {"member.changed"},
		},
	},
	{
		Dataset: "Change.Auditing_Changes", Eventtype: "aiwatch_change_audit", Tags: []string{"change", "audit"},
		Operations: map[string][]string{
			event.SourcetypeGit: {"protection.changed", "hook.changed", "audit.disabled"},
		},
		S3: `asset_id=* ` + s3Audit,
	},
	{
		Dataset: "Data_Access.Data_Access", Eventtype: "aiwatch_data_access", Tags: []string{"data", "access"},
		Operations: map[string][]string{
			event.SourcetypeMLflow: {"dataset.logged", "artifact.read", "artifact.uploaded", "artifact.removed"},
			event.SourcetypeGit:    {"repo.pushed", "repo.fetched", "repo.cloned", "lfs.downloaded", "lfs.uploaded"},
		},
		S3: `asset_id=* NOT ` + s3Audit + ` NOT ` + s3Setting + ` action!=unknown operation!=inventory`,
	},
	{
		Dataset: "Alerts.Alerts", Eventtype: "aiwatch_alert", Tags: []string{"alert"},
		Operations: map[string][]string{
			event.SourcetypeMLflow: {"registry.emptied", "registry.hidden"},
			event.SourcetypeGit:    {"repo.unreachable", "repo.recreated", "repo.over_budget"},
		},
	},
	{
		Eventtype: "aiwatch_inventory",
		Operations: map[string][]string{
			event.SourcetypeMLflow: {"inventory"}, event.SourcetypeGit: {"inventory"},
		},
		S3: `operation=inventory`,
	},
	{
		Eventtype: "aiwatch_other",
		Operations: map[string][]string{
			event.SourcetypeMLflow: {"record.damaged"}, event.SourcetypeGit: {"record.damaged"},
		},
		S3: `operation!=inventory (action=unknown OR NOT asset_id=*)`,
	},
	{
		Eventtype: "aiwatch_health",
		Operations: map[string][]string{
			event.SourcetypeHealth: {"heartbeat", "deadletter", "state.new", "state.restored", "state.damaged", "archive.damaged", "archive.expired", "gap.unreadable"},
		},
	},
}

// severities of what is an alert, in CIM's words.
var severities = map[string]string{
	"registry.emptied": "high", "registry.hidden": "high", "repo.recreated": "high",
	"repo.unreachable": "medium", "repo.over_budget": "low",
}

// alias gives one of our fields CIM's name.
func alias(ours, theirs string) setting {
	return setting{"FIELDALIAS-cim_" + theirs, ours + " AS " + theirs}
}

// cim returns what gives a sourcetype's events the fields that their model
// requires. Where a source does not tell who or from where, `user` and `src`
// say "unknown", CIM's word for it; `actor` and `src_ip` stay empty then.
func cim(sourcetype string) []setting {
	if sourcetype == event.SourcetypeHealth {
		return nil
	}
	common := []setting{
		alias("host", "dvc"), alias("asset_id", "object_id"), alias("asset_id", "object_path"), alias("operation", "command"),
		// Before src may get a value that is no address: Splunk sorts aliases.
		{"FIELDALIAS-address", "src AS src_ip"},
		alias("status_code", "result_id"), alias("src_user", "src_user_name"),
		eval("result", `coalesce(error_code,status_code)`),
	}
	if sourcetype == event.SourcetypeS3 {
		// The props compute these: an EVAL does not see another's result.
		given := func(field string) string {
			for _, e := range schema.S3Evals {
				if e.Field == field {
					return orComputed(e)
				}
			}
			panic("addon: the props do not compute " + field)
		}
		account := `case(match(user_id,"^arn:[^:]*:[^:]*:[^:]*:[0-9]+:"),replace(user_id,"^arn:[^:]*:[^:]*:[^:]*:([0-9]+):.*$","\1"),` +
			`match(user_id,"^([0-9a-f]{64}|[0-9]{12})$"),user_id,true(),"unknown")`
		return append(common,
			// An act of S3's own, such as an expiry, comes from no address.
			setting{"FIELDALIAS-cim_src", "user_id ASNEW src"},
			alias("user", "user_name"),
			eval("dest", `coalesce(`+bucket+`,host)`),
			eval("change_type", `coalesce(change_type,"storage")`),
			eval("object", `coalesce(`+given("asset_name")+`,asset_id)`),
			eval("object_category", noFile(given("asset_type"), "object_file")),
			eval("object_attrs", `coalesce(change_field,lower(replace(operation,"^.*[.]","")))`),
			eval("vendor_account", account), eval("tenant_id", account))
	}

	words := func(dataset string) string {
		for _, m := range Models {
			if m.Dataset == dataset {
				return anyOf(m.Operations[sourcetype])
			}
		}
		panic("addon: no model is " + dataset)
	}
	var none []string
	for _, m := range Models {
		if m.Dataset == "" {
			none = append(none, m.Operations[sourcetype]...)
		}
	}
	alert, account, nowhere := words("Alerts.Alerts"), words("Change.Account_Management"), anyOf(none)
	changed := map[string]string{event.SourcetypeMLflow: "machine learning", event.SourcetypeGit: "source code"}[sourcetype]
	settings := append(common,
		alias("host", "dest"), alias("host", "vendor_account"), alias("host", "tenant_id"), alias("asset_size", "object_size"),
		eval("user", `coalesce(user,if(`+nowhere+`,null(),"unknown"))`),
		eval("user_name", `coalesce(user,if(`+nowhere+`,null(),"unknown"))`),
		eval("src_user", `coalesce(src_user,if(`+account+`,"unknown",null()))`),
		eval("src", `coalesce(src,case(`+alert+`,host,`+nowhere+`,null(),true(),"unknown"))`),
		eval("change_type", `coalesce(change_type,if(`+account+`,"AAA","`+changed+`"))`),
		eval("object", `coalesce(if(`+account+`,user,null()),asset_name,asset_id)`),
		eval("object_category", `if(`+account+`,"user",`+noFile("asset_type", "source_file")+`)`),
		eval("object_attrs", `coalesce(change_field,if(match(action,"^(created|deleted)$"),"existence",asset_type))`),
		eval("id", `if(`+alert+`,event_id,null())`),
		eval("type", `if(`+alert+`,"warning",null())`),
		eval("signature_id", `if(`+alert+`,operation,null())`))
	var signature, severity []string
	for _, o := range schema.Operations {
		if s := severities[o.Name]; s != "" && o.Sourcetype == sourcetype {
			severity = append(severity, fmt.Sprintf(`operation="%s","%s"`, o.Name, s))
			signature = append(signature, fmt.Sprintf(`operation="%s","%s"`, o.Name, o.Doc))
		}
	}
	signed := "case(" + strings.Join(signature, ",") + ")"
	// A commit's signature is a field of the schema: an EVAL without it would
	// take it out of every other event.
	return append(settings, eval("severity", "case("+strings.Join(severity, ",")+")"),
		eval("signature", "coalesce("+signed+",signature)"), eval("description", "coalesce(if("+alert+",error,null()),"+signed+")"))
}

// noFile keeps a category from being `file`, which puts a change out of CIM's
// Change model into that of the file systems.
func noFile(category, instead string) string {
	return fmt.Sprintf(`if(%s="file","%s",%s)`, category, instead, category)
}

// anyOf tells in SPL whether the operation is one of words.
func anyOf(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strings.ReplaceAll(w, ".", "[.]")
	}
	return `match(operation,"^(` + strings.Join(quoted, "|") + `)$")`
}
