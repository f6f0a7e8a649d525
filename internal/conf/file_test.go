package conf

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// outline tells a file in lines: [stanza]@line and key=value@line.
func outline(f *File) string {
	var lines []string
	for _, s := range f.Stanzas {
		lines = append(lines, fmt.Sprintf("[%s]@%d", s.Name, s.Origin.Line))
		for _, v := range s.Values {
			lines = append(lines, fmt.Sprintf("%s=%q@%d", v.Key, v.Text, v.Origin.Line))
		}
	}
	return strings.Join(lines, "\n")
}

func TestDialect(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comments and blank lines", "# one\n\n  \t\n[a]\n  # two\nb = 1", "[a]@4\nb=\"1\"@6"},
		{"a number sign in a value", "[a]\nb = 1 # no comment\nc = #1", "[a]@1\nb=\"1 # no comment\"@2\nc=\"#1\"@3"},
		{"a semicolon is no comment", "[a]\n; b = 1", "[a]@1\n; b=\"1\"@2"},
		{"white space", "  [ a ]  \n \tb\t =\t 1 2 \t", "[a]@1\nb=\"1 2\"@2"},
		{"the first equals sign divides", "[a]\nb = c=d=e", "[a]@1\nb=\"c=d=e\"@2"},
		{"empty value", "[a]\nb =", "[a]@1\nb=\"\"@2"},
		{"a quote is a character", "[a]\nb = \"c\"", "[a]@1\nb=\"\\\"c\\\"\"@2"},
		{"before the first stanza", "b = 1\n[a]\nc = 2", "[default]@1\nb=\"1\"@1\n[a]@2\nc=\"2\"@3"},
		{"before the first stanza and in [default]", "b = 1\n[default]\nc = 2", "[default]@1\nb=\"1\"@1\nc=\"2\"@3"},
		{"a stanza without a name", "[]\nb = 1", "[]@1\nb=\"1\"@2"},
		{"brackets in a stanza", "[source::...[ab]c]\nb = 1", "[source::...[ab]c]@1\nb=\"1\"@2"},
		{"a stanza of a macro", "[aiwatch_person(1)]\nargs = field", "[aiwatch_person(1)]@1\nargs=\"field\"@2"},
		{"a stanza goes on", "[a]\nb = 1\n[c]\n[a]\nd = 2", "[a]@1\nb=\"1\"@2\nd=\"2\"@5\n[c]@3"},
		{"the last value wins", "[a]\nb = 1\nc = 2\nb = 3", "[a]@1\nb=\"3\"@4\nc=\"2\"@3"},
		{"names differ by case", "[a]\nb = 1\nB = 2\n[A]", "[a]@1\nb=\"1\"@2\nB=\"2\"@3\n[A]@4"},
		{"continued", "[a]\nb = 1 \\\n  2\\\n3\nc = 4", "[a]@1\nb=\"1 \\n  2\\n3\"@2\nc=\"4\"@5"},
		{"continued by what looks otherwise", "[a]\nb = 1\\\n[c]\\\n# d\\\n\ne = 2", "[a]@1\nb=\"1\\n[c]\\n# d\"@2\ne=\"2\"@6"},
		{"continued by the end", "[a]\nb = 1\\", "[a]@1\nb=\"1\"@2"},
		{"a blank behind the backslash", "[a]\nb = 1\\ \nc = 2", "[a]@1\nb=\"1\\\\\"@2\nc=\"2\"@3"},
		{"a comment is not continued", "# x \\\n[a]", "[a]@2"},
		{"a backslash inside", "[a]\nb = \\d+\\.x", "[a]@1\nb=\"\\\\d+\\\\.x\"@2"},
		{"CRLF and a byte order mark", "\ufeff[a]\r\nb = 1\\\r\n2\r\n", "[a]@1\nb=\"1\\n2\"@2"},
		{"UTF-8", "[ä]\nö = 模型", "[ä]@1\nö=\"模型\"@2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := Parse("x.conf", strings.NewReader(tc.text))
			require.NoError(t, err)
			require.Equal(t, tc.want, outline(f))
			requireRoundTrip(t, f)
		})
	}
}

