package s3access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/stretchr/testify/require"
)

// A fakeSQS is a queue in memory. A message that was received is hidden until
// show is called.
type fakeSQS struct {
	mu       sync.Mutex
	messages []*fakeMessage
	onDelete func() // called before a deletion
}

type fakeMessage struct {
	body     string
	receives int
	hidden   bool
	deleted  bool
}

func (f *fakeSQS) send(bodies ...string) {
	for _, b := range bodies {
		f.messages = append(f.messages, &fakeMessage{body: b})
	}
}

// show makes all messages visible again.
func (f *fakeSQS) show() {
	for _, m := range f.messages {
		m.hidden = false
	}
}

func (f *fakeSQS) left() (bodies []string) {
	for _, m := range f.messages {
		if !m.deleted {
			bodies = append(bodies, m.body)
		}
	}
	return bodies
}

func (f *fakeSQS) ReceiveMessage(_ context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &sqs.ReceiveMessageOutput{}
	for i, m := range f.messages {
		if m.hidden || m.deleted || len(out.Messages) == int(in.MaxNumberOfMessages) {
			continue
		}
		m.hidden = true
		m.receives++
		handle := strconv.Itoa(i)
		out.Messages = append(out.Messages, types.Message{Body: &m.body, ReceiptHandle: &handle, Attributes: map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.receives)}})
	}
	return out, nil
}

func (f *fakeSQS) DeleteMessageBatch(_ context.Context, in *sqs.DeleteMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	if f.onDelete != nil {
		f.onDelete()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range in.Entries {
		i, _ := strconv.Atoi(*e.ReceiptHandle)
		f.messages[i].deleted = true
	}
	return &sqs.DeleteMessageBatchOutput{}, nil
}

func (f *fakeSQS) ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	return &sqs.ChangeMessageVisibilityBatchOutput{}, nil
}

func (f *fakeSQS) GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	return &sqs.GetQueueAttributesOutput{}, nil
}

