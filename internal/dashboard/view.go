package dashboard

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"aiwatch/internal/detection"
)

// Folder is where the views lie in the app.
const Folder = "default/data/ui/views"

// A View is one page of the app.
type View struct {
	Path               string // in the app
	Name               string // in links: the file's name without .xml
	Theme              string // dark or light
	Label, Description string
	Definition

	text  []byte         // the definition as it is written
	first int            // the line in which it begins
	lines map[string]int // of each JSON path
}

// Definition is the JSON of a view, as far as our pages use it. A key that does
// not stand here is refused.
type Definition struct {
	Title          string                    `json:"title"`
	Description    string                    `json:"description"`
	DataSources    map[string]*DataSource    `json:"dataSources"`
	Visualizations map[string]*Visualization `json:"visualizations"`
	Inputs         map[string]*Input         `json:"inputs"`
	Defaults       Defaults                  `json:"defaults"`
	Layout         Layout                    `json:"layout"`
}

// A DataSource is a search (ds.search) or goes on from another (ds.chain).
type DataSource struct {
	Type    string        `json:"type"`
	Name    string        `json:"name"`
	Options SearchOptions `json:"options"`
}

// SearchOptions are the text and the range of a search.
type SearchOptions struct {
	Query           string `json:"query"`
	Extend          string `json:"extend"` // the search that a chain goes on from
	QueryParameters Range  `json:"queryParameters"`
}

// A Range bounds a search in time.
type Range struct {
	Earliest string `json:"earliest"`
	Latest   string `json:"latest"`
}

// A Visualization is a panel. Options and Context are as its type has them.
type Visualization struct {
	Type             string            `json:"type"`
	Title            string            `json:"title"`
	Description      string            `json:"description"`
	DataSources      map[string]string `json:"dataSources"`
	Options          map[string]any    `json:"options"`
	Context          map[string]any    `json:"context"`
	EventHandlers    []Handler         `json:"eventHandlers"`
	ShowProgressBar  bool              `json:"showProgressBar"`
	ShowLastUpdated  bool              `json:"showLastUpdated"`
	ContainerOptions map[string]any    `json:"containerOptions"`
}

// A Handler is what a click does.
type Handler struct {
	Type    string `json:"type"`
	Options struct {
		URL    string     `json:"url"`
		NewTab bool       `json:"newTab"`
		Events []string   `json:"events"`
		Fields []string   `json:"fields"`
		Tokens []SetToken `json:"tokens"`
	} `json:"options"`
}

