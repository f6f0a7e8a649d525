package month

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"aiwatch/internal/scenario/words"
)

const boto = "Boto3/1.35.0 md/Botocore#1.35.0 ua/2.0 os/linux"

// history is what was there before: an experiment, a model in production, a
// dataset and a repository for each project.
func (m *month) history() {
	at := m.Start.AddDate(0, 0, -40).Add(9 * time.Hour)
	for i, p := range m.projects {
		at := at.Add(time.Duration(i) * time.Minute)
		lead, second := p.of(reviewer, m.Start)[0], p.of(trainer, m.Start)[0]
		m.Push(at, lead.name, lead.office, p.repo, p.repo.Commit("main", at, lead.name, "first\n", nil, map[string]string{
			"train.py": "import torch\n", "README.md": "# " + p.name + "\n", "requirements.txt": "torch==2.6\n",
		}))
		m.Call(at, lead.name, lead.office, "POST", "experiments/create", map[string]any{"name": p.name}, map[string]any{"E_" + p.name: "experiment_id"})
		m.Call(at, lead.name, lead.office, "POST", "registered-models/create", map[string]any{"name": p.name}, nil)
		for d := 30; d > 0; d-- {
			m.partition(p, m.Start.AddDate(0, 0, -d).Add(2*time.Hour))
		}
		m.release(p, m.Start.AddDate(0, 0, -20).Add(10*time.Hour), second, lead)
	}
}

// day is one day of everybody.
func (m *month) day(d time.Time) {
	before := m.Count.Lines
	work := weekday(d)
	for i, p := range m.projects {
		m.partition(p, d.Add(2*time.Hour+time.Duration(i)*4*time.Minute))
		if !work {
			continue
		}
		if d.Weekday() == time.Weekday(2+i%3) {
			trainers, reviewers := p.of(trainer, d), p.of(reviewer, d)
			m.release(p, d.Add(9*time.Hour+time.Duration(i*11+m.Rand.IntN(20))*time.Minute), trainers[m.Rand.IntN(len(trainers))], reviewers[m.Rand.IntN(len(reviewers))])
		}
	}
	for _, p := range m.people {
		if !d.Add(9*time.Hour).Before(p.joins) && work && m.Rand.IntN(20) > 0 {
			m.person(p, d)
		}
	}
	if m.Rand.IntN(3) == 0 {
		m.night(d)
	}
	m.retain(d)
	if d.Weekday() == time.Sunday {
		m.resync(d)
	}
	if d.Equal(m.Start.AddDate(0, 0, m.Days/2)) {
		m.migrate(d)
	}
	m.serve(d, m.Lines/m.Days-(m.Count.Lines-before))
}

// partition is the nightly pipeline: new files, each written once. Now and then
// a write is refused and tried again.
func (m *month) partition(p *project, at time.Time) {
	for i := range 6 {
		key := fmt.Sprintf("%s/dt=%s/part-%05d.parquet", p.name, at.Format("2006-01-02"), i)
		r := words.Request{Bucket: datasets, Key: key, Op: "REST.PUT.OBJECT", User: pipeline.name, Address: pipeline.address, Agent: pipeline.agent, Size: 40<<20 + m.Rand.IntN(1<<20)}
		t := at.Add(time.Duration(i*7) * time.Second)
		if m.Rand.IntN(30) == 0 {
			refused := r
			refused.Status = 503
			m.S3(t, refused)
			t = t.Add(2 * time.Second)
		}
		m.S3(t, r)
		p.files = append(p.files, key)
	}
	sum := sha256.Sum256([]byte(p.name + at.Format("2006-01-02")))
	p.digest, p.fresh = hex.EncodeToString(sum[:4]), at
}

// sample reads some of the newest files of a dataset.
func (m *month) sample(p *project, at time.Time, who, address, agent string, n int) {
	newest := p.files[max(0, len(p.files)-42):]
	for i := range n {
		m.S3(at.Add(time.Duration(i)*time.Second), words.Request{
			Bucket: datasets, Key: newest[m.Rand.IntN(len(newest))], Op: "REST.GET.OBJECT", User: who, Address: address, Agent: agent, Bytes: 40 << 20, Size: 40 << 20,
		})
	}
}

