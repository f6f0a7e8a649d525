// Package addon makes the add-on's search-time configuration from the event
// schema: default/props.conf, which Splunk reads from the installed add-on and
// aiwatch's own evaluator from here. WriteProps is all of it.
//
// It must not learn what a search or a detection wants: a field that only a
// search needs belongs into that search.
package addon

//go:generate go run ./gen

import (
	"fmt"
	"io"
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
	{Field: "bucket_name", SPL: `if(match(asset_id,"^s3://[^/]"),replace(asset_id,"^s3://([^/]+).*$","\1"),null())`},
	{Field: "key", SPL: `if(match(asset_id,"^s3://[^/]+/."),replace(asset_id,"^s3://[^/]+/",""),null())`},
}

// WriteProps writes default/props.conf.
func WriteProps(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Made by `go generate ./internal/addon` from internal/event/schema: do not edit.\n" +
		"# Splunk applies FIELDALIAS, then EVAL, then LOOKUP. EVALs do not see each other.\n")
	for _, st := range schema.Sourcetypes {
		fmt.Fprintf(&b, "\n[%s]\n", st.Name)
		// One event is one JSON object, dated by HEC's envelope or the modular
		// input's <time>, and read at search time.
		b.WriteString("KV_MODE = json\nSHOULD_LINEMERGE = false\nLINE_BREAKER = ([\\r\\n]+)\nTRUNCATE = 0\nDATETIME_CONFIG = NONE\nANNOTATE_PUNCT = false\n")
		// Splunk calls an array's values name{}.
		for _, f := range schema.All() {
			if f.Kind == schema.List {
				fmt.Fprintf(&b, "FIELDALIAS-%s = \"%s{}\" AS %s\n", f.Name, f.Name, f.Name)
			}
		}
		if st.Name == event.SourcetypeS3 {
			for _, a := range awsAliases {
				fmt.Fprintf(&b, "FIELDALIAS-aws_%s = %s AS %s\n", a.theirs, a.ours, a.theirs)
			}
		}
		for _, d := range st.Defaults {
			fmt.Fprintf(&b, "EVAL-%s = coalesce(%s,\"%s\")\n", d.Field, d.Field, d.Value)
		}
		if st.Name != event.SourcetypeHealth {
			b.WriteString("EVAL-actor = coalesce(src_user,user)\n")
		}
		if st.Name == event.SourcetypeS3 {
			for _, e := range schema.S3Evals {
				fmt.Fprintf(&b, "EVAL-%s = coalesce(%s,%s)\n", e.Field, e.Field, e.SPL)
			}
			for _, e := range awsEvals {
				fmt.Fprintf(&b, "EVAL-%s = %s\n", e.Field, e.SPL)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// SearchTimeFields are the fields that the props add to those of the schema.
func SearchTimeFields() []string {
	names := []string{"actor", "vendor_product", "app"}
	for _, a := range awsAliases {
		names = append(names, a.theirs)
	}
	for _, e := range awsEvals {
		names = append(names, e.Field)
	}
	return names
}
