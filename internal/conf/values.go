package conf

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Type is what a setting's value may be, in the words of the documentation.
type Type string

// The types of values. What Settings' accessors return for each stands behind
// it.
const (
	String     Type = "text"           // String
	Bool       Type = "boolean"        // Bool
	Int        Type = "integer"        // Int
	Duration   Type = "duration"       // Duration: 30s, 10m, 48h, 7d
	Size       Type = "size"           // Size, in bytes: 64MiB
	Interval   Type = "interval"       // Interval: seconds, or a cron expression
	Time       Type = "time"           // Time: RFC 3339, or -7d
	Choice     Type = "choice"         // String: one of Setting.Values
	Path       Type = "path"           // String, absolute
	URL        Type = "URL"            // String: http or https
	Repository Type = "repository"     // String: a URL, or the absolute path of a bare repository
	Bucket     Type = "bucket"         // String: an S3 bucket's name
	Address    Type = "address"        // String: host:port to listen on
	BucketGlob Type = "bucket pattern" // String: a name, or a pattern of names
	Glob       Type = "pattern"        // String, in the syntax of package path's Match
	Regexp     Type = "regexp"         // Regexp
	Network    Type = "network"        // Networks: 10.0.0.0/8, or one address
	SecretType Type = "secret"         // Secret
)

// What is written for a secret instead of it, beside a Path.
const (
	variable   Type = "variable"   // the name of an environment variable
	credential Type = "credential" // the name of an entry in storage/passwords
)

const (
	maxRegexp = 1_000 // characters of a regular expression
	maxDays   = 36_500
)

// A refusal says why a value can't be used, and what can.
type refusal struct{ what, fix string }

func (r *refusal) Error() string { return r.what + "; " + r.fix }

// parseValue reads one value of the setting's type. Paths that are not absolute
// are below base. The errors are refusals.
func parseValue(d *Setting, typ Type, base, text string) (any, error) {
	switch typ {
	case String:
		return text, nil
	case Bool:
		return parseBool(text)
	case Int:
		return parseInt(d, text)
	case Duration:
		return parseDuration(d, text)
	case Size:
		return parseSize(d, text)
	case Interval:
		return parseInterval(text)
	case Time:
		return parseTime(text)
	case Choice:
		if !slices.Contains(d.Values, text) {
			return nil, &refusal{quote(text) + " is none of its values", "write one of " + strings.Join(d.Values, ", ")}
		}
		return text, nil
	case Path:
		return parsePath(base, text)
	case URL:
		return parseURL(text)
	case Repository:
		return parseRepository(text)
	case Bucket:
		if strings.ContainsAny(text, "/: \t*?") {
			return nil, &refusal{quote(text) + " is not the name of a bucket", "write the bucket's name alone and the beginning of the keys as prefix"}
		}
		return text, nil
	case BucketGlob:
		if strings.ContainsAny(text, "/: \t") {
			return nil, &refusal{quote(text) + " is not the name of a bucket", "write the bucket's name alone, or a pattern of names such as acme-models-*"}
		}
		return parseGlob(text)
	case Address:
		return parseAddress(text)
	case Glob:
		return parseGlob(text)
	case Regexp:
		return parseRegexp(text)
	case Network:
		return parseNetwork(text)
	case variable:
		if !variableName.MatchString(text) {
			// The text is not told: it may be the secret itself.
			return nil, &refusal{"the value is not the name of an environment variable", "write letters, digits and _, such as HEC_TOKEN"}
		}
		return text, nil
	case credential:
		if looksSecret.MatchString(text) || len(text) > 100 {
			return nil, &refusal{"the value looks like a secret, and it is the name of one that is wanted", "store the secret with aiwatch credentials set NAME, and write that NAME"}
		}
		return text, nil
	}
	panic(fmt.Sprintf("conf: %s has the unknown type %q", d.Name, typ))
}

func parseGlob(text string) (any, error) {
	if _, err := path.Match(text, ""); err != nil {
		return nil, &refusal{quote(text) + " is not a pattern", `close each [, and write \ in front of a character that stands for itself`}
	}
	return text, nil
}

