// Package words tells what people and programs do in the words of the systems
// that write it down: lines of S3's and a proxy's access log, calls of MLflow's
// API, streams of commits. The generators of scenarios are made of it.
//
// It writes raw material only and shares no code with the collectors. The same
// calls in the same order give the same bytes.
package words

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // Git's object ids
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Teller tells acts, in any order, and writes them in the order of time.
type Teller struct {
	Seed uint64
	// Since is when the logs begin, End when the tale ends: no act is told that
	// lies behind it, and no line of a log that lies before.
	Since, End time.Time
	// Now, if set, is from when on lines of the access log are dated by the clock
	// of whoever plays the tale.
	Now     time.Time
	Account string // the AWS account of everybody
	MLflow  string // the clients' version
	Rand    *rand.Rand
	Count   Count

	acts  []act // not written yet
	order int
	ids   int
}

// Count is what was told.
type Count struct {
	Lines, Calls, Pushes int
}

// An act is one line of a scenario.
type act struct {
	at    time.Time
	order int
	line  []byte
}

// ID is a number that no call gave before.
func (t *Teller) ID() int {
	t.ids++
	return t.ids
}

// add tells an act.
func (t *Teller) add(at time.Time, kind string, value any, delay time.Duration) {
	if at.After(t.End) {
		return
	}
	a := map[string]any{"at": at.UTC().Format(time.RFC3339), kind: value}
	if delay > 0 {
		a["delay"] = delay.Round(time.Second).String()
	}
	line, err := json.Marshal(a)
	if err != nil {
		panic(err) // made of strings and numbers alone
	}
	t.order++
	t.acts = append(t.acts, act{at, t.order, line})
}

// Write writes the acts before until, in the order of their seconds; later ones
// wait.
func (t *Teller) Write(out io.Writer, until time.Time) error {
	slices.SortFunc(t.acts, func(a, b act) int {
		return cmp.Or(a.at.Truncate(time.Second).Compare(b.at.Truncate(time.Second)), cmp.Compare(a.order, b.order))
	})
	n := 0
	for n < len(t.acts) && t.acts[n].at.Before(until) {
		if _, err := out.Write(append(t.acts[n].line, '\n')); err != nil {
			return err
		}
		n++
	}
	t.acts = append([]act(nil), t.acts[n:]...)
	return nil
}

// A Request is one to S3.
type Request struct {
	Bucket, Key, Op string
	User            string // of IAM, or the ARN of a principal; empty is anonymous
	Address, Agent  string
	Status, Bytes   int
	Size            int
	Delay           time.Duration // until S3 delivers the line; some time when zero
}

// subresources are what the URI of a request names that is about a bucket's
// settings.
var subresources = map[string]string{"LOGGING_STATUS": "?logging", "BUCKETPOLICY": "?policy", "VERSIONING": "?versioning"}

