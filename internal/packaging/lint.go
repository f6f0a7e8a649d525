package packaging

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"aiwatch/internal/conf"
)

// settings are the keys that a conf file of ours may have; * stands for the rest
// of a word. Splunk ignores a key that it does not know, and its inspection does
// not look.
var settings = map[string][]string{
	"app.conf":              {"is_configured", "state", "build", "id", "check_for_updates", "name", "version", "author", "description", "is_visible", "label", "reload.aiwatch"},
	"collections.conf":      {"field.*", "accelerated_fields.*", "enforceTypes", "replicate"},
	"datamodels.conf":       {"acceleration"},
	"eventtypes.conf":       {"search", "description", "priority", "color"},
	"inputs.conf":           {"start_by_shell", "interval", "sourcetype"},
	"macros.conf":           {"definition", "args", "iseval", "validation", "errormsg"},
	"props.conf":            {"KV_MODE", "SHOULD_LINEMERGE", "LINE_BREAKER", "TRUNCATE", "DATETIME_CONFIG", "ANNOTATE_PUNCT", "FIELDALIAS-*", "EVAL-*", "LOOKUP-*"},
	"savedsearches.conf":    {"search", "description", "disabled", "is_visible", "enableSched", "cron_schedule", "realtime_schedule", "schedule_window", "schedule_priority", "allow_skew", "dispatch.earliest_time", "dispatch.latest_time", "dispatch.ttl", "counttype", "relation", "quantity", "alert.digest_mode", "alert.track", "alert.severity", "alert.expires", "alert.suppress", "alert.suppress.fields", "alert.suppress.period", "action.summary_index", "action.summary_index.*", "action.correlationsearch.*", "action.risk", "action.risk.param.*", "action.notable", "action.notable.param.*"},
	"server.conf":           {"conf_replication_include.aiwatch"},
	"tags.conf":             {"*"},
	"transforms.conf":       {"filename", "external_type", "collection", "fields_list", "match_type", "case_sensitive_match", "min_matches", "max_matches", "default_match", "replicate"},
	"workflow_actions.conf": {"type", "label", "fields", "eventtypes", "display_location", "search.*", "link.*"},
}

// icons are the sizes of the icons, in pixels a side.
var icons = map[string]int{
	"static/appIcon.png": 36, "static/appIconAlt.png": 36, "static/appIcon_2x.png": 72, "static/appIconAlt_2x.png": 72,
}

// A linter looks for what Splunk's own inspection does not see.
type linter struct {
	files    map[string][]byte
	conf     map[string]*conf.File // by base name
	problems []string
}

// Problems returns what is wrong with the package: what Splunk would only show
// by not doing what was meant.
func (p *Package) Problems() []string {
	l := &linter{files: map[string][]byte{}, conf: map[string]*conf.File{}}
	for _, f := range p.Files {
		if strings.HasPrefix(f.Path, "linux_") {
			continue // a program
		}
		text, err := f.Read()
		if err != nil {
			l.report(f.Path, "%v", err)
			continue
		}
		l.files[f.Path] = text
	}
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		l.text(name)
		l.read(name)
	}
	l.identity(p)
	l.icons()
	l.lookups()
	l.references()
	l.schedules()
	l.tags()
	l.views()
	l.models()
	return l.problems
}

func (l *linter) report(where, format string, args ...any) {
	l.problems = append(l.problems, where+": "+fmt.Sprintf(format, args...))
}

// text is about what every file of text must be.
func (l *linter) text(name string) {
	text := l.files[name]
	if strings.HasSuffix(name, ".png") {
		return
	}
	switch {
	case !utf8.Valid(text):
		l.report(name, "is no UTF-8")
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		l.report(name, "begins with a byte order mark")
	case bytes.ContainsRune(text, '\r'):
		l.report(name, "has a carriage return")
	case !bytes.HasSuffix(text, []byte("\n")):
		l.report(name, "does not end with a line break")
	}
	for _, marker := range []string{"<<<<<<< ", ">>>>>>> ", "\n=======\n"} {
		if bytes.Contains(text, []byte(marker)) {
			l.report(name, "has a conflict of git in it")
		}
	}
}

// read parses a file of a known form.
func (l *linter) read(name string) {
	text := l.files[name]
	switch path.Ext(name) {
	case ".conf":
		file, err := conf.Parse(name, bytes.NewReader(text))
		if err != nil {
			l.report(name, "%v", err)
			return
		}
		l.conf[path.Base(name)] = file
		known, ok := settings[path.Base(name)]
		if !ok {
			l.report(name, "no package of ours has such a file")
		}
		for _, s := range file.Stanzas {
			if s.Name == conf.DefaultStanza {
				l.report(name, "[default] reaches beyond the app")
			}
			for _, v := range s.Values {
				if !slices.ContainsFunc(known, func(key string) bool { return fits(key, v.Key) }) {
					l.report(name, "[%s] %s is no setting of this file", s.Name, v.Key)
				}
				if v.Text == "" {
					l.report(name, "[%s] %s is empty", s.Name, v.Key)
				}
			}
		}
	case ".json":
		if !json.Valid(text) {
			l.report(name, "is no JSON")
		}
	case ".xml":
		for d := xml.NewDecoder(bytes.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				l.report(name, "is no XML: %v", err)
				return
			}
		}
	case ".csv":
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		switch {
		case err != nil:
			l.report(name, "%v", err)
		case len(rows) == 0:
			l.report(name, "has no header")
		case slices.Contains(rows[0], "") || len(slices.Compact(slices.Sorted(slices.Values(rows[0])))) != len(rows[0]):
			l.report(name, "its header %q has an empty or a doubled name", rows[0])
		}
	}
}

