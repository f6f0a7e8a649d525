package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// objects reads objects of a mirror by one long-lived `git cat-file`.
type objects struct {
	p *process
	// broken is why it ended: what was asked for then is not known to be missing.
	broken error
}

// maxCommit bounds how much of a commit object is read, in bytes. What lies
// behind is its message, and a signature can't be verified without it.
const maxCommit = 256 << 10

// maxAsk is how many objects are asked for at once: so many requests fit into a
// pipe, so that nobody waits for the other.
const maxAsk = 256

var errMissing = errors.New("object is not in the mirror")

func (g *gitRunner) objects(ctx context.Context) (*objects, error) {
	p, err := g.start(ctx, "cat-file", "--batch-command", "--buffer")
	if err != nil {
		return nil, err
	}
	return &objects{p: p}, nil
}

func (o *objects) close() { o.p.stop() }

// An object is what cat-file tells of one.
type object struct {
	oid  string // of what was asked for, peeled where that was asked for
	kind string // empty when it is missing
	size int64
	data []byte // contents, where they were asked for
}

// contents returns the objects of ids, in order, each cut after limit bytes.
func (o *objects) contents(ids []string, limit int64) ([]object, error) {
	return o.ask("contents ", ids, "", func(ob *object) error { return o.data(ob, limit) })
}

// info returns kind and size of ids, in order.
func (o *objects) info(ids []string) ([]object, error) {
	return o.ask("info ", ids, "", nil)
}

// peel returns the commits that ids are or point at, in order.
func (o *objects) peel(ids []string) ([]object, error) {
	return o.ask("info ", ids, "^{commit}", nil)
}

func (o *objects) ask(command string, ids []string, suffix string, more func(*object) error) ([]object, error) {
	found := make([]object, 0, len(ids))
	for chunk := range slices.Chunk(ids, maxAsk) {
		var request strings.Builder
		for _, id := range chunk {
			request.WriteString(command)
			request.WriteString(id)
			request.WriteString(suffix)
			request.WriteByte('\n')
		}
		request.WriteString("flush\n") // what was asked for is answered at once, and in one piece
		if _, err := io.WriteString(o.p.stdin, request.String()); err != nil {
			return nil, o.why(err)
		}
		for range chunk {
			ob, err := o.header()
			if err == nil && more != nil {
				err = more(&ob)
			}
			if err != nil && !errors.Is(err, errMissing) {
				return nil, err
			}
			found = append(found, ob)
		}
	}
	return found, nil
}

// blob returns a blob of at most limit bytes.
func (o *objects) blob(oid string, limit int64) ([]byte, error) {
	found, err := o.info([]string{oid})
	if err != nil {
		return nil, err
	}
	switch ob := found[0]; {
	case ob.kind == "":
		return nil, errMissing
	case ob.kind != "blob" || ob.size > limit:
		return nil, fmt.Errorf("%s of %d bytes, more than %d", ob.kind, ob.size, limit)
	}
	if found, err = o.contents([]string{oid}, limit); err != nil {
		return nil, err
	}
	return found[0].data, nil
}

// data reads an object's contents, cut after limit bytes.
func (o *objects) data(ob *object, limit int64) error {
	ob.data = make([]byte, min(ob.size, limit))
	if _, err := io.ReadFull(o.p.stdout, ob.data); err != nil {
		return o.why(err)
	}
	if _, err := io.CopyN(io.Discard, o.p.stdout, ob.size-int64(len(ob.data))+1); err != nil {
		return o.why(err)
	}
	return nil
}

// header reads `<oid> <kind> <size>`, or `<what was asked for> missing`.
func (o *objects) header() (object, error) {
	line, err := o.p.stdout.ReadString('\n')
	if err != nil {
		return object{}, o.why(err)
	}
	f := strings.Fields(line)
	if len(f) == 3 && isOid(f[0]) {
		if size, err := strconv.ParseInt(f[2], 10, 64); err == nil && size >= 0 {
			return object{oid: f[0], kind: f[1], size: size}, nil
		}
	}
	if n := len(f); n > 1 && (f[n-1] == "missing" || f[n-1] == "ambiguous" || f[n-1] == "excluded") {
		return object{}, errMissing
	}
	return object{}, fmt.Errorf("git cat-file printed %q", clip(line))
}

// why prefers what git said to the broken pipe that followed.
func (o *objects) why(err error) error {
	if o.broken == nil {
		o.broken = fmt.Errorf("git cat-file ended: %w", err)
		if gitErr := o.p.finish(); gitErr != nil {
			o.broken = gitErr
		}
	}
	return o.broken
}
