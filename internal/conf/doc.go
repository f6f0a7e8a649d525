// Package conf reads configuration in Splunk's .conf dialect and holds every
// setting of aiwatch.
//
// It has two layers. The reader (file.go) knows the dialect and nothing of
// aiwatch: Parse reads one file, Read reads default/NAME under local/NAME.
// Whoever needs macros.conf or props.conf uses it alone. Above it stand the
// settings: the table in settings.go declares each one once, with its type, its
// default and a sentence of documentation; Load and FromParams turn stanzas
// into typed Settings by that table, and collect every mistake of the user as a
// Problem that names file, stanza, line and what to do.
//
// # How to add a setting
//
// Add one row to its kind in settings.go and run
//
//	go generate ./internal/conf
//
// which writes README/*.conf.spec and docs/configuration.md anew. Read the
// setting where it is used with the accessor of its type, such as
// s.Duration("linger"); a name that the table does not declare panics. What
// ties settings to each other is a rule of the kind (rules.go). A type that
// does not exist yet is one case in parseValue (values.go). A setting that is
// renamed keeps its old name in Aliases.
//
// # What the room must not do
//
// It expands nothing: neither ${VAR} nor $SPLUNK_HOME mean anything in a value.
// It never takes a secret as a value, only as a file, a variable or an entry of
// Splunk's storage/passwords, and it reads it when it is asked for, not before.
// It reaches no source and no destination.
package conf

//go:generate go run ./gen
