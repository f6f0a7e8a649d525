package splunkd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"aiwatch/internal/conf"
)

// CAFile returns the file with the certificates that a Splunk believes, whose
// home is SPLUNK_HOME: what server.conf names, else the file that Splunk ships.
// It is empty when there is none.
func CAFile(home string) string {
	if home == "" {
		return ""
	}
	var candidates []string
	// A file that can't be read whole is Splunk's affair.
	if file, _ := conf.Read(filepath.Join(home, "etc", "system"), "server.conf"); file != nil {
		if stanza := file.Stanza("sslConfig"); stanza != nil {
			for _, key := range []string{"sslRootCAPath", "caCertFile"} {
				if value, ok := stanza.Get(key); ok {
					candidates = append(candidates, expand(value.Text, home))
				}
			}
		}
	}
	candidates = append(candidates, filepath.Join(home, "etc", "auth", "cacert.pem"))
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// expand resolves $SPLUNK_HOME, and paths relative to etc/auth.
func expand(path, home string) string {
	for _, variable := range []string{"$SPLUNK_HOME", "${SPLUNK_HOME}"} {
		path = strings.ReplaceAll(path, variable, home)
	}
	if path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(home, "etc", "auth", path)
	}
	return path
}

// trust returns how splunkd's certificate is verified.
//
// Its chain must lead to an authority of caFile, and it must be for the host.
// The certificate that Splunk makes for itself names no host; it will do on a
// loopback address, where nobody sits in between.
func trust(host, caFile string) (*tls.Config, error) {
	var roots *x509.CertPool // nil: the system's
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificates that Splunk believes: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the certificates that Splunk believes: %s holds none", caFile)
		}
	}
	local := isLoopback(host)
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		// Replaced by VerifyConnection, which verifies all but the name of a
		// certificate without names.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), DNSName: host}
			if local && namesNobody(leaf) {
				options.DNSName = ""
			}
			for _, c := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(c)
			}
			_, err := leaf.Verify(options)
			var unknown x509.UnknownAuthorityError
			if errors.As(err, &unknown) {
				return fmt.Errorf("verify splunkd's certificate against %s: %w; name the file of the authority that signed it (--ca-file, or sslRootCAPath in Splunk's server.conf)", orSystem(caFile), err)
			}
			if err != nil {
				return fmt.Errorf("verify splunkd's certificate: %w", err)
			}
			return nil
		},
	}, nil
}

func orSystem(caFile string) string {
	if caFile == "" {
		return "the system's authorities"
	}
	return caFile
}

func namesNobody(c *x509.Certificate) bool {
	return len(c.DNSNames)+len(c.IPAddresses)+len(c.URIs)+len(c.EmailAddresses) == 0
}

func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return host == "localhost"
}
