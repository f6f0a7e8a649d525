package s3access

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/identity"
	"aiwatch/collectors/modelfile"
	"aiwatch/internal/event"
)

// The hostile corpus: lines with known truth. Nothing here is shared with the
// parser; a line is written from its truth field by field, as AWS documents it.

type truth struct {
	bucket, key, requester, id, operation, status, code string
	sent, size                                          int64
	referer, agent, version, auth                       string
}

var (
	evilTexts = []string{
		"-", "", "a", `"`, `""`, `" "`, `"-" "-"`, `x"`, `"x`, `x" `, ` "x`, `a "b" c`, `\"`, `" - - - -`,
		`" 200 - 1 1 1 1 "-" "curl"`, `x" - AAAAAAAA= SigV4 TLS_AES AuthHeader host TLSv1.3 - - us-east-1`,
		`x" - AAAAAAAA= SigV4 TLS_AES AuthHeader host TLSv1.3 - - us-east-1 "`, `x" ver1`, `x" - "y`,
		"tab\there", "bell\x07", "esc\x1b[31mred", "bidi\u202egnp.exe", "nul\x00", "bad\xff\xfeutf", "é😀", "\u0085", "\u2028",
		`${jndi:ldap://x}`, `=cmd|' /C calc'!A0`, `<script>`, `%n%s`, strings.Repeat(`"`, 40), strings.Repeat(" ", 9), strings.Repeat("A", 3000), "[06/Feb/2019:00:00:38 +0000]",
		`aws-cli/2 (a "quoted" thing) x/1`, "Mozilla/5.0 (X11; Linux x86_64)",
	}
	evilKeys = []string{
		"", "-", "*", "a", "a b", "a+b", "a%b", "%", "%2", "%25", "%2525", "%41", "a/b/c.pt", "data/x.csv", "/lead", "a//b", "..", "../../etc/passwd",
		"new\nline 200 - 1 1 1 1", "cr\rlf", "q\"uote", `"GET / HTTP/1.1" 200`, "tab\t", "esc\x1b[2J", "bidi\u202e", "nul\x00", "bad\xff", "é😀", "REST.GET.OBJECT", "models/\u0085.onnx",
		strings.Repeat("k", 1000), strings.Repeat("%", 200), "7/0123456789abcdef0123456789abcdef/artifacts/a.pt", "[06/Feb/2019:00:00:38 +0000]", `\`, "{}", "s3://other/x",
	}
	evilRequesters = []string{
		"-", "arn:aws:iam::111122223333:user/alice", `arn:aws:iam::111122223333:user/pa"th/alice`, "arn:aws:sts::111122223333:assumed-role/r/a@b.c",
		"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be", "svc:x.amazonaws.com", "AmazonS3",
		"arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E2EXAMPLE",
	}
	evilOperations = []string{
		"REST.GET.OBJECT", "REST.PUT.OBJECT", "REST.COPY.OBJECT_GET", "REST.HEAD.OBJECT", "BATCH.DELETE.OBJECT", "S3.EXPIRE.OBJECT", "S3.COMPUTE.OBJECT.CHECKSUM",
		"WEBSITE.GET.OBJECT", "REST.GET.BUCKET", "REST.PUT.LOGGING_STATUS", "REST.POST.MULTI_OBJECT_DELETE", "SOAP.GetObject", "REST.GET.OBJECT_TAGGING",
	}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// escape is the path's encoding: all but unreserved characters and the slash.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// hostileLine makes a truth and its line.
func hostileLine(r *rand.Rand, n int) (truth, string) {
	tr := truth{
		bucket: pick(r, []string{"ml", "a.b-c_d", "logs"}), key: pick(r, evilKeys), requester: pick(r, evilRequesters),
		id: fmt.Sprintf("%016X", n), operation: pick(r, evilOperations), status: pick(r, []string{"200", "206", "403", "304", ""}), code: pick(r, []string{"", "AccessDenied"}),
		sent: int64(r.IntN(3) * 1000), size: int64(r.IntN(3) * 100000),
		referer: pick(r, evilTexts), agent: pick(r, evilTexts), version: pick(r, []string{"", "null", "3HL4kqtJvjVBH40Nrjfkd", "a.b_c-d"}), auth: pick(r, []string{"AuthHeader", "QueryString", ""}),
	}
	if r.IntN(3) > 0 { // most referers are none
		tr.referer = ""
	}
	if strings.ContainsAny(tr.referer+tr.agent, "\n\r") {
		panic("a header holds no newline")
	}
	raw := escape(escape(tr.key))
	if tr.operation == "BATCH.DELETE.OBJECT" || tr.operation == "S3.EXPIRE.OBJECT" {
		raw = escape(tr.key)
	}
	uri := `"GET /` + escape(tr.key) + pick(r, []string{"", "?x=1", `?q="q"`}) + ` HTTP/1.1"`
	if tr.key == "-" && !strings.HasSuffix(tr.operation, ".OBJECT") {
		tr.key = ""
	}
	num := func(n int64) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	quote := func(s string) string {
		if s == "" && r.IntN(8) == 0 {
			return "-"
		}
		return `"` + dash(s) + `"`
	}
	host := "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234="
	if r.IntN(20) == 0 {
		host = host[:30] + " " + host[30:]
	}
	fields := []string{
		"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be", tr.bucket, "[02/Mar/2026:09:13:05 +0000]", pick(r, []string{"192.0.2.3", "-", "2001:db8::1"}),
		tr.requester, tr.id, tr.operation, dash(raw), uri, dash(tr.status), dash(tr.code), num(tr.sent), num(tr.size), "12", pick(r, []string{"-", "3"}),
		quote(tr.referer), quote(tr.agent), dash(tr.version), host, "SigV4", "TLS_AES_128_GCM_SHA256", dash(tr.auth), "ml.s3.amazonaws.com", "TLSv1.3", "-", "-", "us-west-1", "new", "newer",
	}
	keep := 18 + r.IntN(len(fields)-17)
	if keep < 22 {
		tr.auth = ""
	}
	return tr, strings.Join(fields[:keep], " ")
}

// shown is how a value stands in an event.
func shown(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD") || unicode.IsControl(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	if b.Len() > 2000 {
		return b.String()[:2000]
	}
	return b.String()
}

