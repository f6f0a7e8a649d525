package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFieldsAreDeclaredOnceAndWell(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range All() {
		require.Regexp(t, regexp.MustCompile(`^[a-z][a-z0-9_]*$`), f.Name)
		require.False(t, seen[f.Name], "%s stands twice", f.Name)
		seen[f.Name] = true
		require.Contains(t, Groups, f.Group, f.Name)
		require.NotEmpty(t, f.Doc, f.Name)
		require.NotRegexp(t, regexp.MustCompile(`\.$`), f.Doc, "%s: the renderer ends the sentence", f.Name)
	}
	require.Len(t, seen, len(Fields)+len(core), "every field belongs to a group")
	for _, f := range SearchTime {
		require.False(t, seen[f.Name], "%s is sent, so it is not computed", f.Name)
	}
}

func TestOperationsUseTheWordsOfTheFields(t *testing.T) {
	values := map[string][]string{}
	for _, f := range Fields {
		values[f.Name] = f.Values
	}
	known := []string{anySource}
	for _, st := range Sourcetypes {
		known = append(known, st.Name)
		for _, d := range st.Defaults {
			if allowed := values[d.Field]; allowed != nil {
				require.Contains(t, allowed, d.Value, st.Name)
			}
		}
	}
	seen := map[string]bool{}
	for _, o := range Operations {
		require.False(t, seen[o.Sourcetype+o.Name], "%s stands twice", o.Name)
		seen[o.Sourcetype+o.Name] = true
		require.Contains(t, known, o.Sourcetype, o.Name)
		require.NotEmpty(t, o.AssetTypes, o.Name)
		if o.Sourcetype != health {
			require.Contains(t, values["action"], o.Action, o.Name)
		}
		for _, at := range o.AssetTypes {
			require.Contains(t, values["asset_type"], at, o.Name)
		}
	}
	require.True(t, slices.ContainsFunc(Operations, func(o Operation) bool { return o.Name == "record.damaged" }))
}

func TestRenderedFormsAreComplete(t *testing.T) {
	var md, js bytes.Buffer
	require.NoError(t, WriteMarkdown(&md))
	require.NoError(t, WriteJSON(&js))
	var parsed map[string]any
	require.NoError(t, json.Unmarshal(js.Bytes(), &parsed))
	require.Len(t, parsed["fields"], len(All()))
	require.Len(t, parsed["operations"], len(Operations))
	for _, f := range All() {
		require.Contains(t, md.String(), "| `"+f.Name+"` |")
	}
	for _, o := range Operations {
		require.Contains(t, md.String(), "| `"+o.Name+"` |")
	}
}

func TestTheDocumentationIsCurrent(t *testing.T) {
	want, err := os.ReadFile("../../../docs/event-schema.md")
	require.NoError(t, err)
	var md bytes.Buffer
	require.NoError(t, WriteMarkdown(&md))
	require.Equal(t, string(want), md.String(), "run: go generate ./internal/event")
}
