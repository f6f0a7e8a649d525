package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/scenario"
)

// story makes the events of a model's life by hand.
type story struct {
	t      *testing.T
	events *Events
	seq    int
}

// tell adds an event, minutes after eight.
func (s *story) tell(minute int, input, operation string, fields map[string]any) string {
	s.t.Helper()
	s.seq++
	id := fmt.Sprintf("%032x", s.seq)
	kind, ok := kindOf(input)
	require.True(s.t, ok)
	event := map[string]any{"event_id": id, "seq": s.seq, "collector": "c", "operation": operation, "user_confidence": "authenticated"}
	maps.Copy(event, fields)
	at := eight.Add(time.Duration(minute) * time.Minute).Unix()
	line, err := json.Marshal(map[string]any{"time": at, "indextime": at, "source": input, "sourcetype": "aiwatch:" + kind, "event": event})
	require.NoError(s.t, err)
	require.NoError(s.t, s.events.Add(line))
	return id
}

const (
	mlflow = "aiwatch_mlflow://prod"
	s3     = "aiwatch_s3://prod"
	git    = "aiwatch_git://forge"
)

var (
	digestA = strings.Repeat("a", 64)
	digestB = strings.Repeat("b", 64)
)

// fraud tells the life of version 3 of a model, from its data to its readers.
func fraud(t *testing.T) *story {
	s := &story{t: t, events: NewEvents()}
	version := map[string]any{
		"asset_type": "model_version", "asset_id": "mlflow:prod/models/fraud/3", "model_name": "fraud", "model_version": "3",
		"run_id": "r3", "git_commit": "c3", "source_uri": "s3://ml/1/r3/artifacts/model", "user": "ann",
	}
	with := func(more map[string]any) map[string]any {
		all := maps.Clone(version)
		maps.Copy(all, more)
		return all
	}
	s.tell(0, git, "commit.added", map[string]any{"action": "created", "git_commit": "c3", "git_repo": "git:forge/acme/fraud", "user": "ann"})
	s.tell(1, mlflow, "run.created", map[string]any{"action": "created", "asset_type": "run", "asset_id": "mlflow:prod/runs/r3", "run_id": "r3", "git_commit": "c3", "git_repo": "git:forge/acme/fraud", "tags": []string{"weights.sha256=" + digestA}, "trained_by": "ann", "trained_by_confidence": "claimed", "user": "ann"})
	s.tell(2, mlflow, "dataset.logged", map[string]any{"action": "read", "asset_type": "dataset", "run_id": "r3", "dataset_name": "payments", "dataset_digest": "d1"})
	s.tell(3, s3, "REST.PUT.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/model/model.safetensors", "asset_role": "weights", "run_id": "r3", "status_code": "200", "user": "ann"})
	s.tell(4, mlflow, "version.created", with(map[string]any{"action": "created", "registered_by": "ann"}))
	s.tell(5, mlflow, "artifact.created", map[string]any{"action": "created", "asset_type": "artifact", "asset_role": "weights", "asset_id": "mlflow:prod/runs/r3/artifacts/model/model.safetensors", "run_id": "r3", "asset_digest": "sha256:" + digestA})
	s.tell(6, mlflow, "alias.set", with(map[string]any{"action": "modified", "alias": "champion", "change_field": "alias.champion", "old_value": "2", "new_value": "3", "user": "bob"}))
	s.tell(7, mlflow, "alias.set", with(map[string]any{"action": "modified", "alias": "challenger", "change_field": "alias.challenger", "new_value": "3", "user": "bob"}))
	s.tell(8, s3, "REST.GET.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/model/model.safetensors", "status_code": "200", "user": "srv", "bytes_out": 100})
	s.tell(9, s3, "REST.GET.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/model/deep/er/config.json", "status_code": "200", "user": "srv", "bytes_out": 1})
	s.tell(10, s3, "REST.GET.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/model/model.safetensors", "status_code": "403", "user": "eve"})
	s.tell(11, s3, "REST.HEAD.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/model/model.safetensors", "status_code": "200", "user": "eve"})
	s.tell(12, s3, "REST.GET.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/modelling/x", "status_code": "200", "user": "eve"})
	s.tell(13, s3, "REST.GET.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/model/model.safetensors", "status_code": "200", "user_confidence": nil})
	return s
}

