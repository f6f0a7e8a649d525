package spl

import (
	"bufio"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A case is a search over events with the rows that Splunk's documentation
// says it gives. Cases stand in testdata/*.case:
//
//	page: NAME            the page of Splunk's documentation they come from
//	events:               NDJSON lines for the cases that follow
//	lookup NAME:          CSV lines, until an empty line
//	conf macros.conf:     or transforms.conf; until an empty line that is
//	                      followed by a directive
//	model NAME:           a data model's JSON, until an empty line
//	saved NAME:           a saved search's text, until an empty line
//	zone: UTC             the cases mean this zone; without it, any
//	case: title           then the search, then => and the expected rows, one
//	                      JSON object a line
type docCase struct {
	file, page, title string
	line              int
	zone              bool
	events            []string
	search            string
	rows              string
	setup             *caseSetup
}

// caseSetup is what the engine of a case holds beside events.
type caseSetup struct {
	lookups            map[string]string
	macros, transforms Conf
	models             map[string]string
	saved              map[string]string
}

func readCases(t testing.TB) []docCase {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.case")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var all []docCase
	for _, path := range paths {
		all = append(all, readCaseFile(t, path)...)
	}
	return all
}

func readCaseFile(t testing.TB, path string) []docCase {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var (
		cases  []docCase
		page   string
		zone   bool
		events []string
		setup  = &caseSetup{lookups: map[string]string{}, models: map[string]string{}, saved: map[string]string{}}
		mode   string
		name   string
		text   []string
		cur    *docCase
		number int
	)
	finish := func() {
		joined := strings.Join(text, "\n")
		switch mode {
		case "events":
			events = text
		case "lookup":
			setup.lookups[name] = joined
		case "conf":
			c := parseTestConf(t, name, joined)
			if name == "macros.conf" {
				setup.macros = c
			} else {
				setup.transforms = c
			}
		case "model":
			setup.models[name] = joined
		case "saved":
			setup.saved[name] = joined
		case "rows":
			cur.rows = joined
			cases = append(cases, *cur)
		case "search":
			t.Fatalf("%s:%d: a case without =>", path, number)
		}
		mode, text = "", nil
	}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		number++
		line := sc.Text()
		trimmed := strings.TrimSpace(line)
		head, rest, _ := strings.Cut(trimmed, ":")
		word, arg, _ := strings.Cut(head, " ")
		switch {
		case mode == "search" && strings.HasPrefix(trimmed, "=>"):
			cur.search = strings.Join(text, "\n")
			mode, text = "rows", nil
			continue
		case trimmed == "":
			if mode == "conf" || mode == "search" {
				text = append(text, "")
			} else {
				finish()
			}
			continue
		case strings.HasPrefix(trimmed, "# "):
			continue
		}
		if mode != "search" {
			switch {
			case head == "page":
				finish()
				page, zone = strings.TrimSpace(rest), false
				continue
			case head == "zone":
				finish()
				zone = strings.TrimSpace(rest) == "UTC"
				continue
			case head == "events":
				finish()
				mode = "events"
				continue
			case head == "case":
				finish()
				cur = &docCase{file: filepath.Base(path), page: page, title: strings.TrimSpace(rest), line: number, zone: zone, events: events, setup: setup}
				mode = "search"
				continue
			case (word == "lookup" || word == "conf" || word == "model" || word == "saved") && rest == "" && strings.HasSuffix(trimmed, ":"):
				finish()
				mode, name = word, arg
				continue
			}
		}
		require.NotEmpty(t, mode, "%s:%d: %s", path, number, line)
		text = append(text, line)
	}
	finish()
	return cases
}

