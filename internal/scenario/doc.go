// Package scenario plays scenarios: folders in which a stranger tells, in the
// sources' own languages, what people did and what must be found.
//
// Three steps, each of which can be had by itself:
//
//	Load      reads a folder and says with file and line what is wrong with it
//	Play      plays its acts through the real collectors on a simulated clock,
//	          and returns the events as they would have been delivered
//	Schedule  runs the app's searches over those events at their cron times,
//	          with their windows, throttling and summary indexing
//
// Judge then compares what was found with what the scenario expects. One
// Recording serves any number of Schedules, so that many searches, or many
// variants of one, are tried on events that were collected once.
//
// The way through it:
//
//	folder.go   scenario.yml and the files of a folder; act.go reads acts
//	world.go    the sources: log folder, MLflow stand-in, bare repositories, logs
//	clock.go    the one clock; lanes on which the collectors' own runner sleeps
//	station.go  the forwarder's part: inputs, numbers, heartbeats, kill and rewind
//	lazy.go     polls of a source in which nothing changed are put off
//	play.go     acts and collectors, merged by time; recording.go keeps what came
//	            of it
//	search.go   a saved search as Splunk reads it; schedule.go runs them
//	judge.go    expected, found, missed, quiet
//
// What it must not do: make an event of its own, sleep, or reach anything but
// its own stand-ins on loopback.
package scenario
