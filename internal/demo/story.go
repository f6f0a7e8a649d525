package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"aiwatch/internal/scenario"
	"aiwatch/internal/spl"
)

// A Story is what findings and events tell of a week.
type Story struct {
	// Who is accused most often, and Person what the administrator wrote down of
	// him.
	Who    string
	Person Person
	Lines  []Line
	Naming int // of the lines, how many name that person
	Calls  Calls
	// Others are acts of other people and services that an insider might have
	// done.
	Others []Other
	// Fired are the detections that found something, of all Detections.
	Fired      []int
	Detections int
	// Accused are all whom findings name.
	Accused []string
}

// A Person is somebody of aiwatch_identities and aiwatch_leavers.
type Person struct {
	Name, Team, Group, Notice, LastDay string
}

// A Line is one finding.
type Line struct {
	At        time.Time // when it happened
	Raised    time.Time
	Detection int
	Title     string
	Severity  string
	Message   string
	Proofs    []Proof
}

// A Proof is what one source gave for a finding.
type Proof struct {
	Source     string   // such as Amazon S3
	Evidence   string   // how it is known: log, diff, refs, scan
	Confidence []string // of who did it
	Events     int
}

// Calls are what one person did, as whoever watches the perimeter sees it.
type Calls struct {
	All           int
	Authenticated int // with credentials that the source proved
	Inside        int // from a network of aiwatch_networks
	Refused       int
	Networks      []string
}

// Took is how long it took from the act to the finding, at the least and in the
// middle.
func (s *Story) Took() (least, middle time.Duration) {
	all := make([]time.Duration, len(s.Lines))
	for i, l := range s.Lines {
		all[i] = l.Raised.Sub(l.At)
	}
	slices.Sort(all)
	return all[0], all[len(all)/2]
}

// Nothing tells whether a perimeter had nothing to see.
func (c Calls) Nothing() bool {
	return c.Authenticated == c.All && c.Inside == c.All && c.Refused == 0
}

// An Other is something that somebody else did.
type Other struct {
	At        time.Time // the first time
	User      string
	Operation string
	Asset     string // the first
	Times     int
}

// Tell makes the story of what was found in a scenario's time.
func Tell(ctx context.Context, s *scenario.Scenario, r *scenario.Report, searches []*scenario.Search) (*Story, error) {
	t := &teller{engine: r.Engine, from: s.Start, to: s.End}
	story := &Story{}
	accused, fired := map[string]int{}, map[int]bool{}
	for i := range r.Findings {
		line, err := t.line(ctx, &r.Findings[i])
		if err != nil {
			return nil, err
		}
		story.Lines = append(story.Lines, line)
		fired[line.Detection] = true
		for _, user := range r.Findings[i].User {
			accused[user]++
		}
	}
	slices.SortStableFunc(story.Lines, func(a, b Line) int { return a.At.Compare(b.At) })
	story.Fired, story.Accused = slices.Sorted(maps.Keys(fired)), slices.Sorted(maps.Keys(accused))
	for _, search := range searches {
		if search.Index != "" {
			story.Detections++
		}
	}
	for _, user := range story.Accused {
		if accused[user] > accused[story.Who] {
			story.Who = user
		}
	}
	if story.Naming = accused[story.Who]; story.Naming == 0 {
		return story, nil
	}
	var err error
	if story.Person, err = t.person(ctx, story.Who); err != nil {
		return nil, err
	}
	if story.Calls, err = t.calls(ctx, story.Who); err != nil {
		return nil, err
	}
	story.Others, err = t.others(ctx, story.Accused)
	return story, err
}

// teller asks the engine what a story needs to know.
type teller struct {
	engine   *spl.Engine
	from, to time.Time
}

// ask runs a search over the story's time and hands over each row.
func (t *teller) ask(ctx context.Context, search string, row func(get func(field string) spl.Value)) error {
	res, err := t.engine.Run(ctx, search, spl.Params{
		Now: t.to, Earliest: fmt.Sprint(t.from.Unix()), Latest: fmt.Sprint(t.to.Unix()),
	})
	if err != nil {
		return fmt.Errorf("ask for the story: %w", err)
	}
	for _, r := range res.Rows {
		row(func(field string) spl.Value { return res.Get(r, field) })
	}
	return nil
}

