package s3access

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"aiwatch/collectors"
)

// bucket polls a log bucket.
//
// S3 delivers log objects under two layouts: prefixYYYY-MM-DD-HH-MM-SS-UNIQUE,
// and prefix<account>/<region>/<bucket>/YYYY/MM/DD/YYYY-MM-DD-HH-MM-SS-UNIQUE
// (CloudTrail: AWSLogs/<account>/CloudTrail/<region>/YYYY/MM/DD/...), where with
// event-time partitioning the time in the name is 00-00-00. Objects come late,
// so a name may sort before one that was read. Each poll therefore lists, below
// each place where logs lie, all that a delivery up to `lateness` late could
// have added since the last complete pass there, and skips what is done. Once a
// day the last 14 days are listed again. What is remembered is bounded by that
// window, not by the age of the bucket.
//
// State beside bucketReader's: pass/<digest of the place> is when the last
// complete pass over it began, relist the day of the last long listing.
type bucket struct{ bucketReader }

const (
	statePass   = "pass/"
	stateRelist = "relist"
	// skew is how far the clocks of S3 and of this machine may differ.
	skew = time.Hour
)

// A place is where logs of one layout lie.
type place struct {
	prefix string
	layout layout
}

type layout byte

const (
	flat    layout = iota // names that begin with their date
	byDay                 // folders YYYY/MM/DD
	undated               // neither: known by when they were modified
)

func (b *bucket) poll(ctx context.Context, out collectors.Output) error {
	began := b.c.cfg.Now()
	if err := b.c.commit(out, nil); err != nil { // the start lasts whatever comes
		return err
	}
	places, err := b.discover(ctx)
	if err != nil {
		return err
	}
	b.c.counts.total(0)
	today := dayName(began)
	listed, err := out.Get(stateRelist)
	if err != nil {
		return err
	}
	deep := string(listed) != today

	start := time.UnixMilli(b.c.tr.start).Add(-skew)
	oldest := began.Add(-relist)
	var errs []error
	for _, p := range places {
		id := statePass + shortHash(string(p.layout+'0')+p.prefix)
		since := start
		value, err := out.Get(id)
		if err != nil {
			return err
		}
		if len(value) == 8 {
			last := time.UnixMilli(int64(binary.BigEndian.Uint64(value)))
			if last.After(began) {
				last = began // the clock was set back
			}
			since = later(last.Add(-b.c.cfg.Lateness), start)
		}
		from := since
		if deep {
			from = later(earlier(since, began.Add(-relist)), start)
		}
		oldest = earlier(oldest, since)
		if err := b.pass(ctx, out, p, from, since, began); err != nil {
			if ctx.Err() != nil || isOutputError(err) {
				return err
			}
			errs = append(errs, err)
			continue
		}
		out.Put(id, binary.BigEndian.AppendUint64(nil, uint64(began.UnixMilli())))
	}
	if deep && len(errs) == 0 {
		out.Put(stateRelist, []byte(today))
	}
	if err := b.forget(out, dayName(oldest.Add(-48*time.Hour))); err != nil {
		return err
	}
	return errors.Join(append(errs, b.c.commit(out, nil))...)
}

// pass reads what is new in one place since from. What lies before since was
// looked for by earlier polls: it came later than the lateness.
func (b *bucket) pass(ctx context.Context, out collectors.Output, p place, from, since, began time.Time) error {
	late := 0
	var example string
	page := func(found []types.Object, encoded bool, day func(name string, o *types.Object) (string, bool)) error {
		var objects []*object
		var total int64
		for i := range found {
			o, ok := asObject(&found[i], encoded)
			if !ok || !strings.HasPrefix(o.key, p.prefix) {
				continue
			}
			if o.day, ok = day(o.key[len(p.prefix):], &found[i]); !ok {
				continue
			}
			want, err := b.wanted(out, o)
			if err != nil {
				return err
			}
			if !want {
				continue
			}
			if o.day < dayName(since) {
				late++
				example = o.key
			}
			total += o.size
			objects = append(objects, o)
		}
		b.c.counts.more(total)
		return b.readAll(ctx, out, objects)
	}
	var err error
	switch p.layout {
	case flat:
		after := p.prefix + from.UTC().Format("2006-01-02-15-04-05")
		err = b.list(ctx, p.prefix, "/", after, func(answer *s3.ListObjectsV2Output) (string, error) {
			return "", page(answer.Contents, encoded(answer), func(name string, _ *types.Object) (string, bool) {
				return dated(name)
			})
		})
	case byDay:
		for day := from.UTC().Truncate(24 * time.Hour); !day.After(began.Add(24 * time.Hour)); day = day.Add(24 * time.Hour) {
			name := dayName(day)
			err = b.list(ctx, p.prefix+day.Format("2006/01/02/"), "", "", func(answer *s3.ListObjectsV2Output) (string, error) {
				return "", page(answer.Contents, encoded(answer), func(string, *types.Object) (string, bool) { return name, true })
			})
			if err != nil {
				break
			}
		}
	case undated:
		err = b.list(ctx, p.prefix, "/", "", func(answer *s3.ListObjectsV2Output) (string, error) {
			return "", page(answer.Contents, encoded(answer), func(name string, o *types.Object) (string, bool) {
				if _, ok := dated(name); ok || o.LastModified == nil || o.LastModified.Before(from) {
					return "", false
				}
				return dayName(*o.LastModified), true
			})
		})
	}
	if late > 0 {
		b.c.counts.note(fmt.Sprintf("%d log objects came later than the lateness of %s, such as s3://%s/%s", late, b.c.cfg.Lateness, b.bucket, example))
	}
	return err
}

