package gitrepo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An operator's rules say what a path is, before the built-in classes and only
// in the repositories that they name.
func TestPathRules(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.PathRules = []PathRule{
		{Name: "elsewhere", Repo: "local/other/*", Pattern: `.`, Role: "control"},
		{Name: "checkpoints", Repo: "local/acme/*", Pattern: `^ckpt/(?P<name>[^/]+)/(?P<version>\d+)\.state$`, Role: "weights", Owner: "ml-core"},
		{Name: "scores", Repo: "*/vision", Pattern: `^scores/`, Role: "dataset"},
		{Name: "never reached", Repo: "*", Pattern: `^ckpt/`, Role: "card"},
		{Name: "kept as it is", Repo: "*", Pattern: `^docs/`},
	}
	l.commit("first")
	l.push()
	l.poll()
	l.commit("files",
		"ckpt/fraud/7.state", pickled("os", "system"), // no extension of a pickle
		"scores/a.txt", "1", "docs/a.txt", "x", "notes/a.txt", "x", "scores/model.safetensors", "w")
	l.push()
	files := map[string]row{}
	for _, e := range with(l.poll(), "file.added") {
		files[e.s("asset_id")[len("git:local/acme/vision//"):]] = e
	}
	require.Len(t, files, 4, "what no rule and no class knows is not told")
	ckpt := files["ckpt/fraud/7.state"]
	require.Equal(t, "weights", ckpt.s("asset_role"))
	require.Equal(t, "fraud", ckpt.s("asset_name"))
	require.Equal(t, "7", ckpt.s("asset_version"))
	require.Equal(t, "ml-core", ckpt.s("owner"))
	require.Equal(t, "dangerous", ckpt.s("verdict"), "weights are looked into whatever they are called")
	require.Equal(t, "dataset", files["scores/a.txt"].s("asset_role"))
	require.Equal(t, "acme/vision", files["scores/a.txt"].s("asset_name"))
	require.Equal(t, "dataset", files["scores/model.safetensors"].s("asset_role"))
	require.Equal(t, "safetensors", files["scores/model.safetensors"].s("asset_format"))
	require.Equal(t, "other", files["docs/a.txt"].s("asset_role"))

	l.cfg.PathRules = []PathRule{{Name: "wrong", Repo: "*", Pattern: "("}}
	_, err := New(l.cfg)
	require.ErrorContains(t, err, "[asset_rule://wrong] pattern")
}
