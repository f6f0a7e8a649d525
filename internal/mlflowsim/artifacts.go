package mlflowsim

import (
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A file is one artifact: its bytes, or a size alone where they do not matter.
type file struct {
	text []byte
	size int64
}

// Put stores an artifact under its key below the artifact root, as a client
// does that writes to the bucket directly. size counts where text is nil, and
// such a file reads as zeros.
func (s *Server) Put(key string, text []byte, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != nil {
		size = int64(len(text))
	}
	s.files[strings.Trim(key, "/")] = file{text, size}
}

// Remove removes an artifact, or a folder of them.
func (s *Server) Remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(strings.Trim(key, "/"))
}

func (s *Server) remove(key string) bool {
	before := len(s.files)
	maps.DeleteFunc(s.files, func(k string, _ file) bool { return k == key || strings.HasPrefix(k, key+"/") })
	return len(s.files) < before
}

// proxy is mlflow-artifacts: GET, PUT and DELETE of a key, GET of a folder.
func (s *Server) proxy(w http.ResponseWriter, c *call, key string) {
	switch {
	case c.Method == http.MethodPut:
		s.files[key] = file{slices.Clone(c.raw), int64(len(c.raw))}
		s.answerJSON(w, object{})
	case c.Method == http.MethodDelete:
		s.remove(key)
		s.answerJSON(w, object{})
	case key == "":
		s.answerJSON(w, object{"files": s.children(strings.Trim(c.str("path"), "/"), "")})
	default:
		s.send(w, key)
	}
}

func (s *Server) answerJSON(w http.ResponseWriter, o object) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, marshal(o))
}

func (s *Server) send(w http.ResponseWriter, key string) {
	f, ok := s.files[key]
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, marshal(object{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such artifact"}))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(f.size, 10))
	if f.text != nil {
		_, _ = w.Write(f.text)
		return
	}
	_, _ = io.CopyN(w, zeros{}, f.size)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// below is the key of a URI under the artifact root, or nothing.
func (s *Server) below(uri string) (string, bool) {
	key, ok := strings.CutPrefix(uri, s.opt.ArtifactRoot)
	return strings.Trim(key, "/"), ok
}

// children lists one folder, with paths that begin with prefix.
func (s *Server) children(folder, prefix string) []object {
	if folder != "" {
		folder += "/"
	}
	sizes := map[string]int64{}
	for k, f := range s.files {
		if rest, ok := strings.CutPrefix(k, folder); ok && rest != "" {
			name, _, deeper := strings.Cut(rest, "/")
			if deeper {
				sizes[name] = -1
			} else {
				sizes[name] = f.size
			}
		}
	}
	var list []object
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		o := object{"path": path.Join(prefix, name), "is_dir": sizes[name] < 0}
		if sizes[name] >= 0 {
			o["file_size"] = sizes[name]
		}
		list = append(list, o)
	}
	return list
}

func (s *Server) listing(root, folder string) object {
	o := object{"root_uri": root}
	if key, ok := s.below(root); ok {
		put(o, "files", s.children(path.Join(key, folder), folder))
	}
	return o
}

func (s *Server) listArtifacts(c *call) (object, error) {
	r, err := s.run(c)
	if err != nil {
		return nil, err
	}
	return s.listing(r.artifacts, c.str("path")), nil
}

// download answers get-artifact of runs and of versions.
func (s *Server) download(w http.ResponseWriter, c *call) {
	root := ""
	if strings.HasPrefix(c.URL.Path, "/model-versions/") {
		if v, err := s.version(c); err == nil {
			root = v.source
		}
	} else if r, err := s.run(c); err == nil {
		root = r.artifacts
	}
	key, ok := s.below(root)
	if !ok || root == "" {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	s.send(w, path.Join(key, c.str("path")))
}
