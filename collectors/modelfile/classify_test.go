package modelfile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClassify(t *testing.T) {
	const (
		asset = 1 << iota
		code
		template
	)
	for path, want := range map[string]struct {
		role   Role
		format Format
		flags  int
	}{
		"models/llama/pytorch_model.bin":   {RoleWeights, "pickle", asset | code},
		"pytorch_model-00001-of-00002.bin": {RoleWeights, "pickle", asset | code},
		"training_args.bin":                {RoleWeights, "pickle", asset | code},
		"a/Best.PT":                        {RoleWeights, "pickle", asset | code},
		"a/model.ckpt":                     {RoleWeights, "pickle", asset | code},
		"model.joblib.gz":                  {RoleWeights, "joblib", asset | code},
		"scaler.pkl":                       {RoleWeights, "pickle", asset | code},
		"data/train.pkl":                   {RoleDataset, "pickle", asset | code},
		"data/train.npy":                   {RoleDataset, "npy", asset | code},
		"emb.npz":                          {RoleWeights, "npz", asset | code},
		"model.keras":                      {RoleWeights, "keras", asset | code},
		"tf_model.h5":                      {RoleWeights, "hdf5", asset | code},
		"x/saved_model/1/assets/words":     {RoleWeights, "tensorflow", asset | code},
		"x/1/saved_model.pb":               {RoleWeights, "tensorflow", asset | code},
		"x/variables/variables.data-00000-of-00001":     {RoleWeights, "tensorflow", asset},
		"model.ckpt-200.index":                          {RoleWeights, "tensorflow", asset},
		"model-00001-of-00030.safetensors":              {RoleWeights, "safetensors", asset},
		"MODEL.SAFETENSORS":                             {RoleWeights, "safetensors", asset},
		"model.safetensors.index.json":                  {RoleWeights, "json", asset},
		"net.onnx":                                      {RoleWeights, "onnx", asset},
		"net.tflite":                                    {RoleWeights, "tflite", asset},
		"flax_model.msgpack":                            {RoleWeights, "msgpack", asset},
		"q4.gguf":                                       {RoleWeights, "gguf", asset | template},
		"ggml-base.en.bin":                              {RoleWeights, "ggml", asset},
		"Net.mlpackage/Data/com.apple.CoreML/x.weights": {RoleWeights, "coreml", asset},
		"modeling_qwen.py":                              {RoleCode, "python", asset | code},
		"src/util.py":                                   {RoleCode, "python", code},
		"chat_template.jinja":                           {RoleCode, "jinja", asset | code | template},
		"config.json":                                   {RoleConfig, "json", asset | code},
		"generation_config.json":                        {RoleConfig, "json", asset},
		"1/abc/MLmodel":                                 {RoleConfig, "yaml", asset | code},
		"requirements-gpu.txt":                          {RoleConfig, "text", asset | code},
		"params.yaml":                                   {RoleConfig, "yaml", asset},
		"tokenizer.json":                                {RoleTokenizer, "json", asset | template},
		"tokenizer_config.json":                         {RoleTokenizer, "json", asset | code | template},
		"tokenizer.model":                               {RoleTokenizer, "sentencepiece", asset},
		"vocab.txt":                                     {RoleTokenizer, "text", asset},
		"README.md":                                     {RoleCard, "markdown", asset},
		"s/train-00000-of-00010.parquet":                {RoleDataset, "parquet", asset},
		"s/train.jsonl.zst":                             {RoleDataset, "jsonl", asset},
		"s/TRAIN.CSV.GZ":                                {RoleDataset, "csv", asset},
		"data/images/0001.png":                          {RoleDataset, "", asset},
		"team/Datasets/v2/a/b/c.txt":                    {RoleDataset, "", asset},
		"data/train.tar":                                {RoleDataset, "tar", asset | code},
		"t/_delta_log/00000000000000000000.json":        {RoleDataset, "delta", asset},
		"t/cube.zarr/0.0.1":                             {RoleDataset, "zarr", asset},
		"images.dvc":                                    {RoleDataset, "dvc", asset},
		"dvc.lock":                                      {RoleDataset, "dvc", asset},
		"dvc.yaml":                                      {RolePipeline, "yaml", asset | code},
		".gitattributes":                                {RoleControl, "text", asset},
		"docs/CODEOWNERS":                               {RoleControl, "text", asset},
		".github/workflows/train.yml":                   {RoleControl, "", asset | code},
		".github/ISSUE_TEMPLATE.txt":                    {RoleOther, "", 0},
		".dvc/config":                                   {RoleControl, "", asset | code},
		".dvc/tmp/lock":                                 {RoleOther, "", 0},
		"model.sig":                                     {RoleControl, "json", asset},
		"data/.gitignore":                               {RoleOther, "", 0},
		"data/":                                         {RoleOther, "", 0},
		"":                                              {RoleOther, "", 0},
		"logs/2026/11/23/app.log.gz":                    {RoleOther, "", 0},
		"backup.zip":                                    {RoleOther, "zip", code},
		"firmware.bin":                                  {RoleOther, "", code},
		"index.html":                                    {RoleOther, "", 0},
		"metadata/pt":                                   {RoleOther, "", 0},
		".pt":                                           {RoleOther, "", 0},
		strings.Repeat("x", 500) + ".safetensors": {RoleWeights, "safetensors", asset},
		"x." + strings.Repeat("y", 500):           {RoleOther, "", 0},
		"caf\xc3\x89.pt":                          {RoleWeights, "pickle", asset | code},
	} {
		got := Classify(path)
		require.Equal(t, Class{
			Role: want.role, Format: want.format, Asset: want.flags&asset != 0,
			CanCarryCode: want.flags&code != 0, Template: want.flags&template != 0,
		}, got, "path %q", path)
	}
}

