// Command gen writes default/props.conf of the add-on; run it by
// `go generate ./internal/addon`.
package main

import (
	"bytes"
	"log"
	"os"
	"path/filepath"

	"aiwatch/internal/addon"
)

func main() {
	var b bytes.Buffer
	if err := addon.WriteProps(&b); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("..", "..", "default", "props.conf"), b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
