package s3access

import (
	"fmt"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"aiwatch/collectors/modelfile"
)

// Limits of what an operator may write.
const (
	maxRules   = 200
	maxPattern = 1000 // characters of one regular expression
)

// An AssetRule is one [asset_rule://NAME] stanza.
type AssetRule struct {
	Name    string
	Bucket  string // glob
	Pattern string // regular expression over the decoded key; groups name and version
	Type    string // asset_type; empty leaves "object"
	Role    string // asset_role
	Owner   string
}

// An asset is what the rules say of one object.
type asset struct {
	isAsset           bool
	typ, role, format string
	name, version     string
	owner             string
	runID, loggedID   string
	experimentID      string
}

// assetRules are an operator's rules, compiled; the first that matches counts.
type assetRules struct {
	rules []assetRule
	// byBucket remembers which rules a bucket's keys can match.
	byBucket map[string][]*assetRule
}

type assetRule struct {
	AssetRule
	re            *regexp.Regexp
	prefix, holds string // every match begins with, contains
	name, version int    // groups, -1 when there are none
}

func newAssetRules(in []AssetRule) (*assetRules, error) {
	if len(in) > maxRules {
		return nil, fmt.Errorf("%d asset rules: at most %d are allowed", len(in), maxRules)
	}
	rs := &assetRules{byBucket: map[string][]*assetRule{}}
	for _, r := range in {
		if len(r.Pattern) > maxPattern {
			return nil, fmt.Errorf("[asset_rule://%s] pattern: %d characters, at most %d are allowed", r.Name, len(r.Pattern), maxPattern)
		}
		re, err := regexp.Compile(r.Pattern)
		if err != nil {
			return nil, fmt.Errorf("[asset_rule://%s] pattern: %w", r.Name, err)
		}
		if _, err := path.Match(r.Bucket, ""); err != nil {
			return nil, fmt.Errorf("[asset_rule://%s] bucket = %s: %w", r.Name, r.Bucket, err)
		}
		rule := assetRule{AssetRule: r, re: re, name: re.SubexpIndex("name"), version: re.SubexpIndex("version")}
		if tree, err := syntax.Parse(r.Pattern, syntax.Perl); err == nil {
			rule.prefix, rule.holds = literals(tree.Simplify())
		}
		rs.rules = append(rs.rules, rule)
	}
	return rs, nil
}

// literals returns what every match of a regular expression begins with and the
// longest text that it contains, so that most keys are told apart without
// running it. Both may be empty.
func literals(re *syntax.Regexp) (prefix, holds string) {
	anchored := false
	first := true
	var walk func(re *syntax.Regexp)
	walk = func(re *syntax.Regexp) {
		switch re.Op {
		case syntax.OpConcat:
			for _, sub := range re.Sub {
				walk(sub)
			}
			return
		case syntax.OpCapture:
			walk(re.Sub[0])
			return
		case syntax.OpBeginText:
			anchored = anchored || first
			return
		case syntax.OpEmptyMatch:
			return
		case syntax.OpLiteral:
			if re.Flags&syntax.FoldCase == 0 {
				text := string(re.Rune)
				if anchored && first {
					prefix = text
				}
				if len(text) > len(holds) {
					holds = text
				}
			}
		}
		first = false
	}
	walk(re)
	return prefix, holds
}

// names reports whether a rule names the bucket.
func (rs *assetRules) names(bucket string) bool {
	return slices.ContainsFunc(rs.of(bucket), func(r *assetRule) bool { return r.Bucket != "" })
}

// of returns the rules for a bucket's keys.
func (rs *assetRules) of(bucket string) []*assetRule {
	if len(rs.rules) == 0 {
		return nil
	}
	if found, ok := rs.byBucket[bucket]; ok {
		return found
	}
	var found []*assetRule
	for i := range rs.rules {
		if ok, _ := path.Match(rs.rules[i].Bucket, bucket); ok || rs.rules[i].Bucket == "" {
			found = append(found, &rs.rules[i])
		}
	}
	if len(rs.byBucket) >= 10_000 { // buckets are names that strangers choose
		clear(rs.byBucket)
	}
	rs.byBucket[strings.Clone(bucket)] = found
	return found
}

// classify says what the object with a decoded key is.
func (rs *assetRules) classify(bucket, key string) (a asset) {
	class := modelfile.Classify(key)
	a.isAsset = class.Asset
	a.format = string(class.Format)
	if class.Role != modelfile.RoleOther {
		a.role = string(class.Role)
	}
	if exp, run, logged, _, ok := modelfile.ParseMLflow(key); ok {
		a.isAsset = true
		a.experimentID, a.runID, a.loggedID = exp, run, logged
	}
	for _, r := range rs.of(bucket) {
		if !strings.HasPrefix(key, r.prefix) || r.holds != "" && !strings.Contains(key, r.holds) {
			continue
		}
		if !r.into(key, &a) {
			continue
		}
		break
	}
	return a
}

// into fills a from the rule where it matches.
func (r *assetRule) into(key string, a *asset) bool {
	if r.name < 0 && r.version < 0 {
		if !r.re.MatchString(key) {
			return false
		}
	} else {
		at := r.re.FindStringSubmatchIndex(key)
		if at == nil {
			return false
		}
		a.name, a.version = group(key, at, r.name), group(key, at, r.version)
	}
	a.isAsset = true
	a.typ, a.owner = r.Type, r.Owner
	switch {
	case r.Role != "":
		a.role = r.Role
	case r.Type == "dataset":
		a.role = "dataset"
	}
	return true
}

func group(s string, at []int, g int) string {
	if g < 0 || at[2*g] < 0 {
		return ""
	}
	return s[at[2*g]:at[2*g+1]]
}
