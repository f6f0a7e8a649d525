package demo

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"aiwatch/internal/event"
)

// columns is how wide a terminal is taken to be.
const columns = 100

// Print writes the story for people. safe takes what came from the sources before
// it reaches the terminal.
func (s *Story) Print(out io.Writer, safe func(string) string) {
	p := &printer{out: out, safe: safe}
	p.line("", "")
	if s.Who == "" {
		p.line("", "Nothing was found.")
		return
	}
	p.line("", fmt.Sprintf("What was found: %s, %d of them name %s%s", event.Count(len(s.Lines), "finding"), s.Naming, s.Who, s.Person.words()))
	day := ""
	for _, l := range s.Lines {
		if d := l.At.Format("Monday 2 January"); d != day {
			day = d
			p.line("", "")
			p.line("", d)
		}
		p.line("  "+l.At.Format("15:04")+"  ", l.Message)
		p.line("         ", fmt.Sprintf("detection %d, %s: %s, raised %s", l.Detection, l.Title, l.Severity, l.Raised.Format("Mon 15:04")))
		for _, e := range l.Proofs {
			p.line("         ", "evidence: "+e.words())
		}
	}
	least, middle := s.Took()
	p.line("", "")
	p.line("", fmt.Sprintf("From act to finding it took %s at the least, and %s in the middle.", long(least), long(middle)))
	p.line("", "")
	if s.Calls.Nothing() {
		p.line("", "What a perimeter would have seen: nothing")
	} else {
		p.line("", "What a perimeter would have seen")
	}
	p.line("  ", fmt.Sprintf("%s acted %d times in these days: %d times with valid credentials, %d times from the own networks (%s), %d times refused.",
		s.Who, s.Calls.All, s.Calls.Authenticated, s.Calls.Inside, strings.Join(s.Calls.Networks, ", "), s.Calls.Refused))
	p.line("", "")
	p.line("", "What others did in these days that looks alike, and accused nobody")
	for _, o := range s.Others {
		text := o.Operation + " " + o.Asset
		if o.Times > 1 {
			text = fmt.Sprintf("%s, %d times, first %s", o.Operation, o.Times, o.Asset)
		}
		p.line("  "+o.At.Format("Mon 15:04")+fmt.Sprintf("  %-12s ", p.safe(o.User)), text)
	}
	p.line("", "")
	numbers := make([]string, len(s.Fired))
	for i, n := range s.Fired {
		numbers[i] = strconv.Itoa(n)
	}
	p.line("", fmt.Sprintf("%d of %d detections fired: %s.", len(s.Fired), s.Detections, strings.Join(numbers, ", ")))
	p.line("", fmt.Sprintf("Accused: %s.", strings.Join(s.Accused, ", ")))
}

// words are what is known of a person.
func (p Person) words() string {
	var known []string
	add := func(format, value string) {
		if value != "" {
			known = append(known, fmt.Sprintf(format, value))
		}
	}
	add("%s", p.Name)
	add("%s", p.Group)
	add("team %s", p.Team)
	add("notice given %s", p.Notice)
	add("last day %s", p.LastDay)
	if len(known) == 0 {
		return ""
	}
	return " (" + strings.Join(known, ", ") + ")"
}

// long is how long something took, in the unit that fits.
func long(d time.Duration) string {
	n, unit := int(d.Round(time.Minute)/time.Minute), "minute"
	if n >= 120 {
		n, unit = int(d.Round(time.Hour)/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// evidence says what one event of each kind of evidence is, and what several are.
var evidence = map[string][2]string{
	"log": {"log record", "log records"}, "diff": {"change, by comparing", "changes, by comparing"}, "refs": {"change of references", "changes of references"},
	"webhook": {"webhook", "webhooks"}, "scan": {"look at the files", "looks at the files"}, "inventory": {"inventory entry", "inventory entries"},
}

func (e Proof) words() string {
	what, ok := evidence[e.Evidence]
	switch {
	case e.Source == "aiwatch":
		what = [2]string{"heartbeat", "heartbeats"}
	case !ok:
		what = [2]string{e.Evidence, e.Evidence}
	}
	text := fmt.Sprintf("%s, %d %s; who did it: ", e.Source, e.Events, what[min(e.Events, 2)-1])
	if len(e.Confidence) == 0 {
		return text + "it does not tell"
	}
	return text + strings.Join(e.Confidence, ", ")
}

type printer struct {
	out  io.Writer
	safe func(string) string
}

// digest is what is shortened: nobody reads 64 digits.
var digest = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{20,}\b`)

// line writes text behind a prefix, wrapped below its own beginning.
func (p *printer) line(prefix, text string) {
	text = digest.ReplaceAllString(p.safe(text), "$1…")
	indent, width := strings.Repeat(" ", utf8.RuneCountInString(prefix)), columns-utf8.RuneCountInString(prefix)
	for _, line := range wrap(text, width) {
		fmt.Fprintln(p.out, strings.TrimRight(prefix+line, " "))
		prefix = indent
	}
}

// wrap breaks text at spaces into lines of at most width; a word that is longer
// is cut.
func wrap(text string, width int) (lines []string) {
	var line []rune
	for word := range strings.FieldsSeq(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) <= width {
			line = append(append(line, ' '), w...)
			continue
		}
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
		for len(w) > width {
			lines, w = append(lines, string(w[:width])), w[width:]
		}
		line = slices.Clone(w)
	}
	return append(lines, string(line))
}