func (c *docCase) engine(t testing.TB, zone *time.Location, shuffle uint64) *Engine {
	t.Helper()
	events := append([]string(nil), c.events...)
	if shuffle != 0 {
		rand.New(rand.NewPCG(shuffle, 1)).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	e := &Engine{
		Store: storeOf(t, events...), Lookups: NewLookups(), Location: zone, Macros: c.setup.macros, Transforms: c.setup.transforms,
		DataModels: map[string]DataModel{}, Saved: c.setup.saved,
	}
	for name, csv := range c.setup.lookups {
		table, err := ReadTable(strings.NewReader(csv))
		require.NoError(t, err)
		e.Lookups.Set(name, table)
	}
	for name, js := range c.setup.models {
		m, err := ReadDataModel(strings.NewReader(js))
		require.NoError(t, err)
		e.DataModels[name] = m
	}
	e.Collect = func(index string, fields []string, rows []Row) error {
		return e.Store.AddSummary(index, fields, rows, testNow)
	}
	return e
}

// TestDocumented runs every case as it stands, with its events shuffled, and
// under a second time zone where its meaning does not depend on one.
func TestDocumented(t *testing.T) {
	kathmandu, err := time.LoadLocation("Asia/Kathmandu") // +05:45, no daylight saving
	require.NoError(t, err)
	for _, c := range readCases(t) {
		t.Run(c.file+"/"+strconv.Itoa(c.line)+" "+c.title, func(t *testing.T) {
			want := rowsOf(t, c.rows)
			got, err := runRows(t, c.engine(t, time.UTC, 0), c.search, Params{})
			require.NoError(t, err, c.search)
			sameRows(t, want, got)
			for seed := uint64(1); seed <= 3; seed++ {
				got, err = runRows(t, c.engine(t, time.UTC, seed), c.search, Params{})
				require.NoError(t, err)
				sameRows(t, want, got)
			}
			if c.zone {
				return
			}
			got, err = runRows(t, c.engine(t, kathmandu, 0), c.search, Params{})
			require.NoError(t, err)
			sameRows(t, want, got)
		})
	}
}

// TestRefusals runs the searches of testdata/refusals.txt. ^ marks the place
// that must be named; what follows ## must stand in the message.
func TestRefusals(t *testing.T) {
	b, err := os.ReadFile("testdata/refusals.txt")
	require.NoError(t, err)
	n := 0
	c := docCase{setup: refusalSetup(t), events: []string{`{"_time":1,"user":"a","n":5,"m":["x","y"],"s":"t"}`, `{"_time":2,"user":"b","n":6}`}}
	for _, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		marked, words, ok := strings.Cut(line, " ## ")
		require.True(t, ok, line)
		at := strings.IndexByte(marked, '^')
		require.GreaterOrEqual(t, at, 0, line)
		search := marked[:at] + marked[at+1:]
		n++
		t.Run(search, func(t *testing.T) {
			res, err := runRows(t, c.engine(t, time.UTC, 0), search, Params{})
			require.Nil(t, res)
			r := refusalOf(t, err)
			require.Contains(t, r.Message, words)
			require.Equal(t, at, r.Position, r.Error())
			require.Equal(t, at+1, r.Column, r.Error())
			require.Equal(t, 1, r.Line)
		})
	}
	require.GreaterOrEqual(t, n, 100)
}

func refusalSetup(t testing.TB) *caseSetup {
	return &caseSetup{
		lookups: map[string]string{"people": "user,team\na,red\n"},
		macros: parseTestConf(t, "macros.conf", `
[one]
definition = user=a
[two(2)]
args = a,b
definition = user=$a$ n=$b$
[loop]
definition = x `+"`pool`"+`
[pool]
definition = `+"`loop`"+`
[checked(1)]
args = n
definition = head $n$
validation = isnum($n$)
errormsg = n is a number
[broken]
definition = search user=a | frobnicate
[noargs(1)]
definition = x
[quote]
definition = user="a
[bad_iseval]
iseval = 1
definition = nosuch(1)
`),
		transforms: parseTestConf(t, "transforms.conf", "[kv]\nexternal_type = kvstore\ncollection = kv\nfields_list = a, b\n[ext]\nexternal_cmd = x.py\n[timed]\nfilename = people.csv\ntime_field = t\n[gone]\nfilename = gone.csv\n[bad]\nfilename = people.csv\nmatch_type = FUZZY(user)\n"),
		models:     map[string]string{"M": `{"modelName":"M","objects":[{"objectName":"D","parentName":"BaseEvent","fields":[{"fieldName":"user"}],"constraints":[{"search":"user=*"}]}]}`},
		saved:      map[string]string{"s": "search user=$who$", "wrong": "search * | nosuch"},
	}
}

// TestRefusalInMacro: what is wrong in a definition stands at the call and
// names the macro.
func TestRefusalInMacro(t *testing.T) {
	c := docCase{setup: refusalSetup(t)}
	_, err := runRows(t, c.engine(t, time.UTC, 0), "user=*\n| head 1 | `broken`", Params{})
	r := refusalOf(t, err)
	require.Equal(t, "broken", r.Macro)
	require.Equal(t, 18, r.Position)
	require.Equal(t, 2, r.Line)
	require.Equal(t, 12, r.Column)
}

func TestRefusalIsAnError(t *testing.T) {
	err := error(&Refusal{Position: 3, Line: 1, Column: 4, Message: "no", Macro: "m"})
	require.Equal(t, "position 3 (line 1, column 4) (in macro `m`): no", err.Error())
	require.False(t, errors.Is(err, os.ErrNotExist))
}
