package gitrepo

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/logfile"
	"aiwatch/internal/event"
)

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree 1111111111111111111111111111111111111111\nparent 2222222222222222222222222222222222222222\nauthor A B <a@b> 1700000000 +0100\ncommitter C <c@d> 1700000001 +0000\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\nsubject\n\nbody\n"))
	f.Add([]byte("author >< 99999999999999999999 x\ngpgsig-sha256 x\n y\n\n"))
	f.Add([]byte("gpgsig"))
	f.Add([]byte("\n\n\n"))
	s := &signers{}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, sha256 := range []bool{false, true} {
			c := parseCommit(bytes.Clone(raw), sha256)
			require.LessOrEqual(t, len(c.subject), maxSubject)
			require.NotContains(t, c.subject, "\n")
			for _, p := range c.parents {
				require.True(t, isOid(p))
			}
			// What was signed is the commit without its signature.
			require.LessOrEqual(t, len(c.payload), len(raw))
			require.False(t, bytes.HasPrefix(c.payload, []byte("gpgsig")))
			v := s.verify(&c, event.Time{}, time.Unix(0, 0), true)
			require.NotEqual(t, signatureGood, v.status, "nobody may sign")
			var ev event.Event
			fillCommit(&ev, &c)
			ev.AppendJSON(nil)
		}
	})
}

func FuzzRawDiff(f *testing.F) {
	oid := strings.Repeat("a", 40)
	f.Add([]byte(oid + " refs/m/heads/main " + oid + " " + oid + "\x00\n:000000 100644 " + oid + " " + oid + " A\x00a.pt\x00" + oid + " x\x00"))
	f.Add([]byte(oid + "\x00" + oid + " \x00\n:\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, out []byte) {
		in := rawReader{r: bufio.NewReader(bytes.NewReader(out))}
		for {
			c, err := in.commit()
			if err != nil {
				return
			}
			require.True(t, isOid(c.oid))
			for {
				c, ok, err := in.change()
				if err != nil {
					require.False(t, errors.Is(err, io.EOF), "an end in the middle is not an end")
					return
				}
				if !ok {
					break
				}
				require.True(t, isOid(c.oldOid) && isOid(c.newOid))
			}
		}
	})
}

func FuzzCombined(f *testing.F) {
	f.Add([]byte("aaaa\x00::100644 100644 100644 a b c MM\x00path\x00"))
	f.Fuzz(func(t *testing.T, out []byte) {
		paths, _ := parseCombined(out)
		require.LessOrEqual(t, len(paths), len(out))
	})
}

func FuzzJSONKeys(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"auto_map":{}}}`), []byte(`{"a":1e999,"b":[1,2]}`))
	f.Add([]byte(``), []byte(`[[[[`))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		keys, err := changedKeys(before, after)
		if err != nil {
			require.Empty(t, keys)
			return
		}
		again, err := changedKeys(before, after)
		require.NoError(t, err)
		require.Equal(t, keys, again, "the order of a map does not show")
		same, err := changedKeys(after, after)
		require.NoError(t, err)
		require.Empty(t, same)
	})
}

func FuzzAccessLog(f *testing.F) {
	f.Add([]byte(`192.0.2.7 - alice [02/Mar/2026:09:13:05 +0000] "POST /acme/vision.git/git-upload-pack HTTP/1.1" 200 12 "-" "git/2"`))
	f.Add([]byte(`{"ts":1,"request":{"method":"POST","uri":"/x/git-receive-pack"},"status":200}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		req, err := logfile.ParseRequest(line)
		if err != nil {
			return
		}
		_, act := gitRequest(&req)
		if act != nil && act.oid != "" {
			require.Len(t, act.oid, 64)
		}
	})
}

func FuzzForgeLine(f *testing.F) {
	f.Add([]byte(`{"@timestamp":1,"action":"git.push","actor":"a","repo":"x/y"}`))
	f.Add([]byte(`{"ref":"refs/heads/x","before":"0","after":"1","repository":{"full_name":"x/y"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		o, err := logfile.ParseObject(line)
		if err != nil {
			return
		}
		table := tableOf(o)
		if table == nil {
			return
		}
		rule := table.rule(o.Text(table.action...))
		require.Contains(t, forgeActions, rule.operation)
		require.Contains(t, []string{"", "on", "off"}, turned(o, rule.turns))
	})
}

func FuzzAllowedSigners(f *testing.F) {
	f.Add(`dana@example.test namespaces="git" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ`)
	f.Add("@revoked * valid-before=\"20260101\" ssh-rsa x")
	f.Fuzz(func(t *testing.T, text string) {
		s := &signers{ssh: map[string][]sshSigner{}}
		_ = s.readAllowed(text) // an error or not, never a panic
	})
}

func TestSplitAddress(t *testing.T) {
	for _, c := range []struct{ address, root, want string }{
		{"https://git.example.test:8443/acme/vision.git", "", "git.example.test acme/vision"},
		{"git@git.example.test:acme/vision.git", "", "git.example.test acme/vision"},
		{"/srv/git/acme/vision.git", "", "forge srv/git/acme/vision"},
		{"/srv/git/acme/vision.git", "/srv/git", "forge acme/vision"},
		{"/srv/git/acme/vision.git", "/srv/other", "forge srv/git/acme/vision"},
		{"/home/dana/vision/.git", "/home", "forge dana/vision"},
		{"file:///srv/git/acme/vision.git", "/srv/git", "forge acme/vision"},
		{"relative/path", "", " "},
	} {
		host, path, _ := splitAddress(c.address, "forge", c.root)
		require.Equal(t, c.want, host+" "+path, c.address)
	}
}
