package week

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"aiwatch/internal/scenario/words"
)

// Files of a dataset a day, and sizes of files in bytes.
const (
	partitions    = 4
	edgeSize      = 64 << 10
	weightsSize   = 256 << 10
	partitionSize = 4 << 20
	shardSize     = 60 << 20
)

// shards are the files of the base model that claims are written with.
const shards = 24

// tell tells all of it: first what changes models and repositories, in the order
// of time, then the work that goes on beside it.
func (w *week) tell() {
	w.before()
	for day := -historyDays; day < 0; day++ {
		switch day {
		case -17, -10:
			w.release(w.fraud, day, w.fraud.engineers[-day%2])
		case -18, -11, -4:
			w.release(w.vision, day, w.vision.engineers[-day%2])
		case -2:
			w.merge(w.vision, w.on(day, "15:00"), paul, "photos taken at night\n")
		}
	}
	w.lookalikes()
	w.insider()
	days := watchedDays
	if !w.Present.IsZero() {
		days++ // up to the present
	}
	for day := -historyDays; day < days; day++ {
		w.services(day)
		if works(day) {
			w.office(day)
		}
	}
}

// before is what was there before the logs begin: experiments, models,
// repositories, and what served.
func (w *week) before() {
	for i, p := range []*project{w.fraud, w.vision} {
		at := w.on(-40, "09:00").Add(time.Duration(i) * time.Minute)
		w.push(at, p.lead, p.repo, p.repo.Commit("main", at, p.lead.user, "train "+p.name+"\n", nil, map[string]string{
			"README.md": "# " + p.name + "\n", "train.py": "import torch\n", "requirements.txt": "torch==2.6\n",
		}))
		w.call(at, p.lead, "POST", "experiments/create", map[string]any{"name": p.model}, map[string]any{"E_" + p.name: "experiment_id"})
		w.call(at, p.lead, "POST", "registered-models/create", map[string]any{"name": p.model}, nil)
		w.release(p, -39, p.engineers[0])
	}
	at := w.on(-40, "10:00")
	w.push(at, ines, w.features, w.features.Commit("main", at, ines.user, "features for all\n", nil, map[string]string{"features.py": "import pandas\n"}))
}

// services is what runs by itself on a day.
func (w *week) services(day int) {
	w.partition(w.fraud, day)
	w.partition(w.vision, day)
	for i := range 2 {
		w.read(w.on(day, "03:30").Add(time.Duration(i)*time.Second), pipeline, pipeline.office, datasets, fmt.Sprintf("customers/part-%05d.parquet", i), partitionSize)
	}
	if weekday(day) == time.Sunday {
		for i := range shards {
			w.read(w.on(day, "04:00").Add(time.Duration(i)*time.Second), pipeline, pipeline.office, artifacts, shard(i), shardSize)
		}
	}
	for hour := range 24 {
		for i, p := range []*project{w.fraud, w.vision} {
			w.load(p, w.on(day, "00:07").Add(time.Duration(hour)*time.Hour+time.Duration(i*9+w.Rand.IntN(300))*time.Second), serving, serving.office)
		}
	}
}

// office is a working day of everybody, without what changes anything that
// serves.
func (w *week) office(day int) {
	at := func() time.Time { return w.on(day, "08:30").Add(time.Duration(w.Rand.IntN(8*3600)) * time.Second) }
	for _, p := range []*project{w.fraud, w.vision} {
		for _, one := range p.engineers {
			from := one.office
			if w.Rand.IntN(4) == 0 {
				from = one.vpn
			}
			w.sample(p, at(), one, from, 5+w.Rand.IntN(6))
			w.fetch(at(), one, from, p.repo)
			// Nor does anybody take up what the insider drops.
			if w.Rand.IntN(2) == 0 && (p == w.vision || day != 3 && day != 4) {
				w.topic(p, at(), one, from)
			}
			// Nobody trains between the pipeline's run and the insider's weights, nor
			// on the day of his. To a real server, whose calls take their time, only
			// runs behind versions are told.
			if w.Present.IsZero() && w.Rand.IntN(3) == 0 && (p == w.fraud && day != 2 || p == w.vision && (day < 0 || day > 3)) {
				w.train(p, run{by: one, from: from, at: at(), takes: 40 * time.Minute, data: p.data, context: "training", reads: 8})
			}
		}
		w.load(p, at(), p.lead, p.lead.office)
		w.fetch(at(), p.lead, p.lead.office, p.repo)
		w.fetch(at(), p.lead, p.lead.office, w.features)
	}
	w.sample(w.fraud, at(), lukas, lukas.office, 6+w.Rand.IntN(6))
	if day != 4 {
		w.sample(w.vision, at(), sofia, sofia.office, 6+w.Rand.IntN(6))
	}
	w.read(at(), hana, hana.office, datasets, "customers/part-00000.parquet", partitionSize)
	w.sample(w.fraud, at(), hana, hana.office, 2)
	for _, one := range []*person{jonas, lea} {
		w.load(w.vision, at(), one, one.office)
		w.Access(at(), one.user, one.office, "GET", "/api/2.0/mlflow/registered-models/search", "mlflow-python-client/"+w.Options.MLflow)
	}
}

