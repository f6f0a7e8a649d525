package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
	"aiwatch/internal/event"
)

// accessLog is what one object's read looks like in an S3 server access log.
const accessLog = `79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be models [06/Nov/2026:00:00:38 +0000] 203.0.113.7 arn:aws:iam::123456789012:user/eve 3E57427F3EXAMPLE%d REST.GET.OBJECT fraud/model.safetensors "GET /models/fraud/model.safetensors HTTP/1.1" 200 - 113 113 7 6 "-" "aws-cli" - hostid SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader models.s3.us-west-1.amazonaws.com TLSv1.2 - -
`

func accessLogs(t *testing.T, records int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	var b strings.Builder
	for i := range records {
		fmt.Fprintf(&b, accessLog, i)
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// handedOver is what splunkd writes to run an input.
func handedOver(checkpoints, stanza string, params map[string]string) string {
	return "<input><server_host>hf01</server_host><server_uri>https://127.0.0.1:1</server_uri><session_key>k</session_key><checkpoint_dir>" +
		checkpoints + "</checkpoint_dir><configuration><stanza name=\"" + stanza + "\" app=\"TA-aiwatch\">" + paramsXML(params) + "</stanza></configuration></input>"
}

func paramsXML(params map[string]string) string {
	var b strings.Builder
	for name, value := range params {
		fmt.Fprintf(&b, `<param name="%s">%s</param>`, name, value)
	}
	return b.String()
}

// TestModinputOnce: a cron expression is one pass, with all events in a whole
// stream, and the next pass goes on where this one ended.
func TestModinputOnce(t *testing.T) {
	log, checkpoints := accessLogs(t, 3), t.TempDir()
	pass := func() (operations []string, text string) {
		code, out, errs := runCommandLine(t, handedOver(checkpoints, "aiwatch_s3://prod", map[string]string{
			"interval": "0 * * * *", "path": log, "index": "ai", "host": "$decideOnStartup", "sourcetype": "x",
		}), (*program).modinputCommand, "modinput", "aiwatch_s3")
		require.Equal(t, exitDone, code, errs)
		for line := range strings.Lines(errs) {
			require.Regexp(t, `^(DEBUG|INFO|WARN|ERROR|FATAL) `, line)
		}
		var stream struct {
			XMLName xml.Name `xml:"stream"`
			Events  []struct {
				Time       string `xml:"time"`
				Source     string `xml:"source"`
				Sourcetype string `xml:"sourcetype"`
				Index      string `xml:"index"`
			} `xml:"event"`
		}
		require.NoError(t, xml.Unmarshal([]byte(out), &stream), out)
		for _, e := range stream.Events {
			require.Equal(t, "aiwatch_s3://prod", e.Source)
			require.Equal(t, "ai", e.Index)
			if e.Sourcetype == event.SourcetypeS3 {
				require.Equal(t, "1793923238", e.Time)
			}
			operations = append(operations, e.Sourcetype)
		}
		return operations, out
	}
	first, text := pass()
	require.Equal(t, 3, strings.Count(strings.Join(first, " "), event.SourcetypeS3), text)
	second, text := pass()
	require.NotContains(t, second, event.SourcetypeS3, text)
	require.Contains(t, second, event.SourcetypeHealth, text)
}

func TestModinputScheme(t *testing.T) {
	for _, k := range conf.Kinds() {
		if !k.IsInput() {
			continue
		}
		code, out, errs := runCommandLine(t, "", (*program).modinputCommand, "modinput", k.Name, "--scheme")
		require.Equal(t, exitDone, code)
		require.Empty(t, errs)
		require.True(t, strings.HasPrefix(out, "<scheme>"), out)
	}
}

func TestModinputValidates(t *testing.T) {
	log := accessLogs(t, 1)
	for name, c := range map[string]struct {
		params map[string]string
		want   string // of the message; empty is accepted
	}{
		"good":           {map[string]string{"path": log}, ""},
		"absent":         {map[string]string{"path": log + "-absent"}, log + "-absent"},
		"nothing":        {map[string]string{}, "one of path and bucket"},
		"both":           {map[string]string{"path": log, "bucket": "b-b-b"}, "path is set too"},
		"unknown":        {map[string]string{"path": log, "pathh": "x"}, "the nearest known one is path"},
		"a secret":       {map[string]string{"bucket": "logs-b", "access_key_id": "AKIA", "secret_access_key": "wJalr"}, "a secret is never written"},
		"off":            {map[string]string{"disabled": "1"}, ""},
		"no destination": {map[string]string{"path": log, "output": "hec"}, "there is no destination"},
		"no splunkd":     {map[string]string{"bucket": "logs-b", "access_key_id": "AKIA", "secret_access_key_credential": "aws"}, "read the credential"},
	} {
		t.Run(name, func(t *testing.T) {
			items := "<items><server_host>h</server_host><server_uri>https://127.0.0.1:1</server_uri><session_key>k</session_key>" +
				"<checkpoint_dir>/none</checkpoint_dir><item name=\"prod\">" + paramsXML(c.params) + "</item></items>"
			code, out, errs := runCommandLine(t, items, (*program).modinputCommand, "modinput", "aiwatch_s3", "--validate-arguments")
			if c.want == "" {
				require.Equal(t, exitDone, code, out+errs)
				require.Empty(t, out)
				return
			}
			require.Equal(t, exitFailed, code)
			var refusal struct {
				XMLName xml.Name `xml:"error"`
				Message string   `xml:"message"`
			}
			require.NoError(t, xml.Unmarshal([]byte(out), &refusal), out)
			require.Contains(t, refusal.Message, c.want)
			require.NotContains(t, refusal.Message, "wJalr")
		})
	}
}

func TestModinputRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  string
	}{
		"no kind":       {"", nil, "names no kind of input"},
		"no such kind":  {"", []string{"aiwatch_svn"}, "names no kind of input"},
		"not inputs":    {"", []string{"hec"}, "names no kind of input"},
		"argument":      {"", []string{"aiwatch_s3", "--sceme"}, "mean nothing"},
		"no XML":        {"", []string{"aiwatch_s3"}, "it ends before </input>"},
		"no checkpoint": {handedOver("", "aiwatch_s3://prod", map[string]string{"path": "/x"}), []string{"aiwatch_s3"}, "no checkpoint_dir"},
		"settings":      {handedOver("/x", "aiwatch_s3://prod", map[string]string{"pat": "/x"}), []string{"aiwatch_s3"}, "nearest known one is path"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runCommandLine(t, c.stdin, (*program).modinputCommand, append([]string{"modinput"}, c.args...)...)
			require.NotEqual(t, exitDone, code)
			require.Empty(t, out)
			require.Contains(t, errs, c.want)
			for line := range strings.Lines(errs) {
				require.True(t, strings.HasPrefix(line, "ERROR "), line)
			}
		})
	}
}

func TestStateNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"prod", "PROD", "pröd", "prad", "a/b", "a_b", "..", strings.Repeat("x", 100), strings.Repeat("x", 99) + "y"} {
		s, err := conf.FromParams("aiwatch_s3", name, map[string][]string{"path": {"/x"}})
		require.NoError(t, err)
		state := stateName(s)
		require.Regexp(t, `^[A-Za-z0-9_-]{1,57}$`, state)
		require.Empty(t, seen[state], name)
		seen[state] = name
	}
}
