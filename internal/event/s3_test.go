package event_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
)

func TestS3Action(t *testing.T) {
	for operation, want := range map[string]string{
		"REST.GET.OBJECT": "read", "REST.HEAD.OBJECT": "read", "REST.GET.BUCKET": "read", "WEBSITE.GET.OBJECT": "read", "REST.SELECT.OBJECT": "read",
		"REST.PUT.OBJECT": "uploaded", "REST.POST.OBJECT": "uploaded", "REST.POST.UPLOAD": "uploaded",
		"REST.COPY.OBJECT_GET": "read", "REST.COPY.PART_GET": "read", "REST.COPY.OBJECT": "copied", "REST.COPY.PART": "copied",
		"REST.DELETE.OBJECT": "deleted", "BATCH.DELETE.OBJECT": "deleted", "S3.EXPIRE.OBJECT": "deleted", "S3.CREATE.DELETEMARKER": "deleted", "REST.DELETE.BUCKETPOLICY": "deleted",
		"REST.PUT.ACL": "acl_modified", "REST.PUT.BUCKETPOLICY": "acl_modified",
		"REST.PUT.LOGGING_STATUS": "modified", "REST.POST.MULTI_OBJECT_DELETE": "modified", "REST.PUT.PART": "modified", "REST.PUT.OBJECT_TAGGING": "modified", "REST.PUT.ACCELERATE": "modified",
		"S3.TRANSITION.OBJECT": "unknown", "S3.COMPUTE.OBJECT.CHECKSUM": "unknown", "REST.OPTIONS.PREFLIGHT": "unknown", "record.damaged": "unknown", "": "unknown", "SOAP.GetObject": "unknown",
	} {
		require.Equal(t, want, event.S3Action(operation), operation)
	}
}

// The operations table says the same: the first pattern that fits.
func TestS3ActionIsWhatTheOperationsTableSays(t *testing.T) {
	for _, o := range schema.Operations {
		if !o.Pattern || o.Name == "*.*.*" {
			continue
		}
		example := strings.NewReplacer("*.COPY.*_GET", "REST.COPY.OBJECT_GET", "S3.EXPIRE.*", "S3.EXPIRE.OBJECT", "BATCH.DELETE.*", "BATCH.DELETE.OBJECT").Replace(o.Name)
		example = strings.TrimPrefix(strings.ReplaceAll(strings.Replace(example, "*.", "REST.", 1), "*", "OTHER"), "*")
		require.Equal(t, o.Action, event.S3Action(example), "%s as %s", o.Name, example)
	}
}

