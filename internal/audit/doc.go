// Package audit answers an auditor's questions from events alone, where there is
// no Splunk: what was found, whose hands a production model went through, who
// read it, which hours nobody watched, and what cannot be known.
//
// Read takes events in, Run makes a Report of them, and the report writes itself
// as HTML, JSON or a few lines of text. The searches are the app's own, run by
// internal/scenario at their times as Splunk would have run them; the audit adds
// none that finds.
//
// The way through it:
//
//	read.go       envelopes of files and archives, with what is wrong with them
//	audit.go      Input to Report
//	record.go     an event as the audit reads it
//	finding.go    findings with the events behind them
//	watch.go      how the inputs were watched: hours, numbers, losses
//	custody.go    production models from their data to who read them
//	access.go     who touched production models and crown jewels
//	coverage.go   which detections could have fired, and what cannot be known
//	framework.go  what the evidence shows of the clauses auditors ask about
//	html.go       the report as one page; page.tmpl and page.css
//	text.go       the report as a few lines
//
// Everything that events say is hostile: it becomes no search, no markup and no
// path.
package audit