func fits(pattern, key string) bool {
	prefix, many := strings.CutSuffix(pattern, "*")
	return pattern == key || many && len(key) > len(prefix) && strings.HasPrefix(key, prefix)
}

// get returns a setting, empty where there is none.
func (l *linter) get(file, stanza, key string) string {
	if f := l.conf[file]; f != nil {
		if s := f.Stanza(stanza); s != nil {
			v, _ := s.Get(key)
			return v.Text
		}
	}
	return ""
}

func (l *linter) stanzas(file string) []*conf.Stanza {
	if f := l.conf[file]; f != nil {
		return f.Stanzas
	}
	return nil
}

func (l *linter) identity(p *Package) {
	for _, x := range []struct{ stanza, key, want string }{
		{"id", "name", p.ID},
		{"id", "version", p.Version},
		{"package", "check_for_updates", "0"},
		{"install", "is_configured", "0"},
	} {
		if got := l.get("app.conf", x.stanza, x.key); got != x.want {
			l.report("default/app.conf", "[%s] %s is %q, not %q", x.stanza, x.key, got, x.want)
		}
	}
	for _, name := range []string{"LICENSE", "metadata/default.meta"} {
		if l.files[name] == nil {
			l.report(name, "is not there")
		}
	}
}

func (l *linter) icons() {
	for _, name := range slices.Sorted(maps.Keys(icons)) {
		c, err := png.DecodeConfig(bytes.NewReader(l.files[name]))
		switch {
		case err != nil:
			l.report(name, "is no picture: %v", err)
		case c.Width != icons[name] || c.Height != icons[name]:
			l.report(name, "is %d x %d pixels, not %d a side", c.Width, c.Height, icons[name])
		}
	}
}

