package orglog

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An access is one request, as the log will tell it.
type access struct {
	at        time.Time
	bucket    string
	key       string // plain; empty for requests to the bucket
	who       *principal
	operation string
	method    string
	query     string
	status    int // 0 is written as "-"
	errorCode string
	sent      int64 // 0 is written as "-"
	size      int64
	version   string
	requestID string
	auth      string // "QueryString" or "-"; AuthHeader by default

	asset, control bool
}

// A principal is someone who makes requests.
type principal struct {
	arn, ip, agent string
	kind           kind
}

type kind int

const (
	person kind = iota
	trainer
	pipeline
	build
	server
	stranger
	service
)

// An organisation is who works there and what they work on.
type organisation struct {
	principals []*principal
	weights    []int
	total      int
	runs       []run
	datasets   []string
}

type run struct {
	experiment int
	id, logged string
}

const owner = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"

func newOrganisation(rnd *rand.Rand) *organisation {
	o := &organisation{datasets: []string{"churn", "fraud", "claims", "support tickets", "vision/street"}}
	add := func(weight int, p principal) {
		o.principals = append(o.principals, &p)
		o.weights = append(o.weights, weight)
		o.total += weight
	}
	sts := "arn:aws:sts::" + account + ":assumed-role/"
	for i, name := range []string{"alice", "bruno", "chen", "dilara", "emeka", "farah", "goran", "hana", "ines", "jonas", "kofi", "lena"} {
		agent := "Boto3/1.34.131 md/Botocore#1.34.131 ua/2.0 os/linux#5.15.0 md/arch#x86_64 lang/python#3.11.9 md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.34.131 Resource"
		if i%3 == 0 {
			agent = "aws-cli/2.15.58 Python/3.11.8 Linux/6.1.0-21-amd64 exe/x86_64.debian.12 prompt/off command/s3.cp"
		}
		add(6, principal{sts + "AWSReservedSSO_DataScientist_0123456789abcdef/" + name + "@acme.example", fmt.Sprintf("10.20.%d.%d", i, 10+i), agent, person})
	}
	for i := range 4 {
		add(40, principal{sts + "ml-training/i-0" + digits(rnd, 16), fmt.Sprintf("10.40.0.%d", 10+i), "aws-sdk-cpp/1.11.315 ua/2.0 md/aws-crt# os/Linux#5.10.218 lang/c++#C++11 md/GCC#10.2.1 api/S3 torch-connector-for-s3/1.2.3", trainer})
	}
	add(20, principal{"arn:aws:iam::" + account + ":user/pipelines/airflow", "10.50.0.5", "Boto3/1.34.131 md/Botocore#1.34.131 ua/2.0 os/linux#5.15.0 lang/python#3.10.14 cfg/retry-mode#standard apache-airflow/2.9.1", pipeline})
	add(10, principal{sts + "github-actions/GitHubActions", "192.0.2.77", "aws-sdk-js/3.590.0 ua/2.1 os/linux#6.5.0-1021-azure lang/js md/nodejs#20.13.1 api/s3#3.590.0", build})
	for i := range 3 {
		add(30, principal{sts + "model-serving/eks-prod-" + digits(rnd, 8), fmt.Sprintf("10.60.%d.8", i), "aws-sdk-go-v2/1.30.3 ua/2.1 os/linux lang/go#1.22.5 md/GOOS#linux md/GOARCH#amd64 api/s3#1.58.2 m/E,Z", server})
	}
	add(4, principal{"-", "198.51.100.23", "Mozilla/5.0 (compatible; scanner/1.0; +http://scan.example/\"about\")", stranger})
	add(3, principal{"AmazonS3", "-", "-", service})
	for e := range 12 {
		for range 8 {
			r := run{experiment: 1 + e, id: digits(rnd, 32)}
			if rnd.IntN(3) == 0 {
				r.logged = "m-" + digits(rnd, 32)
			}
			o.runs = append(o.runs, r)
		}
	}
	return o
}

func digits(rnd *rand.Rand, n int) string {
	const all = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = all[rnd.IntN(16)]
	}
	return string(b)
}

// act is what someone does: one or more accesses at about the same time.
func (o *organisation) act(rnd *rand.Rand, at time.Time) []access {
	p := o.pick(rnd, at)
	switch p.kind {
	case trainer:
		return o.train(rnd, p, at)
	case pipeline:
		return o.prepare(rnd, p, at)
	case build:
		return o.publish(rnd, p, at)
	case server:
		return []access{o.read(p, at, o.modelFile(rnd), rnd)}
	case stranger:
		a := access{at: at, bucket: WebBucket, key: "index.html", who: p, operation: "WEBSITE.GET.OBJECT", method: "GET", status: 200, sent: 5120, size: 5120, auth: "-"}
		if rnd.IntN(2) == 0 {
			a.bucket, a.key, a.operation, a.status, a.errorCode, a.sent, a.size = ArtifactBucket, "models/prod/model.onnx", "REST.GET.OBJECT", 403, "AccessDenied", 243, 0
			a.asset = true
		}
		return []access{a}
	case service:
		return []access{{at: at, bucket: DataBucket, key: fmt.Sprintf("staging/old %d.csv", rnd.IntN(100000)), who: p, operation: "S3.EXPIRE.OBJECT", size: 1 << 20, asset: true}}
	}
	return o.work(rnd, p, at)
}

