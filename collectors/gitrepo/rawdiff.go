package gitrepo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A change is one path that differs between a commit and its first parent, as
// `git log --raw -z --no-abbrev` prints it.
type change struct {
	oldMode, newMode string
	oldOid, newOid   string
	path             string
}

func (c *change) added() bool   { return isZeroOid(c.oldMode) }
func (c *change) deleted() bool { return isZeroOid(c.newMode) }

// Modes of tree entries.
const (
	modeSymlink   = "120000"
	modeSubmodule = "160000"
)

// maxToken bounds a path or a line of git's output; git itself knows no longer
// path than its tree objects hold.
const maxToken = 1 << 20

var errToken = errors.New("a path or line is too long")

// A rawReader reads what `git log --raw -z --format=%H %S %P` prints:
//
//	<oid> <source> <parents>\0\n:<modes and oids> <status>\0<path>\0:...\0<path>\0<oid> ...
type rawReader struct {
	r       *bufio.Reader
	pending []byte // a token that was read too far
	buf     []byte
}

// token returns the next text up to a NUL. The bytes are valid until the next
// call.
func (r *rawReader) token() ([]byte, error) {
	if r.pending != nil {
		t := r.pending
		r.pending = nil
		return t, nil
	}
	r.buf = r.buf[:0]
	for {
		part, err := r.r.ReadSlice(0)
		if len(r.buf)+len(part) > maxToken {
			return nil, errToken
		}
		if err == nil && len(r.buf) == 0 {
			return part[:len(part)-1], nil
		}
		r.buf = append(r.buf, part...)
		switch {
		case err == nil:
			return r.buf[:len(r.buf)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(r.buf)) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// A loggedCommit is what the log says of a commit beside its changes.
type loggedCommit struct {
	oid, source string // source is the argument from which it was reached
	first       string // parent, empty when it has none
	merge       bool
}

// commit returns the next commit; io.EOF after the last.
func (r *rawReader) commit() (loggedCommit, error) {
	for {
		t, err := r.token()
		if err != nil {
			return loggedCommit{}, err
		}
		t = bytes.TrimLeft(t, "\n")
		if len(t) == 0 {
			continue
		}
		var c loggedCommit
		var rest string
		c.oid, rest, _ = strings.Cut(string(t), " ")
		if !isOid(c.oid) {
			return loggedCommit{}, fmt.Errorf("git printed %q where a commit was expected", clip(c.oid))
		}
		c.source, rest, _ = strings.Cut(rest, " ")
		c.first, rest, _ = strings.Cut(rest, " ")
		c.merge = rest != ""
		return c, nil
	}
}

// change returns the next change of the commit that was read last; ok is false
// after its last one.
func (r *rawReader) change() (c change, ok bool, err error) {
	for {
		t, err := r.token()
		if errors.Is(err, io.EOF) {
			return change{}, false, nil
		}
		if err != nil {
			return change{}, false, err
		}
		meta := bytes.TrimLeft(t, "\n")
		if len(meta) == 0 {
			continue
		}
		if meta[0] != ':' {
			r.pending = bytes.Clone(meta)
			return change{}, false, nil
		}
		c, err = parseRawMeta(string(meta))
		if err != nil {
			return change{}, false, err
		}
		p, err := r.token()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return change{}, false, err
		}
		c.path = string(p)
		return c, true, nil
	}
}

// parseRawMeta reads `:100644 100755 <oid> <oid> M`.
func parseRawMeta(meta string) (change, error) {
	oldMode, rest, _ := strings.Cut(strings.TrimPrefix(meta, ":"), " ")
	newMode, rest, _ := strings.Cut(rest, " ")
	oldOid, rest, _ := strings.Cut(rest, " ")
	newOid, status, _ := strings.Cut(rest, " ")
	if len(oldMode) != 6 || len(newMode) != 6 || !isOid(oldOid) || !isOid(newOid) || status == "" {
		return change{}, fmt.Errorf("git printed %q where a changed path was expected", clip(meta))
	}
	return change{oldMode: oldMode, newMode: newMode, oldOid: oldOid, newOid: newOid}, nil
}

// parseCombined reads what `git diff-tree -c -r --raw -z` prints of a merge: the
// paths whose content is that of no parent.
//
//	<commit>\0::<n+1 modes> <n+1 oids> <n statuses>\0<path>\0...
func parseCombined(out []byte) ([]string, error) {
	var paths []string
	for len(out) > 0 {
		t, rest, ok := bytes.Cut(out, []byte{0})
		if !ok {
			return paths, io.ErrUnexpectedEOF
		}
		out = rest
		if t = bytes.TrimLeft(t, "\n"); !bytes.HasPrefix(t, []byte("::")) {
			continue
		}
		p, rest, ok := bytes.Cut(out, []byte{0})
		if !ok {
			return paths, io.ErrUnexpectedEOF
		}
		out = rest
		paths = append(paths, string(p))
	}
	return paths, nil
}

// clip shortens a hostile text for a message.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
