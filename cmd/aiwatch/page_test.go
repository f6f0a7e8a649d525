package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// top is the top of the repository.
const top = "../.."

// page is a Markdown file of the repository.
type page struct {
	name    string // from the top, with slashes
	anchors map[string]bool
	links   []link
	spans   []span  // code within text
	blocks  []block // fenced code
}

type link struct {
	line   int
	target string
}

type span struct {
	line int
	text string
}

// block is fenced code. The first word of what stands behind its fence is the
// language, which GitHub shows it as; the others are for TestDocsRun.
type block struct {
	line     int
	language string
	words    []string
	text     string
	before   string // the paragraph above it
}

// is tells whether the block is marked with the word.
func (b *block) is(word string) bool { return slices.Contains(b.words, word) }

// file is the file that the block shows, "" for none.
func (b *block) file() string {
	for _, word := range b.words {
		if name, ok := strings.CutPrefix(word, "file="); ok {
			return name
		}
	}
	return ""
}

// readPages reads every page among the files. What a generator takes text from
// is none.
func readPages(t *testing.T, files []string) map[string]*page {
	t.Helper()
	pages := map[string]*page{}
	for _, name := range files {
		if path.Ext(name) != ".md" || strings.Contains(name, "/gen/") || strings.Contains(name, "/testdata/") {
			continue
		}
		source, err := os.ReadFile(filepath.Join(top, name))
		require.NoError(t, err)
		pages[name] = readPage(name, source)
	}
	require.Contains(t, pages, "README.md")
	return pages
}

// attribute matches the address of a link or picture in HTML.
var attribute = regexp.MustCompile(`\b(?:src|href|srcset)="([^"]*)"`)

func readPage(name string, source []byte) *page {
	p := &page{name: name, anchors: map[string]bool{}}
	root := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(source))
	last := 0 // the line of what was seen last; not every node knows its own
	html := func(lines *text.Segments) {
		for i := range lines.Len() {
			segment := lines.At(i)
			for _, found := range attribute.FindAllSubmatch(segment.Value(source), -1) {
				p.links = append(p.links, link{last, string(found[1])})
			}
		}
	}
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // never an error
		if !entering {
			return ast.WalkContinue, nil
		}
		if n.Type() == ast.TypeBlock && n.Lines() != nil && n.Lines().Len() > 0 {
			last = 1 + bytes.Count(source[:n.Lines().At(0).Start], []byte("\n"))
		}
		switch n := n.(type) {
		case *ast.Heading:
			p.anchor(plain(n, source))
		case *ast.Text:
			last = 1 + bytes.Count(source[:n.Segment.Start], []byte("\n"))
		case *ast.Link:
			p.links = append(p.links, link{last, string(n.Destination)})
		case *ast.Image:
			p.links = append(p.links, link{last, string(n.Destination)})
		case *ast.AutoLink:
			p.links = append(p.links, link{last, string(n.URL(source))})
		case *ast.RawHTML:
			html(n.Segments)
		case *ast.HTMLBlock:
			html(n.Lines())
		case *ast.CodeSpan:
			p.spans = append(p.spans, span{last, plain(n, source)})
		case *ast.FencedCodeBlock:
			b := block{line: last}
			if n.Info != nil {
				words := strings.Fields(string(n.Info.Segment.Value(source)))
				b.language, b.words = words[0], words[1:]
			}
			if n.PreviousSibling() != nil {
				b.before = plain(n.PreviousSibling(), source)
			}
			b.text = string(n.Lines().Value(source))
			p.blocks = append(p.blocks, b)
		}
		return ast.WalkContinue, nil
	})
	return p
}

// plain is the text of a node without its markup.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // never an error
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchor notes a heading under the name by which GitHub links to it.
func (p *page) anchor(heading string) {
	name := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
	unique := name
	for n := 1; p.anchors[unique]; n++ {
		unique = fmt.Sprintf("%s-%d", name, n)
	}
	p.anchors[unique] = true
}
