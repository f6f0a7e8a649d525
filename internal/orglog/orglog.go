// Package orglog makes the S3 access logs of a small organisation that does not
// exist: people, training jobs, pipelines, builds and model servers at work in
// one week, in server access log lines as S3 writes and delivers them, with the
// truth of what a collector must make of them.
//
// The demonstration, the kill test and the benchmarks read them. The same
// Options give the same bytes. Lines are made record by record and delivered
// hour by hour, so that millions need little memory; the truth takes 16 bytes a
// record.
//
// The package writes lines and reads none: it shares no code with the collector
// that it tests, but for the event's identity, which is the schema's.
package orglog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"aiwatch/internal/event"
)

// Layout is how log objects are named.
type Layout int

// The layouts of S3's log delivery.
const (
	Flat      Layout = iota // logs/2026-11-23-10-00-00-0123456789ABCDEF
	DailyPath               // logs/<account>/<region>/<bucket>/2026/11/23/...
	EventPath               // the same by the event's day, the time in the name 00-00-00
)

// Options say what is made. Their zero values are filled in.
type Options struct {
	Seed uint64
	// Start and End bound the records; a week up to now by default is the
	// caller's to say, for the package knows no clock.
	Start, End time.Time
	Records    int    // about how many; 20,000 by default
	Prefix     string // of the log objects, "logs/" by default
	Layouts    []Layout
	PerObject  int // records of one log object at most; 400 by default
	// Shares of records that are delivered twice, come days late, are damaged;
	// negative is none. By default one in 200, 100 and 2,000.
	Doubled, Late, Damaged float64
}

// The organisation's buckets, and those to name in watch_buckets.
const (
	ArtifactBucket = "acme-ml-artifacts"
	DataBucket     = "acme-datasets"
	WebBucket      = "acme-website"

	account = "111122223333"
	region  = "eu-west-1"
)

// A Truth is what a collector must make of the logs. Ids stand once for each
// record, however often it was delivered.
type Truth struct {
	Assets  []event.ID // records on AI assets
	Control []event.ID // control operations on the three buckets
	Other   []event.ID // everything else: sent with scope = all only
	Damaged []event.ID // lines that can't be read

	Lines   int   // lines delivered
	Bytes   int64 // of the lines, newlines included
	Objects int
	Doubled int // lines that were delivered a second time
	Late    int // records that came more than a day late
}

// Put stores one log object. The body is valid during the call only.
type Put func(name string, delivered time.Time, body []byte) error

// WriteFolder writes the logs below dir, the names of the log objects as paths.
func WriteFolder(dir string, o Options) (Truth, error) {
	return Write(o, func(name string, delivered time.Time, body []byte) error {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return err
		}
		return os.Chtimes(path, delivered, delivered)
	})
}

// Write makes the logs and puts them, in the order of their delivery.
func Write(o Options, put Put) (Truth, error) {
	o.fill()
	w := &writer{o: o, put: put, rnd: rand.New(rand.NewPCG(o.Seed, 0x61697761746368)), late: map[int64][]lateLine{}}
	w.org = newOrganisation(w.rnd)
	hours := int64(o.End.Sub(o.Start)/time.Hour) + 1
	weights := make([]float64, hours)
	var sum float64
	for h := range weights {
		weights[h] = busyness(o.Start.Add(time.Duration(h) * time.Hour))
		sum += weights[h]
	}
	made := 0
	var share float64
	for h := range hours {
		share += weights[h]
		from := o.Start.Add(time.Duration(h) * time.Hour)
		span := min(o.End.Sub(from), time.Hour)
		for n := int(share/sum*float64(o.Records)) - made; n > 0 && span > 0; n-- {
			w.record(from.Add(time.Duration(w.rnd.Int64N(int64(span)))).Truncate(time.Second), h)
			made++
		}
		if err := w.deliver(h); err != nil {
			return w.truth, err
		}
	}
	for h := hours; len(w.late) > 0; h++ {
		if err := w.deliver(h); err != nil {
			return w.truth, err
		}
	}
	return w.truth, nil
}

func (o *Options) fill() {
	if o.Records == 0 {
		o.Records = 20_000
	}
	if o.Prefix == "" {
		o.Prefix = "logs/"
	}
	if len(o.Layouts) == 0 {
		o.Layouts = []Layout{Flat}
	}
	if o.PerObject == 0 {
		o.PerObject = 400
	}
	for _, share := range []struct {
		v     *float64
		usual float64
	}{{&o.Doubled, 1. / 200}, {&o.Late, 1. / 100}, {&o.Damaged, 1. / 2000}} {
		if *share.v == 0 {
			*share.v = share.usual
		}
	}
}

// busyness is how much happens in an hour: people work on weekdays, jobs always.
func busyness(at time.Time) float64 {
	at = at.UTC()
	b := 1.0
	if d := at.Weekday(); d != time.Saturday && d != time.Sunday && at.Hour() >= 7 && at.Hour() < 19 {
		b += 4
	}
	if at.Hour() == 2 { // the nightly training
		b += 3
	}
	return b
}

// A lateLine is a line that waits for its delivery.
type lateLine struct {
	at     time.Time
	bucket string
	text   string
}

// A writer makes and delivers lines.
type writer struct {
	o     Options
	put   Put
	rnd   *rand.Rand
	org   *organisation
	truth Truth

	line  []byte
	hour  []lateLine           // to be delivered in this hour
	late  map[int64][]lateLine // by hour of delivery
	body  []byte
	count uint64
}

