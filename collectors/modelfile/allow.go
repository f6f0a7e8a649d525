package modelfile

import "strings"

// Imports whose calls are followed further.
const (
	numpyDtype       = "numpy.dtype"
	joblibWrapper    = "joblib.numpy_pickle.NumpyArrayWrapper"
	joblibWrapperOld = "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper"
	// loadFromBytes unpickles its argument; it is as safe as the bytes are.
	loadFromBytes = "torch.storage._load_from_bytes"
)

// UnknownImport stands in an import set for an import whose name the pickle
// computes while it is loaded.
const UnknownImport = "unknown"

// judge tells what an import makes of a pickle. The verdict rests on the list
// of what is allowed: whatever is in no list is suspicious. The list of what is
// dangerous only tells known attacks from unknown code.
//
// A name with dots is a path through attributes, which leads from a harmless
// module to anything that it has imported, so that it is never allowed.
func judge(module, name string) Verdict {
	if !strings.Contains(name, ".") {
		if names, ok := allowed[module]; ok && strings.Contains(names, " "+name+" ") && !strings.Contains(name, " ") {
			return Safe
		}
		if isClassName(name) {
			for _, family := range allowedFamilies {
				if strings.HasPrefix(module, family) {
					return Safe
				}
			}
		}
	}
	if strings.Contains(dangerousNames, " "+name+" ") || dangerousModule(module) {
		return Dangerous
	}
	for _, part := range strings.Split(name, ".") {
		if strings.Contains(dangerousNames, " "+part+" ") || strings.Contains(dangerousModules, " "+part+" ") {
			return Dangerous
		}
	}
	return Suspicious
}

// dangerousModule reports whether module or a package around it is listed.
func dangerousModule(module string) bool {
	for {
		if strings.Contains(dangerousModules, " "+module+" ") && module != "" {
			return true
		}
		dot := strings.LastIndexByte(module, '.')
		if dot < 0 {
			return false
		}
		module = module[:dot]
	}
}

// isClassName reports whether name is spelled as Python spells classes, private
// ones with a low line in front. Of packages that are allowed as families that
// leaves out every function.
func isClassName(name string) bool {
	name = strings.TrimPrefix(name, "_")
	for i := range len(name) {
		c := name[i]
		switch {
		case i == 0 && (c < 'A' || c > 'Z'):
			return false
		case c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z'):
			return false
		}
	}
	return name != ""
}

// allowedFamilies are packages whose classes, built from allowed parts, do no
// more than hold them.
var allowedFamilies = []string{
	"sklearn.linear_model.", "sklearn.ensemble.", "sklearn.tree.", "sklearn.svm.",
	"sklearn.neighbors.", "sklearn.naive_bayes", "sklearn.cluster.", "sklearn.decomposition.",
	"sklearn.preprocessing.", "sklearn.pipeline", "sklearn.compose.", "sklearn.impute.",
	"sklearn.feature_extraction.", "sklearn.feature_selection.", "sklearn.neural_network.",
	"sklearn.calibration", "sklearn.model_selection.", "sklearn.multiclass", "sklearn.multioutput",
	"sklearn.gaussian_process.", "sklearn.mixture.", "sklearn.isotonic", "sklearn.dummy",
	"sklearn.discriminant_analysis", "sklearn.covariance.", "sklearn.manifold.", "sklearn.kernel_ridge",
	"torch.nn.modules.",
	// TorchScript's own classes: there is no such Python package to import.
	"__torch__.",
}

