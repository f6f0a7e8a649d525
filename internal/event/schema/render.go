package schema

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// core are the fields that every event has and the encoder writes by itself.
var core = []Field{
	{"event_id", String, "Identity and order", "32 hexadecimal digits: the same record or difference always has the same one", nil},
	{"collector", String, "Identity and order", "The forwarder's id, made once and kept with its state", nil},
	{"seq", Number, "Identity and order", "Counter of this collector and input: no holes, never back", nil},
}

// All returns every field that an event can carry, in the order of the
// documentation.
func All() []Field {
	all := append([]Field{}, core...)
	for _, g := range Groups {
		for _, f := range Fields {
			if f.Group == g {
				all = append(all, f)
			}
		}
	}
	return all
}

// WriteJSON writes the schema for programs.
func WriteJSON(w io.Writer) error {
	type field struct {
		Name   string   `json:"name"`
		Type   string   `json:"type"`
		Group  string   `json:"group"`
		Doc    string   `json:"doc"`
		Values []string `json:"values,omitempty"`
	}
	type operation struct {
		Name       string   `json:"name"`
		Pattern    bool     `json:"pattern,omitempty"`
		Sourcetype string   `json:"sourcetype"`
		Action     string   `json:"action,omitempty"`
		AssetTypes []string `json:"asset_types"`
		Doc        string   `json:"doc"`
	}
	type sourcetype struct {
		Name     string            `json:"name"`
		Doc      string            `json:"doc"`
		Defaults map[string]string `json:"defaults"`
	}
	out := struct {
		Version     string       `json:"schema_version"`
		Sourcetypes []sourcetype `json:"sourcetypes"`
		Fields      []field      `json:"fields"`
		Operations  []operation  `json:"operations"`
	}{Version: Version}
	for _, st := range Sourcetypes {
		defaults := map[string]string{}
		for _, d := range st.Defaults {
			defaults[d.Field] = d.Value
		}
		out.Sourcetypes = append(out.Sourcetypes, sourcetype{st.Name, st.Doc, defaults})
	}
	for _, f := range All() {
		out.Fields = append(out.Fields, field{f.Name, f.Kind.String(), f.Group, f.Doc, f.Values})
	}
	for _, o := range Operations {
		out.Operations = append(out.Operations, operation(o))
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// WriteMarkdown writes the schema for people.
func WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# The AI-asset event, schema %s\n\n", Version)
	b.WriteString("One record of who did what to which AI asset. This page is made from the tables in `internal/event/schema` (`go generate ./internal/event`); `aiwatch schema` prints the same, `aiwatch schema --json` for programs.\n\n")
	fmt.Fprintf(&b, "An event is one flat JSON object with sorted keys. An empty field is left out. It has at most %d bytes; a value is cut at %d bytes and then named in `truncated`. Control characters and invalid UTF-8 are replaced by U+FFFD.\n\n", MaxEvent, MaxValue)

	b.WriteString("## Sourcetypes\n\nWhat is constant for a sourcetype is not sent; the add-on supplies it at search time.\n\n| sourcetype | events | supplied |\n|---|---|---|\n")
	for _, st := range Sourcetypes {
		var defaults []string
		for _, d := range st.Defaults {
			defaults = append(defaults, fmt.Sprintf("`%s=%s`", d.Field, d.Value))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", st.Name, st.Doc, strings.Join(defaults, " "))
	}

	b.WriteString("\n## Fields\n")
	group := ""
	for _, f := range All() {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n### %s\n\n| field | type | meaning |\n|---|---|---|\n", group)
		}
		doc := f.Doc
		if len(f.Values) > 0 {
			doc += ": `" + strings.Join(f.Values, " ") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Kind, doc)
	}

	b.WriteString("\n### Search time\n\nThe add-on computes these, and the fields of Splunk's Common Information Model. Where a source does not tell who or from where, its `user`, `src` and `src_user` say `unknown`, as that model asks; a search to which this matters reads `actor` and `src_ip`.\n\n| field | type | meaning |\n|---|---|---|\n")
	for _, f := range SearchTime {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Kind, f.Doc)
	}

	b.WriteString("\n## Operations\n")
	sourcetype := ""
	for _, o := range Operations {
		if o.Sourcetype != sourcetype {
			sourcetype = o.Sourcetype
			fmt.Fprintf(&b, "\n### %s\n\n", sourcetypeTitle(sourcetype))
			b.WriteString("| operation | action | asset_type | meaning |\n|---|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Name, o.Action, strings.Join(o.AssetTypes, ", "), o.Doc)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func sourcetypeTitle(name string) string {
	switch name {
	case anySource:
		return "Any source"
	case s3:
		return "`" + name + "`: the log's own word; the first pattern that fits tells the action"
	default:
		return "`" + name + "`"
	}
}
