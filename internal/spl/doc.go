// Package spl runs the searches that the app ships, without Splunk: it is
// aiwatch's evaluator for a subset of SPL. It gives the meaning that Splunk's
// documentation gives, and refuses, by name and position, whatever it does not
// know; it never guesses and never answers with nothing where it should have
// failed.
//
// The way through it:
//
//	macro.go     macros expand as text, with a map back to what was typed
//	parser.go    text to a typed tree; search.go and expr.go parse its two
//	             little languages, command.go lists every command
//	store.go     events in dictionary-coded columns, in time order twice over
//	load.go      NDJSON (envelopes or flat rows) into the store
//	props.go     the add-on's search-time fields: alias, then eval, then lookup
//	query.go     parsed searches: run again, and asked what they touch
//	plan.go      which fields, times and predicates reach the store
//	engine.go    runs the tree; cmd_*.go hold the commands, one family a file
//	eval.go      expressions to closures; func_*.go hold the eval functions
//	agg.go       the aggregations of stats and its relatives
//	lookup.go    lookups: CSV tables, KV collections as tables, match types
//
// What it must not do: touch the network, read a file that it was not handed,
// or import anything of ours but the event schema and the conf reader.
package spl

//go:generate go test -count=1 -run ^TestSubsetPage$ . -update
