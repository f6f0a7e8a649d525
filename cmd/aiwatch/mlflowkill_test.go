package main

import (
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/mlflowsim"
)

// TestMLflowKilledWhileARegistryComesBack kills the program at many points of
// its sweeps, while the registry answers with nothing and when half of it is
// back, and counts at the receiver: one emptied registry, and each model that
// stayed away deleted once. The account may not see permissions, which the
// heartbeat says.
func TestMLflowKilledWhileARegistryComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the built program")
	}
	const models, versions, kept = 40, 80, 20
	registry := mlflowsim.New(mlflowsim.Options{
		BasicAuth: true, Bulk: mlflowsim.Bulk{Models: models, Versions: versions, Runs: 10, At: time.Now().Add(-time.Hour).UnixMilli()},
	})
	registry.AddUser("watcher", false)
	server := httptest.NewServer(registry)
	defer server.Close()
	hec := startReceiver(t, false, nil)
	s := newSetup(t, "[aiwatch_mlflow://lab]\nurl = "+server.URL+"\ninstance = lab\nusername = watcher\npassword_env = S3_SECRET\ninterval = 1\nfast_interval = 1s\n", hecStanza(hec.URL()))
	s.deliverOnce(t)
	inventory := len(hec.told.of("inventory"))
	require.GreaterOrEqual(t, inventory, models+versions)

	killed := 0
	kill := func() {
		for n := range max(2, rounds(t)/4) {
			before := registry.Requests()
			p := s.start(t, "run")
			eventually(t, "a sweep is under way", func() bool { return p.hasEnded() || registry.Requests() >= before+4+3*n })
			p.works(t)
			p.signal(t, syscall.SIGKILL)
			<-p.exited
			killed++
		}
	}
	unique := func(operation string) map[string]string {
		found := map[string]string{} // by event_id: what was posted and not yet removed is sent again
		for _, e := range hec.told.of(operation) {
			found[e.EventID] = e.AssetID
		}
		return found
	}
	until := func(operation string, n int) {
		p := s.start(t, "run")
		eventually(t, operation+" is told", func() bool { return p.hasEnded() || len(unique(operation)) >= n })
		p.finish(t)
	}
	registry.Hide(0)
	kill()
	until("registry.emptied", 1)
	kill()
	require.Len(t, unique("registry.emptied"), 1)
	require.Empty(t, unique("model.deleted"))
	registry.Hide(kept)
	kill()
	until("model.deleted", models-kept)
	kill()

	require.Len(t, unique("registry.emptied"), 1)
	require.Len(t, unique("alias.deleted"), models-kept)
	require.Len(t, unique("version.deleted"), (models-kept)*versions/models)
	deleted := map[string]bool{}
	for _, asset := range unique("model.deleted") {
		deleted[asset] = true
	}
	require.Len(t, deleted, models-kept)
	require.Contains(t, deleted, "mlflow:lab/models/model-000020")
	require.NotContains(t, deleted, "mlflow:lab/models/model-000019")
	require.Len(t, unique("inventory"), inventory, "nothing is inventory again")
	for _, operation := range []string{"model.created", "version.created", "alias.set", "registry.hidden", "record.damaged"} {
		require.Empty(t, unique(operation), operation)
	}
	stats := hec.counter.Stats()
	require.Zero(t, stats.SeqMissing+stats.SeqDoubles+stats.Conflicts, "%+v", stats)

	said := false
	for _, e := range hec.told.of("heartbeat") {
		said = said || strings.Contains(strings.Join(e.Coverage, "\n"), "permissions: the account is no administrator")
	}
	require.True(t, said, "the heartbeat's coverage says what is not watched")
	t.Logf("killed %d times, %d events sent again with the same id", killed, stats.Duplicates)
}
