//go:build linux

package packaging_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/addontest"
	"aiwatch/internal/counterpart"
	"aiwatch/internal/event"
	"aiwatch/internal/mlflowsim"
	"aiwatch/internal/splunkdsim"
)

// install installs the built add-on in a Splunk that is none.
func install(t *testing.T) (*splunkdsim.Instance, *splunkdsim.REST) {
	t.Helper()
	rest := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	return splunkdsim.Install(t, rest, archive(t)), rest
}

// record is one line of an S3 server access log.
func record(n int) string {
	at := time.Date(2026, 11, 6, 0, 0, n, 0, time.UTC)
	return fmt.Sprintf("owner models [%s] 8.8.8.8 arn:aws:iam::123456789012:user/eve REQ%08d REST.GET.OBJECT fraud/model.safetensors "+
		"\"GET /models/fraud/model.safetensors HTTP/1.1\" 200 - 113 113 7 6 \"-\" \"aws-cli\" - hostid SigV4 ECDHE AuthHeader models.s3.amazonaws.com TLSv1.2 - -\n",
		at.Format("02/Jan/2006:15:04:05 -0700"), n)
}

// logFile writes n records where the inputs' user can read them.
func logFile(t *testing.T, i *splunkdsim.Instance, n int) string {
	t.Helper()
	path := filepath.Join(i.Home, "access.log")
	appendTo(t, path, 0, n)
	return path
}

