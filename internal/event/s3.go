package event

import "strings"

// The functions here are what the add-on's props compute at search time for
// aiwatch:s3 (schema.S3Evals says the same in SPL). A collector sends one of
// these fields only where its value differs from what they return, so each
// must return "" wherever the true value may be empty.

// S3Action returns the CIM verb of an operation of an S3 access log, as the
// operations table has it: the first pattern that fits.
func S3Action(operation string) string {
	api, rest, ok := strings.Cut(operation, ".")
	verb, what, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return "unknown"
	}
	switch verb {
	case "COPY":
		if strings.HasSuffix(what, "_GET") {
			return "read"
		}
		return "copied"
	case "DELETE":
		return "deleted"
	case "EXPIRE":
		if api == "S3" {
			return "deleted"
		}
	case "CREATE":
		if api == "S3" && what == "DELETEMARKER" {
			return "deleted"
		}
	case "PUT":
		switch what {
		case "OBJECT":
			return "uploaded"
		case "ACL", "OBJECT_ACL", "BUCKETPOLICY":
			return "acl_modified"
		}
		return "modified"
	case "POST":
		if what == "OBJECT" || what == "UPLOAD" {
			return "uploaded"
		}
		return "modified"
	case "GET", "HEAD", "SELECT":
		return "read"
	}
	return "unknown"
}

// S3Status tells whether a request took effect, from its HTTP status. S3's own
// acts (S3.EXPIRE.OBJECT) have no status: they are logged when they were done.
func S3Status(operation, statusCode string) string {
	switch {
	case strings.HasPrefix(statusCode, "2"), statusCode == "304":
		return "success"
	case statusCode != "":
		return "failure"
	case strings.HasPrefix(operation, "S3."):
		return "success"
	}
	return ""
}

// S3UserType tells what kind of principal a requester is, by its form. The log
// writes "-" for a request without a signature.
func S3UserType(userID string) string {
	switch {
	case userID == "":
		return ""
	case userID == "-":
		return "anonymous"
	case strings.HasPrefix(userID, "svc:"), userID == "AmazonS3", strings.HasSuffix(userID, ".amazonaws.com"):
		return "service"
	}
	service, resource, ok := arnParts(userID)
	switch {
	case !ok:
		return "unknown"
	case strings.HasPrefix(resource, "user/CloudFront Origin Access Identity "):
		return "service"
	case service == "sts" && strings.HasPrefix(resource, "assumed-role/AWSReservedSSO_"):
		return "user"
	case service == "sts" && strings.HasPrefix(resource, "assumed-role/"), service == "iam" && strings.HasPrefix(resource, "role/"):
		return "role"
	case service == "iam" && (strings.HasPrefix(resource, "user/") || resource == "root"), service == "sts" && strings.HasPrefix(resource, "federated-user/"):
		return "user"
	}
	return "unknown"
}

// arnParts splits arn:partition:service:region:account:resource.
func arnParts(arn string) (service, resource string, ok bool) {
	rest, ok := strings.CutPrefix(arn, "arn:")
	if !ok {
		return "", "", false
	}
	_, rest, _ = strings.Cut(rest, ":")
	service, rest, _ = strings.Cut(rest, ":")
	_, rest, _ = strings.Cut(rest, ":")
	_, resource, ok = strings.Cut(rest, ":")
	return service, resource, ok
}

// S3AssetType returns the type of an s3:// asset that no rule names otherwise.
func S3AssetType(assetID string) string {
	bucket, key, ok := s3Parts(assetID)
	switch {
	case !ok || bucket == "":
		return ""
	case key == "" && !strings.HasSuffix(assetID, "/"):
		return "bucket"
	}
	return "object"
}

// S3AssetName returns the name of an s3:// asset that no rule names otherwise:
// its logged model or run, else bucket and first folder.
func S3AssetName(assetID, runID, loggedModelID string) string {
	if loggedModelID != "" {
		return loggedModelID
	}
	if runID != "" {
		return runID
	}
	bucket, key, ok := s3Parts(assetID)
	if !ok {
		return ""
	}
	if folder := strings.IndexByte(key, '/'); folder > 0 {
		return assetID[len(s3Scheme) : len(s3Scheme)+len(bucket)+1+folder]
	}
	return bucket
}

