package conf

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestProblems loads each testdata/problems/NAME.conf, whose parts "== FILE"
// are a directory's files, and compares what is told with NAME.golden.
func TestProblems(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("testdata", "problems", "*.conf"))
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".conf"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			files := map[string]string{}
			for part := range strings.SplitSeq(strings.TrimPrefix(string(text), "== "), "\n== ") {
				name, body, _ := strings.Cut(part, "\n")
				files[name] = body + "\n"
			}
			dir := write(t, files)
			c, err := Load(dir)
			require.Nil(t, c)
			var problems Problems
			require.ErrorAs(t, err, &problems)
			got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "") + "\n"
			golden := strings.TrimSuffix(path, ".conf") + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
			for _, p := range problems {
				require.NotEmpty(t, p.What)
				require.NotEmpty(t, p.Fix, "%v says what is wrong and not what to do", p)
				require.NotContains(t, p.Error(), "hunter2", "a secret is told")
			}
		})
	}
}

func TestTooManyRules(t *testing.T) {
	rules := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "[identity://n%d]\nmatch = x\nuser = y\n[asset_rule://n%d]\nbucket = x\n", i, i)
		}
		return b.String()
	}
	c, err := Load(write(t, map[string]string{"local/aiwatch.conf": rules(200)}))
	require.NoError(t, err)
	require.Len(t, c.All("identity"), 200)
	for i, rule := range c.All("asset_rule") {
		require.Equal(t, fmt.Sprintf("n%d", i), rule.Name(), "the order is the file's")
	}

	dir := write(t, map[string]string{"local/aiwatch.conf": rules(202)})
	_, err = Load(dir)
	require.Equal(t, "local/aiwatch.conf:1001: [identity://n200]: there are more than 200 stanzas of this kind; put several into one regular expression\n"+
		"local/aiwatch.conf:1004: [asset_rule://n200]: there are more than 200 stanzas of this kind; put several into one regular expression",
		strings.ReplaceAll(err.Error(), dir+"/", ""))
}

func TestNoConfiguration(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir)
	require.EqualError(t, err, dir+": there is no configuration here; write local/aiwatch.conf and local/inputs.conf below it, or name another directory by --conf or AIWATCH_CONF")
}

func TestNoDestination(t *testing.T) {
	dir := write(t, map[string]string{"local/inputs.conf": ""})
	c, err := Load(dir)
	require.NoError(t, err)
	_, err = c.Destination()
	require.EqualError(t, err, dir+"/local/aiwatch.conf: there is no destination; write a stanza [hec] with url and token_file, or [scs] with tenant and token_file")
	_, err = c.Input("prod")
	require.EqualError(t, err, "there is no input prod: "+dir+"/local/inputs.conf has no input stanzas")
}

func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "local", "inputs.conf"), 0o700))
	_, err := Load(dir)
	require.EqualError(t, err, "read "+dir+"/local/inputs.conf: read "+dir+"/local/inputs.conf: is a directory")
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"bucket", "buckets", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"ab", "ba", 2}} {
		require.Equal(t, tc.want, distance(tc.a, tc.b), "%s %s", tc.a, tc.b)
	}
}
