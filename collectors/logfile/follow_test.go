package logfile_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/collectors/logfile"
)

var _ logfile.State = collectors.Output(nil)

// A desk follows one log.
type desk struct {
	t     testing.TB
	log   logfile.Log
	state collectors.Memory
	now   time.Time
	notes []string
	lines []logfile.Line // of the last read, with texts of their own
	seen  []string       // texts
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	d.log = logfile.Log{
		Path: filepath.Join(t.TempDir(), "access.log"), Key: "log", Now: func() time.Time { return d.now },
		Lost: func(note string) { d.notes = append(d.notes, note) },
	}
	return d
}

// read reads a minute later, and returns the texts.
func (d *desk) read() []string {
	d.t.Helper()
	d.now = d.now.Add(time.Minute)
	d.lines, d.seen = nil, []string{}
	require.NoError(d.t, d.log.Read(d.t.Context(), &d.state, d.visit))
	return d.seen
}

func (d *desk) visit(l *logfile.Line) error {
	d.seen = append(d.seen, string(l.Text))
	line := *l
	line.Text = []byte(d.seen[len(d.seen)-1])
	d.lines = append(d.lines, line)
	return nil
}

func (d *desk) append(path, text string) {
	d.t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(d.t, err)
	_, err = f.WriteString(text)
	require.NoError(d.t, err)
	require.NoError(d.t, f.Close())
}

func (d *desk) rename(to string) string {
	d.t.Helper()
	to = filepath.Join(filepath.Dir(d.log.Path), to)
	require.NoError(d.t, os.Rename(d.log.Path, to))
	return to
}

// put sets the position as an earlier version left it.
func (d *desk) put(position string) {
	d.state.Put("log", []byte(position))
	require.NoError(d.t, d.state.Checkpoint())
}

func TestWhereReadingBegins(t *testing.T) {
	d := newDesk(t)
	d.append(d.log.Path, "a\nb\nc")
	require.Empty(t, d.read(), "from the end")
	d.append(d.log.Path, "c\nd\r\n")
	require.Equal(t, []string{"cc", "d"}, d.read(), "a line that was not whole is new")
	require.Equal(t, int64(3), d.lines[0].Number)
	require.Equal(t, int64(4), d.lines[0].Offset)
	require.Equal(t, "file:access.log:3", d.lines[0].Ref)

	d = newDesk(t)
	require.Empty(t, d.read())
	d.append(d.log.Path, "a\n")
	require.Equal(t, []string{"a"}, d.read(), "a file that comes after the first contact is new")

	d = newDesk(t)
	d.log.Backfill = 48 * time.Hour
	d.append(d.log.Path, "a\n")
	require.Equal(t, []string{"a"}, d.read())
	require.Equal(t, d.now.Add(-48*time.Hour), d.lines[0].After.UTC())
	d.append(d.log.Path, "b\n")
	after := d.lines[0].After
	require.Equal(t, []string{"b"}, d.read())
	require.Equal(t, after, d.lines[0].After, "it counts from the first contact")

	d = newDesk(t)
	d.log.Backfill = logfile.All
	d.append(d.log.Path, "a\n")
	require.Equal(t, []string{"a"}, d.read())
	require.True(t, d.lines[0].After.Before(time.Unix(0, 0)))
}

// A line without a date is from between two reads, whichever file it stood in.
func TestSince(t *testing.T) {
	d := newDesk(t)
	d.log.Backfill = logfile.All
	d.append(d.log.Path, "a\n")
	d.read()
	require.True(t, d.lines[0].Since.IsZero(), "nobody looked before")
	before := d.now
	d.append(d.log.Path, "b\n")
	d.rename("access.log.1")
	d.append(d.log.Path, "c\n")
	require.Equal(t, []string{"b", "c"}, d.read())
	for _, l := range d.lines {
		require.True(t, before.Equal(l.Since), "%s: %s", l.Text, l.Since)
		require.Equal(t, d.now, l.Read)
	}
}

func TestRotation(t *testing.T) {
	for _, name := range []string{"access.log.1", "access.log-20260302", "access-20260302.log"} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.append(d.log.Path, "a\n")
			d.read()
			d.append(d.log.Path, "b\n")
			old := d.rename(name)
			require.Equal(t, []string{"b"}, d.read(), "moved away and not yet made anew")
			require.Equal(t, "file:"+name+":2", d.lines[0].Ref)
			d.append(old, "c\n")
			d.append(d.log.Path, "d\n")
			require.Equal(t, []string{"c", "d"}, d.read())
			require.NotEqual(t, d.lines[0].File, d.lines[1].File)
			require.Empty(t, d.notes)
		})
	}
}

