package modelfile

// The tables of Classify, in lower case. README.md tells how to add a class.

// compression are extensions behind which another one stands.
var compression = newTable(map[string]Class{
	"gz": {}, "zst": {}, "bz2": {}, "xz": {}, "lz4": {}, "z": {}, "zlib": {}, "lzma": {},
})

func weights(f Format) Class { return Class{Role: RoleWeights, Format: f, Asset: true} }

// loadable are weights whose loader runs what stands in them.
func loadable(f Format) Class {
	return Class{Role: RoleWeights, Format: f, Asset: true, CanCarryCode: true}
}

// serialized are formats that hold models and data alike.
func serialized(f Format) Class {
	return Class{Role: RoleWeights, Format: f, Asset: true, CanCarryCode: true, either: true}
}

func dataset(f Format) Class { return Class{Role: RoleDataset, Format: f, Asset: true} }

func control(f Format) Class { return Class{Role: RoleControl, Format: f, Asset: true} }

// ci are control files that say what a build machine runs.
func ci(f Format) Class {
	return Class{Role: RoleControl, Format: f, Asset: true, CanCarryCode: true}
}

func config(f Format) Class { return Class{Role: RoleConfig, Format: f, Asset: true} }

func tokenizer(f Format) Class { return Class{Role: RoleTokenizer, Format: f, Asset: true} }

func card(f Format) Class { return Class{Role: RoleCard, Format: f, Asset: true} }

// archive holds anything; by itself it is no AI asset.
func archive(f Format) Class {
	return Class{Role: RoleOther, Format: f, CanCarryCode: true, either: true}
}

// byName holds whole file names.
var byName = newTable(map[string]Class{
	// Weights whose extension says too little.
	"training_args.bin": loadable("pickle"),
	"data.pkl":          loadable("pickle"),
	".metadata":         loadable("pickle"), // torch.distributed.checkpoint
	"saved_model.pb":    loadable("tensorflow"),
	"keras_metadata.pb": loadable("tensorflow"),
	"onnx.data":         weights("onnx"),

	// How a model is loaded. auto_map and loader_module name code to run.
	"config.json":              {Role: RoleConfig, Format: "json", Asset: true, CanCarryCode: true},
	"mlmodel":                  {Role: RoleConfig, Format: "yaml", Asset: true, CanCarryCode: true},
	"mlproject":                {Role: RoleConfig, Format: "yaml", Asset: true, CanCarryCode: true},
	"conda.yaml":               {Role: RoleConfig, Format: "yaml", Asset: true, CanCarryCode: true},
	"conda.yml":                {Role: RoleConfig, Format: "yaml", Asset: true, CanCarryCode: true},
	"environment.yml":          {Role: RoleConfig, Format: "yaml", Asset: true, CanCarryCode: true},
	"python_env.yaml":          {Role: RoleConfig, Format: "yaml", Asset: true, CanCarryCode: true},
	"params.yaml":              config("yaml"),
	"params.json":              config("json"),
	"modules.json":             {Role: RoleConfig, Format: "json", Asset: true, CanCarryCode: true},
	"model_index.json":         {Role: RoleConfig, Format: "json", Asset: true, CanCarryCode: true},
	"registered_model_meta":    config("yaml"),
	"input_example.json":       config("json"),
	"modelfile":                {Role: RoleConfig, Format: "text", Asset: true, Template: true}, // Ollama
	"config.pbtxt":             config("protobuf"),                                              // Triton
	"serving_input_example.js": config("json"),

	// Tokenizers and templates.
	"tokenizer_config.json":   {Role: RoleTokenizer, Format: "json", Asset: true, CanCarryCode: true, Template: true},
	"special_tokens_map.json": tokenizer("json"),
	"added_tokens.json":       tokenizer("json"),
	"merges.txt":              tokenizer("text"),
	"chat_template.json":      {Role: RoleCode, Format: "json", Asset: true, CanCarryCode: true, Template: true},

	// Cards.
	"readme.md":          card("markdown"),
	"model_card.md":      card("markdown"),
	"modelcard.md":       card("markdown"),
	"dataset_infos.json": card("json"),
	"dataset_info.json":  card("json"),

	// Pipelines.
	"dvc.yaml":      {Role: RolePipeline, Format: "yaml", Asset: true, CanCarryCode: true},
	"pipeline.yaml": {Role: RolePipeline, Format: "yaml", Asset: true, CanCarryCode: true},
	"pipeline.yml":  {Role: RolePipeline, Format: "yaml", Asset: true, CanCarryCode: true},
	"snakefile":     {Role: RolePipeline, Format: "text", Asset: true, CanCarryCode: true},
	"dvc.lock":      dataset("dvc"),

	// Who may change what, and what is checked.
	".gitattributes":          control("text"),
	".gitmodules":             control("text"),
	".lfsconfig":              control("text"),
	".mailmap":                control("text"),
	".dvcignore":              control("text"),
	"codeowners":              control("text"),
	"model.sig":               control("json"),
	".gitlab-ci.yml":          ci("yaml"),
	".gitlab-ci.yaml":         ci("yaml"),
	".travis.yml":             ci("yaml"),
	".drone.yml":              ci("yaml"),
	".pre-commit-config.yaml": ci("yaml"),
	"azure-pipelines.yml":     ci("yaml"),
	"bitbucket-pipelines.yml": ci("yaml"),
	"cloudbuild.yaml":         ci("yaml"),
	"jenkinsfile":             ci("text"),
})

