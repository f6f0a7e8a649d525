package gitrepo

import (
	"fmt"
	"regexp"
	"strings"

	"aiwatch/collectors/modelfile"
	"aiwatch/internal/event"
)

// A PathRule is one [asset_rule://NAME] stanza about files in repositories.
type PathRule struct {
	Name    string
	Repo    string // pattern of <host>/<path>; * matches slashes too
	Pattern string // regular expression over the path; groups name and version
	Role    string // asset_role; empty leaves that of the built-in class
	Owner   string
}

// A pathRule is a PathRule, compiled.
type pathRule struct {
	PathRule
	repo, path    *regexp.Regexp
	name, version int // groups of path, -1 when there are none
}

func compileRules(in []PathRule) ([]pathRule, error) {
	rules := make([]pathRule, 0, len(in))
	for _, r := range in {
		re, err := regexp.Compile(r.Pattern)
		if err != nil {
			return nil, fmt.Errorf("[asset_rule://%s] pattern: %w", r.Name, err)
		}
		rules = append(rules, pathRule{
			PathRule: r, repo: globRegexp(r.Repo), path: re,
			name: re.SubexpIndex("name"), version: re.SubexpIndex("version"),
		})
	}
	return rules, nil
}

// rulesOf returns the rules about the repository of a name git:<host>/<path>.
func (c *Collector) rulesOf(id string) []*pathRule {
	var found []*pathRule
	for i := range c.rules {
		if c.rules[i].repo.MatchString(strings.TrimPrefix(id, "git:")) {
			found = append(found, &c.rules[i])
		}
	}
	return found
}

// A class is what a path is: by the input's rules, else by the built-in ones.
type class struct {
	modelfile.Class
	name, version, owner string
}

// class says what the file of a change is. Asset tells whether it is told at all.
func (r *repository) class(c *change) class {
	cls := class{Class: modelfile.Classify(c.path)}
	for _, rule := range r.rules {
		if at := rule.path.FindStringSubmatchIndex(c.path); at != nil {
			rule.fill(&cls, c.path, at)
			break
		}
	}
	if c.newMode == modeSubmodule || c.oldMode == modeSubmodule {
		cls.Role, cls.Format, cls.Asset = modelfile.RoleControl, "", true
	}
	return cls
}

// fill says what a file is whose path the rule matched at these places.
func (rule *pathRule) fill(cls *class, path string, at []int) {
	cls.Asset, cls.owner = true, rule.Owner
	cls.name, cls.version = submatch(path, at, rule.name), submatch(path, at, rule.version)
	if rule.Role == "" {
		return
	}
	cls.Role = modelfile.Role(rule.Role)
	if cls.Format == "" && cls.Role == modelfile.RoleWeights {
		cls.CanCarryCode = true // whatever its name says, it may be a pickle
	}
}

func submatch(s string, at []int, group int) string {
	if group < 0 || at[2*group] < 0 {
		return ""
	}
	return s[at[2*group]:at[2*group+1]]
}

// fill copies what a file is into its event.
func (cls class) fill(ev *event.Event) {
	ev.AssetRole, ev.AssetFormat = string(cls.Role), string(cls.Format)
	ev.AssetVersion, ev.Owner = cls.version, cls.owner
	if cls.name != "" {
		ev.AssetName = cls.name
	}
}