func TestHostileCorpusIsNeverMisreadAndNeverLost(t *testing.T) {
	r := rand.New(rand.NewPCG(20, 26))
	const lines = 20_000
	var log bytes.Buffer
	truths := make([]truth, lines)
	for i := range truths {
		var line string
		truths[i], line = hostileLine(r, i)
		log.WriteString(line + "\n")
	}
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, log.Bytes(), 0o600))
	out := newSink()
	poll(t, collector(t, Config{Path: path, All: true, Format: ServerAccess}), out)
	require.Equal(t, lines, len(out.envelopes), "none lost")

	doubtful, damaged := 0, 0
	for i, envelope := range out.envelopes {
		var e struct {
			Time  float64
			Event map[string]any
		}
		require.NoError(t, json.Unmarshal([]byte(envelope), &e))
		ev, tr := e.Event, truths[i]
		get := func(name string) string { s, _ := ev[name].(string); return s }
		if get("operation") == "record.damaged" {
			damaged++
			continue
		}
		asset := "s3://" + tr.bucket
		if tr.key != "" {
			asset += "/" + tr.key
		}
		require.EqualValues(t, 1772442785, e.Time)
		require.Equal(t, shown(asset), get("asset_id"), "%s", envelope)
		require.Equal(t, tr.requester, get("user_id"))
		require.Equal(t, tr.id, get("request_id"))
		require.Equal(t, tr.operation, get("operation"))
		require.Equal(t, tr.status, get("status_code"))
		require.Equal(t, tr.code, get("error_code"))
		if tr.size > 0 {
			require.EqualValues(t, tr.size, ev["asset_size"])
		}
		if get("parse_error") != "" {
			doubtful++
			require.Empty(t, get("user_agent")+get("referer"), "what can't be told is left out")
			if v := get("version_id"); v != "" {
				require.Equal(t, tr.version, v)
			}
			continue
		}
		require.Equal(t, shown(strings.TrimPrefix(tr.agent, "-")), shown(strings.TrimPrefix(get("user_agent"), "-")), "%s", envelope)
		require.Equal(t, strings.TrimPrefix(shown(tr.referer), "-"), strings.TrimPrefix(get("referer"), "-"), "%s", envelope)
		require.Equal(t, tr.version, get("version_id"))
		require.Equal(t, tr.auth, get("authentication_type"))
	}
	t.Logf("of %d lines %d have fields that can't be told apart, %d are damaged", lines, doubtful, damaged)
	require.Zero(t, damaged, "no text of a caller hides an access")
	require.Less(t, doubtful, lines/5)
}

