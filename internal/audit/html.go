package audit

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"aiwatch/internal/detection"
	"aiwatch/internal/event"
)

//go:embed page.tmpl
var pageText string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"day":     func(t time.Time) string { return t.Format(time.DateOnly) },
	"minute":  minute,
	"second":  stamp,
	"clock":   func(t time.Time) string { return t.Format(time.TimeOnly) },
	"until":   until,
	"length":  length,
	"counted": event.Count[int],
	"bytes":   event.Size,
	"sure":    sure,
	"state":   state,
	"actor":   actor,
	"who":     who,
	"short":   short,
	"list":    func(all []string) string { return strings.Join(all, ", ") },
	"more":    func(shown, all int) string { return strconv.Itoa(all-shown) + " more" },
	"first":   first,
	"word":    word,
}).Parse(pageText))

// view is the report with what only the page needs.
type view struct {
	*Report
	Style     template.CSS
	StyleHash string
	Total     int
	Tiles     []tile
	Strips    []strip
	// Blind, Partly and Able are the detections by whether they could have fired.
	Blind, Partly, Able []Judged
	// Waiting are those that did not judge up to the end.
	Waiting []Judged
}

type tile struct{ Value, Label, Class string }

// strip is an input with its missing hours as bars on a line of 1000.
type strip struct {
	*Watch
	Bars []bar
}

type bar struct{ X, Width float64 }

// WriteHTML writes the report as one page that needs nothing else, no script
// among it.
func (r *Report) WriteHTML(w io.Writer) error {
	sum := sha256.Sum256([]byte(pageStyle))
	v := view{
		Report: r, Style: template.CSS(pageStyle), StyleHash: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
		Tiles: r.tiles(),
	}
	for _, n := range r.Kinds {
		v.Total += n
	}
	for _, w := range r.Watch {
		v.Strips = append(v.Strips, strip{w, r.bars(w)})
	}
	for _, j := range r.Coverage.Detections {
		if j.Until.Before(r.Period.To) && j.Verdict != detection.CannotFire {
			v.Waiting = append(v.Waiting, j)
		}
		switch j.Verdict {
		case detection.CannotFire:
			v.Blind = append(v.Blind, j)
		case detection.Limited:
			v.Partly = append(v.Partly, j)
		default:
			v.Able = append(v.Able, j)
		}
	}
	var out bytes.Buffer
	if err := page.Execute(&out, v); err != nil {
		return fmt.Errorf("write the report as HTML: %w", err)
	}
	if _, err := w.Write(visible(out.Bytes())); err != nil {
		return fmt.Errorf("write the report as HTML: %w", err)
	}
	return nil
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	return nil
}

// visible shows the characters of a page that print nothing or turn the direction
// of text: as their code, wherever they came from.
func visible(page []byte) []byte {
	out := make([]byte, 0, len(page))
	for i := 0; i < len(page); {
		c, n := utf8.DecodeRune(page[i:])
		if c == '\n' || unicode.IsPrint(c) && (c != utf8.RuneError || n > 1) {
			out = append(out, page[i:i+n]...)
		} else {
			out = fmt.Appendf(out, "\u27e6U+%04X\u27e7", c)
		}
		i += n
	}
	return out
}

// tiles are the figures that a reader sees first.
func (r *Report) tiles() []tile {
	var all []tile
	for _, s := range Severities[:4] {
		class := s
		if r.Verdict.Findings[s] == 0 {
			class = ""
		}
		all = append(all, tile{strconv.Itoa(r.Verdict.Findings[s]), s + " findings", class})
	}
	var missed time.Duration
	var lost uint64
	for _, w := range r.Watch {
		missed += w.Missed()
		lost += w.Lost()
	}
	hours := tile{length(missed), "not watched", "bad"}
	if missed == 0 {
		hours.Class = ""
	}
	if lost > 0 {
		hours.Label += fmt.Sprintf(", %d events missing", lost)
	}
	differ := 0
	for _, v := range r.Custody {
		if v.Differ {
			differ++
		}
	}
	versions := tile{strconv.Itoa(len(r.Custody)), "production versions", ""}
	if differ > 0 {
		versions.Label, versions.Class = fmt.Sprintf("production versions, %d with contradicting digests", differ), "bad"
	}
	c := r.Coverage
	return append(all, hours, versions,
		tile{fmt.Sprintf("%d/%d", c.CanFire+c.Limited, len(c.Detections)), "detections could fire", ""})
}

// bars are the missing times of an input on a line of 1000.
func (r *Report) bars(w *Watch) (bars []bar) {
	whole := float64(r.Period.Length())
	for _, s := range w.Missing {
		x := float64(s.From.Sub(r.Period.From)) * 1000 / whole
		width := max(2, float64(s.Length())*1000/whole)
		bars = append(bars, bar{math.Round(x*10) / 10, math.Round(width*10) / 10})
	}
	return bars
}

// Length is how long the period is.
func (p Period) Length() time.Duration { return p.To.Sub(p.From) }

// When is when it happened, or when it was raised where that is not known.
func (f *Finding) When() time.Time {
	if f.Happened.IsZero() {
		return f.Raised
	}
	return f.Happened
}

// Health tells whether a collector told it of itself.
func (e *Evidence) Health() bool { return e.Sourcetype == event.SourcetypeHealth }

// Agree tells whether several sources give the same digests.
func (v *Custody) Agree() bool { return agrees(v) }

// Writes counts the writes of all objects.
func (v *Custody) Writes() (n int) {
	for _, o := range v.Objects {
		n += o.Writes
	}
	return n
}

func minute(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// until is the end of a time, without the day where it is the same.
func until(from, to time.Time) string {
	if from.UTC().Format(time.DateOnly) == to.UTC().Format(time.DateOnly) {
		return to.UTC().Format("15:04")
	}
	return minute(to)
}

// sure says how sure an actor is.
func sure(confidence string) string {
	switch confidence {
	case "authenticated":
		return "proven by the source"
	case "signed":
		return "proven by a signature"
	case "claimed":
		return "only claimed"
	}
	return "not known"
}

// state is what a collector said of itself.
func state(word string) string {
	if word == "silent" {
		return "ok, with nothing new from its source for a day"
	}
	return word
}

func actor(name string) string {
	if name == "" {
		return "unknown"
	}
	return name
}

func who(users []string) string {
	if len(users) == 0 || len(users) == 1 && users[0] == "" {
		return "nobody named"
	}
	return strings.Join(users, ", ")
}

// short is a digest or id as people tell them apart.
func short(id string) string {
	if len(id) > 12 && strings.Trim(id, "0123456789abcdef") == "" {
		return id[:12]
	}
	return id
}

// first are at most n of a list.
func first(n int, list any) any {
	l := reflect.ValueOf(list)
	return l.Slice(0, min(n, l.Len())).Interface()
}

// word is the class of a cell whose text is short enough to be kept in one piece.
func word(text string) string {
	if len(text) > 40 {
		return ""
	}
	return "word"
}
