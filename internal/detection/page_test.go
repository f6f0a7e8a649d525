package detection

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// TestPageShowsWhatWasMeasured: counts and shares of the measured files stand in
// the row of their detection; what was not measured is said to be so.
func TestPageShowsWhatWasMeasured(t *testing.T) {
	all, err := Load(tree())
	require.NoError(t, err)
	proof, err := ReadProof(fstest.MapFS{
		"clean_month.json": {Data: []byte(`{"seed":7,"people":100,"days":30,"alerts":{"13":4,"35":2}}`)},
		"reach.json":       {Data: []byte(`{"13":{"scenario":"s","attack":"8 reads","fires":[1,2]}}`)},
	})
	require.NoError(t, err)
	page := string(Page(all, proof))
	require.Contains(t, page, "30 days of 100 people (seed 7), 6 alerts, which is 0.20 per hundred people and day")
	require.Regexp(t, `(?m)^\| 13 \| [^|]* \| 4 \| 8 reads \| fires \| fires \| missed \| 500000000: `, page)
	require.Regexp(t, `(?m)^\| 14 \| [^|]* \| 0 \| one act \|  \|  \|  \| `, page)
	require.NotContains(t, page, "not run")
	require.Regexp(t, `(?s)\n## 21 .*\*\*Can't see\.\*\* [^\n]+\n.*\n## 22 `, page)

	nothing, err := ReadProof(fstest.MapFS{})
	require.NoError(t, err)
	page = string(Page(all, nothing))
	require.Contains(t, page, "it was not run")
	require.Regexp(t, `(?m)^\| 13 \| [^|]* \| not run \| `, page)

	_, err = ReadProof(fstest.MapFS{"reach.json": {Data: []byte("{")}})
	require.ErrorContains(t, err, "reach.json")
}
