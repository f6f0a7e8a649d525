package collectors_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8:1::/48")}
	for name, c := range map[string]struct{ peer, forwarded, want string }{
		"direct":                        {"192.0.2.7", "", "192.0.2.7"},
		"with a port":                   {"192.0.2.7:4711", "", "192.0.2.7"},
		"IPv6 in full":                  {"2001:db8::1", "", "2001:0db8:0000:0000:0000:0000:0000:0001"},
		"IPv6 with a port":              {"[2001:db8::1]:99", "", "2001:0db8:0000:0000:0000:0000:0000:0001"},
		"IPv4 in IPv6":                  {"::ffff:192.0.2.7", "", "192.0.2.7"},
		"through a believed proxy":      {"10.0.0.5", "192.0.2.7", "192.0.2.7"},
		"through two":                   {"10.0.0.5", "192.0.2.7, 2001:db8:1::5", "192.0.2.7"},
		"the caller wrote the front":    {"10.0.0.5", "198.51.100.1, 192.0.2.7", "192.0.2.7"},
		"the caller is no proxy":        {"192.0.2.7", "198.51.100.1", "192.0.2.7"},
		"the proxy says nothing":        {"10.0.0.5", "", "10.0.0.5"},
		"the proxy says no address":     {"10.0.0.5", "192.0.2.7, unknown", "10.0.0.5"},
		"all of them are believed":      {"10.0.0.5", "10.0.0.6", "10.0.0.6"},
		"no address":                    {"localhost", "192.0.2.7", ""},
		"unix socket, as gunicorn does": {"", "192.0.2.7", ""},
	} {
		require.Equal(t, c.want, collectors.ClientAddress(c.peer, c.forwarded, proxies), name)
	}
	require.Equal(t, "10.0.0.5", collectors.ClientAddress("10.0.0.5", "192.0.2.7", nil), "no proxy is believed")
}
