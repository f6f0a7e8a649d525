package s3access

import (
	"aiwatch/internal/event"
)

// A record is one access as its log tells it, whatever the log's format. An
// absent value is empty, not "-".
type record struct {
	ms        int64  // Unix time in milliseconds
	bucket    string // empty for requests to the service
	key       string // decoded; empty for requests to a bucket
	assetID   string // s3://bucket/key; empty for requests to the service
	ip        string
	requester string // "-" for a request without a signature
	operation string // in the words of the server access log
	status    string
	errorCode string

	bytesSent, objectSize event.Number

	requestID   string
	versionID   string
	referer     string
	agent       string
	authType    string
	hostHeader  string
	accessPoint string
	aclRequired string
	owner       string
	copied      string // what a copy read, as CloudTrail writes it

	// id are the parts of the record's identity as its log writes them.
	id []string
	// doubt says which fields could not be told apart and are therefore absent;
	// everything else is certain.
	doubt string
	// outcome is "success" or "failure" where the log tells it by other means
	// than a status.
	outcome string
}

// A parseError is why a line is no record.
type parseError string

func (e parseError) Error() string { return string(e) }