// allowed holds, by module, the names that pickles of models and data use and
// that build plain objects. Each list begins and ends with a space.
var allowed = map[string]string{
	"builtins":    " object set frozenset list dict tuple int float complex bool str bytes bytearray slice range ",
	"__builtin__": " object set frozenset list dict tuple int long float complex bool str bytes unicode bytearray slice xrange ",
	"collections": " OrderedDict defaultdict Counter deque ",
	"copyreg":     " _reconstructor ", "copy_reg": " _reconstructor ",
	"_codecs":  " encode ",
	"datetime": " datetime date time timedelta timezone ",
	"decimal":  " Decimal ", "fractions": " Fraction ", "uuid": " UUID ",
	"pathlib": " Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath ",

	"torch": " FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage " +
		"CharStorage ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage QInt8Storage QUInt8Storage QInt32Storage " +
		"Size device dtype Tensor Generator float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool " +
		"float8_e4m3fn float8_e5m2 per_tensor_affine per_channel_affine ",
	"torch._utils": " _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state " +
		"_rebuild_qtensor _rebuild_sparse_tensor _rebuild_meta_tensor_no_storage _rebuild_device_tensor_from_numpy ",
	"torch._tensor":            " _rebuild_from_type_v2 ",
	"torch.storage":            " _load_from_bytes UntypedStorage TypedStorage _UntypedStorage _TypedStorage ",
	"torch.nn.parameter":       " Parameter Buffer UninitializedParameter ",
	"torch.serialization":      " _get_layout ",
	"torch.jit._pickle":        " build_intlist build_doublelist build_boollist build_tensorlist build_tensor_from_id restore_type_tag ",
	"torch.optim.adam":         " Adam ",
	"torch.optim.adamw":        " AdamW ",
	"torch.optim.sgd":          " SGD ",
	"torch.optim.lr_scheduler": " LambdaLR StepLR CosineAnnealingLR OneCycleLR ReduceLROnPlateau ",

	"numpy": " dtype ndarray matrix record recarray bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 " +
		"complex64 complex128 str_ bytes_ datetime64 timedelta64 ",
	"numpy.core.multiarray":  " _reconstruct scalar ",
	"numpy._core.multiarray": " _reconstruct scalar ",
	"numpy.core.numeric":     " _frombuffer ",
	"numpy._core.numeric":    " _frombuffer ",
	"numpy.dtypes":           " Float64DType Float32DType Int64DType Int32DType BoolDType ObjectDType StrDType ",
	"numpy.random._pickle":   " __randomstate_ctor __generator_ctor __bit_generator_ctor ",
	"numpy.random._mt19937":  " MT19937 ",
	"numpy.random._pcg64":    " PCG64 ",

	"numpy.random.bit_generator": " SeedSequence __pyx_unpickle_SeedSequence ",
	"numpy.ma":                   " MaskedArray ",
	"numpy.ma.core":              " _mareconstruct MaskedArray ",
	"numpy.rec":                  " recarray ",
	"numpy.core.records":         " recarray record ",
	"numpy._core.records":        " recarray record ",

	"scipy.sparse._csr": " csr_matrix csr_array ", "scipy.sparse.csr": " csr_matrix ",
	"scipy.sparse._csc": " csc_matrix csc_array ", "scipy.sparse.csc": " csc_matrix ",
	"scipy.sparse._coo": " coo_matrix coo_array ", "scipy.sparse.coo": " coo_matrix ",

	// pandas 3 names its classes where they are public.
	"pandas":              " DataFrame Series Index RangeIndex MultiIndex DatetimeIndex Categorical CategoricalDtype StringDtype Timestamp Timedelta ",
	"pandas.arrays":       " DatetimeArray TimedeltaArray StringArray IntegerArray FloatingArray BooleanArray ",
	"pandas._libs.arrays": " __pyx_unpickle_NDArrayBacked ",

	"pandas.core.arrays.categorical": " Categorical ",
	"pandas.core.arrays.datetimes":   " DatetimeArray ",
	"pandas.core.arrays.string_":     " StringArray StringDtype ",
	"pandas.core.dtypes.dtypes":      " CategoricalDtype ",
	"pandas.core.frame":              " DataFrame ",
	"pandas.core.series":             " Series ",
	"pandas.core.internals.managers": " BlockManager SingleBlockManager ",
	"pandas.core.internals.blocks":   " new_block ",
	"pandas._libs.internals":         " _unpickle_block BlockPlacement ",
	"pandas.core.indexes.base":       " _new_Index Index ",
	"pandas.core.indexes.range":      " RangeIndex ",
	"pandas.core.indexes.multi":      " MultiIndex ",
	"pandas.core.indexes.datetimes":  " DatetimeIndex _new_DatetimeIndex ",
	"pandas._libs.tslibs.timestamps": " _unpickle_timestamp Timestamp ",

	"joblib.numpy_pickle":                   " NumpyArrayWrapper ",
	"sklearn.externals.joblib.numpy_pickle": " NumpyArrayWrapper ",
	"sklearn.tree._tree":                    " Tree ",
	"sklearn.neighbors._kd_tree":            " newObj KDTree KDTree64 ",
	"sklearn.neighbors._ball_tree":          " newObj BallTree BallTree64 ",
	"sklearn.metrics._dist_metrics":         " newObj EuclideanDistance EuclideanDistance64 ",
	"sklearn._loss._loss":                   " CyHalfBinomialLoss CyHalfSquaredError CyHalfMultinomialLoss ",
	"sklearn._loss.loss":                    " HalfBinomialLoss HalfSquaredError HalfMultinomialLoss ",
	"sklearn._loss.link":                    " LogitLink IdentityLink MultinomialLogit Interval ",
	"sklearn.utils._bunch":                  " Bunch ",
	"sklearn.metrics._scorer":               " _PassthroughScorer _Scorer ",

	"xgboost.core":     " Booster ",
	"xgboost.sklearn":  " XGBClassifier XGBRegressor XGBRanker ",
	"lightgbm.basic":   " Booster ",
	"lightgbm.sklearn": " LGBMClassifier LGBMRegressor LGBMRanker ",

	"transformers.training_args":    " TrainingArguments OptimizerNames ",
	"transformers.trainer_utils":    " IntervalStrategy SchedulerType HubStrategy SaveStrategy FSDPOption EvaluationStrategy ",
	"transformers.trainer_pt_utils": " AcceleratorConfig ",
	"accelerate.state":              " PartialState ",
	"accelerate.utils.dataclasses":  " DistributedType DynamoBackend ",
}

