package event

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCountAndSize(t *testing.T) {
	for n, want := range map[int]string{0: "0 gaps", 1: "1 gap", 2: "2 gaps", 1234: "1234 gaps"} {
		require.Equal(t, want, Count(n, "gap"))
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 12_600_000: "12.6 MB", 5e9: "5.0 GB"} {
		require.Equal(t, want, Size(n))
	}
}
