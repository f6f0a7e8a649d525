// Package packaging makes the archives that a Splunk administrator installs.
//
// A package is an explicit list of files (files.go), some of the repository,
// some built: what is not listed is not shipped. archive.go writes them as a
// tar.gz whose bytes depend on nothing but the files; sbom.go writes the bill of
// materials. `make package` runs the command in build.
//
// The add-on's generated files (forms, defaults, icons) are made by gen:
// `go generate ./internal/packaging`.
//
// The room must not decide what an input does or which settings it has: forms
// come from the scheme of internal/modinput.
package packaging

//go:generate go run ./gen
