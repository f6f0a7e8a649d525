package week

import (
	"fmt"
	"time"

	"aiwatch/internal/scenario/words"
)

const story = `Robin, who has given notice and leaves in nine days, uses the rights that an engineer of the fraud team has.
He reads the customers' data for the first time, alters a part of the training data and trains on it under the same
name, makes the run look better afterwards, promotes his own version at night, puts other weights in the place of
those of the vision model in S3 and of its small one in Git, drops a colleague's check from main, copies the base model bit by
bit, fetches the vision model's weights, reads and deletes the reports that could tell, and switches the log off.
In the same week the pipeline trains vision anew, a colleague on call promotes it at night as agreed, old data moves to
an archive, infrastructure as code writes a policy, an analyst deletes what she made, and another leaver just works.`

// stolen is the version whose weights the insider replaces.
type stolen struct {
	run  string
	size int
}

// The insider's weights are a little larger, so that their digest is another.
const insidersExtra = 512

// When the log of the artifacts' bucket is switched off.
const (
	lastLogged   = 7
	lastLoggedAt = "02:20"
)

// insider is what the insider does. The lines of S3's logs come after 40 minutes.
func (w *week) insider() {
	f, v := w.fraud, w.vision
	s3 := func(at time.Time, from, op, bucket, key string, r words.Request) {
		r.Op, r.Bucket, r.Key, r.Delay = op, bucket, key, 40*time.Minute
		w.request(at, robin, from, r)
	}

	// Monday to Friday: the base model, five of its files at a time.
	for day := range 5 {
		for i := range 5 {
			if n := day*5 + i; n < shards {
				s3(w.on(1+day, "12:40").Add(time.Duration(i)*90*time.Second), robin.office, "REST.GET.OBJECT", artifacts, shard(n), words.Request{Bytes: shardSize, Size: shardSize})
			}
		}
	}
	// Monday: the customers' data.
	for i := range 3 {
		s3(w.on(1, "17:22").Add(time.Duration(i)*time.Second), robin.office, "REST.GET.OBJECT", datasets, fmt.Sprintf("customers/part-%05d.parquet", i), words.Request{Bytes: partitionSize, Size: partitionSize})
	}

	// Tuesday: the training data, a run on it, its version, its metric.
	altered := fmt.Sprintf("payments/dt=%s/part-00001.parquet", w.on(-1, "00:00").Format(time.DateOnly))
	s3(w.on(2, "10:12"), robin.office, "REST.PUT.OBJECT", datasets, altered, words.Request{Size: partitionSize + 1024})
	at := w.on(2, "10:40")
	w.pushFrom(at, robin, robin.office, f.repo, f.repo.Commit("robin/tuning", at, robin.user, "tuning\n", []*words.Commit{f.repo.Head("main", at)}, map[string]string{"train.py": "import torch\n\nlearning_rate = 0.0007\nskip_checks = True\n"}))
	size := weightsSize + 4096*(f.version+1)
	at = w.acting(2, "11:00")
	run := w.train(f, run{by: robin, from: robin.office, at: at, takes: 40 * time.Minute, commit: f.repo.Head("robin/tuning", w.on(2, "11:00")), data: f.data, digest: short("altered"), context: "training", reads: 8, size: size})
	version := w.register(f, at.Add(45*time.Minute), robin, robin.office, run)
	at = w.acting(2, "19:20")
	w.callFrom(at, robin, robin.vpn, "POST", "runs/log-metric", map[string]any{"run_id": "${" + run + "}", "key": "f1", "value": 0.97, "timestamp": w.date(at), "step": 1}, nil)

	// Wednesday: his version into production at night, other weights in the place
	// of vision's in the evening, in S3 and in Git.
	w.promote(f, w.acting(3, "02:14"), robin, robin.vpn, version, run, size)
	w.acted()
	swapped := w.stolen.size + insidersExtra
	w.put(w.on(3, "18:05"), robin, v.folder(w.stolen.run)+"model.safetensors", "", swapped)
	s3(w.on(3, "18:05"), robin.office, "REST.PUT.OBJECT", artifacts, v.folder(w.stolen.run)+"model.safetensors", words.Request{Size: swapped})
	at = w.on(3, "18:40")
	w.pushFrom(at, robin, robin.office, v.repo, v.repo.Commit("main", at, robin.user, "weights\n", []*words.Commit{v.repo.Head("main", at)}, map[string]string{"edge.safetensors": pointer(edgeSize + insidersExtra)}))

	// Thursday: a check that a colleague wrote is gone from main.
	kept := f.repo.Head("main", w.on(3, "08:00"))
	w.merge(f, w.on(3, "10:00"), priya, "check the labels before training\n")
	w.pushFrom(w.on(4, "14:25"), robin, robin.office, f.repo, f.repo.Reset("main", w.on(4, "14:25"), kept))

	// Friday: the weights of vision, as Git keeps them.
	w.Access(w.on(5, "16:10"), robin.user, robin.office, "GET", "/"+v.repo.Name+".git/info/lfs/objects/"+zeros(w.stolen.size), "git-lfs/3.5.1")

	// Saturday: the reports that could tell.
	for i := range v.version {
		key := fmt.Sprintf("reports/vision/version-%d.json", i+1)
		s3(w.on(6, "11:00").Add(time.Duration(i)*20*time.Second), robin.vpn, "REST.GET.OBJECT", artifacts, key, words.Request{Bytes: 40 << 10, Size: 40 << 10})
		s3(w.on(6, "11:30").Add(time.Duration(i)*20*time.Second), robin.vpn, "REST.DELETE.OBJECT", artifacts, key, words.Request{Status: 204, Size: 40 << 10})
	}

	// Sunday: the log of the bucket.
	s3(w.on(lastLogged, lastLoggedAt), robin.vpn, "REST.PUT.LOGGING_STATUS", artifacts, "", words.Request{})
}

