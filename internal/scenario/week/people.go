package week

import (
	"fmt"
	"time"

	"aiwatch/internal/scenario/words"
)

// The buckets, and the account that they belong to.
const (
	artifacts = "acme-models"
	datasets  = "acme-datasets"
	account   = "123456789012"
)

// A person is somebody, or a service, with the places he works from.
type person struct {
	user, full  string
	team, group string
	office, vpn string // addresses
	agent       string // with which he reads S3
}

const (
	boto   = "Boto3/1.35.0 md/Botocore#1.35.0 ua/2.0 os/linux"
	athena = "Athena"
)

var (
	ines  = &person{"ines", "Ines Calder", "fraud", "leads", "10.1.0.11", "10.8.0.11", boto}
	priya = &person{"priya", "Priya Nandan", "fraud", "engineers", "10.1.0.12", "10.8.0.12", boto}
	tomas = &person{"tomas", "Tomas Brandl", "fraud", "engineers", "10.1.0.13", "10.8.0.13", boto}
	robin = &person{"robin", "Robin Aster", "fraud", "engineers", "10.1.0.14", "10.8.0.14", boto}
	lukas = &person{"lukas", "Lukas Fenn", "fraud", "analysts", "10.1.0.15", "10.8.0.15", athena}
	nora  = &person{"nora", "Nora Velt", "vision", "leads", "10.1.0.21", "10.8.0.21", boto}
	paul  = &person{"paul", "Paul Ostrom", "vision", "engineers", "10.1.0.22", "10.8.0.22", boto}
	mei   = &person{"mei", "Mei Harada", "vision", "engineers", "10.1.0.23", "10.8.0.23", boto}
	sofia = &person{"sofia", "Sofia Branco", "vision", "analysts", "10.1.0.24", "10.8.0.24", athena}
	hana  = &person{"hana", "Hana Kessler", "platform", "data", "10.1.0.31", "10.8.0.31", athena}
	jonas = &person{"jonas", "Jonas Wirt", "platform", "operations", "10.1.0.32", "10.8.0.32", boto}
	lea   = &person{"lea", "Lea Morand", "platform", "operations", "10.1.0.33", "10.8.0.33", boto}

	people = []*person{ines, priya, tomas, robin, lukas, nora, paul, mei, sofia, hana, jonas, lea}
)

// Services have networks of their own.
var (
	pipeline = &person{user: "svc-etl", office: "10.50.1.10", agent: "aws-sdk-java/2.25"}
	trainer  = &person{user: "svc-train", office: "10.50.1.20", agent: boto}
	serving  = &person{user: "svc-serve", office: "10.50.2.20", agent: "Boto3/1.35 model-server"}
	migrator = &person{user: "svc-migrate", office: "10.50.4.40", agent: "aws-cli/2.17"}
	builds   = &person{user: "svc-ci", office: "10.60.0.5", agent: "git/2.43.0"}
	// terraform is infrastructure as code: a role, not a user.
	terraform = &person{user: "arn:aws:sts::" + account + ":assumed-role/terraform/apply", office: "10.60.0.6", agent: "APN/1.0 HashiCorp/1.0 Terraform/1.9"}
)

// A project has a model, a dataset, an experiment and a repository.
type project struct {
	name, data string
	model      string // the name of model and experiment
	repo       *words.Repository
	lead       *person
	engineers  []*person

	version int
	serves  []model // what served, the newest last
}

// A model is the folder of a version's files.
type model struct {
	since  time.Time
	folder string
	size   int // of the weights
}

// servesAt is the model that serves at a time.
func (p *project) servesAt(at time.Time) (m model) {
	for _, s := range p.serves {
		if !s.since.After(at) {
			m = s
		}
	}
	return m
}

func repository(name string) *words.Repository {
	r := words.NewRepository(name)
	r.People = map[string]string{}
	for _, p := range people {
		r.People[p.user] = p.full
	}
	return r
}

