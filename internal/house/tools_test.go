package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// toolbox is tools.sh with one tool of ours, in folders of the test.
type toolbox struct {
	t     *testing.T
	dir   string
	cache string
	built string // gets a line for each install
}

func newToolbox(t *testing.T) *toolbox {
	b := &toolbox{t: t, dir: t.TempDir(), cache: t.TempDir(), built: filepath.Join(t.TempDir(), "built")}
	script, err := os.ReadFile(filepath.Join(root(t), "tools", "tools.sh"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "tools.sh"), script, 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(b.dir, "greeter"), 0o700))
	b.pin("echo hello >$1/greeting")
	return b
}

// pin replaces what the tool is made of.
func (b *toolbox) pin(script string) {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(filepath.Join(b.dir, "greeter", "finish.sh"),
		[]byte("set -e\necho built >>"+b.built+"\n"+script+"\n"), 0o600))
}

func (b *toolbox) run(args ...string) (string, error) {
	command := exec.CommandContext(b.t.Context(), filepath.Join(b.dir, "tools.sh"), args...)
	command.Env = append(os.Environ(), "AIWATCH_TOOLS="+b.cache)
	out, err := command.Output()
	return strings.TrimSpace(string(out)), err
}

func (b *toolbox) builds() int {
	content, err := os.ReadFile(b.built)
	require.NoError(b.t, err)
	return strings.Count(string(content), "built")
}

func TestToolsAreInstalledOnce(t *testing.T) {
	b := newToolbox(t)
	_, err := b.run("path", "greeter")
	require.Error(t, err, "not installed yet")

	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			_, err := b.run("install")
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, 1, b.builds(), "installs at the same time")
	dir, err := b.run("path", "greeter")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "greeting"))

	b.pin("echo good evening >$1/greeting")
	_, err = b.run("path", "greeter")
	require.Error(t, err, "another pin is not installed")
	_, err = b.run("install", "greeter")
	require.NoError(t, err)
	require.Equal(t, 2, b.builds())
	require.FileExists(t, filepath.Join(dir, "greeting"), "the other clone's stays")
}

func TestToolsCutShortAreMadeAnew(t *testing.T) {
	b := newToolbox(t)
	missing := filepath.Join(t.TempDir(), "missing")
	b.pin("echo half >$1/half; cat " + missing + "; echo hello >$1/greeting")
	_, err := b.run("install", "greeter")
	require.Error(t, err)
	_, err = b.run("path", "greeter")
	require.Error(t, err)

	require.NoError(t, os.WriteFile(missing, nil, 0o600))
	_, err = b.run("install", "greeter")
	require.NoError(t, err)
	dir, err := b.run("path", "greeter")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "greeting"))

	_, err = b.run("install", "nosuch")
	require.Error(t, err)
}
