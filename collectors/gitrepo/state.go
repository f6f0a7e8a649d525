package gitrepo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"aiwatch/collectors"
)

// State of a repository, each key with the repository's own prefix:
//
//	meta            a meta as JSON
//	ref/<name>      a refState; a name too long for a key by its digest
//	kept/<ms><oid>  a tip that was dropped and is still in the mirror
//	progress        how far the telling of one difference is
//	pick/<path>     what the pickle at a path imported, for content behind LFS
//	push/<ms>/...   a push from a log that no change was joined to yet
//
// It grows with what the repository has, not with its history.

// meta is what is remembered of a repository as a whole.
type meta struct {
	// First is when the repository was first seen, in ms; 0 before.
	First int64 `json:"first,omitempty"`
	// Inventoried: what existed at first contact was told to its end.
	Inventoried bool `json:"inventoried,omitempty"`
	// Seen is when the references that were told last were listed, in ms.
	Seen int64 `json:"seen,omitempty"`
	// Listing is the digest of that list, empty when it has to be compared.
	Listing string `json:"listing,omitempty"`
	// Floor is the highest count of changes that any deleted reference had.
	Floor int64 `json:"floor,omitempty"`
	// Down: the last fetch failed. Outages counts how often it began to fail.
	Down    bool  `json:"down,omitempty"`
	Outages int64 `json:"outages,omitempty"`
	// Over: only references are read. Overs counts how often that began, Tried
	// is when fetching was tried last, in ms.
	Over  bool  `json:"over,omitempty"`
	Overs int64 `json:"overs,omitempty"`
	Tried int64 `json:"tried,omitempty"`
	// LFSDay and LFSBytes are what came from LFS on a day (UTC).
	LFSDay   string `json:"lfs_day,omitempty"`
	LFSBytes int64  `json:"lfs_bytes,omitempty"`
	// Renewals counts how often the repository was made anew.
	Renewals int64 `json:"renewals,omitempty"`
}

// refState is what was told of one reference.
type refState struct {
	oid string // the mirror had its commits then
	n   int64  // how often it has changed
	// seen is where it was told to be while only references were read, `gone`
	// when it was told to be deleted; empty when that is oid.
	seen string
}

const goneRef = "gone"

// told is where the reference was last told to be, empty when it was not there.
func (s refState) told() string {
	switch s.seen {
	case "":
		return s.oid
	case goneRef:
		return ""
	default:
		return s.seen
	}
}

func (s refState) encode(name string) []byte {
	oid, seen := s.oid, s.seen
	if oid == "" {
		oid = "-"
	}
	if seen == "" {
		seen = "-"
	}
	return []byte(oid + " " + strconv.FormatInt(s.n, 10) + " " + seen + " " + name)
}

func decodeRef(value []byte) (name string, s refState, err error) {
	f := strings.SplitN(string(value), " ", 4)
	if len(f) != 4 {
		return "", s, fmt.Errorf("state of a reference is damaged: %q", clip(string(value)))
	}
	if s.n, err = strconv.ParseInt(f[1], 10, 64); err != nil {
		return "", s, fmt.Errorf("state of a reference is damaged: %w", err)
	}
	if s.oid = f[0]; s.oid == "-" {
		s.oid = ""
	}
	if s.seen = f[2]; s.seen == "-" {
		s.seen = ""
	}
	return f[3], s, nil
}

// maxKey bounds the part of a key that comes from the repository, in bytes.
const maxKey = 512

func boundedKey(prefix, name string) string {
	if len(name) > maxKey {
		sum := sha256.Sum256([]byte(name))
		name = "\xff" + hex.EncodeToString(sum[:])
	}
	return prefix + name
}

func (r *repository) refKey(name string) string { return boundedKey(r.key+"ref/", name) }

func (r *repository) loadMeta(out collectors.Output) (meta, error) {
	var m meta
	b, err := out.Get(r.key + "meta")
	if err != nil || b == nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("state of %s is damaged: %w", r.id, err)
	}
	return m, nil
}

func (r *repository) saveMeta(out collectors.Output, m meta) {
	b, err := json.Marshal(m)
	if err != nil {
		panic("gitrepo: " + err.Error()) // numbers and strings always marshal
	}
	out.Put(r.key+"meta", b)
}

// loadRefs returns the references as they were told. Those that are no longer
// watched are forgotten.
func (r *repository) loadRefs(out collectors.Output) (map[string]refState, error) {
	refs := map[string]refState{}
	var unwatched []string
	err := out.Range(r.key+"ref/", func(key string, value []byte) error {
		name, s, err := decodeRef(value)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(name, replaced) && !r.mirror.watched(name) {
			unwatched = append(unwatched, key)
			return nil
		}
		refs[name] = s
		return nil
	})
	for _, key := range unwatched {
		out.Delete(key)
	}
	return refs, err
}

// A keptTip is a tip that the source dropped.
type keptTip struct {
	key       string
	oid       string
	protected bool
}

// loadKept returns the dropped tips, the oldest first.
func (r *repository) loadKept(out collectors.Output) ([]keptTip, error) {
	var tips []keptTip
	err := out.Range(r.key+"kept/", func(key string, value []byte) error {
		oid, class, _ := strings.Cut(string(value), " ")
		if isOid(oid) {
			tips = append(tips, keptTip{key: key, oid: oid, protected: class == "protected"})
		}
		return nil
	})
	return tips, err
}

func (r *repository) keptTip(atMillis int64, oid string, protected bool) keyValue {
	class := "other"
	if protected {
		class = "protected"
	}
	return keyValue{fmt.Sprintf("%skept/%015d%s", r.key, atMillis, oid), []byte(oid + " " + class)}
}
