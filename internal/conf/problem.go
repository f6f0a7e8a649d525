package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Problem is one mistake in a configuration, told so that its user can mend
// it.
type Problem struct {
	Origin
	Key  string // empty when it is about a stanza or a line
	What string // what is wrong
	Fix  string // what to do about it
}

// Error returns the problem in one line:
//
//	/etc/aiwatch/local/inputs.conf:12: [aiwatch_s3://prod] bucket: what is wrong; what to do
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	var where []string
	if p.Stanza != "" {
		where = append(where, "["+clean(p.Stanza)+"]")
	}
	if p.Key != "" {
		where = append(where, clean(p.Key))
	}
	if len(where) > 0 {
		b.WriteString(strings.Join(where, " ") + ": ")
	}
	b.WriteString(p.What)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// Problems are all mistakes that were found, in the order of files and lines.
type Problems []Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// orNil returns the problems sorted and each once, or nil when there are none.
func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	return slices.Compact(ps)
}

// quote returns s quoted for a sentence: shortened, and without anything that a
// terminal would obey.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// clean returns s as it is when it is plain text, and quoted otherwise.
func clean(s string) string {
	if q := strconv.QuoteToGraphic(s); q == `"`+s+`"` && len(s) <= 200 {
		return s
	}
	return quote(s)
}

// nearest returns the known word with the smallest edit distance to word.
func nearest(word string, known []string) string {
	best, least := "", -1
	for _, k := range known {
		if d := distance(word, k); least < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's: how many letters must be inserted, removed or
// replaced to make b of a. Long words are compared by their beginnings.
func distance(a, b string) int {
	const most = 100
	a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
