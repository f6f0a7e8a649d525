package month

import (
	"fmt"
	"time"

	"aiwatch/internal/scenario/words"
)

// The buckets, and the account that they belong to.
const (
	artifacts = "acme-models"
	datasets  = "acme-datasets"
	website   = "acme-website"
	account   = "123456789012"
)

// What people do.
const (
	trainer  = "trainer"
	reviewer = "reviewer"
	analyst  = "analyst"
	oncall   = "on-call"
)

// A person works on one project.
type person struct {
	name    string
	role    string
	project *project
	joins   time.Time // zero: was always here
	office  string    // address
	home    string

	leftovers []leftover // the oldest first
}

// A service has a network of its own.
type service struct{ name, address, agent string }

var (
	pipeline = service{"svc-etl", "10.50.1.10", "aws-sdk-java/2.25"}
	serving  = service{"svc-serve", "10.50.2.20", "Boto3/1.35 model-server"}
	backup   = service{"svc-backup", "10.50.3.30", "aws-cli/2.17"}
	builds   = service{"svc-ci", "10.60.0.5", "git/2.43.0"}
	migrator = service{"svc-migrate", "10.50.4.40", "aws-cli/2.17"}

	retention = service{"svc-retention", "10.50.5.50", "Boto3/1.35 retention"}
)

// A project has a model, a dataset, an experiment and a repository of its name.
type project struct {
	name    string
	people  []*person
	repo    *words.Repository
	version int       // of the model, the newest
	serves  []serves  // what served since when
	files   []string  // of the dataset, the newest last
	digest  string    // of the dataset
	fresh   time.Time // when the dataset was written last

	checkpoints []checkpoint // that are not deleted yet
}

// serves is the artifact folder of a model, and since when it serves.
type serves struct {
	since  time.Time
	folder string
}

// servesAt is the folder of the model that serves at a time.
func (p *project) servesAt(at time.Time) string {
	folder := p.serves[0].folder
	for _, s := range p.serves {
		if s.since.Before(at) {
			folder = s.folder
		}
	}
	return folder
}

var projectNames = []string{"vision", "speech", "fraud", "ranking", "forecast", "chat", "search", "pricing", "routing", "churn"}

var givenNames = []string{
	"alice", "bob", "carol", "dana", "erik", "fatma", "gita", "hugo", "ines", "jun", "kofi", "lena", "mina", "nils", "olga", "pavel", "quinn", "rosa", "sami", "tara",
	"uma", "vera", "wen", "xenia", "yusuf", "zoe", "anil", "bela", "cleo", "dmitri", "elif", "femi", "greta", "hana", "ivo", "jana", "karim", "liv", "marta", "noor",
}

// found makes the organisation.
func (m *month) found() {
	for _, name := range projectNames[:min(len(projectNames), max(2, m.People/10))] {
		m.projects = append(m.projects, &project{name: name, repo: words.NewRepository("acme/" + name)})
	}
	joiners := 0
	for i := range m.People {
		p := &person{
			name: givenNames[i%len(givenNames)], project: m.projects[i%len(m.projects)],
			office: fmt.Sprintf("10.1.%d.%d", i/200, 10+i%200), home: fmt.Sprintf("10.8.%d.%d", i/200, 10+i%200),
		}
		if n := i / len(givenNames); n > 0 {
			p.name = fmt.Sprintf("%s%d", p.name, n+1)
		}
		switch in := i / len(m.projects); {
		case in == 0, in == 1 && len(m.projects) < m.People/2:
			p.role = reviewer
		case in < 6:
			p.role = trainer
		case in == 6:
			p.role = oncall
		default:
			p.role = analyst
		}
		if p.role != reviewer && i > m.People-8 && joiners < 3 {
			joiners++
			p.joins = m.Start.AddDate(0, 0, 7*joiners).Add(9 * time.Hour)
		}
		p.project.people = append(p.project.people, p)
		m.people = append(m.people, p)
	}
}

// of returns the people of a project who have a role and are there.
func (p *project) of(role string, at time.Time) (all []*person) {
	for _, one := range p.people {
		if one.role == role && !at.Before(one.joins) {
			all = append(all, one)
		}
	}
	return all
}

// lookups are what the administrator wrote down.
func (m *month) lookups() map[string][]string {
	l := map[string][]string{
		"aiwatch_identities":       {"user,email,mlflow_user,git_email,full_name,team,peer_group"},
		"aiwatch_service_accounts": {"user,principal,owner,network"},
		"aiwatch_networks": {
			"name,cidr", "office,10.1.0.0/16", "vpn,10.8.0.0/16", "cluster,10.50.0.0/16", "ci,10.60.0.0/24",
		},
		"aiwatch_pipelines":    {"prefix,user,dataset"},
		"aiwatch_model_owners": {"model,user"},
		"aiwatch_inputs":       {"input,owner", "aiwatch_s3://acme,platform", "aiwatch_mlflow://prod,platform", "aiwatch_git://acme,platform"},
		"aiwatch_crown_jewels": {"asset_id,asset_name,owner,env"},
		"aiwatch_change_calendar": {
			"from,to,kind",
		},
		"aiwatch_lists": {
			"list,value,reason,approved_by,expires",
			"own_account," + account + ",ours,platform,",
			"production_alias,champion,the serving alias,platform,",
			"approval_tag,approved_by,a reviewer sets it,platform,",
			"digest_tag,weights.sha256,,platform,",
		},
	}
	put := func(name, format string, args ...any) { l[name] = append(l[name], fmt.Sprintf(format, args...)) }
	for _, p := range m.people {
		put("aiwatch_identities", "%[1]s,%[1]s@acme.example,%[1]s,%[1]s@acme.example,%[1]s,%[2]s,%[3]s", p.name, p.project.name, p.role)
	}
	for _, s := range []service{pipeline, serving, backup, migrator, retention} {
		put("aiwatch_service_accounts", "%[1]s,arn:aws:iam::%[2]s:user/%[1]s,platform,cluster", s.name, account)
	}
	put("aiwatch_service_accounts", "%[1]s,%[1]s,platform,ci", builds.name)
	for _, p := range m.projects {
		put("aiwatch_pipelines", "s3://%s/%s/*,%s,%s", datasets, p.name, pipeline.name, p.name)
		put("aiwatch_pipelines", "s3://%s/%s/*,%s,%s", datasets, p.name, migrator.name, p.name)
		for _, r := range p.of(reviewer, m.End) {
			put("aiwatch_model_owners", "%s,%s", p.name, r.name)
		}
	}
	put("aiwatch_crown_jewels", "s3://%s/%s/*,%[2]s,%[2]s,prod", datasets, m.projects[0].name)
	put("aiwatch_crown_jewels", "mlflow:prod/models/%[1]s*,%[1]s,%[1]s,prod", m.projects[0].name)
	for day := range m.Days {
		if d := m.Start.AddDate(0, 0, day); weekday(d) {
			put("aiwatch_change_calendar", "%s,%s,window", d.Add(8*time.Hour).Format(time.RFC3339), d.Add(18*time.Hour).Format(time.RFC3339))
		}
	}
	return l
}

func weekday(d time.Time) bool { return d.Weekday() != time.Saturday && d.Weekday() != time.Sunday }