// The functions and the props' expressions give the same on many values.
func TestS3EvalsAgreeWithTheFunctions(t *testing.T) {
	evals := map[string]string{}
	for _, e := range schema.S3Evals {
		evals[e.Field] = e.SPL
	}
	require.Len(t, evals, 7)
	r := rand.New(rand.NewPCG(9, 9))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	path := func() string {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString(pick("models", "data", "7", "artifacts", "0123456789abcdef0123456789abcdef", "m-0123456789abcdef0123456789abcdef", "a.csv", "B.CSV.GZ", "x.pt", "y.tfrecords.zst", ".csv", "z", "", "m.SafeTensors", "w.h5", "n.arrow", "j.ndjson.lz4", "c.csv.gz.gz", "artifactsX", "o.npz.z", "é😀.onnx"))
			b.WriteString(pick("/", "/", "/", ""))
		}
		return b.String()
	}
	for range 4_000 {
		fields := map[string]string{
			"operation":       pick("REST", "S3", "BATCH", "WEBSITE", "SOAP", "record") + "." + pick("GET", "PUT", "POST", "COPY", "DELETE", "EXPIRE", "CREATE", "HEAD", "SELECT", "OPTIONS", "damaged") + pick("", "."+pick("OBJECT", "OBJECT_GET", "ACL", "BUCKETPOLICY", "UPLOAD", "DELETEMARKER", "LOGGING_STATUS", "OBJECT.CHECKSUM", "PART_GET")),
			"status_code":     pick("", "200", "206", "304", "301", "403", "500", "2"),
			"user_id":         pick("", "-", "AmazonS3", "AmazonS3x", "svc:x", "cloudfront.amazonaws.com", "79a59df9", "alice", "arn:aws:iam::1:user/a", "arn:aws:iam::1:root", "arn:aws:iam::1:rootx", "arn:aws:iam::1:role/r", "arn:aws:sts::1:assumed-role/r/s", "arn:aws:sts::1:assumed-role/AWSReservedSSO_x/y", "arn:aws:sts::1:federated-user/f", "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E", "arn:aws:s3::1:user/x", "arn:aws:iam"),
			"asset_id":        pick("", "s3://bucket", "s3://data.csv", "s3://b/"+path(), "s3://123/"+path(), "aiwatch:s3/prod"),
			"run_id":          pick("", "", "0123456789abcdef0123456789abcdef"),
			"logged_model_id": pick("", "", "", "m-0123456789abcdef0123456789abcdef"),
		}
		id := fields["asset_id"]
		for field, want := range map[string]string{
			"action": event.S3Action(fields["operation"]), "status": event.S3Status(fields["operation"], fields["status_code"]),
			"user_type": event.S3UserType(fields["user_id"]), "asset_type": event.S3AssetType(id),
			"asset_name":   event.S3AssetName(id, fields["run_id"], fields["logged_model_id"]),
			"asset_format": event.S3Format(id), "experiment_id": event.S3Experiment(id),
		} {
			got, rest := spl{fields}.value(evals[field])
			require.Empty(t, rest, field)
			require.Equal(t, want, got.text, "%s of %v", field, fields)
		}
	}
}

// spl evaluates the few functions that the props use, on fields of which an
// empty one is missing, as it is in an event.
type spl struct{ fields map[string]string }

type splValue struct {
	text string
	is   bool // of a condition
}

func (s spl) value(e string) (splValue, string) {
	if e[0] == '"' {
		end := strings.IndexByte(e[1:], '"') + 1
		return splValue{text: e[1:end]}, e[end+1:]
	}
	name := regexp.MustCompile(`^[a-z_]+`).FindString(e)
	rest := e[len(name):]
	if strings.HasPrefix(rest, "=") {
		want, rest := s.value(rest[1:])
		return splValue{is: s.fields[name] == want.text}, rest
	}
	if !strings.HasPrefix(rest, "(") {
		return splValue{text: s.fields[name]}, rest
	}
	var args []splValue
	for rest = rest[1:]; rest[0] != ')'; rest = strings.TrimPrefix(rest, ",") {
		var v splValue
		v, rest = s.value(rest)
		args = append(args, v)
	}
	rest = rest[1:]
	switch name {
	case "case":
		for i := 0; i+1 < len(args); i += 2 {
			if args[i].is {
				return args[i+1], rest
			}
		}
		return splValue{}, rest
	case "match":
		return splValue{is: args[0].text != "" && compiled(args[1].text).MatchString(args[0].text)}, rest
	case "replace":
		return splValue{text: compiled(args[1].text).ReplaceAllString(args[0].text, strings.NewReplacer(`\1`, "${1}", `\2`, "${2}").Replace(args[2].text))}, rest
	case "lower":
		return splValue{text: strings.ToLower(args[0].text)}, rest
	case "isnotnull":
		return splValue{is: args[0].text != ""}, rest
	case "null":
		return splValue{}, rest
	}
	panic("the props use " + name)
}

var patterns = map[string]*regexp.Regexp{}

func compiled(pattern string) *regexp.Regexp {
	if patterns[pattern] == nil {
		patterns[pattern] = regexp.MustCompile(pattern)
	}
	return patterns[pattern]
}
