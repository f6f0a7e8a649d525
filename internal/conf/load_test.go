package conf

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// write makes a configuration directory of files such as local/inputs.conf.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := write(t, map[string]string{
		"default/inputs.conf": `
[aiwatch_s3]
start_by_shell = false
interval = 120
index = ai_assets

[aiwatch_s3://example]
disabled = 1
`,
		"local/inputs.conf": `
[default]
host = forwarder1

[aiwatch_s3://prod]
bucket = logs
prefix = access/
watch_buckets = one, two
start = -7d
trusted_proxies = 10.0.0.0/8, 192.0.2.1

[aiwatch_mlflow://prod]
url = https://mlflow.example.org
interval = */15 * * * *
`,
		"default/aiwatch.conf": "[queue]\nmax_bytes = 1GiB\n[identity://shipped]\nmatch = ^root$\nuser = root\n",
		"local/aiwatch.conf": `
[hec]
url = https://a:8088, https://b:8088
token_env = TOKEN
linger = 2s
[identity://mine]
match = ^(?P<user>\w+)@example\.org$
`,
	})
	c, err := Load(dir, WithEnv(func(name string) string { return map[string]string{"TOKEN": "hunter2"}[name] }))
	require.NoError(t, err)

	require.Len(t, c.All("aiwatch_s3"), 2)
	require.Len(t, c.Inputs(), 2)
	s3, err := c.Input("aiwatch_s3://prod")
	require.NoError(t, err)
	require.Equal(t, "prod", s3.Name())
	require.Equal(t, "logs", s3.String("bucket"))
	require.Equal(t, []string{"one", "two"}, s3.List("watch_buckets"))
	require.Equal(t, Schedule{Every: 2 * time.Minute}, s3.Interval())
	require.Equal(t, "ai_assets", s3.String("index"))
	require.Equal(t, "forwarder1", s3.String("host"))
	require.Equal(t, 48*time.Hour, s3.Duration("lateness"))
	require.Equal(t, "10.0.0.0/8", s3.Networks("trusted_proxies")[0].String())
	require.Equal(t, "192.0.2.1/32", s3.Networks("trusted_proxies")[1].String())
	require.True(t, s3.Bool("follow"))
	require.False(t, s3.IsSet("follow"))
	now := time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)
	at, ago := s3.Time("start")
	require.Zero(t, at)
	require.Equal(t, 7*24*time.Hour, ago)

	mlflow, err := c.Input("aiwatch_mlflow://prod")
	require.NoError(t, err)
	require.Equal(t, "*/15 * * * *", mlflow.Interval().Cron)
	require.Equal(t, now.Add(15*time.Minute), mlflow.Interval().Next(now))
	require.Equal(t, int64(1<<30), mlflow.Size("hash_budget"))

	hec, err := c.Destination()
	require.NoError(t, err)
	require.Equal(t, []string{"https://a:8088", "https://b:8088"}, hec.List("url"))
	require.Equal(t, 1, hec.Int("gzip_level"))
	token, err := hec.Secret(t.Context(), "token")
	require.NoError(t, err)
	require.Equal(t, "hunter2", token.Reveal())

	require.Equal(t, int64(1<<30), c.One("queue").Size("max_bytes"))
	require.Equal(t, "info", c.One("log").String("level"))
	require.False(t, c.One("log").Present())

	rules := c.All("identity")
	require.Len(t, rules, 2)
	require.Equal(t, "mine", rules[0].Name(), "local/ before default/")
	require.Equal(t, []string{"anna@example.org", "anna"}, rules[0].Regexp("match").FindStringSubmatch("anna@example.org"))

	_, err = c.Input("prod")
	require.EqualError(t, err, "several inputs are named prod: say aiwatch_s3://prod or aiwatch_mlflow://prod")
	one, err := c.Input("example")
	require.NoError(t, err)
	require.True(t, one.Bool("disabled"))
	_, err = c.Input("nope")
	require.EqualError(t, err, "there is no input nope: the inputs are aiwatch_s3://prod, aiwatch_mlflow://prod and aiwatch_s3://example")
}

func TestEmptyHidesDefault(t *testing.T) {
	c, err := Load(write(t, map[string]string{
		"default/aiwatch.conf": "[hec]\nurl = https://a\ntoken_file = /etc/token\ngzip_level = 9\n",
		"local/aiwatch.conf":   "[hec]\ntoken_file =\ntoken_env = TOKEN\ngzip_level =\n",
	}))
	require.NoError(t, err)
	require.False(t, c.One("hec").IsSet("token_file"))
	require.True(t, c.One("hec").IsSet("token"))
	require.Equal(t, 1, c.One("hec").Int("gzip_level"))
}

func TestWithoutInputs(t *testing.T) {
	dir := write(t, map[string]string{
		"local/inputs.conf":  "[aiwatch_s3://broken]\n",
		"local/aiwatch.conf": "[queue]\nmax_bytes = 1GiB\n",
	})
	_, err := Load(dir)
	require.Error(t, err)
	c, err := Load(dir, WithoutInputs())
	require.NoError(t, err)
	require.Equal(t, int64(1<<30), c.One("queue").Size("max_bytes"))
	require.Empty(t, c.All("aiwatch_s3"))
	_, err = Load(t.TempDir(), WithoutInputs())
	require.NoError(t, err)
}
