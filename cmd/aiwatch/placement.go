package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"aiwatch/collectors"
	"aiwatch/forwarder/queue"
	"aiwatch/internal/conf"
	"aiwatch/internal/splunkd"
)

// checkPlacement says whether the add-on's inputs are in a good place of the
// Splunk in which it is installed.
func checkPlacement(host *splunkd.Host, dir string, inputs []*conf.Settings, report *checkReport) {
	add := func(v collectors.Verdict, text, fix string) {
		report.add("placement", finding{Verdict: v, Text: text, Fix: fix})
	}
	some := len(inputs) > 0
	for _, k := range conf.Kinds() {
		if !k.IsInput() {
			continue
		}
		elsewhere := host.InputsElsewhere(dir, k.Name)
		for _, stanza := range slices.Sorted(maps.Keys(elsewhere)) {
			some = true
			add(collectors.Good, fmt.Sprintf("%s stands in the app %s, where its form was opened; it is not tried here", stanza, elsewhere[stanza]), "")
		}
	}
	switch host.Role {
	case splunkd.ClusteredSearch:
		if some {
			add(collectors.Misset, "this is a member of a search head cluster, and each member runs the inputs: every event comes as often as there are members", "disable the inputs here (disabled = 1) and make them on a heavy forwarder")
			return
		}
		add(collectors.Good, "a member of a search head cluster, without inputs", "")
	case splunkd.Indexer:
		if some {
			add(collectors.Misset, "this is an indexer, and each peer runs the inputs", "remove the add-on from the indexers and make the inputs on a heavy forwarder")
			return
		}
		add(collectors.Warning, "this is an indexer, where nothing of the add-on is needed", "remove it: it does its work at search time and on the forwarder")
	case splunkd.Distributor:
		if some {
			add(collectors.Warning, "apps are handed out from here, and whoever gets this one runs its inputs; what they read is not tried from here", "hand it out to one heavy forwarder alone, or without local/inputs.conf")
			return
		}
		add(collectors.Good, "apps are handed out from here; this one has no inputs", "")
	case splunkd.UniversalForwarder:
		add(collectors.Good, "a universal forwarder: inputs are written in local/inputs.conf; the search heads need the add-on, too", "")
		for _, s := range inputs {
			if names := inPasswords(s); len(names) > 0 {
				add(collectors.Warning, s.Stanza()+" takes "+strings.Join(names, ", ")+" from storage/passwords, which has no form here", "make the entry with aiwatch credentials set, or name a file: "+strings.ReplaceAll(names[0], "_credential", "_file"))
			}
		}
	case splunkd.HeavyForwarder:
		add(collectors.Good, "a heavy forwarder, the place for inputs; the search heads need the add-on, too", "")
	case splunkd.Alone:
		add(collectors.Good, "one Splunk that searches: inputs and search-time knowledge", "")
	}
}

// inPasswords are the settings of an input that name an entry of
// storage/passwords.
func inPasswords(s *conf.Settings) []string {
	var names []string
	for _, k := range conf.Kinds() {
		if k.Name != s.Kind() {
			continue
		}
		for i := range k.Settings {
			for _, key := range k.Settings[i].Keys() {
				if strings.HasSuffix(key, "_credential") && s.IsSet(key) {
					names = append(names, key)
				}
			}
		}
	}
	return names
}

// checkSplunkState looks at where splunkd has each input keep its state, without
// making or changing it.
func (p *program) checkSplunkState(host *splunkd.Host, inputs []*conf.Settings, report *checkReport) {
	for _, s := range inputs {
		dir := filepath.Join(host.Checkpoints(s.Kind(), p.getenv), stateName(s))
		q, err := queue.Inspect(dir)
		switch {
		case err == nil:
			report.add(s.Stanza(), finding{Verdict: collectors.Good, Text: fmt.Sprintf("%s is usable; %d events wait", dir, q.Depth().Events)})
			_ = q.Close()
		case errors.Is(err, queue.ErrNone):
			report.add(s.Stanza(), finding{
				Verdict: collectors.Warning, Text: "it has not run on this Splunk yet: there is no state in " + dir,
				Fix: "if it runs on another one, leave it there: an input belongs in one place",
			})
		case errors.Is(err, queue.ErrHeld):
			report.add(s.Stanza(), finding{Verdict: collectors.Good, Text: "it runs, and holds its state in " + dir})
		default:
			report.add(s.Stanza(), finding{Verdict: collectors.Misset, Text: err.Error()})
			report.code = exitState
		}
	}
}
