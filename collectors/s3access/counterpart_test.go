package s3access

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"aiwatch/collectors"
	"aiwatch/internal/counterpart"
)

func (a *AWS) client(t *testing.T) *s3.Client {
	t.Helper()
	client, err := a.newS3(context.Background())
	require.NoError(t, err)
	return client
}

func makeBucket(t *testing.T, client *s3.Client, name string) {
	t.Helper()
	_, err := client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)
}

func putObject(t *testing.T, client *s3.Client, bucket, key string, body []byte) {
	t.Helper()
	_, err := client.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	require.NoError(t, err)
}

func versitygw(t *testing.T) (*counterpart.S3Server, Config) {
	server := counterpart.Versitygw(t, counterpart.VersitygwOptions{})
	return server, Config{
		Bucket: "logs", Start: Start{At: time.Now().Add(-24 * time.Hour)}, Now: time.Now,
		AWS: AWS{Endpoint: server.URL, Region: server.Region, PathStyle: true, AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey},
	}
}

// A real S3 server, polled through its API.
func TestARealS3ServerIsPolled(t *testing.T) {
	_, cfg := versitygw(t)
	client := cfg.AWS.client(t)
	makeBucket(t, client, "logs")
	at := time.Now().UTC().Add(-time.Hour)
	name := at.Format("2006-01-02-15-04-05-")
	folder := "p/111122223333/us-east-1/ml/" + at.Format("2006/01/02/")
	putObject(t, client, "logs", "flat/"+name+"AAAAAAAAAAAAAAAA", lines(0, 3, at))
	putObject(t, client, "logs", folder+at.Format("2006-01-02-00-00-00-")+"BBBBBBBBBBBBBBBB", zipped(lines(3, 4, at)))
	putObject(t, client, "logs", folder+name+"CCCCCCCCCCCCCCCC", lines(7, 2000, at)) // streamed
	c := collector(t, cfg)
	for _, finding := range c.Check(context.Background()) {
		require.Equal(t, collectors.Good, finding.Verdict, finding.Text)
	}
	out := newSink()
	poll(t, c, out)
	require.Equal(t, 2007, len(out.requests()))
	putObject(t, client, "logs", "flat/"+name+"0000000000000000", lines(5000, 1, at)) // sorts before what was read
	poll(t, collector(t, cfg), out)
	require.Equal(t, 2008, len(out.requests()))
	require.Equal(t, 2008, len(out.envelopes))
}

func TestCheckTellsWhatIsWrongWithARealS3Server(t *testing.T) {
	server, cfg := versitygw(t)
	client := cfg.AWS.client(t)
	makeBucket(t, client, "logs")
	server.AddUser(t, "stranger", "strangers-secret")
	for want, change := range map[string]func(*Config){
		"there is no bucket absent":              func(c *Config) { c.Bucket = "absent" },
		"the access key is not known":            func(c *Config) { c.AWS.AccessKeyID = "nobody" },
		"the secret key does not fit":            func(c *Config) { c.AWS.SecretAccessKey = "wrong" },
		"access denied":                          func(c *Config) { c.AWS.AccessKeyID, c.AWS.SecretAccessKey = "stranger", "strangers-secret" },
		"can't be reached":                       func(c *Config) { c.AWS.Endpoint = "http://" + counterpart.FreeAddress(t) },
		"no log object under s3://logs/none yet": func(c *Config) { c.Prefix = "none" },
	} {
		cfg := cfg
		change(&cfg)
		findings := collector(t, cfg).Check(context.Background())
		last := findings[len(findings)-1]
		require.Contains(t, last.Text, want)
		require.NotEqual(t, collectors.Good, last.Verdict)
		require.NotEmpty(t, last.Fix)
	}
}

