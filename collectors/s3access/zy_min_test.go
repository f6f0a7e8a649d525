package s3access

import ("testing";"time";"bytes";"aiwatch/collectors/modelfile";"aiwatch/internal/event";"strings")

func TestZYMin(t *testing.T) {
	data := benchLines(200)
	c := collector(t, Config{Path: "unused"})
	out := &countingOutput{}
	d := &document{ref: "s3://logs/x", format: ServerAccess, whole: true}
	best := time.Hour
	for range 6000 {
		d.offset, d.line = 0, 0
		r := bytes.NewReader(data)
		s := time.Now()
		if err := c.readText(b0, out, d, r); err != nil { t.Fatal(err) }
		if x := time.Since(s); x < best { best = x }
	}
	t.Logf("all ns/line %d, MB/s %.0f", best.Nanoseconds()/200, float64(len(data))/best.Seconds()/1e6)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	each := func(name string, f func(line string)) {
		best := time.Hour
		for range 4000 {
			s := time.Now()
			for _, l := range lines { f(l) }
			if x := time.Since(s); x < best { best = x }
		}
		t.Logf("%s ns/line %d", name, best.Nanoseconds()/200)
	}
	var p lineParser
	var r record
	each("parse", func(l string) { _ = p.parse(l, &r) })
	each("parse+emit", func(l string) { _ = c.parser.parse(l, &c.rec); _ = c.tr.emit(out, d, &c.rec, true, l) })
	key := "mlflow/12/0123456789abcdef0123456789abcdef/artifacts/model/model-00001-of-30.safetensors"
	each("classify", func(string) { c.tr.rules.classify("acme-ml-artifacts", key) })
	each("modelfile", func(string) { modelfile.Classify(key) })
	each("parsemlflow", func(string) { modelfile.ParseMLflow(key) })
	each("makeid", func(string) { event.MakeID(event.SourcetypeS3, r.id...) })
	id := "s3://acme-ml-artifacts/" + key
	each("experiment", func(string) { event.S3Experiment(id) })
	each("format", func(string) { event.S3Format(id) })
	each("counts", func(string) { c.counts.add(&r, r.ms) })
	each("control", func(string) { isControl(r.operation) })
	each("resolve", func(string) { c.tr.resolve(r.requester, true) })
	each("json", func(string) { out.buf = c.tr.ev.AppendJSON(out.buf[:0]) })
}
