package modelfile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	oid        = "sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
	lfsPointer = "version https://git-lfs.github.com/spec/v1\noid " + oid + "\nsize 12345\n"
)

func TestParseLFS(t *testing.T) {
	want := Pointer{Kind: PointerLFS, Digest: oid, Size: 12345}
	for _, text := range []string{
		lfsPointer,
		strings.TrimSuffix(lfsPointer, "\n"),
		strings.ReplaceAll(lfsPointer, "\n", "\r\n"),
		strings.Replace(lfsPointer, "git-lfs", "hawser", 1),
		strings.Replace(lfsPointer, "oid", "ext-0-foo "+oid+"\noid", 1),
	} {
		got, ok := ParseLFS([]byte(text))
		require.True(t, ok, "%q", text)
		require.Equal(t, want, got, "%q", text)
	}
	for _, text := range []string{
		"",
		"version https://git-lfs.github.com/spec/v1\n",
		strings.Replace(lfsPointer, "v1", "v2", 1),
		strings.Replace(lfsPointer, "sha256:4d", "sha256:4D", 1),
		strings.Replace(lfsPointer, "sha256", "md5", 1),
		strings.Replace(lfsPointer, "size 12345", "size -1", 1),
		strings.Replace(lfsPointer, "size 12345", "size +1", 1),
		strings.Replace(lfsPointer, "12345", "99999999999999999999", 1),
		lfsPointer + "extra 1\n",
		strings.Replace(lfsPointer, "oid", "note x\noid", 1),
		lfsPointer + strings.Repeat("\n", 1024),
		"oid " + oid + "\nversion https://git-lfs.github.com/spec/v1\nsize 1\n",
	} {
		_, ok := ParseLFS([]byte(text))
		require.False(t, ok, "%q", text)
	}
}

func TestParseAnnex(t *testing.T) {
	hash := strings.TrimPrefix(oid, "sha256:")
	for text, want := range map[string]Pointer{
		"/annex/objects/SHA256E-s1048576--" + hash + ".bin\n":                       {Kind: PointerAnnex, Digest: oid, Size: 1048576},
		"../.git/annex/objects/Wx/f0/SHA256-s7--" + hash + "/SHA256-s7--" + hash:    {Kind: PointerAnnex, Digest: oid, Size: 7},
		".git/annex/objects/aa/bb/MD5E-s3--900150983cd24fb0d6963f7d28e17f72.tar.gz": {Kind: PointerAnnex, Digest: "md5:900150983cd24fb0d6963f7d28e17f72", Size: 3},
		"/annex/objects/URL--http&c%%example.org%x":                                 {Kind: PointerAnnex, Size: -1},
		"/annex/objects/WORM-s5-m1700000000--model.pt":                              {Kind: PointerAnnex, Size: 5},
	} {
		got, ok := ParseAnnex([]byte(text))
		require.True(t, ok, "%q", text)
		require.Equal(t, want, got, "%q", text)
	}
	for _, text := range []string{
		"", "/annex/objects/", "/annex/objects/SHA256-s1--", "see annex/objects/SHA256-s1--" + hash,
		"/annex/objects/SHA256-s1--" + hash[1:], "/annex/objects/SHA256-sx--" + hash,
		"/home/x/annex/objects/SHA256-s1--" + hash, "/annex/objects/sha256-s1--" + hash,
	} {
		_, ok := ParseAnnex([]byte(text))
		require.False(t, ok, "%q", text)
	}
}

func TestParseDVC(t *testing.T) {
	got, err := ParseDVC([]byte("outs:\n- md5: 3863d0e317dee0a55c4e59d2ec0eef33.dir\n  size: 14445097\n  nfiles: 10\n  hash: md5\n  path: images\n"))
	require.NoError(t, err)
	require.Equal(t, []Pointer{{Kind: PointerDVC, Digest: "md5:3863d0e317dee0a55c4e59d2ec0eef33", Size: 14445097, Path: "images", Files: 10, Dir: true}}, got)

	got, err = ParseDVC([]byte(`schema: '2.0'
stages:
  train:
    cmd: python train.py
    deps:
    - path: data.csv
      md5: a304afb96060aad90176268345e10355
    params:
      params.yaml:
        train.lr: [0.1, 0.2]
    outs:
    - path: model.pkl
      md5: b304afb96060aad90176268345e10355
      size: 7
  prepare:
    cmd: python prepare.py
    outs:
    - path: prepared
      md5: not a digest
`))
	require.NoError(t, err)
	require.Equal(t, []Pointer{
		{Kind: PointerDVC, Size: -1, Path: "prepared", Stage: "prepare"},
		{Kind: PointerDVC, Digest: "md5:b304afb96060aad90176268345e10355", Size: 7, Path: "model.pkl", Stage: "train"},
	}, got)

	for name, text := range map[string]string{
		"alias":  "a: &a [1]\nouts: *a\n",
		"deep":   "outs: " + strings.Repeat("[", 1000),
		"steps":  "outs:\n" + strings.Repeat("- ", 1000) + "x",
		"type":   "outs: 7\n",
		"large":  strings.Repeat("#\n", MaxDVCPointer),
		"broken": "outs: [",
	} {
		_, err := ParseDVC([]byte(text))
		require.Error(t, err, name)
	}
}

func TestParsePointersGoesByPath(t *testing.T) {
	got, err := ParsePointers("model.safetensors", []byte(lfsPointer))
	require.NoError(t, err)
	require.Equal(t, oid, got[0].Digest)
	got, err = ParsePointers("model.safetensors", []byte("outs:\n- md5: 3863d0e317dee0a55c4e59d2ec0eef33\n"))
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = ParsePointers("x.dvc", []byte("["))
	require.Error(t, err)
}

func FuzzPointers(f *testing.F) {
	f.Add([]byte(lfsPointer))
	f.Add([]byte("outs:\n- md5: 3863d0e317dee0a55c4e59d2ec0eef33.dir\n  size: 1\n  path: x\n"))
	f.Add([]byte("stages:\n  a:\n    outs: [{path: x, md5: b304afb96060aad90176268345e10355}]\n"))
	f.Add([]byte("../.git/annex/objects/Wx/f0/K/SHA256-s7--" + strings.TrimPrefix(oid, "sha256:")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, path := range []string{"x.dvc", "x.bin"} {
			pointers, err := ParsePointers(path, b)
			if err != nil {
				require.Empty(t, pointers)
			}
			for _, p := range pointers {
				require.GreaterOrEqual(t, p.Size, int64(-1))
				require.NotEmpty(t, p.Kind)
			}
		}
	})
}
