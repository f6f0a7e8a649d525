package scenario

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Kinds of acts, by the key that says what the act is.
const (
	kindS3         = "s3"
	kindCloudTrail = "cloudtrail"
	kindMLflow     = "mlflow"
	kindAccess     = "access"
	kindGit        = "git"
	kindForge      = "forge"
	kindHook       = "hook"
	kindIndex      = "index"
	kindCollector  = "collector"
)

var kinds = []string{kindS3, kindCloudTrail, kindMLflow, kindAccess, kindGit, kindForge, kindHook, kindIndex, kindCollector}

// What a collector act may say.
const (
	collectorKill     = "kill"
	collectorStop     = "stop"
	collectorStart    = "start"
	collectorSnapshot = "snapshot"
	collectorRewind   = "rewind"
)

const (
	defaultDelay = time.Hour
	// maxActLine bounds a line of acts in bytes, maxDelay how late S3 delivers.
	maxActLine = 32 << 20
	maxDelay   = 30 * 24 * time.Hour
)

// An act is one line of a scenario.
type act struct {
	at   time.Time
	kind string
	line string // s3, access, forge, hook, cloudtrail: the record; index: the search; collector: the word
	// delay is how late S3 delivers the record.
	delay time.Duration
	call  *call
	push  *push

	file   string // for problems
	number int
}

// A call is an act on MLflow: a request, or an artifact that is stored.
type call struct {
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Body   json.RawMessage   `json:"body"`
	As     string            `json:"as"`
	Save   map[string]string `json:"save"`
	Put    *artifact         `json:"put"`
}

type artifact struct {
	Path string  `json:"path"`
	Text *string `json:"text"`
	Size *int64  `json:"size"`
}

// A push is an act on a repository.
type push struct {
	Repo   string  `json:"repo"`
	Stream string  `json:"stream"`
	Text   *string `json:"text"`
	Bundle string  `json:"bundle"`
	Force  *bool   `json:"force"`
}

// parseAct reads one line. What it can't know, such as whether a file exists,
// is left to the survey.
func parseAct(line []byte) (*act, error) {
	var in struct {
		At         *string         `json:"at"`
		Delay      *string         `json:"delay"`
		S3         json.RawMessage `json:"s3"`
		CloudTrail json.RawMessage `json:"cloudtrail"`
		MLflow     json.RawMessage `json:"mlflow"`
		Access     json.RawMessage `json:"access"`
		Git        json.RawMessage `json:"git"`
		Forge      json.RawMessage `json:"forge"`
		Hook       json.RawMessage `json:"hook"`
		Index      json.RawMessage `json:"index"`
		Collector  json.RawMessage `json:"collector"`
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return nil, jsonMistake(err)
	}
	a := &act{}
	if in.At == nil {
		return nil, errors.New(`"at" is missing: when it happens, such as "2026-03-02T09:13:05Z"`)
	}
	at, err := time.Parse(time.RFC3339Nano, *in.At)
	if err != nil {
		return nil, fmt.Errorf(`"at": %q is no time: RFC 3339, such as "2026-03-02T09:13:05Z"`, *in.At)
	}
	a.at = at.UTC()
	if y := a.at.Year(); y < 1990 || y > 2200 {
		return nil, fmt.Errorf(`"at": the year %d is not between 1990 and 2200`, y)
	}
	var value json.RawMessage
	for i, v := range []json.RawMessage{in.S3, in.CloudTrail, in.MLflow, in.Access, in.Git, in.Forge, in.Hook, in.Index, in.Collector} {
		if v == nil || string(v) == "null" {
			continue
		}
		if a.kind != "" {
			return nil, fmt.Errorf("an act is one thing, and this is both %q and %q: write two lines", a.kind, kinds[i])
		}
		a.kind, value = kinds[i], v
	}
	if a.kind == "" {
		return nil, fmt.Errorf("the line says nothing that happens; an act has one of %s", strings.Join(kinds, ", "))
	}
	if a.kind == kindS3 || a.kind == kindCloudTrail {
		a.delay = defaultDelay
		if in.Delay != nil {
			if a.delay, err = parseDelay(*in.Delay); err != nil {
				return nil, err
			}
		}
	} else if in.Delay != nil {
		return nil, fmt.Errorf(`"delay" goes with "s3" and "cloudtrail", not with %q`, a.kind)
	}
	return a, a.take(value)
}

