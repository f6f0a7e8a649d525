package month

import (
	"crypto/sha1" //nolint:gosec // Git's object ids
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A read is one request to S3.
type request struct {
	bucket, key, op string
	user            string // IAM user; empty is anonymous
	address, agent  string
	status, bytes   int
	size            int
}

// s3 tells of a request: the line, and when S3 delivers it. A few come late, and
// a few twice.
func (m *month) s3(at time.Time, r request) {
	if at.Before(m.Start) || at.After(m.end) {
		return
	}
	m.ids++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d request %d", m.Seed, m.ids))
	id := strings.ToUpper(hex.EncodeToString(sum[:8]))
	requester, signature, auth := "-", "-", "-"
	if r.user != "" {
		requester, signature, auth = "arn:aws:iam::"+account+":user/"+r.user, "SigV4", "AuthHeader"
	}
	errorCode := "-"
	if r.status == 503 {
		errorCode = "SlowDown"
	}
	if r.status == 0 {
		r.status = 200
	}
	dash := func(n int) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	method := strings.Split(r.op, ".")[1]
	if method == "COPY" {
		method = "PUT"
	}
	key := r.key
	if key == "" {
		key = "-"
	}
	line := fmt.Sprintf(`79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be %s [%s] %s %s %s %s %s "%s /%s HTTP/1.1" %d %s %s %s %d %d "-" "%s" - %s %s ECDHE-RSA-AES128-GCM-SHA256 %s %s.s3.eu-central-1.amazonaws.com TLSv1.3 - -`,
		r.bucket, at.UTC().Format("02/Jan/2006:15:04:05 -0700"), r.address, requester, id, r.op, key, method, strings.TrimPrefix(r.key, "/"), r.status, errorCode,
		dash(r.bytes), dash(r.size), 20+m.rnd.IntN(60), 10+m.rnd.IntN(20), r.agent, hex.EncodeToString(sum[8:20]), signature, auth, r.bucket)
	delay := 15*time.Minute + time.Duration(m.rnd.IntN(5400))*time.Second
	switch m.rnd.IntN(200) {
	case 0:
		delay += time.Duration(m.rnd.IntN(20*3600)) * time.Second
	case 1:
		m.add(at, "s3", line, delay+time.Duration(m.rnd.IntN(3600))*time.Second)
	}
	m.count.Lines++
	m.add(at, "s3", line, delay)
}

// call tells of a call of MLflow's API, and of its line in the proxy's log.
func (m *month) call(at time.Time, who, address, method, path string, body, save map[string]any) {
	c := map[string]any{"method": method, "path": "/api/2.0/mlflow/" + path, "body": body, "as": who}
	if save != nil {
		c["save"] = save
	}
	m.count.Calls++
	m.add(at, "mlflow", c, 0)
	if !at.Before(m.Start) {
		m.access(at, who, address, method, "/api/2.0/mlflow/"+path, "mlflow-python-client/"+m.MLflow)
	}
}

func (m *month) put(at time.Time, who, key, text string, size int) {
	p := map[string]any{"path": key}
	if text != "" {
		p["text"] = text
	} else {
		p["size"] = size
	}
	m.add(at, "mlflow", map[string]any{"put": p, "as": who}, 0)
}

func (m *month) access(at time.Time, who, address, method, path, agent string) {
	m.add(at, "access", fmt.Sprintf(`%s - %s [%s] "%s %s HTTP/1.1" 200 %d "-" "%s"`,
		address, who, at.UTC().Format("02/Jan/2006:15:04:05 -0700"), method, path, 100+m.rnd.IntN(900), agent), 0)
}

// A repository is the flat tree and the branches of a Git repository.
type repository struct {
	name     string
	branches map[string][]*commit // what each was, the newest last
}

type commit struct {
	id    string
	at    time.Time
	files map[string]string
}

// head is what a branch is at a time; nil when it is not yet there.
func (r *repository) head(branch string, at time.Time) (head *commit) {
	for _, c := range r.branches[branch] {
		if c.at.Before(at) {
			head = c
		}
	}
	return head
}

func newRepository(name string) *repository {
	return &repository{name: name, branches: map[string][]*commit{}}
}

// commit makes a commit on a branch and returns the stream that imports it. The
// branch becomes the new commit, whatever it was.
func (r *repository) commit(branch string, at time.Time, author, message string, parents []*commit, changed map[string]string) string {
	files := map[string]string{}
	if len(parents) > 0 {
		maps.Copy(files, parents[0].files)
	}
	maps.Copy(files, changed)
	var tree []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := object("blob", []byte(files[name]))
		tree = append(append(append(tree, "100644 "+name...), 0), sum[:]...)
	}
	who := fmt.Sprintf("%s <%s@acme.example> %d +0000", author, author, at.Unix())
	top := object("tree", tree)
	text := "tree " + hex.EncodeToString(top[:]) + "\n"
	for _, p := range parents {
		text += "parent " + p.id + "\n"
	}
	text += "author " + who + "\ncommitter " + who + "\n\n" + message
	sum := object("commit", []byte(text))
	r.branches[branch] = append(r.branches[branch], &commit{id: hex.EncodeToString(sum[:]), at: at, files: files})

	var b strings.Builder
	fmt.Fprintf(&b, "commit refs/heads/%s\nauthor %s\ncommitter %s\n%s", branch, who, who, data(message))
	for i, p := range parents {
		if i == 0 {
			fmt.Fprintf(&b, "from %s\n", p.id)
		} else {
			fmt.Fprintf(&b, "merge %s\n", p.id)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		fmt.Fprintf(&b, "M 100644 inline %s\n%s", name, data(changed[name]))
	}
	return b.String() + "\n"
}

func object(kind string, content []byte) [sha1.Size]byte {
	return sha1.Sum(append(fmt.Appendf(nil, "%s %d\x00", kind, len(content)), content...)) //nolint:gosec // Git's object ids
}

func data(text string) string { return fmt.Sprintf("data %d\n%s\n", len(text), text) }

// push tells of a push and of its line in the proxy's log.
func (m *month) push(at time.Time, who, address string, r *repository, stream string) {
	m.count.Pushes++
	m.add(at, "git", map[string]any{"repo": r.name, "text": stream}, 0)
	if !at.Before(m.Start) {
		m.access(at, who, address, "POST", "/"+r.name+".git/git-receive-pack", "git/2.43.0")
	}
}
