package modinput_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/event"
	"aiwatch/internal/modinput"
)

// streamed is what a strict reader sees in a stream.
type streamed struct {
	XMLName xml.Name `xml:"stream"`
	Events  []struct {
		Unbroken   string    `xml:"unbroken,attr"`
		Time       string    `xml:"time"`
		Source     string    `xml:"source"`
		Sourcetype string    `xml:"sourcetype"`
		Index      string    `xml:"index"`
		Host       string    `xml:"host"`
		Data       string    `xml:"data"`
		Done       *struct{} `xml:"done"`
	} `xml:"event"`
}

func read(t *testing.T, text []byte) streamed {
	t.Helper()
	var s streamed
	require.NoError(t, xml.Unmarshal(text, &s), string(text))
	return s
}

func envelopes(users ...string) []byte {
	var b []byte
	for i, user := range users {
		ev := event.Event{
			Envelope: event.Envelope{
				Time: event.Millis(1_761_900_000_120 + int64(i)), Host: "mlflow01",
				Source: "aiwatch_mlflow://<prod>", Sourcetype: event.SourcetypeMLflow, Index: "aiwatch",
			},
			ID: event.MakeID("test", user), Operation: "alias.set", User: user,
		}
		b = ev.AppendEnvelope(b)
	}
	return b
}

func TestStream(t *testing.T) {
	var b bytes.Buffer
	s := modinput.NewStream(&b)
	require.NoError(t, s.Send(t.Context(), envelopes("eve", "a<b>&\"c\" \u2028 \x01 \ufffe"), func(bool) {}))
	require.True(t, strings.HasPrefix(b.String(), "<stream>\n<event unbroken=\"1\"><time>1761900000.12</time>"), b.String())
	require.NoError(t, s.Send(t.Context(), envelopes("kim"), func(bool) {}))
	require.NoError(t, s.Close(t.Context()))

	got := read(t, b.Bytes())
	require.Len(t, got.Events, 3)
	for _, e := range got.Events {
		require.Equal(t, "1", e.Unbroken)
		require.NotNil(t, e.Done)
		require.Equal(t, "aiwatch_mlflow://<prod>", e.Source)
		require.Equal(t, "aiwatch:mlflow", e.Sourcetype)
		require.Equal(t, "aiwatch", e.Index)
		require.Equal(t, "mlflow01", e.Host)
	}
	require.Equal(t, "1761900000.121", got.Events[1].Time)
	require.Contains(t, got.Events[1].Data, `"user":"a<b>&\"c\" `+"\u2028 \ufffd \ufffd\"")
}

// TestStreamKeepsTheBytes: what the queue holds is what Splunk gets.
func TestStreamKeepsTheBytes(t *testing.T) {
	var b bytes.Buffer
	s := modinput.NewStream(&b)
	body := envelopes("ä€😀 'x' & <y>")
	require.NoError(t, s.Send(t.Context(), body, func(bool) {}))
	require.NoError(t, s.Close(t.Context()))
	_, ev, _ := strings.Cut(string(body), `"event":`)
	require.Equal(t, strings.TrimSuffix(ev, "}"), read(t, b.Bytes()).Events[0].Data)
}

func TestStreamWithoutEvents(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, modinput.NewStream(&b).Close(t.Context()))
	require.Empty(t, read(t, b.Bytes()).Events)
}

// TestConfirm: a batch is confirmed when a later one is written, or at the end.
func TestConfirm(t *testing.T) {
	s := modinput.NewStream(&bytes.Buffer{})
	var confirmed []string
	send := func(name string) {
		require.NoError(t, s.Send(t.Context(), envelopes(name), func(ok bool) {
			require.True(t, ok)
			confirmed = append(confirmed, name)
		}))
	}
	send("first")
	require.Empty(t, confirmed)
	send("second")
	require.Equal(t, []string{"first"}, confirmed)
	s.Finish()
	require.Equal(t, []string{"first", "second"}, confirmed)
	send("third")
	require.Equal(t, []string{"first", "second", "third"}, confirmed)
}

func TestBadBatchWritesNothing(t *testing.T) {
	var b bytes.Buffer
	s := modinput.NewStream(&b)
	err := s.Send(t.Context(), append(envelopes("eve"), `{"time":`...), func(bool) { t.Error("confirmed") })
	require.ErrorContains(t, err, "not a row of envelopes")
	require.NotErrorIs(t, err, modinput.ErrBroken)
	require.Empty(t, b.String())
	require.NoError(t, s.Send(t.Context(), envelopes("eve"), func(bool) {}))
	require.NoError(t, s.Close(t.Context()))
	require.Len(t, read(t, b.Bytes()).Events, 1)
}

// TestReaderGone: nothing is confirmed that may not have been read.
func TestReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	s := modinput.NewStream(w)
	never := func(bool) { t.Error("confirmed") }
	require.NoError(t, s.Send(t.Context(), envelopes("eve"), never))
	require.NoError(t, r.Close())
	require.ErrorIs(t, s.Send(t.Context(), envelopes("kim"), never), modinput.ErrBroken)
	<-s.Broken()
	s.Finish()
	require.ErrorIs(t, s.Send(t.Context(), envelopes("kim"), never), modinput.ErrBroken)
	require.ErrorIs(t, s.Close(t.Context()), modinput.ErrBroken)
}

// TestReaderStuck: a splunkd that does not read holds nobody up for ever.
func TestReaderStuck(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	s := modinput.NewStream(w)
	sent := make(chan error)
	go func() {
		for {
			if err := s.Send(ctx, envelopes(strings.Repeat("x", 1500)), func(bool) {}); err != nil {
				sent <- err
				return
			}
		}
	}()
	// The pipe is full once a read finds it so; whenever that is, the cancelled
	// write ends.
	first := make([]byte, 1)
	_, err = r.Read(first)
	require.NoError(t, err)
	cancel()
	err = <-sent
	require.True(t, errors.Is(err, context.Canceled), err)
}

func FuzzStream(f *testing.F) {
	f.Add("plain", "aiwatch_s3://prod", "eve")
	f.Add("<&>\r\n\t\x00\x1f", "]]>", "\ufffe\uffff\xff\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, user, source, host string) {
		ev := event.Event{
			Envelope: event.Envelope{Time: event.Millis(1), Host: host, Source: source, Sourcetype: event.SourcetypeGit},
			ID:       event.MakeID("fuzz"), User: user,
		}
		var b bytes.Buffer
		s := modinput.NewStream(&b)
		require.NoError(t, s.Send(t.Context(), ev.AppendEnvelope(nil), func(bool) {}))
		require.NoError(t, s.Close(t.Context()))
		got := read(t, b.Bytes())
		require.Len(t, got.Events, 1)
		nonchars := strings.NewReplacer("\ufffe", "\ufffd", "\uffff", "\ufffd")
		require.Equal(t, nonchars.Replace(string(ev.AppendJSON(nil))), got.Events[0].Data)
	})
}
