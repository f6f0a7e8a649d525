package gitrepo

import (
	"bytes"
	"strconv"
	"strings"

	"aiwatch/collectors"
	"aiwatch/collectors/logfile"
	"aiwatch/internal/event"
)

// accessLine reads a line of a web server's or proxy's access log. One log may
// serve several sources: what is not about Git is passed over.
func (c *Collector) accessLine(out collectors.Output, l *logLine) error {
	concerned := concernsGit(l.Text)
	if !concerned && !bytes.ContainsRune(l.Text, '%') {
		return nil
	}
	req, err := logfile.ParseRequest(l.Text)
	if err != nil && concerned {
		return c.damaged(out, l, err)
	}
	if err != nil {
		return nil
	}
	if l.tooOld(req.Time) {
		return nil
	}
	repo, act := gitRequest(&req)
	if act == nil || req.Status < 200 || req.Status > 299 {
		return nil
	}
	r, id, name := c.findRepo(repo)
	ev := &event.Event{
		Operation: act.operation, Action: act.action, AssetType: "repository", AssetID: id, AssetName: name, GitRepo: id,
		Status: "success", StatusCode: strconv.Itoa(req.Status), UserAgent: req.Agent,
		LFSOid: act.oid, ID: lineID(l),
	}
	c.stamp(l, ev, req.Time)
	ev.Host = hostOf(id)
	ev.Src = collectors.ClientAddress(req.Peer, req.Forwarded, c.cfg.TrustedProxies)
	if req.Bytes >= 0 && act.action == "downloaded" {
		ev.BytesOut = event.N(req.Bytes)
	}
	if act.oid != "" {
		ev.AssetDigest = "sha256:" + act.oid
	}
	if req.User == "" {
		ev.UserType, ev.UserConfidence = "anonymous", confidenceUnknown
	} else {
		c.logActor(ev, req.User)
	}
	if r != nil && act.operation == "repo.pushed" {
		p := push{At: l.at(req.Time).UnixMilli(), Principal: req.User, Src: ev.Src, Agent: req.Agent}
		if err := r.rememberPush(out, p, l); err != nil {
			return err
		}
	}
	return out.Emit(ev)
}

// concernsGit tells cheaply whether a line names what a transfer does. One that
// does not may still be about Git where letters of its path are encoded.
func concernsGit(line []byte) bool {
	for _, word := range []string{"git-upload-pack", "git-receive-pack", "lfs"} {
		if bytes.Contains(line, []byte(word)) {
			return true
		}
	}
	return false
}

// A gitAct is what a request does to a repository.
type gitAct struct{ operation, action, oid string }

// gitRequest returns the repository's path and what is done to it; nil when the
// request is no transfer. The smart protocol is
// https://git-scm.com/docs/http-protocol, an LFS object's path that of Git LFS,
// Gitea (…/info/lfs/objects/<oid>) and GitLab (…/gitlab-lfs/objects/<oid>/<size>).
func gitRequest(req *logfile.Request) (repo string, act *gitAct) {
	p := req.Path()
	if req.Method == "POST" {
		if repo, ok := strings.CutSuffix(p, "/git-upload-pack"); ok {
			return repo, &gitAct{operation: "repo.fetched", action: "downloaded"}
		}
		if repo, ok := strings.CutSuffix(p, "/git-receive-pack"); ok {
			return repo, &gitAct{operation: "repo.pushed", action: "uploaded"}
		}
		return "", nil
	}
	if req.Method != "GET" && req.Method != "PUT" {
		return "", nil
	}
	for _, mark := range []string{"/info/lfs/", "/gitlab-lfs/", "/lfs/"} {
		repo, rest, ok := strings.Cut(p, mark)
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(rest, "/") {
			if len(part) != 64 || !isOid(part) {
				continue
			}
			if req.Method == "PUT" {
				return repo, &gitAct{operation: "lfs.uploaded", action: "uploaded", oid: part}
			}
			return repo, &gitAct{operation: "lfs.downloaded", action: "downloaded", oid: part}
		}
	}
	return "", nil
}

func hostOf(id string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(id, "git:"), "/")
	return host
}
