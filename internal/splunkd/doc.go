// Package splunkd speaks splunkd's REST interface, as far as aiwatch needs it:
// the secrets of storage/passwords (credentials.go), a session to reach them
// with (client.go), and splunkd's certificate, which is verified (trust.go).
//
// It follows Splunk's REST API Reference, "Access endpoint descriptions". It
// must not write anything else into splunkd, follow a redirect, or show a
// secret in an error.
package splunkd
