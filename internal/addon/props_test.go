package addon_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/addon"
	"aiwatch/internal/conf"
	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
	"aiwatch/internal/spl"
)

func TestPropsAreCurrent(t *testing.T) {
	var made bytes.Buffer
	require.NoError(t, addon.WriteProps(&made))
	kept, err := os.ReadFile(filepath.Join("..", "..", "default", "props.conf"))
	require.NoError(t, err)
	require.Equal(t, made.String(), string(kept), "run go generate ./internal/addon")
}

func props(t *testing.T) *spl.Props {
	t.Helper()
	var made bytes.Buffer
	require.NoError(t, addon.WriteProps(&made))
	f, err := conf.Parse("props.conf", &made)
	require.NoError(t, err)
	p, err := spl.NewProps(spl.ConfOf(f), time.UTC)
	require.NoError(t, err)
	return p
}

// one searches one event and returns a field of it, "" where it has none.
func one(t *testing.T, p *spl.Props, event, field string) string {
	t.Helper()
	store := spl.NewStore(p)
	require.NoError(t, store.Add([]byte(event)))
	e := &spl.Engine{Store: store}
	res, err := e.Run(context.Background(), "search * | table "+field, spl.Params{Now: time.Unix(0, 0)})
	require.NoError(t, err)
	require.Len(t, res.Rows, 1)
	return res.Get(res.Rows[0], field).String()
}

func TestWhatIsSuppliedAtSearchTime(t *testing.T) {
	p := props(t)
	s3 := `{"time":1,"sourcetype":"aiwatch:s3","event":%s}`
	for _, c := range []struct{ event, field, want string }{
		{fmt.Sprintf(s3, `{"user":"a"}`), "actor", "a"},
		{fmt.Sprintf(s3, `{"user":"a","src_user":"b"}`), "actor", "b"},
		{fmt.Sprintf(s3, `{}`), "evidence", "log"},
		{fmt.Sprintf(s3, `{"evidence":"inventory"}`), "evidence", "inventory"},
		{fmt.Sprintf(s3, `{}`), "time_basis", "exact"},
		{`{"time":1,"sourcetype":"aiwatch:mlflow","event":{}}`, "time_basis", "bounded"},
		{`{"time":1,"sourcetype":"aiwatch:git","event":{}}`, "evidence", "refs"},
		{`{"time":1,"sourcetype":"aiwatch:health","event":{}}`, "app", "aiwatch"},
		{fmt.Sprintf(s3, `{"operation":"REST.GET.OBJECT"}`), "action", "read"},
		{fmt.Sprintf(s3, `{"operation":"REST.GET.OBJECT","action":"deleted"}`), "action", "deleted"},
		{fmt.Sprintf(s3, `{"status_code":"404"}`), "http_status", "404"},
		{fmt.Sprintf(s3, `{"status_code":"404"}`), "status", "failure"},
		{fmt.Sprintf(s3, `{"src":"10.0.0.1","user_id":"x","bytes_out":5,"asset_size":6}`), "remote_ip", "10.0.0.1"},
		{fmt.Sprintf(s3, `{"bytes_out":5}`), "bytes_sent", "5"},
		{fmt.Sprintf(s3, `{"asset_id":"s3://b/p/q r"}`), "bucket_name", "b"},
		{fmt.Sprintf(s3, `{"asset_id":"s3://b/p/q r"}`), "key", "p/q r"},
		{fmt.Sprintf(s3, `{"asset_id":"s3://b"}`), "key", ""},
		{`{"time":1,"sourcetype":"aiwatch:mlflow","event":{"tags":["a=1","b=2"]}}`, "tags", "a=1\nb=2"},
		{`{"time":1,"sourcetype":"aiwatch:other","event":{"user":"a"}}`, "actor", ""},
	} {
		require.Equal(t, c.want, one(t, p, c.event, c.field), "%s of %s", c.field, c.event)
	}
}

