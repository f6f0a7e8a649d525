package conf

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestValues(t *testing.T) {
	long := strings.Repeat("x", maxRegexp)
	for _, tc := range []struct {
		typ  Type
		text string
		want any // nil: refused
	}{
		{Bool, "true", true},
		{Bool, "T", true},
		{Bool, "Yes", true},
		{Bool, "1", true},
		{Bool, "on", true},
		{Bool, "0", false},
		{Bool, "FALSE", false},
		{Bool, "n", false},
		{Bool, "off", false},
		{Bool, "2", nil},
		{Int, "42", 42},
		{Int, "-1", -1},
		{Int, "1e3", nil},
		{Int, "99999999999999999999", nil},
		{Duration, "1h30m", 90 * time.Minute},
		{Duration, "500ms", 500 * time.Millisecond},
		{Duration, "14d", 14 * 24 * time.Hour},
		{Duration, "0s", time.Duration(0)},
		{Duration, "36500d", 36_500 * 24 * time.Hour},
		{Duration, "36501d", nil},
		{Duration, "-1s", nil},
		{Duration, "-1d", nil},
		{Duration, "1.5d", nil},
		{Duration, "d", nil},
		{Size, "0", int64(0)},
		{Size, "17", int64(17)},
		{Size, "768KiB", int64(768 << 10)},
		{Size, "64 MiB", int64(64 << 20)},
		{Size, "10GiB", int64(10 << 30)},
		{Size, "1GB", int64(1e9)},
		{Size, "1.5GiB", nil},
		{Size, "-1", nil},
		{Size, "MiB", nil},
		{Size, "8388608TiB", nil},
		{Interval, "300", Schedule{Every: 5 * time.Minute}},
		{Interval, "1.5", Schedule{Every: 1500 * time.Millisecond}},
		{Interval, "0.5", nil},
		{Interval, "NaN", nil},
		{Interval, "inf", nil},
		{Interval, "30 2 * * 1-5", Schedule{Cron: "30 2 * * 1-5"}},
		{Interval, "@hourly", nil},
		{Interval, "0 30 2 * * 1", nil},
		{Interval, "61 * * * *", nil},
		{Time, "2026-01-31T00:00:00+01:00", moment{at: time.Date(2026, 1, 31, 0, 0, 0, 0, time.FixedZone("", 3600))}},
		{Time, "-7d", moment{ago: 7 * 24 * time.Hour}},
		{Time, "-36h", moment{ago: 36 * time.Hour}},
		{Time, "7d", nil},
		{Time, "--7d", nil},
		{Time, "2026-01-31", nil},
		{Path, "/var/log/*.gz", "/var/log/*.gz"},
		{Path, "logs/x", "/etc/aiwatch/logs/x"},
		{Path, "../x", "/etc/x"},
		{URL, "https://a.example.org:8088/services", "https://a.example.org:8088/services"},
		{URL, "http://[::1]:8088", "http://[::1]:8088"},
		{URL, "https://", nil},
		{URL, "https://user@a", nil},
		{URL, "https://a:x", nil},
		{URL, "https://%zz", nil},
		{Repository, "ssh://git@git.example.org/a.git", "ssh://git@git.example.org/a.git"},
		{Repository, "https://git.example.org/a.git", "https://git.example.org/a.git"},
		{Repository, "http://localhost:3000/a.git", "http://localhost:3000/a.git"},
		{Repository, "http://127.0.0.1/a.git", "http://127.0.0.1/a.git"},
		{Repository, "/srv/git/a.git/", "/srv/git/a.git"},
		{Repository, "http://localhost.example.org/a.git", nil},
		{Repository, "ssh://git:hunter2@git.example.org/a.git", nil},
		{Repository, "ssh://-x@git.example.org/a.git", nil},
		{Repository, "file:///srv/git/a.git", nil},
		{Repository, "ext::sh -c x", nil},
		{Repository, "a.git", nil},
		{Bucket, "acme-logs", "acme-logs"},
		{Bucket, "arn:aws:s3:::acme", nil},
		{Bucket, "acme-*", nil},
		{BucketGlob, "acme-models-*", "acme-models-*"},
		{BucketGlob, "s3://acme", nil},
		{BucketGlob, "acme-[", nil},
		{Address, "9090", "127.0.0.1:9090"},
		{Address, ":9090", "127.0.0.1:9090"},
		{Address, "0.0.0.0:9090", "0.0.0.0:9090"},
		{Address, "[::1]:0", "[::1]:0"},
		{Address, "::1", nil},
		{Address, "a:99999", nil},
		{Address, "a", nil},
		{Glob, "refs/heads/release/*", "refs/heads/release/*"},
		{Glob, `a\`, nil},
		{Regexp, "(", nil},
		{Regexp, long + "x", nil},
		{Network, "10.1.2.3/8", netip.MustParsePrefix("10.0.0.0/8")},
		{Network, "2001:db8::1", netip.MustParsePrefix("2001:db8::1/128")},
		{Network, "::ffff:192.0.2.1", netip.MustParsePrefix("192.0.2.1/32")},
		{Network, "fe80::1%eth0", nil},
		{Network, "localhost", nil},
		{variable, "HEC_TOKEN", "HEC_TOKEN"},
		{variable, "0x", nil},
		{variable, "A-B", nil},
		{credential, "hec prod", "hec prod"},
		{credential, "12345678-1234-1234-1234-123456789ABC", nil},
		{credential, "Splunk 1234", nil},
		{credential, "eyJhbGciOi", nil},
		{credential, strings.Repeat("x", 101), nil},
	} {
		got, err := parseValue(&Setting{Name: "x"}, tc.typ, "/etc/aiwatch", tc.text)
		if tc.want == nil {
			require.Error(t, err, "%s %q", tc.typ, tc.text)
			asRefusal(err)
			continue
		}
		require.NoError(t, err, "%s %q", tc.typ, tc.text)
		if want, ok := tc.want.(moment); ok {
			require.True(t, want.at.Equal(got.(moment).at))
			require.Equal(t, want.ago, got.(moment).ago)
			continue
		}
		require.Equal(t, tc.want, got, "%s %q", tc.typ, tc.text)
	}

	re, err := parseValue(&Setting{}, Regexp, "", long)
	require.NoError(t, err)
	require.NotNil(t, re)
	_, err = parseValue(&Setting{}, Path, "", "logs/x")
	require.EqualError(t, err, `"logs/x" is not an absolute path; write it from the root on`)
}

func TestList(t *testing.T) {
	got, err := parseList(&Setting{Name: "x", Many: true}, String, "", " a ,, b\n,c,")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, got)
}

func TestScheduleNext(t *testing.T) {
	at := time.Date(2026, 3, 8, 2, 30, 0, 0, time.UTC)
	require.Equal(t, at.Add(time.Minute), Schedule{Every: time.Minute}.Next(at))
	require.Equal(t, at.Add(24*time.Hour), Schedule{Cron: "30 2 * * *"}.Next(at), "the next one, not this one")
	require.Equal(t, time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC), Schedule{Cron: "0 0 29 2 *"}.Next(at))
}

// FuzzValues gives every type hostile text: what is refused says why, and
// nothing panics or hangs.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"", "1", "-7d", "1h", "64MiB", "*/15 * * * *", "*/0 * * * *", "0 0 31 2 *", "1-0 L W 5#3 7", "https://a:1/x?y#z", "ssh://u@h/p", "10.0.0.0/8", "[a-", "(?i)(x*)*", "host:1", "true", "2026-01-31T00:00:00Z", "a,b,,c"} {
		f.Add(seed)
	}
	types := []Type{String, Bool, Int, Duration, Size, Interval, Time, Choice, Path, URL, Repository, Bucket, BucketGlob, Address, Glob, Regexp, Network, variable, credential}
	f.Fuzz(func(t *testing.T, text string) {
		for _, typ := range types {
			d := &Setting{Name: "x", Type: typ, Values: []string{"a"}}
			v, err := parseValue(d, typ, "/etc/aiwatch", text)
			if err != nil {
				r := asRefusal(err)
				require.NotEmpty(t, r.what)
				require.NotEmpty(t, r.fix)
				continue
			}
			if s, ok := v.(Schedule); ok {
				at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				require.True(t, s.Next(at).After(at), "%+v", s)
			}
		}
	})
}
