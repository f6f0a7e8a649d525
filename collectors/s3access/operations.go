package s3access

import "strings"

// operations maps names of the S3 API, as CloudTrail and versitygw write them,
// to the words of the server access log.
var operations = map[string]string{
	"GetObject": "REST.GET.OBJECT", "HeadObject": "REST.HEAD.OBJECT", "PutObject": "REST.PUT.OBJECT",
	"PostObject": "REST.POST.OBJECT", "CopyObject": "REST.COPY.OBJECT",
	"DeleteObject": "REST.DELETE.OBJECT", "DeleteObjects": "REST.POST.MULTI_OBJECT_DELETE",
	"GetObjectAttributes": "REST.GET.OBJECT_ATTRIBUTES", "GetObjectTorrent": "REST.GET.TORRENT",
	"SelectObjectContent": "REST.SELECT.OBJECT", "RestoreObject": "REST.POST.RESTORE", "RenameObject": "REST.PUT.RENAME",
	"GetObjectAcl": "REST.GET.ACL", "PutObjectAcl": "REST.PUT.ACL",
	"GetObjectTagging": "REST.GET.OBJECT_TAGGING", "PutObjectTagging": "REST.PUT.OBJECT_TAGGING", "DeleteObjectTagging": "REST.DELETE.OBJECT_TAGGING",
	"GetObjectRetention": "REST.GET.OBJECT_LOCK_RETENTION", "PutObjectRetention": "REST.PUT.OBJECT_LOCK_RETENTION",
	"GetObjectLegalHold": "REST.GET.OBJECT_LOCK_LEGALHOLD", "PutObjectLegalHold": "REST.PUT.OBJECT_LOCK_LEGALHOLD",

	"CreateMultipartUpload": "REST.POST.UPLOADS", "UploadPart": "REST.PUT.PART", "UploadPartCopy": "REST.COPY.PART",
	"CompleteMultipartUpload": "REST.POST.UPLOAD", "AbortMultipartUpload": "REST.DELETE.UPLOAD",
	"ListParts": "REST.GET.UPLOAD", "ListMultipartUploads": "REST.GET.UPLOADS",

	"ListBuckets": "REST.GET.SERVICE", "ListAllMyBuckets": "REST.GET.SERVICE",
	"ListObjects": "REST.GET.BUCKET", "ListObjectsV2": "REST.GET.BUCKET", "ListObjectVersions": "REST.GET.BUCKETVERSIONS",
	"HeadBucket": "REST.HEAD.BUCKET", "CreateBucket": "REST.PUT.BUCKET", "DeleteBucket": "REST.DELETE.BUCKET",
	"GetBucketLocation": "REST.GET.LOCATION", "GetBucketPolicyStatus": "REST.GET.POLICY_STATUS",
}

// settings are what can be read, written and deleted of a bucket: the name in
// the API and the word of the server access log. control marks those that
// decide who sees what, what is logged and what can be undone.
var settings = map[string]struct {
	word    string
	control bool
}{
	"BucketAcl":                             {"ACL", true},
	"BucketPolicy":                          {"BUCKETPOLICY", true},
	"BucketLogging":                         {"LOGGING_STATUS", true},
	"BucketVersioning":                      {"VERSIONING", true},
	"BucketLifecycle":                       {"LIFECYCLE", true},
	"BucketLifecycleConfiguration":          {"LIFECYCLE", true},
	"BucketReplication":                     {"REPLICATION", true},
	"BucketEncryption":                      {"ENCRYPTION", true},
	"BucketNotification":                    {"NOTIFICATION", true},
	"BucketNotificationConfiguration":       {"NOTIFICATION", true},
	"BucketOwnershipControls":               {"OWNERSHIP_CONTROLS", true},
	"BucketPublicAccessBlock":               {"PUBLIC_ACCESS_BLOCK", true},
	"PublicAccessBlock":                     {"PUBLIC_ACCESS_BLOCK", true},
	"ObjectLockConfiguration":               {"OBJECT_LOCK_CONFIGURATION", true},
	"BucketObjectLockConfiguration":         {"OBJECT_LOCK_CONFIGURATION", true},
	"BucketWebsite":                         {"WEBSITE", true},
	"BucketCors":                            {"CORS", true},
	"BucketTagging":                         {"TAGGING", false},
	"BucketRequestPayment":                  {"REQUEST_PAYMENT", false},
	"BucketAccelerateConfiguration":         {"ACCELERATE", false},
	"BucketAnalyticsConfiguration":          {"ANALYTICS", false},
	"BucketMetricsConfiguration":            {"METRICS", false},
	"BucketInventoryConfiguration":          {"INVENTORY", true},
	"BucketIntelligentTieringConfiguration": {"INTELLIGENT_TIERING", false},
}

// controlWords are the words that settings marks, and other words of the log
// for the same.
var controlWords = func() map[string]bool {
	words := map[string]bool{
		"BUCKET": true, "POLICY": true, "BUCKET_POLICY": true, "OBJECT_LOCK": true,
		"OBJECT_LOCK_RETENTION": true, "OBJECT_LOCK_LEGALHOLD": true, "OBJECT_RETENTION": true, "OBJECT_LEGALHOLD": true,
		"RETENTION": true, "LEGAL_HOLD": true, "OWNERSHIP": true, "PUBLICACCESSBLOCK": true, "OBJECT_ACL": true,
	}
	for _, s := range settings {
		if s.control {
			words[s.word] = true
		}
	}
	return words
}()

// operationOf returns the server access log's word for a name of the S3 API. A
// name that nobody knows keeps its verb.
func operationOf(name string) string {
	if word, ok := operations[name]; ok {
		return word
	}
	for _, verb := range [...]struct{ prefix, word string }{
		{"Get", "GET"}, {"List", "GET"}, {"Head", "HEAD"}, {"Put", "PUT"}, {"Create", "PUT"}, {"Update", "PUT"}, {"Delete", "DELETE"},
	} {
		if what, ok := strings.CutPrefix(name, verb.prefix); ok && what != "" {
			if s, ok := settings[what]; ok {
				return "REST." + verb.word + "." + s.word
			}
			if s, ok := settings[strings.TrimSuffix(what, "s")]; ok {
				return "REST." + verb.word + "." + s.word
			}
			return "REST." + verb.word + "." + upperSnake(what)
		}
	}
	return "REST.UNKNOWN." + upperSnake(name)
}

// upperSnake writes SomeName as SOME_NAME.
func upperSnake(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' && i > 0 {
			b.WriteByte('_')
		}
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if !idChars[c] {
			c = '_'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// isControl reports whether an operation changes who sees what in a bucket,
// what is logged or what can be undone.
func isControl(operation string) bool {
	dot := strings.IndexByte(operation, '.')
	if dot < 0 || strings.HasPrefix(operation[dot:], ".GET.") || strings.HasPrefix(operation[dot:], ".HEAD.") {
		return false
	}
	verb, what, _ := strings.Cut(operation[dot+1:], ".")
	switch verb {
	case "PUT", "DELETE", "POST":
		return controlWords[what]
	}
	return false
}