func (o *organisation) pick(rnd *rand.Rand, at time.Time) *principal {
	for {
		n := rnd.IntN(o.total)
		i := 0
		for n >= o.weights[i] {
			n -= o.weights[i]
			i++
		}
		p := o.principals[i]
		hour := at.UTC().Hour()
		if p.kind == person && (hour < 7 || hour >= 19) && rnd.IntN(20) != 0 {
			continue
		}
		return p
	}
}

// work is what a data scientist does.
func (o *organisation) work(rnd *rand.Rand, p *principal, at time.Time) []access {
	switch rnd.IntN(12) {
	case 0:
		return []access{{at: at, bucket: ArtifactBucket, who: p, operation: "REST.GET.BUCKET", method: "GET", query: "list-type=2&prefix=mlflow%2F&delimiter=%2F", status: 200, sent: 3000 + rnd.Int64N(9000)}}
	case 1:
		return []access{{at: at, bucket: DataBucket, who: p, operation: "REST.GET.LOGGING_STATUS", method: "GET", query: "logging", status: 200, sent: 242}}
	case 2: // a copy is two records
		r := o.runs[rnd.IntN(len(o.runs))]
		size := 1<<20 + rnd.Int64N(1<<28)
		from := access{at: at, bucket: ArtifactBucket, key: r.path("model/model.safetensors"), who: p, operation: "REST.COPY.OBJECT_GET", method: "PUT", status: 200, size: size, asset: true}
		to := from
		to.key, to.operation, to.sent = fmt.Sprintf("scratch/%s/copy-%d.safetensors", digits(rnd, 4), rnd.IntN(1000)), "REST.COPY.OBJECT", 234
		return []access{from, to}
	case 3:
		return []access{{at: at, bucket: ArtifactBucket, key: fmt.Sprintf("scratch/notes %d.txt", rnd.IntN(500)), who: p, operation: "REST.PUT.OBJECT", method: "PUT", status: 200, size: 900}}
	case 4, 5:
		return []access{o.read(p, at, o.dataFile(rnd), rnd)}
	case 6:
		a := o.read(p, at, o.modelFile(rnd), rnd)
		a.operation, a.method, a.sent = "REST.HEAD.OBJECT", "HEAD", 0
		return []access{a}
	}
	a := o.read(p, at, o.modelFile(rnd), rnd)
	if rnd.IntN(200) == 0 {
		a.auth = "QueryString"
		a.query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&X-Amz-SignedHeaders=host"
	}
	return []access{a}
}

// train reads data in parts and writes a run's artifacts.
func (o *organisation) train(rnd *rand.Rand, p *principal, at time.Time) []access {
	if rnd.IntN(6) != 0 {
		return []access{o.read(p, at, o.dataFile(rnd), rnd)}
	}
	r := o.runs[rnd.IntN(len(o.runs))]
	key := r.path(fmt.Sprintf("checkpoints/epoch-%02d.ckpt", rnd.IntN(40)))
	upload := access{at: at, bucket: ArtifactBucket, key: key, who: p, operation: "REST.POST.UPLOADS", method: "POST", query: "uploads=", status: 200, sent: 350, asset: true}
	part := upload
	part.operation, part.method, part.query, part.sent, part.size = "REST.PUT.PART", "PUT", "partNumber=1&uploadId=abc", 0, 64<<20
	done := upload
	done.operation, done.query, done.size = "REST.POST.UPLOAD", "uploadId=abc", 64<<20
	return []access{upload, part, done}
}

// prepare writes datasets and cleans up, in batches that share a request id.
func (o *organisation) prepare(rnd *rand.Rand, p *principal, at time.Time) []access {
	if rnd.IntN(10) == 0 {
		batch := access{at: at, bucket: DataBucket, who: p, operation: "REST.POST.MULTI_OBJECT_DELETE", method: "POST", query: "delete=", status: 200, sent: 400, requestID: strings.ToUpper(digits(rnd, 16))}
		acts := []access{batch}
		for i := range 3 {
			one := batch
			one.operation, one.method, one.query, one.status, one.sent = "BATCH.DELETE.OBJECT", "", "", 204, 0
			one.key, one.asset = fmt.Sprintf("staging/tmp %s/part-%d.parquet", digits(rnd, 6), i), true
			acts = append(acts, one)
		}
		return acts
	}
	return []access{{at: at, bucket: DataBucket, key: o.dataFile(rnd), who: p, operation: "REST.PUT.OBJECT", method: "PUT", status: 200, size: 1<<20 + rnd.Int64N(1<<26), asset: true}}
}

