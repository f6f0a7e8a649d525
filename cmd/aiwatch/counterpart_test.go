package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/event"
)

// TestOTelReceiver delivers whole runs to a HEC receiver that none of us wrote.
func TestOTelReceiver(t *testing.T) {
	whole(t)
	hec := counterpart.OTelHEC(t)
	logs := newLogFolder(t)
	logs.add(t, 3000)
	s := newSetup(t, logs.input(), hecStanza(hec.URL))
	s.deliverOnce(t)

	// It is away for a while: what is collected then waits.
	before := hec.Events(t)
	hec.Stop()
	logs.add(t, 500)
	code, log := s.once(t, "--max-wait", "100ms")
	require.Equal(t, exitUnavailable, code, tail(log))
	hec.Start()
	s.deliverOnce(t)

	arrived := map[string]int{}
	var numbers []int64
	for _, e := range slices.Concat(before, hec.Events(t)) {
		fields, ok := e.Event.(map[string]any)
		require.True(t, ok, "an event is an object: %v", e.Event)
		require.Equal(t, "aiwatch_s3://prod", e.Source)
		n, err := strconv.ParseInt(fmt.Sprint(fields["seq"]), 10, 64)
		require.NoError(t, err)
		numbers = append(numbers, n)
		arrived[fields["event_id"].(string)]++
	}
	for n, id := range logs.ids {
		require.Equal(t, 1, arrived[id.String()], "event %d", n)
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		require.EqualValues(t, i+1, n, "numbers without a hole")
	}
}

// objectStore returns a client of a server that answers to these credentials.
func objectStore(endpoint, region, accessKey, secretKey string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	})
}

// notifiedBucket is a log bucket that tells a queue of each new object.
type notifiedBucket struct {
	server *counterpart.AWS
	s3     *s3.Client
	sqs    *sqs.Client
	queue  string // its URL
	ids    []event.ID
	sent   int // messages: one for each object, and S3's test event
}

func newNotifiedBucket(t *testing.T) *notifiedBucket {
	t.Helper()
	server := counterpart.Ministack(t)
	b := &notifiedBucket{server: server, s3: objectStore(server.URL, server.Region, server.AccessKey, server.SecretKey)}
	b.sqs = sqs.New(sqs.Options{
		BaseEndpoint: &server.URL, Region: server.Region,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	_, err := b.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("logs")})
	require.NoError(t, err)
	_, err = b.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("new-logs")})
	require.NoError(t, err)
	b.queue = server.URL + "/000000000000/new-logs"
	_, err = b.s3.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String("logs"),
		NotificationConfiguration: &s3types.NotificationConfiguration{QueueConfigurations: []s3types.QueueConfiguration{{
			QueueArn: aws.String(b.attribute(t, "QueueArn")), Events: []s3types.Event{"s3:ObjectCreated:*"},
		}}},
	})
	require.NoError(t, err)
	b.sent = 1
	eventually(t, "the test event is in the queue", func() bool { return b.count(t, "ApproximateNumberOfMessages") == 1 })
	return b
}

func (b *notifiedBucket) attribute(t *testing.T, name string) string {
	t.Helper()
	got, err := b.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &b.queue, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeName(name)},
	})
	require.NoError(t, err)
	return got.Attributes[name]
}

func (b *notifiedBucket) count(t *testing.T, attribute string) int {
	t.Helper()
	n, err := strconv.Atoi(b.attribute(t, attribute))
	require.NoError(t, err)
	return n
}

// add puts log objects of 100 records each.
func (b *notifiedBucket) add(t *testing.T, objects int) {
	t.Helper()
	for range objects {
		text, ids := accessLines(len(b.ids), 100, time.Now().Add(-time.Hour))
		key := fmt.Sprintf("prod/%s-%016X", time.Now().UTC().Format("2006-01-02-15-04-05"), len(b.ids))
		_, err := b.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("logs"), Key: &key, Body: bytes.NewReader(text)})
		require.NoError(t, err)
		b.ids = append(b.ids, ids...)
		b.sent++
	}
}

func (b *notifiedBucket) input() string {
	return fmt.Sprintf(`
[aiwatch_s3://prod]
queue_url = %s
bucket = logs
prefix = prod/
start = -1d
endpoint = %s
region = %s
path_style = true
access_key_id = %s
secret_access_key_env = S3_SECRET
`, b.queue, b.server.URL, b.server.Region, b.server.AccessKey)
}

