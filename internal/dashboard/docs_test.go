package dashboard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	splunkapp "aiwatch/splunk_app"
)

// TestDocumented: docs/dashboards.md has a section of every page and shows every
// picture. That its links lead somewhere is TestDocs's to hold.
func TestDocumented(t *testing.T) {
	const docs = "../../docs"
	text, err := os.ReadFile(filepath.Join(docs, "dashboards.md"))
	require.NoError(t, err)
	page := string(text)
	views, err := Load(splunkapp.Files)
	require.NoError(t, err)
	require.NotEmpty(t, views)
	for _, v := range views {
		require.Contains(t, page, "\n## "+v.Label+"\n", v.Name)
	}
	pictures, err := filepath.Glob(filepath.Join(docs, "screenshots", "*"))
	require.NoError(t, err)
	for _, path := range pictures {
		require.Equal(t, 1, strings.Count(page, "](screenshots/"+filepath.Base(path)+")"), "%s is shown once", path)
	}
}
