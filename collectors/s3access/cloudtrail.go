package s3access

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"aiwatch/internal/event"
)

// A cloudtrailRecord is what is read of one record of CloudTrail.
// Source: "CloudTrail record contents" and "Amazon S3 CloudTrail events" in
// AWS's documentation.
type cloudtrailRecord struct {
	EventID      string `json:"eventID"`
	EventTime    string `json:"eventTime"`
	EventSource  string `json:"eventSource"`
	EventName    string `json:"eventName"`
	SourceIP     string `json:"sourceIPAddress"`
	UserAgent    string `json:"userAgent"`
	RequestID    string `json:"requestID"`
	ErrorCode    string `json:"errorCode"`
	UserIdentity struct {
		Type        string `json:"type"`
		ARN         string `json:"arn"`
		PrincipalID string `json:"principalId"`
		AccountID   string `json:"accountId"`
		InvokedBy   string `json:"invokedBy"`
		UserName    string `json:"userName"`
	} `json:"userIdentity"`
	RequestParameters json.RawMessage `json:"requestParameters"`
	Additional        struct {
		BytesOut       json.Number `json:"bytesTransferredOut"`
		Authentication string      `json:"AuthenticationMethod"`
	} `json:"additionalEventData"`
}

// errOtherService marks a record of a service other than S3: it is no damage,
// and not ours.
const errOtherService = parseError("a record of another service")

// parseCloudtrail reads one record of CloudTrail into r, which it resets.
func (p *lineParser) parseCloudtrail(text []byte, r *record) error {
	*r = record{}
	var in cloudtrailRecord
	if err := json.Unmarshal(text, &in); err != nil {
		return parseError("no CloudTrail record")
	}
	service, ok := strings.CutSuffix(in.EventSource, ".amazonaws.com")
	if !ok || !strings.HasPrefix(service, "s3") {
		if in.EventSource != "" && in.EventID != "" {
			return errOtherService
		}
		return parseError("no event source")
	}
	at, err := time.Parse(time.RFC3339, in.EventTime)
	if err != nil {
		return parseError("no event time")
	}
	r.ms = at.UnixMilli()
	if in.EventID == "" || in.EventName == "" {
		return parseError("no event id or name")
	}
	r.id = []string{in.EventID}
	r.requestID = in.RequestID
	r.operation = operationOf(in.EventName)
	r.requester = in.principal()
	r.ip = in.SourceIP
	r.agent = strings.TrimSuffix(strings.TrimPrefix(null(in.UserAgent), "["), "]")
	r.errorCode = in.ErrorCode
	r.outcome = "success"
	if in.ErrorCode != "" {
		r.outcome = "failure"
	}
	if n, err := in.Additional.BytesOut.Int64(); err == nil {
		r.bytesSent = event.N(n)
	} else if f, err := in.Additional.BytesOut.Float64(); err == nil && f >= 0 && f < 1<<53 {
		r.bytesSent = event.N(int64(f)) // written as 1.234E9
	}
	r.authType = in.Additional.Authentication

	var params map[string]json.RawMessage
	if len(in.RequestParameters) > 0 {
		_ = json.Unmarshal(in.RequestParameters, &params) // null, or withheld in a text
	}
	word := func(name string) string {
		var s string
		if json.Unmarshal(params[name], &s) != nil {
			return ""
		}
		return s
	}
	r.bucket, r.versionID, r.hostHeader = word("bucketName"), word("versionId"), word("Host")
	if r.bucket != "" && !isBucket(r.bucket) {
		return parseError("no bucket name")
	}
	p.place(r, word("key"))
	r.copied = word("x-amz-copy-source")
	return nil
}

// copySource makes r, a copy of CloudTrail, the reading of what was copied, of
// which the server access log has a record of its own. It reports whether r is
// a copy that names a bucket and a key; the source may also be behind an access
// point, whose bucket is not known.
func (p *lineParser) copySource(r *record) bool {
	from, version, _ := strings.Cut(r.copied, "?versionId=")
	if whole, err := url.PathUnescape(from); err == nil {
		from = whole
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(from, "/"), "/")
	if !strings.Contains(r.operation, ".COPY.") || !isBucket(bucket) || key == "" {
		return false
	}
	r.id = append(r.id, "source")
	r.operation += "_GET"
	r.bucket, r.versionID, r.hostHeader = bucket, version, ""
	r.bytesSent, r.objectSize = event.Number{}, event.Number{}
	p.place(r, key)
	return true
}

// principal returns who called, in the form that the server access log would
// have.
func (c *cloudtrailRecord) principal() string {
	id := &c.UserIdentity
	switch {
	case id.ARN != "":
		return id.ARN
	case id.InvokedBy != "":
		return id.InvokedBy
	case strings.EqualFold(id.AccountID, "anonymous"), strings.EqualFold(id.PrincipalID, "anonymous"):
		return "-"
	case id.AccountID != "":
		return id.AccountID
	case id.PrincipalID != "":
		return id.PrincipalID
	}
	return ""
}