// TestNotifications: real S3 notifications in a real queue. A message is there
// until its records are durable, and the test event is no record.
func TestNotifications(t *testing.T) {
	whole(t)
	b := newNotifiedBucket(t)
	b.add(t, 8)
	hec := startReceiver(t, false, nil)
	s := newSetup(t, b.input(), hecStanza(hec.URL()))
	socket, points := listenTrace(t)
	p := s.startIn(t, []string{traceEnv + "=" + socket, "S3_SECRET=" + b.server.SecretKey}, "run", "--once")

	// The first commit is held: what is read from then on is not durable.
	held := <-points
	require.Equal(t, "committed", held.name)
	eventually(t, "all messages are received", func() bool { return b.count(t, "ApproximateNumberOfMessagesNotVisible") == b.sent })
	require.Zero(t, b.count(t, "ApproximateNumberOfMessages"))
	held.goOn()
	for !p.hasEnded() {
		select {
		case held := <-points:
			held.goOn()
		case <-p.exited:
		}
	}
	require.Equal(t, exitDone, p.end(t), tail(p.log.String()))
	require.Zero(t, hec.requireAll(t, b.ids))
	require.Empty(t, hec.told.of("record.damaged"), "the test event is no record")
	require.Zero(t, b.count(t, "ApproximateNumberOfMessagesNotVisible"))
	require.Zero(t, b.count(t, "ApproximateNumberOfMessages"))
}

// TestSharedQueue: two forwarders with states of their own share one queue.
func TestSharedQueue(t *testing.T) {
	whole(t)
	b := newNotifiedBucket(t)
	hec := startReceiver(t, false, nil)
	var forwarders []*process
	for range 2 {
		s := newSetup(t, b.input(), hecStanza(hec.URL()))
		forwarders = append(forwarders, s.startIn(t, []string{"S3_SECRET=" + b.server.SecretKey}, "run"))
	}
	b.add(t, 40)
	eventually(t, "all events arrive", func() bool { return hec.missing(b.ids) == 0 })
	for _, p := range forwarders {
		p.finish(t)
	}
	hec.requireAllFrom(t, b.ids, 2)
	require.Zero(t, b.count(t, "ApproximateNumberOfMessages"))
}

// TestVersitygwAccessLog: the log that a real S3 server writes of itself, as a
// local file that grows.
func TestVersitygwAccessLog(t *testing.T) {
	whole(t)
	server := counterpart.Versitygw(t, counterpart.VersitygwOptions{})
	server.AddUser(t, "mallory", "mallorys-secret")
	hec := startReceiver(t, false, nil)
	s := newSetup(t, fmt.Sprintf("[aiwatch_s3://gateway]\npath = %s\nformat = versitygw\ninterval = 1\n", server.AccessLog), hecStanza(hec.URL()))
	client := objectStore(server.URL, server.Region, server.AccessKey, server.SecretKey)
	mallory := objectStore(server.URL, server.Region, "mallory", "mallorys-secret")
	bucket := aws.String("models")
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	require.NoError(t, err)

	p := s.start(t, "run")
	const keys = 50
	for n := range keys {
		key := fmt.Sprintf("vision/ä %d/model.safetensors", n)
		_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader([]byte("weights"))})
		require.NoError(t, err)
		_, err = mallory.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key})
		require.Error(t, err, "mallory may not read it")
	}
	eventually(t, "every request arrives", func() bool { return hec.counter.Stats().Distinct >= 2*keys })
	p.finish(t)

	// collect reads the same log and tells what the events say.
	c := startProgram(t, nil, "collect", "--conf", s.conf, "gateway")
	require.Equal(t, exitDone, c.end(t), c.log.String())
	seen := map[string]int{}
	for lines := json.NewDecoder(bytes.NewReader([]byte(c.out.String()))); lines.More(); {
		var envelope struct{ Event map[string]any }
		require.NoError(t, lines.Decode(&envelope))
		e := envelope.Event
		require.Positive(t, hec.counter.Times(e["event_id"].(string)), "%v", e)
		seen[fmt.Sprint(e["user"], " ", e["operation"], " ", e["asset_id"], " ", e["status_code"])]++
	}
	for n := range keys {
		id := fmt.Sprintf("s3://models/vision/ä %d/model.safetensors", n)
		require.Equal(t, 1, seen[server.AccessKey+" REST.PUT.OBJECT "+id+" 200"], "%v", seen)
		require.Equal(t, 1, seen["mallory REST.GET.OBJECT "+id+" 403"], "%v", seen)
	}
	stats := hec.counter.Stats()
	require.Zero(t, stats.SeqMissing+stats.SeqDoubles+stats.Conflicts)
}
