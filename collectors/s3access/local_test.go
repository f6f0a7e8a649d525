package s3access

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, os.Chtimes(path, now, now)) // just now, by the tests' clock
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.Chtimes(path, now, now.Add(time.Duration(fileSize(t, path))))) // another time for each size
}

func fileSize(t *testing.T, path string) int64 {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

func TestAFolderIsReadRecursively(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	write(t, filepath.Join(dir, "one"), lines(0, 2, now))
	write(t, filepath.Join(dir, "a", "two.gz"), append(zipped(lines(2, 2, now)), zipped(lines(4, 1, now))...))
	write(t, filepath.Join(dir, "a", "b", "three"), lines(5, 1, now))
	write(t, filepath.Join(dir, ".hidden"), lines(100, 1, now))
	write(t, filepath.Join(dir, "empty"), nil)
	out := newSink()
	c := collector(t, Config{Path: dir, Follow: true})
	poll(t, c, out)
	require.Equal(t, 6, len(out.requests()))
	poll(t, c, out)
	require.Equal(t, 6, len(out.envelopes))

	out = newSink()
	poll(t, collector(t, Config{Path: filepath.Join(dir, "*", "*.gz")}), out)
	require.Equal(t, 3, len(out.requests()))
}

func TestAGrowingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	all := lines(0, 60, now)
	write(t, path, nil)
	c := collector(t, Config{Path: path, Follow: true})
	out := newSink()
	r := rand.New(rand.NewPCG(3, 4))
	for at := 0; at < len(all); {
		n := min(1+r.IntN(2500), len(all)-at)
		appendTo(t, path, all[at:at+n])
		at += n
		poll(t, c, out)
	}
	require.Equal(t, 60, len(out.requests()))
	require.Equal(t, 60, len(out.envelopes), "a line that is written in two parts is one")
	require.Empty(t, out.damages())
}

func TestALastLineWithoutNewline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	all := lines(0, 2, now)
	write(t, path, all[:len(all)-1])
	out := newSink()
	poll(t, collector(t, Config{Path: path}), out)
	require.Equal(t, 2, len(out.requests()), "without follow the file is whole")

	out = newSink()
	later := now
	c := collector(t, Config{Path: path, Follow: true, Now: func() time.Time { return later }})
	poll(t, c, out)
	require.Equal(t, 1, len(out.requests()))
	later = now.Add(10 * time.Minute)
	poll(t, c, out)
	require.Equal(t, 2, len(out.requests()), "left alone for long enough it is whole")
	poll(t, c, out)
	require.Equal(t, 2, len(out.envelopes))
}

func TestRotations(t *testing.T) {
	for name, rotate := range map[string]func(t *testing.T, path string){
		"renamed": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+".1"))
			write(t, path, lines(50, 5, now))
		},
		"copied and truncated": func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, path+".1", data)
			require.NoError(t, os.Truncate(path, 0))
			appendTo(t, path, lines(50, 5, now))
		},
		"truncated and longer than before": func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(path, 0))
			appendTo(t, path, append(lines(50, 5, now), lines(0, 20, now)...))
		},
	} {
		for _, what := range []string{"access.log*", "."} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "access.log")
				write(t, path, lines(0, 10, now))
				c := collector(t, Config{Path: filepath.Join(dir, what), Follow: true})
				out := newSink()
				poll(t, c, out)
				appendTo(t, path, lines(10, 3, now)) // unread when it is rotated
				unread := 0
				if name != "truncated and longer than before" {
					unread = 3
				} else {
					unread = 10 // of the repeated ones
				}
				rotate(t, path)
				poll(t, c, out)
				require.Equal(t, 10+unread+5, len(out.requests()), "%v", out.requests())
				n := len(out.envelopes)
				poll(t, c, out)
				require.Equal(t, n, len(out.envelopes))
				if name != "truncated and longer than before" {
					require.Equal(t, 18, n, "nothing is read twice")
				}
			})
		}
	}
}