func appendTo(t *testing.T, path string, from, to int) {
	t.Helper()
	var b bytes.Buffer
	for n := from; n < to; n++ {
		b.WriteString(record(n))
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = f.Write(b.Bytes())
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func isAccess(e splunkdsim.Event) bool { return e.Sourcetype == event.SourcetypeS3 }

// requests returns which requests the events tell of, each as often as it came.
func requests(t *testing.T, events []splunkdsim.Event) []string {
	t.Helper()
	var ids []string
	for _, e := range events {
		if !isAccess(e) {
			continue
		}
		var data struct {
			RequestID string `json:"request_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(e.Data), &data))
		ids = append(ids, data.RequestID)
	}
	return ids
}

func wanted(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("REQ%08d", i))
	}
	return ids
}

// inSplunk holds events of a stream against the add-on's search-time knowledge.
func inSplunk(t *testing.T, events []splunkdsim.Event) {
	t.Helper()
	splunk := addontest.New(t)
	for _, e := range events {
		// splunkd gives an event without a host that of the stanza.
		envelope, err := json.Marshal(map[string]any{
			"time": json.Number(e.Time), "host": cmp.Or(e.Host, "hf01"), "source": e.Source, "sourcetype": e.Sourcetype, "event": json.RawMessage(e.Data),
		})
		require.NoError(t, err)
		splunk.Add(envelope)
	}
	require.NotEmpty(t, splunk.Check())
}

func TestSchemesOfTheArchive(t *testing.T) {
	i, _ := install(t)
	schemes := i.Schemes()
	require.ElementsMatch(t, []string{"aiwatch_git", "aiwatch_mlflow", "aiwatch_s3"}, schemes)
	for _, scheme := range schemes {
		require.Contains(t, string(i.Scheme(scheme)), "<use_external_validation>true</use_external_validation>")
	}
}

func TestValidationOfTheArchive(t *testing.T) {
	i, rest := install(t)
	log := logFile(t, i, 1)
	require.Empty(t, i.Validate("aiwatch_s3", "prod", map[string]string{"path": log, "interval": "300"}))
	require.Contains(t, i.Validate("aiwatch_s3", "prod", map[string]string{"path": log + ".absent"}), "absent")
	require.Contains(t, i.Validate("aiwatch_s3", "prod", map[string]string{"path": log, "foramt": "auto"}), "format")

	// The secret comes from splunkd, whose certificate is its own authority's.
	params := map[string]string{
		"bucket": "logs-b", "endpoint": "http://127.0.0.1:1", "region": "us-east-1", "timeout": "1s",
		"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key_credential": "aws",
	}
	require.Contains(t, i.Validate("aiwatch_s3", "prod", params), "no such entry")
	rest.Put("aiwatch", "aws", "the-aws-secret")
	message := i.Validate("aiwatch_s3", "prod", params)
	require.NotEmpty(t, message)
	require.NotContains(t, message, "no such entry")
	require.NotContains(t, message, "the-aws-secret")
}

// TestInputOfTheArchive: an input stays, sends what comes, ends when it is told
// to, and the next run goes on.
func TestInputOfTheArchive(t *testing.T) {
	i, _ := install(t)
	log := logFile(t, i, 5)
	params := map[string]string{"path": log, "interval": "1"}

	first := i.Start("aiwatch_s3", "prod", params)
	first.WaitFor(5, isAccess)
	appendTo(t, log, 5, 8)
	first.WaitFor(8, isAccess)
	require.False(t, first.Terminate(), "SIGTERM is enough")
	whole, code := first.Wait()
	require.True(t, whole)
	require.Zero(t, code, first.Log())
	require.Equal(t, wanted(8), requests(t, first.Events()))
	for _, e := range first.Events() {
		require.Equal(t, "aiwatch_s3://prod", e.Source)
		require.Empty(t, e.Index, "splunkd knows the index of the stanza")
		if isAccess(e) {
			seconds, err := strconv.ParseFloat(e.Time, 64)
			require.NoError(t, err)
			require.Equal(t, 2026, time.Unix(int64(seconds), 0).UTC().Year())
		}
	}

	inSplunk(t, first.Events())

	appendTo(t, log, 8, 10)
	second := i.Start("aiwatch_s3", "prod", params)
	second.WaitFor(2, isAccess)
	require.False(t, second.Terminate())
	require.Equal(t, wanted(10)[8:], requests(t, second.Events()))

	// Another input of the scheme has a state of its own.
	other := i.Start("aiwatch_s3", "PROD", params)
	other.WaitFor(10, isAccess)
	require.False(t, other.Terminate())
}

// TestCron: splunkd starts the input at the times of a cron expression alone,
// each start is one pass that ends by itself, and tells what is new.
func TestCron(t *testing.T) {
	i, _ := install(t)
	log := logFile(t, i, 3)
	at := func(minute int) time.Time { return time.Date(2026, 11, 6, 12, minute, 0, 0, time.UTC) }
	s := i.Schedule(at(1), "aiwatch_s3", "prod", "*/5 * * * *", map[string]string{"path": log})
	require.Empty(t, s.Runs, "not with splunkd")
	require.Nil(t, s.At(at(4)))
	told := 0
	for _, minute := range []int{5, 10, 15} {
		in := s.At(at(minute))
		require.NotNil(t, in, minute)
		whole, code := in.Wait()
		require.True(t, whole)
		require.Zero(t, code, in.Log())
		require.Equal(t, wanted(told + 3)[told:], requests(t, in.Events()))
		require.Nil(t, s.At(at(minute+1)), "it ends and is not started anew")
		told += 3
		appendTo(t, log, told, told+3)
	}
}

// TestInterval: with seconds as interval one process stays, is not started a
// second time beside itself, and is started anew when it has died.
func TestInterval(t *testing.T) {
	i, _ := install(t)
	log := logFile(t, i, 3)
	now := time.Date(2026, 11, 6, 12, 0, 0, 0, time.UTC)
	s := i.Schedule(now, "aiwatch_s3", "prod", "1", map[string]string{"path": log})
	require.Len(t, s.Runs, 1, "with splunkd")
	s.Runs[0].WaitFor(3, isAccess)
	require.Nil(t, s.At(now.Add(time.Hour)), "it stays")
	appendTo(t, log, 3, 5)
	s.Runs[0].WaitFor(5, isAccess)
	s.Runs[0].Kill()
	appendTo(t, log, 5, 8)
	again := s.At(now.Add(2 * time.Hour))
	require.NotNil(t, again)
	again.WaitFor(3, func(e splunkdsim.Event) bool {
		return isAccess(e) && !slices.Contains(wanted(5), requests(t, []splunkdsim.Event{e})[0])
	})
	require.False(t, again.Terminate())
	require.Len(t, s.Runs, 2)
}

// TestFrozen: an input that does not end at SIGTERM is killed, and the next
// start loses nothing.
func TestFrozen(t *testing.T) {
	i, _ := install(t)
	i.Grace = time.Second
	log := logFile(t, i, 3)
	params := map[string]string{"path": log, "interval": "1"}
	first := i.Start("aiwatch_s3", "prod", params)
	first.WaitFor(3, isAccess)
	first.Freeze()
	require.True(t, first.Terminate(), "SIGKILL is needed")
	appendTo(t, log, 3, 5)
	i.Grace = 30 * time.Second
	second := i.Start("aiwatch_s3", "prod", params)
	all := func() []string {
		return slices.Compact(slices.Sorted(slices.Values(requests(t, append(first.Events(), second.Events()...)))))
	}
	second.WaitFor(2, func(e splunkdsim.Event) bool {
		return isAccess(e) && !slices.Contains(wanted(3), requests(t, []splunkdsim.Event{e})[0])
	})
	require.False(t, second.Terminate())
	require.Equal(t, wanted(5), all())
}

// TestPipeClosedInAnEvent: splunkd dies in the middle of reading an event,
// wherever: the input ends by itself, and the next run tells all of it.
func TestPipeClosedInAnEvent(t *testing.T) {
	i, _ := install(t)
	log := logFile(t, i, 50)
	params := map[string]string{"path": log, "interval": "1"}
	for _, n := range []int{1, len("<stream>\n<event unb"), 300, 777, 1500, 4000} {
		in := i.StartCut("aiwatch_s3", fmt.Sprint("prod", n), params, n)
		_, code := in.Wait()
		require.Zero(t, code, in.Log())
		next := i.Start("aiwatch_s3", fmt.Sprint("prod", n), params)
		next.WaitFor(50, isAccess)
		require.False(t, next.Terminate())
		require.Equal(t, wanted(50), requests(t, next.Events()))
	}
}

// TestWhatDeathLeavesInTheStream: an input that dies while splunkd is slow to
// read leaves a document that breaks off: whole events, and behind them at most
// the beginning of one, which comes again whole.
func TestWhatDeathLeavesInTheStream(t *testing.T) {
	i, _ := install(t)
	log := logFile(t, i, 2000)
	params := map[string]string{"path": log, "interval": "1"}
	first := i.StartUnread("aiwatch_s3", "prod", params, 60<<10) // the pipe holds 64 KiB
	first.Kill()
	whole, _ := first.Wait()
	require.False(t, whole)
	rest := strings.TrimLeft(first.Rest(), "\n")
	require.NotContains(t, rest, "</event>")
	require.LessOrEqual(t, strings.Count(rest, "<event"), 1)
	if rest != "" {
		require.True(t, strings.HasPrefix("<event unbroken=", rest[:min(len(rest), len("<event unbroken="))]), rest)
	}
	told := requests(t, first.Events())
	require.NotEmpty(t, told)
	require.Less(t, len(told), 2000)
	second := i.Start("aiwatch_s3", "prod", params)
	second.WaitFor(2000, isAccess)
	require.False(t, second.Terminate())
	require.Equal(t, wanted(2000), requests(t, second.Events()))
}

// TestClosedPipeEndsTheInput: splunkd is gone, nothing was read, nothing is lost.
func TestClosedPipeEndsTheInput(t *testing.T) {
	i, _ := install(t)
	log := logFile(t, i, 3)
	params := map[string]string{"path": log, "interval": "1"}
	first := i.StartUnread("aiwatch_s3", "prod", params, 1)
	first.ClosePipe()
	_, code := first.Wait()
	require.Zero(t, code, first.Log())
	require.Contains(t, strings.Join(first.Log(), "\n"), "stopped: ")
	require.Empty(t, first.Events())
	second := i.Start("aiwatch_s3", "prod", params)
	second.WaitFor(3, isAccess)
	require.False(t, second.Terminate())
	require.Equal(t, wanted(3), requests(t, second.Events()))
}

// onePass runs an input whose interval is a cron expression, and returns the
// operations that its events of the sourcetype tell of.
func onePass(t *testing.T, i *splunkdsim.Instance, scheme, sourcetype string, params map[string]string) []string {
	t.Helper()
	params = maps.Clone(params)
	params["interval"] = "0 * * * *"
	in := i.Start(scheme, "prod", params)
	whole, code := in.Wait()
	require.True(t, whole, in.Log())
	require.Zero(t, code, in.Log())
	inSplunk(t, in.Events())
	var operations []string
	for _, e := range in.Events() {
		var data struct {
			Operation string `json:"operation"`
		}
		require.NoError(t, json.Unmarshal([]byte(e.Data), &data))
		if e.Sourcetype == sourcetype {
			operations = append(operations, data.Operation)
		}
	}
	return operations
}

// repository makes a bare repository of the inputs' user. It returns the settings
// of an input that reads it, and what pushes a commit with a new file.
func repository(t *testing.T, i *splunkdsim.Instance) (params map[string]string, commit func(file string)) {
	t.Helper()
	work, bare := t.TempDir(), filepath.Join(i.Home, "repositories", "vision.git")
	// The repository belongs to the inputs' user.
	config := filepath.Join(t.TempDir(), "gitconfig")
	require.NoError(t, os.WriteFile(config, []byte("[safe]\n\tdirectory = *\n"), 0o600))
	git := func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", args...)
		c.Dir = work
		c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+config,
			"GIT_AUTHOR_NAME=kim", "GIT_AUTHOR_EMAIL=kim@example.com", "GIT_COMMITTER_NAME=kim", "GIT_COMMITTER_EMAIL=kim@example.com")
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	git("init", "--bare", "--initial-branch=main", bare)
	git("init", "--initial-branch=main")
	return map[string]string{"url": bare, "instance": "forge", "root": filepath.Dir(bare)}, func(name string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(work, name), []byte(name), 0o600))
		git("add", name)
		git("commit", "--message", name)
		git("push", bare, "main")
	}
}

// registry starts a stand-in for a tracking server. It returns the settings of
// an input that reads it with the password that splunkd keeps, and what makes a
// model.
func registry(t *testing.T, rest *splunkdsim.REST) (params map[string]string, create func(model string)) {
	t.Helper()
	rest.Put("aiwatch", "mlflow-prod", "its-password")
	server := httptest.NewServer(mlflowsim.New(mlflowsim.Options{}))
	t.Cleanup(server.Close)
	return map[string]string{"url": server.URL, "username": "admin", "password_credential": "mlflow-prod"}, func(name string) {
		t.Helper()
		response, err := http.Post(server.URL+"/api/2.0/mlflow/registered-models/create", "application/json", strings.NewReader(`{"name":"`+name+`"}`))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
}

// TestGitInputOfTheArchive: with git on its PATH and no home, the input mirrors
// a repository and tells what came.
func TestGitInputOfTheArchive(t *testing.T) {
	i, _ := install(t)
	params, commit := repository(t, i)
	commit("model.safetensors")
	require.Empty(t, i.Validate("aiwatch_git", "prod", params))
	require.Contains(t, onePass(t, i, "aiwatch_git", event.SourcetypeGit, params), "inventory")
	commit("other.safetensors")
	second := onePass(t, i, "aiwatch_git", event.SourcetypeGit, params)
	require.Contains(t, second, "ref.updated")
	require.Contains(t, second, "file.added")
	require.NotContains(t, second, "inventory")
}

// TestMLflowInputOfTheArchive: the input reads a tracking server with the
// password that splunkd keeps.
func TestMLflowInputOfTheArchive(t *testing.T) {
	i, rest := install(t)
	params, create := registry(t, rest)
	create("fraud")
	require.Empty(t, i.Validate("aiwatch_mlflow", "prod", params))
	require.Contains(t, onePass(t, i, "aiwatch_mlflow", event.SourcetypeMLflow, params), "inventory")
	create("churn")
	require.Contains(t, onePass(t, i, "aiwatch_mlflow", event.SourcetypeMLflow, params), "model.created")
}

// TestGitAndMLflowKilledAnywhere: killed at random moments, these inputs too tell
// each change, and what they tell twice has the same id.
func TestGitAndMLflowKilledAnywhere(t *testing.T) {
	i, rest := install(t)
	ofGit, commit := repository(t, i)
	ofMLflow, create := registry(t, rest)
	commit("first.safetensors")
	create("first")
	inputs := []struct {
		scheme, sourcetype, operation string
		params                        map[string]string
		change                        func(name string)
	}{
		{"aiwatch_git", event.SourcetypeGit, "file.added", ofGit, func(name string) { commit(name + ".safetensors") }},
		{"aiwatch_mlflow", event.SourcetypeMLflow, "model.created", ofMLflow, create},
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n := rounds(t)
	for _, input := range inputs {
		onePass(t, i, input.scheme, input.sourcetype, input.params)
		params := maps.Clone(input.params)
		params["interval"] = "0 * * * *"
		var all []splunkdsim.Event
		for round := range n {
			input.change(fmt.Sprint("change-", round))
			in := i.Start(input.scheme, "prod", params)
			switch random.IntN(3) {
			case 0: // at its start
			case 1:
				in.WaitFor(1, func(splunkdsim.Event) bool { return true })
			case 2:
				in.Wait()
			}
			in.Kill()
			all = append(all, in.Events()...)
		}
		last := i.Start(input.scheme, "prod", params)
		whole, code := last.Wait()
		require.True(t, whole)
		require.Zero(t, code, last.Log())
		all = append(all, last.Events()...)
		told := map[string]string{} // event_id by what was changed
		for _, e := range all {
			var data struct {
				Operation string `json:"operation"`
				AssetID   string `json:"asset_id"`
				EventID   string `json:"event_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(e.Data), &data))
			if data.Operation != input.operation {
				continue
			}
			if before := told[data.AssetID]; before != "" {
				require.Equal(t, before, data.EventID)
			}
			told[data.AssetID] = data.EventID
		}
		require.Len(t, told, n, "%s tells each change", input.scheme)
	}
}

// TestRealSourcesOfTheArchive: the inputs of the archive on real servers: a log
// bucket of an S3 server and a tracking server with logins, whose secrets
// splunkd keeps. (The Git input above reads a real repository by the real git.)
func TestRealSourcesOfTheArchive(t *testing.T) {
	t.Run("S3", func(t *testing.T) {
		i, rest := install(t)
		server := counterpart.Versitygw(t, counterpart.VersitygwOptions{})
		client := s3.New(s3.Options{
			BaseEndpoint: &server.URL, Region: server.Region, UsePathStyle: true,
			Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
		})
		_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("logs")})
		require.NoError(t, err)
		put := func(n int) {
			t.Helper()
			// Named as S3 names them when they come; an older name is looked for once a day.
			name := fmt.Sprintf("%s-%016X", time.Now().UTC().Format("2006-01-02-15-04-05"), n)
			_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("logs"), Key: &name, Body: strings.NewReader(record(n))})
			require.NoError(t, err)
		}
		rest.Put("aiwatch", "s3-prod", server.SecretKey)
		params := map[string]string{
			"bucket": "logs", "endpoint": server.URL, "region": server.Region, "path_style": "true", "start": "2026-11-01T00:00:00Z",
			"access_key_id": server.AccessKey, "secret_access_key_credential": "s3-prod", "interval": "1",
		}
		put(0)
		require.Empty(t, i.Validate("aiwatch_s3", "bucket", params))
		first := i.Start("aiwatch_s3", "bucket", params)
		first.WaitFor(1, isAccess)
		put(1)
		first.WaitFor(2, isAccess)
		require.NotContains(t, first.Visible(), server.SecretKey)
		require.NotContains(t, first.Visible(), rest.Session)
		first.Kill()
		put(2)
		second := i.Start("aiwatch_s3", "bucket", params)
		second.WaitFor(1, func(e splunkdsim.Event) bool {
			return isAccess(e) && requests(t, []splunkdsim.Event{e})[0] == wanted(3)[2]
		})
		require.False(t, second.Terminate())
		all := requests(t, append(first.Events(), second.Events()...))
		require.Equal(t, wanted(3), slices.Compact(slices.Sorted(slices.Values(all))))
		inSplunk(t, second.Events())
		for _, told := range []string{fmt.Sprint(first.Log(), second.Log()), fmt.Sprint(first.Events(), second.Events())} {
			require.NotContains(t, told, server.SecretKey)
			require.NotContains(t, told, rest.Session)
		}
	})
	t.Run("MLflow", func(t *testing.T) {
		i, rest := install(t)
		server := counterpart.MLflow3(t, counterpart.MLflowOptions{BasicAuth: true})
		create := func(name string) {
			t.Helper()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/2.0/mlflow/registered-models/create", strings.NewReader(`{"name":"`+name+`"}`))
			require.NoError(t, err)
			request.Header.Set("Content-Type", "application/json")
			request.SetBasicAuth(server.Username, server.Password)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode)
		}
		create("fraud")
		params := map[string]string{"url": server.URL, "username": server.Username, "password_credential": "mlflow-real"}
		require.Contains(t, i.Validate("aiwatch_mlflow", "real", params), "no such entry")
		rest.Put("aiwatch", "mlflow-real", "not the password")
		require.NotEmpty(t, i.Validate("aiwatch_mlflow", "real", params))
		rest.Put("aiwatch", "mlflow-real", server.Password)
		require.Empty(t, i.Validate("aiwatch_mlflow", "real", params))
		require.Contains(t, onePass(t, i, "aiwatch_mlflow", event.SourcetypeMLflow, params), "inventory")
		create("churn")
		require.Contains(t, onePass(t, i, "aiwatch_mlflow", event.SourcetypeMLflow, params), "model.created")
	})
}

