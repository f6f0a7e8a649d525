package gitrepo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"aiwatch/internal/event"
)

// The values of the field signature.
const (
	signatureNone       = "none"
	signatureGood       = "good"
	signatureBad        = "bad"
	signatureUnknownKey = "unknown_key"
	signatureRevoked    = "revoked"
)

// gitNamespace is what git signs in, so that a signature made for something else
// is not taken for a commit's.
const gitNamespace = "git"

// signers are who may sign.
type signers struct {
	ssh map[string][]sshSigner // by the key's fingerprint
	pgp openpgp.EntityList
}

// An sshSigner is a line of an allowed signers file.
type sshSigner struct {
	principal     string
	revoked       bool
	after, before time.Time // zero: no bound
}

// maxSignature bounds a signature in bytes.
const maxSignature = 64 << 10

// readSigners reads both files; an empty name is no file.
func readSigners(allowed, keys string) (*signers, error) {
	s := &signers{ssh: map[string][]sshSigner{}}
	if allowed != "" {
		b, err := os.ReadFile(allowed)
		if err != nil {
			return nil, fmt.Errorf("allowed_signers_file: %w", err)
		}
		if err := s.readAllowed(string(b)); err != nil {
			return nil, fmt.Errorf("allowed_signers_file %s: %w", allowed, err)
		}
	}
	if keys != "" {
		f, err := os.Open(keys)
		if err != nil {
			return nil, fmt.Errorf("openpgp_keys_file: %w", err)
		}
		defer f.Close()
		if s.pgp, err = readKeyRing(f); err != nil {
			return nil, fmt.Errorf("openpgp_keys_file %s: %w", keys, err)
		}
	}
	return s, nil
}

// readKeyRing reads an exported key ring, armoured or binary, also several
// armoured ones in a row.
func readKeyRing(r io.Reader) (openpgp.EntityList, error) {
	b, err := io.ReadAll(io.LimitReader(r, 64<<20))
	if err != nil {
		return nil, err
	}
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	if !bytes.Contains(b, []byte(begin)) {
		return openpgp.ReadKeyRing(bytes.NewReader(b))
	}
	var all openpgp.EntityList
	for _, block := range bytes.Split(b, []byte(begin))[1:] {
		ring, err := openpgp.ReadArmoredKeyRing(io.MultiReader(strings.NewReader(begin), bytes.NewReader(block)))
		if err != nil {
			return nil, err
		}
		all = append(all, ring...)
	}
	return all, nil
}

// readAllowed reads OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)), and takes
// the marker @revoked of known_hosts before a line. Certificate authorities are
// not supported: a line with one is refused.
func (s *signers) readAllowed(text string) error {
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var signer sshSigner
		if rest, ok := strings.CutPrefix(line, "@revoked "); ok {
			signer.revoked, line = true, strings.TrimSpace(rest)
		}
		principals, rest := cutWord(line)
		key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
		if err != nil {
			return fmt.Errorf("line %d: want principals, options and a key: %w", n+1, err)
		}
		signer.principal = firstPrincipal(strings.Trim(principals, `"`))
		inGit := true
		for _, o := range options {
			name, value, _ := strings.Cut(o, "=")
			value = strings.Trim(value, `"`)
			switch strings.ToLower(name) {
			case "cert-authority":
				return fmt.Errorf("line %d: cert-authority is not supported; list the keys themselves", n+1)
			case "namespaces":
				inGit = matchesList(value, gitNamespace)
			case "valid-after":
				signer.after, err = signerTime(value)
			case "valid-before":
				signer.before, err = signerTime(value)
			default:
				err = fmt.Errorf("option %q is not known", name)
			}
			if err != nil {
				return fmt.Errorf("line %d: %w", n+1, err)
			}
		}
		if inGit {
			print := ssh.FingerprintSHA256(key)
			s.ssh[print] = append(s.ssh[print], signer)
		}
	}
	return nil
}

// cutWord splits a line at its first space outside quotes.
func cutWord(line string) (word, rest string) {
	quoted := false
	for i := range len(line) {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return line[:i], strings.TrimSpace(line[i:])
		}
	}
	return line, ""
}

// firstPrincipal returns the first of a list that is a name and no pattern, else
// the list as it is.
func firstPrincipal(list string) string {
	for p := range strings.SplitSeq(list, ",") {
		if p = strings.TrimSpace(p); p != "" && !strings.ContainsAny(p, "*?!") {
			return p
		}
	}
	return list
}

// matchesList reports whether one of the patterns matches, none of those with !.
func matchesList(list, name string) bool {
	matched := false
	for p := range strings.SplitSeq(list, ",") {
		pattern, not := strings.CutPrefix(strings.TrimSpace(p), "!")
		if ok, err := path.Match(pattern, name); err == nil && ok {
			if not {
				return false
			}
			matched = true
		}
	}
	return matched
}

