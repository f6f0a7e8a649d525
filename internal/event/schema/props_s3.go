package schema

// An Eval is a field that the add-on computes at search time where the event
// does not carry it: EVAL-<Field> = coalesce(<Field>, <SPL>).
type Eval struct {
	Field string
	// SPL reads only fields that are sent: a sourcetype's EVALs don't see each
	// other's results. Character classes stand for escapes, so that it means the
	// same in a conf file, in a search and in the evaluator.
	SPL string
}

// S3Evals is what the props compute for aiwatch:s3. The functions S3Action,
// S3Status, S3UserType, S3AssetType, S3AssetName, S3Format and S3Experiment of
// internal/event return the same values; a test compares the two.
var S3Evals = []Eval{
	{"action", `case(` +
		`match(operation,"^[^.]+[.]COPY[.].*_GET$"),"read",` +
		`match(operation,"^[^.]+[.]COPY[.]"),"copied",` +
		`match(operation,"^[^.]+[.]DELETE[.]|^S3[.]EXPIRE[.]|^S3[.]CREATE[.]DELETEMARKER$"),"deleted",` +
		`match(operation,"^[^.]+[.](PUT[.]OBJECT|POST[.]OBJECT|POST[.]UPLOAD)$"),"uploaded",` +
		`match(operation,"^[^.]+[.]PUT[.](ACL|OBJECT_ACL|BUCKETPOLICY)$"),"acl_modified",` +
		`match(operation,"^[^.]+[.](PUT|POST)[.]"),"modified",` +
		`match(operation,"^[^.]+[.](GET|HEAD|SELECT)[.]"),"read",` +
		`isnotnull(operation),"unknown")`},
	{"status", `case(` +
		`match(status_code,"^2|^304$"),"success",` +
		`isnotnull(status_code),"failure",` +
		`match(operation,"^S3[.]"),"success")`},
	{"user_type", `case(` +
		`user_id="-","anonymous",` +
		`match(user_id,"^svc:|^AmazonS3$|[.]amazonaws[.]com$"),"service",` +
		`match(user_id,"^arn:[^:]*:[^:]*:[^:]*:[^:]*:user/CloudFront Origin Access Identity "),"service",` +
		`match(user_id,"^arn:[^:]*:sts:[^:]*:[^:]*:assumed-role/AWSReservedSSO_"),"user",` +
		`match(user_id,"^arn:[^:]*:(sts:[^:]*:[^:]*:assumed-role|iam:[^:]*:[^:]*:role)/"),"role",` +
		`match(user_id,"^arn:[^:]*:(iam:[^:]*:[^:]*:user/|iam:[^:]*:[^:]*:root$|sts:[^:]*:[^:]*:federated-user/)"),"user",` +
		`isnotnull(user_id),"unknown")`},
	{"asset_type", `case(` +
		`match(asset_id,"^s3://[^/]+$"),"bucket",` +
		`match(asset_id,"^s3://[^/]+/"),"object")`},
	{"asset_name", `case(` +
		`isnotnull(logged_model_id),logged_model_id,` +
		`isnotnull(run_id),run_id,` +
		`match(asset_id,"^s3://[^/]+/[^/]+/"),replace(asset_id,"^s3://([^/]+/[^/]+)/.*$","\1"),` +
		`match(asset_id,"^s3://[^/]"),replace(asset_id,"^s3://([^/]+).*$","\1"))`},
	{"asset_format", `case(` +
		`match(asset_id,"` + s3Extension("safetensors|parquet|csv|tsv|onnx|gguf|npy|npz|joblib|avro|orc|tflite") + `"),` +
		`lower(replace(asset_id,"(?i)^.*[.](safetensors|parquet|csv|tsv|onnx|gguf|npy|npz|joblib|avro|orc|tflite)([.](gz|xz|zst|bz2|lz4))?$","\1")),` +
		`match(asset_id,"` + s3Extension("pt|pth|ckpt|pkl|pickle") + `"),"pickle",` +
		`match(asset_id,"` + s3Extension("jsonl|ndjson") + `"),"jsonl",` +
		`match(asset_id,"` + s3Extension("h5|hdf5") + `"),"hdf5",` +
		`match(asset_id,"` + s3Extension("arrow|feather") + `"),"arrow",` +
		`match(asset_id,"` + s3Extension("tfrecords?") + `"),"tfrecord")`},
	{"experiment_id", `case(` +
		`match(asset_id,"^s3://[^/]+/.*/artifacts.*/artifacts"),null(),` +
		`match(asset_id,"` + s3Run + `"),replace(asset_id,"` + s3Run + `","\2"))`},
}

// s3Extension matches an s3:// asset by the extensions of its key, in any
// letter case, behind a compression's extension too. A name that begins with
// its only dot has no extension.
func s3Extension(extensions string) string {
	return `(?i)^s3://[^/]+/(.*[^/])[.](` + extensions + `)([.](gz|xz|zst|bz2|lz4))?$`
}

// s3Run matches an s3:// asset under the artifacts of an MLflow run or logged
// model; its second group is the experiment.
const s3Run = `^s3://[^/]+/(.*/)?([0-9]+)/([0-9a-f]{32}|models/m-[0-9a-f]{32})/artifacts(/.*)?$`
