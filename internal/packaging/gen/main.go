// Command gen writes the add-on's forms, input defaults and icons; run it by
// `go generate ./internal/packaging`.
package main

import (
	"log"
	"os"
	"path/filepath"
)

func main() {
	all, err := files()
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range all {
		path := filepath.Join("..", "..", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// files returns the content of each file by its path in the repository.
func files() (map[string][]byte, error) {
	all := map[string][]byte{"default/inputs.conf": inputDefaults()}
	for _, kind := range inputs() {
		form, err := form(kind)
		if err != nil {
			return nil, err
		}
		all["default/data/ui/manager/"+kind.Name+".xml"] = form
	}
	for name, size := range icons {
		icon, err := icon(size)
		if err != nil {
			return nil, err
		}
		all["static/"+name] = icon
	}
	return all, nil
}
