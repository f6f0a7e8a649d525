// Package week writes an insider's week as a scenario: a small organisation with
// two teams, two models in production and one engineer who has given notice and
// uses the rights that he has.
//
// Three weeks of ordinary work lie in the logs when aiwatch is installed on a
// Sunday; the week after it is the insider's. One model, vision, can be followed
// through all three sources: the dataset that the pipeline writes, the commit,
// the run, the version, its weights in S3 and in Git, and who reads them. In the
// same week others do what looks alike and is work.
//
// A real MLflow server dates by its own clock what happens on it, so that its part
// of the week can't be told to it day by day. Options.Present tells the week for
// one: what others did on MLflow lies before the logs begin, the insider does his
// part in the present, and the logs of S3 and Git end there.
//
// The same Options give the same bytes. The package makes raw material only and
// shares no code with the collectors.
//
//	week.go       Options and the files of the folder
//	people.go     who works there, and what an administrator wrote down of them
//	work.go       ordinary work: history, the week, and what looks like an insider's
//	insider.go    the insider's steps, and what must be found
package week

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"aiwatch/internal/scenario/words"
)

// Options are which week it is. Zero values are filled in.
type Options struct {
	Seed   uint64    // 1
	Start  time.Time // a Sunday, midnight UTC; 2026-03-22 by default
	MLflow string    // 3.17

	// Present is when a real MLflow server is told its part, to the second; zero:
	// the stand-in is told it day by day. Start is then eight days before, at midnight, and counts
	// as a Sunday whatever it is.
	Present time.Time
	// Names is what the names of models and experiments begin with.
	Names string
}

func (o *Options) fill() error {
	if !o.Present.IsZero() {
		o.Present = o.Present.UTC().Truncate(time.Second) // as precise as acts are told
		o.Start = o.Present.Truncate(24*time.Hour).AddDate(0, 0, -watchedDays)
	} else if o.Start.IsZero() {
		o.Start = time.Date(2026, 3, 22, 0, 0, 0, 0, time.UTC)
	}
	o.MLflow, o.Seed = cmp.Or(o.MLflow, "3.17"), cmp.Or(o.Seed, 1)
	if o.Present.IsZero() && o.Start.UTC().Weekday() != time.Sunday || !o.Start.Equal(o.Start.UTC().Truncate(24*time.Hour)) {
		return fmt.Errorf("an insider's week starts on a Sunday at midnight UTC, and %s is none", o.Start.Format(time.RFC3339))
	}
	o.Start = o.Start.UTC()
	return nil
}

// How long it goes: days of which the logs tell when aiwatch starts, and days
// with aiwatch.
const (
	historyDays = 21
	watchedDays = 8
)

// The present of a real server: how far apart the insider's acts are, so that the
// collector sees the one before it sees the next, and how long after it searches
// run, so that those which wait for other sources have run as well.
const (
	apart    = 2 * time.Second
	searched = 25 * time.Minute
)

// Write writes the scenario's folder, which must not exist or be empty.
func Write(dir string, o Options) (words.Count, error) {
	if err := o.fill(); err != nil {
		return words.Count{}, err
	}
	w := newWeek(o)
	folder := words.Folder{Files: w.files(), Lookups: w.lookups(), Acts: "acts.ndjson"}
	err := folder.Write(dir, func(out io.Writer) error {
		w.tell()
		return w.Write(out, w.End.AddDate(1, 0, 0))
	})
	if err != nil {
		return w.Count, fmt.Errorf("write an insider's week: %w", err)
	}
	return w.Count, nil
}

// week is a week that is being told.
type week struct {
	Options
	*words.Teller

	fraud, vision *project
	features      *words.Repository
	stolen        stolen

	moment int // of the present, in which calls are told; 0: they lie before
}

