package counterpart_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
)

func s3Client(url, region, accessKey, secretKey string) *s3.Client {
	return s3.New(s3.Options{
		Region: region, BaseEndpoint: &url, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	})
}

func TestVersitygw(t *testing.T) {
	t.Parallel()
	events := make(chan string, 100)
	webhook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		events <- string(body)
	}))
	t.Cleanup(webhook.Close)
	server := counterpart.Versitygw(t, counterpart.VersitygwOptions{EventWebhook: webhook.URL})
	client := s3Client(server.URL, server.Region, server.AccessKey, server.SecretKey)
	bucket, key := aws.String("models"), aws.String("fraud/model.safetensors")

	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	require.NoError(t, err)
	_, err = client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	require.NoError(t, err)
	for _, weights := range []string{"first", "second"} {
		_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(weights)})
		require.NoError(t, err)
	}

	got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key})
	require.NoError(t, err)
	body, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.Equal(t, "second", string(body))

	listed, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket})
	require.NoError(t, err)
	require.Len(t, listed.Contents, 1)
	require.Equal(t, *key, *listed.Contents[0].Key)
	versions, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket})
	require.NoError(t, err)
	require.Len(t, versions.Versions, 2)

	require.Contains(t, <-events, "s3:TestEvent")
	require.Contains(t, <-events, "s3:ObjectCreated:Put")

	server.AddUser(t, "eve", "eve-secret-key")
	_, err = s3Client(server.URL, server.Region, "eve", "eve-secret-key").GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key})
	require.ErrorContains(t, err, "AccessDenied")

	require.EventuallyWithT(t, func(c *assert.CollectT) {
		log, err := os.ReadFile(server.AccessLog)
		require.NoError(c, err)
		require.Contains(c, string(log), "fraud/model.safetensors")
		require.Contains(c, string(log), "eve")
	}, 10*time.Second, 20*time.Millisecond)

	server.Stop()
	_, err = http.Get(server.URL + "/healthz")
	require.Error(t, err)
	server.Start()
	_, err = client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key})
	require.NoError(t, err, "the data outlives a restart")
}

func TestMinistack(t *testing.T) {
	t.Parallel()
	server := counterpart.Ministack(t)
	objects := s3Client(server.URL, server.Region, server.AccessKey, server.SecretKey)
	queues := sqs.New(sqs.Options{
		Region: server.Region, BaseEndpoint: &server.URL,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})

	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("logs")})
	require.NoError(t, err)
	attributes, err := queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
	})
	require.NoError(t, err)
	_, err = objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("logs")})
	require.NoError(t, err)
	_, err = objects.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String("logs"),
		NotificationConfiguration: &s3types.NotificationConfiguration{QueueConfigurations: []s3types.QueueConfiguration{{
			QueueArn: aws.String(attributes.Attributes["QueueArn"]), Events: []s3types.Event{"s3:ObjectCreated:*"},
		}}},
	})
	require.NoError(t, err)
	_, err = objects.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("logs"), Key: aws.String("AWSLogs/a b+ü.gz"), Body: strings.NewReader("x"),
	})
	require.NoError(t, err)

	receive := func() string {
		out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 1, WaitTimeSeconds: 10,
		})
		require.NoError(t, err)
		require.Len(t, out.Messages, 1)
		_, err = queues.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{
			QueueUrl: queue.QueueUrl, ReceiptHandle: out.Messages[0].ReceiptHandle,
		})
		require.NoError(t, err)
		return *out.Messages[0].Body
	}
	require.Contains(t, receive(), "s3:TestEvent")
	require.Contains(t, receive(), `"AWSLogs/a+b%2B%C3%BC.gz"`)
}

