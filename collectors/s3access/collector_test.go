package s3access

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is the tests' clock.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

// rounds is how often a randomised test repeats itself.
func rounds(t testing.TB) int {
	t.Helper()
	text := os.Getenv("AIWATCH_ROUNDS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// collector makes a collector whose clock stands still.
func collector(t testing.TB, cfg Config) *Collector {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	if cfg.Now == nil {
		cfg.Now = clock
	}
	c, err := New(cfg)
	require.NoError(t, err)
	return c
}

// sink is an Output that keeps the envelopes.
type sink struct {
	collectors.Memory
	envelopes []string
}

func newSink() *sink {
	s := &sink{}
	s.Source, s.Collector = "aiwatch_s3://test", "0badcafe"
	s.Deliver = func(envelope []byte) error {
		s.envelopes = append(s.envelopes, string(envelope))
		return nil
	}
	return s
}

func (s *sink) text() string {
	var b bytes.Buffer
	for _, e := range s.envelopes {
		b.WriteString(e)
		b.WriteByte('\n')
	}
	return b.String()
}

// Each folder of testcases holds a log and the events that come of it.
func TestCases(t *testing.T) {
	configs := map[string]Config{
		"aws-documented": {All: true},
		"traps":          {All: true},
		"versitygw":      {All: true},
		"cloudtrail":     {All: true},
		"assets": {Assets: []AssetRule{
			{Name: "churn", Bucket: "m*", Pattern: `^models/(?P<name>[^/]+)/(?P<version>\d+)/`, Type: "model", Owner: "growth"},
			{Name: "pictures", Bucket: "ml", Pattern: `^weird/`, Type: "dataset"},
		}},
	}
	inputs, err := filepath.Glob("testcases/*/input.log")
	require.NoError(t, err)
	require.Len(t, inputs, len(configs))
	for _, input := range inputs {
		name := filepath.Base(filepath.Dir(input))
		t.Run(name, func(t *testing.T) {
			cfg, ok := configs[name]
			require.True(t, ok)
			cfg.Path = input
			out := newSink()
			require.NoError(t, collector(t, cfg).Poll(context.Background(), out))
			golden := filepath.Join(filepath.Dir(input), "expected.ndjson")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(out.text()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			if diff := cmp.Diff(string(want), out.text()); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}
