package splunkd

import (
	"os"
	"path/filepath"
	"strings"

	"aiwatch/internal/conf"
)

// A Role is what a Splunk is for.
type Role int

// The roles, as far as it matters to an add-on with inputs.
const (
	Alone              Role = iota // one Splunk for everything, or a search head without a cluster
	HeavyForwarder                 // sends on what it gets
	UniversalForwarder             // the same, without a web page and without searches
	ClusteredSearch                // a member of a search head cluster
	Indexer                        // a peer of an indexer cluster
	Distributor                    // hands apps out: deployer, cluster manager, deployment server
)

// A Host is the Splunk in which an app is installed.
type Host struct {
	Home string // SPLUNK_HOME
	Role Role
}

// distributed are the folders from which apps are handed out.
var distributed = []string{"shcluster/apps", "deployment-apps", "manager-apps", "master-apps"}

// HostOf returns the Splunk whose app is in dir, nil where dir is no app's
// folder of a Splunk. It reads files alone, and takes one that it can't read as
// one that says nothing.
func HostOf(dir string) *Host {
	parent := filepath.Dir(dir)
	for _, folder := range distributed {
		if home, ok := homeOf(parent, folder); ok {
			return &Host{home, Distributor}
		}
	}
	for _, folder := range []string{"peer-apps", "slave-apps"} {
		if home, ok := homeOf(parent, folder); ok {
			return &Host{home, Indexer}
		}
	}
	home, ok := homeOf(parent, "apps")
	if !ok {
		return nil
	}
	h := &Host{Home: home}
	switch mode := h.setting("server.conf", "clustering", "mode"); {
	case h.setting("server.conf", "shclustering", "disabled") == "0", h.setting("server.conf", "shclustering", "disabled") == "false":
		h.Role = ClusteredSearch
	case mode == "peer", mode == "slave":
		h.Role = Indexer
	case exists(filepath.Join(home, "etc", "apps", "SplunkUniversalForwarder")):
		h.Role = UniversalForwarder
	case h.forwards():
		h.Role = HeavyForwarder
	}
	return h
}

// InputsElsewhere returns the enabled inputs of a kind that stand in the folders
// of other apps than the one in dir: Splunk's forms write them to the app from
// which they were opened. The result maps stanzas to apps.
func (h *Host) InputsElsewhere(dir, kind string) map[string]string {
	found := map[string]string{}
	for _, app := range h.layers() {
		if app == dir {
			continue
		}
		f, _ := conf.Read(app, "inputs.conf")
		if f == nil {
			continue
		}
		for _, s := range f.Stanzas {
			disabled, _ := s.Get("disabled")
			if strings.HasPrefix(s.Name, kind+"://") && disabled.Text != "1" && disabled.Text != "true" {
				found[s.Name] = filepath.Base(app)
			}
		}
	}
	return found
}

// Checkpoints is the folder in which splunkd has an input's kind keep its state.
func (h *Host) Checkpoints(kind string, getenv func(string) string) string {
	db := getenv("SPLUNK_DB")
	if db == "" {
		db = filepath.Join(h.Home, "var", "lib", "splunk")
	}
	return filepath.Join(db, "modinputs", kind)
}

// homeOf returns SPLUNK_HOME where dir is the folder etc/NAME of one.
func homeOf(dir, name string) (home string, ok bool) {
	etc, ok := trimPath(dir, filepath.FromSlash(name))
	if !ok || filepath.Base(etc) != "etc" {
		return "", false
	}
	return filepath.Dir(etc), true
}

func trimPath(dir, end string) (string, bool) {
	for filepath.Base(dir) == filepath.Base(end) {
		dir = filepath.Dir(dir)
		if end = filepath.Dir(end); end == "." {
			return dir, true
		}
	}
	return "", false
}

// layers are the folders whose conf files hold for the system, the strongest
// first.
func (h *Host) layers() []string {
	apps, _ := filepath.Glob(filepath.Join(h.Home, "etc", "apps", "*")) // the pattern is sound
	return append([]string{filepath.Join(h.Home, "etc", "system")}, apps...)
}

// setting returns a setting of the system's configuration, empty where none is.
func (h *Host) setting(file, stanza, key string) string {
	for _, dir := range h.layers() {
		if f, _ := conf.Read(dir, file); f != nil {
			if s := f.Stanza(stanza); s != nil {
				if v, ok := s.Get(key); ok {
					return v.Text
				}
			}
		}
	}
	return ""
}

// forwards tells whether events leave this Splunk for an indexer.
func (h *Host) forwards() bool {
	for _, dir := range h.layers() {
		if f, _ := conf.Read(dir, "outputs.conf"); f != nil && f.Stanza("tcpout") != nil && h.setting("outputs.conf", "tcpout", "defaultGroup") != "" {
			return true
		}
	}
	return false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
