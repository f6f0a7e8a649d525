//go:build unix

package modinput_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/modinput"
)

func TestWatch(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	tick := make(chan time.Time)
	watch := func(ctx context.Context, parent int) <-chan error {
		done := make(chan error, 1)
		go func() { done <- modinput.Watch(ctx, parent, w, tick) }()
		return done
	}

	done := watch(t.Context(), os.Getppid())
	for range 3 {
		tick <- time.Time{} // taken only while all is well
	}
	require.NoError(t, r.Close())
	select { // the tick before may have seen it
	case tick <- time.Time{}:
		require.ErrorIs(t, <-done, modinput.ErrPipeClosed)
	case err := <-done:
		require.ErrorIs(t, err, modinput.ErrPipeClosed)
	}

	done = watch(t.Context(), -1)
	tick <- time.Time{}
	require.ErrorIs(t, <-done, modinput.ErrParentGone)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, <-watch(ctx, os.Getppid()))
}

// TestWatchTakesFiles: output into a file, as a person tries it, is no reason to
// end.
func TestWatchTakesFiles(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	require.Same(t, f, modinput.PipeOut(f))
	tick := make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- modinput.Watch(ctx, os.Getppid(), f, tick) }()
	tick <- time.Time{}
	tick <- time.Time{}
	cancel()
	require.NoError(t, <-done)
}
