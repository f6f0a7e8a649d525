package splunkd_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/splunkd"
)

func TestHostOf(t *testing.T) {
	for name, c := range map[string]struct {
		app   string // below SPLUNK_HOME
		files map[string]string
		role  splunkd.Role
	}{
		"alone":                        {"etc/apps/TA-aiwatch", nil, splunkd.Alone},
		"search head of a cluster":     {"etc/apps/TA-aiwatch", map[string]string{"etc/system/local/server.conf": "[clustering]\nmode = searchhead\n"}, splunkd.Alone},
		"cluster that is switched off": {"etc/apps/TA-aiwatch", map[string]string{"etc/system/local/server.conf": "[shclustering]\ndisabled = 1\n"}, splunkd.Alone},
		"search head cluster":          {"etc/apps/TA-aiwatch", map[string]string{"etc/system/local/server.conf": "[shclustering]\ndisabled = 0\n"}, splunkd.ClusteredSearch},
		"peer":                         {"etc/apps/TA-aiwatch", map[string]string{"etc/apps/base/local/server.conf": "[clustering]\nmode = peer\n"}, splunkd.Indexer},
		"peer's apps":                  {"etc/peer-apps/TA-aiwatch", nil, splunkd.Indexer},
		"deployer":                     {"etc/shcluster/apps/TA-aiwatch", nil, splunkd.Distributor},
		"deployment server":            {"etc/deployment-apps/TA-aiwatch", nil, splunkd.Distributor},
		"cluster manager":              {"etc/manager-apps/TA-aiwatch", nil, splunkd.Distributor},
		"heavy forwarder":              {"etc/apps/TA-aiwatch", map[string]string{"etc/apps/outputs/local/outputs.conf": "[tcpout]\ndefaultGroup = indexers\n"}, splunkd.HeavyForwarder},
		"universal forwarder": {"etc/apps/TA-aiwatch", map[string]string{
			"etc/apps/SplunkUniversalForwarder/default/app.conf": "[ui]\nis_visible = 0\n", "etc/system/local/outputs.conf": "[tcpout]\ndefaultGroup = indexers\n",
		}, splunkd.UniversalForwarder},
		"a file that is damaged": {"etc/apps/TA-aiwatch", map[string]string{"etc/system/local/server.conf": "what is this\n"}, splunkd.Alone},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			for path, text := range c.files {
				path = filepath.Join(home, filepath.FromSlash(path))
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			}
			host := splunkd.HostOf(filepath.Join(home, filepath.FromSlash(c.app)))
			require.NotNil(t, host)
			require.Equal(t, c.role, host.Role)
			require.Equal(t, home, host.Home)
		})
	}
	for _, dir := range []string{"/etc/aiwatch", "/opt/splunk/etc/system", "/apps/x", "/"} {
		require.Nil(t, splunkd.HostOf(dir), dir)
	}
}

func TestInputsElsewhere(t *testing.T) {
	home := t.TempDir()
	for path, text := range map[string]string{
		"etc/apps/TA-aiwatch/local/inputs.conf": "[aiwatch_s3://ours]\n",
		"etc/apps/search/local/inputs.conf":     "[aiwatch_s3://theirs]\npath = /x\n[aiwatch_s3://off]\ndisabled = 1\n[aiwatch_git://g]\n[monitor:///var/log]\n",
	} {
		path = filepath.Join(home, filepath.FromSlash(path))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	app := filepath.Join(home, "etc/apps/TA-aiwatch")
	require.Equal(t, map[string]string{"aiwatch_s3://theirs": "search"}, splunkd.HostOf(app).InputsElsewhere(app, "aiwatch_s3"))
}