// train is one training run from a commit, and where its model lies.
func (m *month) train(p *project, at time.Time, who *person, from *words.Commit, evaluates bool) (run string, end time.Time) {
	run = fmt.Sprintf("R%d", m.ID())
	kind, context := "train", "training"
	if evaluates {
		kind, context = "evaluate", "evaluation"
	}
	end = at.Add(time.Duration(20+m.Rand.IntN(90)) * time.Minute)
	m.Call(at, who.name, who.office, "POST", "runs/create", map[string]any{
		"experiment_id": "${E_" + p.name + "}", "user_id": who.name, "run_name": kind + "-" + at.Format("0102-1504"), "start_time": at.UnixMilli(),
		"tags": []any{
			words.Tag("mlflow.user", who.name), words.Tag("mlflow.source.name", "train.py"), words.Tag("mlflow.source.git.commit", from.ID),
			words.Tag("mlflow.source.git.repoURL", "https://git.acme.example/"+p.repo.Name+".git"),
		},
	}, map[string]any{run: "run.info.run_id"})
	m.Call(at.Add(20*time.Second), who.name, who.office, "POST", "runs/log-inputs", map[string]any{"run_id": "${" + run + "}", "datasets": []any{map[string]any{
		"tags":    []any{words.Tag("mlflow.data.context", context)},
		"dataset": map[string]any{"name": p.name + "-" + p.fresh.Format("2006-01-02"), "digest": p.digest, "source_type": "s3", "source": `{"uri": "s3://` + datasets + "/" + p.name + `/"}`},
	}}}, nil)
	m.sample(p, at.Add(30*time.Second), who.name, who.office, boto, 15+m.Rand.IntN(25))
	m.Call(end.Add(-time.Minute), who.name, who.office, "POST", "runs/log-batch", map[string]any{
		"run_id":  "${" + run + "}",
		"params":  []any{words.Tag("lr", "0.001"), words.Tag("epochs", fmt.Sprint(3+m.Rand.IntN(20)))},
		"metrics": []any{map[string]any{"key": "f1", "value": 0.8 + m.Rand.Float64()/10, "timestamp": end.UnixMilli(), "step": 1}},
	}, nil)
	if !evaluates {
		m.checkpoints(p, run, end, who)
		folder := "mlflow/${E_" + p.name + "}/${" + run + "}/artifacts/model/"
		for i, file := range []string{"MLmodel", "requirements.txt", "model.safetensors"} {
			t, text, size := end.Add(time.Duration(i-50)*time.Second), "run_id: ${"+run+"}\n", 300<<20
			if file == "model.safetensors" {
				text = ""
			} else {
				size = 2 << 10
			}
			m.Put(t, who.name, folder+file, text, size)
			m.S3(t, words.Request{Bucket: artifacts, Key: folder + file, Op: "REST.PUT.OBJECT", User: who.name, Address: who.office, Agent: boto, Size: size})
		}
	}
	m.Call(end, who.name, who.office, "POST", "runs/update", map[string]any{"run_id": "${" + run + "}", "status": "FINISHED", "end_time": end.UnixMilli()}, nil)
	return run, end
}

