package scenario_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/scenario"
	"aiwatch/internal/scenario/month"
)

// TestPollsThatArePutOffChangeNothingForLong plays a morning of twenty people's
// work, and three days with AIWATCH_ROUNDS=100: nights, idle hours and busy ones.
func TestPollsThatArePutOffChangeNothingForLong(t *testing.T) {
	if testing.Short() {
		t.Skip("plays hours of people's work")
	}
	rounds, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS"))
	if err != nil {
		rounds = 10
	}
	dir := filepath.Join(t.TempDir(), "month")
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	_, err = month.Write(dir, month.Options{Start: monday, Days: 4, People: 20, Lines: 4000})
	require.NoError(t, err)
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	s.Start = monday.Add(7 * time.Hour)
	s.End = s.Start.Add(time.Duration(rounds) * 45 * time.Minute)
	scenario.PutOffPollsChangeNothing(t, s)
}
