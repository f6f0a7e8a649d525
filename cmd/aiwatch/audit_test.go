package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/forwarder/archive"
	"aiwatch/internal/audit"
)

// audited runs aiwatch audit at a time and returns the report.
func audited(t *testing.T, now time.Time, args ...string) (report audit.Report, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, now: func() time.Time { return now }, getenv: func(string) string { return "" }}
	code = p.run(t.Context(), append([]string{"aiwatch", "audit", "--json"}, args...))
	if out.Len() > 0 {
		// Verdicts of detections are words, which only go out.
		var raw map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(out.Bytes(), &raw))
		delete(raw, "coverage")
		text, err := json.Marshal(raw)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &report))
	}
	return report, errs.String(), code
}

const anonymousRead = `0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef models [02/Mar/2026:09:13:05 +0000] 198.51.100.7 - 4B5A6C7D8E9F0A1B REST.GET.OBJECT vision/model.safetensors "GET /models/vision/model.safetensors HTTP/1.1" 200 - 1000 1000 7 6 "-" "curl/8.5" - aG9zdA== - - - models.s3.amazonaws.com TLSv1.3 - -
`

// TestAuditCollects: the inputs are read now; one that can't be is told, and the
// report is of the others. Nothing is left of it.
func TestAuditCollects(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"conf/local/inputs.conf":                    "[aiwatch_s3://prod]\npath = " + dir + "/logs\n[aiwatch_s3://gone]\npath = " + dir + "/gone\n",
		"logs/2026-03-02-09-20-00-0123456789ABCDEF": anonymousRead + "no record\n",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	now := time.Date(2026, 3, 2, 11, 0, 0, 0, time.UTC)
	report, stderr, code := audited(t, now, "--collect", "--conf", filepath.Join(dir, "conf"))
	require.Equal(t, exitUnavailable, code, stderr)
	require.Contains(t, stderr, "aiwatch_s3://gone: ")
	require.Equal(t, now, report.Period.To)
	require.Equal(t, now.AddDate(0, 0, -30), report.Period.From)
	require.Len(t, report.Sources, 1)
	require.Equal(t, "collected now from 2 inputs", report.Sources[0].Name)
	require.Contains(t, report.Sources[0].Broken, "aiwatch_s3://gone")
	require.Equal(t, map[string]int{"aiwatch:s3": 2, "aiwatch:health": 3}, report.Kinds, "two inputs and a bucket tell how they are")
	require.Len(t, report.Watch, 2)
	require.True(t, report.Watch[1].Once)
	require.Equal(t, 2, report.Watch[1].Events)
	require.Len(t, report.Findings, 1)
	require.Equal(t, 20, report.Findings[0].Detection)
	require.Equal(t, "4B5A6C7D8E9F0A1B", report.Findings[0].Events[0].RequestID)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing is left")

	// A finding counts before what could not be read.
	_, _, code = audited(t, now, "--collect", "--conf", filepath.Join(dir, "conf"), "--fail-on", "low")
	require.Equal(t, exitFound, code)
	_, _, code = audited(t, now, "--collect", "--conf", filepath.Join(dir, "conf"), "--input", "prod")
	require.Equal(t, exitDone, code)
}

// TestAuditOfTheArchive: named, or that of the configuration; what is damaged there
// is told, and the period ends now: hours since the last event are missing.
func TestAuditOfTheArchive(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	kept := filepath.Join(dir, "archive")
	w, err := archive.OpenWriter(kept, archive.Options{Now: func() time.Time { return now }})
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, w.Recover(nil))
	for i := range 3 {
		at := now.Add(time.Duration(10*i) * time.Minute)
		var raw []byte
		var ends []int
		for j, event := range []string{
			`{"operation":"heartbeat","asset_type":"input","state":"ok"`,
			`{"operation":"REST.GET.OBJECT","status_code":"200","user_type":"anonymous","asset_id":"s3://models/vision/model.safetensors","asset_role":"weights"`,
		} {
			sourcetype := []string{"aiwatch:health", "aiwatch:s3"}[j]
			raw = fmt.Appendf(raw, `{"time":%d,"source":"aiwatch_s3://prod","sourcetype":%q,"event":%s,"collector":"c","seq":%d,"event_id":"%032x"}}`, at.Unix(), sourcetype, event, 2*i+j+1, 2*i+j+1)
			ends = append(ends, len(raw))
		}
		_, err := w.Append([][]byte{w.Pack(nil, raw, ends, at)})
		require.NoError(t, err)
		w.Committed()
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "conf", "local"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "conf", "local", "inputs.conf"), []byte("[aiwatch_s3://prod]\npath = /logs\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "conf", "local", "aiwatch.conf"), []byte("[archive]\npath = "+kept+"\n"), 0o600))

	later := now.Add(3 * time.Hour)
	for _, args := range [][]string{{"--archive", kept}, {"--conf", filepath.Join(dir, "conf")}} {
		report, stderr, code := audited(t, later, args...)
		require.Equal(t, exitDone, code, stderr)
		require.Equal(t, 6, report.Sources[0].Events)
		require.Zero(t, report.Sources[0].Undated)
		require.Len(t, report.Watch, 1)
		missing := report.Watch[0].Missing
		require.Len(t, missing, 2)
		require.Equal(t, "no heartbeat any more", missing[1].Why)
		require.Equal(t, later, missing[1].To)
		require.Empty(t, report.Watch[0].Holes)
		var found []int
		for _, f := range report.Findings {
			found = append(found, f.Detection)
		}
		require.Contains(t, found, 31)
	}

	// Damage is told, and what is whole is audited.
	name := filepath.Join(kept, "events-2026-03-02.ndjson.zst")
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	text[len(text)/2] ^= 0xff
	require.NoError(t, os.WriteFile(name, text, 0o600))
	report, _, code := audited(t, later, "--archive", kept)
	require.Equal(t, exitDone, code)
	require.Less(t, report.Sources[0].Events, 6)
	require.Contains(t, report.Sources[0].Broken, "events-2026-03-02.ndjson.zst")
	require.Contains(t, report.Verdict.Evidence, "could not be read whole")

	_, stderr, code := audited(t, later, "--archive", filepath.Join(dir, "none"))
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "open the archive")
}
