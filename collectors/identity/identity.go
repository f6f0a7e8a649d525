// Package identity says who a principal is: one form of a person's or service's
// name for all sources, what kind of principal it is, and how sure that is.
//
// The built-in rules read the forms that AWS writes; an operator's rules
// ([identity] and [identity://NAME] in aiwatch.conf) come first. The package is
// pure: it keeps no state, asks nobody and never guesses a name that neither
// the principal nor a rule holds. What a principal's form does not tell is
// returned empty, and the collector, which knows its source, decides.
package identity

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"aiwatch/internal/event"
)

// Words of user_confidence.
const (
	Authenticated = "authenticated" // the source proved it
	Signed        = "signed"        // a good signature by a known key
	Claimed       = "claimed"       // free text, or the caller's choice
	Unknown       = "unknown"
)

// Limits of what an operator may write.
const (
	MaxRules   = 200
	MaxPattern = 1000 // characters of one regular expression
)

// A Rule is one [identity://NAME] stanza.
type Rule struct {
	Name string
	// Match is a Go regular expression over the principal. Its group user, where
	// it has one that took part, gives the user.
	Match string
	// User, UserType and Confidence replace what the built-in rules say; empty
	// ones leave it.
	User, UserType, Confidence string
}

// Rules resolve principals. A nil *Rules holds the built-in rules alone.
type Rules struct {
	domains []string
	rules   []rule
}

type rule struct {
	Rule
	re    *regexp.Regexp
	group int // of the user, -1 when there is none
}

// New makes rules from the domains that are stripped from a user and from an
// operator's rules, of which the first that matches counts.
func New(domains []string, rules []Rule) (*Rules, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d identity rules: at most %d are allowed", len(rules), MaxRules)
	}
	r := &Rules{}
	for _, d := range domains {
		r.domains = append(r.domains, "@"+strings.ToLower(strings.TrimPrefix(strings.TrimSpace(d), "@")))
	}
	for _, in := range rules {
		if len(in.Match) > MaxPattern {
			return nil, fmt.Errorf("[identity://%s] match: %d characters, at most %d are allowed", in.Name, len(in.Match), MaxPattern)
		}
		re, err := regexp.Compile(in.Match)
		if err != nil {
			return nil, fmt.Errorf("[identity://%s] match: %w", in.Name, err)
		}
		if in.UserType != "" && !slices.Contains([]string{"user", "service", "role", "anonymous", "unknown"}, in.UserType) {
			return nil, fmt.Errorf("[identity://%s] user_type = %s: use user, service, role, anonymous or unknown", in.Name, in.UserType)
		}
		if in.Confidence != "" && !slices.Contains([]string{Authenticated, Signed, Claimed, Unknown}, in.Confidence) {
			return nil, fmt.Errorf("[identity://%s] confidence = %s: use authenticated, signed, claimed or unknown", in.Name, in.Confidence)
		}
		r.rules = append(r.rules, rule{in, re, re.SubexpIndex("user")})
	}
	return r, nil
}

// Resolve tells who principal is. userType and confidence are empty where
// neither a rule nor the principal's form tells; confidence is what AWS's own
// records are worth, and a collector whose source is a file that someone can
// write lowers it.
func (r *Rules) Resolve(principal string) (user, userType, confidence string) {
	user, userType, confidence = builtin(principal)
	if r == nil {
		return user, userType, confidence
	}
	for i := range r.rules {
		rule := &r.rules[i]
		at := rule.re.FindStringSubmatchIndex(principal)
		if at == nil {
			continue
		}
		if g := rule.group; g >= 0 && at[2*g] >= 0 && at[2*g] < at[2*g+1] {
			user = principal[at[2*g]:at[2*g+1]]
		}
		user = or(rule.User, user)
		userType = or(rule.UserType, userType)
		confidence = or(rule.Confidence, confidence)
		break
	}
	return r.strip(user), userType, confidence
}

// Ruled reports whether an operator's rule sets the confidence of principal:
// then no collector lowers it.
func (r *Rules) Ruled(principal string) bool {
	if r == nil {
		return false
	}
	for i := range r.rules {
		if r.rules[i].re.MatchString(principal) {
			return r.rules[i].Confidence != ""
		}
	}
	return false
}

func (r *Rules) strip(user string) string {
	at := strings.LastIndexByte(user, '@')
	if at <= 0 {
		return user
	}
	if slices.Contains(r.domains, strings.ToLower(user[at:])) {
		return user[:at]
	}
	return user
}

// builtin reads the forms that AWS writes.
// Source: "IAM identifiers" and "AWS STS" in AWS's documentation, and the
// requester field of the S3 server access log.
func builtin(principal string) (user, userType, confidence string) {
	userType = event.S3UserType(principal)
	switch userType {
	case "":
		return "", "", ""
	case "anonymous":
		return "anonymous", userType, Unknown
	case "service":
		if i := strings.Index(principal, ":user/"); i >= 0 {
			return principal[i+len(":user/"):], userType, Authenticated
		}
		return strings.TrimPrefix(principal, "svc:"), userType, Authenticated
	}
	resource, account, ok := resourceOf(principal)
	if !ok {
		if isCanonical(principal) || isAccount(principal) {
			return principal, userType, Authenticated
		}
		return principal, "", ""
	}
	kind, name, named := strings.Cut(resource, "/")
	switch {
	case resource == "root":
		return account + ":root", userType, Authenticated
	case !named:
		return principal, userType, Unknown
	case kind == "assumed-role":
		role, session, _ := strings.Cut(name, "/")
		if session == "" {
			return role, userType, Authenticated
		}
		// Identity Center sets the session name itself; elsewhere the caller does.
		if userType == "user" {
			return session, userType, Authenticated
		}
		return session, userType, Claimed
	case kind == "federated-user":
		return name, userType, Claimed // chosen by whoever asked for the token
	case kind == "user" || kind == "role":
		return name[strings.LastIndexByte(name, '/')+1:], userType, Authenticated
	}
	return principal, userType, Unknown
}

// resourceOf returns what follows the account in an ARN of IAM or STS.
func resourceOf(arn string) (resource, account string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" && parts[2] != "sts" {
		return "", "", false
	}
	return parts[5], parts[4], true
}

// isCanonical reports whether s is a canonical user id: 64 hexadecimal digits.
func isCanonical(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// isAccount reports whether s is an account number.
func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