func newWeek(o Options) *week {
	w := &week{Options: o, Teller: &words.Teller{
		Seed: o.Seed, Since: o.Start.AddDate(0, 0, -historyDays), End: o.Start.AddDate(0, 0, watchedDays),
		Account: account, MLflow: o.MLflow, Rand: rand.New(rand.NewPCG(o.Seed, 0x7765656b)),
	}}
	if !o.Present.IsZero() {
		w.Now, w.End = o.Present, o.Present.Add(5*apart)
	}
	w.fraud = &project{name: "fraud", model: o.Names + "fraud", data: "payments", repo: repository("acme/fraud"), lead: ines, engineers: []*person{priya, tomas, robin}}
	w.vision = &project{name: "vision", model: o.Names + "vision", data: "damage-photos", repo: repository("acme/vision"), lead: nora, engineers: []*person{paul, mei}}
	w.features = repository("acme/features")
	return w
}

// on is a moment of a day: 0 is the Sunday at which aiwatch starts, 1 the Monday
// after it; clock is such as "09:30".
func (w *week) on(day int, clock string) time.Time {
	at, err := time.Parse("15:04", clock)
	if err != nil {
		panic(err) // written in this package
	}
	return w.Start.AddDate(0, 0, day).Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
}

// searchedTo is up to when searches run.
func (w *week) searchedTo() time.Time {
	if w.Present.IsZero() {
		return w.End
	}
	return w.Present.Add(searched)
}

// files are what stands in the folder beside the acts.
func (w *week) files() map[string]string {
	mlflow := "interval = 1800"
	if !w.Present.IsZero() {
		// Each look in the present is a sweep, and only at what is the week's own. The
		// server's artifacts are not: nothing of them is told.
		mlflow = "interval = 1\nfast_interval = 1s\nartifacts = none\nexperiments = " + w.Names + "*"
	}
	return map[string]string{
		"scenario.yml": w.scenario(),
		"inputs.conf": `[aiwatch_s3://acme]
path = ${S3}
interval = 900
index = aiwatch
watch_buckets = ` + artifacts + ", " + datasets + `

[aiwatch_mlflow://prod]
url = ${MLFLOW}
` + mlflow + `
instance = prod
index = aiwatch
access_log = ${ACCESS_LOG}
trust = authenticated

[aiwatch_git://acme]
url = ${GIT}/acme/fraud.git, ${GIT}/acme/vision.git, ${GIT}/acme/features.git
root = ${GIT}
instance = git.acme.example
index = aiwatch
access_log = ${ACCESS_LOG}
trust = authenticated
backfill = 13
`,
		"aiwatch.conf": `[hec]
url = https://splunk.acme.example:8088
token_env = HEC_TOKEN
index = aiwatch

[health]
interval = 20m

[asset_rule://base]
bucket = ` + artifacts + `
pattern = ^base/(?P<name>[^/]+)/
asset_type = model

[asset_rule://reports]
bucket = ` + artifacts + `
pattern = ^reports/(?P<name>[^/]+)/
asset_type = artifact

[asset_rule://datasets]
bucket = ` + datasets + `
pattern = ^(?P<name>[^/]+)/
asset_type = dataset
`,
	}
}

// scenario is scenario.yml.
func (w *week) scenario() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: an insider's week\nstory: >\n  %s\nstart: %s\nend: %s\npeople: %d\nartifact_root: s3://%s/mlflow\nmlflow: %q\nexpect:\n",
		strings.ReplaceAll(story, "\n", "\n  "), w.Start.Format(time.RFC3339), w.searchedTo().Format(time.RFC3339), len(people), artifacts, w.Options.MLflow)
	for _, x := range w.expected() {
		fmt.Fprintf(&b, "  - {detection: %d", x.detection)
		if x.user != "" {
			fmt.Fprintf(&b, ", user: %s", x.user)
		}
		if x.asset != "" {
			fmt.Fprintf(&b, ", asset: %q", x.asset)
		}
		fmt.Fprintf(&b, ", from: %s, to: %s, why: %q}\n", x.from.Format(time.RFC3339), x.to.Format(time.RFC3339), x.why)
	}
	b.WriteString("quiet:\n  max_alerts_per_100_people_per_day: 0\n")
	return b.String()
}