// publish is what the build does, and now and then the change of a setting.
func (o *organisation) publish(rnd *rand.Rand, p *principal, at time.Time) []access {
	switch rnd.IntN(12) {
	case 0:
		return []access{{at: at, bucket: ArtifactBucket, who: p, operation: "REST.PUT.LIFECYCLE", method: "PUT", query: "lifecycle=", status: 200, control: true}}
	case 1, 2, 3:
		return []access{{at: at, bucket: WebBucket, key: fmt.Sprintf("assets/app-%s.js", digits(rnd, 8)), who: p, operation: "REST.PUT.OBJECT", method: "PUT", status: 200, size: 120_000}}
	}
	return []access{{at: at, bucket: ArtifactBucket, key: o.modelFile(rnd), who: p, operation: "REST.PUT.OBJECT", method: "PUT", status: 200, size: 1<<20 + rnd.Int64N(1<<28), asset: true}}
}

func (o *organisation) read(p *principal, at time.Time, key string, rnd *rand.Rand) access {
	a := access{at: at, bucket: ArtifactBucket, key: key, who: p, operation: "REST.GET.OBJECT", method: "GET", asset: true, query: "x-id=GetObject", size: 1<<20 + rnd.Int64N(1<<32)}
	if strings.HasPrefix(key, "raw/") || strings.HasPrefix(key, "curated/") {
		a.bucket = DataBucket
	}
	a.status, a.sent = 206, min(a.size, 8<<20)
	switch rnd.IntN(30) {
	case 0:
		a.status, a.errorCode, a.sent, a.size = 404, "NoSuchKey", 290, 0
	case 1:
		a.status, a.sent = 304, 0
	case 2:
		a.version = digits(rnd, 32)
	}
	return a
}

func (r *run) path(file string) string {
	if r.logged != "" {
		return fmt.Sprintf("mlflow/%d/models/%s/artifacts/%s", r.experiment, r.logged, file)
	}
	return fmt.Sprintf("mlflow/%d/%s/artifacts/%s", r.experiment, r.id, file)
}

func (o *organisation) modelFile(rnd *rand.Rand) string {
	r := o.runs[rnd.IntN(len(o.runs))]
	switch rnd.IntN(5) {
	case 0:
		return fmt.Sprintf("models/%s/v%d/model.onnx", o.datasets[rnd.IntN(3)], 1+rnd.IntN(9))
	case 1:
		return r.path("model/MLmodel")
	}
	return r.path(fmt.Sprintf("model/model-%05d-of-00030.safetensors", rnd.IntN(30)))
}

func (o *organisation) dataFile(rnd *rand.Rand) string {
	zone := []string{"raw", "curated"}[rnd.IntN(2)]
	return fmt.Sprintf("%s/%s/2026-%02d/part-%05d.snappy.parquet", zone, o.datasets[rnd.IntN(len(o.datasets))], 1+rnd.IntN(12), rnd.IntN(2000))
}

// encode writes a key as a URL's path, the way S3 does: everything but letters,
// digits and a few marks is escaped.
func encode(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(key), "+", "%20"), "%2F", "/")
}

// rawKey is the key as the log writes it: encoded twice, but once by S3's own
// services.
func (a *access) rawKey() string {
	switch {
	case a.key == "":
		return "-"
	case a.operation == "BATCH.DELETE.OBJECT" || a.operation == "S3.EXPIRE.OBJECT":
		return encode(a.key)
	}
	return encode(encode(a.key))
}

// appendLine writes the record's line without its newline.
func (a *access) appendLine(b []byte, rnd *rand.Rand) []byte {
	field := func(s string) { b = append(append(b, ' '), or(s, "-")...) }
	number := func(n int64) {
		b = append(b, ' ')
		if n == 0 {
			b = append(b, '-')
			return
		}
		b = strconv.AppendInt(b, n, 10)
	}
	b = append(b, owner...)
	field(a.bucket)
	b = append(b, " ["...)
	b = a.at.UTC().AppendFormat(b, "02/Jan/2006:15:04:05 +0000")
	b = append(b, ']')
	field(a.who.ip)
	field(a.who.arn)
	field(a.requestID)
	field(a.operation)
	field(a.rawKey())
	if a.method == "" {
		b = append(b, ` "-"`...)
	} else {
		b = append(append(b, ` "`...), a.method...)
		b = append(append(b, " /"...), encode(a.key)...)
		if a.query != "" {
			b = append(append(b, '?'), a.query...)
		}
		b = append(b, ` HTTP/1.1"`...)
	}
	number(int64(a.status))
	field(a.errorCode)
	number(a.sent)
	number(a.size)
	number(5 + rnd.Int64N(400))
	number(3 + rnd.Int64N(60))
	b = append(b, ` "-" "`...)
	b = append(append(b, a.who.agent...), '"')
	field(a.version)
	b = append(b, ' ')
	for i := range 76 {
		b = append(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(rnd.Uint32()>>uint(i%8))&63])
	}
	if a.who.kind == service {
		return append(b, "= - - - - - - - "+region...)
	}
	auth := or(a.auth, "AuthHeader")
	signature := " SigV4"
	if auth == "-" {
		signature = " -"
	}
	b = append(b, '=')
	b = append(b, signature...)
	b = append(b, " TLS_AES_128_GCM_SHA256 "...)
	b = append(append(b, auth...), ' ')
	b = append(append(b, a.bucket...), ".s3."+region+".amazonaws.com TLSv1.3 - - "+region...)
	return b
}
