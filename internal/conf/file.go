package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a file, in bytes. Whatever is longer is refused.
const (
	maxFile  = 8 << 20
	maxLine  = 64 << 10
	maxValue = 1 << 20 // with all lines of a continued value
)

// DefaultStanza is the name of the stanza to which the settings before a file's
// first stanza belong.
const DefaultStanza = "default"

// An Origin says where something was written. The zero Origin is nowhere, such
// as for a modular input's parameters.
type Origin struct {
	File   string // as it was opened
	Line   int    // from 1
	Stanza string
}

// A File is one .conf file, or several of them overlaid.
type File struct {
	Name string
	// Stanzas in the order of their first appearance. Each name occurs once.
	Stanzas []*Stanza
}

// A Stanza is a [name] and what stands below it.
type Stanza struct {
	Name   string
	Origin Origin // of the first line that opens it
	// Values in the order of the first appearance of their keys. Each key occurs
	// once.
	Values []Value
}

// A Value is one `key = text`.
type Value struct {
	Key string
	// Text has no white space at its ends. The lines of a continued value are
	// separated by "\n".
	Text   string
	Origin Origin // of the line that won
}

// Stanza returns the stanza of that name, nil when there is none.
func (f *File) Stanza(name string) *Stanza {
	for _, s := range f.Stanzas {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Get returns the value under key.
func (s *Stanza) Get(key string) (Value, bool) {
	for _, v := range s.Values {
		if v.Key == key {
			return v, true
		}
	}
	return Value{}, false
}

// builder makes a File, finding stanzas and keys without looking through them.
type builder struct {
	file    *File
	stanzas map[string]*Stanza
	keys    map[*Stanza]map[string]int // where in Values
}

func newBuilder(name string) builder {
	return builder{&File{Name: name}, map[string]*Stanza{}, map[*Stanza]map[string]int{}}
}

// stanza returns the stanza of that name and makes it if need be.
func (b *builder) stanza(origin Origin) *Stanza {
	s := b.stanzas[origin.Stanza]
	if s == nil {
		s = &Stanza{Name: origin.Stanza, Origin: origin}
		b.stanzas[s.Name] = s
		b.keys[s] = map[string]int{}
		b.file.Stanzas = append(b.file.Stanzas, s)
	}
	return s
}

// set puts v behind the others, or in place of the value of its key where
// replace says so.
func (b *builder) set(s *Stanza, v Value, replace bool) {
	i, known := b.keys[s][v.Key]
	switch {
	case !known:
		b.keys[s][v.Key] = len(s.Values)
		s.Values = append(s.Values, v)
	case replace:
		s.Values[i] = v
	}
}

// Parse reads one file of Splunk's .conf dialect; name is what origins and
// problems call it.
//
// A line is blank, a comment (its first character that is not a blank is #), a
// `[stanza]`, or `key = value`, divided at the first equals sign. White space
// around names, keys and values does not count. A value goes on in the next
// line, whatever that looks like, when its line ends in a backslash; the line
// break becomes part of the value. A stanza that occurs again goes on, and the
// last value of a key wins. A byte order mark and CRLF are allowed.
//
// Problems are lines that are none of these and limits that are passed. The
// file is returned beside them with all that could be read, so that a caller
// can report its other mistakes too; it is nil only when r fails.
func Parse(name string, r io.Reader) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	p := parser{builder: newBuilder(name)}
	if len(data) > maxFile {
		p.problem(Origin{File: name}, "", fmt.Sprintf("the file is larger than %d MiB", maxFile>>20), "split it, or check that it is a conf file")
		return p.file, p.problems.orNil()
	}
	p.rest = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for len(p.rest) > 0 {
		p.statement()
	}
	return p.file, p.problems.orNil()
}

type parser struct {
	builder
	current  *Stanza
	rest     []byte
	line     int
	problems Problems
}

// statement reads one blank line, comment, stanza or value.
func (p *parser) statement() {
	text := p.next()
	at := Origin{File: p.file.Name, Line: p.line}
	if p.current != nil {
		at.Stanza = p.current.Name
	}
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "" || trimmed[0] == '#':
		return
	case trimmed[0] == '[':
		p.header(at, trimmed)
		return
	}

	line, continued := strings.CutSuffix(text, `\`)
	lines, size := []string{line}, len(line)
	for continued && len(p.rest) > 0 {
		line, continued = strings.CutSuffix(p.next(), `\`)
		if size += len(line) + 1; size <= maxValue {
			lines = append(lines, line)
		}
	}
	if size > maxValue {
		p.problem(at, "", fmt.Sprintf("the value is longer than %d KiB", maxValue>>10), "shorten it, or look for a backslash at the end of a line that should not be continued")
		return
	}
	key, first, ok := strings.Cut(lines[0], "=")
	key, lines[0] = strings.TrimSpace(key), first
	switch {
	case !ok:
		// The text is not told: a secret may stand where none belongs.
		p.problem(at, "", "the line is neither a [stanza] nor key = value", "write key = value, or # in front of a comment")
		return
	case key == "":
		p.problem(at, "", "no key stands before the equals sign", "write key = value")
		return
	}
	if p.current == nil {
		p.open(DefaultStanza)
		at.Stanza = DefaultStanza
	}
	p.set(p.current, Value{Key: key, Text: strings.TrimSpace(strings.Join(lines, "\n")), Origin: at}, true)
}

// header reads a line that opens a stanza. One that goes wrong behind the name
// opens it all the same, so that what stands below it is checked too.
func (p *parser) header(at Origin, text string) {
	name, ok := strings.CutSuffix(text[1:], "]")
	if !ok {
		p.problem(at, "", fmt.Sprintf("the line %s opens a stanza and does not end in ]", quote(text)), "write [name] alone in its line, comments in lines of their own")
		name, _, _ = strings.Cut(name, "]")
	}
	p.open(strings.TrimSpace(name))
}

func (p *parser) open(name string) {
	p.current = p.stanza(Origin{File: p.file.Name, Line: p.line, Stanza: name})
}

// next takes the next line. One that can't be used is reported and read as
// empty.
func (p *parser) next() string {
	raw, rest, _ := bytes.Cut(p.rest, []byte("\n"))
	p.rest = rest
	p.line++
	at := Origin{File: p.file.Name, Line: p.line}
	if p.current != nil {
		at.Stanza = p.current.Name
	}
	switch {
	case len(raw) > maxLine:
		p.problem(at, "", fmt.Sprintf("the line is longer than %d KiB", maxLine>>10), `divide it: a backslash at its end continues a value in the next line`)
		return ""
	case !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0:
		p.problem(at, "", "the line is not UTF-8 text", "save the file as UTF-8")
		return ""
	}
	return string(bytes.TrimRight(raw, "\r"))
}

func (p *parser) problem(at Origin, key, what, fix string) {
	p.problems = append(p.problems, Problem{Origin: at, Key: key, What: what, Fix: fix})
}

// String prints the file so that Parse reads the same stanzas and values from
// it. Comments are not kept.
func (f *File) String() string {
	var b strings.Builder
	for i, s := range f.Stanzas {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "[%s]\n", s.Name)
		for _, v := range s.Values {
			text := strings.ReplaceAll(v.Text, "\n", "\\\n")
			if strings.HasSuffix(text, `\`) {
				// Continued by an empty line, because it would be by the next one.
				text += "\\\n"
			}
			fmt.Fprintf(&b, "%s = %s\n", v.Key, text)
		}
	}
	return b.String()
}

// Overlay puts files over one another, the lowest first: a value of a higher
// file hides that of a lower one. The stanzas of the highest file come first,
// so that where the first match wins a user's rule stands before a shipped one.
func Overlay(files ...*File) *File {
	all := newBuilder("")
	for _, f := range slices.Backward(files) {
		if all.file.Name == "" {
			all.file.Name = f.Name
		}
		for _, s := range f.Stanzas {
			upper := all.stanza(s.Origin)
			for _, v := range s.Values {
				all.set(upper, v, false)
			}
		}
	}
	return all.file
}

// Read reads default/NAME under local/NAME of dir, each of which may be
// missing. As with Parse, the file is returned beside Problems.
func Read(dir, name string) (*File, error) {
	var layers []*File
	var problems Problems
	for _, layer := range []string{"default", "local"} {
		f, err := readFile(filepath.Join(dir, layer, name))
		switch found := Problems(nil); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.As(err, &found):
			problems = append(problems, found...)
		case err != nil:
			return nil, err
		}
		layers = append(layers, f)
	}
	return Overlay(layers...), problems.orNil()
}

func readFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	return Parse(path, f)
}
