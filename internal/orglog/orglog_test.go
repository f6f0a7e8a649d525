package orglog

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/collectors/s3access"
	"aiwatch/internal/event"
)

var week = Options{
	Seed:  7,
	Start: time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC),
	End:   time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
}

func TestTheSameOptionsGiveTheSameBytes(t *testing.T) {
	logs := func(seed uint64) string {
		var b bytes.Buffer
		o := week
		o.Seed, o.Records = seed, 2000
		_, err := Write(o, func(name string, at time.Time, body []byte) error {
			b.WriteString(name + at.String())
			b.Write(body)
			return nil
		})
		require.NoError(t, err)
		return b.String()
	}
	first := logs(1)
	require.True(t, first == logs(1))
	require.False(t, first == logs(2))
}

func TestTheLayoutsHaveTheNamesOfS3(t *testing.T) {
	o := week
	o.Layouts = []Layout{Flat, DailyPath, EventPath}
	names := map[string]bool{}
	truth, err := Write(o, func(name string, at time.Time, _ []byte) error {
		require.False(t, names[name])
		names[name] = true
		switch {
		case strings.Contains(name, WebBucket):
			require.Regexp(t, `^logs/\d{12}/eu-west-1/acme-website/(\d{4})/(\d\d)/(\d\d)/\d{4}-\d\d-\d\d-00-00-00-[0-9A-F]{16}$`, name)
		case strings.Contains(name, DataBucket):
			require.Regexp(t, `^logs/\d{12}/eu-west-1/acme-datasets/\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}$`, name)
		default:
			require.Regexp(t, `^logs/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}$`, name)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, len(names), truth.Objects)
	require.NotZero(t, truth.Doubled)
	require.NotZero(t, truth.Late)
	require.NotEmpty(t, truth.Control)
	require.NotEmpty(t, truth.Damaged)
}

// The collector makes of the logs what the truth says, and its events are not
// larger than the lines they come from.
func TestTheCollectorFindsTheTruth(t *testing.T) {
	dir := t.TempDir()
	o := week
	o.Layouts = []Layout{Flat, DailyPath, EventPath}
	truth, err := WriteFolder(dir, o)
	require.NoError(t, err)

	collect := func(cfg s3access.Config) (ids []event.ID, eventBytes int) {
		cfg.Name, cfg.Path = "org", dir
		c, err := s3access.New(cfg)
		require.NoError(t, err)
		out := &collectors.Memory{Source: "aiwatch_s3://org", Collector: "0badcafe", Deliver: func(envelope []byte) error {
			_, rest, _ := bytes.Cut(envelope, []byte(`"event_id":"`))
			id, ok := event.ParseID(string(rest[:32]))
			require.True(t, ok)
			ids = append(ids, id)
			_, text, _ := bytes.Cut(envelope, []byte(`,"event":`))
			eventBytes += len(text) - 1
			return nil
		}}
		require.NoError(t, c.Poll(context.Background(), out))
		require.EqualValues(t, truth.Lines, c.Report().RecordsRead)
		return ids, eventBytes
	}

	ids, _ := collect(s3access.Config{All: true})
	require.Len(t, ids, truth.Lines)
	require.True(t, slices.Equal(set(truth.Assets, truth.Control, truth.Other, truth.Damaged), set(ids)))

	ids, size := collect(s3access.Config{WatchBuckets: []string{"acme-*"}})
	require.True(t, slices.Equal(set(truth.Assets, truth.Control, truth.Damaged), set(ids)))

	var lines, kept int
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		kept += len(body)
		lines += bytes.Count(body, []byte("\n"))
		return err
	}))
	ratio := float64(size) / float64(len(ids)) / (float64(kept) / float64(lines))
	t.Logf("an event has %.3f of the bytes of a line (%d of %d)", ratio, size/len(ids), kept/lines)
	require.LessOrEqual(t, ratio, 1.25)
}

func set(lists ...[]event.ID) []event.ID {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b event.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(all)
}

func BenchmarkWrite(b *testing.B) {
	o := week
	o.Records = 200_000
	var bytes int64
	for b.Loop() {
		truth, err := Write(o, func(string, time.Time, []byte) error { return nil })
		require.NoError(b, err)
		bytes = truth.Bytes
	}
	b.SetBytes(bytes)
}