// notification is what S3 sends for new objects; keys are encoded as a form.
func notification(bucket string, keys ...string) string {
	var records []string
	for _, key := range keys {
		records = append(records, fmt.Sprintf(`{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-east-1","eventTime":"2026-11-23T11:00:00.000Z","eventName":"ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","bucket":{"name":%q,"arn":"arn:aws:s3:::b"},"object":{"key":%q,"size":1024,"sequencer":"1"}}}`, bucket, key))
	}
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

func inSNS(message string) string {
	b, _ := json.Marshal(map[string]string{"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:111122223333:t", "Message": message})
	return string(b)
}

func eventBridge(bucket, key string) string {
	return fmt.Sprintf(`{"version":"0","id":"1","detail-type":"Object Created","source":"aws.s3","account":"111122223333","time":"2026-11-23T11:00:00Z","region":"us-east-1","resources":[],"detail":{"version":"0","bucket":{"name":%q},"object":{"key":%q,"size":1024,"etag":"","sequencer":"1"},"reason":"PutObject"}}`, bucket, key)
}

const testEvent = `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-23T11:00:00.000Z","Bucket":"logs","RequestId":"1","HostId":"2"}`

func queueConfig(t *testing.T) (*fakeS3, *fakeSQS, Config) {
	f, cfg := newFakeS3(t)
	q := &fakeSQS{}
	cfg.SQS, cfg.QueueURL, cfg.Prefix = q, "https://sqs.us-east-1.amazonaws.com/111122223333/logs", "in/"
	cfg.Start.At = now.Add(-24 * time.Hour)
	return f, q, cfg
}

func TestNotificationsInAllTheirWrappings(t *testing.T) {
	f, q, cfg := queueConfig(t)
	at := now.Add(-time.Hour)
	for i, key := range []string{"in/a", "in/b", "in/c d+ü", "in/e", "in/f"} {
		f.put(key, lines(i*10, 10, at))
	}
	q.send(testEvent, inSNS(testEvent), notification("logs", "in/a", "in/b"), inSNS(notification("logs", "in/c+d%2B%C3%BC")), eventBridge("logs", "in/e"), inSNS(eventBridge("logs", "in/f")),
		`{"Records":[{"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"logs"},"object":{"key":"in/a"}}}]}`)
	out := newSink()
	q.onDelete = func() { require.Equal(t, 50, len(out.requests()), "nothing is deleted before its events are durable") }
	c := collector(t, cfg)
	poll(t, c, out)
	require.Equal(t, 50, len(out.requests()))
	require.Empty(t, q.left())
	require.Empty(t, out.damages())

	// The same object notified twice.
	q.onDelete = nil
	q.send(notification("logs", "in/a"))
	gets := f.Gets()
	poll(t, c, out)
	require.Equal(t, gets, f.Gets())
	require.Empty(t, q.left())
}

func TestObjectsOutsideTheConfiguredPlaceAreRefused(t *testing.T) {
	f, q, cfg := queueConfig(t)
	f.put("out/a", lines(0, 1, now))
	f.put("in/a", lines(1, 1, now))
	q.send(notification("logs", "out/a", "in/a"), notification("other-bucket", "in/a"), notification("logs", "in%2F..%2Fout/a"))
	c := collector(t, cfg)
	out := newSink()
	poll(t, c, out)
	require.Equal(t, []string{"REQ0000000000001"}, out.requests())
	require.Equal(t, 2, f.Gets(), "in/a, and in/../out/a by its very name")
	require.Equal(t, 3, strings.Count(out.text(), `"operation":"record.damaged"`))
	require.Contains(t, strings.Join(out.damages(), "\n"), "outside the configured bucket and prefix")
	require.Contains(t, strings.Join(c.Report().Notes, "\n"), "s3://other-bucket/in/a")
	require.Empty(t, q.left())
}

func TestPoisonMessagesStayForTheQueuesRedrive(t *testing.T) {
	_, q, cfg := queueConfig(t)
	q.send("no json", `{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"logs"},"object":{"key":"%zz"}}}]}`, `{"hello":1}`, inSNS(inSNS(inSNS(testEvent))))
	c := collector(t, cfg)
	out := newSink()
	for range 3 {
		poll(t, c, out)
		q.show()
	}
	require.Equal(t, 4, len(q.left()))
	require.Equal(t, 4, len(out.envelopes), "each is told once")
}

func TestAnObjectThatCannotBeReadKeepsItsMessage(t *testing.T) {
	f, q, cfg := queueConfig(t)
	f.put("in/a", lines(0, 1, now))
	q.send(notification("logs", "in/a", "in/gone"))
	denied := true
	f.Misbehave(faultIf(&denied, 403, "AccessDenied", "in/a"))
	c := collector(t, cfg)
	out := newSink()
	err := c.Poll(context.Background(), out)
	require.ErrorContains(t, err, "is s3:GetObject granted?")
	require.Equal(t, 1, len(q.left()))
	denied = false
	q.show()
	poll(t, c, out)
	require.Equal(t, []string{"REQ0000000000000"}, out.requests())
	require.Equal(t, 1, strings.Count(out.text(), "vanished"), "what was done is not done again")
	require.Empty(t, q.left())
}

func TestAKillBeforeTheDeletionLosesAndDoublesNothing(t *testing.T) {
	f, q, cfg := queueConfig(t)
	f.put("in/a", lines(0, 700, now))
	body := notification("logs", "in/a")
	q.send(body)
	out := &killedSink{sink: newSink()}
	for kills := 1; len(q.left()) > 0; kills++ {
		out.left = 2 + kills
		err := collector(t, cfg).Poll(context.Background(), out)
		require.True(t, err == nil || errors.Is(err, errKilled), "%v", err)
		out.Discard()
		q.show()
	}
	require.Equal(t, 700, len(out.requests()))
	require.Equal(t, 700, len(out.envelopes))
}

func FuzzMessage(f *testing.F) {
	for _, seed := range []string{testEvent, notification("logs", "in/a", "b+c%2B"), inSNS(notification("l", "k")), eventBridge("logs", "in/e"), "{", `{"Records":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		notices, err := parseMessage(body)
		if err != nil && notices != nil {
			t.Fatal("both an error and objects")
		}
		for _, n := range notices {
			if n.bucket == "" || n.key == "" || n.size < 0 {
				t.Fatalf("%+v", n)
			}
		}
	})
}
