// Package modinput speaks the protocol by which splunkd runs a modular input.
//
// splunkd starts the program in one of three ways: with --scheme, to be told
// which settings there are (scheme.go); with --validate-arguments, to have an
// administrator's settings tried before they are saved (request.go, answer.go);
// and with no argument, to run one input (request.go), whose events it reads
// from stdout (stream.go) and whose log it reads from stderr (log.go) until it
// asks the input to stop, or is gone (watch.go).
//
// The room knows Splunk's side alone: what the settings are stands in
// internal/conf, what an input does in its collector. It must not read a
// setting, write to splunkd's configuration or keep state.
//
// The protocol is that of Splunk's "Modular inputs" pages for app developers and
// of inputs.conf.spec.
package modinput