// release is the way of a model into production: a merge request that somebody
// else merges, a run from the merged commit, a version, an evaluation and an
// approval by the reviewer, and the move of the alias by the reviewer, in the
// change window.
func (m *month) release(p *project, at time.Time, by, approves *person) {
	merged := m.merge(p, at, by, approves)
	run, end := m.train(p, at.Add(10*time.Minute), by, merged, false)
	version := fmt.Sprint(p.version + 1)
	p.version++
	source := "s3://" + artifacts + "/mlflow/${E_" + p.name + "}/${" + run + "}/artifacts/model"
	m.Call(end.Add(2*time.Minute), by.name, by.office, "POST", "model-versions/create", map[string]any{"name": p.name, "source": source, "run_id": "${" + run + "}"}, nil)
	_, evaluated := m.train(p, end.Add(10*time.Minute), approves, merged, true)
	m.Call(evaluated.Add(5*time.Minute), approves.name, approves.office, "POST", "model-versions/set-tag", map[string]any{"name": p.name, "version": version, "key": "approved_by", "value": approves.name}, nil)
	moved := evaluated.Add(12 * time.Minute)
	m.Call(moved, approves.name, approves.office, "POST", "registered-models/alias", map[string]any{"name": p.name, "alias": "champion", "version": version}, nil)
	p.serves = append(p.serves, serves{moved.Add(time.Minute), "mlflow/${E_" + p.name + "}/${" + run + "}/artifacts/model/"})
}

// merge is a branch with a change, its merge into main by another person, and
// its removal.
func (m *month) merge(p *project, at time.Time, by, merges *person) *words.Commit {
	main := p.repo.Head("main", at.Add(-time.Hour))
	branch := fmt.Sprintf("%s/%d", by.name, m.ID())
	change := map[string]string{"train.py": fmt.Sprintf("import torch\n\nlearning_rate = %f\n", 0.0001*float64(1+m.Rand.IntN(50))), "notes.md": branch + "\n"}
	m.Push(at.Add(-time.Hour), by.name, by.office, p.repo, p.repo.Commit(branch, at.Add(-time.Hour), by.name, "try another rate\n", []*words.Commit{main}, change))
	topic := p.repo.Head(branch, at)
	m.Push(at, merges.name, merges.office, p.repo, p.repo.Commit("main", at, merges.name, "Merge "+branch+"\n", []*words.Commit{main, topic}, topic.Files))
	m.Access(at.Add(20*time.Second), builds.name, builds.address, "POST", "/"+p.repo.Name+".git/git-upload-pack", builds.agent)
	m.Push(at.Add(30*time.Minute), by.name, by.office, p.repo, p.repo.Delete(branch))
	return p.repo.Head("main", at.Add(time.Second))
}

// person is a working day.
func (m *month) person(p *person, d time.Time) {
	at := func() time.Time {
		return d.Add(8*time.Hour + time.Duration(m.Rand.IntN(9*3600))*time.Second)
	}
	address := p.office
	if m.Rand.IntN(4) == 0 {
		address = p.home
	}
	switch p.role {
	case trainer:
		if m.Rand.IntN(10) < 6 {
			for range 1 + m.Rand.IntN(2) {
				began := at()
				run, end := m.train(p.project, began, p, p.project.repo.Head("main", began), false)
				folder := "mlflow/${E_" + p.project.name + "}/${" + run + "}/artifacts/model/"
				p.leave(leftover{made: end, run: run, bucket: artifacts, keys: []string{folder + "MLmodel", folder + "requirements.txt", folder + "model.safetensors"}})
			}
		}
		if m.Rand.IntN(10) < 5 {
			m.topic(p, at(), address)
		}
		m.sample(p.project, at(), p.name, address, boto, 5+m.Rand.IntN(20))
		m.ownThings(p, at, address)
	case analyst:
		for range 1 + m.Rand.IntN(3) {
			m.sample(p.project, at(), p.name, address, "Athena", 10+m.Rand.IntN(25))
		}
		m.ownThings(p, at, address)
	case reviewer:
		m.Access(at(), p.name, address, "POST", "/"+p.project.repo.Name+".git/git-upload-pack", "git/2.43.0")
		m.fetchModel(p.project, at(), p.name, address, boto)
	default:
		m.Access(at(), p.name, address, "GET", "/api/2.0/mlflow/registered-models/search", "mlflow-python-client/"+m.Options.MLflow)
	}
}

