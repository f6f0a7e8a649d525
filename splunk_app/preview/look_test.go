package preview

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/dashboard"
	"aiwatch/internal/spl"
)

func (s *stage) look(t *testing.T) *seen {
	t.Helper()
	found, err := s.browser.look()
	require.NoError(t, err)
	require.NotEmpty(t, found.Panels)
	return found
}

func (s *seen) panel(id string) *panel {
	for _, p := range s.Panels {
		if p.ID == id {
			return p
		}
	}
	return nil
}

var (
	seriesName = regexp.MustCompile(`seriesByName\(['"]([^'"]+)['"]\)`)
	seriesList = regexp.MustCompile(`frameBySeriesNames\(([^)]*)\)`)
	quotedName = regexp.MustCompile(`['"]([^'"]+)['"]`)
)

// differs tells in what a panel differs from the rows of its search; nothing
// where it shows them.
func (p *panel) differs(z *dashboard.Visualization, r *spl.Result) []string {
	option := func(name string) string { text, _ := z.Options[name].(string); return text }
	switch z.Type {
	case "splunk.singlevalue", "splunk.singlevalueicon", "splunk.singlevalueradial":
		return p.singleDiffers(option, z.Options, r)
	case "splunk.table":
		return p.tableDiffers(z, r)
	case "splunk.column", "splunk.bar", "splunk.line", "splunk.area", "splunk.pie", "splunk.scatter", "splunk.bubble":
		return p.chartDiffers(option, r)
	}
	return p.textDiffers(z, r)
}

// point is the value that an expression such as
// > primary | seriesByName('acts') | lastPoint() picks.
func point(expression string, r *spl.Result) (value spl.Value, known bool) {
	m := seriesName.FindStringSubmatch(expression)
	if m == nil {
		return value, false
	}
	if len(r.Rows) == 0 {
		return value, true
	}
	row := r.Rows[len(r.Rows)-1]
	if strings.Contains(expression, "firstPoint") {
		row = r.Rows[0]
	}
	return r.Get(row, m[1]), true
}

func (p *panel) singleDiffers(option func(string) string, options map[string]any, r *spl.Result) (wrong []string) {
	value, known := point(option("majorValue"), r)
	for i := range r.Fields {
		if !known && len(r.Rows) > 0 {
			if value = r.Rows[len(r.Rows)-1][i]; !value.IsNull() {
				_, known = value.Float()
			}
		}
	}
	precision := 0
	if n, ok := options["numberPrecision"].(float64); ok {
		precision = int(n)
	}
	if !value.IsNull() && !shows(p.Major, value, precision) {
		wrong = append(wrong, fmt.Sprintf("shows %q for %s", p.Major, value))
	}
	if under, ok := point(option("underLabel"), r); ok && !under.IsNull() && !strings.Contains(p.Text, spaced(under.String())) {
		wrong = append(wrong, fmt.Sprintf("shows %q without %q", p.Text, under))
	}
	return wrong
}

// number is a number as it is shown, with thousands and what stands for them.
var shownNumber = regexp.MustCompile(`^[^\d-]*(-?[\d,]*\.?\d+)\s*([KMBT]?)`)

