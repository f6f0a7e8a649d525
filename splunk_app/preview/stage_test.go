package preview

import (
	"context"
	"io/fs"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/spl"
)

// stage is a browser before a server whose searches a test sees and answers.
type stage struct {
	app     fs.FS
	server  *Server
	browser *Browser

	mu    sync.Mutex
	run   func(context.Context, Search) (*spl.Result, error)
	asked []Search
}

// newStage builds the page's code, starts the server over an app and one
// browser for all pages.
func newStage(t *testing.T, app fs.FS) *stage {
	t.Helper()
	packages := counterpart.Dashboards(t).Dir
	bundle, err := Build(packages)
	require.NoError(t, err)
	s := &stage{app: app}
	s.server, err = Serve("127.0.0.1:0", Config{App: func() (fs.FS, error) { return app, nil }, Data: s, Bundle: bundle})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.server.Close()) })
	s.browser, err = StartBrowser(packages)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.browser.Close()) })
	return s
}

// Run notes a search and answers as the test wants.
func (s *stage) Run(ctx context.Context, search Search) (*spl.Result, error) {
	s.mu.Lock()
	s.asked = append(s.asked, search)
	run := s.run
	s.mu.Unlock()
	return run(ctx, search)
}

// answer says who answers from now on, and forgets what was asked.
func (s *stage) answer(run func(context.Context, Search) (*spl.Result, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run, s.asked = run, nil
}

// searches are those that were asked since answer.
func (s *stage) searches() []Search {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Search{}, s.asked...)
}
