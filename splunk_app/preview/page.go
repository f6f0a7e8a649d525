package preview

import (
	"embed"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"aiwatch/internal/dashboard"
)

const (
	appID   = dashboard.App
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

// views reads the dashboards of an app, in the order of its navigation. Those
// that can be read come with the error of the others.
func views(app fs.FS) ([]*dashboard.View, error) {
	all, problems := dashboard.Load(app)
	entries, err := navigation(app)
	if err != nil {
		return nil, err
	}
	place := func(v *dashboard.View) int {
		if at := slices.IndexFunc(entries, func(e entry) bool { return e.Name == v.Name }); at >= 0 {
			return at
		}
		return len(entries)
	}
	slices.SortStableFunc(all, func(a, b *dashboard.View) int { return place(a) - place(b) })
	return all, problems
}

// entry is a page in the app's navigation.
type entry struct {
	Name string `xml:"name,attr"`
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
	data   Searcher
	bundle string // its version, part of its address
}

// shell is what all pages have.
type shell struct {
	Title, Theme, Bundle string
	Nav                  []link
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
	Cookie     string          `json:"cookie"` // that remembers the theme
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
	all, _, err := p.read()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, all[0].URL, http.StatusFound)
}

// read lists all pages, the search page among them, and the dashboards.
func (p *pages) read() ([]link, []*dashboard.View, error) {
	app, err := p.app()
	if err != nil {
		return nil, nil, err
	}
	all, err := views(app)
	if len(all) == 0 && err != nil {
		return nil, nil, err
	}
	var links []link
	for _, v := range all {
		links = append(links, link{Label: v.Label, URL: appPath + v.Name})
	}
	return append(links, link{Label: "Search", URL: appPath + searchView}), all, err
}

func (p *pages) page(w http.ResponseWriter, r *http.Request) {
	links, all, problems := p.read()
	name := r.PathValue("view")
	for i := range links {
		links[i].Here = links[i].URL == appPath+name
	}
	s := shell{Bundle: p.bundle, Nav: links}
	if name == searchView {
		s.Title, s.Theme = "Search", theme(r, "light")
		p.search(w, r, s)
		return
	}
	at := slices.IndexFunc(all, func(v *dashboard.View) bool { return v.Name == name })
	if at < 0 {
		if problems != nil {
			http.Error(w, problems.Error(), http.StatusInternalServerError)
			return
		}
		http.Error(w, "The app has no page "+name+".", http.StatusNotFound)
		return
	}
	v := all[at]
	s.Title, s.Theme = v.Label, theme(r, v.Theme)
	text, err := json.Marshal(settings{splunkd, utc, s.Theme, themeCookie, v.JSON()})
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

const (
	// utc is a time zone as splunkd writes it.
	utc         = "### SERIALIZED TIMEZONE FORMAT 1.0;Y0 NW 55 54 43;@-1 0;"
	themeCookie = "aiwatch-preview-theme"
)

// theme is the one that was asked for, on this page or one before.
func theme(r *http.Request, own string) string {
	asked := r.URL.Query().Get("theme")
	if c, err := r.Cookie(themeCookie); err == nil && asked == "" {
		asked = c.Value
	}
	if asked == "dark" || asked == "light" {
		return asked
	}
	return own
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
