// Package detection makes the app aiwatch from its sources: it reads
// splunk_app/detections/*.yml, checks each file against the event schema, the
// app's macros and lookups and the subset of SPL, and makes savedsearches.conf
// and the macros that the files declare.
//
// FS is the app as it is installed; whoever runs its searches (the scenario
// runner, `aiwatch spl`, the audit) or packages it reads that and nothing else.
//
// The way through it:
//
//	load.go      one file to a Detection, strictly
//	check.go     what is wrong with the set, with file and line
//	generate.go  a Detection as a saved search: the row becomes a finding
//	coverage.go  whether a detection can fire with what is at hand
//	model.go     the data model AI_Assets, made from the event schema
//	page.go      docs/detections.md
//	reach.go     what was measured of the detections, for that page
//	fs.go        the app: sources and generated files as one file system
//
// The room must not know a detection by its number: what a search needs stands
// in its file.
package detection

//go:generate go run ./gen