// partition is the nightly refresh of a dataset: new files, each written once.
func (w *week) partition(p *project, day int) {
	at := w.on(day, "02:00").Add(time.Duration(len(p.data)) * time.Minute)
	for i := range partitions {
		w.write(at.Add(time.Duration(7*i)*time.Second), pipeline, pipeline.office, datasets, p.partition(at, i), partitionSize)
	}
}

// partition is a file of the dataset, of a day.
func (p *project) partition(day time.Time, i int) string {
	return fmt.Sprintf("%s/dt=%s/part-%05d.parquet", p.data, day.Format(time.DateOnly), i)
}

// digest is what MLflow's clients compute of the dataset as it is on a day.
func (p *project) digest(day time.Time) string { return short(p.data + day.Format(time.DateOnly)) }

// short is a dataset's digest as MLflow's clients compute it.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// zeros is the digest of so many zero bytes, which weights are made of here.
func zeros(size int) string {
	sum := sha256.Sum256(make([]byte, size))
	return hex.EncodeToString(sum[:])
}

// pointer is the Git LFS pointer of weights.
func pointer(size int) string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", zeros(size), size)
}

func shard(i int) string {
	return fmt.Sprintf("base/claims-lm/model-%05d-of-%05d.safetensors", i+1, shards)
}

// sample reads some of the newest files of a dataset.
func (w *week) sample(p *project, at time.Time, who *person, from string, n int) {
	for i := range n {
		key := p.partition(at.AddDate(0, 0, -w.Rand.IntN(7)), w.Rand.IntN(partitions))
		w.read(at.Add(time.Duration(i)*time.Second), who, from, datasets, key, partitionSize)
	}
}

// load reads the files of the model that serves.
func (w *week) load(p *project, at time.Time, who *person, from string) {
	m := p.servesAt(at)
	w.read(at, who, from, artifacts, m.folder+"MLmodel", 2<<10)
	w.read(at.Add(time.Second), who, from, artifacts, m.folder+"model.safetensors", m.size)
}

// A run is what is trained or evaluated.
type run struct {
	by      *person
	from    string // address
	at      time.Time
	takes   time.Duration
	commit  *words.Commit // main's when nil
	data    string
	digest  string // of the data; the day's when empty
	context string // of the data: training or evaluation
	reads   int    // files of the data
	size    int    // of the weights; it logs no model when zero
}

