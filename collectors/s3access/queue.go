package s3access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"aiwatch/collectors"
)

// queue takes log objects from S3 notifications in an SQS queue, which several
// forwarders may share.
//
// A message is deleted when all that came of it is durable, and not before. One
// that can't be understood, or whose object can't be read now, stays: the queue
// shows it again and hands it to its dead-letter queue in the end. An object
// outside the configured bucket and prefix is not read, whoever names it.
type queue struct {
	bucketReader
	sqs SQSClient
	// visibility is for how long, in seconds, a message in hand is hidden from
	// others; it is extended while work goes on.
	visibility int32
}

// usualVisibility leaves a slow forwarder time to extend it, and does not keep
// the messages of one that died for long.
const usualVisibility = 120

// batch is how many messages are worked on together; SQS gives no more at once.
const batch = 10

func (q *queue) poll(ctx context.Context, out collectors.Output) error {
	if err := q.c.commit(out, nil); err != nil {
		return err
	}
	q.c.counts.total(0)
	var errs []error
	for {
		got, err := q.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl:                    &q.c.cfg.QueueURL,
			MaxNumberOfMessages:         batch,
			VisibilityTimeout:           q.visibility,
			WaitTimeSeconds:             1,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
		})
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("receive from %s: %w", q.c.cfg.QueueURL, explain(err, "sqs:ReceiveMessage")))...)
		}
		if len(got.Messages) == 0 {
			break
		}
		if err := q.work(ctx, out, got.Messages); err != nil {
			if ctx.Err() != nil || isOutputError(err) {
				return err
			}
			if errs = append(errs, err); len(errs) == maxFailed {
				break
			}
		}
	}
	if err := q.forget(out, dayName(q.c.cfg.Now().Add(-relist))); err != nil {
		return err
	}
	return errors.Join(append(errs, q.c.commit(out, nil))...)
}

// work handles the messages of one answer and deletes those that are done with.
func (q *queue) work(ctx context.Context, out collectors.Output, messages []types.Message) (err error) {
	stop := q.hold(ctx, messages)
	defer func() { err = errors.Join(err, stop()) }()

	var done []types.DeleteMessageBatchRequestEntry
	var errs []error
	for i := range messages {
		m := &messages[i]
		finished, err := q.message(ctx, out, m)
		if err != nil {
			if ctx.Err() != nil || isOutputError(err) {
				return err
			}
			errs = append(errs, err)
		}
		if finished {
			id := strconv.Itoa(i)
			done = append(done, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle})
		}
	}
	q.c.counts.progress(q.c.pendingBytes)
	q.c.pending, q.c.pendingBytes = 0, 0
	if err := out.Flush(); err != nil {
		return err
	}
	if len(done) > 0 {
		answer, err := q.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.c.cfg.QueueURL, Entries: done})
		if err != nil {
			errs = append(errs, fmt.Errorf("delete messages of %s: %w", q.c.cfg.QueueURL, explain(err, "sqs:DeleteMessage")))
		} else if len(answer.Failed) > 0 && answer.Failed[0].Message != nil {
			// They come again, and their objects are known as done.
			q.c.counts.note(fmt.Sprintf("%d messages could not be deleted: %s", len(answer.Failed), *answer.Failed[0].Message))
		}
	}
	return errors.Join(errs...)
}

// hold keeps messages hidden from others until stop is called.
func (q *queue) hold(ctx context.Context, messages []types.Message) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var failed error
	running.Go(func() {
		tick := time.NewTicker(time.Duration(q.visibility) * time.Second / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var entries []types.ChangeMessageVisibilityBatchRequestEntry
			for i := range messages {
				id := strconv.Itoa(i)
				entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: &id, ReceiptHandle: messages[i].ReceiptHandle, VisibilityTimeout: q.visibility})
			}
			if _, err := q.sqs.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.c.cfg.QueueURL, Entries: entries}); err != nil && ctx.Err() == nil {
				failed = fmt.Errorf("hold messages of %s: %w", q.c.cfg.QueueURL, explain(err, "sqs:ChangeMessageVisibility"))
			}
		}
	})
	return func() error {
		cancel()
		running.Wait()
		return failed
	}
}

// message handles one message and reports whether it can be deleted.
func (q *queue) message(ctx context.Context, out collectors.Output, m *types.Message) (finished bool, err error) {
	body := ""
	if m.Body != nil {
		body = *m.Body
	}
	notices, err := parseMessage([]byte(body))
	now := q.c.cfg.Now()
	if err != nil {
		// Told once; then the queue's redrive decides.
		if first := m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)]; first == "" || first == "1" {
			return false, q.c.tr.emitDamage(out, damage{raw: body, sha256: digest(body), why: "message of the queue: " + err.Error(), ref: q.c.cfg.QueueURL, seen: now.UnixMilli()})
		}
		return false, nil
	}
	finished = true
	var errs []error
	for i := range notices {
		n := &notices[i]
		if n.bucket != q.bucket || !strings.HasPrefix(n.key, q.c.cfg.Prefix) {
			ref := "s3://" + n.bucket + "/" + n.key
			q.c.counts.note("a message names " + ref + ", which is outside the configured bucket and prefix; it was refused")
			if err := q.c.tr.emitDamage(out, damage{raw: body, sha256: digest(body), why: "a message names a log object outside the configured bucket and prefix", ref: ref, seen: now.UnixMilli()}); err != nil {
				return false, err
			}
			continue
		}
		o := &object{key: n.key, etag: n.etag, version: n.version, size: n.size, modified: n.at, day: dayName(now)}
		if o.size == 0 {
			continue
		}
		if o.modified.IsZero() {
			o.modified = now
		}
		want, err := q.wantedLately(out, o, now)
		if err != nil {
			return false, err
		}
		if !want {
			continue
		}
		q.c.counts.more(o.size)
		if err := q.readAll(ctx, out, []*object{o}); err != nil {
			if ctx.Err() != nil || isOutputError(err) {
				return false, err
			}
			finished = false
			errs = append(errs, err)
		}
	}
	return finished, errors.Join(errs...)
}

