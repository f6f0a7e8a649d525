package conf

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTable holds what every row of the table must be.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, k := range Kinds() {
		require.False(t, seen[k.String()], "%s twice", k)
		seen[k.String()] = true
		require.Contains(t, []string{InputsFile, AIWatchFile}, k.File)
		requireSentence(t, k.String(), k.Doc)
		known := map[string]bool{}
		for _, d := range k.Settings {
			where := "[" + k.String() + "] " + d.Name
			requireSentence(t, where, d.Doc)
			for _, n := range slices.Concat(d.Keys(), []string{d.Name}, d.Aliases) {
				require.Regexp(t, name, n)
				require.False(t, known[n] && n != d.Name, "%s: %s twice", where, n)
				require.False(t, isSplunks(n), "%s: %s is Splunk's", where, n)
				known[n] = true
			}
			require.Equal(t, d.Type == Choice, len(d.Values) > 0, where)
			require.False(t, d.Default != "" && (d.DefaultDoc != "" || d.Required || d.Type == SecretType), where)
			require.False(t, (d.Min != "" || d.Max != "") && !slices.Contains([]Type{Int, Duration, Size}, d.Type), where)
			if d.Type == Bool || d.Type == Int {
				require.NotEmpty(t, d.Default, "%s: the reader can't tell it from one that is not set", where)
			}
		}
		for _, r := range k.Rules {
			require.NotEmpty(t, r.Doc)
			require.NotRegexp(t, `\.$`, r.Doc)
			// Names that the table does not declare panic.
			s, _ := newSettings(k, "x", Origin{}, nil, "/", newOptions(nil))
			r.check(s)
		}
	}
}

func requireSentence(t *testing.T, where, text string) {
	t.Helper()
	require.NotEmpty(t, text, where)
	require.NotRegexp(t, `\.$|\n|^\s`, text, where)
}

func TestUndeclared(t *testing.T) {
	s, err := FromParams("aiwatch_s3", "prod", map[string][]string{"path": {"/var/log/s3"}})
	require.NoError(t, err)
	for name, read := range map[string]func(){
		"conf: [aiwatch_s3://NAME] has no setting buket":                                 func() { _ = s.String("buket") },
		"conf: bucket of [aiwatch_s3://NAME] is a bucket and not read so":                func() { s.Bool("bucket") },
		"conf: watch_buckets of [aiwatch_s3://NAME] is a bucket pattern and not read so": func() { _ = s.String("watch_buckets") },
		"conf: secret_access_key of [aiwatch_s3://NAME] is a secret and not read so":     func() { _ = s.String("secret_access_key") },
		"conf: bucket of [aiwatch_s3://NAME] is no secret":                               func() { _, _ = s.Secret(t.Context(), "bucket") },
		"conf: aiwatch_s4 is no kind of input":                                           func() { _, _ = FromParams("aiwatch_s4", "x", nil) },
		"conf: hec is no kind of input":                                                  func() { _, _ = FromParams("hec", "x", nil) },
		"conf: there is no stanza [hek]":                                                 func() { (&Config{}).One("hek") },
		"conf: there is no stanza [hec://NAME]":                                          func() { (&Config{}).All("hec") },
		"conf: the schema has no field nothing":                                          func() { valuesOf("nothing") },
		"conf: [aiwatch_s3://NAME] has no setting url":                                   func() { s.IsSet("url") },
	} {
		require.PanicsWithValue(t, name, read)
	}
}

func TestDefaults(t *testing.T) {
	c := &Config{Dir: "/etc/aiwatch", options: newOptions(nil)}
	require.Equal(t, 5*time.Minute, c.One("health").Duration("interval"))
	require.Equal(t, int64(10<<30), c.One("queue").Size("max_bytes"))
	require.Equal(t, int64(768<<10), c.One("hec").Size("batch_bytes"))
	require.Equal(t, "auto", c.One("hec").String("ack"))
	require.False(t, c.One("hec").Present())
	require.Empty(t, c.One("identity").List("domains"))
	at, ago := mustParams(t, "aiwatch_s3", map[string][]string{"path": {"/x"}}).Time("start")
	require.Zero(t, at)
	require.Zero(t, ago)
	require.Equal(t, []string{"refs/heads/main", "refs/heads/master", "refs/heads/release/*", "refs/tags/*"},
		mustParams(t, "aiwatch_git", map[string][]string{"url": {"/srv/a.git"}}).List("protected_refs"))
}

func mustParams(t *testing.T, kind string, params map[string][]string) *Settings {
	t.Helper()
	s, err := FromParams(kind, "prod", params)
	require.NoError(t, err)
	return s
}