// What the add-on computes must be what the collector leaves out.
func TestLeftOutFieldsAreThoseThatTheAddOnComputes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	parts := []string{"models", "data", "7", "12", "0123456789abcdef0123456789abcdef", "m-0123456789abcdef0123456789abcdef", "artifacts", "a.csv", "B.CSV.GZ", "x.pt", "y.tfrecords.zst", ".csv", ".csv.gz", "z", "", "config.json", "m.safetensors", "w.h5", "artifactsX", "data.pkl", "training_args.bin", "t.npy", "csv", "a.csv.gz.gz"}
	for range 50_000 {
		var key []string
		for range 1 + r.IntN(6) {
			key = append(key, pick(r, parts))
		}
		k := strings.Join(key, "/")
		if k == "" {
			continue
		}
		id := "s3://ml/" + k
		class := modelfile.Classify(k)
		if f := event.S3Format(id); f != "" {
			require.Equal(t, string(class.Format), f, k)
		}
		exp, run, logged, _, _ := modelfile.ParseMLflow(k)
		if computed := event.S3Experiment(id); computed != "" {
			require.Equal(t, exp, computed, k)
		}
		require.NotEmpty(t, event.S3AssetName(id, run, logged), k)
		require.Equal(t, "object", event.S3AssetType(id), k)
	}
	require.Equal(t, "bucket", event.S3AssetType("s3://data.csv"))
	require.Empty(t, event.S3Format("s3://data.csv"), "a bucket's name is no file's")
	for op := range controlWords {
		require.True(t, isControl("REST.PUT."+op))
		require.False(t, isControl("REST.GET."+op))
	}
}

func FuzzLine(f *testing.F) {
	for _, name := range []string{"aws-documented", "traps"} {
		log, err := os.ReadFile("testcases/" + name + "/input.log")
		require.NoError(f, err)
		for line := range strings.Lines(string(log)) {
			f.Add(strings.TrimSuffix(line, "\n"))
		}
	}
	var p lineParser
	var r record
	f.Fuzz(func(t *testing.T, line string) {
		if p.parse(line, &r) != nil {
			return
		}
		for _, part := range []string{r.agent, r.referer, r.requester, r.requestID, r.operation, r.status, r.errorCode, r.versionID, r.authType} {
			if !strings.Contains(line, part) {
				t.Fatalf("%q is not in the line", part)
			}
		}
		if r.bucket != "" && r.assetID != "s3://"+r.bucket && r.assetID != "s3://"+r.bucket+"/"+r.key {
			t.Fatalf("asset %q of %q and %q", r.assetID, r.bucket, r.key)
		}
		if strings.ContainsAny(r.requestID+r.operation+r.bucket, " \"\n") {
			t.Fatalf("%q %q %q", r.requestID, r.operation, r.bucket)
		}
	})
}

// Decoding in one pass is decoding twice.
func FuzzKeyIsDecodedTwice(f *testing.F) {
	for _, seed := range []string{"a%2520b", "%25%32%35", "%2525%2525", "%%34%31", "%", "%2", "%25", "%254", "%zz"} {
		f.Add(seed)
	}
	once := func(s string) string {
		var b strings.Builder
		for s != "" {
			if len(s) > 2 && s[0] == '%' {
				if c, err := url.PathUnescape(s[:3]); err == nil {
					b.WriteString(c)
					s = s[3:]
					continue
				}
			}
			b.WriteByte(s[0])
			s = s[1:]
		}
		return b.String()
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if raw == "" || raw == "-" {
			return
		}
		var p lineParser
		for op, want := range map[string]string{"REST.GET.OBJECT": once(once(raw)), "BATCH.DELETE.OBJECT": once(raw)} {
			r := record{bucket: "b", operation: op}
			p.locate(&r, raw, "")
			if r.key != want {
				t.Fatalf("%s %q: %q, want %q", op, raw, r.key, want)
			}
		}
	})
}

