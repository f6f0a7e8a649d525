package detection_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

// TestUnsignedAgainstTheHabit is the scenario of detection 24. A stream can't
// carry signatures, so that its bundles are made here: a repository in which
// everybody signs gets one more signed commit, and then one that is not.
func TestUnsignedAgainstTheHabit(t *testing.T) {
	if testing.Short() {
		t.Skip("makes keys and a signed history")
	}
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed: no commit can be signed")
	}
	dir := t.TempDir()
	key, work := filepath.Join(dir, "key"), filepath.Join(dir, "work")
	run := func(name string, arguments ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, arguments...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_DATE=2026-03-01T08:00:00Z", "GIT_COMMITTER_DATE=2026-03-01T08:00:00Z")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, arguments, out)
	}
	git := func(arguments ...string) { t.Helper(); run("git", append([]string{"-C", work}, arguments...)...) }
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", key)
	public, err := os.ReadFile(key + ".pub")
	require.NoError(t, err)
	run("git", "init", "--quiet", "--initial-branch=main", work)
	commit := func(n int, signing ...string) {
		t.Helper()
		git(append([]string{
			"-c", "user.name=Ann", "-c", "user.email=ann@example.test", "-c", "gpg.format=ssh", "-c", "user.signingkey=" + key,
			"commit", "--quiet", "--allow-empty", "--message", fmt.Sprint("work ", n),
		}, signing...)...)
	}
	bundle := func(name string) { t.Helper(); git("bundle", "create", "--quiet", filepath.Join(dir, name), "main") }
	for n := range 8 {
		commit(n, "--gpg-sign")
	}
	bundle("habit.bundle")
	commit(8, "--gpg-sign")
	bundle("signed.bundle")
	commit(9)
	bundle("unsigned.bundle")

	for name, text := range map[string]string{
		"allowed_signers": "ann@example.test " + string(public),
		"aiwatch.conf":    "[hec]\nurl = https://splunk.example.test:8088\ntoken_env = HEC_TOKEN\n",
		"inputs.conf": "[aiwatch_git://forge]\nurl = ${GIT}/acme/vision.git\nroot = ${GIT}\ninstance = forge\n" +
			"allowed_signers_file = ${SCENARIO}/allowed_signers\naccess_log = ${ACCESS_LOG}\ntrust = authenticated\n",
		"acts.ndjson": `{"at": "2026-03-01T09:00:00Z", "git": {"repo": "acme/vision", "bundle": "habit.bundle"}}
{"at": "2026-03-02T09:00:00Z", "git": {"repo": "acme/vision", "bundle": "signed.bundle"}}
{"at": "2026-03-02T09:59:59Z", "access": "10.1.1.7 - mallory [02/Mar/2026:09:59:59 +0000] \"POST /acme/vision.git/git-receive-pack HTTP/1.1\" 200 52 \"-\" \"git/2.47.1\""}
{"at": "2026-03-02T10:00:00Z", "git": {"repo": "acme/vision", "bundle": "unsigned.bundle"}}
`,
		"scenario.yml": `name: unsigned against the habit
story: All sign. Mallory pushes a commit that nobody signed.
start: 2026-03-02T08:00:00Z
end: 2026-03-02T11:00:00Z
people: 2
expect:
  - {detection: 24, user: mallory, asset: "git:forge/acme/vision@", from: 2026-03-02T10:00:00Z, to: 2026-03-02T10:20:00Z, why: the only commit without a signature}
quiet:
  max_alerts_per_100_people_per_day: 0
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	s, err := scenario.Load(dir)
	require.NoError(t, err)
	app, err := detection.FS()
	require.NoError(t, err)
	var findings bytes.Buffer
	played := scenario.Run{App: app, Findings: &findings}
	verdict, err := played.Do(t.Context(), s)
	require.NoError(t, err)
	require.True(t, verdict.OK(), "%s", findings.String())
}