// Files that all begin with the same line are told apart by what follows.
func TestSameFirstLine(t *testing.T) {
	const greeting = "INFO:     Started server process [1]\n"
	d := newDesk(t)
	d.append(d.log.Path, greeting+"a\n")
	d.read()
	d.append(d.log.Path, "b\n")
	d.rename("access.log.1")
	d.append(d.log.Path, greeting+strings.Repeat("longer than the file before\n", 3))
	require.Equal(t, []string{"b", strings.TrimSpace(greeting)}, d.read()[:2])
	require.Len(t, d.seen, 5)
}

func TestCutOff(t *testing.T) {
	d := newDesk(t)
	d.append(d.log.Path, "aaa\nbbb\n")
	d.read()
	require.NoError(t, os.WriteFile(d.log.Path, []byte("c\n"), 0o600))
	require.Equal(t, []string{"c"}, d.read())
	require.Equal(t, []string{d.log.Path + " was replaced and what it was before is not found; lines since 2026-03-02T09:01:00Z may be lost"}, d.notes)

	// Gone, with what was before: said once, not at every read.
	require.NoError(t, os.Remove(d.log.Path))
	d.read()
	d.read()
	require.Len(t, d.notes, 2)
	d.append(d.log.Path, "d\n")
	require.Equal(t, []string{"d"}, d.read())

	// Cut off to a beginning that is the same.
	d.append(d.log.Path, strings.Repeat("dd\n", 1000))
	d.read()
	require.NoError(t, os.Truncate(d.log.Path, 2000))
	require.Len(t, d.read(), 667, "what was read already, rather than nothing")
	require.Len(t, d.notes, 3)

	// Copied and cut off, as logrotate's copytruncate does it.
	d.append(d.log.Path, "e\n")
	all, err := os.ReadFile(d.log.Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(d.log.Path+".1", all, 0o600))
	require.NoError(t, os.WriteFile(d.log.Path, []byte("f\n"), 0o600))
	require.Equal(t, []string{"e", "f"}, d.read())
	require.Len(t, d.notes, 3)
}

func TestLongLines(t *testing.T) {
	d := newDesk(t)
	d.read()
	fits := strings.Repeat("y", 1<<20-1)
	d.append(d.log.Path, fits+"\n"+fits+"y\nb\n")
	require.Len(t, d.read(), 3)
	require.False(t, d.lines[0].TooLong)
	require.Equal(t, fits, string(d.lines[0].Text))
	require.True(t, d.lines[1].TooLong)
	require.Len(t, d.lines[1].Text, 1<<20)
	require.Equal(t, "b", string(d.lines[2].Text))
	require.Equal(t, int64(3), d.lines[2].Number)
}

// A pipe where a log should be is an error, not a wait.
func TestNoFile(t *testing.T) {
	d := newDesk(t)
	d.log.Path = "/dev/zero"
	err := d.log.Read(t.Context(), &d.state, d.visit)
	require.EqualError(t, err, "/dev/zero is not a regular file")
	require.EqualError(t, d.log.Check(), "/dev/zero is not a regular file")
	d.put("{")
	require.ErrorContains(t, d.log.Read(t.Context(), &d.state, d.visit), "the remembered position is damaged: ")
}

// TestUpgrade reads on from positions of versions that wrote less into them: the
// collectors of MLflow and of Git each had a form of their own.
func TestUpgrade(t *testing.T) {
	const first = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7" // of "a\n"
	for name, position := range map[string]string{
		"mlflow": `{"first":"` + first + `","offset":4,"line":2}`,
		"git":    `{"head":4,"origin":"911169ddaaf146af","offset":4,"line":2,"seen":1772442000000}`,
	} {
		for _, rotated := range []bool{false, true} {
			t.Run(fmt.Sprint(name, rotated), func(t *testing.T) {
				d := newDesk(t)
				d.put(position)
				d.append(d.log.Path, "a\nb\nc\n")
				want := []string{"c"}
				if rotated {
					d.rename("access.log.1")
					d.append(d.log.Path, "d\ne\n")
					want = append(want, "d", "e")
				}
				require.Equal(t, want, d.read())
				require.Equal(t, int64(3), d.lines[0].Number)
				require.Equal(t, first, d.lines[0].File)
				require.Empty(t, d.notes)
			})
		}
	}
	d := newDesk(t)
	d.put(`{"first":"","offset":0,"line":0}`)
	d.append(d.log.Path, "a\n")
	require.Equal(t, []string{"a"}, d.read(), "nothing was whole yet")
	d = newDesk(t)
	d.put(`{"first":"` + first + `","offset":4,"line":2}`)
	d.append(d.log.Path, "b\na\nb\n")
	require.Equal(t, []string{"b", "a", "b"}, d.read(), "another file")
	require.Len(t, d.notes, 1)
}

