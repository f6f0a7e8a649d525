package gitrepo

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/identity"
)

// One person has one name, whichever log or commit names them, and a name is as
// sure as its source, not as its form.
func TestIdentityRules(t *testing.T) {
	rules, err := identity.New([]string{"example.test"}, []identity.Rule{
		{Name: "gitea", Match: `^gitea-(?P<user>[a-z]+)$`, UserType: "user"},
		{Name: "ci", Match: `^ci-bot@example\.test$`, User: "ci", UserType: "service", Confidence: identity.Authenticated},
	})
	require.NoError(t, err)
	for _, c := range []struct {
		name, author, pusher         string
		trusted                      bool
		user, id, kind, sure, pushed string
	}{
		{"the author alone", "dana@example.test", "", false, "dana", "dana@example.test", "", "claimed", ""},
		{"an author of another domain", "dana@other.test", "", false, "dana@other.test", "dana@other.test", "", "claimed", ""},
		{"a pusher of a log that is not trusted", "dana@example.test", "gitea-dana", false, "dana", "gitea-dana", "user", "claimed", "dana"},
		{"a pusher of one that is", "eve@example.test", "gitea-dana", true, "dana", "gitea-dana", "user", "authenticated", "dana"},
		{"a rule makes sure of a pusher", "dana@example.test", "ci-bot@example.test", false, "ci", "ci-bot@example.test", "service", "authenticated", "ci"},
		{"a rule makes sure of no author", "ci-bot@example.test", "", false, "ci", "ci-bot@example.test", "service", "claimed", ""},
		{"the form of a proven name is free text too", "arn:aws:iam::111122223333:user/ada", "", false, "ada", "arn:aws:iam::111122223333:user/ada", "user", "claimed", ""},
		{"also in a log", "dana@example.test", "arn:aws:iam::111122223333:user/ada", false, "ada", "arn:aws:iam::111122223333:user/ada", "user", "claimed", "ada"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.cfg.Identity, l.cfg.TrustLogs, l.cfg.HookLog = rules, c.trusted, filepath.Join(l.dir, "hook.log")
			old := l.commit("first")
			l.push()
			l.poll()
			l.tick()
			l.write("model.pt", "x")
			l.git("add", "-A")
			l.commitWith([]string{"GIT_AUTHOR_EMAIL=" + c.author}, "change")
			if c.pusher != "" {
				l.hook(c.pusher, "refs/heads/main", old, l.git("rev-parse", "HEAD"))
			}
			l.push("main")
			events := l.poll()
			for _, operation := range []string{"commit.added", "file.added"} {
				e := one(t, events, operation)
				require.Equal(t, []string{c.user, c.id, c.kind, c.sure, c.pushed},
					[]string{e.s("user"), e.s("user_id"), e.s("user_type"), e.s("user_confidence"), e.s("pusher")}, operation)
			}
			require.Equal(t, c.author, one(t, events, "commit.added").s("author_email"), "what the commit says stays as it is")
			require.Equal(t, c.pushed, one(t, events, "ref.updated").s("user"))
		})
	}
}
