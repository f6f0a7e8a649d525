package s3access

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"path"
	"slices"
	"strings"

	"aiwatch/collectors"
	"aiwatch/collectors/identity"
	"aiwatch/internal/event"
)

// surelyWhole is a length of asset_id, in bytes, up to which it is never cut in
// an event. Beyond, nothing is left to the add-on to compute from it.
const surelyWhole = 500

// A translator makes events of records. It is used by one goroutine.
type translator struct {
	cfg    *Config
	rules  *assetRules
	people map[string]*person
	last   *person // the one that was asked for last
	ev     event.Event
	start  int64 // Unix milliseconds; earlier records are not sent
}

// watched reports whether control operations on a bucket are always sent: an
// asset rule names it, or the operator does.
func (t *translator) watched(bucket string) bool {
	return t.rules.names(bucket) || slices.ContainsFunc(t.cfg.WatchBuckets, func(glob string) bool {
		ok, _ := path.Match(glob, bucket)
		return ok
	})
}

// A person is what the identity rules say of a requester.
type person struct{ requester, user, typ, confidence string }

// maxPeople bounds how many requesters are remembered.
const maxPeople = 20_000

func (t *translator) resolve(requester string, ours bool) *person {
	if t.last != nil && requester == t.last.requester {
		return t.last
	}
	if p, ok := t.people[requester]; ok {
		t.last = p
		return p
	}
	// The requester is a part of the log's chunk, which is about to be
	// overwritten, and the user often a part of the requester.
	requester = strings.Clone(requester)
	p := &person{requester: requester}
	p.user, p.typ, p.confidence = t.cfg.Identity.Resolve(requester)
	if p.typ == event.S3UserType(requester) {
		p.typ = "" // what the add-on computes
	}
	switch {
	case t.cfg.Identity.Ruled(requester), requester == "-":
	case !ours && t.cfg.Trusted && p.confidence == "":
		p.confidence = identity.Authenticated
	case !ours && !t.cfg.Trusted:
		p.confidence = identity.Claimed
	}
	if p.confidence == "" {
		p.confidence = identity.Unknown
	}
	if len(t.people) >= maxPeople {
		clear(t.people)
	}
	t.people[requester] = p
	return p
}

// emit sends a record's event, if it is in scope. line is the record's text in
// d, where it is one line; aws tells that AWS wrote it.
func (t *translator) emit(out collectors.Output, d *document, r *record, aws bool, line string) error {
	if r.ms < t.start {
		return nil
	}
	var a asset
	if r.key != "" {
		a = t.rules.classify(r.bucket, r.key)
	}
	control := isControl(r.operation) && r.bucket != "" && t.watched(r.bucket)
	if !a.isAsset && !control && !t.cfg.All {
		return nil
	}

	// Each field that a record can have is set for each record, so that the rest
	// of the event, which is large, stays as it is: empty.
	ev := &t.ev
	ev.Time = event.Millis(r.ms)
	ev.Host, ev.Sourcetype = "", event.SourcetypeS3
	ev.ID = event.MakeID(event.SourcetypeS3, r.id...)
	ev.Operation = r.operation
	ev.Status, ev.StatusCode, ev.ErrorCode = "", r.status, r.errorCode
	if r.outcome != "" && r.outcome != event.S3Status(r.operation, r.status) {
		ev.Status = r.outcome
	}

	p := t.resolve(r.requester, aws)
	ev.User, ev.UserID, ev.UserType, ev.UserConfidence = p.user, r.requester, p.typ, p.confidence
	ev.Src, ev.UserAgent, ev.Referer = fullAddress(r.ip), r.agent, r.referer

	ev.AssetID = r.assetID
	ev.AssetRole, ev.AssetVersion, ev.Owner = a.role, a.version, a.owner
	ev.RunID, ev.LoggedModelID = a.runID, a.loggedID
	long := len(r.assetID) > surelyWhole
	ev.AssetType, ev.AssetName, ev.AssetFormat, ev.ExperimentID = "", "", "", ""
	if a.typ != "" && a.typ != "object" {
		ev.AssetType = a.typ
	}
	if a.name != "" || long {
		if name := event.S3AssetName(r.assetID, a.runID, a.loggedID); a.name != "" && a.name != name {
			ev.AssetName = a.name
		} else if long {
			ev.AssetName = name
		}
	}
	if a.format != "" && (long || a.format != event.S3Format(r.assetID)) {
		ev.AssetFormat = a.format
	}
	if a.experimentID != "" && (long || a.experimentID != event.S3Experiment(r.assetID)) {
		ev.ExperimentID = a.experimentID
	}
	ev.AssetSize, ev.BytesOut = r.objectSize, r.bytesSent
	if isCopySource(r.operation) && event.S3Status(r.operation, r.status) == "success" {
		ev.BytesOut = r.objectSize
	}

	ev.RequestID, ev.VersionID = r.requestID, r.versionID
	ev.AuthenticationType, ev.AccessPoint = r.authType, r.accessPoint
	ev.RawRef, ev.BucketOwner, ev.HostHeader, ev.ACLRequired = "", "", "", ""
	ev.ParseError, ev.Raw, ev.RawSHA256 = "", "", ""
	if control || r.doubt != "" {
		ev.RawRef, ev.BucketOwner, ev.HostHeader, ev.ACLRequired = d.at(), null(r.owner), r.hostHeader, r.aclRequired
	}
	if r.doubt != "" {
		ev.ParseError = r.doubt
		ev.Raw = line
		ev.RawSHA256 = digest(line)
	}
	return out.Emit(ev)
}

// damage is a record that could not be read, or a log object that is not what
// it was.
type damage struct {
	raw    string // as much of the record as is kept
	sha256 string // of the whole record, hex
	why    string
	ref    string
	// at is the record's own date in Unix milliseconds; 0 when it can't be read,
	// and then seen, the moment by which it was written, is the event's time.
	at, seen int64
}

// emitDamage sends what could not be read. The identity is the content's: the
// same line delivered twice is one.
func (t *translator) emitDamage(out collectors.Output, d damage) error {
	if d.at != 0 && d.at < t.start {
		return nil
	}
	ev := &event.Event{}
	ev.Sourcetype = event.SourcetypeS3
	ev.Operation = "record.damaged"
	ev.AssetType = event.Input
	ev.Raw, ev.RawSHA256, ev.ParseError, ev.RawRef = d.raw, d.sha256, d.why, d.ref
	if d.at != 0 {
		ev.Time = event.Millis(d.at)
	} else {
		ev.Time = event.Millis(d.seen)
		ev.TimeBasis = "bounded"
	}
	if d.raw != "" {
		ev.ID = event.MakeID(event.SourcetypeS3, ev.Operation, d.sha256)
	} else {
		ev.ID = event.MakeID(event.SourcetypeS3, ev.Operation, d.ref, d.why)
	}
	return out.Emit(ev)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// isCopySource reports whether an operation is the reading half of a copy.
func isCopySource(operation string) bool {
	return strings.HasSuffix(operation, "_GET") && strings.Contains(operation, ".COPY.")
}

// fullAddress writes IPv6 in full, an embedded IPv4 address as such, and leaves
// everything else as it is.
func fullAddress(ip string) string {
	if strings.IndexByte(ip, ':') < 0 {
		return null(ip)
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	return addr.StringExpanded()
}
