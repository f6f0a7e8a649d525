package identity

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const canonical = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"

func TestFormsThatAWSWrites(t *testing.T) {
	for principal, want := range map[string][3]string{
		"arn:aws:iam::111122223333:user/alice":                                                           {"alice", "user", Authenticated},
		"arn:aws-cn:iam::111122223333:user/team/ml/alice":                                                {"alice", "user", Authenticated},
		"arn:aws:iam::111122223333:root":                                                                 {"111122223333:root", "user", Authenticated},
		"arn:aws:iam::111122223333:role/trainer":                                                         {"trainer", "role", Authenticated},
		"arn:aws:sts::111122223333:assumed-role/trainer/bob":                                             {"bob", "role", Claimed},
		"arn:aws:sts::111122223333:assumed-role/trainer":                                                 {"trainer", "role", Authenticated},
		"arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_DataScience_0123456789abcdef/eve@corp.io": {"eve@corp.io", "user", Authenticated},
		"arn:aws:sts::111122223333:federated-user/carol":                                                 {"carol", "user", Claimed},
		"arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1EXAMPLE":                       {"CloudFront Origin Access Identity E1EXAMPLE", "service", Authenticated},
		"svc:s3.amazonaws.com":                                                                           {"s3.amazonaws.com", "service", Authenticated},
		"AmazonS3":                                                                                       {"AmazonS3", "service", Authenticated},
		"cloudfront.amazonaws.com":                                                                       {"cloudfront.amazonaws.com", "service", Authenticated},
		canonical:                                                                                        {canonical, "unknown", Authenticated},
		"111122223333":                                                                                   {"111122223333", "unknown", Authenticated},
		"-":                                                                                              {"anonymous", "anonymous", Unknown},
		"alice":                                                                                          {"alice", "", ""},
		"alice@corp.io":                                                                                  {"alice@corp.io", "", ""},
		"arn:aws:iam::1:saml-provider/x":                                                                 {"arn:aws:iam::1:saml-provider/x", "unknown", Unknown},
		"arn:aws:iam::1:odd":                                                                             {"arn:aws:iam::1:odd", "unknown", Unknown},
		"":                                                                                               {"", "", ""},
	} {
		user, userType, confidence := (*Rules)(nil).Resolve(principal)
		require.Equal(t, want, [3]string{user, userType, confidence}, principal)
	}
}

func TestOperatorsRules(t *testing.T) {
	r, err := New([]string{"Corp.io", "@other.org"}, []Rule{
		{Name: "jobs", Match: `:assumed-role/trainer/`, User: "trainer", UserType: "service", Confidence: Authenticated},
		{Name: "sso", Match: `:assumed-role/[^/]+/(?P<user>[a-z]+)-session$`},
		{Name: "late", Match: `trainer`, User: "never"},
	})
	require.NoError(t, err)
	for principal, want := range map[string][3]string{
		"arn:aws:sts::1:assumed-role/trainer/i-0123":    {"trainer", "service", Authenticated},
		"arn:aws:sts::1:assumed-role/dev/alice-session": {"alice", "role", Claimed},
		"arn:aws:sts::1:assumed-role/dev/alice@CORP.io": {"alice", "role", Claimed},
		"bob@other.org":             {"bob", "", ""},
		"bob@elsewhere.org":         {"bob@elsewhere.org", "", ""},
		"bob@sub.corp.io":           {"bob@sub.corp.io", "", ""},
		"@corp.io":                  {"@corp.io", "", ""},
		"arn:aws:iam::1:user/alice": {"alice", "user", Authenticated},
	} {
		user, userType, confidence := r.Resolve(principal)
		require.Equal(t, want, [3]string{user, userType, confidence}, principal)
	}
	require.True(t, r.Ruled("arn:aws:sts::1:assumed-role/trainer/x"))
	require.False(t, r.Ruled("arn:aws:sts::1:assumed-role/dev/alice-session"), "the rule says nothing of confidence")
	require.False(t, r.Ruled("nobody"))
	require.False(t, (*Rules)(nil).Ruled("nobody"))
}

func TestRulesThatAreRefused(t *testing.T) {
	for want, rules := range map[string][]Rule{
		"missing closing": {{Name: "a", Match: "("}},
		"at most 1000":    {{Name: "a", Match: strings.Repeat("x", 1001)}},
		"at most 200":     make([]Rule, 201),
		"user_type":       {{Name: "a", UserType: "robot"}},
		"confidence":      {{Name: "a", Confidence: "sure"}},
	} {
		_, err := New(nil, rules)
		require.ErrorContains(t, err, want)
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("arn:aws:sts::111122223333:assumed-role/r/s")
	f.Add("arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E")
	f.Add("arn:::::")
	r, err := New([]string{"corp.io"}, nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, principal string) {
		user, _, _ := r.Resolve(principal)
		if principal == "-" {
			return
		}
		if user == "" && principal != "" && !strings.HasSuffix(principal, "/") && principal != "svc:" {
			t.Fatalf("%q has no user", principal)
		}
	})
}
