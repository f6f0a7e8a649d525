package gitrepo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/stretchr/testify/require"
)

// signPGP returns a commit object with an OpenPGP signature in its header.
func signPGP(t *testing.T, raw string, by *openpgp.Entity) string {
	t.Helper()
	var sig bytes.Buffer
	require.NoError(t, openpgp.ArmoredDetachSign(&sig, by, strings.NewReader(raw), nil))
	head, message, _ := strings.Cut(raw, "\n\n")
	return head + "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(sig.String()), "\n", "\n ") + "\n\n" + message
}

func TestOpenPGPSignatures(t *testing.T) {
	now := time.Now()
	entity := func(name string) *openpgp.Entity {
		e, err := openpgp.NewEntity(name, "", name+"@example.test", nil)
		require.NoError(t, err)
		return e
	}
	dana, leaver, mallory := entity("dana"), entity("leaver"), entity("mallory")
	require.NoError(t, leaver.RevokeKey(packet.KeyRetired, "left", nil))
	var ring bytes.Buffer
	for _, e := range []*openpgp.Entity{dana, leaver} {
		w, err := armor.Encode(&ring, openpgp.PublicKeyType, nil)
		require.NoError(t, err)
		require.NoError(t, e.Serialize(w))
		require.NoError(t, w.Close())
		ring.WriteByte('\n')
	}
	file := filepath.Join(t.TempDir(), "keys.asc")
	require.NoError(t, os.WriteFile(file, ring.Bytes(), 0o600))
	s, err := readSigners("", file)
	require.NoError(t, err)

	raw := "tree " + strings.Repeat("1", 40) + "\nauthor Dana <dana@example.test> 1700000000 +0000\ncommitter Dana <dana@example.test> 1700000000 +0000\n\nsubject\n\nbody\n"
	good := signPGP(t, raw, dana)
	for _, c := range []struct{ name, raw, status, principal string }{
		{"known", good, signatureGood, "dana@example.test"},
		{"changed", strings.Replace(good, "body", "evil", 1), signatureBad, ""},
		{"unknown", signPGP(t, raw, mallory), signatureUnknownKey, ""},
		{"none", raw, signatureNone, ""},
		{"garbage", strings.Replace(raw, "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n\n", 1), signatureBad, ""},
		{"X.509", strings.Replace(raw, "\n\n", "\ngpgsig -----BEGIN SIGNED MESSAGE-----\n x\n\n", 1), signatureUnknownKey, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			commit := parseCommit([]byte(c.raw), false)
			// Signed after the last look, and by a clock that goes a little ahead.
			status, key, principal := s.judge(&commit, now.Add(-time.Hour), now.Add(-time.Minute))
			if len(commit.signature) == 0 {
				status = s.verify(&commit, millis(0), now, false).status
			}
			require.Equal(t, c.status, status)
			require.Equal(t, c.principal, principal)
			if c.status == signatureGood {
				require.Equal(t, raw, string(commit.payload))
				require.Len(t, key, 40)
			}
		})
	}
	// A revoked key makes no new signature, so it signs before it is revoked.
	early := entity("early")
	signed := signPGP(t, raw, early)
	require.NoError(t, early.RevokeKey(packet.KeyCompromised, "stolen", nil))
	s.pgp = append(s.pgp, early)
	commit := parseCommit([]byte(signed), false)
	status, _, _ := s.judge(&commit, now, now.Add(time.Minute))
	require.Equal(t, signatureRevoked, status)
}

func TestAllowedSignersThatAreRefused(t *testing.T) {
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
	for text, ok := range map[string]bool{
		"dana@example.test " + key: true, "# nobody\n\n": true,
		"dana@example.test valid-after=\"20260101Z\",namespaces=\"git,file\" " + key: true,
		"@revoked dana@example.test " + key:                                          true,
		"dana@example.test cert-authority " + key:                                    false,
		"dana@example.test valid-before=\"soon\" " + key:                             false,
		"dana@example.test no-such-option " + key:                                    false,
		"dana@example.test":                                                          false,
	} {
		s := &signers{ssh: map[string][]sshSigner{}}
		require.Equal(t, ok, s.readAllowed(text) == nil, text)
	}
	s := &signers{ssh: map[string][]sshSigner{}}
	require.NoError(t, s.readAllowed("dana@example.test namespaces=\"file\" "+key))
	require.Empty(t, s.ssh, "a key for something else signs no commit")
}

// A repository whose object ids are SHA-256 is read like any other.
func TestSHA256Repository(t *testing.T) {
	l := newLab(t)
	require.NoError(t, os.RemoveAll(l.source))
	require.NoError(t, os.RemoveAll(l.work))
	l.gitIn(l.dir, "init", "-q", "--bare", "--object-format=sha256", "--initial-branch=main", l.source)
	l.gitIn(l.dir, "init", "-q", "--object-format=sha256", "--initial-branch=main", l.work)
	l.git("remote", "add", "origin", l.source)
	l.keys()
	l.commit("first", "model.pt", "1")
	l.push()
	l.poll()
	l.signed("dana")
	c := l.commit("second", "model.pt", "2")
	l.push()
	events := l.poll()
	require.Len(t, c, 64)
	require.Equal(t, "good", with(events, "commit.added")[0].s("signature"))
	require.Equal(t, c, one(t, events, "file.modified").s("git_commit"))
	require.Len(t, with(events, "ref.updated"), 1)
}
