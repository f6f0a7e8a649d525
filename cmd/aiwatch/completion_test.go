package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shellCommands has each shell load the script that it is given and print what
// it makes of a line, a proposal a line.
var shellCommands = map[string]string{
	// What readline does: it calls the function that is registered.
	"bash": `
source "$SCRIPT"
read -r _ _ _ _ function name <<<"$(complete -p aiwatch)"
COMP_LINE=$LINE COMP_POINT=${#LINE}
"$function" "$name"
printf '%s\n' "${COMPREPLY[@]}"`,
	// The completion system runs in the line editor alone; what it is handed is
	// printed instead.
	"zsh": `
compdef() { registered=$1 }
_describe() { for entry in ${(P)2}; print -r -- ${${${entry//\\:/|}%%:*}//|/:} }
_files() { print files }
source "$SCRIPT"
words=("${(@s: :)LINE}") CURRENT=$#words
$registered`,
	"fish": `
source $SCRIPT
complete -C "$LINE" | string replace -r '\t.*' ''
true`,
}

// TestShellsComplete: each shell that is installed loads its script and completes
// commands, flags and inputs.
func TestShellsComplete(t *testing.T) {
	whole(t)
	conf := writeConfiguration(t, "[aiwatch_s3://prod]\npath = /logs\n[aiwatch_s3://lab]\npath = /logs\n[aiwatch_git://lab]\nurl = https://git.acme.example/a\n[aiwatch_s3://off]\npath = /logs\ndisabled = true\n", "")
	bin := filepath.Dir(builtProgram(t))
	for shell, command := range shellCommands {
		t.Run(shell, func(t *testing.T) {
			tool, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			script, err := exec.Command(builtProgram(t), "completion", shell).Output()
			require.NoError(t, err)
			home, dir := t.TempDir(), t.TempDir()
			path := filepath.Join(dir, ".script")
			require.NoError(t, os.WriteFile(path, script, 0o600))
			complete := func(line string) []string {
				t.Helper()
				cmd := exec.Command(tool, "-c", command)
				cmd.Dir = dir // has no file that might be proposed
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+home, "XDG_CONFIG_HOME="+home, "SCRIPT="+path, "LINE="+line, "AIWATCH_CONF="+conf)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				require.NoError(t, err, stderr.String())
				return strings.Fields(string(out))
			}
			require.Equal(t, []string{"scenario"}, complete("aiwatch sce"))
			require.ElementsMatch(t, []string{"scenario", "schema"}, complete("aiwatch sc"))
			require.Equal(t, []string{"--max-wait"}, complete("aiwatch run --once --m"))
			require.Equal(t, []string{"prod"}, complete("aiwatch run --input p"))
			require.ElementsMatch(t, shells, complete("aiwatch completion "))
			stanza := []string{"aiwatch_s3://lab"}
			if shell == "bash" {
				stanza = []string{"//lab"} // what stands behind the word's last :
			}
			require.Equal(t, stanza, complete("aiwatch collect aiwatch_s3:"))
		})
	}
}

// TestComplete: what may follow, by the line alone.
func TestComplete(t *testing.T) {
	conf := writeConfiguration(t, "[aiwatch_s3://prod]\npath = /logs\n[aiwatch_s3://lab]\npath = /logs\n[aiwatch_git://lab]\nurl = https://git.acme.example/a\n[aiwatch_s3://off]\npath = /logs\ndisabled = true\n", "")
	empty := writeConfiguration(t, "", "")
	broken := writeConfiguration(t, "[aiwatch_s3://prod]\npaht = /logs\n", "")
	const inputs = "aiwatch_git://lab aiwatch_s3://lab prod"
	for line, want := range map[string]string{
		"che":                                  "check",
		"":                                     "run collect check status queue deadletter ",
		"--v":                                  "--version",
		"nonsense ":                            "",
		"queue ":                               "reroute",
		"queue r":                              "reroute",
		"queue reroute --in":                   "--input --index",
		"queue reroute --input ":               inputs,
		"deadletter show --":                   "--help --state --all",
		"run --once --max-wait ":               "", // a duration
		"run --max-wait 10s --inp":             "--input",
		"run --input prod --input ":            inputs,
		"run --input=":                         "--input=aiwatch_git://lab --input=aiwatch_s3://lab --input=prod",
		"run --input=p":                        "--input=prod",
		"run --conf " + empty + " --input ":    "",
		"run --conf=" + empty + " --input ":    "",
		"run --conf " + broken + " --input ":   "",
		"run --conf /nowhere --input ":         "",
		"run --conf ":                          "", // the shell's files
		"collect ":                             inputs,
		"collect aiwatch_s3":                   "aiwatch_s3://lab",
		"collect prod ":                        "", // it takes one
		"collect --conf " + conf + " --json p": "prod",
		"modinput aiwatch_g":                   "aiwatch_git",
		"completion ":                          "bash zsh fish",
		"completion zsh ":                      "",
		"inspect ":                             "",
	} {
		var out bytes.Buffer
		p := &program{stdout: &out, stderr: &out, getenv: func(name string) string {
			return map[string]string{"AIWATCH_CONF": conf}[name]
		}}
		words := append([]string{"aiwatch"}, strings.Split(line, " ")...)
		require.Equal(t, exitDone, p.run(t.Context(), append(words, completeFlag)), "%q: %s", line, out.String())
		var got []string
		for proposal := range strings.Lines(out.String()) {
			word, _, found := strings.Cut(proposal, "\t")
			require.True(t, found, proposal)
			got = append(got, word)
		}
		if all, ok := strings.CutSuffix(want, " "); ok {
			require.Contains(t, strings.Join(got, " "), all, "%q", line)
			continue
		}
		require.Equal(t, want, strings.Join(got, " "), "%q", line)
	}
}