// record makes one act, which is one or more lines, at a moment of hour h.
func (w *writer) record(at time.Time, h int64) {
	act := w.org.act(w.rnd, at)
	for i := range act {
		w.add(&act[i], h)
	}
}

// add makes one line, tells the truth about it, and has it delivered.
func (w *writer) add(a *access, h int64) {
	w.count++
	if a.requestID == "" {
		a.requestID = w.requestID()
	}
	w.line = a.appendLine(w.line[:0], w.rnd)
	text := string(w.line)
	id := event.MakeID(event.SourcetypeS3, a.requestID, a.operation, a.rawKey(), or(a.version, "-"))
	switch {
	case w.chance(w.o.Damaged):
		text = damage(text, w.rnd)
		sum := sha256.Sum256([]byte(text))
		w.truth.Damaged = append(w.truth.Damaged, event.MakeID(event.SourcetypeS3, "record.damaged", hex.EncodeToString(sum[:])))
	case a.control:
		w.truth.Control = append(w.truth.Control, id)
	case a.asset:
		w.truth.Assets = append(w.truth.Assets, id)
	default:
		w.truth.Other = append(w.truth.Other, id)
	}
	line := lateLine{a.at, a.bucket, text}
	delay := int64(0)
	if w.chance(w.o.Late) {
		delay = 2 + w.rnd.Int64N(24)
		if w.rnd.IntN(10) == 0 {
			delay = 25 + w.rnd.Int64N(96)
			w.truth.Late++
		}
	}
	w.schedule(line, h, delay)
	if w.chance(w.o.Doubled) {
		w.truth.Doubled++
		w.schedule(line, h, w.rnd.Int64N(6))
	}
}

func (w *writer) schedule(line lateLine, h, delay int64) {
	if delay == 0 {
		w.hour = append(w.hour, line)
		return
	}
	w.late[h+delay] = append(w.late[h+delay], line)
}

func (w *writer) chance(share float64) bool { return share > 0 && w.rnd.Float64() < share }

func (w *writer) requestID() string {
	var b [8]byte
	v := w.rnd.Uint64()
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	return upperHex(b[:])
}

func upperHex(b []byte) string {
	const hexDigits = "0123456789ABCDEF"
	out := make([]byte, 2*len(b))
	for i, c := range b {
		out[2*i], out[2*i+1] = hexDigits[c>>4], hexDigits[c&15]
	}
	return string(out)
}

// deliver puts what is due in hour h: some minutes to an hour after it, each
// bucket's lines in no particular order.
func (w *writer) deliver(h int64) error {
	due := append(w.hour, w.late[h]...)
	delete(w.late, h)
	w.hour = w.hour[:0]
	w.rnd.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	end := w.o.Start.Add(time.Duration(h+1) * time.Hour)
	n := 0
	for _, bucket := range []string{ArtifactBucket, DataBucket, WebBucket} {
		for _, layout := range w.layoutsOf(bucket) {
			byDay := map[string][]lateLine{}
			var days []string
			for _, line := range due {
				if line.bucket != bucket {
					continue
				}
				day := ""
				if layout == EventPath {
					day = line.at.UTC().Format("2006/01/02/2006-01-02-00-00-00-")
				}
				if byDay[day] == nil {
					days = append(days, day)
				}
				byDay[day] = append(byDay[day], line)
			}
			for _, day := range days {
				lines := byDay[day]
				for len(lines) > 0 {
					take := min(len(lines), w.o.PerObject)
					delivered := end.Add(time.Duration(n*7) * time.Second)
					n++
					if err := w.object(layout, bucket, day, delivered, lines[:take]); err != nil {
						return err
					}
					lines = lines[take:]
				}
			}
		}
	}
	return nil
}

// layoutsOf spreads the layouts over the buckets: each bucket's log has one.
func (w *writer) layoutsOf(bucket string) []Layout {
	at := map[string]int{ArtifactBucket: 0, DataBucket: 1, WebBucket: 2}[bucket]
	return []Layout{w.o.Layouts[at%len(w.o.Layouts)]}
}

func (w *writer) object(layout Layout, bucket, day string, delivered time.Time, lines []lateLine) error {
	name := w.o.Prefix
	if layout != Flat {
		name += account + "/" + region + "/" + bucket + "/"
	}
	switch layout {
	case Flat:
		name += delivered.UTC().Format("2006-01-02-15-04-05-")
	case DailyPath:
		name += delivered.UTC().Format("2006/01/02/2006-01-02-15-04-05-")
	case EventPath:
		name += day
	}
	name += w.requestID()
	w.body = w.body[:0]
	for _, line := range lines {
		w.body = append(append(w.body, line.text...), '\n')
	}
	w.truth.Lines += len(lines)
	w.truth.Bytes += int64(len(w.body))
	w.truth.Objects++
	if err := w.put(name, delivered, w.body); err != nil {
		return fmt.Errorf("put log object %s: %w", name, err)
	}
	return nil
}

// damage makes a line unreadable, as a delivery that broke off does, or another
// program that writes into the same place.
func damage(line string, rnd *rand.Rand) string {
	switch rnd.IntN(3) {
	case 0:
		return line[:60+rnd.IntN(100)]
	case 1:
		return fmt.Sprintf("Nov %d 10:00:00 host program[%d]: message %d", 1+rnd.IntN(28), rnd.IntN(1<<15), rnd.Uint64())
	}
	return fmt.Sprintf("%x\x00\x1b[2J%s", rnd.Uint64(), line[:40])
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
