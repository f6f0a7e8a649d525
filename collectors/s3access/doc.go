// Package s3access reads S3 access logs: who read, wrote, copied or deleted
// which object, and who changed what is logged, kept or allowed.
//
// The way through it, from the outside in:
//
//   - config.go, collector.go: one [aiwatch_s3://NAME] stanza becomes a
//     Collector, which polls one of three intakes: local.go (file, folder or
//     glob), bucket.go (a log bucket), queue.go (S3 notifications from SQS).
//   - read.go: an intake's document (a file or log object), plain or gzip, is
//     cut into records in bounded memory, from the position that the state holds.
//   - line.go, versitygw.go, cloudtrail.go: one record of each format.
//   - event.go, with assets.go and operations.go: the record becomes an AI-asset
//     event, if it is in scope.
//
// Every byte of a log was written by the people whom we watch, or by way of
// them. A record is read only where its form is certain. What can't be told
// apart is left out and named (parse_error), so that nobody can hide an access
// behind odd text; what is no record at all is sent as it is (record.damaged)
// and stops nothing. The package never writes to its source and never follows
// what a record points at.
package s3access