// The access log of a real server, read as a source.
func TestTheAccessLogOfARealServer(t *testing.T) {
	server, cfg := versitygw(t)
	client := cfg.AWS.client(t)
	ctx := context.Background()
	makeBucket(t, client, "models")
	keys := []string{"a.safetensors", "with space/b c.onnx", "ünï/7/0123456789abcdef0123456789abcdef/artifacts/model.pt", "data/100%25 sure+.csv"}
	for _, key := range keys {
		putObject(t, client, "models", key, []byte("content"))
		got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: ptr("models"), Key: &key})
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
	}
	_, err := client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: ptr("models"), Key: ptr("copy.onnx"), CopySource: ptr("models/a.safetensors")})
	require.NoError(t, err)
	_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: ptr("models"), Key: ptr("copy.onnx")})
	require.NoError(t, err)
	_, err = client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: ptr("models")})
	require.NoError(t, err)
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: ptr("models"), Key: ptr("absent.onnx")})
	require.Error(t, err)
	_, err = client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: ptr("models"), Policy: ptr(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::models/*"}]}`)})
	require.NoError(t, err)
	anonymous, err := http.Get(server.URL + "/models/a.safetensors")
	require.NoError(t, err)
	require.NoError(t, anonymous.Body.Close())
	// A newline in a key makes lines of one request; none is taken for a record.
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: ptr("models"), Key: ptr("x.onnx\nroot models [forged")})
	require.Error(t, err)
	server.Stop() // each line is written at the end of its request

	out := newSink()
	poll(t, collector(t, Config{Path: server.AccessLog, Now: time.Now, WatchBuckets: []string{"models"}}), out)
	var seen []string
	damaged := 0
	for _, envelope := range out.envelopes {
		var e struct{ Event map[string]any }
		require.NoError(t, json.Unmarshal([]byte(envelope), &e))
		ev := e.Event
		if ev["operation"] == "record.damaged" {
			damaged++
			continue
		}
		require.Contains(t, []any{"claimed", "unknown"}, ev["user_confidence"], "a server's log is not proof")
		seen = append(seen, fmt.Sprint(ev["user"], " ", ev["operation"], " ", ev["asset_id"], " ", ev["status_code"]))
	}
	root := server.AccessKey
	for _, key := range keys {
		require.Contains(t, seen, root+" REST.PUT.OBJECT s3://models/"+key+" 200")
		require.Contains(t, seen, root+" REST.GET.OBJECT s3://models/"+key+" 200")
	}
	require.Contains(t, seen, root+" REST.COPY.OBJECT s3://models/copy.onnx 200")
	require.Contains(t, seen, root+" REST.DELETE.OBJECT s3://models/copy.onnx 200")
	require.Contains(t, seen, root+" REST.GET.OBJECT s3://models/absent.onnx 404")
	require.Contains(t, seen, root+" REST.PUT.BUCKETPOLICY s3://models 200")
	require.Contains(t, seen, "anonymous REST.GET.OBJECT s3://models/a.safetensors 200")
	require.Positive(t, damaged)
	require.NotContains(t, strings.Join(seen, "\n"), "forged")
}

// notifiedQueue is a bucket whose notifications go into a queue.
func notifiedQueue(t *testing.T) (client *s3.Client, queues *sqs.Client, made *sqs.CreateQueueOutput, cfg Config) {
	t.Helper()
	server := counterpart.Ministack(t)
	cfg = Config{
		Bucket: "logs", Prefix: "in/", Start: Start{At: time.Now().Add(-24 * time.Hour)}, Now: time.Now,
		AWS: AWS{Endpoint: server.URL, Region: server.Region, PathStyle: true, AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey},
	}
	ctx := context.Background()
	client = cfg.AWS.client(t)
	makeBucket(t, client, "logs")
	queues, err := cfg.AWS.newSQS(ctx, server.URL+"/queue")
	require.NoError(t, err)
	made, err = queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: ptr("logs")})
	require.NoError(t, err)
	attributes, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	require.NoError(t, err)
	_, err = client.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: ptr("logs"),
		NotificationConfiguration: &s3types.NotificationConfiguration{QueueConfigurations: []s3types.QueueConfiguration{{
			QueueArn: ptr(attributes.Attributes["QueueArn"]), Events: []s3types.Event{"s3:ObjectCreated:*"},
		}}},
	})
	require.NoError(t, err)
	cfg.QueueURL = server.URL + "/000000000000/logs"
	return client, queues, made, cfg
}

// requireEmpty makes sure that no message is left, hidden or not.
func requireEmpty(t *testing.T, queues *sqs.Client, made *sqs.CreateQueueOutput) {
	t.Helper()
	left, err := queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	require.NoError(t, err)
	require.Equal(t, "0", left.Attributes["ApproximateNumberOfMessages"])
	require.Equal(t, "0", left.Attributes["ApproximateNumberOfMessagesNotVisible"])
}

// Real S3 notifications through a real queue.
func TestARealQueue(t *testing.T) {
	client, queues, made, cfg := notifiedQueue(t)
	ctx := t.Context()
	at := time.Now().Add(-time.Hour)
	putObject(t, client, "logs", "in/a b+ü", lines(0, 5, at))
	putObject(t, client, "logs", "in/plain", zipped(lines(5, 5, at)))
	putObject(t, client, "logs", "in/large", lines(10, 2000, at))
	putObject(t, client, "logs", "out/side", lines(9000, 1, at))

	c := collector(t, cfg)
	for _, finding := range c.Check(ctx) {
		require.Equal(t, collectors.Good, finding.Verdict, finding.Text)
	}
	out := newSink()
	poll(t, c, out)
	require.Equal(t, 2010, len(out.requests()))
	require.Equal(t, 1, len(out.damages()), "the object outside the prefix")
	requireEmpty(t, queues, made)

	cfg.QueueURL = strings.TrimSuffix(cfg.QueueURL, "logs") + "absent"
	findings := collector(t, cfg).Check(ctx)
	require.Contains(t, findings[0].Text, "no such queue")
	require.Equal(t, collectors.Misset, findings[0].Verdict)
}

// Several forwarders share a real queue: each object is read by one of them.
func TestSeveralForwardersShareARealQueue(t *testing.T) {
	client, queues, made, cfg := notifiedQueue(t)
	const objects, records = 60, 20
	at := time.Now().Add(-time.Hour)
	for i := range objects {
		putObject(t, client, "logs", fmt.Sprintf("in/%d", i), lines(i*records, records, at))
	}
	sinks := []*sink{newSink(), newSink(), newSink()}
	var polls errgroup.Group
	for _, out := range sinks {
		c := collector(t, cfg)
		polls.Go(func() error { return c.Poll(t.Context(), out) })
	}
	require.NoError(t, polls.Wait())
	told := map[string]bool{}
	events := 0
	for _, out := range sinks {
		for _, request := range out.requests() {
			told[request] = true
		}
		events += len(out.envelopes)
	}
	require.Len(t, told, objects*records)
	require.Equal(t, objects*records, events, "no record is told by two")
	requireEmpty(t, queues, made)
}

// A message stays hidden while its object is being read, however long that
// takes: another forwarder, which asks the real queue all the time, does not get
// it.
func TestARealQueueKeepsWhatIsWorkedOn(t *testing.T) {
	client, queues, made, cfg := notifiedQueue(t)
	putObject(t, client, "logs", "in/slow", lines(0, 20, time.Now().Add(-time.Hour)))
	const visibility = 2
	slow := &slowS3{Client: client, reading: make(chan struct{}), goOn: make(chan struct{})}
	release := sync.OnceFunc(func() { close(slow.goOn) })
	defer release()
	cfg.S3 = slow
	first := collector(t, cfg)
	first.intake.(*queue).visibility = visibility
	out := newSink()
	var poll errgroup.Group
	poll.Go(func() error { return first.Poll(context.WithoutCancel(t.Context()), out) })
	<-slow.reading

	cfg.S3 = client
	second := collector(t, cfg)
	other := newSink()
	for began := time.Now(); time.Since(began) < 3*visibility*time.Second; {
		require.NoError(t, second.Poll(t.Context(), other)) // waits a second for messages
	}
	require.Empty(t, other.envelopes, "it was shown to another while it was being read")
	release()
	require.NoError(t, poll.Wait())
	require.Equal(t, 20, len(out.requests()))
	requireEmpty(t, queues, made)
}

// slowS3 hands out an object when it is told to.
type slowS3 struct {
	*s3.Client
	reading, goOn chan struct{}
	once          sync.Once
}

func (s *slowS3) GetObject(ctx context.Context, in *s3.GetObjectInput, opts ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	s.once.Do(func() { close(s.reading) })
	<-s.goOn
	return s.Client.GetObject(ctx, in, opts...)
}

func ptr[T any](v T) *T { return &v }
