package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/house"
)

// TestDocsMessages: the messages that the page of troubles quotes are the
// program's own. "..." in them stands for what is filled in.
func TestDocsMessages(t *testing.T) {
	const name = "docs/troubleshooting.md"
	files := house.Files(t, top)
	literals := stringsOf(t, files)
	p := readPages(t, files)[name]
	require.NotNil(t, p)
	quoted := 0
	for _, b := range p.blocks {
		if b.language != "text" || len(b.words) > 0 {
			continue
		}
		for line := range strings.Lines(b.text) {
			quoted++
			for part := range strings.SplitSeq(strings.TrimSpace(line), "...") {
				part = strings.TrimSpace(part)
				if !slices.ContainsFunc(literals, func(l string) bool { return strings.Contains(l, part) }) {
					t.Errorf("%s:%d: nothing in the program says %q", name, b.line, part)
				}
			}
		}
	}
	require.NotZero(t, quoted)
}

// stringsOf are the strings that stand in the program's code, those that are
// put together of constants in one piece.
func stringsOf(t *testing.T, files []string) (all []string) {
	t.Helper()
	for _, name := range files {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata/") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, ok := constant(e)
			if ok {
				all = append(all, text)
			}
			return !ok
		})
	}
	return all
}

func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		x, xOK := constant(e.X)
		y, yOK := constant(e.Y)
		return x + y, xOK && yOK && e.Op == token.ADD
	}
	return "", false
}
