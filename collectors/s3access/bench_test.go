package s3access

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchLines returns records of 743 bytes on average, as long as those of a
// real week, with a few keys, requesters and agents each.
func benchLines(n int) []byte {
	users := []string{
		"arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_DataScientist_0123456789abcdef/alice@example.com",
		"arn:aws:sts::111122223333:assumed-role/ml-training/i-0123456789abcdef0",
		"arn:aws:iam::111122223333:user/ci/model-publisher",
	}
	agents := []string{
		`aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5 md/api/s3#1.58.2`,
		`Boto3/1.34.131 md/Botocore#1.34.131 ua/2.0 os/linux#5.10.219-208.866.amzn2.x86_64 lang/python#3.11.9`,
	}
	var b bytes.Buffer
	for i := range n {
		run := fmt.Sprintf("%032x", i*7919)
		key := fmt.Sprintf("mlflow/%d/%s/artifacts/model/model-%05d-of-30.safetensors", i%40, run, i%30)
		if i%5 == 0 {
			key = fmt.Sprintf("datasets/customer%%2520churn/2026-11/part-%05d.snappy.parquet", i%1000)
		}
		fmt.Fprintf(&b, `79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be acme-ml-artifacts [%02d/Nov/2026:%02d:%02d:%02d +0000] 10.20.%d.%d %s %016X REST.GET.OBJECT %s "GET /%s?versionId=3HL4kqtJvjVBH40Nrjfkd&x-id=GetObject HTTP/1.1" 206 - %d 4932011008 %d %d "-" "%s" 3HL4kqtJvjVBH40Nrjfkd s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader acme-ml-artifacts.s3.eu-west-1.amazonaws.com TLSv1.3 - - eu-west-1`+"\n",
			1+i/86400, i/3600%24, i/60%60, i%60, i%256, i*3%256, users[i%len(users)], uint64(i)*0x9e3779b97f4a7c15, key, key, 8388608+i, 20+i%100, 5+i%10, agents[i%len(agents)])
	}
	return b.Bytes()
}

func benchCollector(b *testing.B, cfg Config) *Collector {
	cfg.Path = "unused"
	return collector(b, cfg)
}

// cpu reports the rate by processor time, which other work on the machine does
// not change.
func cpu(b *testing.B, bytes int) {
	used := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begun := used()
	b.Cleanup(func() { b.ReportMetric(float64(bytes)*float64(b.N)/1e6/(used()-begun).Seconds(), "cpuMB/s") })
}

// run reads data once, as one log object.
var b0 = context.Background()

func run(c *Collector, out *countingOutput, data []byte) error {
	d := &document{ref: "s3://logs/x", format: ServerAccess, whole: true}
	return c.readText(b0, out, d, bytes.NewReader(data))
}

func BenchmarkLineToEvent(b *testing.B) {
	data := benchLines(20_000)
	b.Logf("%d bytes a line", len(data)/20_000)
	c := benchCollector(b, Config{})
	out := &countingOutput{}
	b.SetBytes(int64(len(data)))
	cpu(b, len(data))
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, run(c, out, data))
	}
	b.ReportMetric(float64(out.bytes)/float64(out.events)/float64(len(data)/20_000), "event/raw")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(out.events), "ns/record")
}

func BenchmarkLineToEventWithTwentyRules(b *testing.B) {
	data := benchLines(20_000)
	var rules []AssetRule
	for i := range 20 {
		rules = append(rules, AssetRule{Name: fmt.Sprint(i), Bucket: "acme-*", Pattern: fmt.Sprintf(`^team%d/(?P<name>[^/]+)/v(?P<version>\d+)/`, i), Type: "model"})
	}
	rules[19].Pattern = `^mlflow/(\d+)/(?P<name>[0-9a-f]{32})/artifacts/`
	c := benchCollector(b, Config{Assets: rules})
	out := &countingOutput{}
	b.SetBytes(int64(len(data)))
	cpu(b, len(data))
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, run(c, out, data))
	}
}

func BenchmarkScanOnly(b *testing.B) {
	text := string(benchLines(20_000))
	var p lineParser
	var r record
	b.SetBytes(int64(len(text)))
	cpu(b, len(text))
	b.ReportAllocs()
	for b.Loop() {
		for rest := text; rest != ""; {
			var line string
			line, rest, _ = strings.Cut(rest, "\n")
			require.NoError(b, p.parse(line, &r))
		}
	}
}

// documented is a regular expression such as AWS's documentation gives for the
// log, for comparison.
var documented = regexp.MustCompile(`([^ ]*) ([^ ]*) \[(.*?)\] ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ("[^"]*"|-) (-|[0-9]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ("[^"]*"|-) ([^ ]*)(?: ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*))?.*$`)

func BenchmarkGoRegexp(b *testing.B) {
	lines := bytes.Split(bytes.TrimSpace(benchLines(2000)), []byte("\n"))
	b.SetBytes(int64(len(benchLines(2000))))
	cpu(b, len(benchLines(2000)))
	for b.Loop() {
		for _, line := range lines {
			require.NotNil(b, documented.FindSubmatchIndex(line))
		}
	}
}

func BenchmarkEncodingCSV(b *testing.B) {
	data := benchLines(20_000)
	b.SetBytes(int64(len(data)))
	cpu(b, len(data))
	for b.Loop() {
		r := csv.NewReader(bytes.NewReader(data))
		r.Comma, r.LazyQuotes, r.FieldsPerRecord, r.ReuseRecord = ' ', true, -1, true
		records := 0
		for ; ; records++ {
			if _, err := r.Read(); err != nil {
				require.ErrorIs(b, err, io.EOF)
				break
			}
		}
		require.Equal(b, 20_000, records)
	}
}
