// Package hec delivers to Splunk's HTTP Event Collector. It implements
// forwarder.Destination: it speaks the protocol, knows the endpoints' health and
// asks for acknowledgements. It must not cut bodies, keep events or decide what
// is given up: the forwarder does.
//
// Read it in this order:
//
//	hec.go       Config, New, Send: one body to one endpoint
//	answer.go    what an answer is, and the table of HEC's codes
//	explain.go   what went wrong without an answer, in words that name the fix
//	endpoint.go  several endpoints: health, ejection, return
//	ack.go       channels and acknowledgements
//	check.go     the same for a person who sets it up
//
// What is known of Splunk's behaviour was probed by others on Enterprise 10.4.3
// and Cloud 10.5 ("probed" below) or stands in Splunk's documentation
// ("Troubleshoot HTTP Event Collector", "Format events for HTTP Event
// Collector", "About HTTP Event Collector Indexer Acknowledgment").
package hec