// lookups are what the administrator wrote down.
func (w *week) lookups() map[string][]string {
	l := map[string][]string{
		"aiwatch_identities": {"user,email,mlflow_user,git_email,full_name,team,peer_group"},
		"aiwatch_service_accounts": {
			"user,principal,owner,network", builds.user + "," + builds.user + ",jonas,ci",
		},
		"aiwatch_networks": {
			"name,cidr", "office,10.1.0.0/16", "vpn,10.8.0.0/16", "cluster,10.50.0.0/16", "ci,10.60.0.0/24",
		},
		"aiwatch_pipelines": {
			"prefix,user,dataset",
			"s3://" + datasets + "/payments/*,svc-etl,payments",
			"s3://" + datasets + "/payments/*,svc-migrate,payments",
			"s3://" + datasets + "/damage-photos/*,svc-etl,damage-photos",
			"s3://" + datasets + "/customers/*,svc-etl,customers",
		},
		"aiwatch_model_owners": {"model,user", w.fraud.model + ",ines", w.vision.model + ",nora"},
		"aiwatch_inputs":       {"input,owner", "aiwatch_s3://acme,jonas", "aiwatch_git://acme,jonas"},
		"aiwatch_crown_jewels": {
			"asset_id,asset_name,owner,env",
			"s3://" + datasets + "/customers/*,customers,hana,prod",
			"mlflow:prod/models/" + w.fraud.model + "*,fraud,ines,prod",
			"mlflow:prod/models/" + w.vision.model + "*,vision,nora,prod",
		},
		"aiwatch_leavers": {
			"user,notice_date,last_day",
			"robin," + w.Start.AddDate(0, 0, -6).Format(time.DateOnly) + "," + w.Start.AddDate(0, 0, 9).Format(time.DateOnly),
			"tomas," + w.Start.AddDate(0, 0, -13).Format(time.DateOnly) + "," + w.Start.AddDate(0, 0, 16).Format(time.DateOnly),
		},
		"aiwatch_change_calendar": {
			"from,to,kind",
			// Tuesday night's release of vision 5 was agreed on.
			w.on(2, "01:00").Format(time.RFC3339) + "," + w.on(2, "03:00").Format(time.RFC3339) + ",exception",
		},
		"aiwatch_lists": {
			"list,value,reason,approved_by,expires",
			"own_account," + account + ",ours,jonas,",
			"production_alias,champion,the serving alias,jonas,",
			"approval_tag,approved_by,a lead sets it,jonas,",
			"digest_tag,weights.sha256,the trainer sets it,jonas,",
			"iac,*:assumed-role/terraform/*,infrastructure as code,jonas,",
		},
	}
	if w.Present.IsZero() { // a real server is an input of the present
		l["aiwatch_inputs"] = append(l["aiwatch_inputs"], "aiwatch_mlflow://prod,jonas")
	}
	put := func(name, format string, args ...any) { l[name] = append(l[name], fmt.Sprintf(format, args...)) }
	for _, p := range people {
		put("aiwatch_identities", "%[1]s,%[1]s@acme.example,%[1]s,%[1]s@acme.example,%[2]s,%[3]s,%[4]s", p.user, p.full, p.team, p.group)
	}
	for _, s := range []*person{pipeline, trainer, serving, migrator} {
		put("aiwatch_service_accounts", "%[1]s,arn:aws:iam::%[2]s:user/%[1]s,jonas,cluster", s.user, account)
	}
	// Nothing is planned for the present of a real server, whatever time it is.
	for day := -historyDays; day < watchedDays; day++ {
		if works(day) {
			put("aiwatch_change_calendar", "%s,%s,window", w.on(day, "08:00").Format(time.RFC3339), w.on(day, "18:00").Format(time.RFC3339))
		}
	}
	return l
}

// weekday is which day of the week a day is, from Sunday, as which the first counts.
func weekday(day int) time.Weekday { return time.Weekday((day%7 + 7) % 7) }

// works tells whether a day is a working day.
func works(day int) bool {
	d := weekday(day)
	return d != time.Saturday && d != time.Sunday
}
