package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
)

// traceEnv names a unix socket to which the run tells each point of a delivery
// (committed, about to post, answered and so on) and on which it waits to be
// told to go on. Fault tests hold the program at a point and kill it there; it
// is of no other use.
const traceEnv = "AIWATCH_TRACE"

// tracer returns the function that tells a point and waits, nil when nobody
// asked for it.
func (p *program) tracer() (func(point string), error) {
	path := p.getenv(traceEnv)
	if path == "" {
		return nil, nil
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to %s, which %s names: %w", path, traceEnv, err)
	}
	answers := bufio.NewReader(conn)
	var mu sync.Mutex
	return func(point string) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := fmt.Fprintln(conn, point); err == nil {
			// Whatever the answer, and also when nobody is there to give one any
			// more, the run goes on.
			_, _ = answers.ReadString('\n')
		}
	}, nil
}
