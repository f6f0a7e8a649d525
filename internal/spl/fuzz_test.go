package spl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fuzzLimits are small, so that a search that grows without bound is found.
var fuzzLimits = Limits{Cells: 20_000, Groups: 2_000, Text: 1 << 16, Expand: 2_000, Rows: 5_000, Steps: 500_000, Subsearch: 2 * time.Second}

func fuzzEngine(t testing.TB) *Engine {
	c := docCase{setup: refusalSetup(t), events: []string{
		`{"_time":1773144000,"user":"a","n":5,"m":["x","y"],"s":"t-1","sourcetype":"st"}`, `{"_time":1773144060,"user":"b","n":6,"s":"{\"k\":[1,2]}"}`, `{"_time":1773144120,"n":"-0.5"}`,
	}}
	e := c.engine(t, time.UTC, 0)
	e.Limits = fuzzLimits
	return e
}

func seedSearches(f *testing.F) {
	for _, c := range readCases(f) {
		f.Add(c.search)
	}
	b, err := os.ReadFile("testdata/refusals.txt")
	require.NoError(f, err)
	for _, line := range strings.Split(string(b), "\n") {
		if s, _, ok := strings.Cut(line, " ## "); ok {
			f.Add(strings.Replace(s, "^", "", 1))
		}
	}
	for _, s := range benchSearches {
		f.Add(s)
	}
}

// FuzzSearch: whatever the text, a search ends in time with rows or an error,
// and a refusal's place lies in the text.
func FuzzSearch(f *testing.F) {
	seedSearches(f)
	f.Fuzz(func(t *testing.T, search string) {
		if len(search) > 2000 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := fuzzEngine(t).Run(ctx, search, Params{Now: testNow})
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		var r *Refusal
		if errors.As(err, &r) {
			require.LessOrEqual(t, r.Position, len(search))
			require.NotEmpty(t, r.Message)
			require.Positive(t, r.Line)
			require.Positive(t, r.Column)
		}
	})
}

// FuzzEval: an expression parses and evaluates, or is refused.
func FuzzEval(f *testing.F) {
	for _, c := range readCases(f) {
		if _, e, ok := strings.Cut(c.search, "eval "); ok {
			f.Add(strings.SplitN(e, " | ", 2)[0])
		}
	}
	f.Fuzz(func(t *testing.T, expression string) {
		if len(expression) > 500 {
			return
		}
		_, err := fuzzEngine(t).Run(context.Background(), "* | eval "+expression, Params{Now: testNow})
		if err != nil {
			require.NotEmpty(t, err.Error())
		}
	})
}

// FuzzRegexp: a regular expression runs in linear time, or is refused.
func FuzzRegexp(f *testing.F) {
	for _, s := range []string{`(?<a>\d+)`, `^(a+)+$`, `(?=x)`, `(a|b){1,1000}`, `\1`, `[[:alpha:]]`, `(?i)x*?`} {
		f.Add(s, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")
	}
	f.Fuzz(func(t *testing.T, pattern, subject string) {
		if len(subject) > 4096 {
			return
		}
		re, err := compileRegexp(pattern)
		if err == nil {
			re.FindAllStringSubmatchIndex(subject, 10)
		}
		if s, err := parseSed("s/" + pattern + "/x/g"); err == nil {
			s.apply(subject)
		}
	})
}

// FuzzLoad: a line is stored or refused; what is stored can be read.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		`{"time":1,"event":{"a":{"b":[{"c":1},{"c":[2,3]}]},"t":true,"n":null}}`, `{"_time":"2026-03-02T09:13:05Z","x":"\u00e9\ud83d\ude00"}`,
		`{"event":"{\"a\":1}","time":"5.25","indextime":6}`, `{"event":"plain"}`, `{`, `{"a":1e400}`, `{"_time":1e300}`, `[1]`, `{"a":"` + "\x01" + `"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		s := NewStore(nil)
		if s.Add(bytes.TrimSpace(line)) != nil {
			return
		}
		res, err := (&Engine{Store: s}).Run(context.Background(), "* | table _time _indextime _raw *", Params{Now: testNow})
		require.NoError(t, err)
		for _, r := range res.Rows {
			require.True(t, json.Valid(res.AppendJSON(nil, r)))
		}
	})
}

// FuzzTime: a time is read or refused, and what strftime wrote strptime reads.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"-7d@d", "@w1+2h", "now", "1773144000", "2026-03-02T09:13:05Z", "03/10/2026:12:29:59", "-1mon@mon", "%Y-%m-%d %H:%M:%S", "%s.%3N", "%j%Y"} {
		f.Add(s, int64(1773144000))
	}
	f.Fuzz(func(t *testing.T, s string, at int64) {
		if m, err := parseTimeModifier(s); err == nil {
			m.resolve(float64(at%4e9), time.UTC)
		}
		_, _ = strftime(float64(at), s, time.UTC)
		_, _, _ = strptime(s, s, time.UTC)
		epoch := float64(at % 4_000_000_000)
		if epoch < 0 {
			return
		}
		written, err := strftime(epoch, "%Y-%m-%d %H:%M:%S", time.UTC)
		require.NoError(t, err)
		read, ok, err := strptime(written, "%Y-%m-%d %H:%M:%S", time.UTC)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, epoch, read)
	})
}
