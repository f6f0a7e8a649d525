package preview

import (
	"embed"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

const (
	appID   = "aiwatch"
	user    = "admin"
	locale  = "/en-US"
	splunkd = locale + "/splunkd/__raw"
	appPath = locale + "/app/" + appID + "/"
	// searchView is Splunk's own search page.
	searchView = "search"
)

//go:embed web
var web embed.FS

var templates = template.Must(template.ParseFS(web, "web/*.html"))

// A View is a dashboard as it stands in the app.
type View struct {
	Name        string          `xml:"-"`
	Theme       string          `xml:"theme,attr"`
	Label       string          `xml:"label"`
	Description string          `xml:"description"`
	Definition  json.RawMessage `xml:"-"`
}

// Views reads the dashboards of an app, in the order of its navigation.
func Views(app fs.FS) ([]*View, error) {
	const dir = "default/data/ui/views"
	paths, err := fs.Glob(app, dir+"/*.xml")
	if err != nil {
		return nil, fmt.Errorf("list the dashboards: %w", err)
	}
	var all []*View
	for _, name := range paths {
		text, err := fs.ReadFile(app, name)
		if err != nil {
			return nil, fmt.Errorf("read a dashboard: %w", err)
		}
		file := struct {
			XMLName xml.Name `xml:"dashboard"`
			*View
			Definition string `xml:"definition"`
		}{View: &View{Name: strings.TrimSuffix(path.Base(name), ".xml"), Theme: "dark"}}
		if err := xml.Unmarshal(text, &file); err != nil {
			return nil, fmt.Errorf("read the dashboard %s: %w", name, err)
		}
		file.View.Definition = json.RawMessage(strings.TrimSpace(file.Definition))
		if !json.Valid(file.View.Definition) {
			return nil, fmt.Errorf("read the dashboard %s: its definition is no JSON", name)
		}
		all = append(all, file.View)
	}
	entries, err := navigation(app)
	if err != nil {
		return nil, err
	}
	place := func(v *View) int { return slices.IndexFunc(entries, func(e entry) bool { return e.Name == v.Name }) }
	slices.SortStableFunc(all, func(a, b *View) int { return place(a) - place(b) })
	return all, nil
}

// entry is a page in the app's navigation.
type entry struct {
	Name    string `xml:"name,attr"`
	Default bool   `xml:"default,attr"`
}

func navigation(app fs.FS) ([]entry, error) {
	text, err := fs.ReadFile(app, "default/data/ui/nav/default.xml")
	if err != nil {
		return nil, fmt.Errorf("read the navigation: %w", err)
	}
	var nav struct {
		Views       []entry `xml:"view"`
		Collections []struct {
			Views []entry `xml:"view"`
		} `xml:"collection"`
	}
	if err := xml.Unmarshal(text, &nav); err != nil {
		return nil, fmt.Errorf("read the navigation: %w", err)
	}
	for _, c := range nav.Collections {
		nav.Views = append(nav.Views, c.Views...)
	}
	return nav.Views, nil
}

// pages are those of the app.
type pages struct {
	app    func() (fs.FS, error) // read anew for each page
	data   *Data
	bundle string // its version, part of its address
}

// shell is what all pages have.
type shell struct {
	Title, Theme, Other, Switch, Bundle string
	Nav                                 []link
}

type link struct {
	Label, URL string
	Here       bool
}

// settings are what the page's code is told.
type settings struct {
	Splunkd    string          `json:"splunkd"`
	Zone       string          `json:"zone"`
	Theme      string          `json:"theme"`
	Definition json.RawMessage `json:"definition"`
}

func (p *pages) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /app/", func(w http.ResponseWriter, r *http.Request) {
		// Splunk's links have no locale and get the user's.
		http.Redirect(w, r, locale+r.URL.RequestURI(), http.StatusFound)
	})
	mux.HandleFunc("GET "+appPath+"{view}", p.page)
}

func (p *pages) home(w http.ResponseWriter, r *http.Request) {
	_, views, err := p.read()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	first := searchView
	if len(views) > 0 {
		first = views[0].Name
	}
	http.Redirect(w, r, appPath+first, http.StatusFound)
}

