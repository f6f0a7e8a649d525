//go:build !scs

package main

import (
	"debug/buildinfo"
	"testing"

	"github.com/stretchr/testify/require"
)

// programTags are the build tags of the program that tests build.
const programTags = ""

// TestSCSIsNotInThisBuild: without the tag [scs] is refused with what to do, and
// nothing of the SDK is in the program.
func TestSCSIsNotInThisBuild(t *testing.T) {
	logs := newLogFolder(t)
	logs.add(t, 1)
	s := newSetup(t, logs.input(), "[scs]\ntenant = acme\ntoken_env = SCS_TOKEN\n")
	for _, args := range [][]string{{"check"}, {"run", "--once"}} {
		p := s.startIn(t, []string{"SCS_TOKEN=given"}, args[0], args[1:]...)
		require.Equal(t, exitUsage, p.end(t))
		require.Contains(t, p.out.String()+p.log.String(), "make build TAGS=scs")
	}
	info, err := buildinfo.ReadFile(builtProgram(t))
	require.NoError(t, err)
	require.NotEmpty(t, info.Deps)
	for _, m := range info.Deps {
		require.NotContains(t, m.Path, "github.com/splunk/")
	}
}
