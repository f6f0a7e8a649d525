// Package splunkdsim stands in for splunkd in tests: where this project is
// built there is none.
//
// REST (rest.go) is splunkd's storage/passwords behind a certificate of its own
// authority. Instance (instance.go) is a Splunk with an app unpacked from its
// archive: it finds the schemes of its modular inputs, has settings validated,
// runs inputs, reads their streams with a strict parser (stream.go), and ends
// them as splunkd does.
//
// It follows Splunk's documentation and is strict wherever that says what may
// be sent. It proves that aiwatch keeps to the documentation, not that Splunk
// does. It is for tests alone.
package splunkdsim
