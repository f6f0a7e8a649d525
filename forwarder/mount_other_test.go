//go:build !linux

package forwarder_test

import "testing"

func mountSmall(t *testing.T, _ string) (unmount func()) {
	t.Skip("there is no tmpfs")
	return nil
}
