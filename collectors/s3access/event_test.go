package s3access

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/identity"
)

func TestFormatsAreToldByTheFirstLine(t *testing.T) {
	const rest = ` 127.0.0.1 alice ABC s3_GetObject k /ml/k 200 - 0 1 1 1 - agent - h SigV4 - AuthHeader s3 - arn:aws:s3:::/ml/k Yes`
	for head, want := range map[string]Format{
		sampleLine(1, now): ServerAccess,
		"root ml [23/November/2026:10:00:00 +0000]" + rest:   Versitygw,
		"root ml [23/May/2026:10:00:00 +0000]" + rest:        Versitygw,
		"log starts 2026-11-23 10:00:00 +0000 UTC m=+0.1\nx": Versitygw,
		"log starts never":         ServerAccess,
		`{"Records":[]}`:           Cloudtrail,
		" \n\ufeff[{}]":            Cloudtrail,
		"":                         ServerAccess,
		"a\n" + sampleLine(1, now): ServerAccess,
		sampleLine(1, now) + "\nroot ml [23/November/2026:10:00:00 +0000]" + rest: ServerAccess,
	} {
		require.Equal(t, want, formatOf([]byte(head)), "%q", head)
	}
}

// The format of a log that grows is not told by half of its first line.
func TestHalfAFirstLineTellsNoFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const line = "root ml [23/November/2026:10:00:00 +0000] 127.0.0.1 alice ABCDEFGH s3_GetObject k.onnx /ml/k.onnx 200 - 0 1 1 1 - agent - h= SigV4 - AuthHeader s3.us-east-1.amazonaws.com - arn:aws:s3:::/ml/k.onnx Yes\n"
	c := collector(t, Config{Path: path, Follow: true})
	out := newSink()
	for i, cut := range []int{0, 14, 60, len(line)} {
		if i == 0 {
			write(t, path, nil)
		} else {
			appendTo(t, path, []byte(line)[fileSize(t, path):cut])
		}
		poll(t, c, out)
	}
	require.Equal(t, 1, len(out.envelopes))
	require.Contains(t, out.text(), `"user":"alice"`)
}

func TestWhoIsSaidToBeSure(t *testing.T) {
	rules, err := identity.New([]string{"corp.io"}, []identity.Rule{
		{Name: "jobs", Match: `assumed-role/train`, User: "training", UserType: "service", Confidence: identity.Authenticated},
		{Name: "odd", Match: `^alice$`, UserType: "unknown"},
	})
	require.NoError(t, err)
	aws := func(requester string) string {
		return strings.Replace(sampleLine(1, now), "arn:aws:iam::111122223333:user/alice", requester, 1)
	}
	gateway := func(name string) string {
		return "root ml [23/November/2026:10:00:00 +0000] 127.0.0.1 " + name + " ABCDEFGH s3_GetObject k.onnx /ml/k.onnx 200 - 0 1 1 1 - agent - h= SigV4 - AuthHeader s3.us-east-1.amazonaws.com - arn:aws:s3:::/ml/k.onnx Yes"
	}
	for _, tc := range []struct {
		line    string
		trusted bool
		want    string
	}{
		{aws("arn:aws:iam::111122223333:user/alice"), false, `"user":"alice",|"user_confidence":"authenticated"`},
		{aws("arn:aws:sts::1:assumed-role/r/eve@corp.io"), true, `"user":"eve",|"user_confidence":"claimed"`},
		{aws("arn:aws:sts::1:assumed-role/train/i-1"), false, `"user":"training",|"user_confidence":"authenticated"|"user_type":"service"`},
		{aws("-"), false, `"user":"anonymous",|"user_confidence":"unknown"|"user_id":"-"`},
		{gateway("bob"), false, `"user":"bob",|"user_confidence":"claimed"`},
		{gateway("bob"), true, `"user":"bob",|"user_confidence":"authenticated"`},
		{gateway("arn:aws:sts::1:assumed-role/train/i-1"), false, `"user":"training",|"user_confidence":"authenticated"`},
		{gateway("arn:aws:iam::1:user/root"), false, `"user":"root",|"user_confidence":"claimed"`},
	} {
		path := filepath.Join(t.TempDir(), "log")
		write(t, path, []byte(tc.line+"\n"))
		out := newSink()
		poll(t, collector(t, Config{Path: path, Identity: rules, Trusted: tc.trusted}), out)
		for _, want := range strings.Split(tc.want, "|") {
			require.Contains(t, out.text(), want, tc.line)
		}
	}
}

// A rule's regular expression is only run where its literal text stands.
func TestLiteralsOfAPattern(t *testing.T) {
	for pattern, want := range map[string][2]string{
		`^models/(?P<name>[^/]+)/v(\d+)`: {"models/", "models/"},
		`^(data|raw)/x`:                  {"", "/x"},
		`weights.*final`:                 {"", "weights"},
		`(?i)^models/`:                   {"", ""},
		`^(?P<name>abc)def`:              {"abc", "abc"},
		`a|b`:                            {"", ""},
		`^x?yy`:                          {"", "yy"},
		`(?m)^abc`:                       {"", "abc"},
		``:                               {"", ""},
	} {
		rs, err := newAssetRules([]AssetRule{{Pattern: pattern}})
		require.NoError(t, err)
		require.Equal(t, want, [2]string{rs.rules[0].prefix, rs.rules[0].holds}, pattern)
	}
}

// Fields that AWS may add one day do not move those before them, quoted or not.
func TestFieldsThatAreAddedBehindAreIgnored(t *testing.T) {
	for _, added := range []string{"", " new", " new -", ` "quoted"`, ` "quoted text"`, ` "quoted text" more`, ` "a" "b" -`} {
		var p lineParser
		var r record
		require.NoError(t, p.parse(sampleLine(1, now)+added, &r))
		require.Equal(t, "s3://ml/models/m1/weights.safetensors", r.assetID)
		require.Equal(t, "200", r.status)
		if r.doubt == "" {
			require.Equal(t, "aws-cli/2.15.0 Python/3.11.6 Linux/6.1", r.agent, added)
			require.Equal(t, "AuthHeader", r.authType)
			continue
		}
		require.Empty(t, r.agent+r.referer, added)
	}
}
