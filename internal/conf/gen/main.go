// Command gen writes what is made from the table of settings: the add-on's
// README/*.conf.spec and docs/configuration.md. It is run in internal/conf by
// go generate.
package main

import (
	_ "embed"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"aiwatch/internal/conf"
)

func main() {
	for name, text := range files() {
		path := filepath.Join("..", "..", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// files returns the text of each file by its path in the repository.
func files() map[string]string {
	return map[string]string{
		"README/" + conf.InputsFile + ".spec":  spec(conf.InputsFile, "The inputs of aiwatch. Copy what you need into local/"+conf.InputsFile+"."),
		"README/" + conf.AIWatchFile + ".spec": spec(conf.AIWatchFile, "Destination, queue and rules of aiwatch. Copy what you need into local/"+conf.AIWatchFile+"."),
		"docs/configuration.md":                reference(),
	}
}

// spec renders a file's settings as Splunk's spec files have them.
func spec(file, intro string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by go generate ./internal/conf from the table of settings.\n#\n# %s\n# docs/configuration.md tells how values are written.\n", intro)
	for _, k := range conf.Kinds() {
		if k.File != file {
			continue
		}
		name := k.Name
		if k.Named {
			name += "://<name>"
		}
		fmt.Fprintf(&b, "\n[%s]\n* %s.\n", name, k.Doc)
		for _, r := range k.Rules {
			fmt.Fprintf(&b, "* %s.\n", r.Doc)
		}
		for _, d := range k.Settings {
			b.WriteByte('\n')
			for _, key := range keys(d) {
				fmt.Fprintf(&b, "%s = %s\n* %s.\n", key.name, key.placeholder, key.doc)
			}
			if bounds := boundsOf(d); bounds != "" {
				fmt.Fprintf(&b, "* %s.\n", bounds)
			}
			if d.Note != "" {
				fmt.Fprintf(&b, "* %s.\n", d.Note)
			}
			switch text := defaultOf(d); {
			case d.Required:
				b.WriteString("* Required.\n")
			case text != "":
				fmt.Fprintf(&b, "* Default: %s\n", text)
			case d.Type != conf.SecretType:
				b.WriteString("* No default.\n")
			}
		}
	}
	return b.String()
}

// key is one way to write a setting.
type key struct{ name, placeholder, doc string }

func keys(d conf.Setting) []key {
	if d.Type == conf.SecretType {
		names := d.Keys()
		return []key{
			{names[0], "<path>", d.Doc + ": a file that holds it, which group and others can neither read nor write"},
			{names[1], "<variable>", "Or the environment variable that holds it"},
			{names[2], "<credential>", "Or, under Splunk only, the entry of storage/passwords that holds it"},
		}
	}
	kind := "<" + string(d.Type) + ">"
	if d.Type == conf.Choice {
		kind = "[" + strings.Join(d.Values, "|") + "]"
	}
	if d.Many {
		kind = "<comma-separated " + plural(d.Type) + ">"
	}
	return []key{{d.Name, kind, d.Doc}}
}

func plural(t conf.Type) string {
	if stem, ok := strings.CutSuffix(string(t), "y"); ok {
		return stem + "ies"
	}
	return string(t) + "s"
}

// boundsOf says between what a value must lie.
func boundsOf(d conf.Setting) string {
	switch {
	case d.Min != "" && d.Max != "":
		return "From " + d.Min + " to " + d.Max
	case d.Min != "":
		return "At least " + d.Min
	case d.Max != "":
		return "At most " + d.Max
	}
	return ""
}

func defaultOf(d conf.Setting) string {
	if d.Default != "" {
		return d.Default
	}
	return d.DefaultDoc
}

//go:embed intro.md
var intro string

// reference renders all settings as Markdown.
func reference() string {
	var b strings.Builder
	b.WriteString("<!-- Made by go generate ./internal/conf from the table of settings. -->\n\n")
	b.WriteString(intro)

	var inputs []*conf.Kind
	for _, k := range conf.Kinds() {
		if k.IsInput() {
			inputs = append(inputs, k)
		}
	}
	shared := sharedBy(inputs)
	fmt.Fprintf(&b, "\n## %s\n\n### Every input\n\n", conf.InputsFile)
	table(&b, shared)

	file := conf.InputsFile
	for _, k := range conf.Kinds() {
		if k.File != file {
			file = k.File
			fmt.Fprintf(&b, "\n## %s\n", file)
		}
		fmt.Fprintf(&b, "\n### [%s]\n\n%s.", k, k.Doc)
		if k.Most > 0 {
			fmt.Fprintf(&b, " There may be %d of them.", k.Most)
		}
		b.WriteString("\n\n")
		table(&b, slices.DeleteFunc(slices.Clone(k.Settings), func(d conf.Setting) bool {
			return k.IsInput() && slices.ContainsFunc(shared, func(s conf.Setting) bool { return s.Name == d.Name })
		}))
		if len(k.Rules) > 0 {
			b.WriteByte('\n')
		}
		for _, r := range k.Rules {
			fmt.Fprintf(&b, "- %s.\n", codeNames(k, r.Doc))
		}
	}
	return b.String()
}

// sharedBy returns the settings that all kinds have, with the defaults of each
// where they differ.
func sharedBy(kinds []*conf.Kind) []conf.Setting {
	var shared []conf.Setting
	for _, d := range kinds[0].Settings {
		everywhere := true
		other := ""
		for _, k := range kinds[1:] {
			i := slices.IndexFunc(k.Settings, func(e conf.Setting) bool { return e.Name == d.Name && e.Doc == d.Doc })
			if i < 0 {
				everywhere = false
			} else if e := k.Settings[i]; e.Default != d.Default {
				other += fmt.Sprintf(", %s %s", k.Name, e.Default)
			}
		}
		if everywhere {
			d.Default += other
			shared = append(shared, d)
		}
	}
	return shared
}

func table(b *strings.Builder, settings []conf.Setting) {
	b.WriteString("| setting | value | default | meaning |\n|---|---|---|---|\n")
	for _, d := range settings {
		var names []string
		for _, k := range d.Keys() {
			names = append(names, "`"+k+"`")
		}
		value := string(d.Type)
		if d.Type == conf.Choice {
			value = "`" + strings.Join(d.Values, "` `") + "`"
		}
		if d.Many {
			value = "list of " + plural(d.Type)
		}
		if bounds := boundsOf(d); bounds != "" {
			value += ", " + strings.ToLower(bounds[:1]) + bounds[1:]
		}
		fallback := d.DefaultDoc
		switch {
		case d.Required:
			fallback = "**required**"
		case d.Default != "":
			fallback = "`" + d.Default + "`"
		}
		doc := d.Doc
		if d.Note != "" {
			doc += ". " + d.Note
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", strings.Join(names, " or "), value, cell(fallback), cell(doc))
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

var word = regexp.MustCompile(`\w+`)

// codeNames sets the kind's settings in a sentence as code.
func codeNames(k *conf.Kind, sentence string) string {
	return word.ReplaceAllStringFunc(sentence, func(w string) string {
		if slices.ContainsFunc(k.Settings, func(d conf.Setting) bool { return d.Name == w }) {
			return "`" + w + "`"
		}
		return w
	})
}
