package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	searchtime "aiwatch/internal/addon"
	"aiwatch/internal/splunkdsim"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/splunk-addon.md"))
	require.NoError(t, err)
	return string(text)
}

// TestDocumentedREST runs the calls by which a secret is stored where there is
// no shell, as the page has them, against what stands in for splunkd.
func TestDocumentedREST(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	rest := splunkdsim.StartREST(t, splunkdsim.RESTOptions{Names: []string{"127.0.0.1"}})
	block := regexp.MustCompile("(?s)```sh\n(# token.curl holds:.*?)```").FindStringSubmatch(page(t))
	require.NotNil(t, block)
	const stack = "https://<stack>.splunkcloud.com:8089"
	require.Contains(t, block[1], stack)
	holds := regexp.MustCompile(`(?m)^# token.curl holds: *(.*)$`).FindStringSubmatch(block[1])
	require.NotNil(t, holds)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token.curl"), []byte(strings.Replace(holds[1], "<token>", rest.Token, 1)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret.txt"), []byte("the secret & more"), 0o600))
	run := func(script string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", script)
		c.Dir = dir
		c.Env = append(os.Environ(), "CURL_CA_BUNDLE="+rest.CAFile, "HOME="+dir)
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	script := strings.ReplaceAll(block[1], stack, rest.URI)
	run(strings.ReplaceAll(script, "curl ", "curl --fail-with-body --silent --show-error "))
	secret, ok := rest.Entry("aiwatch", "mlflow-prod")
	require.True(t, ok)
	require.Equal(t, "the secret & more", secret)

	// Changing and removing go to the entry that the page names.
	entry := regexp.MustCompile("`\\.\\.\\.(/storage/passwords/[^`]*)`").FindStringSubmatch(page(t))
	require.NotNil(t, entry)
	at := rest.URI + "/servicesNS/nobody/TA-aiwatch" + entry[1]
	run("curl --fail-with-body --silent --show-error --config token.curl --data-urlencode password=new " + at)
	secret, _ = rest.Entry("aiwatch", "mlflow-prod")
	require.Equal(t, "new", secret)
	run("curl --fail-with-body --silent --show-error --config token.curl --request DELETE " + at)
	_, ok = rest.Entry("aiwatch", "mlflow-prod")
	require.False(t, ok)
}

// TestDocumentedModels: the page tells of each event type and of each field that
// the add-on makes for the Common Information Model.
func TestDocumentedModels(t *testing.T) {
	text := page(t)
	for _, m := range searchtime.Models {
		require.Contains(t, text, "`"+m.Eventtype+"`")
	}
	for _, field := range searchtime.SearchTimeFields() {
		require.Contains(t, text, "`"+field+"`")
	}
}
