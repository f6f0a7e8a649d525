package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// A record is an event as the audit reads it: the envelope with those fields of
// the event that it asks for. A value of another type than the schema's is read
// as what it can be.
type record struct {
	Time       number  `json:"time"`
	Indexed    number  `json:"indextime"`
	Host       text    `json:"host"`
	Source     text    `json:"source"`
	Sourcetype text    `json:"sourcetype"`
	Index      text    `json:"index"`
	Event      *fields `json:"event"`
}

// fields are those of an event.
type fields struct {
	ID            text   `json:"event_id"`
	Collector     text   `json:"collector"`
	Seq           number `json:"seq"`
	TimeBasis     text   `json:"time_basis"`
	NotBefore     number `json:"not_before"`
	Evidence      text   `json:"evidence"`
	RawRef        text   `json:"raw_ref"`
	RequestID     text   `json:"request_id"`
	Operation     text   `json:"operation"`
	Status        text   `json:"status"`
	StatusCode    text   `json:"status_code"`
	User          text   `json:"user"`
	SrcUser       text   `json:"src_user"`
	UserType      text   `json:"user_type"`
	UserID        text   `json:"user_id"`
	Confidence    text   `json:"user_confidence"`
	Src           text   `json:"src"`
	AssetType     text   `json:"asset_type"`
	AssetID       text   `json:"asset_id"`
	AssetRole     text   `json:"asset_role"`
	AssetDigest   text   `json:"asset_digest"`
	ChangeField   text   `json:"change_field"`
	OldValue      text   `json:"old_value"`
	NewValue      text   `json:"new_value"`
	BytesOut      number `json:"bytes_out"`
	RunID         text   `json:"run_id"`
	LoggedModel   text   `json:"logged_model_id"`
	Model         text   `json:"model_name"`
	Version       text   `json:"model_version"`
	Commit        text   `json:"git_commit"`
	Repo          text   `json:"git_repo"`
	Dirty         text   `json:"git_dirty"`
	Dataset       text   `json:"dataset_name"`
	DatasetDigest text   `json:"dataset_digest"`
	DatasetSource text   `json:"dataset_source"`
	TrainedBy     text   `json:"trained_by"`
	TrainedSure   text   `json:"trained_by_confidence"`
	RegisteredBy  text   `json:"registered_by"`
	SourceURI     text   `json:"source_uri"`
	TagKey        text   `json:"tag_key"`
	Tags          texts  `json:"tags"`
	LFS           text   `json:"lfs_oid"`
	State         text   `json:"state"`
	RecordsRead   number `json:"records_read"`
	Inventory     text   `json:"inventory_complete"`
	DeadLetters   number `json:"dead_letters"`
	Held          number `json:"held"`
	Error         text   `json:"error"`
	NotSeen       texts  `json:"coverage"`
	RefusedBy     text   `json:"refused_collector"`
	RefusedSeq    number `json:"refused_seq"`
	Text          text   `json:"text"`
}

// actor is who acted: who granted, else who did.
func (f *fields) actor() string {
	if f.SrcUser != "" {
		return string(f.SrcUser)
	}
	return string(f.User)
}

// parse reads an envelope.
func parse(envelope []byte) (*record, error) {
	var r record
	if err := json.Unmarshal(envelope, &r); err != nil {
		return nil, errors.New("not the JSON of an event in its envelope")
	}
	return &r, nil
}

// at is when it happened, indexed when it was indexed, which is taken to be the
// same where nobody noted it.
func (r *record) at() time.Time { return moment(r.Time.value) }

func (r *record) indexed() time.Time {
	if r.Indexed.set {
		return moment(r.Indexed.value)
	}
	return r.at()
}

// moment is epoch seconds as a time, to the millisecond.
func moment(seconds float64) time.Time {
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
}

// lastMoment bounds the times that an envelope may have: the year 9999.
const lastMoment = 253402300799

// checked reads an envelope and tells what is wrong with it.
func checked(envelope []byte) (*record, error) {
	r, err := parse(envelope)
	if err != nil {
		return nil, err
	}
	for name, n := range map[string]number{"time": r.Time, "indextime": r.Indexed} {
		switch {
		case n.set && (n.value < 0 || n.value > lastMoment):
			return nil, fmt.Errorf("%s is no time between 1970 and 9999", name)
		case !n.set && name == "time":
			return nil, errors.New("no time: an envelope has time, source, sourcetype and event")
		}
	}
	if r.Event == nil {
		return nil, errors.New("no event: an envelope has time, source, sourcetype and event")
	}
	return r, nil
}

// text is a string, or a number or boolean as it is written.
type text string

// UnmarshalJSON takes any scalar; what is none stays empty.
func (t *text) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case '{', '[', 'n':
	default:
		*t = text(b)
	}
	return nil
}

// texts is a list of strings; one string is a list of one.
type texts []string

// UnmarshalJSON takes a list of scalars or one.
func (l *texts) UnmarshalJSON(b []byte) error {
	*l = nil
	if b[0] != '[' {
		var one text
		if err := one.UnmarshalJSON(b); err != nil || one == "" {
			return err
		}
		*l = texts{string(one)}
		return nil
	}
	var all []text
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for _, t := range all {
		*l = append(*l, string(t))
	}
	return nil
}

// number is a number, also where it is written as a string.
type number struct {
	value float64
	set   bool
}

// UnmarshalJSON takes a number, digits in quotes or a moment as RFC 3339 writes
// it; what is none of these is not set.
func (n *number) UnmarshalJSON(b []byte) error {
	b = bytes.Trim(b, `"`)
	if v, err := strconv.ParseFloat(string(b), 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		*n = number{v, true}
	} else if at, err := time.Parse(time.RFC3339Nano, string(b)); err == nil {
		*n = number{float64(at.UnixMilli()) / 1000, true}
	}
	return nil
}
