// Package month writes a clean month of an organisation that does not exist, as
// a scenario: a hundred people who train, review, promote, serve, analyse and
// are on call, with pipelines, retries, re-syncs, a migration and new joiners,
// told in S3 access log lines, MLflow calls and Git streams. Nobody in it does
// anything wrong, so that whatever is raised over it is a false alarm.
//
// The same Options give the same bytes. The package makes raw material only and
// shares no code with the collectors.
//
//	month.go      Options and the files of the folder
//	people.go     who works there
//	work.go       what they do in a day
//	deletions.go  what they, a job and S3 itself delete
package month

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"aiwatch/internal/scenario/words"
)

// Options are how large a month is. Zero values are filled in.
type Options struct {
	Seed   uint64
	Start  time.Time // 2026-03-01T00:00:00Z by default
	Days   int       // 30
	People int       // 100, at least 20
	Lines  int       // of S3 access logs, about; 4,000 for each person and month
	MLflow string    // 3.17
}

func (o *Options) fill() {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	}
	o.Days = cmp.Or(o.Days, 30)
	o.People = max(cmp.Or(o.People, 100), 20)
	o.Lines = cmp.Or(o.Lines, o.People*o.Days*4000/30)
	o.MLflow = cmp.Or(o.MLflow, "3.17")
}

// Write writes the scenario's folder, which must not exist or be empty.
func Write(dir string, o Options) (words.Count, error) {
	o.fill()
	m := &month{Options: o, Teller: &words.Teller{
		Seed: o.Seed, Since: o.Start, End: o.Start.AddDate(0, 0, o.Days), Account: account, MLflow: o.MLflow,
		Rand: rand.New(rand.NewPCG(o.Seed, 0x6d6f6e7468)),
	}}
	m.found()
	folder := words.Folder{Files: m.files(), Lookups: m.lookups(), Acts: "acts.ndjson.gz"}
	if err := folder.Write(dir, m.write); err != nil {
		return m.Count, fmt.Errorf("write a month: %w", err)
	}
	return m.Count, nil
}

// month is a month that is being told.
type month struct {
	Options
	*words.Teller

	people   []*person
	projects []*project
}

// write tells day after day; what a day leaves for the next waits.
func (m *month) write(out io.Writer) error {
	m.history()
	for day := range m.Days {
		m.day(m.Start.AddDate(0, 0, day))
		if err := m.Write(out, m.Start.AddDate(0, 0, day+1)); err != nil {
			return err
		}
	}
	return m.Write(out, m.End.AddDate(1, 0, 0))
}

// files are what stands in the folder beside the acts.
func (m *month) files() map[string]string {
	var repos []string
	for _, p := range m.projects {
		repos = append(repos, "${GIT}/acme/"+p.name+".git")
	}
	return map[string]string{
		"scenario.yml": fmt.Sprintf(`name: a clean month, seed %d
story: >
  %d people go about their work for %d days: they train, review, promote, serve, analyse and are on call.
  Pipelines write new partitions every night and retry what fails, a backup reads everything again on
  Sundays, one bucket is migrated, three people join. People remove their own runs, copies and branches, a job
  deletes old checkpoints and S3 expires old data. Nobody does anything wrong.
start: %s
end: %s
people: %d
artifact_root: s3://%s/mlflow
mlflow: %q
expect: []
quiet:
  max_alerts_per_100_people_per_day: 1
  allow: []
`, m.Options.Seed, m.People, m.Days, m.Start.Format(time.RFC3339), m.End.Format(time.RFC3339), m.People, artifacts, m.Options.MLflow),
		"inputs.conf": `[aiwatch_s3://acme]
path = ${S3}
index = aiwatch
watch_buckets = ` + artifacts + ", " + datasets + `

[aiwatch_mlflow://prod]
url = ${MLFLOW}
instance = prod
index = aiwatch
access_log = ${ACCESS_LOG}
trust = authenticated

[aiwatch_git://acme]
url = ` + strings.Join(repos, ", ") + `
root = ${GIT}
instance = git.acme.example
index = aiwatch
access_log = ${ACCESS_LOG}
trust = authenticated
`,
		"aiwatch.conf": `[hec]
url = https://splunk.acme.example:8088
token_env = HEC_TOKEN
index = aiwatch

[asset_rule://artifacts]
bucket = ` + artifacts + `
pattern = ^mlflow/
asset_type = model

[asset_rule://datasets]
bucket = ` + datasets + `
pattern = ^(?P<name>[^/]+)/
asset_type = dataset
`,
	}
}
