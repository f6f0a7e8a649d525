package audit

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"aiwatch/internal/event"
)

// A Framework is a clause that auditors ask about, with what this evidence shows
// of it and what it does not.
type Framework struct {
	Name   string `json:"framework"`
	Clause string `json:"clause"`
	// Asks is what the clause asks, in short.
	Asks     string   `json:"asks"`
	Shows    []string `json:"shows"`
	ShowsNot []string `json:"does_not_show"`
	// Findings counts those of detections that serve the clause.
	Findings int `json:"findings"`
}

// sixMonths is how long logs are kept at least, as Articles 19 and 26 ask.
const sixMonths = 183 * 24 * time.Hour

// figures are those of this run that several clauses ask for.
type figures struct {
	events, acts, inputs                int
	missed                              time.Duration
	missing                             uint64
	versions, agree, differ, uncompared int
	datasets, runs, reads, readers      int
	span                                time.Duration
}

func (a *audit) figures() (f figures) {
	p := a.report.Period
	for kind, n := range a.report.Kinds {
		if f.events += n; kind != "aiwatch:health" {
			f.acts += n
		}
	}
	f.inputs = len(a.report.Watch)
	for _, w := range a.report.Watch {
		f.missed += w.Missed()
		f.missing += w.Lost()
	}
	runs, readers := map[string]bool{}, map[string]bool{}
	for _, v := range a.report.Custody {
		f.versions++
		switch {
		case v.Differ:
			f.differ++
		case agrees(v):
			f.agree++
		default:
			f.uncompared++
		}
		f.datasets += len(v.Datasets)
		if v.Run != "" {
			runs[v.Run] = true
		}
		for _, r := range v.Readers {
			readers[r.Actor] = true
			f.reads += r.Reads
		}
	}
	f.runs, f.readers = len(runs), len(readers)
	f.span = p.To.Sub(p.History)
	return f
}

// agrees tells whether several sources give the same digests.
func agrees(v *Custody) bool {
	var by []string
	for _, d := range v.Digests {
		if !slices.Contains(by, d.By) {
			by = append(by, d.By)
		}
	}
	return !v.Differ && len(by) > 1
}

