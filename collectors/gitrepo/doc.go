// Package gitrepo watches Git repositories that hold models, datasets or the
// code that makes them.
//
// It keeps a bare mirror of each repository and reads it with git's own
// plumbing; it never checks anything out and never runs git inside a repository
// that is not its mirror. What a mirror can't see (who pushed, who cloned) comes
// from logs: the access log in front of the server, the lines of `aiwatch
// git-hook`, the audit log of a forge.
//
// The way through it:
//
//   - gitrepo.go: Config, New, and Poll, which takes one repository after the
//     other and the logs after them.
//   - git.go: how git is started. The hardening is a table there.
//   - mirror.go: fetching, references, the disk budget.
//   - repository.go: what is compared with what, and in which order it is told.
//   - history.go: the walk over new commits; commit.go, rawdiff.go, objects.go
//     read what git prints.
//   - files.go: one changed path; jsonkeys.go, signature.go, lfs.go look inside.
//   - logs.go: the logs, by collectors/logfile; access.go, hook.go, forge.go are
//     the three kinds; pusher.go joins them to what the mirror saw.
//
// Everything a repository or a log holds was written by the person we watch.
package gitrepo
