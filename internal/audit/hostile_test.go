package audit

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/scenario"
)

// names that hurt: markup, quotes, SPL, tokens, formulas, paths, terminal escapes,
// text that turns its direction, what is no UTF-8, and too much of it.
var names = []string{
	`"><script>alert(1)</script>`, `'onmouseover='alert(1)`, `</style><img src=x onerror=alert(1)>`, `</title><svg/onload=alert(1)>`,
	`{{.Verdict}}`, `javascript:alert(1)`, `x" OR index=* | delete | head "`, "`aiwatch_index`", `$user$ $result.x$`, `[search index=*]`, `*`, `\`, `\"`,
	"=cmd|' /C calc'!A0", `../../etc/passwd`, "\x1b[31mred\x1b[0m", "\u202egnp.exe\u202c", "a\u2028b\u0085c", "nul\x00", "\ufeffbom", "line\nbreak\ttab",
	"\xff\xfe", strings.Repeat("x", 3000), strings.Repeat("\u0301", 50) + "é",
}

// madeOf is a small organisation all of whose names are one name.
func madeOf(t *testing.T, name string) (*Events, []scenario.Finding) {
	t.Helper()
	events := NewEvents()
	seq := 0
	add := func(sourcetype, source string, at time.Time, fields map[string]any) string {
		seq++
		id := fmt.Sprintf("%032x", seq)
		for k, v := range map[string]any{"event_id": id, "seq": seq, "collector": name, "user": name, "user_confidence": "authenticated", "src": name, "raw_ref": name, "user_agent": name} {
			if _, is := fields[k]; !is {
				fields[k] = v
			}
		}
		line, err := json.Marshal(map[string]any{"time": at.Unix(), "indextime": at.Unix(), "host": name, "source": source, "sourcetype": sourcetype, "event": fields})
		require.NoError(t, err)
		require.NoError(t, events.Add(line))
		return id
	}
	mlflow, s3, git := "aiwatch_mlflow://"+name, "aiwatch_s3://"+name, "aiwatch_git://"+name
	version := "mlflow:prod/models/" + name + "/" + name
	run := add("aiwatch:mlflow", mlflow, eight, map[string]any{"operation": "run.created", "action": "created", "asset_type": "run", "asset_id": "mlflow:prod/runs/" + name, "run_id": name, "git_commit": name, "git_repo": name, "git_dirty": true, "tags": []string{"weights.sha256=" + strings.Repeat("a", 64), name}, "trained_by": name})
	add("aiwatch:mlflow", mlflow, eight, map[string]any{"operation": "dataset.logged", "action": "read", "asset_type": "dataset", "run_id": name, "dataset_name": name, "dataset_digest": name, "dataset_source": name})
	add("aiwatch:mlflow", mlflow, eight.Add(time.Minute), map[string]any{"operation": "version.created", "action": "created", "asset_type": "model_version", "asset_id": version, "model_name": name, "model_version": name, "run_id": name, "source_uri": "s3://" + name + "/" + name})
	add("aiwatch:mlflow", mlflow, eight.Add(2*time.Minute), map[string]any{"operation": "artifact.created", "action": "created", "asset_type": "artifact", "asset_role": "weights", "asset_id": "mlflow:prod/runs/" + name + "/artifacts/" + name, "run_id": name, "asset_digest": "sha256:" + strings.Repeat("b", 64)})
	moved := add("aiwatch:mlflow", mlflow, eight.Add(3*time.Minute), map[string]any{"operation": "alias.set", "action": "modified", "asset_type": "model_version", "asset_id": version, "model_name": name, "model_version": name, "run_id": name, "alias": "champion", "change_field": "alias." + name, "old_value": name, "new_value": name, "source_uri": "s3://" + name + "/" + name})
	add("aiwatch:s3", s3, eight.Add(4*time.Minute), map[string]any{"operation": "REST.GET.OBJECT", "status_code": "200", "asset_id": "s3://" + name + "/" + name + "/" + name, "bytes_out": 5, "request_id": name})
	add("aiwatch:git", git, eight.Add(5*time.Minute), map[string]any{"operation": name, "action": name, "asset_id": name, "git_commit": name, "lfs_oid": name, "asset_role": "weights"})
	for _, input := range []string{mlflow, s3, git} {
		add("aiwatch:health", input, eight, map[string]any{"operation": "heartbeat", "asset_type": "input", "state": name, "coverage": []string{name}, "error": name})
		add("aiwatch:health", input, eight.Add(2*time.Hour), map[string]any{"operation": "heartbeat", "asset_type": "input", "state": "failing", "error": name})
		add("aiwatch:health", input, eight.Add(2*time.Hour), map[string]any{"operation": "state.restored", "asset_type": "input", "text": name})
	}
	row, err := json.Marshal(map[string]any{"severity": "high", "event_ids": run + "," + moved, "user_confidence": name, "_time": eight.Unix()})
	require.NoError(t, err)
	valid := strings.ToValidUTF8(name, "\ufffd")
	return events, []scenario.Finding{
		{Detection: 7, Name: valid, Time: eight.Add(time.Hour), User: []string{valid, "b"}, Asset: []string{valid, version}, Score: valid, Message: valid, Row: row},
		{Detection: 7, Name: valid, Time: eight.Add(time.Hour), Row: json.RawMessage(`{"severity":"` + "x" + `"}`)},
	}
}

// shape is what a page is made of, without its text: elements with the names of
// their attributes. The page is read as XML: what an event could break would not
// be well-formed.
func shape(t *testing.T, page string) (elements []string, texts string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var text strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements, text.String()
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			element := token.Name.Local
			for _, a := range token.Attr {
				element += " " + a.Name.Local
				if a.Name.Local == "href" {
					require.True(t, strings.HasPrefix(a.Value, "#"), "a link leads to %q", a.Value)
				}
			}
			elements = append(elements, element)
		case xml.CharData:
			text.Write(token)
		}
	}
}

// TestNamesThatHurt: with every name of an organisation hostile the page has no
// element and no attribute that it has not with harmless names, shows nothing that a browser or a
// terminal would act on, and asks for nothing.
func TestNamesThatHurt(t *testing.T) {
	events, found := madeOf(t, "harmless")
	want, _ := shape(t, paged(t, searched(t, Input{Events: events}, found...)))
	for _, name := range names {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			events, found := madeOf(t, name)
			report := searched(t, Input{Events: events}, found...)
			page := paged(t, report)
			got, text := shape(t, page)
			require.True(t, utf8.ValidString(page))
			for _, r := range page {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Fatalf("the page holds %U", r)
				}
			}
			for _, element := range got {
				require.Contains(t, want, element, "an element that the page has with harmless names")
			}
			require.Equal(t, 1, strings.Count(page, "</style>"))
			if name == names[0] {
				require.Contains(t, text, name)
			}
			require.Len(t, report.Custody, 1)
			require.True(t, report.Custody[0].Differ)
			var b bytes.Buffer
			require.NoError(t, report.WriteJSON(&b))
			require.True(t, json.Valid(b.Bytes()))
		})
	}
}
