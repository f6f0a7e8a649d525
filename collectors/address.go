package collectors

import (
	"net/netip"
	"strings"
)

// ClientAddress returns who an access log says has called, IPv6 in full: the
// peer of the connection, or where that is a proxy that is believed, the last
// address before it in X-Forwarded-For that is none. It is empty when the peer
// is no address. Whoever calls can write the front of that header, so that only
// what a believed proxy added counts.
func ClientAddress(peer, forwardedFor string, believed []netip.Prefix) string {
	addr, err := parseAddress(peer)
	if err != nil {
		return ""
	}
	hops := strings.Split(forwardedFor, ",")
	for i := len(hops) - 1; i >= 0 && isProxy(addr, believed); i-- {
		hop, err := parseAddress(hops[i])
		if err != nil {
			break
		}
		addr = hop
	}
	return addr.StringExpanded()
}

func isProxy(addr netip.Addr, believed []netip.Prefix) bool {
	for _, network := range believed {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// parseAddress reads an address, also with a port or in brackets.
func parseAddress(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), nil
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr().Unmap().WithZone(""), err
}