func FuzzVersitygw(f *testing.F) {
	log, err := os.ReadFile("testcases/versitygw/input.log")
	require.NoError(f, err)
	for line := range strings.Lines(string(log)) {
		f.Add(strings.TrimSuffix(line, "\n"))
	}
	var p lineParser
	var r record
	f.Fuzz(func(t *testing.T, line string) {
		_ = isVersitygwStart(line)
		if p.parseVersitygw(line, &r) != nil {
			return
		}
		if r.key != "" && strings.Count(line, r.key) < 2 {
			t.Fatalf("the key %q does not stand twice", r.key)
		}
	})
}

func FuzzCloudtrail(f *testing.F) {
	log, err := os.ReadFile("testcases/cloudtrail/input.log")
	require.NoError(f, err)
	f.Add(log)
	f.Add([]byte(`{"Records":[{"a":"\"}"},{}]}{"eventID":"x"}[{}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := collector(t, Config{Path: "x", All: true})
		d := &document{ref: "x", format: Cloudtrail, whole: true}
		out := newSink()
		if err := c.readText(context.Background(), out, d, bytes.NewReader(text)); err != nil && !strings.Contains(err.Error(), "within a record") {
			t.Fatal(err)
		}
		require.NoError(t, out.Checkpoint())
	})
}

func TestALineThatIsTooLongIsTold(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	log := append(lines(0, 1, now), long...)
	log = append(append(log, '\n'), lines(1, 1, now)...)
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, log, 0o600))
	out := newSink()
	poll(t, collector(t, Config{Path: path}), out)
	require.Equal(t, 2, len(out.requests()))
	require.Equal(t, []string{fmt.Sprintf("a line of %d bytes", len(long)+1)}, out.damages())
	require.Contains(t, out.text(), `"raw_sha256":"`+digest(long)+`"`)
	require.Contains(t, out.text(), `log:2"`)
}

func TestADecompressionBombIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.gz")
	bomb := zipped(bytes.Repeat([]byte("\n"), 80<<20))
	require.NoError(t, os.WriteFile(path, bomb, 0o600))
	out := newSink()
	start := time.Now()
	poll(t, collector(t, Config{Path: path}), out)
	require.Equal(t, []string{"compressed more than 1000 to 1"}, out.damages())
	t.Log(time.Since(start))
}

// A chunk of the log is overwritten by the next one. Whoever keeps a part of a
// line, such as the requester that was seen last, must keep a copy: the events of
// many chunks are those of the same lines, each read as a log of its own.
func TestNothingOfALineOutlivesItsChunk(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	var all strings.Builder
	apart := newSink()
	people, err := identity.New(nil, []identity.Rule{{Name: "one", Match: "name1$", User: "somebody"}})
	require.NoError(t, err)
	c := collector(t, Config{All: true, Path: "unused", Identity: people})
	const lines = 4_000
	for n := range lines {
		// Lines of one length have the same places in each chunk.
		line := fmt.Sprintf(`owner bucket-%d [23/Nov/2026:11:%02d:%02d +0000] 10.0.0.%d arn:aws:iam::111122223333:user/name%d %016X %s models/%d.onnx "GET /x HTTP/1.1" 200 - 1 1 1 1 "-" "agent%d" - h= SigV4 - AuthHeader host TLSv1.3`+"\n",
			r.IntN(2), n/60%60, n%60, r.IntN(10), r.IntN(2), n, pick(r, []string{"REST.GET.OBJECT", "REST.PUT.OBJECT"}), r.IntN(9), r.IntN(9))
		all.WriteString(line)
		d := &document{ref: "s3://logs/x", format: ServerAccess, whole: true, line: int64(n)}
		require.NoError(t, c.readText(t.Context(), apart, d, strings.NewReader(line)))
	}
	require.NoError(t, apart.Checkpoint())

	whole := newSink()
	c = collector(t, Config{All: true, Path: "unused", Identity: people})
	d := &document{ref: "s3://logs/x", format: ServerAccess, whole: true}
	require.NoError(t, c.readText(t.Context(), whole, d, strings.NewReader(all.String())))
	require.NoError(t, whole.Checkpoint())

	require.Greater(t, all.Len(), 5*chunkSize)
	require.Len(t, whole.envelopes, lines)
	require.Equal(t, apart.envelopes, whole.envelopes)
	require.Len(t, c.Report().Parts, 2)
}
