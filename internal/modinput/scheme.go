package modinput

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"aiwatch/internal/conf"
)

// builtin are settings that every input of Splunk has: splunkd declares them
// itself and refuses a scheme that does so again.
var builtin = []string{"disabled", "host", "index", "interval", "name", "source", "sourcetype"}

// An Argument is one key of an input's stanza as Splunk knows it.
type Argument struct {
	Key string
	// Title is a form's label, Help what stands below its field.
	Title, Help string
	// Secret says that the key names a secret, and how.
	Secret  bool
	Setting conf.Setting
}

// Arguments returns what a kind of input takes beside the settings that every
// input of Splunk has, in the order of the table of settings.
func Arguments(kind *conf.Kind) []Argument {
	var arguments []Argument
	for _, setting := range kind.Settings {
		if slices.Contains(builtin, setting.Name) {
			continue
		}
		for _, key := range setting.Keys() {
			arguments = append(arguments, Argument{
				Key: key, Title: title(key), Help: help(setting, key),
				Secret: setting.Type == conf.SecretType, Setting: setting,
			})
		}
	}
	return arguments
}

// words are those parts of keys that are no plain words.
var words = map[string]string{
	"arn": "ARN", "aws": "AWS", "ca": "CA", "cert": "certificate", "env": "(environment variable)", "file": "file",
	"gpg": "GPG", "id": "ID", "lfs": "LFS", "openpgp": "OpenPGP", "sqs": "SQS", "ssh": "SSH", "tls": "TLS", "url": "URL",
}

// title makes a label of a key: queue_url is Queue URL.
func title(key string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(key, "_") {
		if known, ok := words[word]; ok {
			word = known
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	label := b.String()
	return strings.ToUpper(label[:1]) + label[1:]
}

// help says what a key means, what it may hold and what holds without it.
func help(setting conf.Setting, key string) string {
	text := setting.Doc + "."
	switch {
	case strings.HasSuffix(key, "_credential") && setting.Type == conf.SecretType:
		text += " The name of an entry in Splunk's storage/passwords, never the secret itself."
	case strings.HasSuffix(key, "_file") && setting.Type == conf.SecretType:
		text += " The path of a file that holds it, which group and others can neither read nor write."
	case setting.Type == conf.SecretType:
		text += " The name of an environment variable that holds it."
	}
	switch {
	case len(setting.Values) > 0 && setting.Many:
		text += " Of " + strings.Join(setting.Values, ", ") + ", separated by commas."
	case len(setting.Values) > 0:
		text += " One of " + strings.Join(setting.Values, ", ") + "."
	case setting.Many:
		text += " Separated by commas."
	}
	if setting.Note != "" {
		text += " " + setting.Note + "."
	}
	switch {
	case setting.Default != "":
		text += " Default: " + setting.Default + "."
	case setting.DefaultDoc != "":
		text += " Default: " + setting.DefaultDoc + "."
	}
	return text
}

type schemeXML struct {
	XMLName     xml.Name `xml:"scheme"`
	Title       string   `xml:"title"`
	Description string   `xml:"description"`
	// Validation: this program answers --validate-arguments.
	Validation     bool          `xml:"use_external_validation"`
	SingleInstance bool          `xml:"use_single_instance"`
	StreamingMode  string        `xml:"streaming_mode"`
	Args           []argumentXML `xml:"endpoint>args>arg"`
}

type argumentXML struct {
	Name             string `xml:"name,attr"`
	Title            string `xml:"title"`
	Description      string `xml:"description"`
	DataType         string `xml:"data_type"`
	RequiredOnCreate bool   `xml:"required_on_create"`
	RequiredOnEdit   bool   `xml:"required_on_edit"`
}

// Title returns what Settings > Data inputs calls a kind of input.
func Title(kind *conf.Kind) string {
	names := map[string]string{"aiwatch_s3": "S3 access logs", "aiwatch_mlflow": "MLflow", "aiwatch_git": "Git repositories"}
	return "AI assets: " + names[kind.Name]
}

// WriteScheme writes what splunkd asks for with --scheme. It needs nothing but
// the table of settings: Splunk's vetting runs it without environment, network
// or files.
//
// The scheme holds no validation rules of Splunk's: all are this program's, so
// that they and their sentences are the same with and without Splunk.
func WriteScheme(w io.Writer, kind *conf.Kind) error {
	scheme := schemeXML{
		Title: Title(kind), Description: kind.Doc + ".",
		Validation: true, StreamingMode: "xml",
	}
	for _, a := range Arguments(kind) {
		scheme.Args = append(scheme.Args, argumentXML{
			Name: a.Key, Title: a.Title, Description: a.Help, DataType: dataType(a),
			RequiredOnCreate: a.Setting.Required && !a.Secret,
		})
	}
	text, err := xml.MarshalIndent(scheme, "", "  ")
	if err != nil {
		return fmt.Errorf("write the scheme of %s: %w", kind.Name, err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

func dataType(a Argument) string {
	switch {
	case a.Setting.Many:
		return "string"
	case a.Setting.Type == conf.Bool:
		return "boolean"
	case a.Setting.Type == conf.Int:
		return "number"
	}
	return "string"
}
