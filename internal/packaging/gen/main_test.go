package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilesAreCurrent(t *testing.T) {
	all, err := files()
	require.NoError(t, err)
	for name, want := range all {
		got, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(name)))
		require.NoError(t, err, "run go generate ./internal/packaging")
		require.True(t, bytes.Equal(want, got), "%s is not current: run go generate ./internal/packaging", name)
	}
}

func TestIcons(t *testing.T) {
	for name, size := range icons {
		content, err := icon(size)
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(content))
		require.NoError(t, err)
		require.Equal(t, size, img.Bounds().Dx(), name)
		require.Equal(t, size, img.Bounds().Dy(), name)
		inked := 0
		for y := range size {
			for x := range size {
				if _, _, _, alpha := img.At(x, y).RGBA(); alpha > 0x7fff {
					inked++
				}
			}
		}
		require.Greater(t, inked, size*size/20, "%s shows nothing", name)
		require.Less(t, inked, size*size/2, "%s is a blot", name)
	}
}
