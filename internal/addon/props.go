// Package addon makes the add-on's search-time configuration from the event
// schema: props.conf, eventtypes.conf and tags.conf of default/, which Splunk
// reads from the installed add-on and aiwatch's own evaluator from here.
//
// It must not learn what a search or a detection wants: a field that only a
// search needs belongs into that search.
package addon

//go:generate go run ./gen

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"aiwatch/internal/event"
	"aiwatch/internal/event/schema"
)

// alias is a name of Splunk's Add-on for AWS (sourcetype aws:s3:accesslogs)
// for a field of ours, so that searches written for it find our events.
var awsAliases = []struct{ ours, theirs string }{
	{"user_id", "requester"},
	{"src", "remote_ip"},
	{"bytes_out", "bytes_sent"},
	{"asset_size", "object_size"},
	{"status_code", "http_status"},
	{"referer", "referrer"},
	{"access_point", "access_point_arn"},
}

// awsEvals are names of that add-on that are a part of a field of ours.
var awsEvals = []schema.Eval{
	{Field: "bucket_name", SPL: bucket},
	{Field: "key", SPL: `if(match(asset_id,"^s3://[^/]+/."),replace(asset_id,"^s3://[^/]+/",""),null())`},
}

// bucket is the bucket of an s3:// asset.
const bucket = `if(match(asset_id,"^s3://[^/]"),replace(asset_id,"^s3://([^/]+).*$","\1"),null())`

// made is the first line of every file that is made here.
const made = "# Made by `go generate ./internal/addon` from internal/event/schema: do not edit.\n"

// WriteProps writes default/props.conf.
func WriteProps(w io.Writer) error {
	var b strings.Builder
	b.WriteString(made + "# Splunk applies FIELDALIAS, then EVAL, then LOOKUP. EVALs do not see each other.\n")
	for _, st := range schema.Sourcetypes {
		fmt.Fprintf(&b, "\n[%s]\n", st.Name)
		// One event is one JSON object, dated by HEC's envelope or the modular
		// input's <time>, and read at search time.
		b.WriteString("KV_MODE = json\nSHOULD_LINEMERGE = false\nLINE_BREAKER = ([\\r\\n]+)\nTRUNCATE = 0\nDATETIME_CONFIG = NONE\nANNOTATE_PUNCT = false\n")
		for _, s := range slices.SortedStableFunc(slices.Values(searchTime(st)), func(a, b setting) int { return cmp.Compare(a.phase(), b.phase()) }) {
			fmt.Fprintf(&b, "%s = %s\n", s.key, s.value)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// searchTime returns all that Splunk computes for events of a sourcetype.
func searchTime(st schema.Sourcetype) []setting {
	var list []setting
	// Splunk calls an array's values name{}.
	for _, f := range schema.All() {
		if f.Kind == schema.List {
			list = append(list, setting{"FIELDALIAS-" + f.Name, fmt.Sprintf(`"%s{}" AS %s`, f.Name, f.Name)})
		}
	}
	for _, d := range st.Defaults {
		list = append(list, eval(d.Field, fmt.Sprintf(`coalesce(%s,"%s")`, d.Field, d.Value)))
	}
	if st.Name != event.SourcetypeHealth {
		list = append(list, eval("actor", "coalesce(src_user,user)"))
	}
	if st.Name == event.SourcetypeS3 {
		for _, a := range awsAliases {
			list = append(list, setting{"FIELDALIAS-aws_" + a.theirs, a.ours + " AS " + a.theirs})
		}
		for _, e := range schema.S3Evals {
			list = append(list, eval(e.Field, orComputed(e)))
		}
		for _, e := range awsEvals {
			list = append(list, eval(e.Field, e.SPL))
		}
	}
	return append(list, cim(st.Name)...)
}

// orComputed is a field as it was sent, else as the props compute it.
func orComputed(e schema.Eval) string { return fmt.Sprintf("coalesce(%s,%s)", e.Field, e.SPL) }

// A setting is one line of a stanza of props.conf.
type setting struct{ key, value string }

func eval(field, spl string) setting { return setting{"EVAL-" + field, spl} }

// phase tells when Splunk applies the setting.
func (s setting) phase() int {
	if strings.HasPrefix(s.key, "FIELDALIAS-") {
		return 0
	}
	return 1
}

// gives returns the field that the setting makes.
func (s setting) gives() string {
	if field, ok := strings.CutPrefix(s.key, "EVAL-"); ok {
		return field
	}
	return s.value[strings.LastIndexByte(s.value, ' ')+1:]
}

// WriteEventtypes writes default/eventtypes.conf.
func WriteEventtypes(w io.Writer) error {
	var b strings.Builder
	b.WriteString(made +
		"# What an event is to Splunk's Common Information Model. Each event has exactly\n" +
		"# one of these types, so that it is in one data model at most; tags.conf says in\n" +
		"# which. Types without tags are in none: what exists at first contact is no act,\n" +
		"# and how the watching is belongs to nobody's model.\n")
	for _, m := range Models {
		var parts []string
		for _, st := range schema.Sourcetypes {
			if words := m.Operations[st.Name]; len(words) > 0 {
				parts = append(parts, fmt.Sprintf(`(sourcetype=%s operation IN ("%s"))`, st.Name, strings.Join(words, `", "`)))
			}
			if st.Name == event.SourcetypeS3 && m.S3 != "" {
				parts = append(parts, fmt.Sprintf("(sourcetype=%s %s)", st.Name, m.S3))
			}
		}
		fmt.Fprintf(&b, "\n[%s]\nsearch = %s\n", m.Eventtype, strings.Join(parts, " OR "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteTags writes default/tags.conf.
func WriteTags(w io.Writer) error {
	var b strings.Builder
	b.WriteString(made + "# The data models of eventtypes.conf's types.\n")
	for _, m := range Models {
		if len(m.Tags) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n# %s\n[eventtype=%s]\n", m.Dataset, m.Eventtype)
		for _, tag := range m.Tags {
			fmt.Fprintf(&b, "%s = enabled\n", tag)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// SearchTimeFields are the fields that the props add to those of the schema.
func SearchTimeFields() []string {
	var names []string
	for _, st := range schema.Sourcetypes {
		for _, s := range searchTime(st) {
			names = append(names, s.gives())
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return slices.ContainsFunc(schema.All(), func(f schema.Field) bool { return f.Name == name })
	})
}