// train is a run, with its inputs, metrics and files. It returns the variable of
// its id.
func (w *week) train(p *project, r run) string {
	id := fmt.Sprintf("R%d", w.ID())
	kind, source := "train", "train.py"
	if r.context == "evaluation" {
		kind, source = "evaluate", "evaluate.py"
	}
	if r.commit == nil {
		r.commit = p.repo.Head("main", r.at)
	}
	r.digest = cmp.Or(r.digest, p.digest(r.at))
	end := r.at.Add(r.takes)
	tags := []any{
		words.Tag("mlflow.user", r.by.user), words.Tag("mlflow.source.name", source), words.Tag("mlflow.source.git.commit", r.commit.ID),
		words.Tag("mlflow.source.git.repoURL", "https://git.acme.example/"+p.repo.Name+".git"),
	}
	w.callFrom(r.at, r.by, r.from, "POST", "runs/create", map[string]any{
		"experiment_id": "${E_" + p.name + "}", "user_id": r.by.user, "run_name": kind + "-" + r.at.Format("0102-1504"), "start_time": w.date(r.at), "tags": tags,
	}, map[string]any{id: "run.info.run_id"})
	w.callFrom(r.at.Add(20*time.Second), r.by, r.from, "POST", "runs/log-inputs", map[string]any{"run_id": "${" + id + "}", "datasets": []any{map[string]any{
		"tags":    []any{words.Tag("mlflow.data.context", r.context)},
		"dataset": map[string]any{"name": r.data, "digest": r.digest, "source_type": "s3", "source": `{"uri": "s3://` + datasets + "/" + r.data + `/"}`},
	}}}, nil)
	if r.data == p.data {
		w.sample(p, r.at.Add(30*time.Second), r.by, r.from, r.reads)
	} else {
		for i := range r.reads {
			w.read(r.at.Add(time.Duration(30+i)*time.Second), r.by, r.from, datasets, fmt.Sprintf("%s/part-%05d.parquet", r.data, i), partitionSize)
		}
	}
	w.callFrom(end.Add(-time.Minute), r.by, r.from, "POST", "runs/log-batch", map[string]any{
		"run_id": "${" + id + "}", "params": []any{words.Tag("lr", "0.001"), words.Tag("epochs", fmt.Sprint(3+w.Rand.IntN(20)))},
		"metrics": []any{map[string]any{"key": "f1", "value": float64(8000+w.Rand.IntN(900)) / 10000, "timestamp": w.date(end), "step": 1}},
	}, nil)
	if r.size > 0 {
		w.callFrom(end.Add(-50*time.Second), r.by, r.from, "POST", "runs/set-tag", map[string]any{"run_id": "${" + id + "}", "key": "weights.sha256", "value": zeros(r.size)}, nil)
		for i, file := range []string{"MLmodel", "requirements.txt", "model.safetensors"} {
			at, text, size := end.Add(time.Duration(i-40)*time.Second), "run_id: ${"+id+"}\n", 2<<10
			if file == "model.safetensors" {
				text, size = "", r.size
			}
			w.put(at, r.by, p.folder(id)+file, text, size)
			w.write(at, r.by, r.from, artifacts, p.folder(id)+file, size)
		}
	}
	w.callFrom(end, r.by, r.from, "POST", "runs/update", map[string]any{"run_id": "${" + id + "}", "status": "FINISHED", "end_time": w.date(end)}, nil)
	return id
}

// folder is where a run's model lies in the artifact bucket.
func (p *project) folder(run string) string {
	return "mlflow/${E_" + p.name + "}/${" + run + "}/artifacts/model/"
}

// register makes a version of a run's model.
func (w *week) register(p *project, at time.Time, by *person, from, run string) (version string) {
	p.version++
	source := "s3://" + artifacts + "/" + strings.TrimSuffix(p.folder(run), "/")
	if !w.Present.IsZero() {
		source = "runs:/${" + run + "}/model" // wherever the server keeps it
	}
	w.callFrom(at, by, from, "POST", "model-versions/create", map[string]any{
		"name": p.model, "source": source, "run_id": "${" + run + "}",
	}, nil)
	return fmt.Sprint(p.version)
}

// review is an evaluation by the lead, its report, and the approval.
func (w *week) review(p *project, at time.Time, version string, commit *words.Commit) {
	w.train(p, run{by: p.lead, from: p.lead.office, at: at, takes: 25 * time.Minute, commit: commit, data: "holdout", digest: short("holdout"), context: "evaluation", reads: 4})
	w.write(at.Add(26*time.Minute), p.lead, p.lead.office, artifacts, fmt.Sprintf("reports/%s/version-%s.json", p.name, version), 40<<10)
	w.call(at.Add(30*time.Minute), p.lead, "POST", "model-versions/set-tag", map[string]any{"name": p.model, "version": version, "key": "approved_by", "value": p.lead.user}, nil)
}

// promote makes a version the one that serves.
func (w *week) promote(p *project, at time.Time, by *person, from, version, run string, size int) {
	w.callFrom(at, by, from, "POST", "registered-models/alias", map[string]any{"name": p.model, "alias": "champion", "version": version}, nil)
	p.serves = append(p.serves, model{at.Add(time.Minute), p.folder(run), size})
}

