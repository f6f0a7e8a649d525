package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"aiwatch/collectors/modelfile"
)

func (p *program) inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "tell what files are, and what unpickling them would import",
		ArgsUsage: "PATH...",
		Description: "Prints the role, format, size and digest of each file, what a pointer (Git LFS, DVC,\n" +
			"git-annex) points to, and for pickles, also those inside archives, arrays and compressed\n" +
			"files, the imports with a verdict:\n\n" +
			"   safe        all was looked into, every import is known to build plain objects\n" +
			"   suspicious  an unknown import, or something damaged, hidden or beyond a limit\n" +
			"   dangerous   an import that runs code\n\n" +
			"Nothing is loaded, run or fetched. Folders are walked; symbolic links in them are not\n" +
			"followed. Exit code 3 when a file is suspicious or dangerous.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object a file and line"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return exitWith(exitUsage, errors.New("inspect takes files or folders; see aiwatch inspect --help"))
			}
			in := &inspection{out: p.stdout, json: c.Bool("json")}
			for _, path := range c.Args().Slice() {
				if err := in.path(c.Context, path); err != nil {
					return err
				}
			}
			switch {
			case in.found > 0:
				return exitWith(exitFound, nil)
			case in.unread > 0:
				return fmt.Errorf("%d of %d files could not be read", in.unread, in.files)
			}
			return nil
		},
	}
}

// An inspection is one run of the command.
type inspection struct {
	out  io.Writer
	json bool

	files, found, unread int
}

// path inspects a file, or all files under a folder. Errors of single files are
// part of the output; path returns those that end the run.
func (in *inspection) path(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return in.show(path, modelfile.Report{}, err)
	}
	dir, name := path, "."
	if !info.IsDir() {
		dir, name = filepath.Split(path)
		if dir == "" {
			dir = "."
		}
		// The argument itself may be a link; what it leads to was asked for.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dir, name = filepath.Split(real)
			dir = filepath.Clean(dir)
		}
	}
	// A root keeps whoever writes into the folder from leading us out of it.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return in.show(path, modelfile.Report{}, err)
	}
	defer root.Close()
	if !info.IsDir() {
		rep, err := inspectFile(ctx, root, name, path)
		return in.show(path, rep, err)
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		full := filepath.Join(path, name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return in.show(full, modelfile.Report{}, err)
		case d.Type()&fs.ModeSymlink != 0:
			return in.link(root, name, full)
		case !d.Type().IsRegular():
			return nil
		}
		rep, err := inspectFile(ctx, root, name, full)
		return in.show(full, rep, err)
	})
}

// link shows a link that git-annex put in place of a file. Other links are not
// followed: what they lead to is inspected where it lies.
func (in *inspection) link(root *os.Root, name, full string) error {
	target, err := root.Readlink(name)
	if err != nil {
		return in.show(full, modelfile.Report{}, err)
	}
	pointer, ok := modelfile.ParseAnnex([]byte(target))
	if !ok {
		return nil
	}
	class := modelfile.Classify(filepath.ToSlash(full))
	return in.show(full, modelfile.Report{Class: class, Format: class.Format, Pointers: []modelfile.Pointer{pointer}}, nil)
}

// inspectFile inspects the file that root knows as name and the user as path.
func inspectFile(ctx context.Context, root *os.Root, name, path string) (modelfile.Report, error) {
	// Without O_NONBLOCK a FIFO put in the file's place would hold us.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return modelfile.Report{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return modelfile.Report{}, err
	}
	if !info.Mode().IsRegular() {
		return modelfile.Report{}, errors.New("not a regular file")
	}
	return modelfile.Inspect(ctx, filepath.ToSlash(path), f, info.Size(), modelfile.DefaultLimits())
}

