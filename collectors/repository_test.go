package collectors_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
)

func TestSplitRepository(t *testing.T) {
	for address, want := range map[string]string{
		"https://Git.Example.test:8443/acme/vision.git":   "git:git.example.test/acme/vision",
		"https://user:pw@git.example.test/acme/vision/":   "git:git.example.test/acme/vision",
		"https://git.example.test//acme/./vision.git/":    "git:git.example.test/acme/vision",
		"ssh://git@git.example.test:2222/acme/vision.git": "git:git.example.test/acme/vision",
		" git@git.example.test:acme/vision.git\n":         "git:git.example.test/acme/vision",
		"git.example.test:/acme/vision":                   "git:git.example.test/acme/vision",
		"https://git.example.test/acme/vision/.git":       "git:git.example.test/acme/vision",
		"file:///srv/git/acme/vision.git":                 "",
		"/srv/git/acme/vision.git":                        "",
		"/srv/git@host:acme/vision.git":                   "",
		"relative/path":                                   "",
		"a::b":                                            "",
		"":                                                "",
		"https://host/":                                   "",
		"https://%zz/a":                                   "",
		"-oProxyCommand=x:acme":                           "",
	} {
		host, path, err := collectors.SplitRepository(address)
		if want == "" {
			require.Error(t, err, address)
			require.Empty(t, host+path, address)
			continue
		}
		require.NoError(t, err, address)
		require.Equal(t, want, collectors.RepositoryID(host, path), address)
	}
}

func FuzzSplitRepository(f *testing.F) {
	f.Add("https://user@host:8443/acme/vision.git/")
	f.Add("git@host:acme/vision.git")
	f.Fuzz(func(t *testing.T, address string) {
		host, path, err := collectors.SplitRepository(address)
		if err != nil {
			return
		}
		require.NotEmpty(t, host)
		require.NotEmpty(t, path)
		require.False(t, strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"), path)
	})
}
