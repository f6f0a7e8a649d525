// Command build makes the packages of the repository in which it is run:
//
//	go run ./internal/packaging/build [DIST]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"aiwatch/internal/detection"
	"aiwatch/internal/packaging"
)

func main() {
	log.SetFlags(0)
	dist := "dist"
	if len(os.Args) > 1 {
		dist = os.Args[1]
	}
	app, err := detection.FS()
	if err != nil {
		log.Fatal("make the app: ", err)
	}
	names, err := packaging.Build(context.Background(), ".", dist, app)
	if err != nil {
		log.Fatal("package: ", err)
	}
	for _, name := range names {
		fmt.Println(filepath.Join(dist, name))
	}
}