// inspected is a line of --json. Names are those of the event fields.
type inspected struct {
	Path         string              `json:"path"`
	Role         modelfile.Role      `json:"asset_role,omitempty"`
	Format       modelfile.Format    `json:"asset_format,omitempty"`
	Size         int64               `json:"asset_size"`
	Digest       string              `json:"asset_digest,omitempty"`
	IsAsset      bool                `json:"is_asset"`
	CanCarryCode bool                `json:"can_carry_code"`
	Imports      []string            `json:"imports,omitempty"`
	Verdict      string              `json:"verdict,omitempty"`
	Findings     []modelfile.Finding `json:"findings,omitempty"`
	Pointers     []modelfile.Pointer `json:"pointers,omitempty"`
	Error        string              `json:"error,omitempty"`
}

// show prints what is known of one file.
func (in *inspection) show(path string, rep modelfile.Report, failed error) error {
	in.files++
	if rep.Verdict > modelfile.Safe {
		in.found++
	}
	if failed != nil {
		in.unread++
	}
	if in.json {
		return in.showJSON(path, rep, failed)
	}
	if in.files == 1 {
		if _, err := fmt.Fprintf(in.out, "%-10s  %-9s  %-11s  %14s  %s\n", "VERDICT", "ROLE", "FORMAT", "BYTES", "PATH"); err != nil {
			return err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s  %-9s  %-11s  %14d  %s\n", orDash(rep.Verdict.String()), orDash(string(rep.Class.Role)), orDash(string(rep.Format)), rep.Size, printable(path))
	detail := func(label, text string) { fmt.Fprintf(&b, "%12s%-9s  %s\n", "", label, printable(text)) }
	if failed != nil {
		detail("error", failed.Error())
	}
	if rep.Digest != "" && (rep.Class.Asset || rep.Verdict > modelfile.Safe) {
		detail("digest", rep.Digest)
	}
	if len(rep.Imports) > 0 {
		detail("imports", strings.Join(rep.Imports, ", "))
	}
	for _, f := range rep.Findings {
		text := strings.ReplaceAll(f.Code, "_", " ")
		if f.Detail != "" {
			text += ": " + f.Detail
		}
		if f.Where != "" {
			text += " in " + f.Where
		}
		if f.Offset > 0 {
			text += " at byte " + strconv.FormatInt(f.Offset, 10)
		}
		detail("finding", text)
	}
	for _, to := range rep.Pointers {
		text := string(to.Kind)
		if to.Path != "" {
			text += " " + to.Path
		}
		if to.Digest != "" {
			text += " " + to.Digest
		}
		if to.Size >= 0 {
			text += " " + strconv.FormatInt(to.Size, 10) + " bytes"
		}
		detail("points to", text)
	}
	_, err := io.WriteString(in.out, b.String())
	return err
}

func (in *inspection) showJSON(path string, rep modelfile.Report, failed error) error {
	line := inspected{
		Path: path, Role: rep.Class.Role, Format: rep.Format, Size: rep.Size, Digest: rep.Digest,
		IsAsset: rep.Class.Asset, CanCarryCode: rep.Class.CanCarryCode,
		Imports: rep.Imports, Verdict: rep.Verdict.String(), Findings: rep.Findings, Pointers: rep.Pointers,
	}
	if failed != nil {
		line.Error = failed.Error()
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = in.out.Write(append(asciiEscapes(raw), '\n'))
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printable escapes what a terminal would act on or not show: control
// characters, bidirectional marks, invalid UTF-8.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// asciiEscapes writes what printable would escape as JSON escapes. A line's end
// stands between the tokens of JSON alone.
func asciiEscapes(raw []byte) []byte {
	shown := func(r rune) bool { return r == '\n' || unicode.IsPrint(r) }
	if !bytes.ContainsFunc(raw, func(r rune) bool { return !shown(r) }) {
		return raw
	}
	var out []byte
	for _, r := range string(raw) {
		switch {
		case shown(r):
			out = utf8.AppendRune(out, r)
		case r < 1<<16:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			r -= 1 << 16
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out
}
