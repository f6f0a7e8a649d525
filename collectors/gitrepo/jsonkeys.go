package gitrepo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of comparing two JSON files.
const (
	maxJSONDepth = 64
	maxJSONKeys  = 200     // keys told
	maxJSONNodes = 1 << 20 // values looked at
)

// tellingKeys are reported by their bare name too, however deep they stand: they
// decide which code runs with a model, and what it is told.
var tellingKeys = []string{"auto_map", "chat_template", "trust_remote_code", "custom_pipelines"}

var errJSON = errors.New("not JSON, or too deep or large to compare")

// changedKeys returns the keys, as dotted paths, whose values differ between two
// JSON texts; before may be empty. Items of lists count to their list.
func changedKeys(before, after []byte) ([]string, error) {
	old, err := readJSON(before)
	if err != nil {
		return nil, err
	}
	now, err := readJSON(after)
	if err != nil {
		return nil, err
	}
	d := jsonDiff{}
	d.compare("", old, now)
	slices.Sort(d.keys)
	return slices.Compact(d.keys), nil
}

type jsonDiff struct{ keys []string }

func (d *jsonDiff) compare(path string, old, now any) {
	oldMap, oldIs := old.(map[string]any)
	nowMap, nowIs := now.(map[string]any)
	if !oldIs && !nowIs {
		if path != "" && !sameJSON(old, now) {
			d.add(path)
		}
		return
	}
	if oldIs != nowIs && path != "" {
		d.add(path)
	}
	for key, value := range nowMap {
		if was, ok := oldMap[key]; ok {
			d.compare(join(path, key), was, value)
		} else {
			d.addAll(join(path, key), value)
		}
	}
	for key, was := range oldMap {
		if _, ok := nowMap[key]; !ok {
			d.addAll(join(path, key), was)
		}
	}
}

// addAll adds a key that came or went, with what is below it.
func (d *jsonDiff) addAll(path string, value any) {
	m, ok := value.(map[string]any)
	if !ok || len(m) == 0 {
		d.add(path)
		return
	}
	for key, v := range m {
		d.addAll(join(path, key), v)
	}
}

func (d *jsonDiff) add(path string) {
	if len(d.keys) < 4*maxJSONKeys {
		d.keys = append(d.keys, path)
	}
	for part := range strings.SplitSeq(path, ".") {
		if slices.Contains(tellingKeys, part) && !slices.Contains(d.keys, part) {
			d.keys = append(d.keys, part)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// readJSON reads a JSON text within limits; an empty one is an empty object.
func readJSON(b []byte) (any, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return map[string]any{}, nil
	}
	if err := boundJSON(b); err != nil {
		return nil, err
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	d.UseNumber() // 1e400 is a number too, and 1.0 is not 1.00
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", errJSON, err)
	}
	return v, nil
}

// boundJSON refuses what would be deep or have very many values.
func boundJSON(b []byte) error {
	depth, nodes := 0, 0
	inString, escaped := false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case inString:
			inString, escaped = c != '"', c == '\\'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				return errJSON
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			if nodes++; nodes > maxJSONNodes {
				return errJSON
			}
		}
	}
	return nil
}
