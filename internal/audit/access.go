package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Access is who touched what matters most, as the app's reports tell it.
type Access struct {
	// Jewels are the reads of crown jewels in the period; JewelsListed counts the
	// jewels that an administrator has listed.
	Jewels       []JewelRead `json:"crown_jewels,omitempty"`
	JewelsListed int         `json:"crown_jewels_listed"`
	// Models are the production models with everybody who touched them.
	Models []*Touched `json:"models,omitempty"`
}

// A JewelRead is what one person read of a crown jewel.
type JewelRead struct {
	Jewel   string    `json:"jewel"`
	Owner   string    `json:"owner,omitempty"`
	User    string    `json:"user"`
	Team    string    `json:"team,omitempty"`
	LastDay string    `json:"last_day,omitempty"` // of who leaves
	Reads   int       `json:"reads"`
	Bytes   int64     `json:"bytes"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// A Touched is a model with who did what to it in the period.
type Touched struct {
	Model string  `json:"model"`
	Acts  []Touch `json:"acts"`
}

// A Touch is one kind of act of one actor.
type Touch struct {
	Actor      string    `json:"actor"`
	Confidence []string  `json:"user_confidence,omitempty"`
	Action     string    `json:"action"`
	Operation  string    `json:"operation"`
	Times      int       `json:"times"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
}

// access asks the app's reports.
func (a *audit) access(ctx context.Context) error {
	from := a.report.Period.From
	jewels, err := a.reportOn(ctx, "AI Asset - Access review of the crown jewels - Report", "*", "*", from)
	if err != nil {
		return fmt.Errorf("review the access to crown jewels: %w", err)
	}
	out := &a.report.Access
	out.JewelsListed = len(a.tableRows("aiwatch_crown_jewels"))
	for _, r := range jewels {
		out.Jewels = append(out.Jewels, JewelRead{
			Jewel: r.text("jewel"), Owner: r.text("jewel_owner"), User: r.text("user"), Team: strings.Join(r.list("team"), ", "),
			LastDay: r.text("last_day"), Reads: int(r.number("reads")), Bytes: int64(r.number("bytes")),
			First: r.clock("first"), Last: r.clock("last"),
		})
	}
	var models []string
	for _, v := range a.report.Custody {
		if !slices.Contains(models, v.Model) {
			models = append(models, v.Model)
		}
	}
	for _, model := range models {
		rows, err := a.reportOn(ctx, "AI Asset - Who touched this model - Report", model, "*", from)
		if err != nil {
			return fmt.Errorf("report who touched %s: %w", model, err)
		}
		m := &Touched{Model: model, Acts: []Touch{}}
		for _, r := range rows {
			m.Acts = append(m.Acts, Touch{
				Actor: r.text("actor"), Confidence: r.list("sure"), Action: r.text("action"), Operation: r.text("operation"),
				Times: int(r.number("times")), First: r.clock("first"), Last: r.clock("last"),
			})
		}
		out.Models = append(out.Models, m)
	}
	return nil
}

// clock is a time that a report has put into words (convert ctime).
func (r row) clock(field string) time.Time {
	t, err := time.Parse("01/02/2006 15:04:05", r.text(field))
	if err != nil {
		return time.Time{}
	}
	return t
}
