package preview

import (
	"context"
	"io/fs"
	"log/slog"
)

// Served is the app of a clone, served over what a source holds.
type Served struct {
	*Server
	Root     Root
	Packages string // the renderer's
	Data     *Data
}

// Open serves the app of the clone in which the working directory lies, until
// Close.
func Open(ctx context.Context, address string, source Source, log *slog.Logger) (*Served, error) {
	root, err := FindRoot()
	if err != nil {
		return nil, err
	}
	packages, err := root.Packages()
	if err != nil {
		return nil, err
	}
	bundle, err := Build(packages)
	if err != nil {
		return nil, err
	}
	data, err := source.Load(ctx, root, log)
	if err != nil {
		return nil, err
	}
	server, err := Serve(address, Config{App: func() (fs.FS, error) { return root.App() }, Data: data, Bundle: bundle})
	if err != nil {
		return nil, err
	}
	return &Served{Server: server, Root: root, Packages: packages, Data: data}, nil
}
