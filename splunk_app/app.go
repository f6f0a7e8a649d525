// Package splunkapp holds the app aiwatch as its sources stand in this folder:
// what Splunk reads as it is (default, lookups, metadata) and the detections it
// is made from. internal/detection makes the app that is installed.
package splunkapp

import "embed"

// Files are the sources of the app.
//
//go:embed default lookups metadata detections
var Files embed.FS
