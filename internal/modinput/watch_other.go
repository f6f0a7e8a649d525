//go:build !unix

package modinput

import (
	"context"
	"os"
	"time"
)

// Watch waits until ctx is done. The add-on has no program for this platform;
// this one is built for use without Splunk.
func Watch(ctx context.Context, _ int, _ *os.File, _ <-chan time.Time) error {
	<-ctx.Done()
	return nil
}

// PipeOut returns f.
func PipeOut(f *os.File) *os.File { return f }
