package addontest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/addontest"
)

// TestCapturedOfS3: what the S3 collector has made of the logs of its test
// cases. The other collectors' tests hold all that they emit by Hold.
func TestCapturedOfS3(t *testing.T) {
	files, err := filepath.Glob("../../collectors/s3access/testcases/*/expected.ndjson")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		splunk := addontest.New(t)
		for line := range bytes.Lines(text) {
			// On the way the forwarder gives an event the host that its input has.
			splunk.Add(bytes.Replace(line, []byte(`"source":`), []byte(`"host":"collector.example","source":`), 1))
		}
		require.NotEmpty(t, splunk.Check(), file)
	}
}