// Limits of the search for places.
const (
	maxDepth  = 8
	maxPlaces = 10_000
)

// discover finds the places below the prefix, in their order, without listing
// the logs themselves.
func (b *bucket) discover(ctx context.Context) ([]place, error) {
	var places []place
	var walk func(prefix string, depth int) error
	walk = func(prefix string, depth int) error {
		var folders []string
		has := map[layout]bool{}
		err := b.list(ctx, prefix, "/", "", func(answer *s3.ListObjectsV2Output) (skipTo string, err error) {
			for _, common := range answer.CommonPrefixes {
				folder, ok := decodeKey(common.Prefix, encoded(answer))
				if !ok {
					continue
				}
				name := strings.TrimSuffix(strings.TrimPrefix(folder, prefix), "/")
				switch {
				case len(name) == 4 && isDigits(name):
					has[byDay] = true
				case name == "CloudTrail-Digest", name == "CloudTrail-Insight", name == "CloudTrail-Aggregated":
					// Not records of requests.
				default:
					folders = append(folders, folder)
				}
			}
			for i := range answer.Contents {
				key, ok := decodeKey(answer.Contents[i].Key, encoded(answer))
				if !ok || strings.HasSuffix(key, "/") {
					continue
				}
				name := strings.TrimPrefix(key, prefix)
				if _, ok := dated(name); !ok {
					has[undated] = true
					continue
				}
				// Whatever else is named by a day of this year needs no listing.
				has[flat] = true
				skipTo = prefix + name[:5] + "~"
			}
			return skipTo, nil
		})
		if err != nil {
			return err
		}
		for _, l := range []layout{flat, byDay, undated} {
			if has[l] {
				places = append(places, place{prefix, l})
			}
		}
		slices.Sort(folders)
		for _, folder := range slices.Compact(folders) {
			if depth == maxDepth || len(places) >= maxPlaces {
				b.c.counts.uncovered(fmt.Sprintf("s3://%s/%s is not read: more than %d folders deep, or more than %d places with logs", b.bucket, folder, maxDepth, maxPlaces))
				continue
			}
			if err := walk(folder, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	err := walk(b.c.cfg.Prefix, 0)
	return places, err
}

// list visits the pages of a listing. Where visit returns a key, the listing
// goes on behind it.
func (b *bucket) list(ctx context.Context, prefix, delimiter, after string, visit func(*s3.ListObjectsV2Output) (skipTo string, err error)) error {
	in := &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
	if delimiter != "" {
		in.Delimiter = &delimiter
	}
	if after != "" {
		in.StartAfter = &after
	}
	for {
		answer, err := b.s3.ListObjectsV2(ctx, in)
		if err != nil {
			return fmt.Errorf("list s3://%s/%s: %w", b.bucket, prefix, explain(err, "s3:ListBucket"))
		}
		skipTo, err := visit(answer)
		if err != nil {
			return err
		}
		if answer.IsTruncated == nil || !*answer.IsTruncated {
			return nil
		}
		in.ContinuationToken, in.StartAfter = answer.NextContinuationToken, nil
		if skipTo != "" {
			in.ContinuationToken, in.StartAfter = nil, &skipTo
		} else if in.ContinuationToken == nil {
			return fmt.Errorf("list s3://%s/%s: a page says that more follow and not where", b.bucket, prefix)
		}
	}
}

func encoded(answer *s3.ListObjectsV2Output) bool {
	return answer.EncodingType == types.EncodingTypeUrl
}

// decodeKey reads a key of a listing.
func decodeKey(key *string, encoded bool) (string, bool) {
	if key == nil {
		return "", false
	}
	if !encoded {
		return *key, true
	}
	plain, err := url.QueryUnescape(*key)
	return plain, err == nil
}

func asObject(in *types.Object, encoded bool) (*object, bool) {
	key, ok := decodeKey(in.Key, encoded)
	if !ok || key == "" || strings.HasSuffix(key, "/") || in.ETag == nil {
		return nil, false
	}
	o := &object{key: key, etag: *in.ETag}
	if in.Size != nil {
		o.size = *in.Size
	}
	if in.LastModified != nil {
		o.modified = *in.LastModified
	}
	return o, o.size > 0
}

// dated reads the day from a name that begins as S3 names its log objects.
func dated(name string) (day string, ok bool) {
	const form = "2026-11-23-10-00-00-"
	if len(name) <= len(form) {
		return "", false
	}
	for i := range len(form) {
		if (form[i] == '-') != (name[i] == '-') || form[i] != '-' && name[i]-'0' > 9 {
			return "", false
		}
	}
	return name[0:4] + name[5:7] + name[8:10], true
}

func dayName(t time.Time) string { return t.UTC().Format("20060102") }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
