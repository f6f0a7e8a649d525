package modinput_test

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
	"aiwatch/internal/modinput"
)

var update = flag.Bool("update", false, "write the golden files anew")

func kind(t *testing.T, name string) *conf.Kind {
	t.Helper()
	for _, k := range conf.Kinds() {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("no kind %s", name)
	return nil
}

var schemes = []string{"aiwatch_git", "aiwatch_mlflow", "aiwatch_s3"}

func TestScheme(t *testing.T) {
	for _, name := range schemes {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, modinput.WriteScheme(&b, kind(t, name)))
			golden := filepath.Join("testdata", name+".xml")
			if *update {
				require.NoError(t, os.WriteFile(golden, b.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String(), "run go test ./internal/modinput -update")
		})
	}
}

// TestSchemeAndSpecAgree: every setting that Splunk does not declare itself is
// an argument of the scheme, each once, and what the scheme names is understood.
func TestSchemeAndSpecAgree(t *testing.T) {
	for _, name := range schemes {
		var b bytes.Buffer
		k := kind(t, name)
		require.NoError(t, modinput.WriteScheme(&b, k))
		var scheme struct {
			Args []struct {
				Name             string `xml:"name,attr"`
				Title            string `xml:"title"`
				Description      string `xml:"description"`
				RequiredOnCreate *bool  `xml:"required_on_create"`
				RequiredOnEdit   *bool  `xml:"required_on_edit"`
			} `xml:"endpoint>args>arg"`
		}
		require.NoError(t, xml.Unmarshal(b.Bytes(), &scheme))
		seen := map[string]bool{}
		for _, a := range scheme.Args {
			require.False(t, seen[a.Name], a.Name)
			seen[a.Name] = true
			require.NotEmpty(t, a.Title, a.Name)
			require.NotEmpty(t, a.Description, a.Name)
			// Splunk's own default of required_on_create is true.
			require.NotNil(t, a.RequiredOnCreate, a.Name)
			require.NotNil(t, a.RequiredOnEdit, a.Name)
		}
		for _, setting := range k.Settings {
			for _, key := range setting.Keys() {
				switch key {
				case "disabled", "host", "index", "interval":
					require.False(t, seen[key], "%s is declared by Splunk", key)
				default:
					require.True(t, seen[key], "%s has no argument %s", name, key)
				}
			}
		}
	}
}

const input = `<?xml version="1.0" encoding="UTF-8"?>
<input>
  <server_host>hf01</server_host>
  <server_uri>https://127.0.0.1:8089</server_uri>
  <session_key>the session</session_key>
  <checkpoint_dir>/opt/splunk/var/lib/splunk/modinputs/aiwatch_s3</checkpoint_dir>
  <configuration>
    <stanza name="aiwatch_s3://prod" app="TA-aiwatch">
      <param name="bucket">access-logs</param>
      <param name="host">$decideOnStartup</param>
      <param name="prefix">a &lt;b&gt; &amp; c</param>
      <param_list name="watch_buckets"><value>models</value><value>data</value></param_list>
    </stanza>
  </configuration>
</input>`

func TestReadInput(t *testing.T) {
	got, err := modinput.ReadInput(strings.NewReader(input))
	require.NoError(t, err)
	require.Equal(t, "the session", got.SessionKey.Reveal())
	require.NotContains(t, fmt.Sprintf("%+v", *got), "the session")
	got.SessionKey = conf.Secret{}
	require.Equal(t, &modinput.Request{
		ServerHost: "hf01", ServerURI: "https://127.0.0.1:8089",
		CheckpointDir: "/opt/splunk/var/lib/splunk/modinputs/aiwatch_s3",
		Name:          "aiwatch_s3://prod", App: "TA-aiwatch",
		Params: map[string][]string{
			"bucket": {"access-logs"}, "host": {"$decideOnStartup"}, "prefix": {"a <b> & c"}, "watch_buckets": {"models", "data"},
		},
	}, got)
}

// TestReadInputDoesNotWaitForTheEnd: splunkd leaves stdin open.
func TestReadInputDoesNotWaitForTheEnd(t *testing.T) {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	go func() { _, _ = io.WriteString(w, input+"\n") }()
	_, err := modinput.ReadInput(r)
	require.NoError(t, err)
}

func TestReadItems(t *testing.T) {
	long := strings.Repeat("x", 200_000) // longer than a line reader takes
	got, err := modinput.ReadItems(strings.NewReader(`<items><server_host>h</server_host><server_uri>https://h:8089</server_uri>` +
		`<session_key>k</session_key><checkpoint_dir>/c</checkpoint_dir>` +
		`<item name="prod"><param name="bucket">` + long + `</param><param name="prefix"></param></item></items>`))
	require.NoError(t, err)
	require.Equal(t, "prod", got.Name)
	require.Equal(t, map[string][]string{"bucket": {long}, "prefix": {""}}, got.Params)
}

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":      {"", "it ends before </input>"},
		"cut":          {input[:len(input)-3], "it ends before </input>"},
		"other":        {"<items></items>", "it begins with <items>"},
		"no stanza":    {"<input><configuration></configuration></input>", "it names 0 inputs"},
		"two stanzas":  {`<input><configuration><stanza name="a"/><stanza name="b"/></configuration></input>`, "it names 2 inputs"},
		"not XML":      {"GET / HTTP/1.1", "it ends before </input>"},
		"own entity":   {`<!DOCTYPE input [<!ENTITY a "b">]><input><server_host>&a;</server_host></input>`, "invalid character entity"},
		"large":        {"<input><server_host>" + strings.Repeat("x", 17<<20), "larger than 16 MiB"},
		"wrong nested": {"<input><a></b></input>", "closed by </b>"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := modinput.ReadInput(strings.NewReader(c.text))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestRefusal(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, modinput.WriteRefusal(&b, "bucket: <x> & y"))
	require.Equal(t, "<error><message>bucket: &lt;x&gt; &amp; y</message></error>\n", b.String())
}

func FuzzRead(f *testing.F) {
	f.Add(input)
	f.Add(`<items><item name="x"><param name="a">b</param></item></items>`)
	f.Add(`<input><configuration><stanza name="&#x41;"><param_list name="l"><value/></param_list></stanza></configuration></input>`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := modinput.ReadInput(strings.NewReader(text))
		if err == nil {
			// What follows the closing tag makes no difference.
			again, err := modinput.ReadInput(strings.NewReader(text + "<"))
			require.NoError(t, err)
			again.SessionKey, got.SessionKey = conf.Secret{}, conf.Secret{}
			require.Equal(t, got, again)
		}
		_, _ = modinput.ReadItems(strings.NewReader(text))
	})
}