func TestFromParams(t *testing.T) {
	s, err := FromParams("aiwatch_git", "aiwatch_git://prod", map[string][]string{
		"url":            {"https://git.example.org/a.git", "https://git.example.org/b.git"},
		"protected_refs": {"refs/heads/main,refs/heads/dev"},
		"host":           {"$decideOnStartup"},
		"index":          {"default"},
		"interval":       {"60"},
		"disabled":       {"0"},
		"username":       {""},
		"start_by_shell": {"false"},
		"python.version": {"python3"},
		"eai:acl":        {"x"},
		"_rcvbuf":        {"1572864"},
	})
	require.NoError(t, err)
	require.Equal(t, "prod", s.Name())
	require.Equal(t, "aiwatch_git", s.Kind())
	require.Equal(t, "aiwatch_git://prod", s.Stanza())
	require.True(t, s.Present())
	require.Equal(t, []string{"https://git.example.org/a.git", "https://git.example.org/b.git"}, s.List("url"))
	require.Equal(t, []string{"refs/heads/main", "refs/heads/dev"}, s.List("protected_refs"))
	require.False(t, s.IsSet("host"))
	require.False(t, s.IsSet("index"))
	require.False(t, s.IsSet("username"), "an empty value is none")
	require.Equal(t, time.Minute, s.Interval().Every)

	_, err = FromParams("aiwatch_s3", "prod", map[string][]string{
		"bucket": {"a", "b"}, "pth": {"x"}, "path": {"logs"}, "secret_access_key": {"hunter2"}, "access_key_id": {"x"},
	})
	require.EqualError(t, err, strings.Join([]string{
		"[aiwatch_s3://prod] bucket: several values are given, and it takes one; give one",
		`[aiwatch_s3://prod] path: "logs" is not an absolute path; write it from the root on`,
		"[aiwatch_s3://prod] pth: there is no such setting; the nearest known one is path",
		"[aiwatch_s3://prod] secret_access_key: a secret is never written into the configuration; take it out, change it if others saw it, and set secret_access_key_file (a file that only its owner can read), secret_access_key_env (the name of an environment variable) or, under Splunk, secret_access_key_credential (the name of an entry in storage/passwords)",
	}, "\n"))

	_, err = FromParams("aiwatch_s3", "aiwatch_s3://", nil)
	require.EqualError(t, err, "[aiwatch_s3://]: no name stands behind the ://; write one, such as ://prod")
	_, err = FromParams("aiwatch_s3", strings.Repeat("x", 101), nil)
	require.ErrorContains(t, err, "the name is too long; write at most 100 characters")
}

func TestAlias(t *testing.T) {
	k := &Kind{Name: "x", File: AIWatchFile, Settings: []Setting{
		{Name: "bucket", Type: String, Aliases: []string{"old_bucket"}},
		{Name: "token", Type: SecretType, Aliases: []string{"password"}},
	}}
	at := func(file, key, text string) Value { return Value{key, text, Origin{file, 1, "x"}} }
	read := func(values ...Value) (*Settings, Problems) {
		return newSettings(k, "", Origin{File: "local"}, values, "/", newOptions(nil))
	}

	s, problems := read(at("local", "old_bucket", "a"), at("local", "password_env", "A"))
	require.Empty(t, problems)
	require.Equal(t, "a", s.String("bucket"))
	require.True(t, s.IsSet("token"))

	s, problems = read(at("local", "old_bucket", "a"), at("default", "bucket", "b"))
	require.Empty(t, problems)
	require.Equal(t, "a", s.String("bucket"), "local/ hides default/ by whichever name")

	_, problems = read(at("local", "bucket", "b"), at("local", "old_bucket", "a"), at("local", "password", "hunter2"))
	require.EqualError(t, problems, "local:1: [x] old_bucket: bucket is set too, which is the same setting by another name; keep bucket\n"+
		"local:1: [x] password: a secret is never written into the configuration; take it out, change it if others saw it, and set token_file (a file that only its owner can read), token_env (the name of an environment variable) or, under Splunk, token_credential (the name of an entry in storage/passwords)")
}

func TestWhere(t *testing.T) {
	dir := write(t, map[string]string{"local/aiwatch.conf": "[hec]\nurl = https://a\n\ntoken_env = A\n"})
	c, err := Load(dir)
	require.NoError(t, err)
	hec := c.One("hec")
	require.Equal(t, 2, hec.Where("url").Line)
	require.Equal(t, 4, hec.Where("token").Line)
	require.Equal(t, 1, hec.Where("ack").Line)
}