// dangerousModules run programs or code, reach files or the network, unpickle,
// or lead to a module that does.
const dangerousModules = " os posix nt ntpath posixpath _posixsubprocess subprocess sys pty shutil commands popen2 platform " +
	"importlib imp runpy pkgutil zipimport zipapp modulefinder pydoc _frozen_importlib _frozen_importlib_external " +
	"ctypes _ctypes cffi _cffi_backend multiprocessing _multiprocessing asyncio concurrent threading _thread signal " +
	"code codeop pdb bdb cmd profile cProfile _lsprof timeit trace doctest unittest test idlelib lib2to3 distutils setuptools " +
	"pip ensurepip venv webbrowser antigravity this turtledemo webview " +
	"socket _socket ssl urllib urllib2 urllib3 http httplib ftplib smtplib poplib imaplib nntplib telnetlib xmlrpc requests httpx aiohttp paramiko " +
	"pickle _pickle cPickle pickletools dill cloudpickle marshal shelve jsonpickle yaml " +
	"types operator _operator inspect gc builtins.__import__ io _io _pyio codecs tempfile fileinput linecache glob sqlite3 _sqlite3 logging " +
	"torch.hub torch.utils.cpp_extension torch.utils._config_module torch.utils.bottleneck torch.utils.collect_env torch.utils.data " +
	"torch.jit torch.ops torch.classes torch._ops torch._inductor torch._dynamo torch.distributed torch.package torch.fx torch.testing torch.multiprocessing torch.onnx " +
	"numpy.testing numpy.f2py numpy.distutils numpy.ctypeslib numpy.lib numpy.core._multiarray_tests numpy.ma.testutils " +
	"pandas.io pandas.core.computation pandas.compat joblib.memory joblib.externals joblib.parallel sklearn.externals.joblib.memory " +
	"scipy.io scipy.weave IPython ipykernel jupyter_client nltk keras.utils keras.saving tensorflow.python.platform tensorflow.io " +
	"transformers.utils transformers.dynamic_module_utils transformers.pipelines huggingface_hub datasets.load ray dask uvicorn flask bottle gunicorn fabric invoke sh plumbum pexpect ptyprocess psutil "

// dangerousNames are attributes that run code or lead to it wherever they are
// imported from.
const dangerousNames = " eval exec execfile compile open input __import__ import_module getattr setattr delattr globals locals vars breakpoint " +
	"apply system popen popen2 popen3 popen4 spawn spawnl spawnv Popen check_output check_call run_module run_path runstring runscript " +
	"load loads load_module read_pickle __getattribute__ __globals__ __builtins__ __subclasses__ __class__ __dict__ __code__ __reduce__ __loader__ " +
	"methodcaller attrgetter FunctionType CodeType LambdaType memoryview _load_from_file load_library load_state_dict_from_url _run_code "
