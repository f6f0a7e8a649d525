package scenario

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"aiwatch/internal/spl"
)

// WriteFindings writes the summary events of the searches, as flat rows in the
// order in which they were indexed: what `aiwatch_findings` reads.
func (r *Report) WriteFindings(ctx context.Context, out io.Writer) error {
	res, err := r.Engine.Run(ctx, "index=summary | fields * _time _indextime | sort 0 _indextime", spl.Params{})
	if err != nil {
		return fmt.Errorf("read the findings: %w", err)
	}
	var line []byte
	for _, row := range res.Rows {
		line = append(res.AppendJSON(line[:0], row), '\n')
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("write findings: %w", err)
		}
	}
	return nil
}

// WriteLookups writes all lookups and collections as the searches left them, each
// as NAME.csv, into a folder.
func (r *Report) WriteLookups(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write lookups: %w", err)
	}
	for _, name := range r.Engine.Lookups.Names() {
		var text bytes.Buffer
		if err := r.Engine.Lookups.Table(name).Write(&text); err != nil {
			return fmt.Errorf("write the lookup %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".csv"), text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write the lookup %s: %w", name, err)
		}
	}
	return nil
}
