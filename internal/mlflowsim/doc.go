// Package mlflowsim is a stand-in for a MLflow tracking server: an http.Handler
// that speaks its REST API in the shapes of 2.22 and 3.17, on a clock that is
// handed in. Tests of scale and of faults, scenarios and the demo use it; that
// it answers as real servers do is shown by running the collector's table of
// operations against both.
//
// server.go holds Server, its options and the routes; registry.go models,
// versions and prompts; tracking.go experiments, runs and logged models;
// artifacts.go files behind the artifact proxy; access.go users and grants;
// search.go filters, orders and pages; bulk.go fills a server with as many
// objects as a test of scale needs, which cost no memory until they change.
//
// It believes every caller: As or basic authentication say who calls, and
// passwords are not checked. It is no place to learn MLflow's rules from, and no
// server for anything but tests and plays.
package mlflowsim