func parseDelay(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDelay {
		return 0, fmt.Errorf(`"delay": %q is no delay: such as "1h20m", at most 30 days ("720h")`, text)
	}
	return d, nil
}

// take reads the value of the act's key.
func (a *act) take(value json.RawMessage) error {
	switch a.kind {
	case kindCloudTrail, kindForge, kindHook:
		// A record may be written as it stands in its file, or as the object it is.
		if value[0] == '{' {
			var b bytes.Buffer
			if err := json.Compact(&b, value); err != nil {
				return jsonMistake(err)
			}
			a.line = b.String()
			return nil
		}
		if err := a.text(value); err != nil {
			return err
		}
		if a.kind == kindCloudTrail && !json.Valid([]byte(a.line)) {
			return errors.New(`"cloudtrail" is one record, a JSON object`)
		}
		return nil
	case kindS3, kindAccess:
		return a.text(value)
	case kindCollector:
		if err := a.text(value); err != nil {
			return err
		}
		switch a.line {
		case collectorKill, collectorStop, collectorStart, collectorSnapshot, collectorRewind:
			return nil
		}
		return fmt.Errorf(`"collector": %q is not known; it is "kill", "stop", "start", "snapshot" or "rewind"`, a.line)
	case kindIndex:
		var in struct {
			Delete string `json:"delete"`
		}
		if err := json.Unmarshal(value, &in); err != nil || in.Delete == "" {
			return errors.New(`"index" is {"delete": "<search>"}`)
		}
		a.line = in.Delete
		return nil
	case kindMLflow:
		a.call = &call{}
		if err := json.Unmarshal(value, a.call); err != nil {
			return fmt.Errorf(`"mlflow": %w`, jsonMistake(err))
		}
		return a.call.check()
	default:
		a.push = &push{}
		if err := json.Unmarshal(value, a.push); err != nil {
			return fmt.Errorf(`"git": %w`, jsonMistake(err))
		}
		return a.push.check()
	}
}

// text takes a value that is one line of a log.
func (a *act) text(value json.RawMessage) error {
	if err := json.Unmarshal(value, &a.line); err != nil {
		return fmt.Errorf("%q is one line, a JSON string", a.kind)
	}
	a.line = strings.TrimRight(a.line, "\r\n")
	if strings.ContainsRune(a.line, '\n') && a.kind != kindCloudTrail {
		return fmt.Errorf("%q is one line, and this holds several", a.kind)
	}
	if a.line == "" {
		return fmt.Errorf("%q is empty", a.kind)
	}
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (c *call) check() error {
	for name, path := range c.Save {
		if !variableName.MatchString(name) {
			return fmt.Errorf(`"save": %q is no name of a variable: letters, digits and _`, name)
		}
		if path == "" {
			return fmt.Errorf(`"save": %s needs where in the answer it stands, such as "run.info.run_id"`, name)
		}
	}
	if c.Put != nil {
		switch {
		case c.Method != "" || c.Path != "":
			return errors.New(`"mlflow" is either a call or a "put"`)
		case len(c.Save) > 0:
			return errors.New(`"put" has no answer from which "save" could take something`)
		case strings.Trim(c.Put.Path, "/") == "":
			return errors.New(`"put" needs "path", the key in the artifact bucket`)
		case (c.Put.Text == nil) == (c.Put.Size == nil):
			return errors.New(`"put" has either "text" or "size"`)
		case c.Put.Size != nil && *c.Put.Size < 0:
			return errors.New(`"put": "size" is negative`)
		}
		return nil
	}
	if c.Method == "" || c.Path == "" {
		return errors.New(`"mlflow" needs "method" and "path", or "put"`)
	}
	c.Method = strings.ToUpper(c.Method)
	if !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, c.Method) {
		return fmt.Errorf(`"mlflow": the method %q is not one of MLflow's`, c.Method)
	}
	if _, err := url.Parse(c.Path); err != nil || !strings.HasPrefix(c.Path, "/") {
		return fmt.Errorf(`"mlflow": %q is no path; write it as MLflow's clients send it, such as "/api/2.0/mlflow/runs/create"`, c.Path)
	}
	if string(c.Body) == "null" {
		c.Body = nil
	}
	return nil
}

