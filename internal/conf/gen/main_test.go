package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilesAreCurrent(t *testing.T) {
	for name, want := range files() {
		got, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(name)))
		require.NoError(t, err, "run go generate ./internal/conf")
		require.Equal(t, want, string(got), "%s is not current: run go generate ./internal/conf", name)
	}
}
