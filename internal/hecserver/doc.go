// Package hecserver is an embedded receiver for Splunk's HTTP Event Collector
// (HEC): for the demo, for development and for tests. It is strict where Splunk
// is, it names a sender's mistakes instead of hiding them, and it can be told to
// misbehave as badly as the real one and the proxies in front of it do.
//
// Read it in this order:
//
//   - handler.go: what happens to a request, from the token to the answer
//   - answer.go: the documented codes 0 to 28
//   - batch.go and scan.go: how a body becomes events, and which prefix of a bad
//     one is indexed
//   - ack.go: channels and acknowledgements
//   - sink.go, count.go, file.go: where events go
//   - faults.go: scripted misbehaviour; control.go: the same from another process
//   - server.go: listening, TLS, an orderly end
//
// What is known of Splunk's behaviour was probed by others on Enterprise 10.4.3
// and Cloud 10.5 or stands in Splunk's documentation ("Troubleshoot HTTP Event
// Collector"); where neither says anything, the strict reading was taken and the
// comment says so. The receiver keeps no events of its own: a Sink does. It must
// not be used as a store of record.
package hecserver