// TestCustody: dataset and commit, run, version, promotion, objects and readers,
// with what agrees and what is not known.
func TestCustody(t *testing.T) {
	report := searched(t, Input{Events: fraud(t).events})
	require.Len(t, report.Custody, 1)
	v := report.Custody[0]
	require.Equal(t, "mlflow:prod/models/fraud/3", v.Asset)
	require.Equal(t, []*Serving{{Name: "champion", From: eight.Add(6 * time.Minute), By: "bob", Confidence: "authenticated"}}, v.Serving)
	require.Equal(t, []Dataset{{Name: "payments", Digest: "d1"}}, v.Datasets)
	require.Equal(t, []Commit{{ID: "c3", Repo: "git:forge/acme/fraud", Seen: true}}, v.Commits)
	require.Equal(t, "r3", v.Run)
	require.Equal(t, "ann", v.TrainedBy)
	require.Equal(t, "ann", v.RegisteredBy)
	require.False(t, v.Differ)
	require.True(t, v.Agree())
	require.Equal(t, "2 sources agree", v.Compared)
	require.Equal(t, []*Reader{
		{Actor: "srv", Confidence: []string{"authenticated"}, Reads: 2, Bytes: 101, First: eight.Add(8 * time.Minute), Last: eight.Add(9 * time.Minute)},
		{Actor: "unknown", Confidence: []string{"unknown"}, Reads: 1, First: eight.Add(13 * time.Minute), Last: eight.Add(13 * time.Minute)},
	}, v.Readers, "neither what was refused, nor metadata, nor another folder")
	require.Len(t, v.Objects, 2)
	require.Equal(t, &Object{Asset: "s3://ml/1/r3/artifacts/model/model.safetensors", Role: "weights", Writes: 1, Reads: 2, Refused: 1, LastBy: "ann", LastTime: eight.Add(3 * time.Minute)}, v.Objects[1])
	var life []string
	for _, act := range v.Life {
		life = append(life, act.Operation)
	}
	require.Equal(t, []string{"commit.added", "run.created", "dataset.logged", "REST.PUT.OBJECT", "version.created", "artifact.created", "alias.set", "alias.set"}, life)
	require.Equal(t, []string{"that ann trained it is what the run's client says, and not proven"}, v.Unknown)

	// Who touched it, and that no jewel is listed.
	require.Len(t, report.Access.Models, 1)
	touched := report.Access.Models[0]
	require.Equal(t, "fraud", touched.Model)
	require.Equal(t, []string{"ann version.created", "bob alias.set"}, []string{touched.Acts[0].Actor + " " + touched.Acts[0].Operation, touched.Acts[1].Actor + " " + touched.Acts[1].Operation})
	require.Contains(t, paged(t, report), "No crown jewel is listed: fill the lookup")
}

// TestTheAliasMovesOn: the version before holds it until then; one that was there
// at first contact was held before.
func TestTheAliasMovesOn(t *testing.T) {
	s := &story{t: t, events: NewEvents()}
	version := func(n string, more map[string]any) map[string]any {
		all := map[string]any{"asset_type": "model_version", "asset_id": "mlflow:prod/models/fraud/" + n, "model_name": "fraud", "model_version": n}
		maps.Copy(all, more)
		return all
	}
	s.tell(0, mlflow, "inventory", version("1", map[string]any{"action": "read", "aliases": []string{"champion", "old"}, "stage": "Production"}))
	s.tell(1, mlflow, "inventory", version("2", map[string]any{"action": "read"}))
	s.tell(2, mlflow, "inventory", map[string]any{"action": "read", "asset_type": "model_version", "asset_id": "mlflow:other/models/fraud/1", "model_name": "fraud", "model_version": "1", "aliases": []string{"prod"}})
	s.tell(5, mlflow, "alias.set", version("2", map[string]any{"alias": "champion", "old_value": "1", "new_value": "2", "user": "bob"}))
	s.tell(7, mlflow, "alias.set", version("1", map[string]any{"alias": "champion", "old_value": "2", "new_value": "1", "user": "eve", "user_confidence": "claimed"}))
	report := searched(t, Input{Events: s.events})
	var got []string
	for _, v := range report.Custody {
		for _, held := range v.Serving {
			until := "now"
			if !held.Until.IsZero() {
				until = held.Until.Format("15:04")
			}
			got = append(got, fmt.Sprintf("%s %s %s-%s before=%v %s", v.Asset, held.Name, held.From.Format("15:04"), until, held.Before, held.By))
		}
	}
	require.Equal(t, []string{
		"mlflow:other/models/fraud/1 prod 08:02-now before=true ",
		"mlflow:prod/models/fraud/1 champion 08:00-08:05 before=true ",
		"mlflow:prod/models/fraud/1 Production 08:00-now before=true ",
		"mlflow:prod/models/fraud/1 champion 08:07-now before=false eve",
		"mlflow:prod/models/fraud/2 champion 08:05-08:07 before=false bob",
	}, got)
	require.Contains(t, report.Custody[0].Unknown, "no S3 access log is read: who read its objects there is not known")
	require.Contains(t, report.Custody[0].Unknown, "no run is named by the version: how it was made is not known")
}

