//go:build unix

package month

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

// BenchmarkMonth plays a part of the month of a hundred people and runs the whole
// app over it: 3 days, and all 30 with AIWATCH_ROUNDS=100. What it reports is CPU
// time, git's included, because wall time is that of whatever else runs.
func BenchmarkMonth(b *testing.B) {
	rounds, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS"))
	if err != nil {
		rounds = 10
	}
	days := max(1, min(30, 3*rounds/10))
	dir := filepath.Join(b.TempDir(), "month")
	if _, err := Write(dir, Options{Days: days, Lines: days * 400_000 / 30}); err != nil {
		b.Fatal(err)
	}
	app, err := detection.FS()
	if err != nil {
		b.Fatal(err)
	}
	searches, err := scenario.Searches(app)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := scenario.Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		began := spent()
		rec, err := scenario.Play(b.Context(), s, scenario.Options{})
		if err != nil {
			b.Fatal(err)
		}
		played := spent()
		report, err := scenario.Schedule(b.Context(), rec, app, searches, scenario.ScheduleOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((played - began).Seconds(), "play-cpu-s")
		b.ReportMetric((spent() - played).Seconds(), "search-cpu-s")
		b.ReportMetric(float64(report.Runs), "runs")
		b.ReportMetric(float64(days), "days")
	}
}

// spent is the CPU time of this process and of the children that have ended.
func spent() (total time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return total
}
