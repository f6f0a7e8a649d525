package hecserver_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/hecserver"
)

// sampleBody makes a body of n aiwatch events as an S3 input sends them, about
// 800 bytes each.
func sampleBody(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"time":%d.%03d,"host":"s3.eu-central-1.amazonaws.com","source":"aiwatch_s3://prod","sourcetype":"aiwatch:s3","index":"ai",`+
			`"event":{"asset_id":"s3://models-prod/registry/fraud/%d/artifacts/model/data/model.safetensors","asset_role":"weights","asset_size":%d,`+
			`"authentication_type":"AuthHeader","bytes_out":%d,"collector":"0badcafe","event_id":"%016x%016x","object_owner":"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be",`+
			`"operation":"REST.GET.OBJECT","request_id":"%016X","run_id":"%016x%016x","seq":%d,"src":"10.%d.%d.%d","status_code":"200","time_taken":%d,`+
			`"user":"alice@example.com","user_agent":"Boto3/1.34.0 md/Botocore#1.34.0 ua/2.0 os/linux#6.1 md/arch#x86_64 lang/python#3.11.6","user_confidence":"claimed","user_id":"arn:aws:sts::123456789012:assumed-role/data-science/alice@example.com"}}`,
			1_700_000_000+i, random.IntN(1000), random.IntN(40), random.IntN(1<<30), random.IntN(1<<30), random.Uint64(), random.Uint64(),
			random.Uint64(), random.Uint64(), random.Uint64(), uint64(i)+seed*uint64(n), random.IntN(256), random.IntN(256), random.IntN(256), random.IntN(5000))
	}
	return b.Bytes()
}

// BenchmarkReceive takes gzip bodies of 900 new events in the counting mode, no
// network between. events/cpu-s does not depend on what else the machine does, as
// far as caches and clock rates allow.
func BenchmarkReceive(b *testing.B) {
	const perBody, bodies = 900, 64
	packed := make([][]byte, bodies)
	raw := 0
	for i := range packed {
		body := sampleBody(uint64(i), perBody)
		raw = len(body)
		var z bytes.Buffer
		w, err := gzip.NewWriterLevel(&z, 1)
		require.NoError(b, err)
		_, err = w.Write(body)
		require.NoError(b, err)
		require.NoError(b, w.Close())
		packed[i] = z.Bytes()
	}
	var h *hecserver.Handler
	b.SetBytes(int64(raw))
	b.ReportAllocs()
	sent := 0
	before := cpuSeconds(b)
	for b.Loop() {
		if sent%bodies == 0 { // every event is new to its counter
			var err error
			h, err = hecserver.New(hecserver.Config{
				Tokens: []hecserver.Token{{Value: goodToken}}, Sink: hecserver.NewCounter(),
			})
			require.NoError(b, err)
		}
		req := httptest.NewRequest(http.MethodPost, eventPath, bytes.NewReader(packed[sent%bodies]))
		req.Header.Set("Authorization", "Splunk "+goodToken)
		req.Header.Set("User-Agent", "bench")
		req.Header.Set("Content-Encoding", "gzip")
		w := httptest.NewRecorder()
		w.Body = nil
		h.ServeHTTP(w, req)
		require.Equal(b, http.StatusOK, w.Code)
		sent++
	}
	b.ReportMetric(float64(sent*perBody)/(cpuSeconds(b)-before), "events/cpu-s")
}

// cpuSeconds is what the process has used so far.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