// release is the way of a model into production: a change that the lead merges,
// a run from the merged commit, a version, its review, and the move of the alias
// by the lead.
func (w *week) release(p *project, day int, by *person) {
	merged := w.merge(p, w.on(day, "09:20"), by, "another learning rate\n")
	size := weightsSize + 4096*(p.version+1)
	run := w.train(p, run{by: by, from: by.office, at: w.on(day, "09:40"), takes: 70 * time.Minute, commit: merged, data: p.data, context: "training", reads: 12, size: size})
	version := w.register(p, w.on(day, "10:54"), by, by.office, run)
	w.review(p, w.on(day, "11:10"), version, merged)
	w.promote(p, w.on(day, "13:30"), p.lead, p.lead.office, version, run, size)
}

// merge is a branch with a change, and its merge into main by the lead.
func (w *week) merge(p *project, at time.Time, by *person, message string) *words.Commit {
	main := p.repo.Head("main", at.Add(-time.Hour))
	branch := fmt.Sprintf("%s/%d", by.user, w.ID())
	change := map[string]string{"train.py": fmt.Sprintf("import torch\n\nlearning_rate = %f\n", 0.0001*float64(1+w.Rand.IntN(50)))}
	w.push(at.Add(-time.Hour), by, p.repo, p.repo.Commit(branch, at.Add(-time.Hour), by.user, message, []*words.Commit{main}, change))
	topic := p.repo.Head(branch, at)
	w.push(at, p.lead, p.repo, p.repo.Commit("main", at, p.lead.user, "Merge "+branch+"\n", []*words.Commit{main, topic}, topic.Files))
	w.fetch(at.Add(20*time.Second), builds, builds.office, p.repo)
	return p.repo.Head("main", at.Add(time.Second))
}

// topic is work on a branch of one's own; now and then it is rebased.
func (w *week) topic(p *project, at time.Time, who *person, from string) {
	branch, message := who.user+"/wip", "work in progress\n"
	parent := p.repo.Head(branch, at)
	if parent == nil || w.Rand.IntN(4) == 0 {
		parent, message = p.repo.Head("main", at), "rebased\n"
	}
	w.pushFrom(at, who, from, p.repo, p.repo.Commit(branch, at, who.user, message, []*words.Commit{parent}, map[string]string{"notebook_" + who.user + ".py": fmt.Sprintf("x = %d\n", w.Rand.IntN(1000))}))
	w.fetch(at.Add(40*time.Second), builds, builds.office, p.repo)
}

