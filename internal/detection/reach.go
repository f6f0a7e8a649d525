package detection

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// A Proof is what was measured of the detections. It is read from testdata,
// where tests write it:
//
//	go test ./internal/detection -run TestReach -update
//	go test ./internal/scenario/month -run TestCleanMonth -v -update -timeout 2h
type Proof struct {
	// Reach is how small an attack may be, by number, of those detections whose
	// attack has a volume.
	Reach map[int]Reach
	// Month is nil where it was not run.
	Month *CleanMonth
}

// Shares are the parts of an attack's volume that are tried: all of it, one in
// two, one in four.
var Shares = []int{1, 2, 4}

// A Reach is at which Shares of an attack a detection fires.
type Reach struct {
	Scenario string `json:"scenario"`
	Attack   string `json:"attack"` // the whole of it, in words
	Fires    []int  `json:"fires"`
}

// A CleanMonth is what the whole app raised over days on which nobody did
// anything wrong.
type CleanMonth struct {
	Seed   uint64 `json:"seed"`
	People int    `json:"people"`
	Days   int    `json:"days"`
	// Alerts counts the findings by the number of their detection; one that
	// found nothing is not in it.
	Alerts map[int]int `json:"alerts"`
}

// Total is how many alerts were raised.
func (m *CleanMonth) Total() (all int) {
	for _, n := range m.Alerts {
		all += n
	}
	return all
}

// Rate is how many alerts were raised per hundred people and day.
func (m *CleanMonth) Rate() float64 {
	return float64(m.Total()) * 100 / float64(m.People) / float64(m.Days)
}

// ReadProof reads what was measured; what was not is empty.
func ReadProof(dir fs.FS) (p Proof, err error) {
	for name, to := range map[string]any{"reach.json": &p.Reach, "clean_month.json": &p.Month} {
		text, err := fs.ReadFile(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, fmt.Errorf("read what was measured of the detections: %w", err)
		}
		if err := json.Unmarshal(text, to); err != nil {
			return p, fmt.Errorf("read what was measured of the detections: %s: %w", name, err)
		}
	}
	return p, nil
}

// section is the table of what each detection raises where nothing is wrong, and
// how little of an attack it needs.
func (p Proof) section(w func(string, ...any), all []*Detection) {
	w("\n## Reach\n\n")
	w("*Clean month* is how many alerts a detection raised where nobody did anything wrong")
	if m := p.Month; m != nil {
		w(": %d days of %d people (seed %d), %d alerts, which is %.2f per hundred people and day. The gate is 1", m.Days, m.People, m.Seed, m.Total(), m.Rate())
	} else {
		w("; it was not run")
	}
	w(". *Attack* is what the scenario tells, and the next columns say whether the detection still fires at all of it, " +
		"a half and a quarter: of several acts that share is left, evenly spread; a single act reads that share of its bytes. " +
		"Where the attack has no volume, because one act is enough or because it is a silence, there is nothing to make smaller. " +
		"*Floors* are the least that is ever told of. The list `allow_<number>` tunes every detection. " +
		"The month and the attacks run with the macros that ship; their folders have lookups of their own.\n\n")
	w("```\n" +
		"go test ./internal/scenario/month -run TestCleanMonth -v -update -timeout 2h   # the clean month\n" +
		"go test ./internal/detection -run TestReach -update -timeout 30m               # the attacks\n" +
		"go generate ./internal/detection                                               # this table\n" +
		"```\n\n")
	w("| # | detection | clean month | attack | full | half | quarter | floors | tuned by |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, d := range all {
		if !d.Finds() {
			continue
		}
		month := "not run"
		if p.Month != nil {
			month = fmt.Sprint(p.Month.Alerts[d.Number])
		}
		attack, fires := "one act", []string{"", "", ""}
		if slices.Contains(d.Needs.Sources, "health") {
			attack = "a silence"
		}
		if r, ok := p.Reach[d.Number]; ok {
			attack = r.Attack
			for i, share := range Shares {
				fires[i] = "missed"
				if slices.Contains(r.Fires, share) {
					fires[i] = "fires"
				}
			}
		}
		var floors, tuned []string
		for _, m := range d.Tuning {
			if strings.Contains(m.Name, "_floor") {
				floors = append(floors, fmt.Sprintf("%s: %s", oneLine(m.Value), oneLine(m.Meaning)))
			}
			tuned = append(tuned, "`"+m.Stanza()+"`")
		}
		for _, name := range d.Needs.Lookups {
			tuned = append(tuned, "`"+name+"`")
		}
		w("| %d | [%s](#%s) | %s | %s | %s | %s | %s |\n", d.Number, d.Name, anchor(d), month, attack, strings.Join(fires, " | "), strings.Join(floors, "; "), strings.Join(tuned, " "))
	}
}