// TestWhatIsSentIsFound: no alias and no EVAL takes a field of the schema away,
// because CIM has a field of that name for something else.
func TestWhatIsSentIsFound(t *testing.T) {
	p := props(t)
	for _, sourcetype := range []string{event.SourcetypeMLflow, event.SourcetypeS3, event.SourcetypeGit, event.SourcetypeHealth} {
		for _, f := range schema.All() {
			if f.Kind == schema.List {
				continue
			}
			sent := fmt.Sprintf(`{"time":1,"sourcetype":%q,"event":{"operation":"commit.added",%q:"7"}}`, sourcetype, f.Name)
			if f.Name == "operation" {
				sent = fmt.Sprintf(`{"time":1,"sourcetype":%q,"event":{"operation":"7"}}`, sourcetype)
			}
			require.Equal(t, "7", one(t, p, sent, f.Name), "%s of %s", f.Name, sent)
		}
	}
}

// TestPropsSayWhatTheCollectorLeavesOut: a collector leaves a field out where
// the functions of internal/event give its value, so the props must give the
// same.
func TestPropsSayWhatTheCollectorLeavesOut(t *testing.T) {
	p := props(t)
	rnd := rand.New(rand.NewPCG(7, 7))
	pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
	hex := strings.Repeat("0123456789abcdef", 2)
	want := map[string]map[string]string{} // event_id to field to value
	store := spl.NewStore(p)
	for i := range 3000 {
		id := fmt.Sprint("e", i)
		operation := pick("REST", "BATCH", "S3", "WEBSITE") + "." + pick("GET", "PUT", "COPY", "DELETE", "POST", "HEAD", "EXPIRE", "CREATE", "SELECT", "X") + "." +
			pick("OBJECT", "ACL", "OBJECT_ACL", "BUCKETPOLICY", "OBJECT_GET", "PART", "UPLOAD", "DELETEMARKER", "LOGGING_STATUS")
		code := pick("", "200", "206", "304", "403", "500")
		user := pick("", "-", "svc:s3", "AmazonS3", "x.amazonaws.com", "arn:aws:iam::1:user/a", "arn:aws:sts::1:assumed-role/r/s", "arn:aws:iam::1:role/r", "arn:aws:iam::1:root",
			"arn:aws:sts::1:assumed-role/AWSReservedSSO_x/y", "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E", "abc")
		asset := "s3://bucket" + pick("", "/", "/k", "/f/k.pt", "/f/MODEL.SAFETENSORS", "/f/a.csv.gz", "/1/"+hex+"/artifacts/x.onnx", "/p/12/models/m-"+hex+"/artifacts", "/"+hex+"/artifacts/a.h5",
			"/.pt", "/a/.tfrecords", "/1/"+hex+"/artifacts/artifacts/x", "/a.b/c")
		run, logged := pick("", "", "r1"), pick("", "", "m-1")
		b := `{"time":1,"sourcetype":"aiwatch:s3","event":{"event_id":"` + id + `","asset_id":"` + asset + `","operation":"` + operation + `"`
		for k, v := range map[string]string{"status_code": code, "user_id": user, "run_id": run, "logged_model_id": logged} {
			if v != "" {
				b += `,"` + k + `":"` + v + `"`
			}
		}
		b += "}}"
		require.NoError(t, store.Add([]byte(b)))
		want[id] = map[string]string{
			"action": event.S3Action(operation), "status": event.S3Status(operation, code), "user_type": event.S3UserType(user),
			"asset_type": event.S3AssetType(asset), "asset_name": event.S3AssetName(asset, run, logged), "asset_format": event.S3Format(asset),
			"experiment_id": event.S3Experiment(asset),
		}
	}
	e := &spl.Engine{Store: store}
	res, err := e.Run(context.Background(), "*", spl.Params{Now: time.Unix(0, 0)})
	require.NoError(t, err)
	require.Len(t, res.Rows, len(want))
	for _, row := range res.Rows {
		for field, value := range want[res.Get(row, "event_id").String()] {
			require.Equal(t, value, res.Get(row, field).String(), "%s of %s", field, res.AppendJSON(nil, row))
		}
	}
}
