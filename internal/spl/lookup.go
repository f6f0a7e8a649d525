package spl

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Table is the contents of a lookup: a CSV file or a KV store collection.
type Table struct {
	Fields []string
	Rows   [][]string
}

// Lookups are the tables that searches may read and write, by name. It is safe
// for concurrent use.
type Lookups struct {
	mu     sync.RWMutex
	tables map[string]*Table
}

// NewLookups makes an empty set of tables.
func NewLookups() *Lookups { return &Lookups{tables: map[string]*Table{}} }

// Set puts a table in place of what had the name. A name may be given with or
// without .csv.
func (l *Lookups) Set(name string, t *Table) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tables[tableName(name)] = t
}

// Table returns the table of a name, or nil.
func (l *Lookups) Table(name string) *Table {
	if l == nil {
		return nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tables[tableName(name)]
}

// Names lists the tables, without .csv.
func (l *Lookups) Names() []string {
	if l == nil {
		return nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return sortedKeys(l.tables)
}

func tableName(name string) string { return strings.TrimSuffix(name, ".csv") }

// ReadTable reads a CSV with a header line.
func ReadTable(r io.Reader) (*Table, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read lookup: %w", err)
	}
	c := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	c.FieldsPerRecord = -1
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("read lookup: the file has no header line")
	}
	if err != nil {
		return nil, fmt.Errorf("read lookup: %w", err)
	}
	t := &Table{Fields: header}
	for i, f := range header {
		if f == "" || slices.Contains(header[:i], f) {
			return nil, fmt.Errorf("read lookup: column %d has an empty name or one that another has (%q)", i+1, f)
		}
	}
	for {
		rec, err := c.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read lookup: %w", err)
		}
		if len(rec) > len(header) {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("read lookup: line %d has %d cells, the header %d", line, len(rec), len(header))
		}
		for len(rec) < len(header) {
			rec = append(rec, "")
		}
		t.Rows = append(t.Rows, rec)
	}
}

// Write writes the table as CSV with a header line.
func (t *Table) Write(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write(t.Fields); err != nil {
		return fmt.Errorf("write lookup: %w", err)
	}
	if err := c.WriteAll(t.Rows); err != nil {
		return fmt.Errorf("write lookup: %w", err)
	}
	return nil
}

// lookupTable is a lookup as transforms.conf defines it, over its table.
type lookupTable struct {
	name         string
	table        *Table
	kv           bool
	fold         bool              // case_sensitive_match = false
	match        map[string]string // field to WILDCARD or CIDR
	least, most  int
	defaultMatch string
}

// Splunk's default of max_matches for lookups without a time field.
const defaultMaxMatches = 100

// lookupByName resolves a lookup: a stanza of transforms.conf, or a table by
// its own name. It returns a sentence where there is none.
func (e *Engine) lookupByName(name string) (*lookupTable, string) {
	l := &lookupTable{name: name, match: map[string]string{}, most: defaultMaxMatches}
	def, defined := e.Transforms[name]
	file := name
	if defined {
		switch {
		case def["filename"] != "":
			file = def["filename"]
		case strings.EqualFold(def["external_type"], "kvstore"):
			l.kv = true
			file = name
			if e.Lookups.Table(file) == nil && def["collection"] != "" {
				file = def["collection"]
			}
		default:
			return nil, fmt.Sprintf("the lookup %q has neither filename nor external_type=kvstore: other kinds are not known here", name)
		}
		if problem := l.configure(def); problem != "" {
			return nil, fmt.Sprintf("the lookup %q: %s", name, problem)
		}
	}
	if l.table = e.Lookups.Table(file); l.table == nil {
		l.table = e.Lookups.Table(name)
	}
	if l.table == nil && l.kv {
		// A collection that nothing was written to is empty, not missing.
		l.table = &Table{Fields: append([]string{"_key"}, slices.DeleteFunc(splitList(def["fields_list"]), func(s string) bool { return s == "_key" })...)}
	}
	if l.table == nil {
		known := e.Lookups.Names()
		if defined {
			return nil, fmt.Sprintf("the lookup %q is defined, but its table %q is not there; there are %s", name, file, orNone(known))
		}
		return nil, fmt.Sprintf("the lookup %q is not defined; known are %s", name, orNone(append(known, sortedKeys(e.Transforms)...)))
	}
	return l, ""
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

func (l *lookupTable) configure(def map[string]string) string {
	number := func(key string, into *int, least int) string {
		v := strings.TrimSpace(def[key])
		if v == "" {
			return ""
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < least {
			return fmt.Sprintf("%s is a whole number from %d, not %q", key, least, v)
		}
		*into = n
		return ""
	}
	if p := number("max_matches", &l.most, 1); p != "" {
		return p
	}
	if p := number("min_matches", &l.least, 0); p != "" {
		return p
	}
	l.defaultMatch = def["default_match"]
	if v := strings.TrimSpace(def["case_sensitive_match"]); v != "" {
		l.fold = !isTrueText(v)
	}
	for _, key := range []string{"time_field", "external_cmd", "filter", "reverse_lookup_honor_case_sensitive_match"} {
		if def[key] != "" {
			return key + " is not known here"
		}
	}
	for _, part := range strings.Split(def["match_type"], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		kind, field, ok := strings.Cut(strings.TrimSuffix(part, ")"), "(")
		kind = strings.ToUpper(strings.TrimSpace(kind))
		if !ok || !strings.HasSuffix(part, ")") || kind != "WILDCARD" && kind != "CIDR" && kind != "EXACT" {
			return fmt.Sprintf("match_type %q is not known: WILDCARD(field), CIDR(field) or EXACT(field)", part)
		}
		if kind != "EXACT" {
			l.match[strings.TrimSpace(field)] = kind
		}
	}
	return ""
}

// lookupIndexes keeps the indexes of tables from search to search: a table is
// replaced, never changed.
type lookupIndexes struct {
	mu   sync.Mutex
	kept map[string]*lookupIndex
}

const maxIndexes = 64

// of returns the index of a lookup by some of its fields.
func (ixs *lookupIndexes) of(l *lookupTable, keys []string) *lookupIndex {
	name := l.name + "\x00" + strings.Join(keys, "\x00")
	ixs.mu.Lock()
	defer ixs.mu.Unlock()
	if ix, ok := ixs.kept[name]; ok && ix.l.table == l.table && ix.l.same(l) {
		return ix
	}
	if ixs.kept == nil || len(ixs.kept) >= maxIndexes {
		ixs.kept = map[string]*lookupIndex{}
	}
	ix := l.index(keys)
	ixs.kept[name] = ix
	return ix
}

// trim forgets what large searches left in the indexes.
func (ixs *lookupIndexes) trim() {
	ixs.mu.Lock()
	defer ixs.mu.Unlock()
	for _, ix := range ixs.kept {
		ix.known.trim()
	}
}

// same tells whether two definitions of one table match alike.
func (l *lookupTable) same(other *lookupTable) bool {
	return l.fold == other.fold && l.most == other.most && maps.Equal(l.match, other.match)
}

// lookupIndex finds the rows of a table for values of its key fields. Exact
// fields are looked up in a map; the others are tested row by row, and the
// outcome is kept for each combination of values. Searches that run side by side
// share it, each with a finder of its own.
type lookupIndex struct {
	l         lookupTable
	exact     []int // columns, with their place among the keys
	exactAt   []int
	pattern   []int
	patternAt []int
	byKey     map[string][]int32
	wild      [][]wildcard
	nets      [][]netip.Prefix // zero: the cell is no network
	known     outcomes
}

// outcomes are the rows that combinations of values were found to match.
type outcomes struct {
	mu   sync.RWMutex
	rows map[string][]int32
}

func (o *outcomes) get(key []byte) ([]int32, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	rows, ok := o.rows[string(key)]
	return rows, ok
}

func (o *outcomes) put(key []byte, rows []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows == nil {
		o.rows = map[string][]int32{}
	}
	if len(o.rows) < 1_000_000 {
		o.rows[string(key)] = rows
	}
}

func (o *outcomes) trim() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.rows) > 10_000 {
		o.rows = nil
	}
}

