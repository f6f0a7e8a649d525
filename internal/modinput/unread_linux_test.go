package modinput_test

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/modinput"
)

// TestConfirmWaitsForTheReader: what lies in the pipe is not delivered, however
// much is written behind it.
func TestConfirmWaitsForTheReader(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	s := modinput.NewStream(w)
	var confirmed []string
	send := func(name string) {
		require.NoError(t, s.Send(t.Context(), envelopes(name), func(ok bool) {
			require.True(t, ok)
			confirmed = append(confirmed, name)
		}))
	}
	read := func(n int) {
		_, err := io.CopyN(io.Discard, r, int64(n))
		require.NoError(t, err)
	}
	size := func() int { // of a batch, of which one lies in the pipe
		b := make([]byte, 1<<16)
		n, err := r.Read(b)
		require.NoError(t, err)
		return n
	}
	send("begin")
	size()
	send("a")
	n := size()
	require.Equal(t, []string{"begin"}, confirmed)
	send("b")
	send("c")
	send("d")
	require.Equal(t, []string{"begin", "a"}, confirmed)
	read(n - 1)
	send("e")
	require.Equal(t, []string{"begin", "a"}, confirmed, "a byte of b is unread")
	read(n + 1)
	send("f")
	require.Equal(t, []string{"begin", "a", "b", "c"}, confirmed)
	s.Finish()
	require.Equal(t, []string{"begin", "a", "b", "c", "d", "e", "f"}, confirmed)
}