// parseList reads comma-separated values. Empty ones do not count.
func parseList(d *Setting, typ Type, base, text string) (any, error) {
	var texts []string
	var networks []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		v, err := parseValue(d, typ, base, part)
		if err != nil {
			return nil, err
		}
		if n, ok := v.(netip.Prefix); ok {
			networks = append(networks, n)
		} else {
			texts = append(texts, v.(string))
		}
	}
	if typ == Network {
		return networks, nil
	}
	return texts, nil
}

// parseBool takes the words that Splunk takes.
func parseBool(text string) (any, error) {
	switch strings.ToLower(text) {
	case "1", "true", "t", "yes", "y", "on":
		return true, nil
	case "0", "false", "f", "no", "n", "off":
		return false, nil
	}
	return nil, &refusal{quote(text) + " is not a boolean", "write true or false"}
}

// within holds n between the setting's Min and Max, which are read by parse.
func within(d *Setting, n int64, parse func(string) (int64, error)) error {
	for _, bound := range []struct {
		text, word string
		sign       int64
	}{{d.Min, "least", 1}, {d.Max, "most", -1}} {
		if bound.text == "" {
			continue
		}
		limit, err := parse(bound.text)
		if err != nil {
			panic(fmt.Sprintf("conf: the bound %q of %s: %v", bound.text, d.Name, err))
		}
		if (n < limit && bound.sign > 0) || (n > limit && bound.sign < 0) {
			return &refusal{"the value is out of range", fmt.Sprintf("write at %s %s", bound.word, bound.text)}
		}
	}
	return nil
}

func parseInt(d *Setting, text string) (any, error) {
	read := func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }
	n, err := read(text)
	if err != nil {
		return nil, &refusal{quote(text) + " is not a whole number", "write digits only"}
	}
	if err := within(d, n, read); err != nil {
		return nil, err
	}
	return int(n), nil
}

func parseDuration(d *Setting, text string) (any, error) {
	n, err := readDuration(text)
	if err != nil {
		return nil, err
	}
	if err := within(d, n, readDuration); err != nil {
		return nil, err
	}
	return time.Duration(n), nil
}

// readDuration reads Go's durations and whole days, such as 7d, in nanoseconds.
func readDuration(text string) (int64, error) {
	wrong := &refusal{quote(text) + " is not a duration", "write a number and its unit, such as 30s, 10m, 48h or 7d"}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > maxDays {
			return 0, wrong
		}
		return int64(n) * int64(24*time.Hour), nil
	}
	n, err := time.ParseDuration(text)
	if err != nil || n < 0 || n > maxDays*24*time.Hour {
		return 0, wrong
	}
	return int64(n), nil
}

var units = map[string]int64{
	"": 1, "B": 1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

func parseSize(d *Setting, text string) (any, error) {
	n, err := readSize(text)
	if err != nil {
		return nil, err
	}
	return n, within(d, n, readSize)
}

func readSize(text string) (int64, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	unit, known := units[strings.TrimSpace(text[digits:])]
	if err != nil || !known || n > math.MaxInt64/unit {
		return 0, &refusal{quote(text) + " is not a size", "write a whole number and its unit, such as 768KiB, 64MiB or 10GiB"}
	}
	return n * unit, nil
}

// A Schedule is when an input reads: at a pace, or at the times of a cron
// expression.
type Schedule struct {
	Every time.Duration // 0 with Cron
	Cron  string        // five fields, or empty
}

// Next returns when the reading after t is due. Cron expressions count in t's
// time zone.
func (s Schedule) Next(t time.Time) time.Time {
	if s.Cron == "" {
		return t.Add(s.Every)
	}
	next, err := gronx.NextTickAfter(s.Cron, t, false)
	if err != nil {
		// It came due when it was parsed, so it can only be ages away.
		return t.AddDate(10, 0, 0)
	}
	return next
}

func parseInterval(text string) (any, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds >= 1 && seconds <= maxDays*24*3600) {
			return nil, &refusal{quote(text) + " is not an interval", "write at least 1 second, such as 300"}
		}
		return Schedule{Every: time.Duration(seconds * float64(time.Second))}, nil
	}
	wrong := &refusal{quote(text) + " is not an interval", "write seconds without a unit, such as 300, or a cron expression of five fields, such as */15 * * * *"}
	if len(strings.Fields(text)) != 5 || !gronx.IsValid(text) {
		return nil, wrong
	}
	if _, err := gronx.NextTickAfter(text, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), false); err != nil {
		return nil, &refusal{quote(text) + " never comes", wrong.fix}
	}
	return Schedule{Cron: text}, nil
}