// S3 tells of a request: the line, and when S3 delivers it. A few come late, and
// a few twice.
func (t *Teller) S3(at time.Time, r Request) {
	if at.Before(t.Since) || at.After(t.End) {
		return
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d request %d", t.Seed, t.ID()))
	id := strings.ToUpper(hex.EncodeToString(sum[:8]))
	requester, signature, auth := "-", "-", "-"
	if r.User != "" {
		requester, signature, auth = r.User, "SigV4", "AuthHeader"
		if !strings.HasPrefix(requester, "arn:") {
			requester = "arn:aws:iam::" + t.Account + ":user/" + r.User
		}
	}
	errorCode := "-"
	if r.Status == 503 {
		errorCode = "SlowDown"
	}
	if r.Status == 0 {
		r.Status = 200
	}
	dash := func(n int) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	op := strings.Split(r.Op, ".")
	method := op[1]
	if method == "COPY" {
		method = "PUT"
	}
	key, uri := r.Key, strings.TrimPrefix(r.Key, "/")
	if key == "" {
		key, uri = "-", subresources[op[2]]
	}
	request, status := fmt.Sprintf("%s /%s HTTP/1.1", method, uri), fmt.Sprint(r.Status)
	switch op[0] {
	case "BATCH": // one line a key of a POST of many
		request = "-"
	case "S3": // by rule: nobody asked
		r.Address, requester, signature, auth, request, status, r.Agent = "-", "AmazonS3", "-", "-", "-", "-", "-"
	}
	line := fmt.Sprintf(`79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be %s [%s] %s %s %s %s %s "%s" %s %s %s %s %d %d "-" "%s" - %s %s ECDHE-RSA-AES128-GCM-SHA256 %s %s.s3.eu-central-1.amazonaws.com TLSv1.3 - -`,
		r.Bucket, at.UTC().Format("02/Jan/2006:15:04:05 -0700"), r.Address, requester, id, r.Op, key, request, status, errorCode,
		dash(r.Bytes), dash(r.Size), 20+t.Rand.IntN(60), 10+t.Rand.IntN(20), r.Agent, hex.EncodeToString(sum[8:20]), signature, auth, r.Bucket)
	if r.Delay > 0 {
		t.Count.Lines++
		t.add(at, "s3", line, r.Delay)
		return
	}
	delay := 15*time.Minute + time.Duration(t.Rand.IntN(5400))*time.Second
	switch t.Rand.IntN(200) {
	case 0:
		delay += time.Duration(t.Rand.IntN(20*3600)) * time.Second
	case 1:
		t.add(at, "s3", line, delay+time.Duration(t.Rand.IntN(3600))*time.Second)
	}
	t.Count.Lines++
	t.add(at, "s3", line, delay)
}

// Call tells of a call of MLflow's API, and of its line in the proxy's log.
func (t *Teller) Call(at time.Time, who, address, method, path string, body, save map[string]any) {
	c := map[string]any{"method": method, "path": "/api/2.0/mlflow/" + path, "body": body, "as": who}
	if save != nil {
		c["save"] = save
	}
	t.Count.Calls++
	t.add(at, "mlflow", c, 0)
	if !at.Before(t.Since) {
		t.Access(at, who, address, method, "/api/2.0/mlflow/"+path, "mlflow-python-client/"+t.MLflow)
	}
}

// Put tells of an artifact that is stored: of its text, or of so many bytes.
func (t *Teller) Put(at time.Time, who, key, text string, size int) {
	p := map[string]any{"path": key}
	if text != "" {
		p["text"] = text
	} else {
		p["size"] = size
	}
	t.add(at, "mlflow", map[string]any{"put": p, "as": who}, 0)
}

// Access tells of a line in the log of the proxy before MLflow and Git.
func (t *Teller) Access(at time.Time, who, address, method, path, agent string) {
	date := at.UTC().Format("02/Jan/2006:15:04:05 -0700")
	if !t.Now.IsZero() && !at.Before(t.Now) {
		date = "${CLOCK}"
	}
	t.add(at, "access", fmt.Sprintf(`%s - %s [%s] "%s %s HTTP/1.1" 200 %d "-" "%s"`,
		address, who, date, method, path, 100+t.Rand.IntN(900), agent), 0)
}

// Collector tells of what becomes of the collectors, such as a stop.
func (t *Teller) Collector(at time.Time, what string) { t.add(at, "collector", what, 0) }

// A Repository is the flat tree and the branches of a Git repository.
type Repository struct {
	Name     string
	People   map[string]string    // full names by user; who is not in it has none
	branches map[string][]*Commit // what each was, the newest last
}

// A Commit is one, with the whole tree.
type Commit struct {
	ID    string
	Files map[string]string

	at time.Time
}

// Head is what a branch is at a time; nil when it is not yet there.
func (r *Repository) Head(branch string, at time.Time) (head *Commit) {
	for _, c := range r.branches[branch] {
		if c.at.Before(at) {
			head = c
		}
	}
	return head
}

// NewRepository is an empty one.
func NewRepository(name string) *Repository {
	return &Repository{Name: name, branches: map[string][]*Commit{}}
}

// Commit makes a commit on a branch and returns the stream that imports it. The
// branch becomes the new commit, whatever it was.
func (r *Repository) Commit(branch string, at time.Time, author, message string, parents []*Commit, changed map[string]string) string {
	files := map[string]string{}
	if len(parents) > 0 {
		maps.Copy(files, parents[0].Files)
	}
	maps.Copy(files, changed)
	var tree []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := object("blob", []byte(files[name]))
		tree = append(append(append(tree, "100644 "+name...), 0), sum[:]...)
	}
	who := fmt.Sprintf("%s <%s@acme.example> %d +0000", cmp.Or(r.People[author], author), author, at.Unix())
	top := object("tree", tree)
	text := "tree " + hex.EncodeToString(top[:]) + "\n"
	for _, p := range parents {
		text += "parent " + p.ID + "\n"
	}
	text += "author " + who + "\ncommitter " + who + "\n\n" + message
	sum := object("commit", []byte(text))
	r.branches[branch] = append(r.branches[branch], &Commit{ID: hex.EncodeToString(sum[:]), at: at, Files: files})

	var b strings.Builder
	fmt.Fprintf(&b, "commit refs/heads/%s\nauthor %s\ncommitter %s\n%s", branch, who, who, data(message))
	for i, p := range parents {
		if i == 0 {
			fmt.Fprintf(&b, "from %s\n", p.ID)
		} else {
			fmt.Fprintf(&b, "merge %s\n", p.ID)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		fmt.Fprintf(&b, "M 100644 inline %s\n%s", name, data(changed[name]))
	}
	return b.String() + "\n"
}

// Delete removes a branch and returns the stream that does it.
func (r *Repository) Delete(branch string) string {
	delete(r.branches, branch)
	return fmt.Sprintf("reset refs/heads/%s\nfrom %040d\n\n", branch, 0)
}

// Reset makes a branch an earlier commit and returns the stream that does it.
func (r *Repository) Reset(branch string, at time.Time, to *Commit) string {
	r.branches[branch] = append(r.branches[branch], &Commit{ID: to.ID, Files: to.Files, at: at})
	return fmt.Sprintf("reset refs/heads/%s\nfrom %s\n\n", branch, to.ID)
}

func object(kind string, content []byte) [sha1.Size]byte {
	return sha1.Sum(append(fmt.Appendf(nil, "%s %d\x00", kind, len(content)), content...)) //nolint:gosec // Git's object ids
}

func data(text string) string { return fmt.Sprintf("data %d\n%s\n", len(text), text) }

// Push tells of a push and of its line in the proxy's log.
func (t *Teller) Push(at time.Time, who, address string, r *Repository, stream string) {
	t.Count.Pushes++
	t.add(at, "git", map[string]any{"repo": r.Name, "text": stream}, 0)
	if !at.Before(t.Since) {
		t.Access(at, who, address, "POST", "/"+r.Name+".git/git-receive-pack", "git/2.43.0")
	}
}

// Tag is a key and a value as MLflow's API has them.
func Tag(key, value string) map[string]any { return map[string]any{"key": key, "value": value} }
