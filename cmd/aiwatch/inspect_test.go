package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

const (
	evilPickle = "\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."
	goodPickle = "\x80\x02ccollections\nOrderedDict\n)R."
	lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)

// inspect runs the command as the program would, and returns its exit code and
// what it printed.
func inspect(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{stdout: &out, stderr: &errs}
	app := &cli.App{
		Name: "aiwatch", Writer: &out, ErrWriter: &errs,
		ExitErrHandler: func(*cli.Context, error) {},
		Commands:       []*cli.Command{p.inspectCommand()},
	}
	code = p.report(app.RunContext(context.Background(), append([]string{"aiwatch", "inspect"}, args...)))
	return code, out.String(), errs.String()
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestInspectExitCodes(t *testing.T) {
	dir := t.TempDir()
	evil, good := filepath.Join(dir, "evil.pkl"), filepath.Join(dir, "good.pkl")
	write(t, evil, evilPickle)
	write(t, good, goodPickle)

	code, out, _ := inspect(t, good)
	require.Equal(t, exitDone, code)
	require.Regexp(t, `(?m)^safe +weights +pickle +\d+ .*good\.pkl$`, out)

	code, out, _ = inspect(t, good, evil)
	require.Equal(t, exitFound, code)
	require.Regexp(t, `(?m)^dangerous +weights +pickle +\d+ .*evil\.pkl$`, out)
	require.Contains(t, out, "os.system")

	code, _, errs := inspect(t)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "inspect takes files or folders")

	code, out, errs = inspect(t, filepath.Join(dir, "none"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "no such file")
	require.Contains(t, errs, "1 of 1 files")
}

func TestInspectWalksFolders(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret.pkl"), evilPickle)
	write(t, filepath.Join(dir, "m", "model.safetensors"), lfsPointer)
	write(t, filepath.Join(dir, "m", "config.json"), "{}")
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.pkl"), filepath.Join(dir, "out.pkl")))
	require.NoError(t, os.Symlink(".git/annex/objects/aa/bb/MD5-s3--900150983cd24fb0d6963f7d28e17f72", filepath.Join(dir, "annexed.bin")))

	code, out, _ := inspect(t, "--json", dir)
	require.Equal(t, exitDone, code, "what a link leads to is not inspected")
	var got []inspected
	for line := range strings.Lines(out) {
		var i inspected
		require.NoError(t, json.Unmarshal([]byte(line), &i))
		got = append(got, i)
	}
	require.Len(t, got, 3)
	require.Equal(t, filepath.Join(dir, "annexed.bin"), got[0].Path)
	require.Equal(t, "md5:900150983cd24fb0d6963f7d28e17f72", got[0].Pointers[0].Digest)
	require.Equal(t, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", got[1].Digest)
	require.Equal(t, int64(12345), got[2].Pointers[0].Size)

	code, _, _ = inspect(t, filepath.Join(dir, "out.pkl"))
	require.Equal(t, exitFound, code, "a link that is named is followed")
}

func TestInspectEscapesNames(t *testing.T) {
	dir := t.TempDir()
	hostile := "a\x1b[31m\u202e\n\xff.pkl"
	write(t, filepath.Join(dir, hostile), "\x80\x02cos\x1b[2J\nsystem\u202e\n.")
	for _, args := range [][]string{{dir}, {"--json", dir}} {
		code, out, _ := inspect(t, args...)
		require.Equal(t, exitFound, code)
		require.NotContains(t, out, "\x1b")
		require.NotContains(t, out, "\u202e")
		require.NotContains(t, out, "\xff")
	}
	_, out, _ := inspect(t, dir)
	require.Contains(t, out, `a\x1b[31m\u202e\n\xff.pkl`)
}
