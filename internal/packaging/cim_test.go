package packaging_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/addontest"
	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
)

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
	{"REST.GET.SERVICE", "", "none"},
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
	{"archive.", "none"},
	{"gap.", "none"},
	{"", "Change.All_Changes"},
}

// TestOneModelAnEvent: every operation of the schema, on whatever it can happen
// to, has exactly one event type, is so in the one data model where it belongs
// or in none, and has the fields that the model requires.
func TestOneModelAnEvent(t *testing.T) {
	splunk := addontest.New(t)
	want := map[string]string{} // dataset by event id
	add := func(ev event.Event, dataset string) {
		ev.Time, ev.Host = event.Millis(1_790_000_000_123), "host.example"
		ev.ID = event.MakeID(ev.Sourcetype, ev.Operation, ev.AssetType, ev.AssetID)
		splunk.Add(ev.AppendEnvelope(nil))
		want[ev.ID.String()] = dataset
	}
	for _, o := range s3Operations {
		ev := event.Event{Operation: o.operation, AssetID: "s3://models/fraud/model.safetensors", User: "AmazonS3", UserID: "AmazonS3"}
		if !strings.HasPrefix(o.operation, "S3.") {
			ev.StatusCode, ev.Src = "200", "127.0.0.1"
		}
		switch o.asset {
		case "bucket":
			ev.AssetID = "s3://models"
		case "":
			ev.AssetID = ""
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
		var dataset string
		for _, a := range acts {
			if strings.HasPrefix(o.Name, a.begins) {
				dataset = a.model
				break
			}
		}
		for _, sourcetype := range sourcetypes {
			for _, asset := range o.AssetTypes {
				ev := event.Event{Operation: o.Name, Action: o.Action, AssetType: asset, AssetID: sourcetype + "/" + asset, Status: "success"}
				ev.Sourcetype = sourcetype
				add(ev, dataset)
			}
		}
	}
	events := splunk.Check()
	require.Len(t, events, len(want))
	for _, e := range events {
		require.Equal(t, want[e.Fields["event_id"]], e.Dataset, e.Fields["operation"])
	}
}