func (l *lookupTable) index(keys []string) *lookupIndex {
	ix := &lookupIndex{l: *l, byKey: map[string][]int32{}}
	for i, k := range keys {
		col := slices.Index(l.table.Fields, k)
		if l.match[k] != "" {
			ix.pattern, ix.patternAt = append(ix.pattern, col), append(ix.patternAt, i)
		} else {
			ix.exact, ix.exactAt = append(ix.exact, col), append(ix.exactAt, i)
		}
	}
	var buf []byte
	for n, row := range l.table.Rows {
		buf = buf[:0]
		for _, col := range ix.exact {
			buf = l.appendCell(buf, row[col])
		}
		ix.byKey[string(buf)] = append(ix.byKey[string(buf)], int32(n))
	}
	for i, col := range ix.pattern {
		kind := l.match[keys[ix.patternAt[i]]]
		var ws []wildcard
		var ns []netip.Prefix
		for _, row := range l.table.Rows {
			if kind == "CIDR" {
				p, _ := parseCIDR(row[col])
				ns = append(ns, p)
			} else {
				ws = append(ws, newWildcard(row[col], l.fold))
			}
		}
		ix.wild, ix.nets = append(ix.wild, ws), append(ix.nets, ns)
	}
	return ix
}

func (l *lookupTable) appendCell(b []byte, s string) []byte {
	if l.fold {
		s = strings.ToLower(s)
	}
	return text(s).appendKey(b)
}

// A finder looks values up for one search.
type finder struct {
	*lookupIndex
	buf []byte
}

// find returns the rows that match, in the table's order, at most max_matches.
// visited tells how many rows were tested.
func (ix *finder) find(values []string) (rows []int32, visited int) {
	ix.buf = ix.buf[:0]
	for _, i := range ix.exactAt {
		ix.buf = ix.l.appendCell(ix.buf, values[i])
	}
	candidates := ix.byKey[string(ix.buf)]
	if len(ix.pattern) == 0 {
		return candidates[:min(len(candidates), ix.l.most)], 1
	}
	for _, i := range ix.patternAt {
		ix.buf = ix.l.appendCell(ix.buf, values[i])
	}
	if rows, ok := ix.known.get(ix.buf); ok {
		return rows, 1
	}
	for _, n := range candidates {
		visited++
		matched := true
		for p := range ix.pattern {
			v := values[ix.patternAt[p]]
			if ix.wild[p] != nil {
				matched = ix.wild[p][n].match(v)
			} else {
				matched = ix.nets[p][n].IsValid() && cidrContains(ix.nets[p][n], v)
			}
			if !matched {
				break
			}
		}
		if matched {
			if rows = append(rows, n); len(rows) == ix.l.most {
				break
			}
		}
	}
	ix.known.put(ix.buf, rows)
	return rows, visited
}