// lookalikes is work of the watched week that looks like an insider's.
func (w *week) lookalikes() {
	v := w.vision
	// For the first time no person but a service trains vision, on the photos of
	// the night under their old name; the lead reviews the version, and notes its
	// weights in Git.
	commit, size := v.repo.Head("main", w.on(1, "03:00")), weightsSize+4096*(v.version+1)
	run := w.train(v, run{by: trainer, from: trainer.office, at: w.on(1, "03:00"), takes: 2 * time.Hour, commit: commit, data: v.data, context: "training", reads: 12, size: size})
	version := w.register(v, w.on(1, "05:05"), trainer, trainer.office, run)
	w.review(v, w.on(1, "09:35"), version, commit)
	w.push(w.on(1, "10:30"), nora, v.repo, v.repo.Commit("main", w.on(1, "10:30"), nora.user, "weights of version "+version+"\n", []*words.Commit{v.repo.Head("main", w.on(1, "10:30"))}, map[string]string{"model.safetensors": pointer(size), "edge.safetensors": pointer(edgeSize)}))
	// Whoever is on call promotes it at night, as agreed.
	w.load(v, w.on(2, "01:20"), jonas, jonas.vpn)
	w.promote(v, w.on(2, "01:30"), jonas, jonas.vpn, version, run, size)
	w.stolen = stolen{run: run, size: size}

	// Old payments move to an archive within the account.
	at := w.on(4, "05:00")
	for i := range 40 {
		key := w.fraud.partition(w.on(-historyDays+i/partitions, "00:00"), i%partitions)
		r := words.Request{Bucket: datasets, Key: key, Op: "REST.COPY.OBJECT_GET", Size: partitionSize}
		w.request(at.Add(time.Duration(i)*time.Second), migrator, migrator.office, r)
		r.Op, r.Key = "REST.COPY.OBJECT", "archive/"+key
		w.request(at.Add(time.Duration(i)*time.Second), migrator, migrator.office, r)
	}
	// A policy is written by infrastructure as code.
	w.request(w.on(3, "10:15"), terraform, terraform.office, words.Request{Bucket: datasets, Op: "REST.PUT.BUCKETPOLICY", Status: 204})
	// An analyst puts away what she made herself.
	for i := range 6 {
		key := fmt.Sprintf("scratch/sofia/sheet-%d.parquet", i)
		w.write(w.on(2, "11:00").Add(time.Duration(i)*time.Second), sofia, sofia.office, datasets, key, 200<<10)
		w.read(w.on(2, "14:00").Add(time.Duration(i)*time.Second), sofia, sofia.office, datasets, key, 200<<10)
		w.remove(w.on(2, "16:30").Add(time.Duration(i)*time.Second), sofia, sofia.office, datasets, key, 200<<10)
	}
	// She works from home for the first time.
	w.sample(v, w.on(4, "10:00"), sofia, sofia.vpn, 9)
	// A colleague who leaves as well goes on with his work.
	w.fetch(w.on(4, "11:20"), tomas, tomas.office, w.fraud.repo)
	w.fetch(w.on(4, "11:21"), tomas, tomas.office, w.features)
}

func (w *week) read(at time.Time, who *person, from, bucket, key string, size int) {
	w.request(at, who, from, words.Request{Op: "REST.GET.OBJECT", Bucket: bucket, Key: key, Bytes: size, Size: size})
}

func (w *week) write(at time.Time, who *person, from, bucket, key string, size int) {
	w.request(at, who, from, words.Request{Op: "REST.PUT.OBJECT", Bucket: bucket, Key: key, Size: size})
}

func (w *week) remove(at time.Time, who *person, from, bucket, key string, size int) {
	w.request(at, who, from, words.Request{Op: "REST.DELETE.OBJECT", Bucket: bucket, Key: key, Status: 204, Size: size})
}

// request tells of a request, while its bucket is logged.
func (w *week) request(at time.Time, who *person, from string, r words.Request) {
	if r.Bucket == artifacts && at.After(w.on(lastLogged, lastLoggedAt)) {
		return
	}
	r.User, r.Address, r.Agent = who.user, from, who.agent
	w.S3(at, r)
}

func (w *week) fetch(at time.Time, who *person, from string, r *words.Repository) {
	w.Access(at, who.user, from, "POST", "/"+r.Name+".git/git-upload-pack", "git/2.43.0")
}

func (w *week) push(at time.Time, who *person, r *words.Repository, stream string) {
	w.pushFrom(at, who, who.office, r, stream)
}

func (w *week) pushFrom(at time.Time, who *person, from string, r *words.Repository, stream string) {
	w.Push(at, who.user, from, r, stream)
}

func (w *week) call(at time.Time, who *person, method, path string, body, save map[string]any) {
	w.callFrom(at, who, who.office, method, path, body, save)
}

// callFrom tells of a call. To a real server it is told in the present when it is
// the insider's, and before the logs begin when it is another's.
func (w *week) callFrom(at time.Time, who *person, from, method, path string, body, save map[string]any) {
	switch {
	case w.Present.IsZero():
	case w.moment > 0:
		at = w.Present.Add(time.Duration(w.moment) * apart)
	case at.After(w.Present):
		return
	default:
		at = at.Add(w.Since.Sub(w.Present) - time.Minute)
	}
	w.Call(at, who.user, from, method, path, body, save)
}

// date is a date as a client sends it.
func (w *week) date(at time.Time) any {
	if w.moment > 0 {
		return "${CLOCK_MS}"
	}
	return at.UnixMilli()
}

// put stores an artifact. What lies in a real server's store is its own.
func (w *week) put(at time.Time, who *person, key, text string, size int) {
	if w.Present.IsZero() {
		w.Put(at, who.user, key, text, size)
	}
}