func TestOTelHEC(t *testing.T) {
	t.Parallel()
	receiver := counterpart.OTelHEC(t)

	var body bytes.Buffer
	compressor := gzip.NewWriter(&body)
	_, err := io.WriteString(compressor, `{"time":1795000000.125,"host":"h","source":"s","sourcetype":"st","index":"i","event":{"n":1,"a":["x"]},"fields":{"f":"v"}}`+
		`{"event":"second"}`)
	require.NoError(t, err)
	require.NoError(t, compressor.Close())
	const channel = "6f1e2d3c-1111-4222-8333-444455556666"
	post := func(path, encoding string, body io.Reader) string {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, receiver.URL+path, body)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Splunk any")
		request.Header.Set("X-Splunk-Request-Channel", channel)
		if encoding != "" {
			request.Header.Set("Content-Encoding", encoding)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, string(answer))
		return string(answer)
	}
	require.JSONEq(t, `{"text":"Success","code":0,"ackId":1}`, post("/services/collector/event", "gzip", &body))
	require.JSONEq(t, `{"acks":{"1":true}}`, post("/services/collector/ack", "", strings.NewReader(`{"acks":[1]}`)))

	events := receiver.Events(t)
	require.Len(t, events, 2)
	require.Equal(t, counterpart.HECEvent{
		Time: "1795000000.125", Host: "h", Source: "s", Sourcetype: "st", Index: "i",
		Event:  map[string]any{"n": 1.0, "a": []any{"x"}},
		Fields: map[string]any{"f": "v"},
	}, events[0])
	require.Equal(t, "second", events[1].Event)
	require.Equal(t, counterpart.HECCounts{Events: 2, Requests: 1}, receiver.Counts(t))
}

func TestOTelSend(t *testing.T) {
	t.Parallel()
	receiver := counterpart.OTelHEC(t)
	events := filepath.Join(t.TempDir(), "events.ndjson")
	require.NoError(t, os.WriteFile(events, []byte(
		`{"time":1795000000.125,"host":"h","source":"s","sourcetype":"st","index":"i","event":{"n":1}}
{"time":1795000001,"host":"h","source":"s2","sourcetype":"st","index":"i","event":{"n":2}}
`), 0o600))
	for _, prebuilt := range []bool{false, true} {
		result := counterpart.OTelSend(t, counterpart.OTelSendOptions{
			URL: receiver.URL + "/services/collector", Token: "any", Events: events, Repeat: 5, Batch: 1, Prebuilt: prebuilt,
		})
		require.Equal(t, 10, result.Events)
		require.Positive(t, result.Seconds)
		require.Positive(t, result.MaxRSSMiB)
	}
	arrived := receiver.Events(t)
	require.Len(t, arrived, 20)
	require.Contains(t, arrived, counterpart.HECEvent{
		Time: "1795000000.125", Host: "h", Source: "s", Sourcetype: "st", Index: "i",
		Event: map[string]any{"n": 1.0},
	})
}

// mlflowServers are both servers, for tests that must hold on either.
var mlflowServers = []struct {
	name  string
	start func(testing.TB, counterpart.MLflowOptions) *counterpart.MLflowServer
}{
	{"2", counterpart.MLflow2},
	{"3", counterpart.MLflow3},
}

func mlflowCall(t *testing.T, method, url, body, user, password string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(answer)
}

func TestMLflow(t *testing.T) {
	t.Parallel()
	for _, server := range mlflowServers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			s := server.start(t, counterpart.MLflowOptions{ServeArtifacts: true})
			status, version := mlflowCall(t, http.MethodGet, s.URL+"/version", "", "", "")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, s.Version, version)
			status, answer := mlflowCall(t, http.MethodPost, s.URL+"/api/2.0/mlflow/registered-models/create", `{"name":"fraud"}`, "", "")
			require.Equal(t, http.StatusOK, status, answer)
			require.Contains(t, answer, `"fraud"`)

			out := s.Python(t, `
import mlflow
with mlflow.start_run() as run:
    mlflow.log_text("weights", "model/weights.txt")
print(run.info.artifact_uri)
print([m.name for m in mlflow.MlflowClient().search_registered_models()])
`)
			require.Contains(t, out, "mlflow-artifacts:/0/")
			require.Contains(t, out, "['fraud']")
			found, err := filepath.Glob(filepath.Join(s.Artifacts, "0", "*", "artifacts", "model", "weights.txt"))
			require.NoError(t, err)
			require.Len(t, found, 1)
			requireLogged(t, s.AccessLog, "PUT /api/2.0/mlflow-artifacts/artifacts/0/")
		})
	}
}

