package spl

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/spl-subset.md")

// used is what a case proves: its title in the file where it stands, by what
// occurs in its search.
type used map[string][]docCase

func (u used) add(what string, c docCase) { u[what] = append(u[what], c) }

var (
	commandPattern  = regexp.MustCompile(`(?:^|[|\[])\s*([a-z]+)\b`)
	callPattern     = regexp.MustCompile(`\b([a-z_]+[0-9.]*)\(`)
	barePattern     = regexp.MustCompile(`\b(count|c)\b`)
	fractionPattern = regexp.MustCompile(`^(exactperc|upperperc|perc|p)[0-9.]+$`)
)

// usage finds what each case uses. Quoted texts do not count.
func usage(t *testing.T) used {
	t.Helper()
	u := used{}
	quotes := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	for _, c := range readCases(t) {
		s := quotes.ReplaceAllString(c.search, `""`)
		commands := map[string]bool{}
		if trimmed := strings.TrimSpace(s); !strings.HasPrefix(trimmed, "|") {
			commands["search"] = true
		}
		for _, m := range commandPattern.FindAllStringSubmatch(s, -1) {
			if _, ok := commandTable()[m[1]]; ok {
				commands[m[1]] = true
			}
		}
		for name := range commands {
			u.add("command "+name, c)
			for _, o := range commandTable()[name].options {
				if regexp.MustCompile(`\b` + o + `\b *(=|\b)`).MatchString(s) {
					u.add("option "+name+" "+o, c)
				}
			}
		}
		seen := map[string]bool{}
		for _, m := range callPattern.FindAllStringSubmatch(s, -1) {
			name := fractionPattern.ReplaceAllString(m[1], "${1}N")
			if !seen[name] {
				seen[name] = true
				u.add("function "+name, c)
			}
		}
		for _, m := range barePattern.FindAllStringSubmatch(s, -1) {
			if !seen[m[1]] {
				seen[m[1]] = true
				u.add("function "+m[1], c)
			}
		}
		for _, op := range []string{"LIKE", "IN", "XOR", "AND", "OR", "NOT"} {
			if regexp.MustCompile(`\b(?:` + op + `|` + strings.ToLower(op) + `)\b`).MatchString(s) {
				u.add("operator "+op, c)
			}
		}
	}
	return u
}

// aggregationNames are the functions of stats as the page lists them.
func aggregationNames() []string {
	names := append(sortedKeys(aggregations), "percN", "pN", "exactpercN", "upperpercN")
	sort.Strings(names)
	return names
}

func TestEverythingHasACase(t *testing.T) {
	u := usage(t)
	for name, spec := range commandTable() {
		assert.NotEmpty(t, u["command "+name], "command %s has no case", name)
		for _, o := range spec.options {
			assert.NotEmpty(t, u["option "+name+" "+o], "option %s of %s has no case", o, name)
		}
	}
	for name := range evalFunctions() {
		assert.NotEmpty(t, u["function "+name], "function %s has no case", name)
	}
	for _, name := range aggregationNames() {
		assert.NotEmpty(t, u["function "+name], "aggregation %s has no case", name)
	}
	for _, op := range []string{"LIKE", "IN", "XOR", "AND", "OR", "NOT"} {
		require.NotEmpty(t, u["operator "+op], op)
	}
}

