// Package mlflow is the audit trail that MLflow does not keep: it reads a
// tracking server and registry over REST, remembers what it saw, and tells each
// difference as one event with the value before and after, the actor as far as
// it can be known, and how sure that is.
//
// The way through it:
//
//   - config.go: the settings, New, Check, Report. collector.go: Poll, which does
//     a full sweep when one is due and the fast lane otherwise.
//   - client.go: REST, one request at a time. shapes.go: the answers' shapes.
//   - ledger.go: state and events of one change, committed together and in order;
//     record.go: what is remembered of an object; events.go: events.
//   - registry.go (models, versions, aliases, prompts), reread.go (the fast lane
//     and webhooks), experiments.go, runs.go, lineage.go, loggedmodels.go,
//     grants.go, artifacts.go: the objects; owners.go: what versions stand on.
//   - accesslog.go, actors.go: the second intake, by collectors/logfile, and who
//     did it.
//   - webhook.go: the receiver, which only hints at what to read again.
//
// Whatever a server sends was written by the people we watch: it becomes values
// of events and escaped parts of keys and URLs, nothing else. Nothing that a
// source URI names is ever fetched; artifacts come from the server alone, and
// only from below its own artifact root.
package mlflow