// line tells of a finding, and which events stand behind it.
func (t *teller) line(ctx context.Context, f *scenario.Finding) (Line, error) {
	var row struct {
		Time     json.Number `json:"_time"`
		EventIDs string      `json:"event_ids"`
		Severity string      `json:"severity"`
	}
	if err := json.Unmarshal(f.Row, &row); err != nil {
		return Line{}, fmt.Errorf("read a finding of %s: %w", f.Search, err)
	}
	line := Line{At: f.Time, Raised: f.Time, Detection: f.Detection, Title: f.Name, Severity: row.Severity, Message: f.Message}
	if seconds, err := row.Time.Float64(); err == nil {
		line.At = time.UnixMilli(int64(seconds * 1000)).UTC()
	}
	var terms []string
	for id := range strings.SplitSeq(row.EventIDs, ",") {
		if id = strings.TrimSpace(id); len(id) == 32 && strings.Trim(id, "0123456789abcdef") == "" {
			terms = append(terms, `"`+id+`"`)
		}
	}
	if len(terms) == 0 {
		return line, nil
	}
	res, err := t.engine.Run(ctx, "index=* index!=summary event_id IN ("+strings.Join(terms, ",")+") | stats dc(event_id) AS events, values(user_confidence) AS confidence by vendor_product, evidence", spl.Params{Now: t.to})
	if err != nil {
		return line, fmt.Errorf("ask for the evidence: %w", err)
	}
	for _, r := range res.Rows {
		n, _ := res.Get(r, "events").Float()
		line.Proofs = append(line.Proofs, Proof{
			Source: res.Get(r, "vendor_product").String(), Evidence: res.Get(r, "evidence").String(), Events: int(n),
			Confidence: res.Get(r, "confidence").Strings(),
		})
	}
	return line, nil
}

// person is what the lookups say of a user.
func (t *teller) person(ctx context.Context, user string) (p Person, err error) {
	err = t.ask(ctx, "| inputlookup aiwatch_identities | inputlookup append=true aiwatch_leavers", func(get func(string) spl.Value) {
		if get("user").String() != user {
			return
		}
		for field, into := range map[string]*string{"full_name": &p.Name, "team": &p.Team, "peer_group": &p.Group, "notice_date": &p.Notice, "last_day": &p.LastDay} {
			*into = cmp.Or(get(field).String(), *into)
		}
	})
	return p, err
}

// calls counts what a user did, as it looks from outside. What nobody saw but an
// interested party dates, such as commits from before the watching, is no call; an
// act that was told twice is one.
func (t *teller) calls(ctx context.Context, user string) (c Calls, err error) {
	err = t.ask(ctx, "`aiwatch_events` operation!=inventory actor=* time_basis!=claimed | eval who=actor | `aiwatch_person(who)` | lookup aiwatch_networks cidr AS src_ip OUTPUT name AS network"+
		" | stats max(eval(if(in(user_confidence,\"authenticated\",\"signed\"),1,0))) AS sure, max(eval(if(isnotnull(network),1,0))) AS inside, max(eval(if(status=\"failure\",1,0))) AS refused, values(network) AS network by who, event_id"+
		" | stats count, sum(sure) AS sure, sum(inside) AS inside, sum(refused) AS refused, values(network) AS network by who", func(get func(string) spl.Value) {
		if get("who").String() != user {
			return
		}
		for field, into := range map[string]*int{"count": &c.All, "sure": &c.Authenticated, "inside": &c.Inside, "refused": &c.Refused} {
			n, _ := get(field).Float()
			*into = int(n)
		}
		c.Networks = get("network").Strings()
	})
	slices.Sort(c.Networks)
	return c, err
}

// others are promotions, deletions, copies and changes of settings by people
// whom no finding names.
func (t *teller) others(ctx context.Context, accused []string) (all []Other, err error) {
	err = t.ask(ctx, "`aiwatch_events` (operation IN (\"alias.set\", \"*.COPY.OBJECT\", \"*.DELETE.OBJECT\") OR `aiwatch_s3_control`) status=success actor=* | eval who=actor | `aiwatch_person(who)` | stats dc(event_id) AS times, min(_time) AS first, earliest(asset_id) AS asset by who, operation", func(get func(string) spl.Value) {
		if slices.Contains(accused, get("who").String()) {
			return
		}
		n, _ := get("times").Float()
		first, _ := get("first").Float()
		all = append(all, Other{
			At: time.Unix(int64(first), 0).UTC(), User: get("who").String(), Operation: get("operation").String(), Asset: get("asset").String(), Times: int(n),
		})
	})
	slices.SortFunc(all, func(a, b Other) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.User, b.User), strings.Compare(a.Operation, b.Operation))
	})
	return all, err
}
