package conf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSecretIsNeverSeen(t *testing.T) {
	s := NewSecret("hunter2")
	require.Equal(t, "hunter2", s.Reveal())
	require.False(t, s.IsZero())
	require.True(t, Secret{}.IsZero())
	require.Empty(t, Secret{}.Reveal())

	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%20s"} {
		require.Equal(t, "[secret]", fmt.Sprintf(verb, s), verb)
	}

	type holder struct {
		Open   Secret
		hidden Secret
		ptr    *Secret
	}
	h := holder{s, s, &s}
	var seen bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T", "%p", "%10.3v"} {
		for _, v := range []any{s, &s, h, &h, []Secret{s}, map[string]Secret{"a": s}} {
			fmt.Fprintf(&seen, verb+"\n", v)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&seen, nil), slog.NewJSONHandler(&seen, nil)} {
		slog.New(handler).Info("a secret", "one", s, "two", h, "three", &h)
	}
	for _, v := range []any{s, h, map[string]any{"a": s}} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		seen.Write(text)
	}
	fmt.Fprintln(&seen, s.String(), fmt.Errorf("wrong: %w: %v", errors.New("x"), s))
	require.NotContains(t, seen.String(), "hunter2")
	require.NotContains(t, seen.String(), fmt.Sprintf("%x", "hunter2"))
	text, err := json.Marshal(struct{ Token Secret }{s})
	require.NoError(t, err)
	require.JSONEq(t, `{"Token":"[secret]"}`, string(text))
}

// hec loads a stanza [hec] with one line beside the URL.
func hec(t *testing.T, dir, line string, opts ...Option) (*Settings, error) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "local"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "local", AIWatchFile), []byte("[hec]\nurl = https://a:8088\n"+line+"\n"), 0o600))
	c, err := Load(dir, opts...)
	if err != nil {
		return nil, err
	}
	return c.Destination()
}

func TestSecretFile(t *testing.T) {
	const line = "DIR/local/aiwatch.conf:3: [hec] token_file: "
	const chmod = "; chmod 600 it, owned by the user that runs aiwatch"
	const only = "; name a file that holds the secret and nothing else"
	const readable = "; give the path of a file that the user that runs aiwatch can read"
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string)
		want string // empty: the secret is hunter2
	}{
		{"0600", file("hunter2\n", 0o600), ""},
		{"0400, CRLF", file("hunter2\r\n", 0o400), ""},
		{"0700", file("hunter2", 0o700), ""},
		{"0640", file("hunter2", 0o640), line + `group or others can read or write "DIR/token" (mode 0640)` + chmod},
		{"0604", file("hunter2", 0o604), line + `group or others can read or write "DIR/token" (mode 0604)` + chmod},
		{"0620", file("hunter2", 0o620), line + `group or others can read or write "DIR/token" (mode 0620)` + chmod},
		{"0602", file("hunter2", 0o602), line + `group or others can read or write "DIR/token" (mode 0602)` + chmod},
		{"a link to one that is open", func(t *testing.T, path string) {
			file("hunter2", 0o644)(t, path+"2")
			require.NoError(t, os.Symlink(path+"2", path))
		}, line + `group or others can read or write "DIR/token" (mode 0644)` + chmod},
		{"empty", file("\n", 0o600), line + `"DIR/token" is empty; write the secret into it`},
		{"two lines", file("hunter2\nhunter3\n", 0o600), line + `"DIR/token" holds more than one line` + only},
		{"large", file(strings.Repeat("x", maxSecret+1), 0o600), line + `"DIR/token" is larger than 64 KiB` + only},
		{"missing", func(*testing.T, string) {}, line + `stat DIR/token: no such file or directory` + readable},
		{"a folder", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, line + `"DIR/token" is not a regular file` + only},
		{"a pipe", func(t *testing.T, path string) { require.NoError(t, syscall.Mkfifo(path, 0o600)) }, line + `"DIR/token" is not a regular file` + only},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := tempDir(t)
			tc.make(t, filepath.Join(dir, "token"))
			s, err := hec(t, dir, "token_file = token")
			require.NoError(t, err, "the file is read when it is needed, not before")
			token, err := s.Secret(t.Context(), "token")
			if tc.want == "" {
				require.NoError(t, err)
				require.Equal(t, "hunter2", token.Reveal())
				return
			}
			require.Equal(t, tc.want, strings.ReplaceAll(err.Error(), dir, "DIR"))
			require.True(t, token.IsZero())
			var problems Problems
			require.ErrorAs(t, err, &problems)
		})
	}
}

