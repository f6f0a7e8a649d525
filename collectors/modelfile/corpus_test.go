package modelfile

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// The corpus: pickles and containers as attackers and as libraries write them,
// made here from opcodes. Nothing in it is ever loaded.

// asm joins opcodes: strings and byte slices as they are, ints as one byte.
func asm(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b.WriteString(p)
		case []byte:
			b.Write(p)
		case int:
			b.WriteByte(byte(p))
		default:
			panic(fmt.Sprintf("asm: %T", p))
		}
	}
	return b.Bytes()
}

func le32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
func le64(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

func imports(module, name string) []byte { return asm("c", module, "\n", name, "\n") }
func short(s string) []byte              { return asm(0x8c, len(s), s) }
func text(s string) []byte               { return asm("X", le32(len(s)), s) }
func data(b []byte) []byte               { return asm("B", le32(len(b)), b) }

// stackGlobal is an import by STACK_GLOBAL of two memoized strings.
func stackGlobal(module, name string) []byte {
	return asm(short(module), 0x94, short(name), 0x94, 0x93, 0x94)
}

const (
	proto2 = "\x80\x02"
	proto4 = "\x80\x04"
)

// run is a pickle that calls module.name("id").
func run(module, name string) []byte {
	return asm(proto2, imports(module, name), text("id"), 0x85, "R.")
}

// malicious is every known way past a scanner, by name.
func malicious() map[string][]byte {
	exec := run("os", "system")
	m := map[string][]byte{
		"global":              exec,
		"global protocol 0":   asm(imports("posix", "system"), "(S'id'\ntR."),
		"inst":                asm("(S'id'\nios\nsystem\n."),
		"obj":                 asm("(", imports("os", "system"), text("id"), "o."),
		"newobj":              asm(proto2, imports("subprocess", "Popen"), text("id"), 0x85, 0x81, "."),
		"newobj_ex":           asm(proto4, imports("subprocess", "Popen"), text("id"), 0x85, "}", 0x92, "."),
		"stack_global":        asm(proto4, stackGlobal("os", "system"), text("id"), 0x85, "R."),
		"framed":              asm(proto4, 0x95, le64(40), stackGlobal("os", "system"), text("id"), 0x85, "R."),
		"frame too long":      asm(proto4, 0x95, le64(1<<40), stackGlobal("os", "system"), text("id"), 0x85, "R."),
		"memo":                asm(proto4, short("os"), 0x94, "0", short("system"), 0x94, "0", "h\x00h\x01", 0x93, text("id"), 0x85, "R."),
		"memo long binget":    asm(proto4, short("os"), "r", le32(70000), "0", short("system"), "q\x05", "0j", le32(70000), "h\x05", 0x93, text("id"), 0x85, "R."),
		"memo overwritten":    asm(proto4, short("collections"), "q\x00", "0", short("os"), "q\x00", "0", short("OrderedDict"), "q\x01", "0", short("system"), "q\x01", "0h\x00h\x01", 0x93, text("id"), 0x85, "R."),
		"memoize after put":   asm(proto4, short("x"), "q\x07", "0", short("os"), 0x94, "0", short("system"), 0x94, "0h\x01h\x02", 0x93, text("id"), 0x85, "R."),
		"memo text index":     asm("S'os'\np0\n0S'system'\np1\n0g0\ng1\n", 0x93, "S'id'\n", 0x85, "R."),
		"memo of nothing":     asm(proto4, "h\x05h\x06", 0x93, text("id"), 0x85, "R."),
		"dup":                 asm(proto4, short("os"), "20", short("system"), 0x93, text("id"), 0x85, "R."),
		"pop mark":            asm(proto4, "(", short("junk"), "1", short("os"), short("system"), 0x93, text("id"), 0x85, "R."),
		"escaped string":      asm(proto4, `S'\x6f\163'`, "\n", `V\u0073ystem`, "\n", 0x93, text("id"), 0x85, "R."),
		"ext1":                asm(proto2, 0x82, 1, text("id"), 0x85, "R."),
		"ext2":                asm(proto2, 0x83, 1, 1, text("id"), 0x85, "R."),
		"ext4":                asm(proto2, 0x84, le32(1), text("id"), 0x85, "R."),
		"computed operand":    asm(proto4, imports("builtins", "str"), text("os"), 0x85, "R", short("system"), 0x93, text("id"), 0x85, "R."),
		"computed callee":     asm(proto4, imports("collections", "OrderedDict"), ")R", ")R."),
		"persistent callee":   asm(proto2, text("os.system"), "Q", text("id"), 0x85, "R."),
		"getattr chain":       asm(proto2, imports("builtins", "getattr"), imports("collections", "abc"), text("sys"), 0x86, "R."),
		"importlib":           asm(proto2, imports("importlib", "import_module"), text("os"), 0x85, "R."),
		"__import__":          run("builtins", "__import__"),
		"py2 builtins":        run("__builtin__", "eval"),
		"eval":                run("builtins", "eval"),
		"dotted name":         asm(proto4, stackGlobal("collections", "abc.sys.modules"), "."),
		"dotted torch":        asm(proto4, stackGlobal("torch", "os.system"), text("id"), 0x85, "R."),
		"nested loads":        asm(proto2, imports("pickle", "loads"), data(exec), 0x85, "R."),
		"nested _pickle":      asm(proto2, imports("_pickle", "loads"), data(exec), 0x85, "R."),
		"nested torch":        asm(proto2, imports("torch.storage", "_load_from_bytes"), data(exec), 0x85, "R."),
		"nested torch opaque": asm(proto2, imports("torch.storage", "_load_from_bytes"), data([]byte("something else")), 0x85, "R."),
		"nested torch none":   asm(proto2, imports("torch.storage", "_load_from_bytes"), "N", 0x85, "R."),
		"nested latin1":       asm(proto2, imports("_codecs", "encode"), text(asString(exec)), text("latin1"), 0x86, "R."),
		"runpy":               run("runpy", "run_path"),
		"pip":                 run("pip._internal.cli.main", "main"),
		"timeit":              run("timeit", "timeit"),
		"torch.hub":           run("torch.hub", "load"),
		"torch.load":          run("torch", "load"),
		"cpp_extension":       run("torch.utils.cpp_extension", "load_inline"),
		"runstring":           run("numpy.testing._private.utils", "runstring"),
		"operator":            run("operator", "methodcaller"),
		"functools":           run("functools", "partial"),
		"unknown library":     run("acme.tools", "Runner"),
		"pydoc":               run("pydoc", "pipepager"),
		"cProfile":            run("cProfile", "runctx"),
		"ctypes":              run("ctypes", "CDLL"),
		"pty":                 run("pty", "spawn"),
		"webbrowser":          run("webbrowser", "open"),
		"asyncio":             run("asyncio.unix_events", "_UnixSubprocessTransport._start"),
		"linecache":           run("linecache", "getline"),
		"doctest":             run("doctest", "debug_script"),
		"bdb":                 run("bdb", "Bdb"),
		"family function":     run("sklearn.datasets.base", "load_files"),
		"private function":    run("sklearn.ensemble._base", "_parallel_fit_estimator"),
		"two low lines":       run("sklearn.pipeline", "__Pipeline"),
		"family in disguise":  run("sklearn.pipeline", "Pipeline.__init__.__globals__"),
		"space in a name":     run("torch", "Size device"),
		"empty name":          run("torch", ""),
		"patched class":       asm(proto2, imports("collections", "OrderedDict"), "N}", text("__reduce__"), "N", "s", 0x86, "b."),
		"patched environment": asm(proto2, imports("os", "environ"), text("LD_PRELOAD"), text("/tmp/x.so"), "s."),
		"broken after call":   exec[:len(exec)-1],
		"broken by a byte":    asm(exec[:len(exec)-1], 0xff, "more"),
		"stack underflow":     asm(proto2, imports("os", "system"), text("id"), 0x85, "R0000."),
		"several pickles":     asm(proto2, "N.", proto2, "}.", exec),
		"garbage in front":    asm("\x00\x01\x02garbage", exec),
		"zeros in front":      asm(make([]byte, 100_000), exec),
		"garbage behind":      asm(proto2, "N.", "\xff\xff\xff", exec),
		"protocol 0 in front": asm("\x00\x00", imports("os", "system"), "(S'id'\ntR."),
		"in a list":           asm(proto2, "](", imports("os", "system"), text("id"), 0x85, "Re."),
		"in a state":          asm(proto2, imports("collections", "OrderedDict"), ")R}", text("x"), imports("os", "system"), text("id"), 0x85, "Rsb."),
		"bytes skipped":       asm(proto2, "U\xff", strings.Repeat("x", 255), "0", exec[2:]),
		"safetensors too":     safetensorsPolyglot(),
	}
	for name, inner := range map[string][]byte{"eval": exec, "memo": m["memo"]} {
		m["torch zip "+name] = torchZip(inner)
		m["legacy torch "+name] = legacyTorch(inner)
		m["npy objects "+name] = npy("|O", inner)
		m["npy structured "+name] = asm(npyHeader(`{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }`), inner)
		m["npy spelled "+name] = asm(npyHeader(`{'descr': '|' '\x4f', 'fortran_order': False, 'shape': (1,), }`), inner)
		m["npz "+name] = zipOf("a.npy", npy("<f8", make([]byte, 8)), "b.npy", npy("|O", inner))
		m["joblib zlib "+name] = packed("zlib", inner)
		m["joblib gzip "+name] = packed("gzip", inner)
		m["zstd "+name] = packed("zstd", inner)
		m["gzip twice "+name] = packed("gzip", packed("zlib", inner))
		m["joblib inline "+name] = asm(joblibArray("O8", inner))
		m["joblib disguised "+name] = joblibArray("old f8", asm(inner, make([]byte, 800)))
		m["joblib aligned "+name] = joblibArray("f8", asm(inner, make([]byte, 800-len(inner))))
		m["tar gzip "+name] = tarOf("model/data.pkl.gz", packed("gzip", inner))
		m["gzip tar "+name] = packed("gzip", tarOf("model/data.pt", torchZip(inner)))
		m["tar "+name] = tarOf("model/data.pkl", inner)
		m["zip several "+name] = zipOf("a.pkl", asm(proto2, "N."), "b.pkl", asm(proto2, "}."), "c.pkl", inner)
		m["zip no extension "+name] = zipOf("archive/data.pkl", asm(proto2, "N."), "archive/extra", inner)
		m["zip in zip "+name] = zipOf("x.zip", torchZip(inner))
		m["zip behind "+name] = asm(strings.Repeat("#", 100), torchZip(inner))
		m["zip behind pickle "+name] = asm(proto2, "N.", torchZip(inner))
		m["zip duplicate "+name] = zipOf("archive/data.pkl", inner, "archive/data.pkl", asm(proto2, "N."))
		m["zip unlisted "+name] = unlistedZip(inner)
		m["zip stored gap "+name] = gapZip(inner)
		m["zip encrypted flag "+name] = patchZip(torchZip(inner), func(central, local []byte) { central[8] |= 1; local[6] |= 1 })
		m["zip bad crc "+name] = patchZip(torchZip(inner), func(central, local []byte) { central[16] ^= 0xff })
		m["zip other name "+name] = patchZip(torchZip(inner), func(_, local []byte) { copy(local[30:], "ARCHIVE/readme.t") })
		m["zip other method "+name] = patchZip(torchZip(inner), func(central, _ []byte) { central[10] = 97 })
		m["zip shorter "+name] = patchZip(torchZip(inner), func(central, _ []byte) { copy(central[20:], le32(3)) })
		m["zip traversal "+name] = zipOf("../../data.pkl", inner)
		m["zip without end "+name] = torchZip(inner)[:len(torchZip(inner))-10]
	}
	return m
}

// benign is what libraries write.
func benign() map[string][]byte {
	state := torchState()
	float := append(make([]byte, 0, 800), randomBytes(1, 800)...)
	return map[string][]byte{
		"none.pkl":            asm(proto2, "N."),
		"plain0.pkl":          asm("(dp0\nS'a'\np1\nI1\nsS'b'\np2\n(lp3\nF1.5\nasS'c'\np4\nL10L\ns."),
		"dict4.pkl":           asm(proto4, 0x95, le64(20), "}", 0x94, "(", short("a"), 0x94, "K\x01", short("b"), 0x94, "M\x01\x02", "u."),
		"several.pkl":         asm(proto2, "N.", proto2, "].", proto4, "}."),
		"date.pkl":            asm(proto4, stackGlobal("datetime", "datetime"), "C\x0a", "\x07\xea\x0b\x17\x01\x02\x03\x00\x00\x00", 0x85, "R."),
		"ordered.pkl":         asm(proto2, imports("collections", "OrderedDict"), ")R."),
		"pytorch_model.bin":   torchZip(state),
		"model.pt":            torchZip(state),
		"legacy.pth":          legacyTorch(state),
		"array.npy":           npy("<f8", float),
		"struct.npy":          asm(npyHeader(`{'descr': [('x', '<f4'), ('label', '<U12', (3,))], 'fortran_order': False, 'shape': (2,), }`), float),
		"objects.npy":         npy("|O", asm(proto4, numpyArray([]byte("]")), ".")),
		"arrays.npz":          zipOf("a.npy", npy("<f8", float), "b.npy", npy("|u1", float)),
		"array.pkl":           asm(proto4, numpyArray(data(float)), "."),
		"array2.pkl":          asm(proto2, imports("numpy.core.multiarray", "_reconstruct"), imports("numpy", "ndarray"), "K\x00", 0x85, text("b"), 0x87, "R(K\x01K\x03", 0x85, numpyType("f8"), 0x89, imports("_codecs", "encode"), text("\u0000\u00e9\u0001"), text("latin1"), 0x86, "Rtb."),
		"model.joblib":        joblibArray("f8", float),
		"labels.joblib":       joblibArray("O8", asm(proto4, "](", short("cat"), short("dog"), "e.")),
		"model.joblib.gz":     packed("gzip", joblibArray("f8", float)),
		"model.joblib.z":      packed("zlib", joblibArray("f8", float)),
		"classifier.pkl":      estimator(),
		"classifier.joblib":   packed("zlib", estimator()),
		"pipeline.pkl.gz":     packed("gzip", estimator()),
		"calibrated.pkl":      asm(proto4, stackGlobal("sklearn.calibration", "_CalibratedClassifier"), ")", 0x81, "}", short("estimator"), estimator()[2:len(estimator())-1], "sb."),
		"training_args.bin":   torchZip(asm(proto2, imports("transformers.training_args", "TrainingArguments"), ")", 0x81, "}", "(", text("lr"), "G", make([]byte, 8), "ub.")),
		"bytes_of_torch.pkl":  asm(proto4, stackGlobal("torch.storage", "_load_from_bytes"), data(legacyTorch(state)), 0x85, "R."),
		"bytes_of_torch2.pkl": asm(proto4, stackGlobal("torch.storage", "_load_from_bytes"), data(torchZip(state)), 0x85, "R."),
		"frame.pkl":           asm(proto4, stackGlobal("pandas.core.frame", "DataFrame"), ")", 0x81, "}", short("_mgr"), stackGlobal("pandas._libs.internals", "_unpickle_block"), ")Rsb."),
		"tokens.pkl":          vocabulary(20_000),
		"optimizer.pt":        torchZip(asm(proto2, "}(", text("state"), "}", text("param_groups"), "](}(", text("lr"), "G", make([]byte, 8), "ueu.")),
		// What no list can know: a project's own classes.
		"own_class.pkl":  asm(proto4, stackGlobal("churn.model", "ChurnModel"), ")", 0x81, "}b."),
		"own_lambda.pkl": asm(proto4, stackGlobal("sklearn.preprocessing._function_transformer", "FunctionTransformer"), ")", 0x81, "}", short("func"), stackGlobal("churn.features", "scale"), "sb."),
	}
}

// falseAlarms are the benign files that are called suspicious all the same.
var falseAlarms = []string{"own_class.pkl", "own_lambda.pkl"}

func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// torchState is the data.pkl of a state dict with one tensor.
func torchState() []byte {
	return asm(proto2, imports("collections", "OrderedDict"), "q\x00)Rq\x01(", text("weight"), "q\x02",
		imports("torch._utils", "_rebuild_tensor_v2"), "q\x03((", text("storage"), "q\x04", imports("torch", "FloatStorage"), "q\x05",
		text("0"), "q\x06", text("cpu"), "q\x07K\x08tq\x08QK\x00K\x02K\x04\x86q\x09K\x04K\x01\x86q\x0a\x89h\x00)Rq\x0btq\x0cRq\x0du}q\x0e", text("_metadata"), "q\x0f", "Nsb.")
}

func legacyTorch(object []byte) []byte {
	return asm(proto2, 0x8a, 10, torchMagic, ".", proto2, "M\xe9\x03.",
		proto2, "}(", text("little_endian"), 0x88, "u.", object, proto2, "](", text("0"), "e.", le64(8), randomBytes(2, 32))
}

func torchZip(object []byte) []byte {
	return zipOf("archive/data.pkl", object, "archive/byteorder", []byte("little"),
		"archive/data/0", randomBytes(3, 256), "archive/version", []byte("3\n"))
}

func npyHeader(header string) []byte {
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	return asm("\x93NUMPY\x01\x00", len(header)&0xff, len(header)>>8, header)
}

func npy(descr string, body []byte) []byte {
	return asm(npyHeader("{'descr': '"+descr+"', 'fortran_order': False, 'shape': (100,), }"), body)
}

// numpyType is a dtype as numpy pickles it.
func numpyType(code string) []byte {
	return asm(imports("numpy", "dtype"), text(code), 0x89, 0x88, 0x87, "R(K\x03", text("<"), "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
}

func numpyArray(body []byte) []byte {
	return asm(stackGlobal("numpy._core.multiarray", "_reconstruct"), stackGlobal("numpy", "ndarray"), "K\x00", 0x85, "C\x01b", 0x87, "R(K\x01Kd", 0x85, numpyType("f8"), 0x89, body, "tb")
}

// joblibArray is an array of 100 items as joblib writes it into a pickle, with
// a type in front of which "old" means: as before it aligned arrays.
func joblibArray(code string, body []byte) []byte {
	state := asm("}(", short("subclass"), stackGlobal("numpy", "ndarray"), short("shape"), "Kd", 0x85,
		short("order"), short("C"), short("dtype"), numpyType(strings.TrimPrefix(code, "old ")), short("allow_mmap"), 0x88)
	if code == "f8" {
		state = asm(state, short("numpy_array_alignment_bytes"), "K\x10ub", 3, "\xff\xff\xff")
	} else {
		state = asm(state, "ub")
	}
	return asm(proto4, "}", short("coef"), stackGlobal("joblib.numpy_pickle", "NumpyArrayWrapper"), ")", 0x81, state, body, "s.")
}

func estimator() []byte {
	return asm(proto4, stackGlobal("sklearn.linear_model._logistic", "LogisticRegression"), ")", 0x81, "}(",
		short("penalty"), short("l2"), short("coef_"), numpyArray(data(randomBytes(4, 64))),
		short("_sklearn_version"), short("1.7.0"), "ub.")
}

func vocabulary(n int) []byte {
	var b bytes.Buffer
	b.WriteString(proto4 + "](")
	for i := range n {
		b.Write(asm(short(fmt.Sprintf("token%d", i)), 0x94))
	}
	b.WriteString("e.")
	return b.Bytes()
}

// asString is bytes as protocol 2 writes them: a character for each byte.
func asString(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func safetensorsPolyglot() []byte {
	// U takes the zeros of the length and the beginning of the JSON as a string.
	body := asm(`{"__metadata__":{"x":"`)
	length := 7 + 8
	body = asm(body[:min(len(body), length-6)], "0", imports("os", "system"), "(S'id'\ntR.")
	return asm("U", length-2, make([]byte, 6), body, strings.Repeat(" ", 5000))
}

// zipOf makes an archive of names and contents in turn, stored as torch does.
func zipOf(pairs ...any) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		content := pairs[i+1].([]byte)
		w, err := z.CreateRaw(&zip.FileHeader{
			Name: pairs[i].(string), Method: zip.Store, CRC32: crc32.ChecksumIEEE(content),
			CompressedSize64: uint64(len(content)), UncompressedSize64: uint64(len(content)),
		})
		must(err)
		_, err = w.Write(content)
		must(err)
	}
	must(z.Close())
	return b.Bytes()
}

// patchZip changes the first entry's headers.
func patchZip(b []byte, patch func(central, local []byte)) []byte {
	patch(b[bytes.Index(b, []byte(zipCentral)):], b)
	return b
}

// unlistedZip leaves the first entry out of the directory.
func unlistedZip(inner []byte) []byte {
	b := zipOf("archive/data.pkl", inner, "archive/version", []byte("3\n"))
	first := bytes.Index(b, []byte(zipCentral))
	second := first + 4 + bytes.Index(b[first+4:], []byte(zipCentral))
	end := bytes.Index(b, []byte(zipEnd))
	out := asm(b[:first], b[second:end], b[end:])
	end -= second - first
	binary.LittleEndian.PutUint16(out[end+8:], 1)
	binary.LittleEndian.PutUint16(out[end+10:], 1)
	binary.LittleEndian.PutUint32(out[end+12:], uint32(end-first))
	return out
}

// gapZip puts a pickle between the entries and the directory.
func gapZip(inner []byte) []byte {
	b := zipOf("archive/version", []byte("3\n"))
	first, end := bytes.Index(b, []byte(zipCentral)), bytes.Index(b, []byte(zipEnd))
	out := asm(b[:first], inner, b[first:])
	binary.LittleEndian.PutUint32(out[end+len(inner)+16:], uint32(first+len(inner)))
	return out
}

func tarOf(name string, content []byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), Format: tar.FormatUSTAR}))
	_, err := w.Write(content)
	must(err)
	must(w.Close())
	return b.Bytes()
}

func packed(form string, content []byte) []byte {
	var b bytes.Buffer
	switch form {
	case "gzip":
		w := gzip.NewWriter(&b)
		_, err := w.Write(content)
		must(err)
		must(w.Close())
	case "zlib":
		w := zlib.NewWriter(&b)
		_, err := w.Write(content)
		must(err)
		must(w.Close())
	case "zstd":
		w, err := zstd.NewWriter(&b)
		must(err)
		_, err = w.Write(content)
		must(err)
		must(w.Close())
	}
	return b.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
