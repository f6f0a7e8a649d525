package modelfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
)

// written makes files as Python's own pickler, NumPy and pandas write them;
// those whose names begin with evil_ run a command when they are loaded.
const written = `
import collections, datetime, decimal, os, pathlib, pickle
import numpy as np, pandas as pd
class Evil:
    def __init__(self, f, *args): self.f, self.args = f, args
    def __reduce__(self): return self.f, self.args
values = {
    "date": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), "delta": datetime.timedelta(1),
    "counter": collections.Counter("abc"), "default": collections.defaultdict(list, a=[1]),
    "decimal": decimal.Decimal("1.5"), "path": pathlib.PurePosixPath("/x"),
    "array": np.arange(6.).reshape(2, 3), "scalar": np.float32(1), "objects": np.array(["a", None], dtype=object),
    "generator": np.random.default_rng(1), "random": np.random.RandomState(1), "dtype": np.dtype("f4"),
    "masked": np.ma.array([1, 2], mask=[0, 1]), "records": np.rec.array([(1, 2.)], names="a,b"),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": pd.to_datetime(["2026-01-01", "2026-01-02"])}),
    "series": pd.Series([1, 2, 3]), "categories": pd.Series(["a", "b"], dtype="category"),
    "index": pd.MultiIndex.from_tuples([(1, 2)]),
    "evil_system": Evil(os.system, "id"), "evil_eval": Evil(eval, "1"),
    "evil_inside": [np.arange(3.), {"a": Evil(os.popen, "id")}],
}
for name, value in values.items():
    for protocol in range(6):
        try:
            b = pickle.dumps(value, protocol)
        except pickle.PicklingError:
            continue  # not every protocol holds everything
        open(f"{name}.{protocol}.pkl", "wb").write(b)
np.save("array.npy", values["array"])
np.save("objects.npy", values["objects"])
np.savez("arrays.npz", a=values["array"], b=values["objects"])
np.savez_compressed("packed.npz", a=values["array"])
np.save("evil_objects.npy", np.array([values["evil_system"]], dtype=object))
`

// What the libraries themselves write is safe, and what is dangerous is found
// whichever protocol it is in.
func TestFilesOfTheLibraries(t *testing.T) {
	for _, mlflow := range []string{"mlflow2", "mlflow3"} {
		t.Run(mlflow, func(t *testing.T) {
			t.Parallel()
			dir := counterpart.Python(t, mlflow, written)
			files, err := filepath.Glob(filepath.Join(dir, "*.*"))
			require.NoError(t, err)
			require.Greater(t, len(files), 100)
			for _, file := range files {
				b, err := os.ReadFile(file)
				require.NoError(t, err)
				want, name := Safe, filepath.Base(file)
				if strings.HasPrefix(name, "evil_") {
					want = Dangerous
				}
				got := ScanBytes(t.Context(), name, b, DefaultLimits())
				require.Equal(t, want, got.Verdict, "%s: imports %q, findings %v", name, got.Imports, got.Findings)
			}
		})
	}
}
