package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"aiwatch/internal/conf"
	"aiwatch/internal/modinput"
)

// inputs returns the kinds of inputs.
func inputs() []*conf.Kind {
	var kinds []*conf.Kind
	for _, k := range conf.Kinds() {
		if k.IsInput() {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// inputDefaults returns default/inputs.conf: what holds for every input of a
// scheme. It ships no input, so nothing runs before somebody makes one.
func inputDefaults() []byte {
	var b bytes.Buffer
	b.WriteString("# Made by `go generate ./internal/packaging`: do not edit.\n")
	for _, k := range inputs() {
		// Without a shell in between, splunkd's signals reach the program.
		fmt.Fprintf(&b, "\n[%s]\nstart_by_shell = false\ninterval = %s\nsourcetype = %s\n", k.Name, defaultInterval(k), strings.Replace(k.Name, "_", ":", 1))
	}
	return b.Bytes()
}

// advanced are settings that a form shows only on demand.
var advanced = []string{
	"trust", "trusted_proxies", "restart_token", "output", "ca_file", "client_cert_file", "client_key_file", "proxy", "timeout", "insecure_skip_verify",
}

// form returns the page of Settings > Data inputs on which an input is made and
// changed. Its endpoint and fields are those of the modular input; of the ways
// to name a secret it takes storage/passwords alone.
func form(kind *conf.Kind) ([]byte, error) {
	var b strings.Builder
	e := &element{w: &b}
	fmt.Fprintf(&b, "<!-- Made by `go generate ./internal/packaging` from the table of settings. -->\n")
	e.open(`endpoint base="data/inputs/%s"`, kind.Name)
	e.text("header", modinput.Title(kind))
	e.open("elements")

	e.open(`element name="name" type="textfield" label="Name"`)
	e.text("exampleText", "How this input is called, such as prod. The events carry it in their source; it can't be changed later.")
	fmt.Fprintf(&b, "      <view name=\"create\"/>\n") // not when it is changed
	e.close("element")

	var rest []modinput.Argument
	for _, a := range modinput.Arguments(kind) {
		switch {
		case a.Secret && !strings.HasSuffix(a.Key, "_credential"):
		case slices.Contains(advanced, a.Setting.Name):
			rest = append(rest, a)
		default:
			e.field(a)
		}
	}
	e.open(`element name="group_splunk" type="fieldset"`)
	e.text("legend", "When and where")
	e.open(`element name="interval" type="textfield" label="Interval"`)
	e.text("exampleText", "Seconds: the input stays and reads at that pace. A cron expression: one pass at each time. Default: "+defaultInterval(kind)+".")
	e.close("element")
	e.open(`element name="index" type="textfield" label="Index"`)
	e.text("exampleText", "The index of the events; it must exist. Default: Splunk's default index.")
	e.close("element")
	e.close("element")

	e.open(`element name="group_advanced" type="fieldset"`)
	e.text("legend", "More settings")
	for _, a := range rest {
		e.field(a)
	}
	e.close("element")
	e.close("elements")
	e.close("endpoint")

	text := []byte(b.String())
	if err := xml.Unmarshal(text, new(struct{})); err != nil {
		return nil, fmt.Errorf("the form of %s: %w", kind.Name, err)
	}
	return text, nil
}

func defaultInterval(kind *conf.Kind) string {
	for _, s := range kind.Settings {
		if s.Name == "interval" {
			return s.Default
		}
	}
	return ""
}

// element writes indented XML.
type element struct {
	w     *strings.Builder
	depth int
}

func (e *element) open(format string, args ...any) {
	fmt.Fprintf(e.w, "%s<"+format+">\n", append([]any{strings.Repeat("  ", e.depth)}, args...)...)
	e.depth++
}

func (e *element) close(name string) {
	e.depth--
	fmt.Fprintf(e.w, "%s</%s>\n", strings.Repeat("  ", e.depth), name)
}

func (e *element) text(name, text string) {
	fmt.Fprintf(e.w, "%s<%s>%s</%s>\n", strings.Repeat("  ", e.depth), name, escape(text), name)
}

// field writes the field of an argument.
func (e *element) field(a modinput.Argument) {
	kind := "textfield"
	switch {
	case len(a.Setting.Values) > 0 && !a.Setting.Many:
		kind = "select"
	case a.Setting.Type == conf.Bool:
		kind = "select"
	}
	label := a.Title
	if a.Setting.Required && !a.Secret {
		label += " *"
	}
	e.open(`element name="%s" type="%s" label="%s"`, a.Key, kind, escape(label))
	e.text("exampleText", a.Help)
	if kind == "select" {
		e.open("options")
		// Empty leaves the default, also one that a later version changes.
		values := append([]string{""}, a.Setting.Values...)
		if a.Setting.Type == conf.Bool {
			values = []string{"", "true", "false"}
		}
		for _, value := range values {
			label := value
			if label == "" {
				label = "(default)"
			}
			fmt.Fprintf(e.w, "%s<opt value=\"%s\" label=\"%s\"/>\n", strings.Repeat("  ", e.depth), escape(value), escape(label))
		}
		e.close("options")
	}
	e.close("element")
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
