package modelfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// A Report tells what one file is.
type Report struct {
	Class    Class     // what the path says
	Format   Format    // by content where that tells, else by path
	Size     int64     // bytes
	Digest   string    // sha256:<hex> of the content
	Pickles  int       // pickles found
	Imports  []string  // what they import: module.name, sorted
	Verdict  Verdict   //
	Findings []Finding //
	Pointers []Pointer // what the file points to, when it is a pointer
}

// Inspect tells what the size bytes of r are, under the name path. It reads
// them once for the digest and what it must of them for the rest. On an error,
// when r could not be read or ctx is done, the report holds what was found
// before, and its verdict is never Safe.
func Inspect(ctx context.Context, path string, r io.ReaderAt, size int64, lim Limits) (Report, error) {
	rep := Report{Class: Classify(path), Size: size}
	rep.Format = rep.Class.Format

	if size <= MaxDVCPointer && (rep.Class.Format == "dvc" || size <= MaxAnnexPointer) {
		b := make([]byte, size)
		if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), b); err != nil {
			return rep, fmt.Errorf("read %s: %w", path, err)
		}
		var err error
		if rep.Pointers, err = ParsePointers(path, b); err != nil {
			rep.Findings = append(rep.Findings, Finding{Code: Damaged, Detail: err.Error()})
			rep.Verdict = Suspicious
		}
	} else if rep.Class.Format == "dvc" {
		rep.Findings = append(rep.Findings, Finding{Code: OverLimit, Detail: errYAML.Error()})
		rep.Verdict = Suspicious
	}

	var scanErr error
	if len(rep.Pointers) == 0 {
		var scan Scan
		scan, scanErr = ScanReader(ctx, path, r, size, lim)
		if scan.Format != "" {
			rep.Format = scan.Format
		}
		rep.Pickles, rep.Imports = scan.Pickles, scan.Imports
		rep.Findings = append(rep.Findings, scan.Findings...)
		rep.Verdict = max(rep.Verdict, scan.Verdict)
	}

	sum := sha256.New()
	n, err := io.Copy(sum, &interruptible{ctx: ctx, r: io.NewSectionReader(r, 0, size)})
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		rep.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	}
	if err = errors.Join(scanErr, err); err != nil {
		rep.Verdict = max(rep.Verdict, Suspicious)
		return rep, fmt.Errorf("inspect %s: %w", path, err)
	}
	return rep, nil
}

// interruptible ends a read when ctx is done.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