// A line's file and place are the same whenever it is read, so that events made
// from it can have the same ids.
func TestPlaceOfALine(t *testing.T) {
	var places [2][]string
	for i, reads := range []bool{true, false} {
		d := newDesk(t)
		d.log.Backfill = logfile.All
		for n := range 500 {
			d.append(d.log.Path, "line "+strconv.Itoa(n)+"\n")
			if reads && n%70 == 0 {
				d.read()
			}
			for _, l := range d.lines {
				places[i] = append(places[i], fmt.Sprint(l.File, l.Number, l.Offset))
			}
			d.lines = nil
		}
		d.read()
		for _, l := range d.lines {
			places[i] = append(places[i], fmt.Sprint(l.File, l.Number, l.Offset))
		}
	}
	require.Len(t, places[0], 500)
	require.Equal(t, places[0], places[1])
}

// An end in the middle leaves the position at the last checkpoint.
func TestEndInTheMiddle(t *testing.T) {
	d := newDesk(t)
	d.log.Backfill = logfile.All
	for n := range 450 {
		d.append(d.log.Path, strconv.Itoa(n)+"\n")
	}
	stop := errors.New("stop")
	visited := 0
	err := d.log.Read(t.Context(), &d.state, func(*logfile.Line) error {
		if visited++; visited == 300 {
			return stop
		}
		return nil
	})
	require.ErrorIs(t, err, stop)
	d.state.Discard()
	require.Equal(t, "200", d.read()[0])

	ctx, cancel := context.WithCancel(t.Context())
	d.append(d.log.Path, strings.Repeat("x\n", 300))
	visited = 0
	err = d.log.Read(ctx, &d.state, func(*logfile.Line) error { visited++; cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, visited, 300)
	require.Len(t, d.read(), 300-visited)
}

// TestNothingLostNothingDoubled writes, rotates, reads and stops in any order:
// every line is read once.
func TestNothingLostNothingDoubled(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		d := newDesk(t)
		d.read()
		written, read, rest, rotations := 0, []string{}, "", 0
		for range 60 {
			switch rnd.IntN(6) {
			case 0, 1: // some lines, the last perhaps not whole
				text := rest
				for range rnd.IntN(30) {
					text += strings.Repeat("x", rnd.IntN(100)) + strconv.Itoa(written) + "\n"
					written++
				}
				cut := len(text) - rnd.IntN(min(len(text), 5)+1)
				d.append(d.log.Path, text[:cut])
				rest = text[cut:]
			case 2: // moved away, once something of it was read
				read = append(read, d.read()...)
				if b, _ := os.ReadFile(d.log.Path); strings.Contains(string(b), "\n") {
					d.append(d.log.Path, rest)
					rest = ""
					rotations++
					d.rename("access.log." + strconv.Itoa(rotations))
				}
			case 3: // a stop in the middle
				stop := rnd.IntN(20)
				d.now = d.now.Add(time.Minute)
				before := d.position()
				d.seen = nil
				err := d.log.Read(t.Context(), &d.state, func(l *logfile.Line) error {
					if stop--; stop < 0 {
						return errors.New("stop")
					}
					return d.visit(l)
				})
				if err != nil {
					d.state.Discard()
					require.Equal(t, before, d.position())
				} else {
					read = append(read, d.seen...)
				}
			default:
				read = append(read, d.read()...)
			}
		}
		d.append(d.log.Path, rest)
		read = append(read, d.read()...)
		require.Equal(t, written, len(read), "seed %d", seed)
		for n, line := range read {
			require.Equal(t, strconv.Itoa(n), strings.TrimLeft(line, "x"), "seed %d", seed)
		}
		require.Empty(t, d.notes, "seed %d", seed)
	}
}

func (d *desk) position() string {
	b, err := d.state.Get("log")
	require.NoError(d.t, err)
	return string(b)
}