func TestARenamedLogIsReadToItsEndThoughThePathNamesOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	write(t, path, lines(0, 10, now))
	c := collector(t, Config{Path: path, Follow: true})
	out := newSink()
	poll(t, c, out)
	appendTo(t, path, lines(10, 3, now))
	require.NoError(t, os.Rename(path, path+".1"))
	write(t, path, lines(50, 5, now))
	poll(t, c, out)
	require.Equal(t, 18, len(out.requests()))
	require.Equal(t, 18, len(out.envelopes))
}

func TestLocalFilesKilledAnywhere(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), lines(0, 900, now))
	write(t, filepath.Join(dir, "b.gz"), zipped(lines(900, 1200, now)))
	write(t, filepath.Join(dir, "c"), []byte("no record\n"))
	whole := newSink()
	poll(t, collector(t, Config{Path: dir}), whole)
	want := withoutSeq(whole.envelopes)
	require.Equal(t, 2101, len(want))
	r := rand.New(rand.NewPCG(5, 6))
	for range rounds(t) {
		out := &killedSink{sink: newSink()}
		for {
			out.left = 1 + r.IntN(6)
			err := collector(t, Config{Path: dir}).Poll(context.Background(), out)
			out.Discard()
			if err == nil {
				break
			}
			require.True(t, errors.Is(err, errKilled), "%v", err)
		}
		require.Empty(t, difference(want, withoutSeq(out.envelopes)))
	}
}

func TestAPollEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, lines(0, 5000, now))
	ctx, cancel := context.WithCancel(context.Background())
	out := &cancelling{sink: newSink(), after: 3, cancel: cancel}
	require.ErrorIs(t, collector(t, Config{Path: path}).Poll(ctx, out), context.Canceled)
	out.Discard()
	require.Less(t, len(out.envelopes), 5000)
	poll(t, collector(t, Config{Path: path}), out.sink)
	require.Equal(t, 5000, len(out.envelopes), "it goes on where it ended")
}

type cancelling struct {
	*sink
	after  int
	cancel func()
}

func (c *cancelling) Checkpoint() error {
	if c.after--; c.after == 0 {
		c.cancel()
	}
	return c.sink.Checkpoint()
}

func TestCheckOfAPath(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.log")
	write(t, good, lines(0, 3, now))
	bad := filepath.Join(dir, "bad.log")
	write(t, bad, []byte("this is\nno log\n"))
	half := filepath.Join(dir, "half.log")
	write(t, half, append(lines(0, 3, now), "damaged\n"...))
	empty := t.TempDir()
	for path, want := range map[string]struct {
		verdict collectors.Verdict
		text    string
	}{
		good:                         {collectors.Good, "is server_access"},
		bad:                          {collectors.Misset, "not recognised"},
		half:                         {collectors.Warning, "1 of its first 4 records can't be read"},
		empty:                        {collectors.Warning, "no log file"},
		filepath.Join(dir, "absent"): {collectors.Misset, "does not exist"},
	} {
		findings := collector(t, Config{Path: path}).Check(context.Background())
		last := findings[len(findings)-1]
		require.Equal(t, want.verdict, last.Verdict, path)
		require.Contains(t, last.Text, want.text)
		require.Equal(t, last.Verdict == collectors.Good, last.Fix == "", path)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	for want, cfg := range map[string]Config{
		"no intake":            {},
		"one intake":           {Path: "a", Bucket: "b"},
		"format = odd":         {Path: "a", Format: "odd"},
		"lateness":             {Path: "a", Lateness: 400 * time.Hour},
		"watch_buckets":        {Path: "a", WatchBuckets: []string{"["}},
		"asset_rule://x":       {Path: "a", Assets: []AssetRule{{Name: "x", Pattern: "("}}},
		"at most 200":          {Path: "a", Assets: make([]AssetRule, 201)},
		"proxy = odd":          {Bucket: "a", AWS: AWS{Proxy: "odd"}},
		"read ca_file":         {Bucket: "a", AWS: AWS{CAFile: "/does/not/exist"}},
		"client_cert_file":     {Bucket: "a", AWS: AWS{ClientCertFile: "/does/not/exist"}},
		"queue_url = nonsense": {Bucket: "a", QueueURL: "nonsense"},
	} {
		_, err := New(cfg)
		require.ErrorContains(t, err, want, fmt.Sprint(cfg))
	}
}
