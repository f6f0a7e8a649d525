package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckOfAnInstalledAddon: check tells for each kind of Splunk whether it is
// the place for the add-on's inputs.
func TestCheckOfAnInstalledAddon(t *testing.T) {
	const (
		local  = "[aiwatch_s3://prod]\npath = access.log\n"
		secret = "[aiwatch_mlflow://registry]\nurl = http://127.0.0.1:1\nusername = a\npassword_credential = mlflow-prod\n"
		none   = "[aiwatch_s3://prod]\npath = access.log\ndisabled = 1\n"
	)
	cluster := map[string]string{"etc/system/local/server.conf": "[shclustering]\ndisabled = 0\n"}
	universal := map[string]string{"etc/apps/SplunkUniversalForwarder/default/app.conf": "[ui]\nis_visible = 0\n"}
	for name, c := range map[string]struct {
		folder string
		files  map[string]string
		inputs string
		code   int
		want   []string
	}{
		"alone": {"apps", nil, local, exitDone, []string{
			"ok           placement: one Splunk that searches",
			"ok           destination: splunkd, which confirms nothing",
			"warning      aiwatch_s3://prod: it has not run on this Splunk yet",
		}},
		"heavy forwarder":                 {"apps", map[string]string{"etc/system/local/outputs.conf": "[tcpout]\ndefaultGroup = x\n"}, local, exitDone, []string{"ok           placement: a heavy forwarder"}},
		"search head cluster with inputs": {"apps", cluster, local, exitUsage, []string{"wrong        placement: this is a member of a search head cluster", "disabled = 1"}},
		"search head cluster with an input of another app": {
			"apps",
			map[string]string{"etc/system/local/server.conf": "[shclustering]\ndisabled = 0\n", "etc/apps/search/local/inputs.conf": "[aiwatch_git://code]\nurl = https://x.example/r\n"},
			none, exitUsage,
			[]string{"aiwatch_git://code stands in the app search", "wrong        placement: this is a member"},
		},
		"search head cluster without inputs": {"apps", cluster, none, exitDone, []string{"ok           placement: a member of a search head cluster, without inputs"}},
		"deployer":                           {"shcluster/apps", nil, local, exitDone, []string{"warning      placement: apps are handed out from here", "is not tried from here"}},
		"deployer without inputs":            {"shcluster/apps", nil, none, exitDone, []string{"ok           placement: apps are handed out from here"}},
		"indexer with inputs":                {"peer-apps", nil, local, exitUsage, []string{"wrong        placement: this is an indexer"}},
		"indexer":                            {"peer-apps", nil, none, exitDone, []string{"warning      placement: this is an indexer, where nothing"}},
		"universal forwarder with a credential": {"apps", universal, secret, exitDone, []string{
			"ok           placement: a universal forwarder",
			"takes password_credential from storage/passwords, which has no form here", "name a file: password_file",
			"warning      aiwatch_mlflow://registry: not tried: password_credential is in storage/passwords",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			write := func(path, text string) {
				t.Helper()
				path = filepath.Join(home, filepath.FromSlash(path))
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			}
			for path, text := range c.files {
				write(path, text)
			}
			app := "etc/" + c.folder + "/TA-aiwatch"
			write(app+"/local/inputs.conf", c.inputs)
			defaults, err := os.ReadFile("../../default/inputs.conf")
			require.NoError(t, err)
			write(app+"/default/inputs.conf", string(defaults))
			line, _ := accessLines(0, 1, logsBegin)
			write(app+"/access.log", string(line))

			code, out, errs := runCommandLine(t, "", (*program).checkCommand, "check", "--conf", filepath.Join(home, app))
			require.Equal(t, c.code, code, out+errs)
			for _, want := range c.want {
				require.Contains(t, out, want)
			}
		})
	}
}

// TestCheckSeesTheStateOfAnInput: check looks where splunkd has it keep its state.
func TestCheckSeesTheStateOfAnInput(t *testing.T) {
	home := t.TempDir()
	app := filepath.Join(home, "etc/apps/TA-aiwatch")
	require.NoError(t, os.MkdirAll(filepath.Join(app, "local"), 0o755))
	log := accessLogs(t, 1)
	require.NoError(t, os.WriteFile(filepath.Join(app, "local/inputs.conf"), []byte("[aiwatch_s3://prod]\npath = "+log+"\n"), 0o644))
	code, _, errs := runCommandLine(t, handedOver(filepath.Join(home, "var/lib/splunk/modinputs/aiwatch_s3"), "aiwatch_s3://prod", map[string]string{
		"interval": "0 * * * *", "path": log,
	}), (*program).modinputCommand, "modinput", "aiwatch_s3")
	require.Equal(t, exitDone, code, errs)
	code, out, errs := runCommandLine(t, "", (*program).checkCommand, "check", "--conf", app)
	require.Equal(t, exitDone, code, out+errs)
	require.Contains(t, out, "is usable; 0 events wait")
}