func TestMLflowBasicAuth(t *testing.T) {
	t.Parallel()
	for _, server := range mlflowServers {
		for _, gunicorn := range []bool{false, true} {
			if server.name == "2" && !gunicorn {
				continue // MLflow 2 knows gunicorn only
			}
			t.Run(fmt.Sprintf("%s/gunicorn=%t", server.name, gunicorn), func(t *testing.T) {
				t.Parallel()
				s := server.start(t, counterpart.MLflowOptions{BasicAuth: true, ServeArtifacts: true, Gunicorn: gunicorn})
				search := s.URL + "/api/2.0/mlflow/registered-models/search"
				status, _ := mlflowCall(t, http.MethodGet, search, "", "", "")
				require.Equal(t, http.StatusUnauthorized, status)
				status, answer := mlflowCall(t, http.MethodGet, search, "", s.Username, s.Password)
				require.Equal(t, http.StatusOK, status, answer)
				status, answer = mlflowCall(t, http.MethodPost, s.URL+"/api/2.0/mlflow/users/create",
					`{"username":"eve","password":"eve-has-a-password"}`, s.Username, s.Password)
				require.Equal(t, http.StatusOK, status, answer)
				s.Python(t, `import mlflow; mlflow.MlflowClient().create_registered_model("eves")`,
					"MLFLOW_TRACKING_USERNAME=eve", "MLFLOW_TRACKING_PASSWORD=eve-has-a-password")
				if gunicorn {
					requireLogged(t, s.AccessLog, " - eve [")
				}
			})
		}
	}
}