// signerTime reads YYYYMMDD[HHMM[SS]], with a Z or without one in UTC.
func signerTime(s string) (time.Time, error) {
	digits := strings.TrimSuffix(s, "Z")
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok {
		return time.Time{}, fmt.Errorf("time %q: want YYYYMMDD or YYYYMMDDHHMMSS", s)
	}
	return time.Parse(layout, digits)
}

// A verified is what a commit's signature is worth, which key made it, and whose
// that is.
type verified struct{ status, key, principal string }

// signed is the principal of a good signature, else empty.
func (v verified) signed() string {
	if v.status != signatureGood {
		return ""
	}
	return v.principal
}

// verify judges a commit's signature.
//
// A key that has a time is judged by the moments between which the commit was
// seen to come, not by the date it claims. Only history from before the first
// contact has nothing but its claim.
func (s *signers) verify(c *commit, notBefore event.Time, at time.Time, history bool) verified {
	if c.cut {
		return verified{} // it can't be known
	}
	if len(c.signature) == 0 {
		return verified{status: signatureNone}
	}
	from, until := at, at
	if notBefore.IsSet() {
		from = notBefore.Std()
	}
	if history && c.committer.dated {
		from = time.Unix(c.committer.unix, 0)
		until = from
	}
	var v verified
	v.status, v.key, v.principal = s.judge(c, from, until)
	return v
}

func (s *signers) judge(c *commit, from, until time.Time) (status, signer, principal string) {
	if len(c.signature) > maxSignature {
		return signatureBad, "", ""
	}
	switch {
	case bytes.HasPrefix(c.signature, []byte("-----BEGIN SSH SIGNATURE-----")):
		return s.judgeSSH(c, from, until)
	case bytes.HasPrefix(c.signature, []byte("-----BEGIN PGP ")):
		return s.judgePGP(c, until)
	default: // X.509, for which no keys can be given
		return signatureUnknownKey, "", ""
	}
}

func (s *signers) judgeSSH(c *commit, from, until time.Time) (status, signer, principal string) {
	sig, err := sshsig.Unarmor(c.signature)
	if err != nil {
		return signatureBad, "", ""
	}
	signer = ssh.FingerprintSHA256(sig.PublicKey)
	if err := sshsig.Verify(bytes.NewReader(c.payload), sig, sig.PublicKey, sig.HashAlgorithm, gitNamespace); err != nil {
		return signatureBad, signer, ""
	}
	lines := s.ssh[signer]
	if len(lines) == 0 {
		return signatureUnknownKey, signer, ""
	}
	status = signatureRevoked
	for _, l := range lines {
		if l.revoked {
			return signatureRevoked, signer, l.principal
		}
		if (l.after.IsZero() || !until.Before(l.after)) && (l.before.IsZero() || from.Before(l.before)) {
			status, principal = signatureGood, l.principal
		} else if principal == "" {
			principal = l.principal
		}
	}
	return status, signer, principal
}

// maxAhead is how far a signature may be dated after the moment at which it is
// judged.
const maxAhead = 24 * time.Hour

func (s *signers) judgePGP(c *commit, at time.Time) (status, signer, principal string) {
	block, err := armor.Decode(bytes.NewReader(c.signature))
	if err != nil || block.Type != openpgp.SignatureType {
		return signatureBad, "", ""
	}
	body, err := io.ReadAll(io.LimitReader(block.Body, maxSignature))
	if err != nil {
		return signatureBad, "", ""
	}
	signer, made := issuer(body)
	// A clock that goes ahead, or a person who took a while for the passphrase,
	// makes no signature of the future.
	if made.After(at) && made.Sub(at) < maxAhead {
		at = made
	}
	config := &packet.Config{Time: func() time.Time { return at }}
	_, entity, err := openpgp.VerifyDetachedSignature(s.pgp, bytes.NewReader(c.payload), bytes.NewReader(body), config)
	if entity != nil {
		principal = entityPrincipal(entity)
	}
	switch {
	case err == nil:
		return signatureGood, signer, principal
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return signatureUnknownKey, signer, ""
	case errors.Is(err, pgperrors.ErrKeyRevoked), errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return signatureRevoked, signer, principal
	default:
		return signatureBad, signer, ""
	}
}

// issuer returns the key that a signature names, in hexadecimal, and its date:
// the key's fingerprint where it stands there, else its id.
func issuer(body []byte) (key string, made time.Time) {
	p, err := packet.NewReader(bytes.NewReader(body)).Next()
	if err != nil {
		return "", time.Time{}
	}
	sig, ok := p.(*packet.Signature)
	switch {
	case !ok:
		return "", time.Time{}
	case len(sig.IssuerFingerprint) > 0:
		key = strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))
	case sig.IssuerKeyId != nil:
		key = fmt.Sprintf("%016X", *sig.IssuerKeyId)
	}
	return key, sig.CreationTime
}

// entityPrincipal is whose key it is: the address of its identity, else its name.
func entityPrincipal(e *openpgp.Entity) string {
	id := e.PrimaryIdentity()
	if id == nil || id.UserId == nil {
		return ""
	}
	if id.UserId.Email != "" {
		return id.UserId.Email
	}
	return id.UserId.Name
}