// The tables are looked up in lower case and by bounded lengths: an entry that
// breaks this could never match.
func TestTablesCanMatch(t *testing.T) {
	check := func(key string) {
		require.Equal(t, strings.ToLower(key), key)
		require.LessOrEqual(t, len(key), maxName, key)
	}
	for key := range byName.entries {
		check(key)
		require.NotEqual(t, RoleOther, Classify("x/"+key).Role, key)
	}
	for key := range byExt.entries {
		check(key)
		require.NotEqual(t, Class{Role: RoleOther}, Classify("x/zz."+key), key)
	}
	for key := range folders.entries {
		check(key)
		require.NotEqual(t, RoleOther, Classify("x/"+key+"/y").Role, key)
	}
	for key := range bundles.entries {
		check(key)
		require.NotEqual(t, RoleOther, Classify("x/a."+key+"/y").Role, key)
	}
}

const (
	runHex   = "0123456789abcdef0123456789abcdef"
	otherHex = "fedcba9876543210fedcba9876543210"
)

func TestParseMLflow(t *testing.T) {
	type result struct {
		exp, run, model, rel string
		ok                   bool
	}
	for key, want := range map[string]result{
		"3/" + runHex + "/artifacts/model/MLmodel":                  {"3", runHex, "", "model/MLmodel", true},
		"a/b/c/3/" + runHex + "/artifacts/x":                        {"3", runHex, "", "x", true},
		"r/workspaces/team/3/" + runHex + "/artifacts/x":            {"3", runHex, "", "x", true},
		"r/12/models/m-" + runHex + "/artifacts/model.pkl":          {"12", "", "m-" + runHex, "model.pkl", true},
		runHex + "/artifacts/x":                                     {"", runHex, "", "x", true},
		"churn/" + runHex + "/artifacts/x":                          {"", runHex, "", "x", true},
		"models/m-" + runHex + "/artifacts/x":                       {"", "", "m-" + runHex, "x", true},
		"3/" + runHex + "/artifacts":                                {"3", runHex, "", "", true},
		"3/" + runHex + "/artifacts/":                               {"3", runHex, "", "", true},
		"artifacts/3/" + runHex + "/artifacts/y":                    {"3", runHex, "", "y", true},
		"x/artifacts/3/" + runHex + "/artifacts/y":                  {"3", runHex, "", "y", true},
		"3/" + runHex + "/artifacts/4/" + otherHex + "/artifacts/y": {"3", runHex, "", "4/" + otherHex + "/artifacts/y", true},
		"3/" + runHex + "/artifactsX/y":                             {},
		"3/" + strings.ToUpper(runHex) + "/artifacts/y":             {},
		"3/" + runHex[1:] + "/artifacts/y":                          {},
		"3/m-" + runHex + "/artifacts/y":                            {},
		"3/" + runHex + "/metrics/loss":                             {},
		"":                                                          {},
	} {
		var got result
		got.exp, got.run, got.model, got.rel, got.ok = ParseMLflow(key)
		require.Equal(t, want, got, "key %q", key)
	}
}

var benchPaths = []string{
	"prod/llama/model-00001-of-00030.safetensors",
	"3/" + runHex + "/artifacts/model/python_model.pkl",
	"data/train/part-00000-of-00128.snappy.parquet",
	"AWSLogs/123456789012/elasticloadbalancing/eu-central-1/2026/11/23/app.log.gz",
	"static/js/main.4f3a2b1c.chunk.js",
	"team/models/config.json",
}

func TestClassifyDoesNotAllocate(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for _, p := range benchPaths {
			Classify(p)
			ParseMLflow(p)
		}
	}))
}

func BenchmarkClassify(b *testing.B) {
	for _, p := range benchPaths {
		b.Run(p[strings.LastIndexByte(p, '/')+1:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Classify(p)
			}
		})
	}
}

func BenchmarkParseMLflow(b *testing.B) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ParseMLflow(benchPaths[i%len(benchPaths)])
	}
}

func FuzzClassify(f *testing.F) {
	for _, p := range benchPaths {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		c := Classify(path)
		require.NotEmpty(t, c.Role)
		require.False(t, c.either)
		_, run, model, rel, ok := ParseMLflow(path)
		require.Equal(t, ok, (run == "") != (model == ""))
		require.True(t, strings.HasSuffix(path, rel))
	})
}
