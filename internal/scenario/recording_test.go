package scenario

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/spl"
)

// elsewhere is a recording of events that were collected elsewhere, in several
// files of many blocks each, added one after the other.
func elsewhere(files, each int) *Recording {
	rec := NewRecording("elsewhere")
	padding := strings.Repeat("x", 2000)
	for f := range files {
		for i := range each {
			at := eight.Add(time.Duration(i*files+f) * time.Second)
			rec.Add(at, fmt.Appendf(nil, `{"time":%d,"sourcetype":"aiwatch:s3","event":{"user":"%d/%d","padding":%q}}`, at.Unix(), i, f, padding))
		}
	}
	rec.Finish(eight, eight.Add(time.Hour))
	return rec
}

func TestFilesThatWereAddedOneAfterTheOtherAreReadSideBySide(t *testing.T) {
	for _, files := range []int{1, 3, openBlocks + 3} { // the last are more than a cursor holds
		rec := elsewhere(files, 200)
		last, steps := time.Time{}, 0
		require.NoError(t, rec.Each(func(s Step) error {
			require.False(t, s.At.Before(last), "%d files: %s comes after %s", files, s.At, last)
			require.Contains(t, string(s.Event[:90]), fmt.Sprintf(`"user":"%d/%d"`, steps/files, steps%files))
			last = s.At
			steps++
			return nil
		}))
		require.Equal(t, files*200, steps)
	}
}

func TestWhatCanNotBeIndexedIsHandedOver(t *testing.T) {
	rec := NewRecording("damaged")
	rec.Add(eight.Add(time.Minute), []byte(`{"time":1,"event":{"user":"a"`))
	rec.Add(eight.Add(time.Minute), fmt.Appendf(nil, `{"time":%d,"sourcetype":"aiwatch:s3","event":{"user":"b","asset_id":"s3://b/1"}}`, eight.Add(time.Minute).Unix()))
	rec.Finish(eight, eight.Add(time.Hour))
	app := fstest.MapFS{"default/savedsearches.conf": {Data: []byte("[s]\nsearch = index=aiwatch | eval detection=`number` | table detection user asset_id" + every15)}}
	searches, err := Searches(app)
	require.NoError(t, err)
	prepare := func(e *spl.Engine) error {
		e.Macros["number"] = map[string]string{"definition": "7"}
		return nil
	}

	_, err = Schedule(t.Context(), rec, app, searches, ScheduleOptions{Prepare: prepare})
	require.ErrorContains(t, err, "index an event")

	var refused []string
	report, err := Schedule(t.Context(), rec, app, searches, ScheduleOptions{Prepare: prepare, Refused: func(envelope []byte, err error) {
		refused = append(refused, string(envelope)+" "+err.Error())
	}})
	require.NoError(t, err)
	require.Len(t, refused, 1)
	require.Contains(t, refused[0], `"user":"a"`)
	require.Equal(t, map[string]int{"aiwatch:s3": 1}, report.Events)
	require.Equal(t, 1, report.Engine.Store.Len())
	require.Len(t, report.Findings, 1)
	require.Equal(t, 7, report.Findings[0].Detection)
}

// TestARecordingIsReadWhileItIsMade: a reader waits until no step of its time can
// come, and learns of one that came too late.
func TestARecordingIsReadWhileItIsMade(t *testing.T) {
	rec := newRecording(&Scenario{Name: "being made"})
	event := func(minute int, user string) {
		at := eight.Add(time.Duration(minute) * time.Minute)
		rec.add(at, fmt.Appendf(nil, `{"time":%d,"event":{"user":%q}}`, at.Unix(), user))
	}
	c := rec.cursor()
	defer c.close()
	read := make(chan string)
	go func() {
		defer close(read)
		for minute := 5; ; {
			s, ok, err := c.next(eight.Add(time.Duration(minute) * time.Minute))
			switch {
			case err != nil:
				read <- err.Error()
				return
			case ok:
				read <- string(s.Event[bytes.Index(s.Event, []byte(`"user"`)):])
			default:
				read <- fmt.Sprint("nothing till ", minute)
				minute += 5
			}
		}
	}()
	event(4, "b")
	event(3, "a")
	rec.advance(eight.Add(5 * time.Minute)) // what comes at 8:05 may not be there yet
	event(5, "c")
	event(6, "d")
	rec.advance(eight.Add(6 * time.Minute))
	for _, want := range []string{"a", "b", "c"} {
		require.Contains(t, <-read, fmt.Sprintf("%q", want))
	}
	require.Equal(t, "nothing till 5", <-read)
	rec.advance(eight.Add(11 * time.Minute))
	require.Contains(t, <-read, `"d"`)
	require.Equal(t, "nothing till 10", <-read)
	event(9, "late")
	rec.advance(eight.Add(12 * time.Minute))
	require.Equal(t, errLate.Error(), <-read)
	rec.finish()

	var whole []string
	require.NoError(t, rec.Each(func(s Step) error {
		whole = append(whole, s.At.Format("15:04"))
		return nil
	}))
	require.Equal(t, []string{"08:03", "08:04", "08:05", "08:06", "08:09"}, whole, "who reads it when it is whole misses nothing")

	broken := newRecording(&Scenario{Name: "broken"})
	broken.breakOff()
	_, _, err := broken.cursor().next(eight)
	require.ErrorIs(t, err, errBroken)
}