// SetToken gives a token a value: Key is one of the click, Value is text.
type SetToken struct {
	Token string `json:"token"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// An Input is a control above the page, which sets a token.
type Input struct {
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	DataSources map[string]string `json:"dataSources"`
	Options     InputOptions      `json:"options"`
	Context     map[string]any    `json:"context"`
}

// InputOptions are those of the inputs that our pages use: Items is a list, or
// an expression over a search.
type InputOptions struct {
	Token        string `json:"token"`
	DefaultValue string `json:"defaultValue"`
	Items        any    `json:"items"`
	Placeholder  string `json:"placeholder"`
}

// Defaults are what data sources and tokens have unless they say otherwise.
type Defaults struct {
	DataSources map[string]*DefaultSource        `json:"dataSources"`
	Tokens      map[string]map[string]TokenValue `json:"tokens"`
}

// A DefaultSource has the options of all data sources of a type.
type DefaultSource struct {
	Options SearchOptions `json:"options"`
}

// A TokenValue is what a token has before anybody sets it.
type TokenValue struct {
	Value string `json:"value"`
}

// Layout says where panels lie and which inputs stand above them.
type Layout struct {
	Type         string         `json:"type"`
	Options      map[string]any `json:"options"`
	GlobalInputs []string       `json:"globalInputs"`
	Structure    []Item         `json:"structure"`
}

// An Item is the place of a panel.
type Item struct {
	Item     string    `json:"item"`
	Type     string    `json:"type"`
	Position *Position `json:"position"`
}

// A Position is in pixels of a page of the layout's width.
type Position struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

// Load reads the app's views in the order of their names. The error joins
// detection.Problems with file and line.
func Load(app fs.FS) ([]*View, error) {
	names, err := fs.Glob(app, Folder+"/*.xml")
	if err != nil {
		return nil, fmt.Errorf("list views: %w", err)
	}
	var all []*View
	var problems []error
	for _, name := range names {
		text, err := fs.ReadFile(app, name)
		if err != nil {
			return nil, fmt.Errorf("read view: %w", err)
		}
		v, err := Parse(name, text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, v)
	}
	return all, errors.Join(problems...)
}

// Parse reads one view. What the envelope or the definition do not have is an
// error.
func Parse(name string, text []byte) (*View, error) {
	v := &View{Path: name, Name: strings.TrimSuffix(path.Base(name), ".xml"), lines: map[string]int{}}
	if err := v.envelope(text); err != nil {
		return nil, err
	}
	if err := v.locate(); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(v.text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v.Definition); err != nil {
		return nil, v.problemAt(v.offset(err, d.InputOffset()), "%v", err)
	}
	return v, nil
}

// JSON is the definition as it is written.
func (v *View) JSON() json.RawMessage { return json.RawMessage(bytes.TrimSpace(v.text)) }

// offset is where a definition could not be read.
func (v *View) offset(err error, read int64) int64 {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return kind.Offset
	}
	if _, key, ok := strings.Cut(err.Error(), "unknown field "); ok {
		if i := bytes.Index(v.text, []byte(key+":")); i >= 0 {
			return int64(i)
		}
	}
	return read
}

func (v *View) problemAt(offset int64, format string, args ...any) error {
	at := min(max(int(offset), 0), len(v.text))
	return detection.Problem{Path: v.Path, Line: v.first + bytes.Count(v.text[:at], []byte("\n")), Text: fmt.Sprintf(format, args...)}
}

// elements are those of the envelope.
var elements = []string{"label", "description", "definition"}

// envelope reads the XML around the definition.
func (v *View) envelope(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = true
	at := func(offset int64) int { return 1 + bytes.Count(text[:offset], []byte("\n")) }
	problem := func(format string, args ...any) error {
		return detection.Problem{Path: v.Path, Line: at(d.InputOffset()), Text: fmt.Sprintf(format, args...)}
	}
	seen := map[string]string{}
	var open []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return problem("%v", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			name := t.Name.Local
			switch {
			case len(open) == 0 && name == "dashboard":
				for _, a := range t.Attr {
					switch {
					case a.Name.Local == "version" && a.Value == "2":
						seen["version"] = a.Value
					case a.Name.Local == "theme" && (a.Value == "dark" || a.Value == "light"):
						v.Theme = a.Value
					default:
						return problem("<dashboard> has %s=%q: it takes version=\"2\" and theme=\"dark\" or \"light\"", a.Name.Local, a.Value)
					}
				}
			case len(open) == 1 && slices.Contains(elements, name):
				if _, twice := seen[name]; twice {
					return problem("<%s> stands there twice", name)
				}
				seen[name] = ""
				if name == "definition" {
					v.first = at(d.InputOffset())
				}
			default:
				return problem("<%s> is no part of a page of ours", name)
			}
			open = append(open, name)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) == 2 {
				seen[open[1]] += string(t)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return problem("text between the elements: %q", bytes.TrimSpace(t))
			}
		case xml.ProcInst, xml.Comment, xml.Directive:
			return problem("comments and instructions are no part of a page of ours")
		}
	}
	v.Label, v.Description, v.text = seen["label"], seen["description"], []byte(seen["definition"])
	switch {
	case seen["version"] == "" || v.Theme == "":
		return detection.Problem{Path: v.Path, Line: 1, Text: `<dashboard version="2" theme="dark"> is what begins a page`}
	case v.Label == "" || v.Description == "":
		return detection.Problem{Path: v.Path, Line: 1, Text: "label and description are not empty"}
	case len(v.text) == 0:
		return detection.Problem{Path: v.Path, Line: 1, Text: "definition is missing"}
	}
	return nil
}

// locate notes the line of every value and refuses a key that stands twice.
func (v *View) locate() error {
	d := json.NewDecoder(bytes.NewReader(v.text))
	var value func(at string) error
	value = func(at string) error {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if _, known := v.lines[at]; !known {
			v.lines[at] = v.first + bytes.Count(v.text[:d.InputOffset()], []byte("\n"))
		}
		switch t {
		case json.Delim('{'):
			for d.More() {
				key, err := d.Token()
				if err != nil {
					return err
				}
				inner := strings.TrimPrefix(at+"."+key.(string), ".")
				if _, twice := v.lines[inner]; twice {
					return v.problemAt(d.InputOffset(), "the key %s stands there twice", inner)
				}
				v.lines[inner] = v.first + bytes.Count(v.text[:d.InputOffset()], []byte("\n"))
				if err := value(inner); err != nil {
					return err
				}
			}
			_, err = d.Token()
		case json.Delim('['):
			for i := 0; d.More(); i++ {
				if err := value(fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
			_, err = d.Token()
		}
		return err
	}
	err := value("")
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something stands after the definition")
		}
	}
	var p detection.Problem
	if err != nil && !errors.As(err, &p) {
		return v.problemAt(d.InputOffset(), "the definition is no JSON: %v", err)
	}
	return err
}

// Line is where a value of the definition stands, by its path such as
// "layout.structure[2].item"; the nearest that is around it where it is not there.
func (v *View) Line(at string) int {
	for at != "" {
		if l, ok := v.lines[at]; ok {
			return l
		}
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	return v.first
}

// Canonical is the view's file as it is kept: the envelope and the definition,
// indented by two spaces, keys in the order of their author.
func (v *View) Canonical() ([]byte, error) {
	var definition bytes.Buffer
	if err := json.Indent(&definition, bytes.TrimSpace(v.text), "", "  "); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<dashboard version=\"2\" theme=%q>\n", v.Theme)
	for _, e := range []struct{ name, text string }{{"label", v.Label}, {"description", v.Description}} {
		fmt.Fprintf(&b, "  <%s>", e.name)
		if err := xml.EscapeText(&b, []byte(e.text)); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "</%s>\n", e.name)
	}
	fmt.Fprintf(&b, "  <definition><![CDATA[\n%s\n  ]]></definition>\n</dashboard>\n", &definition)
	return b.Bytes(), nil
}
