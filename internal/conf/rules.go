package conf

import (
	"net"
	"slices"
	"strings"
)

// A Rule ties the settings of a stanza to each other.
type Rule struct {
	Doc string // the rule, as a sentence without its full stop
	// check returns the name of the setting that breaks the rule, empty for the
	// stanza as a whole, and what is wrong; nil when the rule is kept.
	check func(s *Settings) (name string, wrong *refusal)
}

// exactlyOne wants one of the settings.
func exactlyOne(names ...string) Rule {
	doc := "Exactly one of " + words(names, "and") + " is set"
	none := &refusal{"none of " + words(names, "and") + " is set", "set one of them"}
	some := atMostOne(names...)
	return Rule{doc, func(s *Settings) (string, *refusal) {
		if !slices.ContainsFunc(names, s.IsSet) {
			return "", none
		}
		return some.check(s)
	}}
}

// atMostOne wants one of the settings or none.
func atMostOne(names ...string) Rule {
	return Rule{"At most one of " + words(names, "and") + " is set", func(s *Settings) (string, *refusal) {
		first := ""
		for _, name := range names {
			switch {
			case !s.IsSet(name):
			case first == "":
				first = name
			default:
				return name, &refusal{first + " is set too, and only one of them can be", "remove one; in local/ an empty value hides the one in default/"}
			}
		}
		return "", nil
	}}
}

// atLeastOne wants one of the settings or more.
func atLeastOne(names ...string) Rule {
	return Rule{"At least one of " + words(names, "and") + " is set", func(s *Settings) (string, *refusal) {
		if slices.ContainsFunc(names, s.IsSet) {
			return "", nil
		}
		return "", &refusal{"none of " + words(names, "and") + " is set", "set at least one of them"}
	}}
}

// needs wants other wherever name is set.
func needs(name, other string) Rule {
	return Rule{name + " needs " + other, func(s *Settings) (string, *refusal) {
		if !s.IsSet(name) || s.IsSet(other) {
			return "", nil
		}
		return name, &refusal{"it needs " + spelled(s, other) + ", which is not set", "set " + spelled(s, other) + ", or remove " + name}
	}}
}

// together wants both settings or none.
func together(a, b string) Rule {
	return Rule{a + " and " + b + " are set together", func(s *Settings) (string, *refusal) {
		if name, wrong := needs(a, b).check(s); wrong != nil {
			return name, wrong
		}
		return needs(b, a).check(s)
	}}
}

// spelled names a setting as it is written: a secret by its ways.
func spelled(s *Settings, name string) string {
	if _, d := s.kind.find(name); d.Type == SecretType {
		return words(d.Keys(), "or")
	}
	return name
}

// webhookTLS holds what stands behind a listener that other machines reach.
var webhookTLS = Rule{
	"listen is a loopback address, or has listen_cert_file and listen_key_file",
	func(s *Settings) (string, *refusal) {
		host, _, _ := net.SplitHostPort(s.String("listen"))
		if !s.IsSet("listen") || isLoopback(host) || s.IsSet("listen_cert_file") {
			return "", nil
		}
		return "listen", &refusal{"other machines can reach this address, and it has no TLS", "set listen_cert_file and listen_key_file, or listen on 127.0.0.1"}
	},
}

// webhookStays holds that something is there to listen.
var webhookStays = Rule{
	"listen is not used with a cron expression as interval",
	func(s *Settings) (string, *refusal) {
		if !s.IsSet("listen") || s.Interval().Cron == "" {
			return "", nil
		}
		return "listen", &refusal{"with a cron expression as interval the process ends after each pass, and nothing listens", "write the interval in seconds, or remove listen"}
	},
}

// identitySays holds that a rule has something to say about whom it matches.
var identitySays = Rule{
	"At least one of user, user_type, confidence and a group named user in match is set",
	func(s *Settings) (string, *refusal) {
		match := s.Regexp("match") // nil: that is wrong, not this
		if match == nil || match.SubexpIndex("user") >= 0 || slices.ContainsFunc([]string{"user", "user_type", "confidence"}, s.IsSet) {
			return "", nil
		}
		return "", &refusal{"the rule says nothing about whom it matches", "set user, user_type or confidence, or name a group in match, such as (?P<user>[^/]+)"}
	},
}

// words lists names as a sentence does.
func words(names []string, last string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + last + " " + names[len(names)-1]
}
