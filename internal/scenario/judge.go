package scenario

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// A Verdict is what was found against what was expected.
type Verdict struct {
	Scenario        string
	Expected, Found int
	Missed          []Missed
	// Unclaimed are findings that no expectation claims and that are not
	// allowed.
	Unclaimed []Finding
	// Rate is their number per hundred people and day, MaxRate the most that
	// the scenario has; negative is any.
	Rate, MaxRate float64
	// Events counts what was indexed, by source.
	Events map[string]int
	Took   time.Duration
}

// Missed is an expectation that nothing met.
type Missed struct {
	Detection int    `json:"detection"`
	User      string `json:"user,omitempty"`
	Asset     string `json:"asset,omitempty"`
	Why       string `json:"why,omitempty"`
	Line      int    `json:"line"` // of scenario.yml
}

// OK tells whether all was found and it was quiet enough.
func (v *Verdict) OK() bool {
	return len(v.Missed) == 0 && (v.MaxRate < 0 || v.Rate <= v.MaxRate+1e-9)
}

// MarshalJSON writes the verdict as the last line of the report.
func (v *Verdict) MarshalJSON() ([]byte, error) {
	missed := v.Missed
	if missed == nil {
		missed = []Missed{}
	}
	byDetection := map[int]int{}
	for _, f := range v.Unclaimed {
		byDetection[f.Detection]++
	}
	return json.Marshal(struct {
		Scenario  string         `json:"scenario"`
		Expected  int            `json:"expected"`
		Found     int            `json:"found"`
		Missed    []Missed       `json:"missed"`
		Unclaimed int            `json:"unclaimed"`
		By        map[int]int    `json:"unclaimed_by_detection"`
		Rate      float64        `json:"alerts_per_100_people_per_day"`
		Events    map[string]int `json:"events"`
		Seconds   float64        `json:"seconds"`
	}{
		v.Scenario, v.Expected, v.Found, missed, len(v.Unclaimed), byDetection,
		math.Round(v.Rate*1000) / 1000, v.Events, math.Round(v.Took.Seconds()*100) / 100,
	})
}

// Judge compares findings with what the scenario expects. A finding may meet
// several expectations, and an expectation claims every finding that meets it.
func (s *Scenario) Judge(findings []Finding) *Verdict {
	v := &Verdict{Scenario: s.Name, Expected: len(s.Expect), MaxRate: s.Quiet.MaxAlerts}
	claimed := make([]bool, len(findings))
	for _, x := range s.Expect {
		met := false
		for i := range findings {
			if x.meets(&findings[i]) {
				met, claimed[i] = true, true
			}
		}
		if met {
			v.Found++
		} else {
			v.Missed = append(v.Missed, Missed{x.Detection, x.User, x.Asset, x.Why, x.line})
		}
	}
	for i := range findings {
		if !claimed[i] && !s.allows(&findings[i]) {
			v.Unclaimed = append(v.Unclaimed, findings[i])
		}
	}
	days := s.End.Sub(s.Start).Hours() / 24
	v.Rate = float64(len(v.Unclaimed)) * 100 / float64(s.People) / max(days, 1)
	return v
}

func (x *Expect) meets(f *Finding) bool {
	return f.Detection == x.Detection &&
		(x.User == "" || slices.Contains(f.User, x.User)) &&
		(x.Asset == "" || slices.ContainsFunc(f.Asset, func(a string) bool { return strings.HasPrefix(a, x.Asset) })) &&
		(x.From.IsZero() || !f.Time.Before(x.From)) &&
		(x.To.IsZero() || !f.Time.After(x.To))
}

func (s *Scenario) allows(f *Finding) bool {
	return slices.ContainsFunc(s.Quiet.Allow, func(a Allow) bool {
		return a.Detection == f.Detection && (a.User == "" || slices.Contains(f.User, a.User))
	})
}