// byExt holds extensions.
var byExt = newTable(map[string]Class{
	// Pickles and what contains them.
	"pt": loadable("pickle"), "pth": loadable("pickle"), "ckpt": loadable("pickle"),
	"ptl": loadable("torchscript"), "pt2": loadable("pickle"), "torchscript": loadable("torchscript"),
	"distcp": loadable("pickle"),
	"pkl":    serialized("pickle"), "pickle": serialized("pickle"), "p": {Role: RoleOther, Format: "pickle", CanCarryCode: true, either: true},
	"dill": serialized("pickle"), "cloudpickle": serialized("pickle"),
	"joblib": serialized("joblib"),
	"npy":    serialized("npy"), "npz": serialized("npz"),
	"nemo": loadable("tar"), "mar": loadable("zip"), "skops": loadable("zip"),

	// Formats whose loaders build layers, or run code, that the file names.
	"h5": serialized("hdf5"), "hdf5": serialized("hdf5"), "keras": loadable("keras"),
	"pb": loadable("tensorflow"), "llamafile": loadable("llamafile"),
	"engine": loadable("tensorrt"), "plan": loadable("tensorrt"), "trt": loadable("tensorrt"),
	"rds": serialized("rds"), "rda": serialized("rds"), "rdata": serialized("rds"),

	// Weights that are data only.
	"safetensors": weights("safetensors"),
	"onnx":        weights("onnx"), "onnx_data": weights("onnx"), "ort": weights("onnx"),
	"gguf": {Role: RoleWeights, Format: "gguf", Asset: true, Template: true},
	"ggml": weights("ggml"), "tflite": weights("tflite"), "msgpack": weights("msgpack"),
	"pte": weights("executorch"), "mlmodel": weights("coreml"),
	"pdparams": loadable("pickle"), "pdopt": loadable("pickle"), "pdmodel": weights("paddle"),
	"bst": weights("xgboost"), "ubj": weights("xgboost"), "xgb": weights("xgboost"),
	"cbm": weights("catboost"), "lgb": weights("lightgbm"), "pmml": weights("pmml"),
	"caffemodel": weights("caffe"), "mnn": weights("mnn"), "params": weights("mxnet"),

	// Datasets.
	"parquet": dataset("parquet"), "arrow": dataset("arrow"), "feather": dataset("arrow"),
	"jsonl": dataset("jsonl"), "ndjson": dataset("jsonl"),
	"csv": dataset("csv"), "tsv": dataset("tsv"),
	"tfrecord": dataset("tfrecord"), "tfrecords": dataset("tfrecord"),
	"avro": dataset("avro"), "orc": dataset("orc"), "mds": dataset("mds"),
	"h5ad": dataset("hdf5"), "lance": dataset("lance"), "dvc": dataset("dvc"),

	// Tokenizers: SentencePiece, tiktoken.
	"model": tokenizer("sentencepiece"), "tiktoken": tokenizer("tiktoken"), "spm": tokenizer("sentencepiece"),

	// Signatures of models.
	"sig": control(""), "sigstore": control("json"),

	// Found everywhere: known, but an AI asset only by name or folder.
	"py":    {Role: RoleCode, Format: "python", CanCarryCode: true},
	"pyc":   {Role: RoleCode, Format: "python", CanCarryCode: true},
	"ipynb": {Role: RoleCode, Format: "jupyter", Asset: true, CanCarryCode: true},
	"bin":   {Role: RoleOther, CanCarryCode: true, either: true},
	"zip":   archive("zip"), "tar": archive("tar"), "tgz": archive("tar"), "7z": archive("7z"),
})

// folders holds names of folders whose files belong together.
var folders = newTable(map[string]Class{
	"data":        {Role: RoleDataset, Asset: true},
	"dataset":     {Role: RoleDataset, Asset: true},
	"datasets":    {Role: RoleDataset, Asset: true},
	"_delta_log":  {Role: RoleDataset, Format: "delta", Asset: true},
	"saved_model": {Role: RoleWeights, Format: "tensorflow", Asset: true, CanCarryCode: true},
	".circleci":   ci("yaml"),
	".buildkite":  ci("yaml"),
	".githooks":   ci(""),
	".husky":      ci(""),
})

// buildMachine is a folder of CI workflows, or DVC's own configuration, which
// names commands and remotes.
var buildMachine = ci("")

// bundles holds extensions of folders that are one asset.
var bundles = newTable(map[string]Class{
	"zarr": dataset("zarr"), "lance": dataset("lance"),
	"mlpackage": weights("coreml"), "mlmodelc": weights("coreml"),
	"tfsm": loadable("tensorflow"),
})