func (p *pages) read() (fs.FS, []*View, error) {
	app, err := p.app()
	if err != nil {
		return nil, nil, err
	}
	views, err := Views(app)
	return app, views, err
}

func (p *pages) page(w http.ResponseWriter, r *http.Request) {
	app, views, err := p.read()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	entries, err := navigation(app)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	name := r.PathValue("view")
	s := shell{Bundle: p.bundle}
	for _, v := range views {
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.Name == v.Name }) {
			entries = append(entries, entry{Name: v.Name}) // not in the navigation yet
		}
	}
	for _, e := range entries {
		label := "Search"
		if e.Name != searchView {
			at := slices.IndexFunc(views, func(v *View) bool { return v.Name == e.Name })
			if at < 0 {
				continue
			}
			label = views[at].Label
		}
		s.Nav = append(s.Nav, link{label, appPath + e.Name, e.Name == name})
	}
	if name == searchView {
		s.Title = "Search"
		s.themed(w, r, "light")
		p.search(w, r, s)
		return
	}
	at := slices.IndexFunc(views, func(v *View) bool { return v.Name == name })
	if at < 0 {
		http.Error(w, "The app has no page "+name+".", http.StatusNotFound)
		return
	}
	v := views[at]
	s.Title = v.Label
	s.themed(w, r, v.Theme)
	text, err := json.Marshal(settings{splunkd, "### SERIALIZED TIMEZONE FORMAT 1.0;Y0 NW 55 54 43;@-1 0;", s.Theme, v.Definition})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	render(w, "dashboard.html", struct {
		shell
		Settings    json.RawMessage
		Description string
	}{s, text, v.Description})
}

// themed takes the theme that was asked for, on this page or one before.
func (s *shell) themed(w http.ResponseWriter, r *http.Request, theme string) {
	const name = "aiwatch-preview-theme"
	if c, err := r.Cookie(name); err == nil {
		theme = c.Value
	}
	query := r.URL.Query()
	if asked := query.Get("theme"); asked != "" {
		theme = asked
		http.SetCookie(w, &http.Cookie{Name: name, Value: theme, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
	s.Theme, s.Other = "dark", "light"
	if theme == "light" {
		s.Theme, s.Other = "light", "dark"
	}
	query.Set("theme", s.Other)
	s.Switch = (&url.URL{Path: r.URL.Path, RawQuery: query.Encode()}).String()
}

// shownRows bounds the rows of the search page.
const shownRows = 200

// search shows a search's text and its rows, as much as a drilldown needs to be
// judged.
func (p *pages) search(w http.ResponseWriter, r *http.Request, s shell) {
	query := r.URL.Query()
	page := struct {
		shell
		Search
		Error  string
		Fields []string
		Rows   [][]string
		Count  int
	}{shell: s, Search: Search{query.Get("q"), query.Get("earliest"), query.Get("latest")}}
	if strings.TrimSpace(page.Text) != "" {
		result, err := p.data.Run(r.Context(), page.Search)
		if err != nil {
			page.Error = err.Error()
		} else {
			page.Count = len(result.Rows)
			page.Fields = slices.DeleteFunc(slices.Clone(result.Fields), func(f string) bool { return f == "_raw" })
			for _, row := range result.Rows[:min(shownRows, len(result.Rows))] {
				var cells []string
				for _, f := range page.Fields {
					switch v := shown(f, result.Get(row, f)).(type) {
					case string:
						cells = append(cells, v)
					case []string:
						cells = append(cells, strings.Join(v, "\n"))
					default:
						cells = append(cells, "")
					}
				}
				page.Rows = append(page.Rows, cells)
			}
		}
	}
	render(w, "search.html", page)
}

func render(w http.ResponseWriter, name string, page any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := templates.ExecuteTemplate(w, name, page); err != nil {
		// The header is out: the page is cut off where it went wrong.
		fmt.Fprintf(w, "%s", template.HTMLEscapeString(err.Error()))
	}
}
