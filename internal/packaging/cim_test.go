package packaging_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
	"aiwatch/internal/spl"
)

// models tells by its tags in which dataset of Splunk's Common Information Model
// an event type is. The constraints are those of Splunk_SA_CIM: Change is
// tag=change, Data_Access is tag=data tag=access, Alerts is tag=alert.
var models = map[string]string{
	"change": "Change.All_Changes", "account change": "Change.Account_Management", "audit change": "Change.Auditing_Changes",
	"access data": "Data_Access.Data_Access", "alert": "Alerts.Alerts", "": "none",
}

// required are the fields that a model's events must have: what an older and a
// newer field list of the model (the newer as pytest-splunk-addon has it) call
// required, taken together. Data_Access asks for object_size, too; where a
// source tells no size there is none, for a number can't say "unknown".
var required = map[string][]string{
	"Change.All_Changes":        {"action", "change_type", "command", "dest", "dvc", "object", "object_attrs", "object_category", "object_id", "object_path", "status", "src", "user", "user_name", "vendor_product"},
	"Change.Account_Management": {"action", "change_type", "command", "dest", "dvc", "object", "object_attrs", "object_category", "object_id", "object_path", "status", "src", "user", "user_name", "src_user", "vendor_product"},
	"Change.Auditing_Changes":   {"action", "change_type", "command", "dest", "dvc", "object", "object_attrs", "object_category", "object_id", "object_path", "status", "src", "user", "user_name", "vendor_product"},
	"Data_Access.Data_Access":   {"action", "app", "dest", "object", "object_attrs", "object_category", "object_id", "src", "tenant_id", "user", "user_name", "vendor_account", "vendor_product"},
	"Alerts.Alerts":             {"app", "dest", "description", "id", "severity", "signature", "signature_id", "src", "type", "user"},
}

// words are the values that a model expects of a field.
var words = map[string]map[string][]string{
	"Change": {
		"action": {"acl_modified", "cleared", "created", "deleted", "modified", "read", "stopped", "updated"},
		"status": {"success", "failure"},
	},
	"Data_Access": {
		"action": {"copied", "created", "deleted", "modified", "read", "updated", "downloaded", "uploaded", "shared"},
	},
	"Alerts": {
		"severity": {"critical", "high", "medium", "low", "informational"},
		"type":     {"alarm", "alert", "event", "task", "warning"},
	},
}

// requireModel holds an event, as it is after the props, against its model.
func requireModel(t *testing.T, model string, field func(string) string, event string) {
	t.Helper()
	if model == "none" {
		return
	}
	for _, name := range required[model] {
		require.NotContains(t, []string{"", "-"}, field(name), "%s lacks %s: %s", model, name, event)
	}
	family, _, _ := strings.Cut(model, ".")
	for name, allowed := range words[family] {
		require.Contains(t, allowed, field(name), "%s of %s", name, event)
	}
	if family == "Change" {
		require.NotContains(t, []string{"file", "directory", "registry"}, field("object_category"), "these leave the Change model: %s", event)
		require.Equal(t, model == "Change.Account_Management", field("object_category") == "user", "user is what an account change is about: %s", event)
		if field("status") == "failure" {
			require.NotEmpty(t, field("result"), event)
		}
	}
	if size := field("asset_size"); family == "Data_Access" && size != "" {
		require.Equal(t, size, field("object_size"), event)
	}
}

// s3Operations are words of S3's logs, with what they act on and where they
// belong.
var s3Operations = []struct{ operation, asset, model string }{
	{"REST.GET.OBJECT", "object", "Data_Access.Data_Access"},
	{"REST.HEAD.OBJECT", "object", "Data_Access.Data_Access"},
	{"REST.PUT.OBJECT", "object", "Data_Access.Data_Access"},
	{"REST.POST.UPLOAD", "object", "Data_Access.Data_Access"},
	{"REST.COPY.OBJECT", "object", "Data_Access.Data_Access"},
	{"REST.COPY.OBJECT_GET", "object", "Data_Access.Data_Access"},
	{"REST.COPY.PART", "object", "Data_Access.Data_Access"},
	{"REST.PUT.PART", "object", "Data_Access.Data_Access"},
	{"REST.DELETE.OBJECT", "object", "Data_Access.Data_Access"},
	{"BATCH.DELETE.OBJECT", "object", "Data_Access.Data_Access"},
	{"S3.EXPIRE.OBJECT", "object", "Data_Access.Data_Access"},
	{"S3.CREATE.DELETEMARKER", "object", "Data_Access.Data_Access"},
	{"REST.GET.BUCKET", "bucket", "Data_Access.Data_Access"},
	{"REST.GET.ACL", "bucket", "Data_Access.Data_Access"},
	{"REST.PUT.ACL", "object", "Change.All_Changes"},
	{"REST.PUT.ACL", "bucket", "Change.All_Changes"},
	{"REST.PUT.BUCKETPOLICY", "bucket", "Change.All_Changes"},
	{"REST.DELETE.BUCKETPOLICY", "bucket", "Change.All_Changes"},
	{"REST.DELETE.BUCKET", "bucket", "Change.All_Changes"},
	{"REST.PUT.LIFECYCLE", "bucket", "Change.All_Changes"},
	{"REST.PUT.LOGGING_STATUS", "bucket", "Change.Auditing_Changes"},
	{"REST.PUT.VERSIONING", "bucket", "Change.Auditing_Changes"},
	{"REST.OPTIONS.PREFLIGHT", "bucket", "none"},
}

