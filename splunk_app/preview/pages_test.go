package preview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/dashboard"
	"aiwatch/internal/spl"
)

// hostile is what somebody who is watched may call an asset.
const hostile = `it's "a b" $x$ 50% | <i>&`

// TestPages draws each page of the app in a browser, dark and light, with data,
// without, and with searches that fail; sets its inputs and follows its links.
func TestPages(t *testing.T) {
	app := appOfTheTest(t)
	s := newStage(t, app)
	data := testData(t)
	empty := nothing(t, app, data.Now())
	all, err := dashboard.Load(app)
	require.NoError(t, err)
	for _, v := range all {
		if v.Name == "invalid" {
			t.Run(v.Name, func(t *testing.T) { validated(t, s, data) })
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			began := time.Now()
			p := &pageTest{stage: s, view: v, data: data, tokens: v.Tokens(), width: widths[0], theme: "dark"}
			s.answer(data.Run)
			require.NoError(t, s.browser.Open(s.server.URL+appPath+v.Name+"?theme=dark", p.width, 3000))
			p.draw(t, "with data", 2, data.Run, func(when string) { p.shows(t, when, data) })
			p.draw(t, "no data", 2, empty.Run, func(when string) { p.shows(t, when, empty) })
			p.quiet(t)
			// A search that is refused looks like one that fails while it runs.
			for n, failure := range []error{errors.New("the indexer is gone"), &spl.Refusal{Message: "there is no command by that name"}} {
				p.draw(t, failure.Error(), 2-n, func(context.Context, Search) (*spl.Result, error) { return nil, failure },
					func(when string) { p.fails(t, when, failure.Error()) })
			}
			p.again(t, p.hostile)
			p.follows(t)
			p.again(t, data.Run)
			for _, id := range v.Layout.GlobalInputs {
				p.sets(t, id)
			}
			p.quietAfter(t)
			t.Logf("took %s", time.Since(began).Round(time.Second))
		})
	}
}

// widths are those of the windows in which all has to be seen, in pixels.
var widths = [2]int{1280, 1920}

// draw draws the page with others' answers, in a number of themes, and checks in
// each what it says and that nothing is cut off. The page that was opened is
// drawn already.
func (p *pageTest) draw(t *testing.T, when string, themes int, run func(context.Context, Search) (*spl.Result, error), says func(when string)) {
	t.Helper()
	for range themes {
		if p.drawn {
			p.again(t, run)
		}
		p.drawn = true
		when := p.theme + ", " + when
		says(when)
		p.fits(t, when)
		// The next is drawn in the window in which this one ends.
		p.resize(t, widths[0]+widths[1]-p.width)
		p.fits(t, when)
	}
}

// validated checks that the renderer runs Splunk's validator, which would have
// been heard on the other pages.
func validated(t *testing.T, s *stage, data *Data) {
	t.Helper()
	s.answer(data.Run)
	require.NoError(t, s.browser.Open(s.server.URL+appPath+"invalid", 1280, 1000))
	// The renderer validates beside its drawing.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		said, err := s.browser.Said()
		require.NoError(c, err)
		require.Contains(c, strings.Join(said, "\n"), "definition: /visualizations/one/options/numberPrecision: must be number")
	}, time.Minute, 50*time.Millisecond)
}

