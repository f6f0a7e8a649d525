package detection_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/scenario"
)

var update = flag.Bool("update", false, "write what was measured anew")

// A volume is an attack of a scenario that can be made smaller.
type volume struct {
	scenario, user string
	detections     []int
	acts           *regexp.Regexp // the lines of the attack that make its volume
	says           string         // with the number of these acts
}

// volumes are the attacks that have one.
var volumes = []volume{
	{"s3_insiders", "eve", []int{13, 14}, regexp.MustCompile(`"2026-03-03T.*:user/eve .* REST\.GET\.OBJECT `), "%d reads of 4 GB in a day"},
	{"s3_insiders", "kim", []int{15}, regexp.MustCompile(`:user/kim .* REST\.GET\.OBJECT `), "%d of 24 parts read, four a day"},
	{"s3_insiders", "hal", []int{21}, regexp.MustCompile(`:user/hal .* REST\.GET\.OBJECT `), "%d read of 2 GB, then deleted"},
	{"s3_insiders", "ivy", []int{27}, regexp.MustCompile(`:user/ivy .* REST\.DELETE\.OBJECT `), "%d deletions in a morning, none before"},
	{"s3_insiders", "max", []int{28}, regexp.MustCompile(`:user/max .* REST\.DELETE\.OBJECT `), "versioning written, %d deletions"},
	{"people_insiders", "cleo", []int{18}, regexp.MustCompile(`"2026-03-18T19:.* - cleo `), "%d repositories in an evening"},
	{"people_insiders", "leo", []int{17, 35}, regexp.MustCompile(`"2026-03-18T21:.*(?: - leo |:user/leo )`), "%d reads and clones by a leaver from an unknown network"},
}

// TestReach plays the attacks that have a volume at all of it, a half and a
// quarter, and holds which detections still fire against testdata/reach.json,
// which docs/detections.md shows. Everything is played with -update and with
// AIWATCH_ROUNDS=100, else the quarters of S3 alone.
//
// Of several acts a share stays, evenly spread, at least one; a single act reads
// that share of its bytes. The other acts of the scenario stay as they are, and
// its own searches run: those of the detections that it expects, and those that
// fill tables.
func TestReach(t *testing.T) {
	if testing.Short() {
		t.Skip("plays days of people's work")
	}
	rounds, err := strconv.Atoi(os.Getenv("AIWATCH_ROUNDS"))
	whole := *update || err == nil && rounds >= 100
	app, err := detection.FS()
	require.NoError(t, err)
	searches, err := scenario.Searches(app)
	require.NoError(t, err)

	proof, err := detection.ReadProof(os.DirFS("testdata"))
	require.NoError(t, err)
	if !*update {
		var numbers []int
		for _, v := range volumes {
			numbers = append(numbers, v.detections...)
		}
		require.ElementsMatch(t, numbers, slices.Collect(maps.Keys(proof.Reach)), "testdata/reach.json: run this test with -update")
	}
	found := map[int]detection.Reach{}
	for _, name := range []string{"s3_insiders", "people_insiders"} {
		for _, share := range detection.Shares {
			if !whole && (name != "s3_insiders" || share != 4) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", name, share), func(t *testing.T) {
				dir, counts := shrink(t, name, share)
				s, err := scenario.Load(dir)
				require.NoError(t, err)
				_, report, err := scenario.PlayAndSchedule(t.Context(), s, scenario.Options{}, app, of(s, searches), scenario.ScheduleOptions{})
				require.NoError(t, err)
				missed := s.Judge(report.Findings).Missed
				for i, v := range volumes {
					if v.scenario != name {
						continue
					}
					for _, number := range v.detections {
						require.True(t, slices.ContainsFunc(s.Expect, func(x scenario.Expect) bool { return x.Detection == number && x.User == v.user }),
							"%s does not expect %d of %s", name, number, v.user)
						fires := !slices.ContainsFunc(missed, func(m scenario.Missed) bool { return m.Detection == number && m.User == v.user })
						r := found[number]
						r.Scenario, r.Attack = name, fmt.Sprintf(v.says, counts[i])
						if fires {
							r.Fires = append(r.Fires, share)
						}
						found[number] = r
						if !*update {
							require.Equal(t, slices.Contains(proof.Reach[number].Fires, share), fires, "detection %d at 1/%d of %s", number, share, r.Attack)
							require.Equal(t, proof.Reach[number].Attack, r.Attack)
						}
					}
				}
			})
		}
	}
	if *update && !t.Failed() {
		all := maps.Clone(proof.Reach) // -run may have left out a scenario
		if all == nil {
			all = map[int]detection.Reach{}
		}
		maps.Copy(all, found)
		text, err := json.MarshalIndent(all, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join("testdata", "reach.json"), append(text, '\n'), 0o644))
	}
}

// of are the searches of the detections that a scenario expects, and those that
// find nothing themselves.
func of(s *scenario.Scenario, all []*scenario.Search) (some []*scenario.Search) {
	for _, search := range all {
		number, err := strconv.Atoi(search.Inline["detection"])
		if err != nil || slices.ContainsFunc(s.Expect, func(x scenario.Expect) bool { return x.Detection == number }) {
			some = append(some, search)
		}
	}
	return some
}

var bytesSent = regexp.MustCompile(`(HTTP/1\.1\\" 200 - )(\d+) `)

// shrink makes a scenario's folder in which of each attack one part in share is
// left. counts are how many acts each has as it is told.
func shrink(t *testing.T, name string, share int) (dir string, counts []int) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "splunk_app", "scenarios", name))))
	path := filepath.Join(dir, "acts.ndjson")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	counts = make([]int, len(volumes))
	for i, v := range volumes {
		if v.scenario != name {
			continue
		}
		var acts []int
		for n, line := range lines {
			if v.acts.MatchString(line) {
				acts = append(acts, n)
			}
		}
		require.NotEmpty(t, acts, "%s has no such act: %s", name, v.acts)
		counts[i] = len(acts)
		if len(acts) == 1 {
			sent := bytesSent.FindStringSubmatch(lines[acts[0]])
			require.NotNil(t, sent, lines[acts[0]])
			size, err := strconv.Atoi(sent[2])
			require.NoError(t, err)
			lines[acts[0]] = strings.Replace(lines[acts[0]], sent[0], fmt.Sprintf("%s%d ", sent[1], size/share), 1)
			continue
		}
		left := max(1, len(acts)/share)
		for k, n := range acts {
			// The last one of each part stays.
			if (k+1)*left/len(acts) == k*left/len(acts) {
				lines[n] = ""
			}
		}
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644))
	return dir, counts
}