// S3Format returns the file format that the extension of an s3:// asset tells
// beyond doubt, behind a compression's extension too.
func S3Format(assetID string) string {
	_, key, ok := s3Parts(assetID)
	if !ok {
		return ""
	}
	base := key[strings.LastIndexByte(key, '/')+1:]
	dot := strings.LastIndexByte(base, '.')
	if dot <= 0 {
		return ""
	}
	if isCompression(base[dot+1:]) {
		base = base[:dot]
		if dot = strings.LastIndexByte(base, '.'); dot <= 0 {
			return ""
		}
	}
	return formatOf(base[dot+1:])
}

func isCompression(ext string) bool {
	switch len(ext) {
	case 2:
		return lowerIs(ext, "gz") || lowerIs(ext, "xz")
	case 3:
		return lowerIs(ext, "zst") || lowerIs(ext, "bz2") || lowerIs(ext, "lz4")
	}
	return false
}

// formatOf knows the extensions whose format neither a folder nor the rest of
// the name can change.
func formatOf(ext string) string {
	if len(ext) < 2 || len(ext) > len("safetensors") {
		return ""
	}
	var buf [len("safetensors")]byte
	low := buf[:len(ext)]
	for i := range low {
		c := ext[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		low[i] = c
	}
	switch string(low) {
	case "safetensors":
		return "safetensors"
	case "pt", "pth", "ckpt", "pkl", "pickle":
		return "pickle"
	case "parquet":
		return "parquet"
	case "csv":
		return "csv"
	case "tsv":
		return "tsv"
	case "jsonl", "ndjson":
		return "jsonl"
	case "onnx":
		return "onnx"
	case "gguf":
		return "gguf"
	case "h5", "hdf5":
		return "hdf5"
	case "npy":
		return "npy"
	case "npz":
		return "npz"
	case "joblib":
		return "joblib"
	case "arrow", "feather":
		return "arrow"
	case "tfrecord", "tfrecords":
		return "tfrecord"
	case "avro":
		return "avro"
	case "orc":
		return "orc"
	case "tflite":
		return "tflite"
	}
	return ""
}

func lowerIs(s, low string) bool {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != low[i] {
			return false
		}
	}
	return true
}

// S3Experiment returns the MLflow experiment in the path of an s3:// asset:
// the number in front of <run, 32 hex>/artifacts or models/m-<32 hex>/artifacts.
// A path with several "/artifacts" tells nothing.
func S3Experiment(assetID string) string {
	const mark = "/artifacts"
	_, key, ok := s3Parts(assetID)
	if !ok {
		return ""
	}
	at := -1
	for from := 0; ; from++ {
		i := strings.IndexByte(key[from:], '/')
		if i < 0 {
			break
		}
		if from += i; strings.HasPrefix(key[from:], mark) {
			if at >= 0 {
				return ""
			}
			at = from
		}
	}
	if at < 0 {
		return ""
	}
	if rest := key[at+len(mark):]; rest != "" && rest[0] != '/' {
		return ""
	}
	// The run must not be the bucket's first folder: the number stands before it.
	head, owner, ok := cutLast(key[:at])
	if !ok {
		return ""
	}
	if id, found := strings.CutPrefix(owner, "m-"); found && isHex32(id) {
		var folder string
		if head, folder, ok = cutLast(head); !ok || folder != "models" {
			return ""
		}
	} else if !isHex32(owner) {
		return ""
	}
	_, exp, _ := cutLast(head)
	if exp == "" {
		return ""
	}
	for i := range len(exp) {
		if exp[i] < '0' || exp[i] > '9' {
			return ""
		}
	}
	return exp
}

const s3Scheme = "s3://"

// s3Parts splits s3://bucket/key; the key is empty for a bucket.
func s3Parts(assetID string) (bucket, key string, ok bool) {
	rest, ok := strings.CutPrefix(assetID, s3Scheme)
	if !ok {
		return "", "", false
	}
	bucket, key, _ = strings.Cut(rest, "/")
	return bucket, key, bucket != ""
}

// cutLast splits path before its last element; ok tells whether there was one
// in front of it.
func cutLast(path string) (head, last string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

func isHex32(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if !hexDigits[s[i]] {
			return false
		}
	}
	return true
}

// hexDigits marks the digits of an id in hexadecimal, which MLflow writes in
// lower case.
var hexDigits = func() (t [256]bool) {
	for _, c := range []byte("0123456789abcdef") {
		t[c] = true
	}
	return t
}()
