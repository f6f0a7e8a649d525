package gitrepo

import (
	"bytes"
	"strconv"
	"strings"
)

// An ident is who a commit says made it, and when: free text.
type ident struct {
	name, email string
	unix        int64
	dated       bool
}

// A commit is a commit object as it is stored: no mailmap, no replacement and no
// encoding has been at it.
type commit struct {
	parents           []string
	author, committer ident
	subject           string
	// signature is the armoured signature, payload what it was made over.
	signature, payload []byte
	// cut: the object was too large to be read to its end.
	cut bool
}

// maxSubject is how much of a commit's first line is kept; an event holds less.
const maxSubject = 4096

// parseCommit reads a raw commit object. What is damaged is left out. sha256
// says that the repository's object ids are SHA-256, whose signatures stand in a
// header of another name.
func parseCommit(raw []byte, sha256 bool) commit {
	var c commit
	signatureHeader := "gpgsig"
	if sha256 {
		signatureHeader = "gpgsig-sha256"
	}
	var payload []byte // raw without its signatures, when it has one
	var signed bool
	rest := raw
	name := ""
	author, committer := false, false
	for len(rest) > 0 {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, rest = rest[:i+1], rest[i+1:]
		} else {
			rest = nil
		}
		text := bytes.TrimSuffix(line, []byte("\n"))
		if len(text) == 0 {
			rest = raw[len(raw)-len(rest)-len(line):]
			break
		}
		value := text
		if text[0] == ' ' {
			value = text[1:]
		} else {
			n, v, _ := bytes.Cut(text, []byte(" "))
			name, value = string(n), v
		}
		if strings.HasPrefix(name, "gpgsig") {
			if payload == nil {
				start := len(raw) - len(rest) - len(line)
				payload = append(make([]byte, 0, len(raw)), raw[:start]...)
			}
			if name == signatureHeader {
				signed = true
				c.signature = append(append(c.signature, value...), '\n')
			}
			continue
		}
		if payload != nil {
			payload = append(payload, line...)
		}
		if text[0] == ' ' {
			continue
		}
		switch name {
		case "parent":
			if isOid(string(value)) {
				c.parents = append(c.parents, string(value))
			}
		case "author":
			if !author {
				c.author, author = parseIdent(string(value)), true
			}
		case "committer":
			if !committer {
				c.committer, committer = parseIdent(string(value)), true
			}
		}
	}
	if signed {
		c.payload = append(payload, rest...)
	}
	c.subject = subject(rest)
	return c
}

// subject returns the first line of a message, from the empty line before it on.
func subject(message []byte) string {
	message = bytes.TrimLeft(message, " \t\r\n")
	if i := bytes.IndexByte(message, '\n'); i >= 0 {
		message = message[:i]
	}
	if len(message) > maxSubject {
		message = message[:maxSubject]
	}
	return string(bytes.TrimRight(message, " \t\r"))
}

// parseIdent reads `Name <email> 1700000000 +0100`.
func parseIdent(s string) ident {
	var id ident
	end := strings.LastIndexByte(s, '>')
	if end < 0 {
		id.name = strings.TrimSpace(s)
		return id
	}
	date, _, _ := strings.Cut(strings.TrimSpace(s[end+1:]), " ")
	if n, err := strconv.ParseInt(date, 10, 64); err == nil {
		id.unix, id.dated = n, true
	}
	s = s[:end]
	if start := strings.IndexByte(s, '<'); start >= 0 {
		id.name, id.email = strings.TrimSpace(s[:start]), strings.TrimSpace(s[start+1:])
	} else {
		id.name = strings.TrimSpace(s)
	}
	return id
}

// isOid reports whether s is a full object id, SHA-1 or SHA-256.
func isOid(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if !hexDigits[s[i]] {
			return false
		}
	}
	return true
}

// hexDigits are those of object ids, which are asked about very often.
var hexDigits = func() (is [256]bool) {
	for _, c := range "0123456789abcdef" {
		is[c] = true
	}
	return is
}()

// isZeroOid reports whether s is the id that stands for no object.
func isZeroOid(s string) bool { return strings.Trim(s, "0") == "" }