// TestDigestsAreCompared: of one file all are one, a tag's is one of the files', and
// a pointer's that of the file of its name.
func TestDigestsAreCompared(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []Digest
		want string
	}{
		{"none", nil, "no SHA-256 of its weights is known: nothing shows that what serves is what was trained"},
		{"one source", []Digest{{File: "m", Digest: digestA, By: "x"}, {File: "n", Digest: digestB, By: "x"}}, "one source alone gives a digest (x): there is nothing to compare it with"},
		{"told again", []Digest{{File: "m", Digest: digestA, By: "x"}, {Time: eight, File: "m", Digest: digestA, By: "x"}}, "one source alone gives a digest (x): there is nothing to compare it with"},
		{"a tag agrees", []Digest{{File: "m", Digest: digestA, By: "x"}, {Digest: digestA, By: "tag"}}, "2 sources agree"},
		{"a tag of one of two files", []Digest{{File: "m", Digest: digestA, By: "x"}, {File: "n", Digest: digestB, By: "x"}, {Digest: digestB, By: "tag"}}, "2 sources agree"},
		{"a pointer agrees, whatever the case", []Digest{{File: "M", Digest: digestA, By: "x"}, {File: "m", Digest: digestA, By: "pointer"}}, "2 sources agree"},
		{"a tag differs", []Digest{{File: "m", Digest: digestA, By: "x"}, {Digest: digestB, By: "tag"}}, "the tag gives another than the files"},
		{"a file changed", []Digest{{File: "m", Digest: digestA, By: "x"}, {Time: eight, File: "m", Digest: digestB, By: "x"}}, "m has 2 digests"},
		{"a pointer differs", []Digest{{File: "m", Digest: digestA, By: "x"}, {File: "m", Digest: digestB, By: "pointer"}}, "m has 2 digests"},
		{"tags alone", []Digest{{Digest: digestA, By: "tag"}, {Digest: digestA, By: "other tag"}}, "2 sources agree"},
		{"tags that contradict each other", []Digest{{Digest: digestA, By: "tag"}, {Digest: digestB, By: "other tag"}}, "2 tags give 2 digests"},
	} {
		v := &Custody{}
		v.compare(c.all)
		require.Equal(t, c.want, v.Compared, c.name)
		require.Equal(t, strings.Contains(c.want, "digests") || strings.Contains(c.want, "another"), v.Differ, c.name)
	}
}

// TestAFindingStandsBesideItsVersion: one about the version, its run or an object.
func TestAFindingStandsBesideItsVersion(t *testing.T) {
	about := func(asset, message string) scenario.Finding {
		return scenario.Finding{Detection: 1, Name: "x", Time: eight.Add(time.Minute), Asset: []string{asset}, Message: message, Row: json.RawMessage(`{}`)}
	}
	s := fraud(t)
	id := s.tell(14, s3, "REST.PUT.OBJECT", map[string]any{"asset_id": "s3://ml/1/r3/artifacts/model/model.safetensors", "status_code": "200", "user": "eve", "request_id": "REQ", "src": "10.0.0.1"})
	object := about("s3://ml/1/r3/artifacts/model/model.safetensors", "the object")
	object.Row = json.RawMessage(`{"event_ids":"` + id + `,` + strings.Repeat("f", 32) + `","severity":"critical"}`)
	report := searched(t, Input{Events: s.events},
		about("mlflow:prod/models/fraud/3", "the version"), about("mlflow:prod/runs/r3", "the run"), object, about("mlflow:prod/models/fraud/2", "another"))
	require.Equal(t, []string{"the object", "the run", "the version"}, report.Custody[0].Findings)

	// The evidence leads back to the source's record; what is not there is told.
	f := report.Findings[slices.IndexFunc(report.Findings, func(f *Finding) bool { return f.Message == "the object" })]
	require.Equal(t, "critical", f.Severity)
	require.Len(t, f.EventIDs, 2)
	require.Equal(t, []*Evidence{{
		EventID: id, Time: eight.Add(14 * time.Minute), Input: s3, Sourcetype: "aiwatch:s3", Operation: "REST.PUT.OBJECT", Actor: "eve",
		Confidence: "authenticated", Src: "10.0.0.1", Asset: "s3://ml/1/r3/artifacts/model/model.safetensors", RequestID: "REQ",
	}}, f.Events)
	require.Contains(t, paged(t, report), "Evidence: 2 events, 1 of them among these events")
	require.NotEmpty(t, f.Respond)
}