// testData is what the pages show: the insider's week, as the program of this
// tree plays it.
func testData(t *testing.T) *Data {
	t.Helper()
	root, err := FindRoot()
	require.NoError(t, err)
	data, err := (&Source{}).Load(t.Context(), root, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return data
}

// pageTest is the test of one page.
type pageTest struct {
	*stage
	view   *dashboard.View
	data   *Data
	tokens map[string]string // as they are set by now
	width  int               // of the window
	theme  string
	drawn  bool // for once
}

// again draws the page once more, in its other theme, with others' answers.
func (p *pageTest) again(t *testing.T, run func(context.Context, Search) (*spl.Result, error)) {
	t.Helper()
	p.answer(run)
	p.click(t, "#theme", "")
	p.theme = map[string]string{"dark": "light", "light": "dark"}[p.theme]
}

// click clicks an element, the one with a text where one is given.
func (p *pageTest) click(t *testing.T, selector, text string) {
	t.Helper()
	_, err := p.browser.ask(order{Do: "click", Selector: selector, Text: text})
	require.NoError(t, err)
	require.NoError(t, p.browser.Settle())
}

// result is what a data source gives with the tokens as they are set.
func (p *pageTest) result(t *testing.T, data Searcher, source string) *spl.Result {
	t.Helper()
	search := p.search(t, source)
	r, err := data.Run(t.Context(), search)
	require.NoError(t, err, "%s: %s", source, search.Text)
	return r
}

// search is the whole search of a data source with the tokens as they are set.
func (p *pageTest) search(t *testing.T, source string) Search {
	t.Helper()
	text, err := p.view.Search(source)
	require.NoError(t, err)
	r := p.view.Range(source)
	return Search{Text: dashboard.Fill(text, p.tokens), Earliest: dashboard.Fill(r.Earliest, p.tokens), Latest: dashboard.Fill(r.Latest, p.tokens)}
}

// shows checks that panels show what the evaluator computes, and that the page
// asks for nothing but its own searches.
func (p *pageTest) shows(t *testing.T, when string, data Searcher) {
	t.Helper()
	page := p.look(t)
	for _, id := range slices.Sorted(maps.Keys(p.view.Visualizations)) {
		z, drawn := p.view.Visualizations[id], page.panel(id)
		if drawn == nil {
			t.Errorf("%s: there is no panel %s", when, id)
			continue
		}
		source := z.DataSources["primary"]
		if source == "" {
			continue
		}
		r := p.result(t, data, source)
		if len(r.Rows) == 0 {
			if drawn.Message != "No search results returned" {
				t.Errorf("%s: %s has nothing to show and says %q", when, id, drawn.Text)
			}
			continue
		}
		if drawn.Failed {
			t.Errorf("%s: %s has %d rows and says %q", when, id, len(r.Rows), drawn.Message)
			continue
		}
		for _, wrong := range drawn.differs(z, r) {
			t.Errorf("%s: %s %s", when, id, wrong)
		}
	}
	p.asksOnlyItsOwn(t, when)
}

// asksOnlyItsOwn checks the searches that came against those of the page.
func (p *pageTest) asksOnlyItsOwn(t *testing.T, when string) {
	t.Helper()
	own := map[Search]bool{}
	for source := range p.view.DataSources {
		own[plain(p.search(t, source))] = true
	}
	asked := p.searches()
	if len(asked) == 0 {
		t.Errorf("%s: the page asked for nothing", when)
	}
	for _, s := range asked {
		if !own[plain(s)] {
			t.Errorf("%s: the page asks for what is no search of it: %q", when, s)
		}
	}
}

// plain is a search without what the renderer puts before it and between chains.
func plain(s Search) Search {
	s.Text = strings.TrimPrefix(spaced(s.Text), "search ")
	return s
}

// resize sets the window's width.
func (p *pageTest) resize(t *testing.T, width int) {
	t.Helper()
	_, err := p.browser.ask(order{Do: "resize", Width: width, Height: 3000})
	require.NoError(t, err)
	require.NoError(t, p.browser.Settle())
	p.width = width
}

// fits checks that all is to be seen in the window.
func (p *pageTest) fits(t *testing.T, when string) {
	t.Helper()
	for _, wrong := range p.look(t).misplaced() {
		t.Errorf("%s, %d pixels: %s", when, p.width, wrong)
	}
}

// quiet checks that nothing went wrong on the page and nobody else was asked.
func (p *pageTest) quiet(t *testing.T) {
	t.Helper()
	said, err := p.browser.Said()
	require.NoError(t, err)
	require.Empty(t, said)
}

// fails checks that each panel says why it has nothing to show. One that is too
// small for words has the sign alone.
func (p *pageTest) fails(t *testing.T, when, why string) {
	t.Helper()
	page := p.look(t)
	told := 0
	for id, z := range p.view.Visualizations {
		drawn := page.panel(id)
		if z.DataSources["primary"] == "" || drawn == nil {
			continue
		}
		if !drawn.Failed || drawn.Message != "" && !mentions(drawn.Message, why) {
			t.Errorf("%s: the search of %s fails, and it says %q", when, id, drawn.Text)
		}
		if drawn.Message != "" {
			told++
		}
	}
	require.Positive(t, told, "%s: no panel says why", when)
	p.quietAfter(t)
}

// sets sets an input to another value and checks that the searches have it.
func (p *pageTest) sets(t *testing.T, id string) {
	t.Helper()
	in := p.view.Inputs[id]
	p.answer(p.data.Run)
	item := fmt.Sprintf(`[data-input-id=%q] `, id)
	switch in.Type {
	case "input.timerange":
		p.click(t, item+`[data-test="time-range-dropdown"]`, "")
		const preset = `[data-test="Last 30 days"]`
		var open bool
		require.NoError(t, p.browser.Evaluate(`return !!document.querySelector(argument)`, preset, &open))
		if !open {
			p.click(t, `[data-test="time-range-dialog"] [data-test="toggle"]`, "Presets")
		}
		p.click(t, preset, "")
		p.tokens[in.Options.Token+".earliest"], p.tokens[in.Options.Token+".latest"] = "-30d@d", "now"
	case "input.dropdown":
		p.click(t, item+`[data-test="select"]`, "")
		var labels []string
		require.NoError(t, p.browser.Evaluate(`return [...document.querySelectorAll('[data-test="option"]')].map((e) => e.innerText.trim())`, nil, &labels))
		require.NotEmpty(t, labels, "the input %s offers nothing", id)
		p.click(t, fmt.Sprintf(`[data-test="option"] >> nth=%d`, len(labels)-1), "")
		was := p.tokens[in.Options.Token]
		p.tokens[in.Options.Token] = p.parameter(t, in.Options.Token)
		if len(labels) > 1 {
			require.NotEqual(t, was, p.tokens[in.Options.Token], "the input %s changes nothing", id)
		}
	case "input.text":
		p.tokens[in.Options.Token] = "robin"
		_, err := p.browser.ask(order{Do: "fill", Selector: item + "input", Text: "robin"})
		require.NoError(t, err)
		require.NoError(t, p.browser.Settle())
	default:
		t.Fatalf("the input %s is %s: say here how it is set", id, in.Type)
	}
	asked := map[Search]bool{}
	for _, s := range p.searches() {
		asked[plain(s)] = true
	}
	for source, ds := range p.view.DataSources {
		if ds.Options.Extend == "" && p.uses(t, source, in.Options.Token) && !asked[plain(p.search(t, source))] {
			t.Errorf("%s is set, and %s was not asked for as %q", id, source, p.search(t, source))
		}
	}
	p.shows(t, "with "+id+" set", p.data)
}

// uses tells whether a data source's search depends on a token.
func (p *pageTest) uses(t *testing.T, source, token string) bool {
	t.Helper()
	text, err := p.view.Search(source)
	require.NoError(t, err)
	r := p.view.Range(source)
	return slices.ContainsFunc([]string{text, r.Earliest, r.Latest}, func(s string) bool {
		return strings.Contains(s, "$"+token+"$") || strings.Contains(s, "$"+token+"|") || strings.Contains(s, "$"+token+".")
	})
}

// parameter is what the page's address says of a token.
func (p *pageTest) parameter(t *testing.T, token string) string {
	t.Helper()
	address, err := url.Parse(p.look(t).Address)
	require.NoError(t, err)
	return address.Query().Get("form." + token)
}

// hostile answers with rows in which every text that a click hands on is
// hostile; there is a row even where there would be none.
func (p *pageTest) hostile(ctx context.Context, s Search) (*spl.Result, error) {
	r, err := p.data.Run(ctx, s)
	if err != nil {
		return nil, err
	}
	out := &spl.Result{Fields: slices.Clone(r.Fields)}
	for _, row := range r.Rows {
		out.Rows = append(out.Rows, slices.Clone(row))
	}
	for id, z := range p.view.Visualizations {
		source := z.DataSources["primary"]
		if source == "" || len(z.EventHandlers) == 0 {
			continue
		}
		text, err := p.view.Search(source)
		if err != nil {
			return nil, err
		}
		if spaced(dashboard.Fill(text, p.tokens)) != plain(s).Text {
			continue
		}
		for _, field := range handedOn(z) {
			at := slices.Index(out.Fields, field)
			if at < 0 {
				at = len(out.Fields)
				out.Fields = append(out.Fields, field)
			}
			if len(out.Rows) == 0 {
				out.Rows = append(out.Rows, spl.Row{})
			}
			for n := range out.Rows {
				for len(out.Rows[n]) <= at {
					out.Rows[n] = append(out.Rows[n], spl.Value{})
				}
				if _, number := out.Rows[n][at].Float(); !number {
					out.Rows[n][at] = spl.Text(fmt.Sprintf("%s %s %d", hostile, id, n))
				}
			}
		}
	}
	return out, nil
}

// handedOn are the fields of a row that clicks on a panel hand on, and those that
// are clicked.
func handedOn(z *dashboard.Visualization) (fields []string) {
	if z.Type == "splunk.singlevalue" {
		major, _ := z.Options["majorValue"].(string)
		if m := seriesName.FindStringSubmatch(major); m != nil {
			fields = append(fields, m[1])
		}
	}
	for _, h := range z.EventHandlers {
		fields = append(fields, h.Options.Fields...)
		for _, m := range clickedField.FindAllStringSubmatch(h.Options.URL, -1) {
			fields = append(fields, m[1])
		}
		for _, token := range h.Options.Tokens {
			if field, ok := strings.CutPrefix(token.Key, "row."); ok {
				fields = append(fields, strings.TrimSuffix(field, ".value"))
			}
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// follows clicks whatever leads somewhere, where what is clicked is hostile, and
// checks where that leads.
func (p *pageTest) follows(t *testing.T) {
	t.Helper()
	for _, id := range slices.Sorted(maps.Keys(p.view.Visualizations)) {
		z := p.view.Visualizations[id]
		for _, h := range z.EventHandlers {
			if h.Options.URL == "" {
				continue
			}
			selector, values := p.target(t, id, z, h)
			if selector == "" {
				continue
			}
			clicked := maps.Clone(p.tokens)
			maps.Copy(clicked, values)
			r, err := p.browser.ask(order{Do: "follow", Selector: selector})
			require.NoError(t, err, "%s: click %s", id, selector)
			var got []string
			require.NoError(t, json.Unmarshal(r.Value, &got))
			require.Len(t, got, 1, "%s: a click leads to one place", id)
			require.Equal(t, place(t, p.server.URL+dashboard.Fill(h.Options.URL, clicked)), place(t, got[0]), id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.view.Visualizations)) {
		z := p.view.Visualizations[id]
		for _, h := range z.EventHandlers {
			if len(h.Options.Tokens) == 0 {
				continue
			}
			selector, values := p.target(t, id, z, h)
			if selector == "" {
				continue
			}
			p.answer(p.hostile)
			p.click(t, selector, "")
			for _, token := range h.Options.Tokens {
				want := token.Value
				if token.Key != "" {
					want = values[token.Key]
				}
				p.tokens[token.Token] = want
			}
			if len(p.searches()) > 0 {
				p.asksOnlyItsOwn(t, "a click on "+id)
			}
		}
	}
	p.quietAfter(t)
}

// quietAfter checks that nothing went wrong beside what failing searches wrote,
// and links that were not followed.
func (p *pageTest) quietAfter(t *testing.T) {
	t.Helper()
	said, err := p.browser.Said()
	require.NoError(t, err)
	for _, text := range said {
		require.Regexp(t, "^console: (Failed to load resource: |failed to create search job: )", text)
	}
}

// target is what to click for a handler, and the values that this hands on;
// nothing where the panel shows nothing.
func (p *pageTest) target(t *testing.T, id string, z *dashboard.Visualization, h dashboard.Handler) (selector string, values map[string]string) {
	t.Helper()
	panel := fmt.Sprintf(`[data-test="viz-item"][data-id=%q] `, id)
	drawn := p.look(t).panel(id)
	values = map[string]string{}
	search := p.search(t, z.DataSources["primary"])
	rows, err := p.hostile(t.Context(), search)
	require.NoError(t, err)
	row := rows.Rows[0]
	for _, field := range rows.Fields {
		values["row."+field+".value"] = rows.Get(row, field).String()
	}
	switch z.Type {
	case "splunk.table":
		require.NotEmpty(t, drawn.Rows, "%s shows no row to click", id)
		for column, field := range drawn.Head {
			at := slices.IndexFunc(rows.Fields, func(f string) bool { return spaced(f) == field })
			if at < 0 || len(h.Options.Fields) > 0 && !slices.Contains(h.Options.Fields, rows.Fields[at]) || drawn.Rows[0][column] == "" {
				continue
			}
			return panel + fmt.Sprintf(`[data-test="body"] >> [data-test="row"] >> nth=0 >> [data-test="cell"] >> nth=%d`, column), values
		}
		t.Errorf("%s: no cell of the first row has a column of %q", id, h.Options.Fields)
		return "", nil
	case "splunk.singlevalue":
		// It hands on what it shows, and no row.
		clear(values)
		major, _ := z.Options["majorValue"].(string)
		value, _ := point(major, rows)
		values["value"] = value.String()
		return panel + `[data-test="majorValue"]`, values
	case "splunk.column", "splunk.bar", "splunk.line", "splunk.area", "splunk.pie":
		return panel + `.highcharts-point >> nth=0`, values
	}
	t.Errorf("the panel %s is %s: say here what of it is clicked", id, z.Type)
	return "", nil
}

// place is a URL as a browser reads it, its parameters decoded.
func place(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	parameters, err := url.ParseQuery(u.RawQuery)
	require.NoError(t, err)
	var out strings.Builder
	fmt.Fprintln(&out, u.Host+strings.TrimPrefix(u.Path, locale))
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		fmt.Fprintf(&out, "%s = %q\n", name, parameters[name])
	}
	return out.String()
}

var clickedField = regexp.MustCompile(`\$row\.([^$|]+)\.value`)