// wantedLately is wanted for an object that may have been done on any day since
// its notification: a queue delivers some messages twice.
func (q *queue) wantedLately(out collectors.Output, o *object, now time.Time) (bool, error) {
	id := shortHash(o.key)
	for back := range 4 {
		mark, err := out.Get(stateDone + dayName(now.AddDate(0, 0, -back)) + "/" + id)
		if err != nil {
			return false, err
		}
		if etag := digest8(o.etag); mark != nil && (o.etag == "" || string(mark) == string(etag[:])) {
			return false, nil
		}
	}
	return q.wanted(out, o)
}

// A notice is what a notification says of one object.
type notice struct {
	bucket, key   string // decoded
	etag, version string
	size          int64
	at            time.Time
}

// Limits of one message.
const (
	maxMessage  = 1 << 20 // SQS allows as much
	maxWrapping = 3
)

// s3Notification is a message of S3 itself, of SNS around one, or of
// EventBridge. Source: "Event message structure" (S3), "Amazon SNS message
// formats", "Amazon S3 event message structure for EventBridge".
type s3Notification struct {
	// S3.
	Event   string `json:"Event"`
	Records *[]struct {
		EventName string `json:"eventName"`
		EventTime string `json:"eventTime"`
		S3        struct {
			Bucket struct {
				Name string `json:"name"`
			} `json:"bucket"`
			Object struct {
				Key       string      `json:"key"`
				Size      json.Number `json:"size"`
				ETag      string      `json:"eTag"`
				VersionID string      `json:"versionId"`
			} `json:"object"`
		} `json:"s3"`
	} `json:"Records"`
	// SNS.
	Type    string `json:"Type"`
	Message string `json:"Message"`
	// EventBridge.
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Time       string `json:"time"`
	Detail     *struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string      `json:"key"`
			Size      json.Number `json:"size"`
			ETag      string      `json:"etag"`
			VersionID string      `json:"version-id"`
		} `json:"object"`
	} `json:"detail"`
}

// parseMessage reads what a message says was created. The test event that S3
// sends when notifications are set up, and events that create nothing, say
// nothing.
func parseMessage(body []byte) ([]notice, error) {
	if len(body) > maxMessage {
		return nil, errors.New("too long")
	}
	for range maxWrapping {
		var in s3Notification
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, errors.New("not JSON as S3, SNS or EventBridge write it")
		}
		switch {
		case in.Records != nil:
			var notices []notice
			for _, r := range *in.Records {
				if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
					continue
				}
				// S3 writes the key as a form does: a plus is a space.
				key, err := url.QueryUnescape(r.S3.Object.Key)
				if err != nil || key == "" || r.S3.Bucket.Name == "" {
					return nil, errors.New("a record without bucket and key")
				}
				notices = append(notices, newNotice(r.S3.Bucket.Name, key, r.S3.Object.ETag, r.S3.Object.VersionID, r.S3.Object.Size, r.EventTime))
			}
			return notices, nil
		case in.Event == "s3:TestEvent":
			return nil, nil
		case in.Type == "Notification" && in.Message != "":
			body = []byte(in.Message)
		case in.Detail != nil && in.Source == "aws.s3":
			if in.DetailType != "Object Created" {
				return nil, nil
			}
			if in.Detail.Object.Key == "" || in.Detail.Bucket.Name == "" {
				return nil, errors.New("a record without bucket and key")
			}
			o := &in.Detail.Object // its key is not encoded
			return []notice{newNotice(in.Detail.Bucket.Name, o.Key, o.ETag, o.VersionID, o.Size, in.Time)}, nil
		default:
			return nil, errors.New("not a notification of S3")
		}
	}
	return nil, errors.New("wrapped too often")
}

func newNotice(bucket, key, etag, version string, size json.Number, at string) notice {
	n := notice{bucket: bucket, key: key, etag: etag, version: version, size: small + 1}
	if etag != "" && !strings.HasPrefix(etag, `"`) {
		n.etag = `"` + etag + `"`
	}
	if version == "null" {
		n.version = ""
	}
	if bytes, err := size.Int64(); err == nil && bytes >= 0 {
		n.size = bytes
	}
	n.at, _ = time.Parse(time.RFC3339, at)
	return n
}