// topic is work on a branch of one's own; now and then it is rebased.
func (m *month) topic(p *person, at time.Time, address string) {
	r := p.project.repo
	branch := p.name + "/wip"
	parent := r.Head(branch, at)
	message := "work in progress\n"
	if parent == nil || m.Rand.IntN(4) == 0 {
		parent = r.Head("main", at)
		message = "rebased\n"
	}
	m.Push(at, p.name, address, r, r.Commit(branch, at, p.name, message, []*words.Commit{parent}, map[string]string{p.name + ".py": fmt.Sprintf("x = %d\n", m.Rand.IntN(1000))}))
	m.Access(at.Add(40*time.Second), builds.name, builds.address, "POST", "/"+r.Name+".git/git-upload-pack", builds.agent)
}

// fetchModel reads the model that serves.
func (m *month) fetchModel(p *project, at time.Time, who, address, agent string) {
	for i, file := range []string{"MLmodel", "model.safetensors"} {
		size := 2 << 10
		if i > 0 {
			size = 300 << 20
		}
		m.S3(at.Add(time.Duration(i)*time.Second), words.Request{Bucket: artifacts, Key: p.servesAt(at) + file, Op: "REST.GET.OBJECT", User: who, Address: address, Agent: agent, Bytes: size, Size: size})
	}
}

// night is somebody on call who looks into a model server's trouble.
func (m *month) night(d time.Time) {
	p := m.projects[m.Rand.IntN(len(m.projects))]
	if all := p.of(oncall, d); len(all) > 0 {
		at := d.Add(time.Hour + time.Duration(m.Rand.IntN(4*3600))*time.Second)
		who := all[m.Rand.IntN(len(all))]
		m.fetchModel(p, at, who.name, who.home, boto)
		m.Access(at.Add(time.Minute), who.name, who.home, "GET", "/api/2.0/mlflow/registered-models/get", "mlflow-python-client/"+m.Options.MLflow)
	}
}

// resync is the backup, which reads everything of the last week again.
func (m *month) resync(d time.Time) {
	at := d.Add(4 * time.Hour)
	for _, p := range m.projects {
		m.S3(at, words.Request{Bucket: datasets, Op: "REST.GET.BUCKET", User: backup.name, Address: backup.address, Agent: backup.agent, Bytes: 40_000})
		for _, key := range p.files[max(0, len(p.files)-42):] {
			at = at.Add(time.Second)
			m.S3(at, words.Request{Bucket: datasets, Key: key, Op: "REST.GET.OBJECT", User: backup.name, Address: backup.address, Agent: backup.agent, Bytes: 40 << 20, Size: 40 << 20})
		}
	}
}

// migrate copies one project's files to their new place, within the account.
func (m *month) migrate(d time.Time) {
	p := m.projects[len(m.projects)-1]
	at := d.Add(5 * time.Hour)
	for _, key := range p.files[max(0, len(p.files)-120):] {
		at = at.Add(time.Second)
		r := words.Request{Bucket: datasets, Key: key, Op: "REST.COPY.OBJECT_GET", User: migrator.name, Address: migrator.address, Agent: migrator.agent, Size: 40 << 20}
		m.S3(at, r)
		r.Op, r.Key = "REST.COPY.OBJECT", p.name+"/archive/"+key[len(p.name)+1:]
		m.S3(at, r)
	}
}

// serve is what goes on all day: model servers that load their model, and a
// website that nobody watches.
func (m *month) serve(d time.Time, lines int) {
	for n := 0; n < lines; {
		at := d.Add(time.Duration(m.Rand.IntN(86400)) * time.Second)
		if m.Rand.IntN(2) == 0 {
			m.fetchModel(m.projects[m.Rand.IntN(len(m.projects))], at, serving.name, serving.address, serving.agent)
			n += 2
			continue
		}
		m.S3(at, words.Request{Bucket: website, Key: fmt.Sprintf("img/%d.png", m.Rand.IntN(500)), Op: "REST.GET.OBJECT", Address: fmt.Sprintf("203.0.113.%d", m.Rand.IntN(250)), Agent: "Mozilla/5.0", Bytes: 20_000, Size: 20_000})
		n++
	}
}
