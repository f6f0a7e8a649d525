package modelfile

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoMaliciousPickleIsSafe(t *testing.T) {
	corpus := malicious()
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		got := ScanBytes(context.Background(), "model.pt", corpus[name], DefaultLimits())
		if got.Verdict <= Safe {
			t.Errorf("%s: %q, imports %q, findings %v", name, got.Verdict, got.Imports, got.Findings)
		}
	}
}

func TestBenignFalseAlarms(t *testing.T) {
	corpus := benign()
	var alarms []string
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		got := ScanBytes(context.Background(), name, corpus[name], DefaultLimits())
		if got.Verdict != Safe {
			alarms = append(alarms, name)
			t.Logf("%s: %q, imports %q, findings %v", name, got.Verdict, got.Imports, got.Findings)
		}
	}
	require.Equal(t, falseAlarms, alarms)
}