// frameworks says what the evidence shows of each clause, with the figures of
// this run.
func (a *audit) frameworks() {
	f := a.figures()
	p, c := a.report.Period, a.report.Coverage
	holes := "No hour of these inputs is missing, and no number of an event."
	if f.missed > 0 || f.missing > 0 {
		holes = fmt.Sprintf("The record has holes: %s of inputs not watched, %s numbers of events missing.", length(f.missed), strconv.FormatUint(f.missing, 10))
	}
	if n := len(a.report.gaps()); n > 0 {
		holes += fmt.Sprintf(" The sources' own logs of %s leave out hours.", event.Count(n, "bucket"))
	}
	blind := fmt.Sprintf("What %d of %d detections would have found: they could not have fired.", c.CannotFire, len(c.Detections))
	kept := fmt.Sprintf("The oldest event is of %s, %s before the end of the period.", stamp(p.History), length(f.span))
	notKept := "That logs are kept for six months: these events go back " + length(f.span) + "."
	if f.span >= sixMonths {
		notKept = "That nothing was taken out of the older logs: events are numbered, not sealed."
	}
	add := func(name, clause, asks, serves string, shows, not []string) {
		a.report.Frameworks = append(a.report.Frameworks, Framework{
			Name: name, Clause: clause, Asks: asks, Shows: shows, ShowsNot: not, Findings: a.serving(name, serves),
		})
	}
	const euAIAct = "EU AI Act"
	add(euAIAct, "Article 12, record-keeping",
		"A high-risk system records events by itself, over its lifetime, so that risks and changes can be traced.", `\b12\b`,
		[]string{
			fmt.Sprintf("%s about models, data and code were recorded by %s from %s to %s, nobody having to do anything for it.", event.Count(f.acts, "event"), event.Count(f.inputs, "input"), stamp(p.From), stamp(p.To)),
			"Each says how its time and its actor are known.",
			holes,
		},
		[]string{
			"What the system answered in use, and to whom: aiwatch sees what is done to models, data and code, not what a model says.",
			"Systems that no input reads.",
		})
	add(euAIAct, "Article 15, accuracy, robustness and cybersecurity",
		"A high-risk system withstands attempts to alter it: poisoned data or models, theft of the model, tampering.", `\b15\b`,
		[]string{
			fmt.Sprintf("%d of %d detections could have fired with these inputs, %d more within limits.", c.CanFire, len(c.Detections), c.Limited),
			fmt.Sprintf("Of %s, the digests of %d agree between sources, those of %d contradict each other, %d can't be compared.", event.Count(f.versions, "production version"), f.agree, f.differ, f.uncompared),
			fmt.Sprintf("%s of production models by %s.", event.Count(f.reads, "read"), event.Count(f.readers, "reader")),
		},
		[]string{
			blind,
			"Adversarial inputs, extraction through the model's interface, accuracy: none of that leaves a trace in these sources.",
			"That there was no attack: a detection that stays silent proves nothing by itself.",
		})
	add(euAIAct, "Article 19, automatically generated logs",
		"The provider keeps the logs for at least six months.", `\b19\b`,
		[]string{kept, holes},
		[]string{notKept, "Where the logs are kept, who may delete there, and whether they will be there tomorrow."})
	add(euAIAct, "Article 26, obligations of deployers",
		"The deployer watches the system in use, keeps its logs for at least six months and reports serious incidents.", `\b26\b`,
		[]string{
			fmt.Sprintf("%s, each with the events behind it and what to do.", event.Count(len(a.report.Findings), "finding")),
			kept,
		},
		[]string{
			notKept,
			"Oversight by people, use as instructed, fit input data, and that workers and authorities were told.",
			"Whether anybody acted on a finding.",
		})
	add("ISO/IEC 42001", "A.6.2.8, recording of event logs",
		"The organisation decides in which phases of the life cycle events are logged, in use at least.", `A\.6\.2\.8`,
		[]string{
			fmt.Sprintf("Logged phases of the production models: data (%s), training (%s), registration and deployment (%s), access (%s).",
				event.Count(f.datasets, "dataset"), event.Count(f.runs, "run"), event.Count(f.versions, "version"), event.Count(f.reads, "read")),
			holes,
		},
		[]string{"The organisation's decision itself, and that somebody reviews the logs.", "Use: requests to a model that serves leave no event here."})
	add("NIST AI RMF", "GOVERN 1.6, MEASURE 2.7, MANAGE 4.1",
		"AI systems are inventoried, their security is evaluated, and they are monitored once deployed.", `.`,
		[]string{
			fmt.Sprintf("%s with their runs, data and readers (GOVERN 1.6).", event.Count(f.versions, "production version")),
			fmt.Sprintf("%d detections judged, with the reason wherever one could not fire (MEASURE 2.7).", len(c.Detections)),
			fmt.Sprintf("%s of monitoring, with the hours that are missing (MANAGE 4.1).", length(p.To.Sub(p.From))),
		},
		[]string{blind, "Systems that nobody registered, bias, safety, and how the risks are weighed."})
}

// serving counts the findings of detections that serve a clause.
func (a *audit) serving(framework, clause string) (n int) {
	serves := regexp.MustCompile("^" + regexp.QuoteMeta(framework) + " .*" + clause)
	for _, f := range a.report.Findings {
		if slices.ContainsFunc(f.Clauses, serves.MatchString) {
			n++
		}
	}
	return n
}

// length is a duration as people say it.
func length(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Round(time.Minute); {
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d < 2*day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d.Round(time.Hour)%day == 0:
		return fmt.Sprintf("%d days", d.Round(time.Hour)/day)
	default:
		d = d.Round(time.Hour)
		return fmt.Sprintf("%d days %d h", d/day, d%day/time.Hour)
	}
}
