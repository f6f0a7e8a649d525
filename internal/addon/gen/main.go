// Command gen writes the files of the add-on's default folder that are made
// from the event schema; run it by `go generate ./internal/addon`.
package main

import (
	"bytes"
	"io"
	"log"
	"os"
	"path/filepath"

	"aiwatch/internal/addon"
)

func main() {
	for name, write := range map[string]func(io.Writer) error{
		"props.conf": addon.WriteProps, "eventtypes.conf": addon.WriteEventtypes, "tags.conf": addon.WriteTags,
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("..", "..", "default", name), b.Bytes(), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
