package spl

import (
	"slices"
	"strconv"
	"strings"
)

// command is one command of a pipeline, with its arguments typed and checked.
type command interface {
	// need tells which fields of its input the command reads, given which
	// fields of its output are wanted.
	need(out *fieldSet) *fieldSet
	// open prepares the command and returns its output.
	open(x *execution, in *flow) (*flow, error)
}

// place is where a command was written, in the expanded text.
type place struct {
	name string
	pos  int
}

const maxNesting = 60 // brackets, parentheses and expressions within each other

// parser reads an expanded search. Its methods return a *Refusal as error.
type parser struct {
	src   *source
	text  string
	pos   int
	depth int
	// fixed, where it is not negative, is the one position of everything: the
	// text was made (by a subsearch or foreach) and has no place of its own.
	fixed    int
	commands map[string]commandSpec
	before   command // the command before the one that is parsed, in its pipeline
}

func newParser(src *source) *parser {
	return &parser{src: src, text: src.expanded, fixed: -1, commands: commandTable()}
}

// within parses other text whose errors are all reported at one place.
func (p *parser) within(text string, at int) *parser {
	return &parser{src: p.src, text: text, fixed: p.offset(at), depth: p.depth, commands: p.commands}
}

func (p *parser) offset(at int) int {
	if p.fixed >= 0 {
		return p.fixed
	}
	return at
}

func (p *parser) refuse(at int, format string, args ...any) error {
	return p.src.refusal(p.offset(at), format, args...)
}

