// Package bench measures what a user waits and pays for: whole ways of events,
// by programs of their own, so that the CPU and the memory of a figure are those
// of what is measured and of nothing else. Parts are measured beside their code.
//
// It holds benchmarks alone; `make bench` runs them, docs/benchmarks.md has the
// figures and the gates. Read delivery_test.go (events to a HEC receiver, beside
// OpenTelemetry's exporter), then logs_test.go (access logs to a HEC receiver, a
// backlog's memory, an event's size); programs_test.go starts and measures
// programs.
//
// AIWATCH_BENCH_EVENTS is how many events a run takes, a million unless it is
// set; AIWATCH_BENCH_PROFILE is a file for the sender's CPU profile. Time on the clock depends on what else the machine does; CPU seconds do
// much less.
package bench