// moment is a time, or how long before another one it lies.
type moment struct {
	at  time.Time
	ago time.Duration
}

func parseTime(text string) (any, error) {
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		if n, err := readDuration(ago); err == nil {
			return moment{ago: time.Duration(n)}, nil
		}
	} else if t, err := time.Parse(time.RFC3339, text); err == nil {
		return moment{at: t}, nil
	}
	return nil, &refusal{quote(text) + " is not a time", "write RFC 3339, such as 2026-01-31T00:00:00Z, or how long ago, such as -7d"}
}

func parsePath(base, text string) (any, error) {
	switch {
	case strings.HasPrefix(text, "$"), strings.HasPrefix(text, "~"):
		return nil, &refusal{"variables and ~ are not expanded in " + quote(text), "write the path itself"}
	case filepath.IsAbs(text):
		return text, nil
	case base == "":
		return nil, &refusal{quote(text) + " is not an absolute path", "write it from the root on"}
	}
	return filepath.Join(base, text), nil
}

// webURL reads a URL with a host and without credentials, which would be a
// secret in a configuration file.
func webURL(text string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" {
		// The text is not told: it may hold a password where none is seen.
		return nil, &refusal{"the value is not a URL of " + strings.Join(schemes, " or "), "write it as " + schemes[0] + "://host/path"}
	}
	if strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.User.Username(), "-") {
		return nil, &refusal{"the host or user of the URL begins with -", "programs would take it for an option: write the name itself"}
	}
	_, password := u.User.Password()
	if password || (u.User != nil && u.Scheme != "ssh") {
		return nil, &refusal{"the URL holds a user name or password", "take them out of it; where the input has settings for credentials, use those"}
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, &refusal{quote(port) + " is not a port", "write a number from 1 to 65535"}
		}
	}
	return u, nil
}

func parseURL(text string) (any, error) {
	_, err := webURL(text, "https", "http")
	return text, err
}

func parseRepository(text string) (any, error) {
	if filepath.IsAbs(text) {
		return filepath.Clean(text), nil
	}
	if !strings.Contains(text, "://") {
		return nil, &refusal{"the value is neither a URL nor an absolute path", "write https://host/path, ssh://user@host/path or the absolute path of a bare repository"}
	}
	u, err := webURL(text, "https", "ssh", "http")
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, &refusal{"http is for this machine only", "write https"}
	}
	return text, nil
}

func parseAddress(text string) (any, error) {
	if !strings.Contains(text, ":") {
		text = ":" + text
	}
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		return nil, &refusal{quote(text) + " is not an address to listen on", "write host:port, or the port alone for this machine only"}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// isLoopback tells whether host names this machine and nothing else.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}

func parseRegexp(text string) (any, error) {
	if len([]rune(text)) > maxRegexp {
		return nil, &refusal{fmt.Sprintf("the regular expression is longer than %d characters", maxRegexp), "divide it into several rules"}
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, &refusal{quote(text) + " is not a regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: "), "write it in Go's syntax (pkg.go.dev/regexp/syntax)"}
	}
	return re, nil
}

func parseNetwork(text string) (any, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	return nil, &refusal{quote(text) + " is not a network", "write 10.0.0.0/8, 2001:db8::/32 or one address"}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// looksSecret knows the secrets that people paste most: GUIDs, which HEC tokens
// are, and tokens that say by their beginning what they are (GitHub, GitLab,
// AWS, JSON Web Tokens, PEM keys, whole Authorization headers).
var looksSecret = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|^(gh[pousr]_|github_pat_|glpat-|(AKIA|ASIA)[0-9A-Z]{16}|eyJ|-----BEGIN|(Bearer|Splunk|Basic) )`)

// asRefusal returns what err says is wrong and what to do.
func asRefusal(err error) *refusal {
	var r *refusal
	if !errors.As(err, &r) {
		panic(fmt.Sprintf("conf: an error that does not say what to do: %v", err))
	}
	return r
}