func (p *parser) enter(at int) error {
	if p.depth++; p.depth > maxNesting {
		return p.refuse(at, "nested deeper than %d", maxNesting)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) eof() bool { return p.pos >= len(p.text) }

func (p *parser) peek() byte {
	if p.eof() {
		return 0
	}
	return p.text[p.pos]
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isWordByte(c byte) bool {
	return c == '_' || c-'0' <= 9 || c|0x20-'a' <= 25
}

func (p *parser) space() {
	for !p.eof() && isSpace(p.text[p.pos]) {
		p.pos++
	}
}

// done tells whether the command's arguments end here.
func (p *parser) done() bool {
	p.space()
	return p.eof() || p.text[p.pos] == '|' || p.text[p.pos] == ']'
}

// accept takes the byte c if it comes next.
func (p *parser) accept(c byte) bool {
	p.space()
	if p.peek() == c && !p.eof() {
		p.pos++
		return true
	}
	return false
}

// acceptWord takes a keyword, any case, if it comes next as a whole word.
func (p *parser) acceptWord(word string) bool {
	p.space()
	end := p.pos + len(word)
	if end > len(p.text) || !strings.EqualFold(p.text[p.pos:end], word) {
		return false
	}
	if end < len(p.text) && (isWordByte(p.text[end]) || strings.IndexByte(".=*:-", p.text[end]) >= 0) {
		return false
	}
	p.pos = end
	return true
}

// peekWord returns the identifier that comes next, without taking it.
func (p *parser) peekWord() string {
	p.space()
	i := p.pos
	for i < len(p.text) && isWordByte(p.text[i]) {
		i++
	}
	return p.text[p.pos:i]
}

// quoted takes a string in double (or, as a field's name, single) quotes.
func (p *parser) quoted() (string, error) {
	at, q := p.pos, p.peek()
	for j := at + 1; j < len(p.text); j++ {
		switch p.text[j] {
		case '\\':
			j++
		case q:
			p.pos = j + 1
			s := p.text[at+1 : j]
			if q == '\'' {
				return strings.ReplaceAll(strings.ReplaceAll(s, `\'`, `'`), `\\`, `\`), nil
			}
			return unescape(s), nil
		}
	}
	return "", p.refuse(at, "unclosed quote: a %c here has no closing %c", q, q)
}

// bare takes everything up to white space or one of the stop bytes.
func (p *parser) bare(stops string) string {
	begin := p.pos
	for !p.eof() && !isSpace(p.text[p.pos]) && strings.IndexByte(stops, p.text[p.pos]) < 0 {
		p.pos++
	}
	return p.text[begin:p.pos]
}

const listStops = `|],()="'[`

// field takes one field's name, bare or quoted. Wildcards are allowed in it;
// the caller refuses them where they make no sense.
func (p *parser) field(what string) (string, error) {
	p.space()
	at := p.pos
	if c := p.peek(); c == '"' || c == '\'' {
		name, err := p.quoted()
		if err == nil && name == "" {
			err = p.refuse(at, "%s: a field's name can't be empty", what)
		}
		return name, err
	}
	name := p.bare(listStops)
	if name == "" {
		return "", p.refuse(at, "%s: a field's name is expected here%s", what, p.found())
	}
	return name, nil
}

// plainField is field without wildcards.
func (p *parser) plainField(what string) (string, error) {
	p.space()
	at := p.pos
	name, err := p.field(what)
	if err == nil && strings.Contains(name, "*") {
		return "", p.refuse(at, "%s: a wildcard is not known here, name the fields", what)
	}
	return name, err
}

func (p *parser) found() string {
	p.space()
	if p.eof() {
		return ", but the search ends"
	}
	end := min(len(p.text), p.pos+20)
	return ", found " + strconv.Quote(p.text[p.pos:end])
}

// fields takes field names, separated by commas or spaces, until the command
// ends or one of its options comes.
func (p *parser) fields(what string, options ...string) ([]string, error) {
	var names []string
	for {
		p.accept(',')
		if p.done() || p.peek() == ')' || p.peek() == '[' {
			return names, nil
		}
		if word := p.peekWord(); slices.Contains(options, strings.ToLower(word)) &&
			strings.HasPrefix(strings.TrimLeft(p.text[p.pos+len(word):], " "), "=") {
			return names, nil
		}
		name, err := p.field(what)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
}

// option is a key=value argument of a command.
type option struct {
	key, value string
	pos        int
	quoted     bool
}

// option takes a key=value argument if one comes next.
func (p *parser) option() (option, bool, error) {
	p.space()
	save := p.pos
	o := option{pos: save}
	for !p.eof() && (isWordByte(p.text[p.pos]) || p.text[p.pos] == '.') {
		p.pos++
	}
	o.key = strings.ToLower(p.text[save:p.pos])
	if o.key == "" || !p.accept('=') {
		p.pos = save
		return o, false, nil
	}
	p.space()
	if p.peek() == '"' {
		v, err := p.quoted()
		o.value, o.quoted = v, true
		return o, true, err
	}
	if o.value = p.bare("|],)"); o.value == "" {
		return o, false, p.refuse(o.pos, "option %s has no value", o.key)
	}
	return o, true, nil
}

// options takes all key=value arguments that come next.
func (p *parser) options(take func(option) error) error {
	for {
		o, ok, err := p.option()
		if err != nil || !ok {
			return err
		}
		if err := take(o); err != nil {
			return err
		}
	}
}

func (p *parser) boolOption(cmd string, o option) (bool, error) {
	switch strings.ToLower(o.value) {
	case "t", "true", "1":
		return true, nil
	case "f", "false", "0":
		return false, nil
	}
	return false, p.refuse(o.pos, "%s: option %s takes true or false, not %q", cmd, o.key, o.value)
}

func (p *parser) intOption(cmd string, o option, least int) (int, error) {
	n, err := strconv.Atoi(o.value)
	if err != nil || n < least {
		return 0, p.refuse(o.pos, "%s: option %s takes a whole number from %d, not %q", cmd, o.key, least, o.value)
	}
	return n, nil
}

// unknownOption refuses an option that the command does not have here.
func (p *parser) unknownOption(cmd string, o option, known ...string) error {
	if len(known) == 0 {
		return p.refuse(o.pos, "%s has no option %q in this subset", cmd, o.key)
	}
	return p.refuse(o.pos, "%s has no option %q in this subset%s", cmd, o.key, hint(o.key, known))
}

// end refuses whatever is left of a command's arguments.
func (p *parser) end(cmd string) error {
	if p.done() {
		return nil
	}
	return p.refuse(p.pos, "%s: this argument is not understood%s", cmd, p.found())
}

// parseQuery parses a whole expanded search.
func parseQuery(src *source) (*Query, error) {
	p := newParser(src)
	p.space()
	if p.eof() {
		return nil, p.refuse(0, "an empty search: it would be `search *`")
	}
	cmds, err := p.pipeline(false)
	if err != nil {
		return nil, err
	}
	return &Query{src: src, commands: cmds}, nil
}

// pipeline parses commands up to the end, or to the ] of a subsearch.
func (p *parser) pipeline(sub bool) ([]command, error) {
	if err := p.enter(p.pos); err != nil {
		return nil, err
	}
	defer p.leave()
	var cmds []command
	p.space()
	if p.accept('|') {
		p.space()
	} else if !sub && !p.startsWithSearchCommand() {
		// The first command of a search is search, unless a bar precedes it.
		if w := strings.ToLower(p.peekWord()); w != "" {
			if spec, ok := p.commands[w]; ok && spec.generating && w != "search" {
				return nil, p.refuse(p.pos, "%s generates rows and needs a | before it; as it stands it is a word to search for", w)
			}
		}
		c, err := parseSearchArgs(p, place{"search", p.pos})
		if err != nil {
			return nil, err
		}
		cmds = append(cmds, c)
		if p.done(); !p.accept('|') {
			return cmds, p.endOfPipeline(sub)
		}
	}
	for {
		p.space()
		at := p.pos
		name := p.peekWord()
		if name == "" {
			if p.eof() || p.peek() == '|' || p.peek() == ']' {
				return nil, p.refuse(at, "a command is missing here: a | is followed by a command's name")
			}
			return nil, p.refuse(at, "a command's name is expected here%s", p.found())
		}
		p.pos += len(name)
		spec, ok := p.commands[strings.ToLower(name)]
		if !ok {
			return nil, p.refuse(at, "unknown command %q%s", name, hint(name, sortedKeys(p.commands)))
		}
		if !p.eof() && !isSpace(p.peek()) && strings.IndexByte("|][\"(-+", p.peek()) < 0 && p.peek() != ':' {
			return nil, p.refuse(at, "unknown command %q", name+p.bare("|] "))
		}
		first := len(cmds) == 0
		if first && !spec.generating && !(sub && spec.inSubsearch) {
			return nil, p.refuse(at, "%s can't be the first command: it needs rows from a command before it", name)
		}
		if !first && spec.generating && !spec.anywhere {
			return nil, p.refuse(at, "%s must be the first command of a search", name)
		}
		p.before = nil
		if !first {
			p.before = cmds[len(cmds)-1]
		}
		c, err := spec.parse(p, place{strings.ToLower(name), p.offset(at)})
		if err != nil {
			return nil, err
		}
		if err := p.end(name); err != nil {
			return nil, err
		}
		cmds = append(cmds, c)
		if !p.accept('|') {
			break
		}
	}
	return cmds, p.endOfPipeline(sub)
}

func (p *parser) startsWithSearchCommand() bool {
	w := p.peekWord()
	next := p.pos + len(w)
	return w == "search" && next < len(p.text) && isSpace(p.text[next])
}

func (p *parser) endOfPipeline(sub bool) error {
	p.space()
	if p.peek() == ']' && !p.eof() && !sub {
		return p.refuse(p.pos, "a ] without its [")
	}
	return nil
}

// subsearch parses [ ... ].
func (p *parser) subsearch() (*subsearch, error) {
	p.space()
	at := p.pos
	if !p.accept('[') {
		return nil, p.refuse(at, "a subsearch in [ ] is expected here%s", p.found())
	}
	cmds, err := p.pipeline(true)
	if err != nil {
		return nil, err
	}
	if !p.accept(']') {
		return nil, p.refuse(at, "unclosed bracket: a [ here has no closing ]")
	}
	return &subsearch{commands: cmds, pos: p.offset(at)}, nil
}

// subsearch is a pipeline in brackets.
type subsearch struct {
	commands []command
	pos      int
}
