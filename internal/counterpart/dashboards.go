package counterpart

import (
	"os/exec"
	"testing"
)

// DashboardPackages are Splunk's dashboard renderer and what drives a browser.
type DashboardPackages struct {
	Dir      string // with node_modules
	Node     string // the program
	Chromium string // the browser
}

// Dashboards finds the renderer's packages, Node and Chromium.
func Dashboards(tb testing.TB) *DashboardPackages {
	tb.Helper()
	d := &DashboardPackages{Dir: installed(tb, "dashboards")}
	for name, path := range map[string]*string{"node": &d.Node, "chromium": &d.Chromium} {
		var err error
		if *path, err = exec.LookPath(name); err != nil {
			absent(tb, "dashboards", err.Error())
		}
	}
	return d
}
