// Package modelfile says what a model file is, without running it.
//
// It answers four questions, each in a file of its own:
//
//   - classify.go, classes.go: what does the path say? Role, format, whether
//     loading the file can run code, whether it is an AI asset at all. mlflow.go
//     reads the run or logged model out of a path under an MLflow artifact root.
//   - pointer.go: is it a pointer (Git LFS, DVC, git-annex), and to what?
//   - scan.go, with pickle.go, container.go, archive.go, numpy.go: what would
//     unpickling it import, and is that safe, suspicious or dangerous?
//     allow.go holds the one list that the verdict rests on.
//   - inspect.go: all of it for one file, with its digest.
//
// The package is pure: it reads bytes it is handed, resolves no pointer, opens
// no network connection, starts no process and imports nothing of ours. Every
// byte is hostile. Whatever exceeds a limit, is damaged, encrypted or in a form
// that can't be looked into is reported as such and is never called safe.
package modelfile