func TestParseProblems(t *testing.T) {
	for _, tc := range []struct{ name, text, want, outline string }{
		{
			"a line that is nothing", "[a]\nhunter2\nb = 1",
			"x.conf:2: [a]: the line is neither a [stanza] nor key = value; write key = value, or # in front of a comment",
			"[a]@1\nb=\"1\"@3",
		},
		{
			"no key", "= 1",
			"x.conf:1: no key stands before the equals sign; write key = value",
			"",
		},
		{
			"an open stanza", "[a\nb = 1",
			`x.conf:1: the line "[a" opens a stanza and does not end in ]; write [name] alone in its line, comments in lines of their own`,
			"[a]@1\nb=\"1\"@2",
		},
		{
			"a comment behind a stanza", "[a] # \x1b]0;owned\x07\nb = 1",
			`x.conf:1: the line "[a] # \x1b]0;owned\a" opens a stanza and does not end in ]; write [name] alone in its line, comments in lines of their own`,
			"[a]@1\nb=\"1\"@2",
		},
		{
			"not UTF-8", "[a]\nb = \xff\nc = 1",
			"x.conf:2: [a]: the line is not UTF-8 text; save the file as UTF-8",
			"[a]@1\nc=\"1\"@3",
		},
		{
			"UTF-16", "[\x00a\x00]\x00",
			"x.conf:1: the line is not UTF-8 text; save the file as UTF-8",
			"",
		},
		{
			"a long line", "[a]\nb = " + strings.Repeat("x", maxLine) + "\nc = 1",
			"x.conf:2: [a]: the line is longer than 64 KiB; divide it: a backslash at its end continues a value in the next line",
			"[a]@1\nc=\"1\"@3",
		},
		{
			"a long value", "[a]\nb = " + strings.Repeat(strings.Repeat("x", maxLine-10)+"\\\n", 20) + "\nc = 1",
			"x.conf:2: [a]: the value is longer than 1024 KiB; shorten it, or look for a backslash at the end of a line that should not be continued",
			"[a]@1\nc=\"1\"@23",
		},
		{
			"a large file", strings.Repeat("# 34567\n", maxFile/8) + "#",
			"x.conf: the file is larger than 8 MiB; split it, or check that it is a conf file",
			"",
		},
		{
			"all of them", "one\n[a]\ntwo\n= 3",
			"x.conf:1: the line is neither a [stanza] nor key = value; write key = value, or # in front of a comment\n" +
				"x.conf:3: [a]: the line is neither a [stanza] nor key = value; write key = value, or # in front of a comment\n" +
				"x.conf:4: [a]: no key stands before the equals sign; write key = value",
			"[a]@2",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := Parse("x.conf", strings.NewReader(tc.text))
			require.EqualError(t, err, tc.want)
			var problems Problems
			require.ErrorAs(t, err, &problems)
			require.Equal(t, tc.outline, outline(f))
		})
	}
}

func TestParseReadError(t *testing.T) {
	broken := errors.New("disk gone")
	_, err := Parse("x.conf", iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
	require.EqualError(t, err, "read x.conf: disk gone")
}

func TestRead(t *testing.T) {
	dir := write(t, map[string]string{
		"default/macros.conf": "[a]\ndefinition = 1\nargs = x\n[b]\ndefinition = 2\n",
		"local/macros.conf":   "[c]\ndefinition = 3\n[a]\ndefinition = 4\n",
	})
	f, err := Read(dir, "macros.conf")
	require.NoError(t, err)
	require.Equal(t, "[c]@1\ndefinition=\"3\"@2\n[a]@3\ndefinition=\"4\"@4\nargs=\"x\"@3\n[b]@4\ndefinition=\"2\"@5", outline(f))
	a := f.Stanza("a")
	definition, _ := a.Get("definition")
	require.Equal(t, dir+"/local/macros.conf", definition.Origin.File)
	args, _ := a.Get("args")
	require.Equal(t, Origin{dir + "/default/macros.conf", 3, "a"}, args.Origin)
	_, ok := a.Get("nothing")
	require.False(t, ok)
	require.Nil(t, f.Stanza("nothing"))

	f, err = Read(dir, "props.conf")
	require.NoError(t, err)
	require.Empty(t, f.Stanzas)
}

// requireRoundTrip holds that what a file prints reads as the same file.
func requireRoundTrip(t *testing.T, f *File) {
	t.Helper()
	again, err := Parse(f.Name, strings.NewReader(f.String()))
	require.NoError(t, err, f.String())
	if diff := cmp.Diff(withoutLines(f), withoutLines(again)); diff != "" {
		t.Fatalf("printed as\n%s\nand read as something else (-was +is):\n%s", f, diff)
	}
}

func withoutLines(f *File) []Stanza {
	var all []Stanza
	for _, s := range f.Stanzas {
		c := Stanza{Name: s.Name, Values: slices.Clone(s.Values)}
		for i := range c.Values {
			c.Values[i].Origin = Origin{}
		}
		all = append(all, c)
	}
	return all
}

// TestRoundTrip reads files of random pieces that mean something in the
// dialect, prints what was read and reads it again.
func TestRoundTrip(t *testing.T) {
	pieces := []string{"[", "]", "=", "\\", "\n", "\r\n", "#", " ", "\t", "a", "b", "ä", "\\\n", "[a]\n", "b = ", "c=1\n", "\u00a0"}
	random := rand.New(rand.NewPCG(1, 2))
	whole := 0
	for range 5_000 {
		var text strings.Builder
		for range random.IntN(30) {
			text.WriteString(pieces[random.IntN(len(pieces))])
		}
		f, err := Parse("x.conf", strings.NewReader(text.String()))
		if err != nil {
			continue
		}
		whole++
		requireRoundTrip(t, f)
	}
	require.Greater(t, whole, 500, "the generator makes too little that is valid")
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "[a]\nb = 1\n", "b = 1", "\ufeff[a]\r\nb = 1\\\r\n2", "[a]\nb = c\\\n\nd = e\\", "[a\n= \n", "[a]\nb=\xff\x00", "[[]]]\n#=#\n", "[a]\nb = \\\\\\\n\\\\\nc=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("x.conf", strings.NewReader(text))
		require.NotNil(t, file)
		lines := 1 + strings.Count(text, "\n")
		for _, s := range file.Stanzas {
			require.LessOrEqual(t, s.Origin.Line, lines)
			for _, v := range s.Values {
				require.Equal(t, s.Name, v.Origin.Stanza)
				require.Equal(t, strings.TrimSpace(v.Text), v.Text)
			}
		}
		// A printed line is a little longer than the one that was read.
		if err == nil && len(text) < maxLine/2 {
			requireRoundTrip(t, file)
		}
	})
}
