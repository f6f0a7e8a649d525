// Package logfile reads the logs that other programs write: it follows a file
// that grows, over rotations and restarts, and reads lines of access logs and
// lines of JSON.
//
//   - follow.go: Log, whose Read visits the lines that were added; position is
//     what is remembered between two reads.
//   - access.go: ParseRequest, one line of a server's or proxy's access log.
//   - object.go: Object, a line that is a JSON object, and the dates in it.
//
// What a line means is the collector's business. Whoever calls the logged
// server writes much of a line: nothing of it becomes more than a value here.
package logfile
