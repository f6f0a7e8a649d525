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
// tag=change, Data_Access is tag=data tag=access.
var models = map[string]string{
	"change": "Change.All_Changes", "account change": "Change.Account_Management", "audit change": "Change.Auditing_Changes",
	"access data": "Data_Access.Data_Access", "": "none",
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
	{"registry.", "none"},
	{"record.damaged", "none"},
	{"repo.unreachable", "none"},
	{"repo.recreated", "none"},
	{"repo.over_budget", "none"},
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
		ev.ID = event.MakeID(ev.Sourcetype, ev.Operation, ev.AssetType, ev.AssetID)
		require.NoError(t, store.Add(ev.AppendEnvelope(nil)))
		want[ev.ID.String()] = model
	}
	for _, o := range s3Operations {
		ev := event.Event{Operation: o.operation, AssetID: "s3://models/fraud/model.safetensors"}
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
				ev := event.Event{Operation: o.Name, Action: o.Action, AssetType: asset, AssetID: sourcetype + "/" + asset}
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
	result, err := engine.Run(t.Context(), "search * | table event_id sourcetype operation asset_type", spl.Params{Now: time.Unix(1_800_000_000, 0)})
	require.NoError(t, err)
	require.Len(t, result.Rows, len(want))
	for _, row := range result.Rows {
		id := fmt.Sprint(result.Get(row, "event_id"))
		event := string(result.AppendJSON(nil, row))
		require.Len(t, found[id], 1, "%s has the types %v", event, found[id])
		model, ok := models[strings.Join(sorted(tags[found[id][0]]), " ")]
		require.True(t, ok, "the tags of %s are no model's", found[id][0])
		require.Equal(t, want[id], model, event)
	}
}