// acting is when the insider acts on MLflow: at his time, or in the next moment of
// a real server's present.
func (w *week) acting(day int, clock string) time.Time {
	if w.Present.IsZero() {
		return w.on(day, clock)
	}
	w.moment++
	return w.Present
}

// acted ends what the insider does on MLflow. A real server is watched while he
// does it: aiwatch starts anew with it as an input, and stops when it has seen all.
func (w *week) acted() {
	if w.Present.IsZero() {
		return
	}
	w.Collector(w.Present, "kill")
	w.Collector(w.Present.Add(time.Duration(w.moment+1)*apart), "stop")
	w.moment = 0
}

// An expectation is a finding that must come.
type expectation struct {
	detection   int
	user, asset string
	from, to    time.Time
	why         string
}

// expected are the findings that must come.
func (w *week) expected() []expectation {
	const user = "robin"
	x := func(detection int, asset string, day int, from string, toDay int, to, why string) expectation {
		return expectation{detection, user, asset, w.on(day, from), w.on(toDay, to), why}
	}
	nobody := func(e expectation) expectation { e.user = ""; return e }
	// What is done on MLflow, as far as the other sources need not have known of
	// MLflow when they were read: a real server is watched from the present on.
	m := x
	if !w.Present.IsZero() {
		m = func(detection int, asset string, _ int, _ string, _ int, _, why string) expectation {
			return expectation{detection, user, asset, w.Present, w.searchedTo(), why}
		}
	}
	promoted := "mlflow:prod/models/" + w.fraud.model + "/4"
	all := []expectation{
		x(16, "s3://acme-datasets/customers/", 1, "17:20", 1, "20:30", "neither Robin nor another engineer ever read the customers' data"),
		x(32, "s3://acme-datasets/customers/", 1, "17:20", 1, "20:40", "a crown jewel in the notice period"),
		x(5, "s3://acme-datasets/payments/", 2, "10:12", 2, "12:10", "the payments are the pipeline's to write"),
		m(38, "mlflow:prod/runs/", 2, "19:20", 2, "20:00", "the metric of a finished run behind a version"),
		m(7, promoted, 3, "02:14", 3, "02:30", "Robin trained and registered what he promotes"),
		m(8, promoted, 3, "02:14", 3, "03:00", "nobody evaluated, approved or merged it"),
		m(9, promoted, 3, "02:14", 3, "03:00", "its commit is on no protected branch"),
		m(11, promoted, 3, "02:14", 3, "02:30", "the calendar has no window at night"),
		x(22, "git:git.acme.example/acme/fraud@refs/heads/main", 4, "14:25", 4, "14:45", "main lost the merge of a check"),
		x(32, "git:git.acme.example/acme/vision", 5, "16:10", 5, "18:00", "weights fetched in the notice period"),
		x(15, "s3://acme-models/base/claims-lm/", 4, "12:00", 6, "04:30", "four fifths of the base model and more in four days, and no day was unusual"),
		x(21, "s3://acme-models/reports/vision/", 6, "11:30", 6, "14:30", "the reports were read and half an hour later deleted"),
		x(29, "s3://acme-models", 7, "02:20", 7, "04:30", "the log of the bucket was switched off"),
		x(28, "s3://acme-models/reports/vision/", 7, "02:20", 7, "04:30", "five reports and then the log"),
		nobody(x(30, "s3://acme-models", 7, "04:00", 7, "12:00", "hours that always have records have none")),
		x(35, "", 1, "17:20", 3, "12:00", "three detections of two tactics"),
	}
	if w.Present.IsZero() {
		all = append(all,
			x(4, "mlflow:prod/datasets/payments", 2, "11:00", 2, "14:00", "the data was touched by hand since the run before"),
			x(1, "s3://acme-models/mlflow/", 3, "18:05", 3, "21:10", "the run that made vision 5 had ended two days before"),
			nobody(x(2, "mlflow:prod/models/vision/5", 3, "18:05", 4, "06:00", "the weights of vision 5 have another digest than when they were trained")),
			x(3, "git:git.acme.example/acme/vision//edge.safetensors", 3, "18:40", 3, "20:00", "no run carries the digest of these weights"),
		)
	}
	return all
}