const subsetHead = `# The subset of SPL that aiwatch runs

` + "`aiwatch spl`" + `, the tests, the demo and the audit run the app's searches with aiwatch's own evaluator. It is an evaluator for a subset of SPL; its meaning comes from Splunk's documentation. Whatever stands not on this page is refused with its position: a command, an option, a function, a number of arguments, a lookup that is not defined, an unclosed quote.

This page is made by ` + "`go generate ./internal/spl`" + ` from the tables of the evaluator and its cases: each case is a search over events with the rows that the named page of Splunk's documentation leads to. *Cases* counts those that use the thing.

## What to know

- Events come newest first. Times are UTC unless a zone is handed in. Without a range all time is searched; a search's own ` + "`earliest`" + ` wins over the range that was handed in, and its ` + "`latest`" + ` is now when it is missing.
- The order of boolean operators is Splunk's: in ` + "`search`" + ` NOT, OR, AND, in capitals; in ` + "`where` and `eval`" + ` NOT, AND, OR, XOR, in any case.
- Regular expressions are RE2's: lookaround, back references and possessive quantifiers are refused.
- A field with several values in a place where no page tells what Splunk makes of it (arithmetic, the dot, most text functions, an order) is refused when it occurs, and names the function that is meant for it.
- Percentiles are of the method that limits.conf calls nearest-rank, also the median; ` + "`estdc`" + ` is exact. Sums and averages are those of doubles, written with all their digits.
- In ` + "`search`" + ` = and != compare texts without regard to case (1 is not 1.0), a network in CIDR form matches its addresses, and a subsearch without rows matches nothing.
- What the documentation contradicts or leaves open is refused when it occurs: which of equally rare values ` + "`rare`" + ` cuts, which columns ` + "`chart`" + ` keeps of several aggregations, what follows from nan and inf, the time variables ` + "`%V`, `%x` and `%X`" + `, ` + "`date_hour`" + ` and its like where events have no such field.
- A dot beside an arithmetic operator needs parentheses, and a span of weeks a day (` + "`1w@w0`" + `): how Splunk reads them is not documented.
- ` + "`lookup ... OUTPUT`" + ` without a match empties the field; an empty cell of a table is null.
- An event that was never delivered counts as indexed when it happened.
- What Splunk cuts silently (` + "`sort`" + ` without a number at 10,000 rows, a subsearch at 10,000, ` + "`append`" + ` at 50,000, ` + "`list()`" + ` at 100) is cut here too; the first three with a warning. Other limits (` + "`Limits`" + ` in internal/spl) end a search with an error that names them.
`

// TestSubsetPage checks that docs/spl-subset.md is current.
func TestSubsetPage(t *testing.T) {
	u := usage(t)
	var b strings.Builder
	b.WriteString(subsetHead)
	pages := func(cs []docCase) string {
		var list []string
		for _, c := range cs {
			p := strings.TrimPrefix(c.page, "Search Reference, ")
			if p = strings.Trim(p, `"`); !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
		sort.Strings(list)
		if len(list) > 4 {
			list = append(list[:4], "and others")
		}
		return strings.ReplaceAll(strings.Join(list, "; "), `"`, "")
	}
	b.WriteString("\n## Commands\n\n| command | options | cases | pages of its cases |\n|---|---|---|---|\n")
	for _, name := range sortedKeys(commandTable()) {
		var options []string
		for _, o := range commandTable()[name].options {
			options = append(options, fmt.Sprintf("`%s` %d", o, len(u["option "+name+" "+o])))
		}
		cs := u["command "+name]
		own := slices.DeleteFunc(slices.Clone(cs), func(c docCase) bool { return !strings.Contains(c.page, `"`+name+`"`) })
		if len(own) == 0 {
			own = cs
		}
		fmt.Fprintf(&b, "| `%s` | %s | %d | %s |\n", name, strings.Join(options, ", "), len(cs), pages(own))
	}
	b.WriteString("\n## Functions of eval and where\n\n| function | arguments | cases | page |\n|---|---|---|---|\n")
	for _, name := range sortedKeys(evalFunctions()) {
		f := evalFunctions()[name]
		fmt.Fprintf(&b, "| `%s` | %s | %d | %s |\n", name, f.arity(), len(u["function "+name]), f.page)
	}
	b.WriteString("\nOperators: `+ - * / % .` `= == != < > <= >=` `AND OR NOT XOR LIKE IN`.\n")
	b.WriteString("\n## Aggregations of stats, eventstats, streamstats, chart, timechart and tstats\n\n| aggregation | cases |\n|---|---|\n")
	for _, name := range aggregationNames() {
		fmt.Fprintf(&b, "| `%s` | %d |\n", name, len(u["function "+name]))
	}
	path := filepath.Join("..", "..", "docs", "spl-subset.md")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(kept), "run go generate ./internal/spl")
}
