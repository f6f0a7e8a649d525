package month

import (
	"fmt"
	"path"
	"time"

	"aiwatch/internal/scenario/words"
)

// A leftover is what somebody made for himself, and will not need for long.
type leftover struct {
	made   time.Time
	run    string   // of MLflow, its variable; empty for copies of data
	bucket string   // of the keys
	keys   []string // objects
}

// leave remembers what somebody made for himself.
func (p *person) leave(l leftover) { p.leftovers = append(p.leftovers, l) }

// takeLeftover is the oldest thing that somebody made for himself more than a
// day ago; he has it no more.
func (p *person) takeLeftover(now time.Time) (l leftover, ok bool) {
	if len(p.leftovers) == 0 || now.Sub(p.leftovers[0].made) < 24*time.Hour {
		return l, false
	}
	l, p.leftovers = p.leftovers[0], p.leftovers[1:]
	return l, true
}

// ownThings are what one makes for oneself on a working day, and removes.
func (m *month) ownThings(p *person, at func() time.Time, address string) {
	if m.Rand.IntN(4) == 0 {
		m.tidy(p, at(), address)
	}
	if m.Rand.IntN(8) == 0 {
		m.scratch(p, at(), address)
	}
	if m.Rand.IntN(25) == 0 {
		m.attempt(p, at(), address)
	}
}

// scratch is a copy of some of the newest files of a dataset for oneself: half
// of the people download and upload, the others let S3 copy.
func (m *month) scratch(p *person, at time.Time, address string) {
	newest := p.project.files[max(0, len(p.project.files)-42):]
	l := leftover{made: at, bucket: datasets}
	first := m.Rand.IntN(len(newest) - 6)
	copies := m.Rand.IntN(2) == 0
	for i, key := range newest[first : first+4+m.Rand.IntN(3)] {
		to := fmt.Sprintf("scratch/%s/%d-part-%05d.parquet", p.name, m.ID(), i)
		at := at.Add(time.Duration(2*i) * time.Second)
		read := words.Request{Bucket: datasets, Key: key, Op: "REST.GET.OBJECT", User: p.name, Address: address, Agent: boto, Bytes: 40 << 20, Size: 40 << 20}
		write := words.Request{Bucket: datasets, Key: to, Op: "REST.PUT.OBJECT", User: p.name, Address: address, Agent: boto, Size: 40 << 20}
		if copies {
			read.Op, read.Bytes, write.Op = "REST.COPY.OBJECT_GET", 0, "REST.COPY.OBJECT"
		}
		m.S3(at, read)
		m.S3(at.Add(time.Second), write)
		l.keys = append(l.keys, to)
	}
	p.leave(l)
}

// tidy is a person who looks once more at what he made for himself, and removes
// it: his copies of data, or a run that came to nothing, with its artifacts.
func (m *month) tidy(p *person, at time.Time, address string) {
	l, ok := p.takeLeftover(at)
	if !ok {
		return
	}
	r := words.Request{Bucket: l.bucket, User: p.name, Address: address, Agent: boto}
	looks := m.Rand.IntN(2) == 0
	many := m.Rand.IntN(2) == 0
	for i, key := range l.keys {
		at := at.Add(time.Duration(i) * time.Second)
		r.Key, r.Size = key, 2<<10
		switch path.Ext(key) {
		case ".parquet":
			r.Size = 40 << 20
		case ".safetensors":
			r.Size = 300 << 20
		}
		if looks {
			r.Op, r.Status, r.Bytes = "REST.GET.OBJECT", 200, r.Size
			m.S3(at, r)
		}
		r.Op, r.Status, r.Bytes = "REST.DELETE.OBJECT", 204, 0
		if many {
			r.Op = "BATCH.DELETE.OBJECT"
		}
		m.S3(at.Add(20*time.Minute), r)
	}
	if l.run != "" {
		m.Call(at.Add(25*time.Minute), p.name, address, "POST", "runs/delete", map[string]any{"run_id": "${" + l.run + "}"}, nil)
	}
}

// attempt is an experiment that somebody makes to try something, and removes
// before the evening.
func (m *month) attempt(p *person, at time.Time, address string) {
	id := fmt.Sprintf("A%d", m.ID())
	m.Call(at, p.name, address, "POST", "experiments/create", map[string]any{"name": fmt.Sprintf("%s tries %s", p.name, id)}, map[string]any{id: "experiment_id"})
	m.Call(at.Add(2*time.Hour), p.name, address, "POST", "experiments/delete", map[string]any{"experiment_id": "${" + id + "}"}, nil)
}

// checkpoints are what a training writes on its way; the retention job has them.
func (m *month) checkpoints(p *project, run string, end time.Time, who *person) {
	for i := range 2 {
		key := fmt.Sprintf("mlflow/${E_%s}/${%s}/artifacts/checkpoints/epoch-%d.ckpt", p.name, run, i+1)
		m.S3(end.Add(time.Duration(i-10)*time.Minute), words.Request{Bucket: artifacts, Key: key, Op: "REST.PUT.OBJECT", User: who.name, Address: who.office, Agent: boto, Size: 300 << 20})
		p.checkpoints = append(p.checkpoints, checkpoint{end, key})
	}
}

// A checkpoint is one that lies in the artifact bucket.
type checkpoint struct {
	written time.Time
	key     string
}

// retain is the nightly job that deletes checkpoints of two days ago, in one
// request with many keys where it can; and what S3 expires by its own rules,
// data of a month ago.
func (m *month) retain(d time.Time) {
	at := d.Add(3*time.Hour + 30*time.Minute)
	for _, p := range m.projects {
		var kept []checkpoint
		for i, c := range p.checkpoints {
			if d.Sub(c.written) < 48*time.Hour {
				kept = append(kept, c)
				continue
			}
			r := words.Request{Bucket: artifacts, Key: c.key, Op: "BATCH.DELETE.OBJECT", User: retention.name, Address: retention.address, Agent: retention.agent, Status: 204, Size: 300 << 20}
			if i%8 == 0 {
				r.Op = "REST.DELETE.OBJECT"
			}
			m.S3(at.Add(time.Duration(i)*time.Second), r)
		}
		p.checkpoints = kept
		for i := range 6 {
			key := fmt.Sprintf("%s/dt=%s/part-%05d.parquet", p.name, d.AddDate(0, 0, -30).Format("2006-01-02"), i)
			m.S3(d.Add(time.Duration(i)*time.Second), words.Request{Bucket: datasets, Key: key, Op: "S3.EXPIRE.OBJECT", Size: 40 << 20})
		}
	}
}
