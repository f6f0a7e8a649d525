package spl

import (
	"fmt"
	"strings"
)

// Refusal says why a search is not run, and where. Every error that a search
// itself can cause is a *Refusal.
type Refusal struct {
	// Position is the byte offset, from 0, in the search as it was handed in.
	// What lies inside a macro's definition has the position of the call.
	Position int
	// Line and Column are the same place, both from 1.
	Line, Column int
	// Message says what is refused and what would be known.
	Message string
	// Macro names the macro in whose definition the place lies, if any.
	Macro string
}

func (r *Refusal) Error() string {
	in := ""
	if r.Macro != "" {
		in = fmt.Sprintf(" (in macro `%s`)", r.Macro)
	}
	return fmt.Sprintf("position %d (line %d, column %d)%s: %s", r.Position, r.Line, r.Column, in, r.Message)
}

// source is an expanded search and the way from its offsets to those of the
// text that was handed in.
type source struct {
	typed    string
	expanded string
	segments []segment
	macros   map[string]bool // stanzas that were expanded
}

// segment is a stretch of expanded text that came from one place.
type segment struct {
	start int    // offset in the expanded text
	typed int    // offset in the typed text
	macro string // set when the stretch came from a macro's definition
}

// refusal builds a Refusal for an offset of the expanded text.
func (s *source) refusal(at int, format string, args ...any) *Refusal {
	r := &Refusal{Message: fmt.Sprintf(format, args...)}
	typed := at
	for i := len(s.segments) - 1; i >= 0; i-- {
		if g := s.segments[i]; at >= g.start {
			typed = g.typed
			if g.macro == "" {
				typed += at - g.start
			}
			r.Macro = g.macro
			break
		}
	}
	typed = max(0, min(typed, len(s.typed)))
	r.Position = typed
	before := s.typed[:typed]
	r.Line = 1 + strings.Count(before, "\n")
	r.Column = 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
	return r
}

// nearest returns the candidate that name was probably meant to be, or "".
func nearest(name string, candidates []string) string {
	best, bestDistance := "", 3
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(name), c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// hint is the tail of a refusal of an unknown name.
func hint(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return "; known are " + strings.Join(candidates, ", ")
}

func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next := min(row[j]+1, row[j-1]+1, diagonal+cost)
			diagonal, row[j] = row[j], next
		}
	}
	return row[len(b)]
}