// lookups is about tables: each definition has its table, and each table its
// definition.
func (l *linter) lookups() {
	defined := map[string]bool{}
	for _, s := range l.stanzas("transforms.conf") {
		file, kv := l.get("transforms.conf", s.Name, "filename"), l.get("transforms.conf", s.Name, "collection")
		switch {
		case file != "":
			defined["lookups/"+file] = true
			if l.files["lookups/"+file] == nil {
				l.report("default/transforms.conf", "[%s] lookups/%s is not there", s.Name, file)
			}
		case kv != "":
			if c := l.conf["collections.conf"]; c == nil || c.Stanza(kv) == nil {
				l.report("default/transforms.conf", "[%s] collections.conf has no [%s]", s.Name, kv)
			}
			if l.get("transforms.conf", s.Name, "fields_list") == "" {
				l.report("default/transforms.conf", "[%s] a collection needs a fields_list", s.Name)
			}
		default:
			l.report("default/transforms.conf", "[%s] has neither filename nor collection", s.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		if strings.HasPrefix(name, "lookups/") && !defined[name] {
			l.report(name, "transforms.conf does not define it")
		}
	}
}

var (
	macroCall  = regexp.MustCompile("`([^`]+)`")
	lookupCall = regexp.MustCompile(`(?:^|[|\[])\s*(?:inputlookup|outputlookup|lookup)\s+(?:\w+=\S+\s+)*"?([A-Za-z0-9_.$-]+)`)
	dashQuery  = regexp.MustCompile(`"query"\s*:\s*("(?:[^"\\]|\\.)*")`)
	simpleXML  = regexp.MustCompile(`(?s)<query>(.*?)</query>`)
)

// references is about names in searches: each macro and each lookup is defined.
func (l *linter) references() {
	search := func(where, text string) {
		for _, m := range macroCall.FindAllStringSubmatch(text, -1) {
			if name := macroName(m[1]); l.conf["macros.conf"] == nil || l.conf["macros.conf"].Stanza(name) == nil {
				l.report(where, "the macro %s is not defined", name)
			}
		}
		for _, m := range lookupCall.FindAllStringSubmatch(text, -1) {
			if name := m[1]; !strings.Contains(name, "$") && (l.conf["transforms.conf"] == nil || l.conf["transforms.conf"].Stanza(name) == nil) {
				l.report(where, "the lookup %s is not defined", name)
			}
		}
	}
	for file, key := range map[string]string{"savedsearches.conf": "search", "eventtypes.conf": "search", "macros.conf": "definition"} {
		for _, s := range l.stanzas(file) {
			search("default/"+file+" ["+s.Name+"]", l.get(file, s.Name, key))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		if !strings.HasPrefix(name, "default/data/ui/views/") {
			continue
		}
		for _, m := range dashQuery.FindAllSubmatch(l.files[name], -1) {
			var query string
			if err := json.Unmarshal(m[1], &query); err != nil {
				l.report(name, "a query is no JSON string: %v", err)
			}
			search(name, query)
		}
		for _, m := range simpleXML.FindAllSubmatch(l.files[name], -1) {
			search(name, string(m[1]))
		}
	}
	slices.Sort(l.problems)
}

// macroName is the stanza of a macro that is called so: name, or name(2) with
// two arguments.
func macroName(call string) string {
	name, args, ok := strings.Cut(strings.TrimSpace(call), "(")
	if !ok {
		return name
	}
	args = strings.TrimSuffix(args, ")")
	if strings.TrimSpace(args) == "" {
		return name
	}
	count, depth, quoted := 1, 0, false
	for _, c := range args {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			count++
		}
	}
	return fmt.Sprintf("%s(%d)", name, count)
}

// schedules is about what the scheduler runs.
func (l *linter) schedules() {
	for _, s := range l.stanzas("savedsearches.conf") {
		where := "default/savedsearches.conf [" + s.Name + "]"
		get := func(key string) string { return l.get("savedsearches.conf", s.Name, key) }
		if get("search") == "" || get("description") == "" {
			l.report(where, "needs search and description")
		}
		if severity := get("alert.severity"); severity != "" && (len(severity) != 1 || severity < "1" || severity > "6") {
			l.report(where, "alert.severity = %s: Splunk has 1 to 6", severity)
		}
		if get("enableSched") != "1" {
			continue
		}
		if n := len(strings.Fields(get("cron_schedule"))); n != 5 {
			l.report(where, "cron_schedule has %d fields, not 5", n)
		}
		if strings.HasPrefix(get("cron_schedule"), "* ") {
			l.report(where, "cron_schedule runs every minute")
		}
		for _, key := range []string{"dispatch.earliest_time", "dispatch.latest_time"} {
			v := get(key)
			bounded := key == "dispatch.earliest_time" && v == "0" && l.boundsIndexTime(get("search"))
			if (v == "" || v == "-" || v == "0") && !bounded {
				l.report(where, "%s = %q searches all time", key, v)
			}
		}
	}
}

// boundsIndexTime tells whether a search, or a macro that it calls, selects by
// index time: then its events may be of any age, and are yet few.
func (l *linter) boundsIndexTime(search string) bool {
	if strings.Contains(search, "_index_earliest=") {
		return true
	}
	for _, m := range macroCall.FindAllStringSubmatch(search, -1) {
		if strings.Contains(l.get("macros.conf", macroName(m[1]), "definition"), "_index_earliest=") {
			return true
		}
	}
	return false
}

// tags is about tags on event types that are not there.
func (l *linter) tags() {
	for _, s := range l.stanzas("tags.conf") {
		name, ok := strings.CutPrefix(s.Name, "eventtype=")
		if types := l.conf["eventtypes.conf"]; !ok || types == nil || types.Stanza(name) == nil {
			l.report("default/tags.conf", "[%s] is no event type of eventtypes.conf", s.Name)
		}
		for _, v := range s.Values {
			if v.Text != "enabled" {
				l.report("default/tags.conf", "[%s] %s = %s: a tag is enabled", s.Name, v.Key, v.Text)
			}
		}
	}
}

// builtin are views that every Splunk app has.
var builtin = []string{"search", "reports", "alerts", "dashboards", "datasets"}

// views is about the navigation: it names views that are there, and every view.
func (l *linter) views() {
	const nav = "default/data/ui/nav/default.xml"
	var menu struct {
		Views []navView       `xml:"view"`
		Menus []navCollection `xml:"collection"`
	}
	if text := l.files[nav]; text == nil {
		return
	} else if err := xml.Unmarshal(text, &menu); err != nil {
		l.report(nav, "%v", err)
		return
	}
	named := map[string]bool{}
	for _, v := range menu.Views {
		named[v.Name] = true
	}
	for _, c := range menu.Menus {
		for _, v := range c.Views {
			named[v.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if name != "" && !slices.Contains(builtin, name) && l.files["default/data/ui/views/"+name+".xml"] == nil {
			l.report(nav, "there is no view %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		if view, ok := strings.CutPrefix(name, "default/data/ui/views/"); ok && !named[strings.TrimSuffix(view, ".xml")] {
			l.report(name, "the navigation does not name it")
		}
	}
}

type navView struct {
	Name string `xml:"name,attr"`
}

type navCollection struct {
	Views []navView `xml:"view"`
}

// models is about data models: each stanza has its JSON, and the other way round.
func (l *linter) models() {
	for _, s := range l.stanzas("datamodels.conf") {
		if l.files["default/data/models/"+s.Name+".json"] == nil {
			l.report("default/datamodels.conf", "[%s] default/data/models/%s.json is not there", s.Name, s.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		if model, ok := strings.CutPrefix(name, "default/data/models/"); ok {
			if f := l.conf["datamodels.conf"]; f == nil || f.Stanza(strings.TrimSuffix(model, ".json")) == nil {
				l.report(name, "datamodels.conf has no stanza for it")
			}
		}
	}
}
