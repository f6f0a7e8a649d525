package hec

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"aiwatch/forwarder"
)

// trouble is what kept a request from being answered.
type trouble struct {
	text, fix string
	severity  forwarder.Severity // Unavailable, or Misset where waiting does not help
}

// explain says what kept a request to base from being answered.
func explain(base string, err error) trouble {
	var (
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		dns     *net.DNSError
		op      *net.OpError
	)
	missing := func(text, fix string) trouble { return trouble{text, fix, forwarder.Unavailable} }
	misset := func(text, fix string) trouble { return trouble{text, fix, forwarder.Misset} }
	switch {
	case errors.As(err, &host):
		return misset(fmt.Sprintf("the certificate of %s is for another name: %s", base, clean(host.Error())),
			"write the name of the certificate into url")
	case errors.As(err, &unknown):
		return misset(fmt.Sprintf("the certificate of %s was issued by an unknown authority", base),
			"set ca_file to the authority's certificate")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return misset(fmt.Sprintf("the certificate of %s has expired or is not valid yet", base),
			"renew it, or set this machine's clock")
	case errors.As(err, &invalid):
		return misset(fmt.Sprintf("the certificate of %s can't be used: %s", base, clean(invalid.Error())), "give the server a proper certificate")
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return misset(fmt.Sprintf("%s does not speak TLS", base), "write http:// into url, or turn SSL on for the HTTP Event Collector")
	case errors.As(err, &op) && op.Op == "remote error": // an alert, in crypto/tls
		return misset(fmt.Sprintf("%s ended the TLS handshake: %s", base, clean(op.Err.Error())),
			"it may want a certificate: set client_cert_file and client_key_file")
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return missing(fmt.Sprintf("the proxy on the way to %s can't be reached: %s", base, clean(op.Err.Error())), "look at proxy, or at HTTPS_PROXY and NO_PROXY in the environment")
	case errors.As(err, &dns) && dns.IsNotFound:
		return missing(fmt.Sprintf("there is no host %s", clean(dns.Name)), "look at the name in url, and at this machine's DNS")
	case errors.As(err, &dns):
		return missing(fmt.Sprintf("the name %s could not be looked up: %s", clean(dns.Name), clean(dns.Err)), "look at this machine's DNS")
	case errors.Is(err, syscall.ECONNREFUSED):
		return missing(fmt.Sprintf("%s refuses connections", base), "look whether the HTTP Event Collector is enabled, and at the port (8088 unless it was changed)")
	case timeout(err):
		return missing(fmt.Sprintf("%s did not answer in time", base), "look at the network and at firewalls on the way, or raise timeout")
	default:
		return missing(fmt.Sprintf("%s can't be reached: %s", base, clean(innermost(err))), "look at the network on the way")
	}
}

func timeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// innermost leaves out what the HTTP client says of method and URL.
func innermost(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// passing says whether an error may be over at the next try.
func passing(err error) bool {
	return !timeout(err) && explain("", err).severity == forwarder.Unavailable
}