func (p *push) check() error {
	given := 0
	for _, is := range []bool{p.Stream != "", p.Text != nil, p.Bundle != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return errors.New(`"git" has one of "stream", "text" and "bundle"`)
	}
	p.Repo = strings.TrimSuffix(strings.Trim(p.Repo, "/"), ".git")
	if p.Repo == "" {
		return errors.New(`"git" needs "repo", such as "acme/vision"`)
	}
	if !filepath.IsLocal(p.Repo) || strings.HasPrefix(p.Repo, "-") || strings.ContainsAny(p.Repo, "\x00\\") || filepath.Clean(p.Repo) != p.Repo {
		return fmt.Errorf(`"git": %q is no name of a repository`, p.Repo)
	}
	if p.Bundle != "" && p.Force != nil {
		return errors.New(`"force" goes with a stream: the refs become exactly a bundle's`)
	}
	for _, name := range []string{p.Stream, p.Bundle} {
		if name != "" && !filepath.IsLocal(name) {
			return fmt.Errorf(`"git": %q is no file of the scenario's folder`, name)
		}
	}
	return nil
}

// jsonMistake says what is wrong with a line in words that do not name Go.
func jsonMistake(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d: %s", syntax.Offset, strings.TrimPrefix(err.Error(), "json: "))
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%q can't be a JSON %s", kind.Field, kind.Value)
	case errors.As(err, &kind):
		article := "a"
		if kind.Value == "array" {
			article = "an"
		}
		return fmt.Errorf("a line is one JSON object, and this is %s %s", article, kind.Value)
	}
	return err
}

// A source of acts gives them in the order of a file's lines; nil is the end.
type source func() (*act, error)

// openActs reads a file of acts. The errors of lines are Problem; reading goes
// on after one.
func (s *Scenario) openActs(name string) (source, io.Closer, error) {
	f, err := os.Open(s.file(name))
	if err != nil {
		return nil, nil, fmt.Errorf("read acts: %w", err)
	}
	var in io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if in, err = gzip.NewReader(bufio.NewReader(f)); err != nil {
			_ = f.Close()
			return nil, nil, Problems{{File: s.shown(name), What: "not gzip: " + err.Error()}}
		}
	}
	lines := lineReader{r: bufio.NewReaderSize(in, 1<<18)}
	shown := s.shown(name)
	return func() (*act, error) {
		for {
			line, err := lines.next()
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			if err != nil {
				return nil, Problem{shown, lines.number, err.Error()}
			}
			if len(line) == 0 {
				continue
			}
			a, err := parseAct(line)
			if err != nil {
				return nil, Problem{shown, lines.number, err.Error()}
			}
			a.file, a.number = shown, lines.number
			return a, nil
		}
	}, f, nil
}

// lineReader reads lines of any length up to a limit.
type lineReader struct {
	r      *bufio.Reader
	long   []byte
	number int
	ended  error
}

func (l *lineReader) next() ([]byte, error) {
	if l.ended != nil {
		return nil, l.ended
	}
	l.number++
	b, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long[:0], b...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(l.long) > maxActLine {
				l.ended = io.EOF
				return nil, fmt.Errorf("the line is longer than %d bytes", maxActLine)
			}
			b, err = l.r.ReadSlice('\n')
			l.long = append(l.long, b...)
		}
		b = l.long
	}
	if l.number == 1 {
		b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	}
	switch {
	case errors.Is(err, io.EOF):
		l.ended = io.EOF
		if b = bytes.TrimSpace(b); len(b) == 0 {
			return nil, io.EOF
		}
	case err != nil:
		l.ended = io.EOF
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	return bytes.TrimSpace(b), nil
}

