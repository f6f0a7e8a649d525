// Command gen writes docs/detections.md; run it by
// `go generate ./internal/detection`.
package main

import (
	"log"
	"os"
	"path/filepath"

	"aiwatch/internal/detection"
)

func main() {
	root := filepath.Join("..", "..")
	all, err := detection.Load(os.DirFS(filepath.Join(root, "splunk_app")))
	if err != nil {
		log.Fatal(err)
	}
	proof, err := detection.ReadProof(os.DirFS("testdata"))
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "docs", "detections.md"), detection.Page(all, proof), 0o644); err != nil {
		log.Fatal(err)
	}
}