// shows tells whether a text is a value, at a number of decimals.
func shows(text string, value spl.Value, precision int) bool {
	want, isNumber := value.Float()
	m := shownNumber.FindStringSubmatch(text)
	if !isNumber || m == nil {
		return spaced(value.String()) == text
	}
	got, err := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
	unit := map[string]float64{"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[m[2]]
	if unit > 1 {
		precision = max(precision, 1)
	}
	return err == nil && math.Abs(got*unit-want) <= 0.51*unit*math.Pow10(-precision)
}

func spaced(s string) string { return strings.Join(strings.Fields(s), " ") }

func (p *panel) tableDiffers(z *dashboard.Visualization, r *spl.Result) (wrong []string) {
	internal := z.Options["showInternalFields"] != false
	formats, _ := z.Options["columnFormat"].(map[string]any)
	for i, field := range r.Fields {
		if field[0] == '_' && field != "_time" && !internal {
			continue
		}
		column := slices.Index(p.Head, spaced(field))
		if column < 0 {
			wrong = append(wrong, fmt.Sprintf("has no column %s among %q", field, p.Head))
			continue
		}
		if format, _ := formats[field].(map[string]any); format["data"] != nil || field == "_time" {
			continue // shown in another form
		}
		for n, row := range p.Rows {
			if n < len(r.Rows) && column < len(row) && !shows(row[column], r.Rows[n][i], 10) && row[column] != spaced(r.Rows[n][i].String()) {
				wrong = append(wrong, fmt.Sprintf("row %d, %s: shows %q for %q", n, field, row[column], r.Rows[n][i]))
			}
		}
	}
	if len(p.Rows) == 0 || len(p.Rows) > len(r.Rows) {
		wrong = append(wrong, fmt.Sprintf("shows %d of %d rows", len(p.Rows), len(r.Rows)))
	}
	return wrong
}

func (p *panel) chartDiffers(option func(string) string, r *spl.Result) (wrong []string) {
	x, ys := r.Fields[0], []string{}
	if m := seriesName.FindStringSubmatch(option("x")); m != nil {
		x = m[1]
	}
	if m := seriesList.FindStringSubmatch(option("y")); m != nil {
		for _, name := range quotedName.FindAllStringSubmatch(m[1], -1) {
			ys = append(ys, name[1])
		}
	} else if m := seriesName.FindStringSubmatch(option("y")); m != nil {
		ys = append(ys, m[1])
	} else {
		for _, f := range r.Fields {
			if f != x && f[0] != '_' {
				ys = append(ys, f)
			}
		}
	}
	if option("legendDisplay") != "off" && len(ys) > 1 {
		for _, y := range ys {
			if !mentions(p.Text, y) {
				wrong = append(wrong, fmt.Sprintf("has no series %s in %q", y, p.Text))
			}
		}
	}
	if x != "_time" && len(r.Rows) <= 12 {
		for _, row := range r.Rows {
			if v := r.Get(row, x); !v.IsNull() && !mentions(p.Text, v.String()) {
				wrong = append(wrong, fmt.Sprintf("has no %s %s in %q", x, v, p.Text))
			}
		}
	}
	drawable := func(row spl.Row) bool {
		return slices.ContainsFunc(ys, func(y string) bool { return !r.Get(row, y).IsNull() })
	}
	if p.Marks == 0 && slices.ContainsFunc(r.Rows, drawable) {
		wrong = append(wrong, "draws nothing")
	}
	if len(r.Rows) > saidPoints {
		return wrong
	}
	says := func(text string, value spl.Value) bool { return shows(text, value, 8) }
	if option("yAxisScale") == "log" {
		says = saysLogarithm
	}
	return append(wrong, p.pointsDiffer(ys, says, r)...)
}

// saysLogarithm tells whether a text is where the renderer puts a value on a
// logarithmic axis, which below 10 bends towards 0.
func saysLogarithm(text string, value spl.Value) bool {
	v, isNumber := value.Float()
	got, err := strconv.ParseFloat(text, 64)
	size := math.Abs(v)
	if size < 10 {
		size += (10 - size) / 10
	}
	return isNumber && err == nil && math.Abs(math.Copysign(math.Log10(size), v)-got) < 1e-4
}

// saidPoints is how many points of a series the renderer says at most.
const saidPoints = 199

// saidPoint is a point as it is said: its number in its series, where it lies, its
// value, and its series where there are several.
var saidPoint = regexp.MustCompile(`^(\d+)\. .*, (-?[\d,]*\.?\d+)\.(?: (.*)\.)?$`)

// pointsDiffer compares each point that is drawn with its row, and the other way
// round. Of a stack, nothing is drawn of what is zero.
func (p *panel) pointsDiffer(ys []string, says func(string, spl.Value) bool, r *spl.Result) (wrong []string) {
	drawn := map[string]string{} // values by series and number
	for _, text := range p.Points {
		m := saidPoint.FindStringSubmatch(text)
		if m == nil {
			wrong = append(wrong, fmt.Sprintf("says %q of a point", text))
			continue
		}
		drawn[m[3]+" "+m[1]] = m[2]
	}
	for _, y := range ys {
		series := spaced(y)
		if len(ys) == 1 {
			series = ""
		}
		for n, row := range r.Rows {
			key := fmt.Sprint(series, " ", n+1)
			shown, found := drawn[key]
			delete(drawn, key)
			value := r.Get(row, y)
			number, _ := value.Float()
			switch {
			case !found && (value.IsNull() || number == 0):
			case !found:
				wrong = append(wrong, fmt.Sprintf("does not draw %s of row %d, which is %s", y, n+1, value))
			case !says(shown, value):
				wrong = append(wrong, fmt.Sprintf("draws %s for %s of row %d, which is %s", shown, y, n+1, value))
			}
		}
	}
	for key, value := range drawn {
		wrong = append(wrong, fmt.Sprintf("draws %s at %q, and there is no such row", value, key))
	}
	return wrong
}

// mentions tells whether a text holds a name, or the name cut with an ellipsis.
func mentions(text, name string) bool {
	name = spaced(name)
	if strings.Contains(text, name) {
		return true
	}
	for n := len(name) - 1; n >= 3; n-- {
		for _, dots := range []string{"...", "…"} {
			if strings.Contains(text, name[:n]+dots) {
				return true
			}
		}
	}
	return false
}

// textDiffers looks for the texts of the fields that a panel draws.
func (p *panel) textDiffers(z *dashboard.Visualization, r *spl.Result) (wrong []string) {
	fields := z.Drawn()
	if z.Type == "splunk.timeline" {
		// Its categories are colours, what else it knows of an event is told when one points at it.
		fields = nil
		lane, _ := z.Options["y"].(string)
		if m := seriesName.FindStringSubmatch(lane); m != nil {
			fields = []string{m[1]}
		}
	}
	for _, field := range fields {
		for _, row := range r.Rows {
			v := r.Get(row, field)
			if _, number := v.Float(); number || v.IsNull() || field[0] == '_' {
				continue
			}
			if !mentions(p.Text, v.Strings()[0]) {
				wrong = append(wrong, fmt.Sprintf("does not show %s %q: %q", field, v, p.Text))
				break
			}
		}
	}
	return wrong
}