// survey reads all acts once: what is wrong is known before anything is played.
func (s *Scenario) survey(ps *Problems) error {
	s.uses = uses{repos: map[string]bool{}, saved: map[string]bool{}, ordered: map[string]bool{}}
	for _, name := range s.acts {
		next, file, err := s.openActs(name)
		var found Problems
		if errors.As(err, &found) {
			*ps = append(*ps, found...)
			continue
		}
		if err != nil {
			return err
		}
		var last time.Time
		s.uses.ordered[name] = true
		for len(*ps) < maxProblems {
			a, err := next()
			var p Problem
			if errors.As(err, &p) {
				*ps = append(*ps, p)
				continue
			}
			if err != nil || a == nil {
				break
			}
			if a.at.Before(last) {
				s.uses.ordered[name] = false
			}
			last = a.at
			s.note(a, ps)
		}
		if err := file.Close(); err != nil {
			return fmt.Errorf("read acts: %w", err)
		}
	}
	if len(*ps) >= maxProblems {
		ps.add(s.shown(storyFile), 0, "there are more mistakes; these are the first %d", maxProblems)
	}
	return nil
}

func (s *Scenario) note(a *act, ps *Problems) {
	s.uses.acts++
	if !s.End.IsZero() && a.at.After(s.End) {
		ps.add(a.file, a.number, "it happens after the scenario's end")
	}
	switch {
	case a.push != nil:
		s.uses.repos[a.push.Repo] = true
		for _, name := range []string{a.push.Stream, a.push.Bundle} {
			if name == "" {
				continue
			}
			if info, err := os.Stat(s.file(name)); err != nil || !info.Mode().IsRegular() {
				ps.add(a.file, a.number, "there is no file %s in the scenario's folder", name)
			}
		}
	case a.call != nil:
		for name := range a.call.Save {
			s.uses.saved[name] = true
		}
		if strings.Contains(a.call.Path, "/permissions/") || strings.Contains(a.call.Path, "/mlflow/users/") {
			s.uses.grants = true
		}
	}
}

// merged gives the acts of all files by time; those of one moment in the order
// of file names and lines. A file whose lines are in the order of their time is
// read as it is needed, any other one is held in memory.
func (s *Scenario) merged() (next source, done func(), err error) {
	var files []io.Closer
	done = func() {
		for _, f := range files {
			_ = f.Close() // it was only read
		}
	}
	var streams []source
	for _, name := range s.acts {
		src, file, err := s.openActs(name)
		if err != nil {
			return nil, done, err
		}
		files = append(files, file)
		if !s.uses.ordered[name] {
			if src, err = sortedSource(src); err != nil {
				return nil, done, err
			}
		}
		streams = append(streams, src)
	}
	heads := make([]*act, len(streams))
	for i := range streams {
		if heads[i], err = streams[i](); err != nil {
			return nil, done, err
		}
	}
	return func() (*act, error) {
		first := -1
		for i, a := range heads {
			if a != nil && (first < 0 || a.at.Before(heads[first].at)) {
				first = i
			}
		}
		if first < 0 {
			return nil, nil
		}
		a := heads[first]
		var err error
		heads[first], err = streams[first]()
		return a, err
	}, done, nil
}

func sortedSource(next source) (source, error) {
	var all []*act
	for {
		a, err := next()
		if err != nil {
			return nil, err
		}
		if a == nil {
			break
		}
		all = append(all, a)
	}
	slices.SortStableFunc(all, func(a, b *act) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	return func() (*act, error) {
		if len(all) == 0 {
			return nil, nil
		}
		a := all[0]
		all[0] = nil
		all = all[1:]
		return a, nil
	}, nil
}
