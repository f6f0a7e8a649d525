package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"aiwatch/internal/spl"
)

// A token as the renderer reads one: a name may hold blanks, dots and dashes,
// and a namespace stands in front. $$ is a dollar.
var token = regexp.MustCompile(`\$([ \w.-]+:)?([\w.-](?:[\w .-]*[\w.-])?)((?:\|[a-zA-Z]+)*)\$|\$\$`)

// Use is one use of a token: its name with its namespace, and its filters such as |s.
type use struct{ name, filters string }

func tokensOf(text string) (all []use) {
	for _, m := range token.FindAllStringSubmatch(text, -1) {
		if m[2] != "" {
			all = append(all, use{m[1] + m[2], m[3]})
		}
	}
	return all
}

// Fill writes the values of tokens into a text as the renderer does, with the
// filters |s (a quoted string of SPL) and |u (a part of a URL). A token that has
// no value stays.
func Fill(text string, values map[string]string) string {
	return token.ReplaceAllStringFunc(text, func(whole string) string {
		if whole == "$$" {
			return "$"
		}
		m := token.FindStringSubmatch(whole)
		value, ok := values[m[1]+m[2]]
		if !ok {
			return whole
		}
		for _, filter := range strings.Split(m[3], "|")[1:] {
			switch filter {
			case "s":
				value = quoted(value)
			case "u":
				// A blank is %20 in the renderer, and + in url.QueryEscape.
				value = strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
			}
		}
		return value
	})
}

// quoted is a string of JSON, which a string of SPL is, too.
func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSpace(b.String())
}

// Search is the whole text of a data source: a chain's with that of what it goes
// on from, tokens as they stand.
func (v *View) Search(id string) (string, error) {
	var parts []string
	for seen := map[string]bool{}; ; {
		ds := v.DataSources[id]
		switch {
		case ds == nil:
			return "", fmt.Errorf("there is no data source %s", id)
		case seen[id]:
			return "", fmt.Errorf("the chain of %s goes in a circle", id)
		}
		seen[id] = true
		parts = append(parts, strings.TrimSpace(ds.Options.Query))
		if ds.Type != chain {
			slices.Reverse(parts)
			return strings.Join(parts, "\n"), nil
		}
		id = ds.Options.Extend
	}
}

// Range is the range in time of a data source, that of a chain's first search.
func (v *View) Range(id string) Range {
	for range v.DataSources {
		ds := v.DataSources[id]
		if ds == nil {
			break
		}
		if ds.Type == chain {
			id = ds.Options.Extend
			continue
		}
		r := ds.Options.QueryParameters
		if d := v.Defaults.DataSources[search]; d != nil && r == (Range{}) {
			r = d.Options.QueryParameters
		}
		return r
	}
	return Range{}
}

// Tokens are the values that the page begins with: of its inputs and defaults.
// A time range is NAME.earliest and NAME.latest.
func (v *View) Tokens() map[string]string {
	all := map[string]string{}
	for name, t := range v.Defaults.Tokens["default"] {
		all[name] = t.Value
	}
	for _, in := range v.Inputs {
		if in.Type == timeRange {
			earliest, latest, _ := strings.Cut(in.Options.DefaultValue, ",")
			all[in.Options.Token+".earliest"], all[in.Options.Token+".latest"] = earliest, latest
			continue
		}
		all[in.Options.Token] = in.Options.DefaultValue
	}
	return all
}

// A Runner runs a search over a range of time.
type Runner func(ctx context.Context, search string, r Range) (*spl.Result, error)

// Run runs a data source with the values of tokens, those that the page begins
// with where none is given.
func (v *View) Run(ctx context.Context, run Runner, id string, tokens map[string]string) (*spl.Result, error) {
	values := v.Tokens()
	maps.Copy(values, tokens)
	text, err := v.Search(id)
	if err != nil {
		return nil, err
	}
	r := v.Range(id)
	return run(ctx, Fill(text, values), Range{Fill(r.Earliest, values), Fill(r.Latest, values)})
}

// Empty tells, for each panel and each input that a search fills, what is not
// there to be drawn: rows, or a value of a field that it names.
func (v *View) Empty(ctx context.Context, run Runner, tokens map[string]string) (map[string]string, error) {
	empty := map[string]string{}
	look := func(name, source string, fields []string) error {
		r, err := v.Run(ctx, run, source, tokens)
		if err != nil {
			return fmt.Errorf("%s: %s: %s: %w", v.Path, name, source, err)
		}
		if len(r.Rows) == 0 {
			empty[name] = "no row"
		}
		for _, f := range fields {
			if len(r.Rows) > 0 && !slices.ContainsFunc(r.Rows, func(row spl.Row) bool { return !r.Get(row, f).IsNull() }) {
				empty[name] = "no value of " + f
			}
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(v.Visualizations)) {
		z := v.Visualizations[name]
		if source := z.DataSources["primary"]; source != "" {
			if err := look(name, source, z.Drawn()); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Inputs)) {
		if source := v.Inputs[name].DataSources["primary"]; source != "" {
			if err := look(name, source, nil); err != nil {
				return nil, err
			}
		}
	}
	return empty, nil
}