// rounds is how often a killing test kills.
func rounds(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS"))
	if err != nil {
		return 10
	}
	return n
}

// TestKilledAnywhere: killed, or left by their reader, at random moments, the
// inputs together tell every record, and what they tell twice has the same id.
func TestKilledAnywhere(t *testing.T) {
	i, _ := install(t)
	log := logFile(t, i, 0)
	params := map[string]string{"path": log, "interval": "1"}
	const each = 400
	var all []splunkdsim.Event
	n := rounds(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range n {
		appendTo(t, log, round*each, (round+1)*each)
		in := i.Start("aiwatch_s3", "prod", params)
		if random.IntN(3) > 0 {
			in.WaitFor(1+random.IntN(each), isAccess)
		}
		// Either dies: the input, or who reads it.
		if random.IntN(2) == 0 {
			in.Kill()
		} else {
			in.ClosePipe()
			in.Wait()
		}
		all = append(all, in.Events()...)
	}
	last := i.Start("aiwatch_s3", "prod", map[string]string{"path": log, "interval": "0 0 1 1 *"})
	whole, code := last.Wait()
	require.True(t, whole)
	require.Zero(t, code, last.Log())
	all = append(all, last.Events()...)

	ids := map[string]string{} // event_id by request
	for _, e := range all {
		if !isAccess(e) {
			continue
		}
		var data struct {
			RequestID string `json:"request_id"`
			EventID   string `json:"event_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(e.Data), &data))
		if before := ids[data.RequestID]; before != "" {
			require.Equal(t, before, data.EventID)
		}
		ids[data.RequestID] = data.EventID
	}
	require.Len(t, ids, n*each)
}

// older writes the archive as it was at an older version: an app.conf and, for
// this machine's platform, a program that say so.
func older(t *testing.T, version string) string {
	t.Helper()
	headers, contents := entries(t, archive(t))
	program := filepath.Join(t.TempDir(), "aiwatch")
	// As the packages are built, so that only the linker has work to do.
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+version, "-o", program, "./cmd/aiwatch")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	for name := range contents {
		switch {
		case strings.HasSuffix(name, "/default/app.conf"):
			text := string(contents[name])
			p := addon(t)
			require.Contains(t, text, "version = "+p.Version)
			contents[name] = []byte(strings.ReplaceAll(text, "version = "+p.Version, "version = "+version))
		case strings.HasSuffix(name, "/bin/aiwatch"):
			if contents[name], err = os.ReadFile(program); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "older.tar.gz")
	f, err := os.Create(path)
	require.NoError(t, err)
	zipped := gzip.NewWriter(f)
	w := tar.NewWriter(zipped)
	for _, h := range headers {
		h.Size = int64(len(contents[h.Name]))
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write(contents[h.Name])
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(w.Close(), zipped.Close(), f.Close()))
	return path
}

// tree is every file of a folder with its content and mode.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		require.NoError(t, err)
		text, err := os.ReadFile(path)
		files[path] = fmt.Sprint(info.Mode(), info.ModTime(), string(text))
		return err
	}))
	return files
}

// TestUpgrade: an older version runs, the archive is unpacked over it while it
// does, and then the new version runs: no event is lost or told anew, numbers go
// on without a hole, and what the administrator wrote stays as it was.
func TestUpgrade(t *testing.T) {
	rest := splunkdsim.StartREST(t, splunkdsim.RESTOptions{})
	const before = "0.0.9"
	i := splunkdsim.Install(t, rest, older(t, before))
	log := logFile(t, i, 3)
	params := map[string]string{"path": log, "interval": "1"}
	for name, text := range map[string]string{
		"local/aiwatch.conf":  "[log]\nlevel = debug\n",
		"local/inputs.conf":   "[aiwatch_s3://prod]\npath = " + log + "\ninterval = 1\n",
		"local/app.conf":      "[ui]\nlabel = Ours\n",
		"metadata/local.meta": "[]\naccess = read : [ admin ]\n",
	} {
		path := filepath.Join(i.App, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o640))
	}
	local := tree(t, filepath.Join(i.App, "local"))
	meta, err := os.ReadFile(filepath.Join(i.App, "metadata/local.meta"))
	require.NoError(t, err)

	first := i.Start("aiwatch_s3", "prod", params)
	first.WaitFor(3, isAccess)
	i.Upgrade(archive(t))
	appendTo(t, log, 3, 5)
	first.WaitFor(5, isAccess)
	require.False(t, first.Terminate())
	appendTo(t, log, 5, 8)
	second := i.Start("aiwatch_s3", "prod", params)
	second.WaitFor(3, isAccess)
	require.False(t, second.Terminate())

	all := append(first.Events(), second.Events()...)
	require.Equal(t, wanted(8), requests(t, all))
	var seqs []int
	versions := map[string]bool{}
	for _, e := range all {
		var data struct {
			Version string
			Seq     int
		}
		require.NoError(t, json.Unmarshal([]byte(e.Data), &data))
		seqs = append(seqs, data.Seq)
		if data.Version != "" {
			versions[data.Version] = true
		}
	}
	for n, seq := range seqs {
		require.Equal(t, n+1, seq, "numbers go on over the upgrade")
	}
	require.Equal(t, map[string]bool{before: true, addon(t).Version: true}, versions)

	require.Equal(t, local, tree(t, filepath.Join(i.App, "local")))
	kept, err := os.ReadFile(filepath.Join(i.App, "metadata/local.meta"))
	require.NoError(t, err)
	require.Equal(t, string(meta), string(kept))
}