// systemd shows a credential of a service with DynamicUser as 0440. It is taken
// from the folder that systemd names, and from there alone.
func TestACredentialOfSystemd(t *testing.T) {
	for mode, fine := range map[os.FileMode]bool{0o400: true, 0o440: true, 0o460: false, 0o444: false} {
		dir := tempDir(t)
		credentials := tempDir(t)
		file("hunter2\n", mode)(t, filepath.Join(credentials, "hec-token"))
		for named, there := range map[string]bool{credentials + "/": true, dir: false, "": false} {
			s, err := hec(t, dir, "token_file = "+filepath.Join(credentials, "hec-token"), WithEnv(func(name string) string {
				return map[string]string{"CREDENTIALS_DIRECTORY": named}[name]
			}))
			require.NoError(t, err)
			token, err := s.Secret(t.Context(), "token")
			if mode == 0o400 || there && fine {
				require.NoError(t, err, "%04o", mode)
				require.Equal(t, "hunter2", token.Reveal())
			} else {
				require.ErrorContains(t, err, "group or others can read or write")
			}
		}
	}
}

// tempDir is a short one: a long path is shortened in sentences.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "conf")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func file(text string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
}

func TestSecretEnv(t *testing.T) {
	env := map[string]string{"TOKEN": "hunter2"}
	s, err := hec(t, t.TempDir(), "token_env = TOKEN", WithEnv(func(name string) string { return env[name] }))
	require.NoError(t, err)
	token, err := s.Secret(t.Context(), "token")
	require.NoError(t, err)
	require.Equal(t, "hunter2", token.Reveal())

	delete(env, "TOKEN")
	_, err = s.Secret(t.Context(), "token")
	require.ErrorContains(t, err, `aiwatch.conf:3: [hec] token_env: the variable "TOKEN" is not set; set it where aiwatch is started`)

	t.Setenv("AIWATCH_TEST_TOKEN", "hunter3")
	s, err = hec(t, t.TempDir(), "token_env = AIWATCH_TEST_TOKEN")
	require.NoError(t, err)
	token, err = s.Secret(t.Context(), "token")
	require.NoError(t, err)
	require.Equal(t, "hunter3", token.Reveal(), "without WithEnv it is the process's environment")
}

func TestSecretCredential(t *testing.T) {
	s, err := hec(t, t.TempDir(), "token_credential = hec")
	require.NoError(t, err)
	_, err = s.Secret(t.Context(), "token")
	require.ErrorContains(t, err, "aiwatch.conf:3: [hec] token_credential: Splunk's storage/passwords can be read by a modular input only; outside Splunk name a file or a variable instead")

	stored := map[string]string{"hec": "hunter2"}
	read := WithCredentials(func(_ context.Context, name string) (string, error) {
		if name == "gone" {
			return "", errors.New("HTTP 404")
		}
		return stored[name], nil
	})
	params := func(name string) map[string][]string {
		return map[string][]string{"url": {"https://mlflow"}, "token_credential": {name}}
	}
	s, err = FromParams("aiwatch_mlflow", "prod", params("hec"), read)
	require.NoError(t, err)
	token, err := s.Secret(t.Context(), "token")
	require.NoError(t, err)
	require.Equal(t, "hunter2", token.Reveal())

	s, err = FromParams("aiwatch_mlflow", "prod", params("gone"), read)
	require.NoError(t, err)
	_, err = s.Secret(t.Context(), "token")
	require.EqualError(t, err, `[aiwatch_mlflow://prod] token_credential: read the credential "gone" of storage/passwords: HTTP 404; make it with aiwatch credentials set gone`)

	s, err = FromParams("aiwatch_mlflow", "prod", params("empty"), read)
	require.NoError(t, err)
	_, err = s.Secret(t.Context(), "token")
	require.EqualError(t, err, `[aiwatch_mlflow://prod] token_credential: read the credential "empty" of storage/passwords: it is empty; make it with aiwatch credentials set empty`)
}

func TestSecretNotSet(t *testing.T) {
	s, err := FromParams("aiwatch_mlflow", "prod", map[string][]string{"url": {"https://mlflow"}})
	require.NoError(t, err)
	token, err := s.Secret(t.Context(), "token")
	require.NoError(t, err)
	require.True(t, token.IsZero())
	require.False(t, s.IsSet("token"))
}