// acts are the models of other operations, by the beginnings of their words; the
// first that fits holds. What is left is in none.
var acts = []struct{ begins, model string }{
	{"permission.", "Change.Account_Management"},
	{"account.", "Change.Account_Management"},
	{"member.changed", "Change.Account_Management"},
	{"protection.changed", "Change.Auditing_Changes"},
	{"hook.changed", "Change.Auditing_Changes"},
	{"audit.disabled", "Change.Auditing_Changes"},
	{"dataset.logged", "Data_Access.Data_Access"},
	{"artifact.read", "Data_Access.Data_Access"},
	{"artifact.uploaded", "Data_Access.Data_Access"},
	{"artifact.removed", "Data_Access.Data_Access"},
	{"repo.pushed", "Data_Access.Data_Access"},
	{"repo.fetched", "Data_Access.Data_Access"},
	{"repo.cloned", "Data_Access.Data_Access"},
	{"lfs.", "Data_Access.Data_Access"},
	{"registry.", "Alerts.Alerts"},
	{"record.damaged", "none"},
	{"repo.unreachable", "Alerts.Alerts"},
	{"repo.recreated", "Alerts.Alerts"},
	{"repo.over_budget", "Alerts.Alerts"},
	{"inventory", "none"},
	{"heartbeat", "none"},
	{"deadletter", "none"},
	{"state.", "none"},
	{"gap.", "none"},
	{"", "Change.All_Changes"},
}

// TestOneModelAnEvent: every operation of the schema, on whatever it can happen
// to, has exactly one event type, and is so in the one data model where it
// belongs, or in none.
func TestOneModelAnEvent(t *testing.T) {
	props, err := spl.NewProps(spl.ConfOf(parse(t, filepath.Join(root, "default/props.conf"))), time.UTC)
	require.NoError(t, err)
	store := spl.NewStore(props)
	want := map[string]string{} // model by event id
	add := func(ev event.Event, model string) {
		ev.Time = event.Millis(1_790_000_000_000)
		ev.Host = "host.example"
		ev.ID = event.MakeID(ev.Sourcetype, ev.Operation, ev.AssetType, ev.AssetID)
		require.NoError(t, store.Add(ev.AppendEnvelope(nil)))
		want[ev.ID.String()] = model
	}
	for _, o := range s3Operations {
		ev := event.Event{Operation: o.operation, AssetID: "s3://models/fraud/model.safetensors", User: "AmazonS3", UserID: "AmazonS3"}
		if !strings.HasPrefix(o.operation, "S3.") {
			ev.StatusCode, ev.Src = "200", "127.0.0.1"
		}
		if o.asset == "bucket" {
			ev.AssetID = "s3://models"
		}
		ev.Sourcetype = event.SourcetypeS3
		add(ev, o.model)
	}
	for _, o := range schema.Operations {
		if o.Pattern {
			continue
		}
		sourcetypes := []string{o.Sourcetype}
		if o.Sourcetype == "aiwatch:*" {
			sourcetypes = []string{event.SourcetypeMLflow, event.SourcetypeS3, event.SourcetypeGit}
		}
		var model string
		for _, a := range acts {
			if strings.HasPrefix(o.Name, a.begins) {
				model = a.model
				break
			}
		}
		for _, sourcetype := range sourcetypes {
			for _, asset := range o.AssetTypes {
				ev := event.Event{Operation: o.Name, Action: o.Action, AssetType: asset, AssetID: sourcetype + "/" + asset, Status: "success"}
				ev.Sourcetype = sourcetype
				add(ev, model)
			}
		}
	}

	tags := map[string][]string{}
	for _, stanza := range parse(t, filepath.Join(root, "default/tags.conf")).Stanzas {
		for _, v := range stanza.Values {
			tags[strings.TrimPrefix(stanza.Name, "eventtype=")] = append(tags[strings.TrimPrefix(stanza.Name, "eventtype=")], v.Key)
		}
	}
	engine := &spl.Engine{Store: store}
	found := map[string][]string{}
	for _, stanza := range parse(t, filepath.Join(root, "default/eventtypes.conf")).Stanzas {
		search, _ := stanza.Get("search")
		result, err := engine.Run(t.Context(), "search "+search.Text+" | table event_id", spl.Params{Now: time.Unix(1_800_000_000, 0)})
		require.NoError(t, err, stanza.Name)
		require.NotEmpty(t, result.Rows, "%s is the type of nothing", stanza.Name)
		for _, row := range result.Rows {
			id := fmt.Sprint(result.Get(row, "event_id"))
			found[id] = append(found[id], stanza.Name)
		}
	}
	result, err := engine.Run(t.Context(), "search *", spl.Params{Now: time.Unix(1_800_000_000, 0)})
	require.NoError(t, err)
	require.Len(t, result.Rows, len(want))
	for _, row := range result.Rows {
		id := fmt.Sprint(result.Get(row, "event_id"))
		event := string(result.AppendJSON(nil, row))
		require.Len(t, found[id], 1, "%s has the types %v", event, found[id])
		model, ok := models[strings.Join(sorted(tags[found[id][0]]), " ")]
		require.True(t, ok, "the tags of %s are no model's", found[id][0])
		require.Equal(t, want[id], model, event)
		requireModel(t, model, func(name string) string { return result.Get(row, name).String() }, event)
	}
}