func TestMLflowWorkspacesAndWebhooks(t *testing.T) {
	t.Parallel()
	s := counterpart.MLflow3(t, counterpart.MLflowOptions{Workspaces: true, Webhooks: true})
	status, answer := mlflowCall(t, http.MethodGet, s.URL+"/api/3.0/mlflow/workspaces", "", "", "")
	require.Equal(t, http.StatusOK, status, answer)
	require.Contains(t, answer, `"default"`)

	delivered := make(chan http.Header, 1)
	webhook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		delivered <- r.Header
	}))
	t.Cleanup(webhook.Close)
	status, answer = mlflowCall(t, http.MethodPost, s.URL+"/api/2.0/mlflow/webhooks",
		`{"name":"w","url":"`+webhook.URL+`","secret":"s3cret","events":[{"entity":"MODEL_VERSION_ALIAS","action":"CREATED"}]}`, "", "")
	require.Equal(t, http.StatusOK, status, answer)
	var created struct {
		Webhook struct {
			ID string `json:"webhook_id"`
		} `json:"webhook"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &created))
	status, answer = mlflowCall(t, http.MethodPost, s.URL+"/api/2.0/mlflow/webhooks/"+created.Webhook.ID+"/test", `{}`, "", "")
	require.Equal(t, http.StatusOK, status, answer)
	require.NotEmpty(t, (<-delivered).Get("X-MLflow-Signature"))

	s.Stop()
	s.Start()
	status, _ = mlflowCall(t, http.MethodGet, s.URL+"/health", "", "", "")
	require.Equal(t, http.StatusOK, status)
}

func requireLogged(t *testing.T, file, text string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		log, err := os.ReadFile(file)
		require.NoError(c, err)
		require.Contains(c, string(log), text)
	}, 10*time.Second, 20*time.Millisecond)
}

func TestGitHTTP(t *testing.T) {
	t.Parallel()
	server := counterpart.GitHTTP(t, map[string]string{"eve": "eve-password"})
	url := server.NewRepository(t, "fraud")
	_, err := counterpart.TryGit(t, t.TempDir(), "clone", "--quiet", url, "nobody")
	require.Error(t, err, "without a password")

	work := filepath.Join(t.TempDir(), "work")
	counterpart.Git(t, filepath.Dir(work), "clone", "--quiet", server.As("dev", url), work)
	require.NoError(t, os.WriteFile(filepath.Join(work, "config.json"), []byte("{}"), 0o600))
	counterpart.Git(t, work, "add", ".")
	counterpart.Git(t, work, "commit", "--quiet", "--message", "first")
	counterpart.Git(t, work, "push", "--quiet", "origin", "HEAD:main")

	other := filepath.Join(t.TempDir(), "other")
	counterpart.Git(t, filepath.Dir(other), "clone", "--quiet", server.As("eve", url), other)
	require.Equal(t, counterpart.Git(t, work, "rev-parse", "HEAD"), counterpart.Git(t, other, "rev-parse", "HEAD"))
	requireLogged(t, server.AccessLog, `"GET /fraud.git/info/refs?service=git-receive-pack HTTP/1.1" 401 `)
	requireLogged(t, server.AccessLog, `127.0.0.1 - dev [`)
	requireLogged(t, server.AccessLog, `"POST /fraud.git/git-receive-pack HTTP/1.1" 200 `)
	requireLogged(t, server.AccessLog, `127.0.0.1 - eve [`)
}

func TestGitLFS(t *testing.T) {
	t.Parallel()
	counterpart.GitLFS(t)
	server := counterpart.GitHTTP(t, nil)
	url := server.As("dev", server.NewRepository(t, "weights"))
	work := filepath.Join(t.TempDir(), "work")
	counterpart.Git(t, filepath.Dir(work), "clone", "--quiet", url, work)
	counterpart.Git(t, work, "lfs", "install", "--local")
	counterpart.Git(t, work, "lfs", "track", "*.bin")
	weights := bytes.Repeat([]byte("weights "), 1<<16)
	require.NoError(t, os.WriteFile(filepath.Join(work, "model.bin"), weights, 0o600))
	counterpart.Git(t, work, "add", ".")
	counterpart.Git(t, work, "commit", "--quiet", "--message", "weights")
	counterpart.Git(t, work, "push", "--quiet", "origin", "HEAD:main")
	require.Contains(t, counterpart.Git(t, work, "show", "HEAD:model.bin"), "version https://git-lfs.github.com/spec/v1")
	requireLogged(t, server.AccessLog, "PUT /weights.git/info/lfs/objects/")

	other := filepath.Join(t.TempDir(), "other")
	counterpart.Git(t, filepath.Dir(other), "clone", "--quiet", url, other)
	counterpart.Git(t, other, "lfs", "install", "--local")
	counterpart.Git(t, other, "lfs", "pull")
	got, err := os.ReadFile(filepath.Join(other, "model.bin"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(weights, got))
}

// TestAbsent proves that an absent counterpart is never passed over in a CI.
func TestDashboards(t *testing.T) {
	t.Parallel()
	d := counterpart.Dashboards(t)
	command := exec.CommandContext(t.Context(), d.Node, "-e", `
const { chromium } = require('playwright-core');
(async () => {
	const browser = await chromium.launch({ executablePath: process.argv[1], args: ['--disable-gpu', '--no-sandbox'] });
	const page = await browser.newPage();
	await page.setContent('<p>drawn</p>');
	console.log(await page.textContent('p'), require('@splunk/dashboard-core/package.json').version);
	await browser.close();
})();`, d.Chromium)
	command.Dir = d.Dir
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "drawn 29.6.0\n", string(out))
}

func TestAbsent(t *testing.T) {
	for _, c := range []struct {
		name, ci, want string
	}{
		{"elsewhere", "", "skipped"},
		{"CI", "true", "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("CI", c.ci)
			t.Setenv("AIWATCH_TOOLS", t.TempDir())
			seen := &outcome{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				counterpart.Ministack(seen)
			}()
			<-done
			if testing.Short() {
				require.Equal(t, "skipped", seen.how)
				return
			}
			require.Equal(t, c.want, seen.how)
			require.Contains(t, seen.message, "counterpart ministack absent: ")
		})
	}
}

// outcome is a test that notes how it would have ended.
type outcome struct {
	testing.TB
	how, message string
}

func (o *outcome) Fatal(args ...any) { o.end("failed", fmt.Sprint(args...)) }
func (o *outcome) Skip(args ...any)  { o.end("skipped", fmt.Sprint(args...)) }

func (o *outcome) Skipf(format string, args ...any) { o.end("skipped", fmt.Sprintf(format, args...)) }

func (o *outcome) end(how, message string) {
	o.how, o.message = how, message
	runtime.Goexit()
}
